//! A conversation as rows of a screen: a bar, the messages, a line about now, and what is being written.

use nepto_sdk::Verification;
use nepto_sdk::model::ConversationState;
use time::OffsetDateTime;
use unicode_segmentation::UnicodeSegmentation;

use super::input::Input;
use super::slash::{self, COMMANDS};
use super::state::{Chat, Link};
use crate::duration::show_timer;
use crate::render::{Block, Line, MessageView, Style, lay_out, local, show_day, span, truncate, width};

/// In front of what is being written.
const PROMPT: &str = "> ";
/// Rows beside the messages: the bar, the line about now, the input.
const OTHER_ROWS: usize = 3;

/// What a terminal shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    pub rows: Vec<Line>,
    /// Column and row.
    pub cursor: (u16, u16),
}

/// Draws a conversation in so many columns and rows.
pub fn draw(chat: &mut Chat, (columns, rows): (u16, u16), now: OffsetDateTime) -> Frame {
    let (columns, rows) = at_least((columns, rows));
    let lines = timeline(chat, columns, now);
    chat.scrolled = within(chat.scrolled, lines.len(), rows);
    let input = input(&chat.input, slash::hint(chat.input.text(), COMMANDS), columns);
    compose((bar(chat, columns), about_now(chat, columns)), (lines.as_slice(), chat.scrolled), input, rows)
}

/// Columns and rows that are drawn, whatever the terminal has.
pub fn at_least((columns, rows): (u16, u16)) -> (usize, usize) {
    (usize::from(columns).max(20), usize::from(rows).max(OTHER_ROWS + 1))
}

/// So far that the oldest of so many lines is the highest row at the most.
pub fn within(scrolled: usize, lines: usize, rows: usize) -> usize {
    scrolled.min(lines.saturating_sub(rows - OTHER_ROWS))
}

/// A bar, lines that end so far below, a line about now, and the input with its cursor.
pub fn compose(
    (bar, about): (Line, Line),
    (lines, scrolled): (&[Line], usize),
    (input, cursor): (Line, usize),
    rows: usize,
) -> Frame {
    let space = rows - OTHER_ROWS;
    let end = lines.len() - scrolled;
    let begin = end.saturating_sub(space);
    let mut shown = vec![bar];
    shown.resize(1 + space - (end - begin), Line::new());
    shown.extend_from_slice(&lines[begin..end]);
    shown.push(about);
    shown.push(input);
    Frame { rows: shown, cursor: (cursor as u16, rows as u16 - 1) }
}

fn bar(chat: &Chat, columns: usize) -> Line {
    let mut parts = vec![chat.names.full(chat.peer)];
    match chat.state() {
        ConversationState::Requested => parts.push("REQUEST".to_owned()),
        ConversationState::Blocked => parts.push("BLOCKED".to_owned()),
        ConversationState::Accepted => {}
    }
    match chat.verification {
        Verification::Verified => parts.push("verified ✓".to_owned()),
        Verification::Changed => parts.push("KEYS CHANGED".to_owned()),
        Verification::Unverified => {}
    }
    if let Some(seconds) = chat.conversation.as_ref().map(|c| c.expire_after_s).filter(|seconds| *seconds > 0) {
        parts.push(format!("⏳{}", show_timer(seconds)));
    }
    let state = match (&chat.link, chat.peer_online) {
        (Link::Online, _) if chat.peer == chat.me => "connected",
        (Link::Online, Some(true)) => "● online",
        (Link::Online, _) => "○ offline",
        (Link::Connecting, _) => "connecting…",
        (Link::Offline(_), _) => "no connection",
    };
    bar_of(&parts.join("  "), state, columns)
}

/// The bar at the top: what it is, and how it stands.
pub fn bar_of(what: &str, state: &str, columns: usize) -> Line {
    let left = truncate(&format!(" {what}"), columns.saturating_sub(width(state) + 3));
    let gap = columns.saturating_sub(width(&left) + width(state) + 1);
    vec![span(Style::Bar, format!("{left}{}{state} ", " ".repeat(gap)))]
}

