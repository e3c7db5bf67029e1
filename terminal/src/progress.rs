//! Progress for people: a bar on a terminal, lines in a log, JSON lines for programs.

use crate::drawn::{self, Drawn, Numbers};
use crate::human;
use crate::output::Output;
use crate::waiting;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use manifest_schema::progress::{Progress, Wait};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shows one stage at a time: the innermost, where one begins while another is open.
pub struct TerminalProgress {
    output: Output,
    /// Writes one line to standard error; a test collects them.
    say: Box<dyn Fn(&str) + Send + Sync>,
    /// The open stages, outermost first. Each ends with a line of its own.
    stages: Mutex<Vec<Stage>>,
}

struct Stage {
    drawn: Arc<Mutex<Drawn>>,
    bar: Option<ProgressBar>,
    began: Instant,
    total: Option<u64>,
    done: u64,
    /// When a plain log last said how far it is.
    said: Instant,
}

impl Stage {
    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bar that draws a stage.
fn style(drawn: &Arc<Mutex<Drawn>>) -> ProgressStyle {
    let drawn = Arc::clone(drawn);
    let draw = move |state: &ProgressState, writer: &mut dyn Write| {
        let numbers = Numbers {
            done: state.pos(),
            total: state.len(),
            rate: state.per_sec(),
            left: state.eta(),
            elapsed: state.elapsed(),
        };
        let drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_str(&drawn.on_terminal(&numbers, columns().unwrap_or(80)).join("\n"));
    };
    let style = ProgressStyle::with_template("{stage}").unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("stage", draw)
}

/// Sets a bar to `done`, of which nothing counts for its speed.
fn begin_at(bar: &ProgressBar, done: u64) {
    bar.set_position(done);
    // The speed is reckoned from what was seen last, which is this.
    bar.tick();
    bar.reset_eta();
}

/// Columns of the terminal behind standard error, where there is one that says so.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A log gets a line about long work this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

impl TerminalProgress {
    /// Progress in the manner of `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self::saying(output, move |line| output.error_line(line))
    }

    fn saying(output: Output, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { output: output.for_stderr(), say: Box::new(say), stages: Mutex::new(Vec::new()) }
    }

    /// Ends every stage that is still open as failed, so that an error follows on whole lines and
    /// every `begin` has its end.
    pub fn fail_open(&self, summary: &str) {
        self.with(|stages| {
            while let Some(stage) = stages.pop() {
                self.close(&stage, summary, false);
            }
        });
    }

    fn with(&self, act: impl FnOnce(&mut Vec<Stage>)) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut stages);
    }

    fn event(&self, value: &serde_json::Value) {
        (self.say)(&value.to_string());
    }

    fn bar(&self, drawn: &Arc<Mutex<Drawn>>, total: Option<u64>) -> Option<ProgressBar> {
        if !self.output.rich || self.output.json {
            return None;
        }
        let target = ProgressDrawTarget::stderr_with_hz(12);
        let bar = ProgressBar::with_draw_target(total, target);
        bar.set_style(style(drawn));
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar)
    }

    /// Clears the bar and says how the stage ended.
    fn close(&self, stage: &Stage, summary: &str, good: bool) {
        if let Some(bar) = &stage.bar {
            bar.finish_and_clear();
        }
        let name = &stage.drawn().name;
        if self.output.json {
            let seconds = stage.began.elapsed().as_secs_f64();
            self.event(&serde_json::json!({
                "event": if good { "end" } else { "failed" },
                "stage": name, "summary": summary, "seconds": seconds
            }));
            return;
        }
        let time = format!("({})", human::duration(stage.began.elapsed()));
        let mark = if good { self.output.green("✓") } else { self.output.red("✗") };
        let text = format!("{name:<10} {}", human::printable(summary));
        let room = columns().unwrap_or(usize::MAX).saturating_sub(3);
        let line = if text.chars().count() + 1 + time.chars().count() <= room {
            format!("{text} {}", self.output.dim(&time))
        } else {
            drawn::wrapped(&format!("{text} {time}"), room)
        };
        (self.say)(&format!("{mark} {line}"));
    }

    fn end_stage(&self, summary: &str, good: bool) {
        self.with(|stages| {
            let Some(stage) = stages.pop() else { return };
            self.close(&stage, summary, good);
            // The one around it is shown again.
            if let Some(outer) = stages.last_mut() {
                outer.drawn().waits.clear();
                outer.bar = self.bar(&outer.drawn, outer.total).map(|bar| {
                    let bar = bar.with_elapsed(outer.began.elapsed());
                    begin_at(&bar, outer.done);
                    bar
                });
            }
        });
    }
}

impl Progress for TerminalProgress {
    fn begin(&self, name: &str, total: Option<u64>) {
        if self.output.quiet {
            return;
        }
        let name = human::printable(name);
        self.with(|stages| {
            if let Some(bar) = stages.last_mut().and_then(|outer| outer.bar.take()) {
                bar.finish_and_clear();
            }
            if self.output.json {
                self.event(&serde_json::json!({ "event": "begin", "stage": name, "total_bytes": total }));
            }
            let now = Instant::now();
            let drawn = Arc::new(Mutex::new(Drawn { name, ..Drawn::default() }));
            let bar = self.bar(&drawn, total);
            stages.push(Stage { drawn, bar, began: now, total, done: 0, said: now });
        });
    }

