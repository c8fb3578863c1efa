//! One endpoint: its requests, never more at once than it can bear, and how well it does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::identity::{self, Identity};
use super::{RpcError, dialect};

/// What an endpoint may be asked.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// An answer must be there in this time.
    pub timeout: Duration,
    /// Bytes of an answer.
    pub answer_bytes_max: usize,
    /// Requests under way at once; fewer while the endpoint says that it is too many.
    pub concurrency_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(15), answer_bytes_max: 160 * 1024 * 1024, concurrency_max: 16 }
    }
}

/// Requests under way at once, to begin with.
const CONCURRENCY_FIRST: f64 = 4.0;
/// After a failure an endpoint rests: this long, doubled for each further one.
const REST_FIRST: Duration = Duration::from_millis(250);
const REST_MAX: Duration = Duration::from_secs(30);
/// A lie weighs as much as so many failures in a row, and so does another chain.
const LIE_WEIGHT: u32 = 3;
/// What a request weighs in the mean of latencies.
const LATENCY_WEIGHT: f64 = 0.1;

/// A node, or a provider that stands before many.
pub struct Endpoint {
    url: reqwest::Url,
    shown: String,
    client: reqwest::Client,
    limits: Limits,
    ids: AtomicU64,
    state: Mutex<State>,
    freed: Notify,
    identity: Identity,
    #[cfg(feature = "logs")]
    pub(crate) log_span: super::log_span::LogSpan,
}

#[derive(Debug)]
struct State {
    /// Grows by one each time that as many requests went well, halves when the endpoint says that it is too much.
    concurrency: f64,
    under_way: usize,
    rests_until: Option<Instant>,
    failures_in_a_row: u32,
    latency_ms: f64,
    head: u64,
    asked: u64,
    failed: u64,
    lied: u64,
    odd_headers: u64,
    last_error: Option<RpcError>,
}

/// How an endpoint does, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointStatus {
    /// Its host, without path or key.
    pub name: String,
    /// Whether it would be asked now.
    pub available: bool,
    /// The highest block that it spoke of.
    pub head: u64,
    /// Mean time of an answer.
    pub latency_ms: f64,
    /// Requests under way at once, at most, at present.
    pub concurrency: usize,
    /// Requests since the process began.
    pub asked: u64,
    /// Those among them that got no usable answer.
    pub failed: u64,
    /// Answers that were proven false.
    pub lied: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A JSON-RPC answer; exactly one of the two is there.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Value,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

/// A permit for one more request under way.
struct RequestPermit<'a>(&'a Endpoint);

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.freed.notify_one();
    }
}

impl Endpoint {
    /// An endpoint at an `http(s)` address, which may hold a key. If it shall serve a certain chain, it is asked nothing before
    /// it said that it does.
    pub fn new(url: &str, chain_id: Option<u64>, limits: Limits) -> Result<Self, RpcError> {
        let url: reqwest::Url = url.parse().map_err(|error| RpcError::Failed(format!("not an address: {error}")))?;
        let client = reqwest::Client::builder()
            .connect_timeout(limits.timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| RpcError::Failed(error.to_string()))?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let state = State {
            concurrency: CONCURRENCY_FIRST.min(limits.concurrency_max as f64),
            under_way: 0,
            rests_until: None,
            failures_in_a_row: 0,
            latency_ms: 0.0,
            head: 0,
            asked: 0,
            failed: 0,
            lied: 0,
            odd_headers: 0,
            last_error: None,
        };
        Ok(Self {
            shown: format!("{}{port}", url.host_str().unwrap_or_default()),
            url,
            client,
            limits,
            ids: AtomicU64::new(1),
            state: Mutex::new(state),
            freed: Notify::new(),
            identity: Identity::new(chain_id),
            #[cfg(feature = "logs")]
            log_span: Default::default(),
        })
    }

    /// Its host, without path or key.
    pub fn name(&self) -> &str {
        &self.shown
    }

    /// The same, of another chain from now on.
    pub(super) fn set_chain(&mut self, chain_id: u64) {
        self.identity = Identity::new(Some(chain_id));
    }

    /// It may be a node of another chain now: it is asked before anything else.
    #[cfg(feature = "logs")]
    pub(super) fn doubt(&self) {
        self.identity.doubt();
    }

