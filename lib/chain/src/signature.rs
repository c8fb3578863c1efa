//! Who signed a text: externally owned accounts now, and the place where contract wallets plug in.

use alloy_primitives::Address;
use async_trait::async_trait;
use nepto_proto::siwe;

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not by that wallet.
    #[error("the signature is not by {0}")]
    Invalid(Address),
    /// Not of a form that this verifier can check.
    #[error("{0} did not sign as an externally owned account; contract wallets can't be checked here")]
    Unsupported(Address),
    /// The chain did not answer; nothing is known.
    #[error("the chain could not be asked: {0}")]
    Unavailable(String),
}

/// Checks the signature of a wallet under a text ([EIP-191]).
///
/// [EIP-191]: https://eips.ethereum.org/EIPS/eip-191
#[async_trait]
pub trait SignatureVerifier: Send + Sync {
    /// Whether `address` on chain `chain_id` signed `text`.
    async fn verify(&self, chain_id: u64, address: Address, text: &str, signature: &[u8])
    -> Result<(), SignatureError>;
}

/// Checks signatures of externally owned accounts, which need no chain.
#[derive(Debug, Clone, Copy, Default)]
pub struct EoaVerifier;

/// Length of an ECDSA signature with its recovery byte: r, s, v.
const EOA_SIGNATURE_BYTES: usize = 65;

#[async_trait]
impl SignatureVerifier for EoaVerifier {
    async fn verify(&self, _: u64, address: Address, text: &str, signature: &[u8]) -> Result<(), SignatureError> {
        if signature.len() != EOA_SIGNATURE_BYTES {
            return Err(SignatureError::Unsupported(address));
        }
        siwe::verify_eoa(text, signature, address).map_err(|_| SignatureError::Invalid(address))
    }
}
