//! SurrealQL of messages: what is read of them, with the cursor that says how new it is, and committing what events change.

use std::collections::{BTreeMap, BTreeSet};

use nepto_kit::db::{Db, DbError, Id, RecordId, Rows, Text, vars};
use nepto_proto::wire::ChannelMentions;
use nepto_proto::{AccountId, ChannelId, MessageId};
use surrealdb::types::SurrealValue;

use super::projection::{Base, Edit, Key, Needs, Projection, ReactionKey};
use super::rows::{
    Cursor, CursorRow, EditRow, GroupMentionRow, HeadRow, MentionRow, MessageRow, PinRow, PostedRow, ReactionRow,
    mentioned, mentioned_roles, message_id,
};
use super::schema::{GroupMentions, Heads, Mentions, Pins, PostedNames, Reactions, cursor_id};

/// Reactions, and edits, of one message that go with it at once.
const GONE_MAX: usize = 20_000;
/// Edits of a message that are shown.
const EDITS_MAX: usize = 100;
/// Somebody else commits events: the cursor is not the one that these build on.
const IS_MOVED: &str = "($cursor_id.seq ?? 0) != $seq OR ($cursor_id.epoch_ms ?? 0) != $epoch_ms";

/// Which messages of a channel are read. Each kind says how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The newest.
    Newest(usize),
    /// The newest of those before this one.
    Before(MessageId, usize),
    /// The oldest of those after this one.
    After(MessageId, usize),
    /// The oldest of this one and those after it.
    From(MessageId, usize),
    /// The pinned ones.
    Pinned(usize),
}

impl Window {
    /// How many messages.
    pub const fn limit(self) -> usize {
        match self {
            Self::Newest(limit)
            | Self::Before(_, limit)
            | Self::After(_, limit)
            | Self::From(_, limit)
            | Self::Pinned(limit) => limit,
        }
    }

    /// The same with another number.
    pub const fn with_limit(self, limit: usize) -> Self {
        match self {
            Self::Newest(_) => Self::Newest(limit),
            Self::Before(id, _) => Self::Before(id, limit),
            Self::After(id, _) => Self::After(id, limit),
            Self::From(id, _) => Self::From(id, limit),
            Self::Pinned(_) => Self::Pinned(limit),
        }
    }

    const fn rows(self) -> &'static str {
        match self {
            Self::Newest(_) => "SELECT * FROM message WHERE channel = $channel ORDER BY place DESC LIMIT $limit",
            Self::Before(..) => {
                "SELECT * FROM message WHERE channel = $channel AND place < $place ORDER BY place DESC LIMIT $limit"
            }
            Self::After(..) => {
                "SELECT * FROM type::record('message', [$channel, $place]>..[$channel, []]) LIMIT $limit"
            }
            Self::From(..) => "SELECT * FROM type::record('message', [$channel, $place]..[$channel, []]) LIMIT $limit",
            Self::Pinned(_) => "SELECT * FROM $pinned",
        }
    }

    /// What finds the ids of the rows, where they are not a range or an index.
    const fn ids(self) -> &'static str {
        match self {
            Self::Pinned(_) => {
                "LET $pinned = (SELECT VALUE type::record('message', record::id(id))
                    FROM type::record('pin', [$channel]..[$channel, []]) LIMIT $limit);"
            }
            _ => "",
        }
    }

    fn place(self) -> Option<MessageId> {
        match self {
            Self::Before(id, _) | Self::After(id, _) | Self::From(id, _) => Some(id),
            Self::Newest(_) | Self::Pinned(_) => None,
        }
    }
}

#[derive(Debug, Clone, SurrealValue)]
struct ViewRows {
    cursor: Option<CursorRow>,
    window: Rows<MessageRow>,
    posted: Rows<PostedRow>,
    messages: Rows<MessageRow>,
    reactions: Rows<ReactionRow>,
}

/// What the tables have, all of one moment.
#[derive(Debug, Default)]
pub struct View {
    pub cursor: Cursor,
    /// What the window shows, in its order.
    pub window: Vec<MessageId>,
    /// Those of the window, and all that was needed.
    pub base: Base,
}

/// The tables of messages.
#[derive(Clone)]
pub struct Store {
    pub(super) db: Db,
}

impl Store {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// How far the tables are.
    pub async fn cursor(&self) -> Result<Cursor, DbError> {
        let row: Option<CursorRow> =
            self.db.run("SELECT * FROM ONLY $cursor_id", vars! { cursor_id: cursor_id().record() }).await?;
        Ok(row.map(Cursor::from).unwrap_or_default())
    }

