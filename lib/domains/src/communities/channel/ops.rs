//! What is asked over HTTP: history, edits, deletions, reactions, pins, markers. Each looks at the message as it is now, in the tables or
//! in the stream behind them, and says what is done as an event, so that one order holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nepto_kit::Failure;
use nepto_kit::limit::Limit;
use nepto_proto::api::channels::{
    ChannelHistory, ChannelMessage, MessageEdit, MessageEdits, MessageMentions, PinnedMessages, PostMessage,
    PostedMessage, Reaction, ReadState, Unread,
};
use nepto_proto::permissions::Permission;
use nepto_proto::svc::communities::AccessIn;
use nepto_proto::wire::{ChannelEvent, MessageEdited, MessagesDeleted, PinChanged, ReactionChanged, channel_event};
use nepto_proto::{AccountId, ChannelId, CommunityId, ErrorCode, MessageId, subject};
use prost::Message as _;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::Visible;
use super::access;
use super::config::Channels as Settings;
use super::history::{History, Page};
use super::post::{NewMessage, Posting, check_text};
use super::projection::{Edit, Message, Projection, ReactionKey};
use super::publisher::Submission;
use super::rows::mentioned_roles;
use super::store::Window;

/// An emoji with its modifiers and joiners has no more.
const REACTION_BYTES_MAX: usize = 64;
const REACTION_CHARS_MAX: usize = 12;

/// The use-cases.
#[derive(Clone)]
pub struct Channels {
    pub history: History,
    pub posting: Arc<Posting>,
    pub visible: Visible,
}

/// A message in its channel, and whose question it is.
#[derive(Debug, Clone, Copy)]
pub struct Of {
    pub account: AccountId,
    pub channel: ChannelId,
    pub message: MessageId,
}

impl Channels {
    /// Posts a message.
    pub async fn post(&self, from: AccountId, channel: ChannelId, body: PostMessage) -> Result<PostedMessage, Failure> {
        self.posting.clone().begin(from, NewMessage::of_body(channel, body)).await?.await
    }

    /// Shows a part of the history.
    pub async fn history(
        &self,
        account: AccountId,
        channel: ChannelId,
        window: HistoryWindow,
    ) -> Result<ChannelHistory, Failure> {
        self.count_read(account).await?;
        let community = self.require(account, channel, Permission::ReadHistory).await?;
        let (messages, older, newer, projection) = match window {
            HistoryWindow::Newest(limit) => {
                let (Page { messages, more }, projection) =
                    self.history.page(community, channel, Window::Newest(limit)).await?;
                (messages, more, false, projection)
            }
            HistoryWindow::Before(id, limit) => {
                let (Page { messages, more }, projection) =
                    self.history.page(community, channel, Window::Before(id, limit)).await?;
                (messages, more, true, projection)
            }
            HistoryWindow::After(id, limit) => {
                let (Page { messages, more }, projection) =
                    self.history.page(community, channel, Window::After(id, limit)).await?;
                (messages, true, more, projection)
            }
            HistoryWindow::Around(id, limit) => {
                let (before, _) = self.history.page(community, channel, Window::Before(id, limit / 2)).await?;
                let (from, projection) =
                    self.history.page(community, channel, Window::From(id, limit - limit / 2)).await?;
                let messages = before.messages.into_iter().chain(from.messages).collect();
                (messages, before.more, from.more, projection)
            }
        };
        let messages = self.shown(account, channel, messages, &projection).await?;
        Ok(ChannelHistory { messages, older, newer })
    }

    /// Shows a message.
    pub async fn message(&self, of: Of) -> Result<ChannelMessage, Failure> {
        self.count_read(of.account).await?;
        let community = self.require(of.account, of.channel, Permission::ReadHistory).await?;
        let page = self.history.page(community, of.channel, Window::From(of.message, 1)).await?;
        let (Page { messages, .. }, projection) = page;
        let found = messages.into_iter().filter(|(id, _)| *id == of.message).collect();
        let shown = self.shown(of.account, of.channel, found, &projection).await?;
        shown.into_iter().next().ok_or_else(unknown)
    }

