//! A chain full of transfers, and how far a server is with them.

use std::time::Duration;

use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use nepto_proto::api::chain::ChainStatus;
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Included, Server, WatchedChain};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use super::bar;

/// How long a server may take for everything.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The busiest holder is in so much more transfers than the tenth.
const SKEW: f64 = 2.5;

/// Transfers of one token, a transaction a block.
pub struct World {
    pub anvil: Anvil,
    pub contracts: Contracts,
    /// Transfers of the token, those of its deployment included.
    pub events: u64,
    pub blocks: u64,
    first: u64,
}

impl World {
    /// Messages with payments to many holders each: one transfer for each, and one for the sum.
    pub async fn with_transfers(events: u64, holders: usize, per_block: u64) -> Result<Self> {
        // thousands of blocks a second
        let anvil = Anvil::builder().hardfork("cancun").start().await?;
        let contracts = Contracts::deploy(&anvil).await?;
        let mut rng = StdRng::seed_from_u64(1);
        let people: Vec<Address> = (0..holders.max(1)).map(|_| Address::from(rng.random::<[u8; 20]>())).collect();
        let Contracts { owner, token, multisender, .. } = contracts;
        anvil.send(&token.approve(owner, multisender.0, u128::MAX)).await?;
        let first = anvil.block_number().await? + 1;
        let bar = bar("making transfers", events);
        let mut made = 0;
        while made < events {
            let parts: Vec<(Address, u128)> = (0..per_block)
                .map(|_| {
                    let place = (rng.random::<f64>().powf(SKEW) * people.len() as f64) as usize;
                    (people[place.min(people.len() - 1)], rng.random_range(1..1_000))
                })
                .collect();
            anvil.send(&multisender.send_token(owner, token, &parts, "").gas(16_000_000)).await?;
            made += per_block + 1;
            bar.set_position(made);
        }
        bar.finish_and_clear();
        let blocks = anvil.block_number().await? + 1 - first;
        // the whole supply was a transfer too
        Ok(Self { anvil, contracts, events: made + 1, blocks, first })
    }

    /// The token alone is watched.
    pub fn chain(&self) -> WatchedChain {
        WatchedChain::of(&self.anvil, 0)
            .set("finality", 64)
            .set("poll_ms", 1_000)
            .set("ws", vec![self.anvil.ws_url()])
            .contract("erc20", self.contracts.token.0, 1)
    }

    /// The transactions of the last blocks, to be mined again at their places.
    pub async fn transactions_of_last(&self, blocks: u64) -> Result<Vec<(u64, Included)>> {
        let head = self.anvil.block_number().await?;
        ensure!(head >= self.first + blocks - 1, "there are no {blocks} blocks with transfers");
        let mut again = Vec::new();
        for place in 0..blocks {
            let block = self.anvil.block(head + 1 - blocks + place).await?;
            for hash in block["transactions"].as_array().into_iter().flatten() {
                let hash = hash.as_str().unwrap_or_default().parse()?;
                again.push((place, Included::Again(self.anvil.raw_transaction(hash).await?)));
            }
        }
        Ok(again)
    }

    /// Waits until the pipeline has taken every event.
    pub async fn until_taken(&self, server: &Server, what: &'static str) -> Result<()> {
        let bar = bar(what, self.events);
        let started = Instant::now();
        loop {
            let taken = taken(&status(server).await?);
            bar.set_position(taken);
            if taken >= self.events {
                bar.finish_and_clear();
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "only {taken} of {} events were taken", self.events);
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the collector has every block.
    pub async fn until_collected(&self, server: &Server) -> Result<()> {
        let head = self.anvil.block_number().await?;
        let bar = bar("collecting", head);
        let started = Instant::now();
        while status(server).await?.height < head {
            bar.set_position(status(server).await?.height);
            ensure!(started.elapsed() < PATIENCE, "the blocks were not collected");
            sleep(LOOK_EVERY).await;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Events that the pipeline has taken.
    pub async fn taken(&self, server: &Server) -> Result<u64> {
        Ok(taken(&status(server).await?))
    }

    /// Waits until a server is at the head, and its pipelines with it.
    pub async fn until_settled(&self, server: &Server) -> Result<()> {
        let head = self.anvil.block(self.anvil.block_number().await?).await?;
        let hash = head["hash"].as_str().context("no head")?.to_owned();
        let started = Instant::now();
        loop {
            let status = status(server).await?;
            if status.hash == hash && status.pipelines.iter().all(|pipeline| pipeline.behind_steps == 0) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "the new blocks were not collected: {status:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Events that its pipeline of tokens has taken.
pub fn taken(status: &ChainStatus) -> u64 {
    status.pipelines.iter().find(|pipeline| pipeline.name == "erc20").map_or(0, |pipeline| pipeline.events)
}

/// How far a server is with its only chain.
pub async fn status(server: &Server) -> Result<ChainStatus> {
    let chains: Vec<ChainStatus> = reqwest::get(format!("{}/chains", server.admin_url())).await?.json().await?;
    chains.into_iter().next().context("no chain is watched")
}
