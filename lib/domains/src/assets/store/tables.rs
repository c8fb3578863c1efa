//! The keys of the tables, and columns that stand for something.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::hex::FromHexError;
use alloy_primitives::{Address, B256, U256};
use nepto_kit::db::{Pack, Table, Text};
use nepto_proto::AccountId;
use nepto_proto::svc::collector::Pipeline;

use crate::assets::model::{Amount, AssetClass, Origin};

/// The highest number that a column takes, to ask for what is below it.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

macro_rules! tables {
    ($($(#[$doc:meta])* $type:ident $name:literal ($($part:ty),+);)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $type;

        impl Table for $type {
            const NAME: &'static str = $name;
            type Key = ($($part,)+);
        }
    )+};
}

tables! {
    /// `cursor:[pipeline, chain]`
    Cursors "cursor" (Text<Pipeline>, u64);
    /// `applied:[pipeline, chain, seq]`
    Changes "applied" (Text<Pipeline>, u64, u64);
    /// `reverted:[pipeline, chain, update]`
    Reverts "reverted" (Text<Pipeline>, u64, u64);
    /// `retried:[pipeline, chain, block, log]`
    Retries "retried" (Text<Pipeline>, u64, u64, u32);
    /// `delta:[chain, pipeline, holder, late, seq, first block, last block]`
    Deltas "delta" (u64, Text<Pipeline>, Text<Short>, bool, u64, u64, u64);
    /// `held:[chain, holder, contract, origin, class]`
    Sums "held" (u64, Text<Short>, Text<Short>, Text<Origin>, Text<AssetClass>);
    /// `turn:[chain, origin, contract, token, block, log]`
    Turns "turn" (u64, Text<Origin>, Text<Short>, Text<TokenHex>, u64, u32);
    /// `shape:[chain, pipeline, contract, topics]`
    ShapesSeen "shape" (u64, Text<Pipeline>, Text<Short>, u8);
    /// `unread:[chain, contract, block, log, pipeline]`
    Unreads "unread" (u64, Text<Short>, u64, u32, Text<Pipeline>);
    /// `sent:[chain, contract, batch]`
    Messages "sent" (u64, Text<Short>, Text<TokenHex>);
    /// `sent_part:[chain, recipient, block, log]`
    Parts "sent_part" (u64, Text<Short>, u64, u32);
    /// `transaction:[account, chain, hash]`
    Transactions "transaction" (Text<AccountId>, u64, Text<B256>);
    /// `nft:[chain, contract, token]`
    Tokens "nft" (u64, Text<Short>, Text<TokenHex>);
}

/// An address in lowercase and without `0x`: shorter keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short(pub Address);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alloy_primitives::hex::encode(self.0))
    }
}

impl FromStr for Short {
    type Err = FromHexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A hash in the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortHash(pub B256);

impl fmt::Display for ShortHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alloy_primitives::hex::encode(self.0))
    }
}

impl FromStr for ShortHash {
    type Err = FromHexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A token or a batch with all its digits: in the order of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHex(pub U256);

impl fmt::Display for TokenHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:064x}", self.0)
    }
}

impl FromStr for TokenHex {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = (text.len() == 64).then_some(text).ok_or(())?;
        U256::from_str_radix(digits, 16).map(Self).map_err(drop)
    }
}

/// What the parts of a message have in common: the key of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageName {
    pub chain: u64,
    pub contract: Address,
    pub batch: U256,
}

impl fmt::Display for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.chain, Short(self.contract), TokenHex(self.batch))
    }
}

impl FromStr for MessageName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(());
        let chain = part()?.parse().map_err(drop)?;
        let Short(contract) = part()?.parse().map_err(drop)?;
        let TokenHex(batch) = part()?.parse().map_err(drop)?;
        Ok(Self { chain, contract, batch })
    }
}

/// 32 bytes, big-endian.
impl Pack for Amount {
    fn pack(&self) -> Vec<u8> {
        self.0.to_be_bytes_vec()
    }

    fn unpack(bytes: &[u8]) -> Option<Self> {
        U256::try_from_be_slice(bytes).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_kit::db::Id;

    #[test]
    fn keys_are_in_the_order_of_what_they_stand_for() {
        let token = |number: u64| TokenHex(U256::from(number)).to_string();
        assert!(token(9) < token(10) && token(255) < token(256));
        assert_eq!(token(10).parse(), Ok(TokenHex(U256::from(10))));
        assert!("".parse::<Short>().is_err() && "g".parse::<TokenHex>().is_err());
    }

    #[test]
    fn the_name_of_a_message_is_the_key_of_its_row() {
        let name = MessageName { chain: 7, contract: Address::repeat_byte(0xab), batch: U256::from(3) };
        assert_eq!(name.to_string().parse(), Ok(name));
        let key = Id::<Messages>((7, Text(Short(name.contract)), Text(TokenHex(name.batch))));
        assert_eq!(name.to_string(), format!("7:{}:{}", key.0.1.0, key.0.2.0));
        for broken in ["", "7", "7:ab:3", "x:abababababababababababababababababababab:3"] {
            assert_eq!(broken.parse::<MessageName>(), Err(()), "{broken}");
        }
    }
}
