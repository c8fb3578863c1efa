//! The clauses: what a gate may ask about. Each is an object with one field, its name.

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

use super::amount::{Amount, Decimal};
use super::call::View;
use super::error::{GateCode, GateError, Place};
use super::field::{Field, described, records};
use super::values::{Chain, Contract, Count, Days, Decimals, ListSize, Text, TokenIds};
use crate::ids::RoleId;

records! {
    /// The wallets hold at least so much of an ERC-20 token, together.
    Erc20 {
        /// The chain (CAIP-2).
        chain: Chain,
        /// The token (EIP-55, or lower case).
        contract: Address,
        /// Its digits behind the point, as its contract says. The server asks for them and keeps them with the gate.
        decimals: Option<Decimals>,
        /// The amount, as people say it: `10000` of a token with 18 decimals are 10000 whole ones.
        at_least: Amount,
    }

    /// A token of a sum.
    Token {
        /// The chain (CAIP-2).
        chain: Chain,
        /// The token (EIP-55, or lower case).
        contract: Address,
        /// Its digits behind the point, as its contract says. The server asks for them and keeps them with the gate.
        decimals: Option<Decimals>,
    }

    /// The wallets hold at least so much of several ERC-20 tokens, all added up as if they were one.
    Erc20Sum {
        /// The tokens, on any chains.
        tokens: Vec<Token>,
        /// The amount, as people say it.
        at_least: Amount,
    }

    /// The wallets hold at least so many tokens of an ERC-721, together.
    Erc721 {
        /// The chain (CAIP-2).
        chain: Chain,
        /// The collection (EIP-55, or lower case).
        contract: Address,
        /// Only these count, if it is there: ids, and ranges of ids.
        ids: Option<Vec<TokenIds>>,
        /// How many.
        at_least: Count,
    }

    /// The wallets hold at least so many of one id of an ERC-1155, together.
    Erc1155 {
        /// The chain (CAIP-2).
        chain: Chain,
        /// The contract (EIP-55, or lower case).
        contract: Address,
        /// The id.
        id: U256,
        /// How many.
        at_least: U256,
    }

    /// The wallets hold at least so many tokens of a collection that have a trait, together.
    Trait {
        /// The chain (CAIP-2).
        chain: Chain,
        /// The collection, an ERC-721 or ERC-1155 (EIP-55, or lower case).
        contract: Address,
        /// The name of the trait, byte by byte.
        property: Text,
        /// Its value is this text. Exactly one of this, `one_of` and `range` is there.
        equals: Option<Text>,
        /// Its value is one of these texts.
        one_of: Option<Vec<Text>>,
        /// Its value is a number within these bounds.
        range: Option<Range>,
        /// How many tokens.
        at_least: Count,
    }

    /// Bounds of a number, both included. One of them may be left out.
    Range {
        /// The lowest.
        from: Option<Decimal>,
        /// The highest.
        to: Option<Decimal>,
    }

    /// The wallets have at least so much in a staking contract, together.
    Staked {
        /// The chain (CAIP-2).
        chain: Chain,
        /// The staking contract (EIP-55, or lower case).
        contract: Address,
        /// Digits behind the point of the token that is staked. The server asks for them and keeps them with the gate.
        decimals: Option<Decimals>,
        /// The amount, as people say it.
        at_least: Amount,
        /// It was there all the time, for so many days. Of each wallet the least that it had counts.
        days: Option<Days>,
    }

    /// The account was made so many days ago, or earlier.
    AccountAge {
        /// Days of 24 hours.
        days: Days,
    }

    /// A wallet was used on a chain so many days ago, or earlier: it sent a transaction.
    WalletAge {
        /// The chain (CAIP-2).
        chain: Chain,
        /// Days of 24 hours.
        days: Days,
    }

    /// A wallet is on a list, which is kept beside the gate.
    Allowlist {
        /// The root of its Merkle tree, as OpenZeppelin's `StandardMerkleTree` of `["address"]` has it.
        root: B256,
        /// How many addresses it has.
        count: ListSize,
    }

    /// The account has another role of the same community.
    Role {
        /// The role's id.
        role: RoleId,
    }
}

