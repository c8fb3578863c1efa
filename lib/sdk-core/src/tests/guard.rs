//! The guard against real messages of libsignal, with the field changed as a stranger could.

use nepto_proto::wire::{CiphertextType, Deliver};
use proptest::prelude::*;
use prost::Message as _;

use super::world::{Device, World, friends};
use crate::event::Event;
use crate::guard::check;

/// libsignal's `SignalMessage` on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct WireSession {
    #[prost(bytes, optional, tag = "1")]
    ratchet_key: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    counter: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    previous_counter: Option<u32>,
    #[prost(bytes, optional, tag = "4")]
    ciphertext: Option<Vec<u8>>,
    #[prost(bytes, optional, tag = "5")]
    pq_ratchet: Option<Vec<u8>>,
}

/// libsignal's `PreKeySignalMessage` on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct WirePrekey {
    #[prost(uint32, optional, tag = "1")]
    pre_key_id: Option<u32>,
    #[prost(bytes, optional, tag = "2")]
    base_key: Option<Vec<u8>>,
    #[prost(bytes, optional, tag = "3")]
    identity_key: Option<Vec<u8>>,
    #[prost(bytes, optional, tag = "4")]
    message: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    registration_id: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    signed_pre_key_id: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    kyber_pre_key_id: Option<u32>,
    #[prost(bytes, optional, tag = "8")]
    kyber_ciphertext: Option<Vec<u8>>,
}

const MAC_BYTES: usize = 8;

fn with_field_in_session(bytes: &[u8], field: &[u8]) -> Vec<u8> {
    let (body, mac) = bytes.split_at(bytes.len() - MAC_BYTES);
    let mut message = WireSession::decode(&body[1..]).unwrap();
    assert!(message.pq_ratchet.is_some());
    message.pq_ratchet = Some(field.to_vec());
    [&body[..1], &message.encode_to_vec(), mac].concat()
}

fn with_field_in_prekey(bytes: &[u8], field: &[u8]) -> Vec<u8> {
    let mut message = WirePrekey::decode(&bytes[1..]).unwrap();
    message.message = Some(with_field_in_session(&message.message.unwrap(), field));
    [&bytes[..1], &message.encode_to_vec()].concat()
}

fn with_field(deliver: &Deliver, field: &[u8]) -> Deliver {
    let mut deliver = deliver.clone();
    let envelope = deliver.envelope.as_mut().unwrap();
    let changed = match envelope.r#type() {
        CiphertextType::Prekey => with_field_in_prekey(&envelope.ciphertext, field),
        _ => with_field_in_session(&envelope.ciphertext, field),
    };
    envelope.ciphertext = changed.into();
    deliver
}

