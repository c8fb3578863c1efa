//! Reading what requests say.

use alloy_primitives::{Address, U256};
use nepto_kit::Failure;
use nepto_proto::ErrorCode;

/// Entries of a page, if the caller does not say, and at most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;

/// Decimal digits of 256 bits.
const DIGITS_MAX: usize = 78;

/// An Ethereum address: `0x` and 40 digits, in any capitals.
pub fn address(text: &str) -> Result<Address, Failure> {
    let address = text.strip_prefix("0x").filter(|digits| digits.len() == 40).and_then(|digits| digits.parse().ok());
    address.ok_or_else(|| Failure::new(ErrorCode::Malformed, format!("{text:?} is not an Ethereum address")))
}

/// The number of a token or batch, decimal.
pub fn token_id(text: &str) -> Result<U256, Failure> {
    let is_number = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = U256::from_str_radix(text, 10).ok().filter(|_| is_number);
    number.ok_or_else(|| {
        Failure::new(ErrorCode::Malformed, format!("{text:?} is not a decimal number of at most 256 bits"))
    })
}

/// How many entries a page has.
pub fn page_of(limit: Option<usize>) -> Result<usize, Failure> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Failure::new(ErrorCode::Malformed, format!("`limit` is 1 to {PAGE_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form_and_a_number_a_bound() {
        let good = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
        assert_eq!(address(&good.to_ascii_lowercase()).unwrap(), address(good).unwrap());
        for bad in [&good[2..], "0x", "", &format!("0x{good}"), &format!("{good}0"), &good[..41], " 0x"] {
            assert!(address(bad).is_err(), "{bad:?}");
        }
        let most = U256::MAX.to_string();
        assert_eq!((token_id("007").unwrap(), token_id(&most).unwrap()), (U256::from(7), U256::MAX));
        for bad in ["", "+7", "-7", "0x7", "7 ", &format!("0{most}"), &"9".repeat(78)] {
            assert!(token_id(bad).is_err(), "{bad:?}");
        }
    }
}
