//! Columns for people.

use crate::app::App;
use crate::failure::Failure;
use crate::render::{Line, Style, span, width};

/// Prints rows under headings, each column as wide as it needs to be. Without rows: nothing.
pub fn print<const N: usize>(app: &App, headings: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let mut widths = headings.map(width);
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let line = |cells: [&str; N], style: Style| -> Line {
        let padded = cells.iter().zip(widths).map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))));
        vec![span(style, padded.collect::<Vec<_>>().join("  "))]
    };
    if rows.is_empty() {
        return Ok(());
    }
    let mut lines = vec![line(headings, Style::Bold)];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str), Style::Plain)));
    app.show(&lines)
}
