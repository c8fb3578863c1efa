//! Requests a second of one network and of one prefix. Who is faster waits for its turn, so that nobody needs an error for a
//! page that asks for much at once; who would wait for long is refused.
//!
//! The generic cell rate algorithm: of each network only the time is kept at which it will have used nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Origin;

/// What may come at once after a quiet time, in time at the full rate.
const BURST: Duration = Duration::from_secs(1);
/// The longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Networks, and prefixes, that are remembered: 3 MB of each. Those that were quiet for a second make room.
const REMEMBERED_MAX: usize = 65_536;

/// When each network and each prefix has its next turn.
pub struct Pace {
    networks: Table,
    prefixes: Table,
}

impl Pace {
    /// So many requests a second of one network, and of one prefix.
    pub fn new(per_network: u32, per_prefix: u32) -> Self {
        Self { networks: Table::new(per_network), prefixes: Table::new(per_prefix) }
    }

    /// Whether it need not wait. If it would have to, no turn is taken.
    pub fn at_once(&self, origin: Origin, now: Instant) -> bool {
        let wait = self.networks.wait(origin.network, now).max(self.prefixes.wait(origin.prefix, now));
        if wait.is_zero() {
            self.networks.take(origin.network, now);
            self.prefixes.take(origin.prefix, now);
        }
        wait.is_zero()
    }

    /// How long this request has to wait, or how long it would have to if that is too long. The latter takes no turn.
    pub fn turn(&self, origin: Origin, now: Instant) -> Result<Duration, Duration> {
        let wait = self.networks.wait(origin.network, now).max(self.prefixes.wait(origin.prefix, now));
        if wait > WAIT_MAX {
            return Err(wait);
        }
        self.networks.take(origin.network, now);
        self.prefixes.take(origin.prefix, now);
        Ok(wait)
    }
}

/// When each will have used nothing.
struct Table {
    every: Duration,
    quiet_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Table {
    fn new(per_second: u32) -> Self {
        Self { every: Duration::from_secs(1) / per_second.max(1), quiet_at: Mutex::default() }
    }

    fn wait(&self, who: IpAddr, now: Instant) -> Duration {
        let quiet_at = self.quiet_at.lock().unwrap_or_else(PoisonError::into_inner).get(&who).copied();
        let used = quiet_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (used + self.every).saturating_sub(BURST.max(self.every))
    }

    fn take(&self, who: IpAddr, now: Instant) {
        let mut table = self.quiet_at.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= REMEMBERED_MAX && !table.contains_key(&who) {
            table.retain(|_, quiet_at| *quiet_at > now);
            if table.len() >= REMEMBERED_MAX {
                // so many at once are no flood of one address
                return;
            }
        }
        let quiet_at = table.entry(who).or_insert(now);
        *quiet_at = (*quiet_at).max(now) + self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(last: [u8; 2]) -> Origin {
        IpAddr::from([192, 0, last[0], last[1]]).into()
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_then_it_is_refused() {
        let (pace, now) = (Pace::new(100, 400), Instant::now());
        let one = origin([1, 1]);
        for _ in 0..100 {
            assert_eq!(pace.turn(one, now), Ok(Duration::ZERO));
        }
        for number in 1..=100 {
            assert_eq!(pace.turn(one, now), Ok(Duration::from_millis(10) * number));
        }
        assert!(pace.turn(one, now).is_err());
        // refused takes no turn, and others have theirs
        assert!(pace.turn(one, now).is_err());
        assert_eq!(pace.turn(one, now + Duration::from_millis(10)), Ok(WAIT_MAX));
        assert_eq!(pace.turn(origin([1, 2]), now), Ok(Duration::ZERO));
        assert!(!pace.at_once(one, now + WAIT_MAX));
        assert!(pace.at_once(one, now + WAIT_MAX + Duration::from_millis(20)));
        assert_eq!(pace.turn(one, now + Duration::from_secs(9)), Ok(Duration::ZERO));
    }

    #[test]
    fn many_addresses_of_a_prefix_are_one_when_they_are_many() {
        let (pace, now) = (Pace::new(10, 20), Instant::now());
        let waits: Vec<_> = (0..40).map(|number| pace.turn(origin([1, number]), now)).collect();
        assert!(waits[..20].iter().all(|wait| *wait == Ok(Duration::ZERO)));
        assert!(waits[20..].iter().all(|wait| wait.unwrap() > Duration::ZERO));
        assert!(pace.turn(origin([1, 99]), now).is_err());
        assert_eq!(pace.turn(origin([2, 1]), now), Ok(Duration::ZERO));
    }

    #[test]
    fn those_that_are_quiet_are_forgotten() {
        let (table, now) = (Table::new(100), Instant::now());
        for number in 0..REMEMBERED_MAX as u32 {
            table.take(IpAddr::from(number.to_be_bytes()), now);
        }
        table.take(IpAddr::from([255; 4]), now + Duration::from_secs(2));
        assert_eq!(table.quiet_at.lock().unwrap().len(), 1);
    }
}
