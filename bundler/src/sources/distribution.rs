//! The HTTP of a registry (OCI distribution-spec 1.1, "Pull"; tokens as the Distribution project's "Token
//! Authentication Specification" has them): the one file here that names reqwest.
//!
//! It is written by hand: oci-client 0.18 reads every answer of a registry and of its token service whole, whatever
//! its length, so that a document without an end fills the memory.
//!
//! Invariants: every answer has a ceiling on its bytes and on its time, whatever its head announces; hyper bounds
//! heads. Passwords and tokens go to the registry and to the token service that it names, over TLS or on this
//! machine, and redirects to other hosts do not carry them.

use super::credentials::Credentials;
use anyhow::{Context, anyhow, bail};
use manifest_schema::Digest;
use manifest_schema::limits::MAX_IMAGE_JSON_BYTES;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RANGE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Tokens have a few KiB.
const MAX_TOKEN_BYTES: u64 = 256 << 10;
/// The body of an answer that is an error.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// Redirects of one request: to a mirror, and to the store behind it.
const MAX_REDIRECTS: usize = 5;

/// How long a registry may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for the head of an answer, with its redirects.
    pub head: Duration,
    /// Longest wait for a whole document.
    pub document: Duration,
    /// In each time of this length a blob brings at least `bytes`.
    pub window: Duration,
    pub bytes: u64,
}

impl Patience {
    /// A slow line brings more than a KiB a second.
    pub(super) const USUAL: Self = Self {
        connect: Duration::from_secs(15),
        head: Duration::from_secs(60),
        document: Duration::from_secs(120),
        window: Duration::from_secs(60),
        bytes: 64 << 10,
    };
}

/// Why a registry did not give something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Trying again may help.
    #[error("{0}")]
    Passing(String),
    /// It will not.
    #[error("{0}")]
    Final(String),
}

/// One repository of a registry.
pub(super) struct Repository {
    http: reqwest::Client,
    base: String,
    name: String,
    credentials: Credentials,
    authorization: Mutex<Option<HeaderValue>>,
    patience: Patience,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Repository {
    pub(super) fn new(
        domain: &str,
        name: &str,
        credentials: Credentials,
        patience: Patience,
    ) -> anyhow::Result<Self> {
        // Fails only where one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let follow = reqwest::redirect::Policy::custom(|attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("it redirects without end")
            } else if is_safe(attempt.url()) {
                attempt.follow()
            } else {
                attempt.error("it redirects to plain HTTP")
            }
        });
        let http = reqwest::Client::builder()
            .connect_timeout(patience.connect)
            .user_agent(concat!("ferry/", env!("CARGO_PKG_VERSION")))
            .redirect(follow)
            .build()?;
        let scheme = if is_loopback(domain) { "http" } else { "https" };
        let host = if domain == "docker.io" { "index.docker.io" } else { domain };
        Ok(Self {
            http,
            base: format!("{scheme}://{host}/v2/"),
            name: name.to_owned(),
            credentials,
            authorization: Mutex::new(None),
            patience,
        })
    }

    /// The manifest at `reference`, a tag or a digest, at most [`MAX_IMAGE_JSON_BYTES`].
    ///
    /// # Errors
    /// When it does not come whole in time.
    pub(super) async fn manifest(&self, reference: &str, accepted: &[&str]) -> anyhow::Result<Vec<u8>> {
        let work = async {
            let url = format!("{}{}/manifests/{reference}", self.base, self.name);
            let answer = self.get(&url, &[(ACCEPT, accepted.join(", "))]).await?;
            document(answer, MAX_IMAGE_JSON_BYTES, "a manifest").await
        };
        timeout(self.patience.document, work).await.context("it took too long to send a manifest")?
    }

    /// The blob `digest` from the byte `from` on.
    ///
    /// # Errors
    /// When it does not begin in time.
    pub(super) async fn blob(&self, digest: &Digest, from: u64) -> anyhow::Result<Blob> {
        let url = format!("{}{}/blobs/{digest}", self.base, self.name);
        let range = [(RANGE, format!("bytes={from}-"))];
        let answer = self.get(&url, if from > 0 { &range } else { &[] }).await?;
        let continues = answer.status() == StatusCode::PARTIAL_CONTENT;
        let ends = Instant::now() + self.patience.window;
        Ok(Blob { answer, continues, patience: self.patience, ends, got: 0 })
    }

    async fn get(
        &self,
        url: &str,
        headers: &[(reqwest::header::HeaderName, String)],
    ) -> anyhow::Result<Response> {
        let answer = self.send(url, headers).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return good(answer).await;
        }
        // No token yet, or one that has expired.
        let Some(authorization) = self.authorize(&answer).await? else { return good(answer).await };
        *self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(authorization);
        good(self.send(url, headers).await?).await
    }

    async fn send(
        &self,
        url: &str,
        headers: &[(reqwest::header::HeaderName, String)],
    ) -> anyhow::Result<Response> {
        let mut request = self.http.get(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let known = self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(authorization) = known {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.head(request).await
    }

    async fn head(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
        let late = || Refused::Passing("it did not answer in time".to_owned());
        let answer = timeout(self.patience.head, request.send()).await.map_err(|_| late())?;
        answer.map_err(|error| {
            let passing = Refused::Passing("it cannot be reached".to_owned());
            anyhow::Error::new(error).context(passing)
        })
    }

    /// The header that the challenge of `answer` asks for; `None` where there is nothing to give.
    async fn authorize(&self, answer: &Response) -> anyhow::Result<Option<HeaderValue>> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE);
        let texts: Vec<&str> = headers.iter().filter_map(|header| header.to_str().ok()).collect();
        let challenges = texts.iter().filter_map(|text| http_auth::parse_challenges(text).ok()).flatten();
        for challenge in challenges {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let parameter = |wanted: &str| {
                    let mut all = challenge.params.iter();
                    all.find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                        .map(|(_, value)| value.to_unescaped())
                };
                let realm = parameter("realm").unwrap_or_default();
                return self.token(&realm, parameter("service").as_deref()).await.map(Some);
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                let Credentials::Password { user, password } = &self.credentials else { return Ok(None) };
                let request = self.http.get(&self.base).basic_auth(user, Some(password)).build()?;
                return Ok(request.headers().get(AUTHORIZATION).cloned());
            }
        }
        Ok(None)
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> anyhow::Result<HeaderValue> {
        let mut url = Url::parse(realm).context("it names no token service")?;
        if !is_safe(&url) {
            bail!(Refused::Final("its token service speaks plain HTTP".to_owned()));
        }
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &format!("repository:{}:pull", self.name));
        let mut request = self.http.get(url);
        if let Credentials::Password { user, password } = &self.credentials {
            request = request.basic_auth(user, Some(password));
        }
        let work = async {
            let answer = good(self.head(request).await?).await?;
            document(answer, MAX_TOKEN_BYTES, "a token").await
        };
        // A token is asked for in the middle of a blob, too, which goes on where it stopped.
        let late = || Refused::Passing("it took too long to send a token".to_owned());
        let text = timeout(self.patience.document, work).await.with_context(late)??;
        let token: Token = serde_json::from_slice(&text).context("its token is malformed")?;
        let token = token.token.or(token.access_token).context("its token is malformed")?;
        let mut header =
            HeaderValue::try_from(format!("Bearer {token}")).context("its token is malformed")?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// A blob on its way.
