//! The HTTP API, typed. Every call has a time limit, idempotent ones are tried again a few times, and the access token is
//! refreshed by itself.

mod calls;
mod files;
mod tokens;

use std::time::Duration;

use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::endpoint::{Asker, Endpoint, Media};
use reqwest::{StatusCode, Url, header};
use serde::de::DeserializeOwned;

pub use tokens::TokenSink;
use tokens::TokenSource;

use crate::SdkError;
use crate::env::Env;
use crate::waiting::Waiting;

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
    waiting: Waiting,
}

/// A request that may be sent more than once: after a refresh of the token, or because nobody answered.
struct Call {
    request: reqwest::Request,
    has_token: bool,
    /// Doing it twice is the same as doing it once.
    is_repeatable: bool,
}

impl Http {
    /// For the server at `https://chat.example.org`. Tokens are handed to the sink before they are used.
    pub fn new(server: &str, env: Env, sink: Box<dyn TokenSink>) -> Result<Self, SdkError> {
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nepto-sdk/", env!("CARGO_PKG_VERSION")));
        let url = server_url(server)?;
        if url.scheme() == "http" && is_loopback(&url) {
            // nothing here goes over TLS, to this machine or to a proxy, and the system's certificates take long to load
            client = client.no_proxy().tls_certs_only([]);
        }
        let client = client.build().map_err(|error| SdkError::Network(error.to_string()))?;
        Self::with_client(client, server, env, sink)
    }

    /// The same over a `reqwest` client that others use as well: connections are shared.
    pub fn with_client(
        client: reqwest::Client,
        server: &str,
        env: Env,
        sink: Box<dyn TokenSink>,
    ) -> Result<Self, SdkError> {
        let (base, tokens) = (server_url(server)?, TokenSource::new(sink));
        Ok(Self { client, base, env, tokens, waiting: Waiting::default() })
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

    /// Asks an endpoint that answers with JSON, or with nothing. Every endpoint of the API can be asked so; most have a method of
    /// their own.
    pub async fn call<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Reply, SdkError> {
        let (status, answer) = self.answer(&self.write::<E>(path, query, body)?).await?;
        self.read(status, &answer)
    }

    /// Asks an endpoint that answers with a file, of 4 MiB at the most.
    pub async fn file<E: Endpoint>(&self, path: &E::Path, query: &E::Query) -> Result<Vec<u8>, SdkError>
    where
        E::Body: Default,
    {
        let (_, answer) = self.answer(&self.write::<E>(path, query, &E::Body::default())?).await?;
        Ok(answer)
    }

    fn write<E: Endpoint>(&self, path: &E::Path, query: &E::Query, body: &E::Body) -> Result<Call, SdkError> {
        let unwritable = || SdkError::Internal("a request could not be written");
        let (mut url, path) = (self.base.clone(), E::path(path)?);
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let method = reqwest::Method::from_bytes(E::METHOD.as_str().as_bytes()).map_err(|_| unwritable())?;
        let mut request = self.client.request(method, url).query(query);
        if E::TAKES == Media::Json {
            let body = serde_json::to_vec(body).map_err(|_| unwritable())?;
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let request = request.build().map_err(|_| unwritable())?;
        Ok(Call { request, has_token: E::Asker::HAS_TOKEN, is_repeatable: E::IS_REPEATABLE })
    }

    async fn answer(&self, call: &Call) -> Result<(StatusCode, Vec<u8>), SdkError> {
        let mut token = match call.has_token {
            true => Some(self.access_token().await?),
            false => None,
        };
        let (mut tries, mut refreshed) = (0, false);
        loop {
            tries += 1;
            let error = match self.once(call, token.as_deref()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(old) = token.as_ref().filter(|_| !refreshed && needs_refresh(&error)) {
                refreshed = true;
                token = Some(self.refreshed_token(old).await?);
                continue;
            }
            match pause(call.is_repeatable, &error, tries) {
                Some(Pause { asked, backoff }) => tokio::time::sleep(asked + self.env.jitter(backoff)).await,
                None => return Err(error),
            }
        }
    }

    async fn once(&self, call: &Call, token: Option<&str>) -> Result<(StatusCode, Vec<u8>), SdkError> {
        let request = call.request.try_clone().ok_or(SdkError::Internal("a request could not be written again"))?;
        let mut request = reqwest::RequestBuilder::from_parts(self.client.clone(), request);
        request = request.header("x-request-id", self.env.uuid().to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = self.waiting.for_answer(&self.base, request.send()).await;
        let mut response = response.map_err(|error| self.network(error))?;
        let status = response.status();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network(error))? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.unexpected(status));
            }
            answer.extend_from_slice(&chunk);
        }
        match status.is_success() {
            true => Ok((status, answer)),
            false => Err(self.problem(status, &answer, retry_after.map(Duration::from_secs))),
        }
    }