/// Fields that run the unguarded reader past its end, and others that it must not see.
fn crashing() -> Vec<Vec<u8>> {
    let chunk = |kind: u8, bytes: usize| [vec![1, 1, 1, kind, 5], vec![7; bytes]].concat();
    vec![
        vec![1, 1, 1],
        vec![1],
        vec![1, 1],
        vec![1, 0, 1, 0],
        vec![1, 1, 1, 7],
        vec![1, 1, 1, 0xff],
        vec![1, 1, 1, 1],
        vec![1, 0x80, 0x80],
        [vec![1], vec![0xff; 11]].concat(),
        vec![1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
        chunk(1, 31),
        chunk(2, 0),
        chunk(6, 31),
        [vec![1, 1, 1, 1, 0x80, 0x80, 0x04], vec![7; 32]].concat(),
    ]
}

#[test]
fn the_published_vectors_hold() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this");
    let path = std::path::Path::new(&package).join("../../docs/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let fields = vectors["pq_ratchet"].as_array().unwrap();
    assert!(fields.len() > 10);
    for field in fields {
        let bytes = hex::decode(field["bytes"].as_str().unwrap()).unwrap();
        assert_eq!(check(&bytes).is_ok(), field["accepted"].as_bool().unwrap(), "{}", field["why"]);
    }
}

/// A message of Alice's in Bob's mailbox, not delivered yet; the first is a prekey message.
fn one_on_the_way(first: bool) -> (World, Device, Device, Deliver) {
    let (mut world, mut a, b) = if first {
        let mut world = World::new();
        let (alice, bob) = (world.person(), world.person());
        let (a, b) = (world.device(&alice), world.device(&bob));
        (world, a, b)
    } else {
        friends()
    };
    a.say(b.account(), "the message");
    world.send_all(&mut a);
    let deliver = world.mailboxes.get_mut(&(b.account(), b.number())).unwrap().pop_front().unwrap();
    let expected = if first { CiphertextType::Prekey } else { CiphertextType::Session };
    assert_eq!(deliver.envelope.as_ref().unwrap().r#type(), expected);
    (world, a, b, deliver)
}

/// The same after many messages both ways, so that the post-quantum ratchet is in another of its states.
fn far_along(rounds: usize) -> (World, Device, Device, Deliver) {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    for _ in 0..rounds {
        a.say(bob, "to");
        world.settle(&mut [&mut a, &mut b]);
        b.say(alice, "fro");
        world.settle(&mut [&mut a, &mut b]);
    }
    a.say(bob, "the message");
    world.send_all(&mut a);
    let deliver = world.mailboxes.get_mut(&(bob, b.number())).unwrap().pop_front().unwrap();
    (world, a, b, deliver)
}

#[test]
fn crashing_fields_are_refused_and_the_session_goes_on() {
    for first in [false, true] {
        let (mut world, a, mut b, deliver) = one_on_the_way(first);
        let base = deliver.seq;
        for (n, field) in crashing().iter().enumerate() {
            let mut bad = with_field(&deliver, field);
            bad.seq = base + n as u64;
            b.events.clear();
            world.deliver(&mut b, &bad);
            let refused =
                |e: &Event| matches!(e, Event::Undecryptable { reason, .. } if reason.contains("post-quantum field"));
            assert!(b.events.iter().any(refused), "{field:?}: {:?}", b.events);
        }
        let mut good = deliver.clone();
        good.seq = base + 100;
        world.deliver(&mut b, &good);
        assert_eq!(b.texts(a.account()).last().map(String::as_str), Some("the message"));
    }
}

/// Shows that the guard is needed, and that the second net holds: without the guard the reader panics and is caught.
#[test]
fn without_the_guard_the_reader_panics() {
    let (_, a, b, deliver) = one_on_the_way(false);
    let bad = with_field(&deliver, &[1, 1, 1]);
    let bytes = bad.envelope.unwrap().ciphertext;
    let message = libsignal_protocol::SignalMessage::try_from(bytes.as_ref()).unwrap();
    let from = crate::signal::address(a.account(), a.number()).unwrap();
    let txn = b.core.store.begin();
    let result = crate::signal::decrypt(&txn, &from, &crate::signal::Ciphertext::Session(message), &b.core.env);
    assert!(matches!(result, Err(crate::SdkError::Crashed)), "{result:?}");
}

/// libsignal's stored session, as far as the test changes it: the rest is kept as it is.
fn without_pq_state(record: &[u8]) -> Vec<u8> {
    const CURRENT_SESSION: u32 = 1;
    const PQ_RATCHET_STATE: u32 = 15;
    map_field(record, CURRENT_SESSION, &|session| Some(map_field(session, PQ_RATCHET_STATE, &|_| None)))
}

/// Rewrites a length-delimited field of a protobuf message.
fn map_field(message: &[u8], number: u32, change: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};
    let (mut rest, mut out, mut found) = (message, Vec::new(), false);
    while !rest.is_empty() {
        let begin = rest;
        let (tag, kind) = decode_key(&mut rest).unwrap();
        if tag == number && kind == WireType::LengthDelimited {
            found = true;
            let length = decode_varint(&mut rest).unwrap() as usize;
            if let Some(value) = change(&rest[..length]) {
                encode_key(tag, kind, &mut out);
                encode_varint(value.len() as u64, &mut out);
                out.extend(value);
            }
            rest = &rest[length..];
        } else {
            skip_field(kind, tag, &mut rest, DecodeContext::default()).unwrap();
            out.extend_from_slice(&begin[..begin.len() - rest.len()]);
        }
    }
    assert!(found, "field {number}");
    out
}

/// A peer that leaves the post-quantum ratchet out, which libsignal 0.85 would go along with.
#[test]
fn a_session_without_post_quantum_ratchet_is_refused() {
    let (mut world, mut a, mut b, mut deliver) = one_on_the_way(true);
    let to = crate::signal::address(b.account(), b.number()).unwrap();
    // the peer's library drops it before its first message
    let txn = a.core.store.begin();
    let record = txn.session(&to).unwrap().unwrap().serialize().unwrap();
    let stripped = libsignal_protocol::SessionRecord::deserialize(&without_pq_state(&record)).unwrap();
    txn.set_session(&to, &stripped).unwrap();
    let content = nepto_proto::content::Content::default();
    let plain = nepto_proto::content::seal(&content);
    let (kind, ciphertext) = crate::signal::encrypt(&txn, &to, &plain, &a.core.env).unwrap();
    drop(txn);
    let envelope = deliver.envelope.as_mut().unwrap();
    envelope.r#type = kind.into();
    envelope.ciphertext = ciphertext.into();
    world.deliver(&mut b, &deliver);
    let refused =
        |e: &Event| matches!(e, Event::Undecryptable { reason, .. } if reason.contains("post-quantum protection"));
    assert!(b.events.iter().any(refused), "{:?}", b.events);
    assert!(b.core.store.begin().session(&crate::signal::address(a.account(), a.number()).unwrap()).unwrap().is_none());
    a.events.clear();
}

#[test]
fn real_fields_pass() {
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&[0]), Ok(()));
    assert_eq!(check(&[2, 9]), Ok(()));
    assert_eq!(check(&[1, 1, 0, 0]), Ok(()));
    assert_eq!(check(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 4]), Ok(()));
    let all: Vec<u8> =
        [vec![1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 5, 0xff, 0xff, 3], vec![7; 32]].concat();
    assert_eq!(check(&all), Ok(()));
}