/// Declares the clauses, each with its name.
macro_rules! clauses {
    ($($name:ident = $text:literal,)+) => {
        /// What a gate may ask about.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each type says what it is")]
        pub enum Clause { $($name($name),)+ }

        impl Clause {
            /// The names of all.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// Its name in an expression.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $text,)+ }
            }

            /// Reads the clause of this name. Its place is the object that is behind the name.
            pub(super) fn read(name: &str, value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
                let clause = match name {
                    $($text => Self::$name($name::read(value, at)?),)+
                    _ => {
                        let words = super::rule::WORDS.iter().chain(Self::NAMES).copied().collect::<Vec<_>>();
                        let detail = format!("there is no such rule; there are {}", words.join(", "));
                        return Err(at.error(GateCode::RuleUnknown, detail));
                    }
                };
                clause.check(at)?;
                Ok(clause)
            }

            /// What is behind its name.
            pub(super) fn write(&self) -> Option<Value> {
                match self { $(Self::$name(clause) => clause.write(),)+ }
            }

            /// The schemas of all, each with its name.
            pub(super) fn schemas() -> Vec<(&'static str, Value)> {
                vec![$(($text, $name::schema())),+]
            }
        }
    };
}

clauses! {
    Erc20 = "erc20",
    Erc20Sum = "erc20_sum",
    Erc721 = "erc721",
    Erc1155 = "erc1155",
    Trait = "trait",
    Staked = "staked",
    AccountAge = "account_age",
    WalletAge = "wallet_age",
    Allowlist = "allowlist",
    Role = "role",
    View = "view",
}

/// What a token's trait is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraitTest<'a> {
    /// One of these texts.
    OneOf(&'a [Text]),
    /// A number within these bounds.
    Within(&'a Range),
}

impl Trait {
    /// What the trait is held against. `None` of a clause that was not checked.
    pub fn test(&self) -> Option<TraitTest<'_>> {
        match (&self.equals, &self.one_of, &self.range) {
            (Some(text), None, None) => Some(TraitTest::OneOf(std::slice::from_ref(text))),
            (None, Some(texts), None) => Some(TraitTest::OneOf(texts)),
            (None, None, Some(range)) => Some(TraitTest::Within(range)),
            _ => None,
        }
    }

    /// Whether a value of the trait is as it should be.
    pub fn admits(&self, value: &str) -> bool {
        match self.test() {
            Some(TraitTest::OneOf(texts)) => texts.iter().any(|text| text.0 == value),
            Some(TraitTest::Within(Range { from, to })) => Decimal::parse(value)
                .is_ok_and(|value| from.is_none_or(|from| from <= value) && to.is_none_or(|to| value <= to)),
            None => false,
        }
    }
}

/// The amount in the base units of a token; the error says where it does not fit.
fn units(amount: Amount, decimals: Option<Decimals>, at: &Place<'_>) -> Result<U256, GateError> {
    let decimals = decimals.ok_or_else(|| {
        let detail = "the decimals of this token were not found out; save the gate again";
        at.error(GateCode::DecimalsMissing, detail)
    })?;
    amount.units(decimals.get()).map_err(|(code, detail)| at.name("at_least").error(code, detail))
}