fn timeline(chat: &Chat, columns: usize, now: OffsetDateTime) -> Vec<Line> {
    let view = MessageView { names: &chat.names, me: chat.me, now, days_between: true };
    let mut lines = Vec::new();
    let mut notes = chat.notes.iter().peekable();
    let mut day = None;
    for message in &chat.messages {
        while let Some(note) = notes.next_if(|note| note.after < message.order) {
            lines.extend(note_lines(&note.text, note.warn, columns));
        }
        let at = local(message.sent_at_ms, now);
        if day.replace(at.date()) != Some(at.date()) {
            let title = format!("── {} ──", show_day(at, now));
            let margin = columns.saturating_sub(width(&title)) / 2;
            lines.push(vec![span(Style::Dim, format!("{}{title}", " ".repeat(margin)))]);
        }
        let block = view.block(message, message.reply_to.and_then(|id| chat.answered.get(&id)));
        lines.extend(lay_out(&block, Some(columns)));
    }
    for note in notes {
        lines.extend(note_lines(&note.text, note.warn, columns));
    }
    if chat.messages.is_empty() && chat.notes.is_empty() {
        let text = format!("No messages with {} yet. Write the first one.", chat.names.peer(chat.peer));
        lines.push(vec![span(Style::Dim, truncate(&text, columns))]);
    }
    lines
}

/// Something that we say ourselves.
pub fn note_lines(text: &str, warn: bool, columns: usize) -> Vec<Line> {
    let style = if warn { Style::Warn } else { Style::Dim };
    let body = text.split('\n').map(|line| vec![span(style, line)]).collect();
    lay_out(&Block { prefix: vec![span(style, "  * ")], body }, Some(columns))
}

/// The most important thing to know right now.
fn about_now(chat: &Chat, columns: usize) -> Line {
    let name = chat.names.label(chat.peer);
    let (style, text) = if let Link::Offline(reason) = &chat.link {
        (Style::Warn, format!("no connection ({reason}); what you write is sent later"))
    } else if chat.verification == Verification::Changed {
        (Style::Warn, format!("the keys or devices of {name} changed: /safety, then /verify or /accept-change"))
    } else if chat.state() == ConversationState::Requested {
        (Style::Warn, format!("{name} wants to write to you: /accept or /block"))
    } else if chat.state() == ConversationState::Blocked {
        (Style::Warn, format!("you have blocked {name}: /unblock"))
    } else if chat.scrolled > 0 {
        (Style::Dim, format!("{} more rows below; PageDown or Enter goes there", chat.scrolled))
    } else if chat.peer_types_until.is_some() {
        (Style::Peer, format!("{name} is typing…"))
    } else if chat.input.is_empty() {
        (Style::Dim, "/help lists commands, Ctrl-D leaves".to_owned())
    } else {
        (Style::Dim, String::new())
    };
    vec![span(style, truncate(&format!(" {text}"), columns))]
}

/// The input, moved so that the cursor is on the screen, and the cursor's column.
pub fn input(input: &Input, hint: Option<String>, columns: usize) -> (Line, usize) {
    let (before, after) = input.halves();
    let room = columns.saturating_sub(width(PROMPT) + 1);
    let (mut visible, mut used) = (Vec::new(), 0);
    for grapheme in before.graphemes(true).rev().map(show) {
        if used + width(grapheme) > room {
            break;
        }
        used += width(grapheme);
        visible.push(grapheme);
    }
    visible.reverse();
    let cursor = width(PROMPT) + used;
    for grapheme in after.graphemes(true).map(show) {
        if used + width(grapheme) > room {
            break;
        }
        used += width(grapheme);
        visible.push(grapheme);
    }
    let mut line = vec![span(Style::Bold, PROMPT), span(Style::Plain, visible.concat())];
    if let Some(hint) = hint.filter(|_| after.is_empty()) {
        line.push(span(Style::Dim, truncate(&hint, room - used + 1)));
    }
    (line, cursor)
}

