//! Frames to bytes and back, within limits.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{
    self, DecodeContext, WireType, decode_key, encode_key, encode_varint, encoded_len_varint, key_len, skip_field,
};

use crate::limits::FRAME_BYTES_MAX;
use crate::wire::{self, ClientFrame, Error, ServerFrame, server_frame};
use crate::{ChannelId, ClientMsgId, ErrorCode};

/// The WebSocket subprotocol of the frames (RFC 6455, 1.9), whose version is the protocol's.
pub const SUBPROTOCOL: &str = "nepto.v1";

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

/// Field number of `id` in a `ClientFrame` and of `reply_to` in a `ServerFrame`: the envelope is the same in both directions.
const FRAME_ID: u32 = 1;

/// A message that a client sends as a kind of frame, with its field number in the `oneof` of `ClientFrame`.
pub trait ClientKind: Message + Default {
    /// The field's number in nepto.proto.
    const NUMBER: u32;

    /// Reads it from an [`UnreadFrame`].
    fn read(message: Bytes) -> Result<Self, FrameError> {
        Ok(Self::decode(message)?)
    }
}

macro_rules! client_kinds {
    ($($message:ident = $number:literal),+ $(,)?) => {
        $(impl ClientKind for wire::$message {
            const NUMBER: u32 = $number;
        })+
    };
}

client_kinds! {
    Hello = 2,
    SendDm = 3,
    Ack = 4,
    Typing = 5,
    PresenceQuery = 6,
    Ping = 7,
    ChannelPost = 16,
    ChannelFollow = 17,
    ChannelTyping = 18,
}

/// A frame whose message nobody has read yet: a gateway passes it on to the domain that the kind belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadFrame {
    /// `id` of a client's frame, `reply_to` of a gateway's.
    pub id: u32,
    /// The kind's number and its encoded message; `None` for a kind that is not known.
    pub kind: Option<(u32, Bytes)>,
}

/// Reads the envelope of a frame of either direction, as protobuf has it: fields that are not `known` are passed over, of several kinds
/// the last one counts, and a kind that stands there twice is one message.
pub fn open_envelope(mut bytes: Bytes, known: impl Fn(u32) -> bool) -> Result<UnreadFrame, FrameError> {
    within_limit(&bytes)?;
    let mut frame = UnreadFrame::default();
    while !bytes.is_empty() {
        let (field, wire_type) = decode_key(&mut bytes)?;
        if field == FRAME_ID {
            encoding::uint32::merge(wire_type, &mut frame.id, &mut bytes, DecodeContext::default())?;
        } else if known(field) {
            let mut message = Bytes::new();
            encoding::bytes::merge(wire_type, &mut message, &mut bytes, DecodeContext::default())?;
            if let Some((_, before)) = frame.kind.take().filter(|(number, _)| *number == field) {
                message = [before, message].concat().into();
            }
            frame.kind = Some((field, message));
        } else {
            skip_field(wire_type, field, &mut bytes, DecodeContext::default())?;
        }
    }
    Ok(frame)
}

/// A frame of either direction with a kind by its number, for kinds that are not in nepto.proto.
pub fn encode_kind(id: u32, number: u32, message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    if id != 0 {
        encoding::uint32::encode(FRAME_ID, &id, &mut frame);
    }
    encoding::message::encode(number, message, &mut frame);
    frame.freeze()
}

fn within_limit(bytes: &Bytes) -> Result<(), FrameError> {
    if bytes.len() > FRAME_BYTES_MAX { Err(FrameError::TooLarge(bytes.len())) } else { Ok(()) }
}

/// A frame of the gateway with its reply number.
pub fn encode_server(reply_to: u32, kind: server_frame::Kind) -> Bytes {
    ServerFrame { reply_to, kind: Some(kind) }.encode_to_vec().into()
}

/// An `Error` message with a code and a sentence for people, for [`encode_server`].
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

// Field numbers of `ServerFrame.channel_events`, `ChannelEvents` and `StoredChannelEvent`; `channel_events_match_prost` compares.
const SERVER_FRAME_CHANNEL_EVENTS: u32 = 17;
const CHANNEL_EVENTS_CHANNEL: u32 = 1;
const CHANNEL_EVENTS_EVENTS: u32 = 2;
const STORED_SEQ: u32 = 1;
const STORED_AT_MS: u32 = 2;
const STORED_EVENT: u32 = 3;

