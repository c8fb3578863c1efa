//! Each lie against a real chain: what it changes, and that it changes nothing else.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::contracts::LogEmitter;
use crate::{eventually, seconds};

/// A chain with some events, and a liar before it.
struct Scene {
    anvil: Anvil,
    rpc: LyingRpc,
    http: reqwest::Client,
    emitter: LogEmitter,
    who: Address,
}

impl Scene {
    /// Blocks: 1 with the contract; 2 and 3 with three events each, in two transactions; 4 empty.
    async fn set() -> Self {
        let anvil = Anvil::builder().no_mining().start().await.unwrap();
        let emitter = LogEmitter::deploy(&anvil).await.unwrap();
        let who = anvil.accounts()[1];
        for _ in 0..2 {
            for events in [1, 2] {
                anvil.submit(&emitter.emit(who, &vec![event(); events])).await.unwrap();
            }
            anvil.mine(1).await.unwrap();
        }
        anvil.mine(1).await.unwrap();
        let rpc = LyingRpc::start(&anvil).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { anvil, rpc, http, emitter, who }
    }

    async fn post(&self, request: &Value) -> reqwest::Result<reqwest::Response> {
        self.http.post(self.rpc.url()).json(request).send().await
    }

    /// The whole answer to a request with the id 7.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.post(&request).await.unwrap().json().await.unwrap()
    }

    async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        answer.get("result").unwrap_or_else(|| panic!("{method}: {answer}")).clone()
    }

    async fn logs(&self) -> Vec<Value> {
        let logs = self.result("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "latest" }])).await;
        logs.as_array().unwrap().clone()
    }

    async fn receipts(&self, block: u64) -> Value {
        self.result("eth_getBlockReceipts", json!([format!("{block:#x}")])).await
    }

    async fn truth_is_told(&self) {
        self.rpc.truth();
        for height in 0..=4 {
            let params = json!([format!("{height:#x}"), true]);
            let block = self.anvil.rpc("eth_getBlockByNumber", params.clone()).await.unwrap();
            assert_eq!(self.result("eth_getBlockByNumber", params).await, block);
            let params = json!([block["hash"]]);
            let receipts = self.anvil.rpc("eth_getBlockReceipts", params.clone()).await.unwrap();
            assert_eq!(self.result("eth_getBlockReceipts", params).await, receipts);
        }
        assert_eq!(self.logs().await.len(), 6);
    }

    async fn socket(&self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        connect_async(self.rpc.ws_url()).await.unwrap().0
    }

    /// A socket that is subscribed to new heads.
    async fn heads(&self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let mut socket = self.socket().await;
        let subscribe = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"] });
        socket.send(Message::text(subscribe.to_string())).await.unwrap();
        assert!(hear(&mut socket).await.unwrap()["result"].is_string());
        socket
    }
}

fn event() -> (Vec<B256>, Bytes) {
    (vec![B256::repeat_byte(1)], Bytes::from_static(b"data"))
}

/// What comes next; `None` if nothing comes soon.
async fn hear(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Option<Value> {
    let heard = timeout(Duration::from_millis(500), socket.next()).await.ok()?;
    Some(serde_json::from_str(heard.unwrap().unwrap().to_text().unwrap()).unwrap())
}

fn height(head: &Value) -> u64 {
    crate::rpc::number(&head["params"]["result"]["number"]).unwrap()
}

#[tokio::test]
async fn it_tells_the_truth_until_told_otherwise_and_counts() {
    let scene = Scene::set().await;
    scene.truth_is_told().await;
    assert_eq!(scene.rpc.requests("eth_getBlockByNumber"), 5);
    let error = scene.ask("eth_noSuchMethod", json!([])).await;
    assert!(error["error"]["code"].is_i64() && error["id"] == 7, "{error}");
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] },
        { "jsonrpc": "2.0", "id": "b", "method": "eth_blockNumber" },
    ]);
    let answers: Value = scene.post(&batch).await.unwrap().json().await.unwrap();
    let told = json!([
        { "jsonrpc": "2.0", "id": 1, "result": "0x7a69" },
        { "jsonrpc": "2.0", "id": "b", "result": "0x4" },
    ]);
    assert_eq!(answers, told);
    assert_eq!(scene.rpc.requests("eth_blockNumber"), 1);
}

