//! Frames to bytes and back, within limits.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::limits::FRAME_BYTES_MAX;
use crate::wire::{ClientFrame, Error, ServerFrame, server_frame};
use crate::{ClientMsgId, ErrorCode};

/// Bytes that are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is larger than {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// Not protobuf of the expected type.
    #[error("a frame could not be read: {0}")]
    Decode(#[from] prost::DecodeError),
}

/// Reads what a client sent. Unknown fields are ignored; an unknown kind is a frame without a kind.
pub fn decode_client(bytes: Bytes) -> Result<ClientFrame, FrameError> {
    within_limit(&bytes)?;
    Ok(ClientFrame::decode(bytes)?)
}

/// Reads what a gateway sent.
pub fn decode_server(bytes: Bytes) -> Result<ServerFrame, FrameError> {
    within_limit(&bytes)?;
    Ok(ServerFrame::decode(bytes)?)
}

fn within_limit(bytes: &Bytes) -> Result<(), FrameError> {
    if bytes.len() > FRAME_BYTES_MAX { Err(FrameError::TooLarge(bytes.len())) } else { Ok(()) }
}

/// A frame of the gateway with its reply number.
pub fn encode_server(reply_to: u32, kind: server_frame::Kind) -> Bytes {
    ServerFrame { reply_to, kind: Some(kind) }.encode_to_vec().into()
}

/// An `Error` frame.
pub fn error(code: ErrorCode, detail: impl Into<String>) -> Error {
    Error { code: code.as_str().to_owned(), detail: detail.into(), ..Error::default() }
}

/// An `Error` frame that refuses a `SendDm`.
pub fn send_error(id: ClientMsgId, code: ErrorCode, detail: impl Into<String>) -> Error {
    Error { client_msg_id: id.to_vec(), ..error(code, detail) }
}

// Field numbers of `ServerFrame.deliver` and of `Deliver`, as in nepto.proto; `deliver_matches_prost` compares.
const SERVER_FRAME_DELIVER: u32 = 6;
const DELIVER_SEQ: u32 = 1;
const DELIVER_STORED_AT_MS: u32 = 2;
const DELIVER_ENVELOPE: u32 = 3;

/// A `Deliver` frame around an `Envelope` that is already encoded: the mailbox stores exactly these bytes, so the
/// gateway neither parses nor copies a ciphertext more than once.
pub fn encode_deliver(seq: u64, stored_at_ms: u64, envelope: &[u8]) -> Bytes {
    let varint_field = |field, value: u64| if value == 0 { 0 } else { key_len(field) + encoded_len_varint(value) };
    let body_len = varint_field(DELIVER_SEQ, seq)
        + varint_field(DELIVER_STORED_AT_MS, stored_at_ms)
        + key_len(DELIVER_ENVELOPE)
        + encoded_len_varint(envelope.len() as u64)
        + envelope.len();
    let mut frame =
        BytesMut::with_capacity(key_len(SERVER_FRAME_DELIVER) + encoded_len_varint(body_len as u64) + body_len);
    encode_key(SERVER_FRAME_DELIVER, WireType::LengthDelimited, &mut frame);
    encode_varint(body_len as u64, &mut frame);
    for (field, value) in [(DELIVER_SEQ, seq), (DELIVER_STORED_AT_MS, stored_at_ms)] {
        if value != 0 {
            encode_key(field, WireType::Varint, &mut frame);
            encode_varint(value, &mut frame);
        }
    }
    encode_key(DELIVER_ENVELOPE, WireType::LengthDelimited, &mut frame);
    encode_varint(envelope.len() as u64, &mut frame);
    frame.put_slice(envelope);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Deliver, Envelope, client_frame};
    use proptest::prelude::*;

    fn envelope() -> impl Strategy<Value = Envelope> {
        (
            any::<[u8; 16]>(),
            1..=127u32,
            any::<[u8; 16]>(),
            proptest::collection::vec(any::<u8>(), 0..2000),
            any::<bool>(),
        )
            .prop_map(|(from, from_device, id, ciphertext, request)| Envelope {
                from: from.to_vec(),
                from_device,
                client_msg_id: id.to_vec(),
                r#type: 1,
                ciphertext: ciphertext.into(),
                request,
            })
    }

    proptest! {
        #[test]
        fn deliver_matches_prost(seq in any::<u64>(), at in any::<u64>(), envelope in envelope()) {
            let by_hand = encode_deliver(seq, at, &envelope.encode_to_vec());
            let kind = server_frame::Kind::Deliver(Deliver { seq, stored_at_ms: at, envelope: Some(envelope) });
            prop_assert_eq!(by_hand, encode_server(0, kind));
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode_client(bytes.clone().into());
            let _ = decode_server(bytes.into());
        }

        #[test]
        fn a_truncated_frame_is_refused(envelope in envelope(), cut in 0.0..1.0f64) {
            let whole = encode_deliver(7, 9, &envelope.encode_to_vec());
            let cut = 1 + (cut * (whole.len() - 1) as f64) as usize;
            prop_assume!(cut < whole.len());
            prop_assert!(decode_server(whole.slice(..cut)).is_err());
        }
    }

    #[test]
    fn an_unknown_kind_is_read_as_none() {
        // field 15, length-delimited, empty
        let frame = decode_client(Bytes::from_static(&[0x08, 0x05, 0x7a, 0x00])).unwrap();
        assert_eq!((frame.id, frame.kind), (5, None::<client_frame::Kind>));
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_parsed() {
        let bytes = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
        assert_eq!(decode_client(bytes), Err(FrameError::TooLarge(FRAME_BYTES_MAX + 1)));
    }
}
