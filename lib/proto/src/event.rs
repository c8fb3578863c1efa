//! Facts that one domain tells the others, and words to a live session.

use serde::{Deserialize, Serialize};

use crate::{AccountId, DeviceId, SessionId, subject};

/// To the sessions of a device, over `live.<account>.<device>.control`. Travels at most once: whoever says it must not
/// rely on its arrival, and every receiver has a slower way to learn the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// A newer connection of this device exists; older ones close.
    Superseded {
        /// The newer connection's epoch.
        epoch: u64,
    },
    /// The session was signed out.
    Revoked {
        /// Which one; others of this device stay.
        session: SessionId,
    },
    /// Something waits in the mailbox: drain it.
    Nudge,
    /// The mailboxes were made anew: cursors mean nothing any more, connect again.
    MailboxAnew,
    /// One-time prekeys run out.
    PrekeysLow {
        /// EC prekeys left.
        ec: u32,
        /// Kyber prekeys left.
        kyber: u32,
    },
}

/// An event of the `EVENTS` stream: a subject and a JSON body.
pub trait Event: Serialize + for<'de> Deserialize<'de> {
    /// The domain that owns the fact.
    const DOMAIN: &'static str;
    /// Its name.
    const NAME: &'static str;

    /// `events.<domain>.<event>`
    fn subject() -> String {
        subject::event(Self::DOMAIN, Self::NAME)
    }
}

macro_rules! event {
    ($(#[$doc:meta])* $domain:literal $name:literal $type:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $type { $($(#[$field_doc])* pub $field: $kind),+ }

        impl Event for $type {
            const DOMAIN: &'static str = $domain;
            const NAME: &'static str = $name;
        }
    };
}

event!(
    /// Sessions were signed out, by their owner or because a refresh token was seen twice.
    "auth" "sessions_revoked" SessionsRevoked {
        /// Whose.
        account: AccountId,
        /// Which, each with its device.
        sessions: Vec<(SessionId, DeviceId)>,
    }
);
event!(
    /// A wallet left its account; devices that it certified must go.
    "auth" "wallet_unlinked" WalletUnlinked {
        /// Whose it was.
        account: AccountId,
        /// EIP-55.
        wallet: String,
    }
);
event!(
    /// A device was removed; whatever is kept for it should go.
    "keys" "device_removed" DeviceRemoved {
        /// Whose.
        account: AccountId,
        /// Which.
        device: DeviceId,
    }
);
event!(
    /// A message was not fetched within the grace time: the device is away.
    "messaging" "waiting" MessageWaiting {
        /// Whose mailbox.
        account: AccountId,
        /// Which device.
        device: DeviceId,
    }
);
