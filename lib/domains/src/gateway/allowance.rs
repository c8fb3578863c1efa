//! What frames cost. A connection has an allowance that refills at a steady rate, in memory: counting costs nothing.
//!
//! The domains say what each kind costs: nothing, where it has limits of its own and brings something about. What is refused
//! costs something in any case. Past the allowance frames are refused; whoever goes on like that is closed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nepto_kit::frames::Price;
use nepto_proto::{AccountId, DeviceId};
use tokio::time::Instant;

/// A ping or a pong of WebSocket.
pub const CONTROL: u32 = 1;
/// A refusal, beside what the frame itself costs: somebody had to look it up, and to write an answer.
pub const REFUSAL: u32 = 2;

/// Devices whose spending is remembered: 4 MB.
const REMEMBERED_MAX: usize = 65_536;
/// Each whole block of so many bytes costs as much as a ping, except in frames that are free.
const BLOCK_BYTES: usize = 4_096;

/// What a frame of so many bytes costs before anybody looks at it.
pub fn cost(price: Price, bytes: usize) -> u32 {
    match price {
        Price::Free => 0,
        Price::Units(units) => units + (bytes / BLOCK_BYTES) as u32,
    }
}

/// Whether something may pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Passage {
    /// Yes, at once.
    Free,
    /// Not now; after this time it could.
    Limited(Duration),
    /// The connection was limited, and went on: that is enough.
    Over,
}

/// So much at once, and so much a second from then on (a leaky bucket as a meter: ITU-T I.371, as GCRA).
#[derive(Debug)]
pub struct Allowance {
    /// Time that one unit takes to come back.
    every: Duration,
    /// Time that all of it takes.
    whole: Duration,
    /// When everything that was spent has come back.
    full_at: Instant,
}

impl Allowance {
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let every = Duration::from_secs(1) / per_second.max(1);
        Self { every, whole: every * burst.max(1), full_at: now }
    }

    /// Spends this much. What is refused is spent as well, and one at least; who has spent twice the allowance is through.
    pub fn spend(&mut self, cost: u32, now: Instant) -> Passage {
        let owed = self.full_at.max(now) - now + self.every * cost;
        if owed <= self.whole {
            self.full_at = now + owed;
            return Passage::Free;
        }
        let owed = if cost == 0 { owed + self.every } else { owed };
        self.full_at = now + owed;
        if owed > self.whole * 2 { Passage::Over } else { Passage::Limited(owed - self.whole) }
    }
}

/// What devices had spent when their connections ended: a new connection is no new allowance. In memory, as one device is mostly
/// at one gateway; those that have everything back are forgotten.
#[derive(Debug, Default)]
pub struct Spent(Mutex<HashMap<(AccountId, DeviceId), Instant>>);

impl Spent {
    /// Goes on with what a device had spent.
    pub fn resume(&self, who: (AccountId, DeviceId), allowance: &mut Allowance, now: Instant) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = spent.remove(&who) {
            // of both connections, if the one before ended after this one had begun
            let owed = full_at.max(now) - now;
            allowance.full_at = allowance.full_at.max(now) + owed;
        }
    }

    /// A connection has ended.
    pub fn keep(&self, who: (AccountId, DeviceId), allowance: &Allowance, now: Instant) {
        if allowance.full_at <= now {
            return;
        }
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= REMEMBERED_MAX {
            spent.retain(|_, full_at| *full_at > now);
        }
        if spent.len() < REMEMBERED_MAX {
            let full_at = spent.entry(who).or_insert(now);
            *full_at = (*full_at).max(allowance.full_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_spent_comes_back() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, 20, start);
        for _ in 0..20 {
            assert_eq!(allowance.spend(1, start), Passage::Free);
        }
        assert_eq!(allowance.spend(1, start), Passage::Limited(SECOND / 10));
        assert_eq!(allowance.spend(1, start + SECOND), Passage::Free);
    }

    #[test]
    fn who_stays_limited_is_through() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, 20, start);
        let spent = (0..).find(|_| allowance.spend(1, start) == Passage::Over).unwrap();
        assert_eq!(spent, 40, "twice the allowance");
        // what is free costs as well once one is limited
        let mut allowance = Allowance::new(10, 20, start);
        assert_eq!(allowance.spend(21, start), Passage::Limited(SECOND / 10));
        assert_eq!(allowance.spend(0, start), Passage::Limited(SECOND / 5));
        assert_eq!((0..).find(|_| allowance.spend(0, start) == Passage::Over), Some(18));
    }

    #[test]
    fn a_new_connection_is_no_new_allowance() {
        let (spent, now) = (Spent::default(), Instant::now());
        let who = (AccountId::new(uuid::Uuid::from_u128(1)), DeviceId::try_from(1).unwrap());
        let other = (who.0, DeviceId::try_from(2).unwrap());
        let begin = |who, now| {
            let mut allowance = Allowance::new(10, 20, now);
            spent.resume(who, &mut allowance, now);
            allowance
        };
        let mut allowance = begin(who, now);
        assert_eq!(allowance.spend(20, now), Passage::Free);
        spent.keep(who, &allowance, now);
        assert_eq!(begin(other, now).spend(20, now), Passage::Free, "another device has its own");
        let mut again = begin(who, now + SECOND);
        assert_eq!(again.spend(10, now + SECOND), Passage::Free);
        assert_eq!(again.spend(1, now + SECOND), Passage::Limited(SECOND / 10));
        spent.keep(who, &again, now + SECOND);
        assert_eq!(begin(who, now + SECOND * 60).spend(20, now + SECOND * 60), Passage::Free);
    }

    #[test]
    fn large_frames_cost_more_except_those_that_are_free() {
        assert_eq!((cost(Price::Units(0), 10), cost(Price::Units(0), 256 * 1_024)), (0, 64));
        assert_eq!((cost(Price::Units(4), 10), cost(Price::Units(4), 4_096)), (4, 5));
        assert_eq!(cost(Price::Free, 256 * 1_024), 0);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_burst_and_the_rate(
            steps in proptest::collection::vec((0u32..6, 0u64..400), 1..200)
        ) {
            let start = Instant::now();
            let (per_second, burst) = (20, 40);
            let mut allowance = Allowance::new(per_second, burst, start);
            let (mut now, mut passed) = (start, 0);
            for (cost, wait_ms) in steps {
                now += Duration::from_millis(wait_ms);
                if allowance.spend(cost, now) == Passage::Free {
                    passed += cost;
                }
                let most = f64::from(burst) + (now - start).as_secs_f64() * f64::from(per_second);
                prop_assert!(f64::from(passed) <= most + 0.001, "{passed} of {most}");
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(waits in proptest::collection::vec(50u64..500, 1..500)) {
            let mut now = Instant::now();
            let mut allowance = Allowance::new(20, 1, now);
            for wait_ms in waits {
                prop_assert_eq!(allowance.spend(1, now), Passage::Free);
                now += Duration::from_millis(wait_ms);
            }
        }
    }
}
