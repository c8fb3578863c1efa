//! Which block is asked about, and who counts: nodes that are made up, and say what a test wants.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{BlockId, Claim, Moment, Nodes, OnChain, SignatureError, SignatureVerifier, Signer};
use crate::block::{Finality, SealedHeader};

const CHAIN: u64 = 10;
const WALLET: Address = Address::repeat_byte(0xc0);

/// What a node is like.
#[derive(Clone, Copy)]
struct Node {
    head: u64,
    finalized: u64,
    /// Nodes of different branches have no block in common.
    branch: u8,
    /// The word that wallets answer: 1 for yes.
    answer: u8,
    /// Whether it takes the hash of a block for one.
    knows_hashes: bool,
    /// What it says which chain it serves.
    chain: u64,
}

const YES: Node = Node { head: 100, finalized: 90, branch: 0, answer: 1, knows_hashes: true, chain: CHAIN };
const NO: Node = Node { answer: 0, ..YES };

impl Node {
    fn block(&self, number: u64) -> SealedHeader {
        SealedHeader::new(Header { number, extra_data: vec![self.branch].into(), ..Header::default() })
    }

    fn reply(&self, method: &str, params: &Value) -> Value {
        match method {
            "eth_chainId" => json!({ "result": format!("{:#x}", self.chain) }),
            _ if self.chain != CHAIN => panic!("a node of another chain is asked {method}"),
            "eth_getBlockByNumber" => {
                let height = match params[0].as_str() {
                    Some("latest") => self.head,
                    Some("finalized") => self.finalized,
                    Some(height) => u64::from_str_radix(height.trim_start_matches("0x"), 16).unwrap(),
                    None => panic!("{params}"),
                };
                if height > self.head {
                    return json!({ "result": null });
                }
                let block = self.block(height);
                let mut header = serde_json::to_value(block.header()).unwrap();
                header["hash"] = json!(block.hash());
                json!({ "result": header })
            }
            "eth_call" => {
                if let Some(hash) = params[1].get("blockHash") {
                    assert_eq!(params[1]["requireCanonical"], true);
                    let hash: B256 = serde_json::from_value(hash.clone()).unwrap();
                    if !self.knows_hashes {
                        return json!({ "error": { "code": -32602, "message": "invalid argument 1" } });
                    }
                    let mut known = (self.head.saturating_sub(200)..=self.head).map(|number| self.block(number).hash());
                    if !known.any(|known| known == hash) {
                        return json!({ "error": { "code": -32000, "message": "header not found" } });
                    }
                }
                json!({ "result": B256::with_last_byte(self.answer) })
            }
            _ => panic!("{method}"),
        }
    }

    async fn serve(self, mut stream: TcpStream) -> Option<()> {
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        let body: Value = loop {
            let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
            request.extend_from_slice(&part[..count]);
            let head = request.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
            if let Some(body) = head.and_then(|at| serde_json::from_slice(&request[at..]).ok()) {
                break body;
            }
        };
        let mut reply = self.reply(body["method"].as_str()?, &body["params"]);
        reply["id"] = body["id"].clone();
        let reply = reply.to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", reply.len());
        stream.write_all(format!("{head}{reply}").as_bytes()).await.ok()
    }
}

/// What these nodes come to about a signature that no key made.
async fn ask(nodes: &[Node], finality: Finality, at: Moment) -> Result<Signer, SignatureError> {
    let mut urls = Vec::new();
    for node in nodes.iter().copied() {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        urls.push(format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(node.serve(stream));
            }
        });
    }
    let chain = OnChain::new([(CHAIN, Nodes::new(&urls, finality, 4).unwrap())]);
    chain.verify(Claim { chain_id: CHAIN, wallet: WALLET, text: "a text", signature: &[1, 2, 3] }, at).await
}

async fn newest(nodes: &[Node]) -> Result<Signer, SignatureError> {
    ask(nodes, Finality::Finalized, Moment::Newest).await
}

fn yes_at(number: u64) -> Result<Signer, SignatureError> {
    Ok(Signer::Contract(BlockId { number, hash: YES.block(number).hash() }))
}

fn is_unavailable(said: &Result<Signer, SignatureError>) -> bool {
    matches!(said, Err(SignatureError::Unavailable { chain_id: CHAIN, .. }))
}

