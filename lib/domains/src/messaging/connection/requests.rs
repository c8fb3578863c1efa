//! What a client asks for: messages to be stored, typing to be passed on, presence.

use std::time::Duration;

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use nepto_kit::http::RequestId;
use nepto_kit::limit::Limit;
use nepto_kit::{Ctx, Failure};
use nepto_proto::frame::{self, encode_server};
use nepto_proto::limits::PRESENCE_QUERY_MAX;
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, server_frame};
use nepto_proto::{AccountId, ErrorCode};
use prost::Message as _;
use redis::AsyncCommands;
use tokio::time::Instant;

use super::{Closed, Connection, error_frame};
use crate::accounts::Verdict;
use crate::keys::DeviceList;
use crate::messaging::checks::{self, Refusal};
use crate::messaging::mailbox::StoreError;
use crate::messaging::presence;
use crate::messaging::submit::ReadSend;

/// Typing is passed on at most this often.
const TYPING_EVERY: Duration = Duration::from_millis(300);

/// A message on its way into the store.
pub type Checking = BoxFuture<'static, (u32, ReadSend, Result<checks::Cleared, Refusal>)>;

impl Connection<'_> {
    /// Looks a message's limits, consent and devices up. The next frame is read when that is done, so that messages are
    /// stored in the order in which they were sent.
    pub(super) fn check(&mut self, reply_to: u32, send: ReadSend) {
        let ctx = self.gateway.ctx.clone();
        let from = (self.claims.account, self.claims.device);
        let request_id = RequestId::from(send.id.to_string().as_str());
        self.checking = Some(Box::pin(request_id.scope(async move {
            let verdict = checks::check(&ctx, from, send.to, send.id, &send.send).await;
            (reply_to, send, verdict)
        })));
    }

    pub(super) async fn on_checked(
        &mut self,
        (reply_to, send, verdict): (u32, ReadSend, Result<checks::Cleared, Refusal>),
    ) -> Result<(), Closed> {
        let cleared = match verdict {
            Ok(cleared) => cleared,
            Err(Refusal::Mismatch(mismatch)) => {
                return self.feed(encode_server(reply_to, server_frame::Kind::Mismatch(mismatch))).await;
            }
            Err(Refusal::Failure(failure)) => return self.refuse(reply_to, send.id.to_vec(), failure).await,
        };
        let id = send.id;
        let (account, device) = (self.claims.account, self.claims.device);
        let (recipient, own) = send.into_submissions(account, device, cleared);
        let started = Instant::now();
        let to = recipient.to;
        let first = self.gateway.store.submit(recipient);
        let store = self.gateway.store.clone();
        let ctx = self.gateway.ctx.clone();
        self.work.push(Box::pin(async move {
            let fate = async {
                let stored = first.await?;
                match own {
                    None => Ok(stored),
                    Some(own) => match store.submit(own).await {
                        Ok(_) => Ok(stored),
                        // The recipient has the message. A device of one's own that never fetches must not stop that.
                        Err(StoreError::MailboxFull) => {
                            metrics::counter!("nepto_own_copies_dropped_total").increment(1);
                            Ok(stored)
                        }
                        Err(unavailable) => Err(unavailable),
                    },
                }
            };
            let kind = match fate.await {
                Ok(stored) => {
                    if let Err(failure) = checks::noted(&ctx, account, to, cleared).await {
                        failure.log();
                        return Some(encode_server(reply_to, server_frame::Kind::Error(error_frame(failure, id.to_vec()))));
                    }
                    metrics::histogram!("nepto_dm_store_seconds").record(started.elapsed());
                    tracing::debug!(request_id = %id, from = %account, %device, %to, duplicate = stored.duplicate, "stored");
                    let client_msg_id = id.to_vec();
                    server_frame::Kind::Stored(wire::Stored { client_msg_id, duplicate: stored.duplicate })
                }
                Err(error) => {
                    tracing::warn!(request_id = %id, %error, "not stored");
                    let code = match error {
                        StoreError::MailboxFull => {
                            checks::not_stored(&ctx, account, to, id, cleared).await;
                            ErrorCode::MailboxFull
                        }
                        StoreError::Unavailable(_) => ErrorCode::Unavailable,
                    };
                    server_frame::Kind::Error(frame::send_error(id, code, error.to_string()))
                }
            };
            Some(encode_server(reply_to, kind))
        }));
        Ok(())
    }

    pub(super) async fn on_typing(&mut self, reply_to: u32, typing: &wire::Typing) -> Result<(), Closed> {
        let to = match AccountId::from_bytes(&typing.to) {
            Ok(to) => to,
            Err(error) => return self.refuse(reply_to, Vec::new(), error.into()).await,
        };
        let now = Instant::now();
        // a stop is always passed on, so that nobody types for ever
        if typing.active && self.typed_at.is_some_and(|at| now - at < TYPING_EVERY) {
            return Ok(());
        }
        self.typed_at = Some(now);
        let ctx = self.gateway.ctx.clone();
        let (account, device) = (self.claims.account, self.claims.device);
        let typing = wire::TypingFrom { from: account.to_vec(), from_device: device.into(), active: typing.active };
        self.work.push(Box::pin(async move {
            if let Err(error) = pass_typing_on(&ctx, account, to, typing).await {
                tracing::debug!(%error, "typing was not passed on");
            }
            None
        }));
        Ok(())
    }

    pub(super) async fn on_presence_query(&mut self, reply_to: u32, query: &wire::PresenceQuery) -> Result<(), Closed> {
        if query.accounts.len() > PRESENCE_QUERY_MAX {
            let failure = Failure::new(ErrorCode::TooLarge, format!("at most {PRESENCE_QUERY_MAX} accounts"));
            return self.refuse(reply_to, Vec::new(), failure).await;
        }
        let accounts: Result<Vec<_>, _> = query.accounts.iter().map(|id| AccountId::from_bytes(id)).collect();
        let accounts = match accounts {
            Ok(accounts) => accounts,
            Err(error) => return self.refuse(reply_to, Vec::new(), error.into()).await,
        };
        let ctx = self.gateway.ctx.clone();
        let asker = self.claims.account;
        self.work.push(Box::pin(async move {
            let answer = async {
                let max = ctx.config.limits.presence_accounts_per_minute;
                let limit = Limit { kind: "presence", max, window: Duration::from_secs(60) };
                limit.take(&ctx.redis, &ctx.clock, &asker.to_string(), accounts.len() as u32).await?;
                presence::online(&ctx, asker, &accounts).await
            };
            let kind = match answer.await {
                Ok(online) => {
                    let online = online.into_iter().map(AccountId::to_vec).collect();
                    server_frame::Kind::Presence(wire::Presence { online })
                }
                Err(failure) => {
                    failure.log();
                    server_frame::Kind::Error(error_frame(failure, Vec::new()))
                }
            };
            Some(encode_server(reply_to, kind))
        }));
        Ok(())
    }
}

/// To all devices of somebody who has accepted us. What Redis does not know is not worth asking for.
async fn pass_typing_on(ctx: &Ctx, from: AccountId, to: AccountId, typing: wire::TypingFrom) -> anyhow::Result<()> {
    let keys = [Verdict::cache_key(from, to), DeviceList::cache_key(to)];
    let known: Vec<Option<String>> = ctx.redis.clone().mget(&keys[..]).await?;
    let [Some(verdict), Some(devices)] = known.as_slice() else { return Ok(()) };
    if Verdict::parse(verdict) != Some(Verdict::Accepted) {
        return Ok(());
    }
    let payload = Bytes::from(typing.encode_to_vec());
    for (device, _) in DeviceList::decode(devices).unwrap_or_default().devices {
        ctx.nats.publish(Live::Typing.subject(to, device), payload.clone()).await?;
    }
    Ok(())
}
