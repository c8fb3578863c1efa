//! Which wallet belongs to whom.

use nepto_kit::db::{DbError, Id, RecordId, Text, vars};
use nepto_kit::outbox;
use nepto_proto::AccountId;
use nepto_proto::svc::auth::RootWallet;
use surrealdb::types::SurrealValue;

use super::{Accounts, Store, account_id};

impl Store {
    /// The account of a wallet.
    pub async fn account_of_wallet(&self, wallet: &str) -> Result<Option<AccountId>, DbError> {
        let id = RecordId::new("wallet", wallet);
        let account: Option<Text<AccountId>> =
            self.db.run("SELECT VALUE account FROM ONLY $id", vars! { id: id }).await?;
        Ok(account.map(|account| account.0))
    }

    /// The account of a wallet, with the number of the last event about it, read in one moment.
    pub async fn numbered_account_of_wallet(&self, wallet: &str) -> Result<Option<(AccountId, u64)>, DbError> {
        #[derive(SurrealValue)]
        struct Owner {
            account: Text<AccountId>,
            version: u64,
        }
        let statement = "{
            LET $account = (SELECT VALUE account FROM ONLY $id);
            IF !$account { RETURN NONE };
            RETURN { account: $account, version: (SELECT VALUE number FROM ONLY $version_id) ?? 0 };
        }";
        let variables = vars! { id: RecordId::new("wallet", wallet), version_id: outbox::version_id(wallet) };
        let owner: Option<Owner> = self.db.run(statement, variables).await?;
        Ok(owner.map(|owner| (owner.account.0, owner.version)))
    }

    /// The wallets that accounts are known by, of those that there are.
    pub async fn root_wallets(&self, accounts: &[AccountId]) -> Result<Vec<RootWallet>, DbError> {
        #[derive(SurrealValue)]
        struct Row {
            id: Id<Accounts>,
            root: String,
        }
        let ids: Vec<RecordId> = accounts.iter().map(|account| account_id(*account)).collect();
        let rows: Vec<Row> = self.db.rows("SELECT id, root FROM $ids", vars! { ids: ids }).await?;
        Ok(rows.into_iter().map(|Row { id, root }| RootWallet { account: id.0.0, wallet: root }).collect())
    }
}
