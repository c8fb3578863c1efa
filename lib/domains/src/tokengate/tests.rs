//! Laws of evaluation, and what people are told.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};
use nepto_proto::gate::{Chain, Contract, Decimals, Gate, Rule, Truth, UnknownReason, Why};
use nepto_proto::ids::RoleId;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use uuid::Uuid;

use super::decide::{Decision, Evaluated, Known, Policy};
use super::evaluate::{self as evaluation, Terms, evaluate};
use super::facts::{Answer, At, Depth, DescribedToken, Facts, Question, questions};

/// Now: a day in 2026, milliseconds since 1970.
const NOW_MS: i64 = 1_793_000_000_000;
const TERMS: Terms = Terms { now_ms: NOW_MS, depth: Depth::Confirmations(2), age_ms_max: 3_600_000 };

fn wallets(many: u8) -> BTreeSet<Address> {
    (1..=many).map(Address::repeat_byte).collect()
}

fn token() -> String {
    Address::repeat_byte(0x11).to_string()
}

fn gate(rule: &Value) -> Gate {
    let gate = Gate::read(&json!({ "version": 1, "rule": rule })).unwrap();
    let decimals: BTreeMap<Contract, Decimals> =
        gate.unresolved().into_iter().map(|token| (token, Decimals(if token.chain.0 == 1 { 2 } else { 4 }))).collect();
    gate.resolve(&decimals).unwrap()
}

/// An answer to a question, or why there is none.
type Fact = (Question, Result<Answer, UnknownReason>);

/// A block of a minute ago.
const BLOCK: At = At { block: 100, time_ms: NOW_MS - 60_000, depth: Depth::Confirmations(2) };

fn at_block(answers: impl IntoIterator<Item = Fact>, block: At) -> Facts {
    Facts { blocks: [(Chain(1), block), (Chain(10), block)].into(), answers: answers.into_iter().collect() }
}

fn amount(wallet: u8, amount: u64) -> Fact {
    amount_of(wallet, U256::from(amount))
}

fn amount_of(wallet: u8, amount: U256) -> Fact {
    let contract = Contract { chain: Chain(1), address: Address::repeat_byte(0x11) };
    (Question::Amount { contract, wallet: Address::repeat_byte(wallet) }, Ok(Answer::Amount(amount)))
}

fn erc20(at_least: &str) -> Value {
    json!({ "erc20": { "chain": "eip155:1", "contract": token(), "at_least": at_least } })
}

fn truth(rule: &Value, many: u8, facts: impl IntoIterator<Item = Fact>) -> Why {
    evaluate(&gate(rule), &wallets(many), &at_block(facts, BLOCK), TERMS)
}

#[test]
fn one_unit_less_is_not_enough_and_is_told() {
    // two decimals
    let why = truth(&erc20("10000"), 2, [amount(1, 999_900), amount(2, 99)]);
    assert_eq!((why.truth, why.missing.as_deref()), (Truth::False, Some("9,999.99 of 10,000")));
    assert_eq!(why.pointer, "/rule");
    let reading = &why.readings[0];
    assert_eq!(reading.wallet, Some(Address::repeat_byte(1).to_string()));
    assert_eq!((reading.value.as_deref(), reading.block, reading.age_s), (Some("9,999"), Some(100), Some(60)));
    assert!(reading.at.is_some() && reading.unknown.is_none());

    let why = truth(&erc20("10000"), 2, [amount(1, 999_900), amount(2, 100)]);
    assert_eq!((why.truth, why.missing), (Truth::True, None));
}

#[test]
fn what_is_unknown_is_not_nothing() {
    // enough without the wallet that nobody knows of
    assert_eq!(truth(&erc20("1"), 2, [amount(1, 100)]).truth, Truth::True);
    let why = truth(&erc20("1"), 2, [amount(1, 99)]);
    assert_eq!((why.truth, why.missing.as_deref()), (Truth::Unknown, Some("0.99 of 1")));
    assert_eq!(why.readings[1].unknown, Some(UnknownReason::NotAsked));
    // nobody has no wallet that could be unknown
    assert_eq!(truth(&erc20("1"), 0, []).truth, Truth::False);
}

