//! Nodes of another chain: whatever they say of blocks, nothing of it is asked for.

use std::time::Duration;

use futures_util::future::join_all;
use nepto_chain::receipts::Encoding;
use nepto_chain::rpc::{Addresses, Limits, Pool, RpcError};
use nepto_chain::source::{Finality, Source};
use nepto_testkit::{Anvil, Lie, LyingRpc, eventually, seconds};

const OURS: u64 = 31_337;
const THEIRS: RpcError = RpcError::OtherChain { serves: 5, wanted: OURS };

fn source(urls: Vec<String>, concurrency_max: usize) -> Source {
    let limits = Limits { timeout: Duration::from_millis(700), concurrency_max, ..Limits::default() };
    let pool = Pool::new(&Addresses { urls, chain_id: Some(OURS) }, limits).unwrap();
    Source::new(pool, Encoding::Ethereum, Finality::Depth(2))
}

async fn other() -> Anvil {
    let other = Anvil::builder().chain_id(5).start().await.unwrap();
    other.mine(9).await.unwrap();
    other
}

#[tokio::test]
async fn a_node_of_another_chain_alone_is_asked_for_nothing_else() {
    let other = other().await;
    let door = LyingRpc::start(&other).await.unwrap();
    let source = source(vec![door.url()], 4);
    assert_eq!(source.heads().await, Err(THEIRS));
    let asked = join_all((0..20).map(|height| source.header(height))).await;
    assert!(asked.iter().all(Result::is_err), "{asked:?}");
    let Err(RpcError::Resting { why, .. }) = source.heads().await else { panic!("it does not rest") };
    assert!(why.contains("serves chain 5, not 31337"), "{why}");
    assert_eq!(door.requests("eth_getBlockByNumber"), 0);
    assert!(door.requests("eth_chainId") <= 2, "{}", door.requests("eth_chainId"));
    let status = &source.pool().status()[0];
    assert_eq!((status.available, status.lied), (false, 0));
    assert_eq!(status.last_error.as_deref(), Some("the node serves chain 5, not 31337"));
}

#[tokio::test]
async fn beside_a_node_of_ours_it_counts_for_nothing() {
    let (anvil, other) = (Anvil::start().await.unwrap(), other().await);
    anvil.mine(3).await.unwrap();
    let door = LyingRpc::start(&other).await.unwrap();
    for urls in [vec![door.url(), anvil.url()], vec![anvil.url(), door.url()]] {
        let source = source(urls, 4);
        let heads: Vec<u64> = source.heads().await.unwrap().iter().map(|head| head.number()).collect();
        assert_eq!(heads, [3]);
        let head = source.header(3).await.unwrap();
        assert!(source.is_vouched_for(3, head.hash()).await);
        assert_eq!(source.header(7).await, Err(RpcError::NoBlock(7)), "only the other chain has it");
    }
    assert_eq!(door.requests("eth_getBlockByNumber"), 0);
}

#[tokio::test]
async fn a_node_may_come_back_as_another_and_as_itself() {
    let anvil = Anvil::start().await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let source = source(vec![liar.url()], 4);
    source.heads().await.unwrap();
    liar.tell_for(Lie::Close, 1);
    source.heads().await.unwrap_err();
    liar.tell(Lie::OtherChain { id: 5 });
    let before = liar.requests("eth_getBlockByNumber");
    assert_eq!(source.heads().await, Err(THEIRS));
    assert_eq!(liar.requests("eth_getBlockByNumber"), before);
    liar.truth();
    eventually(seconds(5), async || Ok(source.heads().await.is_ok())).await.unwrap();
    assert!(source.pool().status()[0].available);
}

#[tokio::test]
async fn who_does_not_say_its_chain_is_not_asked() {
    let anvil = Anvil::start().await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let source = source(vec![liar.url()], 4);
    liar.tell_for(Lie::Garbage, 1);
    assert!(matches!(source.heads().await, Err(RpcError::Failed(_))));
    assert_eq!(liar.requests("eth_getBlockByNumber"), 0);
    eventually(seconds(5), async || Ok(source.heads().await.is_ok())).await.unwrap();
}

#[tokio::test]
async fn it_is_asked_once_for_all_who_come_at_once() {
    let anvil = Anvil::start().await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let source = source(vec![liar.url()], 1);
    let asked = tokio::time::timeout(seconds(10), join_all((0..100).map(|_| source.header(0)))).await;
    assert!(asked.expect("they wait for each other").iter().all(Result::is_ok));
    source.heads().await.unwrap();
    assert_eq!(liar.requests("eth_chainId"), 1);
    // and a failure is one for all
    let source = self::source(vec![liar.url()], 1);
    liar.tell(Lie::Hang);
    let asked = tokio::time::timeout(seconds(10), join_all((0..100).map(|_| source.header(0)))).await;
    assert!(asked.expect("each waits for itself").iter().all(Result::is_err));
    assert_eq!(liar.requests("eth_chainId"), 2);
}
