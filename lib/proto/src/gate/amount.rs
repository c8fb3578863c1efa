//! Numbers as people write them into an expression: digits, and at most one point. Anything that one reader takes for another
//! number than the next one does is refused: `10,000`, `1e4`, `+1`, `007`.

use std::fmt;

use alloy_primitives::U256;
use serde_json::{Value, json};

use super::error::{GateCode, GateError, Place};
use super::field::{Field, text};

/// The longest number: 2^256 has 78 digits, and as many may stand behind the point.
const CHARACTERS_MAX: usize = 160;
/// Digits behind the point of a token: 10^77 is the largest power of ten below 2^256.
pub const DECIMALS_MAX: u8 = 77;

/// What is wrong with a number, with what to do.
pub type Problem = (GateCode, String);

fn problem<T>(code: GateCode, detail: &str) -> Result<T, Problem> {
    Err((code, detail.to_owned()))
}

/// The digits before and behind the point. `-` has been taken off where it may stand.
fn digits(text: &str) -> Result<(&str, &str), Problem> {
    if text.len() > CHARACTERS_MAX {
        return problem(GateCode::NumberTooLarge, "this number has too many digits");
    }
    if text.trim() != text {
        return problem(GateCode::NumberSpaced, "white space stands around this number; take it out");
    }
    if text.starts_with(['+', '-']) {
        return problem(GateCode::NumberSigned, "no sign may stand before this number; take it out");
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        if text.contains([',', '_', '\'', ' ', '\u{a0}', '\u{202f}']) {
            let detail =
                "only digits, and a point before decimals, may stand in a number; write 10000 for ten thousand";
            return problem(GateCode::NumberGrouped, detail);
        }
        if text.contains(['e', 'E']) {
            return problem(GateCode::NumberExponent, "write all digits instead of an exponent, as 10000 for 1e4");
        }
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) {
        return problem(GateCode::NumberMalformed, "write the number in digits, as 10000 or 0.5");
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return problem(GateCode::NumberMalformed, "this number begins with 0; leave it out");
    }
    Ok((whole, fraction.trim_end_matches('0')))
}

/// 10 to this power, where it is below 2^256.
pub fn power_of_ten(exponent: u8) -> Option<U256> {
    U256::from(10).checked_pow(U256::from(exponent))
}

fn too_large() -> Problem {
    (GateCode::NumberTooLarge, "this number is larger than chains can count; write a smaller one".to_owned())
}

/// A whole number, decimal, below 2^256.
pub fn whole(text: &str) -> Result<U256, Problem> {
    let (whole, fraction) = digits(text)?;
    if text.contains('.') || !fraction.is_empty() {
        return problem(GateCode::NumberFraction, "only a whole number makes sense here");
    }
    U256::from_str_radix(whole, 10).map_err(|_| too_large())
}

/// An amount of a token, as people say it: 0.5 of a token is half of what its contract counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    digits: U256,
    /// How many of the digits stand behind the point; the last is not 0.
    scale: u8,
}

impl Amount {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let (whole, fraction) = digits(text)?;
        let scale = u8::try_from(fraction.len()).ok().filter(|scale| *scale <= DECIMALS_MAX);
        let scale = scale.ok_or((
            GateCode::NumberFraction,
            format!("at most {DECIMALS_MAX} digits may stand behind the point of a number"),
        ))?;
        let digits = U256::from_str_radix(&format!("{whole}{fraction}"), 10).map_err(|_| too_large())?;
        Ok(Self { digits, scale })
    }

    /// In the base units of a token with so many decimals: exactly, or not at all.
    pub fn units(self, decimals: u8) -> Result<U256, Problem> {
        let Some(missing) = decimals.checked_sub(self.scale) else {
            let detail = format!(
                "the token has {decimals} digits behind the point, and this number {}; write fewer",
                self.scale
            );
            return Err((GateCode::NumberFraction, detail));
        };
        power_of_ten(missing).and_then(|factor| self.digits.checked_mul(factor)).ok_or_else(too_large)
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.digits.is_zero()
    }
}

/// As it is written into an expression.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&pointed(self.digits, self.scale))
    }
}

/// Base units, with the point before the last so many digits, and without zeros at the end.
pub fn pointed(units: U256, decimals: u8) -> String {
    let digits = format!("{units:0>width$}", units = units.to_string(), width = usize::from(decimals) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(decimals));
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// For people: with a comma between thousands. No expression is written so.
pub fn grouped(number: &str) -> String {
    let (sign, number) = if let Some(rest) = number.strip_prefix('-') { ("-", rest) } else { ("", number) };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

impl Field for Amount {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "a number in it, as \"10000\" or \"0.5\",")?;
        Self::parse(text).map_err(|(code, detail)| at.error(code, detail))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$", "maxLength": CHARACTERS_MAX })
    }
}

/// A whole number below 2^256: the id of a token, or an amount of a thing that has no decimals.
impl Field for U256 {
    const LIST_MAX: usize = super::IDS_MAX;

    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "a whole number in it, as \"42\",")?;
        whole(text).map_err(|(code, detail)| at.error(code, detail))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)$", "maxLength": 78 })
    }
}

