//! A read-only registry on the loopback address that streams straight from the verified bundle
//! (OCI distribution-spec 1.1, "Pull"). The engine pulls from it: nothing is unpacked to disk first,
//! layers the engine has are not sent, and digests pin what arrives.
//!
//! It serves only what the signed release names, only by digest, only to 127.0.0.1, and only while
//! an install runs. Each frame is hashed against the signed index as it is read.

use crate::bundle_errors;
use crate::engine::EngineError;
use anyhow::{Context, Result};
use bundle_format::read_ahead::ReadAhead;
use bundle_format::{Bundle, FormatError, ReadAt};
use bytes::Bytes;
use ferry_terminal::{Class, Failure, failure};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use manifest_schema::Digest;
use manifest_schema::progress::Progress;
use manifest_schema::release::{Layer, ManifestEntry, Manifests, Span};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

type Body = BoxBody<Bytes, std::io::Error>;

/// Frames of one layer that are decompressed at once.
const THREADS_PER_LAYER: usize = 2;

/// Layers that are sent at once. Engines fetch three by default; each takes up to 50 MiB here.
const STREAMS: usize = 3;

/// A registry that serves until it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    broken: ReadFailure,
    accepting: JoinHandle<()>,
}

/// The first error while reading the bundle. The engine only sees the connection break.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadFailure(Arc<OnceLock<String>>);

impl ReadFailure {
    /// Keeps `error` if it is the first, and gives it on as one for a stream.
    pub(crate) fn note(&self, error: FormatError) -> std::io::Error {
        let _ = self.0.set(failure::chain(&error));
        std::io::Error::other(error)
    }

    /// The first error, as a failure of the medium.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.0.get().map(|text| bundle_errors::unreadable(text))
    }
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
        let catalogue = Arc::new(Catalogue::new(bundle, progress, broken.clone())?);
        let accepting = tokio::spawn(async move {
            // Connections end with the registry: they are tasks of this one.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => { connections.spawn(serve(stream, Arc::clone(&catalogue))); }
                        // Out of descriptors, perhaps: connections that end give some back.
                        Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, broken, accepting })
    }

    /// Why the bundle could not be read, if that is why a pull failed.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.broken.failure()
    }

    #[must_use]
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl<S: ReadAt + 'static> Catalogue<S> {
    fn new(bundle: Arc<Bundle<S>>, progress: Arc<dyn Progress>, broken: ReadFailure) -> Result<Self> {
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
        Ok(Self { bundle, manifests, blobs, progress, broken, streams: Arc::new(Semaphore::new(STREAMS)) })
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            return error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        };
        if rest.is_empty() {
            return respond(StatusCode::OK, "application/json", None, 2, full("{}"), method);
        }
        let mut parts = rest.rsplitn(3, '/');
        let (reference, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
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
    /// The bytes of a blob, read only once it is this stream's turn.
    fn streamed(&self, blob: Blob) -> Body {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let (bundle, progress, broken) =
            (Arc::clone(&self.bundle), Arc::clone(&self.progress), self.broken.clone());
        let streams = Arc::clone(&self.streams);
        tokio::spawn(async move {
            let Ok(turn) = streams.acquire_owned().await else { return };
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
        });
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        });
        BodyExt::boxed(StreamBody::new(stream))
    }
}

async fn serve<S: ReadAt + 'static>(mut stream: TcpStream, catalogue: Arc<Catalogue<S>>) {
    // Engines try TLS first, also on the loopback address. The containerd store takes only an HTTP
    // answer as a no; a closed connection makes it give up.
    let mut first = [0];
    if stream.peek(&mut first).await.is_ok_and(|read| read == 1) && first == [0x16] {
        let _ = stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        return;
    }
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = catalogue.answer(request.method(), request.uri().path());
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    // A broken connection is the engine's to report.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
}

fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed()
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
    let failure = Failure::new(Class::Engine, "the engine did not take the images").because(error);
    failure
        .hint(hint.unwrap_or_else(|| {
            "run the same command again: images that came in are not sent again".to_owned()
        }))
        .into()
}
