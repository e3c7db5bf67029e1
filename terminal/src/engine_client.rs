//! Requests to an engine whose answers have an end: bollard keeps an answer in memory whole, however long it is.
//!
//! Each request has a connection of its own, which fails once the answer is longer, or takes longer, than any true one.

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::{Stream, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use std::io;
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The longest document: a list of 10,000 containers has some 30 MiB.
const MAX_DOCUMENT: u64 = 64 << 20;

/// The longest report on work under way: a pull of hours reports each layer ten times a second.
const MAX_REPORT: u64 = 512 << 20;

/// A document that has begun to come is whole within this time.
const DOCUMENT_TIME: Duration = Duration::from_secs(120);

/// The address of an engine.
#[derive(Debug, Clone)]
pub enum Address {
    /// A socket's path.
    #[cfg(unix)]
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

/// A client of the engine at `address`; nothing is sent yet. The head of each answer has to come within `timeout`.
///
/// # Errors
/// Never with these addresses.
pub fn connect(address: Address, timeout: Duration) -> Result<Docker, Error> {
    let address = Arc::new(address);
    let send = move |request| send(Arc::clone(&address), request);
    Docker::connect_with_custom_transport(send, Some("http://engine"), timeout.as_secs(), API_DEFAULT_VERSION)
}

/// The lines of an engine's report on work under way, with the end that the engine gave it. Its last line can come in two reads, between
/// the JSON and the line break; bollard then takes the break for a further line that was cut off.
///
/// A line that is truly cut off ends the report as well: what the work came to is to be asked from the engine.
pub fn report<T>(lines: impl Stream<Item = Result<T, Error>>) -> impl Stream<Item = Result<T, Error>> {
    lines.take_while(|line| std::future::ready(!matches!(line, Err(error) if is_left_over(error))))
}

/// True for the error of `tokio_util::codec` on bytes behind the last line: no connection of hyper's ends with it.
fn is_left_over(error: &Error) -> bool {
    matches!(error, Error::IOError { err } if err.to_string() == "bytes remaining on stream")
}

async fn send(address: Arc<Address>, request: BollardRequest) -> Result<Response<Incoming>, Error> {
    match &*address {
        #[cfg(unix)]
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::other(format!("Socket not found: {}", path.display())),
                _ => error,
            })?;
            over(stream, "localhost", request).await
        }
        Address::Tcp(host) => over(tokio::net::TcpStream::connect(host.as_str()).await?, host, request).await,
    }
}

async fn over<S>(stream: S, host: &str, mut request: BollardRequest) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The form that a server takes which is no proxy (RFC 9112, 3.2.1).
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let bounds = bounds(request.uri().path());
    *request.uri_mut() = target.parse::<Uri>().map_err(io::Error::other)?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(io::Error::other)?);
    let stream = TokioIo::new(Bounded { stream, left: bounds.bytes, time: bounds.time, end: None });
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    // It ends with the answer, or with the task that no longer wants it.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

/// The bounds of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    /// Its bytes; `None` where it is a stream that nobody keeps.
    bytes: Option<u64>,
    /// From its first byte to its last, where it is made at once.
    time: Option<Duration>,
}

fn bounds(path: &str) -> Bounds {
    let mut parts = path.rsplit('/');
    let (bytes, time) = match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("get" | "archive" | "logs" | "attach" | "events", _) => (None, None),
        ("start", _) if path.contains("/exec/") => (None, None),
        ("load" | "create", "images") => (Some(MAX_REPORT), None),
        // Its head comes at once, and its body when the container has ended.
        ("wait", _) => (Some(MAX_DOCUMENT), None),
        _ => (Some(MAX_DOCUMENT), Some(DOCUMENT_TIME)),
    };
    Bounds { bytes, time }
}

