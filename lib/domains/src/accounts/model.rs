//! Consent and names. Pure rules.

use nepto_proto::limits::NAME_CHARS_MAX;

use crate::text::is_plain;

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
