//! Sums of amounts, which can exceed what fits into 256 bits: a token may say of anybody that they hold all but one of what
//! it can count.

use std::fmt;

use alloy_primitives::U256;
use nepto_proto::gate::amount::{grouped, pointed, power_of_ten};

/// A sum of amounts that are not less than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Total {
    /// Exactly so much.
    Exact(U256),
    /// More than fits into 256 bits, and so more than any amount that a gate can ask for.
    Beyond,
}

impl Total {
    /// Nothing.
    pub const ZERO: Self = Self::Exact(U256::ZERO);

    /// With so much more, in a unit that is smaller by this power of ten.
    #[must_use]
    pub fn plus(self, amount: U256, exponent: u8) -> Self {
        // nothing is nothing in any unit
        if amount.is_zero() {
            return self;
        }
        let scaled = power_of_ten(exponent).and_then(|factor| amount.checked_mul(factor));
        match (self, scaled) {
            (Self::Exact(sum), Some(scaled)) => sum.checked_add(scaled).map_or(Self::Beyond, Self::Exact),
            _ => Self::Beyond,
        }
    }

    /// Whether it is this amount or more.
    pub fn reaches(self, needed: U256) -> bool {
        self >= Self::Exact(needed)
    }

    /// For people, of a token with so many decimals.
    pub fn shown(self, decimals: u8) -> Shown {
        Shown(self, decimals)
    }
}

/// A sum for people.
pub struct Shown(Total, u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Total::Exact(sum) => f.write_str(&grouped(&pointed(sum, self.1))),
            Total::Beyond => f.write_str("more than can be counted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_more_than_anything() {
        let most = Total::ZERO.plus(U256::MAX, 0);
        assert_eq!(most, Total::Exact(U256::MAX));
        assert!(most.reaches(U256::MAX));
        assert_eq!(most.plus(U256::ZERO, 77), most);
        for beyond in [most.plus(U256::ONE, 0), Total::ZERO.plus(U256::MAX, 1), Total::ZERO.plus(U256::ONE, 78)] {
            assert_eq!(beyond, Total::Beyond);
            assert!(beyond.reaches(U256::MAX));
            assert_eq!(beyond.plus(U256::ONE, 0), Total::Beyond);
        }
        assert!(!Total::ZERO.reaches(U256::ONE));
    }

    #[test]
    fn people_see_whole_tokens() {
        let units = Total::Exact(U256::from(9_999_500_000_u64));
        assert_eq!(units.shown(6).to_string(), "9,999.5");
        assert_eq!(units.shown(0).to_string(), "9,999,500,000");
    }
}
