//! What is held: keys, amounts, and the effects of events on them. Pure rules.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use nepto_proto::api::assets::PartOutcome;
use nepto_proto::chain as wire;

/// What of a contract is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The amount of an ERC-20, or how many tokens of an ERC-721.
    Whole,
    /// One token of an ERC-721 or ERC-1155.
    Token(U256),
    /// What is staked.
    Staked,
    /// Rewards that were paid.
    Rewarded,
}

impl Class {
    /// As it stands in keys: in the order of the tokens.
    pub fn to_key(self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Token(id) => format!("{id:064x}"),
            Self::Staked => "staked".to_owned(),
            Self::Rewarded => "rewarded".to_owned(),
        }
    }

    /// The token, decimal, where it is one.
    pub fn token(self) -> Option<String> {
        match self {
            Self::Token(token) => Some(token.to_string()),
            _ => None,
        }
    }

    /// What it means to have it.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Whole | Self::Token(_) => "held",
            Self::Staked => "staked",
            Self::Rewarded => "rewarded",
        }
    }

    /// Reads a key.
    pub fn from_key(key: &str) -> Option<Self> {
        match key {
            "" => Some(Self::Whole),
            "staked" => Some(Self::Staked),
            "rewarded" => Some(Self::Rewarded),
            id => U256::from_str_radix(id, 16).ok().map(Self::Token),
        }
    }
}

/// Something that somebody holds an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holding {
    pub holder: Address,
    pub contract: Address,
    pub class: Class,
}

/// A change of an amount. Amounts are base units, modulo 2^256: what is less than nothing wraps, as in the contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub U256);

impl Amount {
    pub const ZERO: Self = Self(U256::ZERO);
    pub const ONE: Self = Self(U256::ONE);

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    #[must_use]
    pub fn negated(self) -> Self {
        Self(U256::ZERO.wrapping_sub(self.0))
    }

    /// Less than nothing: the events of the contract do not add up.
    pub fn is_negative(self) -> bool {
        self.0.bit(255)
    }

    /// Decimal, with a sign.
    pub fn signed(self) -> String {
        if self.is_negative() { format!("-{}", self.negated().0) } else { self.0.to_string() }
    }
}

/// What one event does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// An amount moves. The zero address stands for nobody: what comes from it is made, what goes to it is gone.
    Moved { contract: Address, class: Class, from: Address, to: Address, amount: Amount },
    /// An amount changes that comes from or goes to nowhere: a stake.
    Changed { holding: Holding, amount: Amount },
    /// A single token has a new owner.
    Owned { contract: Address, token: U256, from: Address, to: Address },
    /// All tokens of a range have a first owner (ERC-2309).
    OwnedRange { contract: Address, first: U256, last: U256, to: Address },
    /// A message with payments was sent.
    Sent { contract: Address, batch: U256, sender: Address, token: Address, content_hash: B256, message: String },
    /// A recipient of such a message was paid, passed over, or given credit.
    Part { contract: Address, batch: U256, recipient: Address, amount: Amount, outcome: PartOutcome },
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub block: u64,
    pub time_s: u64,
    pub log: u32,
    pub transaction: B256,
}

/// An amount of a holding that changed in a block, all events of it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta {
    pub amount: Amount,
    pub time_s: u64,
    /// Of the first event.
    pub transaction: B256,
    /// The other side, where there is exactly one; zero for nobody.
    pub other: Option<Address>,
}

/// A new owner of a single token, or of a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    pub contract: Address,
    pub first: U256,
    pub last: U256,
    pub to: Address,
    pub place: Place,
}

/// A message or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    pub effect: Effect,
    pub place: Place,
}

/// All that a step does, folded for each block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    pub deltas: BTreeMap<(u64, Holding), Delta>,
    pub ownerships: Vec<Ownership>,
    pub sendings: Vec<Sending>,
    pub events: u64,
}

impl Folded {
    /// Takes an event's effects in.
    pub fn add(&mut self, place: Place, effects: Vec<Effect>) {
        self.events += 1;
        for effect in effects {
            match effect {
                Effect::Moved { contract, class, from, to, amount } => {
                    if from == to {
                        continue;
                    }
                    let holding = |holder| Holding { holder, contract, class };
                    self.change(place, holding(from), amount.negated(), Some(to));
                    self.change(place, holding(to), amount, Some(from));
                }
                Effect::Changed { holding, amount } => self.change(place, holding, amount, None),
                Effect::Owned { contract, token, from, to } => {
                    self.ownerships.push(Ownership { contract, first: token, last: token, to, place });
                    if from != to {
                        for class in [Class::Whole, Class::Token(token)] {
                            let holding = |holder| Holding { holder, contract, class };
                            self.change(place, holding(from), Amount::ONE.negated(), Some(to));
                            self.change(place, holding(to), Amount::ONE, Some(from));
                        }
                    }
                }
                Effect::OwnedRange { contract, first, last, to } => {
                    self.ownerships.push(Ownership { contract, first, last, to, place });
                    let count = Amount(last.wrapping_sub(first).wrapping_add(U256::ONE));
                    let holding = Holding { holder: to, contract, class: Class::Whole };
                    self.change(place, holding, count, Some(Address::ZERO));
                }
                Effect::Sent { .. } | Effect::Part { .. } => self.sendings.push(Sending { effect, place }),
            }
        }
    }

    fn change(&mut self, place: Place, holding: Holding, amount: Amount, other: Option<Address>) {
        if holding.holder == Address::ZERO {
            return;
        }
        self.deltas
            .entry((place.block, holding))
            .and_modify(|delta| {
                delta.amount = delta.amount.plus(amount);
                delta.other = delta.other.filter(|known| Some(*known) == other);
            })
            .or_insert(Delta { amount, time_s: place.time_s, transaction: place.transaction, other });
    }
}

/// The place of a log in a block of the wire.
pub fn place(block: &wire::Block, log: &wire::Log) -> Place {
    Place {
        block: block.number,
        time_s: block.time_s,
        log: log.index,
        transaction: B256::try_from(&log.transaction[..]).unwrap_or_default(),
    }
}
