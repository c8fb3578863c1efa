//! A real EVM chain of a test's own: mined, taken back and rewritten on demand.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use alloy_primitives::{Address, B256, Bytes, U256};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rpc::{Rpc, number, quantity};
use crate::transaction::{Included, Receipt, Transaction};
use crate::{Launch, Port, Process, eventually, folder, seconds};

/// The phrase that anvil derives its accounts from, for tests that sign for themselves.
pub const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// States that anvil keeps, all in memory. It would otherwise write thousands of them into the user's home, megabytes
/// each, and leave them there.
const STATES_MAX: u64 = 256;

/// An anvil on a port of its own, with ten rich accounts that it signs for.
///
/// What its answers are like (1.7.1): with one slot an epoch `safe` is the block before the last and `finalized` the one
/// before that. `eth_getLogs` and `eth_call` beyond the head are an error, not empty. Blocks of the same second have the
/// same time. Calls at blocks more than 255 back, or before a [`restart`](Self::restart), are an error.
#[derive(Debug)]
pub struct Anvil {
    process: Process,
    port: Port,
    rpc: Rpc,
    builder: AnvilBuilder,
    accounts: Vec<Address>,
    _folder: TempDir,
}

/// What an [`Anvil`] shall be like.
#[derive(Debug, Clone)]
pub struct AnvilBuilder {
    chain_id: u64,
    slots_in_an_epoch: u64,
    hardfork: Option<String>,
    mining: bool,
}

impl AnvilBuilder {
    /// Another chain than 31337.
    #[must_use]
    pub fn chain_id(mut self, chain_id: u64) -> Self {
        self.chain_id = chain_id;
        self
    }

    /// How far `safe` is behind the head; `finalized` is twice as far. 1 by default.
    #[must_use]
    pub fn slots_in_an_epoch(mut self, slots: u64) -> Self {
        self.slots_in_an_epoch = slots;
        self
    }

    /// Rules of another time than today's. Under `cancun` thousands of blocks are mined in a second instead of a minute:
    /// later rules keep the hashes of 8,191 blocks in the state (EIP-2935), and anvil copies it for each block.
    #[must_use]
    pub fn hardfork(mut self, name: &str) -> Self {
        self.hardfork = Some(name.to_owned());
        self
    }

    /// Blocks are mined when the test says so, and not for each transaction.
    #[must_use]
    pub fn no_mining(mut self) -> Self {
        self.mining = false;
        self
    }

    /// Starts it and waits until it answers.
    pub async fn start(self) -> Result<Anvil> {
        let folder = folder("nepto-anvil-")?;
        let port = Port::reserve()?;
        let process = Process::start(Launch {
            name: "anvil".into(),
            program: anvil_program()?,
            arguments: self.arguments(&port, &folder),
            environment: Vec::new(),
            folder: folder.path().to_owned(),
        })?;
        let rpc = Rpc::new(format!("http://{}", port.address()))?;
        let mut anvil = Anvil { process, port, rpc, builder: self, accounts: Vec::new(), _folder: folder };
        anvil.ready().await?;
        anvil.accounts = serde_json::from_value(anvil.rpc("eth_accounts", json!([])).await?)?;
        Ok(anvil)
    }

    fn arguments(&self, port: &Port, folder: &TempDir) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        for (flag, value) in [
            ("--port", u64::from(port.number())),
            ("--chain-id", self.chain_id),
            ("--slots-in-an-epoch", self.slots_in_an_epoch),
            ("--prune-history", STATES_MAX),
        ] {
            arguments.extend([flag.into(), value.to_string().into()]);
        }
        arguments.extend(["--state".into(), folder.path().join("state.json").into()]);
        arguments.extend(["--cache-path".into(), folder.path().join("cache").into()]);
        if let Some(hardfork) = &self.hardfork {
            arguments.extend(["--hardfork".into(), hardfork.into()]);
        }
        if !self.mining {
            arguments.push("--no-mining".into());
        }
        arguments
    }
}

impl Anvil {
    /// Starts one that mines a block for each transaction.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Chooses what differs.
    pub fn builder() -> AnvilBuilder {
        AnvilBuilder { chain_id: 31_337, slots_in_an_epoch: 1, hardfork: None, mining: true }
    }

