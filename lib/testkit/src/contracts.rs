//! Our contracts on a test's chain, and others that misbehave. Calls are [`Transaction`]s, to be sent, put into a block
//! together or mined again by a reorg.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolConstructor};
use anyhow::{Context, Result};
use serde_json::Value;

use crate::Anvil;
use crate::transaction::Transaction;

/// Base units of the whole supply.
pub const SUPPLY: u128 = 1_000_000_000_000_000_000_000_000_000;

#[allow(missing_docs, clippy::too_many_arguments)]
mod abi {
    alloy_sol_types::sol! {
        contract NeptoToken {
            constructor(string name, string symbol, uint256 supply, address holder);
            function transfer(address to, uint256 amount) external returns (bool);
            function transferFrom(address from, address to, uint256 amount) external returns (bool);
            function approve(address spender, uint256 amount) external returns (bool);
        }
        contract Staking {
            constructor(address stakingToken, address rewardsToken, uint256 rewardsDuration, address owner);
            function stake(uint256 amount) external;
            function withdraw(uint256 amount) external;
            function getReward() external;
            function exit() external;
            function notifyRewardAmount(uint256 reward) external;
        }
        contract NeptoPass {
            constructor(string name, string symbol, string base, uint256 maxSupply, address owner);
            function mint(address to) external returns (uint256 id);
            function transferFrom(address from, address to, uint256 id) external;
            function setBaseURI(string base) external;
        }
        contract NeptoBadge {
            constructor(string uri, address owner);
            function mint(address to, uint256 id, uint256 amount) external;
            function mintBatch(address to, uint256[] ids, uint256[] amounts) external;
            function burn(address from, uint256 id, uint256 amount) external;
            function safeTransferFrom(address from, address to, uint256 id, uint256 amount, bytes data) external;
            function safeBatchTransferFrom(address from, address to, uint256[] ids, uint256[] amounts, bytes data) external;
            function setURI(string uri) external;
        }
        contract MultiSender {
            function sendToken(address token, address[] recipients, uint256[] amounts, uint256 total, bytes32 contentHash, string message) external returns (uint256 batchId);
            function sendEther(address[] recipients, uint256[] amounts, bytes32 contentHash, string message) external payable returns (uint256 batchId);
            function setOptedOut(bool out) external;
        }
        contract LogEmitter {
            struct Entry { bytes32[] topics; bytes data; }
            function emitLogs(Entry[] entries) external;
        }
    }
}

/// All of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// Has the whole supply, and gives passes, badges and rewards away: the chain's first account.
    pub owner: Address,
    /// Nepto's token, an ERC-20 with 18 decimals.
    pub token: Token,
    /// Stakes and rewards, both in the token. A reward flows for a week.
    pub staking: Staking,
    /// A collection of passes, an ERC-721.
    pub pass: Pass,
    /// Badges of many kinds, an ERC-1155.
    pub badge: Badge,
    /// Payments to many.
    pub multisender: MultiSender,
    /// The first block with any of them.
    pub start_block: u64,
}

impl Contracts {
    /// Deploys them all.
    pub async fn deploy(anvil: &Anvil) -> Result<Self> {
        let owner = *anvil.accounts().first().context("the chain has no accounts")?;
        let start_block = anvil.block_number().await? + 1;
        let token = abi::NeptoToken::constructorCall {
            name: "Nepto".into(),
            symbol: "NEP".into(),
            supply: U256::from(SUPPLY),
            holder: owner,
        };
        let token = deploy(anvil, "NeptoToken.sol/NeptoToken", &token.abi_encode()).await?;
        let staking = abi::Staking::constructorCall {
            stakingToken: token,
            rewardsToken: token,
            rewardsDuration: U256::from(7 * 24 * 60 * 60),
            owner,
        };
        let pass = abi::NeptoPass::constructorCall {
            name: "Nepto Pass".into(),
            symbol: "NEPP".into(),
            base: "https://example.org/pass/".into(),
            maxSupply: U256::from(10_000),
            owner,
        };
        let badge = abi::NeptoBadge::constructorCall { uri: "https://example.org/badge/{id}".into(), owner };
        Ok(Self {
            owner,
            token: Token(token),
            staking: Staking(deploy(anvil, "Staking.sol/Staking", &staking.abi_encode()).await?),
            pass: Pass(deploy(anvil, "NeptoPass.sol/NeptoPass", &pass.abi_encode()).await?),
            badge: Badge(deploy(anvil, "NeptoBadge.sol/NeptoBadge", &badge.abi_encode()).await?),
            multisender: MultiSender(deploy(anvil, "MultiSender.sol/MultiSender", &[]).await?),
            start_block,
        })
    }
}

