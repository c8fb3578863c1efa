//! What is read, what is refused, and laws about all expressions.

mod any;
mod json_schema;
mod refused;
mod sentences;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The contract at an address of the same bytes.
fn contract(chain: u64, byte: u8) -> Contract {
    Contract { chain: Chain(chain), address: Address::repeat_byte(byte) }
}

fn erc20(at_least: &str) -> Value {
    let contract = Address::repeat_byte(0x11).to_string();
    json!({ "erc20": { "chain": "eip155:1", "contract": contract, "at_least": at_least } })
}

fn gate(rule: Value) -> Result<Gate, GateError> {
    Gate::read(&json!({ "version": 1, "rule": rule }))
}

#[test]
fn ten_thousand_tokens_are_ten_thousand_and_not_one_unit_less() {
    let draft = gate(erc20("10000")).unwrap();
    assert_eq!(draft.unresolved(), BTreeSet::from([contract(1, 0x11)]));
    let kept = draft.resolve(&[(contract(1, 0x11), Decimals(18))].into()).unwrap();
    assert!(kept.unresolved().is_empty());
    let Rule::Clause(Clause::Erc20(clause)) = &kept.rule else { panic!("{kept:?}") };
    assert_eq!(clause.units(&Place::ROOT), Ok(U256::from(10).pow(U256::from(22))));
    // what is kept says it all
    assert_eq!(Gate::parse(&kept.write().to_string()), Ok(kept));
}

#[test]
fn an_amount_is_held_against_the_decimals_of_its_token() {
    let resolve = |at_least: &str, decimals| {
        let found = [(contract(1, 0x11), Decimals(decimals))].into();
        gate(erc20(at_least)).unwrap().resolve(&found).map(drop).map_err(|error| (error.code, error.pointer))
    };
    let at_least = "/rule/erc20/at_least".to_owned();
    assert_eq!(resolve("0.000001", 6), Ok(()));
    assert_eq!(resolve("0.0000001", 6), Err((GateCode::NumberFraction, at_least.clone())));
    assert_eq!(resolve("1.5", 0), Err((GateCode::NumberFraction, at_least.clone())));
    assert_eq!(resolve(&format!("1{}", "0".repeat(70)), 18), Err((GateCode::NumberTooLarge, at_least)));
}

#[test]
fn decimals_are_those_of_the_contract_and_no_others() {
    let mut rule = erc20("5");
    rule["erc20"]["decimals"] = 6.into();
    let given = gate(json!({ "not": rule })).unwrap();
    assert!(given.unresolved().is_empty());
    let error = given.clone().resolve(&[(contract(1, 0x11), Decimals(18))].into()).unwrap_err();
    assert_eq!((error.code, error.pointer.as_str()), (GateCode::DecimalsDiffer, "/rule/not/erc20"));
    assert_eq!(given.clone().resolve(&BTreeMap::new()), Ok(given));
    let error = gate(erc20("5")).unwrap().resolve(&BTreeMap::new()).unwrap_err();
    assert_eq!((error.code, error.pointer.as_str()), (GateCode::DecimalsMissing, "/rule/erc20"));
}

#[test]
fn a_sum_is_made_in_the_finest_unit() {
    let token = |chain: u64, byte: u8| {
        let contract = Address::repeat_byte(byte).to_string();
        json!({ "chain": format!("eip155:{chain}"), "contract": contract })
    };
    let draft =
        gate(json!({ "erc20_sum": { "tokens": [token(1, 0x11), token(10, 0x22)], "at_least": "2.5" } })).unwrap();
    let kept = draft.resolve(&[(contract(1, 0x11), Decimals(6)), (contract(10, 0x22), Decimals(18))].into()).unwrap();
    let Rule::Clause(Clause::Erc20Sum(sum)) = &kept.rule else { panic!("{kept:?}") };
    assert_eq!(sum.decimals(), Some(Decimals(18)));
    assert_eq!(sum.units(&Place::ROOT), Ok(U256::from(25) * U256::from(10).pow(U256::from(17))));
}

#[test]
fn a_gate_says_what_it_asks_about() {
    let [one, two]: [RoleId; 2] = [1, 2].map(|number| RoleId::new(uuid::Uuid::from_u128(number)));
    let role = |id: RoleId| json!({ "role": { "role": id.uuid().to_string() } });
    let gate =
        gate(json!({ "all_of": [role(two), { "any_of": [role(one), erc20("1"), { "not": role(two) }] }] })).unwrap();
    assert_eq!(gate.roles(), BTreeSet::from([one, two]));
    assert_eq!(gate.contracts(), BTreeSet::from([contract(1, 0x11)]));
    let mut places = Vec::new();
    gate.each_clause(|clause, at| places.push(format!("{at} {}", clause.name())));
    let expected = [
        "/rule/all_of/0/role role",
        "/rule/all_of/1/any_of/0/role role",
        "/rule/all_of/1/any_of/1/erc20 erc20",
        "/rule/all_of/1/any_of/2/not/role role",
    ];
    assert_eq!(places, expected);
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(gate in any::gates()) {
        let written = gate.write();
        prop_assert_eq!(Gate::read(&written), Ok(gate.clone()));
        prop_assert_eq!(Gate::parse(&written.to_string()), Ok(gate.clone()));
        prop_assert_eq!(serde_json::from_value::<Gate>(serde_json::to_value(&gate).unwrap()).unwrap(), gate);
    }

    #[test]
    fn whatever_is_read_is_within_bounds(json in any::json(), text in "\\PC*") {
        let _ = Gate::parse(&text);
        for value in [json.clone(), json!({ "version": 1, "rule": json })] {
            if let Ok(gate) = Gate::read(&value) {
                let mut clauses = 0;
                gate.each_clause(|_, _| clauses += 1);
                prop_assert!(clauses <= CLAUSES_MAX && gate.rule.depth() <= DEPTH_MAX);
            }
        }
    }
}