#[tokio::test]
async fn dropped_logs_are_dropped_everywhere_and_blooms_stay() {
    let scene = Scene::set().await;
    let truth = scene.receipts(3).await;
    scene.rpc.tell(Lie::DropLogs { every: 2 });
    // block 2: logs 0 and 2; block 3: log 1
    let places = |logs: &[Value]| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        logs.iter().map(|log| (text(&log["blockNumber"]), text(&log["logIndex"]))).collect()
    };
    let left = [("0x2", "0x1"), ("0x3", "0x0"), ("0x3", "0x2")].map(|(block, log)| (block.to_owned(), log.to_owned()));
    assert_eq!(places(&scene.logs().await), left);
    let receipts = scene.receipts(3).await;
    for (told, true_one) in receipts.as_array().unwrap().iter().zip(truth.as_array().unwrap()) {
        for field in ["logsBloom", "blockHash", "transactionHash", "status"] {
            assert_eq!(told[field], true_one[field]);
        }
        let receipt = scene.result("eth_getTransactionReceipt", json!([told["transactionHash"]])).await;
        assert_eq!(receipt["logs"], told["logs"]);
    }
    assert_eq!(receipts[0]["logs"].as_array().unwrap().len(), 1);
    assert_eq!(receipts[1]["logs"].as_array().unwrap().len(), 1);
    scene.rpc.truth();
    scene.rpc.tell(Lie::DropLogs { every: 1 });
    assert_eq!(scene.logs().await, Vec::<Value>::new());
    scene.truth_is_told().await;
}

#[tokio::test]
async fn receipts_are_dropped_emptied_denied_and_swapped() {
    let scene = Scene::set().await;
    let [second, third] = [scene.receipts(2).await, scene.receipts(3).await];
    scene.rpc.tell_for(Lie::DropReceipts { last: 1 }, 1);
    assert_eq!(scene.receipts(3).await, json!([third[0]]));
    scene.rpc.tell_for(Lie::Empty, 2);
    assert_eq!(scene.receipts(3).await, json!([]));
    assert_eq!(scene.logs().await, Vec::<Value>::new());
    scene.rpc.tell_for(Lie::NoReceipts, 2);
    assert_eq!(scene.receipts(3).await, Value::Null);
    assert_eq!(scene.result("eth_getTransactionReceipt", json!([third[0]["transactionHash"]])).await, Value::Null);
    scene.rpc.tell_for(Lie::SwapReceipts, 1);
    let swapped = scene.receipts(3).await;
    assert_eq!(swapped[0]["transactionHash"], second[0]["transactionHash"]);
    for field in ["blockHash", "blockNumber"] {
        assert_eq!(swapped[1][field], third[1][field]);
        assert_eq!(swapped[1]["logs"][0][field], third[1][field]);
    }
    scene.truth_is_told().await;
}

