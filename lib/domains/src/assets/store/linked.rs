//! Wallets of accounts, as the domain `auth` told.

use std::collections::HashMap;

use alloy_primitives::Address;
use nepto_kit::db::{DbError, RecordId, vars};
use nepto_proto::AccountId;
use surrealdb::types::{SurrealValue, Variables};

use super::{Store, hex};

#[derive(Debug, Clone, SurrealValue)]
struct LinkedRow {
    address: String,
    account: String,
}

#[derive(Debug, Clone, SurrealValue)]
struct Linked {
    revision: i64,
    wallets: Vec<LinkedRow>,
}

impl Store {
    /// A wallet belongs to an account, unless something newer is known of it.
    pub async fn link(&self, wallet: &Address, account: AccountId, version: u64) -> Result<(), DbError> {
        let statement = "{
            LET $known = (SELECT VALUE version FROM ONLY $id) ?? 0;
            IF $known > $version { RETURN NONE };
            UPSERT $id SET account = $account, version = $version;
            UPSERT linked_revision:all SET revision = (revision ?? 0) + 1;
        }";
        self.db.execute(statement, linked(wallet, account, version)).await
    }

    /// It belongs to that account no longer, unless something newer is known of it. The row stays, without an account: it keeps an
    /// older event that comes late from linking the wallet again.
    pub async fn unlink(&self, wallet: &Address, account: AccountId, version: u64) -> Result<(), DbError> {
        let statement = "{
            LET $row = (SELECT account, version FROM ONLY $id);
            IF ($row.version ?? 0) > $version { RETURN NONE };
            -- an event from before there were versions
            IF $version = 0 AND $row.account != $account { RETURN NONE };
            UPSERT $id SET account = NONE, version = $version;
            UPSERT linked_revision:all SET revision = (revision ?? 0) + 1;
        }";
        self.db.execute(statement, linked(wallet, account, version)).await
    }

    /// All of them with the revision of the table, if it is another one than `known`.
    pub async fn linked_since(
        &self,
        known: Option<i64>,
    ) -> Result<Option<(i64, HashMap<Address, AccountId>)>, DbError> {
        let statement = "{
            LET $revision = linked_revision:all.revision ?? 0;
            IF $revision = $known { RETURN NONE };
            RETURN {
                revision: $revision,
                wallets: (SELECT record::id(id) AS address, account FROM linked WHERE account != NONE)
            };
        }";
        let linked: Option<Linked> = self.db.run(statement, vars! { known: known }).await?;
        let wallet = |row: LinkedRow| Some((row.address.parse().ok()?, row.account.parse().ok()?));
        Ok(linked.map(|linked| (linked.revision, linked.wallets.into_iter().filter_map(wallet).collect())))
    }
}

fn linked(wallet: &Address, account: AccountId, version: u64) -> Variables {
    let id = RecordId::new("linked", hex(wallet));
    vars! { id: id, account: account.to_string(), version: version.cast_signed() }
}
