//! Templates rendered in a child of the same program, under limits of the system.
//!
//! Why: one step of a template can double a text, and no count of steps bounds that. What must stay true: the
//! child sets its limits on itself before it reads a byte; values, which may be secrets, reach it through a pipe
//! and never stand among its arguments, in its environment, in its messages or in a core file; whatever the child
//! does, the parent reads a bounded answer in bounded time, and leaves no child behind.
//!
//! The parent writes the job as JSON and closes the pipe; the child answers with one JSON line for each template,
//! as soon as that one is done, so that the parent knows which one stopped it.

use manifest_schema::render::{Job, Outcome, Renderer, collected};
use manifest_schema::{Diagnostic, Diagnostics, limits};
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The first argument of a child: no file or command of a user has this name.
const CHILD: &str = "__render-templates";

/// mimalloc takes 1 GiB of addresses in advance, which the limit would count. This is its own name for that.
const RESERVED_ADDRESSES: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "0");

/// The limits of a job.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings {
    /// Addresses of the child, in bytes.
    pub memory_bytes: u64,
    /// Processor time of the child, in seconds.
    pub cpu_seconds: u64,
    /// Time until the last answer.
    pub wall: Duration,
    /// Bytes of all answers.
    pub answer_bytes: u64,
}

impl Ceilings {
    /// Those of the programs.
    pub const USUAL: Self = Self {
        memory_bytes: limits::RENDERING_MEMORY_BYTES,
        cpu_seconds: limits::RENDERING_CPU_SECONDS,
        wall: Duration::from_secs(limits::RENDERING_WALL_SECONDS),
        answer_bytes: limits::MAX_RENDERING_ANSWER_BYTES,
    };
}

/// Renders each job in a child of its own.
#[derive(Debug, Clone)]
pub struct Confined {
    program: Option<PathBuf>,
    ceilings: Ceilings,
}

/// The renderer of both programs: a child of the one that runs.
pub static CONFINED: Confined = Confined { program: None, ceilings: Ceilings::USUAL };

/// Why a job ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Memory,
    Cpu,
    Wall,
    Answer,
    /// It ended with this signal, or this code.
    Otherwise(Option<i32>),
}

impl Confined {
    /// Children of another `program`, under other `ceilings`.
    #[must_use]
    pub const fn of(program: PathBuf, ceilings: Ceilings) -> Self {
        Self { program: Some(program), ceilings }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(match &self.program {
            Some(program) => program.clone(),
            None => this_program()?,
        });
        #[cfg(unix)]
        command.env_clear();
        command
            .arg(CHILD)
            .args([self.ceilings.memory_bytes.to_string(), self.ceilings.cpu_seconds.to_string()])
            .env(RESERVED_ADDRESSES.0, RESERVED_ADDRESSES.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A panic or an allocator would speak here, perhaps with a value.
            .stderr(Stdio::null())
            .spawn()
    }

    /// The outcomes of the templates that were done, and why the others were not.
    fn run(&self, job: &Job) -> io::Result<(Vec<Outcome>, Option<Stopped>)> {
        let input = serde_json::to_vec(job)?;
        let deadline = Instant::now() + self.ceilings.wall;
        let mut child = self.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut outcomes = Vec::new();
        let stopped = std::thread::scope(|scope| {
            let mut stopped = None;
            let (send, lines) = mpsc::channel();
            scope.spawn(move || {
                // A child that ended early reads no more; its status says why.
                let _ = stdin.map(|mut pipe| pipe.write_all(&input));
            });
            let most = self.ceilings.answer_bytes;
            scope.spawn(move || {
                let Some(stdout) = stdout else { return };
                let mut reader = BufReader::new(stdout.take(most));
                loop {
                    let mut line = Vec::new();
                    match reader.read_until(b'\n', &mut line) {
                        Ok(1..) if line.ends_with(b"\n") => {
                            if send.send(Some(line)).is_err() {
                                return;
                            }
                        }
                        _ => break,
                    }
                }
                if reader.get_ref().limit() == 0 {
                    let _ = send.send(None);
                }
            });
            while outcomes.len() < job.templates.len() {
                match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(Some(line)) => match serde_json::from_slice(&line) {
                        Ok(outcome) => outcomes.push(outcome),
                        Err(_) => break,
                    },
                    Ok(None) => stopped = Some(Stopped::Answer),
                    Err(mpsc::RecvTimeoutError::Timeout) => stopped = Some(Stopped::Wall),
                    // Its status says why.
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                if stopped.is_some() {
                    break;
                }
            }
            // It is asked for nothing more, or says no more. Both threads end with it.
            let all = outcomes.len() == job.templates.len();
            let until = if all || stopped.is_some() { Instant::now() } else { deadline };
            let status = ended(&mut child, until)?;
            Ok::<_, io::Error>(stopped.or_else(|| (!all).then(|| why(status))))
        })?;
        Ok((outcomes, stopped))
    }

    /// The mistake of the template that was under way.
    fn mistake(&self, file: &str, stopped: Stopped) -> Diagnostic {
        let (fact, hint) = match stopped {
            Stopped::Memory => (
                format!(
                    "rendering it takes more than {} MiB of memory, or calls itself without end",
                    self.ceilings.memory_bytes >> 20
                ),
                "look for a loop in which a value doubles, or a number that is too large; write long text piece by piece, \
                 and do not gather it in a variable",
            ),
            Stopped::Cpu => (
                format!(
                    "rendering takes more than {} seconds of processor time, and came as far as this template",
                    self.ceilings.cpu_seconds
                ),
                "look for a loop inside a loop, or a long text that is changed in each round",
            ),
            Stopped::Wall => (
                format!(
                    "rendering takes more than {} seconds, and came as far as this template",
                    self.ceilings.wall.as_secs()
                ),
                "look for a loop inside a loop; where the machine is very busy, try again",
            ),
            Stopped::Answer => (
                format!(
                    "the templates make more than {} MiB together, and came as far as this one",
                    self.ceilings.answer_bytes >> 20
                ),
                "carry large files as artifacts",
            ),
            Stopped::Otherwise(what) => {
                let what =
                    what.map_or_else(|| "unknown cause".to_owned(), |code| format!("signal or code {code}"));
                (
                    format!("its rendering was stopped from outside ({what})"),
                    "try again; the system ends programs when its memory is short",
                )
            }
        };
        Diagnostic::new(file, fact).hint(hint)
    }
}

impl Renderer for Confined {
    fn render(&self, job: &Job) -> Result<Vec<String>, Diagnostics> {
        let under_way = |done: usize| job.templates.get(done).map_or("templates", |template| template.file());
        let (outcomes, stopped) = self.run(job).map_err(|error| {
            let fact = format!("no process could be started that renders it: {error}");
            Diagnostics::from(Diagnostic::new(under_way(0), fact))
        })?;
        let done = outcomes.len();
        let stopped = stopped.map(|stopped| Err(self.mistake(under_way(done), stopped).into()));
        collected(outcomes.into_iter().chain(stopped))
    }
}

/// This very program, also where its file was replaced or its stick pulled out since it began.
fn this_program() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() { Ok(running) } else { std::env::current_exe() }
}

