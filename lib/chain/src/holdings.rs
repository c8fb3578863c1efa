//! What a wallet has on a chain: asked of all its nodes, now and at a block before. What most of those that answer say
//! counts.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U64, U256};
use alloy_sol_types::{SolCall, sol};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rpc::{Addresses, Limits, Pool, RpcError};

/// One node must answer one question in this time.
const NODE_WITHIN: Duration = Duration::from_secs(4);
/// A number, or a block without its transactions, with room.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Blocks whose times say how fast a chain is.
const PACE_BLOCKS: u64 = 50_000;

mod abi {
    use super::sol;

    sol! {
        function balanceOf(address owner) returns (uint256);
    }

    pub mod erc1155 {
        use super::super::sol;

        sol! {
            function balanceOf(address owner, uint256 id) returns (uint256);
        }
    }
}

/// Of what a wallet has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The chain's own coin, in its base unit.
    Coin,
    /// A token with `balanceOf(address)`: ERC-20, and ERC-721, where it is the number of them.
    Token(Address),
    /// One kind of an ERC-1155 token.
    Kind(Address, U256),
    /// Transactions that it sent.
    Transactions,
}

/// A moment in a chain's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ago {
    /// So many blocks before the newest.
    Blocks(u64),
    /// So long ago, as far as the pace of the chain tells.
    Time(Duration),
}

/// Asks the nodes of one chain.
pub struct Holdings {
    pool: Pool,
}

impl Holdings {
    /// Nodes at these addresses, at most so many requests at once to each.
    pub fn new(addresses: impl Into<Addresses>, concurrency_max: usize) -> Result<Self, RpcError> {
        let limits = Limits { timeout: NODE_WITHIN, answer_bytes_max: ANSWER_BYTES_MAX, concurrency_max };
        Ok(Self { pool: Pool::new(addresses, limits)? })
    }

    /// Whether a wallet has so much now.
    pub async fn has(&self, wallet: Address, what: What, at_least: U256) -> Result<bool, RpcError> {
        self.most_say(wallet, what, at_least, "latest").await
    }

    /// Whether a wallet had so much then. A chain that is younger than that is asked about its first block.
    pub async fn had(&self, wallet: Address, what: What, at_least: U256, ago: Ago) -> Result<bool, RpcError> {
        let block = self.block_at(ago).await?;
        self.most_say(wallet, what, at_least, &format!("{block:#x}")).await
    }

    async fn most_say(&self, wallet: Address, what: What, at_least: U256, block: &str) -> Result<bool, RpcError> {
        let (method, params) = question(wallet, what, block);
        let answers = self.pool.ask_each(method, &params, read_number).await?;
        let mut failed = RpcError::NoEndpoint;
        let (mut enough, mut all) = (0, 0);
        for (_, answer) in answers {
            match answer {
                Ok(amount) => {
                    all += 1;
                    enough += usize::from(amount >= at_least);
                }
                Err(error) if error.weight() >= failed.weight() => failed = error,
                Err(_) => {}
            }
        }
        if all == 0 { Err(failed) } else { Ok(2 * enough > all) }
    }

    async fn block_at(&self, ago: Ago) -> Result<u64, RpcError> {
        let newest = self.block("latest").await?;
        match ago {
            Ago::Blocks(blocks) => Ok(newest.number.saturating_sub(blocks)),
            Ago::Time(time) => {
                let span = newest.number.min(PACE_BLOCKS);
                let before = self.block(&format!("{:#x}", newest.number - span)).await?;
                let seconds = newest.timestamp.saturating_sub(before.timestamp).max(1);
                let blocks = u128::from(time.as_secs()) * u128::from(span) / u128::from(seconds);
                Ok(newest.number.saturating_sub(u64::try_from(blocks).unwrap_or(u64::MAX)))
            }
        }
    }

    async fn block(&self, which: &str) -> Result<Block, RpcError> {
        self.pool.ask("eth_getBlockByNumber", &json!([which, false]), None, Block::read).await
    }
}

struct Block {
    number: u64,
    timestamp: u64,
}

impl Block {
    fn read(answer: &str) -> Result<Self, RpcError> {
        #[derive(Deserialize)]
        struct Header {
            number: U64,
            timestamp: U64,
        }
        let header: Option<Header> = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
        let header = header.ok_or(RpcError::Missing)?;
        Ok(Self { number: header.number.to(), timestamp: header.timestamp.to() })
    }
}

fn question(wallet: Address, what: What, block: &str) -> (&'static str, Value) {
    let call = |to: Address, data: Vec<u8>| ("eth_call", json!([{ "to": to, "data": Bytes::from(data) }, block]));
    match what {
        What::Coin => ("eth_getBalance", json!([wallet, block])),
        What::Transactions => ("eth_getTransactionCount", json!([wallet, block])),
        What::Token(contract) => call(contract, abi::balanceOfCall { owner: wallet }.abi_encode()),
        What::Kind(contract, id) => call(contract, abi::erc1155::balanceOfCall { owner: wallet, id }.abi_encode()),
    }
}

/// A quantity, or the one word that a contract returned. Where there is no contract yet nobody has anything.
fn read_number(answer: &str) -> Result<U256, RpcError> {
    let text: &str = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
    let digits = text.strip_prefix("0x").ok_or_else(|| RpcError::unreadable("not hexadecimal"))?;
    if digits.is_empty() {
        return Ok(U256::ZERO);
    }
    U256::from_str_radix(digits, 16).map_err(RpcError::unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_nodes_and_contracts_write_them() {
        assert_eq!(read_number("\"0x0\"").unwrap(), U256::ZERO);
        assert_eq!(read_number("\"0x\"").unwrap(), U256::ZERO);
        assert_eq!(read_number(&format!("\"0x{}2a\"", "00".repeat(31))).unwrap(), U256::from(42));
        for bad in ["7", "null", "\"42\"", "\"0xzz\"", &format!("\"0x{}\"", "f".repeat(65))] {
            assert!(read_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_are_asked_by_their_standards() {
        let wallet = Address::repeat_byte(1);
        let data = |what| question(wallet, what, "latest").1[0]["data"].as_str().unwrap().to_owned();
        assert!(data(What::Token(wallet)).starts_with("0x70a08231"));
        assert!(data(What::Kind(wallet, U256::ONE)).starts_with("0x00fdd58e"));
    }
}
