//! Signals: the first asks for an end in good order, a second Ctrl-C or TERM ends at once.

use ferry_terminal::Class;
use std::io::Write;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first Ctrl-C, TERM or HUP (a dropped SSH session) cancels. A second Ctrl-C or
/// TERM ends the program; a further HUP does nothing, since nobody sent it on purpose. Where HUP is
/// ignored from the start, as below `nohup`, it stays ignored.
///
/// # Errors
/// When the system gives no handlers.
pub(super) fn cancel_on_signal() -> std::io::Result<CancellationToken> {
    cancel_on(!ignores_hangup())
}

fn cancel_on(hears_hangup: bool) -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let cancel = token.clone();
    // Handlers are in place before this returns.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = if hears_hangup { Some(signal(SignalKind::hangup())?) } else { None };
    tokio::spawn(async move {
        loop {
            let again = tokio::select! {
                _ = interrupt.recv() => cancel.is_cancelled(),
                _ = terminate.recv() => cancel.is_cancelled(),
                () = received(hangup.as_mut()) => false,
            };
            if again {
                let _ = writeln!(
                    std::io::stderr(),
                    "\nstopped midway: run the same command again to finish, or install the bundle that ran before"
                );
                std::process::exit(i32::from(Class::Cancelled.code()));
            }
            if !cancel.is_cancelled() {
                let _ = writeln!(
                    std::io::stderr(),
                    "\nstopping in good order; press Ctrl-C again to stop at once"
                );
                cancel.cancel();
            }
        }
    });
    Ok(token)
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// This process was started with HUP ignored (proc(5), `SigIgn`: bit 0 is signal 1).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_session_asks_for_an_end_and_never_kills() {
        let own = || rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP);
        // The tests themselves may run below `nohup`.
        let token = cancel_on(true).unwrap();
        let deaf = cancel_on(false).unwrap();
        // Hears the same signals, so that the test knows when they have come.
        let mut heard = signal(SignalKind::hangup()).unwrap();
        assert!(!token.is_cancelled());
        own().unwrap();
        heard.recv().await;
        token.cancelled().await;
        for _ in 0..20 {
            own().unwrap();
            heard.recv().await;
            tokio::task::yield_now().await;
        }
        assert!(!deaf.is_cancelled(), "below `nohup` a dropped session is nothing");
    }
}
