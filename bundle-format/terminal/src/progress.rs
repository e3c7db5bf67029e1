//! Progress for people: a bar on a terminal, lines in a log, JSON lines for programs.

use crate::human;
use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use manifest_schema::progress::Progress;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shows one stage at a time.
pub struct TerminalProgress {
    output: Output,
    stage: Mutex<Option<Stage>>,
}

struct Stage {
    name: String,
    bar: Option<ProgressBar>,
    began: Instant,
    total: Option<u64>,
    done: u64,
    /// When a plain log last said how far it is.
    said: Instant,
    detail: String,
}

/// A log gets a line about long work this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

impl TerminalProgress {
    /// Progress in the manner of `output`.
    #[must_use]
    pub const fn new(output: Output) -> Self {
        Self { output, stage: Mutex::new(None) }
    }

    fn with(&self, act: impl FnOnce(&mut Option<Stage>)) {
        let mut stage = self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(&mut stage);
    }

    fn event(&self, value: &serde_json::Value) {
        self.output.error_line(&value.to_string());
    }

    fn bar(&self, name: &str, total: Option<u64>) -> Option<ProgressBar> {
        if !self.output.rich || self.output.json {
            return None;
        }
        let target = ProgressDrawTarget::stderr_with_hz(12);
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::with_draw_target(Some(total), target),
                "  {prefix:<10} [{bar:28}] {percent:>3}%  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {wide_msg}",
            ),
            None => (
                ProgressBar::with_draw_target(None, target),
                "  {prefix:<10} {spinner} {elapsed}  {wide_msg}",
            ),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar)
    }
}

impl Progress for TerminalProgress {
    fn begin(&self, name: &str, total: Option<u64>) {
        if self.output.quiet {
            return;
        }
        self.with(|stage| {
            if let Some(bar) = stage.take().and_then(|stage| stage.bar) {
                bar.finish_and_clear();
            }
            if self.output.json {
                self.event(&serde_json::json!({ "event": "begin", "stage": name, "total_bytes": total }));
            }
            let now = Instant::now();
            *stage = Some(Stage {
                name: name.to_owned(),
                bar: self.bar(name, total),
                began: now,
                total,
                done: 0,
                said: now,
                detail: String::new(),
            });
        });
    }

    fn advance(&self, bytes: u64) {
        self.with(|stage| {
            let Some(stage) = stage else { return };
            stage.done = stage.done.saturating_add(bytes);
            if let Some(bar) = &stage.bar {
                bar.inc(bytes);
            } else if stage.said.elapsed() >= LOG_EVERY {
                stage.said = Instant::now();
                let done = human::bytes(stage.done);
                if self.output.json {
                    let (name, total) = (&stage.name, stage.total);
                    self.event(&serde_json::json!({
                        "event": "progress", "stage": name, "bytes": stage.done, "total_bytes": total
                    }));
                } else {
                    let of =
                        stage.total.map(|total| format!(" of {}", human::bytes(total))).unwrap_or_default();
                    self.output.error_line(&format!("  {:<10} {done}{of} {}", stage.name, stage.detail));
                }
            }
        });
    }

    fn detail(&self, text: &str) {
        self.with(|stage| {
            let Some(stage) = stage else { return };
            let text = human::printable(text);
            if let Some(bar) = &stage.bar {
                bar.set_message(text.clone());
            } else if self.output.json && stage.detail != text {
                self.event(&serde_json::json!({ "event": "detail", "stage": stage.name, "text": text }));
            }
            stage.detail = text;
        });
    }

    fn end(&self, summary: &str) {
        self.end_stage(summary, true);
    }

    fn fail(&self, summary: &str) {
        self.end_stage(summary, false);
    }

    fn warn(&self, text: &str) {
        let text = human::printable(text);
        if self.output.json {
            self.event(&serde_json::json!({ "event": "warning", "text": text }));
            return;
        }
        let line = format!("{} {text}", self.output.yellow("warning:"));
        self.with(|stage| match stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.suspend(|| self.output.error_line(&line)),
            None => self.output.error_line(&line),
        });
    }
}

impl TerminalProgress {
    fn end_stage(&self, summary: &str, good: bool) {
        self.with(|stage| {
            let Some(stage) = stage.take() else { return };
            if let Some(bar) = &stage.bar {
                bar.finish_and_clear();
            }
            if self.output.json {
                let seconds = stage.began.elapsed().as_secs_f64();
                self.event(&serde_json::json!({
                    "event": if good { "end" } else { "failed" },
                    "stage": stage.name, "summary": summary, "seconds": seconds
                }));
                return;
            }
            let time = human::duration(stage.began.elapsed());
            let mark = if good { self.output.green("✓") } else { self.output.red("✗") };
            let summary = human::printable(summary);
            self.output.error_line(&format!(
                "{mark} {:<10} {summary} {}",
                stage.name,
                self.output.dim(&format!("({time})"))
            ));
        });
    }
}
