//! The JSON Schema of expressions, made of the same declarations that they are read by. It says what form an expression has;
//! what must fit together beyond that (an amount and its decimals, the capitals of an address) only [`super::Gate::read`] says.

use serde_json::{Value, json};

use super::rule::Rule;
use super::{BYTES_MAX, CLAUSES_MAX, DEPTH_MAX, IDS_MAX, VERSION};

/// The schema, of the dialect [2020-12](https://json-schema.org/draft/2020-12).
pub fn schema() -> Value {
    let words = format!(
        "Who may have a role of a community. At most {BYTES_MAX} bytes without white space, {CLAUSES_MAX} clauses, \
         {IDS_MAX} ids and ranges, rules nested {DEPTH_MAX} deep."
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:nepto:gate:{VERSION}"),
        "title": "Gate",
        "description": words,
        "type": "object",
        "properties": {
            "version": { "const": VERSION, "description": "Which words there are, and what they mean." },
            "rule": { "$ref": "#/$defs/rule" },
        },
        "required": ["version", "rule"],
        "additionalProperties": false,
        "$defs": {
            "rule": {
                "description": "A clause, or rules that are joined: an object with one field, its name.",
                "oneOf": Rule::schemas(),
            },
        },
    })
}
