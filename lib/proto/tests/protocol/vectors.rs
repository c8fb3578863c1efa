//! The test vectors: everything that has to come out byte for byte in any language.

use alloy_primitives::Address;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use nepto_proto::api::auth::refresh_text;
use nepto_proto::api::keys::{one_time_tag, repeated_use_digest, sum_of_tags};
use nepto_proto::certificate::{ByKey, Resource, SignedMessage, WalletLink, wallets_of};
use nepto_proto::content::{self, Content, SentSync, Text, content::Kind as ContentKind};
use nepto_proto::siwe::SiweMessage;
use nepto_proto::wire::{
    Ack, CiphertextType, ClientFrame, Cursor, Deliver, DeviceCiphertext, Envelope, Hello, SendDm, ServerFrame,
    client_frame, server_frame,
};
use nepto_proto::xeddsa::PublicKey;
use nepto_proto::{AccountId, DeviceId, RegistrationId};
use prost::Message;
use serde_json::{Value, json};
use time::macros::datetime;
use uuid::Uuid;

use crate::{docs, expect_file};

#[test]
fn the_vectors_are_what_the_code_computes() {
    let text = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    expect_file(&docs().join("vectors.json"), &text);
}

fn vectors() -> Value {
    json!({
        "sign_in": sign_in(),
        "link": link(),
        "revoke": revoke(),
        "content": padded_content(),
        "sent_sync": sent_sync(),
        "frames": [hello(), send(), ack(), deliver()],
        "pq_ratchet": pq_ratchet(),
        "repeated_use_digest": digest(),
        "refresh": refresh(),
        "xeddsa": xeddsa(),
        "one_time_sum": one_time_sum(),
    })
}

const DOMAIN: &str = "chat.example.org";
/// The first two keys of every Ethereum development chain; never put money there.
const FIRST_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const SECOND_KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

fn wallet(key: &str) -> PrivateKeySigner {
    key.parse().unwrap()
}

/// What a wallet signs about a resource.
fn sign(by: &PrivateKeySigner, nonce: &str, resource: &Resource) -> SignedMessage {
    let message = SiweMessage {
        scheme: None,
        domain: DOMAIN.into(),
        address: by.address(),
        statement: None,
        uri: format!("https://{DOMAIN}"),
        chain_id: 1,
        nonce: nonce.into(),
        issued_at: datetime!(2026-11-22 10:00:00 UTC).into(),
        expiration_time: None,
        not_before: None,
        request_id: None,
        resources: vec![resource.to_string()],
    };
    let text = message.to_string();
    let signature = by.sign_message_sync(text.as_bytes()).unwrap();
    let signed = SignedMessage { message: text, signature: format!("0x{}", hex::encode(signature.as_bytes())) };
    assert_eq!(signed.verify(DOMAIN, &ByKey).unwrap().resource().as_ref(), Some(resource));
    signed
}

fn link() -> Value {
    let (approver, newcomer) = (wallet(FIRST_KEY), wallet(SECOND_KEY));
    let account = AccountId::new(Uuid::from_u128(0x019a_2b3c_4d5e_7f60_8123_4567_89ab_cdef));
    let approval = sign(&approver, "q7w2e9r4t1y8u3i6o5p0asdf", &Resource::Link(newcomer.address()));
    let consent =
        sign(&newcomer, "z1x8c5v2b9n6m3l0kjhgfdsa", &Resource::Join { account, approver: approver.address() });
    let link = WalletLink { approval, consent };
    let wallets = wallets_of(account, approver.address(), std::slice::from_ref(&link), DOMAIN, &ByKey);
    assert_eq!(wallets.len(), 2);
    json!({
        "approving_key": format!("0x{FIRST_KEY}"),
        "new_key": format!("0x{SECOND_KEY}"),
        "account": account.to_string(),
        "approval": link.approval,
        "consent": link.consent,
        "wallets": wallets.iter().map(Address::to_string).collect::<Vec<_>>(),
    })
}

