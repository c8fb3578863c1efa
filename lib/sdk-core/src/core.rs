//! A device without network: its store and what it knows. Everything here is synchronous; whoever drives it fetches what
//! it asks for and sends what it hands out.

use std::collections::HashSet;

use nepto_proto::api::auth::refresh_text;
use nepto_proto::wire::{Cursor, Welcome};
use nepto_proto::{AccountId, ClientMsgId, DeviceId};

use crate::SdkError;
use crate::env::Env;
use crate::model::MessageId;
use crate::store::Store;

/// Devices that are remembered as reported; beyond them all are forgotten, and told again.
const REPORTED_MAX: usize = 1_000;

/// Who this device is.
#[derive(Debug, Clone)]
pub struct Me {
    /// The account that it belongs to.
    pub account: AccountId,
    /// Its number within that account.
    pub device: DeviceId,
    /// The wallet that signed it in, EIP-55.
    pub wallet: String,
    /// The authority that certificates must name.
    pub domain: String,
}

/// A signed-in device.
pub struct Core {
    /// Everything that the device knows and must not forget.
    pub store: Store,
    /// The source of time and randomness.
    pub env: Env,
    /// The account, device and wallet that it acts for.
    pub me: Me,
    /// The server's clock minus ours, as of the last connection.
    pub(crate) server_ahead_ms: i64,
    /// Accounts whose device list is known to be out of date.
    pub(crate) outdated: HashSet<AccountId>,
    /// Uncertified devices that were reported, so that each is reported once per run.
    pub(crate) reported: Reported,
}

/// Devices that the program was told about.
#[derive(Default)]
pub(crate) struct Reported(HashSet<(AccountId, DeviceId)>);

impl Reported {
    /// Whether it is the first time.
    pub fn first(&mut self, account: AccountId, device: DeviceId) -> bool {
        if self.0.len() >= REPORTED_MAX {
            self.0.clear();
        }
        self.0.insert((account, device))
    }
}

impl Core {
    /// Over a store in which a sign-in was recorded.
    pub fn open(store: Store, env: Env) -> Result<Self, SdkError> {
        let registration = store.begin().registration()?.ok_or(SdkError::NotSignedIn)?;
        let me = Me {
            account: registration.account,
            device: registration.device,
            wallet: registration.wallet,
            domain: registration.domain,
        };
        let (outdated, reported) = (HashSet::new(), Reported::default());
        Ok(Self { store, env, me, server_ahead_ms: 0, outdated, reported })
    }

    /// The gateway welcomed this device.
    pub fn heard_welcome(&mut self, welcome: &Welcome) -> Result<(), SdkError> {
        self.server_ahead_ms = welcome.server_time_ms.cast_signed().saturating_sub(self.env.now_ms().cast_signed());
        self.welcomed(welcome.epoch)
    }

    /// Where the mailbox was left, for the `Hello` of a connection. Everything up to there is durable: the gateway may purge
    /// it.
    pub fn resume_from(&mut self) -> Result<Option<Cursor>, SdkError> {
        // another device may have joined or left while nobody told us, and nothing may be sent before that is known
        self.outdated.insert(self.me.account);
        self.store.flush()?;
        let cursor = self.store.begin().cursor()?;
        Ok(cursor.map(|cursor| Cursor { epoch: cursor.epoch, seq: cursor.seq }))
    }

    /// Makes everything durable that was received. Only then may it be acknowledged.
    pub fn flush(&self) -> Result<(), SdkError> {
        Ok(self.store.flush()?)
    }

    /// The device list of an account is not the one that is known: it is fetched before anything is sent to it.
    pub fn set_outdated(&mut self, account: AccountId) {
        self.outdated.insert(account);
    }

    /// Whether an account's device list must be fetched first.
    pub fn is_outdated(&self, account: AccountId) -> bool {
        self.outdated.contains(&account)
    }

    /// Signs [`refresh_text`] of a token by this device's identity key.
    pub fn sign_refresh(&self, refresh_token: &str) -> Result<Vec<u8>, SdkError> {
        let installation = self.store.begin().installation()?.ok_or(SdkError::NotSignedIn)?;
        let text = refresh_text(&self.me.domain, refresh_token);
        let signature =
            installation.key_pair()?.private_key().calculate_signature(text.as_bytes(), &mut self.env.rng());
        Ok(signature.map_err(|_| SdkError::Internal("a refresh could not be signed"))?.into_vec())
    }

    /// A name for something of one's own.
    pub(crate) fn new_id(&self) -> MessageId {
        MessageId { author: self.me.account, id: ClientMsgId::new(self.env.uuid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_was_reported_is_remembered_within_bounds() {
        let mut reported = Reported::default();
        let account = |n: usize| AccountId::new(Uuid::from_u128(n as u128));
        let device = DeviceId::try_from(1).unwrap();
        assert!(reported.first(account(0), device) && !reported.first(account(0), device));
        for n in 1..=3 * REPORTED_MAX {
            assert!(reported.first(account(n), device));
            assert!(reported.0.len() <= REPORTED_MAX);
        }
    }
}
