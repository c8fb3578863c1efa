//! Any gates, with few words each, so that two of them are often nearly the same.

use alloy_primitives::{Address, B256, U256};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use uuid::Uuid;

use crate::gate::amount::{Amount, Decimal};
use crate::gate::call::{Answer, Arguments, Function, View, WALLET, WordText};
use crate::gate::clause::{
    AccountAge, Allowlist, Clause, Erc20, Erc20Sum, Erc721, Erc1155, Range, Role, Staked, Token, Trait, WalletAge,
};
use crate::gate::values::{Chain, Count, Days, Decimals, ListSize, Text, TokenIds};
use crate::gate::word::WordType;
use crate::gate::{Gate, Rule};
use crate::ids::RoleId;

fn chain() -> impl Strategy<Value = Chain> + Clone {
    select(vec![Chain(1), Chain(10)])
}

fn contract() -> impl Strategy<Value = Address> + Clone {
    select(vec![Address::repeat_byte(0x11), Address::repeat_byte(0xab)])
}

fn amount() -> impl Strategy<Value = Amount> + Clone {
    select(vec!["1", "10", "10000", "0.5", "1.5"]).prop_map(|text| Amount::parse(text).unwrap())
}

fn decimals() -> impl Strategy<Value = Option<Decimals>> + Clone {
    select(vec![None, Some(Decimals(1)), Some(Decimals(18))])
}

fn text() -> impl Strategy<Value = Text> + Clone {
    select(vec!["Gold", "gold", "Gold\"", "a) and (b", "\u{202e}dloG", "10"]).prop_map(|text| Text(text.to_owned()))
}

fn ids() -> impl Strategy<Value = Option<Vec<TokenIds>>> + Clone {
    let ids = |from: u64, to: u64| TokenIds { from: U256::from(from), to: U256::from(to) };
    select(vec![
        None,
        Some(vec![ids(1, 1)]),
        Some(vec![ids(1, 5)]),
        Some(vec![ids(1, 1), ids(5, 5)]),
        Some(vec![ids(5, 9), ids(1, 1)]),
    ])
}

fn range() -> impl Strategy<Value = Range> + Clone {
    let number = |text: &str| Some(Decimal::parse(text).unwrap());
    select(vec![
        Range { from: number("1"), to: None },
        Range { from: None, to: number("1") },
        Range { from: number("-1000"), to: number("1.5") },
    ])
}

/// The fields of a trait of which exactly one is there.
type Test = (Option<Text>, Option<Vec<Text>>, Option<Range>);

fn traits() -> impl Strategy<Value = Clause> + Clone {
    let test = prop_oneof![
        text().prop_map(|text| -> Test { (Some(text), None, None) }),
        text().prop_map(|text| -> Test { (None, Some(vec![text]), None) }),
        range().prop_map(|range| -> Test { (None, None, Some(range)) }),
    ];
    (chain(), contract(), text(), test, 1..3_u32).prop_map(|(chain, contract, property, test, at_least)| {
        let (equals, one_of, range) = test;
        Clause::Trait(Trait { chain, contract, property, equals, one_of, range, at_least: Count(at_least) })
    })
}

fn sums() -> impl Strategy<Value = Clause> + Clone {
    (decimals(), decimals(), any::<bool>(), select(vec!["1", "2.5"])).prop_map(|(one, other, both, at_least)| {
        let token = |byte: u8, decimals| Token { chain: Chain(1), contract: Address::repeat_byte(byte), decimals };
        let mut tokens = vec![token(0x11, one)];
        if both {
            tokens.push(token(0x22, other));
        }
        Clause::Erc20Sum(Erc20Sum { tokens, at_least: Amount::parse(at_least).unwrap() })
    })
}