fn revoke() -> Value {
    let device = DeviceId::try_from(3).unwrap();
    let signed = sign(&wallet(FIRST_KEY), "m4n7b2v9c6x1z8l5k3j0hgfd", &Resource::Revoke(device));
    json!({ "private_key": format!("0x{FIRST_KEY}"), "device": 3, "signed": signed })
}

/// What own devices are told of a message that went to somebody else.
fn sent_sync() -> Value {
    let text = Content {
        sent_at_ms: 1_763_805_600_000,
        expire_after_s: 0,
        kind: Some(ContentKind::Text(Text { body: "gm".into(), ..Text::default() })),
    };
    let sync = SentSync { to: vec![0x22; 16], content: Some(Box::new(text)), client_msg_id: vec![0x11; 16] };
    let content =
        Content { sent_at_ms: 1_763_805_600_000, expire_after_s: 0, kind: Some(ContentKind::SentSync(Box::new(sync))) };
    json!({
        "sent_at_ms": content.sent_at_ms,
        "sent_sync": {
            "to": "22".repeat(16),
            "client_msg_id": "11".repeat(16),
            "content": { "sent_at_ms": 1_763_805_600_000_u64, "text": { "body": "gm" } },
        },
        "padded": hex::encode(content::seal(&content)),
    })
}

/// Fields `pq_ratchet` of a `SignalMessage`: those that a reader can read to their end, and those that it must not see.
/// The client holds its own check against them (`lib/sdk-core/src/guard.rs`).
fn pq_ratchet() -> Value {
    let field = |accepted: bool, bytes: &[u8], why: &str| json!({ "accepted": accepted, "bytes": hex::encode(bytes), "why": why });
    let chunk = |kind: u8, length: usize| [vec![1, 1, 1, kind, 5], vec![7; length]].concat();
    json!([
        field(true, &[], "empty: the session has no post-quantum ratchet"),
        field(true, &[2, 0xff], "another version, which the reader skips"),
        field(true, &[1, 1, 0, 0], "type 0: no chunk follows"),
        field(true, &[1, 1, 1, 4], "type 4: no chunk follows"),
        field(true, &chunk(1, 32), "type 1 with chunk 5"),
        field(true, &chunk(6, 33), "bytes behind a whole chunk are not looked at"),
        field(false, &[1], "ends before the epoch"),
        field(false, &[1, 0, 1, 0], "epoch 0"),
        field(false, &[1, 1, 0x80], "ends inside the index"),
        field(false, &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0], "an index that does not fit into 32 bits"),
        field(false, &[1, 1, 1], "no type"),
        field(false, &[1, 1, 1, 7], "an unknown type"),
        field(false, &chunk(1, 31), "a chunk of 31 bytes"),
        field(false, &[vec![1, 1, 1, 1, 0x80, 0x80, 0x04], vec![7; 32]].concat(), "chunk number 65536"),
        field(false, &[vec![1], vec![0xff; 11]].concat(), "a number of more than ten bytes"),
    ])
}

fn sign_in() -> Value {
    let signer = wallet(FIRST_KEY);
    let identity_key: [u8; 33] = std::array::from_fn(|index| if index == 0 { 5 } else { index as u8 });
    let registration_id = RegistrationId::try_from(4711).unwrap();
    let message = SiweMessage {
        scheme: None,
        domain: DOMAIN.into(),
        address: signer.address(),
        statement: Some("Sign in to Nepto with this device.".into()),
        uri: "https://chat.example.org".into(),
        chain_id: 1,
        nonce: "k3x9f7qp2mhd5wtz8vbn4rcj".into(),
        issued_at: datetime!(2026-11-22 10:00:00 UTC).into(),
        expiration_time: Some(datetime!(2026-11-22 10:05:00 UTC).into()),
        not_before: None,
        request_id: None,
        resources: vec![Resource::Device { registration_id, identity_key }.to_string()],
    };
    let text = message.to_string();
    let signature = signer.sign_message_sync(text.as_bytes()).unwrap();
    let signed = SignedMessage { message: text.clone(), signature: format!("0x{}", hex::encode(signature.as_bytes())) };
    assert_eq!(signed.verify(DOMAIN, &ByKey).unwrap(), message);
    json!({
        "private_key": format!("0x{FIRST_KEY}"),
        "address": signer.address().to_string(),
        "registration_id": registration_id.get(),
        "identity_key": hex::encode(identity_key),
        "message": text,
        "signature": signed.signature,
    })
}

