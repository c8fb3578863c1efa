//! Names that people choose: which ones may stand in a list, and which of them look alike.
//!
//! What must hold: a name shows everything that it holds, and something; it does not turn round what stands after it, nor reach over other
//! lines. Whether two names look alike is said by [`skeleton`], in the manner of [UTS #39]; that is for warnings, as people may well
//! have names that look alike.
//!
//! [UTS #39]: https://www.unicode.org/reports/tr39/

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Marks in a row. UTS #39 (5.4) allows four that take no space; marks that take some are counted here too, and Myanmar's syllables
/// have up to six of both.
pub const MARKS_IN_A_ROW_MAX: usize = 6;

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// Nothing of it would be seen.
    #[error("a name must show something")]
    Empty,
    /// It has more characters than may be.
    #[error("a name has up to {0} characters")]
    TooLong(usize),
    /// It holds a character that is not seen, or that a screen obeys instead of showing it.
    #[error("a name is one line, all characters of which show; U+{:04X} does not", code(.0))]
    Hidden(char),
    /// It holds a character that turns the direction of writing around.
    #[error("a name must not turn the direction of writing; U+{:04X} does", code(.0))]
    Direction(char),
    /// It starts with a mark, or has too many of them in a row, or twice the same.
    #[error("a name has at most {MARKS_IN_A_ROW_MAX} different marks on a character")]
    Marks,
}

fn code(char: &char) -> u32 {
    u32::from(*char)
}

/// A name as it is kept: NFC, without space at its ends, of up to `chars_max` characters before and after that.
pub fn check_name(text: &str, chars_max: usize) -> Result<String, NameProblem> {
    let text = text.trim();
    if text.chars().nth(chars_max).is_some() {
        return Err(NameProblem::TooLong(chars_max));
    }
    let chars: Vec<char> = text.nfc().collect();
    if chars.len() > chars_max {
        return Err(NameProblem::TooLong(chars_max));
    }
    for (at, char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at)).copied();
        check_char(before, *char, chars.get(at + 1).copied())?;
    }
    if !chars.iter().any(|char| is_seen(*char)) {
        return Err(NameProblem::Empty);
    }
    check_marks(text)?;
    Ok(chars.into_iter().collect())
}

fn check_char(before: Option<char>, char: char, after: Option<char>) -> Result<(), NameProblem> {
    if turns_direction(char) {
        return Err(NameProblem::Direction(char));
    }
    let has_effect = match char {
        // between characters of scripts that join, and of emoji
        JOINER | NON_JOINER => before.is_some_and(joins) && after.is_some_and(is_seen),
        // `1️⃣` is a digit, this and a frame; letters have no other picture
        '\u{fe00}'..='\u{fe0f}' => before.is_some_and(|before| joins(before) || after == Some('\u{20e3}')),
        _ => shows(char),
    };
    if has_effect { Ok(()) } else { Err(NameProblem::Hidden(char)) }
}

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';

/// Whether what follows a character may change its form: not in Latin, Greek, Cyrillic and Armenian, but for their signs.
fn joins(char: char) -> bool {
    matches!(char, '\u{a9}' | '\u{ae}') || (char >= '\u{590}' && is_seen_or_mark(char))
}

fn is_seen_or_mark(char: char) -> bool {
    is_seen(char) || matches!(char, '\u{fe00}'..='\u{fe0f}') || is_combining_mark(char)
}

/// Whether it is seen by itself.
fn is_seen(char: char) -> bool {
    // the joiners, a braille cell without a dot, and what chooses between pictures of the character before it
    let is_nothing = matches!(char, NON_JOINER | JOINER | '\u{2800}' | '\u{fe00}'..='\u{fe0f}');
    !is_nothing && shows(char) && !char.is_whitespace() && !is_combining_mark(char)
}

