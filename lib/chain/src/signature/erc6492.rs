//! The form of a signature by a wallet that does not exist yet: it brings along the call that makes the wallet.
//!
//! `abi.encode(factory, call, signature)`, and 32 bytes that tell it from everything else.

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::{SolType, SolValue, sol_data};

/// The end of such a signature.
const SUFFIX: [u8; 32] = [
    0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64,
    0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92,
];

type Parts = (sol_data::Address, sol_data::Bytes, sol_data::Bytes);

/// The call that makes a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// The contract that makes the wallet.
    pub factory: Address,
    /// What it is called with: the selector and the arguments.
    pub call: Bytes,
}

/// What a signature says it is, and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes a signature apart: what the wallet is asked about, and the call that makes the wallet if it has to be made.
pub(super) fn unwrap(signature: &[u8]) -> Result<(Option<Creation>, Bytes), Malformed> {
    let Some(wrapped) = signature.strip_suffix(&SUFFIX) else {
        return Ok((None, Bytes::copy_from_slice(signature)));
    };
    let (factory, call, inner) = Parts::abi_decode_params_validate(wrapped).map_err(|_| Malformed)?;
    Ok((Some(Creation { factory, call }), inner))
}

/// Puts a signature together.
pub fn wrap(creation: &Creation, signature: &[u8]) -> Vec<u8> {
    let parts = (creation.factory, creation.call.clone(), Bytes::copy_from_slice(signature));
    let mut wrapped = parts.abi_encode_params();
    wrapped.extend(SUFFIX);
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn creation(call: Vec<u8>) -> Creation {
        Creation { factory: Address::repeat_byte(7), call: call.into() }
    }

    proptest! {
        #[test]
        fn what_was_wrapped_is_unwrapped(call: Vec<u8>, signature: Vec<u8>) {
            let wrapped = wrap(&creation(call.clone()), &signature);
            prop_assert_eq!(unwrap(&wrapped), Ok((Some(creation(call)), Bytes::from(signature))));
        }

        #[test]
        fn what_lacks_a_word_is_refused_or_something_else(call: Vec<u8>, signature: Vec<u8>, cut in 32usize..200) {
            let wrapped = wrap(&creation(call.clone()), &signature);
            let body = &wrapped[..wrapped.len() - SUFFIX.len()];
            let short = [&body[..body.len().saturating_sub(cut)], &SUFFIX].concat();
            prop_assert_ne!(unwrap(&short), Ok((Some(creation(call)), Bytes::from(signature))));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>) {
            prop_assert_eq!(unwrap(&bytes).map(|(creation, _)| creation), Ok(None));
            let _ = unwrap(&[bytes.as_slice(), &SUFFIX].concat());
        }
    }

    #[test]
    fn what_only_ends_like_one_is_refused() {
        assert_eq!(unwrap(&SUFFIX), Err(Malformed));
        assert_eq!(unwrap(&[&[7; 65][..], &SUFFIX].concat()), Err(Malformed));
        // an offset far beyond the end
        let mut far = wrap(&creation(vec![1]), &[2]);
        far[32..64].fill(0xff);
        assert_eq!(unwrap(&far), Err(Malformed));
    }
}