fn padded_content() -> Value {
    let content = Content {
        sent_at_ms: 1_763_805_600_000,
        expire_after_s: 3_600,
        kind: Some(ContentKind::Text(Text { body: "gm".into(), ..Text::default() })),
    };
    json!({
        "sent_at_ms": content.sent_at_ms,
        "expire_after_s": content.expire_after_s,
        "text": { "body": "gm" },
        "padded": hex::encode(content::seal(&content)),
    })
}

fn client(id: u32, kind: client_frame::Kind, words: Value) -> Value {
    let bytes = ClientFrame { id, kind: Some(kind) }.encode_to_vec();
    json!({ "type": "ClientFrame", "id": id, "kind": words, "bytes": hex::encode(bytes) })
}

fn hello() -> Value {
    let frame = Hello { access_token: "a.b.c".into(), resume: Some(Cursor { epoch: 7, seq: 42 }) };
    let words = json!({ "hello": { "access_token": "a.b.c", "resume": { "epoch": 7, "seq": 42 } } });
    client(1, client_frame::Kind::Hello(frame), words)
}

fn send() -> Value {
    let frame = SendDm {
        client_msg_id: vec![0x11; 16],
        to: vec![0x22; 16],
        to_devices: vec![DeviceCiphertext {
            device: 1,
            registration_id: 4711,
            r#type: CiphertextType::Prekey.into(),
            ciphertext: vec![0xaa, 0xbb].into(),
        }],
        own_devices: vec![],
        recipient_only: false,
        automatic: false,
    };
    let words = json!({ "send_dm": {
        "client_msg_id": "11".repeat(16), "to": "22".repeat(16),
        "to_devices": [{ "device": 1, "registration_id": 4711, "type": "PREKEY", "ciphertext": "aabb" }],
        "own_devices": [],
    } });
    client(2, client_frame::Kind::SendDm(frame), words)
}

fn ack() -> Value {
    client(0, client_frame::Kind::Ack(Ack { up_to: 43 }), json!({ "ack": { "up_to": 43 } }))
}

fn deliver() -> Value {
    let envelope = Envelope {
        from: vec![0x22; 16],
        from_device: 1,
        client_msg_id: vec![0x11; 16],
        r#type: CiphertextType::Session.into(),
        ciphertext: vec![0xcc].into(),
        request: true,
    };
    let frame = Deliver { seq: 43, stored_at_ms: 1_763_805_600_123, envelope: Some(envelope) };
    let bytes = ServerFrame { reply_to: 0, kind: Some(server_frame::Kind::Deliver(frame)) }.encode_to_vec();
    json!({ "type": "ServerFrame", "reply_to": 0, "kind": { "deliver": {
        "seq": 43, "stored_at_ms": 1_763_805_600_123u64,
        "envelope": { "from": "22".repeat(16), "from_device": 1, "client_msg_id": "11".repeat(16),
            "type": "SESSION", "ciphertext": "cc", "request": true },
    } }, "bytes": hex::encode(bytes) })
}

