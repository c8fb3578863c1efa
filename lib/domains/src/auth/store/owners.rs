//! Which wallet belongs to whom.

use nepto_kit::db::{DbError, RecordId, vars};
use nepto_kit::outbox;
use nepto_proto::AccountId;
use surrealdb::types::SurrealValue;

use super::{Store, account_id};
use crate::auth::RootWallet;

impl Store {
    /// The account of a wallet.
    pub async fn account_of_wallet(&self, wallet: &str) -> Result<Option<AccountId>, DbError> {
        let id = RecordId::new("wallet", wallet);
        let account: Option<String> = self.db.run("SELECT VALUE account FROM ONLY $id", vars! { id: id }).await?;
        Ok(account.and_then(|account| account.parse().ok()))
    }

    /// The account of a wallet, with the number of the last event about it, read in one moment.
    pub async fn numbered_account_of_wallet(&self, wallet: &str) -> Result<Option<(AccountId, u64)>, DbError> {
        #[derive(SurrealValue)]
        struct Owner {
            account: String,
            version: i64,
        }
        let statement = "{
            LET $account = (SELECT VALUE account FROM ONLY $id);
            IF !$account { RETURN NONE };
            RETURN { account: $account, version: (SELECT VALUE number FROM ONLY $version_id) ?? 0 };
        }";
        let variables = vars! { id: RecordId::new("wallet", wallet), version_id: outbox::version_id(wallet) };
        let owner: Option<Owner> = self.db.run(statement, variables).await?;
        Ok(owner.and_then(|owner| Some((owner.account.parse().ok()?, owner.version.cast_unsigned()))))
    }

    /// The wallets that accounts are known by, of those that there are.
    pub async fn root_wallets(&self, accounts: &[AccountId]) -> Result<Vec<RootWallet>, DbError> {
        #[derive(SurrealValue)]
        struct Row {
            account: String,
            root: String,
        }
        let ids: Vec<RecordId> = accounts.iter().map(|account| account_id(*account)).collect();
        let statement = "SELECT record::id(id) AS account, root FROM $ids";
        let rows: Vec<Row> = self.db.run(statement, vars! { ids: ids }).await?;
        let wallet = |Row { account, root }| Some(RootWallet { account: account.parse().ok()?, wallet: root });
        Ok(rows.into_iter().filter_map(wallet).collect())
    }
}
