//! What accounts are called. Handles and names come from the server, and are asked for once; until it has answered, accounts
//! are called what the profile knows them by.

use std::collections::{HashMap, HashSet};

use alloy_primitives::Address;
use nepto_proto::api::accounts::Account;
use nepto_proto::{AccountId, DeviceId};
use nepto_sdk::{Client, SdkError};

use crate::text::clean_name;

/// Accounts asked for at once; beyond them, what the profile knows is shown.
const LOOKUPS_MAX: usize = 200;

/// Names of accounts.
#[derive(Debug, Clone)]
pub struct Names {
    me: AccountId,
    /// The device that this runs on.
    device: Option<DeviceId>,
    known: HashMap<AccountId, Account>,
    /// Those that the server was not asked for.
    unasked: HashSet<AccountId>,
}

impl Names {
    /// For who is signed in on this device.
    pub fn of(client: &Client) -> Self {
        Self { device: Some(client.device()), ..Self::new(client.account()) }
    }

    pub fn new(me: AccountId) -> Self {
        Self { me, device: None, known: HashMap::new(), unasked: HashSet::new() }
    }

    /// Takes what the server says of an account. Its wallet is shown only if it is an address at all.
    pub fn insert(&mut self, mut account: Account) {
        if account.wallet.parse::<Address>().is_err() {
            account.wallet.clear();
        }
        self.unasked.remove(&account.account);
        self.known.insert(account.account, account);
    }

    /// Takes what the profile knows of an account, unless the server said more.
    pub fn remember(&mut self, client: &Client, account: AccountId) {
        if !self.known.contains_key(&account)
            && let Ok(Some(known)) = client.known_account(account)
        {
            self.insert(known);
            self.unasked.insert(account);
        }
    }

    /// Whether the server was not asked for it yet.
    pub fn lacks(&self, account: AccountId) -> bool {
        account != self.me && (!self.known.contains_key(&account) || self.unasked.contains(&account))
    }

    pub fn get(&self, account: AccountId) -> Option<&Account> {
        self.known.get(&account)
    }

    /// Asks the server for those that it was not asked for. Without a network what the profile knows has to do.
    pub async fn learn(&mut self, client: &Client, accounts: impl IntoIterator<Item = AccountId>) {
        let mut may_ask = LOOKUPS_MAX;
        for account in accounts {
            if !self.lacks(account) {
                continue;
            }
            self.remember(client, account);
            if may_ask == 0 {
                continue;
            }
            may_ask -= 1;
            match look_up(client, account).await {
                Ok(found) => self.insert(found),
                Err(error) if error.is_temporary() || matches!(error, SdkError::SignedOut) => may_ask = 0,
                Err(_) => {}
            }
        }
    }

    /// The account in a sentence about its devices.
    pub fn subject(&self, account: AccountId) -> String {
        if account == self.me { "your account".to_owned() } else { self.label(account) }
    }

    /// One of the account's devices, in a sentence.
    pub fn device(&self, account: AccountId, device: DeviceId) -> String {
        if account == self.me && self.device == Some(device) {
            return "this device".to_owned();
        }
        format!("device {device} of {}", self.subject(account))
    }

    /// A short name. Handles are unique; a chosen name is not, so a part of the wallet's address stands beside it.
    pub fn label(&self, account: AccountId) -> String {
        if account == self.me {
            return "you".to_owned();
        }
        self.known.get(&account).map_or_else(|| short_id(account), label)
    }

    /// The other side of a conversation; a conversation with oneself is for notes.
    pub fn peer(&self, account: AccountId) -> String {
        if account == self.me { "Notes to yourself".to_owned() } else { self.label(account) }
    }

    /// Everything that is known, on one line.
    pub fn full(&self, account: AccountId) -> String {
        let Some(known) = self.known.get(&account) else { return self.peer(account) };
        let mut parts = vec![label(known)];
        if let (Some(_), Some(name)) = (&known.handle, name(known)) {
            parts.push(name);
        }
        if (known.handle.is_some() || name(known).is_some()) && !known.wallet.is_empty() {
            parts.push(clean_name(&known.wallet));
        }
        parts.join("  ")
    }