    /// What a message said before, for those who manage messages.
    pub async fn edits(&self, of: Of) -> Result<MessageEdits, Failure> {
        self.count_read(of.account).await?;
        let community = self.require(of.account, of.channel, Permission::ManageMessages).await?;
        self.existing(community, of).await?;
        // the newer ones first: what goes into the tables meanwhile is there twice, and not missing
        let mut edits = self.history.edits_behind(community, (of.channel, of.message)).await?;
        edits.extend(self.history.store.edits((of.channel, of.message)).await?);
        edits.sort_unstable_by_key(|edit| edit.place);
        edits.dedup_by_key(|edit| edit.place);
        let edit = |edit: Edit| Ok(MessageEdit { text: edit.text, replaced_at: at(edit.replaced_at_ms)? });
        Ok(MessageEdits { edits: edits.into_iter().map(edit).collect::<Result<_, Failure>>()? })
    }

    /// Replaces the text of an own message.
    pub async fn edit(&self, of: Of, text: String) -> Result<(), Failure> {
        check_text(&self.settings(), &text)?;
        let (community, allowed_at) = self.change(of, Permission::SendMessages).await?;
        let message = self.existing(community, of).await?;
        if message.author != of.account {
            return Err(Failure::new(ErrorCode::PermissionNeeded, "only its author edits a message"));
        }
        if message.text == text {
            return Ok(());
        }
        let edited = MessageEdited { message: of.message.to_vec(), text };
        self.publish(community, of, channel_event::Kind::Edited(edited), allowed_at).await
    }

    /// Deletes a message: an own one, or with the permission anybody's.
    pub async fn delete(&self, of: Of) -> Result<(), Failure> {
        self.count_change(of.account).await?;
        let allowed_at = Instant::now();
        let access = self.access(of.account, of.channel).await?;
        let community = access::require(&access, Permission::ViewChannel)?;
        let message = self.existing(community, of).await?;
        if message.author != of.account {
            access::require(&access, Permission::ManageMessages)?;
        }
        let deleted = MessagesDeleted { messages: vec![of.message.to_vec()] };
        self.publish(community, of, channel_event::Kind::Deleted(deleted), allowed_at).await
    }

    /// Adds the account's reaction, or takes it back.
    pub async fn react(&self, of: Of, reaction: &str, removed: bool) -> Result<(), Failure> {
        check_reaction(reaction)?;
        // what one has said one may take back
        let needed = if removed { Permission::ViewChannel } else { Permission::AddReactions };
        let (community, allowed_at) = self.change(of, needed).await?;
        let message = self.existing(community, of).await?;
        let is_known = message.reactions.iter().any(|(kind, _)| kind == reaction);
        if !removed && !is_known && message.reactions.len() >= self.settings().reactions_max {
            return Err(Failure::new(ErrorCode::ReactionLimit, ""));
        }
        if removed && !is_known {
            return Ok(());
        }
        let reaction = ReactionChanged { message: of.message.to_vec(), reaction: reaction.to_owned(), removed };
        self.publish(community, of, channel_event::Kind::Reaction(reaction), allowed_at).await
    }

    /// Pins a message, or takes the pin away.
    pub async fn pin(&self, of: Of, unpinned: bool) -> Result<(), Failure> {
        let (community, allowed_at) = self.change(of, Permission::PinMessages).await?;
        let message = self.existing(community, of).await?;
        if message.pinned_at_ms.is_some() != unpinned {
            return Ok(());
        }
        let pins_max = self.settings().pins_max;
        if !unpinned {
            let (pins, _) = self.history.page(community, of.channel, Window::Pinned(pins_max)).await?;
            if pins.messages.len() >= pins_max {
                return Err(Failure::new(ErrorCode::PinLimit, ""));
            }
        }
        let pin = PinChanged { message: of.message.to_vec(), unpinned };
        self.publish(community, of, channel_event::Kind::Pin(pin), allowed_at).await
    }