/// A connection that fails after so many bytes were read, or so long after the first.
struct Bounded<S> {
    stream: S,
    left: Option<u64>,
    time: Option<Duration>,
    end: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before) as u64;
        if read > 0 && self.end.is_none() {
            self.end = self.time.map(|time| Box::pin(tokio::time::sleep(time)));
        }
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Err(io::Error::other("its answer does not end")));
        }
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(read) else {
                return Poll::Ready(Err(io::Error::other("its answer is longer than any of an engine")));
            };
            *left = rest;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A server that answers each request with `head` and then `body` again and again, until nobody reads.
    async fn endless(head: &'static str, body: &'static [u8]) -> (Address, tokio::task::JoinHandle<u64>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut sent = 0;
            while stream.write_all(body).await.is_ok() {
                sent += body.len() as u64;
            }
            sent
        });
        (address, server)
    }

    #[tokio::test]
    async fn a_document_that_never_ends_is_cut() {
        const SPACES: &[u8] = &[b' '; 1 << 16];
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{",
            "HTTP/1.1 500 Internal Server Error\r\n\r\n",
        ] {
            let (address, server) = endless(head, SPACES).await;
            let docker = connect(address, Duration::from_secs(20)).unwrap();
            let mut cause: &dyn std::error::Error = &docker.info().await.unwrap_err();
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            assert!(cause.to_string().contains("longer than any"), "{cause}");
            let sent = server.await.unwrap();
            assert!((MAX_DOCUMENT..2 * MAX_DOCUMENT).contains(&sent), "{sent}");
        }
        // hyper's own limit on a head.
        let (address, server) = endless("HTTP/1.1 200 OK\r\nx: ", SPACES).await;
        assert!(connect(address, Duration::from_secs(20)).unwrap().info().await.is_err());
        assert!(server.await.unwrap() < MAX_DOCUMENT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_drips_is_cut() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{").await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        let began = tokio::time::Instant::now();
        let docker = connect(address, Duration::from_secs(20)).unwrap();
        assert!(docker.info().await.is_err());
        assert!(began.elapsed() < 2 * DOCUMENT_TIME, "{:?}", began.elapsed());
        server.abort();
    }

    /// Each line of a report is cut once at each of its bytes, as a read can cut it.
    #[tokio::test]
    async fn a_report_ends_where_the_engine_ended_it() {
        const LINES: [&str; 2] = ["{\"status\":\"Pulling\"}\r\n", "{\"status\":\"Done\"}\r\n"];
        let whole = LINES.concat();
        for cut in 1..whole.len() {
            let (address, server) = in_parts([&whole[..cut], &whole[cut..]]).await;
            let docker = connect(address, Duration::from_secs(20)).unwrap();
            let options = bollard::query_parameters::CreateImageOptionsBuilder::new().from_image("a").build();
            let lines: Vec<_> = report(docker.create_image(Some(options), None, None)).collect().await;
            let said: Vec<_> = lines.into_iter().map(|line| line.unwrap().status.unwrap()).collect();
            assert_eq!(said, ["Pulling", "Done"], "cut at {cut}");
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_report_whose_connection_breaks_is_an_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"sta")
                .await
                .unwrap();
        });
        let docker = connect(address, Duration::from_secs(20)).unwrap();
        let options = bollard::query_parameters::CreateImageOptionsBuilder::new().from_image("a").build();
        let lines: Vec<_> = report(docker.create_image(Some(options), None, None)).collect().await;
        assert!(lines.iter().any(Result::is_err), "{lines:?}");
        server.await.unwrap();
    }

    /// A server that answers one request with `parts`, one chunk each, and a pause between them.
    async fn in_parts(parts: [&str; 2]) -> (Address, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let parts = parts.map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            for part in parts {
                stream.write_all(part.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        });
        (address, server)
    }

    #[test]
    fn streams_have_no_limit_and_reports_a_high_one() {
        let bytes = |path| bounds(path).bytes;
        assert_eq!(bytes("/v1.41/images/acme/api:1/get"), None);
        assert_eq!(bytes("/containers/get/json"), Some(MAX_DOCUMENT));
        assert_eq!(bytes("/v1.41/containers/x/archive"), None);
        assert_eq!(bytes("/v1.41/exec/0f/start"), None);
        assert_eq!(bytes("/v1.41/containers/x/start"), Some(MAX_DOCUMENT));
        assert_eq!(bytes("/images/create"), Some(MAX_REPORT));
        assert_eq!(bytes("/v1.41/containers/create"), Some(MAX_DOCUMENT));
        assert_eq!(bounds("/containers/x/wait").time, None);
        assert_eq!(bounds("/info").time, Some(DOCUMENT_TIME));
    }
}
