//! What goes wrong, for people, for scripts (exit codes) and for programs (stable codes in JSON).

use nepto_proto::ErrorCode;
use nepto_sdk::SdkError;
use nepto_sdk::store::StoreError;

use crate::text::{clean_line, safe_json};

/// What helps where a device that was removed is listed again.
pub const RETURNED_HINT: &str = "(see nepto safety-number PEER, and --accept-change if you know why)";

/// The code of an error that nobody is left to read.
pub const BROKEN_PIPE: &str = "broken_pipe";

/// How the process ends. These numbers are documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no number of its own.
    Error = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Nobody is signed in with the profile.
    NotSignedIn = 3,
    /// The server refused, with a stable code.
    Refused = 4,
    /// No answer in time, or no way to the server.
    Unreachable = 5,
    /// There is no such account.
    Unknown = 6,
}

/// An error with what a person can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    pub exit: Exit,
    /// Stable; the server's code where the server refused.
    pub code: &'static str,
    pub detail: String,
}

impl Failure {
    pub fn new(exit: Exit, code: &'static str, detail: impl Into<String>) -> Self {
        Self { exit, code, detail: detail.into() }
    }

    pub fn usage(detail: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", detail)
    }

    pub fn other(detail: impl Into<String>) -> Self {
        Self::new(Exit::Error, "error", detail)
    }

    pub fn timeout(what: &str) -> Self {
        Self::new(Exit::Unreachable, "timeout", format!("{what}; check the network, or give it more time"))
    }

    pub fn refused(code: ErrorCode, detail: impl Into<String>) -> Self {
        let exit = match code {
            ErrorCode::AccountUnknown => Exit::Unknown,
            ErrorCode::Unavailable | ErrorCode::Timeout => Exit::Unreachable,
            ErrorCode::Unauthenticated
            | ErrorCode::TokenInvalid
            | ErrorCode::TokenExpired
            | ErrorCode::SessionRevoked
            | ErrorCode::RefreshInvalid
            | ErrorCode::RefreshReused
            | ErrorCode::RefreshUnsigned
            | ErrorCode::RefreshSignature => Exit::NotSignedIn,
            _ => Exit::Refused,
        };
        Self::new(exit, code.as_str(), detail)
    }

    /// The same, where something was queued before: nobody has to write it again, and it goes out by itself.
    pub fn while_queued(self, what: &str) -> Self {
        let when = match self.exit {
            Exit::NotSignedIn => "goes out once you have signed in again",
            Exit::Unreachable => "goes out with the next command that connects",
            _ => return self,
        };
        Self { detail: format!("{}; {what} waits in the queue of this profile and {when}", self.detail), ..self }
    }

    /// The same, where it ended before anything was queued.
    pub fn before_queued(self) -> Self {
        match self.exit {
            Exit::NotSignedIn | Exit::Unreachable => {
                Self { detail: format!("{}; nothing was queued", self.detail), ..self }
            }
            _ => self,
        }
    }

    /// For a terminal: what happened, and the code that scripts and the documentation know.
    pub fn to_text(&self) -> String {
        let code = if self.exit == Exit::Refused { format!(" [{}]", self.code) } else { String::new() };
        format!("error: {}{code}", self.detail)
    }

    /// One JSON object, on one line, for `--json`.
    pub fn to_json(&self) -> String {
        safe_json(&serde_json::json!({ "code": self.code, "detail": self.detail }).to_string())
    }
}

