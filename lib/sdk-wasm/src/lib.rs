//! The core of the client for JavaScript: classes over [`nepto_sdk_core`], whose bodies are JSON as the HTTP API has it, and
//! whose frames are bytes as the socket has them. Whoever calls them fetches, and holds the socket.
//!
//! Everything is synchronous, the [`Backend`](backend) too: a frame that `Device.prepare` hands out may leave at once,
//! because what it used up was committed before (docs/adr/0027-the-core-in-a-browser.md). So a worker is the place for this.
#![cfg(target_family = "wasm")]

mod backend;
mod device;
mod error;
mod sign_in;

use std::sync::Arc;

use nepto_sdk_core::Env;
use nepto_sdk_core::env::Clock;
use rand::SeedableRng;
use rand::rngs::StdRng;

struct BrowserClock;

impl Clock for BrowserClock {
    fn now_ms(&self) -> u64 {
        js_sys::Date::now() as u64
    }
}

/// The clock and the randomness of the browser.
fn env() -> Env {
    Env::new(Arc::new(BrowserClock), StdRng::from_os_rng())
}