    /// Lists the pinned messages.
    pub async fn pins(&self, account: AccountId, channel: ChannelId) -> Result<PinnedMessages, Failure> {
        self.count_read(account).await?;
        let community = self.require(account, channel, Permission::ReadHistory).await?;
        let pins_max = self.settings().pins_max;
        let (mut page, projection) = self.history.page(community, channel, Window::Pinned(pins_max)).await?;
        page.messages.sort_unstable_by_key(|(id, message)| std::cmp::Reverse((message.pinned_at_ms, *id)));
        Ok(PinnedMessages { messages: self.shown(account, channel, page.messages, &projection).await? })
    }

    /// Says how far the account has read.
    pub async fn read(&self, account: AccountId, channel: ChannelId, up_to: MessageId) -> Result<ReadState, Failure> {
        self.count_change(account).await?;
        let community = self.require(account, channel, Permission::ViewChannel).await?;
        self.history.mark_read(account, community, channel, up_to).await
    }

    /// What is unread in a community.
    pub async fn unread(&self, account: AccountId, community: CommunityId) -> Result<Unread, Failure> {
        self.count_read(account).await?;
        let channels = (self.visible)(community, account).await?;
        self.history.unread(account, community, &channels).await
    }

    fn settings(&self) -> Arc<Settings> {
        self.posting.ctx.config.section::<Settings>()
    }

    async fn access(&self, account: AccountId, channel: ChannelId) -> Result<AccessIn, Failure> {
        access::ask(&self.posting.ctx, &self.posting.communities, channel, account).await
    }

    async fn require(
        &self,
        account: AccountId,
        channel: ChannelId,
        permission: Permission,
    ) -> Result<CommunityId, Failure> {
        access::require(&self.access(account, channel).await?, permission)
    }

    /// Counts a change, and whether it is allowed, with the moment in which that was asked.
    async fn change(&self, of: Of, permission: Permission) -> Result<(CommunityId, Instant), Failure> {
        self.count_change(of.account).await?;
        let allowed_at = Instant::now();
        Ok((self.require(of.account, of.channel, permission).await?, allowed_at))
    }

    async fn existing(&self, community: CommunityId, of: Of) -> Result<Message, Failure> {
        self.history.message(community, (of.channel, of.message)).await?.ok_or_else(unknown)
    }

    async fn publish(
        &self,
        community: CommunityId,
        of: Of,
        kind: channel_event::Kind,
        allowed_at: Instant,
    ) -> Result<(), Failure> {
        let event = ChannelEvent { epoch: self.posting.epoch_ms().await?, by: of.account.to_vec(), kind: Some(kind) };
        let submission = Submission {
            subject: subject::channel(community, of.channel),
            id: None,
            event: Bytes::from(event.encode_to_vec()),
            allowed_at,
        };
        self.posting.publisher.submit(submission).await?;
        Ok(())
    }

    async fn count_change(&self, account: AccountId) -> Result<(), Failure> {
        let max = self.settings().changes_per_account_per_minute;
        self.count("channel_changes", max, account).await
    }

    async fn count_read(&self, account: AccountId) -> Result<(), Failure> {
        let max = self.settings().reads_per_account_per_minute;
        self.count("channel_reads", max, account).await
    }

    async fn count(&self, kind: &'static str, max: u32, account: AccountId) -> Result<(), Failure> {
        let ctx = &self.posting.ctx;
        let limit = Limit { kind, max, window: Duration::from_secs(60) };
        limit.take(&ctx.redis, &ctx.clock, &account.to_string(), 1).await
    }

