//! Wallets of accounts, as the domain `auth` told, and what changed about them last.
//!
//! Each change has a revision, one above the one before, and a row of `linked_change` under it. Whoever knows all wallets as
//! of a revision reads what changed since: that costs what the changes cost, however many wallets there are.

use alloy_primitives::Address;
use anyhow::Context;
use nepto_kit::db::{DbError, RecordId, vars};
use nepto_proto::AccountId;
use surrealdb::types::SurrealValue;

use super::{Store, hex};

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

#[derive(Debug, Clone, SurrealValue)]
struct LinkedRow {
    wallet: String,
    account: Option<String>,
}

#[derive(Debug, Clone, SurrealValue)]
struct ChangeRow {
    revision: i64,
    wallet: String,
    account: Option<String>,
}

impl LinkedRow {
    fn read(self) -> anyhow::Result<Linked> {
        let Self { wallet, account } = self;
        let context = || format!("the row linked:{wallet} can't be read");
        let account = account.map(|account| account.parse::<AccountId>()).transpose().with_context(context)?;
        Ok(Linked { wallet: wallet.parse::<Address>().with_context(context)?, account })
    }
}

impl Store {
    /// A wallet belongs to an account.
    pub async fn link(&self, wallet: &Address, account: AccountId) -> Result<(), DbError> {
        let statement = format!(
            "{{
            IF $id.account != $owner {{
                UPSERT $id SET account = $owner RETURN NONE;
                {NOTE_CHANGE}
            }};
            }}"
        );
        let variables = vars! {
            id: linked_id(wallet),
            wallet: hex(wallet),
            owner: account.to_string(),
            kept: CHANGES_KEPT,
        };
        self.db.execute(&statement, variables).await
    }

    /// It belongs to that account no longer.
    pub async fn unlink(&self, wallet: &Address, account: AccountId) -> Result<(), DbError> {
        let statement = format!(
            "{{
            IF $id.account = $account {{
                DELETE $id RETURN NONE;
                {NOTE_CHANGE}
            }};
            }}"
        );
        let variables = vars! {
            id: linked_id(wallet),
            wallet: hex(wallet),
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
    pub async fn linked_after(&self, after: Option<&Address>) -> anyhow::Result<Vec<Linked>> {
        let statement = "SELECT record::id(id) AS wallet, account FROM type::record('linked', $after>..) LIMIT $limit";
        let variables = vars! { after: after.map(hex).unwrap_or_default(), limit: WALLETS_AT_ONCE };
        let rows: Vec<LinkedRow> = self.db.run(statement, variables).await?;
        rows.into_iter().map(LinkedRow::read).collect()
    }

    /// Some changes after a revision, in their order. `None` if they are not all kept any more.
    pub async fn linked_changes(&self, after: i64) -> anyhow::Result<Option<Vec<Linked>>> {
        let statement = "{
            IF (linked_revision:all.revision ?? 0) = $after { RETURN NONE };
            RETURN SELECT record::id(id)[0] AS revision, wallet, account
                FROM linked_change:[$next]..[[]] LIMIT $limit;
        }";
        let variables = vars! { after: after, next: after + 1, limit: CHANGES_AT_ONCE };
        let rows: Option<Vec<ChangeRow>> = self.db.run(statement, variables).await?;
        let Some(rows) = rows else { return Ok(Some(Vec::new())) };
        let are_next = !rows.is_empty() && rows.iter().zip(after + 1..).all(|(row, next)| row.revision == next);
        if !are_next {
            return Ok(None);
        }
        let read = |ChangeRow { wallet, account, .. }| LinkedRow { wallet, account }.read();
        rows.into_iter().map(read).collect::<Result<_, _>>().map(Some)
    }
}

fn linked_id(wallet: &Address) -> RecordId {
    RecordId::new("linked", hex(wallet))
}
