//! What stands in lines, read from left to right, once. A stack holds what is open: each kind of marker once, so it is never deep,
//! and what stays open is text.

use super::tokens::{self, MENTION_BYTES_MAX, is_of_word};
use super::{Inline, TARGET_BYTES_MAX};
use crate::names::shows;

/// Reads the text of a block. Adds to `steps` how many bytes were looked at or moved.
pub fn parse(text: &str, steps: &mut usize) -> Vec<Inline> {
    let mut parser = Parser { text, at: 0, open: Vec::new(), content: Vec::new(), no_code: [false; 3], steps };
    while parser.at < text.len() {
        parser.step();
    }
    while !parser.open.is_empty() {
        parser.give_up(parser.open.len() - 1);
    }
    parser.content
}

/// What stands on both sides of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Bold,
    Star,
    Underscore,
    Strike,
    Spoiler,
    Link,
}

impl Mark {
    const fn text(self) -> &'static str {
        match self {
            Self::Bold => "**",
            Self::Star => "*",
            Self::Underscore => "_",
            Self::Strike => "~~",
            Self::Spoiler => "||",
            Self::Link => "[",
        }
    }
}

struct Frame {
    mark: Mark,
    content: Vec<Inline>,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Frame>,
    /// What stands in no frame.
    content: Vec<Inline>,
    /// Behind here there is no run of one, two or three backticks: it was looked for.
    no_code: [bool; 3],
    steps: &'a mut usize,
}

impl<'a> Parser<'a> {
    fn step(&mut self) {
        *self.steps += 1;
        let rest = &self.text[self.at..];
        match rest.as_bytes()[0] {
            b'\\' => self.escape(rest),
            b'`' => self.code(rest),
            mark @ (b'*' | b'_' | b'~' | b'|') => self.run(rest, mark),
            b'[' => {
                self.drop_link();
                self.open.push(Frame { mark: Mark::Link, content: Vec::new() });
                self.at += 1;
            }
            b']' => self.close_link(rest),
            b'<' => self.leaf(tokens::mention(rest), MENTION_BYTES_MAX),
            b'@' => self.leaf(tokens::everyone(rest, self.before()), 10),
            b'h' | b'H' => self.address(rest),
            b'\n' => self.leaf(Some((Inline::Break, 1)), 1),
            _ => {
                let is_special = |byte: u8| {
                    matches!(
                        byte,
                        b'\\' | b'`' | b'*' | b'_' | b'~' | b'|' | b'[' | b']' | b'<' | b'@' | b'h' | b'H' | b'\n'
                    )
                };
                self.take_text(rest.bytes().position(is_special).unwrap_or(rest.len()));
            }
        }
    }

    /// The character before the place.
    fn before(&self) -> Option<char> {
        self.text[..self.at].chars().next_back()
    }

    /// A backslash takes the meaning from a sign behind it.
    fn escape(&mut self, rest: &'a str) {
        if rest.as_bytes().get(1).is_some_and(u8::is_ascii_punctuation) {
            self.at += 1;
        }
        self.take_text(1);
    }

    /// Up to a run of as many backticks.
    fn code(&mut self, rest: &'a str) {
        let ticks = run_length(rest, b'`');
        *self.steps += ticks;
        let Some(none) = self.no_code.get(ticks - 1) else { return self.take_text(ticks) };
        let end = if *none { None } else { self.find_run(self.at + ticks, ticks) };
        let Some(end) = end else {
            self.no_code[ticks - 1] = true;
            return self.take_text(ticks);
        };
        let code = &self.text[self.at + ticks..end];
        // room for a backtick at an end
        let inner = code.strip_prefix(' ').and_then(|code| code.strip_suffix(' '));
        let code = inner.filter(|inner| !inner.trim().is_empty()).unwrap_or(code);
        self.push(Inline::Code { text: code.to_owned() });
        self.at = end + ticks;
    }

    /// Where a run of exactly so many backticks begins.
    fn find_run(&mut self, mut from: usize, ticks: usize) -> Option<usize> {
        loop {
            let skipped = self.text[from..].find('`');
            *self.steps += skipped.unwrap_or(self.text.len() - from);
            from += skipped?;
            let found = run_length(&self.text[from..], b'`');
            *self.steps += found;
            if found == ticks {
                return Some(from);
            }
            from += found;
        }
    }

    /// One or more markers of one sign.
    fn run(&mut self, rest: &'a str, sign: u8) {
        let length = run_length(rest, sign);
        *self.steps += length;
        let fits = match sign {
            b'*' => length <= 3,
            b'_' => length == 1,
            _ => length == 2,
        };
        if !fits {
            return self.take_text(length);
        }
        let (before, after) = (self.before(), rest[length..].chars().next());
        let mut opens = after.is_some_and(|char| !char.is_whitespace());
        let mut closes = before.is_some_and(|char| !char.is_whitespace());
        if sign == b'_' {
            // `snake_case` has no italics
            opens &= !before.is_some_and(is_of_word);
            closes &= !after.is_some_and(is_of_word);
        }
        let mut left = length;
        while left > 0 {
            let is_star_open = self.open.last().is_some_and(|frame| frame.mark == Mark::Star);
            let mark = match sign {
                b'*' if left == 1 || (left == 3 && is_star_open) => Mark::Star,
                b'*' => Mark::Bold,
                b'_' => Mark::Underscore,
                b'~' => Mark::Strike,
                _ => Mark::Spoiler,
            };
            self.mark(mark, opens, closes);
            left -= mark.text().len();
        }
    }

