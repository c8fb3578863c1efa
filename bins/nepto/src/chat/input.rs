//! The line that is being written. Positions are bytes at the border of letters as people count them.

use unicode_segmentation::UnicodeSegmentation;

/// Lines remembered for the arrow keys.
const REMEMBERED_MAX: usize = 200;

/// A line with a cursor.
#[derive(Debug, Default)]
pub struct Input {
    text: String,
    at: usize,
    remembered: Vec<String>,
    /// Which of them is shown, and what was there before.
    recalled: Option<(usize, String)>,
}

impl Input {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text on both sides of the cursor.
    pub fn halves(&self) -> (&str, &str) {
        self.text.split_at(self.at)
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn insert(&mut self, text: &str) {
        self.text.insert_str(self.at, text);
        self.at += text.len();
    }

    /// Replaces everything; the cursor is at the end.
    pub fn set(&mut self, text: impl Into<String>) {
        self.text = text.into();
        self.at = self.text.len();
    }

    pub fn left(&mut self) {
        self.at -= self.before();
    }

    pub fn right(&mut self) {
        self.at += self.after();
    }

    pub fn home(&mut self) {
        self.at = 0;
    }

    pub fn end(&mut self) {
        self.at = self.text.len();
    }

    pub fn word_left(&mut self) {
        self.at -= self.word_before();
    }

    pub fn word_right(&mut self) {
        let (_, after) = self.halves();
        let word = after.split_word_bound_indices().find(|(at, word)| *at > 0 && word.trim().is_empty());
        self.at += word.map_or(after.len(), |(at, _)| at);
    }

    pub fn backspace(&mut self) {
        self.cut_before(self.before());
    }

    pub fn delete(&mut self) {
        let end = self.at + self.after();
        self.text.replace_range(self.at..end, "");
    }

    pub fn cut_word(&mut self) {
        self.cut_before(self.word_before());
    }

    pub fn cut_to_begin(&mut self) {
        self.cut_before(self.at);
    }

    pub fn cut_to_end(&mut self) {
        self.text.truncate(self.at);
    }

    /// Takes the line, and remembers it.
    pub fn take(&mut self) -> String {
        self.recalled = None;
        self.at = 0;
        let line = std::mem::take(&mut self.text);
        if !line.trim().is_empty() && self.remembered.last() != Some(&line) {
            if self.remembered.len() == REMEMBERED_MAX {
                self.remembered.remove(0);
            }
            self.remembered.push(line.clone());
        }
        line
    }

    /// The line before.
    pub fn older(&mut self) {
        let index = self.recalled.as_ref().map_or(self.remembered.len(), |(index, _)| *index);
        let Some(index) = index.checked_sub(1) else { return };
        let draft = self.recalled.take().map_or_else(|| self.text.clone(), |(_, draft)| draft);
        self.set(self.remembered[index].clone());
        self.recalled = Some((index, draft));
    }

    /// The line after, and at last what was being written.
    pub fn newer(&mut self) {
        let Some((index, draft)) = self.recalled.take() else { return };
        match self.remembered.get(index + 1).cloned() {
            Some(line) => {
                self.set(line);
                self.recalled = Some((index + 1, draft));
            }
            None => self.set(draft),
        }
    }

    fn cut_before(&mut self, bytes: usize) {
        let begin = self.at - bytes;
        self.text.replace_range(begin..self.at, "");
        self.at = begin;
    }

    fn before(&self) -> usize {
        self.halves().0.graphemes(true).next_back().map_or(0, str::len)
    }

    fn after(&self) -> usize {
        self.halves().1.graphemes(true).next().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let (before, _) = self.halves();
        let words = before.trim_end();
        let begin =
            words.rfind(char::is_whitespace).map_or(0, |at| at + words[at..].chars().next().map_or(1, char::len_utf8));
        before.len() - begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Input {
        let mut input = Input::default();
        input.insert(text);
        input
    }

    #[test]
    fn the_cursor_moves_by_letters_as_people_count_them() {
        let mut input = typed("a👩‍👩‍👧é");
        input.left();
        input.left();
        assert_eq!(input.halves(), ("a", "👩‍👩‍👧é"));
        input.delete();
        assert_eq!(input.text(), "aé");
        input.right();
        input.right();
        input.backspace();
        assert_eq!(input.text(), "a");
        input.backspace();
        input.backspace();
        input.left();
        assert!(input.is_empty());
    }

    #[test]
    fn words_are_cut_and_jumped_over() {
        let mut input = typed("one two  three ");
        input.cut_word();
        assert_eq!(input.text(), "one two  ");
        input.word_left();
        assert_eq!(input.halves(), ("one ", "two  "));
        input.cut_to_end();
        input.home();
        input.word_right();
        assert_eq!(input.halves(), ("one", " "));
        input.cut_to_begin();
        assert_eq!(input.text(), " ");
    }

    #[test]
    fn lines_come_back_and_the_draft_is_kept() {
        let mut input = typed("first");
        input.take();
        input.insert("second");
        input.take();
        input.insert("draft");
        input.older();
        input.older();
        input.older();
        assert_eq!(input.text(), "first");
        input.newer();
        assert_eq!(input.text(), "second");
        input.newer();
        input.newer();
        assert_eq!(input.text(), "draft");
    }
}
