//! Values of one word: types of Solidity that the [ABI] pads to 32 bytes, written out as people write them, and as they are sent.
//!
//! [ABI]: https://docs.soliditylang.org/en/latest/abi-spec.html#types

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

use super::error::{GateCode, GateError, Place};
use super::field::{Field, text};
use super::{amount, values};

/// A type of Solidity that fits into one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WordType {
    /// `address`
    Address,
    /// `bool`
    Bool,
    /// `bytes32`
    Bytes32,
    /// `uint8` to `uint256`: how many bits.
    Uint(u16),
    /// `int8` to `int256`: how many bits.
    Int(u16),
}

impl fmt::Display for WordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Bool => f.write_str("bool"),
            Self::Bytes32 => f.write_str("bytes32"),
            Self::Uint(bits) => write!(f, "uint{bits}"),
            Self::Int(bits) => write!(f, "int{bits}"),
        }
    }
}

/// The types, for people.
pub(super) const TYPES: &str = "address, bool, bytes32, uint8 to uint256 and int8 to int256";
/// The types, as a regular expression. The widths of numbers are the multiples of 8 up to 256.
pub(super) const TYPE_PATTERN: &str = concat!(
    "(address|bool|bytes32|u?int(8|16|24|32|40|48|56|64|72|80|88|96|",
    "1(04|12|20|28|36|44|52|60|68|76|84|92)|2(00|08|16|24|32|40|48|56)))",
);

impl WordType {
    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let bits = |digits: &str| {
            let bits: u16 = digits.parse().ok()?;
            ((8..=256).contains(&bits) && bits.is_multiple_of(8) && bits.to_string() == digits).then_some(bits)
        };
        match name {
            "address" => Some(Self::Address),
            "bool" => Some(Self::Bool),
            "bytes32" => Some(Self::Bytes32),
            _ => match name.strip_prefix("uint") {
                Some(digits) => bits(digits).map(Self::Uint),
                None => name.strip_prefix("int").and_then(bits).map(Self::Int),
            },
        }
    }

    /// The word of a value that is written out.
    pub(super) fn encode(self, value: &str) -> Option<B256> {
        match self {
            Self::Address => match values::address(value) {
                Ok(address) => Some(address.into_word()),
                // here it may be asked for
                Err((GateCode::AddressZero, _)) => Some(B256::ZERO),
                Err(_) => None,
            },
            Self::Bool => match value {
                "true" => Some(B256::from(U256::ONE)),
                "false" => Some(B256::ZERO),
                _ => None,
            },
            Self::Bytes32 => value.strip_prefix("0x").filter(|digits| digits.len() == 64)?.parse().ok(),
            Self::Uint(_) | Self::Int(_) => {
                let (is_negative, digits) = match value.strip_prefix('-') {
                    Some(digits) => (true, digits),
                    None => (false, value),
                };
                let number = amount::whole(digits).ok()?;
                let word = match self {
                    Self::Uint(_) if is_negative => return None,
                    // the most negative number of 256 bits has no positive
                    Self::Int(_) if is_negative && number > U256::ONE << 255_usize => return None,
                    Self::Int(_) if !is_negative && number.bit(255) => return None,
                    _ if is_negative => B256::from(U256::ZERO.wrapping_sub(number)),
                    _ => B256::from(number),
                };
                self.holds(word).then_some(word)
            }
        }
    }

    /// Whether a word is a value of this type as the ABI writes it.
    pub fn holds(self, word: B256) -> bool {
        let number = U256::from_be_bytes(word.0);
        match self {
            Self::Bytes32 => true,
            Self::Bool => number <= U256::ONE,
            Self::Address => number.bit_len() <= 160,
            Self::Uint(bits) => number.bit_len() <= usize::from(bits),
            Self::Int(bits) => {
                // all bits from the sign on are the same
                let magnitude = if number.bit(255) { !number } else { number };
                magnitude.bit_len() < usize::from(bits)
            }
        }
    }

    /// A word of this type, for people.
    pub fn show(self, word: B256) -> String {
        let number = U256::from_be_bytes(word.0);
        match self {
            Self::Bytes32 => word.to_string(),
            Self::Bool => number.bit(0).to_string(),
            Self::Address => Address::from_word(word).to_string(),
            Self::Uint(_) => number.to_string(),
            Self::Int(_) if number.bit(255) => format!("-{}", U256::ZERO.wrapping_sub(number)),
            Self::Int(_) => number.to_string(),
        }
    }

    /// In the order of the type's numbers.
    pub(super) fn rank(self, word: B256) -> U256 {
        let number = U256::from_be_bytes(word.0);
        match self {
            Self::Int(_) => number ^ (U256::ONE << 255_usize),
            _ => number,
        }
    }

    /// Whether its values have an order.
    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Uint(_) | Self::Int(_))
    }
}

impl Field for WordType {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let name = text(value, at, "a type of Solidity in it")?;
        Self::parse(name).ok_or_else(|| at.error(GateCode::TypeUnknown, format!("the type is one of {TYPES}")))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": format!("^{TYPE_PATTERN}$") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_abi() {
        for name in ["address", "bool", "bytes32", "uint8", "uint256", "int8", "int248"] {
            assert_eq!(WordType::parse(name).map(|found| found.to_string()).as_deref(), Some(name));
        }
        for name in
            ["uint", "int", "uint0", "uint7", "uint264", "uint08", "uint+8", "bytes", "bytes4", "string", "Bool", ""]
        {
            assert_eq!(WordType::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_value_comes_back_as_it_was_written() {
        for (of, value) in [
            ("uint8", "255"),
            ("int8", "-128"),
            ("int8", "127"),
            ("int256", "-1"),
            ("bool", "true"),
            ("bool", "false"),
            ("address", "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"),
            ("address", "0x0000000000000000000000000000000000000000"),
        ] {
            let of = WordType::parse(of).unwrap();
            assert_eq!(of.show(of.encode(value).unwrap()), value);
        }
        for (of, value) in
            [("uint8", "256"), ("uint8", "-1"), ("int8", "128"), ("int8", "-129"), ("bool", "1"), ("bytes32", "0x1")]
        {
            assert_eq!(WordType::parse(of).unwrap().encode(value), None, "{value} is no {of}");
        }
    }
}