#[test]
fn a_fact_must_be_settled_and_young_enough() {
    let (question, _) = amount(1, 0);
    for (age_ms, depth, unknown) in [
        (0, Depth::Confirmations(1), Some(UnknownReason::NotSettled)),
        (0, Depth::Confirmations(2), None),
        (0, Depth::Final, None),
        (3_600_000, Depth::Final, None),
        (3_600_001, Depth::Final, Some(UnknownReason::Stale)),
        // a block from a clock that is ahead
        (-5_000, Depth::Final, None),
    ] {
        let at = At { block: 7, time_ms: NOW_MS - age_ms, depth };
        let facts = at_block([(question.clone(), Ok(Answer::Amount(U256::ZERO)))], at);
        let why = evaluate(&gate(&erc20("1")), &wallets(1), &facts, TERMS);
        let expected = if unknown.is_some() { Truth::Unknown } else { Truth::False };
        assert_eq!((why.truth, why.readings[0].unknown), (expected, unknown), "{age_ms} {depth:?}");
        // its age is shown even so
        assert_eq!(why.readings[0].block, Some(7));
    }
    // of a chain whose block nobody says nothing is known
    let facts = Facts { blocks: BTreeMap::new(), answers: [amount(1, 100)].into() };
    let why = evaluate(&gate(&erc20("1")), &wallets(1), &facts, TERMS);
    assert_eq!((why.truth, why.readings[0].unknown), (Truth::Unknown, Some(UnknownReason::NotAsked)));
}

#[test]
fn a_sum_that_overflows_is_enough() {
    let facts = [amount_of(1, U256::MAX), amount_of(2, U256::MAX)];
    let why = truth(&erc20("1"), 2, facts.clone());
    assert_eq!(why.truth, Truth::True);
    let why = truth(&json!({ "not": erc20("1") }), 2, facts);
    assert_eq!(why.truth, Truth::False);
}

#[test]
fn tokens_of_different_decimals_are_added_up_exactly() {
    let tokens = json!([{ "chain": "eip155:1", "contract": token() }, { "chain": "eip155:10", "contract": token() }]);
    let rule = json!({ "erc20_sum": { "tokens": tokens, "at_least": "3" } });
    let other = Contract { chain: Chain(10), address: Address::repeat_byte(0x11) };
    let of_other = |units: u64| {
        let question = Question::Amount { contract: other, wallet: Address::repeat_byte(1) };
        (question, Ok(Answer::Amount(U256::from(units))))
    };
    // 1.5 of two decimals, and of four decimals one unit less than 1.5, or 1.5
    let why = truth(&rule, 1, [amount(1, 150), of_other(14_999)]);
    assert_eq!((why.truth, why.missing.as_deref()), (Truth::False, Some("2.9999 of 3")));
    assert_eq!(why.readings[0].value.as_deref(), Some("1.5"));
    assert_eq!(why.readings[1].contract, Some(format!("{} on eip155:10", token())));
    assert_eq!(truth(&rule, 1, [amount(1, 150), of_other(15_000)]).truth, Truth::True);
}

#[test]
fn ids_and_ranges_count_each_token_once() {
    let ids = json!(["7", { "from": "5", "to": "9" }, "100"]);
    let rule = json!({ "erc721": { "chain": "eip155:1", "contract": token(), "ids": ids, "at_least": 3 } });
    let question = questions(&gate(&rule), &wallets(1)).into_iter().next().unwrap();
    let holds = |ids: &[u64]| {
        let tokens = ids.iter().map(|id| U256::from(*id)).collect();
        truth(&rule, 1, [(question.clone(), Ok(Answer::Tokens(tokens)))])
    };
    assert_eq!(holds(&[5, 7, 100]).truth, Truth::True);
    let why = holds(&[1, 4, 7, 9, 10, 101]);
    assert_eq!((why.truth, why.missing.as_deref()), (Truth::False, Some("2 of 3")));
}

