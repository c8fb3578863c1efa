//! What is wrong with an expression, where, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kinds::kinds;

kinds! {
    /// What is wrong with an expression, a list or a token. Stable: programs branch on it.
    GateCode {
        /// The text is no JSON.
        NotJson = "not_json",
        /// More bytes than an expression may have.
        TooLarge = "too_large",
        /// The expression is of a version that is not known here.
        VersionUnknown = "version_unknown",
        /// Another kind of JSON value belongs here.
        WrongType = "wrong_type",
        /// A field is missing.
        FieldMissing = "field_missing",
        /// There is no such field.
        FieldUnknown = "field_unknown",
        /// There is no such rule.
        RuleUnknown = "rule_unknown",
        /// A rule is an object with exactly one field, its name.
        NotOneRule = "not_one_rule",
        /// Of several fields exactly one must be there.
        NotOneField = "not_one_field",
        /// Rules are nested deeper than they may be.
        TooDeep = "too_deep",
        /// More clauses than an expression may have.
        TooManyClauses = "too_many_clauses",
        /// More token ids and ranges than an expression may have.
        TooManyIds = "too_many_ids",
        /// A list needs an entry.
        ListEmpty = "list_empty",
        /// A list has more entries than it may have.
        ListTooLong = "list_too_long",
        /// The same stands in the list before.
        Repeated = "repeated",
        /// A number is outside of its range.
        OutOfRange = "out_of_range",
        /// A text is empty, or longer than it may be.
        TextLength = "text_length",
        /// Not the CAIP-2 name of a chain.
        ChainMalformed = "chain_malformed",
        /// A chain of another kind than Ethereum's (`eip155`).
        ChainUnsupported = "chain_unsupported",
        /// Not an address.
        AddressMalformed = "address_malformed",
        /// The capitals of an address are not those of EIP-55.
        AddressChecksum = "address_checksum",
        /// The zero address, which stands for nobody.
        AddressZero = "address_zero",
        /// A number with something between its digits.
        NumberGrouped = "number_grouped",
        /// A number with an exponent.
        NumberExponent = "number_exponent",
        /// A number with a sign where none may be.
        NumberSigned = "number_signed",
        /// A number with white space around it.
        NumberSpaced = "number_spaced",
        /// Not a number in digits.
        NumberMalformed = "number_malformed",
        /// A number with more digits behind the point than the token, or the place, has.
        NumberFraction = "number_fraction",
        /// A number that is larger than chains count.
        NumberTooLarge = "number_too_large",
        /// At least nothing, which is true of everybody.
        NumberZero = "number_zero",
        /// A range that ends before it begins, or has no end at all.
        RangeInvalid = "range_invalid",
        /// How many decimals the token has was not found out.
        DecimalsMissing = "decimals_missing",
        /// The token has another number of decimals.
        DecimalsDiffer = "decimals_differ",
        /// Not the id of a role.
        RoleMalformed = "role_malformed",
        /// Roles that depend on each other in a circle.
        RoleCycle = "role_cycle",
        /// Not 32 bytes in hexadecimal.
        HashMalformed = "hash_malformed",
        /// Not the signature of a function that can be asked.
        FunctionMalformed = "function_malformed",
        /// Not a type of Solidity that can be written here.
        TypeUnknown = "type_unknown",
        /// An argument, or what is compared with, does not fit its type.
        ArgumentInvalid = "argument_invalid",
    }
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{detail} ({code} at {pointer:?})")]
pub struct GateError {
    /// Stable; programs branch on it.
    pub code: GateCode,
    /// The place in the expression (RFC 6901), empty for all of it.
    pub pointer: String,
    /// What is wrong, and what to do, for people.
    pub detail: String,
}

/// A place in an expression, which knows the way that leads to it. It costs nothing until it is written.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a>(Option<(&'a Place<'a>, Step<'a>)>);

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl Place<'_> {
    /// All of it.
    pub const ROOT: Place<'static> = Place(None);

    /// A field of what is here.
    pub fn name<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place(Some((self, Step::Name(name))))
    }

    /// An entry of the list that is here, from 0 on.
    pub fn index(&self, index: usize) -> Place<'_> {
        Place(Some((self, Step::Index(index))))
    }

    /// Something is wrong here.
    pub fn error(&self, code: GateCode, detail: impl Into<String>) -> GateError {
        GateError { code, pointer: self.to_string(), detail: detail.into() }
    }
}

/// As a JSON pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)).
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((parent, step)) = self.0 else { return Ok(()) };
        parent.fmt(f)?;
        match step {
            Step::Name(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => write!(f, "/{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_json_pointer() {
        let root = Place::ROOT;
        let rule = root.name("rule");
        let list = rule.name("a/b~c");
        assert_eq!(Place::ROOT.to_string(), "");
        assert_eq!(list.index(3).to_string(), "/rule/a~1b~0c/3");
    }

    #[test]
    fn a_code_is_the_same_in_json_and_in_words() {
        for code in GateCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(code.as_str().parse(), Ok(code));
        }
    }
}
