//! Whatever a node says: either all logs come, or none with an error. Never some.

use std::time::Duration;

use alloy_primitives::{Address, keccak256};
use nepto_chain::block::{Block, Proof};
use nepto_chain::receipts::Encoding;
use nepto_chain::rpc::{Limits, Pool, RpcError};
use nepto_chain::source::{Finality, Source};
use nepto_chain::watch::Watch;
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Dialect, HeaderField, Lie, LyingRpc, Refusal};

const BLOCKS: u64 = 12;

/// A chain with transfers in most of its blocks, and a node before it that may lie.
struct World {
    anvil: Anvil,
    liar: LyingRpc,
    watch: Watch,
    first: u64,
}

impl World {
    async fn new() -> Self {
        let anvil = Anvil::start().await.unwrap();
        let contracts = Contracts::deploy(&anvil).await.unwrap();
        let first = anvil.block_number().await.unwrap() + 1;
        for number in 0..BLOCKS {
            if number % 4 == 3 {
                anvil.mine(1).await.unwrap();
            } else {
                let parts: Vec<(Address, u128)> =
                    (1..=3).map(|part| (Address::with_last_byte((number * 8 + part) as u8), 5)).collect();
                if number == 0 {
                    let approve = contracts.token.approve(contracts.owner, contracts.multisender.0, 1_000_000);
                    anvil.send(&approve).await.unwrap();
                }
                anvil
                    .send(&contracts.multisender.send_token(contracts.owner, contracts.token, &parts, "hi"))
                    .await
                    .unwrap();
            }
        }
        let mut watch = Watch::default();
        watch.add(contracts.token.0, [keccak256("Transfer(address,address,uint256)")]);
        let liar = LyingRpc::start(&anvil).await.unwrap();
        Self { anvil, liar, watch, first }
    }

    fn source(&self, urls: &[String], encoding: Encoding) -> Source {
        let limits = Limits { timeout: Duration::from_millis(700), ..Limits::default() };
        Source::new(Pool::new(urls, limits).unwrap(), encoding, Finality::Depth(2))
    }

    /// All blocks, as a source tells them.
    async fn read(&self, source: &Source) -> Result<Vec<Block>, RpcError> {
        // whoever is asked first must not know more than it says
        source.heads().await?;
        let parent = self.anvil.block(self.first - 1).await.unwrap()["hash"].as_str().unwrap().parse().unwrap();
        let head = self.anvil.block_number().await.unwrap();
        source.blocks(self.first, head, parent, &self.watch).await
    }
}

fn logs(blocks: &[Block]) -> Vec<(u64, u32)> {
    blocks.iter().flat_map(|block| block.logs.iter().map(|log| (block.header.number(), log.index))).collect()
}

/// Every lie that a node can tell about blocks and logs.
fn lies(first: u64) -> Vec<Lie> {
    let mut lies = vec![
        Lie::DropLogs { every: 1 },
        Lie::DropLogs { every: 3 },
        Lie::DropReceipts { last: 1 },
        Lie::Empty,
        Lie::NoReceipts,
        Lie::SwapReceipts,
        Lie::Lag { blocks: 3 },
        Lie::Stuck { at: first + 2 },
        Lie::StaleHead { at: first + 2 },
        Lie::Hang,
        Lie::Close,
        Lie::Garbage,
        Lie::WrongId,
        Lie::RateLimit { every: 2, retry_after_s: 1, form: Refusal::Status429 },
        Lie::RateLimit { every: 2, retry_after_s: 1, form: Refusal::Code429 },
        Lie::RateLimit { every: 2, retry_after_s: 1, form: Refusal::Code32005 },
    ];
    let fields = [HeaderField::LogsBloom, HeaderField::ReceiptsRoot, HeaderField::ParentHash, HeaderField::Timestamp];
    lies.extend(fields.map(|field| Lie::ForgeHeader { field }));
    lies
}

#[tokio::test]
async fn an_honest_node_is_proven_to_tell_all() {
    let world = World::new().await;
    let blocks = world.read(&world.source(&[world.anvil.url()], Encoding::Ethereum)).await.unwrap();
    assert!(blocks.iter().all(|block| block.proof.is_complete()));
    assert!(blocks.iter().any(|block| block.proof == Proof::Bloom), "some hold nothing, as their blooms prove");
    assert_eq!(logs(&blocks).len(), 9 * 4, "nine messages with three payments each, and what the sender pays in");
}

