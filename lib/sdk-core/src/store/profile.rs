//! Who this device is: account, keys, tokens, place in the mailbox, counters.

use std::collections::BTreeMap;

use libsignal_protocol::IdentityKeyPair;
use nepto_proto::api::Base64;
use nepto_proto::api::auth::Tokens;
use nepto_proto::{AccountId, DeviceId};
use serde::{Deserialize, Serialize};

use super::backend::Durability;
use super::{Store, StoreError, Table, Txn};
use crate::model::Settings;

/// The installation's identity, drawn once.
#[derive(Serialize, Deserialize)]
pub(crate) struct Installation {
    pub registration_id: u32,
    pub identity: Base64,
}

impl Installation {
    pub fn key_pair(&self) -> Result<IdentityKeyPair, StoreError> {
        IdentityKeyPair::try_from(self.identity.0.as_slice()).map_err(|error| StoreError::Record(error.to_string()))
    }
}

/// What signing in settled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    /// The server's address.
    pub server: String,
    /// The authority that certificates name.
    pub domain: String,
    /// The account that the device belongs to.
    pub account: AccountId,
    /// Its number within that account.
    pub device: DeviceId,
    /// The wallet that signed in, EIP-55.
    pub wallet: String,
    /// What its owner's list calls the device.
    #[serde(default)]
    pub device_name: Option<String>,
}

/// A place in the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct MailboxCursor {
    pub epoch: u64,
    pub seq: u64,
}

/// What happened when, so that it happens again in time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct KeyState {
    pub signed_prekey: u32,
    pub last_resort: u32,
    pub rotated_at_ms: u64,
    /// The largest ids of one-time keys that the server confirmed to have taken.
    #[serde(default)]
    pub uploaded_ec: u32,
    #[serde(default)]
    pub uploaded_kyber: u32,
}

/// Numbers that only grow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter {
    EcPrekey,
    SignedPrekey,
    /// One-time and last-resort: a message names either by its id alone.
    KyberPrekey,
    Order,
    TakenIn,
}

impl Counter {
    fn key(self) -> &'static [u8] {
        match self {
            Self::EcPrekey => b"next_ec",
            Self::SignedPrekey => b"next_signed",
            Self::KyberPrekey => b"next_kyber",
            Self::Order => b"next_order",
            Self::TakenIn => b"next_taken_in",
        }
    }
}

impl Store {
    /// What signing in settled. `None`: nobody signed in yet.
    pub fn registration(&self) -> Result<Option<Registration>, StoreError> {
        self.begin().registration()
    }

    /// The session's tokens.
    pub fn tokens(&self) -> Result<Option<Tokens>, StoreError> {
        self.begin().tokens()
    }

    /// Keeps new tokens, durably.
    pub fn save_tokens(&self, tokens: &Tokens) -> Result<(), StoreError> {
        let txn = self.begin();
        txn.set_tokens(tokens)?;
        txn.commit(Durability::Now)
    }

    /// The session is void.
    pub fn forget_tokens(&self) -> Result<(), StoreError> {
        let txn = self.begin();
        txn.forget_tokens();
        txn.commit(Durability::Now)
    }

    /// The nodes that are asked about contract wallets, by the EIP-155 id of their chain.
    pub fn nodes(&self) -> Result<BTreeMap<u64, Vec<String>>, StoreError> {
        self.begin().nodes()
    }

    /// Others are asked from now on.
    pub fn set_nodes(&self, nodes: &BTreeMap<u64, Vec<String>>) -> Result<(), StoreError> {
        let txn = self.begin();
        txn.set_nodes(nodes)?;
        txn.commit(Durability::Now)
    }

    /// What the device does by itself.
    pub fn settings(&self) -> Result<Settings, StoreError> {
        self.begin().settings()
    }

    /// Changes what it does by itself.
    pub fn set_settings(&self, settings: &Settings) -> Result<(), StoreError> {
        let txn = self.begin();
        txn.set_settings(settings)?;
        txn.commit(Durability::Now)
    }
}

const INSTALLATION: &[u8] = b"installation";
const REGISTRATION: &[u8] = b"registration";
const TOKENS: &[u8] = b"tokens";
const CURSOR: &[u8] = b"cursor";
const BLOCKS_FORGOTTEN: &[u8] = b"blocks_forgotten";
const SETTINGS: &[u8] = b"settings";
const KEY_STATE: &[u8] = b"keys";
const NODES: &[u8] = b"nodes";
const MISSED: &[u8] = b"missed";

