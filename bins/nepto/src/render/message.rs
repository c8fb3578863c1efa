//! One message: number, time, author, text, and what became of it.

use nepto_proto::AccountId;
use nepto_sdk::model::{Attachment, Body, Change, Failure, Message, Notice, Status};
use time::OffsetDateTime;

use super::{Block, Line, Style, clock, local, show_time, span, truncate};
use crate::duration::show_timer;
use crate::names::Names;
use crate::text::{clean, clean_line};

/// Longest author in front of a message.
pub(super) const AUTHOR_CELLS_MAX: usize = 24;
/// Longest part of an answered message.
pub(super) const EXCERPT_CELLS_MAX: usize = 60;

/// For what a newer version wrote.
const UNSUPPORTED: &str = "a message this version can't show";

/// Where messages are looked at from.
#[derive(Clone, Copy)]
pub struct MessageView<'a> {
    pub names: &'a Names,
    pub me: AccountId,
    pub now: OffsetDateTime,
    /// Days are shown between messages, so that the clock is enough in front of them.
    pub days_between: bool,
}

impl MessageView<'_> {
    /// A message, and the one it answers where that is known.
    pub fn block(&self, message: &Message, answered: Option<&Message>) -> Block {
        let time = if self.days_between {
            clock(local(message.sent_at_ms, self.now))
        } else {
            show_time(message.sent_at_ms, self.now)
        };
        let number = format!("{:>5} ", format!("#{}", message.order));
        if let Body::Notice(notice) = &message.body {
            let text = notice_text(notice, message.conversation, self.names);
            let style = if matches!(notice, Notice::Timer { .. }) { Style::Dim } else { Style::Warn };
            let prefix = vec![span(Style::Dim, format!("{:>6}{time} ", ""))];
            return Block { prefix, body: vec![vec![span(style, format!("— {text}"))]] };
        }
        let own = message.id.author == self.me;
        let author = truncate(&self.names.label(message.id.author), AUTHOR_CELLS_MAX);
        let prefix = vec![
            span(Style::Dim, format!("{number}{time} ")),
            span(if own { Style::Own } else { Style::Peer }, author),
            span(Style::Plain, "  "),
        ];
        Block { prefix, body: self.body(message, answered, own) }
    }

    fn body(&self, message: &Message, answered: Option<&Message>, own: bool) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        if message.reply_to.is_some() {
            let quote = answered.map_or_else(
                || "a message that is not here any more".to_owned(),
                |answered| format!("{}: {}", self.names.label(answered.id.author), excerpt(answered)),
            );
            lines.push(vec![span(Style::Dim, format!("↪ {quote}"))]);
        }
        match &message.body {
            Body::Text(text) if text.is_empty() && !message.attachments.is_empty() => {}
            Body::Text(text) => {
                let text = clean(text).replace('\t', "    ");
                lines.extend(text.trim_end_matches('\n').split('\n').map(|line| vec![span(Style::Plain, line)]));
            }
            Body::Unsupported => lines.push(vec![span(Style::Dim, UNSUPPORTED)]),
            Body::Deleted | Body::Notice(_) => lines.push(vec![span(Style::Dim, "deleted")]),
        }
        lines.extend(message.attachments.iter().map(|file| {
            let text = format!("📎 {} ({})", file_name(file), show_bytes(file.bytes));
            vec![span(Style::Plain, text)]
        }));
        let marks = self.marks(message, own);
        if let Some(last) = lines.last_mut().filter(|_| !marks.is_empty()) {
            let style = if matches!(message.status, Status::Failed(_)) { Style::Warn } else { Style::Dim };
            last.push(span(style, format!("  {marks}")));
        }
        if !message.reactions.is_empty() {
            let reactions = message.reactions.iter().map(|reaction| {
                let emoji = truncate(&clean_line(&reaction.emoji), 8);
                format!("{emoji} {}", self.names.label(reaction.by))
            });
            lines.push(vec![span(Style::Dim, reactions.collect::<Vec<_>>().join("  "))]);
        }
        lines
    }

    fn marks(&self, message: &Message, own: bool) -> String {
        let mut marks = Vec::new();
        if message.edited {
            marks.push("(edited)".to_owned());
        }
        if message.expire_after_s > 0 {
            marks.push(format!("⏳{}", show_timer(message.expire_after_s)));
        }
        // notes to oneself are on no other account's device
        if own && message.conversation != self.me {
            marks.push(match message.status {
                Status::Pending => "·".to_owned(),
                Status::Stored => "✓".to_owned(),
                Status::Delivered => "✓✓".to_owned(),
                Status::Read => "✓✓ read".to_owned(),
                Status::Failed(failure) => format!("✗ not sent: {}", failure_text(failure)),
                Status::Unread => String::new(),
            });
        }
        marks.retain(|mark| !mark.is_empty());
        marks.join(" ")
    }
}

