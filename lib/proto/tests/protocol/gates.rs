//! Expressions of gates: their schema (`docs/gate.schema.json`), and examples of what they say and what is refused
//! (`docs/gate-vectors.json`).

use nepto_proto::gate::{Gate, GateCode, schema};
use serde_json::{Value, json};

use crate::{docs, expect_file};

const TOKEN: &str = "0x1111111111111111111111111111111111111111";
const COLLECTION: &str = "0x2222222222222222222222222222222222222222";
const ROLE: &str = "019a2b3c-4d5e-7f60-8123-456789abcdef";

#[test]
fn the_schema_of_gates_is_what_is_read() {
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    expect_file(&docs().join("gate.schema.json"), &text);
}

#[test]
fn the_vectors_of_gates_are_what_the_code_says() {
    let sentences: Vec<Value> = SENTENCES.iter().map(|(rule, sentence)| said(rule, sentence)).collect();
    let refusals: Vec<Value> =
        refusals().into_iter().map(|(rule, code, pointer)| refused(rule, code, pointer)).collect();
    let text = serde_json::to_string_pretty(&json!({ "sentences": sentences, "refused": refusals })).unwrap() + "\n";
    expect_file(&docs().join("gate-vectors.json"), &text);
}

fn expression(rule: Value) -> Value {
    json!({ "version": 1, "rule": rule })
}

/// An example of a sentence. Its rule has names for what is long.
fn said(rule: &str, sentence: &str) -> Value {
    let full = |text: &str| text.replace("TOKEN", TOKEN).replace("COLLECTION", COLLECTION).replace("ROLE", ROLE);
    let rule: Value = serde_json::from_str(&full(rule)).unwrap();
    let gate = Gate::read(&expression(rule)).unwrap();
    assert_eq!(gate.to_string(), full(sentence));
    json!({ "expression": gate.write(), "sentence": gate.to_string() })
}

fn refused(rule: Value, code: GateCode, pointer: &str) -> Value {
    let expression = expression(rule);
    let error = Gate::read(&expression).unwrap_err();
    assert_eq!((error.code, error.pointer.as_str()), (code, pointer), "{expression}");
    json!({ "expression": expression, "code": error.code, "pointer": error.pointer })
}