fn digest() -> Value {
    let key = |fill: u8| -> [u8; 33] { std::array::from_fn(|index| if index == 0 { 5 } else { fill }) };
    let (identity, signed, last_resort) = (key(0x11), key(0x22), [8u8; 1569]);
    let digest = repeated_use_digest(&identity, (1, &signed), (2, &last_resort));
    json!({
        "identity_key": hex::encode(identity),
        "signed_prekey": { "id": 1, "public_key": hex::encode(signed) },
        "last_resort": { "id": 2, "public_key": hex::encode(last_resort) },
        "digest": hex::encode(digest),
    })
}

/// What a device signs to refresh its tokens. The signature is by the key of the first of [`xeddsa`], with 64 zero bytes for
/// the random ones.
fn refresh() -> Value {
    const KEY: &str = "05ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322c64";
    const TOKEN: &str = "AZP0DVhjcACAAAAAAAAAAQGT9A1YY3AAgAAAAAAAAAIAAAAHVGhpcyBpcyBub3QgYSByZWFsIG1hYywgMzIgYnl0ZXM";
    const SIGNATURE: &str = "aab7a81fc4fa7213f6462119bf6ff1af105c82e41615590991d42bfe2dbe7d0b04c56eab27ecf0c680177aabb0f3438835248815b96298b5f157b0c05d7de98a";
    let text = refresh_text(DOMAIN, TOKEN);
    let key = PublicKey::from_serialized(&hex::decode(KEY).unwrap()).unwrap();
    key.verify(text.as_bytes(), &hex::decode(SIGNATURE).unwrap()).unwrap();
    json!({
        "domain": DOMAIN, "refresh_token": TOKEN, "text": text, "identity_key": KEY, "signature": SIGNATURE,
    })
}

/// One-time keys and the sum that stands for them.
fn one_time_sum() -> Value {
    let keys = [(16_777_214, [5u8; 33]), (16_777_215, [6; 33])];
    let tags = keys.map(|(id, key)| one_time_tag(id, &key));
    let named =
        |((id, key), tag): ((u32, [u8; 33]), u64)| json!({ "id": id, "public_key": hex::encode(key), "tag": tag });
    json!({ "keys": keys.into_iter().zip(tags).map(named).collect::<Vec<_>>(), "sum": sum_of_tags(tags) })
}

/// Signatures by identity keys. The first was made by libsignal, and stands in its tests; the others say what is refused.
fn xeddsa() -> Value {
    const KEY: &str = "05ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322c64";
    const MESSAGE: &str = "05edce9d9c415ca78cb7252e72c2c4a554d3eb29485a0e1d503118d1a82d99fb4a";
    const R: &str = "5de88ca9a89b4a115da79109c67c9c7464a3e4180274f1cb8c63c2984e286dfb";
    const S: &str = "ede82deb9dcd9fae0bfbb821569b3d9001bd8130cd11d486cef047bd60b86e88";
    // the same number, plus the order of the group
    const S_AND_ORDER: &str = "dabc2348b830b206e297b0c434951ca501bd8130cd11d486cef047bd60b86e98";
    // the same `u`, with the bit set that is not part of it
    const KEY_WITH_BIT: &str = "05ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322ce4";
    let zero = format!("05{}", "00".repeat(32));
    let case = |what: &str, key: &str, message: &str, signature: String| {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let key_read = PublicKey::from_serialized(&bytes(key));
        let verdict = key_read.and_then(|read| read.verify(&bytes(message), &bytes(&signature)));
        json!({ "what": what, "public_key": key, "message": message, "signature": signature, "valid": verdict.is_ok() })
    };
    json!([
        case("as libsignal makes it, with the sign of x in the highest bit", KEY, MESSAGE, format!("{R}{S}")),
        case("the other sign", KEY, MESSAGE, format!("{R}{}08", &S[..62])),
        case("another message", KEY, KEY, format!("{R}{S}")),
        case("s is not the smallest", KEY, MESSAGE, format!("{R}{S_AND_ORDER}")),
        case("the key is not in its canonical form", KEY_WITH_BIT, MESSAGE, format!("{R}{S}")),
        case("a key of small order", &zero, MESSAGE, format!("{R}{S}")),
    ])
}
