//! Device certificates and wallet links: what a client checks instead of trusting its server.
//!
//! A device is certified by the wallet signature that signed it in: the EIP-4361 message names the device's identity key
//! in a resource. A further wallet of an account is linked by two signatures, one of a wallet that belongs already and one
//! of the newcomer. So a client that knows one address of its peer can tell every genuine device from one that the
//! server slipped in.
//!
//! Whether a signature is by a wallet is asked of [`Signatures`]: that of a key shows it by itself, that of a contract must
//! have been put to its chain.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use alloy_primitives::Address;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::limits::SIGNATURE_BYTES_MAX;
use crate::siwe::{SiweError, SiweMessage, canonical_eoa, verify_eoa};
use crate::{AccountId, DeviceId, RegistrationId};

/// A serialized Curve25519 public key: type byte 0x05 and 32 bytes.
pub const IDENTITY_KEY_BYTES: usize = 33;

/// What a signature of a wallet stands for, as a resource of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `urn:nepto:device:<registration_id>:<base64url identity key>`: this device speaks for me.
    Device {
        /// The registration id of the device's installation.
        registration_id: RegistrationId,
        /// Its Signal identity key, as libsignal serializes it.
        identity_key: [u8; IDENTITY_KEY_BYTES],
    },
    /// `urn:nepto:link:<address>`: that wallet speaks for me as well.
    Link(Address),
    /// `urn:nepto:join:<account>:<approver>`: I belong to that account, by the attestation of that wallet. Without the wallet a
    /// server could put another one before it, and everybody who knows this one would trust that.
    Join {
        /// The account that the wallet joins.
        account: AccountId,
        /// A wallet that belongs to it already, and approves.
        approver: Address,
    },
    /// `urn:nepto:revoke:<device>`: that device no longer speaks for me.
    Revoke(DeviceId),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { registration_id, identity_key } => {
                write!(f, "urn:nepto:device:{}:{}", registration_id.get(), URL_SAFE_NO_PAD.encode(identity_key))
            }
            Self::Link(address) => write!(f, "urn:nepto:link:{address}"),
            Self::Join { account, approver } => write!(f, "urn:nepto:join:{account}:{approver}"),
            Self::Revoke(device) => write!(f, "urn:nepto:revoke:{device}"),
        }
    }
}

impl FromStr for Resource {
    type Err = ();

    /// Reads what [`Resource`] writes, and no other spelling of it: `0123` is a number too, and not the same text.
    fn from_str(text: &str) -> Result<Self, ()> {
        let resource = Self::read(text)?;
        if resource.to_string() == text { Ok(resource) } else { Err(()) }
    }
}

impl Resource {
    fn read(text: &str) -> Result<Self, ()> {
        let (kind, value) = text.strip_prefix("urn:nepto:").and_then(|rest| rest.split_once(':')).ok_or(())?;
        match kind {
            "device" => {
                let (registration_id, key) = value.split_once(':').ok_or(())?;
                let key = URL_SAFE_NO_PAD.decode(key).map_err(drop)?;
                Ok(Self::Device {
                    registration_id: registration_id.parse::<u32>().map_err(drop)?.try_into().map_err(drop)?,
                    identity_key: key.try_into().map_err(drop)?,
                })
            }
            "link" => Ok(Self::Link(Address::parse_checksummed(value, None).map_err(drop)?)),
            "join" => {
                let (account, approver) = value.split_once(':').ok_or(())?;
                Ok(Self::Join {
                    account: account.parse().map_err(drop)?,
                    approver: Address::parse_checksummed(approver, None).map_err(drop)?,
                })
            }
            "revoke" => Ok(Self::Revoke(value.parse().map_err(drop)?)),
            _ => Err(()),
        }
    }
}

impl SiweMessage {
    /// The Nepto resource of this message. Exactly one must be there: a signature stands for one thing.
    pub fn resource(&self) -> Option<Resource> {
        let mut ours = self.resources.iter().filter(|text| text.starts_with("urn:nepto:"));
        match (ours.next(), ours.next()) {
            (Some(text), None) => text.parse().ok(),
            _ => None,
        }
    }
}

/// A sign-in message with the signature of the wallet it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedMessage {
    /// The EIP-4361 text, exactly as signed.
    pub message: String,
    /// `0x` and two hexadecimal digits for each byte; lower-case, unless a wallet gave it.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x([0-9a-fA-F]{2})*$", max_length = 6_146))]
    pub signature: String,
}

/// The two signatures that link a further wallet to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WalletLink {
    /// By a wallet of the account, resource `urn:nepto:link:<new wallet>`.
    pub approval: SignedMessage,
    /// By the new wallet, resource `urn:nepto:join:<account>:<wallet that approves>`.
    pub consent: SignedMessage,
}

