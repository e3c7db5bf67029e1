//! A program under way: what it writes line by line, signals to it, and a deadline.

use crate::outcome::Outcome;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// No program under test takes this long; one that hangs is ended and shown.
const DEADLINE: Duration = Duration::from_secs(120);

enum Event {
    Stdout(String),
    Stderr(String),
    Ended(ExitStatus),
}

/// A running program.
pub struct Running {
    pid: Pid,
    events: Receiver<Event>,
    stdout: String,
    stderr: String,
    command: String,
    deadline: Instant,
    status: Option<ExitStatus>,
    input: Option<ChildStdin>,
}

impl Running {
    /// Starts a command, with nothing on standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::launch(command.stdin(Stdio::null()))
    }

    /// Starts a command that will be typed to.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start_with_input(command: &mut Command) -> Self {
        Self::launch(command.stdin(Stdio::piped()))
    }

    #[track_caller]
    fn launch(command: &mut Command) -> Self {
        let shown = shown(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let input = child.stdin.take();
        let pid = Pid::from_child(&child);
        Self {
            pid,
            events: watch(child),
            stdout: String::new(),
            stderr: String::new(),
            command: shown,
            deadline: Instant::now() + DEADLINE,
            status: None,
            input,
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// When the program takes none.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
    }

    /// Types keys, without Enter.
    ///
    /// # Panics
    /// When the program takes none.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(keys.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Waits for a line on standard error for which `wanted` holds; `false` when the program ends
    /// without one.
    ///
    /// # Panics
    /// When neither happens.
    #[track_caller]
    pub fn wait_for(&mut self, mut wanted: impl FnMut(&str) -> bool) -> bool {
        self.wait(|line, is_error| is_error && wanted(line))
    }

    /// Waits for a line on standard output for which `wanted` holds; `false` when the program ends
    /// without one.
    ///
    /// # Panics
    /// When neither happens.
    #[track_caller]
    pub fn wait_for_output(&mut self, mut wanted: impl FnMut(&str) -> bool) -> bool {
        self.wait(|line, is_error| !is_error && wanted(line))
    }

    #[track_caller]
    fn wait(&mut self, mut wanted: impl FnMut(&str, bool) -> bool) -> bool {
        while self.status.is_none() {
            let (line, is_error) = match self.next() {
                Event::Stderr(line) => (line, true),
                Event::Stdout(line) => (line, false),
                Event::Ended(status) => {
                    self.status = Some(status);
                    break;
                }
            };
            let found = wanted(line.trim_end(), is_error);
            let all = if is_error { &mut self.stderr } else { &mut self.stdout };
            all.push_str(&line);
            if found {
                return true;
            }
        }
        false
    }

    /// Takes in what it writes until `instant`; `false` when it ends before.
    #[must_use]
    pub fn runs_until(&mut self, instant: Instant) -> bool {
        while self.status.is_none() {
            match self.events.recv_timeout(instant.saturating_duration_since(Instant::now())) {
                Ok(Event::Stdout(line)) => self.stdout.push_str(&line),
                Ok(Event::Stderr(line)) => self.stderr.push_str(&line),
                Ok(Event::Ended(status)) => self.status = Some(status),
                Err(_) => return true,
            }
        }
        false
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the program has ended and been waited for.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        // Between its end and the wait for it a signal goes nowhere, which is right.
        let _ = kill_process(self.pid, signal);
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    #[must_use]
    pub fn end(mut self) -> Outcome {
        self.wait_for(|_| false);
        // Lines can still be under way when the end is known.
        while let Ok(event) = self.events.recv_timeout(Duration::from_secs(10)) {
            match event {
                Event::Stdout(line) => self.stdout.push_str(&line),
                Event::Stderr(line) => self.stderr.push_str(&line),
                Event::Ended(status) => self.status = Some(status),
            }
        }
        let status = self.status.unwrap();
        Outcome {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
            command: std::mem::take(&mut self.command),
        }
    }

    #[track_caller]
    fn next(&mut self) -> Event {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.signal(Signal::KILL);
                panic!(
                    "{} did not end within {DEADLINE:?}\n--- stdout\n{}--- stderr\n{}",
                    self.command, self.stdout, self.stderr
                )
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.signal(Signal::KILL);
        }
    }
}

fn watch(mut child: Child) -> Receiver<Event> {
    let (sender, receiver) = channel();
    let (out, err) = (sender.clone(), sender.clone());
    let stdout = lines(child.stdout.take(), move |line| out.send(Event::Stdout(line)).is_ok());
    let stderr = lines(child.stderr.take(), move |line| err.send(Event::Stderr(line)).is_ok());
    thread::spawn(move || {
        let status = child.wait();
        let _ = (stdout.join(), stderr.join());
        if let Ok(status) = status {
            let _ = sender.send(Event::Ended(status));
        }
    });
    receiver
}

fn lines(
    stream: Option<impl Read + Send + 'static>,
    take: impl Fn(String) -> bool + Send + 'static,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let Some(stream) = stream else { return };
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if !take(String::from_utf8_lossy(&line).into_owned()) {
                return;
            }
            line.clear();
        }
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