fn is_no(said: &Result<Signer, SignatureError>) -> bool {
    matches!(said, Err(SignatureError::Invalid { wallet: WALLET, .. }))
}

#[tokio::test]
async fn all_are_asked_about_the_newest_block_that_they_have_in_common() {
    assert_eq!(newest(&[YES]).await, yes_at(100));
    assert_eq!(newest(&[Node { head: 103, ..YES }, YES]).await, yes_at(100));
    assert!(is_no(&newest(&[NO, NO]).await));
    assert!(is_unavailable(&newest(&[YES, NO]).await));
    assert!(is_unavailable(&newest(&[Node { head: 101, ..YES }, NO]).await));
}

#[tokio::test]
async fn who_is_far_from_the_others_does_not_count() {
    let (ancient, dreaming) = (Node { head: 5, ..YES }, Node { head: 1_000_000_000, ..YES });
    for outlier in [ancient, dreaming] {
        assert!(is_unavailable(&newest(&[NO, outlier]).await), "of two nobody knows which");
        assert!(is_no(&newest(&[NO, Node { head: 101, ..NO }, outlier]).await));
    }
    assert_eq!(newest(&[YES, YES, Node { head: 5, ..NO }]).await, yes_at(100));
}

#[tokio::test]
async fn a_block_that_only_one_knows_is_no_block() {
    // just below the others' head, so that it would be the one in common
    let liar = Node { head: 99, branch: 9, ..YES };
    assert!(is_unavailable(&newest(&[NO, liar]).await));
    assert!(is_unavailable(&newest(&[YES, liar]).await));
    // at the same height
    assert!(is_unavailable(&newest(&[NO, Node { head: 100, ..liar }]).await));
}

#[tokio::test]
async fn who_knows_no_hashes_is_asked_by_height() {
    assert_eq!(newest(&[Node { knows_hashes: false, ..YES }]).await, yes_at(100));
    assert_eq!(newest(&[YES, Node { knows_hashes: false, ..YES }]).await, yes_at(100));
    assert!(is_unavailable(&newest(&[YES, Node { knows_hashes: false, ..NO }]).await));
}

#[tokio::test]
async fn what_is_final_is_asked_about_once_it_is_and_not_deeper_than_nodes_remember() {
    let at = |from| Moment::Final { from };
    assert_eq!(ask(&[YES], Finality::Finalized, at(90)).await, yes_at(90));
    assert!(is_unavailable(&ask(&[YES], Finality::Finalized, at(91)).await));
    assert_eq!(ask(&[YES], Finality::Depth(30), at(0)).await, yes_at(70));
    let old = Node { head: 1_000, finalized: 10, ..YES };
    assert_eq!(ask(&[old], Finality::Finalized, at(0)).await, yes_at(900));
    assert_eq!(ask(&[old], Finality::Depth(500), at(0)).await, yes_at(900));
    assert_eq!(ask(&[Node { head: 3, ..YES }], Finality::Depth(30), at(0)).await, yes_at(0));
}

#[tokio::test]
async fn who_is_not_there_says_nothing() {
    let nowhere = ["http://127.0.0.1:1".to_owned()];
    let chain = OnChain::new([(CHAIN, Nodes::new(&nowhere[..], Finality::Finalized, 4).unwrap())]);
    let claim = |chain_id| Claim { chain_id, wallet: WALLET, text: "a text", signature: &[1, 2, 3] };
    assert!(is_unavailable(&chain.verify(claim(CHAIN), Moment::Newest).await));
    let unknown = chain.verify(claim(1), Moment::Newest).await;
    assert_eq!(unknown, Err(SignatureError::NoNode { wallet: WALLET, chain_id: 1 }));
    assert!(chain.knows(CHAIN) && !chain.knows(1));
}

#[tokio::test]
async fn nodes_of_another_chain_are_not_asked() {
    let other = Node { chain: 5, ..YES };
    let Err(SignatureError::Unavailable { why, .. }) = newest(&[other]).await else { panic!("it was believed") };
    assert!(why.contains("serves chain 5, not 10"), "{why}");
    assert_eq!(newest(&[other, YES]).await, yes_at(100));
    assert!(is_unavailable(&newest(&[NO, other]).await), "a no needs more than half of all");
}