/// Fields that look right at first: what random bytes rarely do.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |length| proptest::collection::vec(any::<u8>(), length);
    // what a ratchet is really at, and what it never reaches
    let number = || {
        prop_oneof![
            3 => (0u8..=10).prop_map(|small| vec![small]),
            1 => bytes(0..4).prop_map(|large| large.iter().map(|byte| byte | 0x80).chain([1]).collect()),
        ]
    };
    let rest = prop_oneof![bytes(0..50), (number(), bytes(30..36)).prop_map(|(chunk, body)| [chunk, body].concat())];
    let parts = (number(), number(), 0u8..9, rest);
    prop_oneof![
        1 => bytes(0..80),
        3 => parts.prop_map(|(epoch, index, kind, rest)| [vec![1], epoch, index, vec![kind], rest].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What the guard lets through never panics below it, in either kind of message.
    #[test]
    fn what_passes_does_not_crash(fields in proptest::collection::vec(nearly_right(), 20)) {
        thread_local! {
            static WORLDS: [(World, Device, Device, Deliver); 4] =
                [one_on_the_way(false), one_on_the_way(true), far_along(7), far_along(80)];
        }
        WORLDS.with(|worlds| {
            for (_, a, b, deliver) in worlds {
                let from = crate::signal::address(a.account(), a.number()).unwrap();
                for field in &fields {
                    let envelope = with_field(deliver, field).envelope.unwrap();
                    let Ok(ciphertext) = crate::signal::Ciphertext::read(envelope.r#type, &envelope.ciphertext) else {
                        continue;
                    };
                    let txn = b.core.store.begin();
                    let result = crate::signal::decrypt(&txn, &from, &ciphertext, &b.core.env);
                    assert!(!matches!(result, Err(crate::SdkError::Crashed)), "{field:?}");
                }
            }
        });
    }
}