#[test]
fn a_token_that_nobody_described_may_have_the_trait() {
    let rule = json!({ "trait": {
        "chain": "eip155:1", "contract": token(), "property": "Fur", "equals": "Gold", "at_least": 2,
    } });
    let question = questions(&gate(&rule), &wallets(1)).into_iter().next().unwrap();
    let described = |values: &[(&str, &str)], are_all: bool| DescribedToken {
        amount: U256::ONE,
        traits: values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        are_all,
    };
    let holds = |tokens: Vec<DescribedToken>| truth(&rule, 1, [(question.clone(), Ok(Answer::Described(tokens)))]);
    let gold = || described(&[("Eyes", "Blue"), ("Fur", "Gold")], false);
    let (brown, nobody) = (|| described(&[("Fur", "Brown"), ("Eyes", "Gold")], true), || described(&[], false));
    assert_eq!(holds(vec![gold(), gold(), nobody()]).truth, Truth::True);
    assert_eq!(holds(vec![gold(), brown(), brown()]).truth, Truth::False);
    let why = holds(vec![gold(), brown(), nobody()]);
    assert_eq!((why.truth, why.missing.as_deref()), (Truth::Unknown, Some("1 of 2")));
    assert_eq!(why.readings[0].value.as_deref(), Some("1, and up to 1 more"));
}

#[test]
fn ages_are_told_in_days() {
    let rule = json!({ "wallet_age": { "chain": "eip155:1", "days": 30 } });
    let asked: Vec<Question> = questions(&gate(&rule), &wallets(2)).into_iter().collect();
    let day = 86_400_000;
    let facts = |first: Option<i64>, second: Option<i64>| {
        [(asked[0].clone(), Ok(Answer::Since(first))), (asked[1].clone(), Ok(Answer::Since(second)))]
    };
    let why = truth(&rule, 2, facts(None, Some(NOW_MS - 30 * day + 1)));
    assert_eq!((why.truth, why.missing.as_deref()), (Truth::False, Some("29 of 30 days")));
    assert_eq!(why.readings[0].value.as_deref(), Some("never"));
    assert_eq!(truth(&rule, 2, facts(None, Some(NOW_MS - 30 * day))).truth, Truth::True);
}

#[test]
fn an_answer_of_another_kind_is_none() {
    let (question, _) = amount(1, 0);
    let why = truth(&erc20("1"), 1, [(question, Ok(Answer::Is(true)))]);
    assert_eq!((why.truth, why.readings[0].unknown), (Truth::Unknown, Some(UnknownReason::Unreadable)));
    let rule = json!({ "view": {
        "chain": "eip155:1", "contract": token(), "function": "isMember(address)", "arguments": ["$wallet"],
        "returns": "bool", "answer": { "equals": "true" },
    } });
    let question = questions(&gate(&rule), &wallets(1)).into_iter().next().unwrap();
    for (answer, expected) in [
        (Answer::Word(B256::with_last_byte(1)), Truth::True),
        (Answer::Word(B256::ZERO), Truth::False),
        (Answer::Word(B256::with_last_byte(2)), Truth::Unknown),
        (Answer::Reverted, Truth::False),
    ] {
        assert_eq!(truth(&rule, 1, [(question.clone(), Ok(answer.clone()))]).truth, expected, "{answer:?}");
    }
}

#[test]
fn each_rule_says_its_place_and_what_is_missing() {
    let rule =
        json!({ "all_of": [erc20("1"), { "at_least": { "n": 2, "of": [erc20("1"), erc20("2"), erc20("3")] } }] });
    let why = truth(&rule, 1, [amount(1, 150)]);
    assert_eq!((why.truth, why.missing.as_deref()), (Truth::False, Some("1 of 2")));
    let [first, second] = &why.parts[..] else { panic!("{why:?}") };
    assert_eq!((first.truth, first.pointer.as_str()), (Truth::True, "/rule/all_of/0"));
    assert_eq!((second.truth, second.missing.as_deref()), (Truth::False, Some("1 of 2")));
    assert_eq!(second.parts[2].pointer, "/rule/all_of/1/at_least/of/2");
    assert_eq!(second.parts[2].missing.as_deref(), Some("1.5 of 3"));
    assert!(second.sentence.starts_with("meets at least 2 of: (holds at least 1 of"), "{}", second.sentence);
}

/// So many roles, of which somebody may have each, or not, or nobody knows.
const ROLES: usize = 6;

fn role(number: usize) -> RoleId {
    RoleId::new(Uuid::from_u128(number as u128))
}

fn of_role(number: usize) -> Value {
    json!({ "role": { "role": role(number).uuid().to_string() } })
}

