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

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use nepto_sdk_core::Env;
use nepto_sdk_core::env::Clock;
use rand::SeedableRng;
use rand::rngs::StdRng;

// A panic that nothing in the core caught ends the call and is thrown in JavaScript. Whoever catches it frees the object and opens
// its store again, as after a crash: what is committed is whole, whatever was on its way into memory.
impl UnwindSafe for backend::Store {}
impl RefUnwindSafe for backend::Store {}
impl UnwindSafe for device::Device {}
impl RefUnwindSafe for device::Device {}
impl UnwindSafe for sign_in::SignIn {}
impl RefUnwindSafe for sign_in::SignIn {}

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
