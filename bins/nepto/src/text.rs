//! What others wrote, made safe to show: names and messages must not be able to move the cursor, recolour the screen,
//! set the window's title or turn the direction of reading.

/// Longest name that is shown.
const NAME_CHARS_MAX: usize = 64;
/// ESC, the begin of a control sequence.
const ESCAPE: char = '\u{1b}';

/// Removes control sequences, control characters and overrides of direction. Line breaks and tabs stay.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            ESCAPE => match rest.next_if(|next| matches!(next, '[' | ']' | 'P' | 'X' | '^' | '_' | 'N' | 'O')) {
                Some('[') => skip_control_sequence(&mut rest),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
                _ => {}
            },
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut rest),
            '\r' => {
                if rest.peek() != Some(&'\n') {
                    clean.push('\n');
                }
            }
            '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\n' | '\t' => clean.push(char),
            _ if is_unsafe(char) => {}
            _ => clean.push(char),
        }
    }
    clean
}

/// The same on one line.
pub fn clean_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same for a name: on one line and not too long.
pub fn clean_name(name: &str) -> String {
    clean_line(name).chars().take(NAME_CHARS_MAX).collect()
}

/// Characters that a terminal obeys instead of showing them, or that turn the direction of what follows.
pub fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// ECMA-48, 5.4: parameters and intermediates up to a final byte. What does not fit ends it.
fn skip_control_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while rest.next_if(|next| matches!(next, ' '..='?')).is_some() {}
    rest.next_if(|next| matches!(next, '@'..='~'));
}

/// ECMA-48, 5.6: up to the string terminator; terminals take BEL as well. An end of line ends it too.
fn skip_string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(next) = rest.next_if(|next| *next != '\n') {
        match next {
            '\u{7}' | '\u{9c}' => return,
            ESCAPE => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// JSON in which no character can harm a terminal: such characters stand only inside strings, and are escaped there.
pub fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for char in json.chars() {
        if is_unsafe(char) && char != '\n' {
            safe.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            safe.push(char);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_disappear_as_a_whole() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m"), "ared");
        assert_eq!(clean("\u{1b}]0;title\u{7}x"), "x");
        assert_eq!(clean("\u{1b}]8;;http://e\u{1b}\\link\u{1b}]8;;\u{1b}\\"), "link");
        assert_eq!(clean("\u{1b}P1$r\u{1b}\\x"), "x");
        assert_eq!(clean("\u{9b}2Jx\u{9d}0;t\u{9c}y"), "xy");
        assert_eq!(clean("\u{1b}cx\u{1b}"), "cx");
        // the end of a string is missing: only its line is lost
        assert_eq!(clean("\u{1b}]0;open\nnext"), "\nnext");
    }

    #[test]
    fn control_characters_and_overrides_disappear_and_lines_stay() {
        assert_eq!(clean("a\u{8}\u{7}\u{0}b\u{7f}\u{85}c"), "abc");
        assert_eq!(clean("one\r\ntwo\rthree\u{2028}four\tfive"), "one\ntwo\nthree\nfour\tfive");
        assert_eq!(clean("user\u{202e}gnp.exe\u{2066}x\u{2069}\u{200f}"), "usergnp.exex");
        // an emoji of several characters, and a language that is written from right to left, are left alone
        assert_eq!(clean("👩‍👩‍👧 שלום"), "👩‍👩‍👧 שלום");
    }

    #[test]
    fn names_are_one_short_line() {
        assert_eq!(clean_name("  al\nice\t b "), "al ice b");
        assert_eq!(clean_name(&"x".repeat(500)).len(), NAME_CHARS_MAX);
    }

    #[test]
    fn json_keeps_what_it_escapes() {
        let text = "a\u{9b}31m\u{202e}b\u{1b}c";
        let json = safe_json(&serde_json::to_string(text).unwrap());
        assert!(json.is_ascii(), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