fn joined(leaf: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(4, 16, 3, |rule| {
        let list = prop::collection::vec(rule.clone(), 1..4);
        prop_oneof![
            list.clone().prop_map(|rules| json!({ "all_of": rules })),
            list.clone().prop_map(|rules| json!({ "any_of": rules })),
            rule.prop_map(|rule| json!({ "not": rule })),
            (list, any::<prop::sample::Index>())
                .prop_map(|(of, n)| { json!({ "at_least": { "n": n.index(of.len()) + 1, "of": of } }) }),
        ]
    })
}

/// Rules that are within the bounds of gates.
fn bounded(rules: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    rules.prop_filter("too many clauses", |rule| Gate::read(&json!({ "version": 1, "rule": rule })).is_ok())
}

fn truths() -> impl Strategy<Value = Vec<Truth>> {
    prop::collection::vec(select(Truth::ALL.to_vec()), ROLES)
}

fn facts_of(truths: &[Truth]) -> Facts {
    let answer = |truth: &Truth| match truth {
        Truth::Unknown => Err(UnknownReason::NodeAway),
        truth => Ok(Answer::Is(*truth == Truth::True)),
    };
    let each = truths.iter().enumerate();
    let answers = each.map(|(number, truth)| (Question::HasRole { role: role(number) }, answer(truth))).collect();
    // no chain has a part in it
    Facts { blocks: BTreeMap::new(), answers }
}

fn evaluated(rule: &Value, facts: &Facts) -> Truth {
    evaluate(&gate(rule), &wallets(2), facts, TERMS).truth
}

/// The naive model: no is 0, unknown 1 and yes 2; all is the least, any the greatest, not the mirror, and n of them the n-th
/// from the top.
fn naive(rule: &Rule, value: &dyn Fn(&Rule) -> i32) -> i32 {
    let parts = || rule.parts().iter().map(move |part| naive(part, value));
    match rule {
        Rule::Clause(_) => value(rule),
        Rule::AllOf(_) => parts().min().unwrap(),
        Rule::AnyOf(_) => parts().max().unwrap(),
        Rule::Not(_) => 2 - parts().next().unwrap(),
        Rule::AtLeast { n, .. } => {
            let mut sorted: Vec<i32> = parts().collect();
            sorted.sort_unstable();
            sorted[sorted.len() - *n as usize]
        }
    }
}

fn number(truth: Truth) -> i32 {
    match truth {
        Truth::False => 0,
        Truth::Unknown => 1,
        Truth::True => 2,
    }
}

/// One clause of each kind.
fn any_clause() -> impl Strategy<Value = Value> {
    let at = |name: &str, more: Value| {
        let mut body = json!({ "chain": "eip155:1", "contract": token(), "at_least": 2 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ name: body })
    };
    let tokens = json!([{ "chain": "eip155:1", "contract": token() }, { "chain": "eip155:10", "contract": token() }]);
    select(vec![
        erc20("0.03"),
        json!({ "erc20_sum": { "tokens": tokens, "at_least": "0.04" } }),
        at("erc721", json!({})),
        at("erc721", json!({ "ids": ["1", { "from": "3", "to": "4" }] })),
        at("erc1155", json!({ "id": "9", "at_least": "3" })),
        at("trait", json!({ "property": "p", "range": { "from": "2" } })),
        at("staked", json!({ "at_least": "0.03", "days": 1 })),
        json!({ "account_age": { "days": 3 } }),
        json!({ "wallet_age": { "chain": "eip155:1", "days": 3 } }),
        json!({ "allowlist": { "root": B256::repeat_byte(1).to_string(), "count": 3 } }),
        of_role(1),
        at(
            "view",
            json!({
                "function": "f(address)", "arguments": ["$wallet"], "returns": "uint256", "answer": { "at_most": "2" },
            }),
        ),
    ])
    .prop_map(|mut rule| {
        // a view has no amount of its own
        if let Some(view) = rule.get_mut("view").and_then(Value::as_object_mut) {
            view.remove("at_least");
        }
        rule
    })
}