fn views() -> impl Strategy<Value = Clause> + Clone {
    let word = |text: &str| Some(WordText(text.to_owned()));
    let answers = vec![
        (WordType::Uint(256), Answer { equals: word("1"), at_least: None, at_most: None }),
        (WordType::Uint(256), Answer { equals: None, at_least: word("1"), at_most: None }),
        (WordType::Int(8), Answer { equals: None, at_least: None, at_most: word("-1") }),
        (WordType::Bool, Answer { equals: word("true"), at_least: None, at_most: None }),
    ];
    let calls =
        vec![("score()", vec![]), ("score(address)", vec![WALLET]), ("score(address,bool)", vec![WALLET, "true"])];
    (chain(), contract(), select(calls), select(answers)).prop_map(|(chain, contract, (function, given), answer)| {
        let function = Function::parse(function).unwrap();
        let arguments = Arguments(given.into_iter().map(str::to_owned).collect());
        Clause::View(View { chain, contract, function, arguments, returns: answer.0, answer: answer.1 })
    })
}

fn clauses() -> impl Strategy<Value = Clause> + Clone {
    prop_oneof![
        (chain(), contract(), decimals(), amount()).prop_map(|(chain, contract, decimals, at_least)| {
            Clause::Erc20(Erc20 { chain, contract, decimals, at_least })
        }),
        sums(),
        (chain(), contract(), ids(), 1..3_u32).prop_map(|(chain, contract, ids, at_least)| {
            Clause::Erc721(Erc721 { chain, contract, ids, at_least: Count(at_least) })
        }),
        (chain(), contract(), 0..3_u64, 1..3_u64).prop_map(|(chain, contract, id, at_least)| {
            Clause::Erc1155(Erc1155 { chain, contract, id: U256::from(id), at_least: U256::from(at_least) })
        }),
        traits(),
        (chain(), contract(), decimals(), amount(), prop::option::of((1..3_u32).prop_map(Days))).prop_map(
            |(chain, contract, decimals, at_least, days)| {
                Clause::Staked(Staked { chain, contract, decimals, at_least, days })
            }
        ),
        (1..3_u32).prop_map(|days| Clause::AccountAge(AccountAge { days: Days(days) })),
        (chain(), 1..3_u32).prop_map(|(chain, days)| Clause::WalletAge(WalletAge { chain, days: Days(days) })),
        (0..2_u8, 1..3_u32).prop_map(|(root, count)| {
            Clause::Allowlist(Allowlist { root: B256::repeat_byte(root), count: ListSize(count) })
        }),
        (0..3_u128).prop_map(|role| Clause::Role(Role { role: RoleId::new(Uuid::from_u128(role)) })),
        views(),
    ]
}

/// Rules of clauses like these.
pub fn rules_of(clauses: impl Strategy<Value = Clause> + Clone + 'static) -> impl Strategy<Value = Rule> {
    clauses.prop_map(Rule::Clause).prop_recursive(4, 16, 3, |rule| {
        let list = prop::collection::vec(rule.clone(), 1..4);
        prop_oneof![
            list.clone().prop_map(Rule::AllOf),
            list.clone().prop_map(Rule::AnyOf),
            rule.prop_map(|rule| Rule::Not(Box::new(rule))),
            (list, any::<prop::sample::Index>())
                .prop_map(|(of, n)| { Rule::AtLeast { n: n.index(of.len()) as u32 + 1, of } }),
        ]
    })
}

/// Any gates whose amounts fit the decimals that are known.
pub fn gates() -> impl Strategy<Value = Gate> {
    // one that does not fit is refused when it is read
    let fits = |gate: &Gate| Gate::read(&gate.write()).is_ok();
    rules_of(clauses()).prop_map(|rule| Gate { rule }).prop_filter("an amount does not fit its token", fits)
}

/// Any JSON, with words that expressions have.
pub fn json() -> impl Strategy<Value = Value> {
    let words =
        vec!["all_of", "any_of", "not", "at_least", "n", "of", "erc20", "role", "trait", "version", "rule", "x"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(12, 64, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((select(words.clone()), inner), 0..3).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}
