//! The wallets of accounts: only their changes are events for other domains.
//!
//! One set for all pipelines of a process, 36 bytes a wallet and what a hash table adds. It is read whole once, and then only
//! what changed.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use alloy_primitives::Address;
use nepto_proto::AccountId;
use tokio::sync::{Mutex, watch};

use crate::assets::store::{Linked, Store};

/// How often it is looked for changes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Wallets with the accounts that they belong to, as they were a moment ago.
#[derive(Default)]
pub struct LinkedWallets {
    accounts: RwLock<HashMap<Address, AccountId>>,
    /// Which changes are in it; `None` until all wallets were read.
    revision: watch::Sender<Option<i64>>,
    /// Held by the one pipeline that reads for all.
    reader: Mutex<()>,
}

impl LinkedWallets {
    /// To look accounts up; not to be held for long.
    pub fn accounts(&self) -> RwLockReadGuard<'_, HashMap<Address, AccountId>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all wallets were read.
    pub async fn known(&self) {
        // the sender is ours and stays
        let _ = self.revision.subscribe().wait_for(Option::is_some).await;
    }

    /// Reads what changes, again and again; one of those who call this does it for all.
    pub async fn keep_up(&self, store: &Store) {
        let _reader = self.reader.lock().await;
        loop {
            if let Err(error) = self.catch_up(store).await {
                tracing::warn!(error = format!("{error:#}"), "the wallets of accounts can't be read; trying again");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads what is new, or everything at first and after too much was missed. How many rows that were.
    pub async fn catch_up(&self, store: &Store) -> anyhow::Result<usize> {
        let mut rows = 0;
        loop {
            let known = *self.revision.borrow();
            let Some(revision) = known else { return self.read_all(store).await };
            let Some(changes) = store.linked_changes(revision).await? else { return self.read_all(store).await };
            if changes.is_empty() {
                return Ok(rows);
            }
            rows += changes.len();
            self.change(|accounts| changes.iter().for_each(|change| note(accounts, change)));
            self.revision.send_replace(Some(revision + changes.len() as i64));
        }
    }

    /// Reads all wallets. What changes meanwhile is read as a change afterwards.
    async fn read_all(&self, store: &Store) -> anyhow::Result<usize> {
        let revision = store.linked_revision().await?;
        let mut accounts = HashMap::new();
        let (mut rows, mut after) = (0, None);
        loop {
            let some = store.linked_after(after.as_ref()).await?;
            let Some(last) = some.last() else { break };
            (rows, after) = (rows + some.len(), Some(last.wallet));
            some.iter().for_each(|linked| note(&mut accounts, linked));
        }
        self.change(|known| *known = accounts);
        self.revision.send_replace(Some(revision));
        Ok(rows)
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Address, AccountId>)) {
        change(&mut self.accounts.write().unwrap_or_else(PoisonError::into_inner));
    }
}

fn note(accounts: &mut HashMap<Address, AccountId>, Linked { wallet, account }: &Linked) {
    match account {
        Some(account) => accounts.insert(*wallet, *account),
        None => accounts.remove(wallet),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{account, database};
    use nepto_kit::db::vars;

    const MANY: i64 = 3_000;

    fn wallet(number: u64) -> Address {
        Address::left_padding_from(&number.to_be_bytes())
    }

    /// A store with many wallets of accounts, that were linked at some time.
    async fn store_with_many() -> Store {
        let db = database(crate::assets::domain()).await;
        let statement = "{
            FOR $number IN array::range(0, $many) {
                CREATE type::record('linked', string::concat('ff', string::repeat('0', 32), 100000 + $number))
                    SET account = $account RETURN NONE;
            };
            CREATE linked_revision:all SET revision = $many RETURN NONE;
        }";
        db.execute(statement, vars! { many: MANY, account: account(7).to_string() }).await.unwrap();
        Store::new(&db)
    }

    #[tokio::test]
    async fn one_more_link_reads_one_row_however_many_there_are() {
        let store = store_with_many().await;
        let wallets = LinkedWallets::default();
        assert_eq!(wallets.catch_up(&store).await.unwrap(), MANY as usize);
        assert_eq!(wallets.accounts().len(), MANY as usize);

        store.link(&wallet(1), account(1)).await.unwrap();
        assert_eq!(wallets.catch_up(&store).await.unwrap(), 1);
        assert_eq!(wallets.accounts().get(&wallet(1)), Some(&account(1)));
        assert_eq!(wallets.catch_up(&store).await.unwrap(), 0, "and then nothing is new");

        store.link(&wallet(2), account(2)).await.unwrap();
        store.unlink(&wallet(1), account(1)).await.unwrap();
        assert_eq!(wallets.catch_up(&store).await.unwrap(), 2);
        assert_eq!((wallets.accounts().get(&wallet(1)), wallets.accounts().len()), (None, MANY as usize + 1));
    }

    #[tokio::test]
    async fn what_changes_nothing_is_no_change() {
        let (store, wallets) = (store_with_many().await, LinkedWallets::default());
        store.link(&wallet(1), account(1)).await.unwrap();
        wallets.catch_up(&store).await.unwrap();
        // events come more than once
        store.link(&wallet(1), account(1)).await.unwrap();
        store.unlink(&wallet(1), account(2)).await.unwrap();
        store.unlink(&wallet(2), account(2)).await.unwrap();
        assert_eq!(wallets.catch_up(&store).await.unwrap(), 0);
        assert_eq!(wallets.accounts().get(&wallet(1)), Some(&account(1)));
    }

    #[tokio::test]
    async fn who_missed_changes_that_are_kept_no_longer_reads_everything() {
        let (store, wallets) = (store_with_many().await, LinkedWallets::default());
        wallets.catch_up(&store).await.unwrap();
        // older processes told no changes, and a restored database has other ones
        let db = store.db();
        db.execute("UPDATE linked_revision:all SET revision += 1", vars! {}).await.unwrap();
        store.link(&wallet(1), account(1)).await.unwrap();
        assert_eq!(wallets.catch_up(&store).await.unwrap(), MANY as usize + 1);
        db.execute("UPDATE linked_revision:all SET revision = 3", vars! {}).await.unwrap();
        store.link(&wallet(2), account(2)).await.unwrap();
        assert_eq!(wallets.catch_up(&store).await.unwrap(), MANY as usize + 2);
    }

    #[tokio::test]
    async fn changes_have_a_bound() {
        let db = database(crate::assets::domain()).await;
        let store = Store::new(&db);
        db.execute("CREATE linked_revision:all SET revision = 9998", vars! {}).await.unwrap();
        db.execute("CREATE linked_change:[0] SET wallet = 'aa'; ", vars! {}).await.unwrap();
        for number in 1..=3 {
            store.link(&wallet(number), account(1)).await.unwrap();
        }
        let kept: Vec<i64> = db.run("SELECT VALUE record::id(id)[0] FROM linked_change", vars! {}).await.unwrap();
        assert_eq!(kept, [9_999, 10_000, 10_001]);
    }
}
