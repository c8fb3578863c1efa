//! A device without network: its store and what it knows. Everything here is synchronous; whoever drives it fetches what
//! it asks for and sends what it hands out.

use std::collections::HashSet;

use nepto_proto::{AccountId, ClientMsgId, DeviceId};

use crate::SdkError;
use crate::env::Env;
use crate::model::MessageId;
use crate::store::Store;

/// Devices that are remembered as reported; beyond them all are forgotten, and told again.
const REPORTED_MAX: usize = 1_000;

/// Who this device is.
#[derive(Debug, Clone)]
pub(crate) struct Me {
    pub account: AccountId,
    pub device: DeviceId,
    pub wallet: String,
    /// The authority that certificates must name.
    pub domain: String,
}

/// A signed-in device.
pub(crate) struct Core {
    pub store: Store,
    pub env: Env,
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