/// A whole answer to a question, made of a small number.
fn whole_answer(question: &Question, seed: u8) -> Answer {
    let small = U256::from(seed % 5);
    match question {
        Question::Amount { .. } | Question::AmountOf { .. } | Question::Staked { .. } => Answer::Amount(small),
        Question::Tokens { .. } => Answer::Tokens((0..u64::from(seed % 6)).map(U256::from).collect()),
        Question::Described { .. } => Answer::Described(
            (0..seed % 4)
                .map(|token| DescribedToken {
                    amount: U256::ONE,
                    traits: vec![("p".to_owned(), ((seed / 4 + token) % 4).to_string())],
                    are_all: true,
                })
                .collect(),
        ),
        Question::FirstUsed { .. } | Question::AccountMade => {
            Answer::Since((!seed.is_multiple_of(7)).then(|| NOW_MS - i64::from(seed % 7) * 86_400_000))
        }
        Question::Listed { .. } | Question::HasRole { .. } => Answer::Is(seed.is_multiple_of(2)),
        Question::Call { .. } if seed.is_multiple_of(11) => Answer::Reverted,
        Question::Call { .. } => Answer::Word(B256::with_last_byte(seed % 5)),
    }
}

/// The same with less known of it.
fn less(answer: &Result<Answer, UnknownReason>, how: u8) -> Result<Answer, UnknownReason> {
    match (how, answer) {
        (0, Ok(Answer::Described(tokens))) => {
            let tokens =
                tokens.iter().map(|token| DescribedToken { traits: Vec::new(), are_all: false, ..token.clone() });
            Ok(Answer::Described(tokens.collect()))
        }
        (0..=3, _) => Err(UnknownReason::Contradiction),
        (_, answer) => answer.clone(),
    }
}