/// Deploys one contract from the chain's first account, and returns where it is.
///
/// `artifact` is its place below `NEPTO_CONTRACTS`, where forge put it: `<file>.sol/<name>`. `arguments` are those of its
/// constructor, encoded.
pub async fn deploy(anvil: &Anvil, artifact: &str, arguments: &[u8]) -> Result<Address> {
    let owner = *anvil.accounts().first().context("the chain has no accounts")?;
    let mut code = creation_code(artifact)?;
    code.extend_from_slice(arguments);
    let receipt = anvil.send(&Transaction::create(owner, code)).await.with_context(|| artifact.to_owned())?;
    receipt.contract_address.with_context(|| format!("{artifact} has no address"))
}

fn creation_code(artifact: &str) -> Result<Vec<u8>> {
    let folder = std::env::var_os("NEPTO_CONTRACTS").map(PathBuf::from);
    let folder =
        folder.context("no compiled contracts: `cargo xtask test` compiles them and says where in NEPTO_CONTRACTS")?;
    let path = folder.join(artifact).with_extension("json");
    let text = std::fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let compiled: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let code = compiled["bytecode"]["object"].as_str().with_context(|| format!("{artifact} has no code"))?;
    hex::decode(code).with_context(|| format!("{artifact} is not linked"))
}

/// An ERC-20 token of ours (`NeptoToken.sol`), at this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(pub Address);

impl Token {
    /// Deploys one that keeps a hundredth of every transfer. All is the first account's.
    pub async fn deploy_with_fee(anvil: &Anvil) -> Result<Self> {
        Ok(Self(deploy(anvil, "Tokens.sol/FeeToken", &[]).await?))
    }

    /// Deploys one from before the standard: its calls answer nothing, and it emits nothing. All is the first account's.
    pub async fn deploy_silent(anvil: &Anvil) -> Result<Self> {
        Ok(Self(deploy(anvil, "Tokens.sol/OldToken", &[]).await?))
    }

    /// `transfer` of so many base units, sent by their holder.
    pub fn transfer(self, from: Address, to: Address, amount: u128) -> Transaction {
        let amount = U256::from(amount);
        Transaction::call(from, self.0, abi::NeptoToken::transferCall { to, amount }.abi_encode())
    }

    /// `transferFrom` by who was allowed to.
    pub fn transfer_from(self, sender: Address, from: Address, to: Address, amount: u128) -> Transaction {
        let amount = U256::from(amount);
        Transaction::call(sender, self.0, abi::NeptoToken::transferFromCall { from, to, amount }.abi_encode())
    }

    /// `approve`: who may move so many base units of the sender's.
    pub fn approve(self, from: Address, spender: Address, amount: u128) -> Transaction {
        let amount = U256::from(amount);
        Transaction::call(from, self.0, abi::NeptoToken::approveCall { spender, amount }.abi_encode())
    }
}

/// Our staking contract (`Staking.sol`), at this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staking(pub Address);

impl Staking {
    /// Stakes what was approved before.
    pub fn stake(self, from: Address, amount: u128) -> Transaction {
        Transaction::call(from, self.0, abi::Staking::stakeCall { amount: U256::from(amount) }.abi_encode())
    }

    /// Takes stake back.
    pub fn withdraw(self, from: Address, amount: u128) -> Transaction {
        Transaction::call(from, self.0, abi::Staking::withdrawCall { amount: U256::from(amount) }.abi_encode())
    }

    /// Takes the reward. Without one nothing is emitted.
    pub fn get_reward(self, from: Address) -> Transaction {
        Transaction::call(from, self.0, abi::Staking::getRewardCall {}.abi_encode())
    }

    /// Takes all of one's stake out, and the reward.
    pub fn exit(self, from: Address) -> Transaction {
        Transaction::call(from, self.0, abi::Staking::exitCall {}.abi_encode())
    }

