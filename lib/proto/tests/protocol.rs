//! `docs/PROTOCOL.md` and `docs/vectors.json` say what the code does. Set `NEPTO_UPDATE_DOCS=1` to write what has changed.

use std::fs;
use std::path::{Path, PathBuf};

use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use nepto_proto::api::keys::repeated_use_digest;
use nepto_proto::certificate::{ByKey, Resource, SignedMessage};
use nepto_proto::content::{self, Content, Text, content::Kind as ContentKind};
use nepto_proto::siwe::SiweMessage;
use nepto_proto::wire::{
    Ack, CiphertextType, ClientFrame, Cursor, Deliver, DeviceCiphertext, Envelope, Hello, SendDm, ServerFrame,
    client_frame, server_frame,
};
use nepto_proto::{CloseCode, ErrorCode, RegistrationId};
use prost::Message;
use serde_json::{Value, json};
use time::macros::datetime;

/// This package in the checkout that the tests run in, which may be another than the one they were built in.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("cargo runs this")
}

fn docs() -> PathBuf {
    package().join("../../docs")
}

/// Compares a file with what it should be, or writes it.
fn expect_file(path: &Path, wanted: &str) {
    if std::env::var_os("NEPTO_UPDATE_DOCS").is_some() {
        fs::write(path, wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "{} is out of step; run with NEPTO_UPDATE_DOCS=1", path.display());
}

/// The page with the parts that are generated filled in anew.
fn page_in_step(page: &str) -> String {
    let mut page = page.to_owned();
    for file in ["nepto.proto", "content.proto"] {
        let text = fs::read_to_string(package().join("proto").join(file)).unwrap();
        let marker = format!("`proto/{file}`:\n\n```proto\n");
        let start = page.find(&marker).expect("the marker of a proto file") + marker.len();
        let end = start + page[start..].find("```").expect("the end of a proto file");
        page.replace_range(start..end, &format!("{}\n", text.trim_end()));
    }
    let marker = "<!-- codes -->\n";
    let start = page.find(marker).expect("the marker of the codes") + marker.len();
    let end = start + page[start..].find("\n## ").expect("the section after the codes");
    let mut table = String::from("\n| code | HTTP | meaning |\n|---|---|---|\n");
    for code in ErrorCode::ALL {
        table.push_str(&format!("| `{code}` | {} | {} |\n", code.status(), code.title()));
    }
    page.replace_range(start..end, &table);
    page
}

#[test]
fn the_page_is_in_step_with_the_code() {
    let path = docs().join("PROTOCOL.md");
    let page = fs::read_to_string(&path).unwrap();
    expect_file(&path, &page_in_step(&page));
    for code in CloseCode::ALL {
        let row = format!("| {} | {} |", code.get(), code.reason());
        assert!(page.contains(&row), "PROTOCOL.md lacks the close code: {row}");
    }
}

#[test]
fn the_vectors_are_what_the_code_computes() {
    let text = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    expect_file(&docs().join("vectors.json"), &text);
}

fn vectors() -> Value {
    json!({
        "sign_in": sign_in(),
        "content": padded_content(),
        "frames": [hello(), send(), ack(), deliver()],
        "repeated_use_digest": digest(),
    })
}

fn sign_in() -> Value {
    // the first key of every Ethereum development chain; never put money there
    let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let signer: PrivateKeySigner = key.parse().unwrap();
    let identity_key: [u8; 33] = std::array::from_fn(|index| if index == 0 { 5 } else { index as u8 });
    let registration_id = RegistrationId::try_from(4711).unwrap();
    let message = SiweMessage {
        domain: "chat.example.org".into(),
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
    assert_eq!(signed.verify("chat.example.org", &ByKey).unwrap(), message);
    json!({
        "private_key": format!("0x{key}"),
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
        kind: Some(ContentKind::Text(Text { body: "gm".into(), reply_to: None })),
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
    let (identity, signed, last_resort) = ([5u8; 33], [6u8; 33], [8u8; 1569]);
    let digest = repeated_use_digest(&identity, (1, &signed), (2, &last_resort));
    json!({
        "identity_key": hex::encode(identity),
        "signed_prekey": { "id": 1, "public_key": hex::encode(signed) },
        "last_resort": { "id": 2, "public_key": hex::encode(last_resort) },
        "digest": hex::encode(digest),
    })
}