    /// What is needed, and a window of a channel.
    pub async fn view(&self, window: Option<(ChannelId, Window)>, needs: &Needs) -> Result<View, DbError> {
        let (ids, rows) = window.map_or(("", "[]"), |(_, window)| (window.ids(), window.rows()));
        let statement = format!(
            "{{
            LET $cursor = (SELECT * FROM ONLY $cursor_id);
            {ids}
            LET $window = ({rows});
            LET $known_names = (SELECT * FROM $posted);
            LET $known_messages = (SELECT * FROM $messages);
            LET $known_reactions = (SELECT id FROM $reactions);
            RETURN {{
                cursor: $cursor, window: $window, posted: $known_names, messages: $known_messages,
                reactions: $known_reactions
            }};
            }}"
        );
        let channel = window.map_or_else(String::new, |(channel, _)| channel.to_string());
        let place = window.and_then(|(_, window)| window.place()).map_or_else(String::new, |id| id.to_string());
        let posted = needs.posted.iter();
        let posted = posted.map(|(account, id)| Id::<PostedNames>((Text(*account), Text(*id))).record());
        let messages = needs.messages.iter().map(|key| message_id(*key).record());
        let reactions = needs.reactions.iter().map(|key| reaction_id(key).record());
        let variables = vars! {
            cursor_id: cursor_id().record(),
            channel: channel,
            place: place,
            limit: window.map_or(0, |(_, window)| window.limit()) as i64,
            posted: posted.collect::<Vec<RecordId>>(),
            messages: messages.collect::<Vec<RecordId>>(),
            reactions: reactions.collect::<Vec<RecordId>>(),
        };
        let rows: ViewRows = self.db.run(&statement, variables).await?;
        let mut view = View { cursor: rows.cursor.map(Cursor::from).unwrap_or_default(), ..View::default() };
        for row in rows.window.0 {
            let (key, message) = row.read();
            view.window.push(key.1);
            view.base.messages.insert(key, message);
        }
        view.base.messages.extend(rows.messages.0.into_iter().map(MessageRow::read));
        let posted = rows.posted.0.into_iter();
        view.base.posted = posted
            .map(|PostedRow { id: Id((Text(account), Text(id))), place: Text(place) }| ((account, id), place))
            .collect();
        let reactions = rows.reactions.0.into_iter();
        view.base.reactions = reactions
            .map(|ReactionRow { id: Id((Text(channel), Text(message), kind, Text(account))) }| {
                (channel, message, kind, account)
            })
            .collect();
        Ok(view)
    }

    /// Which of these reactions there are.
    pub async fn reactions(&self, keys: &BTreeSet<ReactionKey>) -> Result<BTreeSet<ReactionKey>, DbError> {
        let needs = Needs { reactions: keys.clone(), ..Needs::default() };
        Ok(self.view(None, &needs).await?.base.reactions.into_iter().collect())
    }

    /// What a message said before: the first of very many.
    pub async fn edits(&self, (channel, message): Key) -> Result<Vec<Edit>, DbError> {
        let rows: Vec<EditRow> = self
            .db
            .rows(
                "SELECT * FROM type::record('edit', [$channel, $message]..[$channel, $message, []]) LIMIT $limit",
                vars! { channel: channel.to_string(), message: message.to_string(), limit: EDITS_MAX as i64 },
            )
            .await?;
        let edit = |EditRow { id: Id((_, _, Text(place))), text, replaced_at_ms }| Edit {
            of: (channel, message),
            place,
            text,
            replaced_at_ms,
        };
        Ok(rows.into_iter().map(edit).collect())
    }

    /// Commits what events changed, with the cursor behind them. [`DbError::Stale`] if somebody else did.
    pub async fn commit(&self, before: Cursor, after: Cursor, projection: &Projection) -> Result<(), DbError> {
        let changes = Changes::of(projection);
        let statements = format!(
            "INSERT INTO message $created RETURN NONE;
            FOR $row IN $changed {{ UPSERT $row.id CONTENT $row RETURN NONE; }};
            DELETE $deleted RETURN NONE;
            INSERT IGNORE INTO posted $posted RETURN NONE;
            INSERT IGNORE INTO mention $mentions RETURN NONE;
            INSERT IGNORE INTO group_mention $group_mentions RETURN NONE;
            DELETE $mentions_gone RETURN NONE;
            INSERT IGNORE INTO edit $edits RETURN NONE;
            INSERT IGNORE INTO reaction $reactions RETURN NONE;
            DELETE $reactions_gone RETURN NONE;
            INSERT IGNORE INTO pin $pins RETURN NONE;
            DELETE $pins_gone RETURN NONE;
            FOR $key IN $emptied {{
                LET $of = $key[0];
                LET $gone = $key[1];
                LET $gone_reactions = (SELECT VALUE id
                    FROM type::record('reaction', [$of, $gone]..[$of, $gone, []]) LIMIT {GONE_MAX});
                DELETE $gone_reactions RETURN NONE;
                LET $gone_edits = (SELECT VALUE id
                    FROM type::record('edit', [$of, $gone]..[$of, $gone, []]) LIMIT {GONE_MAX});
                DELETE $gone_edits RETURN NONE;
            }};
            FOR $row IN $heads {{ UPSERT $row.id CONTENT $row RETURN NONE; }};
            FOR $channel IN $recounted {{
                LET $newest = (SELECT VALUE place FROM message WHERE channel = $channel
                    ORDER BY place DESC LIMIT 1);
                LET $head = type::record('head', [$channel]);
                IF array::len($newest) = 0 {{ DELETE $head RETURN NONE }}
                ELSE {{ UPSERT $head SET place = $newest[0] RETURN NONE }};
            }};
            UPSERT $cursor_id CONTENT $cursor RETURN NONE"
        );
        let variables = vars! {
            cursor_id: cursor_id().record(),
            seq: before.seq.cast_signed(),
            epoch_ms: before.epoch_ms.cast_signed(),
            cursor: CursorRow::from(after),
            created: changes.created,
            changed: changes.changed,
            deleted: changes.deleted,
            posted: changes.posted,
            mentions: changes.mentions,
            group_mentions: changes.group_mentions,
            mentions_gone: changes.mentions_gone,
            edits: changes.edits,
            reactions: changes.reactions,
            reactions_gone: changes.reactions_gone,
            pins: changes.pins,
            pins_gone: changes.pins_gone,
            emptied: changes.emptied,
            heads: changes.heads,
            recounted: changes.recounted,
        };
        self.db.transaction(variables).stale_if(IS_MOVED).then(&statements).execute().await
    }
}

