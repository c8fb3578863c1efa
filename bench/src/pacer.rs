//! The open loop: messages leave at a fixed rate, whatever the server does.
//!
//! A thread of its own, because the runtime's timers tick in milliseconds and this one may be late by a tenth of that.
//! Being late does not make the measurement better: a message counts from the time at which it should have left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::device::Command;
use crate::ledger::Ledger;
use crate::stamp::Phase;

/// What is due within this time leaves together.
const TICK: Duration = Duration::from_micros(200);

/// Messages at `rate` a second over all devices in turn, beginning at `from_us` of the ledger. Returns when the last one
/// has left.
pub async fn pace(
    devices: Vec<UnboundedSender<Command>>,
    ledger: Arc<Ledger>,
    phase: Phase,
    rate: u32,
    from_us: u64,
    lasts: Duration,
) -> Result<()> {
    pace_until(CancellationToken::new(), devices, ledger, phase, rate, from_us, lasts).await.map(drop)
}

/// The same, until it is told to stop. Returns how many left.
pub async fn pace_until(
    stop: CancellationToken,
    devices: Vec<UnboundedSender<Command>>,
    ledger: Arc<Ledger>,
    phase: Phase,
    rate: u32,
    from_us: u64,
    lasts: Duration,
) -> Result<u64> {
    let total = (u128::from(rate) * lasts.as_micros() / 1_000_000) as u64;
    let thread = tokio::task::spawn_blocking(move || {
        let mut next = 0;
        while next < total && !devices.is_empty() && !stop.is_cancelled() {
            let now_us = ledger.now_us();
            let due = due_by(now_us.saturating_sub(from_us), rate).min(total);
            for number in next..due {
                let intended_us = from_us + offset_us(number, rate);
                let device = &devices[(number % devices.len() as u64) as usize];
                // a device that is gone has told the ledger why; its message counts as lost
                if device.send(Command::Send { intended_us, phase }).is_err() {
                    ledger.counts().sent[phase as usize] += 1;
                }
            }
            next = due.max(next);
            let wake_us = (from_us + offset_us(next, rate)).max(now_us + TICK.as_micros() as u64);
            std::thread::sleep(ledger.instant(wake_us).saturating_duration_since(std::time::Instant::now()));
        }
        next
    });
    Ok(thread.await?)
}

/// When a message should leave, from the beginning.
fn offset_us(number: u64, rate: u32) -> u64 {
    number * 1_000_000 / u64::from(rate.max(1))
}

/// How many should have left by then.
fn due_by(elapsed_us: u64, rate: u32) -> u64 {
    let mut due = elapsed_us * u64::from(rate) / 1_000_000;
    while offset_us(due, rate) <= elapsed_us {
        due += 1;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_those_are_due_whose_time_has_come() {
        for rate in [1, 3, 999, 1_000, 7_777, 100_000] {
            for elapsed in [0, 1, 999, 1_000, 1_001, 333_333, 10_000_000] {
                let due = due_by(elapsed, rate);
                assert!(offset_us(due - 1, rate) <= elapsed && offset_us(due, rate) > elapsed, "{rate} {elapsed}");
            }
        }
    }

    #[tokio::test]
    async fn every_device_has_its_turn_and_nothing_is_left_out() {
        let ledger = Arc::new(Ledger::open().unwrap());
        let (senders, mut receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| tokio::sync::mpsc::unbounded_channel()).unzip();
        let from = ledger.now_us();
        pace(senders, ledger, Phase::Measured, 3_000, from, Duration::from_millis(100)).await.unwrap();
        let mut times = Vec::new();
        for receiver in &mut receivers {
            let before = times.len();
            while let Ok(Command::Send { intended_us, .. }) = receiver.try_recv() {
                times.push(intended_us);
            }
            assert_eq!(times.len() - before, 100);
        }
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 334));
    }
}
