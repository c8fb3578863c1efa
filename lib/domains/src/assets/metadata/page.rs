//! Lists of tokens, page by page.

use std::fmt;

use alloy_primitives::{Address, U256};
use nepto_proto::api::assets::Holding;

use super::contract::TokenKey;

/// A place in the list of tokens that somebody holds: `<chain>:<contract>:<token>:<wallet>`. It stays a place when what was
/// there is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub key: TokenKey,
    pub wallet: Address,
}

impl Mark {
    /// Of a holding; `None` for what is no token.
    pub fn of(holding: &Holding) -> Option<Self> {
        let token = U256::from_str_radix(holding.token.as_deref()?, 10).ok()?;
        let (contract, wallet) = (holding.contract.parse().ok()?, holding.wallet.parse().ok()?);
        Some(Self { key: TokenKey { chain: holding.chain_id, contract, token }, wallet })
    }

    /// Reads the `next` of a page.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let chain = parts.next()?.parse().ok()?;
        let contract = parts.next()?.parse().ok()?;
        let token = U256::from_str_radix(parts.next()?, 10).ok()?;
        let wallet = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { key: TokenKey { chain, contract, token }, wallet })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenKey { chain, contract, token } = self.key;
        write!(f, "{chain}:{contract}:{token}:{}", self.wallet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::api::assets::{BalanceKind, Standard};
    use proptest::prelude::*;

    fn any_mark() -> impl Strategy<Value = Mark> {
        (any::<u64>(), any::<[u8; 20]>(), any::<[u8; 32]>(), any::<[u8; 20]>()).prop_map(
            |(chain, contract, token, wallet)| {
                let key = TokenKey { chain, contract: contract.into(), token: U256::from_be_bytes(token) };
                Mark { key, wallet: wallet.into() }
            },
        )
    }

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written(mark in any_mark()) {
            prop_assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,80}") {
            let _ = Mark::parse(&text);
        }
    }

    #[test]
    fn only_tokens_have_a_place() {
        let holding = |token: Option<&str>| Holding {
            chain_id: 1,
            wallet: Address::repeat_byte(1).to_string(),
            contract: Address::repeat_byte(2).to_string(),
            standard: Standard::Erc721,
            token: token.map(str::to_owned),
            what: BalanceKind::Held,
            amount: "1".into(),
        };
        assert!(Mark::of(&holding(None)).is_none());
        let (nine, ten) = (Mark::of(&holding(Some("9"))).unwrap(), Mark::of(&holding(Some("10"))).unwrap());
        assert!(nine < ten, "in the order of numbers");
        for wrong in ["", "1", "1:2:3:4", &format!("{ten}:"), &format!("x{ten}")] {
            assert_eq!(Mark::parse(wrong), None, "{wrong}");
        }
    }
}
