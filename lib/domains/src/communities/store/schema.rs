//! The tables of the domain. What belongs to a community has its id as the first part of its key, so that it is read, and removed,
//! as one range.

use nepto_kit::db::Migration;

/// Communities, their members, roles, channels, invites, bans and audit log.
pub const COMMUNITIES: Migration = Migration {
    number: 1,
    statements: "
        -- community:[community]
        DEFINE TABLE IF NOT EXISTS community SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS name ON community TYPE string;
        DEFINE FIELD IF NOT EXISTS description ON community TYPE string;
        DEFINE FIELD IF NOT EXISTS visibility ON community TYPE string;
        DEFINE FIELD IF NOT EXISTS owner ON community TYPE string;
        DEFINE FIELD IF NOT EXISTS created_at_ms ON community TYPE int;
        -- none while it is in use
        DEFINE FIELD IF NOT EXISTS deleted_at_ms ON community TYPE option<int>;
        DEFINE INDEX IF NOT EXISTS community_deleted ON community FIELDS deleted_at_ms;
        -- guard:[community]: grows with every change of who may do what; whoever decides by that writes it
        DEFINE TABLE IF NOT EXISTS guard SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS revision ON guard TYPE int;
        DEFINE FIELD IF NOT EXISTS bans ON guard TYPE int;
        -- census:[community]: how many members it has
        DEFINE TABLE IF NOT EXISTS census SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS members ON census TYPE int;
        -- seat:[community, account]: guards whether an account is a member, and as what; grows with every change of it
        DEFINE TABLE IF NOT EXISTS seat SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS turns ON seat TYPE int;
        -- member:[community, account]
        DEFINE TABLE IF NOT EXISTS member SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS joined_at_ms ON member TYPE int;
        DEFINE FIELD IF NOT EXISTS granted ON member TYPE array<string>;
        -- membership:[account, community]: the same from the other side
        DEFINE TABLE IF NOT EXISTS membership SCHEMAFULL;
        -- person:[account]: how many communities an account owns and belongs to
        DEFINE TABLE IF NOT EXISTS person SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS owned ON person TYPE int;
        DEFINE FIELD IF NOT EXISTS joined ON person TYPE int;
        -- time_out:[community, account]: stays when the account leaves
        DEFINE TABLE IF NOT EXISTS time_out SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS until_ms ON time_out TYPE int;
        DEFINE INDEX IF NOT EXISTS time_out_end ON time_out FIELDS until_ms;
        -- ban:[community, account]
        DEFINE TABLE IF NOT EXISTS ban SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS decided_by ON ban TYPE string;
        DEFINE FIELD IF NOT EXISTS reason ON ban TYPE string;
        DEFINE FIELD IF NOT EXISTS since_ms ON ban TYPE int;
        -- none: for good
        DEFINE FIELD IF NOT EXISTS until_ms ON ban TYPE option<int>;
        DEFINE INDEX IF NOT EXISTS ban_end ON ban FIELDS until_ms;
        -- role:[community, role]
        DEFINE TABLE IF NOT EXISTS role SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS name ON role TYPE string;
        DEFINE FIELD IF NOT EXISTS color ON role TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS rank ON role TYPE int;
        DEFINE FIELD IF NOT EXISTS bits ON role TYPE int;
        DEFINE FIELD IF NOT EXISTS hoisted ON role TYPE bool;
        DEFINE FIELD IF NOT EXISTS mentionable ON role TYPE bool;
        -- channel:[community, channel]
        DEFINE TABLE IF NOT EXISTS channel SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS what ON channel TYPE string;
        DEFINE FIELD IF NOT EXISTS name ON channel TYPE string;
        DEFINE FIELD IF NOT EXISTS topic ON channel TYPE string;
        DEFINE FIELD IF NOT EXISTS category ON channel TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS position ON channel TYPE int;
        DEFINE FIELD IF NOT EXISTS slow_mode_s ON channel TYPE int;
        DEFINE FIELD IF NOT EXISTS overrides ON channel TYPE array<object>;
        DEFINE FIELD IF NOT EXISTS overrides.*.about ON channel TYPE string;
        DEFINE FIELD IF NOT EXISTS overrides.*.whose ON channel TYPE string;
        DEFINE FIELD IF NOT EXISTS overrides.*.allowed ON channel TYPE int;
        DEFINE FIELD IF NOT EXISTS overrides.*.denied ON channel TYPE int;
        -- channel_of:[channel]: the community of a channel
        DEFINE TABLE IF NOT EXISTS channel_of SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS community ON channel_of TYPE string;
        -- invite:[code]
        DEFINE TABLE IF NOT EXISTS invite SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS community ON invite TYPE string;
        DEFINE FIELD IF NOT EXISTS made_by ON invite TYPE string;
        DEFINE FIELD IF NOT EXISTS uses_left ON invite TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS used ON invite TYPE int;
        DEFINE FIELD IF NOT EXISTS grants ON invite TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS created_at_ms ON invite TYPE int;
        DEFINE FIELD IF NOT EXISTS expires_at_ms ON invite TYPE int;
        DEFINE INDEX IF NOT EXISTS invite_end ON invite FIELDS expires_at_ms;
        -- invite_of:[community, code]: the same from the other side
        DEFINE TABLE IF NOT EXISTS invite_of SCHEMAFULL;
        -- listing:[name in small letters, community]: what everybody finds
        DEFINE TABLE IF NOT EXISTS listing SCHEMAFULL;
        -- audit:[community, milliseconds since 1970 with a minus, entry]: the newest first
        DEFINE TABLE IF NOT EXISTS audit SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS done_by ON audit TYPE string;
        DEFINE FIELD IF NOT EXISTS what ON audit TYPE string;
        DEFINE FIELD IF NOT EXISTS target ON audit TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS was ON audit TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS became ON audit TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS reason ON audit TYPE string;
        DEFINE FIELD IF NOT EXISTS done_at_ms ON audit TYPE int;
        DEFINE INDEX IF NOT EXISTS audit_age ON audit FIELDS done_at_ms;
    ",
    rows: &[],
    compatible_from: None,
};
