//! A chain, a server that watches it, and somebody who may ask.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use anyhow::{Context, Result, ensure};
use nepto_proto::api::chain::ChainStatus;
use nepto_sdk::{Client, Env, LoginOptions, Wallet};
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Stack, WatchedChain, eventually, seconds};
use serde_json::{Value, json};

/// How long everything may take to be known.
const SETTLED_WITHIN: u64 = 30;

pub struct World {
    pub anvil: Anvil,
    pub contracts: Contracts,
    pub stack: Stack,
    http: reqwest::Client,
    client: Client,
    /// Of the one who asks. It has nothing.
    pub wallet: Address,
}

impl World {
    /// Our contracts on a chain where a block is final with so many on top.
    pub async fn new(finality: u64) -> Result<Self> {
        let anvil = Anvil::start().await?;
        let contracts = Contracts::deploy(&anvil).await?;
        let chain = WatchedChain::of(&anvil, finality).contracts(&contracts);
        Self::watching(anvil, contracts, &chain).await
    }

    pub async fn watching(anvil: Anvil, contracts: Contracts, chain: &WatchedChain) -> Result<Self> {
        let stack = Stack::builder().unlimited().chain(chain).all().await?;
        Self::with(anvil, contracts, stack).await
    }

    pub async fn with(anvil: Anvil, contracts: Contracts, stack: Stack) -> Result<Self> {
        let key: [u8; 32] = Env::system().bytes();
        let wallet = Wallet::from_private_key(&hex::encode(key))?;
        let client = Client::login(LoginOptions::new(stack.url()), &wallet).await?;
        Ok(Self { anvil, contracts, stack, http: crate::http::client(), client, wallet: wallet.address() })
    }

    /// The first chain of the configuration.
    pub async fn status(&self) -> Result<ChainStatus> {
        let chains: Vec<ChainStatus> =
            crate::http::get(format!("{}/chains", self.stack.api.admin_url())).await?.json().await?;
        chains.into_iter().next().context("no chain is configured")
    }

    /// Waits until the newest block is collected and every pipeline has taken everything.
    pub async fn settled(&self) -> Result<ChainStatus> {
        let mut last = ChainStatus::default();
        let head = self.anvil.block(self.anvil.block_number().await?).await?;
        let waiting = eventually(seconds(SETTLED_WITHIN), async || {
            last = self.status().await?;
            let is_there = last.hash == head["hash"].as_str().unwrap_or_default() && last.gaps.is_empty();
            Ok(is_there
                && last.pipelines.len() == 5
                && last.pipelines.iter().all(|pipeline| pipeline.behind_steps == 0))
        });
        waiting.await.with_context(|| format!("{last:#?}"))?;
        Ok(last)
    }

    /// As if the time of every lease was over, of those above all who died with one.
    pub async fn free_leases(&self) -> Result<()> {
        let mut redis = self.stack.redis.client().await?;
        let leases: Vec<String> = redis::cmd("KEYS").arg("lease:*").query_async(&mut redis).await?;
        for lease in leases {
            redis::cmd("DEL").arg(lease).query_async::<()>(&mut redis).await?;
        }
        Ok(())
    }

    /// The answer of the API, whatever its status.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        let token = self.client.http().access_token().await?;
        let response =
            self.http.get(format!("{}/v1/assets/{path}", self.stack.url())).bearer_auth(token).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    /// The same for a request with a body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let token = self.client.http().access_token().await?;
        let request = self.http.post(format!("{}/v1/assets/{path}", self.stack.url())).bearer_auth(token).json(body);
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn read(&self, path: &str) -> Result<Value> {
        let (status, answer) = self.get(path).await?;
        ensure!(status == 200, "{path}: {status} {answer}");
        Ok(answer)
    }

    /// What the server says that somebody holds; `more` narrows the question.
    pub async fn balance(&self, contract: Address, holder: Address, more: &str) -> Result<String> {
        let path = format!("{}/contracts/{contract}/balance?holder={holder}{more}", self.anvil.chain_id());
        let answer = self.read(&path).await?;
        Ok(answer["amount"].as_str().context("no amount")?.to_owned())
    }