#[tokio::test]
async fn a_liar_alone_is_not_believed() {
    let world = World::new().await;
    let truth = logs(&world.read(&world.source(&[world.anvil.url()], Encoding::Ethereum)).await.unwrap());
    for lie in lies(world.first) {
        world.liar.truth();
        world.liar.tell(lie.clone());
        // a few times: some lies are told now and then
        for _ in 0..3 {
            let source = world.source(&[world.liar.url()], Encoding::Ethereum);
            if let Ok(blocks) = world.read(&source).await {
                let reached = blocks.last().map_or(0, |block| block.header.number());
                let up_to: Vec<_> = truth.iter().copied().filter(|(number, _)| *number <= reached).collect();
                assert_eq!(logs(&blocks), up_to, "{lie:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_liar_beside_an_honest_node_hides_nothing() {
    let world = World::new().await;
    let truth = logs(&world.read(&world.source(&[world.anvil.url()], Encoding::Ethereum)).await.unwrap());
    for lie in lies(world.first) {
        world.liar.truth();
        world.liar.tell(lie.clone());
        for urls in [[world.liar.url(), world.anvil.url()], [world.anvil.url(), world.liar.url()]] {
            let source = world.source(&urls, Encoding::Ethereum);
            let mut read = Err(RpcError::NoEndpoint);
            for _ in 0..5 {
                read = world.read(&source).await;
                if read.is_ok() {
                    break;
                }
            }
            let blocks = read.unwrap_or_else(|error| panic!("{lie:?}: {error}"));
            assert_eq!(logs(&blocks), truth, "{lie:?}");
        }
    }
}

#[tokio::test]
async fn without_the_receipts_a_dropped_log_would_never_be_missed() {
    let world = World::new().await;
    let truth = logs(&world.read(&world.source(&[world.anvil.url()], Encoding::Ethereum)).await.unwrap());
    world.liar.tell(Lie::DropLogs { every: 3 });
    // comparison alone, of one node: it looks as if all were well
    let unproven = world.read(&world.source(&[world.liar.url()], Encoding::Unknown)).await.unwrap();
    assert!(logs(&unproven).len() < truth.len(), "the lie is told");
    assert!(unproven.iter().any(|block| block.proof == Proof::Compared && !block.proof.is_complete()));
    // the same node, with the receipts
    let proven = world.read(&world.source(&[world.liar.url()], Encoding::Ethereum)).await;
    assert!(matches!(proven, Err(RpcError::Lie(_))), "{proven:?}");
    // comparison with an honest node finds it too, but who knows whether there is one
    let two = [world.liar.url(), world.anvil.url()];
    assert_eq!(logs(&world.read(&world.source(&two, Encoding::Unknown)).await.unwrap()), truth);
}

#[tokio::test]
async fn a_header_that_has_not_its_hash_is_not_taken_and_not_called_a_lie() {
    let world = World::new().await;
    world.liar.tell(Lie::ForgeHeader { field: HeaderField::Timestamp });
    for encoding in [Encoding::Ethereum, Encoding::Unknown] {
        let source = world.source(&[world.liar.url()], encoding);
        let refused = world.read(&source).await;
        assert!(matches!(refused, Err(RpcError::Header { .. })), "{refused:?}");
        let status = &source.pool().status()[0];
        assert!(status.failed > 0 && status.lied == 0 && !status.available, "{status:?}");
        assert!(status.last_error.as_ref().is_some_and(|error| error.contains("another kind")), "{status:?}");
    }
}

#[tokio::test]
async fn ranges_are_made_to_fit_what_a_provider_bears() {
    let world = World::new().await;
    let truth = logs(&world.read(&world.source(&[world.anvil.url()], Encoding::Unknown)).await.unwrap());
    assert_eq!(truth.len(), 9 * 4);
    for dialect in Dialect::ALL {
        world.liar.truth();
        world.liar.tell(Lie::TooMany { dialect, blocks_max: 3 });
        let source = world.source(&[world.liar.url()], Encoding::Unknown);
        let before = world.liar.requests("eth_getLogs");
        assert_eq!(logs(&world.read(&source).await.unwrap()), truth, "{dialect:?}");
        let asked = world.liar.requests("eth_getLogs") - before;
        assert!(asked <= 12, "{dialect:?}: {asked} requests for {BLOCKS} blocks, 3 at a time");
        let status = &source.pool().status()[0];
        assert_eq!((status.failed, status.lied), (0, 0), "a range that is too large is no fault: {dialect:?}");
    }
}
