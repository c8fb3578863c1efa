//! Messages as styled lines: the same for `history`, `inbox` and the full-screen chat; those of channels for `read` and `follow`.

mod channel;
mod layout;
mod message;

pub use channel::{ChannelView, Recent};
pub use layout::{Block, lay_out, truncate, width};
pub use message::{MessageView, excerpt, failure_text, notice_text};

use time::OffsetDateTime;
use time::macros::format_description;

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    #[default]
    Plain,
    Dim,
    Bold,
    /// One's own name.
    Own,
    /// Somebody else's name.
    Peer,
    /// Something to look at.
    Warn,
    /// The bar at the top.
    Bar,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub style: Style,
    pub text: String,
}

/// A line on the screen.
pub type Line = Vec<Span>;

/// A piece of a line.
pub fn span(style: Style, text: impl Into<String>) -> Span {
    Span { style, text: text.into() }
}

impl Style {
    /// ECMA-48, 8.3.117: select graphic rendition.
    pub fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\u{1b}[2m",
            Self::Bold => "\u{1b}[1m",
            Self::Own => "\u{1b}[1;32m",
            Self::Peer => "\u{1b}[1;36m",
            Self::Warn => "\u{1b}[33m",
            Self::Bar => "\u{1b}[7m",
        }
    }
}

/// A line as text, with or without colours.
pub fn to_text(line: &Line, color: bool) -> String {
    let mut text = String::new();
    for span in line {
        if color && span.style != Style::Plain {
            text.push_str(span.style.code());
            text.push_str(&span.text);
            text.push_str("\u{1b}[0m");
        } else {
            text.push_str(&span.text);
        }
    }
    if color { text } else { text.trim_end().to_owned() }
}

/// A time in the zone of `now`: the clock alone on the same day.
pub fn show_time(ms: u64, now: OffsetDateTime) -> String {
    let at = local(ms, now);
    if at.date() == now.date() { clock(at) } else { format!("{} {}", at.date(), clock(at)) }
}

/// Hours and minutes.
pub fn clock(at: OffsetDateTime) -> String {
    at.format(format_description!("[hour]:[minute]")).unwrap_or_default()
}

/// A time in milliseconds since 1970 in the zone of `now`.
pub fn local(ms: u64, now: OffsetDateTime) -> OffsetDateTime {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    at.unwrap_or(OffsetDateTime::UNIX_EPOCH).to_offset(now.offset())
}

/// A day, as a line between messages shows it.
pub fn show_day(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let (date, today) = (at.date(), now.date());
    if date == today {
        return "Today".to_owned();
    }
    if date.next_day() == Some(today) {
        return "Yesterday".to_owned();
    }
    at.format(format_description!("[weekday], [day padding:none] [month repr:long] [year]")).unwrap_or_default()
}
