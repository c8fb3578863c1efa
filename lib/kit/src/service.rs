//! Request and reply between domains over NATS: `svc.<domain>.<operation>`, a queue group, bounded time.
//!
//! Every process asks the same way, whether the domain runs beside it or on another machine; so a gateway needs no
//! database, and each API can run alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use nepto_proto::svc::Operation;
use nepto_proto::{ErrorCode, subject};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::clock::Clock;
use crate::clock_check::APART_MAX;
use crate::ctx::Ctx;
use crate::error::Failure;
use crate::http::RequestId;
use crate::traces;

/// An answer must come in this time.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests of one operation that a process works on at once.
const CONCURRENCY_MAX: usize = 256;
const REQUEST_ID_HEADER: &str = "Nepto-Request-Id";
/// When the caller gives up: milliseconds since 1970 by its clock. What is found in the queue later than that is not begun.
const DEADLINE_HEADER: &str = "Nepto-Deadline-Ms";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Done(T),
    Failed {
        code: ErrorCode,
        detail: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// Asks the domain that owns an operation.
pub async fn call<O: Operation>(nats: &async_nats::Client, clock: &Clock, operation: &O) -> Result<O::Reply, Failure> {
    let payload = serde_json::to_vec(operation).map_err(Failure::internal)?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(REQUEST_ID_HEADER, RequestId::current().to_string());
    traces::hand_on(&mut headers);
    headers.insert(DEADLINE_HEADER, (clock.now_ms() + CALL_TIMEOUT.as_millis() as i64).to_string());
    let request = async_nats::Request::new().payload(payload.into()).headers(headers).timeout(Some(CALL_TIMEOUT));
    let message = nats.send_request(subject::service(O::DOMAIN, O::NAME), request).await.map_err(|error| {
        tracing::warn!(domain = O::DOMAIN, operation = O::NAME, %error, "no answer");
        Failure::new(ErrorCode::Unavailable, format!("the {} service does not answer", O::DOMAIN))
    })?;
    match serde_json::from_slice(&message.payload).map_err(Failure::internal)? {
        Answer::Done(reply) => Ok(reply),
        Answer::Failed { code, detail, retry_after_ms } => {
            let mut failure = Failure::new(code, detail);
            failure.retry_after = retry_after_ms.map(Duration::from_millis);
            Err(failure)
        }
    }
}

/// Whether nobody waits for the answer any more. Who names no deadline waits.
fn has_expired(headers: Option<&async_nats::HeaderMap>, now_ms: i64) -> bool {
    let deadline_ms = headers.and_then(|headers| headers.get(DEADLINE_HEADER)?.as_str().parse::<i64>().ok());
    deadline_ms.is_some_and(|deadline_ms| deadline_ms.saturating_add(APART_MAX.as_millis() as i64) <= now_ms)
}

type Run = Arc<dyn Fn(bytes::Bytes) -> BoxFuture<'static, Vec<u8>> + Send + Sync>;

/// An operation with the code that answers it.
pub struct Service {
    domain: &'static str,
    name: &'static str,
    run: Run,
}

impl Service {
    /// Answers an operation with this function.
    pub fn new<O: Operation, F>(answer: impl Fn(O) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<O::Reply, Failure>> + Send + 'static,
    {
        let answer = Arc::new(answer);
        let run: Run = Arc::new(move |payload| {
            let answer = answer.clone();
            Box::pin(async move {
                let result = match serde_json::from_slice::<O>(&payload) {
                    Ok(request) => answer(request).await,
                    Err(error) => Err(Failure::new(ErrorCode::Malformed, error.to_string())),
                };
                let answer = match result {
                    Ok(reply) => Answer::Done(reply),
                    Err(failure) => {
                        failure.log();
                        let retry_after_ms = failure.retry_after.map(|wait| wait.as_millis() as u64);
                        Answer::Failed { code: failure.code, detail: failure.detail, retry_after_ms }
                    }
                };
                serde_json::to_vec(&answer).unwrap_or_default()
            })
        });
        Self { domain: O::DOMAIN, name: O::NAME, run }
    }

    /// The NATS subject of its requests, `svc.<domain>.<operation>`.
    pub fn subject(&self) -> String {
        subject::service(self.domain, self.name)
    }

    /// Answers until the process stops.
    pub async fn serve(self, ctx: Ctx) -> anyhow::Result<()> {
        let subject = self.subject();
        let mut requests = ctx.nats.queue_subscribe(subject.clone(), self.domain.to_owned()).await?;
        let permits = Arc::new(Semaphore::new(CONCURRENCY_MAX));
        let mut draining = false;
        loop {
            let request = tokio::select! {
                () = ctx.stop.cancelled(), if !draining => {
                    // no more are sent to us; those that were are answered
                    requests.drain().await?;
                    draining = true;
                    continue;
                }
                request = requests.next() => request,
            };
            let Some(request) = request else {
                anyhow::ensure!(draining, "the subscription {subject} ended");
                return Ok(());
            };
            let Some(reply_to) = request.reply else { continue };
            let permit = permits.clone().acquire_owned().await?;
            let seems_late = has_expired(request.headers.as_ref(), ctx.clock.now_ms());
            let clock_check = ctx.clock_check.clone();
            let (run, nats) = (self.run.clone(), ctx.nats.clone());
            let id = request.headers.as_ref().and_then(|headers| headers.get(REQUEST_ID_HEADER));
            let id = id.map_or_else(RequestId::none, |id| RequestId::from(id.as_str()));
            let span = tracing::info_span!("service", domain = self.domain, operation = self.name, request_id = %id);
            traces::continue_from(&span, request.headers.as_ref());
            let started = std::time::Instant::now();
            let (domain, name) = (self.domain, self.name);
            ctx.tasks.spawn(
                id.scope(async move {
                    let _permit = permit;
                    // what is late is not said by a clock that is wrong: those whose clocks are right would go unanswered
                    if seems_late && !clock_check.is_wrong().await {
                        metrics::counter!("nepto_service_expired_total", "domain" => domain, "operation" => name)
                            .increment(1);
                        return;
                    }
                    let answer = run(request.payload).await;
                    if let Err(error) = nats.publish(reply_to, answer.into()).await {
                        tracing::warn!(%error, "an answer could not be sent");
                    }
                    metrics::histogram!("nepto_service_seconds", "domain" => domain, "operation" => name)
                        .record(started.elapsed());
                })
                .instrument(span),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use nepto_proto::svc::auth::{CheckSession, SessionState};
    use nepto_proto::{AccountId, SessionId};
    use nepto_testkit::{eventually, seconds};
    use uuid::Uuid;

    use super::*;
    use crate::clock_check::ClockCheck;
    use crate::testing::Ground;

    #[tokio::test]
    async fn whose_clock_is_right_is_answered_by_those_whose_clock_is_ahead() {
        let ground = Ground::new().await;
        let mut ahead = ground.process().await;
        ahead.clock = Clock::manual(ahead.clock.now() + Duration::from_secs(60));
        ahead.clock_check =
            Arc::new(ClockCheck::new(ahead.clock.clone(), ahead.jetstream.clone(), ahead.redis.clone()));
        let service = Service::new(|_: CheckSession| async { Ok(SessionState::Live) });
        tokio::spawn(service.serve(ahead));
        let check = CheckSession { account: AccountId::new(Uuid::nil()), session: SessionId::new(Uuid::nil()) };
        let is_answered = async || match ground.ctx.call(&check).await {
            Ok(answer) => anyhow::Ok(answer == SessionState::Live),
            Err(_) => Ok(false),
        };
        eventually(seconds(5), is_answered).await.unwrap();
    }

    #[test]
    fn a_request_expires_when_its_deadline_and_what_clocks_may_differ_by_are_over() {
        let headers = |deadline: &str| {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert(DEADLINE_HEADER, deadline);
            headers
        };
        let apart_ms = APART_MAX.as_millis() as i64;
        let deadline = headers("1000");
        assert!(!has_expired(Some(&deadline), 999 + apart_ms));
        assert!(has_expired(Some(&deadline), 1_000 + apart_ms));
        for none in [None, Some(&headers("soon")), Some(&async_nats::HeaderMap::new())] {
            assert!(!has_expired(none, i64::MAX));
        }
        assert!(!has_expired(Some(&headers(&i64::MAX.to_string())), 0));
    }
}