    fn advance(&self, bytes: u64) {
        self.with(|stages| {
            let Some(stage) = stages.last_mut() else { return };
            stage.done = stage.done.saturating_add(bytes);
            if let Some(bar) = &stage.bar {
                bar.inc(bytes);
            } else if stage.said.elapsed() >= LOG_EVERY {
                stage.said = Instant::now();
                let done = human::bytes(stage.done);
                let Drawn { name, detail, .. } = &*stage.drawn();
                if self.output.json {
                    self.event(&serde_json::json!({
                        "event": "progress", "stage": name, "bytes": stage.done, "total_bytes": stage.total
                    }));
                } else {
                    let of =
                        stage.total.map(|total| format!(" of {}", human::bytes(total))).unwrap_or_default();
                    (self.say)(&format!("  {name:<10} {done}{of} {detail}"));
                }
            }
        });
    }

    fn resume(&self, bytes: u64) {
        self.with(|stages| {
            let Some(stage) = stages.last_mut() else { return };
            stage.done = stage.done.saturating_add(bytes);
            if let Some(bar) = &stage.bar {
                begin_at(bar, stage.done);
            }
        });
    }

    fn detail(&self, text: &str) {
        self.with(|stages| {
            let Some(stage) = stages.last_mut() else { return };
            let text = human::printable(text);
            let mut drawn = stage.drawn();
            if self.output.json && drawn.detail != text {
                self.event(&serde_json::json!({ "event": "detail", "stage": drawn.name, "text": text }));
            }
            drawn.detail = text;
        });
    }

    fn wait(&self, waits: &[Wait]) {
        self.with(|stages| {
            let Some(stage) = stages.last_mut() else { return };
            if stage.bar.is_some() {
                stage.drawn().waits = waits.to_vec();
                return;
            }
            if waits.is_empty() || stage.said.elapsed() < LOG_EVERY {
                return;
            }
            stage.said = Instant::now();
            let name = &stage.drawn().name;
            if self.output.json {
                let waits: Vec<_> = waits
                    .iter()
                    .map(|wait| {
                        let left = wait.left.as_secs();
                        serde_json::json!({
                            "for": wait.subject, "goal": wait.goal, "seconds_left": left, "said": wait.said
                        })
                    })
                    .collect();
                self.event(&serde_json::json!({ "event": "waiting", "stage": name, "waits": waits }));
            } else {
                // A terminal without colours wraps what is too long; a log takes any length.
                let lines = match columns() {
                    Some(columns) => waiting::on_terminal(waits, columns),
                    None => {
                        let line = |wait| format!("  {name:<10} {}", waiting::line(wait));
                        waits.iter().map(line).collect()
                    }
                };
                for line in lines {
                    (self.say)(&line);
                }
            }
        });
    }

    fn end(&self, summary: &str) {
        self.end_stage(summary, true);
    }

    fn fail(&self, summary: &str) {
        self.end_stage(summary, false);
    }

    fn warn(&self, text: &str) {
        let text = human::printable_lines(text);
        if self.output.json {
            self.event(&serde_json::json!({ "event": "warning", "text": text }));
            return;
        }
        let line = format!("{} {text}", self.output.yellow("warning:"));
        self.with(|stages| match stages.last().and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.suspend(|| (self.say)(&line)),
            None => (self.say)(&line),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn collecting(json: bool) -> (TerminalProgress, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&lines);
        let output = Output { json, quiet: false, rich: false, colour: false };
        let progress =
            TerminalProgress::saying(output, move |line| said.lock().unwrap().push(line.to_owned()));
        (progress, lines)
    }

    /// The lines without the times at their ends.
    fn words(lines: &Mutex<Vec<String>>) -> Vec<String> {
        let lines = lines.lock().unwrap();
        lines.iter().map(|line| line.split(" (").next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_stage_inside_a_stage_takes_nothing_from_it() {
        let (progress, lines) = collecting(false);
        progress.begin("finding", None);
        progress.begin("pulling", Some(4));
        progress.end("4 B");
        progress.end("1 image");
        progress.end("nobody began this");
        assert_eq!(words(&lines), ["✓ pulling    4 B", "✓ finding    1 image"]);
    }

    #[test]
    fn every_stage_that_begins_ends_also_where_the_work_fails() {
        let (progress, lines) = collecting(true);
        progress.begin("finding", None);
        progress.begin("saving", None);
        progress.fail_open("failed");
        let events: Vec<(String, String)> = lines
            .lock()
            .unwrap()
            .iter()
            .map(|line| {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                (event["event"].as_str().unwrap().to_owned(), event["stage"].as_str().unwrap().to_owned())
            })
            .collect();
        let events: Vec<(&str, &str)> =
            events.iter().map(|(event, stage)| (event.as_str(), stage.as_str())).collect();
        let wanted = [("begin", "finding"), ("begin", "saving"), ("failed", "saving"), ("failed", "finding")];
        assert_eq!(events, wanted);
    }

    #[test]
    fn labels_and_details_from_outside_stay_in_their_line() {
        let (progress, lines) = collecting(false);
        progress.begin("pulling\n✓ verifying", None);
        progress.end("x\n✓ all is well\x1b[2J");
        let (detailed, details) = collecting(true);
        detailed.begin("packing", None);
        detailed.detail("seed of volume a\nb\u{202e}");
        assert!(words(&lines).iter().all(|line| !line.contains(['\n', '\x1b'])), "{lines:?}");
        assert!(details.lock().unwrap()[1].contains("volume a\u{fffd}b\u{fffd}"), "{details:?}");
    }
}
