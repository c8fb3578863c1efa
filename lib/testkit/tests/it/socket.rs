//! The socket: bad input, windows, duplicates, two connections of one device.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nepto_proto::limits::{ACK_WINDOW, CIPHERTEXT_BYTES_MAX, FRAME_BYTES_MAX};
use nepto_proto::subject::Shards;
use nepto_proto::wire::{ClientFrame, DeviceCiphertext, PresenceQuery, Typing, client_frame, server_frame};
use nepto_proto::{AccountId, CloseCode, ErrorCode};
use nepto_testkit::{Stack, eventually, seconds};
use prost::Message as _;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use crate::people::{Person, Raw, devices_of, friends, opaque};

pub type Ws = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub async fn connect(stack: &Stack, subprotocol: Option<&'static str>) -> Result<Ws, Error> {
    let mut request = stack.sockets()[0].as_str().into_client_request().unwrap();
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(subprotocol));
    }
    tokio_tungstenite::connect_async(request).await.map(|(ws, _)| ws)
}

pub async fn close_code(ws: &mut Ws) -> Option<u16> {
    loop {
        match tokio::time::timeout(seconds(20), ws.next()).await.expect("never closed") {
            Some(Ok(Message::Close(close))) => return close.map(|close| close.code.into()),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

#[tokio::test]
async fn what_is_not_the_protocol_is_closed_with_a_documented_code() {
    let stack = Stack::all().await.unwrap();
    for subprotocol in [None, Some("chat.v2")] {
        let Err(Error::Http(response)) = connect(&stack, subprotocol).await else { panic!("it was let in") };
        assert_eq!(response.status(), 400);
    }
    // no WebSocket at all
    let response = crate::http::get(format!("{}/v1/socket", stack.url())).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (400, &"application/problem+json".parse().unwrap())
    );
    let (_, mut bob) = friends(&stack).await.unwrap();
    let oversized = Message::Binary(Bytes::from(vec![0; FRAME_BYTES_MAX + 1]));
    let no_hello = ClientFrame { id: 1, kind: Some(client_frame::Kind::Ack(Default::default())) }.encode_to_vec();
    for (message, code) in [
        (Message::Text("hello".into()), CloseCode::Malformed),
        (Message::Binary(Bytes::from_static(&[0xff; 20])), CloseCode::Malformed),
        (Message::Binary(Bytes::from(no_hello)), CloseCode::Unauthenticated),
        (oversized, CloseCode::TooLarge),
    ] {
        let mut ws = connect(&stack, Some("nepto.v1")).await.unwrap();
        ws.send(message).await.unwrap();
        assert_eq!(close_code(&mut ws).await, Some(code.get()), "{code:?}");
    }
    // a frame that no client may send: it is not masked (RFC 6455, 5.1)
    let mut ws = connect(&stack, Some("nepto.v1")).await.unwrap();
    let tokio_tungstenite::MaybeTlsStream::Plain(tcp) = ws.get_mut() else { panic!("no TLS here") };
    tokio::io::AsyncWriteExt::write_all(tcp, &[0x82, 0x01, 0x00]).await.unwrap();
    assert_eq!(close_code(&mut ws).await, Some(CloseCode::Malformed.get()));
    // others were not touched
    assert!(bob.client.is_connected());
    let alice = Person::join(&stack).await.unwrap();
    alice.says(&bob, "still there?").await.unwrap();
    bob.hears_text("still there?").await.unwrap();
}

#[tokio::test]
async fn tokens_that_are_no_good_close_the_socket() {
    let stack = Stack::all().await.unwrap();
    for token in ["", "nonsense", "a.b.c"] {
        let mut ws = connect(&stack, Some("nepto.v1")).await.unwrap();
        let hello = nepto_proto::wire::Hello { access_token: token.into(), resume: None };
        let frame = ClientFrame { id: 1, kind: Some(client_frame::Kind::Hello(hello)) };
        ws.send(Message::Binary(frame.encode_to_vec().into())).await.unwrap();
        assert_eq!(close_code(&mut ws).await, Some(CloseCode::Unauthenticated.get()));
    }
}

#[tokio::test]
async fn tokens_that_were_good_once_close_the_socket() {
    let stack = Stack::builder().set("tokens.access_ttl_s", 1).all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    let token = person.client.http().access_token().await.unwrap();
    person.client.disconnect();
    let (body, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{body}.{flipped}{}", &signature[1..]);
    tokio::time::sleep(seconds(2)).await;
    for token in [token.clone(), tampered] {
        let mut ws = connect(&stack, Some("nepto.v1")).await.unwrap();
        let hello = nepto_proto::wire::Hello { access_token: token, resume: None };
        let frame = ClientFrame { id: 1, kind: Some(client_frame::Kind::Hello(hello)) };
        ws.send(Message::Binary(frame.encode_to_vec().into())).await.unwrap();
        assert_eq!(close_code(&mut ws).await, Some(CloseCode::Unauthenticated.get()));
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_one_by_one_and_the_socket_stays() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    crate::talking::quiet(&stack).await;
    alice.client.disconnect();
    bob.client.disconnect();
    let mut raw = Raw::open(&stack, &alice.client, None).await.unwrap();
    let good = opaque(1, bob.account(), &devices, b"x");
    let nobody = AccountId::new(Uuid::from_u128(99));
    let send = client_frame::Kind::SendDm;
    let twice = [good.to_devices.clone(), good.to_devices.clone()].concat();
    let large = DeviceCiphertext { ciphertext: vec![0; CIPHERTEXT_BYTES_MAX + 1].into(), ..good.to_devices[0].clone() };
    let mut cases = vec![
        (ErrorCode::Malformed, send(nepto_proto::wire::SendDm { client_msg_id: vec![1; 15], ..good.clone() })),
        (ErrorCode::Malformed, send(nepto_proto::wire::SendDm { to: vec![], ..good.clone() })),
        (ErrorCode::Malformed, send(nepto_proto::wire::SendDm { to_devices: twice, ..good.clone() })),
        (ErrorCode::TooLarge, send(nepto_proto::wire::SendDm { to_devices: vec![large], ..good.clone() })),
        (ErrorCode::AccountUnknown, send(nepto_proto::wire::SendDm { to: nobody.to_vec(), ..good.clone() })),
        (ErrorCode::AckBeyondDelivered, client_frame::Kind::Ack(nepto_proto::wire::Ack { up_to: u64::MAX })),
        (ErrorCode::AlreadyHello, client_frame::Kind::Hello(Default::default())),
        (ErrorCode::Malformed, client_frame::Kind::Typing(Typing { to: vec![1], active: true })),
        (ErrorCode::Malformed, client_frame::Kind::PresenceQuery(PresenceQuery { accounts: vec![vec![1]] })),
        (ErrorCode::TooLarge, client_frame::Kind::PresenceQuery(PresenceQuery { accounts: vec![vec![1; 16]; 501] })),
    ];
    for (code, kind) in cases.drain(..) {
        let server_frame::Kind::Error(error) = raw.call(kind).await.unwrap() else { panic!("accepted: {code}") };
        assert_eq!(error.code, code.as_str(), "{}", error.detail);
        assert!(!error.detail.is_empty());
    }
    assert_eq!(stack.nats.mailboxes(Shards::DEFAULT).await.unwrap(), 0, "something was stored");
    assert!(matches!(raw.call(send(good)).await.unwrap(), server_frame::Kind::Stored(_)));
}

#[tokio::test]
async fn an_unknown_kind_of_frame_is_answered_and_survived() {
    let stack = Stack::all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    person.client.disconnect();
    let token = person.client.http().access_token().await.unwrap();
    let mut ws = connect(&stack, Some("nepto.v1")).await.unwrap();
    let hello = nepto_proto::wire::Hello { access_token: token, resume: None };
    let frame = ClientFrame { id: 1, kind: Some(client_frame::Kind::Hello(hello)) };
    ws.send(Message::Binary(frame.encode_to_vec().into())).await.unwrap();
    // id 9, and field 15 that this version does not know
    ws.send(Message::Binary(Bytes::from_static(&[0x08, 0x09, 0x7a, 0x00]))).await.unwrap();
    let answer = loop {
        let Some(Ok(Message::Binary(bytes))) = ws.next().await else { continue };
        let frame = nepto_proto::frame::decode_server(bytes).unwrap();
        if frame.reply_to == 9 {
            break frame;
        }
    };
    let Some(server_frame::Kind::Error(error)) = answer.kind else { panic!("{answer:?}") };
    assert_eq!(error.code, ErrorCode::UnknownFrame.as_str());
}

#[tokio::test]
async fn too_many_bad_requests_end_the_connection() {
    let stack = Stack::builder().set("gateway.errors_max", 10).all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    person.client.disconnect();
    let mut raw = Raw::open(&stack, &person.client, None).await.unwrap();
    let error = loop {
        let bad = client_frame::Kind::Typing(Typing { to: vec![1], active: true });
        if let Err(error) = raw.call(bad).await {
            break error;
        }
    };
    let error: &nepto_sdk::socket::SocketError = error.downcast_ref().unwrap();
    assert_eq!(error.close_code(), Some(CloseCode::Abuse));
}

#[tokio::test]
async fn a_wrong_device_list_is_told_and_nothing_is_stored() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let phone = bob.second_device(&stack).await.unwrap();
    let mut devices = devices_of(&alice.client, bob.account()).await.unwrap();
    crate::talking::quiet(&stack).await;
    bob.client.disconnect();
    phone.client.disconnect();
    alice.client.disconnect();
    let mut raw = Raw::open(&stack, &alice.client, None).await.unwrap();
    let gone = devices.remove(0);
    devices[0].1 = devices[0].1 % 16_000 + 1;
    devices.push((99.try_into().unwrap(), 5));
    let send = client_frame::Kind::SendDm(opaque(1, bob.account(), &devices, b"x"));
    let server_frame::Kind::Mismatch(mismatch) = raw.call(send).await.unwrap() else { panic!("stored") };
    assert_eq!(mismatch.missing, [u32::from(gone.0)]);
    assert_eq!(mismatch.extra, [99]);
    assert_eq!(mismatch.stale, [u32::from(devices[0].0)]);
    assert_eq!(stack.nats.mailboxes(Shards::DEFAULT).await.unwrap(), 0);
}

#[tokio::test]
async fn a_retry_stores_nothing_twice_and_a_stranger_cannot_shadow_an_id() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let mallory = Person::join(&stack).await.unwrap();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    for client in [&alice.client, &bob.client, &mallory.client] {
        client.disconnect();
    }
    crate::talking::mailboxes_empty(&stack).await;
    let send = || client_frame::Kind::SendDm(opaque(7, bob.account(), &devices, b"x"));
    let mut theirs = Raw::open(&stack, &mallory.client, None).await.unwrap();
    let server_frame::Kind::Stored(first) = theirs.call(send()).await.unwrap() else { panic!() };
    assert!(!first.duplicate);
    let mut raw = Raw::open(&stack, &alice.client, None).await.unwrap();
    for duplicate in [false, true, true] {
        let server_frame::Kind::Stored(stored) = raw.call(send()).await.unwrap() else { panic!() };
        assert_eq!(stored.duplicate, duplicate);
    }
    assert_eq!(stack.nats.mailboxes(Shards::DEFAULT).await.unwrap(), 2, "one of each sender");
}

#[tokio::test]
async fn who_does_not_acknowledge_gets_no_more_than_a_window() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    crate::talking::quiet(&stack).await;
    alice.client.disconnect();
    bob.client.disconnect();
    let mut sender = Raw::open(&stack, &alice.client, None).await.unwrap();
    let mut receiver = Raw::open(&stack, &bob.client, None).await.unwrap();
    let all = ACK_WINDOW as u128 * 2 + 10;
    for number in 0..all {
        let send = client_frame::Kind::SendDm(opaque(number, bob.account(), &devices, &number.to_be_bytes()));
        assert!(matches!(sender.call(send).await.unwrap(), server_frame::Kind::Stored(_)));
    }
    let mut got = Vec::new();
    while let Ok(Ok(deliver)) = tokio::time::timeout(seconds(2), receiver.delivery()).await {
        got.push(deliver);
    }
    assert_eq!(got.len(), ACK_WINDOW as usize);
    receiver.ack(got.last().unwrap().seq).await.unwrap();
    while got.len() < all as usize {
        let deliver = receiver.delivery().await.unwrap();
        receiver.ack(deliver.seq).await.unwrap();
        got.push(deliver);
    }
    let order: Vec<u128> = got
        .iter()
        .map(|deliver| u128::from_be_bytes(deliver.envelope.as_ref().unwrap().ciphertext[..].try_into().unwrap()))
        .collect();
    assert_eq!(order, (0..all).collect::<Vec<_>>());
    crate::talking::mailboxes_empty(&stack).await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_a_cursor_is_honoured() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    crate::talking::quiet(&stack).await;
    alice.client.disconnect();
    bob.client.disconnect();
    let mut sender = Raw::open(&stack, &alice.client, None).await.unwrap();
    for number in 0..3 {
        let send = client_frame::Kind::SendDm(opaque(number, bob.account(), &devices, b"x"));
        sender.call(send).await.unwrap();
    }
    let mut first = Raw::open(&stack, &bob.client, None).await.unwrap();
    let seqs: Vec<u64> = [first.delivery().await, first.delivery().await, first.delivery().await]
        .into_iter()
        .map(|deliver| deliver.unwrap().seq)
        .collect();
    let epoch = first.epoch;
    drop(first);
    let mut again = Raw::open(&stack, &bob.client, None).await.unwrap();
    assert_eq!(again.delivery().await.unwrap().seq, seqs[0]);
    drop(again);
    let mut resumed = Raw::open(&stack, &bob.client, Some((epoch, seqs[1]))).await.unwrap();
    assert_eq!(resumed.delivery().await.unwrap().seq, seqs[2]);
    drop(resumed);
    eventually(seconds(5), async || Ok(stack.nats.mailboxes(Shards::DEFAULT).await? == 1)).await.unwrap();
    // a cursor of another epoch means nothing; what it would have acknowledged is there still
    let mut other = Raw::open(&stack, &bob.client, Some((epoch + 1, seqs[2]))).await.unwrap();
    assert_eq!(other.delivery().await.unwrap().seq, seqs[2]);
    drop(other);
    // nor does one that the mailbox never reached; and nobody else's messages stop being purged
    let mut beyond = Raw::open(&stack, &bob.client, Some((epoch, u64::MAX))).await.unwrap();
    assert_eq!(beyond.delivery().await.unwrap().seq, seqs[2]);
    beyond.ack(seqs[2]).await.unwrap();
    crate::talking::mailboxes_empty(&stack).await;
}

#[tokio::test]
async fn of_two_sockets_of_one_device_the_newer_wins_on_any_gateway() {
    let stack = Stack::split(2).await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    person.client.disconnect();
    let token = person.client.http().access_token().await.unwrap();
    let sockets = stack.sockets();
    let open = async |url: &str| nepto_sdk::socket::Socket::open(url, &token, None, seconds(10)).await.unwrap().0;
    for (older, newer) in [(0, 1), (1, 0), (0, 0)] {
        let mut old = open(&sockets[older]).await;
        let new = open(&sockets[newer]).await;
        let closed = loop {
            match tokio::time::timeout(seconds(5), old.recv()).await.expect("the older one stays") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(closed.close_code(), Some(CloseCode::Superseded));
        new.close().await;
    }
}
