//! A view function of a contract: its signature, its arguments, and what its answer is compared with. Only types of one word
//! ([Contract ABI], "static" types but for arrays and tuples), so that what is sent and what comes back has one reading.
//!
//! [Contract ABI]: https://docs.soliditylang.org/en/latest/abi-spec.html

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::{Value, json};

use super::amount;
use super::error::{GateCode, GateError, Place};
use super::field::{Field, records, text};
use super::values::{self, Chain};

/// Parameters of a function.
const PARAMETERS_MAX: usize = 8;
/// The argument that stands for the wallet that is looked at.
pub const WALLET: &str = "$wallet";

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

const TYPES: &str = "address, bool, bytes32, uint8 to uint256 and int8 to int256";
/// The widths of numbers are the multiples of 8 up to 256.
const TYPE_PATTERN: &str = concat!(
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
    fn encode(self, value: &str) -> Option<B256> {
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
    fn rank(self, word: B256) -> U256 {
        let number = U256::from_be_bytes(word.0);
        match self {
            Self::Int(_) => number ^ (U256::ONE << 255_usize),
            _ => number,
        }
    }

    const fn is_number(self) -> bool {
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

/// The name of a function and the types of its parameters, as in `balanceOf(address)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    name: String,
    parameters: Vec<WordType>,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<String> = self.parameters.iter().map(WordType::to_string).collect();
        write!(f, "{}({})", self.name, types.join(","))
    }
}

impl Function {
    /// The function of this signature, which is written without spaces and without short names of types.
    pub fn parse(signature: &str) -> Option<Self> {
        let (name, types) = signature.strip_suffix(')')?.split_once('(')?;
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$');
        let is_name = name.len() <= 64
            && name.bytes().next().is_some_and(is_letter)
            && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit());
        let parameters: Vec<WordType> = match types {
            "" => Vec::new(),
            types => types.split(',').map(WordType::parse).collect::<Option<_>>()?,
        };
        (is_name && parameters.len() <= PARAMETERS_MAX).then(|| Self { name: name.to_owned(), parameters })
    }
}

impl Field for Function {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let signature = text(value, at, "the signature of a function in it, as \"balanceOf(address)\",")?;
        Self::parse(signature).ok_or_else(|| {
            let detail = format!(
                "write the signature as \"balanceOf(address)\", without spaces and with at most {PARAMETERS_MAX} \
                 parameters, of {TYPES}"
            );
            at.error(GateCode::FunctionMalformed, detail)
        })
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        let more = PARAMETERS_MAX - 1;
        let pattern = format!(r"^[A-Za-z_$][A-Za-z0-9_$]{{0,63}}\(({TYPE_PATTERN}(,{TYPE_PATTERN}){{0,{more}}})?\)$");
        json!({ "type": "string", "pattern": pattern })
    }
}

/// The arguments of a call, written out as texts; `$wallet` stands for the wallet that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments(pub Vec<String>);

/// A value of one word, written out.
const VALUE_CHARACTERS_MAX: usize = 80;

fn value_text(value: &Value, at: &Place<'_>) -> Result<String, GateError> {
    let value = text(value, at, "the value in it, as \"10\" or \"true\",")?;
    if value.is_empty() || value.len() > VALUE_CHARACTERS_MAX {
        return Err(at.error(GateCode::TextLength, "a value has 1 to 80 characters here"));
    }
    Ok(value.to_owned())
}

impl Field for Arguments {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let list = value.as_array().ok_or_else(|| super::field::wrong_type(at, "a list"))?;
        if list.len() > PARAMETERS_MAX {
            let detail = format!("a function has at most {PARAMETERS_MAX} arguments here");
            return Err(at.error(GateCode::ListTooLong, detail));
        }
        let read = |(index, value): (usize, &Value)| value_text(value, &at.index(index));
        list.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self) -> Option<Value> {
        Some(self.0.iter().map(String::as_str).collect())
    }

    fn schema() -> Value {
        let value = json!({ "type": "string", "minLength": 1, "maxLength": VALUE_CHARACTERS_MAX });
        json!({ "type": "array", "items": value, "maxItems": PARAMETERS_MAX })
    }
}

/// A value of one word, written out: which form it has says the type beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordText(pub String);

impl Field for WordText {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        value_text(value, at).map(Self)
    }

    fn write(&self) -> Option<Value> {
        Some(self.0.as_str().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": VALUE_CHARACTERS_MAX })
    }
}