impl From<SdkError> for Failure {
    fn from(error: SdkError) -> Self {
        // an error may repeat what the server said
        let detail = clean_line(&error.to_string());
        match &error {
            SdkError::Server { code, detail, .. } => {
                let text = clean_line(detail);
                let text = if text.is_empty() { code.title().to_owned() } else { text };
                Self::refused(*code, format!("{}{}", text.trim_end_matches('.'), advice(*code)))
            }
            SdkError::NotSignedIn | SdkError::SignedOut => {
                let hint = "nepto login --server URL --keystore FILE (see nepto login --help)";
                Self::new(Exit::NotSignedIn, "not_signed_in", format!("{detail}: {hint}"))
            }
            SdkError::Timeout => Self::new(Exit::Unreachable, "timeout", detail),
            SdkError::Network(_) | SdkError::Socket(_) | SdkError::NotConnected | SdkError::Unexpected { .. } => {
                Self::new(Exit::Unreachable, "unreachable", detail)
            }
            SdkError::ServerUrl(_) | SdkError::AddressTypo(_) | SdkError::NotInAPath(_) => Self::usage(detail),
            SdkError::Store(StoreError::InUse) => Self::new(Exit::Error, "profile_in_use", detail),
            SdkError::Store(StoreError::Passphrase) => Self::new(Exit::Error, "wrong_passphrase", detail),
            SdkError::Store(_) => Self::new(Exit::Error, "profile", detail),
            SdkError::Wallet(_) | SdkError::Unsignable(_) => Self::new(Exit::Error, "wallet", detail),
            SdkError::ClockSkew { .. } => Self::new(Exit::Error, "clock_skew", detail),
            SdkError::KeysChanged(_) => {
                let hint = "see nepto safety-number PEER, then --verify or --accept-change";
                Self::new(Exit::Error, "keys_changed", format!("{detail} ({hint})"))
            }
            SdkError::RootChanged { .. } => {
                let hint = "see nepto safety-number PEER, and --accept-change";
                Self::new(Exit::Error, "root_changed", format!("{detail} ({hint})"))
            }
            SdkError::DeviceReturned { .. } => {
                Self::new(Exit::Error, "device_returned", format!("{detail} {RETURNED_HINT}"))
            }
            SdkError::NameMoved { name, .. } => {
                let hint = format!("nepto contacts who {name} --accept-change");
                Self::new(Exit::Error, "name_moved", format!("{detail} ({hint})"))
            }
            SdkError::NodeNeeded { chain_id, .. } => {
                Self::new(Exit::Error, "node_needed", format!("{detail}: nepto settings --node {chain_id}=URL"))
            }
            SdkError::OwnNodeNeeded { chain_id, .. } => {
                Self::new(Exit::Usage, "node_needed", format!("{detail}: --node {chain_id}=URL"))
            }
            SdkError::Chain { .. } => Self::new(Exit::Unreachable, "chain", detail),
            SdkError::NodeUrl(_) => Self::usage(detail),
            SdkError::NotCompared(_) => Self::new(Exit::Error, "not_compared", detail),
            SdkError::Uncertified { .. } | SdkError::WrongWallet { .. } => {
                Self::new(Exit::Error, "uncertified", detail)
            }
            SdkError::File(_) => Self::new(Exit::Error, "file", detail),
            SdkError::Attachment(_) => Self::new(Exit::Error, "file_damaged", detail),
            SdkError::TooManyFiles => Self::usage(detail),
            SdkError::NotAccepted => {
                Self::new(Exit::Error, "not_accepted", format!("{detail}: nepto contacts accept PEER"))
            }
            SdkError::YouBlocked => {
                Self::new(Exit::Error, "you_blocked", format!("{detail}: nepto contacts unblock PEER"))
            }
            _ => Self::other(detail),
        }
    }
}

/// What the server can't know: the command that helps.
fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::AccountUnknown => "; a peer is named by wallet address, handle or account id",
        ErrorCode::YouBlocked => ": nepto contacts unblock PEER",
        ErrorCode::ContractWallet => {
            "; a key that speaks for a contract says so: --contract-wallet ADDRESS --chain-id N"
        }
        ErrorCode::InviteNeeded => ": nepto login --server URL --invite CODE …",
        ErrorCode::BalanceNeeded | ErrorCode::NftNeeded | ErrorCode::AgeNeeded => {
            "; sign in with such a wallet, or with an invite: nepto login --server URL --invite CODE …"
        }
        ErrorCode::HandleInvalid => "; a handle is 3 to 32 of a-z, 0-9 and _, and begins with a letter",
        ErrorCode::MembersOnly => ": nepto community join COMMUNITY",
        ErrorCode::OwnerStays => ": nepto community transfer COMMUNITY PEER",
        ErrorCode::RankTooLow => "; see the order: nepto role list COMMUNITY",
        ErrorCode::OrderStale => "; see what is there: nepto role list COMMUNITY",
        ErrorCode::CommunityInviteLimit => ": nepto community invites COMMUNITY --revoke CODE",
        ErrorCode::SessionRevoked
        | ErrorCode::RefreshInvalid
        | ErrorCode::RefreshReused
        | ErrorCode::RefreshUnsigned
        | ErrorCode::RefreshSignature => "; sign in again: nepto login --server URL --keystore FILE",
        _ => "",
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        SdkError::Store(error).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::BrokenPipe { BROKEN_PIPE } else { "error" };
        Self::new(Exit::Error, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_end_with_their_documented_number() {
        assert_eq!(Failure::from(SdkError::NotSignedIn).exit, Exit::NotSignedIn);
        assert_eq!(Failure::from(SdkError::Timeout).exit, Exit::Unreachable);
        assert_eq!(Failure::refused(ErrorCode::AccountUnknown, "").exit, Exit::Unknown);
        assert_eq!(Failure::refused(ErrorCode::SessionRevoked, "").exit, Exit::NotSignedIn);
        assert_eq!(Failure::refused(ErrorCode::Blocked, "").exit, Exit::Refused);
        assert_eq!(Failure::from(SdkError::ServerUrl("x".into())).exit, Exit::Usage);
    }

    #[test]
    fn what_is_queued_is_told_where_nobody_was_reached() {
        let queued = |code| Failure::refused(code, "no").while_queued("the message").detail;
        assert!(queued(ErrorCode::SessionRevoked).ends_with("goes out once you have signed in again"));
        assert!(
            queued(ErrorCode::Unavailable).contains("; the message waits in the queue of this profile and goes out")
        );
        assert_eq!(queued(ErrorCode::Blocked), "no");
        assert!(Failure::from(SdkError::SignedOut).before_queued().detail.ends_with("; nothing was queued"));
    }

    #[test]
    fn the_servers_words_can_not_harm_a_terminal() {
        let error = SdkError::Server {
            code: ErrorCode::Blocked,
            detail: "no\u{1b}[2J\nway".into(),
            retry_after: None,
            devices: Vec::new(),
        };
        let failure = Failure::from(error);
        assert_eq!(failure.to_text(), "error: no way [blocked]");
        assert_eq!(failure.to_json(), r#"{"code":"blocked","detail":"no way"}"#);
    }
}
