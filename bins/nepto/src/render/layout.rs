//! Breaking lines at words, counted in cells of a terminal.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::{Line, Span, Style, span};

/// A paragraph with something in front of its first line; the others are indented as far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    pub prefix: Line,
    pub body: Vec<Line>,
}

/// Cells that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

fn line_width(line: &[Span]) -> usize {
    line.iter().map(|span| width(&span.text)).sum()
}

/// A text in at most so many cells, with an ellipsis if something is missing.
pub fn truncate(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let (mut short, mut used) = (String::new(), 1);
    for grapheme in text.graphemes(true) {
        used += width(grapheme);
        if used > cells {
            break;
        }
        short.push_str(grapheme);
    }
    short.push('…');
    short
}

/// Lays a block out in this many columns; without a number, lines are as long as they are.
pub fn lay_out(block: &Block, columns: Option<usize>) -> Vec<Line> {
    let prefix_width = line_width(&block.prefix);
    // on a narrow screen an indent would eat the text
    let indent = match columns {
        Some(columns) if prefix_width * 2 > columns => 2,
        _ => prefix_width,
    };
    let mut lines = Vec::new();
    for line in &block.body {
        let wrapped = match columns {
            Some(columns) if lines.is_empty() && indent != prefix_width => {
                wrap(line, columns.saturating_sub(prefix_width), columns.saturating_sub(indent))
            }
            Some(columns) => wrap(line, columns.saturating_sub(indent), columns.saturating_sub(indent)),
            None => vec![line.clone()],
        };
        for part in wrapped {
            let mut whole =
                if lines.is_empty() { block.prefix.clone() } else { vec![span(Style::Plain, " ".repeat(indent))] };
            whole.extend(part);
            lines.push(whole);
        }
    }
    lines
}

/// Breaks a line between words, and inside a word that is wider than the screen.
fn wrap(line: &Line, first: usize, others: usize) -> Vec<Line> {
    let mut rows = Rows { done: Vec::new(), row: Vec::new(), used: 0, limit: first.max(4), others: others.max(4) };
    for span in line {
        for word in span.text.split_word_bounds() {
            rows.add(word, span.style);
        }
    }
    rows.done.push(rows.row);
    rows.done
}

struct Rows {
    done: Vec<Line>,
    row: Line,
    used: usize,
    limit: usize,
    others: usize,
}

impl Rows {
    fn add(&mut self, word: &str, style: Style) {
        if self.used + width(word) > self.limit {
            if self.used > 0 {
                self.next_row();
            }
            if word.trim().is_empty() {
                return;
            }
        }
        if width(word) <= self.limit {
            self.push(word, style);
            return;
        }
        for grapheme in word.graphemes(true) {
            if self.used + width(grapheme) > self.limit {
                self.next_row();
            }
            self.push(grapheme, style);
        }
    }

    fn push(&mut self, text: &str, style: Style) {
        self.used += width(text);
        match self.row.last_mut() {
            Some(last) if last.style == style => last.text.push_str(text),
            _ => self.row.push(span(style, text)),
        }
    }

    fn next_row(&mut self) {
        self.done.push(std::mem::take(&mut self.row));
        self.used = 0;
        self.limit = self.others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::to_text;

    fn plain(prefix: &str, body: &str, columns: Option<usize>) -> Vec<String> {
        let block = Block { prefix: vec![span(Style::Dim, prefix)], body: vec![vec![span(Style::Plain, body)]] };
        lay_out(&block, columns).iter().map(|line| to_text(line, false)).collect()
    }

    #[test]
    fn lines_break_between_words_and_are_indented() {
        assert_eq!(plain("#1 ", "one two three four", Some(12)), ["#1 one two", "   three", "   four"]);
        assert_eq!(plain("#1 ", "one two three four", None), ["#1 one two three four"]);
    }

    #[test]
    fn long_words_and_wide_letters_never_leave_the_screen() {
        assert_eq!(plain("> ", "abcdefghijkl", Some(8)), ["> abcdef", "  ghijkl"]);
        for line in plain("> ", &"日本語のとても長い文".repeat(3), Some(11)) {
            assert!(width(&line) <= 11, "{line}");
        }
        // narrower than the prefix: still readable, and no endless loop
        assert!(!plain("a long prefix ", "text that is longer", Some(10)).is_empty());
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(truncate("hello", 5), "hello");
        assert_eq!(truncate("hello there", 6), "hello…");
        assert_eq!(truncate("日本語", 4), "日…");
    }
}
