//! Wallets of accounts, as the domain `auth` told.

use std::collections::HashMap;

use alloy_primitives::Address;
use nepto_kit::db::{DbError, RecordId, vars};
use nepto_proto::AccountId;
use surrealdb::types::SurrealValue;

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
    /// A wallet belongs to an account.
    pub async fn link(&self, wallet: &Address, account: AccountId) -> Result<(), DbError> {
        let statement = "{
            UPSERT $id SET account = $account;
            UPSERT linked_revision:all SET revision = (revision ?? 0) + 1;
        }";
        self.db.execute(statement, vars! { id: linked_id(wallet), account: account.to_string() }).await
    }

    /// It belongs to that account no longer.
    pub async fn unlink(&self, wallet: &Address, account: AccountId) -> Result<(), DbError> {
        let statement = "{
            DELETE $id WHERE account = $account;
            UPSERT linked_revision:all SET revision = (revision ?? 0) + 1;
        }";
        self.db.execute(statement, vars! { id: linked_id(wallet), account: account.to_string() }).await
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
                wallets: (SELECT record::id(id) AS address, account FROM linked)
            };
        }";
        let linked: Option<Linked> = self.db.run(statement, vars! { known: known }).await?;
        let wallet = |row: LinkedRow| Some((row.address.parse().ok()?, row.account.parse().ok()?));
        Ok(linked.map(|linked| (linked.revision, linked.wallets.into_iter().filter_map(wallet).collect())))
    }
}

fn linked_id(wallet: &Address) -> RecordId {
    RecordId::new("linked", hex(wallet))
}
