//! A read-only registry on the loopback address that streams straight from the verified bundle
//! (OCI distribution-spec 1.1, "Pull"). The engine pulls from it: nothing is unpacked to disk first,
//! layers the engine has are not sent, and digests pin what arrives.
//!
//! It serves only what the signed release names, only by digest, only to 127.0.0.1, and only while
//! an install runs. Each frame is hashed against the signed index as it is read. Every process of the host
//! reaches it, so its only repository has a random name, which the engine alone is told.

mod connections;

use super::read_failure::ReadFailure;
use crate::engine::EngineError;
use crate::host::random;
use anyhow::{Context, Result};
use bundle_format::read_ahead::ReadAhead;
use bundle_format::{Bundle, FormatError, ReadAt};
use bytes::Bytes;
use connections::{Known, Patience};
use ferry_terminal::Failure;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use manifest_schema::Digest;
use manifest_schema::progress::Progress;
use manifest_schema::release::{Layer, ManifestEntry, Manifests, Span};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Frames of one layer that are decompressed at once.
const THREADS_PER_LAYER: usize = 2;

/// Layers that are sent at once. Engines fetch three by default; each takes up to 50 MiB here.
const STREAMS: usize = 3;

/// Letters of the repository's name, 160 bits.
const NAME_LETTERS: usize = 32;

/// A registry that serves until it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    repository: String,
    broken: ReadFailure,
    accepting: JoinHandle<()>,
}

/// One thing that can be fetched as a blob.
#[derive(Debug, Clone)]
enum Blob {
    /// Frames as they lie in the file: a zstd layer.
    Frames { frames: Range<usize>, size: u64 },
    /// Content: a tar layer, a preserved blob, an image configuration.
    Content(Span),
}

struct Catalogue<S> {
    /// Of the repository's name: comparing it takes a time that says nothing about the name.
    repository: Digest,
    bundle: Arc<Bundle<S>>,
    manifests: BTreeMap<Digest, ManifestEntry>,
    blobs: BTreeMap<Digest, Blob>,
    progress: Arc<dyn Progress>,
    broken: ReadFailure,
    streams: Arc<Semaphore>,
}

impl Registry {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start<S: ReadAt + 'static>(
        bundle: Arc<Bundle<S>>,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening on 127.0.0.1")?;
        let address = listener.local_addr().context("listening on 127.0.0.1")?;
        let broken = ReadFailure::default();
        let repository = random::lower_case(NAME_LETTERS);
        let catalogue = Arc::new(Catalogue::new(&repository, bundle, progress, broken.clone())?);
        let patience = Patience::USUAL;
        let serve = move |stream, known| serve(stream, Arc::clone(&catalogue), known, patience);
        let accepting = tokio::spawn(connections::accept(listener, patience, serve));
        Ok(Self { address, repository, broken, accepting })
    }

    /// Why the bundle could not be read, if that is why a pull failed.
    #[must_use]
    pub(crate) const fn broken(&self) -> &ReadFailure {
        &self.broken
    }

    /// The name of its repository, with the registry's address: `127.0.0.1:41234/0f3a…`.
    #[must_use]
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.address, self.repository)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl<S: ReadAt + 'static> Catalogue<S> {
    fn new(
        repository: &str,
        bundle: Arc<Bundle<S>>,
        progress: Arc<dyn Progress>,
        broken: ReadFailure,
    ) -> Result<Self> {
        let release = bundle.release();
        let (mut manifests, mut blobs) = (BTreeMap::new(), BTreeMap::new());
        for layer in &release.layers {
            blobs.insert(layer.digest, Blob::Content(layer.span));
            let frames = bundle.layer_frames(layer)?;
            if layer.zstd.size > 0 {
                blobs.insert(layer.zstd.digest, Blob::Frames { frames, size: layer.zstd.size });
            }
        }
        for image in &release.images {
            blobs.insert(image.config.digest, Blob::Content(image.config.span));
            let entries: Vec<&ManifestEntry> = match &image.manifests {
                Manifests::Repacked { tar, zstd } => vec![tar, zstd],
                Manifests::Preserved { original, index, .. } => {
                    std::iter::once(original).chain(index.as_ref()).collect()
                }
            };
            manifests.extend(entries.into_iter().map(|entry| (entry.digest, entry.clone())));
        }
        let repository = Digest::of(repository.as_bytes());
        let streams = Arc::new(Semaphore::new(STREAMS));
        Ok(Self { repository, bundle, manifests, blobs, progress, broken, streams })
    }

    fn answer(&self, method: &Method, path: &str, known: &Known) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            return error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        };
        if rest.is_empty() {
            return respond(StatusCode::OK, "application/json", None, 2, full("{}"), method);
        }
        let mut parts = rest.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let (repository, kind, reference) = (part(), part(), part());
        if Digest::of(repository.as_bytes()) != self.repository {
            return last(error(StatusCode::NOT_FOUND, "NAME_UNKNOWN"));
        }
        known.set();
        let Ok(digest) = reference.parse::<Digest>() else {
            return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
        };
        match kind {
            "manifests" => match self.manifests.get(&digest) {
                Some(entry) => {
                    let body = full(entry.content.clone());
                    let size = entry.content.len() as u64;
                    respond(StatusCode::OK, &entry.media_type, Some(digest), size, body, method)
                }
                None => error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            },
            "blobs" => match self.blobs.get(&digest) {
                Some(blob) => self.blob(blob, digest, method),
                None => error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            },
            _ => error(StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        }
    }

    fn blob(&self, blob: &Blob, digest: Digest, method: &Method) -> Response<Body> {
        let size = match blob {
            Blob::Frames { size, .. } => *size,
            Blob::Content(span) => span.size,
        };
        let body = if method == Method::HEAD { full("") } else { self.streamed(blob.clone()) };
        respond(StatusCode::OK, "application/octet-stream", Some(digest), size, body, method)
    }
}