/// A `ChannelEvents` frame around one `ChannelEvent` that is already encoded, as the stream holds it: it is made once for all sockets
/// of a process.
pub fn encode_channel_event(channel: ChannelId, seq: u64, stored_at_ms: u64, event: &[u8]) -> Bytes {
    let delimited = |field, len: usize| key_len(field) + encoded_len_varint(len as u64) + len;
    let varint_field = |field, value: u64| if value == 0 { 0 } else { key_len(field) + encoded_len_varint(value) };
    let stored_len =
        varint_field(STORED_SEQ, seq) + varint_field(STORED_AT_MS, stored_at_ms) + delimited(STORED_EVENT, event.len());
    let id = channel.uuid();
    let body_len =
        delimited(CHANNEL_EVENTS_CHANNEL, id.as_bytes().len()) + delimited(CHANNEL_EVENTS_EVENTS, stored_len);
    let mut frame = BytesMut::with_capacity(delimited(SERVER_FRAME_CHANNEL_EVENTS, body_len));
    let open = |frame: &mut BytesMut, field, len: usize| {
        encode_key(field, WireType::LengthDelimited, frame);
        encode_varint(len as u64, frame);
    };
    open(&mut frame, SERVER_FRAME_CHANNEL_EVENTS, body_len);
    open(&mut frame, CHANNEL_EVENTS_CHANNEL, id.as_bytes().len());
    frame.put_slice(id.as_bytes());
    open(&mut frame, CHANNEL_EVENTS_EVENTS, stored_len);
    for (field, value) in [(STORED_SEQ, seq), (STORED_AT_MS, stored_at_ms)] {
        if value != 0 {
            encode_key(field, WireType::Varint, &mut frame);
            encode_varint(value, &mut frame);
        }
    }
    open(&mut frame, STORED_EVENT, event.len());
    frame.put_slice(event);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::channel_event;
    use crate::wire::{
        ChannelEvent, ChannelEvents, Deliver, Envelope, MessagePosted, StoredChannelEvent, client_frame,
    };
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
        fn channel_events_match_prost(seq in any::<u64>(), at in any::<u64>(), text in ".{0,300}", id in any::<u128>()) {
            let channel = ChannelId::new(uuid::Uuid::from_u128(id));
            let posted = MessagePosted { client_msg_id: vec![7; 16], text, ..MessagePosted::default() };
            let event = ChannelEvent { epoch: at, by: vec![1; 16], kind: Some(channel_event::Kind::Posted(posted)) };
            let by_hand = encode_channel_event(channel, seq, at, &event.encode_to_vec());
            let stored = StoredChannelEvent { seq, stored_at_ms: at, event: Some(event) };
            let events = ChannelEvents { channel: channel.to_vec(), events: vec![stored] };
            prop_assert_eq!(by_hand, encode_server(0, server_frame::Kind::ChannelEvents(events)));
        }

        #[test]
        fn an_unread_frame_says_what_prost_reads(pieces in pieces()) {
            let bytes = Bytes::from(pieces.concat());
            let read = decode_client(bytes.clone()).unwrap();
            let unread = open_envelope(bytes, is_known).unwrap();
            let kind = unread.kind.map(|(number, message)| match number {
                4 => client_frame::Kind::Ack(wire::Ack::decode(message).unwrap()),
                5 => client_frame::Kind::Typing(wire::Typing::decode(message).unwrap()),
                other => panic!("{other}"),
            });
            prop_assert_eq!((unread.id, kind), (read.id, read.kind));
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = open_envelope(bytes.clone().into(), is_known);
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
        let bytes = Bytes::from_static(&[0x08, 0x05, 0x7a, 0x00]);
        let frame = decode_client(bytes.clone()).unwrap();
        assert_eq!((frame.id, frame.kind), (5, None::<client_frame::Kind>));
        assert_eq!(open_envelope(bytes, is_known).unwrap(), UnreadFrame { id: 5, kind: None });
    }

    fn is_known(number: u32) -> bool {
        (2..=7).contains(&number)
    }

    fn number_of<M: ClientKind>() -> u32 {
        M::NUMBER
    }

    #[test]
    fn kinds_have_the_numbers_of_the_proto_file() {
        use client_frame::Kind;
        for (kind, number) in [
            (Kind::Hello(Default::default()), number_of::<wire::Hello>()),
            (Kind::SendDm(Default::default()), number_of::<wire::SendDm>()),
            (Kind::Ack(Default::default()), number_of::<wire::Ack>()),
            (Kind::Typing(Default::default()), number_of::<wire::Typing>()),
            (Kind::PresenceQuery(Default::default()), number_of::<wire::PresenceQuery>()),
            (Kind::Ping(Default::default()), number_of::<wire::Ping>()),
            (Kind::ChannelPost(Default::default()), number_of::<wire::ChannelPost>()),
            (Kind::ChannelFollow(Default::default()), number_of::<wire::ChannelFollow>()),
            (Kind::ChannelTyping(Default::default()), number_of::<wire::ChannelTyping>()),
        ] {
            let frame = ClientFrame { id: 9, kind: Some(kind) }.encode_to_vec();
            let read = open_envelope(frame.into(), |field| field == number).unwrap();
            assert_eq!(read, UnreadFrame { id: 9, kind: Some((number, Bytes::new())) });
        }
    }

    /// A frame in pieces: fields of the envelope in any order, known and unknown, each with a message that can be read.
    /// Nothing of a kind is one of every kind that there is.
    fn is_no_kind(number: u32) -> bool {
        decode_client(encode_kind(0, number, &wire::Ping {})).unwrap().kind.is_none()
    }

    fn pieces() -> impl Strategy<Value = Vec<Bytes>> {
        let ack = |up_to: u64| wire::Ack { up_to };
        let piece = prop_oneof![
            any::<u32>().prop_map(|id| Bytes::from(ClientFrame { id, kind: None }.encode_to_vec())),
            any::<u64>().prop_map(move |up_to| encode_kind(0, wire::Ack::NUMBER, &ack(up_to))),
            any::<bool>()
                .prop_map(|active| { encode_kind(0, wire::Typing::NUMBER, &wire::Typing { to: vec![1, 2], active }) }),
            (8u32..3_000, any::<u64>())
                .prop_filter("a kind that there is", |(number, _)| is_no_kind(*number))
                .prop_map(move |(number, up_to)| encode_kind(0, number, &ack(up_to))),
        ];
        proptest::collection::vec(piece, 0..6)
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_parsed() {
        let bytes = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
        assert_eq!(decode_client(bytes), Err(FrameError::TooLarge(FRAME_BYTES_MAX + 1)));
    }
}
