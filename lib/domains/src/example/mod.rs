//! The smallest domain, for tests alone: it comes in through the same doors as the others, one folder and one line each.
//!
//! It lives here and not in the testkit, because a domain needs the kit, which the testkit stands beside; and behind
//! `cfg(test)` and not behind a feature, so that no program can be built with it.

mod frames;
mod tests;

use nepto_kit::domain::Domain;

/// The domain.
pub fn domain() -> Domain {
    Domain { name: "example", frames: Some(frames::mount), ..Domain::NONE }
}
