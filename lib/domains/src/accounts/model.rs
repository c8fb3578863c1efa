//! Consent and names. Pure rules.

use nepto_proto::AccountId;
use nepto_proto::api::accounts::Consent;
use nepto_proto::limits::NAME_CHARS_MAX;
use serde::{Deserialize, Serialize};

use crate::text::is_plain;

/// Whether one account may write to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Freely.
    Accepted,
    /// A few messages, until the recipient decides.
    Requested,
    /// The recipient refuses.
    Blocked,
    /// The sender has blocked the recipient.
    YouBlocked,
}

impl Verdict {
    /// From what each side has decided about the other.
    pub fn of(sender: Option<Consent>, recipient: Option<Consent>) -> Self {
        match (sender, recipient) {
            (Some(Consent::Blocked), _) => Self::YouBlocked,
            (_, Some(Consent::Blocked)) => Self::Blocked,
            (_, Some(Consent::Accepted)) => Self::Accepted,
            (_, Some(Consent::Requested) | None) => Self::Requested,
        }
    }

    /// The Redis key that holds a copy, only ever of a settled [`Standing`]: a message that finds it there is asked no
    /// further, and notes nothing.
    pub fn cache_key(from: AccountId, to: AccountId) -> String {
        format!("cache:consent:{from}:{to}")
    }

    /// As it stands in Redis.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Requested => "requested",
            Self::Blocked => "blocked",
            Self::YouBlocked => "you_blocked",
        }
    }

    /// Undoes [`Verdict::as_str`]; in Redis, `@` and the revision it is of come after it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split('@').next()?;
        [Self::Accepted, Self::Requested, Self::Blocked, Self::YouBlocked].into_iter().find(|v| v.as_str() == text)
    }
}

/// How one account stands with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it may write.
    pub verdict: Verdict,
    /// Its messages change nothing about it: either none is stored, or both know each other and it accepts answers already.
    pub settled: bool,
}

impl Standing {
    /// From what each side has decided about the other.
    pub fn of(sender: Option<Consent>, recipient: Option<Consent>) -> Self {
        let verdict = Verdict::of(sender, recipient);
        let settled = match verdict {
            Verdict::Blocked | Verdict::YouBlocked => true,
            Verdict::Accepted | Verdict::Requested => sender == Some(Consent::Accepted) && recipient.is_some(),
        };
        Self { verdict, settled }
    }

    /// As it stands in Redis, without the revision that it is of.
    pub const fn cached(self) -> &'static str {
        if self.settled { self.verdict.as_str() } else { "ask" }
    }
}

/// A display name: up to 64 characters on one line, all of which show, and none that turn the direction of writing around.
pub fn display_name_fits(name: &str) -> bool {
    name.chars().count() <= NAME_CHARS_MAX && is_plain(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_wins_over_everything() {
        use Consent::{Accepted, Blocked, Requested};
        for other in [None, Some(Requested), Some(Accepted), Some(Blocked)] {
            assert_eq!(Verdict::of(Some(Blocked), other), Verdict::YouBlocked);
        }
        for own in [None, Some(Requested), Some(Accepted)] {
            assert_eq!(Verdict::of(own, Some(Blocked)), Verdict::Blocked);
            assert_eq!(Verdict::of(own, None), Verdict::Requested);
            assert_eq!(Verdict::of(own, Some(Accepted)), Verdict::Accepted);
        }
    }

    #[test]
    fn a_standing_is_kept_only_where_a_message_would_change_nothing() {
        use Consent::{Accepted, Blocked, Requested};
        for (sender, recipient, cached) in [
            (None, None, "ask"),
            (None, Some(Accepted), "ask"),
            (Some(Requested), Some(Accepted), "ask"),
            (Some(Accepted), None, "ask"),
            (Some(Accepted), Some(Requested), "requested"),
            (Some(Accepted), Some(Accepted), "accepted"),
            (None, Some(Blocked), "blocked"),
            (Some(Blocked), None, "you_blocked"),
        ] {
            let standing = Standing::of(sender, recipient);
            assert_eq!(standing.cached(), cached, "{sender:?} {recipient:?}");
            assert_eq!(Verdict::parse(&format!("{cached}@3")), standing.settled.then_some(standing.verdict));
        }
    }

    #[test]
    fn names_that_deceive_are_refused() {
        assert!(display_name_fits("Ålice 🙂"));
        assert!(!display_name_fits("a\nb"));
        for hidden in ["\u{202e}ecila", "ali\u{200f}ce", "ali\u{61c}ce", "ali\u{200b}ce", "\u{feff}alice", "   "] {
            assert!(!display_name_fits(hidden), "{hidden:?}");
        }
        assert!(!display_name_fits(&"a".repeat(65)));
    }
}
