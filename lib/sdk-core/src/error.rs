//! The one error of every client, whichever way its bytes travel. Its texts tell a person what to do.

use std::time::Duration;

use nepto_proto::api::endpoint::NotInAPath;
use nepto_proto::api::keys::OwnDevice;
use nepto_proto::content::{ATTACHMENTS_MAX, ContentError};
use nepto_proto::limits::TEXT_BYTES_MAX;
use nepto_proto::siwe::SiweError;
use nepto_proto::{AccountId, DeviceId, ErrorCode};

use crate::attachment::AttachmentError;
use crate::gateway::SocketError;
use crate::guard::GuardError;
use crate::model::Failure;
use crate::store::StoreError;

/// What can go wrong in a client.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The server refused, with a stable code.
    #[error("{detail} ({code})")]
    Server {
        /// Programs branch on it.
        code: ErrorCode,
        /// The server's words.
        detail: String,
        /// When a retry makes sense.
        retry_after: Option<Duration>,
        /// With `device_limit`: one of these must go first.
        devices: Vec<OwnDevice>,
    },
    /// An answer outside the contract.
    #[error("{url} answered with status {status}, but not as a Nepto server does; check the address")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The base URL of the server that was asked.
        url: String,
    },
    /// No connection, and why; usually temporary.
    #[error("the server can't be reached: {0}; {advice}", advice = about_network(.0))]
    Network(String),
    /// No answer in time.
    #[error("the server did not answer in time; try again")]
    Timeout,
    /// The WebSocket to the gateway.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no live connection for what was asked.
    #[error("not connected; connect first")]
    NotConnected,
    /// The local clock is too far off for signing in.
    #[error(
        "this machine's clock is {off_by_s} s {} the server's: set it and try again; if it is right, the server's is wrong, and whoever \
         runs the server must set that",
        if *ahead { "ahead of" } else { "behind" }
    )]
    ClockSkew {
        /// Seconds between the clocks.
        off_by_s: u64,
        /// Whether this machine is ahead.
        ahead: bool,
    },
    /// The server asks for a signature that would work somewhere else.
    #[error("the server at {url} asks to sign in for {domain:?}; that is not its own name, so nothing was signed")]
    DomainMismatch {
        /// What the user named.
        url: String,
        /// What the server claims.
        domain: String,
    },
    /// The URL of a server.
    #[error("{0:?} is not the address of a server; it looks like https://chat.example.org")]
    ServerUrl(String),
    /// What begins like an address and is none, or its capital letters do not fit its digits (EIP-55).
    #[error("{0:?} has a typing error: an address is 0x and 40 digits, whose capital letters fit them; copy it again")]
    AddressTypo(String),
    /// A name that can't stand in the address that would be asked.
    #[error(transparent)]
    NotInAPath(#[from] NotInAPath),
    /// The session is void, or there is none.
    #[error("signed out; sign in again with the wallet")]
    SignedOut,
    /// The profile holds no signed-in device yet.
    #[error("nobody is signed in with this profile; sign in first")]
    NotSignedIn,
    /// The profile belongs to somebody else.
    #[error("this profile belongs to account {}; use another profile for another account", .0.uuid())]
    OtherAccount(AccountId),
    /// The local store of the profile.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key or keystore of a wallet.
    #[error("the wallet can't be used: {0}")]
    Wallet(String),
    /// A sign-in message that is malformed, or not what this server asks for.
    #[error(transparent)]
    Siwe(#[from] SiweError),
    /// A device that no wallet of its account vouches for. Nothing was encrypted for it.
    #[error(
        "device {device} of {} is not certified by a wallet of that account: {reason}; nothing was sent",
        .account.uuid()
    )]
    Uncertified {
        /// Whose device it claims to be.
        account: AccountId,
        /// The number it was offered under.
        device: DeviceId,
        /// What is wrong with its certificate; English, for people.
        reason: String,
    },
    /// A wallet of the account is a contract, and no node of its chain is known to ask it.
    #[error(
        "a wallet of {} is a contract on chain {chain_id}, and nothing it signed is believed without asking that \
         chain; name a node of it",
        .account.uuid()
    )]
    NodeNeeded {
        /// The account whose devices can't be checked.
        account: AccountId,
        /// The wallet's chain, by its EIP-155 id.
        chain_id: u64,
    },
    /// The wallet that signs in is a contract, and no node of its chain is known to ask it.
    #[error("{wallet} is a contract on chain {chain_id}; name a node of that chain, to know your other devices by it")]
    OwnNodeNeeded {
        /// The address of the wallet, EIP-55.
        wallet: String,
        /// The wallet's chain, by its EIP-155 id.
        chain_id: u64,
    },
    /// The nodes of a chain, which must be asked about a contract wallet.
    #[error("chain {chain_id} could not be asked about a contract wallet: {why}; check its nodes, or try again later")]
    Chain {
        /// The chain's EIP-155 id.
        chain_id: u64,
        /// How the nodes failed; English, for people.
        why: String,
    },
    /// The address of a node.
    #[error("a node of chain {0} has no valid address; it looks like https://node.example.org")]
    NodeUrl(u64),
    /// The server names another wallet as the root of an account than the one that was asked for.
    #[error("the server says that {} does not belong to wallet {wallet}; don't trust this contact", .account.uuid())]
    WrongWallet {
        /// The account that the server gave for the wallet.
        account: AccountId,
        /// The wallet that the user named, EIP-55.
        wallet: String,
    },
    /// The keys of a verified contact changed.
    #[error(
        "the keys of {} changed since you verified them; compare the safety number again, or accept the change",
        .0.uuid()
    )]
    KeysChanged(AccountId),
    /// The server names another wallet as the root of an account than the pinned one, which never vouched for it.
    #[error(
        "the server says that {} belongs to wallet {claimed} now, not to {pinned}; \
         nothing is sent unless you accept the change",
        .account.uuid()
    )]
    RootChanged {
        /// The account whose root changed.
        account: AccountId,
        /// What was checked at the first contact and is still trusted, EIP-55.
        pinned: String,
        /// What the server claims, EIP-55.
        claimed: String,
    },
    /// A device that was removed is listed again, with the same key: it may be a lost one in somebody else's hands.
    #[error(
        "device {device} of {} was removed once, and the server lists it again; nothing is sent unless you accept \
         the change",
        .account.uuid()
    )]
    DeviceReturned {
        /// The account that it belongs to.
        account: AccountId,
        /// Its number within that account.
        device: DeviceId,
    },
    /// A handle or a wallet's address that meant somebody else before.
    #[error(
        "{name} meant {meant} when you named somebody by it first (account {}); the server says that it is {now_wallet} \
         now (account {}); nothing was done: name whom you mean by wallet address, or accept the change",
        .account.uuid(),
        .now.uuid()
    )]
    NameMoved {
        /// The handle, without `@`, or the address, EIP-55.
        name: String,
        /// The account that the name meant at first.
        account: AccountId,
        /// The wallet that this one's devices are checked against, EIP-55.
        meant: String,
        /// Who has the name now, by the server's word.
        now: AccountId,
        /// That one's wallet, by the server's word.
        now_wallet: String,
    },
    /// The safety numbers that were compared are not those of all devices, as they are now.
    #[error("the devices of {} are not the ones you compared; look at the safety numbers again", .0.uuid())]
    NotCompared(AccountId),
    /// A bundle or directory that does not hold.
    #[error("the keys of {} can't be used: {reason}", .account.uuid())]
    BadKeys {
        /// The account whose bundle or directory it is.
        account: AccountId,
        /// What does not hold; English, for people.
        reason: &'static str,
    },
    /// The device lists kept changing.
    #[error("the device lists of {} kept changing while sending; try again", .0.uuid())]
    MismatchLoop(AccountId),
    /// A message was refused before it was decrypted.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// libsignal refused an operation; the text is its own.
    #[error("encryption failed: {0}")]
    Signal(#[from] libsignal_protocol::SignalProtocolError),
    /// Decryption ended in a panic, which was caught.
    #[error("a message broke the decryption and was dropped")]
    Crashed,
    /// A session without the post-quantum ratchet.
    #[error("a session without post-quantum protection was refused")]
    NoPostQuantum,
    /// A key of small order, with which any two sides would agree on zero.
    #[error("a key that offers no secrecy was refused")]
    WeakKey,
    /// What was decrypted is no content of a message.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// What the server wants signed would say something else than it seems to.
    #[error("the server asks to sign a text that is no proper sign-in message ({0}); nothing was signed")]
    Unsignable(&'static str),
    /// A text that does not fit.
    #[error("a text of {0} bytes is too long: a message has at most {max}; send it in parts", max = TEXT_BYTES_MAX)]
    TextTooLong(usize),
    /// More files than a message may have.
    #[error("a message has at most {max} files; send the others with another one", max = ATTACHMENTS_MAX)]
    TooManyFiles,
    /// A file that was sent, or is to be.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    /// A file of this machine.
    #[error("{0}")]
    File(String),
    /// A conversation that must be accepted first.
    #[error("accept this conversation before you write in it")]
    NotAccepted,
    /// A conversation with a blocked account.
    #[error("you have blocked this account; unblock it first")]
    YouBlocked,
    /// A message that isn't there, or isn't one's own.
    #[error("there is no such message of yours in this conversation")]
    MessageUnknown,
    /// A message that could not be read, and would be readable for devices that it was not meant for if it were sent again
    /// by itself.
    #[error("{} has a device now that the message was not written for; send it again if it may read it", .0.uuid())]
    NotMeantFor(AccountId),
    /// A message that the server refused for good.
    #[error("the message was not sent: {0}")]
    NotSent(String),
    /// Something that must not happen.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl SdkError {
    /// The server's code, where there is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server { code, .. } => Some(*code),
            Self::Siwe(error) => Some(error.code()),
            Self::ClockSkew { .. } => Some(ErrorCode::ClockSkew),
            Self::Socket(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the same call may work later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Network(_) | Self::Timeout | Self::Socket(_) | Self::NotConnected | Self::MismatchLoop(_) => true,
            Self::Chain { .. } => true,
            Self::Server { code, .. } => is_temporary(*code),
            _ => false,
        }
    }

    /// Whether only a new sign-in with the wallet helps.
    pub fn is_signed_out(&self) -> bool {
        matches!(self, Self::SignedOut) || self.code().is_some_and(is_signed_out)
    }

    /// Why a message can't be sent, for good; `None` if a later try may succeed. What is said about the session, or by
    /// somebody in between, is no verdict on the message.
    pub fn lasting(&self) -> Option<Failure> {
        match self {
            Self::Server { code, .. } if is_temporary(*code) || is_about_session(*code) => None,
            Self::Server { code, .. } => Some(Failure::Server(*code)),
            Self::Uncertified { .. } | Self::WrongWallet { .. } => Some(Failure::Uncertified),
            Self::KeysChanged(_) => Some(Failure::KeysChanged),
            Self::RootChanged { .. } => Some(Failure::RootChanged),
            Self::DeviceReturned { .. } => Some(Failure::DeviceReturned),
            Self::BadKeys { .. } => Some(Failure::BadKeys),
            Self::NotMeantFor(_) => Some(Failure::Unread),
            Self::NodeNeeded { chain_id, .. } => Some(Failure::NodeNeeded(*chain_id)),
            Self::SignedOut | Self::Store(_) | Self::Unexpected { .. } => None,
            error if error.is_temporary() => None,
            _ => Some(Failure::Encryption),
        }
    }

    /// A refusal without more than its code and words.
    pub fn server(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::Server { code, detail: detail.into(), retry_after: None, devices: Vec::new() }
    }
}

