//! Consent and names. Pure rules.

use nepto_proto::AccountId;
use nepto_proto::api::accounts::Consent;
use nepto_proto::limits::NAME_CHARS_MAX;
use serde::{Deserialize, Serialize};

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

    /// The Redis key that holds a copy.
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

/// What an account decided, as stored.
pub fn consent_text(consent: Consent) -> &'static str {
    match consent {
        Consent::Requested => "requested",
        Consent::Accepted => "accepted",
        Consent::Blocked => "blocked",
    }
}

/// Undoes [`consent_text`].
pub fn parse_consent(text: &str) -> Option<Consent> {
    [Consent::Requested, Consent::Accepted, Consent::Blocked].into_iter().find(|c| consent_text(*c) == text)
}

/// A display name: up to 64 characters on one line, and none that turn the direction of writing around.
pub fn display_name_fits(name: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(|c| c.is_control() || turns(c))
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
    fn names_that_deceive_are_refused() {
        assert!(display_name_fits("Ålice 🙂"));
        assert!(!display_name_fits("a\nb"));
        assert!(!display_name_fits("\u{202e}ecila"));
        assert!(!display_name_fits(&"a".repeat(65)));
    }
}
