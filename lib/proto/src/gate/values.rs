//! The small things of an expression: chains, addresses, counts, days, texts.

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

use super::amount::DECIMALS_MAX;
use super::error::{GateCode, GateError, Place};
use super::field::{Field, number, number_schema, text};
use crate::ids::RoleId;

/// A chain of Ethereum's kind, by its EIP-155 id. Written as [CAIP-2] has it: `eip155:1`.
///
/// [CAIP-2]: https://chainagnostic.org/CAIPs/caip-2
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(pub u64);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}", self.0)
    }
}

impl Field for Chain {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "a chain in it, as \"eip155:1\",")?;
        let malformed =
            || at.error(GateCode::ChainMalformed, "write the chain as \"eip155:1\" (CAIP-2), without leading zeros");
        let (namespace, id) = text.split_once(':').ok_or_else(malformed)?;
        let is_caip = |part: &str, bounds: std::ops::RangeInclusive<usize>| {
            bounds.contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if !is_caip(namespace, 3..=8) || !is_caip(id, 1..=32) {
            return Err(malformed());
        }
        if namespace != "eip155" {
            let detail = format!("only chains of the kind eip155 are known here, and not {namespace}");
            return Err(at.error(GateCode::ChainUnsupported, detail));
        }
        let chain: u64 = id.parse().map_err(|_| malformed())?;
        if chain == 0 || chain.to_string() != id {
            return Err(malformed());
        }
        Ok(Self(chain))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^eip155:[1-9][0-9]{0,19}$" })
    }
}

/// An address as [EIP-55](https://eips.ethereum.org/EIPS/eip-55) writes it, or all of it in lower case.
pub fn address(text: &str) -> Result<Address, (GateCode, String)> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40);
    let address: Option<Address> = digits.and_then(|digits| digits.parse().ok());
    let address = address
        .ok_or_else(|| (GateCode::AddressMalformed, "write the address as 0x and 40 hexadecimal digits".to_owned()))?;
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if !is_lower && address.to_string() != text {
        let detail = "the capitals of this address are not those of EIP-55, so a digit may be wrong; copy it again, or \
                      write it in lower case if you are sure";
        return Err((GateCode::AddressChecksum, detail.to_owned()));
    }
    if address == Address::ZERO {
        return Err((GateCode::AddressZero, "the zero address stands for nobody; name another".to_owned()));
    }
    Ok(address)
}

impl Field for Address {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "an address in it")?;
        address(text).map_err(|(code, detail)| at.error(code, detail))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{40}$" })
    }
}

/// A contract, which is at an address of one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contract {
    /// The chain.
    pub chain: Chain,
    /// Its address there.
    pub address: Address,
}

/// As sentences have it.
impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.address, self.chain)
    }
}

/// Declares whole numbers of JSON with their bounds.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident $bounds:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl Field for $name {
            fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
                number(value, at, $bounds).map(Self)
            }

            fn write(&self) -> Option<Value> {
                Some(self.0.into())
            }

            fn schema() -> Value {
                number_schema(&$bounds)
            }
        }
    )+};
}

numbers! {
    /// How many.
    Count 1..=1_000_000;
    /// Days of 24 hours, a hundred years at most.
    Days 1..=36_500;
    /// Addresses of an allowlist.
    ListSize 1..=super::allowlist::ADDRESSES_MAX;
    /// Digits behind the point of a token.
    Decimals 0..=DECIMALS_MAX as u32;
}

impl Decimals {
    /// As a contract answers: what is more than a token may have here is refused.
    pub fn of_token(decimals: u8) -> Option<Self> {
        (decimals <= DECIMALS_MAX).then_some(Self(decimals.into()))
    }

    /// As arithmetic wants it.
    pub fn get(self) -> u8 {
        self.0.try_into().unwrap_or(DECIMALS_MAX)
    }
}

impl Days {
    /// In milliseconds.
    pub fn ms(self) -> i64 {
        i64::from(self.0) * 86_400_000
    }
}

/// A text that somebody else wrote: the name or the value of a trait. Compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub String);

/// Characters of a [`Text`].
const TEXT_CHARACTERS_MAX: usize = 128;

impl Field for Text {
    const LIST_MAX: usize = 100;

    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "1 to 128 characters")?;
        if text.is_empty() || text.chars().count() > TEXT_CHARACTERS_MAX {
            return Err(at.error(GateCode::TextLength, "a text has 1 to 128 characters here"));
        }
        Ok(Self(text.to_owned()))
    }

    fn write(&self) -> Option<Value> {
        Some(self.0.as_str().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS_MAX })
    }
}