/// Why a certificate or a link does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The message or signature itself.
    #[error(transparent)]
    Siwe(#[from] SiweError),
    /// Made for another site.
    #[error("it was signed for {found:?}, not for {expected:?}")]
    Domain {
        /// The domain of the account's home server.
        expected: String,
        /// The domain that the message names.
        found: String,
    },
    /// It stands for something else.
    #[error("it does not name this device or wallet")]
    Resource,
    /// By a wallet that does not belong to the account.
    #[error("it was signed by {0}, which does not belong to this account")]
    Stranger(Address),
    /// The signature is not written as such.
    #[error("its signature is not `0x` and lower-case hexadecimal digits")]
    Hex,
    /// The signature is longer than any wallet needs.
    #[error("its signature has more than {SIGNATURE_BYTES_MAX} bytes")]
    TooLong,
    /// Not by a key, and the contract at the wallet's address was not asked.
    #[error(
        "it was not signed by the key of {wallet}, and chain {chain_id} was not asked whether {wallet} is a contract"
    )]
    Unasked {
        /// Who should have signed.
        wallet: Address,
        /// The chain that the message names, by its EIP-155 id.
        chain_id: u64,
    },
    /// By a contract on another chain than the known one. There it may be somebody else's.
    #[error("it was signed by {wallet} on chain {found}, which is known on chain {known}")]
    Chain {
        /// Whose address it is.
        wallet: Address,
        /// The EIP-155 id of the chain that the wallet was met on first.
        known: u64,
        /// The EIP-155 id of the chain that this message names.
        found: u64,
    },
}

/// Says whether signatures are by the wallets that their messages name.
pub trait Signatures {
    /// Whether this one is.
    fn check(&self, signed: &SignedMessage, message: &SiweMessage) -> Result<(), CertificateError>;
}

/// Those of keys hold, those of contracts don't: there is no chain to ask.
#[derive(Debug, Clone, Copy)]
pub struct ByKey;

impl Signatures for ByKey {
    fn check(&self, signed: &SignedMessage, message: &SiweMessage) -> Result<(), CertificateError> {
        Ok(verify_eoa(&signed.message, &signed.signature_bytes()?, message.address)?)
    }
}

/// All hold, because who keeps them has checked each before.
#[derive(Debug, Clone, Copy)]
pub struct Checked;

impl Signatures for Checked {
    fn check(&self, _: &SignedMessage, _: &SiweMessage) -> Result<(), CertificateError> {
        Ok(())
    }
}

impl SignedMessage {
    /// Makes what a wallet gave what a certificate has: digits are lower-case, and a signature by the key of `address` is
    /// [canonical](canonical_eoa).
    pub fn make_canonical(&mut self, address: Address) {
        let Some(digits) = self.signature.strip_prefix("0x") else { return };
        self.signature = format!("0x{}", digits.to_ascii_lowercase());
        if let Ok(given) = self.signature_bytes()
            && let Some(canonical) = canonical_eoa(&given)
            && verify_eoa(&self.message, &canonical, address).is_ok()
        {
            self.signature = format!("0x{}", hex::encode(canonical));
        }
    }

    /// The signature as bytes, whatever they are. One text for each: capitals are refused.
    pub fn signature_bytes(&self) -> Result<Vec<u8>, CertificateError> {
        let digits = self.signature.strip_prefix("0x").ok_or(CertificateError::Hex)?;
        if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(CertificateError::Hex);
        }
        if digits.len() > 2 * SIGNATURE_BYTES_MAX {
            return Err(CertificateError::TooLong);
        }
        hex::decode(digits).map_err(|_| CertificateError::Hex)
    }

    /// Reads the message and checks that the wallet it names signed it for `domain`. Nonce and times are not looked at:
    /// they were the server's, at the moment of signing.
    pub fn verify(&self, domain: &str, signatures: &impl Signatures) -> Result<SiweMessage, CertificateError> {
        let message: SiweMessage = self.message.parse()?;
        signatures.check(self, &message)?;
        message.check_scheme()?;
        if message.domain != domain {
            return Err(CertificateError::Domain { expected: domain.to_owned(), found: message.domain });
        }
        Ok(message)
    }
}

/// All wallets of an account that its root wallet vouches for, directly or through others.
///
/// Links that don't hold are left out: they add no wallet, and a device certified by one is refused for it.
pub fn wallets_of(
    account: AccountId,
    root: Address,
    links: &[WalletLink],
    domain: &str,
    signatures: &impl Signatures,
) -> BTreeSet<Address> {
    let valid: Vec<(Address, Address)> =
        links.iter().filter_map(|link| verify_link(account, link, domain, signatures)).collect();
    let mut wallets = BTreeSet::from([root]);
    loop {
        let before = wallets.len();
        wallets.extend(valid.iter().filter(|(by, _)| wallets.contains(by)).map(|(_, new)| *new).collect::<Vec<_>>());
        if wallets.len() == before {
            return wallets;
        }
    }
}

