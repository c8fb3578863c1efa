//! Consent and names. Pure rules.

use std::time::Duration;

use nepto_proto::AccountId;
use nepto_proto::limits::NAME_CHARS_MAX;
use nepto_proto::names::{NameProblem, check_name};

/// A display name as it is kept: up to 64 characters on one line, all of which show, and none that turn the direction of writing around.
pub fn display_name(name: &str) -> Result<String, NameProblem> {
    check_name(name, NAME_CHARS_MAX)
}

/// People who wrote to somebody and wait for a decision. Past it, who writes takes the place of another one: a flood keeps
/// nobody out.
pub const OPEN_REQUESTS_MAX: i64 = 200;
/// Requests that are read when one is added. More than may wait are there only from before there was a bound, and go a part at a time.
pub const OPEN_REQUESTS_READ: i64 = 2 * OPEN_REQUESTS_MAX;
/// They wait for so long.
pub const OPEN_REQUEST_FOR: Duration = Duration::from_secs(30 * 86_400);
/// An account is young for so long. Not a setting, unlike `mailbox.new_account_for_s`: it decides only who goes first.
const YOUNG_FOR: Duration = Duration::from_secs(86_400);

/// Who has waited since before this time has waited too long.
pub fn waits_since(now_ms: i64) -> i64 {
    now_ms - OPEN_REQUEST_FOR.as_millis() as i64
}

/// Which requests go first where there is no room for one more: those of accounts that were young when they wrote, because a flood
/// comes from such, and of the same rank the oldest.
pub fn rank(from: AccountId, now_ms: i64) -> i64 {
    i64::from(!from.is_younger(now_ms, YOUNG_FOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_deceive_are_refused() {
        assert_eq!(display_name(" A\u{30a}lice 🙂").as_deref(), Ok("Ålice 🙂"));
        assert!(display_name("a\nb").is_err());
        for hidden in ["\u{202e}ecila", "ali\u{200f}ce", "ali\u{61c}ce", "ali\u{200b}ce", "\u{feff}alice", "   "] {
            assert!(display_name(hidden).is_err(), "{hidden:?}");
        }
        assert!(display_name(&"a".repeat(65)).is_err());
    }
}
