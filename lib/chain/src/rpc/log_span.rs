//! How many blocks an endpoint's logs are asked for at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Range;

/// To begin with, and at most.
const FIRST: f64 = 500.0;
const MAX: f64 = 100_000.0;

/// A twentieth more after each answer, half or what it proposes when it says that it is too much.
#[derive(Debug)]
pub(crate) struct LogSpan(Mutex<f64>);

impl Default for LogSpan {
    fn default() -> Self {
        Self(Mutex::new(FIRST))
    }
}

impl LogSpan {
    /// Blocks whose logs may be asked for now.
    pub fn blocks(&self) -> u64 {
        *self.lock() as u64
    }

    /// The endpoint gave the logs of so many blocks.
    pub fn given(&self, blocks: u64) {
        let mut span = self.lock();
        if blocks >= *span as u64 {
            *span = (*span * 1.05 + 1.0).min(MAX);
        }
    }

    /// It did not give the logs of a range; maybe it proposed a smaller one.
    pub fn refused(&self, asked: Range, proposed: Option<Range>) {
        let blocks = asked.to - asked.from + 1;
        let proposed = proposed.filter(|range| range.from == asked.from && range.to < asked.to);
        let fewer = proposed.map_or(blocks / 2, |range| range.to - range.from + 1);
        *self.lock() = fewer.max(1) as f64;
    }

    fn lock(&self) -> MutexGuard<'_, f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