    /// Asks once, and hands the answer's JSON to `validate`. What it refuses counts against the endpoint.
    pub async fn ask<T>(
        &self,
        method: &str,
        params: &Value,
        validate: impl FnOnce(&str) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        self.identify().await?;
        let (validated, took) = self.put(method, params, validate).await;
        match &validated {
            Ok(_) => self.note_answer(took),
            Err(error) => self.note_failure(method, error),
        }
        validated
    }

    /// Asks which chain it serves, unless that is known. One asks, before it has a permit, and all others wait for what comes
    /// of it.
    async fn identify(&self) -> Result<(), RpcError> {
        if self.identity.open().is_none() {
            return Ok(());
        }
        let _asking = self.identity.asking.lock().await;
        let Some(wanted) = self.identity.open() else { return Ok(()) };
        // whoever asked meanwhile asked in vain
        if self.rests_until().is_some()
            && let Some(error) = self.last_error()
        {
            return Err(error);
        }
        let method = "eth_chainId";
        let (said, _) = self.put(method, &json!([]), |answer| identity::validate(answer, wanted)).await;
        match said.map_err(identity::unsaid) {
            Ok(()) => {
                // that it answers this says nothing about how it does otherwise
                self.lock().asked += 1;
                self.count("ok");
                self.identity.confirm();
                Ok(())
            }
            Err(error) => {
                self.note_failure(method, &error);
                Err(error)
            }
        }
    }

    /// Asks without noting anything; the answer, and how long it took.
    async fn put<T>(
        &self,
        method: &str,
        params: &Value,
        validate: impl FnOnce(&str) -> Result<T, RpcError>,
    ) -> (Result<T, RpcError>, Duration) {
        let permit = self.permit().await;
        let started = Instant::now();
        let answered = match tokio::time::timeout(self.limits.timeout, self.exchange(method, params)).await {
            Ok(answered) => answered,
            Err(_) => Err(RpcError::Failed(format!("no answer within {} s", self.limits.timeout.as_secs_f32()))),
        };
        let validated = answered.and_then(|(id, body)| validate(result(id, &body)?.get()));
        drop(permit);
        (validated, started.elapsed())
    }