#[tokio::test]
async fn who_lags_has_no_later_blocks_in_any_way() {
    let scene = Scene::set().await;
    let [third, fourth] = [scene.anvil.block(3).await.unwrap(), scene.anvil.block(4).await.unwrap()];
    let transaction = &third["transactions"][0];
    for lie in [Lie::Lag { blocks: 2 }, Lie::Stuck { at: 2 }] {
        scene.rpc.truth();
        scene.rpc.tell(lie);
        assert_eq!(scene.result("eth_blockNumber", json!([])).await, "0x2");
        assert_eq!(scene.logs().await.len(), 3);
        for (method, block) in [
            ("eth_getBlockByNumber", json!("0x3")),
            ("eth_getBlockByHash", third["hash"].clone()),
            ("eth_getBlockByHash", fourth["hash"].clone()),
        ] {
            assert_eq!(scene.result(method, json!([block, false])).await, Value::Null);
            assert_eq!(scene.result("eth_getBlockReceipts", json!([block])).await, Value::Null);
        }
        for tag in ["latest", "pending", "finalized"] {
            let block = scene.result("eth_getBlockByNumber", json!([tag, false])).await;
            assert_eq!(block["number"], "0x2", "{tag}");
        }
        for method in ["eth_getTransactionReceipt", "eth_getTransactionByHash"] {
            assert_eq!(scene.result(method, json!([transaction])).await, Value::Null);
        }
        let later = json!([{ "fromBlock": "0x3", "toBlock": "0x9" }]);
        assert_eq!(scene.result("eth_getLogs", later).await, json!([]));
        let by_hash = scene.ask("eth_getLogs", json!([{ "blockHash": third["hash"] }])).await;
        assert_eq!(by_hash["error"]["message"], "unknown block");
        let code = json!([scene.emitter.0, "latest"]);
        assert_ne!(scene.result("eth_getCode", code).await, "0x");
        let nonces = json!([scene.who]);
        assert_eq!(scene.result("eth_getTransactionCount", nonces).await, "0x2");
        let beyond = scene.ask("eth_call", json!([{ "to": scene.emitter.0 }, "0x3"])).await;
        assert_eq!(beyond["error"]["message"], "header not found");
    }
    scene.anvil.mine(1).await.unwrap();
    assert_eq!(scene.result("eth_blockNumber", json!([])).await, "0x2", "who is stuck stays there");
    scene.rpc.truth();
    scene.rpc.tell(Lie::Lag { blocks: 2 });
    assert_eq!(scene.result("eth_blockNumber", json!([])).await, "0x3", "who lags follows");
}

#[tokio::test]
async fn a_stale_head_is_behind_blocks_that_can_be_had() {
    let scene = Scene::set().await;
    scene.rpc.tell(Lie::StaleHead { at: 2 });
    assert_eq!(scene.result("eth_blockNumber", json!([])).await, "0x2");
    assert_eq!(scene.result("eth_getBlockByNumber", json!(["latest", false])).await["number"], "0x2");
    assert_eq!(scene.result("eth_getBlockByNumber", json!(["0x4", false])).await["number"], "0x4");
    assert_eq!(scene.logs().await.len(), 6);
}

#[tokio::test]
async fn finality_may_stand_still_while_the_chain_goes_on() {
    let scene = Scene::set().await;
    scene.rpc.tell(Lie::NotFinal { at: 1 });
    let mut heights = Vec::new();
    for tag in ["finalized", "safe", "latest"] {
        heights.push(scene.result("eth_getBlockByNumber", json!([tag, false])).await["number"].clone());
    }
    assert_eq!(heights, ["0x1", "0x1", "0x4"]);
}

#[tokio::test]
async fn one_block_is_lost_and_another_chain_is_named() {
    let scene = Scene::set().await;
    let lost = scene.anvil.block(3).await.unwrap();
    scene.rpc.tell(Lie::NoBlock { at: 3 });
    for (method, block) in [("eth_getBlockByNumber", json!("0x3")), ("eth_getBlockByHash", lost["hash"].clone())] {
        assert_eq!(scene.result(method, json!([block, false])).await, Value::Null);
        assert_eq!(scene.result("eth_getBlockReceipts", json!([block])).await, Value::Null);
    }
    assert_eq!(scene.result("eth_getBlockByNumber", json!(["latest", false])).await["number"], "0x4");
    assert_eq!(scene.receipts(2).await.as_array().unwrap().len(), 2);
    scene.truth_is_told().await;
    scene.rpc.tell(Lie::OtherChain { id: 5 });
    assert_eq!(scene.result("eth_chainId", json!([])).await, "0x5");
    assert_eq!(scene.result("eth_blockNumber", json!([])).await, "0x4");
}

