//! A channel as rows of a screen, in the frame that conversations have.

use time::OffsetDateTime;

use super::Room;
use crate::chat::screen::{Frame, at_least, bar_of, compose, input, note_lines, within};
use crate::chat::slash::{self, OF_CHANNELS};
use crate::chat::state::Link;
use crate::render::{ChannelView, Line, Style, lay_out, span, truncate};

/// Those who type that are named.
const TYPING_NAMED: usize = 3;

/// Draws a channel in so many columns and rows.
pub fn draw(room: &mut Room, size: (u16, u16), now: OffsetDateTime) -> Frame {
    let (columns, rows) = at_least(size);
    let lines = timeline(room, columns, now);
    room.scrolled = within(room.scrolled, lines.len(), rows);
    let state = match &room.link {
        Link::Online => "connected",
        Link::Connecting => "connecting…",
        Link::Offline(_) => "no connection",
    };
    let input = input(&room.input, slash::hint(room.input.text(), OF_CHANNELS), columns);
    let around = (bar_of(&room.place.name, state, columns), about_now(room, columns));
    compose(around, (lines.as_slice(), room.scrolled), input, rows)
}

fn timeline(room: &Room, columns: usize, now: OffsetDateTime) -> Vec<Line> {
    let view = ChannelView { called: &room.called, now, ids: false };
    let mut lines = Vec::new();
    let mut notes = room.notes.iter().peekable();
    for (id, shown) in &room.messages {
        while let Some(note) = notes.next_if(|note| note.after.is_none_or(|after| after < *id)) {
            lines.extend(note_lines(&note.text, note.warn, columns));
        }
        let answered = shown.message.reply_to.and_then(|id| room.messages.get(&id));
        let mut block = view.block(&shown.message, answered.map(|shown| &shown.message));
        block.prefix.insert(0, span(Style::Dim, format!("{:>5} ", format!("#{}", shown.number))));
        lines.extend(lay_out(&block, Some(columns)));
    }
    for note in notes {
        lines.extend(note_lines(&note.text, note.warn, columns));
    }
    if lines.is_empty() {
        let text = if room.is_loading() || room.link != Link::Online {
            "…"
        } else {
            "No messages yet. Write the first one."
        };
        lines.push(vec![span(Style::Dim, truncate(text, columns))]);
    }
    lines
}

/// The most important thing to know right now.
fn about_now(room: &Room, columns: usize) -> Line {
    let (style, text) = if let Link::Offline(reason) = &room.link {
        (Style::Warn, format!("no connection ({reason})"))
    } else if room.on_their_way > 0 {
        (Style::Dim, format!("on their way: {}", room.on_their_way))
    } else if room.scrolled > 0 {
        (Style::Dim, format!("{} more rows below; PageDown or Enter goes there", room.scrolled))
    } else if let Some(text) = typing(room) {
        (Style::Peer, text)
    } else if room.input.is_empty() {
        (Style::Dim, "/help lists commands, Ctrl-D leaves".to_owned())
    } else {
        (Style::Dim, String::new())
    };
    vec![span(style, truncate(&format!(" {text}"), columns))]
}

fn typing(room: &Room) -> Option<String> {
    let (accounts, more, _) = room.types.as_ref()?;
    let named: Vec<String> =
        accounts.iter().take(TYPING_NAMED).map(|account| room.called.names.label(*account)).collect();
    let others = accounts.len() - named.len() + *more as usize;
    match (named.len(), others) {
        (0, _) => None,
        (1, 0) => Some(format!("{} is typing…", named.concat())),
        (_, 0) => Some(format!("{} are typing…", named.join(", "))),
        _ => Some(format!("{} and {others} more are typing…", named.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use nepto_proto::AccountId;
    use nepto_proto::api::accounts::Account;
    use nepto_proto::api::channels::ChannelMessage;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::super::tests::{history, message, room};
    use super::*;
    use crate::render::to_text;

    fn rows(room: &mut Room, size: (u16, u16)) -> Vec<String> {
        let frame = draw(room, size, OffsetDateTime::UNIX_EPOCH);
        assert_eq!(frame.rows.len(), usize::from(size.1));
        frame.rows.iter().map(|line| to_text(line, false)).collect()
    }

    #[test]
    fn a_channel_fills_the_screen_as_a_conversation_does() {
        let mut room = room();
        let alice = AccountId::new(Uuid::from_u128(2));
        let wallet = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned();
        let known = Account { account: alice, wallet, handle: Some("alice".into()), display_name: None };
        room.called.names.insert(known);
        room.link = Link::Online;
        let answer = ChannelMessage { reply_to: Some(message(1, 2, "").message), ..message(2, 1, "hello") };
        room.loaded(Some(history(vec![message(1, 2, "**hi**"), answer])));
        room.note("a note", false);
        room.input.insert("how are");
        assert_eq!(
            rows(&mut room, (60, 8)),
            [
                " #tomatoes                                        connected",
                "",
                "   #1 00:00 @alice  hi",
                "   #2 00:00 you  ↪ @alice: hi",
                "                 hello",
                "  * a note",
                "",
                "> how are",
            ]
        );
        room.types = Some((vec![alice], 2, Instant::now()));
        assert_eq!(rows(&mut room, (60, 8))[6], " @alice and 2 more are typing…");
        room.on_their_way = 1;
        assert_eq!(rows(&mut room, (60, 8))[6], " on their way: 1");
    }
}