impl Field for B256 {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "32 bytes in it, as 0x and 64 hexadecimal digits,")?;
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64);
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| at.error(GateCode::HashMalformed, "write the 32 bytes as 0x and 64 hexadecimal digits"))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{64}$" })
    }
}

impl Field for RoleId {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "the id of a role in it")?;
        text.parse().map_err(|_| at.error(GateCode::RoleMalformed, "the id of a role is a UUID; see the list of roles"))
    }

    fn write(&self) -> Option<Value> {
        Some(self.uuid().to_string().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$" })
    }
}

/// A token of a contract, or all from one id to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenIds {
    /// The lowest.
    pub from: U256,
    /// The highest; the same for a single one.
    pub to: U256,
}

super::field::records! {
    /// All tokens from one id to another, both included.
    IdRange {
        /// The lowest id.
        from: U256,
        /// The highest id.
        to: U256,
    }
}

impl TokenIds {
    /// Whether a token is one of them.
    pub fn contains(self, token: U256) -> bool {
        self.from <= token && token <= self.to
    }
}

impl fmt::Display for TokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "{}", self.from),
            false => write!(f, "{} to {}", self.from, self.to),
        }
    }
}

impl Field for TokenIds {
    const LIST_MAX: usize = super::IDS_MAX;

    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        if value.is_string() {
            let token = U256::read(value, at)?;
            return Ok(Self { from: token, to: token });
        }
        let IdRange { from, to } = IdRange::read(value, at)?;
        if from >= to {
            let detail = "a range begins below its end; write a single id as a text";
            return Err(at.error(GateCode::RangeInvalid, detail));
        }
        Ok(Self { from, to })
    }

    fn write(&self) -> Option<Value> {
        match self.from == self.to {
            true => self.from.write(),
            false => IdRange { from: self.from, to: self.to }.write(),
        }
    }

    fn schema() -> Value {
        json!({ "oneOf": [U256::schema(), IdRange::schema()] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: Field + fmt::Debug>(text: &str) -> GateCode {
        T::read(&text.into(), &Place::ROOT).unwrap_err().code
    }

    #[test]
    fn chains_have_one_spelling() {
        assert_eq!(Chain::read(&"eip155:8453".into(), &Place::ROOT), Ok(Chain(8453)));
        for text in [
            "1",
            "eip155",
            "eip155:",
            "eip155:01",
            "eip155:0",
            "eip155:+1",
            "eip155:18446744073709551616",
            ":1",
            " eip155:1",
        ] {
            assert_eq!(code::<Chain>(text), GateCode::ChainMalformed, "{text:?}");
        }
        assert_eq!(code::<Chain>("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"), GateCode::ChainUnsupported);
        assert_eq!(code::<Chain>("EIP155:1"), GateCode::ChainUnsupported);
    }

    #[test]
    fn addresses_are_checked_against_their_capitals() {
        let right = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
        assert_eq!(address(right).unwrap().to_string(), right);
        assert_eq!(address(&right.to_lowercase()).unwrap().to_string(), right);
        for (text, code) in [
            (right.replace("dA6", "da6"), GateCode::AddressChecksum),
            (right.to_uppercase().replace("0X", "0x"), GateCode::AddressChecksum),
            (right.replace("0x", "0X"), GateCode::AddressMalformed),
            (right.replace("0x", ""), GateCode::AddressMalformed),
            (format!("{right}0"), GateCode::AddressMalformed),
            (right.replace('8', "g"), GateCode::AddressMalformed),
            (format!("0x{}", "0".repeat(40)), GateCode::AddressZero),
        ] {
            assert_eq!(address(&text).unwrap_err().0, code, "{text}");
        }
    }

    #[test]
    fn a_range_has_two_ends() {
        let read = |value: Value| TokenIds::read(&value, &Place::ROOT);
        let range = read(json!({ "from": "5", "to": "7" })).unwrap();
        assert!([5, 6, 7].into_iter().all(|token| range.contains(U256::from(token))));
        assert!(!range.contains(U256::from(4)) && !range.contains(U256::from(8)));
        assert_eq!(read(json!({ "from": "7", "to": "5" })).unwrap_err().code, GateCode::RangeInvalid);
        assert_eq!(read(json!({ "from": "7", "to": "7" })).unwrap_err().code, GateCode::RangeInvalid);
        assert_eq!(read(json!({ "from": "7" })).unwrap_err().pointer, "/to");
        assert_eq!(read(json!(7)).unwrap_err().code, GateCode::WrongType);
    }
}