#[tokio::test]
async fn a_forged_header_keeps_its_hash() {
    let scene = Scene::set().await;
    let truth = scene.anvil.block(3).await.unwrap();
    for (field, name) in [
        (HeaderField::LogsBloom, "logsBloom"),
        (HeaderField::ReceiptsRoot, "receiptsRoot"),
        (HeaderField::ParentHash, "parentHash"),
        (HeaderField::Timestamp, "timestamp"),
    ] {
        scene.rpc.tell_for(Lie::ForgeHeader { field }, 2);
        for (method, block) in [("eth_getBlockByNumber", json!("0x3")), ("eth_getBlockByHash", truth["hash"].clone())] {
            let mut forged = scene.result(method, json!([block, false])).await;
            assert_ne!(forged[name], truth[name], "{method} {name}");
            forged[name] = truth[name].clone();
            assert_eq!(forged, truth);
        }
    }
    let empty = scene.anvil.block(4).await.unwrap();
    scene.rpc.tell_for(Lie::ForgeHeader { field: HeaderField::ReceiptsRoot }, 1);
    assert_eq!(
        scene.result("eth_getBlockByNumber", json!(["0x4", false])).await,
        empty,
        "its root is that of no receipts"
    );
    scene.rpc.tell(Lie::ForgeHeader { field: HeaderField::LogsBloom });
    assert_eq!(scene.result("eth_getBlockByNumber", json!(["0x9", false])).await, Value::Null);
}

#[tokio::test]
async fn a_balancer_shows_two_branches() {
    let scene = Scene::set().await;
    let twin = scene.anvil.twin().await.unwrap();
    scene.anvil.mine(1).await.unwrap();
    twin.mine(2).await.unwrap();
    scene.rpc.tell(Lie::Balanced { other: twin.address(), every: 2 });
    let mut heads = Vec::new();
    for _ in 0..4 {
        heads.push(scene.result("eth_blockNumber", json!([])).await);
    }
    assert_eq!(heads, ["0x5", "0x6", "0x5", "0x6"]);
}

#[tokio::test]
async fn every_dialect_refuses_what_is_too_much_and_answers_the_rest() {
    let scene = Scene::set().await;
    for dialect in Dialect::ALL {
        scene.rpc.truth();
        scene.rpc.tell(Lie::TooMany { dialect, blocks_max: 2 });
        for filter in [json!({ "fromBlock": "0x2", "toBlock": "0x4" }), json!({ "fromBlock": "earliest" })] {
            let answer = scene.ask("eth_getLogs", json!([filter])).await;
            assert!(answer["error"]["message"].is_string() && answer["id"] == 7, "{dialect:?}: {answer}");
        }
        let answered = scene.result("eth_getLogs", json!([{ "fromBlock": "0x2", "toBlock": "0x3" }])).await;
        assert_eq!(answered.as_array().unwrap().len(), 6);
        let hash = scene.anvil.block(3).await.unwrap()["hash"].clone();
        let of_block = scene.result("eth_getLogs", json!([{ "blockHash": hash }])).await;
        assert_eq!(of_block.as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn rate_limits_have_three_forms() {
    let scene = Scene::set().await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
    for (form, status, code) in
        [(Refusal::Status429, 429, 429), (Refusal::Code429, 200, 429), (Refusal::Code32005, 200, -32005)]
    {
        scene.rpc.truth();
        scene.rpc.tell(Lie::RateLimit { every: 3, retry_after_s: 9, form });
        for _ in 0..2 {
            assert_eq!(scene.result("eth_chainId", json!([])).await, "0x7a69");
        }
        let refused = scene.post(&call).await.unwrap();
        let retry = refused.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap().to_owned());
        assert_eq!((refused.status().as_u16(), retry.is_some()), (status, status == 429));
        assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], code);
        let batch: Value = vec![call.clone(); 3].into();
        let answer: Value = scene.post(&batch).await.unwrap().json().await.unwrap();
        assert_eq!(answer.is_array(), status == 200, "a status is one for all: {answer}");
    }
}