    /// Lets a reward flow, which the contract must hold already.
    pub fn notify_reward_amount(self, owner: Address, reward: u128) -> Transaction {
        let reward = U256::from(reward);
        Transaction::call(owner, self.0, abi::Staking::notifyRewardAmountCall { reward }.abi_encode())
    }
}

/// Our passes; ids count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass(pub Address);

impl Pass {
    /// Gives the next one away.
    pub fn mint(self, owner: Address, to: Address) -> Transaction {
        Transaction::call(owner, self.0, abi::NeptoPass::mintCall { to }.abi_encode())
    }

    /// Hands one's own on.
    pub fn transfer_from(self, from: Address, to: Address, id: u128) -> Transaction {
        let id = U256::from(id);
        Transaction::call(from, self.0, abi::NeptoPass::transferFromCall { from, to, id }.abi_encode())
    }

    /// Says where descriptions are: this, and then the id.
    pub fn set_base_uri(self, owner: Address, base: &str) -> Transaction {
        let base = base.to_owned();
        Transaction::call(owner, self.0, abi::NeptoPass::setBaseURICall { base }.abi_encode())
    }
}

/// Our badges, of many kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge(pub Address);

impl Badge {
    /// Gives some of a kind away.
    pub fn mint(self, owner: Address, to: Address, id: u128, amount: u128) -> Transaction {
        let (id, amount) = (U256::from(id), U256::from(amount));
        Transaction::call(owner, self.0, abi::NeptoBadge::mintCall { to, id, amount }.abi_encode())
    }

    /// Gives several kinds away: pairs of a kind and how many.
    pub fn mint_batch(self, owner: Address, to: Address, badges: &[(u128, u128)]) -> Transaction {
        let (ids, amounts) = columns(badges);
        Transaction::call(owner, self.0, abi::NeptoBadge::mintBatchCall { to, ids, amounts }.abi_encode())
    }

    /// Takes one's own out of the world.
    pub fn burn(self, from: Address, id: u128, amount: u128) -> Transaction {
        let (id, amount) = (U256::from(id), U256::from(amount));
        Transaction::call(from, self.0, abi::NeptoBadge::burnCall { from, id, amount }.abi_encode())
    }

    /// Hands one's own of a kind on.
    pub fn safe_transfer_from(self, from: Address, to: Address, id: u128, amount: u128) -> Transaction {
        let (id, amount, data) = (U256::from(id), U256::from(amount), Bytes::new());
        let call = abi::NeptoBadge::safeTransferFromCall { from, to, id, amount, data };
        Transaction::call(from, self.0, call.abi_encode())
    }

    /// Hands one's own of several kinds on: pairs of a kind and how many.
    pub fn safe_batch_transfer_from(self, from: Address, to: Address, badges: &[(u128, u128)]) -> Transaction {
        let ((ids, amounts), data) = (columns(badges), Bytes::new());
        let call = abi::NeptoBadge::safeBatchTransferFromCall { from, to, ids, amounts, data };
        Transaction::call(from, self.0, call.abi_encode())
    }

    /// Says where descriptions are, with `{id}` in it.
    pub fn set_uri(self, owner: Address, uri: &str) -> Transaction {
        let uri = uri.to_owned();
        Transaction::call(owner, self.0, abi::NeptoBadge::setURICall { uri }.abi_encode())
    }
}

/// Our payments to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiSender(pub Address);

impl MultiSender {
    /// Gas for one recipient who had nothing before, with room.
    const RECIPIENT_GAS: u64 = 45_000;

    /// Sends a token, of which the sum must have been approved: two transfers and a `Paid` for each recipient.
    pub fn send_token(self, from: Address, token: Token, parts: &[(Address, u128)], message: &str) -> Transaction {
        let call = abi::MultiSender::sendTokenCall {
            token: token.0,
            recipients: recipients(parts),
            amounts: amounts(parts),
            total: total(parts),
            contentHash: content_hash(message),
            message: message.to_owned(),
        };
        Transaction::call(from, self.0, call.abi_encode()).gas(gas(parts))
    }