records! {
    /// A view function of a contract answers so for a wallet, at a final block. One wallet of the account is enough.
    View {
        /// The chain (CAIP-2).
        chain: Chain,
        /// The contract.
        contract: Address,
        /// The signature of the function, as `balanceOf(address)`.
        function: Function,
        /// Its arguments; `$wallet` stands for the wallet that is looked at.
        arguments: Arguments,
        /// The type of what it answers.
        returns: WordType,
        /// What the answer is held against: exactly one of these.
        answer: Answer,
    }

    /// What an answer is held against: exactly one of these.
    Answer {
        /// The answer is this.
        equals: Option<WordText>,
        /// The answer is this number or a larger one.
        at_least: Option<WordText>,
        /// The answer is this number or a smaller one.
        at_most: Option<WordText>,
    }
}

/// How an answer is held against a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equals,
    /// The same, or larger.
    AtLeast,
    /// The same, or smaller.
    AtMost,
}

impl Comparison {
    /// In a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Equals => "exactly",
            Self::AtLeast => "at least",
            Self::AtMost => "at most",
        }
    }
}

impl Answer {
    /// The one comparison that it is, if it is one, with the name of its field.
    pub(super) fn only(&self) -> Option<(Comparison, &'static str, &str)> {
        let mut all = [
            self.equals.as_ref().map(|value| (Comparison::Equals, "equals", value.0.as_str())),
            self.at_least.as_ref().map(|value| (Comparison::AtLeast, "at_least", value.0.as_str())),
            self.at_most.as_ref().map(|value| (Comparison::AtMost, "at_most", value.0.as_str())),
        ]
        .into_iter()
        .flatten();
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }
}

impl View {
    /// Whether its parts fit each other.
    pub(super) fn check(&self, at: &Place<'_>) -> Result<(), GateError> {
        let arguments_at = at.name("arguments");
        let (wanted, given) = (self.function.parameters.len(), self.arguments.0.len());
        if wanted != given {
            let detail = format!("{} has {wanted} parameters, and {given} arguments stand here", self.function);
            return Err(arguments_at.error(GateCode::ArgumentInvalid, detail));
        }
        for (index, (parameter, value)) in self.function.parameters.iter().zip(&self.arguments.0).enumerate() {
            let fits =
                if value == WALLET { *parameter == WordType::Address } else { parameter.encode(value).is_some() };
            if !fits {
                let detail = format!("this is no {parameter}; write one, or another signature");
                return Err(arguments_at.index(index).error(GateCode::ArgumentInvalid, detail));
            }
        }
        let answer_at = at.name("answer");
        let (comparison, name, value) = self.answer.only().ok_or_else(|| {
            answer_at.error(GateCode::NotOneField, "name exactly one of equals, at_least and at_most")
        })?;
        let value_at = answer_at.name(name);
        if comparison != Comparison::Equals && !self.returns.is_number() {
            let detail = format!("a {} has no order; compare it with equals", self.returns);
            return Err(value_at.error(GateCode::ArgumentInvalid, detail));
        }
        match self.returns.encode(value) {
            Some(_) => Ok(()),
            None => {
                let detail = format!("this is no {}; write one, or another type in returns", self.returns);
                Err(value_at.error(GateCode::ArgumentInvalid, detail))
            }
        }
    }

    /// Whether the call is another one for each wallet.
    pub fn names_the_wallet(&self) -> bool {
        self.arguments.0.iter().any(|argument| argument == WALLET)
    }

    /// What is sent to the contract: the selector and a word for each argument. `None` of a call that was not checked.
    pub fn call_data(&self, wallet: Address) -> Option<Bytes> {
        let mut data = keccak256(self.function.to_string())[..4].to_vec();
        for (parameter, value) in self.function.parameters.iter().zip(&self.arguments.0) {
            let word = if value == WALLET { wallet.into_word() } else { parameter.encode(value)? };
            data.extend_from_slice(word.as_slice());
        }
        Some(data.into())
    }

    /// The comparison, and what the answer is held against, for people. `None` of a call that was not checked.
    pub fn comparison(&self) -> Option<(Comparison, String)> {
        let (comparison, _, value) = self.answer.only()?;
        Some((comparison, self.returns.show(self.returns.encode(value)?)))
    }