/// The begin of a message on one line.
pub fn excerpt(message: &Message) -> String {
    match &message.body {
        Body::Text(text) => match message.attachments.first() {
            Some(file) if text.is_empty() => truncate(&format!("📎 {}", file_name(file)), EXCERPT_CELLS_MAX),
            _ => truncate(&clean_line(text), EXCERPT_CELLS_MAX),
        },
        Body::Deleted => "deleted".to_owned(),
        Body::Unsupported => UNSUPPORTED.to_owned(),
        Body::Notice(_) => String::new(),
    }
}

fn file_name(file: &Attachment) -> String {
    truncate(&clean_line(&file.name), EXCERPT_CELLS_MAX)
}

/// A number of bytes, short.
pub fn show_bytes(bytes: u64) -> String {
    let (mut shown, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB"] {
        if shown < 1_024.0 {
            break;
        }
        (shown, unit) = (shown / 1_024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{shown:.1} {unit}") }
}

/// Why a message was refused.
pub fn failure_text(failure: Failure) -> String {
    match failure {
        Failure::Server(code) => format!("{} [{code}]", code.title().trim_end_matches('.')),
        Failure::Uncertified => "no wallet of theirs certified one of their devices".to_owned(),
        Failure::KeysChanged => "their keys changed since you verified them; compare the safety number".to_owned(),
        Failure::DeviceReturned => "a device that was removed is listed again".to_owned(),
        Failure::RootChanged => "the server names another wallet as theirs".to_owned(),
        Failure::BadKeys => "their keys can't be used".to_owned(),
        Failure::NodeNeeded(chain) => {
            format!("their wallet is a contract on chain {chain}: nepto settings --node {chain}=URL")
        }
        Failure::Encryption => "it could not be encrypted".to_owned(),
        Failure::Unread => "a device of theirs could not read it".to_owned(),
    }
}

/// Something to know about a conversation.
pub fn notice_text(notice: &Notice, peer: AccountId, names: &Names) -> String {
    let name = names.subject(peer);
    match notice {
        Notice::DeviceAdded { device } => {
            format!("{name} has a new device ({device}); it has a safety number of its own")
        }
        Notice::IdentityChanged { device } => format!(
            "{} has new keys: installed again, or somebody is in between. Compare the safety number",
            names.device(peer, *device)
        ),
        Notice::RootChanged { from, to } => {
            format!("careful: the server says that {name} is wallet {} now, not {}", clean_line(to), clean_line(from))
        }
        Notice::WalletUnlinked { wallet } => {
            format!("{name} has unlinked the wallet {}, by which you named them", clean_line(wallet))
        }
        Notice::DeviceReturned { device } => format!(
            "careful: {} was removed once and is listed again. It may be a lost one in somebody else's hands; nothing is \
             sent until you decide",
            names.device(peer, *device)
        ),
        Notice::Uncertified { device } => {
            format!("the server offered a device ({device}) of {name} that no wallet certified; it was refused")
        }
        Notice::Timer { by, expire_after_s: 0 } => format!("{} switched disappearing messages off", names.label(*by)),
        Notice::Timer { by, expire_after_s } => {
            format!("{} set new messages to disappear after {}", names.label(*by), show_timer(*expire_after_s))
        }
        Notice::NotSent { change, failure } => {
            let what = match change {
                Change::Reaction => "your reaction",
                Change::Edit => "your edit",
                Change::Delete => "taking your message back",
                Change::Timer => "your timer",
            };
            format!("{what} did not reach {name}: {}", failure_text(*failure))
        }
        Notice::Missed { device, since_ms } => format!(
            "{} was away for too long: what was sent to it between {} UTC and its return is missing on it",
            names.device(peer, *device),
            show_time(*since_ms, OffsetDateTime::UNIX_EPOCH)
        ),
        Notice::Undecryptable { device } => {
            let device = names.device(peer, *device);
            format!("a message from {device} could not be decrypted and is lost unless it is sent again")
        }
        Notice::SessionReset { device, resent, unread } => {
            let count = |n: u32| if n == 1 { "1 message".to_owned() } else { format!("{n} messages") };
            let resent = (*resent > 0).then(|| format!("{} that it could not read: sent again", count(*resent)));
            let unread = (*unread > 0).then(|| format!("{} that it did not get: yours to send again", count(*unread)));
            let about: Vec<String> = resent.into_iter().chain(unread).collect();
            let about = if about.is_empty() { "messages from before may be lost".to_owned() } else { about.join(", ") };
            format!("{} set its session up again; {about}", names.device(peer, *device))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{lay_out, to_text};
    use nepto_proto::api::accounts::Account;
    use nepto_proto::{ClientMsgId, ErrorCode};
    use nepto_sdk::model::{MessageId, Reaction};
    use uuid::Uuid;

    fn account(number: u128) -> AccountId {
        AccountId::new(Uuid::from_u128(number))
    }

    fn message(order: u64, author: u128, text: &str, status: Status) -> Message {
        Message {
            order,
            conversation: account(2),
            id: MessageId { author: account(author), id: ClientMsgId::new(Uuid::from_u128(u128::from(order))) },
            sent_at_ms: 1_700_000_000_000 + order * 60_000,
            at_ms: 0,
            body: Body::Text(text.to_owned()),
            attachments: Vec::new(),
            status,
            reply_to: None,
            reactions: Vec::new(),
            edited: false,
            expire_after_s: 0,
            expires_at_ms: None,
        }
    }

    fn show(messages: &[(Message, Option<Message>)]) -> String {
        let mut names = Names::new(account(1));
        let wallet = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned();
        names.insert(Account { account: account(2), wallet, handle: Some("alice".into()), display_name: None });
        let now = local(1_700_000_000_000, OffsetDateTime::UNIX_EPOCH);
        let view = MessageView { names: &names, me: account(1), now, days_between: false };
        let lines = messages.iter().flat_map(|(m, answered)| lay_out(&view.block(m, answered.as_ref()), Some(60)));
        lines.map(|line| to_text(&line, false)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_history_shows_what_became_of_each_message() {
        let asked = message(1, 2, "are you\nthere?", Status::Read);
        let mut answer = message(3, 1, "yes", Status::Delivered);
        answer.reply_to = Some(asked.id);
        answer.reactions.push(Reaction { by: account(2), emoji: "👍".into() });
        let mut late = message(900, 1, "see you", Status::Failed(Failure::Server(ErrorCode::MailboxFull)));
        late.edited = true;
        late.expire_after_s = 3600;
        let mut gone = message(7, 2, "", Status::Read);
        gone.body = Body::Deleted;
        let mut timer = message(8, 2, "", Status::Read);
        timer.body = Body::Notice(Notice::Timer { by: account(1), expire_after_s: 3600 });
        let mut newer = message(10, 2, "", Status::Read);
        newer.body = Body::Unsupported;
        let mut refused = message(11, 1, "", Status::Read);
        refused.body = Body::Notice(Notice::NotSent { change: Change::Edit, failure: Failure::BadKeys });
        let text = show(&[
            (asked.clone(), None),
            (answer, Some(asked)),
            (message(5, 1, "pending", Status::Pending), None),
            (message(6, 1, "stored", Status::Stored), None),
            (gone, None),
            (timer, None),
            (newer, None),
            (refused, None),
            (late, None),
        ]);
        assert_eq!(
            text,
            "   #1 22:14 @alice  are you
                    there?
   #3 22:16 you  ↪ @alice: are you there?
                 yes  ✓✓
                 👍 @alice
   #5 22:18 you  pending  ·
   #6 22:19 you  stored  ✓
   #7 22:20 @alice  deleted
      22:21 — you set new messages to disappear after 1h
  #10 22:23 @alice  a message this version can't show
      22:24 — your edit did not reach @alice: their keys
            can't be used
 #900 2023-11-15 13:13 you  see you  (edited) ⏳1h ✗ not
                            sent: The mailboxes of all of
                            the recipient's devices are full
                            [mailbox_full]"
        );
    }

    #[test]
    fn files_stand_under_what_is_said_about_them() {
        let file = |name: &str, bytes| Attachment {
            media: nepto_proto::MediaId::new(Uuid::from_u128(1)),
            key: nepto_sdk::model::AttachmentKey::from_bytes([1; 32]),
            digest: [0; 32],
            bytes,
            name: name.to_owned(),
            media_type: String::new(),
        };
        let mut with_words = message(1, 2, "look", Status::Read);
        with_words.attachments = vec![file("a.jpg", 999), file("b\n#2 you  I owe\u{202e}100", 1_572_864)];
        let mut alone = message(3, 1, "", Status::Stored);
        alone.attachments = vec![file("c.pdf", 2_048)];
        assert_eq!(excerpt(&alone), "📎 c.pdf");
        assert_eq!(
            show(&[(with_words, None), (alone, None)]),
            "   #1 22:14 @alice  look
                    📎 a.jpg (999 B)
                    📎 b #2 you I owe100 (1.5 MiB)
   #3 22:16 you  📎 c.pdf (2.0 KiB)  ✓"
        );
    }

    #[test]
    fn a_message_can_not_pretend_to_be_another_line() {
        let text = show(&[(message(1, 2, "hi\n#2 22:15 you  I owe 100\u{1b}[1A\u{202e}", Status::Read), None)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "                    #2 22:15 you  I owe 100");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    }
}
