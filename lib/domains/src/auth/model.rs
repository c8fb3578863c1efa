//! Wallets that vouch for each other, and refresh tokens that work once. Pure rules.

use std::time::Duration;

use alloy_primitives::Address;
use hmac::{Hmac, Mac};
use nepto_proto::api::auth::Wallets;
use nepto_proto::certificate::{Checked, SignedMessage, WalletLink, wallets_of};
use nepto_proto::limits::WALLETS_PER_ACCOUNT_MAX;
use nepto_proto::siwe::SiweMessage;
use nepto_proto::{AccountId, SessionId};
use sha2::Sha256;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A refresh token, taken apart: which session, and the how many-th token of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    pub account: AccountId,
    pub session: SessionId,
    pub generation: u32,
}

const MAC_BYTES: usize = 32;
const BODY_BYTES: usize = 16 + 16 + 4;

impl RefreshToken {
    /// The token as given to the client: its parts and a MAC over them. Nothing secret is stored, and the same token can
    /// be given again when its answer was lost.
    pub fn seal(&self, key: &[u8; 32]) -> String {
        let mut bytes = self.body().to_vec();
        bytes.extend(mac(key, &self.body()).finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that this server made; anything else is `None`.
    pub fn open(text: &str, key: &[u8; 32]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == BODY_BYTES + MAC_BYTES)?;
        let (body, tag) = bytes.split_at(BODY_BYTES);
        mac(key, body).verify_slice(tag).ok()?;
        Some(Self {
            account: AccountId::from_bytes(&body[..16]).ok()?,
            session: SessionId::from_bytes(&body[16..32]).ok()?,
            generation: u32::from_be_bytes(body[32..].try_into().ok()?),
        })
    }

    fn body(&self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        body[..16].copy_from_slice(self.account.uuid().as_bytes());
        body[16..32].copy_from_slice(self.session.uuid().as_bytes());
        body[32..].copy_from_slice(&self.generation.to_be_bytes());
        body
    }
}

fn mac(key: &[u8; 32], body: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable!("any length"));
    mac.update(body);
    mac
}

/// What a presented refresh token means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// The newest: rotate.
    Newest,
    /// The one before, right after the rotation: the answer was lost, give the newest again.
    AnswerLost,
    /// An older one: somebody else has used it.
    Reused,
}

/// How long after a rotation the token before may still be presented.
pub const ANSWER_LOST_WITHIN: Duration = Duration::from_secs(60);

/// Classifies a token by the newest generation of its session and the time since the last rotation.
pub fn classify(presented: u32, newest: u32, since_rotation: Duration) -> Presented {
    if presented == newest {
        Presented::Newest
    } else if presented.checked_add(1) == Some(newest) && since_rotation <= ANSWER_LOST_WITHIN {
        Presented::AnswerLost
    } else {
        Presented::Reused
    }
}

/// The wallets of an account without one of them: the root stays, or the first wallet that vouches for all others becomes
/// it. `None` where nobody does.
pub fn without(account: AccountId, wallets: &Wallets, gone: &str, domain: &str) -> Option<Wallets> {
    let remaining: Vec<String> = wallets.wallets.iter().filter(|wallet| *wallet != gone).cloned().collect();
    let mut links = wallets.links.clone();
    links.retain(|link| halves(link).all(|half| signer_of(half).as_deref() != Some(gone)));
    let vouches_for_all = |root: &&String| {
        let Ok(address) = root.parse() else { return false };
        let vouched = wallets_of(account, address, &links, domain, &Checked);
        remaining.iter().all(|wallet| wallet.parse().is_ok_and(|wallet: Address| vouched.contains(&wallet)))
    };
    let root = remaining.iter().find(vouches_for_all)?.clone();
    let mut wallets = vec![root.clone()];
    wallets.extend(remaining.into_iter().filter(|wallet| *wallet != root));
    Some(Wallets { root, wallets, links })
}