/// Codes that a later try may not meet again.
pub(crate) fn is_temporary(code: ErrorCode) -> bool {
    use ErrorCode::{Internal, RateLimited, StoreCrowded, Timeout, Unavailable};
    matches!(code, RateLimited | Timeout | Unavailable | Internal | StoreCrowded)
}

/// Codes that say something about the session, and nothing about what was asked for.
pub(crate) fn is_about_session(code: ErrorCode) -> bool {
    is_signed_out(code)
        || matches!(code, ErrorCode::Unauthenticated | ErrorCode::TokenInvalid | ErrorCode::TokenExpired)
}

/// Codes that only a new sign-in with the wallet cures.
pub fn is_signed_out(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::SessionRevoked
            | ErrorCode::RefreshInvalid
            | ErrorCode::RefreshReused
            | ErrorCode::RefreshUnsigned
            | ErrorCode::RefreshSignature
    )
}

/// What to do about a connection that there is not.
fn about_network(problem: &str) -> &'static str {
    if problem.contains("certificate expired") {
        "its operator must renew the certificate, unless the clock of this machine is wrong"
    } else if problem.contains("invalid peer certificate") {
        "somebody else may be answering for it: check the address, and ask its operator about the certificate"
    } else if problem.contains("InvalidContentType") {
        "this port speaks no TLS; did you mean http:// in the place of https://?"
    } else {
        "check the address and the network"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_written_as_everywhere_for_people() {
        let written = "01a20f45-3963-7559-80cb-f59fd035b63e";
        let account: AccountId = written.replace('-', "").parse().unwrap();
        for error in [
            SdkError::OtherAccount(account),
            SdkError::KeysChanged(account),
            SdkError::BadKeys { account, reason: "it is not there" },
            SdkError::DeviceReturned { account, device: DeviceId::FIRST },
        ] {
            assert!(error.to_string().contains(written), "{error}");
        }
    }

    /// As rustls says it.
    #[test]
    fn a_certificate_is_not_taken_for_the_network() {
        for (problem, advice) in [
            ("invalid peer certificate: certificate expired: verification time 2 (UNIX)", "operator must renew"),
            ("invalid peer certificate: UnknownIssuer", "somebody else may be answering"),
            ("received corrupt message of type InvalidContentType at https://h:8080/", "did you mean http://"),
            ("Connection refused (os error 111)", "check the address and the network"),
        ] {
            let said = SdkError::Network(problem.to_owned()).to_string();
            assert!(said.contains(problem) && said.contains(advice), "{said}");
        }
    }
}