    /// Sends ether to many: `parts` are the recipients and what each gets, in wei.
    pub fn send_ether(self, from: Address, parts: &[(Address, u128)], message: &str) -> Transaction {
        let call = abi::MultiSender::sendEtherCall {
            recipients: recipients(parts),
            amounts: amounts(parts),
            contentHash: content_hash(message),
            message: message.to_owned(),
        };
        Transaction::call(from, self.0, call.abi_encode()).value(total(parts)).gas(gas(parts))
    }

    /// Opts out of what `MultiSender` pays, or in again.
    pub fn set_opted_out(self, from: Address, out: bool) -> Transaction {
        Transaction::call(from, self.0, abi::MultiSender::setOptedOutCall { out }.abi_encode())
    }
}

/// Emits any logs, as any token might.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEmitter(pub Address);

impl LogEmitter {
    /// Deploys one from the chain's first account.
    pub async fn deploy(anvil: &Anvil) -> Result<Self> {
        Ok(Self(deploy(anvil, "LogEmitter.sol/LogEmitter", &[]).await?))
    }

    /// Emits these in one transaction: up to four topics, and data.
    pub fn emit(self, from: Address, logs: &[(Vec<B256>, Bytes)]) -> Transaction {
        let entry =
            |(topics, data): &(Vec<B256>, Bytes)| abi::LogEmitter::Entry { topics: topics.clone(), data: data.clone() };
        let call = abi::LogEmitter::emitLogsCall { entries: logs.iter().map(entry).collect() };
        Transaction::call(from, self.0, call.abi_encode()).gas(15_000_000)
    }
}

fn columns(badges: &[(u128, u128)]) -> (Vec<U256>, Vec<U256>) {
    badges.iter().map(|&(id, amount)| (U256::from(id), U256::from(amount))).unzip()
}

fn recipients(parts: &[(Address, u128)]) -> Vec<Address> {
    parts.iter().map(|(recipient, _)| *recipient).collect()
}

fn amounts(parts: &[(Address, u128)]) -> Vec<U256> {
    parts.iter().map(|(_, amount)| U256::from(*amount)).collect()
}

fn total(parts: &[(Address, u128)]) -> U256 {
    amounts(parts).iter().sum()
}

fn content_hash(message: &str) -> B256 {
    alloy_primitives::keccak256(message)
}