fn reaction_id((channel, message, kind, account): &ReactionKey) -> Id<Reactions> {
    Id((Text(*channel), Text(*message), kind.clone(), Text(*account)))
}

fn mention_id(account: AccountId, (channel, message): Key) -> Id<Mentions> {
    Id((Text(account), Text(channel), Text(message)))
}

fn group_mention_id((channel, message): Key) -> Id<GroupMentions> {
    Id((Text(channel), Text(message)))
}

/// The rows of a commit.
#[derive(Default)]
struct Changes {
    created: Vec<MessageRow>,
    changed: Vec<MessageRow>,
    deleted: Vec<RecordId>,
    posted: Vec<PostedRow>,
    mentions: Vec<MentionRow>,
    group_mentions: Vec<GroupMentionRow>,
    mentions_gone: Vec<RecordId>,
    edits: Vec<EditRow>,
    reactions: Vec<ReactionRow>,
    reactions_gone: Vec<RecordId>,
    pins: Vec<PinRow>,
    pins_gone: Vec<RecordId>,
    /// Messages whose reactions and edits go.
    emptied: Vec<Vec<String>>,
    heads: Vec<HeadRow>,
    /// Channels whose newest message may be gone.
    recounted: Vec<String>,
}

impl Changes {
    fn of(projection: &Projection) -> Self {
        let mut changes = Self::default();
        let row = |key: &Key| projection.now.messages.get(key).map(|message| MessageRow::new(*key, message));
        changes.created = projection.created.iter().filter_map(row).collect();
        changes.changed = projection.changed.iter().filter_map(row).collect();
        let recounted: BTreeSet<ChannelId> = projection.deleted.keys().map(|(channel, _)| *channel).collect();
        let mut heads: BTreeMap<ChannelId, MessageId> = BTreeMap::new();
        for key in &projection.created {
            heads.insert(key.0, key.1);
            if let Some(message) = projection.now.messages.get(key) {
                changes.mention(*key, message.author, &message.mentions);
            }
        }
        heads.retain(|channel, _| !recounted.contains(channel));
        let head = |(channel, place)| HeadRow { id: Id::<Heads>((Text(channel),)), place: Text(place) };
        changes.heads = heads.into_iter().map(head).collect();
        changes.recounted = recounted.iter().map(ToString::to_string).collect();
        for (key, mentions) in &projection.deleted {
            changes.deleted.push(message_id(*key).record());
            changes.emptied.push(vec![key.0.to_string(), key.1.to_string()]);
            let users = mentions.users.iter().filter_map(|id| AccountId::from_bytes(id).ok());
            changes.mentions_gone.extend(users.map(|account| mention_id(account, *key).record()));
            changes.mentions_gone.push(group_mention_id(*key).record());
        }
        for ((account, id), (_, place)) in &projection.posted {
            changes.posted.push(PostedRow { id: Id((Text(*account), Text(*id))), place: Text(*place) });
        }
        changes.edits = projection.edits.iter().map(EditRow::from).collect();
        for (key, is_there) in &projection.reactions {
            match is_there {
                true => changes.reactions.push(ReactionRow { id: reaction_id(key) }),
                false => changes.reactions_gone.push(reaction_id(key).record()),
            }
        }
        for ((channel, message), is_there) in &projection.pins {
            let id = Id::<Pins>((Text(*channel), Text(*message)));
            match is_there {
                true => changes.pins.push(PinRow { id }),
                false => changes.pins_gone.push(id.record()),
            }
        }
        changes
    }

    fn mention(&mut self, key: Key, author: AccountId, mentions: &ChannelMentions) {
        self.mentions.extend(mentioned(author, mentions).map(|account| MentionRow { id: mention_id(account, key) }));
        if mentions.everyone || !mentions.roles.is_empty() {
            self.group_mentions.push(GroupMentionRow {
                id: group_mention_id(key),
                author: Text(author),
                roles: mentioned_roles(mentions).map(Text).collect(),
                everyone: mentions.everyone,
            });
        }
    }
}
