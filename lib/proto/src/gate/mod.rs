//! Gates: who may have a role, as an expression over what wallets hold. Pure, and the same for servers and clients: an expression
//! is read ([`Gate::parse`]), made ready to be kept ([`Gate::resolve`]), printed as a sentence (its `Display`) and described
//! ([`schema()`]). What is true of somebody is evaluated elsewhere; the answer has its form here ([`Why`]).
//!
//! What must hold: an expression that could be read in two ways is refused, with a code, the place and what to do; whatever is
//! read is bounded in bytes, depth, clauses and ids; two gates that differ have different sentences.
//!
//! The JSON form is `{"version": 1, "rule": …}`. A version is a set of words and what they mean, and a word never changes its
//! meaning: whoever does not know a version or a word refuses the gate instead of guessing (docs/adr/0043-gates.md).

pub mod allowlist;
pub mod amount;
mod bounds;
pub mod call;
pub mod clause;
mod error;
mod field;
mod roles;
pub mod rule;
mod schema;
mod sentence;
#[cfg(test)]
mod tests;
mod truth;
pub mod values;
mod why;
pub mod word;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::ids::RoleId;
pub use clause::Clause;
pub use error::{GateCode, GateError, Place};
pub use roles::cycle;
pub use rule::Rule;
pub use schema::schema;
pub use truth::Truth;
pub use values::{Chain, Contract, Decimals};
pub use why::{Reading, UnknownReason, Why};

/// The version of the words that are known here.
pub const VERSION: u32 = 1;
/// Bytes of an expression, as JSON without white space.
pub const BYTES_MAX: usize = 32 * 1024;
/// Rules within rules.
pub const DEPTH_MAX: usize = 8;
/// Clauses of an expression.
pub const CLAUSES_MAX: usize = 50;
/// Token ids and ranges of an expression.
pub const IDS_MAX: usize = 500;

/// Who may have a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What must hold.
    pub rule: Rule,
}

impl Gate {
    /// Reads an expression that somebody wrote, or that was kept.
    pub fn parse(json: &str) -> Result<Self, GateError> {
        // white space is not counted below, and must not cost without bound
        if json.len() > 4 * BYTES_MAX {
            return Err(bounds::too_large());
        }
        if bounds::is_nested_deeper_than(json, bounds::JSON_DEPTH_MAX) {
            let detail = format!("rules are nested at most {DEPTH_MAX} deep; make it flatter");
            return Err(Place::ROOT.error(GateCode::TooDeep, detail));
        }
        let value: Value = serde_json::from_str(json)
            .map_err(|error| Place::ROOT.error(GateCode::NotJson, format!("this is no JSON: {error}")))?;
        Self::read(&value)
    }

    /// The same of JSON that was parsed already.
    pub fn read(value: &Value) -> Result<Self, GateError> {
        bounds::check_bytes(value)?;
        let root = Place::ROOT;
        let fields = field::Fields::of(value, &root, &["version", "rule"])?;
        let version = fields.get("version")?;
        if version.as_u64() != Some(u64::from(VERSION)) {
            let detail = format!("only version {VERSION} of expressions is known here; this one needs a newer program");
            return Err(root.name("version").error(GateCode::VersionUnknown, detail));
        }
        Ok(Self { rule: Rule::read(fields.get("rule")?, &root.name("rule"))? })
    }

    /// The one form in which it is kept and shown: what is read from it is the same gate.
    pub fn write(&self) -> Value {
        json!({ "version": VERSION, "rule": self.rule.write() })
    }

    /// The tokens whose decimals it needs and does not have.
    pub fn unresolved(&self) -> BTreeSet<Contract> {
        let mut unresolved = BTreeSet::new();
        self.each_clause(|clause, _| {
            let unknown = clause.tokens().into_iter().filter(|(_, decimals)| decimals.is_none());
            unresolved.extend(unknown.map(|(token, _)| token));
        });
        unresolved
    }

    /// Makes it ready to be kept: each token has the decimals that its contract says, once and for all, and each amount is
    /// held against them. Those that stand there already must be the same.
    pub fn resolve(mut self, found: &BTreeMap<Contract, Decimals>) -> Result<Self, GateError> {
        let mut differs = None;
        for (token, decimals) in self.rule.clauses_mut().into_iter().flat_map(Clause::tokens_mut) {
            match (found.get(&token), *decimals) {
                (Some(found), Some(given)) if *found != given => differs = differs.or(Some((token, *found))),
                (Some(found), _) => *decimals = Some(*found),
                (None, _) => {}
            }
        }
        self.rule.each_clause(&Place::ROOT.name("rule"), &mut |clause, at| {
            if let Some((token, found)) = differs.filter(|(token, _)| bounds::names(clause, *token)) {
                let detail = format!("{token} has {} decimals; write that, or leave the field out", found.0);
                return Err(at.error(GateCode::DecimalsDiffer, detail));
            }
            bounds::check_resolved(clause, at)
        })?;
        Ok(self)
    }

    /// The roles that it asks about.
    pub fn roles(&self) -> BTreeSet<RoleId> {
        let mut roles = BTreeSet::new();
        self.each_clause(|clause, _| {
            if let Clause::Role(role) = clause {
                roles.insert(role.role);
            }
        });
        roles
    }

    /// Every contract that it asks about: what has to be watched, or called.
    pub fn contracts(&self) -> BTreeSet<Contract> {
        let mut contracts = BTreeSet::new();
        self.each_clause(|clause, _| contracts.extend(bounds::contracts(clause)));
        contracts
    }

    /// Does something with each clause and its place, in the order of the expression.
    pub fn each_clause(&self, mut visit: impl FnMut(&Clause, &Place<'_>)) {
        let never: Result<(), std::convert::Infallible> =
            self.rule.each_clause(&Place::ROOT.name("rule"), &mut |clause, at| {
                visit(clause, at);
                Ok(())
            });
        let Ok(()) = never;
    }
}

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write().serialize(serializer)
    }
}

/// For those who read what a server answers. A server reads with [`Gate::read`], whose errors name code and place.
impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
