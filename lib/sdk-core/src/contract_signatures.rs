//! Attestations by contract wallets: which of a directory's signatures no key made, what their chains said, and for how long
//! that counts.
//!
//! The answers are this client's own: it asks nodes that its user named. Where nobody can be asked, nothing is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alloy_primitives::Address;
use nepto_proto::api::Base64;
use nepto_proto::api::keys::DeviceDirectory;
use nepto_proto::certificate::{ByKey, CertificateError, Signatures, SignedMessage, WalletLink};
use nepto_proto::siwe::{SiweError, SiweMessage};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::SdkError;
use crate::core::Core;

/// Who owns a wallet may change: an answer counts for so long,
const COUNTS_FOR: Duration = Duration::from_secs(24 * 3600);
/// a no only so long, for the server removes such a device soon,
const NO_COUNTS_FOR: Duration = Duration::from_secs(60);
/// and an earlier yes so much longer while the chain is out of reach.
const YES_KEPT_FOR: Duration = Duration::from_secs(600);
/// Attestations of one directory: of devices, of removed ones, and of links.
const ATTESTATIONS_MAX: usize = 96;

/// What a chain said about an attestation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    digest: Base64,
    wallet: String,
    chain_id: u64,
    holds: bool,
    /// When it is asked for again.
    due_at_ms: u64,
}

/// A signature that no key made, to be put to its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// Where to ask, EIP-155.
    pub chain_id: u64,
    /// The wallet, which is a contract on that chain.
    pub wallet: Address,
    /// The text that was signed (EIP-191).
    pub text: String,
    /// What is claimed to be the wallet's signature of it (ERC-1271, ERC-6492).
    pub signature: Vec<u8>,
    /// Nothing can be sent to the account without an answer.
    pub needed: bool,
    /// The chain said yes to it before.
    pub held: bool,
    digest: [u8; 32],
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The wallet's contract accepts the signature.
    Yes,
    /// The wallet's contract does not accept it.
    No,
    /// The chain is out of reach, and said yes before.
    YesBefore,
}

/// What chains said about a directory.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    pub(crate) said: Vec<Answer>,
    /// The chain of each wallet that is a contract: the one that it was met on first. On another one somebody else may own
    /// its address.
    pub(crate) chains: BTreeMap<String, u64>,
}

impl Answer {
    /// Whether it is to be asked for again.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        self.due_at_ms <= now_ms
    }
}

impl Answers {
    /// Adds what became of a question.
    pub fn add(&mut self, attestation: &Attestation, said: Said, now_ms: u64) {
        let counts_for = match said {
            Said::No if attestation.needed => NO_COUNTS_FOR,
            Said::Yes | Said::No => COUNTS_FOR,
            Said::YesBefore => YES_KEPT_FOR,
        };
        self.said.push(Answer {
            digest: attestation.digest.to_vec().into(),
            wallet: attestation.wallet.to_string(),
            chain_id: attestation.chain_id,
            holds: said != Said::No,
            due_at_ms: now_ms.saturating_add(counts_for.as_millis() as u64),
        });
        if said != Said::No {
            self.chains.entry(attestation.wallet.to_string()).or_insert(attestation.chain_id);
        }
    }

    /// Whether chains that were not asked may see it otherwise: about this signature, or about one of these links.
    pub(crate) fn may_change(&self, reason: &CertificateError, links: &[WalletLink]) -> bool {
        let unasked = |half: &SignedMessage| {
            let message = half.message.parse::<SiweMessage>();
            message.is_ok_and(|message| matches!(self.check(half, &message), Err(CertificateError::Unasked { .. })))
        };
        match reason {
            CertificateError::Unasked { .. } => true,
            CertificateError::Stranger(_) => links.iter().any(|link| unasked(&link.approval) || unasked(&link.consent)),
            _ => false,
        }
    }

    fn of(&self, digest: [u8; 32]) -> Option<&Answer> {
        self.said.iter().find(|answer| answer.digest.0 == digest)
    }
}

impl Signatures for Answers {
    fn check(&self, signed: &SignedMessage, message: &SiweMessage) -> Result<(), CertificateError> {
        let (wallet, chain_id) = (message.address, message.chain_id);
        let Err(not_by_key) = ByKey.check(signed, message) else { return Ok(()) };
        match self.of(digest(signed)) {
            Some(Answer { holds: true, .. }) => match self.chains.get(&wallet.to_string()) {
                Some(&known) if known != chain_id => Err(CertificateError::Chain { wallet, known, found: chain_id }),
                _ => Ok(()),
            },
            Some(_) => Err(SiweError::Signature(wallet).into()),
            None => match not_by_key {
                CertificateError::Siwe(SiweError::Signature(_)) => Err(CertificateError::Unasked { wallet, chain_id }),
                other => Err(other),
            },
        }
    }
}

fn digest(signed: &SignedMessage) -> [u8; 32] {
    // neither holds a zero
    Sha256::new().chain_update(&signed.message).chain_update([0]).chain_update(&signed.signature).finalize().into()
}

impl Core {
    /// What is known already about the signatures of a directory that no key made, and what must be asked.
    pub fn attestations(&self, directory: &DeviceDirectory) -> Result<(Answers, Vec<Attestation>), SdkError> {
        let peer = self.store.begin().peer(directory.account)?;
        let (before, chains) = peer.map(|peer| (peer.answers, peer.chains)).unwrap_or_default();
        let mut answers = Answers { said: Vec::new(), chains };
        let devices = directory.devices.iter().map(|device| (&device.certificate, true));
        let links = directory.wallets.links.iter().flat_map(|link| [(&link.approval, true), (&link.consent, true)]);
        let removed = directory.removed.iter().map(|removed| (&removed.device.certificate, false));
        let (mut attestations, mut seen, now_ms) = (Vec::new(), BTreeSet::new(), self.env.now_ms());
        for (signed, needed) in devices.chain(links).chain(removed) {
            let Some(mut attestation) = self.attestation(signed, needed) else { continue };
            if !seen.insert(attestation.digest) {
                continue;
            }
            let known = before.iter().find(|answer| answer.digest.0 == attestation.digest);
            match known.filter(|answer| !answer.is_due(now_ms)) {
                Some(answer) => answers.said.push(answer.clone()),
                None => {
                    attestation.held = known.is_some_and(|answer| answer.holds);
                    attestations.push(attestation);
                }
            }
            if seen.len() > ATTESTATIONS_MAX {
                let reason = "the server lists more signatures of contract wallets than an account can have";
                return Err(SdkError::BadKeys { account: directory.account, reason });
            }
        }
        Ok((answers, attestations))
    }

    /// An attestation that its chain must be asked about; `None` for one that a key made, or that holds nowhere.
    fn attestation(&self, signed: &SignedMessage, needed: bool) -> Option<Attestation> {
        let message: SiweMessage = signed.message.parse().ok()?;
        let signature = signed.signature_bytes().ok()?;
        if message.domain != self.me.domain || ByKey.check(signed, &message).is_ok() {
            return None;
        }
        Some(Attestation {
            chain_id: message.chain_id,
            wallet: message.address,
            text: signed.message.clone(),
            signature,
            needed,
            held: false,
            digest: digest(signed),
        })
    }
}
