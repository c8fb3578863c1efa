//! Consent and names. Pure rules.

use nepto_proto::api::accounts::Consent;
use nepto_proto::limits::NAME_CHARS_MAX;

use crate::text::is_plain;

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

/// A display name: up to 64 characters on one line, all of which show, and none that turn the direction of writing around.
pub fn display_name_fits(name: &str) -> bool {
    name.chars().count() <= NAME_CHARS_MAX && is_plain(name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
