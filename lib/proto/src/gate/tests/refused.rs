//! What is refused, where and as what.

use alloy_primitives::Address;
use serde_json::{Value, json};

use super::{erc20, gate};
use crate::gate::{BYTES_MAX, CLAUSES_MAX, DEPTH_MAX, Gate, GateCode, GateError, IDS_MAX};

fn found(error: GateError) -> (GateCode, String) {
    assert!(error.detail.len() > 10, "{error:?} says what to do");
    (error.code, error.pointer)
}

#[track_caller]
fn refuses(rule: Value, code: GateCode, pointer: &str) {
    let words = rule.to_string();
    let error = gate(rule).expect_err(&words);
    assert_eq!(found(error), (code, pointer.to_owned()), "{words}");
}

#[test]
fn amounts_that_could_be_read_in_two_ways() {
    for (amount, code) in [
        ("10,000", GateCode::NumberGrouped),
        ("1e4", GateCode::NumberExponent),
        ("-1", GateCode::NumberSigned),
        ("+1", GateCode::NumberSigned),
        (" 1", GateCode::NumberSpaced),
        ("ten", GateCode::NumberMalformed),
        ("0", GateCode::NumberZero),
        ("0.0", GateCode::NumberZero),
    ] {
        refuses(erc20(amount), code, "/rule/erc20/at_least");
    }
    let mut number = erc20("1");
    number["erc20"]["at_least"] = json!(10_000);
    refuses(number, GateCode::WrongType, "/rule/erc20/at_least");
    let mut decimals = erc20("0.1234567");
    decimals["erc20"]["decimals"] = json!(6);
    refuses(json!({ "not": decimals.clone() }), GateCode::NumberFraction, "/rule/not/erc20/at_least");
    decimals["erc20"]["decimals"] = json!(78);
    refuses(decimals, GateCode::OutOfRange, "/rule/erc20/decimals");
}

#[test]
fn forms_that_are_no_rules() {
    let role = || json!({ "role": { "role": "019a2b3c4d5e7f608123456789abcdef" } });
    gate(role()).unwrap();
    for (rule, code, pointer) in [
        (json!(null), GateCode::WrongType, "/rule"),
        (json!({}), GateCode::NotOneRule, "/rule"),
        (json!({ "all_of": [role()], "any_of": [role()] }), GateCode::NotOneRule, "/rule"),
        (json!({ "some_of": [role()] }), GateCode::RuleUnknown, "/rule/some_of"),
        (json!({ "all_of": [] }), GateCode::ListEmpty, "/rule/all_of"),
        (json!({ "all_of": [role(), { "not": [role()] }] }), GateCode::WrongType, "/rule/all_of/1/not"),
        (json!({ "at_least": { "n": 2, "of": [role()] } }), GateCode::OutOfRange, "/rule/at_least/n"),
        (json!({ "at_least": { "n": 0, "of": [role()] } }), GateCode::OutOfRange, "/rule/at_least/n"),
        (json!({ "at_least": { "n": 1.5, "of": [role()] } }), GateCode::OutOfRange, "/rule/at_least/n"),
        (json!({ "at_least": { "n": "1", "of": [role()] } }), GateCode::WrongType, "/rule/at_least/n"),
        (json!({ "at_least": { "of": [role()] } }), GateCode::FieldMissing, "/rule/at_least/n"),
        (json!({ "role": { "role": "admins" } }), GateCode::RoleMalformed, "/rule/role/role"),
        (json!({ "role": { "role": 5 } }), GateCode::WrongType, "/rule/role/role"),
        (json!({ "role": { "role": "x", "name": "y" } }), GateCode::FieldUnknown, "/rule/role/name"),
        (json!({ "role": {} }), GateCode::FieldMissing, "/rule/role/role"),
        (json!({ "account_age": { "days": 0 } }), GateCode::OutOfRange, "/rule/account_age/days"),
        (
            json!({ "wallet_age": { "chain": "eip155:01", "days": 1 } }),
            GateCode::ChainMalformed,
            "/rule/wallet_age/chain",
        ),
        (
            json!({ "wallet_age": { "chain": "cosmos:cosmoshub-3", "days": 1 } }),
            GateCode::ChainUnsupported,
            "/rule/wallet_age/chain",
        ),
        (json!({ "allowlist": { "root": "0x12", "count": 1 } }), GateCode::HashMalformed, "/rule/allowlist/root"),
        (
            json!({ "allowlist": { "root": format!("0x{}", "ab".repeat(32)), "count": 50_001 } }),
            GateCode::OutOfRange,
            "/rule/allowlist/count",
        ),
    ] {
        refuses(rule, code, pointer);
    }
}