    /// Another one with the same blocks, which goes its own way from here: the two sides of a fork.
    pub async fn twin(&self) -> Result<Self> {
        let state = self.rpc("anvil_dumpState", json!([])).await?;
        let twin = self.builder.clone().start().await?;
        twin.rpc("anvil_loadState", json!([state])).await?;
        let head = self.block_number().await?;
        ensure!(twin.block(head).await? == self.block(head).await?, "the twin is another chain");
        Ok(twin)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where it takes JSON-RPC over HTTP: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it takes JSON-RPC over WebSocket: `ws://127.0.0.1:<port>`.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address())
    }

    /// Its chain id.
    pub const fn chain_id(&self) -> u64 {
        self.builder.chain_id
    }

    /// Ten accounts with 10,000 ether each, of [`MNEMONIC`].
    pub fn accounts(&self) -> &[Address] {
        &self.accounts
    }

    /// The result of any method.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value> {
        self.rpc.call(method, params).await
    }

    /// The height of the last block.
    pub async fn block_number(&self) -> Result<u64> {
        number(&self.rpc("eth_blockNumber", json!([])).await?).context("not a block number")
    }

    /// A block with the hashes of its transactions; null if there is none.
    pub async fn block(&self, height: u64) -> Result<Value> {
        self.rpc("eth_getBlockByNumber", json!([quantity(height), false])).await
    }

    /// Mines so many blocks; the first takes what waits.
    pub async fn mine(&self, blocks: u64) -> Result<()> {
        self.rpc("anvil_mine", json!([quantity(blocks)])).await.map(drop)
    }

    /// Whether a block is mined for each transaction.
    pub async fn set_automine(&self, on: bool) -> Result<()> {
        self.rpc("evm_setAutomine", json!([on])).await.map(drop)
    }

    /// Remembers the chain as it is, for [`revert`](Self::revert).
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot(self.rpc("evm_snapshot", json!([])).await?))
    }

    /// Takes back everything since a snapshot, which is used up. The chain is shorter then, and nobody who subscribed is
    /// told; [`reorg`](Self::reorg) is what happens on real chains.
    pub async fn revert(&self, snapshot: Snapshot) -> Result<()> {
        ensure!(self.rpc("evm_revert", json!([snapshot.0])).await? == true, "the snapshot was used already");
        Ok(())
    }

    /// Replaces the last `depth` blocks with as many others, which have other hashes. The transactions of the old ones are
    /// gone, as if never sent; those given here are mined, each in the new block whose place it names (0 is the first).
    /// One that can't be mined there is an error; the chain is another one all the same. A new one takes the nonce after
    /// its sender's other new ones, whatever is mined again: [say it](Transaction::nonce) where a sender has both.
    ///
    /// What waits in the pool goes on waiting. The head keeps its height: mine one block more for a branch that is the
    /// longer one. Depths end at 255, at the first block, and at a [`restart`](Self::restart).
    pub async fn reorg(&self, depth: u64, included: impl IntoIterator<Item = (u64, Included)>) -> Result<()> {
        let included: Vec<Value> =
            included.into_iter().map(|(place, included)| json!([included.to_json(), place])).collect();
        self.rpc("anvil_reorg", json!([depth, included])).await?;
        let head = self.block_number().await?;
        let mut mined = 0;
        for height in head + 1 - depth..=head {
            mined += self.block(height).await?["transactions"].as_array().map_or(0, Vec::len);
        }
        ensure!(mined == included.len(), "only {mined} of {} transactions could be mined again", included.len());
        Ok(())
    }

    /// Gives a transaction to the pool, and returns its hash.
    pub async fn submit(&self, transaction: &Transaction) -> Result<B256> {
        Ok(serde_json::from_value(self.rpc("eth_sendTransaction", json!([transaction.to_json()])).await?)?)
    }

    /// Sends a transaction, and mines a block if the chain does not by itself. One that is reverted is an error that says
    /// why; [`submit`](Self::submit) one that shall be.
    pub async fn send(&self, transaction: &Transaction) -> Result<Receipt> {
        let automine = self.rpc("anvil_getAutomine", json!([])).await? == true;
        let hash = self.submit(transaction).await?;
        if !automine {
            self.mine(1).await?;
        }
        let mut mined = None;
        eventually(seconds(10), async || {
            mined = self.receipt(hash).await?;
            Ok(mined.is_some())
        })
        .await
        .with_context(|| format!("{hash} is in no block"))?;
        let receipt = mined.context("no receipt")?;
        if !receipt.succeeded() {
            let before = quantity(receipt.block_number() - 1);
            let reason = self.rpc("eth_call", json!([transaction.to_json(), before])).await;
            let reason = reason.err().map_or_else(|| "for want of gas or order".to_owned(), |error| error.to_string());
            bail!("{hash} was reverted: {reason}");
        }
        Ok(receipt)
    }

    /// What became of a transaction, once it is in a block.
    pub async fn receipt(&self, transaction: B256) -> Result<Option<Receipt>> {
        Ok(serde_json::from_value(self.rpc("eth_getTransactionReceipt", json!([transaction])).await?)?)
    }

    /// A signed transaction as it was sent, to be mined again after a [`reorg`](Self::reorg).
    pub async fn raw_transaction(&self, transaction: B256) -> Result<Bytes> {
        let raw = self.rpc("eth_getRawTransactionByHash", json!([transaction])).await?;
        serde_json::from_value(raw).with_context(|| format!("{transaction} is unknown"))
    }

    /// Signs for an address too from now on, whoever has its key, and makes it rich.
    pub async fn unlock(&self, address: Address) -> Result<()> {
        self.rpc("anvil_impersonateAccount", json!([address])).await?;
        let wei = U256::from(10_000) * U256::from(1_000_000_000_000_000_000_u64);
        self.rpc("anvil_setBalance", json!([address, wei])).await.map(drop)
    }

    /// `SIGKILL`. What was mined since the start or the last [`restart`](Self::restart) is lost.
    pub fn kill9(&self) -> Result<()> {
        self.process.kill9()
    }

    /// Stops it cleanly if it runs, starts it with the same port and blocks, and waits until it answers.
    pub async fn restart(&self) -> Result<()> {
        self.process.stop(seconds(20)).await?;
        self.process.start_again()?;
        self.ready().await
    }

    /// `SIGSTOP`: connections stay open, and nobody answers.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// `SIGCONT`: goes on after [`pause`](Self::pause), with the connections that it had.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.log()
    }

    async fn ready(&self) -> Result<()> {
        let waiting = eventually(seconds(20), async || {
            let chain_id = self.rpc("eth_chainId", json!([])).await?;
            ensure!(number(&chain_id) == Some(self.chain_id()), "another chain has this port: {chain_id}");
            Ok(true)
        });
        self.process.or_ended(waiting).await
    }
}

