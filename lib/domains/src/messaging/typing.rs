//! That somebody types: never stored, passed on to whoever has accepted them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nepto_kit::Ctx;
use nepto_kit::nats::{NotConnected, is_connected};
use nepto_proto::AccountId;
use nepto_proto::subject::Live;
use nepto_proto::wire;
use prost::Message as _;
use redis::AsyncCommands;
use tokio::time::Instant;

use nepto_proto::svc::accounts::Verdict;
use nepto_proto::svc::keys::DeviceList;

/// A start is passed on at most this often.
const TYPING_EVERY: Duration = Duration::from_millis(300);
/// People that a device is typing to at once, for all that is remembered: of more, the oldest times out by itself.
const TYPING_TO_MAX: usize = 8;

/// To whom a device is typing.
#[derive(Debug, Default)]
pub struct Typing {
    started_at: Option<Instant>,
    to: VecDeque<AccountId>,
}

impl Typing {
    /// Whether this is passed on. A start not too soon after another one; a stop once after a start that was passed on, and
    /// then always, so that nobody types for ever.
    pub fn passes(&mut self, to: AccountId, active: bool, now: Instant) -> bool {
        let known = self.to.iter().position(|other| *other == to);
        if !active {
            return known.and_then(|index| self.to.remove(index)).is_some();
        }
        if self.started_at.is_some_and(|at| now - at < TYPING_EVERY) {
            return false;
        }
        self.started_at = Some(now);
        if known.is_none() {
            if self.to.len() == TYPING_TO_MAX {
                self.to.pop_front();
            }
            self.to.push_back(to);
        }
        true
    }
}

/// To all devices of somebody who has accepted us. What Redis does not know is not worth asking for.
pub async fn pass_on(ctx: &Ctx, from: AccountId, to: AccountId, typing: wire::TypingFrom) -> anyhow::Result<()> {
    let keys = [Verdict::cache_key(from, to), DeviceList::cache_key(to)];
    let known: Vec<Option<String>> = ctx.redis.clone().mget(&keys[..]).await?;
    let [Some(verdict), Some(devices)] = known.as_slice() else { return Ok(()) };
    if Verdict::parse(verdict) != Some(Verdict::Accepted) {
        return Ok(());
    }
    // when a connection that was lost is back, nobody types any more
    anyhow::ensure!(is_connected(&ctx.nats), NotConnected);
    let payload = Bytes::from(typing.encode_to_vec());
    for (device, _) in DeviceList::decode(devices).unwrap_or_default().devices {
        ctx.nats.publish(Live::Typing.subject(to, device), payload.clone()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn to(number: u128) -> AccountId {
        AccountId::new(Uuid::from_u128(number))
    }

    #[test]
    fn a_stop_passes_once_and_only_after_a_start_that_passed() {
        let (mut typing, now) = (Typing::default(), Instant::now());
        assert!(!typing.passes(to(1), false, now), "nothing was started");
        assert!(typing.passes(to(1), true, now));
        assert!(!typing.passes(to(2), true, now), "too soon");
        assert!(!typing.passes(to(2), false, now), "its start was not passed on");
        assert!(typing.passes(to(1), false, now));
        assert!(!typing.passes(to(1), false, now), "once");
        assert!(typing.passes(to(2), true, now + TYPING_EVERY));
    }

    #[test]
    fn a_bounded_number_of_people_is_remembered() {
        let (mut typing, mut now) = (Typing::default(), Instant::now());
        for number in 0..=TYPING_TO_MAX as u128 {
            assert!(typing.passes(to(number), true, now));
            now += TYPING_EVERY;
        }
        assert_eq!(typing.to.len(), TYPING_TO_MAX);
        assert!(!typing.passes(to(0), false, now) && typing.passes(to(1), false, now));
    }
}
