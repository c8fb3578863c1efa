//! What a connected client tells its program.

use std::time::Duration;

use nepto_proto::api::channels::ReadState;
use nepto_proto::{AccountId, ChannelId, ClientMsgId, CommunityId, DeviceId, ErrorCode, MessageId as ChannelMessageId};
use serde::Serialize;

use crate::channels::{ChannelEnd, ChannelEvent};
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

/// Something happened. What is shown here is in the store already, but for what happens in channels, which the server keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The gateway welcomed this device.
    Connected,
    /// The connection ended and is made again after a while.
    Disconnected {
        /// What ended it.
        reason: DisconnectReason,
        /// How long until the next attempt: what the gateway asked for, or a backoff with jitter.
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
        /// The peer of the conversation.
        conversation: AccountId,
        /// The message, whose author is this account.
        id: MessageId,
        /// Its new status, which the store has already.
        status: Status,
    },
    /// What this device changed in a conversation was refused for good; nobody else knows of it.
    NotSent {
        /// The peer of the conversation.
        conversation: AccountId,
        /// What had been changed.
        change: Change,
        /// The reason, which a retry does not cure.
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
        /// The peer of the conversation.
        conversation: AccountId,
        /// The messages that were unread until now.
        messages: Vec<MessageId>,
    },
    /// Somebody types, or stopped.
    Typing {
        /// Who types, in the conversation with them.
        account: AccountId,
        /// `true` while they type, `false` once they stopped.
        active: bool,
    },
    /// The timer of disappearing messages was set.
    Timer {
        /// The peer of the conversation.
        conversation: AccountId,
        /// Who set it: the peer, or this account on one of its devices.
        by: AccountId,
        /// Seconds; 0: off.
        expire_after_s: u32,
    },
    /// A new certified device of an account that was known before, possibly one's own.
    DeviceAdded {
        /// The account it belongs to, possibly one's own.
        account: AccountId,
        /// Its number within that account.
        device: DeviceId,
        /// The wallet that certified it, EIP-55.
        wallet: String,
    },
    /// A device is gone.
    DeviceRemoved {
        /// The account it belonged to, possibly one's own.
        account: AccountId,
        /// Its number within that account.
        device: DeviceId,
    },
    /// A device has another identity key than before: it was installed again, or somebody is in between.
    IdentityChanged {
        /// The account it belongs to.
        account: AccountId,
        /// Its number within that account. The safety number with it is another one now.
        device: DeviceId,
    },
    /// Another wallet names the account than before. If none of its known wallets vouched for that one, nothing is sent
    /// until the user decides; else the one before was unlinked. Be careful.
    RootChanged {
        /// The account that another wallet is named for.
        account: AccountId,
        /// The wallet that was pinned before, EIP-55.
        from: String,
        /// The wallet that the server names now, EIP-55.
        to: String,
    },
    /// A wallet by which the user had named the account was unlinked from it.
    WalletUnlinked {
        /// The account that the wallet left.
        account: AccountId,
        /// The wallet that left, EIP-55.
        wallet: String,
    },
    /// A device with the key of one that was removed is listed again. Nothing is sent, and it is not listened to, until the
    /// user decides.
    DeviceReturned {
        /// The account it belongs to, possibly one's own.
        account: AccountId,
        /// Its number within that account.
        device: DeviceId,
        /// The wallet that certified it, EIP-55.
        wallet: String,
    },
    /// The server offered a device that no wallet of the account certified. It gets nothing, and is not listened to.
    Uncertified {
        /// Whose it claims to be.
        account: AccountId,
        /// The number it was offered under.
        device: DeviceId,
        /// Why it was refused; English, for logs and people.
        reason: String,
    },
    /// A message could not be decrypted. Its sender is told, within limits for strangers, and sends it again if it can.
    Undecryptable {
        /// The account it came from.
        account: AccountId,
        /// The device of that account it came from.
        device: DeviceId,
        /// Why it could not be; English, for logs and people.
        reason: String,
    },
    /// A peer set up a broken session again.
    SessionReset {
        /// The peer, whose messages can be read again from now on.
        account: AccountId,
        /// The device of theirs that set it up.
        device: DeviceId,
        /// Own messages that it could not read, and that are sent again.
        resent: Vec<ClientMsgId>,
        /// Own messages that it could not read, and that are not: they failed.
        unread: Vec<ClientMsgId>,
    },
    /// A device of one's own, maybe this one, was away for so long that its mailbox was full: what was sent to it since then,
    /// until it came back, is not there. Told once for each such time.
    Missed {
        /// One's own account.
        account: AccountId,
        /// The device that missed messages.
        device: DeviceId,
        /// Since when, milliseconds since 1970, by the server's clock.
        since_ms: u64,
    },
    /// Something happened in a channel that is followed; each thing once, and in order.
    Channel(ChannelEvent),
    /// A channel is followed on this connection: what happened before this place was told, and what comes after it follows.
    ChannelFollowed {
        /// The community that it belongs to.
        community: CommunityId,
        /// Which channel.
        channel: ChannelId,
        /// The place.
        at: ChannelMessageId,
        /// What was missed is not known, or is too much: load the history now, and drop what comes twice by its id.
        reload: bool,
    },
    /// Nothing more comes of a channel, which is not followed any more.
    ChannelClosed {
        /// Which channel.
        channel: ChannelId,
        /// Why.
        why: ChannelEnd,
    },
    /// The account was mentioned in a channel that is not followed. At most once.
    ChannelMention {
        /// The community of the channel.
        community: CommunityId,
        /// Which channel.
        channel: ChannelId,
        /// Which message.
        message: ChannelMessageId,
        /// Whose message it is.
        from: AccountId,
    },
    /// The account read a channel, on any of its devices.
    ChannelRead(ReadState),
    /// Who types in a channel. Shown for six seconds.
    ChannelTyping {
        /// Which channel.
        channel: ChannelId,
        /// Some of them, possibly oneself.
        accounts: Vec<AccountId>,
        /// So many others.
        more: u32,
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
        /// The gateway's reason, for people.
        reason: String,
    },
    /// One-time prekeys were uploaded.
    KeysReplenished {
        /// Curve25519 one-time prekeys that were uploaded.
        ec: u32,
        /// Kyber (ML-KEM) one-time prekeys that were uploaded.
        kyber: u32,
    },
    /// The local store failed. Nothing follows.
    StoreFailed(String),
}
