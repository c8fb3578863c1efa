//! Counts every message of a run: sent, stored, delivered, and how long each took.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::stamp::{Phase, Stamp};

/// Latencies above this are recorded as this.
const LATENCY_US_MAX: u64 = 120_000_000;

/// The books of a run. All times are microseconds since it was opened.
pub struct Ledger {
    opened: Instant,
    counts: Mutex<Counts>,
}

/// What has been counted so far.
#[derive(Clone)]
pub struct Counts {
    /// Messages that were sent, by [`Phase`](crate::stamp::Phase).
    pub sent: [u64; 2],
    /// Messages that arrived, each counted once, by phase.
    pub delivered: [u64; 2],
    /// Messages that the server said `stored` to, by phase.
    pub stored: [u64; 2],
    /// Answers other than `stored`, in any phase.
    pub refused: u64,
    /// Deliveries of what was delivered before, in any phase.
    pub duplicated: u64,
    /// Sockets that closed by themselves.
    pub broken: u64,
    /// The first refusal or reason of a close.
    pub complaint: Option<String>,
    /// From the intended time to arrival, measured phase, microseconds.
    pub latency: Histogram<u64>,
    /// From the intended time to `stored`, measured phase, microseconds.
    pub to_stored: Histogram<u64>,
    /// From the intended time to when we really sent, measured phase, microseconds: the load generator's own fault.
    pub late: Histogram<u64>,
    /// Deliveries by the second since the measured phase began.
    pub seconds: Vec<u64>,
    /// When the measured phase began.
    pub measured_from_us: u64,
    /// The last delivery.
    pub last_delivery_us: u64,
    /// The last `stored`.
    pub last_stored_us: u64,
}

impl Ledger {
    /// Opens the books now.
    pub fn open() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Ok(Self {
            opened: Instant::now(),
            counts: Mutex::new(Counts {
                sent: [0; 2],
                delivered: [0; 2],
                stored: [0; 2],
                refused: 0,
                duplicated: 0,
                broken: 0,
                complaint: None,
                latency: histogram()?,
                to_stored: histogram()?,
                late: histogram()?,
                seconds: Vec::new(),
                measured_from_us: 0,
                last_delivery_us: 0,
                last_stored_us: 0,
            }),
        })
    }

    /// The time of this ledger: microseconds since it was opened.
    pub fn now_us(&self) -> u64 {
        self.opened.elapsed().as_micros() as u64
    }

    /// A time of this ledger as the clock's.
    pub fn instant(&self, us: u64) -> Instant {
        self.opened + Duration::from_micros(us)
    }

    /// Sends the books on to be read or written. Never held over an await.
    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The measured phase begins.
    pub fn begin(&self) -> u64 {
        let now = self.now_us();
        self.counts().measured_from_us = now;
        now
    }
}

impl Counts {
    /// A message went out.
    pub fn sent(&mut self, stamp: Stamp, now_us: u64) {
        self.sent[stamp.phase as usize] += 1;
        if stamp.phase == Phase::Measured {
            self.late.saturating_record(now_us.saturating_sub(stamp.intended_us));
        }
    }

    /// The server has it.
    pub fn stored(&mut self, stamp: Stamp, now_us: u64) {
        self.stored[stamp.phase as usize] += 1;
        self.last_stored_us = now_us;
        if stamp.phase == Phase::Measured {
            self.to_stored.saturating_record(now_us.saturating_sub(stamp.intended_us));
        }
    }

    /// It arrived, for the first time.
    pub fn delivered(&mut self, stamp: Stamp, now_us: u64) {
        self.delivered[stamp.phase as usize] += 1;
        self.last_delivery_us = now_us;
        if stamp.phase == Phase::Measured {
            self.latency.saturating_record(now_us.saturating_sub(stamp.intended_us));
            let second = (now_us.saturating_sub(self.measured_from_us) / 1_000_000) as usize;
            if self.seconds.len() <= second {
                self.seconds.resize(second + 1, 0);
            }
            self.seconds[second] += 1;
        }
    }

    /// The server did not take it.
    pub fn refused(&mut self, why: String) {
        self.refused += 1;
        self.complaint.get_or_insert(why);
    }

    /// A socket closed.
    pub fn broke(&mut self, why: String) {
        self.broken += 1;
        self.complaint.get_or_insert(why);
    }

    /// Sent and not delivered, of the measured phase.
    pub const fn lost(&self) -> u64 {
        self.sent[Phase::Measured as usize].saturating_sub(self.delivered[Phase::Measured as usize])
    }

    /// Deliveries within the first seconds of the measured phase.
    pub fn delivered_within(&self, seconds: u64) -> u64 {
        self.seconds.iter().take(seconds as usize).sum()
    }
}

/// Which messages of one sender were seen.
#[derive(Debug, Default)]
pub struct Seen(Vec<u64>);

impl Seen {
    /// Whether this is the first time.
    pub fn is_new(&mut self, seq: u32) -> bool {
        let (word, bit) = (seq as usize / 64, 1u64 << (seq % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seq: u32, intended_us: u64) -> Stamp {
        Stamp { run: 1, phase: Phase::Measured, sender: 0, seq, intended_us }
    }

    #[test]
    fn what_was_seen_is_not_new() {
        let mut seen = Seen::default();
        assert!(seen.is_new(0) && seen.is_new(200) && seen.is_new(63));
        assert!(!seen.is_new(0) && !seen.is_new(200) && seen.is_new(199));
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_the_rest_is_lost() {
        let ledger = Ledger::open().unwrap();
        let mut counts = ledger.counts();
        for seq in 0..3 {
            counts.sent(stamp(seq, 1_000), 1_500);
        }
        counts.delivered(stamp(0, 1_000), 3_000);
        counts.delivered(stamp(1, 1_000), 2_500_000);
        assert_eq!(counts.latency.min(), 2_000);
        assert_eq!((counts.lost(), counts.seconds.as_slice()), (1, [1, 0, 1].as_slice()));
        assert_eq!(counts.delivered_within(2), 1);
        assert_eq!(counts.late.max(), 500);
    }
}