    /// Whether everything that a contract logged is in what the server says of it.
    pub async fn is_complete(&self, contract: Address) -> Result<bool> {
        let answer = self.read("contracts").await?;
        let contracts = answer["contracts"].as_array().context("no contracts")?;
        let of = contracts.iter().find(|known| known["address"] == contract.to_string().as_str());
        of.and_then(|of| of["is_complete"].as_bool()).context("not watched")
    }

    /// Who finally holds a thing, with the amounts.
    pub async fn holders(&self, contract: Address, more: &str) -> Result<BTreeMap<String, String>> {
        let answer = self.read(&format!("{}/contracts/{contract}/holders?{more}", self.anvil.chain_id())).await?;
        let holders = answer["holders"].as_array().context("no holders")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(holders.iter().map(|holder| (text(&holder["wallet"]), text(&holder["amount"]))).collect())
    }

    /// Everything that somebody holds: contract, token and what, with the amount.
    pub async fn holdings(&self, holder: Address) -> Result<BTreeMap<(String, String, String), String>> {
        let answer = self.read(&format!("{}/wallets/{holder}", self.anvil.chain_id())).await?;
        let holdings = answer["holdings"].as_array().context("no holdings")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let holding = |holding: &Value| {
            let key = (text(&holding["contract"]), text(&holding["token"]), text(&holding["what"]));
            (key, text(&holding["amount"]))
        };
        Ok(holdings.iter().map(holding).collect())
    }

    /// Who owns a pass, as the server says; `None` for nobody.
    pub async fn owner(&self, token: u128, at: &str) -> Result<Option<String>> {
        let pass = self.contracts.pass.0;
        let (status, answer) =
            self.get(&format!("{}/contracts/{pass}/tokens/{token}/owner{at}", self.anvil.chain_id())).await?;
        match status {
            200 => Ok(answer["owner"].as_str().map(str::to_owned)),
            404 => Ok(None),
            _ => anyhow::bail!("{status} {answer}"),
        }
    }

    /// What the chain itself says: a call with words for arguments.
    pub async fn on_chain(&self, contract: Address, call: &str, words: &[U256], block: &str) -> Result<Option<U256>> {
        let selector = &alloy_primitives::keccak256(call)[..4];
        let words: String = words.iter().map(|word| format!("{word:064x}")).collect();
        let data = format!("0x{}{words}", hex::encode(selector));
        let answer = self.anvil.rpc("eth_call", json!([{ "to": contract, "data": data }, block])).await;
        Ok(answer.ok().and_then(|answer| answer.as_str()?.parse().ok()))
    }

    /// Compares what the server knows of these holders with what the chain says, at its head.
    pub async fn agrees_about(&self, holders: &[Address]) -> Result<()> {
        let Contracts { token, pass, staking, badge, multisender, .. } = self.contracts;
        for holder in holders {
            let words = [word(*holder), U256::ONE];
            let chain = self.on_chain(badge.0, "balanceOf(address,uint256)", &words, "latest").await?;
            let ours = self.balance(badge.0, *holder, "&token=1").await?;
            ensure!(
                chain.is_some_and(|chain| chain.to_string() == ours),
                "{holder} has {chain:?} badges, we say {ours}"
            );
            for (contract, what) in [(token.0, "held"), (pass.0, "held"), (staking.0, "staked")] {
                let chain = self.on_chain(contract, "balanceOf(address)", &[word(*holder)], "latest").await?;
                let ours = self.balance(contract, *holder, &format!("&what={what}")).await?;
                let chain = chain.context("no balance")?.to_string();
                ensure!(ours == chain, "{holder} has {chain} of {contract} ({what}), and we say {ours}");
            }
        }
        let chain = self.on_chain(multisender.0, "batches()", &[], "latest").await?.context("no batches")?;
        let sent =
            self.read(&format!("{}/contracts/{}/messages?limit=200", self.anvil.chain_id(), multisender.0)).await?;
        let sent: Vec<&Value> =
            sent["messages"].as_array().context("no messages")?.iter().map(|m| &m["batch"]).collect();
        let expected: Vec<Value> = (1..=chain.to::<u64>()).rev().map(|batch| batch.to_string().into()).collect();
        ensure!(sent.iter().copied().eq(expected.iter().take(200)), "{chain} messages were sent, and we say {sent:?}");
        Ok(())
    }
}

/// An address as the argument of a call.
pub fn word(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}
