//! Texts that people and strangers wrote, safe to show: no character that a screen obeys instead of showing it, none that turns
//! the direction of what follows, none that can't be seen.

/// On one line, without space at the ends and twice in a row.
pub fn line(text: &str, chars_max: usize) -> String {
    let shown: String = text.chars().map(|char| if is_break(char) { ' ' } else { char }).filter(shows).collect();
    let words: Vec<&str> = shown.split_whitespace().collect();
    words.join(" ").chars().take(chars_max).collect()
}

/// With its line breaks.
pub fn lines(text: &str, chars_max: usize) -> String {
    let text = text.replace("\r\n", "\n");
    let shown = text.chars().map(|char| match char {
        '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{b}' | '\u{c}' => '\n',
        '\t' => ' ',
        _ => char,
    });
    let shown: String = shown.filter(|char| *char == '\n' || shows(char)).take(chars_max).collect();
    shown.trim().to_owned()
}

/// Whether a name is one line that shows what it holds, and shows something.
pub fn is_plain(name: &str) -> bool {
    let is_seen = |char: char| {
        // the joiners, a braille cell without a dot, and what chooses between pictures of the character before it
        !char.is_whitespace() && !matches!(char, '\u{200c}' | '\u{200d}' | '\u{2800}' | '\u{fe00}'..='\u{fe0f}')
    };
    name.chars().all(|char| shows(&char)) && name.chars().any(is_seen)
}

const fn is_break(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Unicode's control and format characters are hidden, but for the two joiners that scripts and emoji need.
const fn shows(char: &char) -> bool {
    !matches!(
        *char,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' // control
        | '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' // seen by nobody
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' // direction
        | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' // tags: text that is hidden
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'.. // private
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_deceives_is_taken_out_and_what_people_write_stays() {
        assert_eq!(line(" a\u{202e}gnp.exe\u{2066}\n\tb\u{0}\u{1b}[31m  c\u{feff}\u{200b} ", 100), "agnp.exe b[31m c");
        assert_eq!(line("x\u{e0041}\u{e0042}y", 100), "xy");
        let said = "👩‍👩‍👧 שלום می‌خواهم हिन्दी 日本語 Ålice ½";
        assert_eq!(line(said, 100), said);
        assert_eq!(lines("one\r\ntwo\rthree\u{2028}four\u{7}\tfive\n\n", 100), "one\ntwo\nthree\nfour five");
        assert_eq!((line("äöü", 2), lines("äöü", 2)), ("äö".into(), "äö".into()));
    }

    #[test]
    fn a_plain_name_hides_nothing_and_turns_nothing_round() {
        for name in ["Ålice 🙂", "⠁⠇⠊⠉⠑⠀⠃", "👩‍👩‍👧", "שלום", "می‌خواهم", "日本 語"]
        {
            assert!(is_plain(name), "{name}");
        }
        for hidden in "\n\r\u{b}\u{85}\u{2028}\u{2029}\0\u{1b}\u{7f}\u{ad}\u{34f}\u{180e}\u{200b}\u{2060}\u{2064}\u{feff}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{fff9}\u{3164}\u{e0041}\u{e000}".chars() {
            assert!(!is_plain(&format!("a{hidden}b")), "{hidden:?}");
        }
        for nothing in ["", " ", "\u{2800}", "\u{2800} \u{2800}", "\u{a0}\u{3000}", "\u{200d}", "\u{fe0f} \u{200c}"] {
            assert!(!is_plain(nothing), "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_short_and_shows(text in "\\PC{0,80}|[\\s\\S]{0,80}", chars_max in 0_usize..50) {
            for cleaned in [line(&text, chars_max), lines(&text, chars_max)] {
                prop_assert!(cleaned.chars().count() <= chars_max);
                prop_assert!(cleaned.chars().all(|char| char == '\n' || !char.is_control()));
                let hidden = cleaned.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\u{e0041}']);
                prop_assert!(!hidden);
            }
            prop_assert!(!line(&text, chars_max).contains('\n'));
        }
    }
}