impl<S: ReadAt + 'static> Catalogue<S> {
    /// The bytes of a blob, read only once they are asked for and it is this stream's turn.
    fn streamed(&self, blob: Blob) -> Body {
        let (bundle, progress, broken) =
            (Arc::clone(&self.bundle), Arc::clone(&self.progress), self.broken.clone());
        let streams = Arc::clone(&self.streams);
        let stream = async move {
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            // They are never closed. A connection that ends gives its turn back.
            let turn = streams.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let frames = match blob {
                    Blob::Frames { frames, .. } => {
                        Ok(ReadAhead::compressed(&bundle, frames, THREADS_PER_LAYER))
                    }
                    Blob::Content(span) => ReadAhead::content(&bundle, span, THREADS_PER_LAYER),
                };
                let send = |content: Result<Vec<u8>, FormatError>| {
                    let item = content.map_err(|error| broken.note(error));
                    progress.advance(item.as_ref().map_or(0, |content| content.len() as u64));
                    let failed = item.is_err();
                    let item = item.map(|content| Frame::data(Bytes::from(content)));
                    sender.blocking_send(item).is_ok() && !failed
                };
                let _ = match frames {
                    Ok(mut frames) => frames.all(send),
                    Err(error) => send(Err(error)),
                };
                drop(turn);
            });
            futures_util::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|item| (item, receiver))
            })
        };
        BodyExt::boxed_unsync(StreamBody::new(stream.flatten_stream()))
    }
}

async fn serve<S: ReadAt + 'static>(
    mut stream: TcpStream,
    catalogue: Arc<Catalogue<S>>,
    known: Known,
    patience: Patience,
) {
    // Engines try TLS first, also on the loopback address. The containerd store takes only an HTTP
    // answer as a no; a closed connection makes it give up.
    let mut first = [0];
    let peeked = tokio::time::timeout(patience.head, stream.peek(&mut first)).await;
    if !peeked.is_ok_and(|peeked| peeked.is_ok_and(|read| read == 1)) {
        return;
    }
    if first == [0x16] {
        let _ = stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        return;
    }
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = catalogue.answer(request.method(), request.uri().path(), &known);
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    // A broken connection is the engine's to report.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(patience.head)
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
}

fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

fn respond(
    status: StatusCode,
    media_type: &str,
    digest: Option<Digest>,
    size: u64,
    body: Body,
    method: &Method,
) -> Response<Body> {
    let mut builder = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, media_type)
        .header(header::CONTENT_LENGTH, size)
        .header("docker-distribution-api-version", "registry/2.0");
    if let Some(digest) = digest {
        builder = builder.header("docker-content-digest", digest.to_string());
    }
    let body = if method == Method::HEAD { full("") } else { body };
    builder.body(body).unwrap_or_else(|_| error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"))
}

fn error(status: StatusCode, code: &str) -> Response<Body> {
    let mut response =
        Response::new(full(format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"\"}}]}}")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// The last answer on its connection.
fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

/// A registry like this one gave the name `name`, `127.0.0.1:41234/…@sha256:…`. Until 0.2.0 the repository was that
/// of the image, `own`.
#[must_use]
pub(super) fn has_named(name: &str, own: &str) -> bool {
    let Some((port, rest)) = name.strip_prefix("127.0.0.1:").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let repository = rest.split_once('@').map_or("", |(repository, _)| repository);
    let random =
        repository.len() == NAME_LETTERS && repository.bytes().all(|b| random::LOWER_CASE.contains(&b));
    port.parse::<u16>().is_ok() && (random || repository == own)
}

/// Bytes the registry will send for `layer`.
#[must_use]
pub(crate) const fn served_bytes(layer: &Layer, zstd: bool) -> u64 {
    if zstd && layer.zstd.size > 0 { layer.zstd.size } else { layer.span.size }
}

/// The engine did not take the images: because the bundle could not be read, or for a reason of its own.
pub(super) fn not_taken(error: EngineError, broken: Option<Failure>) -> anyhow::Error {
    if let Some(broken) = broken {
        return broken.into();
    }
    let hint = error.hint();
    let failure = Failure::new(error.class(), "the engine did not take the images").because(error);
    failure
        .hint(hint.unwrap_or_else(|| {
            "run the same command again: images that came in are not sent again".to_owned()
        }))
        .into()
}
