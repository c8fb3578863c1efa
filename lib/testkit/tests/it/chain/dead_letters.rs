//! Dead letters that are replayed: each counts once, however often it is replayed, and is never lost.

use alloy_primitives::{B256, Bytes, U256, keccak256};
use async_nats::HeaderMap;
use nepto_proto::api::operator::{DeadLetter, DeadLetters};
use nepto_proto::chain as wire;
use nepto_testkit::contracts::{Contracts, LogEmitter};
use nepto_testkit::{Anvil, Included, WatchedChain, eventually, program, seconds};
use prost::Message;
use tokio::process::Command;

use super::world::{World, word};

/// An event as a pipeline dead-letters it: alone, with the number of its update.
fn letter(world: &World, amount: u64) -> Vec<u8> {
    let topics = [keccak256("Transfer(address,address,uint256)"), B256::ZERO, word(world.anvil.accounts()[1]).into()];
    let log = wire::Log {
        index: 3,
        address: world.contracts.token.0.to_vec(),
        topics: topics.concat(),
        data: U256::from(amount).to_be_bytes::<32>().to_vec(),
        transaction: vec![7; 32],
        standard: wire::Standard::Erc20.into(),
        cut: false,
    };
    let block = wire::Block { number: 1, hash: vec![1; 32], time_s: 1, logs: vec![log] };
    let what = Some(wire::chain_update::What::Retry(wire::Retry { blocks: vec![block], is_counted: false }));
    wire::ChainUpdate { chain_id: 31337, number: 1, final_height: 0, what }.encode_to_vec()
}

pub async fn operator(world: &World, arguments: &[&str]) -> String {
    let mut command = Command::new(program("nepto").unwrap());
    command.args(["admin", "--operator", &world.stack.api.admin_url()]).args(arguments);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[tokio::test]
async fn dead_letters_can_be_replayed_and_count_once() {
    let world = World::new(2).await.unwrap();
    let alice = world.anvil.accounts()[1];
    world.anvil.mine(5).await.unwrap();
    world.settled().await.unwrap();
    let js = world.stack.nats.jetstream().await.unwrap();
    let dead_letter = async |body: Vec<u8>, reason: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Nepto-Subject", "chain.erc20.31337");
        headers.insert("Nepto-Reason", reason);
        js.publish_with_headers("dlq.CHAIN.erc20", headers, body.into()).await.unwrap().await.unwrap();
    };
    // the same event twice, another one, and something that is no event at all
    dead_letter(letter(&world, 40), "the decoder did not know it").await;
    dead_letter(letter(&world, 40), "the decoder did not know it").await;
    dead_letter(b"nonsense".to_vec(), "not an update").await;
    let listed = operator(&world, &["dead-letters", "list"]).await;
    assert!(listed.contains("the decoder did not know it") && listed.contains("erc20"), "{listed}");
    // a page that the operator's browser shows sends it, or has its own name lead here
    let replay = format!("{}/dead-letters/1/replay", world.stack.api.admin_url());
    for (name, value) in [("origin", "https://evil.example"), ("host", "evil.example:9464")] {
        let answer = crate::http::client().post(&replay).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{name}");
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], "operators_only");
    }
    assert!(operator(&world, &["dead-letters", "list"]).await.contains("the decoder did not know it"));
    operator(&world, &["dead-letters", "replay", "1"]).await;
    let amount = async || world.balance(world.contracts.token.0, alice, "").await;
    eventually(seconds(5), async || Ok(amount().await? == "40")).await.unwrap();
    operator(&world, &["dead-letters", "replay", "--all", "--consumer", "erc20"]).await;
    // what is no event comes back, and nothing else
    let left = async || -> anyhow::Result<DeadLetters> {
        Ok(crate::http::get(format!("{}/dead-letters", world.stack.api.admin_url())).await?.json().await?)
    };
    eventually(seconds(5), async || Ok(left().await?.letters.len() == 1)).await.unwrap();
    let letters = left().await.unwrap().letters;
    assert!(letters[0].reason.contains("not an update"), "{letters:?}");
    world.settled().await.unwrap();
    assert_eq!(amount().await.unwrap(), "40");
    operator(&world, &["dead-letters", "drop", &letters[0].number.to_string()]).await;
    assert!(operator(&world, &["dead-letters", "list"]).await.contains("There are no dead letters"));
    // and the page of the chains can be read
    let status = operator(&world, &["chain", "status"]).await;
    assert!(status.contains("100.00 % of them proven complete") && status.contains("no gaps"), "{status}");
}

pub async fn letters(world: &World) -> anyhow::Result<Vec<DeadLetter>> {
    let letters: DeadLetters =
        crate::http::get(format!("{}/dead-letters", world.stack.api.admin_url())).await?.json().await?;
    Ok(letters.letters)
}

#[tokio::test]
async fn what_still_cannot_be_understood_is_never_lost() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let (odd, large) = (LogEmitter::deploy(&anvil).await.unwrap(), LogEmitter::deploy(&anvil).await.unwrap());
    let chain = WatchedChain::of(&anvil, 3).contract("erc20", odd.0, 1).contract("erc721", large.0, 1);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let (owner, alice) = (contracts.owner, world.anvil.accounts()[1]);
    let signature = keccak256("Transfer(address,address,uint256)");
    let nonsense = odd.emit(owner, &[(vec![signature, B256::ZERO], Bytes::new())]);
    world.anvil.send(&nonsense).await.unwrap();
    world.settled().await.unwrap();
    let first = letters(&world).await.unwrap();
    assert_eq!(first.len(), 1, "{first:?}");
    // it comes back, however often it is given back
    let mut last = first[0].number;
    for _ in 0..3 {
        operator(&world, &["dead-letters", "replay", &last.to_string()]).await;
        let is_back = async || Ok(letters(&world).await?.iter().any(|letter| letter.number > last));
        eventually(seconds(5), is_back).await.unwrap();
        let now = letters(&world).await.unwrap();
        assert_eq!((now.len(), &now[0].reason), (1, &first[0].reason));
        last = now[0].number;
    }
    // the same at the same place of another branch is another event
    world.anvil.send(&nonsense).await.unwrap();
    world.settled().await.unwrap();
    world.anvil.reorg(1, [(0, Included::New(nonsense.clone()))]).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(letters(&world).await.unwrap().len(), 3);
    operator(&world, &["dead-letters", "replay", "--all"]).await;
    let are_two = async || Ok(letters(&world).await?.len() == 2);
    eventually(seconds(5), are_two).await.expect("the one whose block was given up goes, the others stay");
    // what is larger than a message is no event of a standard, though its topics say all that there is
    let token = B256::with_last_byte(7);
    let topics = vec![signature, B256::ZERO, word(alice).into(), token];
    world.anvil.send(&large.emit(owner, &[(topics, vec![0; 200 * 1024].into())])).await.unwrap();
    world.settled().await.unwrap();
    let now = letters(&world).await.unwrap();
    assert!(now.len() == 3 && now[2].reason.contains("more data"), "{now:?}");
    let path = format!("31337/contracts/{}/tokens/7/owner", large.0);
    assert_eq!(world.get(&path).await.unwrap().1["code"], "not_found");
}
