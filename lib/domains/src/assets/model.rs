//! What is held: keys, amounts, and the effects of events on them. Pure rules.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256, U256};
use nepto_proto::api::assets::{BalanceKind, PartOutcome};
use nepto_proto::chain as wire;
use nepto_proto::svc::collector::Pipeline;

use super::shapes::Noted;

/// What of a contract is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssetClass {
    /// The amount of an ERC-20, or how many tokens of an ERC-721: the [`Origin`] tells.
    Whole,
    /// One token of an ERC-721 or ERC-1155.
    Token(U256),
    /// The amount that is staked.
    Staked,
    /// Rewards that were paid.
    Rewarded,
}

impl AssetClass {
    /// The token, decimal, where it is one.
    pub fn token(self) -> Option<String> {
        match self {
            Self::Token(token) => Some(token.to_string()),
            _ => None,
        }
    }

    /// In which way it is held.
    pub const fn what(self) -> BalanceKind {
        match self {
            Self::Whole | Self::Token(_) => BalanceKind::Held,
            Self::Staked => BalanceKind::Staked,
            Self::Rewarded => BalanceKind::Rewarded,
        }
    }
}

/// As it stands in keys: in the order of the tokens.
impl fmt::Display for AssetClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Token(id) => write!(f, "{id:064x}"),
            Self::Staked => f.write_str("staked"),
            Self::Rewarded => f.write_str("rewarded"),
        }
    }
}

impl FromStr for AssetClass {
    type Err = ();
    fn from_str(key: &str) -> Result<Self, ()> {
        match key {
            "" => Ok(Self::Whole),
            "staked" => Ok(Self::Staked),
            "rewarded" => Ok(Self::Rewarded),
            id => U256::from_str_radix(id, 16).map(Self::Token).map_err(drop),
        }
    }
}

/// The events that an amount is the sum of: those of one pipeline and, of a `Transfer`, with one number of topics
/// ([`super::shapes`]). A contract may log several kinds; the amounts of two origins never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub pipeline: Pipeline,
    /// 0 where only one shape is decoded.
    pub topics: u8,
}

/// As it stands in keys.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.topics)
    }
}

impl FromStr for Origin {
    type Err = ();
    fn from_str(key: &str) -> Result<Self, ()> {
        let (pipeline, topics) = key.split_once('/').ok_or(())?;
        Ok(Self { pipeline: pipeline.parse()?, topics: topics.parse().map_err(drop)? })
    }
}

/// Something that somebody holds an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holding {
    pub holder: Address,
    pub contract: Address,
    pub origin: Origin,
    pub class: AssetClass,
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
    Moved { contract: Address, class: AssetClass, from: Address, to: Address, amount: Amount },
    /// An amount changes that comes from or goes to nowhere: a stake.
    Changed { holder: Address, contract: Address, class: AssetClass, amount: Amount },
    /// Tokens of which each is one have a new owner: one, or all of a range (ERC-2309). Who had them before is what the
    /// events before say, whatever this one says.
    Owned { contract: Address, first: U256, last: U256, to: Address },
    /// A message with payments was sent.
    Sent { contract: Address, batch: U256, sender: Address, token: Address, content_hash: B256, message: String },
    /// A recipient of such a message was paid, passed over, or given credit.
    Part { contract: Address, batch: U256, recipient: Address, amount: Amount, outcome: PartOutcome },
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    pub block: u64,
    pub log: u32,
    pub time_s: u64,
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

/// A token that can be only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Single {
    pub origin: Origin,
    pub contract: Address,
    pub token: U256,
}

/// Somebody, or nobody, got a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub position: LogPosition,
    pub owner: Address,
}

/// A message or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    pub effect: Effect,
    pub position: LogPosition,
}

/// All that an update does, summed up for each block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockEffects {
    pub deltas: BTreeMap<(u64, Holding), Delta>,
    /// What single tokens went through, in order. Whom they were taken from is looked up before it is committed
    /// ([`super::turns`]).
    pub turns: BTreeMap<Single, Vec<Turn>>,
    pub sendings: Vec<Sending>,
    /// What was found out about shapes, and which logs could not be read.
    pub noted: Noted,
    pub events: u64,
    /// Effects of the events: what they cost.
    pub effects: usize,
}

impl BlockEffects {
    /// Takes an event's effects in.
    pub fn add(&mut self, position: LogPosition, origin: Origin, effects: Vec<Effect>) {
        self.events += 1;
        for effect in effects {
            self.effects += 1;
            match effect {
                Effect::Moved { contract, class, from, to, amount } => {
                    if from == to {
                        continue;
                    }
                    let holding = |holder| Holding { holder, contract, origin, class };
                    self.change(position, holding(from), amount.negated(), Some(to));
                    self.change(position, holding(to), amount, Some(from));
                }
                Effect::Changed { holder, contract, class, amount } => {
                    self.change(position, Holding { holder, contract, origin, class }, amount, None);
                }
                Effect::Owned { contract, first, last, to } => {
                    for token in tokens(first, last) {
                        self.effects += 1;
                        let single = Single { origin, contract, token };
                        self.turns.entry(single).or_default().push(Turn { position, owner: to });
                    }
                }
                Effect::Sent { .. } | Effect::Part { .. } => self.sendings.push(Sending { effect, position }),
            }
        }
    }

    /// An amount changes by an event.
    pub fn change(&mut self, position: LogPosition, holding: Holding, amount: Amount, other: Option<Address>) {
        if holding.holder == Address::ZERO {
            return;
        }
        self.deltas
            .entry((position.block, holding))
            .and_modify(|delta| {
                delta.amount = delta.amount.plus(amount);
                delta.other = delta.other.filter(|known| Some(*known) == other);
            })
            .or_insert(Delta { amount, time_s: position.time_s, transaction: position.transaction, other });
    }
}

/// All tokens of a range, in order. There may be 2^256: who asks has looked how many.
pub fn tokens(first: U256, last: U256) -> impl Iterator<Item = U256> {
    let from = (first <= last).then_some(first);
    std::iter::successors(from, move |token| (*token < last).then(|| token.wrapping_add(U256::ONE)))
}

/// The position of a log in a block of the wire.
pub fn position(block: &wire::Block, log: &wire::Log) -> LogPosition {
    LogPosition {
        block: block.number,
        time_s: block.time_s,
        log: log.index,
        transaction: B256::try_from(&log.transaction[..]).unwrap_or_default(),
    }
}
