//! Words of a text, as they are found. Pure.
//!
//! What must hold: what a text and a question are made of is the same rule, so that a part of a text that is asked for is found in it. Scripts
//! that put no space between words are cut into pairs: 上海市 is 上海, 海市 and 市, each at the place of its first character. So 上海 is found wherever it
//! stands, 학교 in 학교에서, and phrases are places that follow each other.

use nepto_proto::names::shows;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Bytes of a word that count: a hash with its prefix has 66. What is longer is found by its beginning.
pub const WORD_BYTES_MAX: usize = 128;

/// What words are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be found.
    Index,
    /// To find.
    Question,
}

/// A word and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// NFKC, in small letters.
    pub text: String,
    /// Words, or characters of scripts without spaces, that stand before it.
    pub position: usize,
    /// In a question: whatever begins so is meant. A single character of a script that is cut into pairs.
    pub is_begin: bool,
}

/// The words of a text, in its order.
pub fn words(text: &str, purpose: Purpose) -> Vec<Word> {
    let mut cutter = Cutter { purpose, words: Vec::new(), position: 0, word: String::new(), run: Vec::new() };
    for char in text.nfkc().flat_map(char::to_lowercase) {
        cutter.take(char);
    }
    cutter.end_word();
    cutter.end_run();
    cutter.words
}

struct Cutter {
    purpose: Purpose,
    words: Vec<Word>,
    position: usize,
    word: String,
    /// Characters of scripts without spaces.
    run: Vec<char>,
}

impl Cutter {
    fn take(&mut self, char: char) {
        // what is not seen cuts nothing
        if (!shows(char) && !char.is_whitespace()) || matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
        {
            return;
        }
        let is_mark = is_combining_mark(char);
        if !is_mark && !char.is_alphanumeric() {
            self.end_word();
            self.end_run();
        } else if is_unspaced(char) || (is_mark && !self.run.is_empty()) {
            self.end_word();
            self.run.push(char);
        } else {
            self.end_run();
            // at the end of a Greek word, another form of the same letter
            self.word.push(if char == 'ς' { 'σ' } else { char });
        }
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let mut text = std::mem::take(&mut self.word);
        text.truncate(text.floor_char_boundary(WORD_BYTES_MAX));
        self.words.push(Word { text, position: self.position, is_begin: false });
        self.position += 1;
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        for (at, pair) in run.windows(2).enumerate() {
            let word = Word { text: pair.iter().collect(), position: self.position + at, is_begin: false };
            self.words.push(word);
        }
        // the last one stands alone in the index; in a question it is in the pair before it
        let is_alone = run.len() == 1;
        if let Some(last) = run.last().filter(|_| is_alone || self.purpose == Purpose::Index) {
            let is_begin = is_alone && self.purpose == Purpose::Question;
            self.words.push(Word { text: last.to_string(), position: self.position + run.len() - 1, is_begin });
        }
        self.position += run.len();
    }
}

/// Whether a character belongs to a script that puts no space between words, or writes endings to them: Han, Kana, Bopomofo, Hangul, Thai,
/// Lao, Khmer, Myanmar.
fn is_unspaced(char: char) -> bool {
    matches!(
        char,
        '\u{0e00}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1100}'..='\u{11ff}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3021}'..='\u{3029}'
            | '\u{3041}'..='\u{30ff}'
            | '\u{3105}'..='\u{312f}'
            | '\u{31a0}'..='\u{31bf}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(text: &str) -> Vec<(String, usize)> {
        words(text, Purpose::Index).into_iter().map(|word| (word.text, word.position)).collect()
    }

    fn question(text: &str) -> Vec<(String, usize)> {
        words(text, Purpose::Question).into_iter().map(|word| (word.text, word.position)).collect()
    }

    fn of(words: &[(&str, usize)]) -> Vec<(String, usize)> {
        words.iter().map(|(text, position)| ((*text).to_owned(), *position)).collect()
    }

    #[test]
    fn words_are_cut_at_what_is_no_letter() {
        assert_eq!(
            index("Hello, WORLD-wide don't"),
            of(&[("hello", 0), ("world", 1), ("wide", 2), ("don", 3), ("t", 4)])
        );
        assert_eq!(index("ﬁne Ｆｕｌｌ ΛΌΓΟΣ"), of(&[("fine", 0), ("full", 1), ("λόγοσ", 2)]));
        assert_eq!(index("ad\u{200b}m\u{200d}in हिन्दी"), of(&[("admin", 0), ("हिन्दी", 1)]));
        assert_eq!(index("🙂 ... \u{301}"), of(&[("\u{301}", 0)]));
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_pairs() {
        assert_eq!(index("我爱上海"), of(&[("我爱", 0), ("爱上", 1), ("上海", 2), ("海", 3)]));
        assert_eq!(question("上海"), of(&[("上海", 0)]));
        assert_eq!(index("학교에서"), of(&[("학교", 0), ("교에", 1), ("에서", 2), ("서", 3)]));
        assert_eq!(question("학교"), of(&[("학교", 0)]));
        assert_eq!(index("in 東京 now"), of(&[("in", 0), ("東京", 1), ("京", 2), ("now", 3)]));
        assert_eq!(question("in 東京 now"), of(&[("in", 0), ("東京", 1), ("now", 3)]));
        assert_eq!(words("海", Purpose::Question), [Word { text: "海".into(), position: 0, is_begin: true }]);
        assert!(!words("海", Purpose::Index)[0].is_begin);
    }

    #[test]
    fn what_is_very_long_is_found_by_its_beginning() {
        let long = "é".repeat(1_000);
        assert_eq!(words(&long, Purpose::Index)[0].text.len(), WORD_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn a_part_of_an_unspaced_text_is_found_in_it(text in "[上海市学校에서ก]{2,12}", from in 0_usize..10, length in 2_usize..6) {
            let chars: Vec<char> = text.chars().collect();
            let from = from.min(chars.len() - 2);
            let part: String = chars[from..(from + length).min(chars.len())].iter().collect();
            let (whole, wanted) = (index(&text), question(&part));
            prop_assert!(!wanted.is_empty());
            for (word, position) in wanted {
                prop_assert!(whole.contains(&(word, position + from)));
            }
        }

        #[test]
        fn any_text_has_words(text in "\\PC{0,60}|[\\s\\S]{0,60}") {
            for purpose in [Purpose::Index, Purpose::Question] {
                let words = words(&text, purpose);
                prop_assert!(words.iter().all(|word| !word.text.is_empty() && word.text.len() <= WORD_BYTES_MAX));
                prop_assert!(words.is_sorted_by_key(|word| word.position));
            }
        }
    }
}