impl Txn<'_> {
    pub fn installation(&self) -> Result<Option<Installation>, StoreError> {
        self.get_json(Table::Profile, INSTALLATION)
    }
    pub fn set_installation(&self, installation: &Installation) -> Result<(), StoreError> {
        self.put_json(Table::Profile, INSTALLATION, installation)
    }
    pub fn forget_installation(&self) {
        self.delete(Table::Profile, INSTALLATION);
    }
    pub fn registration(&self) -> Result<Option<Registration>, StoreError> {
        self.get_json(Table::Profile, REGISTRATION)
    }
    pub fn set_registration(&self, registration: &Registration) -> Result<(), StoreError> {
        self.put_json(Table::Profile, REGISTRATION, registration)
    }
    pub fn tokens(&self) -> Result<Option<Tokens>, StoreError> {
        self.get_json(Table::Profile, TOKENS)
    }
    pub fn set_tokens(&self, tokens: &Tokens) -> Result<(), StoreError> {
        self.put_json(Table::Profile, TOKENS, tokens)
    }
    pub fn forget_tokens(&self) {
        self.delete(Table::Profile, TOKENS);
    }
    pub fn cursor(&self) -> Result<Option<MailboxCursor>, StoreError> {
        self.get_json(Table::Profile, CURSOR)
    }
    /// Whether the server may have forgotten whom this account blocks.
    pub fn blocks_forgotten(&self) -> Result<bool, StoreError> {
        Ok(self.get_json(Table::Profile, BLOCKS_FORGOTTEN)?.unwrap_or(false))
    }

    pub fn set_blocks_forgotten(&self, forgotten: bool) -> Result<(), StoreError> {
        self.put_json(Table::Profile, BLOCKS_FORGOTTEN, &forgotten)
    }

    pub fn set_cursor(&self, cursor: MailboxCursor) -> Result<(), StoreError> {
        self.put_json(Table::Profile, CURSOR, &cursor)
    }
    pub fn settings(&self) -> Result<Settings, StoreError> {
        Ok(self.get_json(Table::Profile, SETTINGS)?.unwrap_or_default())
    }
    pub fn set_settings(&self, settings: &Settings) -> Result<(), StoreError> {
        self.put_json(Table::Profile, SETTINGS, settings)
    }
    pub fn nodes(&self) -> Result<BTreeMap<u64, Vec<String>>, StoreError> {
        Ok(self.get_json(Table::Profile, NODES)?.unwrap_or_default())
    }
    pub fn set_nodes(&self, nodes: &BTreeMap<u64, Vec<String>>) -> Result<(), StoreError> {
        self.put_json(Table::Profile, NODES, nodes)
    }
    /// Since when own devices missed messages the last time that they did.
    pub fn missed(&self) -> Result<BTreeMap<DeviceId, u64>, StoreError> {
        Ok(self.get_json(Table::Profile, MISSED)?.unwrap_or_default())
    }
    pub fn set_missed(&self, missed: &BTreeMap<DeviceId, u64>) -> Result<(), StoreError> {
        self.put_json(Table::Profile, MISSED, missed)
    }
    pub fn key_state(&self) -> Result<KeyState, StoreError> {
        Ok(self.get_json(Table::Profile, KEY_STATE)?.unwrap_or_default())
    }
    pub fn set_key_state(&self, state: &KeyState) -> Result<(), StoreError> {
        self.put_json(Table::Profile, KEY_STATE, state)
    }

    /// The next number, from 1 on.
    pub fn next(&self, counter: Counter) -> Result<u64, StoreError> {
        let next = self.upcoming(counter)?;
        self.put_json(Table::Profile, counter.key(), &(next + 1))?;
        Ok(next)
    }

    /// What [`Txn::next`] will say.
    pub fn upcoming(&self, counter: Counter) -> Result<u64, StoreError> {
        Ok(self.get_json(Table::Profile, counter.key())?.unwrap_or(1))
    }

    /// Lets a counter go on from a number, if that is larger than where it stands.
    pub fn skip_to(&self, counter: Counter, number: u64) -> Result<(), StoreError> {
        if number > self.upcoming(counter)? {
            self.put_json(Table::Profile, counter.key(), &number)?;
        }
        Ok(())
    }

    /// The next number of a prekey. Ids are 24 bits in Signal's clients; nobody gets that far.
    pub fn next_prekey(&self, counter: Counter) -> Result<u32, StoreError> {
        u32::try_from(self.next(counter)?).map_err(|_| StoreError::Record("prekey ids ran out".into()))
    }
}
