//! What a client asks for: messages to be stored, presence.

use std::time::Duration;

use futures_util::future::BoxFuture;
use nepto_kit::Failure;
use nepto_kit::http::RequestId;
use nepto_kit::limit::Limit;
use nepto_proto::frame::{self, encode_server};
use nepto_proto::limits::PRESENCE_QUERY_MAX;
use nepto_proto::wire::{self, server_frame};
use nepto_proto::{AccountId, ErrorCode};
use tokio::time::Instant;

use super::{Closed, Connection, error_frame, price};
use crate::messaging::checks::{self, Refusal};
use crate::messaging::config::Limits;
use crate::messaging::mailbox::StoreError;
use crate::messaging::presence;
use crate::messaging::shares::{self, Admitted};
use crate::messaging::submit::ReadSend;

/// A message on its way into the store.
pub type Checking = BoxFuture<'static, Checked>;
/// The frame's id, the message, and whether it may be stored.
type Checked = (u32, ReadSend, Result<Admitted, Refusal>);

impl Connection<'_> {
    /// Looks a message's limits, consent and devices up. The next frame is read when that is done, so that messages are
    /// stored in the order in which they were sent.
    pub(super) fn check(&mut self, reply_to: u32, send: ReadSend) {
        let (ctx, fullness) = (self.gateway.ctx.clone(), self.gateway.fullness.clone());
        let from = (self.claims.account, self.claims.device);
        let is_contact = self.contact == Some(send.to);
        let request_id = RequestId::from(send.id.to_string().as_str());
        self.checking = Some(Box::pin(request_id.scope(async move {
            let verdict = shares::admit(&ctx, &fullness, from, &send, is_contact).await;
            (reply_to, send, verdict)
        })));
    }

    pub(super) async fn on_checked(&mut self, (reply_to, send, verdict): Checked) -> Result<(), Closed> {
        let Admitted { cleared, room, taken } = match verdict {
            Ok(admitted) => admitted,
            Err(Refusal::Mismatch(mismatch)) => {
                self.spend(price::REFUSAL)?;
                return self.feed(encode_server(reply_to, server_frame::Kind::Mismatch(mismatch))).await;
            }
            Err(Refusal::Failure(failure)) => return self.refuse(reply_to, send.id.to_vec(), failure).await,
        };
        self.contact = (!cleared.request).then_some(send.to);
        let id = send.id;
        let (account, device) = (self.claims.account, self.claims.device);
        let (mut recipient, own) = send.into_submissions(account, device, cleared);
        if let Some(room) = room {
            recipient.copies.retain(|copy| room.contains(&copy.device));
        }
        let started = Instant::now();
        let to = recipient.to;
        let first = self.gateway.store.submit(recipient);
        let (ctx, store) = (self.gateway.ctx.clone(), self.gateway.store.clone());
        self.work.push(Box::pin(async move {
            let first = first.await;
            // what may have been stored is paid for
            let mut added = first.as_ref().is_ok_and(|stored| stored.added);
            let fate = match (first, own) {
                (Ok(stored), Some(own)) => match store.submit(own).await {
                    // The recipient has the message. Devices of one's own that never fetch must not stop that: they are
                    // marked, and told.
                    Err(StoreError::MailboxFull) => Ok(stored),
                    Ok(own) => {
                        added |= own.added;
                        Ok(stored)
                    }
                    Err(unavailable) => {
                        added = true;
                        Err(unavailable)
                    }
                },
                (fate, _) => fate,
            };
            if !added {
                shares::give_back(&ctx, taken);
            }
            let kind = match fate {
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
                            checks::not_stored(&ctx, (account, device), to, id, cleared).await;
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
                let max = ctx.config.section::<Limits>().presence_accounts_per_minute;
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
