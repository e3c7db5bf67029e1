//! The engine's events as a signal to look again.
//!
//! Events are not trusted to be complete: an engine drops them under load, and a connection can break.
//! So they carry no data here. A waiter looks at the container itself, then waits for the next
//! signal or for a slow tick, whichever comes first.

use super::Engine;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks when no event comes.
const TICK: Duration = Duration::from_secs(1);

/// Before a broken event stream is opened again.
const REOPEN: Duration = Duration::from_millis(500);

/// Signals that some container changed. Clones wait independently. The connection is closed when
/// the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Events {
    changes: watch::Receiver<u64>,
}

impl Engine {
    /// Begins to listen for changes of containers that carry `label=value`.
    #[must_use]
    pub fn events(&self, label: &str, value: &str) -> Events {
        let (sender, changes) = watch::channel(0_u64);
        let docker = self.docker.clone();
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![format!("{label}={value}")]),
        ]);
        tokio::spawn(async move {
            loop {
                let options = EventsOptionsBuilder::new().filters(&filters).build();
                let mut events = docker.events(Some(options)).boxed();
                loop {
                    let event = tokio::select! {
                        event = events.next() => event,
                        () = sender.closed() => return,
                    };
                    let Some(Ok(event)) = event else { break };
                    let action = event.action.unwrap_or_default();
                    // Probes make two events each; only their outcome matters.
                    if !action.starts_with("exec_") {
                        sender.send_modify(|count| *count = count.wrapping_add(1));
                    }
                }
                tokio::select! {
                    () = tokio::time::sleep(REOPEN) => {}
                    () = sender.closed() => return,
                }
            }
        });
        Events { changes }
    }
}

impl Events {
    /// Returns at the next change since the last return, or after a second at the latest.
    pub async fn changed(&mut self) {
        if let Ok(Err(_)) = tokio::time::timeout(TICK, self.changes.changed()).await {
            // The listener is gone (the runtime is shutting down): still no busy loop.
            tokio::time::sleep(TICK).await;
        }
    }
}