    fn mark(&mut self, mark: Mark, opens: bool, closes: bool) {
        let place = self.place(mark);
        match place {
            Some(place) if closes => {
                self.at += mark.text().len();
                self.close(place);
            }
            None if opens => {
                self.at += mark.text().len();
                self.open.push(Frame { mark, content: Vec::new() });
            }
            _ => self.take_text(mark.text().len()),
        }
    }

    fn place(&self, mark: Mark) -> Option<usize> {
        self.open.iter().position(|frame| frame.mark == mark)
    }

    /// Ends what is open at this place of the stack; what was opened behind it and is open yet is text.
    fn close(&mut self, place: usize) {
        while self.open.len() > place + 1 {
            self.give_up(self.open.len() - 1);
        }
        let Some(Frame { mark, content }) = self.open.pop() else { return };
        self.push(match mark {
            Mark::Bold => Inline::Bold { content },
            Mark::Star | Mark::Underscore => Inline::Italic { content },
            Mark::Strike => Inline::Strike { content },
            Mark::Spoiler => Inline::Spoiler { content },
            Mark::Link => return,
        });
    }

    /// Makes text of the marker at this place of the stack.
    fn give_up(&mut self, place: usize) {
        let Frame { mark, content } = self.open.remove(place);
        let into = match place.checked_sub(1) {
            Some(below) => &mut self.open[below].content,
            None => &mut self.content,
        };
        *self.steps += content.len();
        add_text(into, mark.text());
        let mut content = content.into_iter();
        match content.next() {
            Some(Inline::Text { text }) => {
                *self.steps += text.len();
                add_text(into, &text);
            }
            Some(first) => into.push(first),
            None => {}
        }
        into.extend(content);
    }

    fn drop_link(&mut self) {
        if let Some(place) = self.place(Mark::Link) {
            self.give_up(place);
        }
    }

    fn close_link(&mut self, rest: &'a str) {
        let place = self.place(Mark::Link);
        let (target, looked_at) = match (place, rest.strip_prefix("](")) {
            (Some(_), Some(behind)) => tokens::target(behind),
            _ => (None, 0),
        };
        *self.steps += 2 * looked_at;
        let (Some(place), Some(target)) = (place, target) else {
            self.drop_link();
            return self.take_text(1);
        };
        while self.open.len() > place + 1 {
            self.give_up(self.open.len() - 1);
        }
        let content = self.open.pop().map(|frame| frame.content).unwrap_or_default();
        if content.iter().all(is_blank) {
            // a link that nobody would see
            self.open.push(Frame { mark: Mark::Link, content });
            self.give_up(place);
            return self.take_text(1);
        }
        let content = without_links(content, self.steps);
        self.push(Inline::Link { target: target.to_owned(), content });
        self.at += 2 + looked_at;
    }

    fn address(&mut self, rest: &'a str) {
        let Some(address) = tokens::address(rest, self.before()) else { return self.take_text(1) };
        *self.steps += 2 * address.scanned;
        let target = &rest[..address.length];
        if address.length > TARGET_BYTES_MAX {
            return self.take_text(address.length);
        }
        let content = vec![Inline::Text { text: target.to_owned() }];
        self.push(Inline::Link { target: target.to_owned(), content });
        self.at += address.length;
    }

    /// What was found, or a sign that is text.
    fn leaf(&mut self, found: Option<(Inline, usize)>, looked_at: usize) {
        *self.steps += looked_at;
        match found {
            Some((inline, length)) => {
                self.push(inline);
                self.at += length;
            }
            None => self.take_text(1),
        }
    }

    fn take_text(&mut self, length: usize) {
        let text = &self.text[self.at..self.at + length];
        *self.steps += length;
        self.at += length;
        add_text(self.innermost(), text);
    }

    fn push(&mut self, inline: Inline) {
        self.innermost().push(inline);
    }

    fn innermost(&mut self) -> &mut Vec<Inline> {
        match self.open.last_mut() {
            Some(frame) => &mut frame.content,
            None => &mut self.content,
        }
    }
}

fn run_length(text: &str, sign: u8) -> usize {
    text.bytes().take_while(|byte| *byte == sign).count()
}

fn add_text(content: &mut Vec<Inline>, more: &str) {
    match content.last_mut() {
        _ if more.is_empty() => {}
        Some(Inline::Text { text }) => text.push_str(more),
        _ => content.push(Inline::Text { text: more.to_owned() }),
    }
}

fn is_blank(inline: &Inline) -> bool {
    match inline {
        Inline::Text { text } => text.chars().all(|char| char.is_whitespace() || !shows(char)),
        Inline::Break => true,
        Inline::Bold { content }
        | Inline::Italic { content }
        | Inline::Strike { content }
        | Inline::Spoiler { content } => content.iter().all(is_blank),
        _ => false,
    }
}

/// The content of a link: an address in it is text.
fn without_links(content: Vec<Inline>, steps: &mut usize) -> Vec<Inline> {
    let mut kept = Vec::with_capacity(content.len());
    *steps += content.len();
    for inline in content {
        match inline {
            Inline::Link { target: text, .. } | Inline::Text { text } => {
                *steps += text.len();
                add_text(&mut kept, &text);
            }
            Inline::Bold { content } => kept.push(Inline::Bold { content: without_links(content, steps) }),
            Inline::Italic { content } => kept.push(Inline::Italic { content: without_links(content, steps) }),
            Inline::Strike { content } => kept.push(Inline::Strike { content: without_links(content, steps) }),
            Inline::Spoiler { content } => kept.push(Inline::Spoiler { content: without_links(content, steps) }),
            leaf => kept.push(leaf),
        }
    }
    kept
}