fn check_marks(text: &str) -> Result<(), NameProblem> {
    // a mark at the start would sit on what stands before the name
    let (mut in_a_row, mut last) = (MARKS_IN_A_ROW_MAX, None);
    for char in text.nfd() {
        if !is_combining_mark(char) {
            (in_a_row, last) = (0, None);
            continue;
        }
        if in_a_row == MARKS_IN_A_ROW_MAX || last == Some(char) {
            return Err(NameProblem::Marks);
        }
        (in_a_row, last) = (in_a_row + 1, Some(char));
    }
    Ok(())
}

/// Whether a character turns the direction of what stands beside it: marks, embeddings, overrides and isolates.
pub const fn turns_direction(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character is shown. Unicode's control and format characters are not, but for the two joiners that scripts and
/// emoji need.
pub const fn shows(char: char) -> bool {
    !turns_direction(char)
        && !matches!(
            char,
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' // control
            | '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{206f}' | '\u{feff}' // seen by nobody
            | '\u{17b4}' | '\u{17b5}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{2028}' | '\u{2029}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' // tags: text that is hidden
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'.. // private
        )
}

/// A name for a line of text that has others beside it: whatever direction it is written in ends with it (FSI and PDI, [UAX #9]).
///
/// [UAX #9]: https://www.unicode.org/reports/tr9/
pub fn isolated(name: &str) -> String {
    format!("\u{2068}{name}\u{2069}")
}

/// What a name looks like at a glance; names with the same one look alike. The skeleton of UTS #39, made indifferent to the size of
/// letters, to accents of Latin, Greek and Cyrillic letters, to space and separators, and to digits that stand for letters
/// ([`looks_like`]). Empty for a name of nothing but separators. It may change with Unicode: never keep it.
pub fn skeleton(text: &str) -> String {
    let wide: String = text.nfkc().collect();
    let small: String = unicode_security::skeleton(&wide).flat_map(char::to_lowercase).collect();
    let mut skeleton = String::with_capacity(2 * small.len());
    for char in unicode_security::skeleton(&small) {
        match char {
            '_' | '-' | '.' | '\u{300}'..='\u{36f}' => {}
            _ if char.is_whitespace() || !shows(char) => {}
            _ => match looks_like(char) {
                Some(letters) => skeleton.push_str(letters),
                None => skeleton.push(char),
            },
        }
    }
    skeleton
}

/// The letters that a small letter or a digit of ASCII looks like, if it is not its own form: digits are the letters they stand
/// for, `i` and `l` are both like `1`, `m` is `rn`, `w` is `vv` and `d` is `cl`. No two digits look alike.
pub const fn looks_like(letter: char) -> Option<&'static str> {
    Some(match letter {
        '0' => "o",
        '1' | 'i' => "l",
        '2' => "z",
        '3' => "e",
        '4' => "a",
        '5' => "s",
        '6' => "g",
        '7' => "t",
        '8' => "b",
        '9' => "q",
        'm' => "rn",
        'w' => "vv",
        'd' => "cl",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(name: &str) -> bool {
        check_name(name, 64).is_ok()
    }

    #[test]
    fn names_of_people_fit_as_they_are() {
        for name in [
            "Ålice 🙂",
            "⠁⠇⠊⠉⠑⠀⠃",
            "👩‍👩‍👧",
            "❤️‍🔥",
            "1️⃣",
            "שלום",
            "می‌خواهم",
            "日本 語",
            "हिन्दी",
            "မြွှေး",
            "Nguyễn Thị Ánh",
            "한국어",
            "O'Neil-Smith_3",
        ] {
            let nfc: String = name.nfc().collect();
            assert_eq!(check_name(name, 64), Ok(nfc), "{name}");
        }
        assert_eq!(check_name("  A\u{30a}lice ", 64).as_deref(), Ok("Ålice"));
    }

    #[test]
    fn nothing_is_hidden_in_a_name() {
        for hidden in "\n\r\u{b}\u{85}\u{2028}\u{2029}\0\u{1b}\u{7f}\u{ad}\u{34f}\u{180e}\u{200b}\u{2060}\u{2064}\u{feff}\u{fff9}\u{3164}\u{17b4}\u{e0041}\u{e000}".chars() {
            assert_eq!(check_name(&format!("a{hidden}b"), 64), Err(NameProblem::Hidden(hidden)), "{hidden:?}");
        }
        for invisible in
            ["admin\u{200d}", "ad\u{200c}min", "\u{200d}admin", "admin\u{fe0f}", "admin1\u{fe0f}", "שלום\u{200d}"]
        {
            assert!(matches!(check_name(invisible, 64), Err(NameProblem::Hidden(_))), "{invisible:?}");
        }
    }

    #[test]
    fn no_name_turns_the_direction() {
        for turns in
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".chars()
        {
            assert_eq!(check_name(&format!("a{turns}b"), 64), Err(NameProblem::Direction(turns)), "{turns:?}");
        }
        assert_eq!(isolated("שלום"), "\u{2068}שלום\u{2069}");
    }

    #[test]
    fn a_name_shows_something() {
        for nothing in ["", " ", "\u{2800}", "\u{2800} \u{2800}", "\u{a0}\u{3000}"] {
            assert_eq!(check_name(nothing, 64), Err(NameProblem::Empty), "{nothing:?}");
        }
        for nothing in ["\u{200d}", "\u{fe0f} \u{200c}", "\u{301}", "\u{301}\u{302}"] {
            assert!(!fits(nothing), "{nothing:?}");
        }
    }

    #[test]
    fn marks_do_not_flood_other_lines() {
        let flood: String = "\u{300}\u{301}\u{302}\u{303}\u{304}\u{306}\u{307}\u{308}".into();
        assert_eq!(check_name(&format!("a{flood}"), 64), Err(NameProblem::Marks));
        assert_eq!(check_name("\u{301}a", 64), Err(NameProblem::Marks));
        assert_eq!(check_name("a\u{308}\u{308}", 64), Err(NameProblem::Marks));
        assert!(fits("a\u{302}\u{301}"));
    }

    #[test]
    fn a_name_has_an_end() {
        assert!(check_name(&"a".repeat(64), 64).is_ok());
        assert_eq!(check_name(&"a".repeat(65), 64), Err(NameProblem::TooLong(64)));
        // this one becomes longer by being normalized
        assert_eq!(check_name(&"\u{958}".repeat(40), 64), Err(NameProblem::TooLong(64)));
    }

    #[test]
    fn look_alikes_of_a_moderator_are_found() {
        let alice = skeleton("Alice Mod");
        for other in [
            "alice mod",
            "ALICE MOD",
            "Al1ce M0d",
            "AIice Mod",
            "A|ice Mod",
            "Alice_Mod",
            "alicemod.",
            "Аlice Моd",
            "Alíce Mód",
            "Ａｌｉｃｅ　Ｍｏｄ",
            "𝐀𝐥𝐢𝐜𝐞 𝐌𝐨𝐝",
            "Alice\u{200d} Mod",
            "Alice Rnod",
        ] {
            assert_eq!(skeleton(other), alice, "{other}");
        }
        for other in ["Alicia Mod", "Bob", "Alice", "Alice Mob", "愛麗絲"] {
            assert_ne!(skeleton(other), alice, "{other}");
        }
        assert_ne!(skeleton("愛"), skeleton("麗"));
        assert_eq!(skeleton("-_."), "");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_kept_as_it_is(text in "\\PC{0,40}|[\\s\\S]{0,40}") {
            if let Ok(name) = check_name(&text, 64) {
                prop_assert!(name.chars().count() <= 64);
                prop_assert!(name.chars().all(|char| shows(char) && char != '\n'));
                prop_assert_eq!(check_name(&name, 64), Ok(name.clone()));
            }
        }

        #[test]
        fn a_letter_and_what_it_looks_like_are_one(name in "[a-z0-9_]{1,20}") {
            let alike: String = name.chars().map(|char| looks_like(char).map_or_else(|| char.to_string(), str::to_owned)).collect();
            prop_assert_eq!(skeleton(&name), skeleton(&alike));
            prop_assert_eq!(skeleton(&name), skeleton(&name.to_uppercase()));
        }
    }
}