/// A chain as it was.
#[derive(Debug)]
pub struct Snapshot(Value);

/// The program: `NEPTO_ANVIL`, or whatever is on the `PATH`.
pub fn anvil_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NEPTO_ANVIL") {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("anvil")).find(|program| program.is_file());
    found.context("anvil is missing: `cargo xtask test` installs it; or name one in NEPTO_ANVIL")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tag(anvil: &Anvil, tag: &str) -> Option<u64> {
        number(&anvil.rpc("eth_getBlockByNumber", json!([tag, false])).await.unwrap()["number"])
    }

    /// Ether from the first account to the second.
    fn gift(anvil: &Anvil, wei: u64) -> Transaction {
        Transaction::ether(anvil.accounts()[0], anvil.accounts()[1], U256::from(wei))
    }

    #[tokio::test]
    async fn a_block_is_mined_for_each_transaction_and_finality_follows() {
        let anvil = Anvil::start().await.unwrap();
        assert_eq!((anvil.chain_id(), anvil.accounts().len()), (31_337, 10));
        let receipt = anvil.send(&gift(&anvil, 5)).await.unwrap();
        assert!(receipt.succeeded() && receipt.block_number() == 1 && receipt.logs.is_empty());
        anvil.mine(4).await.unwrap();
        assert_eq!(anvil.block_number().await.unwrap(), 5);
        let tags = [tag(&anvil, "latest").await, tag(&anvil, "safe").await, tag(&anvil, "finalized").await];
        assert_eq!(tags, [Some(5), Some(4), Some(3)]);
        assert_eq!(anvil.block(6).await.unwrap(), Value::Null);
        anvil.rpc("eth_noSuchMethod", json!([])).await.unwrap_err();
    }

    #[tokio::test]
    async fn without_mining_one_block_takes_all_that_waits() {
        let anvil = Anvil::builder().chain_id(77).no_mining().start().await.unwrap();
        let hashes = [anvil.submit(&gift(&anvil, 1)).await.unwrap(), anvil.submit(&gift(&anvil, 2)).await.unwrap()];
        assert!(anvil.receipt(hashes[0]).await.unwrap().is_none());
        anvil.mine(1).await.unwrap();
        for hash in hashes {
            assert_eq!(anvil.receipt(hash).await.unwrap().unwrap().block_number(), 1);
        }
        assert_eq!(anvil.send(&gift(&anvil, 3)).await.unwrap().block_number(), 2);
        anvil.set_automine(true).await.unwrap();
        assert_eq!(anvil.send(&gift(&anvil, 4)).await.unwrap().block_number(), 3);
    }

    #[tokio::test]
    async fn a_reorg_replaces_blocks_and_forgets_or_moves_their_transactions() {
        let anvil = Anvil::start().await.unwrap();
        let (first, second) =
            (anvil.send(&gift(&anvil, 1)).await.unwrap(), anvil.send(&gift(&anvil, 2)).await.unwrap());
        anvil.mine(1).await.unwrap();
        let raw = anvil.raw_transaction(first.transaction_hash).await.unwrap();
        let mut old = Vec::new();
        for height in 0..4 {
            old.push(anvil.block(height).await.unwrap()["hash"].clone());
        }
        let other = gift(&anvil, 3).nonce(1);
        anvil.reorg(3, [(1, raw.clone().into()), (2, other.into())]).await.unwrap();
        assert_eq!(anvil.block_number().await.unwrap(), 3);
        for (height, hash) in old.iter().enumerate() {
            assert_eq!(anvil.block(height as u64).await.unwrap()["hash"] == *hash, height == 0, "{height}");
        }
        assert_eq!(anvil.rpc("eth_getBlockByHash", json!([old[3], false])).await.unwrap(), Value::Null);
        assert_eq!(anvil.receipt(first.transaction_hash).await.unwrap().unwrap().block_number(), 2);
        assert!(anvil.receipt(second.transaction_hash).await.unwrap().is_none());
        assert_eq!(anvil.block(3).await.unwrap()["transactions"].as_array().unwrap().len(), 1);
        let error = anvil.reorg(1, [(0, raw.into())]).await.unwrap_err().to_string();
        assert!(error.contains("only 0 of 1"), "{error}");
        anvil.reorg(9, []).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_snapshot_takes_the_chain_back_once() {
        let anvil = Anvil::start().await.unwrap();
        let snapshot = anvil.snapshot().await.unwrap();
        let again = Snapshot(snapshot.0.clone());
        let sent = anvil.send(&gift(&anvil, 1)).await.unwrap();
        anvil.revert(snapshot).await.unwrap();
        assert_eq!(anvil.block_number().await.unwrap(), 0);
        assert!(anvil.receipt(sent.transaction_hash).await.unwrap().is_none());
        anvil.revert(again).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_clean_stop_keeps_blocks_and_a_kill_forgets_them() {
        let anvil = Anvil::start().await.unwrap();
        let sent = anvil.send(&gift(&anvil, 1)).await.unwrap();
        anvil.restart().await.unwrap();
        let receipt = anvil.receipt(sent.transaction_hash).await.unwrap().unwrap();
        assert_eq!(receipt.block_hash, sent.block_hash);
        anvil.send(&gift(&anvil, 2)).await.unwrap();
        anvil.pause().unwrap();
        let asked = tokio::time::timeout(std::time::Duration::from_millis(200), anvil.block_number()).await;
        assert!(asked.is_err(), "a paused chain answers nobody: {asked:?}");
        anvil.resume().unwrap();
        assert_eq!(anvil.block_number().await.unwrap(), 2);
        anvil.kill9().unwrap();
        anvil.block_number().await.unwrap_err();
        anvil.restart().await.unwrap();
        assert_eq!(anvil.block_number().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_twin_shares_the_past_and_goes_its_own_way() {
        let anvil = Anvil::start().await.unwrap();
        anvil.send(&gift(&anvil, 1)).await.unwrap();
        let twin = anvil.twin().await.unwrap();
        anvil.send(&gift(&anvil, 2)).await.unwrap();
        twin.send(&gift(&anvil, 3)).await.unwrap();
        assert_eq!(anvil.block(1).await.unwrap(), twin.block(1).await.unwrap());
        let (ours, theirs) = (anvil.block(2).await.unwrap(), twin.block(2).await.unwrap());
        assert_eq!(ours["parentHash"], theirs["parentHash"]);
        assert_ne!(ours["hash"], theirs["hash"]);
    }

    #[tokio::test]
    async fn anybody_can_be_unlocked() {
        let anvil = Anvil::start().await.unwrap();
        let stranger = Address::repeat_byte(7);
        let gift = Transaction::ether(stranger, anvil.accounts()[0], U256::from(1));
        anvil.submit(&gift).await.unwrap_err();
        anvil.unlock(stranger).await.unwrap();
        anvil.send(&gift).await.unwrap();
    }
}
