//! What is told by its form alone: mentions, emoji, addresses. Each looks at a bounded part of the text, or at what it takes.

use uuid::Uuid;

use super::{Inline, TARGET_BYTES_MAX};
use crate::names::shows;

/// Bytes that are looked at for a mention or an emoji, at most.
pub const MENTION_BYTES_MAX: usize = 2 + 32 + 1 + 36 + 1;
const EVERYONE: &str = "@everyone";

/// `<@uuid>`, `<@&uuid>`, `<#uuid>` or `<:name:uuid>` at the beginning of a text, and how many bytes it has.
pub fn mention(text: &str) -> Option<(Inline, usize)> {
    let (prefix, rest) = match text.as_bytes() {
        [b'<', b'@', b'&', ..] => ("<@&", &text[3..]),
        [b'<', b'@', ..] => ("<@", &text[2..]),
        [b'<', b'#', ..] => ("<#", &text[2..]),
        [b'<', b':', ..] => return emoji(text),
        _ => return None,
    };
    let id = id(rest)?;
    let inline = match prefix {
        "<@&" => Inline::Role { id: id.parse().ok()? },
        "<@" => Inline::User { id: id.parse().ok()? },
        _ => Inline::Channel { id: id.parse().ok()? },
    };
    Some((inline, prefix.len() + id.len() + 1))
}

/// A UUID, with hyphens or without, that is followed by `>`.
fn id(text: &str) -> Option<&str> {
    let length = [32_usize, 36].into_iter().find(|length| text.as_bytes().get(*length) == Some(&b'>'))?;
    let id = text.get(..length)?;
    Uuid::try_parse(id).is_ok().then_some(id)
}

fn emoji(text: &str) -> Option<(Inline, usize)> {
    let behind = text.strip_prefix("<:")?;
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let length = behind.bytes().take(33).take_while(is_name).count();
    let id = id(behind.get(length..)?.strip_prefix(':')?)?;
    let name = behind.get(..length).filter(|name| (2..=32).contains(&name.len()))?;
    let inline = Inline::Emoji { name: name.to_owned(), id: Uuid::try_parse(id).ok()? };
    Some((inline, 2 + length + 1 + id.len() + 1))
}

/// `@everyone` at the beginning of a text, as a word of its own, and how many bytes it has.
pub fn everyone(text: &str, before: Option<char>) -> Option<(Inline, usize)> {
    let behind = text.strip_prefix(EVERYONE)?.chars().next();
    let is_word = !before.is_some_and(is_of_word) && !behind.is_some_and(is_of_word);
    is_word.then_some((Inline::Everyone, EVERYONE.len()))
}

/// Whether a character is a part of a word.
pub fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// An address that stands alone in a text.
pub struct Address {
    /// Bytes that belong to it.
    pub length: usize,
    /// Bytes that were looked at, those included. There is no other address in the rest of them.
    pub scanned: usize,
}

/// `http://…` or `https://…` at the beginning of a text, without what ends a sentence or closes a bracket or a marker.
pub fn address(text: &str, before: Option<char>) -> Option<Address> {
    if before.is_some_and(char::is_alphanumeric) || !has_host(text) {
        return None;
    }
    let scanned = text.find(|char: char| !is_of_address(char) || matches!(char, '|' | '`')).unwrap_or(text.len());
    let mut length = scanned;
    let count = |wanted: u8| text.as_bytes()[..scanned].iter().filter(|byte| **byte == wanted).count();
    let (opened, mut closed) = (count(b'('), count(b')'));
    while let Some(last) = text.as_bytes()[..length].last() {
        match last {
            b')' if closed > opened => closed -= 1,
            b'.' | b',' | b':' | b';' | b'!' | b'?' | b'\'' | b'*' | b'_' | b'~' => {}
            _ => break,
        }
        length -= 1;
    }
    Some(Address { length, scanned })
}

/// The target of a link from behind its opening bracket up to the closing one, and how many bytes were looked at; those hold no `[`.
/// Brackets in it are in pairs.
pub fn target(text: &str) -> (Option<&str>, usize) {
    let mut open = 0_usize;
    for (at, char) in text.char_indices() {
        match char {
            ')' if open == 0 => {
                let target = &text[..at];
                return (is_target(target).then_some(target), at + 1);
            }
            ')' => open -= 1,
            '(' => open += 1,
            _ => {}
        }
        if !is_of_address(char) || at >= TARGET_BYTES_MAX {
            return (None, at);
        }
    }
    (None, text.len())
}

/// Whether a link may lead there: `http:`, `https:` with a host, or `mailto:` with an address.
pub fn is_target(text: &str) -> bool {
    let is_mail = has_prefix(text, "mailto:") && text["mailto:".len()..].find('@').is_some_and(|at| at > 0);
    text.len() <= TARGET_BYTES_MAX && text.chars().all(is_of_address) && (is_mail || has_host(text))
}

fn has_host(text: &str) -> bool {
    ["http://", "https://"].into_iter().any(|scheme| {
        has_prefix(text, scheme) && text[scheme.len()..].chars().next().is_some_and(char::is_alphanumeric)
    })
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}

fn is_of_address(char: char) -> bool {
    let is_joiner = matches!(char, '\u{200c}' | '\u{200d}');
    !char.is_whitespace() && shows(char) && !is_joiner && !matches!(char, '<' | '>' | '[' | ']' | '"' | '\\')
}
