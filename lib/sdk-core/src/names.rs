//! Who is meant by a wallet address, a handle or an account id.
//!
//! Handles and wallets can move to other accounts, and only the server knows where to. So a profile remembers whom a name meant
//! when it was used first; another one is taken only if the user says so.

use alloy_primitives::Address;
use nepto_proto::AccountId;
use nepto_proto::api::accounts::Account;

use crate::SdkError;
use crate::core::Core;
use crate::store::backend::Durability;
use crate::store::peers::{Meaning, Peer};

/// How somebody is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By id, which never moves.
    Account(AccountId),
    /// By the address of a wallet.
    Wallet(Address),
    /// By handle, without `@`, in small letters.
    Handle(String),
}

impl Reference {
    /// Reads what a user typed. An address in capitals and small letters carries a checksum (EIP-55): a typing error must not lead to somebody else.
    pub fn read(text: &str) -> Result<Self, SdkError> {
        let text = text.trim();
        let typo = || SdkError::AddressTypo(text.to_owned());
        if let Ok(account) = text.parse() {
            return Ok(Self::Account(account));
        }
        let Ok(address) = text.parse::<Address>() else {
            let handle = text.trim_start_matches('@').to_lowercase();
            return if text.starts_with("0x") { Err(typo()) } else { Ok(Self::Handle(handle)) };
        };
        let digits = text.trim_start_matches("0x");
        let one_case =
            !digits.contains(|c: char| c.is_ascii_uppercase()) || !digits.contains(|c: char| c.is_ascii_lowercase());
        if one_case || Address::parse_checksummed(text, None).is_ok() {
            return Ok(Self::Wallet(address));
        }
        Err(typo())
    }

    /// A name that can move to another account.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Account(_) => None,
            Self::Wallet(address) => Some(address.to_string()),
            Self::Handle(handle) => Some(handle.clone()),
        }
    }
}

impl Core {
    /// Whom a name meant when it was used first.
    pub fn meant(&self, reference: &Reference) -> Result<Option<AccountId>, SdkError> {
        let Some(name) = reference.name() else { return Ok(None) };
        let txn = self.store.begin();
        if let Some(meaning) = txn.meaning(&name)? {
            return Ok(Some(meaning.account));
        }
        // of a profile that did not keep names apart
        let named = |peer: &Peer| peer.named.as_ref() == Some(&name) || peer.handle.as_ref() == Some(&name);
        Ok(txn.peers()?.iter().find(|peer| named(peer)).map(|peer| peer.account))
    }

    /// The same, or the account that this names for certain: one whose devices were checked before, by id or by a wallet.
    pub fn meant_or_owned(&self, reference: &Reference) -> Result<Option<AccountId>, SdkError> {
        if let Some(meant) = self.meant(reference)? {
            return Ok(Some(meant));
        }
        let txn = self.store.begin();
        Ok(match reference {
            Reference::Account(account) => txn.peer(*account)?.map(|peer| peer.account),
            Reference::Wallet(address) => {
                let wallet = address.to_string();
                txn.peers()?.iter().find(|peer| peer.owns(&wallet)).map(|peer| peer.account)
            }
            Reference::Handle(_) => None,
        })
    }

    /// From now on the name means this account.
    pub fn remember(&mut self, reference: &Reference, account: AccountId) -> Result<(), SdkError> {
        let Some(name) = reference.name() else { return Ok(()) };
        let txn = self.store.begin();
        let before = txn.meaning(&name)?;
        let is_new = before.is_none_or(|before| before.account != account);
        if is_new {
            txn.set_meaning(&Meaning { name: name.clone(), account, since_ms: self.env.now_ms() })?;
        }
        let peer = txn.peer(account)?.filter(|peer| peer.handle.as_ref() != Some(&name));
        if let (Reference::Handle(_), Some(peer)) = (reference, peer) {
            txn.set_peer(&Peer { handle: Some(name), ..peer })?;
        } else if !is_new {
            return Ok(());
        }
        Ok(txn.commit(Durability::Now)?)
    }

    /// What the server says of an account, with the wallet and the handle that this profile knows it by. A handle that means
    /// somebody else here is left out.
    pub fn as_known(&self, said: Account) -> Result<Account, SdkError> {
        let txn = self.store.begin();
        let peer = txn.peer(said.account)?;
        let means = |handle: &str| -> Result<Option<AccountId>, SdkError> {
            Ok(txn.meaning(&handle.to_lowercase())?.map(|meaning| meaning.account))
        };
        let mut handle = None;
        // how the user calls it comes before how it is called
        for name in peer.iter().filter_map(|peer| peer.handle.as_ref()).chain(&said.handle) {
            if handle.is_none() && means(name)?.is_none_or(|account| account == said.account) {
                handle = Some(name.clone());
            }
        }
        let wallet = peer.map(|peer| peer.root).unwrap_or(said.wallet);
        Ok(Account { wallet, handle, ..said })
    }

    /// The same without the server's word: of an account whose devices were checked before.
    pub fn known_account(&self, account: AccountId) -> Result<Option<Account>, SdkError> {
        if self.store.begin().peer(account)?.is_none() {
            return Ok(None);
        }
        self.as_known(Account { account, wallet: String::new(), handle: None, display_name: None }).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_in_an_address_is_found() {
        const RIGHT: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        for fine in [RIGHT, &RIGHT.to_lowercase(), &format!("0x{}", RIGHT[2..].to_uppercase())] {
            assert_eq!(Reference::read(fine).unwrap(), Reference::Wallet(RIGHT.parse().unwrap()), "{fine}");
        }
        for (other, handle) in [("@Alice", "alice"), ("vitalik.eth", "vitalik.eth"), ("", "")] {
            assert_eq!(Reference::read(other).unwrap(), Reference::Handle(handle.to_owned()), "{other}");
        }
        for typo in [&RIGHT.replace("2266", "2267"), &RIGHT[..41], "0xf39F"] {
            assert!(matches!(Reference::read(typo), Err(SdkError::AddressTypo(_))), "{typo}");
        }
    }
}
