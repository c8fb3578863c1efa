//! Time and randomness, passed in so that tests own them. No other place asks the system for either.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use time::OffsetDateTime;
use uuid::Uuid;

/// A source of the current time.
#[derive(Clone, Default)]
pub struct Clock(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<Mutex<OffsetDateTime>>),
}

impl Clock {
    /// A clock that stands still until it is advanced.
    pub fn manual(start: OffsetDateTime) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The time, in UTC.
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Source::System => OffsetDateTime::now_utc(),
            Source::Manual(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Now, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        (self.now().unix_timestamp_nanos() / 1_000_000) as i64
    }

    /// Moves a manual clock; a system clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            *time.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}

/// A moment from milliseconds since 1970; out of range becomes 1970.
pub fn from_ms(ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A moment from seconds since 1970, as the header of a block has it; out of range becomes 1970.
pub fn from_s(s: u64) -> OffsetDateTime {
    let moment = i64::try_from(s).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    moment.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A source of random bytes and ids.
#[derive(Clone, Default)]
pub struct Random(Option<Arc<Mutex<StdRng>>>);

impl Random {
    /// The same bytes for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// Random bytes, from the operating system unless seeded.
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            None => rand::rng().fill_bytes(&mut bytes),
            Some(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes),
        }
        bytes
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        u64::from_be_bytes(self.bytes()) % bound.max(1)
    }

    /// A UUIDv7 (RFC 9562): ordered by time.
    pub fn uuid(&self, clock: &Clock) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis(clock.now_ms().unsigned_abs(), &self.bytes()).into_uuid()
    }

    /// Lowercase letters and digits, for nonces: 5 bits each.
    pub fn alphanumeric(&self, length: usize) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
        (0..length).map(|_| char::from(LETTERS[usize::from(self.bytes::<1>()[0] % 32)])).collect()
    }
}

/// The time to wait before retry number `attempt` (from 0): doubling from `base` up to `max`, a random part of it ("full
/// jitter"), so that many who failed together don't come back together.
pub fn backoff(random: &Random, attempt: u32, base: Duration, max: Duration) -> Duration {
    let ceiling = base.saturating_mul(1 << attempt.min(20)).min(max);
    Duration::from_micros(random.below(ceiling.as_micros().max(1) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_time() {
        let (clock, random) = (Clock::manual(OffsetDateTime::UNIX_EPOCH), Random::seeded(1));
        let first = random.uuid(&clock);
        clock.advance(Duration::from_millis(1));
        assert!(first < random.uuid(&clock));
        assert_eq!(first.get_version_num(), 7);
    }

    #[test]
    fn backoff_is_bounded() {
        let random = Random::seeded(1);
        for attempt in 0..64 {
            let wait = backoff(&random, attempt, Duration::from_millis(10), Duration::from_secs(2));
            assert!(wait <= Duration::from_secs(2));
        }
    }
}