    fn read<T: DeserializeOwned>(&self, status: StatusCode, answer: &[u8]) -> Result<T, SdkError> {
        let answer = if answer.is_empty() { b"null".as_slice() } else { answer };
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

    fn network(&self, error: reqwest::Error) -> SdkError {
        let base = &self.base;
        if error.is_timeout() && error.is_connect() {
            return SdkError::Network(format!("nobody answers at {base}"));
        }
        if error.is_timeout() {
            return SdkError::Timeout;
        }
        // the innermost cause says most, and holds no address with a token
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        SdkError::Network(format!("{cause} at {base}"))
    }
}

/// What to wait before the next try: what the server asked for, and some of the backoff.
#[derive(Debug, PartialEq, Eq)]
struct Pause {
    asked: Duration,
    backoff: Duration,
}

/// What to wait before a call is tried again; `None` to give up.
fn pause(is_repeatable: bool, error: &SdkError, tries: u32) -> Option<Pause> {
    if tries >= TRIES_MAX {
        return None;
    }
    let backoff = RETRY_BASE * 2u32.pow(tries - 1);
    let asked = match error {
        // refused before anything was done, so even what must not be done twice may be tried again
        SdkError::Server { code: ErrorCode::RateLimited, retry_after, .. } => (*retry_after)?,
        _ if !is_repeatable => return None,
        SdkError::Server { code: ErrorCode::Unavailable | ErrorCode::Timeout, retry_after, .. } => {
            retry_after.unwrap_or_default()
        }
        SdkError::Network(_) | SdkError::Timeout => Duration::ZERO,
        _ => return None,
    };
    (asked <= RETRY_AFTER_MAX).then_some(Pause { asked, backoff })
}

fn needs_refresh(error: &SdkError) -> bool {
    matches!(error.code(), Some(ErrorCode::TokenExpired | ErrorCode::TokenInvalid))
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
    use nepto_proto::api::endpoint::NoParameters;
    use nepto_proto::api::endpoints::accounts::{LookUpAccount, ReferencePath};

    use super::*;

    fn refusal(code: ErrorCode, retry_after_s: Option<u64>) -> SdkError {
        let retry_after = retry_after_s.map(Duration::from_secs);
        SdkError::Server { code, detail: String::new(), retry_after, devices: Vec::new() }
    }

    #[test]
    fn what_may_be_repeated_is_tried_again_when_nobody_can_say_whether_it_was_done() {
        let wait = |asked_s, backoff_ms| {
            Some(Pause { asked: Duration::from_secs(asked_s), backoff: Duration::from_millis(backoff_ms) })
        };
        for (error, asked_s) in [
            (refusal(ErrorCode::Unavailable, None), 0),
            (refusal(ErrorCode::Timeout, Some(1)), 1),
            (SdkError::Timeout, 0),
            (SdkError::Network("reset".into()), 0),
        ] {
            assert_eq!(pause(true, &error, 1), wait(asked_s, 250), "{error}");
            assert_eq!(pause(true, &error, 2), wait(asked_s, 500), "{error}");
            assert_eq!(pause(true, &error, 3), None, "{error}: three tries in all");
            assert_eq!(pause(false, &error, 1), None, "{error}: it may have been done");
        }
        // nothing was done, whatever it is; but a wait must be named, and be short
        for is_repeatable in [true, false] {
            assert_eq!(pause(is_repeatable, &refusal(ErrorCode::RateLimited, Some(5)), 1), wait(5, 250));
            assert_eq!(pause(is_repeatable, &refusal(ErrorCode::RateLimited, Some(6)), 1), None);
            assert_eq!(pause(is_repeatable, &refusal(ErrorCode::RateLimited, None), 1), None);
            for code in [ErrorCode::Internal, ErrorCode::AccountUnknown, ErrorCode::TokenExpired] {
                assert_eq!(pause(is_repeatable, &refusal(code, Some(1)), 1), None, "{code}");
            }
            let page = SdkError::Unexpected { status: 500, url: String::new() };
            assert_eq!(pause(is_repeatable, &page, 1), None);
        }
    }

    #[test]
    fn what_is_asked_is_the_endpoint_and_nothing_else() {
        let http = Http::new("https://chat.example.org/nepto/", Env::system(), Box::new(())).unwrap();
        let asked = |account: &str| {
            let path = ReferencePath { account: account.to_owned() };
            let call = http.write::<LookUpAccount>(&path, &NoParameters {}, &())?;
            Ok::<_, SdkError>(call.request.url().to_string())
        };
        assert_eq!(asked("alice").unwrap(), "https://chat.example.org/nepto/v1/accounts/alice");
        assert_eq!(asked("../info").unwrap(), "https://chat.example.org/nepto/v1/accounts/..%2Finfo");
        assert_eq!(asked("%2e%2e").unwrap(), "https://chat.example.org/nepto/v1/accounts/%252e%252e");
        for step in ["", ".", ".."] {
            let refused = asked(step).unwrap_err();
            assert!(matches!(refused, SdkError::NotInAPath(_)) && !refused.is_temporary(), "{refused}");
        }
    }

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
