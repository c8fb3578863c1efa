//! How a connection ends, and with which code.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nepto_proto::{CloseCode, ErrorCode};
use tokio::time::timeout;
use tungstenite::Message;
use tungstenite::error::{Error as SocketError, ProtocolError};
use tungstenite::protocol::CloseFrame;

use super::pieces::TooManyPieces;
use super::upgrade::Socket;

/// A client has so long to take its close frame.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Says why, and lets the client hear it.
pub async fn close(socket: &mut Socket, code: CloseCode) {
    metrics::counter!("nepto_gateway_closed_total", "reason" => code.reason()).increment(1);
    let frame = CloseFrame { code: code.get().into(), reason: code.reason().into() };
    let farewell = async {
        // refused where the client has closed: then it is answered with its own frame (RFC 6455, 5.5.1), by reading on
        let _ = socket.send(Message::Close(Some(frame))).await;
        // and TCP takes what was written back if it is closed with something unread
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = timeout(CLOSE_WITHIN, farewell).await;
}

/// Refusals that a correct client never sees; too many of them end the connection.
pub fn breaks_protocol(code: ErrorCode) -> bool {
    use ErrorCode::{AckBeyondDelivered, AlreadyHello, Malformed, ToSelf, TooLarge, UnknownFrame};
    matches!(code, Malformed | UnknownFrame | TooLarge | AckBeyondDelivered | AlreadyHello | ToSelf)
}

/// Why a connection broke: too large a message, too many pieces, something against RFC 6455, or the network.
pub fn broken(error: &SocketError) -> CloseCode {
    match error {
        SocketError::Capacity(_) => CloseCode::TooLarge,
        SocketError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<TooManyPieces>()) => CloseCode::Abuse,
        // more than a hello before it was said
        SocketError::Io(error) if error.kind() == ErrorKind::FileTooLarge => CloseCode::TooLarge,
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseCode::Normal,
        SocketError::Protocol(_) | SocketError::Utf8(_) => CloseCode::Malformed,
        _ => CloseCode::Normal,
    }
}