    /// Whether an answer is as it should be; `None` of one that is no value of the type, which says nothing.
    pub fn admits(&self, word: B256) -> Option<bool> {
        let (comparison, _, value) = self.answer.only()?;
        let wanted = self.returns.rank(self.returns.encode(value)?);
        let found = self.returns.holds(word).then(|| self.returns.rank(word))?;
        Some(match comparison {
            Comparison::Equals => found == wanted,
            Comparison::AtLeast => found >= wanted,
            Comparison::AtMost => found <= wanted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(function: &str, arguments: Value, returns: &str, answer: Value) -> Result<View, GateError> {
        let value = json!({
            "chain": "eip155:1", "contract": "0xd8da6bf26964af9d7eed9e03e53415d37aa96045",
            "function": function, "arguments": arguments, "returns": returns, "answer": answer,
        });
        let view = View::read(&value, &Place::ROOT)?;
        view.check(&Place::ROOT)?;
        Ok(view)
    }

    fn word(value: i64) -> B256 {
        let magnitude = U256::from(value.unsigned_abs());
        B256::from(if value < 0 { U256::ZERO.wrapping_sub(magnitude) } else { magnitude })
    }

    #[test]
    fn a_call_is_what_the_abi_says() {
        let view = view("balanceOf(address,uint256)", json!([WALLET, "258"]), "uint256", json!({ "at_least": "2" }));
        let view = view.unwrap();
        let data = view.call_data(Address::repeat_byte(0x11)).unwrap();
        // the selector of ERC-1155's balanceOf
        let expected = format!("0x00fdd58e{}{}{}0102", "0".repeat(24), "11".repeat(20), "0".repeat(60));
        assert_eq!(data.to_string(), expected);
        assert!(view.names_the_wallet());
        assert_eq!([1, 2, 3].map(|answer| view.admits(word(answer))), [Some(false), Some(true), Some(true)]);
    }

    #[test]
    fn numbers_below_nothing_have_their_place() {
        let view = view("score()", json!([]), "int16", json!({ "at_most": "-2" })).unwrap();
        assert_eq!(
            [-3, -2, -1, 0, 7].map(|answer| view.admits(word(answer)).unwrap()),
            [true, true, false, false, false]
        );
        assert_eq!(view.admits(word(40_000)), None, "no int16");
        assert_eq!(view.admits(word(-32_768)), Some(true));
        assert_eq!(view.comparison(), Some((Comparison::AtMost, "-2".to_owned())));
    }

    #[test]
    fn what_is_no_value_of_the_type_says_nothing() {
        let view = view("isMember(address)", json!([WALLET]), "bool", json!({ "equals": "true" })).unwrap();
        assert_eq!([0, 1].map(|answer| view.admits(word(answer))), [Some(false), Some(true)]);
        assert_eq!(view.admits(word(2)), None);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let equals = || json!({ "equals": "1" });
        for (found, code, pointer) in [
            (view("f(address)", json!([]), "uint8", equals()), GateCode::ArgumentInvalid, "/arguments"),
            (view("f(uint8)", json!(["256"]), "uint8", equals()), GateCode::ArgumentInvalid, "/arguments/0"),
            (view("f(int8)", json!(["-129"]), "uint8", equals()), GateCode::ArgumentInvalid, "/arguments/0"),
            (view("f(uint8)", json!(["$wallet"]), "uint8", equals()), GateCode::ArgumentInvalid, "/arguments/0"),
            (view("f(bool)", json!(["yes"]), "uint8", equals()), GateCode::ArgumentInvalid, "/arguments/0"),
            (view("f(uint)", json!(["1"]), "uint8", equals()), GateCode::FunctionMalformed, "/function"),
            (view("f(uint8, uint8)", json!(["1"]), "uint8", equals()), GateCode::FunctionMalformed, "/function"),
            (view("1f()", json!([]), "uint8", equals()), GateCode::FunctionMalformed, "/function"),
            (view("f(string)", json!(["x"]), "uint8", equals()), GateCode::FunctionMalformed, "/function"),
            (view("f()", json!([]), "uint12", equals()), GateCode::TypeUnknown, "/returns"),
            (
                view("f()", json!([]), "bool", json!({ "at_least": "true" })),
                GateCode::ArgumentInvalid,
                "/answer/at_least",
            ),
            (view("f()", json!([]), "uint8", json!({ "equals": "-1" })), GateCode::ArgumentInvalid, "/answer/equals"),
            (view("f()", json!([]), "uint8", json!({})), GateCode::NotOneField, "/answer"),
            (
                view("f()", json!([]), "uint8", json!({ "equals": "1", "at_most": "1" })),
                GateCode::NotOneField,
                "/answer",
            ),
        ] {
            let error = found.unwrap_err();
            assert_eq!((error.code, error.pointer.as_str()), (code, pointer), "{error}");
        }
        for (returns, value) in [
            ("int8", "-128"),
            ("int256", "-57896044618658097711785492504343953926634992332820282019728792003956564819968"),
        ] {
            view("f()", json!([]), returns, json!({ "equals": value })).unwrap();
        }
    }
}