impl Clause {
    /// What of its fields must fit together. Amounts are held against decimals where these are known.
    pub(super) fn check(&self, at: &Place<'_>) -> Result<(), GateError> {
        let at_least = at.name("at_least");
        let zero = || {
            let detail = "at least 0 is true of everybody; write more, or leave this out";
            Err(at_least.error(GateCode::NumberZero, detail))
        };
        match self {
            Self::Erc20(Erc20 { at_least, .. })
            | Self::Erc20Sum(Erc20Sum { at_least, .. })
            | Self::Staked(Staked { at_least, .. })
                if at_least.is_zero() =>
            {
                zero()
            }
            Self::Erc1155(Erc1155 { at_least, .. }) if at_least.is_zero() => zero(),
            Self::Erc20Sum(sum) => {
                let tokens_at = at.name("tokens");
                for (index, token) in sum.tokens.iter().enumerate() {
                    if sum.tokens[..index].iter().any(|before| before.contract() == token.contract()) {
                        let detail = "this token stands in the list before; it would count twice";
                        return Err(tokens_at.index(index).error(GateCode::Repeated, detail));
                    }
                }
                if sum.tokens.iter().all(|token| token.decimals.is_some()) { sum.units(at).map(drop) } else { Ok(()) }
            }
            Self::Erc20(Erc20 { at_least, decimals: decimals @ Some(_), .. })
            | Self::Staked(Staked { at_least, decimals: decimals @ Some(_), .. }) => {
                units(*at_least, *decimals, at).map(drop)
            }
            Self::Trait(clause) => clause.check(at),
            Self::View(view) => view.check(at),
            _ => Ok(()),
        }
    }

    /// The tokens whose decimals it needs, and what is known of them.
    pub(super) fn tokens(&self) -> Vec<(Contract, Option<Decimals>)> {
        match self {
            Self::Erc20(clause) => vec![(clause.contract(), clause.decimals)],
            Self::Staked(clause) => vec![(clause.contract(), clause.decimals)],
            Self::Erc20Sum(sum) => sum.tokens.iter().map(|token| (token.contract(), token.decimals)).collect(),
            _ => Vec::new(),
        }
    }

    /// The same, to be changed.
    pub(super) fn tokens_mut(&mut self) -> Vec<(Contract, &mut Option<Decimals>)> {
        match self {
            Self::Erc20(clause) => vec![(clause.contract(), &mut clause.decimals)],
            Self::Staked(clause) => vec![(clause.contract(), &mut clause.decimals)],
            Self::Erc20Sum(sum) => sum.tokens.iter_mut().map(|token| (token.contract(), &mut token.decimals)).collect(),
            _ => Vec::new(),
        }
    }
}

impl Trait {
    fn check(&self, at: &Place<'_>) -> Result<(), GateError> {
        match self.test() {
            None => Err(at.error(GateCode::NotOneField, "name exactly one of equals, one_of and range")),
            Some(TraitTest::Within(Range { from: None, to: None })) => {
                let detail = "a range has a lowest number (from), a highest (to) or both";
                Err(at.name("range").error(GateCode::RangeInvalid, detail))
            }
            Some(TraitTest::Within(Range { from: Some(from), to: Some(to) })) if from > to => {
                Err(at.name("range").error(GateCode::RangeInvalid, "this range ends before it begins; turn it round"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Clauses that name one contract.
macro_rules! of_a_contract {
    ($($name:ident)+) => {$(
        impl $name {
            /// The contract that it names.
            pub fn contract(&self) -> Contract {
                Contract { chain: self.chain, address: self.contract }
            }
        }
    )+};
}
of_a_contract!(Erc20 Token Erc721 Erc1155 Trait Staked View);

impl Erc20 {
    /// What is needed at least, in base units.
    pub fn units(&self, at: &Place<'_>) -> Result<U256, GateError> {
        units(self.at_least, self.decimals, at)
    }
}

impl Staked {
    /// What is needed at least, in base units.
    pub fn units(&self, at: &Place<'_>) -> Result<U256, GateError> {
        units(self.at_least, self.decimals, at)
    }
}

impl Erc20Sum {
    /// The decimals in which the sum is made: those of the token that has the most, so that nothing is rounded.
    pub fn decimals(&self) -> Option<Decimals> {
        self.tokens.iter().map(|token| token.decimals).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// What is needed at least, in units of [`Erc20Sum::decimals`].
    pub fn units(&self, at: &Place<'_>) -> Result<U256, GateError> {
        units(self.at_least, self.decimals(), at)
    }
}

/// The schema of one clause: an object with its name and nothing else.
pub(super) fn named(name: &str, body: Value) -> Value {
    let words = body["description"].as_str().unwrap_or_default().to_owned();
    let mut object = json!({ "type": "object", "required": [name], "additionalProperties": false });
    object["properties"][name] = body;
    described(object, &words)
}
