//! What is said about tokens.

use std::collections::HashMap;

use nepto_kit::db::{DbError, Id, Text, vars};
use surrealdb::types::SurrealValue;

use super::Store;
use super::tables::{Short, TokenHex, Tokens};
use crate::assets::metadata::TokenKey;

/// Rows that are removed at once.
const PRUNED_MAX: i64 = 5_000;

/// What is known of a token. What was known stays while it can't be fetched again.
#[derive(Debug, Clone, PartialEq, Eq, Default, SurrealValue)]
pub struct TokenRow {
    /// What the contract named, fit to be shown; nothing where it holds the description itself.
    pub uri: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    /// Any kind of URI.
    pub image: Option<String>,
    pub attributes: Vec<AttributeRow>,
    pub fetched_at_ms: Option<i64>,
    /// Why the last try failed, for programs and for people.
    pub reason: Option<String>,
    pub problem: Option<String>,
    /// Tries in a row that failed.
    pub failures: u32,
    pub tried_at_ms: i64,
    pub next_try_at_ms: i64,
}

/// A property of a token.
#[derive(Debug, Clone, PartialEq, Eq, SurrealValue)]
pub struct AttributeRow {
    pub name: String,
    pub value: String,
}

#[derive(Debug, SurrealValue)]
struct Found {
    id: Id<Tokens>,
    row: TokenRow,
}

impl Store {
    /// What is known of a token.
    pub async fn token(&self, key: &TokenKey) -> Result<Option<TokenRow>, DbError> {
        let statement = "SELECT id, object::remove($this, 'id') AS row FROM ONLY $id";
        let found: Option<Found> = self.db.run(statement, vars! { id: nft_id(key) }).await?;
        Ok(found.map(|found| found.row))
    }

    /// What is known of several.
    pub async fn tokens(&self, keys: &[TokenKey]) -> Result<HashMap<TokenKey, TokenRow>, DbError> {
        let wanted: Vec<Id<Tokens>> = keys.iter().map(nft_id).collect();
        let statement = "SELECT id, object::remove($this, 'id') AS row FROM $wanted";
        let found: Vec<Found> = self.db.rows(statement, vars! { wanted: wanted }).await?;
        let key =
            |Id((chain, contract, token)): Id<Tokens>| TokenKey { chain, contract: contract.0.0, token: token.0.0 };
        Ok(found.into_iter().map(|Found { id, row }| (key(id), row)).collect())
    }

    /// Notes how it went to find out about a token.
    pub async fn save_token(&self, key: &TokenKey, row: TokenRow) -> Result<(), DbError> {
        self.db.execute("UPSERT $id CONTENT $row RETURN NONE", vars! { id: nft_id(key), row: row }).await
    }

    /// Forgets tokens that should have been tried before this moment, had anybody asked for them. How many, up to a bound.
    pub async fn prune_tokens(&self, before_ms: i64) -> Result<usize, DbError> {
        let statement = "{
            LET $old = (SELECT VALUE id FROM nft WHERE next_try_at_ms < $before LIMIT $limit);
            DELETE $old RETURN NONE;
            RETURN array::len($old);
        }";
        self.db.run(statement, vars! { before: before_ms, limit: PRUNED_MAX }).await
    }
}

fn nft_id(TokenKey { chain, contract, token }: &TokenKey) -> Id<Tokens> {
    Id((*chain, Text(Short(*contract)), Text(TokenHex(*token))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets;
    use crate::testing::database;
    use alloy_primitives::{Address, U256};
    use surrealdb::types::Value;

    fn key(token: u64) -> TokenKey {
        TokenKey { chain: 1, contract: Address::repeat_byte(7), token: U256::from(token) }
    }

    fn row(next_try_at_ms: i64) -> TokenRow {
        TokenRow {
            uri: Some("https://a/1".into()),
            name: Some("one".into()),
            attributes: vec![AttributeRow { name: "Hat".into(), value: "none".into() }],
            fetched_at_ms: Some(5),
            next_try_at_ms,
            ..TokenRow::default()
        }
    }

    #[tokio::test]
    async fn rows_come_back_as_they_were_and_several_at_once() {
        let store = Store::new(&database(assets::domain()).await);
        assert_eq!(store.token(&key(1)).await.unwrap(), None);
        store.save_token(&key(1), row(10)).await.unwrap();
        store.save_token(&key(2), TokenRow::default()).await.unwrap();
        assert_eq!(store.token(&key(1)).await.unwrap(), Some(row(10)));
        store.save_token(&key(1), row(20)).await.unwrap();
        let found = store.tokens(&[key(2), key(3), key(1)]).await.unwrap();
        assert_eq!(found, HashMap::from([(key(1), row(20)), (key(2), TokenRow::default())]));
        assert_eq!(store.tokens(&[]).await.unwrap(), HashMap::new());
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_forgotten_by_an_index() {
        let store = Store::new(&database(assets::domain()).await);
        for token in 0..20 {
            store.save_token(&key(token), row(token as i64)).await.unwrap();
        }
        let explain = "SELECT VALUE id FROM nft WHERE next_try_at_ms < $before LIMIT $limit EXPLAIN";
        let plan: Value = store.db.run(explain, vars! { before: 5, limit: 3 }).await.unwrap();
        let plan = format!("{plan:?}");
        assert!(plan.contains("nft_next_try"), "{plan}");
        assert_eq!(store.prune_tokens(15).await.unwrap(), 15);
        assert_eq!(store.prune_tokens(15).await.unwrap(), 0);
        assert_eq!(store.tokens(&(0..20).map(key).collect::<Vec<_>>()).await.unwrap().len(), 5);
    }
}