#[tokio::test]
async fn connections_hang_close_break_and_carry_nonsense() {
    let scene = Scene::set().await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["0x1", true] });
    scene.rpc.tell_for(Lie::Hang, 1);
    assert!(timeout(Duration::from_millis(200), scene.post(&call)).await.is_err());
    scene.rpc.tell_for(Lie::Close, 1);
    assert!(scene.post(&call).await.is_err());
    scene.rpc.tell_for(Lie::CloseHalfway, 1);
    let broken = scene.post(&call).await.unwrap();
    assert_eq!(broken.status(), 200);
    assert!(broken.json::<Value>().await.is_err());
    scene.rpc.tell_for(Lie::Garbage, 1);
    let page = scene.post(&call).await.unwrap().text().await.unwrap();
    assert!(page.starts_with("<html>"), "{page}");
    scene.rpc.tell_for(Lie::WrongId, 1);
    assert_eq!(scene.ask("eth_chainId", json!([])).await, json!({ "jsonrpc": "2.0", "id": 8, "result": "0x7a69" }));
    scene.rpc.tell_for(Lie::Slow { ms: 300 }, 1);
    assert!(timeout(Duration::from_millis(200), scene.post(&call)).await.is_err());
    scene.truth_is_told().await;
    scene.anvil.kill9().unwrap();
    assert_eq!(scene.post(&call).await.unwrap().status(), 502);
}

#[tokio::test]
async fn sockets_answer_as_http_does_and_tell_new_heads() {
    let scene = Scene::set().await;
    let mut socket = scene.heads().await;
    let call = json!({ "jsonrpc": "2.0", "id": 5, "method": "eth_blockNumber", "params": [] });
    socket.send(Message::text(call.to_string())).await.unwrap();
    assert_eq!(hear(&mut socket).await.unwrap()["result"], "0x4");
    scene.anvil.mine(2).await.unwrap();
    let heads = [hear(&mut socket).await.unwrap(), hear(&mut socket).await.unwrap()];
    assert_eq!(heads.each_ref().map(height), [5, 6]);
    assert_eq!((scene.rpc.requests("eth_subscribe"), scene.rpc.requests("eth_subscription")), (1, 2));
    scene.anvil.reorg(1, []).await.unwrap();
    assert_eq!(
        hear(&mut socket).await.map(|head| height(&head)),
        Some(6),
        "the new block is told, the old one not recalled"
    );
}

#[tokio::test]
async fn heads_are_kept_silent_late_forged_and_repeated() {
    let scene = Scene::set().await;
    let mut socket = scene.heads().await;
    for (lie, heard) in [
        (Lie::SilentHeads, &[][..]),
        (Lie::Lag { blocks: 2 }, &[4]),
        (Lie::Stuck { at: 4 }, &[]),
        (Lie::RepeatHeads, &[8, 8]),
        (Lie::ForgeHeader { field: HeaderField::Timestamp }, &[9]),
    ] {
        scene.rpc.tell_for(lie.clone(), 1);
        scene.anvil.mine(1).await.unwrap();
        for expected in heard {
            let head = hear(&mut socket).await.unwrap();
            assert_eq!(height(&head), *expected, "{lie:?}");
            let forged =
                head["params"]["result"]["timestamp"] != scene.anvil.block(*expected).await.unwrap()["timestamp"];
            assert_eq!(forged, matches!(lie, Lie::ForgeHeader { .. }));
        }
        assert!(hear(&mut socket).await.is_none(), "{lie:?}");
    }
}

#[tokio::test]
async fn sockets_are_dropped_and_refused_while_http_works() {
    let scene = Scene::set().await;
    let mut socket = scene.heads().await;
    scene.rpc.drop_connections();
    assert!(!matches!(timeout(seconds(5), socket.next()).await.unwrap(), Some(Ok(_))));
    eventually(seconds(5), async || Ok(connect_async(scene.rpc.ws_url()).await.is_ok())).await.unwrap();
    scene.rpc.tell(Lie::NoSockets);
    connect_async(scene.rpc.ws_url()).await.unwrap_err();
    assert_eq!(scene.result("eth_chainId", json!([])).await, "0x7a69");
    scene.rpc.truth();
    let mut socket = scene.socket().await;
    scene.rpc.tell_for(Lie::Close, 1);
    let call = json!({ "jsonrpc": "2.0", "id": 5, "method": "eth_blockNumber", "params": [] });
    socket.send(Message::text(call.to_string())).await.unwrap();
    assert!(!matches!(timeout(seconds(5), socket.next()).await.unwrap(), Some(Ok(_))));
}
