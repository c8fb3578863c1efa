//! What providers send.

use alloy_primitives::{Address, B256};
use nepto_kit::config::{Config, Declared};
use serde_json::json;

use super::{Hint, Hooks, alchemy};
use crate::chains::Chains;

fn hash() -> B256 {
    B256::repeat_byte(7)
}

fn log(index: &str) -> serde_json::Value {
    json!({
        "address": Address::repeat_byte(1), "topics": [B256::ZERO], "data": "0x", "blockNumber": "0xdf34a3",
        "transactionHash": B256::ZERO, "transactionIndex": "0x62", "blockHash": hash(), "logIndex": index,
        "removed": false
    })
}

fn hint(log: u32) -> Hint {
    Hint { block: 0xdf_34a3, hash: hash(), log, contract: Address::repeat_byte(1), is_removed: false }
}

#[test]
fn every_shape_is_understood() {
    let activity = json!({
        "webhookId": "wh_1", "id": "whevt_1", "createdAt": "2026-02-28T17:48:53.306Z", "type": "ADDRESS_ACTIVITY",
        "event": { "network": "ETH_MAINNET", "activity": [
            { "category": "token", "value": 2.93, "log": log("0xd6") },
            { "category": "external", "value": 1.0 },
        ] }
    });
    assert_eq!(alchemy::read(activity.to_string().as_bytes()).unwrap(), [hint(0xd6)]);
    let nft =
        json!({ "type": "NFT_ACTIVITY", "event": { "activity": [{ "erc721TokenId": "0x1", "log": log("0x2") }] } });
    assert_eq!(alchemy::read(nft.to_string().as_bytes()).unwrap(), [hint(2)]);
    let account = json!({ "address": Address::repeat_byte(1) });
    let graph = json!({ "type": "GRAPHQL", "event": { "data": { "block": {
        "hash": hash(), "number": 14_628_003, "timestamp": 1, "logs": [
            { "index": 3, "account": account, "topics": [], "data": "0x" },
            { "account": account, "topics": [] },
        ]
    } } } });
    assert_eq!(alchemy::read(graph.to_string().as_bytes()).unwrap(), [Hint { block: 14_628_003, ..hint(3) }]);
    let other = json!({ "type": "NFT_METADATA_UPDATE", "event": {} });
    assert_eq!(alchemy::read(other.to_string().as_bytes()).unwrap(), []);
}

/// Whoever writes a query chooses its fields, and a delivery comes for every block.
#[test]
fn a_custom_webhook_tells_what_its_query_asks_for() {
    let read = |data: serde_json::Value| {
        let delivery = json!({ "webhookId": "wh_1", "id": "whevt_1", "type": "GRAPHQL",
            "event": { "data": data, "sequenceNumber": "10000000000579857000" } });
        alchemy::read(delivery.to_string().as_bytes()).unwrap()
    };
    let address = Address::repeat_byte(1);
    let whole = json!({ "index": 3, "account": { "address": address } });
    let block = |logs: serde_json::Value| json!({ "block": { "hash": hash(), "number": 14_628_003, "logs": logs } });
    let told = [Hint { block: 14_628_003, ..hint(3) }];
    assert_eq!(read(block(json!([whole]))), told);
    // one log that can't be told from others takes nothing from those beside it
    for odd in [
        json!({ "index": 1, "topics": [], "data": "0x" }),
        json!({ "account": { "address": address } }),
        json!({ "index": 1, "account": null }),
        json!({ "index": 1, "account": { "address": "0x12" } }),
        json!({ "index": u64::MAX, "account": { "address": address } }),
        json!(null),
        json!("0x"),
    ] {
        assert_eq!(read(block(json!([odd, whole]))), told, "{odd}");
    }
    for nothing in [
        json!(null),
        json!({}),
        json!({ "block": null }),
        json!({ "block": {} }),
        json!({ "block": { "logs": [] } }),
        json!({ "block": { "logs": [whole] } }),
        json!({ "block": { "hash": hash(), "logs": [whole] } }),
        json!({ "block": { "hash": null, "number": 5, "logs": [whole] } }),
        json!({ "block": { "hash": hash(), "number": null, "logs": [whole] } }),
        json!({ "block": [{ "hash": hash() }] }),
        json!({ "transactions": [{ "hash": hash() }] }),
        block(json!(null)),
    ] {
        assert_eq!(read(nothing.clone()), [], "{nothing}");
    }
}

#[test]
fn what_is_none_is_refused() {
    for text in
        ["", "[]", "{}", r#"["GRAPHQL",{"activity":[]}]"#, r#"{"type":"GRAPHQL"}"#, r#"{"type":"ADDRESS_ACTIVITY"}"#]
    {
        assert!(alchemy::read(text.as_bytes()).is_err(), "{text}");
    }
    let broken = json!({ "type": "NFT_ACTIVITY", "event": { "activity": [{ "log": { "address": "0x12" } }] } });
    assert!(alchemy::read(broken.to_string().as_bytes()).is_err());
}

#[test]
fn a_signature_is_of_the_body_and_by_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "whsec_test\n").unwrap();
    let config = format!(
        "[[chains]]\nid = 1\nrpc = [\"http://x\"]\n[[chains.hooks]]\nid = \"wh_1\"\nprovider = \"alchemy\"\n\
         signing_key_file = {file:?}\n"
    );
    let config = Config::parse(&config, [], &[Declared::of::<Chains>()]).unwrap();
    let hooks = Hooks::load(&config.section::<Chains>()).unwrap();
    let hook = hooks.find("wh_1").unwrap();
    // computed with another program: printf '{"a":1}' | openssl dgst -sha256 -hmac whsec_test
    let signature = "51426af50a41dd7ff2cd3f116594734766d4018d15d6fb07169aee5d2959adf5";
    hook.check(b"{\"a\":1}", signature).unwrap();
    for (body, signature) in
        [("{\"a\":2}", signature), ("{\"a\":1}", &signature[2..]), ("{\"a\":1}", ""), ("{\"a\":1}", "zz")]
    {
        assert_eq!(hook.check(body.as_bytes(), signature).unwrap_err().code.as_str(), "hook_signature");
    }
    assert!(hooks.find("wh_2").is_err());
}
