//! Messages that were stored long after it was asked whether their recipient consents. Their senders were told, most likely, that they
//! are not stored, but a server of NATS that hung, or a connection that was slow, had them all the same.
//!
//! What must hold: none of them is delivered once one of the two has blocked the other. Redis is asked first, as when a message is
//! sent; where nobody knows, nothing is delivered yet.

use std::collections::HashMap;

use nepto_kit::{Ctx, Failure};
use nepto_proto::AccountId;
use nepto_proto::svc::accounts::{MayWrite, Verdict};
use redis::AsyncCommands;

use super::mailbox::Page;

/// Marks what of this part of an account's mailbox is not to be delivered. It stays there until what comes after it is acknowledged.
pub async fn withhold(ctx: &Ctx, account: AccountId, page: &mut Page) -> Result<(), Failure> {
    let mut known: HashMap<AccountId, bool> = HashMap::new();
    for message in page.messages.iter_mut().filter(|message| message.late) {
        // one's own copies need nobody's consent
        let Some(sender) = message.sender().filter(|sender| *sender != account) else { continue };
        message.withheld = match known.get(&sender) {
            Some(is_blocked) => *is_blocked,
            None => {
                let is_blocked = is_blocked(ctx, sender, account).await?;
                known.insert(sender, is_blocked);
                is_blocked
            }
        };
        metrics::counter!("nepto_dm_withheld_total").increment(u64::from(message.withheld));
    }
    Ok(())
}

async fn is_blocked(ctx: &Ctx, sender: AccountId, account: AccountId) -> Result<bool, Failure> {
    let cached: Option<String> = ctx.redis.clone().get(Verdict::cache_key(sender, account)).await.unwrap_or_default();
    let verdict = match cached.as_deref().and_then(Verdict::parse) {
        Some(verdict) => verdict,
        None => ctx.call(&MayWrite { from: sender, to: account }).await?.verdict,
    };
    Ok(matches!(verdict, Verdict::Blocked | Verdict::YouBlocked))
}