    /// How to name the account on the command line.
    pub fn reference(&self, account: AccountId) -> String {
        let wallet = self.known.get(&account).map(|known| clean_name(&known.wallet));
        wallet.filter(|wallet| !wallet.is_empty()).unwrap_or_else(|| account.uuid().to_string())
    }
}

/// What the server says of an account, with the wallet and the handle that this profile knows it by.
pub async fn look_up(client: &Client, account: AccountId) -> Result<Account, SdkError> {
    let found = client.http().account(&account.to_string()).await?;
    if found.account != account {
        return Err(SdkError::BadKeys { account, reason: "the server answered for another account" });
    }
    client.as_known(found)
}

fn label(account: &Account) -> String {
    let address = match short_address(&account.wallet) {
        address if address.is_empty() => short_id(account.account),
        address => address,
    };
    match (&account.handle, name(account)) {
        (Some(handle), _) => format!("@{}", clean_name(handle)),
        (None, Some(name)) => format!("{name} ({address})"),
        (None, None) => address,
    }
}

fn name(account: &Account) -> Option<String> {
    account.display_name.as_deref().map(clean_name).filter(|name| !name.is_empty())
}

/// An address as people are shown it: `0xf39F…2266`. Texts of up to 12 bytes as they are.
pub fn short_address(address: &str) -> String {
    let clean = clean_name(address);
    match (clean.get(..6), clean.len().checked_sub(4).and_then(|end| clean.get(end..))) {
        (Some(begin), Some(end)) if clean.len() > 12 => format!("{begin}…{end}"),
        _ => clean,
    }
}

fn short_id(account: AccountId) -> String {
    let id = account.to_string();
    // the begin of a UUIDv7 is a time and the same for many
    format!("account …{}", id.get(20..).unwrap_or(&id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn account(handle: Option<&str>, display_name: Option<&str>) -> Account {
        Account {
            account: AccountId::new(Uuid::from_u128(2)),
            wallet: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".into(),
            handle: handle.map(str::to_owned),
            display_name: display_name.map(str::to_owned),
        }
    }

    #[test]
    fn a_chosen_name_never_stands_alone() {
        assert_eq!(label(&account(Some("alice"), Some("Bob"))), "@alice");
        assert_eq!(label(&account(None, Some("@alice"))), "@alice (0xf39F…2266)");
        assert_eq!(label(&account(None, None)), "0xf39F…2266");
        assert_eq!(label(&account(None, Some("\u{1b}[2J"))), "0xf39F…2266");
    }

    #[test]
    fn what_is_no_wallet_is_not_shown_as_one() {
        let other = AccountId::new(Uuid::from_u128(2));
        let mut names = Names::new(AccountId::new(Uuid::from_u128(1)));
        for wallet in ["", "vitalik.eth", "0xf39F", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 (verified)"] {
            names.insert(Account { wallet: wallet.into(), ..account(None, Some("Alice")) });
            assert_eq!(names.full(other), "Alice (account …000000000002)");
            assert_eq!(names.reference(other), other.uuid().to_string());
            names.insert(Account { wallet: wallet.into(), ..account(Some("alice"), None) });
            assert_eq!(names.full(other), "@alice");
        }
        names.insert(account(Some("alice"), None));
        assert_eq!(names.reference(other), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }

    #[test]
    fn the_device_in_front_of_one_is_this_one() {
        let me = AccountId::new(Uuid::from_u128(1));
        let [here, other] = [7, 8].map(|number| DeviceId::try_from(number).unwrap());
        let names = Names { device: Some(here), ..Names::new(me) };
        assert_eq!(names.device(me, here), "this device");
        assert_eq!(names.device(me, other), "device 8 of your account");
        let peer = AccountId::new(Uuid::from_u128(2));
        assert_eq!(names.device(peer, here), "device 7 of account …000000000002");
    }

    #[test]
    fn oneself_and_strangers_have_labels_too() {
        let (me, other) = (AccountId::new(Uuid::from_u128(1)), AccountId::new(Uuid::from_u128(2)));
        let mut names = Names::new(me);
        assert_eq!(names.label(me), "you");
        assert_eq!(names.label(other), "account …000000000002");
        names.insert(account(Some("alice"), Some("Alice")));
        assert_eq!(names.full(other), "@alice  Alice  0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }
}
