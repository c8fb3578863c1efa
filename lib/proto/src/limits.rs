//! Every bound of the wire. Servers enforce them, clients stay below them.

use std::time::Duration;

/// A frame, as the WebSocket message that carries it.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// One device's ciphertext.
pub const CIPHERTEXT_BYTES_MAX: usize = 96 * 1024;
/// The JSON body of an HTTP request.
pub const HTTP_BODY_BYTES_MAX: usize = 512 * 1024;
/// Text that a client puts into one message; longer texts are attachments.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Deliveries that may be unacknowledged at once on a connection.
pub const ACK_WINDOW: u32 = 256;
/// Devices of one account.
pub const DEVICES_PER_ACCOUNT_MAX: usize = 10;
/// Wallets of one account.
pub const WALLETS_PER_ACCOUNT_MAX: usize = 10;
/// One-time prekeys of each kind that a server keeps for a device.
pub const ONE_TIME_PREKEYS_MAX: usize = 100;
/// Those that people get whom the device's owner accepted, and nobody else.
pub const ONE_TIME_PREKEYS_RESERVED: usize = 50;
/// Below this many one-time prekeys of a kind a device is asked for more: while some are left that strangers may have.
pub const ONE_TIME_PREKEYS_LOW: usize = 60;
/// Accounts in one presence query.
pub const PRESENCE_QUERY_MAX: usize = 500;
/// Messages in one receipt.
pub const RECEIPT_IDS_MAX: usize = 256;
/// From the opening of a socket to its `Hello`.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// What a socket may send until it is welcome; a `Hello` has less than a kilobyte.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;
/// Between two pings of the gateway.
pub const PING_EVERY: Duration = Duration::from_secs(25);
/// A socket that said nothing for so long, not even a pong, is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest sign-in message.
pub const SIWE_BYTES_MAX: usize = 4 * 1024;
/// The signature of a wallet. That of a key has 65; a contract may want more, and one that does not exist yet brings along
/// the call that makes it.
pub const SIGNATURE_BYTES_MAX: usize = 3 * 1024;
/// Resources of one sign-in message.
pub const SIWE_RESOURCES_MAX: usize = 8;
/// How far a client's clock may be off when it signs in.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5 * 60);
/// Content is padded to a multiple of this (Signal's block size).
pub const PADDING_BLOCK_BYTES: usize = 160;
/// Handles are 3 to 32 characters.
pub const HANDLE_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
/// A display name or a device name.
pub const NAME_CHARS_MAX: usize = 64;
