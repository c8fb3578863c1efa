//! SurrealQL of what accounts have read, and of what mentions them.

use std::collections::HashMap;

use nepto_kit::db::{DbError, Id, RecordId, Text, vars};
use nepto_proto::{AccountId, ChannelId, MessageId, RoleId};

use super::rows::{GroupMentionRow, HeadRow, MarkerRow, MentionRow};
use super::schema::{Heads, Markers};
use super::store::Store;

/// Mentions that are counted: more are so many.
pub const MENTIONS_MAX: usize = 100;
/// Mentions of roles and of everybody that are looked at for it.
const GROUP_MENTIONS_MAX: usize = 500;
/// Mentions that go when they are read, at once; others go with the next marker.
const READ_MAX: i64 = 1_000;

/// A message that mentions roles, or everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMention {
    pub message: MessageId,
    pub author: AccountId,
    pub roles: Vec<RoleId>,
    pub everyone: bool,
}

impl GroupMention {
    /// Whether it mentions somebody with these roles.
    pub fn is_of(&self, account: AccountId, roles: &[RoleId]) -> bool {
        self.author != account && (self.everyone || self.roles.iter().any(|role| roles.contains(role)))
    }
}

fn marker_id(account: AccountId, channel: ChannelId) -> RecordId {
    Id::<Markers>((Text(account), Text(channel))).record()
}

/// As a bound of keys; everything comes after an empty text.
fn place(after: Option<MessageId>) -> String {
    after.map(|id| id.to_string()).unwrap_or_default()
}

impl Store {
    /// The newest message of each channel that has one.
    pub async fn heads(&self, channels: &[ChannelId]) -> Result<HashMap<ChannelId, MessageId>, DbError> {
        let ids: Vec<RecordId> = channels.iter().map(|channel| Id::<Heads>((Text(*channel),)).record()).collect();
        let rows: Vec<HeadRow> = self.db.rows("SELECT * FROM $ids", vars! { ids: ids }).await?;
        let head = |HeadRow { id: Id((Text(channel),)), place: Text(place) }| (channel, place);
        Ok(rows.into_iter().map(head).collect())
    }

    /// How far an account has read each channel of which it has read anything.
    pub async fn markers(
        &self,
        account: AccountId,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, MessageId>, DbError> {
        let ids: Vec<RecordId> = channels.iter().map(|channel| marker_id(account, *channel)).collect();
        let rows: Vec<MarkerRow> = self.db.rows("SELECT * FROM $ids", vars! { ids: ids }).await?;
        let marker = |MarkerRow { id: Id((_, Text(channel))), place: Text(place) }| (channel, place);
        Ok(rows.into_iter().map(marker).collect())
    }

    /// Messages behind a place that mention an account by name, some of very many.
    pub async fn mentions(
        &self,
        account: AccountId,
        channel: ChannelId,
        after: Option<MessageId>,
    ) -> Result<Vec<MessageId>, DbError> {
        let rows: Vec<MentionRow> = self
            .db
            .rows(
                "SELECT id FROM type::record('mention', [$account, $channel, $after]>..[$account, $channel, []])
                    LIMIT $limit",
                vars! {
                    account: account.to_string(),
                    channel: channel.to_string(),
                    after: place(after),
                    limit: MENTIONS_MAX as i64,
                },
            )
            .await?;
        Ok(rows.into_iter().map(|MentionRow { id: Id((_, _, Text(message))) }| message).collect())
    }

    /// Messages behind a place that mention roles, or everybody, some of very many.
    pub async fn group_mentions(
        &self,
        channel: ChannelId,
        after: Option<MessageId>,
    ) -> Result<Vec<GroupMention>, DbError> {
        let rows: Vec<GroupMentionRow> = self
            .db
            .rows(
                "SELECT * FROM type::record('group_mention', [$channel, $after]>..[$channel, []]) LIMIT $limit",
                vars! { channel: channel.to_string(), after: place(after), limit: GROUP_MENTIONS_MAX as i64 },
            )
            .await?;
        let mention = |GroupMentionRow { id: Id((_, Text(message))), author: Text(author), roles, everyone }| {
            GroupMention { message, author, roles: roles.into_iter().map(|Text(role)| role).collect(), everyone }
        };
        Ok(rows.into_iter().map(mention).collect())
    }

    /// Moves an account's marker forward, never back, and answers where it is. The mentions before it go.
    pub async fn mark(&self, account: AccountId, channel: ChannelId, up_to: MessageId) -> Result<MessageId, DbError> {
        let Text(marker) = self
            .db
            .run(
                "{
                LET $known = (SELECT VALUE place FROM ONLY $marker);
                IF $known != NONE AND $known >= $up_to { RETURN $known };
                UPSERT $marker SET place = $up_to RETURN NONE;
                LET $read = (SELECT VALUE id
                    FROM type::record('mention', [$account, $channel]..[$account, $channel, $behind]) LIMIT $limit);
                DELETE $read RETURN NONE;
                RETURN $up_to;
                }",
                vars! {
                    marker: marker_id(account, channel),
                    account: account.to_string(),
                    channel: channel.to_string(),
                    up_to: up_to.to_string(),
                    // the message itself has been read as well, and nothing stands between it and this
                    behind: format!("{up_to} "),
                    limit: READ_MAX,
                },
            )
            .await?;
        Ok(marker)
    }
}
