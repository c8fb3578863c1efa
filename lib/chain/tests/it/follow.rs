//! Following a chain through forks, lag and disagreement.

use alloy_primitives::keccak256;
use nepto_chain::follow::{FollowError, Known, Move, next};
use nepto_chain::receipts::Encoding;
use nepto_chain::rpc::{Addresses, Limits, Pool, RpcError};
use nepto_chain::source::{Finality, Source};
use nepto_chain::watch::Watch;
use nepto_testkit::{Anvil, Lie, LyingRpc};

const WINDOW: u64 = 64;

struct Follower {
    source: Source,
    known: Known,
    watch: Watch,
}

impl Follower {
    async fn new(urls: &[String], finality: u64) -> Self {
        Self::with(urls.into(), finality).await
    }

    async fn with(urls: Addresses, finality: u64) -> Self {
        let pool = Pool::new(urls, Limits::default()).unwrap();
        let source = Source::new(pool, Encoding::Ethereum, Finality::Depth(finality));
        let genesis = source.header(0).await.unwrap();
        let mut watch = Watch::default();
        watch.add(alloy_primitives::Address::repeat_byte(1), [keccak256("A()")]);
        let known = Known { hashes: [(0, genesis.hash())].into(), final_height: 0 };
        Self { source, known, watch }
    }

    /// Follows until there is nothing more to do; what it did, in short.
    async fn settle(&mut self) -> Result<Vec<String>, FollowError> {
        let mut done = Vec::new();
        loop {
            let step = match self.next().await {
                // for now
                Err(FollowError::NoBlock { .. }) => return Ok(done),
                step => step?,
            };
            self.known.apply(&step, WINDOW);
            done.push(match &step {
                Move::Advance { blocks, .. } => format!("+{}", blocks.len()),
                Move::Revert { to } => format!("to {to}"),
                Move::Finalize { height } => format!("final {height}"),
                Move::Wait => return Ok(done),
            });
        }
    }

    async fn next(&self) -> Result<Move, FollowError> {
        next(&self.source, &self.known, &self.watch, 5).await
    }

    async fn is_at_the_head_of(&self, anvil: &Anvil) {
        let head = anvil.block_number().await.unwrap();
        let hash = anvil.block(head).await.unwrap()["hash"].as_str().unwrap().parse().unwrap();
        assert_eq!(self.known.tip(), Some((head, hash)));
    }
}

#[tokio::test]
async fn a_chain_is_followed_in_pieces_and_through_forks_of_any_depth() {
    let anvil = Anvil::start().await.unwrap();
    anvil.mine(12).await.unwrap();
    let mut follower = Follower::new(&[anvil.url()], 40).await;
    assert_eq!(follower.settle().await.unwrap(), ["+5", "+5", "+2"]);
    for depth in [1, 2, 3, 7, 11] {
        anvil.reorg(depth, []).await.unwrap();
        let head = anvil.block_number().await.unwrap();
        let done = follower.settle().await.unwrap();
        assert_eq!(done[0], format!("to {}", head - depth), "depth {depth}: {done:?}");
        follower.is_at_the_head_of(&anvil).await;
        anvil.mine(1).await.unwrap();
        follower.settle().await.unwrap();
        follower.is_at_the_head_of(&anvil).await;
    }
}

#[tokio::test]
async fn nothing_below_a_final_block_is_orphaned() {
    let anvil = Anvil::start().await.unwrap();
    anvil.mine(20).await.unwrap();
    let mut follower = Follower::new(&[anvil.url()], 5).await;
    follower.settle().await.unwrap();
    assert_eq!(follower.known.final_height, 15);
    anvil.reorg(5, []).await.unwrap();
    assert_eq!(follower.settle().await.unwrap()[0], "to 15", "down to the final block it is followed");
    anvil.reorg(6, []).await.unwrap();
    assert_eq!(follower.settle().await.unwrap_err(), FollowError::TooDeep { floor: 15 });
}

