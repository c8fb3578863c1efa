//! Laws about sentences. What single ones say is in `docs/gate-vectors.json`, which is made in `tests/protocol/gates.rs`.

use proptest::prelude::*;

use super::any;

/// The sentence without what stands in quotes.
fn unquoted(sentence: &str) -> String {
    let (mut text, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for letter in sentence.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            letter => text.push(letter),
        }
    }
    assert!(!is_quoted, "{sentence}");
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn gates_that_differ_have_different_sentences(one in any::gates(), other in any::gates()) {
        prop_assert_eq!(one == other, one.to_string() == other.to_string(), "{} / {}", one, other);
    }

    #[test]
    fn parentheses_close_and_nothing_deceives(gate in any::gates()) {
        let sentence = gate.to_string();
        prop_assert!(sentence.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic()), "{}", sentence);
        let mut open = 0_i32;
        for letter in unquoted(&sentence).chars() {
            open += i32::from(letter == '(') - i32::from(letter == ')');
            prop_assert!(open >= 0, "{}", sentence);
        }
        prop_assert_eq!(open, 0, "{}", sentence);
    }
}
