//! The tables of messages.

use nepto_kit::db::{Id, Migration, Table, Text};
use nepto_proto::{AccountId, ChannelId, ClientMsgId, MessageId};

/// The second migration of the domain.
pub const SCHEMA: Migration = Migration {
    number: 2,
    statements: "
        -- message:[channel, message]
        DEFINE TABLE IF NOT EXISTS message SCHEMAFULL;
        -- as in the key: an index is read from either end, a range of keys only upward
        DEFINE FIELD IF NOT EXISTS channel ON message TYPE string;
        DEFINE FIELD IF NOT EXISTS place ON message TYPE string;
        DEFINE FIELD IF NOT EXISTS author ON message TYPE string;
        DEFINE FIELD IF NOT EXISTS client_msg_id ON message TYPE string;
        DEFINE FIELD IF NOT EXISTS text ON message TYPE string;
        DEFINE FIELD IF NOT EXISTS posted_at_ms ON message TYPE int;
        DEFINE FIELD IF NOT EXISTS edited_at_ms ON message TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS reply_to ON message TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS mentions ON message TYPE bytes;
        -- two lists of the same length: each kind, and how many there are
        DEFINE FIELD IF NOT EXISTS reactions ON message TYPE array<string>;
        DEFINE FIELD IF NOT EXISTS reaction_counts ON message TYPE array<int>;
        DEFINE FIELD IF NOT EXISTS pinned_at_ms ON message TYPE option<int>;
        DEFINE INDEX IF NOT EXISTS message_newest ON message FIELDS channel, place;
        -- posted:[author, client_msg_id]: which message counts; it outlives the message
        DEFINE TABLE IF NOT EXISTS posted SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS place ON posted TYPE string;
        -- edit:[channel, message, event]: what the message said before
        DEFINE TABLE IF NOT EXISTS edit SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS text ON edit TYPE string;
        DEFINE FIELD IF NOT EXISTS replaced_at_ms ON edit TYPE int;
        -- reaction:[channel, message, kind, account]
        DEFINE TABLE IF NOT EXISTS reaction SCHEMAFULL;
        -- pin:[channel, message]
        DEFINE TABLE IF NOT EXISTS pin SCHEMAFULL;
        -- head:[channel]: the newest message that is there
        DEFINE TABLE IF NOT EXISTS head SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS place ON head TYPE string;
        -- marker:[account, channel]: read up to this message
        DEFINE TABLE IF NOT EXISTS marker SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS place ON marker TYPE string;
        -- mention:[account, channel, message]
        DEFINE TABLE IF NOT EXISTS mention SCHEMAFULL;
        -- group_mention:[channel, message]: it mentions roles, or everybody
        DEFINE TABLE IF NOT EXISTS group_mention SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS author ON group_mention TYPE string;
        DEFINE FIELD IF NOT EXISTS roles ON group_mention TYPE array<string>;
        DEFINE FIELD IF NOT EXISTS everyone ON group_mention TYPE bool;
        -- history_cursor:['main']: the events up to here are in these tables
        DEFINE TABLE IF NOT EXISTS history_cursor SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS epoch_ms ON history_cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS seq ON history_cursor TYPE int;
    ",
    rows: &[],
    compatible_from: None,
};

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $table:literal, $key:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Table for $name {
            const NAME: &'static str = $table;
            type Key = $key;
        }
    )+};
}

type Channel = Text<ChannelId>;
type Account = Text<AccountId>;
type Place = Text<MessageId>;

tables! {
    Messages = "message", (Channel, Place);
    PostedNames = "posted", (Account, Text<ClientMsgId>);
    Edits = "edit", (Channel, Place, Place);
    Reactions = "reaction", (Channel, Place, String, Account);
    Pins = "pin", (Channel, Place);
    Heads = "head", (Channel,);
    Markers = "marker", (Account, Channel);
    Mentions = "mention", (Account, Channel, Place);
    GroupMentions = "group_mention", (Channel, Place);
    Cursors = "history_cursor", (String,);
}

/// The one row of its table.
pub fn cursor_id() -> Id<Cursors> {
    Id(("main".to_owned(),))
}
