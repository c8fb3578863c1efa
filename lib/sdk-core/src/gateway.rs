//! How a connection to a gateway fails, whoever holds it: a socket of ours, or a browser's.

use nepto_proto::frame::{FrameError, SUBPROTOCOL};
use nepto_proto::{CloseCode, ErrorCode};

/// Why a connection could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The gateway closed it.
    #[error("the gateway closed the connection: {}", describe(*number, reason))]
    Closed {
        /// The code, if it is one of ours.
        code: Option<CloseCode>,
        /// The number on the wire; 1006 when the connection just broke off.
        number: u16,
        /// The gateway's words.
        reason: String,
    },
    /// The network, in the words of the library that met the failure.
    #[error("the connection broke: {0}")]
    Network(String),
    /// The handshake was answered with this HTTP status instead of 101.
    #[error("the gateway refused the connection with HTTP status {0}")]
    Http(u16),
    /// The handshake was answered without [`SUBPROTOCOL`].
    #[error("the server does not speak {SUBPROTOCOL}; update this client or the server")]
    Subprotocol,
    /// A frame outside the contract.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The gateway refused the `Hello`.
    #[error("the gateway refused: {detail} ({code})")]
    Refused {
        /// What programs branch on.
        code: ErrorCode,
        /// The gateway's words, for people.
        detail: String,
    },
    /// No answer in time.
    #[error("the gateway did not answer in time")]
    Timeout,
    /// What was given is no `ws:` or `wss:` URL.
    #[error("{0:?} is not a socket address; it looks like wss://chat.example.org/v1/socket")]
    Url(String),
}

fn describe(number: u16, reason: &str) -> String {
    if reason.is_empty() { number.to_string() } else { format!("{reason} ({number})") }
}

impl SocketError {
    /// The error code that it stands for, if any.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Closed { code: Some(CloseCode::SessionRevoked), .. } => Some(ErrorCode::SessionRevoked),
            _ => None,
        }
    }

    /// The close code, if the gateway gave one of ours.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed { code, .. } => *code,
            _ => None,
        }
    }
}
