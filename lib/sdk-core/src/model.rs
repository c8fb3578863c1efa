//! What a client knows about conversations: the types that history and events are made of.

use nepto_proto::api::Base64;
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode, MediaId};
use serde::{Deserialize, Serialize};

/// Names a message: its author and the id the author gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The account that wrote it.
    pub author: AccountId,
    /// The author's id for it.
    pub id: ClientMsgId,
}

/// Whether a conversation is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationState {
    /// Somebody wrote first; not decided yet. Nothing is told to them.
    Requested,
    /// Welcome, or begun by oneself.
    Accepted,
    /// Refused by the user. Nothing can be sent in it, and what the peer sends is not shown.
    Blocked,
}

/// A conversation with one account. With oneself: notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The other account; one's own for notes.
    pub peer: AccountId,
    /// Whether it is wanted.
    pub state: ConversationState,
    /// New messages disappear after this many seconds; 0: they stay.
    pub expire_after_s: u32,
    /// Messages not read yet.
    pub unread: u32,
    /// The order of its newest message.
    pub last_order: u64,
    /// When something happened last.
    pub last_at_ms: u64,
    /// Everything up to this order has been read.
    pub read_up_to: u64,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// One's own, on its way to the server.
    Pending,
    /// One's own, safe on the server.
    Stored,
    /// One's own, on a device of the recipient.
    Delivered,
    /// Read: by the recipient, or, if somebody else wrote it, by oneself.
    Read,
    /// One's own, refused for good.
    Failed(Failure),
    /// Somebody else's, not read yet.
    Unread,
}

/// Why a message was not sent and won't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The server refused it.
    Server(ErrorCode),
    /// A device of the recipient is not certified by a wallet of theirs.
    Uncertified,
    /// The keys of a verified contact changed.
    KeysChanged,
    /// The server names another wallet as the account's.
    RootChanged,
    /// A device that was removed is listed again.
    DeviceReturned,
    /// The recipient's keys can't be used.
    BadKeys,
    /// A wallet of the recipient is a contract, and no node of this chain is known to ask it.
    NodeNeeded(u64),
    /// It could not be encrypted.
    Encryption,
    /// A device of the recipient could not decrypt it.
    Unread,
}

/// What one changed in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A reaction, given or taken back.
    Reaction,
    /// Other words for a message.
    Edit,
    /// A message taken back.
    Delete,
    /// The timer of disappearing messages.
    Timer,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// UTF-8, at most [`TEXT_BYTES_MAX`](nepto_proto::limits::TEXT_BYTES_MAX) bytes, and untrusted: escape it where it
    /// is shown.
    Text(String),
    /// Its author took it back.
    Deleted,
    /// Something that this version can't show.
    Unsupported,
    /// Not by a person: something to know about this conversation.
    Notice(Notice),
}

/// Something to know about a conversation, kept in its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A certified device appeared.
    DeviceAdded {
        /// The peer's new device.
        device: DeviceId,
    },
    /// A device has another identity key than before.
    IdentityChanged {
        /// The peer's device that has a new key, and therefore a new safety number.
        device: DeviceId,
    },
    /// Another wallet names the account.
    RootChanged {
        /// The wallet that this client trusted as the account's root, EIP-55.
        from: String,
        /// The wallet that the server names as its root now, EIP-55.
        to: String,
    },
    /// A wallet by which the user had named the account was unlinked from it.
    WalletUnlinked {
        /// The wallet that left, EIP-55.
        wallet: String,
    },
    /// A device with the key of one that was removed is listed again; nothing is sent until the user decides.
    DeviceReturned {
        /// The peer's device that came back.
        device: DeviceId,
    },
    /// A device that no wallet certified was offered, and refused.
    Uncertified {
        /// The number it was offered under.
        device: DeviceId,
    },
    /// Somebody set the timer of disappearing messages.
    Timer {
        /// Who set it: the peer, or the user, here or on another device.
        by: AccountId,
        /// Seconds; 0: off.
        expire_after_s: u32,
    },
    /// What this device changed was refused for good; nobody else knows of it.
    NotSent {
        /// What had been changed.
        change: Change,
        /// The reason, which a retry does not cure.
        failure: Failure,
    },
    /// A message could not be decrypted and is lost.
    Undecryptable {
        /// From this device.
        device: DeviceId,
    },
    /// The peer set up a broken session again.
    SessionReset {
        /// This device of theirs.
        device: DeviceId,
        /// Messages that it could not read, and that were sent again.
        #[serde(default)]
        resent: u32,
        /// Those that were not.
        #[serde(default)]
        unread: u32,
    },
    /// One's own device was away for so long that its mailbox was full. Told, and not kept in any conversation.
    Missed {
        /// The own device that missed messages; maybe this one.
        device: DeviceId,
        /// When the first was missed, milliseconds since 1970 by the server's clock.
        since_ms: u64,
    },
}

/// A reaction to a message. An account may have several, each with another `emoji`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The account that reacted.
    pub by: AccountId,
    /// Any short text its author's client chose, usually one emoji. Untrusted: escape it where it is shown.
    pub emoji: String,
}

/// A file of a message. The server has it, encrypted, for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What the server calls it.
    pub media: MediaId,
    /// What it is encrypted by.
    pub key: AttachmentKey,
    /// SHA-256 of the encrypted bytes.
    pub digest: [u8; 32],
    /// Bytes of the file itself.
    pub bytes: u64,
    /// As its sender calls it. Untrusted: see [`safe_name`](crate::attachment::safe_name).
    pub name: String,
    /// As its sender's client guessed it; may be empty. Untrusted.
    pub media_type: String,
}

/// The key of one file. It is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttachmentKey([u8; 32]);

impl AttachmentKey {
    /// Wraps a key.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The key itself.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for AttachmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AttachmentKey")
    }
}

/// A message of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its place in the history of this device; higher is newer.
    pub order: u64,
    /// The conversation it belongs to.
    pub conversation: AccountId,
    /// Its author and the author's id for it; the same on every device.
    pub id: MessageId,
    /// When its author wrote it, milliseconds since 1970 by the author's own clock, which nobody checks. Sort by
    /// `order` instead.
    pub sent_at_ms: u64,
    /// When this device wrote or received it, milliseconds since 1970.
    pub at_ms: u64,
    /// What it says.
    pub body: Body,
    /// Files that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// What became of it.
    pub status: Status,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// By whom and what, one of each.
    pub reactions: Vec<Reaction>,
    /// Whether its author changed it.
    pub edited: bool,
    /// Disappears this long after it was read or sent; 0: stays.
    pub expire_after_s: u32,
    /// When it disappears, once the time runs.
    pub expires_at_ms: Option<u64>,
}

/// What the device does by itself, set by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Tell others when their messages were read.
    pub read_receipts: bool,
    /// Tell others when one is typing.
    pub typing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { read_receipts: true, typing: true }
    }
}

/// A device of an account, as this client checked and remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDevice {
    /// 1 to 127, unique among the account's devices. The number of a removed one comes back once the others have had a turn.
    pub device: DeviceId,
    /// The installation's registration id, 1 to 16,380. Two installations under one device number differ in it.
    pub registration_id: u32,
    /// Its Signal identity key: the type byte 0x05 and 32 bytes of Curve25519.
    pub identity_key: Base64,
    /// The wallet that certified it, EIP-55.
    pub wallet: String,
    /// When this client saw it first.
    pub first_seen_ms: u64,
}
