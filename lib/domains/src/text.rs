//! Texts that people and strangers wrote, safe to show: no character that a screen obeys instead of showing it, none that turns
//! the direction of what follows, none that can't be seen. Names that people choose have a stricter rule, `nepto_proto::names`.

use nepto_proto::names::shows;

/// On one line, without space at the ends and twice in a row.
pub fn line(text: &str, chars_max: usize) -> String {
    let shown: String =
        text.chars().map(|char| if is_break(char) { ' ' } else { char }).filter(|char| shows(*char)).collect();
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
    let shown: String = shown.filter(|char| *char == '\n' || shows(*char)).take(chars_max).collect();
    shown.trim().to_owned()
}

const fn is_break(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
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
