//! The terminal: raw while a chat lasts, and as it was before afterwards, whatever ends it.

use std::io::{BufWriter, Stdout, Write};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue};

use super::screen::Frame;
use crate::render::to_text;

/// A terminal that is ours.
pub struct Terminal {
    out: BufWriter<Stdout>,
    color: bool,
    shown: Frame,
    size: (u16, u16),
}

impl Terminal {
    pub fn open(color: bool) -> std::io::Result<Self> {
        let mut out = BufWriter::new(std::io::stdout());
        enable_raw_mode()?;
        let mut terminal =
            Self { out: BufWriter::new(std::io::stdout()), color, shown: Frame::default(), size: (0, 0) };
        execute!(out, EnterAlternateScreen, EnableBracketedPaste)?;
        terminal.size = crossterm::terminal::size()?;
        Ok(terminal)
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Draws everything again next time: the size changed, or something else wrote on the screen.
    pub fn forget(&mut self) -> std::io::Result<()> {
        self.size = crossterm::terminal::size()?;
        self.shown = Frame::default();
        queue!(self.out, Clear(ClearType::All))
    }

    /// Shows a frame; only rows that differ are written.
    pub fn show(&mut self, frame: Frame) -> std::io::Result<()> {
        if frame == self.shown {
            return Ok(());
        }
        queue!(self.out, BeginSynchronizedUpdate, cursor::Hide)?;
        for (row, line) in (0u16..self.size.1).zip(&frame.rows) {
            if self.shown.rows.get(usize::from(row)) != Some(line) {
                let text = to_text(line, self.color);
                queue!(self.out, cursor::MoveTo(0, row), Clear(ClearType::CurrentLine), Print(text))?;
            }
        }
        let (column, row) = frame.cursor;
        queue!(self.out, cursor::MoveTo(column, row), cursor::Show, EndSynchronizedUpdate)?;
        self.shown = frame;
        self.out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = execute!(self.out, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}
