//! Dying at a chosen moment, so that tests can show that no moment matters.
//!
//! `NEPTO_CRASH_AT=erc20:committed` in the environment of a process ends it when it reaches that point, as `kill -9` would:
//! nothing is written, drained or said. Without the variable a crash point costs one comparison.

use std::sync::LazyLock;

static AT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("NEPTO_CRASH_AT").ok());

/// A crash point: which loop comes by, and what it has just done.
pub fn at(who: &str, done: &str) {
    if AT.as_deref().is_some_and(|at| is(at, who, done)) {
        std::process::abort();
    }
}

fn is(at: &str, who: &str, done: &str) -> bool {
    at.split_once(':') == Some((who, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_alone_is_meant() {
        assert!(is("erc20:committed", "erc20", "committed"));
        assert!(!is("erc20:committed", "erc721", "committed"));
        assert!(!is("erc20:committed", "erc20", "fetched"));
        assert!(!is("erc20", "erc20", ""));
    }
}
