//! What clients, other domains and operators ask about what wallets hold.

use std::sync::Arc;

use alloy_primitives::Address;
use nepto_kit::clock::from_s;
use nepto_kit::domain::Parts;
use nepto_kit::outbox::Outbox;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::assets::{self as api, ContractKind};
use nepto_proto::event::{WalletLinked, WalletUnlinked};
use nepto_proto::svc::assets::Cursor;
use nepto_proto::svc::auth::FindAccount;
use nepto_proto::svc::collector::{FindGaps, Gap, Pipeline};
use nepto_proto::{AccountId, ErrorCode};

use super::model::{Amount, AssetClass, Holding, Origin};
use super::store::{CompactedSum, HOLDINGS_MAX, Store, Tail, held, newest};
use crate::chains::{Chain, Chains, Contract};
use crate::request::address;

/// A pipeline's last error is kept in Redis, and forgotten when it is silent.
const LAST_ERROR_FOR_S: u64 = 60;

/// What the domain can do, over its tables and the configured chains. Cheap to clone.
#[derive(Clone)]
pub struct Assets {
    pub ctx: Ctx,
    pub store: Store,
    pub outbox: Outbox,
    pub chains: Arc<Chains>,
}

/// Pages of a history that are passed over in one answer, because nothing in them counts.
const EMPTY_PAGES_MAX: usize = 50;

/// A thing of a contract. Of one that is several at once, `standard` says of which; without it, the first that there is.
#[derive(Debug, Clone, Copy)]
pub struct Thing {
    pub chain: u64,
    pub contract: Address,
    pub class: AssetClass,
    pub standard: Option<Pipeline>,
}

/// A question about what somebody holds.
pub struct Question {
    pub thing: Thing,
    pub holder: Address,
    /// At the end of this block; now if there is none.
    pub at: Option<u64>,
    pub only_final: bool,
}

