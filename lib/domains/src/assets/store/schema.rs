//! The tables of the domain, and how each version of them came from the one before.

use nepto_kit::db::{Migration, Portions};

pub const SCHEMA: &[Migration] = &[FIRST, METADATA, ORIGINS, TOMBSTONES, GROWTH, NEWEST];

/// Tables whose keys begin with the chain, but for what is known from elsewhere: what accounts want to hear about, and
/// what is said about tokens.
pub const BY_CHAIN: [&str; 7] = ["delta", "held", "turn", "shape", "unread", "sent", "sent_part"];
/// Tables whose keys begin with the pipeline and the chain.
pub const BY_PIPELINE: [&str; 4] = ["cursor", "reverted", "applied", "retried"];

const FIRST: Migration = Migration {
    number: 1,
    statements: "
        -- cursor:[pipeline, chain]: the guard of everything that a pipeline commits
        DEFINE TABLE IF NOT EXISTS cursor SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS pipeline ON cursor TYPE string;
        DEFINE FIELD IF NOT EXISTS chain ON cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS step ON cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS seq ON cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS height ON cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS hash ON cursor TYPE string;
        DEFINE FIELD IF NOT EXISTS final_height ON cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS folded ON cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS events ON cursor TYPE int;
        DEFINE FIELD IF NOT EXISTS dead_letters ON cursor TYPE int;
        -- reverted:[pipeline, chain, step]: blocks above a height were given up
        DEFINE TABLE IF NOT EXISTS reverted SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS height ON reverted TYPE int;
        -- applied:[pipeline, chain, seq]: the rows that a change added, until they are final and folded
        DEFINE TABLE IF NOT EXISTS applied SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS body ON applied TYPE bytes;
        -- delta:[chain, pipeline, holder, late, seq, first block, last block]: what changed for a holder
        DEFINE TABLE IF NOT EXISTS delta SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS body ON delta TYPE bytes;
        -- asset:[chain, holder, contract, class]
        DEFINE TABLE IF NOT EXISTS asset SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS scope ON asset TYPE string;
        DEFINE FIELD IF NOT EXISTS amount ON asset TYPE bytes;
        DEFINE FIELD IF NOT EXISTS folded ON asset TYPE int;
        DEFINE INDEX IF NOT EXISTS asset_scope ON asset FIELDS scope;
        -- owned:[chain, contract, token, block, log]: who got a token
        DEFINE TABLE IF NOT EXISTS owned SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS owner ON owned TYPE string;
        -- minted_range:[chain, contract, first token]: ranges of ERC-2309
        DEFINE TABLE IF NOT EXISTS minted_range SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS last ON minted_range TYPE string;
        DEFINE FIELD IF NOT EXISTS owner ON minted_range TYPE string;
        DEFINE FIELD IF NOT EXISTS block ON minted_range TYPE int;
        DEFINE INDEX IF NOT EXISTS minted_range_owner ON minted_range FIELDS owner;
        -- sent:[chain, contract, batch]: a message with payments
        DEFINE TABLE IF NOT EXISTS sent SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS sender ON sent TYPE string;
        DEFINE FIELD IF NOT EXISTS token ON sent TYPE string;
        DEFINE FIELD IF NOT EXISTS content_hash ON sent TYPE string;
        DEFINE FIELD IF NOT EXISTS message ON sent TYPE string;
        DEFINE FIELD IF NOT EXISTS block ON sent TYPE int;
        DEFINE FIELD IF NOT EXISTS time_s ON sent TYPE int;
        DEFINE FIELD IF NOT EXISTS tx ON sent TYPE string;
        -- sent_part:[chain, recipient, block, log]: what became of one recipient's part
        DEFINE TABLE IF NOT EXISTS sent_part SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS message ON sent_part TYPE string;
        DEFINE FIELD IF NOT EXISTS amount ON sent_part TYPE bytes;
        DEFINE FIELD IF NOT EXISTS outcome ON sent_part TYPE string;
        DEFINE INDEX IF NOT EXISTS sent_part_message ON sent_part FIELDS message;
        -- retried:[pipeline, chain, block, log]: what was put aside once and taken later
        DEFINE TABLE IF NOT EXISTS retried SCHEMAFULL;
        -- transaction:[account, chain, hash]: what an account wants to hear about
        DEFINE TABLE IF NOT EXISTS transaction SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS account ON transaction TYPE string;
        DEFINE FIELD IF NOT EXISTS chain ON transaction TYPE int;
        DEFINE FIELD IF NOT EXISTS hash ON transaction TYPE string;
        DEFINE FIELD IF NOT EXISTS state ON transaction TYPE string;
        DEFINE FIELD IF NOT EXISTS block ON transaction TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS succeeded ON transaction TYPE option<bool>;
        DEFINE FIELD IF NOT EXISTS sender ON transaction TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS nonce ON transaction TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS is_settled ON transaction TYPE bool;
        DEFINE FIELD IF NOT EXISTS since_ms ON transaction TYPE int;
        DEFINE FIELD IF NOT EXISTS created_at_ms ON transaction TYPE int;
        DEFINE FIELD IF NOT EXISTS next_look_ms ON transaction TYPE int;
        DEFINE INDEX IF NOT EXISTS transaction_unsettled ON transaction FIELDS is_settled, chain, next_look_ms;
        -- linked:[address]: wallets of accounts
        DEFINE TABLE IF NOT EXISTS linked SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS account ON linked TYPE string;
        -- linked_revision:all: changes when the table above does
        DEFINE TABLE IF NOT EXISTS linked_revision SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS revision ON linked_revision TYPE int;
    ",
    rows: &[],
    compatible_from: None,
};