#[tokio::test]
async fn nodes_that_lag_or_stop_change_nothing() {
    let anvil = Anvil::start().await.unwrap();
    anvil.mine(10).await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let mut follower = Follower::new(&[liar.url()], 40).await;
    follower.settle().await.unwrap();
    for lie in [Lie::Lag { blocks: 4 }, Lie::Stuck { at: 3 }, Lie::StaleHead { at: 2 }] {
        liar.tell(lie);
        assert_eq!(follower.settle().await.unwrap(), Vec::<String>::new());
        liar.truth();
    }
    follower.is_at_the_head_of(&anvil).await;
}

#[tokio::test]
async fn of_two_branches_the_one_that_most_nodes_know_is_followed() {
    let anvil = Anvil::start().await.unwrap();
    anvil.mine(5).await.unwrap();
    let lonely = anvil.twin().await.unwrap();
    let second_door = LyingRpc::start(&anvil).await.unwrap();
    anvil.mine(3).await.unwrap();
    let mut follower = Follower::new(&[lonely.url(), anvil.url(), second_door.url()], 40).await;
    follower.settle().await.unwrap();
    // one node alone is on another branch, even a longer one
    lonely.rpc("evm_increaseTime", serde_json::json!([100])).await.unwrap();
    lonely.mine(7).await.unwrap();
    assert_eq!(follower.settle().await.unwrap(), Vec::<String>::new());
    anvil.mine(2).await.unwrap();
    follower.settle().await.unwrap();
    follower.is_at_the_head_of(&anvil).await;
    // and the others go over to a third one
    anvil.reorg(4, []).await.unwrap();
    anvil.mine(1).await.unwrap();
    follower.settle().await.unwrap();
    follower.is_at_the_head_of(&anvil).await;
}

#[tokio::test]
async fn a_block_that_only_one_of_several_nodes_knows_does_not_become_final() {
    let anvil = Anvil::start().await.unwrap();
    anvil.mine(8).await.unwrap();
    let lonely = anvil.twin().await.unwrap();
    let second_door = LyingRpc::start(&anvil).await.unwrap();
    lonely.rpc("evm_increaseTime", serde_json::json!([100])).await.unwrap();
    lonely.mine(10).await.unwrap();
    let mut follower = Follower::new(&[lonely.url(), anvil.url(), second_door.url()], 2).await;
    follower.settle().await.unwrap();
    assert_eq!(follower.known.tip().unwrap().0, 18, "it is followed, for nobody says otherwise");
    assert!(follower.known.final_height <= 8, "{}", follower.known.final_height);
    anvil.mine(3).await.unwrap();
    follower.settle().await.unwrap();
    follower.is_at_the_head_of(&anvil).await;
}

#[tokio::test]
async fn a_block_that_nobody_has_is_named() {
    let anvil = Anvil::start().await.unwrap();
    anvil.mine(10).await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let mut follower = Follower::new(&[liar.url()], 40).await;
    liar.tell(Lie::NoBlock { at: 4 });
    assert_eq!(follower.settle().await.unwrap(), ["+3"], "up to it all are taken");
    let stands = follower.next().await.unwrap_err();
    assert_eq!(stands, FollowError::NoBlock { height: 4 });
    assert_eq!(stands.to_string(), "no node gives block 4, which comes next after ours");
    assert_eq!(follower.source.header(4).await, Err(RpcError::NoBlock(4)));
    liar.truth();
    assert_eq!(follower.settle().await.unwrap(), ["+5", "+2"]);
}

#[tokio::test]
async fn a_node_that_is_now_of_another_chain_takes_no_block_back() {
    let anvil = Anvil::start().await.unwrap();
    anvil.mine(8).await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let addresses = Addresses { urls: vec![liar.url()], chain_id: Some(anvil.chain_id()) };
    let mut follower = Follower::with(addresses, 40).await;
    follower.settle().await.unwrap();
    let known = follower.known.hashes.clone();
    // no request fails, and its blocks are others
    liar.tell(Lie::OtherChain { id: 5 });
    anvil.reorg(3, []).await.unwrap();
    for _ in 0..2 {
        let other = matches!(
            follower.settle().await,
            Ok(_) | Err(FollowError::Rpc(RpcError::OtherChain { .. } | RpcError::Resting { .. }))
        );
        assert!(other && follower.known.hashes == known, "it was believed");
    }
    let why = follower.source.pool().status()[0].last_error.clone().unwrap();
    assert!(why.contains("serves chain 5, not 31337"), "{why}");
}
