//! Messages of channels, and what else happens there: time, author, text, and what became of it.

use std::collections::VecDeque;

use nepto_proto::api::channels::ChannelMessage;
use nepto_proto::{AccountId, MessageId};
use nepto_sdk::channels::{ChannelEvent, Happened};
use time::OffsetDateTime;

use super::message::{AUTHOR_CELLS_MAX, EXCERPT_CELLS_MAX};
use super::{Block, Line, Style, show_time, span, truncate};
use crate::called::{Called, isolated};
use crate::text::clean_line;

/// Messages that are remembered, for those that answer them.
const RECENT_MAX: usize = 500;
/// Longest emoji.
const EMOJI_CELLS_MAX: usize = 8;

/// The last messages of a channel, as they were when they were shown.
#[derive(Debug, Default)]
pub struct Recent(VecDeque<ChannelMessage>);

impl Recent {
    pub fn add(&mut self, message: ChannelMessage) {
        if self.0.len() == RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(message);
    }

    pub fn get(&self, id: MessageId) -> Option<&ChannelMessage> {
        self.0.iter().rev().find(|message| message.message == id)
    }
}

/// Where messages of a channel are looked at from.
#[derive(Clone, Copy)]
pub struct ChannelView<'a> {
    pub called: &'a Called,
    pub now: OffsetDateTime,
    /// Their ids stand behind them.
    pub ids: bool,
}

impl ChannelView<'_> {
    /// A message, and the one that it answers where that is known.
    pub fn block(&self, message: &ChannelMessage, answered: Option<&ChannelMessage>) -> Block {
        let posted_ms = u64::try_from(message.posted_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let mut lines: Vec<Line> = Vec::new();
        if message.reply_to.is_some() {
            lines.push(vec![span(Style::Dim, format!("↪ {}", self.about(answered)))]);
        }
        lines.extend(self.called.lines(&message.text).into_iter().map(|line| vec![span(Style::Plain, line)]));
        let mut marks = Vec::new();
        if message.edited_at.is_some() {
            marks.push("(edited)".to_owned());
        }
        if message.pinned {
            marks.push("(pinned)".to_owned());
        }
        if self.ids {
            marks.push(message.message.uuid().to_string());
        }
        if let Some(last) = lines.last_mut().filter(|_| !marks.is_empty()) {
            last.push(span(Style::Dim, format!("  {}", marks.join(" "))));
        }
        if !message.reactions.is_empty() {
            let reactions = message.reactions.iter().map(|kind| format!("{} {}", emoji(&kind.reaction), kind.count));
            lines.push(vec![span(Style::Dim, reactions.collect::<Vec<_>>().join("  "))]);
        }
        Block { prefix: self.prefix(posted_ms, message.author), body: lines }
    }

    /// Something else than a new message.
    pub fn happened(&self, event: &ChannelEvent, recent: &Recent) -> Block {
        let mut lines = Vec::new();
        let about = |id: &MessageId| self.about(recent.get(*id));
        let said = match &event.what {
            Happened::Posted(message) => {
                return self.block(message, message.reply_to.and_then(|id| recent.get(id)));
            }
            Happened::Edited { message, text } => {
                lines = self.called.lines(text);
                format!("— edited {}", about(message))
            }
            Happened::Deleted { messages } => match messages.as_slice() {
                [only] => format!("— deleted {}", about(only)),
                several => format!("— deleted {} messages", several.len()),
            },
            Happened::Reaction { message, reaction, removed: false } => {
                format!("— {} to {}", emoji(reaction), about(message))
            }
            Happened::Reaction { message, reaction, removed: true } => {
                format!("— took {} back from {}", emoji(reaction), about(message))
            }
            Happened::Pin { message, unpinned: false } => format!("— pinned {}", about(message)),
            Happened::Pin { message, unpinned: true } => format!("— unpinned {}", about(message)),
        };
        let mut body = vec![vec![span(Style::Dim, said)]];
        body.extend(lines.into_iter().map(|line| vec![span(Style::Plain, line)]));
        Block { prefix: self.prefix(event.at_ms, event.by), body }
    }

    fn prefix(&self, at_ms: u64, author: AccountId) -> Line {
        let style = if author == self.called.me { Style::Own } else { Style::Peer };
        vec![
            span(Style::Dim, format!("{} ", show_time(at_ms, self.now))),
            span(style, isolated(&truncate(&self.called.names.label(author), AUTHOR_CELLS_MAX))),
            span(Style::Plain, "  "),
        ]
    }

    /// A message in a few words, if it was shown.
    fn about(&self, message: Option<&ChannelMessage>) -> String {
        let Some(message) = message else { return "a message that is not shown here".to_owned() };
        let author = isolated(&self.called.names.label(message.author));
        let text = self.called.lines(&message.text).join(" ");
        // an isolate that is cut open would not end
        let text = isolated(&truncate(&clean_line(&text), EXCERPT_CELLS_MAX));
        format!("{author}: {text}")
    }
}

