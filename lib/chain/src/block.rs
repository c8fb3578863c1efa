//! Headers whose hashes were computed here, and logs.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes};
use serde::Deserialize;

use crate::rpc::RpcError;

/// When a block is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// With so many blocks on top.
    Depth(u64),
    /// When the nodes say so: the tag `finalized` (proof of stake: two thirds of the stake vouch for it).
    Finalized,
    /// When the nodes call it `safe`, which is earlier and weaker.
    Safe,
}

/// A header whose hash we computed ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedHeader {
    hash: B256,
    header: Header,
}

/// What `eth_getBlockBy…` answers, as far as it is needed.
#[derive(Deserialize)]
struct RpcHeader {
    hash: B256,
    #[serde(flatten)]
    header: Header,
}

impl SealedHeader {
    /// Reads the answer of `eth_getBlockByNumber` or `eth_getBlockByHash`; `null` is [`RpcError::Missing`], and a hash that
    /// does not belong to the header is [`RpcError::Header`].
    pub fn read(answer: &str) -> Result<Self, RpcError> {
        let read: Option<RpcHeader> = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
        let RpcHeader { hash, header } = read.ok_or(RpcError::Missing)?;
        let sealed = Self::new(header);
        if sealed.hash != hash {
            return Err(RpcError::Header { number: sealed.number(), claimed: hash });
        }
        Ok(sealed)
    }

    /// Seals a header by computing its hash.
    pub fn new(header: Header) -> Self {
        Self { hash: header.hash_slow(), header }
    }

    /// The hash of the header, keccak-256 of its RLP, computed here.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The height of the block.
    pub const fn number(&self) -> u64 {
        self.header.number
    }

    /// The hash of the block below.
    pub const fn parent(&self) -> B256 {
        self.header.parent_hash
    }

    /// Seconds since 1970, by its proposer's clock.
    pub const fn time_s(&self) -> u64 {
        self.header.timestamp
    }

    /// The header with all its fields, as the node gave it.
    pub const fn header(&self) -> &Header {
        &self.header
    }
}

/// What a contract logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its place among all logs of the block.
    pub index: u32,
    /// The contract that logged it.
    pub address: Address,
    /// At most four. The first is the event's signature hash, unless the event is anonymous.
    pub topics: Vec<B256>,
    /// The arguments that are not indexed, ABI-encoded.
    pub data: Bytes,
    /// The hash of its transaction. Named by the node: receipts do not commit to it.
    pub transaction: B256,
}

/// How sure it is that no log is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The header's bloom filter excludes that anything was logged.
    Bloom,
    /// All receipts are there: their root is the header's.
    Receipts,
    /// Several nodes said the same, or there is only one. Not proven.
    Compared,
}

impl Proof {
    /// Whether nothing can be missing.
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Bloom | Self::Receipts)
    }
}

/// A block with all logs that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Hashed here, and on top of the block before.
    pub header: SealedHeader,
    /// Those of the contracts that were asked for, ascending by [`Log::index`].
    pub logs: Vec<Log>,
    /// How sure that is.
    pub proof: Proof,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_header_of_another_kind_is_told_and_nobody_is_called_a_liar() {
        let header = Header { number: 561, gas_limit: 30_000_000, ..Header::default() };
        let mut answer: Value = serde_json::to_value(&header).unwrap();
        answer["hash"] = json!(header.hash_slow());
        // what belongs to the block and not to its header may be anything
        answer["size"] = json!("0x220");
        assert_eq!(SealedHeader::read(&answer.to_string()).unwrap().hash(), header.hash_slow());
        // as Avalanche's C-Chain has it: two fields more, and a hash over them too
        let claimed = B256::repeat_byte(0x56);
        answer["extDataHash"] = json!(B256::ZERO);
        answer["blockGasCost"] = json!("0x0");
        answer["hash"] = json!(claimed);
        let refused = SealedHeader::read(&answer.to_string()).unwrap_err();
        assert_eq!(refused, RpcError::Header { number: 561, claimed });
        let told = refused.to_string();
        assert!(told.contains("561") && told.contains("another kind") && !told.contains("false"), "{told}");
    }
}
