//! Facts that one domain tells the others, and words to a live session.

use serde::{Deserialize, Serialize};

use crate::api::assets::{BalanceKind, Standard, TransactionState};
use crate::api::channels::ReadState;
use crate::{AccountId, ChannelId, CommunityId, DeviceId, MessageId, RoleId, SessionId, subject};

/// To the connections of a device about themselves, over `live.<account>.<device>.control`. Travels at most once: whoever
/// publishes it must not rely on its arrival, and every receiver has a slower way to learn the same.
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
}

/// To the connections of a device about its mailbox, over `live.<account>.<device>.mailbox`. As unreliable as [`Control`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MailboxNotice {
    /// Something waits in it: drain it.
    Nudge,
    /// The mailboxes were recreated: cursors mean nothing any more, connect again.
    Recreated,
    /// The mailbox of a device of the account was full: it misses messages.
    Missed {
        /// Which; maybe the one that is told.
        device: DeviceId,
        /// Since when, milliseconds since 1970.
        since_ms: u64,
    },
}

/// To the connections of a device about keys, over `live.<account>.<device>.keys`. As unreliable as [`Control`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeysNotice {
    /// The account has other devices than before.
    DevicesChanged,
    /// One-time prekeys run out.
    PrekeysLow {
        /// EC prekeys left.
        ec: u32,
        /// Kyber prekeys left.
        kyber: u32,
    },
}

/// To the sockets that listen to a community, over `live.community.<community>`. As unreliable as [`Control`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CommunityNotice {
    /// What may be done there is something else now: ask again. What was kept of it counts no more.
    AccessChanged {
        /// For whom; for all members if it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
    },
}

/// To the connections of an account about channels, over `live.account.<account>`. As unreliable as [`Control`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChannelsNotice {
    /// The account read a channel on one of its devices: what is true now.
    Read(ReadState),
    /// A message mentions the account.
    Mentioned {
        /// Of the channel.
        community: CommunityId,
        /// Where.
        channel: ChannelId,
        /// Which message.
        message: MessageId,
        /// Who wrote it.
        from: AccountId,
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
    /// A wallet belongs to an account now: the first one, or one that was linked.
    "auth" "wallet_linked" WalletLinked {
        /// The account that has it now.
        account: AccountId,
        /// The wallet's address (EIP-55).
        wallet: String,
        /// The number of this event among all about this wallet, from 1; 0 of one from before they were numbered.
        #[serde(default)]
        version: u64,
    }
);
event!(
    /// A wallet left its account; devices that it certified must go.
    "auth" "wallet_unlinked" WalletUnlinked {
        /// The account that had it.
        account: AccountId,
        /// The wallet's address (EIP-55).
        wallet: String,
        /// The number of this event among all about this wallet, from 1; 0 of one from before they were numbered.
        #[serde(default)]
        version: u64,
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
/// How final a change on a chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// The block may still be replaced. Nothing irreversible may follow.
    Provisional,
    /// It stays.
    Final,
    /// The block was replaced: what was provisional did not happen.
    Reverted,
}

event!(
    /// A wallet of an account holds more or less of something. A change is told when it is seen, unless it is final by
    /// then, and once more when it is final; each may be told more than once. Changes of the first seconds after a wallet
    /// was linked may be told to nobody: what is held now is asked of `assets`.
    "assets" "ownership_changed" OwnershipChanged {
        /// Whose wallet.
        account: AccountId,
        /// The wallet's address (EIP-55).
        wallet: String,
        /// The chain (EIP-155).
        chain_id: u64,
        /// The contract's address (EIP-55).
        contract: String,
        /// By which events: a contract may be several at once.
        standard: Standard,
        /// Of an ERC-721 or ERC-1155, decimal; none for amounts and counts.
        token: Option<String>,
        /// In which way it is held.
        what: BalanceKind,
        /// In base units, decimal, with a sign. Of one that is reverted: what takes it back.
        change: String,
        /// The number of the block.
        block: u64,
        /// How final it is.
        #[serde(rename = "grade")]
        finality: Finality,
    }
);
event!(
    /// A transaction that an account wants to hear about is in another state.
    "assets" "transaction_changed" TransactionChanged {
        /// Whose.
        account: AccountId,
        /// The chain (EIP-155).
        chain_id: u64,
        /// Its hash: `0x` and 64 hexadecimal digits.
        hash: String,
        /// What became of it.
        state: TransactionState,
    }
);
event!(
    /// What may be done in a community changed: roles, channels, overrides or the owner, or what one account is in it. Copies in
    /// Redis and sockets are told at once; this tells them again, in case that came to nothing.
    "communities" "access_changed" AccessChanged {
        /// The community.
        community: CommunityId,
        /// For whom; for all members if it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
    }
);
event!(
    /// An account belongs to a community now.
    "communities" "member_joined" MemberJoined {
        /// The community.
        community: CommunityId,
        /// Who.
        account: AccountId,
    }
);
event!(
    /// An account belongs to a community no more: it left, or was thrown out or banned.
    "communities" "member_left" MemberLeft {
        /// The community.
        community: CommunityId,
        /// Who.
        account: AccountId,
    }
);
event!(
    /// A channel is gone for good; whatever is kept of it should go.
    "communities" "channel_removed" ChannelRemoved {
        /// The community.
        community: CommunityId,
        /// The channel.
        channel: ChannelId,
    }
);
event!(
    /// A role is gone for good.
    "communities" "role_removed" RoleRemoved {
        /// The community.
        community: CommunityId,
        /// The role.
        role: RoleId,
    }
);
event!(
    /// A community is gone for good; whatever is kept of it should go. Each of its channels was told of before.
    "communities" "community_removed" CommunityRemoved {
        /// The community.
        community: CommunityId,
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