fn emoji(reaction: &str) -> String {
    truncate(&clean_line(reaction), EMOJI_CELLS_MAX)
}

#[cfg(test)]
mod tests {
    use nepto_proto::api::channels::{MessageMentions, Reaction};
    use nepto_proto::{ChannelId, ClientMsgId};
    use uuid::Uuid;

    use super::*;
    use crate::names::Names;
    use crate::render::{lay_out, to_text};

    fn message(seq: u64, author: u128, text: &str) -> ChannelMessage {
        ChannelMessage {
            message: MessageId::at(1, seq),
            author: AccountId::new(Uuid::from_u128(author)),
            client_msg_id: ClientMsgId::new(Uuid::from_u128(u128::from(seq))),
            text: text.to_owned(),
            posted_at: OffsetDateTime::UNIX_EPOCH,
            edited_at: None,
            reply_to: None,
            mentions: MessageMentions::default(),
            reactions: Vec::new(),
            pinned: false,
        }
    }

    fn shown(block: &Block) -> String {
        lay_out(block, None).iter().map(|line| to_text(line, false)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_message_shows_what_it_answers_and_what_became_of_it() {
        let me = AccountId::new(Uuid::from_u128(1));
        let called = Called::new(me, Names::new(me), None);
        let view = ChannelView { called: &called, now: OffsetDateTime::UNIX_EPOCH, ids: false };
        let mut recent = Recent::default();
        let first = message(1, 1, "**one**\ntwo");
        assert_eq!(shown(&view.block(&first, None)), "00:00 you  one\n           two");
        recent.add(first.clone());
        let answer = ChannelMessage {
            reply_to: Some(first.message),
            edited_at: Some(OffsetDateTime::UNIX_EPOCH),
            reactions: vec![Reaction { reaction: "👍".into(), count: 2, own: true }],
            pinned: true,
            ..message(2, 1, "yes")
        };
        let wanted = "00:00 you  ↪ you: one two\n           yes  (edited) (pinned)\n           👍 2";
        assert_eq!(shown(&view.block(&answer, recent.get(first.message))), wanted);
        assert!(shown(&view.block(&answer, None)).contains("↪ a message that is not shown here"));
        let with_ids = ChannelView { ids: true, ..view };
        assert!(shown(&with_ids.block(&first, None)).ends_with(&first.message.uuid().to_string()));
    }

    #[test]
    fn changes_are_one_line_about_a_message() {
        let me = AccountId::new(Uuid::from_u128(1));
        let called = Called::new(me, Names::new(me), None);
        let view = ChannelView { called: &called, now: OffsetDateTime::UNIX_EPOCH, ids: false };
        let mut recent = Recent::default();
        recent.add(message(1, 1, "hello"));
        let id = MessageId::at(1, 1);
        for (what, line) in [
            (Happened::Edited { message: id, text: "new".into() }, "— edited you: hello\n           new"),
            (Happened::Deleted { messages: vec![id] }, "— deleted you: hello"),
            (Happened::Deleted { messages: vec![id, MessageId::at(1, 2)] }, "— deleted 2 messages"),
            (Happened::Reaction { message: id, reaction: "👍".into(), removed: false }, "— 👍 to you: hello"),
            (
                Happened::Reaction { message: id, reaction: "👍".into(), removed: true },
                "— took 👍 back from you: hello",
            ),
            (Happened::Pin { message: id, unpinned: false }, "— pinned you: hello"),
            (Happened::Pin { message: id, unpinned: true }, "— unpinned you: hello"),
        ] {
            let channel = ChannelId::new(Uuid::from_u128(3));
            let event = ChannelEvent { channel, at: MessageId::at(1, 9), at_ms: 0, by: me, what };
            assert_eq!(shown(&view.happened(&event, &recent)), format!("00:00 you  {line}"));
        }
    }
}