/// The wallets of an account without these attestations of theirs: without the links that stand on them, and without the wallets
/// that the root does not vouch for any more. The root stays.
pub fn without_attestations(account: AccountId, wallets: &Wallets, gone: &[SignedMessage], domain: &str) -> Wallets {
    let mut links = wallets.links.clone();
    links.retain(|link| halves(link).all(|half| !gone.contains(half)));
    let vouched = match wallets.root.parse() {
        Ok(root) => wallets_of(account, root, &links, domain, &Checked),
        Err(_) => Default::default(),
    };
    let is_vouched = |wallet: &str| wallet.parse().is_ok_and(|wallet: Address| vouched.contains(&wallet));
    let remaining = wallets.wallets.iter().filter(|wallet| **wallet == wallets.root || is_vouched(wallet));
    let remaining = remaining.cloned().collect();
    // what somebody says who is not vouched for says nothing
    links.retain(|link| halves(link).all(|half| signer_of(half).is_some_and(|wallet| is_vouched(&wallet))));
    Wallets { root: wallets.root.clone(), wallets: remaining, links }
}

/// Links of one account that are kept. Nine would do for ten wallets; before a root can leave, another wallet approves the
/// rest, and that is up to eight more.
pub const LINKS_MAX: usize = 2 * WALLETS_PER_ACCOUNT_MAX;

/// The links of an account with one more. It replaces an older one between the same two wallets, and where there are too
/// many, the oldest goes without which everybody is still vouched for. So there is always room.
pub fn with_link(account: AccountId, wallets: &Wallets, link: &WalletLink, domain: &str) -> Vec<WalletLink> {
    let ends = |link: &WalletLink| (signer_of(&link.approval), signer_of(&link.consent));
    let new = ends(link);
    let mut links = wallets.links.clone();
    links.retain(|known| {
        let known = ends(known);
        // what a wallet says of itself vouches for nobody
        known.0 != known.1 && known != new
    });
    let vouched = |links: &[WalletLink]| match wallets.root.parse() {
        Ok(root) => wallets_of(account, root, links, domain, &Checked).len(),
        Err(_) => 0,
    };
    let all = vouched(&links);
    while links.len() >= LINKS_MAX {
        let spare = (0..links.len()).find(|at| vouched(&[&links[..*at], &links[at + 1..]].concat()) == all);
        // more links than it takes to vouch for ten wallets, so one of them is spare
        links.remove(spare.unwrap_or_default());
    }
    links.push(link.clone());
    links
}

/// The two attestations of a link.
pub fn halves(link: &WalletLink) -> impl Iterator<Item = &SignedMessage> {
    [&link.approval, &link.consent].into_iter()
}