const METADATA: Migration = Migration {
    number: 2,
    statements: "
        -- nft:[chain, contract, token]: what is said about a token, and how it went to find out
        DEFINE TABLE IF NOT EXISTS nft SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS uri ON nft TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS name ON nft TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS description ON nft TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS image ON nft TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS attributes ON nft TYPE array<object>;
        DEFINE FIELD IF NOT EXISTS attributes.*.name ON nft TYPE string;
        DEFINE FIELD IF NOT EXISTS attributes.*.value ON nft TYPE string;
        DEFINE FIELD IF NOT EXISTS fetched_at_ms ON nft TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS reason ON nft TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS problem ON nft TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS failures ON nft TYPE int;
        DEFINE FIELD IF NOT EXISTS tried_at_ms ON nft TYPE int;
        DEFINE FIELD IF NOT EXISTS next_try_at_ms ON nft TYPE int;
        DEFINE INDEX IF NOT EXISTS nft_next_try ON nft FIELDS next_try_at_ms;
    ",
    rows: &[],
    compatible_from: None,
};

/// Amounts have an origin, and tokens a line of turns: what was kept before is not understood any more. Each pipeline deletes its own
/// and takes all updates again ([`super::FORM`]); what none of them owns alone goes here.
const ORIGINS: Migration = Migration {
    number: 3,
    statements: "
        REMOVE TABLE IF EXISTS asset;
        REMOVE TABLE IF EXISTS owned;
        REMOVE TABLE IF EXISTS minted_range;
        DEFINE FIELD IF NOT EXISTS form ON cursor TYPE option<int>;
        -- held:[chain, holder, contract, origin, class]: the sum of a holding's deltas
        DEFINE TABLE IF NOT EXISTS held SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS scope ON held TYPE string;
        DEFINE FIELD IF NOT EXISTS amount ON held TYPE bytes;
        DEFINE FIELD IF NOT EXISTS folded ON held TYPE int;
        DEFINE INDEX IF NOT EXISTS held_scope ON held FIELDS scope;
        -- turn:[chain, origin, contract, token, block, log]: who got a token that can be only one
        DEFINE TABLE IF NOT EXISTS turn SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS owner ON turn TYPE string;
        DEFINE FIELD IF NOT EXISTS time_s ON turn TYPE int;
        DEFINE FIELD IF NOT EXISTS tx ON turn TYPE string;
        -- shape:[chain, pipeline, contract, topics]: which events a contract logs, with the first of them
        DEFINE TABLE IF NOT EXISTS shape SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS block ON shape TYPE int;
        DEFINE FIELD IF NOT EXISTS log ON shape TYPE int;
        DEFINE FIELD IF NOT EXISTS sample ON shape TYPE bytes;
        -- unread:[chain, contract, block, log, pipeline]: what is not in the sums; at block 0, all of a shape
        DEFINE TABLE IF NOT EXISTS unread SCHEMAFULL;
    ",
    rows: &[],
    compatible_from: None,
};

/// A wallet that left its account is remembered, with the number of the event that said so.
const TOMBSTONES: Migration = Migration {
    number: 4,
    statements: "
        DEFINE FIELD OVERWRITE account ON linked TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS version ON linked TYPE option<int>;
    ",
    rows: &[],
    compatible_from: None,
};

/// What is read costs what is read of it, however much there is beside.
const GROWTH: Migration = Migration {
    number: 5,
    statements: "
        -- linked_change:[revision]: what became of a wallet then; the newest of them
        DEFINE TABLE IF NOT EXISTS linked_change SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS wallet ON linked_change TYPE string;
        DEFINE FIELD IF NOT EXISTS account ON linked_change TYPE option<string>;
        -- a page of holders begins at a holder; who has nothing any more is in no scope
        DEFINE FIELD OVERWRITE scope ON held TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS holder ON held TYPE string;
        DEFINE INDEX IF NOT EXISTS held_holder ON held FIELDS scope, holder;
        REMOVE INDEX IF EXISTS held_scope ON held;
    ",
    rows: &[Portions {
        table: "held",
        change: "
            LET $none = encoding::base64::decode('AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=');
            UPDATE $rows SET holder = record::id(id)[1], scope = IF amount = $none THEN NONE ELSE scope END RETURN NONE
        ",
    }],
    compatible_from: None,
};

/// Messages of a contract are listed from the newest on. Keys are read upward only, so there is an index.
const NEWEST: Migration = Migration {
    number: 6,
    statements: "
        DEFINE FIELD IF NOT EXISTS scope ON sent TYPE string VALUE string::join(':', <string>record::id(id)[0], record::id(id)[1]);
        DEFINE FIELD IF NOT EXISTS batch ON sent TYPE string VALUE record::id(id)[2];
        DEFINE INDEX IF NOT EXISTS sent_newest ON sent FIELDS scope, batch;
    ",
    rows: &[Portions { table: "sent", change: "UPDATE $rows RETURN NONE" }],
    compatible_from: None,
};
