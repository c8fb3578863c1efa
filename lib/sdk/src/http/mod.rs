//! The HTTP API, typed. Every call has a time limit, idempotent ones are tried again a few times, and the access token is
//! refreshed by itself.

mod calls;
mod tokens;

use std::time::Duration;

use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use reqwest::{Method, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use tokens::TokenSink;
use tokens::TokenSource;

use crate::SdkError;
use crate::env::Env;

/// Connecting to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A whole call.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries of an idempotent call.
const TRIES_MAX: u32 = 3;
/// Before the second try; doubles.
const RETRY_BASE: Duration = Duration::from_millis(250);
/// A server that asks for a longer wait is taken as a refusal.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A client of one server's HTTP API. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    base: Url,
    env: Env,
    tokens: TokenSource,
}

/// A request that may be sent more than once: after a refresh of the token, or because nobody answered.
struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    auth: bool,
    /// Doing it twice is the same as doing it once.
    again: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        let again = method != Method::POST;
        Self { method, path: path.into(), query: Vec::new(), body: None, auth: true, again }
    }

    fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    fn body(mut self, body: &impl Serialize) -> Result<Self, SdkError> {
        self.body = Some(serde_json::to_vec(body).map_err(|_| SdkError::Internal("a request could not be written"))?);
        Ok(self)
    }

    fn public(mut self) -> Self {
        self.auth = false;
        self
    }

    fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }
}

impl Http {
    /// For the server at `https://chat.example.org`. Tokens are handed to the sink before they are used.
    pub fn new(server: &str, env: Env, sink: Box<dyn TokenSink>) -> Result<Self, SdkError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nepto-sdk/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SdkError::Network(error.to_string()))?;
        Self::with_client(client, server, env, sink)
    }

    /// The same over a `reqwest` client that others use as well: connections are shared.
    pub fn with_client(
        client: reqwest::Client,
        server: &str,
        env: Env,
        sink: Box<dyn TokenSink>,
    ) -> Result<Self, SdkError> {
        Ok(Self { client, base: server_url(server)?, env, tokens: TokenSource::new(sink) })
    }

    pub(crate) fn maybe_with(
        client: Option<reqwest::Client>,
        server: &str,
        env: Env,
        sink: Box<dyn TokenSink>,
    ) -> Result<Self, SdkError> {
        match client {
            Some(client) => Self::with_client(client, server, env, sink),
            None => Self::new(server, env, sink),
        }
    }

    /// The server's address.
    pub fn server(&self) -> &Url {
        &self.base
    }

    async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, SdkError> {
        let mut token = match call.auth {
            true => Some(self.access_token().await?),
            false => None,
        };
        let (mut tries, mut refreshed) = (0, false);
        loop {
            tries += 1;
            let error = match self.once(&call, token.as_deref()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(old) = token.as_ref().filter(|_| !refreshed && needs_refresh(&error)) {
                refreshed = true;
                token = Some(self.refreshed_token(old).await?);
                continue;
            }
            match self.pause(&call, &error, tries) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    /// How long to wait before the next try; `None` to give up.
    fn pause(&self, call: &Call, error: &SdkError, tries: u32) -> Option<Duration> {
        if tries >= TRIES_MAX {
            return None;
        }
        let backoff = RETRY_BASE * 2u32.pow(tries - 1);
        let asked = match error {
            // refused before anything was done, so even what must not be done twice may be tried again
            SdkError::Server { code: ErrorCode::RateLimited, retry_after, .. } => (*retry_after)?,
            _ if !call.again => return None,
            SdkError::Server { code: ErrorCode::Unavailable | ErrorCode::Timeout, retry_after, .. } => {
                retry_after.unwrap_or_default()
            }
            SdkError::Network(_) | SdkError::Timeout => Duration::ZERO,
            _ => return None,
        };
        (asked <= RETRY_AFTER_MAX).then(|| asked + self.env.jitter(backoff))
    }

    async fn once<T: DeserializeOwned>(&self, call: &Call, token: Option<&str>) -> Result<T, SdkError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), call.path));
        let mut request = self.client.request(call.method.clone(), url).query(&call.query);
        request = request.header("x-request-id", self.env.uuid().to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let mut response = request.send().await.map_err(network)?;
        let status = response.status();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.unexpected(status));
            }
            answer.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(self.problem(status, &answer, retry_after.map(Duration::from_secs)));
        }
        let answer = if answer.is_empty() { b"null".as_slice() } else { &answer };
        serde_json::from_slice(answer).map_err(|_| self.unexpected(status))
    }

    fn problem(&self, status: StatusCode, answer: &[u8], retry_after: Option<Duration>) -> SdkError {
        match serde_json::from_slice::<Problem>(answer) {
            Ok(problem) => SdkError::Server {
                code: problem.code,
                detail: if problem.detail.is_empty() { problem.title } else { problem.detail },
                retry_after: problem.retry_after_ms.map(Duration::from_millis).or(retry_after),
                devices: problem.extensions.devices,
            },
            // a proxy in between speaks for a server that is away
            Err(_) if matches!(status.as_u16(), 502..=504) => {
                let detail = "the server is out of reach behind its proxy".to_owned();
                SdkError::Server { code: ErrorCode::Unavailable, detail, retry_after, devices: Vec::new() }
            }
            Err(_) => self.unexpected(status),
        }
    }

    fn unexpected(&self, status: StatusCode) -> SdkError {
        SdkError::Unexpected { status: status.as_u16(), url: self.base.to_string() }
    }
}

fn needs_refresh(error: &SdkError) -> bool {
    matches!(error.code(), Some(ErrorCode::TokenExpired | ErrorCode::TokenInvalid))
}

fn network(error: reqwest::Error) -> SdkError {
    if error.is_timeout() {
        return SdkError::Timeout;
    }
    // the innermost cause says most, and holds no address with a token
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    SdkError::Network(cause.to_string())
}

/// Reads a server's address. Without a scheme it is `https`, and `http` on this machine itself.
pub(crate) fn server_url(server: &str) -> Result<Url, SdkError> {
    let server = server.trim();
    let bad = || SdkError::ServerUrl(server.to_owned());
    let url = match server.contains("://") {
        true => Url::parse(server).map_err(|_| bad())?,
        false => {
            let mut url = Url::parse(&format!("https://{server}")).map_err(|_| bad())?;
            if is_loopback(&url) {
                url.set_scheme("http").map_err(|()| bad())?;
            }
            url
        }
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad());
    }
    Ok(url)
}

/// Whether an address is this machine's own.
pub(crate) fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::server_url;

    #[test]
    fn a_scheme_is_guessed_only_where_none_is_given() {
        for (server, url) in [
            ("chat.example.org", "https://chat.example.org/"),
            ("chat.example.org:8443", "https://chat.example.org:8443/"),
            ("http://chat.example.org", "http://chat.example.org/"),
            (" localhost:8080 ", "http://localhost:8080/"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("https://localhost:8443", "https://localhost:8443/"),
        ] {
            assert_eq!(server_url(server).unwrap().as_str(), url);
        }
        for bad in ["", "ftp://chat.example.org", "https://", "a b"] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }
}
