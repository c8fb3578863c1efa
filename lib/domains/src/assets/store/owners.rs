//! Reading who owns single tokens of an ERC-721: those that moved, and those of ranges that were minted at once (ERC-2309).
//!
//! A range adds no row for each of its tokens. Whoever got it holds one of each, plus what the deltas of the token say.

use alloy_primitives::{Address, U256};
use nepto_kit::db::{DbError, key, vars};

use super::rows::{OwnedRow, RangeRow};
use super::{Store, hex, read_address, read_token, token_hex};

/// Ranges of one owner that are read at once.
const RANGES_MAX: i64 = 1_000;

/// Tokens that were minted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub chain: u64,
    pub contract: Address,
    pub first: U256,
    pub last: U256,
    /// The first owner of each.
    pub owner: Address,
    pub block: u64,
}

impl Range {
    /// All of them, in order. There may be 2^256.
    pub fn tokens(&self) -> impl Iterator<Item = U256> {
        let last = self.last;
        std::iter::successors(Some(self.first), move |token| (*token < last).then(|| token.wrapping_add(U256::ONE)))
    }
}

impl Store {
    /// Who got a token, and in which block, up to a block: the last time it moved.
    pub async fn owner(
        &self,
        chain: u64,
        contract: &Address,
        token: &U256,
        up_to: u64,
    ) -> Result<Option<(Address, u64)>, DbError> {
        let statement = "(SELECT *
            FROM owned:[$chain, $contract, $token_key, NONE]..[$chain, $contract, $token_key, $above]
            ORDER BY id DESC LIMIT 1)[0]";
        let variables = vars! {
            chain: chain as i64,
            contract: hex(contract),
            token_key: token_hex(token),
            above: up_to.saturating_add(1).min(i64::MAX as u64) as i64,
        };
        let row: Option<OwnedRow> = self.db.run(statement, variables).await?;
        Ok(row.and_then(|row| Some((row.owner.parse().ok()?, key::number(&row.id, 3)? as u64))))
    }

    /// The range that a token was minted in, if it was.
    pub async fn range_of(&self, chain: u64, contract: &Address, token: &U256) -> Result<Option<Range>, DbError> {
        let statement = "(SELECT * FROM minted_range:[$chain, $contract, NONE]..=[$chain, $contract, $token_key]
            WHERE last >= $token_key ORDER BY id DESC LIMIT 1)[0]";
        let variables = vars! { chain: chain as i64, contract: hex(contract), token_key: token_hex(token) };
        let row: Option<RangeRow> = self.db.run(statement, variables).await?;
        Ok(row.as_ref().and_then(read_range))
    }

    /// The ranges that somebody got on a chain, and whether these are all.
    pub async fn ranges(&self, chain: u64, owner: &Address) -> Result<(Vec<Range>, bool), DbError> {
        let statement = "SELECT * FROM minted_range WHERE owner = $owner LIMIT $limit";
        let rows: Vec<RangeRow> = self.db.run(statement, vars! { owner: hex(owner), limit: RANGES_MAX }).await?;
        let are_all = (rows.len() as i64) < RANGES_MAX;
        Ok((rows.iter().filter_map(read_range).filter(|range| range.chain == chain).collect(), are_all))
    }
}

fn read_range(row: &RangeRow) -> Option<Range> {
    Some(Range {
        chain: key::number(&row.id, 0)? as u64,
        contract: read_address(&row.id, 1)?,
        first: read_token(&row.id, 2)?,
        last: U256::from_str_radix(&row.last, 16).ok()?,
        owner: row.owner.parse().ok()?,
        block: row.block as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets;
    use crate::testing::database;
    use surrealdb::types::Value;

    #[test]
    fn a_range_has_all_its_tokens_and_its_end_is_no_overflow() {
        let range = |first: U256, last: U256| Range {
            chain: 1,
            contract: Address::ZERO,
            first,
            last,
            owner: Address::ZERO,
            block: 1,
        };
        let number = U256::from::<u64>;
        assert!(range(number(3), number(5)).tokens().eq([number(3), number(4), number(5)]));
        assert!(range(U256::MAX, U256::MAX).tokens().eq([U256::MAX]));
        assert_eq!(range(U256::ZERO, U256::MAX).tokens().nth(9), Some(number(9)));
    }

    #[tokio::test]
    async fn lists_use_their_indexes() {
        let store = Store::new(&database(assets::domain()).await);
        for (statement, index) in [
            ("SELECT * FROM minted_range WHERE owner = $x LIMIT 5 EXPLAIN", "minted_range_owner"),
            ("SELECT * FROM sent_part WHERE message = $x LIMIT 5 EXPLAIN", "sent_part_message"),
        ] {
            let plan: Value = store.db.run(statement, vars! { x: "a" }).await.unwrap();
            let plan = format!("{plan:?}");
            assert!(plan.contains(index), "{plan}");
        }
    }
}
