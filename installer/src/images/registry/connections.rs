//! The connections of the registry. Every process of the host can open some, so those whose owner has not shown
//! that it knows the repository are bounded in number and in time, and hold nothing that the engine needs.

use rustix::net::sockopt;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Connections of strangers at once. A process may often have 1024 descriptors.
const STRANGERS: usize = 256;

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Longest wait for the first byte, and for the head of each request.
    pub head: Duration,
    /// Longest time in which a peer reads nothing of what is sent.
    pub write: Duration,
}

impl Patience {
    /// An engine sends its head at once, and its disk can be busy for a while before it reads on.
    pub(super) const USUAL: Self = Self { head: Duration::from_secs(20), write: Duration::from_secs(120) };
}

/// Set once the owner of a connection has named the repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<AtomicBool>);

impl Known {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves each connection by `serve` until this future is dropped, and the connections with it.
pub(super) async fn accept<F>(
    listener: TcpListener,
    patience: Patience,
    serve: impl Fn(TcpStream, Known) -> F + Send,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut strangers: VecDeque<(AbortHandle, Known)> = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // The kernel ends a connection whose peer takes nothing.
                    let milliseconds = u32::try_from(patience.write.as_millis()).unwrap_or(u32::MAX);
                    let _ = sockopt::set_tcp_user_timeout(&stream, milliseconds);
                    let known = Known::default();
                    let task = connections.spawn(serve(stream, known.clone()));
                    strangers.retain(|(task, known)| !task.is_finished() && !known.is_set());
                    strangers.push_back((task, known));
                    // An engine asks as soon as it is connected, so the oldest is not its.
                    if strangers.len() > STRANGERS
                        && let Some((oldest, _)) = strangers.pop_front()
                    {
                        oldest.abort();
                    }
                }
                // Out of descriptors, perhaps: connections that end give some back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    async fn serving<F: Future<Output = ()> + Send + 'static>(
        write: Duration,
        serve: impl Fn(TcpStream, Known) -> F + Send + 'static,
    ) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Patience { write, ..Patience::USUAL };
        (address, tokio::spawn(accept(listener, patience, serve)))
    }

    /// Names the repository where it sends `k`, and is held then.
    async fn holding(mut stream: TcpStream, known: Known) {
        while let Ok(byte) = stream.read_u8().await {
            if byte == b'k' {
                known.set();
                stream.write_all(b"!").await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn strangers_push_each_other_out_and_never_one_who_named_the_repository() {
        let (address, accepting) = serving(Duration::from_secs(60), holding).await;
        let mut known = TcpStream::connect(address).await.unwrap();
        known.write_all(b"k").await.unwrap();
        assert_eq!(known.read_u8().await.unwrap(), b'!');
        let mut strangers = Vec::new();
        for _ in 0..=STRANGERS {
            strangers.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(strangers.remove(0).read_u8().await.is_err(), "the oldest stranger is closed");
        let mut last = strangers.pop().unwrap();
        for stream in [&mut known, &mut last] {
            stream.write_all(b"k").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'!');
        }
        accepting.abort();
        assert!(accepting.await.is_err());
        assert!(known.read_u8().await.is_err(), "connections end with the registry");
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_left() {
        let (ended, mut has_ended) = tokio::sync::mpsc::channel(1);
        let (address, _accepting) = serving(Duration::from_millis(300), move |mut stream, _| {
            let ended = ended.clone();
            async move {
                while stream.write_all(&[0; 1 << 16]).await.is_ok() {}
                let _ = ended.send(()).await;
            }
        })
        .await;
        let _held = TcpStream::connect(address).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), has_ended.recv()).await;
        assert!(ended.is_ok(), "it is written to for ever");
    }
}
