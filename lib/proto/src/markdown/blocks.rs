//! Blocks: each line says by its beginning what it belongs to.

use super::{Block, Inline, inlines};

/// What lines are read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    Document,
    /// There is no quote in a quote.
    Quote,
}

/// Digits of an item's number: a year at the beginning of a line is none.
const NUMBER_DIGITS_MAX: usize = 3;
/// Bytes of a language's name.
const LANGUAGE_BYTES_MAX: usize = 32;

/// Reads lines. Adds to `steps` how many bytes were looked at.
pub fn parse(lines: &[&str], within: Within, steps: &mut usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        *steps += line.len() + 1;
        let rest = &lines[at..];
        let (block, taken) = match Start::of(line, within) {
            Start::Blank => {
                at += 1;
                continue;
            }
            Start::Fence { ticks, language } => code(rest, ticks, language, steps),
            Start::Heading { level, text } => (Block::Heading { level, content: inlines::parse(text, steps) }, 1),
            Start::Quote { .. } => quote(rest, steps),
            Start::Item { number, .. } => list(rest, number, within, steps),
            Start::Text => paragraph(rest, within, steps),
        };
        blocks.push(block);
        at += taken;
    }
    blocks
}

/// What a line begins.
enum Start<'a> {
    Blank,
    Fence { ticks: usize, language: Option<&'a str> },
    Heading { level: u8, text: &'a str },
    Quote { text: &'a str },
    Item { number: Option<u32>, text: &'a str },
    Text,
}

impl<'a> Start<'a> {
    fn of(line: &'a str, within: Within) -> Self {
        if line.trim().is_empty() {
            return Self::Blank;
        }
        let found = match line.as_bytes()[0] {
            b'`' => Self::fence(line),
            b'#' => Self::heading(line),
            b'>' if within == Within::Document => Self::quote(line),
            b'-' | b'*' => Self::item(&line[1..], None),
            b'0'..=b'9' => Self::numbered(line),
            _ => None,
        };
        found.unwrap_or(Self::Text)
    }

    fn fence(line: &'a str) -> Option<Self> {
        let name = line.trim_start_matches('`');
        let ticks = line.len() - name.len();
        let name = name.trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'_' | b'.' | b'#');
        let is_fence = ticks >= 3 && name.len() <= LANGUAGE_BYTES_MAX && name.bytes().all(fits);
        is_fence.then_some(Self::Fence { ticks, language: (!name.is_empty()).then_some(name) })
    }

    fn heading(line: &'a str) -> Option<Self> {
        let text = line.trim_start_matches('#');
        let level = u8::try_from(line.len() - text.len()).ok().filter(|level| *level <= 3)?;
        let text = text.strip_prefix(' ')?.trim();
        (!text.is_empty()).then_some(Self::Heading { level, text })
    }

    fn quote(line: &'a str) -> Option<Self> {
        let text = line.strip_prefix('>')?;
        if text.is_empty() { Some(Self::Quote { text }) } else { Some(Self::Quote { text: text.strip_prefix(' ')? }) }
    }

    fn numbered(line: &'a str) -> Option<Self> {
        let rest = line.trim_start_matches(|char: char| char.is_ascii_digit());
        let digits = &line[..line.len() - rest.len()];
        let number = if digits.len() <= NUMBER_DIGITS_MAX { digits.parse().ok() } else { None };
        Self::item(rest.strip_prefix('.')?, Some(number?))
    }

    fn item(behind: &'a str, number: Option<u32>) -> Option<Self> {
        let text = behind.strip_prefix(' ')?.trim();
        (!text.is_empty()).then_some(Self::Item { number, text })
    }
}

/// Up to a line that ends with as many backticks, or to the end.
fn code(lines: &[&str], ticks: usize, language: Option<&str>, steps: &mut usize) -> (Block, usize) {
    let mut text: Vec<&str> = Vec::new();
    let mut taken = lines.len();
    for (at, line) in lines.iter().enumerate().skip(1) {
        *steps += line.len() + 1;
        let end = line.trim_end();
        let last = end.trim_end_matches('`');
        if end.len() - last.len() >= ticks {
            text.extend((!last.is_empty()).then_some(last));
            taken = at + 1;
            break;
        }
        text.push(line);
    }
    (Block::Code { language: language.map(str::to_owned), text: text.join("\n") }, taken)
}

fn quote(lines: &[&str], steps: &mut usize) -> (Block, usize) {
    let inner: Vec<&str> = lines
        .iter()
        .map_while(|line| match Start::of(line, Within::Document) {
            Start::Quote { text } => Some(text),
            _ => None,
        })
        .collect();
    *steps += inner.iter().map(|line| line.len() + 3).sum::<usize>();
    (Block::Quote { blocks: parse(&inner, Within::Quote, steps) }, inner.len())
}

/// Items that follow each other, as long as they have numbers like the first one, or have none like it.
fn list(lines: &[&str], start: Option<u32>, within: Within, steps: &mut usize) -> (Block, usize) {
    let mut items: Vec<Vec<Inline>> = Vec::new();
    for line in lines {
        *steps += line.len() + 1;
        match Start::of(line, within) {
            Start::Item { number, text } if number.is_some() == start.is_some() => {
                items.push(inlines::parse(text, steps));
            }
            _ => break,
        }
    }
    let taken = items.len();
    (Block::List { start, items }, taken)
}

/// Lines up to one that begins something else.
fn paragraph(lines: &[&str], within: Within, steps: &mut usize) -> (Block, usize) {
    let is_text = |line: &&&str| matches!(Start::of(line, within), Start::Text);
    let text: Vec<&str> = lines.iter().take_while(is_text).map(|line| line.trim()).collect();
    *steps += text.iter().map(|line| line.len() + 1).sum::<usize>();
    (Block::Paragraph { content: inlines::parse(&text.join("\n"), steps) }, text.len())
}
