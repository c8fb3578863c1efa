//! Wallets of accounts, as the domain `auth` told, and what changed about them last.
//!
//! Each change has a revision, one above the one before, and a row of `linked_change` under it. Whoever knows all wallets as
//! of a revision reads what changed since: that costs what the changes cost, however many wallets there are.

use alloy_primitives::Address;
use nepto_kit::db::{DbError, Id, RecordId, Table, Text, vars};
use nepto_proto::AccountId;
use surrealdb::types::SurrealValue;

use super::Store;
use super::tables::Short;

/// Changes that are kept. A process that missed more than these reads all wallets again.
const CHANGES_KEPT: i64 = 10_000;
/// Changes that are read at once.
const CHANGES_AT_ONCE: i64 = 1_000;
/// Wallets that are read at once: some milliseconds' worth.
const WALLETS_AT_ONCE: i64 = 10_000;

/// Gives the change that a statement makes its revision. `$wallet` belongs to `$owner` from now on; to nobody if that is `NONE`.
const NOTE_CHANGE: &str = "
    LET $revision = (UPSERT linked_revision:all SET revision = (revision ?? 0) + 1 RETURN VALUE revision)[0];
    UPSERT type::record('linked_change', [$revision]) SET wallet = $wallet, account = $owner RETURN NONE;
    DELETE type::record('linked_change', [$revision - $kept]) RETURN NONE;
";

/// A wallet and the account that it belongs to; nobody's if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    pub wallet: Address,
    pub account: Option<AccountId>,
}

/// The table `linked`; ids are `linked:[wallet]`.
#[derive(Debug)]
struct LinkedWallets;

impl Table for LinkedWallets {
    const NAME: &'static str = "linked";
    type Key = Text<Short>;
}

#[derive(Debug, Clone, SurrealValue)]
struct LinkedRow {
    id: Id<LinkedWallets>,
    /// None of one that left its account.
    account: Option<Text<AccountId>>,
}

/// The table `linked_change`; ids are `linked_change:[revision]`.
#[derive(Debug)]
struct LinkedChanges;

impl Table for LinkedChanges {
    const NAME: &'static str = "linked_change";
    type Key = (i64,);
}

#[derive(Debug, Clone, SurrealValue)]
struct ChangeRow {
    id: Id<LinkedChanges>,
    wallet: Text<Short>,
    account: Option<Text<AccountId>>,
}

impl Store {
    /// A wallet belongs to an account, unless something newer is known of it.
    pub async fn link(&self, wallet: &Address, account: AccountId, version: u64) -> Result<(), DbError> {
        let statement = format!(
            "{{
            LET $row = (SELECT account, version FROM ONLY $id);
            IF ($row.version ?? 0) > $version {{ RETURN NONE }};
            UPSERT $id SET account = $owner, version = $version RETURN NONE;
            IF $row.account != $owner {{ {NOTE_CHANGE} }};
            }}"
        );
        let variables = vars! {
            id: linked_id(wallet),
            version: version,
            wallet: Text(Short(*wallet)),
            owner: account.to_string(),
            kept: CHANGES_KEPT,
        };
        self.db.execute(&statement, variables).await
    }

    /// It belongs to that account no longer, unless something newer is known of it. The row stays, without an account: it keeps an
    /// older event that comes late from linking the wallet again.
    pub async fn unlink(&self, wallet: &Address, account: AccountId, version: u64) -> Result<(), DbError> {
        let statement = format!(
            "{{
            LET $row = (SELECT account, version FROM ONLY $id);
            IF ($row.version ?? 0) > $version {{ RETURN NONE }};
            -- an event from before there were versions
            IF $version = 0 AND $row.account != $account {{ RETURN NONE }};
            UPSERT $id SET account = NONE, version = $version RETURN NONE;
            IF $row.account != NONE {{ {NOTE_CHANGE} }};
            }}"
        );
        let variables = vars! {
            id: linked_id(wallet),
            version: version,
            wallet: Text(Short(*wallet)),
            account: account.to_string(),
            owner: None::<String>,
            kept: CHANGES_KEPT,
        };
        self.db.execute(&statement, variables).await
    }

    /// The revision of the newest change; 0 before the first.
    pub async fn linked_revision(&self) -> Result<i64, DbError> {
        self.db.run("RETURN linked_revision:all.revision ?? 0", vars! {}).await
    }

    /// Some wallets of accounts in the order of their addresses, those after one. None: there are no more.
    pub async fn linked_after(&self, after: Option<&Address>) -> Result<Vec<Linked>, DbError> {
        let statement = "SELECT id, account FROM type::record('linked', $after>..) LIMIT $limit";
        let variables =
            vars! { after: after.map(|after| Short(*after).to_string()).unwrap_or_default(), limit: WALLETS_AT_ONCE };
        let rows: Vec<LinkedRow> = self.db.rows(statement, variables).await?;
        let linked = |LinkedRow { id, account }| Linked { wallet: id.0.0.0, account: account.map(|account| account.0) };
        Ok(rows.into_iter().map(linked).collect())
    }

    /// Some changes after a revision, in their order. `None` if they are not all kept any more.
    pub async fn linked_changes(&self, after: i64) -> Result<Option<Vec<Linked>>, DbError> {
        let statement = "{
            IF (linked_revision:all.revision ?? 0) = $after { RETURN NONE };
            RETURN SELECT id, wallet, account FROM type::record('linked_change', [$next]..) LIMIT $limit;
        }";
        let variables = vars! { after: after, next: after + 1, limit: CHANGES_AT_ONCE };
        let rows: Option<Vec<ChangeRow>> = self.db.run(statement, variables).await?;
        let Some(rows) = rows else { return Ok(Some(Vec::new())) };
        let are_next = !rows.is_empty() && rows.iter().zip(after + 1..).all(|(row, next)| row.id.0.0 == next);
        if !are_next {
            return Ok(None);
        }
        let linked = |row: ChangeRow| Linked { wallet: row.wallet.0.0, account: row.account.map(|account| account.0) };
        Ok(Some(rows.into_iter().map(linked).collect()))
    }
}

fn linked_id(wallet: &Address) -> RecordId {
    Id::<LinkedWallets>(Text(Short(*wallet))).record()
}