/// The status of a child that ends by itself, or is killed at `deadline`.
fn ended(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            // An error means that it has just ended.
            let _ = child.kill();
            return child.wait();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Why a child ended that has not answered everything.
fn why(status: ExitStatus) -> Stopped {
    #[cfg(unix)]
    {
        use rustix::process::Signal;
        use std::os::unix::process::ExitStatusExt as _;
        match status.signal() {
            // Out of memory, out of stack: the program ends itself, or a page is not there.
            Some(signal)
                if [Signal::ABORT, Signal::SEGV, Signal::BUS].iter().any(|s| s.as_raw() == signal) =>
            {
                Stopped::Memory
            }
            Some(signal) if signal == Signal::XCPU.as_raw() => Stopped::Cpu,
            signal => Stopped::Otherwise(signal.or_else(|| status.code())),
        }
    }
    #[cfg(not(unix))]
    Stopped::Otherwise(status.code())
}

/// The work of a child, where `arguments` are those of one: reads a job from `input` and answers on `output`.
/// `None`: they are a user's, and the program goes on.
pub fn serve(
    arguments: impl IntoIterator<Item = OsString>,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != CHILD {
        return None;
    }
    let mut number = || arguments.next()?.to_str()?.parse().ok();
    let (memory_bytes, cpu_seconds) = (number(), number());
    let done = confine(memory_bytes, cpu_seconds).and_then(|()| answer(input, output));
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn answer(input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let job: Job = serde_json::from_reader(input)?;
    for outcome in job.outcomes() {
        let outcome: Outcome = outcome;
        let mut line = io::BufWriter::new(&mut *output);
        serde_json::to_writer(&mut line, &outcome)?;
        line.write_all(b"\n")?;
        line.flush()?;
    }
    Ok(())
}

/// Sets the limits of this process. Who asks for no number asks for something else.
fn confine(memory_bytes: Option<u64>, cpu_seconds: Option<u64>) -> io::Result<()> {
    let (Some(memory_bytes), Some(cpu_seconds)) = (memory_bytes, cpu_seconds) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = |what, soft: u64, hard: u64| {
            // Another one may have set less.
            let most = getrlimit(what).maximum.unwrap_or(u64::MAX);
            setrlimit(what, Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) })
        };
        // A core file would hold the values.
        limit(Resource::Core, 0, 0)?;
        limit(Resource::Cpu, cpu_seconds, cpu_seconds + 1)?;
        limit(Resource::As, memory_bytes, memory_bytes)?;
    }
    #[cfg(not(unix))]
    let _ = (memory_bytes, cpu_seconds);
    Ok(())
}
