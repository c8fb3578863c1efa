//! A view function of a contract: its signature, its arguments, and what its answer is compared with. Only types of one word
//! ([Contract ABI], "static" types but for arrays and tuples), so that what is sent and what comes back has one reading.
//!
//! [Contract ABI]: https://docs.soliditylang.org/en/latest/abi-spec.html

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use serde_json::{Value, json};

use super::error::{GateCode, GateError, Place};
use super::field::{Field, records, text};
use super::values::Chain;
use super::word::{TYPE_PATTERN, TYPES, WordType};

/// Parameters of a function.
const PARAMETERS_MAX: usize = 8;
/// The argument that stands for the wallet that is looked at.
pub const WALLET: &str = "$wallet";

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
    use alloy_primitives::U256;

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