#[test]
fn clauses_whose_parts_do_not_fit() {
    let contract = Address::repeat_byte(0x11).to_string();
    let of = |name: &str, more: Value| {
        let mut body = json!({ "chain": "eip155:1", "contract": contract, "at_least": 1 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ name: body })
    };
    let token = json!({ "chain": "eip155:1", "contract": contract });
    let checked = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
    for (rule, code, pointer) in [
        (of("trait", json!({ "property": "p" })), GateCode::NotOneField, "/rule/trait"),
        (of("trait", json!({ "property": "p", "equals": "1", "one_of": ["1"] })), GateCode::NotOneField, "/rule/trait"),
        (of("trait", json!({ "property": "", "equals": "1" })), GateCode::TextLength, "/rule/trait/property"),
        (of("trait", json!({ "property": "p", "range": {} })), GateCode::RangeInvalid, "/rule/trait/range"),
        (
            of("trait", json!({ "property": "p", "range": { "from": "2", "to": "1" } })),
            GateCode::RangeInvalid,
            "/rule/trait/range",
        ),
        (of("erc721", json!({ "ids": [] })), GateCode::ListEmpty, "/rule/erc721/ids"),
        (of("erc721", json!({ "ids": ["1", "1"] })), GateCode::Repeated, "/rule/erc721/ids/1"),
        (of("erc721", json!({ "ids": ["-1"] })), GateCode::NumberSigned, "/rule/erc721/ids/0"),
        (of("erc721", json!({ "ids": [1] })), GateCode::WrongType, "/rule/erc721/ids/0"),
        (of("erc721", json!({ "ids": [{ "from": "1", "to": "1" }] })), GateCode::RangeInvalid, "/rule/erc721/ids/0"),
        (of("erc1155", json!({ "id": "1", "at_least": "0" })), GateCode::NumberZero, "/rule/erc1155/at_least"),
        (of("erc1155", json!({ "id": "1.5", "at_least": "1" })), GateCode::NumberFraction, "/rule/erc1155/id"),
        (
            of("erc721", json!({ "contract": checked.replace("dA6", "da6") })),
            GateCode::AddressChecksum,
            "/rule/erc721/contract",
        ),
        (
            json!({ "erc20_sum": { "tokens": [token, token], "at_least": "1" } }),
            GateCode::Repeated,
            "/rule/erc20_sum/tokens/1",
        ),
    ] {
        refuses(rule, code, pointer);
    }
    gate(of("erc721", json!({ "contract": checked.to_lowercase() }))).unwrap();
}

#[test]
fn more_than_a_gate_may_have() {
    let nested = |depth: usize| (1..depth).fold(erc20("1"), |rule, _| json!({ "not": rule }));
    assert_eq!(gate(nested(DEPTH_MAX)).unwrap().rule.depth(), DEPTH_MAX);
    refuses(nested(DEPTH_MAX + 1), GateCode::TooDeep, &format!("/rule{}", "/not".repeat(DEPTH_MAX)));

    let half = |many: usize| json!({ "any_of": vec![erc20("1"); many] });
    gate(json!({ "all_of": [half(CLAUSES_MAX / 2), half(CLAUSES_MAX / 2)] })).unwrap();
    let pointer = format!("/rule/all_of/1/any_of/{}/erc20", CLAUSES_MAX / 2);
    refuses(
        json!({ "all_of": [half(CLAUSES_MAX / 2), half(CLAUSES_MAX / 2 + 1)] }),
        GateCode::TooManyClauses,
        &pointer,
    );
    refuses(half(CLAUSES_MAX + 1), GateCode::ListTooLong, "/rule/any_of");

    let tokens = |from: usize, many: usize| {
        let ids: Vec<String> = (from..from + many).map(|id| id.to_string()).collect();
        let contract = Address::repeat_byte(1).to_string();
        json!({ "erc721": { "chain": "eip155:1", "contract": contract, "ids": ids, "at_least": 1 } })
    };
    gate(json!({ "any_of": [tokens(0, IDS_MAX - 1), tokens(IDS_MAX, 1)] })).unwrap();
    let too_many = json!({ "any_of": [tokens(0, IDS_MAX - 1), tokens(IDS_MAX, 2)] });
    refuses(too_many, GateCode::TooManyIds, "/rule/any_of/1/erc721/ids");

    let long = json!({ "any_of": [{ "x".repeat(BYTES_MAX): 1 }] });
    refuses(long, GateCode::TooLarge, "");
}

#[test]
fn texts_that_are_no_expressions() {
    for (text, code, pointer) in [
        (String::new(), GateCode::NotJson, ""),
        ("{".to_owned(), GateCode::NotJson, ""),
        ("{\"version\": 1, \"rule\": ".to_owned() + &"[".repeat(100_000), GateCode::TooDeep, ""),
        ("{\"version\":1,\"rule\":".to_owned() + &"{\"not\":".repeat(50), GateCode::TooDeep, ""),
        (" ".repeat(4 * BYTES_MAX + 1), GateCode::TooLarge, ""),
        ("[]".to_owned(), GateCode::WrongType, ""),
        ("{\"rule\": {}}".to_owned(), GateCode::FieldMissing, "/version"),
        ("{\"version\": 1}".to_owned(), GateCode::FieldMissing, "/rule"),
        ("{\"version\": 2, \"rule\": {}}".to_owned(), GateCode::VersionUnknown, "/version"),
        ("{\"version\": \"1\", \"rule\": {}}".to_owned(), GateCode::VersionUnknown, "/version"),
        ("{\"version\": 1, \"rule\": {}, \"a/b\": 1}".to_owned(), GateCode::FieldUnknown, "/a~1b"),
    ] {
        let error = Gate::parse(&text).expect_err("a refusal");
        assert_eq!(found(error), (code, pointer.to_owned()), "{}", &text[..text.len().min(60)]);
    }
    // brackets in texts open nothing
    let brackets = json!({ "version": 1, "rule": { "trait": {
        "chain": "eip155:1", "contract": Address::repeat_byte(0x11).to_string(), "property": "[[[{\\\"".repeat(15),
        "equals": "[", "at_least": 1,
    } } });
    Gate::parse(&brackets.to_string()).unwrap();
}