    /// Messages as an account sees them.
    async fn shown(
        &self,
        account: AccountId,
        channel: ChannelId,
        messages: Vec<(MessageId, Message)>,
        projection: &Projection,
    ) -> Result<Vec<ChannelMessage>, Failure> {
        let kinds =
            messages.iter().flat_map(|(id, message)| message.reactions.iter().map(move |(kind, _)| (*id, kind)));
        let own: BTreeSet<ReactionKey> = kinds.map(|(id, kind)| (channel, id, kind.clone(), account)).collect();
        let mut known = match own.is_empty() {
            true => BTreeSet::new(),
            false => self.history.store.reactions(&own).await?,
        };
        for (key, is_there) in projection.reactions.iter().filter(|(key, _)| key.3 == account) {
            if *is_there {
                known.insert(key.clone())
            } else {
                known.remove(key)
            };
        }
        let is_own = |id: MessageId, kind: &str| known.contains(&(channel, id, kind.to_owned(), account));
        messages.into_iter().map(|(id, message)| show(id, message, |kind| is_own(id, kind))).collect()
    }
}

/// Which part of the history, and how many messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryWindow {
    Newest(usize),
    Before(MessageId, usize),
    After(MessageId, usize),
    Around(MessageId, usize),
}

fn show(id: MessageId, message: Message, is_own: impl Fn(&str) -> bool) -> Result<ChannelMessage, Failure> {
    let mentions = MessageMentions {
        users: message.mentions.users.iter().filter_map(|id| AccountId::from_bytes(id).ok()).collect(),
        roles: mentioned_roles(&message.mentions).collect(),
        everyone: message.mentions.everyone,
    };
    let reaction = |(reaction, count): (String, u32)| Reaction { own: is_own(&reaction), reaction, count };
    Ok(ChannelMessage {
        message: id,
        author: message.author,
        client_msg_id: message.client_msg_id,
        text: message.text,
        posted_at: at(message.posted_at_ms)?,
        edited_at: message.edited_at_ms.map(at).transpose()?,
        reply_to: message.reply_to,
        mentions,
        reactions: message.reactions.into_iter().map(reaction).collect(),
        pinned: message.pinned_at_ms.is_some(),
    })
}

fn at(ms: i64) -> Result<OffsetDateTime, Failure> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).map_err(Failure::internal)
}

fn unknown() -> Failure {
    Failure::new(ErrorCode::MessageUnknown, "")
}

/// An emoji: no letter, no space, nothing that can't be seen alone, and short. Which emoji there are changes every year, so it is
/// not compared with a list.
fn check_reaction(reaction: &str) -> Result<(), Failure> {
    let is_short = reaction.len() <= REACTION_BYTES_MAX && reaction.chars().count() <= REACTION_CHARS_MAX;
    let is_keycap = reaction.contains('\u{20e3}') && reaction.starts_with(|c| matches!(c, '0'..='9' | '#' | '*'));
    let shows = is_keycap || reaction.chars().any(|c| u32::from(c) >= 0x203c && !is_joiner(c));
    let is_part = |c: char| is_joiner(c) || u32::from(c) >= 0x203c || matches!(c, '0'..='9' | '#' | '*' | '©' | '®');
    // letters in squares are emoji
    let is_letter = |c: char| c.is_alphabetic() && !('\u{1f100}'..='\u{1f1ff}').contains(&c);
    let has_text = reaction.chars().any(|c| is_letter(c) || c.is_whitespace() || c.is_control());
    if is_short && (shows || matches!(reaction, "©" | "®")) && reaction.chars().all(is_part) && !has_text {
        Ok(())
    } else {
        Err(Failure::new(ErrorCode::ReactionInvalid, "one emoji is needed"))
    }
}

/// Joins emoji, chooses how they are shown, or makes a flag of them (Unicode TR 51).
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{20e3}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_is_an_emoji_and_nothing_else() {
        for good in ["👍", "👍🏽", "❤️", "👩‍👩‍👧", "🇰🇷", "1️⃣", "⭐", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]
        {
            assert!(check_reaction(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a", "👍a", "上", " ", "\u{200d}", "\u{fe0f}", "<@1>", "1", "👍 👍", &"👍".repeat(13)]
        {
            assert!(check_reaction(bad).is_err(), "{bad:?}");
        }
    }
}
