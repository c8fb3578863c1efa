//! Bounds that concern all of an expression, and what is asked of clauses of every kind.

use serde_json::Value;

use super::error::{GateCode, GateError, Place};
use super::{BYTES_MAX, Clause, Contract, DEPTH_MAX};

/// Objects and lists within each other: two for a rule, and some for what is in a clause.
pub(super) const JSON_DEPTH_MAX: usize = 3 * DEPTH_MAX + 8;

pub(super) fn too_large() -> GateError {
    let detail = format!("an expression has at most {BYTES_MAX} bytes; make it shorter");
    Place::ROOT.error(GateCode::TooLarge, detail)
}

/// Whether an expression is as short as it must be, without white space.
pub(super) fn check_bytes(value: &Value) -> Result<(), GateError> {
    if value.to_string().len() > BYTES_MAX { Err(too_large()) } else { Ok(()) }
}

/// Whether a text that may be JSON opens more objects and lists within each other than this.
pub(super) fn is_nested_deeper_than(json: &str, max: usize) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return true;
        }
    }
    false
}

/// The contracts that a clause asks about.
pub(super) fn contracts(clause: &Clause) -> Vec<Contract> {
    match clause {
        Clause::Erc20(clause) => vec![clause.contract()],
        Clause::Erc20Sum(clause) => clause.tokens.iter().map(super::clause::Token::contract).collect(),
        Clause::Erc721(clause) => vec![clause.contract()],
        Clause::Erc1155(clause) => vec![clause.contract()],
        Clause::Trait(clause) => vec![clause.contract()],
        Clause::Staked(clause) => vec![clause.contract()],
        Clause::View(clause) => vec![clause.contract()],
        Clause::AccountAge(_) | Clause::WalletAge(_) | Clause::Allowlist(_) | Clause::Role(_) => Vec::new(),
    }
}

/// Whether a clause needs the decimals of a token.
pub(super) fn names(clause: &Clause, token: Contract) -> bool {
    clause.tokens().iter().any(|(named, _)| *named == token)
}

/// Whether a clause has all the decimals that it needs, and its amount fits them.
pub(super) fn check_resolved(clause: &Clause, at: &Place<'_>) -> Result<(), GateError> {
    match clause {
        Clause::Erc20(clause) => clause.units(at).map(drop),
        Clause::Erc20Sum(clause) => clause.units(at).map(drop),
        Clause::Staked(clause) => clause.units(at).map(drop),
        _ => Ok(()),
    }
}