    async fn exchange(&self, method: &str, params: &Value) -> Result<(u64, String), RpcError> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let failed = |error: reqwest::Error| RpcError::Failed(error.without_url().to_string());
        let mut response = self.client.post(self.url.clone()).json(&request).send().await.map_err(failed)?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = response.headers().get(reqwest::header::RETRY_AFTER).and_then(|wait| wait.to_str().ok());
            let wait = wait.and_then(|wait| wait.parse().ok()).map(Duration::from_secs);
            return Err(RpcError::Limited(wait));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.limits.answer_bytes_max {
                return Err(RpcError::TooMany(None));
            }
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8(body).map_err(RpcError::unreadable)?;
        // some say what is wrong in JSON-RPC, under a status of their choice
        if !status.is_success() && !body.trim_start().starts_with('{') {
            return Err(RpcError::Failed(format!("HTTP status {status}")));
        }
        Ok((id, body))
    }

    /// Waits until a further request may be under way.
    async fn permit(&self) -> RequestPermit<'_> {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.lock();
                if (state.under_way as f64) < state.concurrency.max(1.0) {
                    state.under_way += 1;
                    return RequestPermit(self);
                }
            }
            freed.await;
        }
    }

    fn note_answer(&self, took: Duration) {
        let mut state = self.lock();
        state.asked += 1;
        state.failures_in_a_row = 0;
        state.rests_until = None;
        let grown = state.concurrency + 1.0 / state.concurrency;
        state.concurrency = grown.min(self.limits.concurrency_max as f64);
        let took_ms = took.as_secs_f64() * 1_000.0;
        state.latency_ms = match state.latency_ms {
            0.0 => took_ms,
            mean => mean + LATENCY_WEIGHT * (took_ms - mean),
        };
        drop(state);
        self.count("ok");
    }

    fn note_failure(&self, method: &str, error: &RpcError) {
        let now = Instant::now();
        let mut state = self.lock();
        state.asked += 1;
        let outcome = match error {
            // neither is a fault: the question was too large, or too early
            RpcError::TooMany(_) => "too_many",
            RpcError::Missing => "missing",
            error => {
                state.failed += 1;
                let is_grave =
                    matches!(error, RpcError::Lie(_) | RpcError::Header { .. } | RpcError::OtherChain { .. });
                let weight = if is_grave { LIE_WEIGHT } else { 1 };
                state.failures_in_a_row = state.failures_in_a_row.saturating_add(weight);
                state.last_error = Some(error.clone());
                let doubled = REST_FIRST.saturating_mul(1 << (state.failures_in_a_row - 1).min(10)).min(REST_MAX);
                let (outcome, rest) = match error {
                    RpcError::Limited(wait) => {
                        state.concurrency = (state.concurrency / 2.0).max(1.0);
                        ("limited", wait.unwrap_or(doubled).min(REST_MAX))
                    }
                    RpcError::Lie(lie) => {
                        state.lied += 1;
                        tracing::warn!(endpoint = self.shown, method, lie, "an endpoint said what is not true");
                        ("lie", doubled)
                    }
                    RpcError::Header { number, claimed } => {
                        state.odd_headers += 1;
                        tracing::warn!(endpoint = self.shown, number, %claimed, "a header has another hash by our rule");
                        ("header", doubled)
                    }
                    RpcError::OtherChain { serves, wanted } => {
                        tracing::warn!(endpoint = self.shown, serves, wanted, "an endpoint serves another chain");
                        ("other_chain", doubled)
                    }
                    // the node works and does not like this question
                    RpcError::Refused { .. } => ("refused", Duration::ZERO),
                    _ => {
                        // out of reach: it may come back as another
                        self.identity.doubt();
                        ("failed", doubled)
                    }
                };
                state.rests_until = Some(now + rest);
                tracing::debug!(endpoint = self.shown, method, %error, "asked in vain");
                outcome
            }
        };
        drop(state);
        self.count(outcome);
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!("nepto_rpc_requests_total", "endpoint" => self.shown.clone(), "outcome" => outcome)
            .increment(1);
    }

    /// What went wrong last.
    pub(super) fn last_error(&self) -> Option<RpcError> {
        self.lock().last_error.clone()
    }

    /// Notes that it spoke of a block of this height.
    pub fn saw_head(&self, height: u64) {
        let mut state = self.lock();
        state.head = height;
    }

    /// The height that it spoke of last.
    pub fn head(&self) -> u64 {
        self.lock().head
    }

    /// When it may be asked again, if it rests.
    pub fn rests_until(&self) -> Option<Instant> {
        self.lock().rests_until.filter(|until| *until > Instant::now())
    }

    /// The smaller, the sooner it is asked.
    pub(super) fn order(&self, height: Option<u64>) -> (bool, bool, u64, u64) {
        let rests = self.rests_until().is_some();
        let state = self.lock();
        let is_behind = height.is_some_and(|height| state.head < height);
        let load = state.under_way as f64 / state.concurrency.max(1.0);
        (rests, is_behind, state.lied + state.odd_headers, (state.latency_ms * (1.0 + load) * 10.0) as u64)
    }

    /// How it does at present, for operators.
    pub fn status(&self) -> EndpointStatus {
        let available = self.rests_until().is_none();
        let state = self.lock();
        EndpointStatus {
            name: self.shown.clone(),
            available,
            head: state.head,
            latency_ms: state.latency_ms,
            concurrency: state.concurrency as usize,
            asked: state.asked,
            failed: state.failed,
            lied: state.lied,
            last_error: state.last_error.as_ref().map(RpcError::to_string),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result inside of an answer, `null` included; an error becomes what it means.
fn result(id: u64, body: &str) -> Result<&RawValue, RpcError> {
    let answer: Answer<'_> = serde_json::from_str(body).map_err(RpcError::unreadable)?;
    if let Some(Refusal { code, message, data }) = answer.error {
        let data = match data {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        return Err(dialect::read(code, &message, data));
    }
    if answer.id != json!(id) {
        return Err(RpcError::Failed("an answer to another question".into()));
    }
    // serde makes nothing of a `null`
    answer.result.or_else(|| serde_json::from_str("null").ok()).ok_or(RpcError::Missing)
}