/// A line break within the input is shown as a sign.
fn show(grapheme: &str) -> &str {
    match grapheme {
        "\n" | "\r\n" => "⏎",
        "\t" => " ",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::state::Note;
    use crate::names::Names;
    use crate::render::to_text;
    use nepto_proto::api::accounts::Account;
    use nepto_proto::{AccountId, ClientMsgId};
    use nepto_sdk::model::{Body, Conversation, Message, MessageId, Status};
    use uuid::Uuid;

    fn account(number: u128) -> AccountId {
        AccountId::new(Uuid::from_u128(number))
    }

    fn chat(texts: &[(u128, &str, Status)]) -> Chat {
        let mut names = Names::new(account(1));
        let wallet = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned();
        names.insert(Account { account: account(2), wallet, handle: Some("alice".into()), display_name: None });
        let mut chat = Chat::new(account(1), account(2), names, 100);
        chat.link = Link::Online;
        chat.messages = (1u64..)
            .zip(texts)
            .map(|(order, (author, text, status))| Message {
                order,
                conversation: account(2),
                id: MessageId { author: account(*author), id: ClientMsgId::new(Uuid::from_u128(u128::from(order))) },
                sent_at_ms: 1_700_000_000_000,
                at_ms: 0,
                body: Body::Text((*text).to_owned()),
                attachments: Vec::new(),
                status: *status,
                reply_to: None,
                reactions: Vec::new(),
                edited: false,
                expire_after_s: 0,
                expires_at_ms: None,
            })
            .collect();
        chat
    }

    fn rows(chat: &mut Chat, size: (u16, u16)) -> Vec<String> {
        let now = local(1_700_000_000_000, OffsetDateTime::UNIX_EPOCH);
        let frame = draw(chat, size, now);
        assert_eq!(frame.rows.len(), usize::from(size.1));
        frame.rows.iter().map(|line| to_text(line, false)).collect()
    }

    #[test]
    fn a_conversation_fills_the_screen_from_below() {
        let mut chat = chat(&[(2, "hi", Status::Read), (1, "hello", Status::Delivered)]);
        chat.peer_online = Some(true);
        chat.input.insert("how are");
        assert_eq!(
            rows(&mut chat, (70, 8)),
            [
                " @alice  0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266          ● online",
                "",
                "",
                "                             ── Today ──",
                "   #1 22:13 @alice  hi",
                "   #2 22:13 you  hello  ✓✓",
                "",
                "> how are",
            ]
        );
    }

    #[test]
    fn the_line_about_now_says_what_matters_most() {
        let mut chat = chat(&[(2, "hi", Status::Unread)]);
        let about = |chat: &mut Chat| rows(chat, (80, 8))[6].clone();
        assert_eq!(about(&mut chat), " /help lists commands, Ctrl-D leaves");
        chat.peer_types_until = Some(tokio::time::Instant::now());
        assert_eq!(about(&mut chat), " @alice is typing…");
        chat.conversation = Some(Conversation {
            peer: account(2),
            state: ConversationState::Requested,
            expire_after_s: 0,
            unread: 1,
            last_order: 1,
            last_at_ms: 0,
            read_up_to: 0,
        });
        assert_eq!(about(&mut chat), " @alice wants to write to you: /accept or /block");
        chat.verification = Verification::Changed;
        assert_eq!(about(&mut chat), " the keys or devices of @alice changed: /safety, then /verify or /accept-change");
        chat.link = Link::Offline("gone".into());
        assert_eq!(about(&mut chat), " no connection (gone); what you write is sent later");
    }

    #[test]
    fn a_long_input_keeps_its_cursor_on_the_screen() {
        let mut chat = chat(&[]);
        chat.input.insert(&"0123456789".repeat(5));
        let now = OffsetDateTime::UNIX_EPOCH;
        let frame = draw(&mut chat, (30, 6), now);
        assert_eq!(frame.cursor, (29, 5));
        assert_eq!(to_text(&frame.rows[5], false), "> 345678901234567890123456789");
        chat.input.home();
        let frame = draw(&mut chat, (30, 6), now);
        assert_eq!((frame.cursor, to_text(&frame.rows[5], false).len()), ((2, 5), 29));
    }

    #[test]
    fn scrolling_ends_at_the_oldest_message() {
        let mut chat = chat(&[(2, "one", Status::Read), (2, "two", Status::Read), (2, "three", Status::Read)]);
        chat.scrolled = 1_000;
        let shown = rows(&mut chat, (60, 5));
        assert!(shown[1].contains("Today") && shown[2].contains("one"), "{shown:?}");
        assert_eq!(chat.scrolled, 2);
        // so small that there is hardly room for anything
        let frame = draw(&mut chat, (1, 1), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(frame.rows.len(), OTHER_ROWS + 1);
    }

    #[test]
    fn notes_stand_where_they_were_said() {
        let mut chat = chat(&[(2, "one", Status::Read), (2, "two", Status::Read)]);
        chat.notes.push(Note { after: 1, text: "a note\nof two lines".into(), warn: false });
        let shown = rows(&mut chat, (60, 9));
        let at = shown.iter().position(|row| row == "  * a note").unwrap();
        assert!(shown[at - 1].contains("one") && shown[at + 1] == "    of two lines" && shown[at + 2].contains("two"));
    }
}