/// The same facts with less known of them, and with the block of a chain that may still change.
fn less_of(facts: &Facts, how: &[u8]) -> Facts {
    let each = facts.answers.iter().enumerate();
    let answers = each.map(|(index, (question, answer))| (question.clone(), less(answer, how[index % how.len()])));
    let mut blocks = facts.blocks.clone();
    if how.len().is_multiple_of(5) {
        blocks.insert(Chain(10), At { depth: Depth::Confirmations(0), ..BLOCK });
    }
    Facts { blocks, answers: answers.collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_is_the_naive_model(rule in bounded(joined((0..ROLES).prop_map(of_role))), truths in truths()) {
        let value = |rule: &Rule| match rule {
            Rule::Clause(nepto_proto::gate::Clause::Role(clause)) => {
                number(truths[clause.role.uuid().as_u128() as usize])
            }
            rule => panic!("{rule:?}"),
        };
        prop_assert_eq!(number(evaluated(&rule, &facts_of(&truths))), naive(&gate(&rule).rule, &value));
    }

    #[test]
    fn de_morgan_and_double_negation_hold(
        rules in prop::collection::vec((0..ROLES).prop_map(of_role), 1..5), truths in truths(),
    ) {
        let facts = facts_of(&truths);
        let not = |rule: &Value| json!({ "not": rule });
        let denied: Vec<Value> = rules.iter().map(not).collect();
        let (all, any) = (json!({ "all_of": rules }), json!({ "any_of": rules }));
        prop_assert_eq!(evaluated(&not(&all), &facts), evaluated(&json!({ "any_of": denied }), &facts));
        prop_assert_eq!(evaluated(&not(&any), &facts), evaluated(&json!({ "all_of": denied }), &facts));
        prop_assert_eq!(evaluated(&not(&not(&all)), &facts), evaluated(&all, &facts));
        // all and any are the ends of n of them
        let at_least = |n: usize| evaluated(&json!({ "at_least": { "n": n, "of": rules } }), &facts);
        prop_assert_eq!((at_least(1), at_least(rules.len())), (evaluated(&any, &facts), evaluated(&all, &facts)));
    }

    #[test]
    fn amounts_add_up_to_the_unit(amounts in prop::collection::vec(0..1_000_u64, 0..5), needed in 1..3_000_u64) {
        let at_least = format!("{}.{:02}", needed / 100, needed % 100);
        let facts = (1_u8..).zip(&amounts).map(|(wallet, units)| amount(wallet, *units));
        let why = truth(&erc20(&at_least), amounts.len() as u8, facts);
        prop_assert_eq!(why.truth, Truth::from(amounts.iter().sum::<u64>() >= needed));
    }

    /// With everything known a gate holds or does not. With less known it is the same or unknown, and with more again the same.
    #[test]
    fn knowledge_never_turns_an_answer_round(
        rule in bounded(joined(any_clause())),
        seeds in prop::collection::vec(any::<u8>(), 1..40),
        first in prop::collection::vec(0..8_u8, 1..40),
        second in prop::collection::vec(0..8_u8, 1..40),
    ) {
        let (gate, wallets) = (gate(&rule), wallets(2));
        let asked = questions(&gate, &wallets);
        let answers = asked.iter().enumerate().map(|(index, question)| {
            (question.clone(), Ok(whole_answer(question, seeds[index % seeds.len()])))
        });
        let all = at_block(answers, BLOCK);
        let some = less_of(&all, &first);
        let few = less_of(&some, &second);
        let [all, some, few] = [all, some, few].map(|facts| evaluate(&gate, &wallets, &facts, TERMS));
        prop_assert_ne!(all.truth, Truth::Unknown, "{:?}", &all);
        prop_assert!(some.truth == all.truth || some.truth == Truth::Unknown, "{:?} {:?}", some, all);
        prop_assert!(few.truth == some.truth || few.truth == Truth::Unknown, "{:?} {:?}", few, some);
    }

    /// Whoever asks for many at once, and without reasons, hears the same.
    #[test]
    fn with_and_without_words_it_is_the_same(
        rule in bounded(joined(any_clause())),
        seeds in prop::collection::vec(any::<u8>(), 1..40),
        first in prop::collection::vec(0..8_u8, 1..40),
        second in prop::collection::vec(0..8_u8, 1..40),
        has: bool,
    ) {
        let (gate, wallets) = (gate(&rule), wallets(2));
        let asked = questions(&gate, &wallets);
        let snapshot = |shift: usize, how: &[u8], depth: Depth| {
            let answers = asked.iter().enumerate().map(|(index, question)| {
                (question.clone(), Ok(whole_answer(question, seeds[(index + shift) % seeds.len()])))
            });
            less_of(&at_block(answers, At { depth, ..BLOCK }), how)
        };
        let (confirmed, settled) = (snapshot(0, &first, Depth::Confirmations(2)), snapshot(1, &second, Depth::Final));
        let told = evaluate(&gate, &wallets, &confirmed, TERMS).truth;
        prop_assert_eq!(evaluation::truth(&gate, &wallets, &confirmed, TERMS), told);
        let policy = Policy { confirmations: 2, age_ms_max: TERMS.age_ms_max };
        let known = Known { confirmed: &confirmed, settled: &settled };
        let decided = Evaluated::new(&gate, &wallets, known, policy, NOW_MS).decide(has);
        prop_assert_eq!(policy.decide(&gate, &wallets, known, has, NOW_MS), decided);
        // what may still change never takes
        let mixed_up = Known { confirmed: &confirmed, settled: &confirmed };
        let names_a_chain = asked.iter().any(|question| question.chain().is_some());
        if names_a_chain && asked.iter().all(|question| question.chain().is_some()) {
            prop_assert_ne!(policy.decide(&gate, &wallets, mixed_up, true, NOW_MS), Decision::Take);
        }
    }

    /// What is read beforehand is all that an evaluation looks at, and it is bounded by clauses, contracts and wallets.
    #[test]
    fn a_gate_costs_what_it_asks(rule in bounded(joined(any_clause())), many in 0..10_u8) {
        let (gate, wallets) = (gate(&rule), wallets(many));
        let asked = questions(&gate, &wallets);
        let mut most = 0;
        gate.each_clause(|_, _| most += 2 * usize::from(many).max(1));
        prop_assert!(asked.len() <= most, "{} of {}", asked.len(), most);
        let facts = at_block(asked.iter().map(|question| (question.clone(), Err(UnknownReason::NodeAway))), BLOCK);
        let mut left = vec![evaluate(&gate, &wallets, &facts, TERMS)];
        let mut readings = 0;
        while let Some(why) = left.pop() {
            readings += why.readings.len();
            let is_away = why.readings.iter().all(|reading| reading.unknown == Some(UnknownReason::NodeAway));
            prop_assert!(is_away, "{:?}", why);
            left.extend(why.parts);
        }
        prop_assert!(readings <= most);
    }
}
