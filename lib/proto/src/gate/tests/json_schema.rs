//! The published schema takes what is read, and refuses what has another form.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};

use super::any;
use crate::gate::{Clause, Gate, GateCode, schema};

/// Whether a schema takes a value. Of JSON Schema it knows the words that ours has, and fails on others.
fn takes(root: &Value, schema: &Value, value: &Value) -> bool {
    schema.as_object().expect("a schema").iter().all(|(word, rule)| match word.as_str() {
        "$schema" | "$id" | "title" | "description" | "$defs" => true,
        "$ref" => {
            let pointer = rule.as_str().and_then(|text| text.strip_prefix('#')).expect("within the document");
            takes(root, root.pointer(pointer).expect("a definition"), value)
        }
        "oneOf" => {
            let schemas = rule.as_array().expect("a list");
            schemas.iter().filter(|schema| takes(root, schema, value)).count() == 1
        }
        "const" => value == rule,
        "type" => match rule.as_str().expect("one type") {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            other => panic!("{other} is no type of ours"),
        },
        "properties" => value.as_object().is_none_or(|object| {
            object.iter().all(|(name, value)| rule.get(name).is_none_or(|schema| takes(root, schema, value)))
        }),
        "required" => value.as_object().is_none_or(|object| {
            rule.as_array().expect("a list").iter().all(|name| object.contains_key(name.as_str().expect("a name")))
        }),
        "additionalProperties" => {
            value.as_object().is_none_or(|object| object.keys().all(|name| schema["properties"].get(name).is_some()))
        }
        "items" => value.as_array().is_none_or(|list| list.iter().all(|item| takes(root, rule, item))),
        "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().expect("a number")),
        "maxItems" => value.as_array().is_none_or(|list| list.len() as u64 <= rule.as_u64().expect("a number")),
        "uniqueItems" => value
            .as_array()
            .is_none_or(|list| list.iter().enumerate().all(|(index, item)| !list[..index].contains(item))),
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().expect("a number")),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().expect("a number")),
        "minLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().expect("a number"))
        }
        "maxLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().expect("a number"))
        }
        "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().expect("a pattern"), text)),
        other => panic!("{other} is no word of our schema"),
    })
}

/// Whether a text has the form of a pattern. Each pattern is compiled once.
fn matches(pattern: &str, text: &str) -> bool {
    static PATTERNS: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut patterns = PATTERNS.lock().unwrap();
    patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap()).is_match(text)
}

fn is_taken(value: &Value) -> bool {
    let schema = schema();
    takes(&schema, &schema, value)
}

/// Codes of what a schema can't say: parts that do not fit each other, and meanings of texts.
const BEYOND: &[GateCode] = &[
    GateCode::NumberFraction,
    GateCode::NumberTooLarge,
    GateCode::NumberZero,
    GateCode::RangeInvalid,
    GateCode::NotOneField,
    GateCode::OutOfRange,
    GateCode::Repeated,
    GateCode::ArgumentInvalid,
    GateCode::AddressChecksum,
    GateCode::AddressZero,
    GateCode::ChainMalformed,
    GateCode::TooDeep,
    GateCode::TooLarge,
    GateCode::TooManyClauses,
    GateCode::TooManyIds,
];

/// Every place in a value that has another value or a field below it.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Another value in its place.
fn changed(mut value: Value, which: prop::sample::Index, how: usize) -> Value {
    let mut found = Vec::new();
    places(&value, "", &mut found);
    let place = value.pointer_mut(which.get(found.as_slice()).as_str()).expect("a place");
    let old = place.take();
    *place = match (how, old) {
        (0, _) => Value::Null,
        (1, _) => json!(7),
        (2, _) => json!("seven"),
        (3, _) => json!([]),
        (4, Value::Object(mut object)) => {
            object.insert("more".to_owned(), json!(1));
            object.into()
        }
        (5, Value::Object(mut object)) => {
            if let Some(first) = object.keys().next().cloned() {
                object.remove(&first);
            }
            object.into()
        }
        (6, Value::String(text)) => format!("{text} ").into(),
        (7, Value::Array(mut list)) => {
            list.extend(list.first().cloned());
            list.into()
        }
        (_, old) => old,
    };
    value
}

#[test]
fn every_clause_is_described() {
    let schema = schema();
    let rules = schema["$defs"]["rule"]["oneOf"].as_array().unwrap();
    let names: Vec<&str> = rules.iter().map(|rule| rule["required"][0].as_str().unwrap()).collect();
    let expected: Vec<&str> = ["all_of", "any_of", "not", "at_least"].iter().chain(Clause::NAMES).copied().collect();
    assert_eq!(names, expected);
    assert!(rules.iter().all(|rule| rule["description"].as_str().is_some_and(|words| words.len() > 10)));
}

proptest! {
    #[test]
    fn what_is_written_is_taken(gate in any::gates()) {
        prop_assert!(is_taken(&gate.write()), "{}", gate.write());
    }

    #[test]
    fn who_reads_and_who_validates_agree(gate in any::gates(), which: prop::sample::Index, how in 0..8_usize) {
        let value = changed(gate.write(), which, how);
        match Gate::read(&value) {
            Ok(_) => prop_assert!(is_taken(&value), "{value} is read, and not taken"),
            Err(error) if BEYOND.contains(&error.code) => {}
            Err(error) => prop_assert!(!is_taken(&value), "{value} is taken, and refused: {error}"),
        }
    }
}
