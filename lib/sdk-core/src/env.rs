//! Time and randomness, passed in so that tests own them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::platform::{SendOutsideWasm, SyncOutsideWasm};

/// A clock, milliseconds since 1970.
pub trait Clock: SendOutsideWasm + SyncOutsideWasm {
    /// Milliseconds since 1970, UTC.
    fn now_ms(&self) -> u64;
}

#[cfg(feature = "system")]
struct SystemClock;

#[cfg(feature = "system")]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where this crate reads the system's clock")]
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// Where a client gets time and randomness from. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    rng: Arc<Mutex<StdRng>>,
}

impl Env {
    /// The system's clock, and a generator seeded by the operating system.
    #[cfg(feature = "system")]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), StdRng::from_os_rng())
    }

    /// Another clock and generator.
    pub fn new(clock: Arc<dyn Clock>, rng: StdRng) -> Self {
        Self { clock, rng: Arc::new(Mutex::new(rng)) }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The same, as libsignal takes it.
    pub fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms())
    }

    /// The same, as sign-in messages take it.
    pub fn date_time(&self) -> OffsetDateTime {
        let nanos = i128::from(self.now_ms()) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// A fresh generator for a piece of work.
    pub fn rng(&self) -> StdRng {
        let mut source = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        StdRng::from_rng(&mut *source)
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }

    /// A UUID of version 4.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// A duration between zero and this one: full jitter.
    pub fn jitter(&self, most: Duration) -> Duration {
        most.mul_f64(self.rng().random_range(0.0..=1.0))
    }
}

#[cfg(feature = "system")]
impl Default for Env {
    fn default() -> Self {
        Self::system()
    }
}