impl Assets {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let (ctx, store, outbox) = (parts.ctx.clone(), Store::new(parts.db()?), parts.outbox()?.clone());
        Ok(Self { chains: ctx.config.section(), ctx, store, outbox })
    }

    pub async fn wallet_linked(&self, event: WalletLinked) -> Result<(), Failure> {
        Ok(self.store.link(&address(&event.wallet)?, event.account, event.version).await?)
    }

    pub async fn wallet_unlinked(&self, event: WalletUnlinked) -> Result<(), Failure> {
        Ok(self.store.unlink(&address(&event.wallet)?, event.account, event.version).await?)
    }

    pub async fn cursors(&self, chain: u64) -> Result<Vec<Cursor>, Failure> {
        let rows = self.store.cursors(chain).await?;
        let mut cursors = Vec::new();
        for pipeline in Pipeline::ALL {
            let Some(row) = rows.iter().find(|row| row.pipeline.0 == pipeline) else { continue };
            cursors.push(Cursor {
                pipeline,
                step: row.step,
                height: row.height,
                events: row.events,
                dead_letters: row.dead_letters,
                last_error: self.last_error(pipeline, chain).await,
            });
        }
        Ok(cursors)
    }

    async fn last_error(&self, pipeline: Pipeline, chain: u64) -> Option<String> {
        let key = last_error_key(pipeline, chain);
        redis::cmd("GET").arg(key).query_async(&mut self.ctx.redis.clone()).await.ok().flatten()
    }

    /// Tells operators why a pipeline stands still, or that it goes on.
    pub async fn note_error(&self, pipeline: Pipeline, chain: u64, last_error: Option<&str>) {
        let key = last_error_key(pipeline, chain);
        let mut redis = self.ctx.redis.clone();
        let noted: redis::RedisResult<()> = match last_error {
            Some(last_error) => {
                redis::cmd("SET").arg(key).arg(last_error).arg("EX").arg(LAST_ERROR_FOR_S).query_async(&mut redis).await
            }
            None => redis::cmd("DEL").arg(key).query_async(&mut redis).await,
        };
        if let Err(error) = noted {
            tracing::debug!(%error, "a pipeline's error was not noted");
        }
    }

    /// The pipelines that may follow a thing of a contract: what it is declared to be, or, of a `token`, the first whose
    /// events it logs.
    pub fn pipelines_of(
        &self,
        chain: u64,
        contract: &Address,
        class: AssetClass,
    ) -> Result<&'static [Pipeline], Failure> {
        Ok(match (self.contract(chain, contract)?.kind, class) {
            (ContractKind::Erc20, _) => &[Pipeline::Erc20],
            (ContractKind::Erc721, _) => &[Pipeline::Erc721],
            (ContractKind::Erc1155, _) => &[Pipeline::Erc1155],
            (ContractKind::Staking, _) => &[Pipeline::Staking],
            (ContractKind::Multisend, _) => &[Pipeline::Multisend],
            (ContractKind::Token, AssetClass::Token(_)) => &[Pipeline::Erc721, Pipeline::Erc1155],
            (ContractKind::Token, _) => &[Pipeline::Erc20, Pipeline::Erc721],
        })
    }

    /// Which events tell of a thing.
    async fn origin_of(&self, thing: &Thing) -> Result<Origin, Failure> {
        let Thing { chain, contract, class, standard } = thing;
        let pipelines = self.pipelines_of(*chain, contract, *class)?;
        let mains = self.store.mains(*chain, &[*contract].into()).await?;
        let logged = pipelines.iter().copied().find(|pipeline| mains.of(*pipeline, contract).is_some());
        let pipeline = match standard {
            Some(standard) => pipelines.iter().copied().find(|pipeline| pipeline == standard).ok_or_else(|| {
                let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.as_str()).collect();
                Failure::new(ErrorCode::Malformed, format!("`standard` is {} for this", names.join(" or ")))
            })?,
            None => logged.unwrap_or(pipelines[0]),
        };
        Ok(mains.or_usual(pipeline, contract))
    }

    pub fn chain(&self, chain: u64) -> Result<&Chain, Failure> {
        self.chains.get(chain).ok_or_else(|| {
            Failure::new(
                ErrorCode::ChainUnknown,
                format!("chain {chain} is not watched here; see GET /v1/assets/contracts"),
            )
        })
    }

    /// A contract that is watched.
    pub fn contract(&self, chain: u64, contract: &Address) -> Result<&Contract, Failure> {
        let found = self.chain(chain)?.contracts.iter().find(|declared| declared.address == *contract);
        found.ok_or_else(|| {
            Failure::new(ErrorCode::ContractUnknown, format!("{contract} is not watched; see GET /v1/assets/contracts"))
        })
    }

    pub async fn contracts(&self) -> Result<Vec<api::Contract>, Failure> {
        let mut contracts = Vec::new();
        for chain in self.chains.iter() {
            let gaps = self.gaps(chain.id).await?;
            let (unread, are_all) = self.store.unread(chain.id).await?;
            contracts.extend(chain.contracts.iter().map(|contract| api::Contract {
                chain_id: chain.id,
                address: contract.address.to_string(),
                kind: contract.kind,
                start_block: contract.start_block,
                is_complete: are_all
                    && !unread.contains(&contract.address)
                    && !gaps.iter().any(|gap| gap.contract == contract.address),
            }));
        }
        Ok(contracts)
    }

    /// The block that is asked about, if one is named. It must be one that was collected for the contract.
    pub fn block_of(
        &self,
        chain: u64,
        contract: &Address,
        at: Option<u64>,
        newest: u64,
    ) -> Result<Option<u64>, Failure> {
        let unknown = |detail: String| Err(Failure::new(ErrorCode::BlockUnknown, detail));
        let first = self.contract(chain, contract)?.start_block;
        match at {
            Some(at) if at > newest => unknown(format!("block {at} was not collected yet; the newest is {newest}")),
            Some(at) if at < first => unknown(format!("this contract is collected from block {first} on")),
            at => Ok(at),
        }
    }

    /// What is still to be read of a chain's older blocks.
    pub async fn gaps(&self, chain_id: u64) -> Result<Vec<Gap>, Failure> {
        self.ctx.call(&FindGaps { chain_id }).await
    }

    /// Whether all blocks up to this one were read for a contract, and everything in them.
    pub async fn is_known(&self, chain: u64, contract: &Address, block: u64) -> Result<bool, Failure> {
        let gaps = self.gaps(chain).await?;
        let is_missing = gaps.iter().any(|gap| gap.contract == *contract && gap.from <= block);
        Ok(!is_missing && self.store.is_read(chain, contract, block).await?)
    }

    /// Whether the same holds of every contract of a chain.
    async fn is_all_known(&self, chain: &Chain) -> Result<bool, Failure> {
        let (unread, are_all) = self.store.unread(chain.id).await?;
        let is_unread = chain.contracts.iter().any(|contract| unread.contains(&contract.address));
        Ok(are_all && !is_unread && self.gaps(chain.id).await?.is_empty())
    }

    /// What somebody holds of one thing.
    pub async fn balance(&self, question: &Question) -> Result<api::Balance, Failure> {
        let Question { thing, holder, at, only_final } = question;
        let Thing { chain, contract, class, .. } = *thing;
        let origin = self.origin_of(thing).await?;
        let holding = Holding { holder: *holder, contract, origin, class };
        let tails = self.store.tail(chain, origin.pipeline, holder).await?;
        let (height, final_height) = (tails.cursor.height, tails.cursor.final_height);
        let sums: Vec<_> = self.store.compacted(chain, &holding).await?.into_iter().collect();
        let mut amount = held(&[tails], &sums, *only_final).get(&holding).copied().unwrap_or(Amount::ZERO);
        let newest = if *only_final { final_height.min(height) } else { height };
        let block = self.block_of(chain, &contract, *at, height)?.unwrap_or(newest);
        let later = self.store.deltas_above(chain, origin.pipeline, &holding, block).await?;
        let later = later.ok_or_else(|| {
            Failure::new(
                ErrorCode::TooLarge,
                "too much has changed for this holder since that block; ask for a later one",
            )
        })?;
        for later in later {
            // newer deltas than the tails may have come meanwhile: they are not in the sum
            if later.block <= newest {
                amount = amount.plus(later.delta.amount.negated());
            }
        }
        let is_final = block <= final_height && self.is_known(chain, &contract, block).await?;
        Ok(api::Balance { amount: amount.signed(), standard: origin.pipeline.into(), block, is_final })
    }

    /// Everything that a wallet holds on a chain.
    pub async fn holdings(&self, chain: u64, wallet: &Address, only_final: bool) -> Result<api::Holdings, Failure> {
        let declared = self.chain(chain)?;
        let (holdings, fits) = self.held_by(chain, wallet, only_final).await?;
        Ok(api::Holdings { holdings, is_complete: fits && self.is_all_known(declared).await? })
    }

    /// What a wallet holds on a chain, and whether that is all of what is in the sums.
    async fn held_by(
        &self,
        chain: u64,
        wallet: &Address,
        only_final: bool,
    ) -> Result<(Vec<api::Holding>, bool), Failure> {
        let (amounts, are_all) = self.store.amounts(chain, wallet, only_final).await?;
        let shown = |(holding, amount): (Holding, Amount)| {
            (amount != Amount::ZERO && !amount.is_negative()).then(|| api::Holding {
                chain_id: chain,
                wallet: wallet.to_string(),
                contract: holding.contract.to_string(),
                standard: holding.origin.pipeline.into(),
                token: holding.class.token(),
                what: holding.class.what(),
                amount: amount.signed(),
            })
        };
        let mut holdings: Vec<api::Holding> = amounts.into_iter().filter_map(shown).collect();
        let fits = holdings.len() <= HOLDINGS_MAX;
        holdings.truncate(HOLDINGS_MAX);
        Ok((holdings, fits && are_all))
    }

    /// What changed for a wallet on a chain, the newest first. The last block is told whole, so that the next page begins below
    /// it.
    pub async fn history(
        &self,
        chain: u64,
        wallet: &Address,
        below: u64,
        limit: usize,
    ) -> Result<Vec<api::Change>, Failure> {
        self.chain(chain)?;
        let mut below = below;
        for _ in 0..EMPTY_PAGES_MAX {
            let mut found = Vec::new();
            for pipeline in Pipeline::ALL {
                let cursor = self.store.cursor(pipeline, chain).await?;
                let final_height = cursor.map_or(0, |cursor| cursor.final_height);
                let deltas = self.store.history(chain, pipeline, wallet, below, limit).await?;
                found.extend(deltas.into_iter().map(|delta| (delta, final_height)));
            }
            newest(&mut found, limit, |(tail, _)| tail);
            let Some((last, _)) = found.last() else { return Ok(Vec::new()) };
            below = last.block;
            let contracts = found.iter().map(|(tail, _)| tail.holding.contract).collect();
            let mains = self.store.mains(chain, &contracts).await?;
            found.retain(|(tail, _)| mains.count(&tail.holding));
            if !found.is_empty() {
                return Ok(found.into_iter().map(change).collect());
            }
        }
        Err(Failure::new(
            ErrorCode::TooLarge,
            "too much of this history does not count; ask for what was further below",
        ))
    }

    /// Who holds something, finally, in the order of addresses.
    pub async fn holders(&self, thing: &Thing, after: Option<Address>, limit: usize) -> Result<api::Holders, Failure> {
        let Thing { chain, contract, class, .. } = *thing;
        let origin = self.origin_of(thing).await?;
        let of = Holding { holder: Address::ZERO, contract, origin, class };
        let sums = self.store.holders(chain, &of, after, limit).await?;
        let cursor = self.store.cursor(origin.pipeline, chain).await?;
        let final_height = cursor.map_or(0, |cursor| cursor.final_height);
        let holder =
            |sum: &CompactedSum| api::Holder { wallet: sum.holding.holder.to_string(), amount: sum.amount.signed() };
        Ok(api::Holders {
            standard: origin.pipeline.into(),
            holders: sums.iter().map(holder).collect(),
            is_complete: self.is_known(chain, &contract, final_height).await?,
        })
    }

    /// Everything that the wallets of an account hold, on all chains.
    pub async fn of_account(&self, account: AccountId, only_final: bool) -> Result<api::Holdings, Failure> {
        let found = self.ctx.call(&FindAccount::Id(account)).await?;
        let found = found.ok_or_else(|| Failure::new(ErrorCode::AccountUnknown, "this account was removed"))?;
        let mut all = api::Holdings { holdings: Vec::new(), is_complete: true };
        for wallet in &found.wallets.wallets {
            let wallet = address(wallet)?;
            for chain in self.chains.iter() {
                let (holdings, fits) = self.held_by(chain.id, &wallet, only_final).await?;
                all.holdings.extend(holdings);
                all.is_complete &= fits;
            }
        }
        // a chain's gaps are the same for all wallets
        for chain in self.chains.iter() {
            all.is_complete = all.is_complete && self.is_all_known(chain).await?;
        }
        Ok(all)
    }
}

fn last_error_key(pipeline: Pipeline, chain: u64) -> String {
    format!("chain:trouble:{}:{chain}", pipeline.as_str())
}

/// A change as it is told.
fn change((tail, final_height): (Tail, u64)) -> api::Change {
    api::Change {
        contract: tail.holding.contract.to_string(),
        standard: tail.holding.origin.pipeline.into(),
        token: tail.holding.class.token(),
        what: tail.holding.class.what(),
        change: tail.delta.amount.signed(),
        other: tail.delta.other.map(|other| other.to_string()),
        transaction: tail.delta.transaction.to_string(),
        block: tail.block,
        at: from_s(tail.delta.time_s),
        is_final: tail.block <= final_height,
    }
}