fn verify_link(
    account: AccountId,
    link: &WalletLink,
    domain: &str,
    signatures: &impl Signatures,
) -> Option<(Address, Address)> {
    let approval = link.approval.verify(domain, signatures).ok()?;
    let consent = link.consent.verify(domain, signatures).ok()?;
    let linked = approval.resource() == Some(Resource::Link(consent.address));
    let joined = consent.resource() == Some(Resource::Join { account, approver: approval.address });
    (linked && joined).then_some((approval.address, consent.address))
}

/// Whether one of these wallets certified exactly this device. Returns the wallet.
pub fn verify_device(
    certificate: &SignedMessage,
    wallets: &BTreeSet<Address>,
    registration_id: RegistrationId,
    identity_key: &[u8],
    domain: &str,
    signatures: &impl Signatures,
) -> Result<Address, CertificateError> {
    let message = certificate.verify(domain, signatures)?;
    match message.resource() {
        Some(Resource::Device { registration_id: id, identity_key: key })
            if id == registration_id && key == identity_key => {}
        _ => return Err(CertificateError::Resource),
    }
    if !wallets.contains(&message.address) {
        return Err(CertificateError::Stranger(message.address));
    }
    Ok(message.address)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{U256, uint};
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn resources_are_read_back() {
        for resource in [
            Resource::Device { registration_id: 77.try_into().unwrap(), identity_key: [5; IDENTITY_KEY_BYTES] },
            Resource::Link(Address::repeat_byte(0xab)),
            Resource::Join { account: AccountId::new(uuid::Uuid::from_u128(9)), approver: Address::repeat_byte(0xcd) },
            Resource::Revoke(3.try_into().unwrap()),
        ] {
            assert_eq!(resource.to_string().parse(), Ok(resource));
        }
        for bad in ["urn:nepto:device:0:AA", "urn:nepto:device:5:AA", "urn:nepto:what:1", "urn:other:link:1", ""] {
            assert_eq!(bad.parse::<Resource>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_resource_has_one_spelling() {
        let key = URL_SAFE_NO_PAD.encode([5; IDENTITY_KEY_BYTES]);
        let (link, account) = (Address::repeat_byte(0xab), AccountId::new(uuid::Uuid::from_u128(9)));
        for (good, others) in [
            (
                format!("urn:nepto:device:386:{key}"),
                vec![
                    format!("urn:nepto:device:+386:{key}"),
                    format!("urn:nepto:device:0386:{key}"),
                    format!("urn:nepto:device:386:{key}="),
                    format!("urn:nepto:device: 386:{key}"),
                ],
            ),
            (
                format!("urn:nepto:link:{link}"),
                vec![format!("urn:nepto:link:{link:#x}"), format!("urn:nepto:link:{}", &link.to_string()[2..])],
            ),
            (
                format!("urn:nepto:join:{account}:{link}"),
                vec![
                    format!("urn:nepto:join:{}:{link}", account.uuid().hyphenated()),
                    format!("urn:nepto:join:{{{account}}}:{link}"),
                ],
            ),
            ("urn:nepto:revoke:3".to_owned(), vec!["urn:nepto:revoke:+3".to_owned(), "urn:nepto:revoke:03".to_owned()]),
        ] {
            assert!(good.parse::<Resource>().is_ok(), "{good}");
            for other in others {
                assert_eq!(other.parse::<Resource>(), Err(()), "{other}");
            }
        }
    }

    fn signed(by: &PrivateKeySigner, resource: &Resource) -> SignedMessage {
        let message = SiweMessage {
            scheme: None,
            domain: "chat.example.org".into(),
            address: by.address(),
            statement: None,
            uri: "https://chat.example.org".into(),
            chain_id: 1,
            nonce: "k3x9f7qp2mhd".into(),
            issued_at: datetime!(2026-11-22 10:00:00 UTC).into(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: vec![resource.to_string()],
        };
        let text = message.to_string();
        let signature = by.sign_message_sync(text.as_bytes()).unwrap();
        SignedMessage { message: text, signature: format!("0x{}", hex::encode(signature.as_bytes())) }
    }

    #[test]
    fn nobody_else_can_approve_a_wallet_than_the_one_it_agreed_to() {
        let wallet = |byte: u8| PrivateKeySigner::from_slice(&[byte; 32]).unwrap();
        let (root, second, evil) = (wallet(1), wallet(2), wallet(3));
        let account = AccountId::new(uuid::Uuid::from_u128(9));
        let agreed = Resource::Join { account, approver: root.address() };
        let link = |approver: &PrivateKeySigner| WalletLink {
            approval: signed(approver, &Resource::Link(second.address())),
            consent: signed(&second, &agreed),
        };
        let wallets =
            |root: &PrivateKeySigner, link| wallets_of(account, root.address(), &[link], "chat.example.org", &ByKey);
        assert_eq!(wallets(&root, link(&root)), BTreeSet::from([root.address(), second.address()]));
        assert_eq!(wallets(&evil, link(&evil)), BTreeSet::from([evil.address()]), "the server's own root");
        let elsewhere = AccountId::new(uuid::Uuid::from_u128(8));
        assert_eq!(wallets_of(elsewhere, root.address(), &[link(&root)], "chat.example.org", &ByKey).len(), 1);
    }

    #[test]
    fn what_wallets_write_in_many_ways_is_a_certificate_in_one() {
        let signer = PrivateKeySigner::from_slice(&[1; 32]).unwrap();
        let canonical = signed(&signer, &Resource::Link(Address::ZERO));
        let holds = |signed: &SignedMessage| signed.verify("chat.example.org", &ByKey).is_ok();
        assert!(holds(&canonical));
        let given = canonical.signature_bytes().unwrap();
        let v = given[64];
        let write = |v: u8, s: &[u8]| format!("0x{}{}{v:02x}", hex::encode(&given[..32]), hex::encode(s));
        let order = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        let other_s = (order - U256::from_be_slice(&given[32..64])).to_be_bytes::<32>();
        let (same, other) = (&given[32..64], other_s.as_slice());
        let capitals = format!("0x{}", canonical.signature[2..].to_ascii_uppercase());
        for signature in [write(v - 27, same), write(55 - v, other), write(28 - v, other), capitals] {
            let mut written = SignedMessage { signature, ..canonical.clone() };
            assert!(!holds(&written), "{}", written.signature);
            written.make_canonical(signer.address());
            assert_eq!(written, canonical);
        }
        // of a transaction (EIP-155), too long, no signature; and of somebody else, whose contract may know it as it is
        let longer = format!("{}00", canonical.signature);
        for signature in [write(v + 8, same), write(v + 10, same), longer, "0x".to_owned(), write(29, same)] {
            let mut written = SignedMessage { signature: signature.clone(), ..canonical.clone() };
            written.make_canonical(signer.address());
            assert!(!holds(&written), "{signature}");
            assert_eq!(written.signature, signature);
        }
        let mut of_contract = SignedMessage { signature: write(v - 27, other), ..canonical.clone() };
        of_contract.make_canonical(Address::repeat_byte(7));
        assert_eq!(of_contract.signature, write(v - 27, other));
    }

    #[test]
    fn a_certificate_with_a_scheme_holds_if_it_is_that_of_its_uri() {
        let signer = PrivateKeySigner::from_slice(&[1; 32]).unwrap();
        let verified = |scheme: &str| {
            let plain = signed(&signer, &Resource::Link(Address::ZERO));
            let text = format!("{scheme}{}", plain.message);
            let signature = signer.sign_message_sync(text.as_bytes()).unwrap();
            let signature = format!("0x{}", hex::encode(signature.as_bytes()));
            SignedMessage { message: text, signature }.verify("chat.example.org", &ByKey)
        };
        assert!(verified("").is_ok() && verified("https://").is_ok());
        assert!(matches!(verified("ftp://"), Err(CertificateError::Siwe(SiweError::Scheme { .. }))));
    }

    #[test]
    fn without_a_chain_only_keys_sign() {
        let wallet = |byte: u8| PrivateKeySigner::from_slice(&[byte; 32]).unwrap();
        let by_owner = signed(&wallet(1), &Resource::Link(Address::ZERO));
        let text = by_owner.message.replace(&wallet(1).address().to_string(), &wallet(2).address().to_string());
        let signature = wallet(1).sign_message_sync(text.as_bytes()).unwrap();
        let of_contract =
            SignedMessage { message: text, signature: format!("0x{}", hex::encode(signature.as_bytes())) };
        assert!(by_owner.verify("chat.example.org", &ByKey).is_ok());
        assert!(of_contract.verify("chat.example.org", &ByKey).is_err());
        assert!(of_contract.verify("chat.example.org", &Checked).is_ok());
        assert!(of_contract.verify("evil.org", &Checked).is_err());
        let bare = SignedMessage { signature: by_owner.signature[2..].to_owned(), ..by_owner.clone() };
        assert_eq!(bare.verify("chat.example.org", &ByKey), Err(CertificateError::Hex));
        let long = |bytes: usize| SignedMessage { signature: format!("0x{}", "00".repeat(bytes)), ..by_owner.clone() };
        assert_eq!(long(SIGNATURE_BYTES_MAX).signature_bytes().map(|bytes| bytes.len()), Ok(SIGNATURE_BYTES_MAX));
        assert_eq!(long(SIGNATURE_BYTES_MAX + 1).signature_bytes(), Err(CertificateError::TooLong));
    }
}