const SENTENCES: &[(&str, &str)] = &[
    (
        r#"{"erc20": {"chain": "eip155:1", "contract": "TOKEN", "decimals": 18, "at_least": "10000"}}"#,
        "Admits whoever holds at least 10,000 of the ERC-20 token TOKEN on eip155:1 (18 decimals).",
    ),
    (
        r#"{"erc20_sum": {"tokens": [{"chain": "eip155:1", "contract": "TOKEN"}, {"chain": "eip155:10", "contract": "TOKEN"}], "at_least": "0.50"}}"#,
        "Admits whoever holds at least 0.5, added up, of the ERC-20 tokens TOKEN on eip155:1, TOKEN on eip155:10.",
    ),
    (
        r#"{"erc721": {"chain": "eip155:1", "contract": "COLLECTION", "at_least": 2}}"#,
        "Admits whoever holds at least 2 of the ERC-721 tokens of COLLECTION on eip155:1.",
    ),
    (
        r#"{"erc721": {"chain": "eip155:1", "contract": "COLLECTION", "ids": ["7", {"from": "100", "to": "199"}], "at_least": 1}}"#,
        "Admits whoever holds at least 1 of the ERC-721 tokens numbered 7, 100 to 199 of COLLECTION on eip155:1.",
    ),
    (
        r#"{"erc1155": {"chain": "eip155:1", "contract": "COLLECTION", "id": "5", "at_least": "1000"}}"#,
        "Admits whoever holds at least 1,000 of number 5 of the ERC-1155 COLLECTION on eip155:1.",
    ),
    (
        r#"{"trait": {"chain": "eip155:1", "contract": "COLLECTION", "property": "Fur", "equals": "Solid \"Gold\"", "at_least": 1}}"#,
        r#"Admits whoever holds at least 1 of the tokens of COLLECTION on eip155:1 whose trait "Fur" is "Solid \"Gold\""."#,
    ),
    (
        r#"{"trait": {"chain": "eip155:1", "contract": "COLLECTION", "property": "Fur", "one_of": ["Gold", "\u202edloG"], "at_least": 3}}"#,
        r#"Admits whoever holds at least 3 of the tokens of COLLECTION on eip155:1 whose trait "Fur" is one of "Gold", "\u{202e}dloG"."#,
    ),
    (
        r#"{"trait": {"chain": "eip155:1", "contract": "COLLECTION", "property": "Level", "range": {"from": "1000", "to": "2500.5"}, "at_least": 1}}"#,
        r#"Admits whoever holds at least 1 of the tokens of COLLECTION on eip155:1 whose trait "Level" is a number from 1,000 up to 2,500.5."#,
    ),
    (
        r#"{"staked": {"chain": "eip155:1", "contract": "COLLECTION", "decimals": 6, "at_least": "100", "days": 30}}"#,
        "Admits whoever has at least 100 staked in COLLECTION on eip155:1 (6 decimals) throughout the last 30 days.",
    ),
    (r#"{"account_age": {"days": 1}}"#, "Admits whoever has an account that was made at least 1 day ago."),
    (
        r#"{"wallet_age": {"chain": "eip155:8453", "days": 365}}"#,
        "Admits whoever has a wallet that was used on eip155:8453 at least 365 days ago.",
    ),
    (
        r#"{"allowlist": {"root": "0x5d0ee50e4de96b94659c16ff3acf389d3cf381648d8a18dbd0020329a3a5adc5", "count": 3}}"#,
        "Admits whoever has a wallet on the allowlist 0x5d0ee50e4de96b94659c16ff3acf389d3cf381648d8a18dbd0020329a3a5adc5 (addresses: 3).",
    ),
    (r#"{"role": {"role": "ROLE"}}"#, "Admits whoever has the role ROLE."),
    (
        r#"{"view": {"chain": "eip155:1", "contract": "TOKEN", "function": "power(address,uint8)", "arguments": ["$wallet", "2"], "returns": "uint256", "answer": {"at_least": "10"}}}"#,
        r#"Admits whoever has a wallet for which power(address,uint8) of TOKEN on eip155:1, called with ["$wallet", "2"], answers at least "10" (uint256)."#,
    ),
    (
        r#"{"view": {"chain": "eip155:1", "contract": "TOKEN", "function": "paused()", "arguments": [], "returns": "bool", "answer": {"equals": "false"}}}"#,
        r#"Admits whoever comes while paused() of TOKEN on eip155:1, called with [], answers exactly "false" (bool)."#,
    ),
    (
        r#"{"all_of": [{"role": {"role": "ROLE"}}, {"any_of": [{"account_age": {"days": 7}}, {"not": {"account_age": {"days": 30}}}]}]}"#,
        "Admits whoever (has the role ROLE) and ((has an account that was made at least 7 days ago) or (does not meet (has an account that was made at least 30 days ago))).",
    ),
    (
        r#"{"at_least": {"n": 2, "of": [{"role": {"role": "ROLE"}}, {"account_age": {"days": 7}}, {"any_of": [{"account_age": {"days": 8}}]}]}}"#,
        "Admits whoever meets at least 2 of: (has the role ROLE), (has an account that was made at least 7 days ago), (meets one of (has an account that was made at least 8 days ago)).",
    ),
];

fn refusals() -> Vec<(Value, GateCode, &'static str)> {
    let erc20 = |at_least: &str, decimals: u32| {
        let body = json!({ "chain": "eip155:1", "contract": TOKEN, "decimals": decimals, "at_least": at_least });
        json!({ "erc20": body })
    };
    let at_least = "/rule/erc20/at_least";
    let address = |contract: &str| json!({ "erc721": { "chain": "eip155:1", "contract": contract, "at_least": 1 } });
    vec![
        (erc20("10,000", 18), GateCode::NumberGrouped, at_least),
        (erc20("1e4", 18), GateCode::NumberExponent, at_least),
        (erc20("-1", 18), GateCode::NumberSigned, at_least),
        (erc20("+1", 18), GateCode::NumberSigned, at_least),
        (erc20(" 1", 18), GateCode::NumberSpaced, at_least),
        (erc20("007", 18), GateCode::NumberMalformed, at_least),
        (erc20("0", 18), GateCode::NumberZero, at_least),
        (erc20("0.1234567", 6), GateCode::NumberFraction, at_least),
        (address("0xd8da6BF26964aF9D7eEd9e03E53415D37aA96045"), GateCode::AddressChecksum, "/rule/erc721/contract"),
        (address("0xd8dA6BF26964aF9D7eEd9e03E53415D37aA9604"), GateCode::AddressMalformed, "/rule/erc721/contract"),
        (
            json!({ "wallet_age": { "chain": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "days": 1 } }),
            GateCode::ChainUnsupported,
            "/rule/wallet_age/chain",
        ),
        (json!({ "any_of": [] }), GateCode::ListEmpty, "/rule/any_of"),
        (
            json!({ "all_of": [{ "not": { "account_age": { "days": 1, "hours": 2 } } }] }),
            GateCode::FieldUnknown,
            "/rule/all_of/0/not/account_age/hours",
        ),
        (json!({ "some_of": [] }), GateCode::RuleUnknown, "/rule/some_of"),
    ]
}