pub(super) struct Blob {
    answer: Response,
    /// It begins where it was asked to; else at its first byte.
    pub continues: bool,
    patience: Patience,
    ends: Instant,
    got: u64,
}

impl Blob {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or brings too little.
    pub(super) async fn chunk(&mut self) -> anyhow::Result<Option<bytes::Bytes>> {
        loop {
            match timeout_at(self.ends, self.answer.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    self.got += chunk.len() as u64;
                    // Bytes that trickle never let the time end.
                    if Instant::now() >= self.ends {
                        self.next_window()?;
                    }
                    return Ok(Some(chunk));
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => {
                    let passing = Refused::Passing("the connection broke".to_owned());
                    return Err(anyhow::Error::new(error).context(passing));
                }
                Err(_) => self.next_window()?,
            }
        }
    }

    fn next_window(&mut self) -> Result<(), Refused> {
        if self.got < self.patience.bytes {
            let seconds = self.patience.window.as_secs();
            return Err(Refused::Passing(format!("it sent {} bytes in {seconds} seconds", self.got)));
        }
        (self.ends, self.got) = (Instant::now() + self.patience.window, 0);
        Ok(())
    }
}

/// The body of `answer`, at most `most` bytes.
async fn document(mut answer: Response, most: u64, what: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let broke = || Refused::Passing("the connection broke".to_owned());
    while let Some(chunk) = answer.chunk().await.with_context(broke)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > most {
            bail!(Refused::Final(format!("it sent {what} of more than {most} bytes")));
        }
    }
    Ok(bytes)
}

/// `answer`, unless it is an error.
async fn good(answer: Response) -> anyhow::Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    // What it says of its error only adds to the status.
    let said = timeout(Duration::from_secs(10), document(answer, MAX_ERROR_BYTES, "an error")).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    let said = serde_json::from_slice::<Errors>(&said).map(|said| said.errors).unwrap_or_default();
    let first = said.into_iter().next();
    let unknown = first.as_ref().is_some_and(|error| {
        matches!(error.code.as_str(), "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "NOT_FOUND")
    });
    let told = first.map_or_else(String::new, |error| format!(": {} {}", error.code, error.message));
    let told = anyhow!("it answered {status}{told}");
    Err(told.context(match status.as_u16() {
        401 | 403 => Refused::Final(
            "it denies access: run `docker login` for it without a credential store, or put the image into images/"
                .to_owned(),
        ),
        404 if unknown => Refused::Final("it does not know this image".to_owned()),
        429 | 500.. => Refused::Passing("it refused".to_owned()),
        _ => Refused::Final("it refused".to_owned()),
    }))
}

fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || url.host_str().is_some_and(is_loopback)
}

/// True for a registry on this machine: the only one that plain HTTP is spoken with.
pub(super) fn is_loopback(domain: &str) -> bool {
    let host = match domain.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => domain,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