fn gas(parts: &[(Address, u128)]) -> u64 {
    300_000 + MultiSender::RECIPIENT_GAS * parts.len() as u64
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    /// First topics of a transaction's logs.
    async fn events(anvil: &Anvil, transaction: Transaction) -> Vec<B256> {
        let receipt = anvil.send(&transaction).await.unwrap();
        let first = |log: &Value| log["topics"][0].as_str().unwrap().parse().unwrap();
        receipt.logs.iter().map(first).collect()
    }

    fn topics(signatures: &[&str]) -> Vec<B256> {
        signatures.iter().map(keccak256).collect()
    }

    const TRANSFER: &str = "Transfer(address,address,uint256)";
    const APPROVAL: &str = "Approval(address,address,uint256)";
    const SINGLE: &str = "TransferSingle(address,address,address,uint256,uint256)";
    const BATCH: &str = "TransferBatch(address,address,address,uint256[],uint256[])";

    #[tokio::test]
    async fn every_call_does_what_it_says() {
        let anvil = Anvil::start().await.unwrap();
        let nepto = Contracts::deploy(&anvil).await.unwrap();
        assert_eq!(nepto.start_block, 1);
        let Contracts { owner, token, staking, pass, badge, multisender, .. } = nepto;
        let [alice, bob] = [anvil.accounts()[1], anvil.accounts()[2]];
        for (transaction, emitted) in [
            (token.transfer(owner, alice, 1_000), &[TRANSFER][..]),
            (token.approve(alice, bob, 10), &[APPROVAL]),
            (token.transfer_from(bob, alice, bob, 10), &[TRANSFER]),
            (token.transfer(owner, staking.0, SUPPLY / 10), &[TRANSFER]),
            (token.approve(alice, staking.0, 500), &[APPROVAL]),
            (staking.stake(alice, 500), &[TRANSFER, "Staked(address,uint256)"]),
            (staking.notify_reward_amount(owner, SUPPLY / 10), &["RewardAdded(uint256)"]),
            (staking.withdraw(alice, 100), &[TRANSFER, "Withdrawn(address,uint256)"]),
            (pass.mint(owner, alice), &[TRANSFER]),
            (pass.transfer_from(alice, bob, 1), &[TRANSFER]),
            (badge.mint(owner, alice, 7, 3), &[SINGLE]),
            (badge.mint_batch(owner, alice, &[(8, 2), (9, 1)]), &[BATCH]),
            (badge.safe_transfer_from(alice, bob, 7, 1), &[SINGLE]),
            (badge.safe_batch_transfer_from(alice, bob, &[(8, 1), (9, 1)]), &[BATCH]),
            (badge.burn(bob, 7, 1), &[SINGLE]),
            (multisender.set_opted_out(bob, true), &["OptedOut(address,bool)"]),
        ] {
            assert_eq!(events(&anvil, transaction).await, topics(emitted));
        }
        anvil.rpc("evm_increaseTime", serde_json::json!([3600])).await.unwrap();
        anvil.mine(1).await.unwrap();
        let paid = [TRANSFER, "RewardPaid(address,uint256)"];
        assert_eq!(events(&anvil, staking.get_reward(alice)).await, topics(&paid));
        let left = events(&anvil, staking.exit(alice)).await;
        assert_eq!(left[..2], topics(&[TRANSFER, "Withdrawn(address,uint256)"]));
    }

    #[tokio::test]
    async fn one_transaction_pays_many() {
        let anvil = Anvil::start().await.unwrap();
        let Contracts { owner, token, multisender, .. } = Contracts::deploy(&anvil).await.unwrap();
        let parts: Vec<(Address, u128)> = (0..400_u16)
            .map(|number| {
                let mut address = [0x77; 20];
                address[..2].copy_from_slice(&number.to_be_bytes());
                (Address::from(address), 1 + u128::from(number))
            })
            .collect();
        anvil.send(&token.approve(owner, multisender.0, SUPPLY)).await.unwrap();
        let receipt = anvil.send(&multisender.send_token(owner, token, &parts, "gm")).await.unwrap();
        assert_eq!(receipt.logs.len(), 1 + 2 * parts.len() + 1);
        let receipt = anvil.send(&multisender.send_ether(owner, &parts, "gm")).await.unwrap();
        assert_eq!(receipt.logs.len(), parts.len() + 1);
    }

    #[tokio::test]
    async fn a_transaction_that_is_reverted_says_why() {
        let anvil = Anvil::start().await.unwrap();
        let Contracts { token, .. } = Contracts::deploy(&anvil).await.unwrap();
        let [poor, other] = [anvil.accounts()[1], anvil.accounts()[2]];
        let error = anvil.send(&token.transfer(poor, other, 1)).await.unwrap_err().to_string();
        assert!(error.contains("was reverted") && error.contains("0xe450d38c"), "{error}");
    }

    #[tokio::test]
    async fn tokens_that_follow_no_standard() {
        let anvil = Anvil::start().await.unwrap();
        let [owner, alice] = [anvil.accounts()[0], anvil.accounts()[1]];
        let fee = Token::deploy_with_fee(&anvil).await.unwrap();
        assert_eq!(events(&anvil, fee.transfer(owner, alice, 1_000)).await, topics(&[TRANSFER, TRANSFER]));
        let silent = Token::deploy_silent(&anvil).await.unwrap();
        assert!(events(&anvil, silent.transfer(owner, alice, 1_000)).await.is_empty());
        let emitter = LogEmitter::deploy(&anvil).await.unwrap();
        let topic = B256::repeat_byte;
        let logs: Vec<(Vec<B256>, Bytes)> = (0..5_u8)
            .map(|count| ((0..count).map(topic).collect(), Bytes::from(vec![count; usize::from(count) * 20])))
            .collect();
        let receipt = anvil.send(&emitter.emit(alice, &logs)).await.unwrap();
        for (log, (topics, data)) in receipt.logs.iter().zip(&logs) {
            assert_eq!(log["topics"], serde_json::json!(topics));
            assert_eq!(log["data"], serde_json::json!(data));
        }
        assert_eq!(receipt.logs.len(), 5);
    }
}
