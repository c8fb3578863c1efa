//! What events mean: from logs to effects, one decoder for each pipeline. A log that is not what its contract is declared
//! to be, or of which it is not certain which word is which, is dead-lettered, with the reason.

mod erc1155;
mod erc20;
mod erc721;
mod multisend;
mod staking;
#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256, U256};
use nepto_proto::chain as wire;

use super::model::{Effect, Origin};
use super::shapes::shapes_of;
use nepto_proto::svc::collector::Pipeline;

/// Why a log can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// A log, taken apart.
pub struct Event<'a> {
    contract: Address,
    topics: Vec<B256>,
    data: &'a [u8],
    standard: wire::Standard,
}

/// What a log does, and to which of its contract's amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    pub contract: Address,
    pub origin: Origin,
    pub effects: Vec<Effect>,
}

/// What a log does.
pub fn decode(pipeline: Pipeline, log: &wire::Log) -> Result<Decoded, Undecodable> {
    let event = Event::read(log)?;
    let effects = match pipeline {
        Pipeline::Erc20 => erc20::decode(&event)?,
        Pipeline::Erc721 => erc721::decode(&event)?,
        Pipeline::Erc1155 => erc1155::decode(&event)?,
        Pipeline::Staking => staking::decode(&event)?,
        Pipeline::Multisend => multisend::decode(&event)?,
    };
    let topics = if shapes_of(pipeline).len() > 1 { event.topics.len() as u8 } else { 0 };
    Ok(Decoded { contract: event.contract, origin: Origin { pipeline, topics }, effects })
}

fn undecodable<T>(reason: impl Into<String>) -> Result<T, Undecodable> {
    Err(Undecodable(reason.into()))
}

impl<'a> Event<'a> {
    fn read(log: &'a wire::Log) -> Result<Self, Undecodable> {
        let contract = Address::try_from(&log.address[..]).map_err(|_| Undecodable("no address".into()))?;
        if !log.topics.len().is_multiple_of(32) || log.topics.is_empty() || log.topics.len() > 128 {
            return undecodable("no event: 1 to 4 topics of 32 bytes are needed");
        }
        if log.cut {
            return undecodable("more data or more tokens than are taken of one event");
        }
        let topics = log.topics.chunks_exact(32).map(B256::from_slice).collect();
        Ok(Self { contract, topics, data: &log.data, standard: log.standard() })
    }

    /// Which event it is.
    fn first(&self) -> B256 {
        self.topics[0]
    }

    /// An event that the standard does not have, however much it looks like one.
    fn unknown<T>(&self, standard: &str) -> Result<T, Undecodable> {
        undecodable(format!("{} is no event of {standard}", self.first()))
    }

    /// The arguments of a `Transfer`, in the order of its declaration, if that is certain: both parties are indexed, as the
    /// standard of amounts has it, or everything, as the standard of single tokens has it, or nothing. Of two that are
    /// indexed it may still be other ones, and of one nobody knows which.
    fn transfer(&self) -> Result<[U256; 3], Undecodable> {
        if self.topics.len() == 2 {
            return undecodable("Transfer: one argument is indexed, and nothing tells which");
        }
        if self.topics.len() == 1 && self.standard == wire::Standard::Token {
            return undecodable(
                "Transfer: nothing is indexed, so it may be an amount or a token: its contract's kind must say",
            );
        }
        self.words("Transfer", self.topics.len())
    }

    /// The arguments in their order, the indexed ones first, as a standard declares them: so many topics, and the rest are
    /// words of data.
    fn words<const N: usize>(&self, what: &str, topics: usize) -> Result<[U256; N], Undecodable> {
        if self.topics.len() != topics {
            return undecodable(format!(
                "{what}: {} arguments are indexed, here {}",
                topics - 1,
                self.topics.len() - 1
            ));
        }
        if !self.data.len().is_multiple_of(32) {
            return undecodable(format!("{what}: {} bytes of data are no whole words", self.data.len()));
        }
        let indexed = self.topics[1..].iter().map(|topic| U256::from_be_bytes(topic.0));
        let rest = self.data.chunks_exact(32).map(U256::from_be_slice);
        let words: Vec<U256> = indexed.chain(rest).collect();
        let count = words.len();
        words.try_into().map_err(|_| Undecodable(format!("{what} has {N} arguments, this one {count}")))
    }

    fn topic(&self, index: usize, what: &str) -> Result<U256, Undecodable> {
        let topic = self.topics.get(index).ok_or_else(|| Undecodable(format!("{what} is not indexed")))?;
        Ok(U256::from_be_bytes(topic.0))
    }
}

/// An address in a word: the upper twelve bytes are zero.
fn address(word: U256, what: &str) -> Result<Address, Undecodable> {
    let bytes: [u8; 32] = word.to_be_bytes();
    if bytes[..12].iter().any(|byte| *byte != 0) {
        return undecodable(format!("{what} is no address"));
    }
    Ok(Address::from_slice(&bytes[12..]))
}
