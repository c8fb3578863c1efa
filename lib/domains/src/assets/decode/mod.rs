//! What events mean: from logs to effects, one decoder for each pipeline. A log that is not what its contract is declared
//! to be is put aside, with the reason.

mod erc1155;
mod erc20;
mod erc721;
mod multisend;
mod staking;
#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256, U256};
use nepto_proto::chain as wire;

use super::model::Effect;
use crate::collector::Pipeline;

/// Why a log can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// A log, taken apart.
pub struct Event<'a> {
    contract: Address,
    topics: Vec<B256>,
    data: &'a [u8],
}

/// What a log does.
pub fn decode(pipeline: Pipeline, log: &wire::Log) -> Result<Vec<Effect>, Undecodable> {
    let event = Event::read(log)?;
    match pipeline {
        Pipeline::Erc20 => erc20::decode(&event),
        Pipeline::Erc721 => erc721::decode(&event),
        Pipeline::Erc1155 => erc1155::decode(&event),
        Pipeline::Staking => staking::decode(&event),
        Pipeline::Multisend => multisend::decode(&event),
    }
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
            return undecodable("more data than an event of a standard has");
        }
        let topics = log.topics.chunks_exact(32).map(B256::from_slice).collect();
        Ok(Self { contract, topics, data: &log.data })
    }

    fn first(&self) -> B256 {
        self.topics[0]
    }

    /// The arguments in their order, whether they are topics or not. Old and unusual contracts differ in what they index, and
    /// all of them index the first arguments first.
    fn words<const N: usize>(&self, what: &str) -> Result<[U256; N], Undecodable> {
        let indexed = self.topics[1..].iter().map(|topic| U256::from_be_bytes(topic.0));
        let rest = self.data.chunks_exact(32).map(U256::from_be_slice);
        let words: Vec<U256> = indexed.chain(rest).collect();
        let count = words.len();
        if !self.data.len().is_multiple_of(32) {
            return undecodable(format!("{what}: {} bytes of data are no whole words", self.data.len()));
        }
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
