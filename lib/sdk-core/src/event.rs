//! What a connected client tells its program.

use std::time::Duration;

use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use serde::Serialize;

use crate::model::{Change, Failure, Message, MessageId, Status};

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectReason {
    /// The gateway restarts and said so before.
    Drain,
    /// Nothing was heard for too long.
    Idle,
    /// The access token had to be refreshed.
    Token,
    /// The network, or the gateway; in words.
    Lost(String),
}

/// Something happened. What is shown here is in the store already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The gateway welcomed this device.
    Connected,
    /// The connection ended and is made again after a while.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// After this time.
        retry_in: Duration,
    },
    /// Everything stored before this connection has been delivered.
    CaughtUp,
    /// A new message in an accepted conversation: somebody's, or one's own from another device.
    Message(Message),
    /// A new message of somebody who was not accepted yet.
    Request(Message),
    /// An own message got on, or was refused for good.
    Status {
        /// The conversation.
        conversation: AccountId,
        /// The message.
        id: MessageId,
        /// What became of it.
        status: Status,
    },
    /// What this device changed in a conversation was refused for good; nobody else knows of it.
    NotSent {
        /// The conversation.
        conversation: AccountId,
        /// What.
        change: Change,
        /// Why.
        failure: Failure,
    },
    /// A message changed: edited, or somebody reacted.
    Changed(Message),
    /// A message was taken back by its author.
    Deleted(Message),
    /// Messages disappeared because their time had come.
    Expired(Vec<Message>),
    /// Another device of this account read messages.
    ReadElsewhere {
        /// The conversation.
        conversation: AccountId,
        /// The messages.
        messages: Vec<MessageId>,
    },
    /// Somebody types, or stopped.
    Typing {
        /// Who.
        account: AccountId,
        /// Whether.
        active: bool,
    },
    /// The timer of disappearing messages was set.
    Timer {
        /// The conversation.
        conversation: AccountId,
        /// By whom.
        by: AccountId,
        /// Seconds; 0: off.
        expire_after_s: u32,
    },
    /// A new certified device of an account that was known before, possibly one's own.
    DeviceAdded {
        /// Whose.
        account: AccountId,
        /// Its number.
        device: DeviceId,
        /// The wallet that certified it, EIP-55.
        wallet: String,
    },
    /// A device is gone.
    DeviceRemoved {
        /// Whose.
        account: AccountId,
        /// Its number.
        device: DeviceId,
    },
    /// A device has another identity key than before: it was installed anew, or somebody is in between.
    IdentityChanged {
        /// Whose.
        account: AccountId,
        /// Its number.
        device: DeviceId,
    },
    /// Another wallet names the account than before. If none of its known wallets vouched for that one, nothing is sent
    /// until the user decides; else the one before was unlinked. Be careful.
    RootChanged {
        /// Whose.
        account: AccountId,
        /// Before, EIP-55.
        from: String,
        /// Now, EIP-55.
        to: String,
    },
    /// A wallet by which the user had named the account was unlinked from it.
    WalletUnlinked {
        /// Whose.
        account: AccountId,
        /// EIP-55.
        wallet: String,
    },
    /// A device with the key of one that was removed is listed again. Nothing is sent, and it is not listened to, until the
    /// user decides.
    DeviceReturned {
        /// Whose.
        account: AccountId,
        /// Its number.
        device: DeviceId,
        /// The wallet that certified it, EIP-55.
        wallet: String,
    },
    /// The server offered a device that no wallet of the account certified. It gets nothing, and is not listened to.
    Uncertified {
        /// Whose it claims to be.
        account: AccountId,
        /// Its number.
        device: DeviceId,
        /// Why it was refused.
        reason: String,
    },
    /// A message could not be decrypted. Its sender is told, within limits for strangers, and sends it again if it can.
    Undecryptable {
        /// From whom.
        account: AccountId,
        /// From this device.
        device: DeviceId,
        /// Why.
        reason: String,
    },
    /// A peer set up a broken session anew.
    SessionReset {
        /// Who.
        account: AccountId,
        /// Which device.
        device: DeviceId,
        /// Own messages that it could not read, and that are sent again.
        resent: Vec<ClientMsgId>,
        /// Own messages that it could not read, and that are not: they failed.
        unread: Vec<ClientMsgId>,
    },
    /// A device of one's own, maybe this one, was away for so long that its mailbox was full: what was sent to it since then,
    /// until it came back, is not there. Told once for each such time.
    Missed {
        /// One's own.
        account: AccountId,
        /// Which device.
        device: DeviceId,
        /// Since when, milliseconds since 1970, by the server's clock.
        since_ms: u64,
    },
    /// The session is void: sign in again with the wallet. Nothing follows.
    SignedOut {
        /// The server's reason, if it gave one.
        code: Option<ErrorCode>,
    },
    /// The same device connected elsewhere. Nothing follows.
    Superseded,
    /// The gateway could not make sense of this client, which must not repeat itself. Nothing follows.
    Refused {
        /// The gateway's words.
        reason: String,
    },
    /// One-time prekeys were uploaded.
    KeysReplenished {
        /// EC prekeys.
        ec: u32,
        /// Kyber prekeys.
        kyber: u32,
    },
    /// The local store failed. Nothing follows.
    StoreFailed(String),
}
