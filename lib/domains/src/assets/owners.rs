//! Who owns single tokens of an ERC-721. Those of a range that was minted at once (ERC-2309) have no rows of their own: who
//! got the range holds one of each, plus what became of it since.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use nepto_kit::Failure;
use nepto_proto::ErrorCode;
use nepto_proto::api::assets as api;

use super::model::{Amount, Class, Holding};
use super::ops::Assets;
use super::store::HOLDINGS_MAX;
use crate::collector::Pipeline;

/// Holders of a single token that are looked at: there is one, unless the contract breaks its standard.
const HOLDERS_MAX: i64 = 1_000;

impl Assets {
    /// Who owns a token of an ERC-721.
    pub async fn owner(
        &self,
        chain: u64,
        contract: &Address,
        token: &U256,
        at: Option<u64>,
    ) -> Result<api::Owner, Failure> {
        self.pipeline_of(chain, contract, Class::Token(*token))?;
        let cursor = self.store.cursor(Pipeline::Erc721, chain).await?;
        let (height, final_height) = cursor.map_or((0, 0), |cursor| (cursor.height as u64, cursor.final_height as u64));
        let block = self.block_of(chain, contract, at, height)?.unwrap_or(height);
        let owner = match self.store.owner(chain, contract, token, block).await? {
            Some(moved) => Some(moved),
            None => {
                let range = self.store.range_of(chain, contract, token).await?;
                range.filter(|range| range.block <= block).map(|range| (range.owner, range.block))
            }
        };
        let (owner, since_block) = owner
            .filter(|(owner, _)| *owner != Address::ZERO)
            .ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("nobody owns token {token} at block {block}")))?;
        let is_final = block <= final_height && self.is_known(chain, contract, block).await?;
        Ok(api::Owner { owner: owner.to_string(), since_block, block, is_final })
    }

    /// What somebody holds of a token by a range that was minted up to a block: one or none.
    pub async fn of_range(&self, chain: u64, holding: &Holding, up_to: u64) -> Result<Amount, Failure> {
        let Class::Token(token) = holding.class else { return Ok(Amount::ZERO) };
        let range = self.store.range_of(chain, &holding.contract, &token).await?;
        let is_theirs = range.is_some_and(|range| range.owner == holding.holder && range.block <= up_to);
        Ok(if is_theirs { Amount::ONE } else { Amount::ZERO })
    }

    /// Adds one of each token of the ranges that somebody got up to a block, until these are as many as are listed. Whether
    /// all are there.
    pub async fn add_ranges(
        &self,
        chain: u64,
        holder: &Address,
        up_to: u64,
        amounts: &mut BTreeMap<Holding, Amount>,
    ) -> Result<bool, Failure> {
        let (ranges, are_all) = self.store.ranges(chain, holder).await?;
        for range in ranges.iter().filter(|range| range.block <= up_to) {
            for token in range.tokens() {
                if amounts.len() >= HOLDINGS_MAX {
                    return Ok(false);
                }
                let holding = Holding { holder: *holder, contract: range.contract, class: Class::Token(token) };
                let amount = amounts.entry(holding).or_insert(Amount::ZERO);
                *amount = amount.plus(Amount::ONE);
            }
        }
        Ok(are_all)
    }

    /// Who finally holds a token that was minted in a range; `None` if it was not.
    pub async fn holders_of_ranged(
        &self,
        chain: u64,
        contract: &Address,
        token: U256,
        after: Option<Address>,
        limit: usize,
    ) -> Result<Option<Vec<api::Holder>>, Failure> {
        let cursor = self.store.cursor(Pipeline::Erc721, chain).await?;
        let final_height = cursor.map_or(0, |cursor| cursor.final_height as u64);
        let range = self.store.range_of(chain, contract, &token).await?;
        let Some(range) = range.filter(|range| range.block <= final_height) else { return Ok(None) };
        let of = Holding { holder: Address::ZERO, contract: *contract, class: Class::Token(token) };
        let sums = self.store.holders(chain, &of, None, HOLDERS_MAX).await?;
        let mut amounts: BTreeMap<Address, Amount> = sums.iter().map(|sum| (sum.holding.holder, sum.amount)).collect();
        let first = amounts.entry(range.owner).or_insert(Amount::ZERO);
        *first = first.plus(Amount::ONE);
        let is_listed =
            |(holder, amount): &(Address, Amount)| *amount != Amount::ZERO && after.is_none_or(|after| *holder > after);
        let holder =
            |(holder, amount): (Address, Amount)| api::Holder { wallet: holder.to_string(), amount: amount.signed() };
        Ok(Some(amounts.into_iter().filter(is_listed).take(limit).map(holder).collect()))
    }
}