/// Whose attestation it is, EIP-55.
pub fn signer_of(signed: &SignedMessage) -> Option<String> {
    Some(signed.message.parse::<SiweMessage>().ok()?.address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::certificate::Resource;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn token() -> RefreshToken {
        RefreshToken {
            account: AccountId::new(Uuid::from_u128(1)),
            session: SessionId::new(Uuid::from_u128(2)),
            generation: 3,
        }
    }

    fn wallet(number: u8) -> Address {
        Address::repeat_byte(number)
    }

    /// An attestation whose signature nobody checks.
    fn attestation(by: u8, resource: &Resource) -> SignedMessage {
        let message = SiweMessage {
            scheme: None,
            domain: "chat.example.org".into(),
            address: wallet(by),
            statement: None,
            uri: "https://chat.example.org".into(),
            chain_id: 1,
            nonce: "k3x9f7qp2mhd".into(),
            issued_at: time::OffsetDateTime::UNIX_EPOCH.into(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: vec![resource.to_string()],
        };
        SignedMessage { message: message.to_string(), signature: "0x".into() }
    }

    fn link(approver: u8, new: u8) -> WalletLink {
        let join = Resource::Join { account: token().account, approver: wallet(approver) };
        WalletLink { approval: attestation(approver, &Resource::Link(wallet(new))), consent: attestation(new, &join) }
    }

    #[test]
    fn with_an_attestation_goes_all_that_stands_on_it() {
        let names = |numbers: &[u8]| numbers.iter().map(|number| wallet(*number).to_string()).collect::<Vec<_>>();
        // 1 is the root and approved 2, which approved 3; 4 has two approvals
        let links = vec![link(1, 2), link(2, 3), link(1, 4), link(2, 4)];
        let all = Wallets { root: wallet(1).to_string(), wallets: names(&[1, 2, 3, 4]), links: links.clone() };
        let left = |gone: &SignedMessage| {
            without_attestations(token().account, &all, std::slice::from_ref(gone), "chat.example.org")
        };
        assert_eq!(left(&attestation(9, &Resource::Link(wallet(1)))), all, "nothing stands on that");
        let without_two = left(&links[0].consent);
        assert_eq!((without_two.wallets, without_two.links), (names(&[1, 4]), vec![link(1, 4)]));
        let without_three = left(&links[1].approval);
        assert_eq!(without_three.wallets, names(&[1, 2, 4]));
        let once_approved = left(&links[2].approval);
        assert_eq!((once_approved.wallets, once_approved.links.len()), (names(&[1, 2, 3, 4]), 3));
        assert_eq!(once_approved.root, all.root);
    }

    #[test]
    fn there_is_always_room_for_a_link() {
        let domain = "chat.example.org";
        let account = token().account;
        let add = |wallets: &mut Wallets, link: &WalletLink| wallets.links = with_link(account, wallets, link, domain);
        let names = (1..=10).map(|number| wallet(number).to_string()).collect();
        let mut wallets = Wallets { root: wallet(1).to_string(), wallets: names, links: Vec::new() };
        for newcomer in 2..=10 {
            add(&mut wallets, &link(1, newcomer));
        }
        // the same two wallets again and again are one link
        for _ in 0..2 * LINKS_MAX {
            add(&mut wallets, &link(1, 2));
        }
        assert_eq!(wallets.links.len(), 9);
        for approver in 2..=10 {
            for newcomer in (1..=10).filter(|newcomer| *newcomer != approver) {
                add(&mut wallets, &link(approver, newcomer));
                assert!(wallets.links.len() <= LINKS_MAX);
                assert_eq!(wallets.links.last(), Some(&link(approver, newcomer)));
                let vouched = wallets_of(account, wallet(1), &wallets.links, domain, &Checked);
                assert_eq!(vouched.len(), 10, "{approver} approves {newcomer}");
            }
        }
        // what older versions let in goes with the next link
        wallets.links = vec![link(1, 1); LINKS_MAX];
        add(&mut wallets, &link(1, 2));
        assert_eq!(wallets.links, [link(1, 2)]);
    }

    #[test]
    fn a_token_is_read_back_only_with_its_key() {
        let sealed = token().seal(&[7; 32]);
        assert_eq!(RefreshToken::open(&sealed, &[7; 32]), Some(token()));
        assert_eq!(RefreshToken::open(&sealed, &[8; 32]), None);
        assert_eq!(RefreshToken::open("", &[7; 32]), None);
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(at in 0usize..90, with in "[A-Za-z0-9_-]") {
            let sealed = token().seal(&[7; 32]);
            let at = at % sealed.len();
            let mut changed = sealed.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != sealed);
            // the last character carries unused bits, which the decoder refuses to be set
            prop_assert_eq!(RefreshToken::open(&changed, &[7; 32]), None);
        }

        #[test]
        fn only_the_newest_rotates(presented in 0u32..10, newest in 0u32..10, seconds in 0u64..200) {
            let verdict = classify(presented, newest, Duration::from_secs(seconds));
            prop_assert_eq!(verdict == Presented::Newest, presented == newest);
            if verdict == Presented::AnswerLost {
                prop_assert!(presented + 1 == newest && seconds <= 60);
            }
        }
    }
}
