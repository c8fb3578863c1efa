//! Files that stand in their own address: `data:` (RFC 2397), as contracts make them, or without even that.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use nepto_proto::api::assets::MetadataReason;

/// Padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(MetadataReason::TooLarge, format!("larger than {bytes_max} bytes"))
}

/// A file that stands where an address should, as it is.
pub fn plain(text: &str, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    if text.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(text.as_bytes().to_vec()) }
}

/// The file in what comes after `data:`. What it says of its type is not believed, and so not read.
pub fn read(rest: &str, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let (head, body) = rest.split_once(',').ok_or_else(|| Problem::unreadable("a data: address has a comma"))?;
    // three characters for a byte at the most
    if body.len() / 3 > bytes_max {
        return Err(too_large(bytes_max));
    }
    let mut file: Vec<u8> = percent_decode_str(body).collect();
    let is_base64 = head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    if is_base64 {
        file.retain(|byte| !byte.is_ascii_whitespace());
        for byte in &mut file {
            // the alphabet for addresses (RFC 4648)
            *byte = match byte {
                b'-' => b'+',
                b'_' => b'/',
                _ => *byte,
            };
        }
        file = BASE64.decode(file).map_err(|error| Problem::unreadable(format!("not base64: {error}")))?;
    }
    if file.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(file) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read() {
        for (rest, file) in [
            ("application/json,{\"a\": \"100%\"}", "{\"a\": \"100%\"}"),
            ("application/json;utf8,%7B%22a%22%3A1%7D", "{\"a\":1}"),
            ("application/json;base64,eyJhIjoxfQ==", "{\"a\":1}"),
            ("application/json;charset=utf-8;base64,eyJhIjoxfQ", "{\"a\":1}"),
            (";base64,eyJhIjox%0AfQ%3D%3D", "{\"a\":1}"),
            (";BASE64,Pz8_Pj4-", "???>>>"),
            (",", ""),
            (",a,b", "a,b"),
        ] {
            assert_eq!(String::from_utf8(read(rest, 100).unwrap()).unwrap(), file, "{rest}");
        }
        for rest in ["", "application/json;base64", ";base64,a", ";base64,!!!!"] {
            assert_eq!(read(rest, 100).unwrap_err().reason, MetadataReason::Unreadable, "{rest}");
        }
    }

    proptest! {
        #[test]
        fn no_more_bytes_come_than_may(rest in ".{0,60}", is_base64 in any::<bool>(), bytes_max in 0_usize..40) {
            let head = if is_base64 { ";base64" } else { "" };
            if let Ok(file) = read(&format!("{head},{rest}"), bytes_max) {
                prop_assert!(file.len() <= bytes_max);
            }
        }

        #[test]
        fn what_is_written_is_read(file in prop::collection::vec(any::<u8>(), 0..60)) {
            let text = base64::prelude::BASE64_STANDARD.encode(&file);
            prop_assert_eq!(read(&format!("image/png;base64,{text}"), 60).unwrap(), file);
        }
    }
}
