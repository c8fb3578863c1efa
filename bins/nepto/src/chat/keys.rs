//! What keys do to the line that is being written, and to what is shown above it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::input::Input;

/// What is left to do for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressed {
    /// Nothing.
    Edited,
    /// The line is finished.
    Submit,
    /// The chat is over.
    Leave,
    /// Everything is to be drawn again.
    Redraw,
}

/// Takes a key in. `page`: rows that PageUp scrolls; `complete`: the command that begins so, for Tab.
pub fn press(
    key: KeyEvent,
    input: &mut Input,
    scrolled: &mut usize,
    page: usize,
    complete: impl Fn(&str) -> Option<&'static str>,
) -> Pressed {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    match key.code {
        KeyCode::Char('c') if control => return Pressed::Leave,
        KeyCode::Char('d') if control && input.is_empty() => return Pressed::Leave,
        KeyCode::Char('d') if control => input.delete(),
        KeyCode::Char('a') if control => input.home(),
        KeyCode::Char('e') if control => input.end(),
        KeyCode::Char('u') if control => input.cut_to_begin(),
        KeyCode::Char('k') if control => input.cut_to_end(),
        KeyCode::Char('w') if control => input.cut_word(),
        KeyCode::Char('l') if control => return Pressed::Redraw,
        KeyCode::Char('b') if alt => input.word_left(),
        KeyCode::Char('f') if alt => input.word_right(),
        KeyCode::Char(char) if !control && !alt => input.insert(char.encode_utf8(&mut [0; 4])),
        KeyCode::Enter if alt => input.insert("\n"),
        KeyCode::Enter => return Pressed::Submit,
        KeyCode::Tab => {
            if let Some(name) = complete(input.text()) {
                input.set(format!("/{name} "));
            }
        }
        KeyCode::Backspace if control || alt => input.cut_word(),
        KeyCode::Backspace => input.backspace(),
        KeyCode::Delete => input.delete(),
        KeyCode::Left if control || alt => input.word_left(),
        KeyCode::Right if control || alt => input.word_right(),
        KeyCode::Left => input.left(),
        KeyCode::Right => input.right(),
        KeyCode::Home => input.home(),
        KeyCode::End => input.end(),
        KeyCode::Up => input.older(),
        KeyCode::Down => input.newer(),
        KeyCode::PageUp => *scrolled = scrolled.saturating_add(page),
        KeyCode::PageDown => *scrolled = scrolled.saturating_sub(page),
        _ => {}
    }
    Pressed::Edited
}