/// A number that may be less than nothing, for traits: at most 18 digits before and 18 behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(
    /// In units of 10^-18.
    i128,
);

/// Digits of a [`Decimal`] behind the point, and as many before it.
const DECIMAL_DIGITS: usize = 18;

impl Decimal {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits(unsigned)?;
        if whole.len() > DECIMAL_DIGITS || fraction.len() > DECIMAL_DIGITS {
            let detail = "at most 18 digits may stand before the point, and 18 behind it";
            return problem(GateCode::NumberTooLarge, detail);
        }
        let digits = format!("{whole}{fraction:0<DECIMAL_DIGITS$}");
        let units: i128 = digits.parse().map_err(|_| too_large())?;
        Ok(Self(if is_negative { -units } else { units }))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        f.write_str(&pointed(U256::from(self.0.unsigned_abs()), DECIMAL_DIGITS as u8))
    }
}

impl Field for Decimal {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let text = text(value, at, "a number in it, as \"10\" or \"-0.5\",")?;
        Self::parse(text).map_err(|(code, detail)| at.error(code, detail))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        let pattern = r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18}0*)?$";
        json!({ "type": "string", "pattern": pattern, "maxLength": CHARACTERS_MAX })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (text, code) in [
            ("10,000", GateCode::NumberGrouped),
            ("10_000", GateCode::NumberGrouped),
            ("10 000", GateCode::NumberGrouped),
            ("1e4", GateCode::NumberExponent),
            ("1E4", GateCode::NumberExponent),
            ("-1", GateCode::NumberSigned),
            ("+1", GateCode::NumberSigned),
            (" 1", GateCode::NumberSpaced),
            ("1\n", GateCode::NumberSpaced),
            ("", GateCode::NumberMalformed),
            (".5", GateCode::NumberMalformed),
            ("5.", GateCode::NumberMalformed),
            ("1.2.3", GateCode::NumberMalformed),
            ("0x10", GateCode::NumberMalformed),
            ("007", GateCode::NumberMalformed),
            ("٣", GateCode::NumberMalformed),
            ("NaN", GateCode::NumberMalformed),
        ] {
            assert_eq!(Amount::parse(text).unwrap_err().0, code, "{text:?}");
        }
        assert_eq!(Amount::parse(&"9".repeat(78)).unwrap_err().0, GateCode::NumberTooLarge);
        assert_eq!(Amount::parse(&"9".repeat(161)).unwrap_err().0, GateCode::NumberTooLarge);
        assert_eq!(Amount::parse(&format!("0.{}1", "0".repeat(77))).unwrap_err().0, GateCode::NumberFraction);
        assert_eq!(whole("1.5").unwrap_err().0, GateCode::NumberFraction);
        assert_eq!(whole("1.0").unwrap_err().0, GateCode::NumberFraction);
    }

    #[test]
    fn an_amount_is_exact_in_units_or_nothing() {
        let ten_thousand = Amount::parse("10000").unwrap();
        assert_eq!(ten_thousand.units(18).unwrap().to_string(), format!("1{}", "0".repeat(22)));
        assert_eq!(ten_thousand.units(0), Ok(U256::from(10_000)));
        let half = Amount::parse("0.50").unwrap();
        assert_eq!((half.to_string().as_str(), half.units(1)), ("0.5", Ok(U256::from(5))));
        assert_eq!(half.units(0).unwrap_err().0, GateCode::NumberFraction);
        let max = Amount::parse(&U256::MAX.to_string()).unwrap();
        assert_eq!(max.units(0), Ok(U256::MAX));
        assert_eq!(max.units(1).unwrap_err().0, GateCode::NumberTooLarge);
        assert_eq!(Amount::parse("1").unwrap().units(78).unwrap_err().0, GateCode::NumberTooLarge);
    }

    #[test]
    fn people_see_thousands() {
        for (number, shown) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("1234567.12345", "1,234,567.12345"),
            ("100.5", "100.5"),
            ("-100", "-100"),
            ("-1000.5", "-1,000.5"),
        ] {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn decimals_of_traits_have_an_order() {
        let read = |text: &str| Decimal::parse(text).unwrap();
        let sorted = ["-10", "-9.5", "-0.000000000000000001", "0", "0.1", "0.11", "2", "10"].map(read);
        assert!(sorted.is_sorted_by(|one, next| one < next));
        assert_eq!(read("-0"), read("0"));
        assert_eq!((read("-0").to_string(), read("-9.50").to_string()), ("0".to_owned(), "-9.5".to_owned()));
        for text in ["--1", "-+1", "- 1", "1234567890123456789", "0.1234567890123456789", "five", "1,5"] {
            assert!(Decimal::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn units_and_digits_are_the_same_number(units: [u64; 4], decimals in 0..=DECIMALS_MAX) {
            let units = U256::from_limbs(units);
            let amount = Amount::parse(&pointed(units, decimals)).unwrap();
            prop_assert_eq!(amount.units(decimals), Ok(units));
            prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}|[-+0-9., e]{0,12}") {
            if let Ok(amount) = Amount::parse(&text) {
                prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
            }
            if let Ok(number) = Decimal::parse(&text) {
                prop_assert_eq!(Decimal::parse(&number.to_string()), Ok(number));
            }
        }
    }
}
