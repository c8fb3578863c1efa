//! Who types in a channel: never stored, and said to those who follow it at most once a second, for all who type together.
//!
//! Each who types notes it in Redis; whoever comes when a second is over tells everybody who is noted. So the cost follows the channels
//! in which somebody types, not those who type.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use nepto_kit::Ctx;
use nepto_kit::nats::{NotConnected, is_connected};
use nepto_proto::frame::encode_server;
use nepto_proto::wire::{ChannelTypingFrom, server_frame};
use nepto_proto::{AccountId, ChannelId, CommunityId, subject};
use prost::Message as _;
use tokio::time::Instant;

/// A connection says it at most so often of one channel.
const SAID_EVERY: Duration = Duration::from_secs(2);
/// It is told so often.
const TOLD_EVERY_MS: u64 = 1_000;
/// It is shown so long.
const SHOWN_FOR_MS: i64 = 6_000;
/// Accounts that are named; of the others their number is.
const NAMED_MAX: usize = 5;
/// Channels that a connection remembers having typed in; of more, all are forgotten.
const CHANNELS_MAX: usize = 16;

/// Where a connection said lately that its user types.
#[derive(Debug, Default)]
pub struct Said(HashMap<ChannelId, Instant>);

impl Said {
    /// Whether it may say it again.
    pub fn passes(&mut self, channel: ChannelId, now: Instant) -> bool {
        if self.0.get(&channel).is_some_and(|at| now.saturating_duration_since(*at) < SAID_EVERY) {
            return false;
        }
        if self.0.len() >= CHANNELS_MAX {
            self.0.retain(|_, at| now.saturating_duration_since(*at) < SAID_EVERY);
        }
        if self.0.len() >= CHANNELS_MAX {
            return false;
        }
        self.0.insert(channel, now);
        true
    }
}

/// Notes that an account types, and tells who does if that is due.
pub async fn pass_on(ctx: &Ctx, community: CommunityId, channel: ChannelId, account: AccountId) -> anyhow::Result<()> {
    let (typing, told, now_ms) = (format!("typing:{channel}"), format!("typing-told:{channel}"), ctx.clock.now_ms());
    let (is_due, all, newest): (Option<String>, usize, Vec<String>) = redis::pipe()
        .cmd("ZADD")
        .arg(&typing)
        .arg(now_ms)
        .arg(account.to_string())
        .ignore()
        .cmd("ZREMRANGEBYSCORE")
        .arg(&typing)
        .arg("-inf")
        .arg(now_ms - SHOWN_FOR_MS)
        .ignore()
        .cmd("PEXPIRE")
        .arg(&typing)
        .arg(SHOWN_FOR_MS)
        .ignore()
        .cmd("SET")
        .arg(&told)
        .arg(1)
        .arg("NX")
        .arg("PX")
        .arg(TOLD_EVERY_MS)
        .cmd("ZCARD")
        .arg(&typing)
        .cmd("ZREVRANGE")
        .arg(&typing)
        .arg(0)
        .arg(NAMED_MAX - 1)
        .query_async(&mut ctx.redis.clone())
        .await?;
    if is_due.is_none() {
        return Ok(());
    }
    let named: Vec<Vec<u8>> =
        newest.iter().filter_map(|id| id.parse::<AccountId>().ok()).map(AccountId::to_vec).collect();
    let more = all.saturating_sub(named.len()) as u32;
    let typing = ChannelTypingFrom { channel: channel.to_vec(), accounts: named, more };
    // when a connection that was lost is back, nobody types any more
    anyhow::ensure!(is_connected(&ctx.nats), NotConnected);
    ctx.nats.publish(subject::live_channel(community, channel), typing.encode_to_vec().into()).await?;
    Ok(())
}

/// The frame of what [`pass_on`] published.
pub fn frame(payload: &Bytes) -> Bytes {
    let typing = ChannelTypingFrom::decode(payload.clone()).unwrap_or_default();
    encode_server(0, server_frame::Kind::ChannelTypingFrom(typing))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn typing_is_said_once_in_two_seconds_and_in_few_channels() {
        let (mut said, now) = (Said::default(), Instant::now());
        let channel = |number| ChannelId::new(Uuid::from_u128(number));
        assert!(said.passes(channel(0), now));
        assert!(!said.passes(channel(0), now + SAID_EVERY / 2));
        assert!(said.passes(channel(0), now + SAID_EVERY));
        let passed = (1..100).filter(|number| said.passes(channel(*number), now + SAID_EVERY)).count();
        assert_eq!(passed, CHANNELS_MAX - 1);
        assert!(said.passes(channel(100), now + SAID_EVERY * 2));
    }
}
