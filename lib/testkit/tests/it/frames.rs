//! Frames have a price, closes and pings are those of RFC 6455, and a page in a browser can see that a link lives.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nepto_proto::wire::{self, ClientFrame, Hello, Ping, Typing, client_frame, server_frame};
use nepto_proto::{CloseCode, ErrorCode};
use nepto_sdk::Client;
use nepto_sdk::socket::{Socket, SocketError};
use nepto_testkit::{Stack, eventually, seconds};
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::people::{Person, Raw, devices_of, early_in_window, friends, opaque};
use crate::socket::{Ws, close_code, connect};

/// A bare WebSocket of a device that has been welcomed.
async fn welcomed(stack: &Stack, client: &Client) -> Ws {
    let mut ws = connect(stack, Some("nepto.v1")).await.unwrap();
    let hello = Hello { access_token: client.http().access_token().await.unwrap(), resume: None };
    ws.send(binary(client_frame::Kind::Hello(hello))).await.unwrap();
    while !matches!(next_kind(&mut ws).await, server_frame::Kind::Welcome(_)) {}
    ws
}

fn binary(kind: client_frame::Kind) -> Message {
    Message::Binary(ClientFrame { id: 1, kind: Some(kind) }.encode_to_vec().into())
}

async fn next_kind(ws: &mut Ws) -> server_frame::Kind {
    loop {
        let message = tokio::time::timeout(seconds(10), ws.next()).await.expect("no frame came");
        if let Message::Binary(bytes) = message.expect("it ended").unwrap() {
            return nepto_proto::frame::decode_server(bytes).unwrap().kind.unwrap();
        }
    }
}

#[tokio::test]
async fn a_close_is_answered_with_a_close() {
    let stack = Stack::all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    person.client.disconnect();
    for hello in [true, false] {
        for close in [Some(CloseFrame { code: 1000.into(), reason: "bye".into() }), None] {
            let mut ws = match hello {
                true => welcomed(&stack, &person.client).await,
                false => connect(&stack, Some("nepto.v1")).await.unwrap(),
            };
            ws.send(Message::Close(close.clone())).await.unwrap();
            let answer = loop {
                match tokio::time::timeout(seconds(5), ws.next()).await.expect("never closed") {
                    Some(Ok(Message::Close(answer))) => break answer,
                    Some(Ok(_)) => {}
                    end => panic!("no answer, hello {hello}: {end:?}"),
                }
            };
            assert_eq!(answer.map(|answer| answer.code), close.map(|close| close.code), "hello {hello}");
            assert!(ws.next().await.is_none(), "then the connection ends");
        }
    }
}

#[tokio::test]
async fn pings_and_pongs_may_come_before_hello() {
    let stack = Stack::all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    person.client.disconnect();
    let mut ws = connect(&stack, Some("nepto.v1")).await.unwrap();
    ws.send(Message::Pong(Bytes::from_static(b"unasked"))).await.unwrap();
    ws.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    let answer = tokio::time::timeout(seconds(5), ws.next()).await.expect("no answer").unwrap().unwrap();
    assert_eq!(answer, Message::Pong(Bytes::from_static(b"there?")));
    let hello = Hello { access_token: person.client.http().access_token().await.unwrap(), resume: None };
    ws.send(binary(client_frame::Kind::Hello(hello))).await.unwrap();
    assert!(matches!(next_kind(&mut ws).await, server_frame::Kind::Welcome(_)));
}

#[tokio::test]
async fn a_page_can_ask_for_a_sign_of_life() {
    let stack = Stack::all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    person.client.disconnect();
    let mut raw = Raw::open(&stack, &person.client, None).await.unwrap();
    let answer = raw.call(client_frame::Kind::Ping(Ping {})).await.unwrap();
    assert_eq!(answer, server_frame::Kind::Pong(wire::Pong {}));
}

#[tokio::test]
async fn a_stop_reaches_nobody_without_a_start() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    crate::talking::quiet(&stack).await;
    alice.client.disconnect();
    bob.client.disconnect();
    let (mut writer, mut reader) =
        (Raw::open(&stack, &alice.client, None).await.unwrap(), Raw::open(&stack, &bob.client, None).await.unwrap());
    let typing = |active| client_frame::Kind::Typing(Typing { to: bob.account().to_vec(), active });
    for active in [false, false, true, false, false, false] {
        writer.socket.send(typing(active)).await.unwrap();
    }
    // the answer comes after everything that was passed on before it was asked for
    writer.call(client_frame::Kind::Ping(Ping {})).await.unwrap();
    let mut heard = Vec::new();
    while let Ok(frame) = tokio::time::timeout(seconds(1), reader.frame()).await {
        if let Some(server_frame::Kind::TypingFrom(typing)) = frame.unwrap().kind {
            heard.push(typing.active);
        }
    }
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard.contains(&true) && heard.contains(&false), "{heard:?}");
}

/// What somebody who floods sends, again and again.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Stops,
    Starts,
    Pings,
    WebSocketPings,
    WebSocketPongs,
    EmptyAcks,
    RefusedSends,
    EmptyPieces,
}

impl Flood {
    const ALL: [Self; 8] = [
        Self::Stops,
        Self::Starts,
        Self::Pings,
        Self::WebSocketPings,
        Self::WebSocketPongs,
        Self::EmptyAcks,
        Self::RefusedSends,
        Self::EmptyPieces,
    ];

    async fn send(self, ws: &mut Ws, to: &wire::SendDm) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let typing = |active| client_frame::Kind::Typing(Typing { to: to.to.clone(), active });
        let message = match self {
            Self::Stops => binary(typing(false)),
            Self::Starts => binary(typing(true)),
            Self::Pings => binary(client_frame::Kind::Ping(Ping {})),
            Self::WebSocketPings => Message::Ping(Bytes::new()),
            Self::WebSocketPongs => Message::Pong(Bytes::new()),
            Self::EmptyAcks => binary(client_frame::Kind::Ack(wire::Ack { up_to: 0 })),
            Self::RefusedSends => binary(client_frame::Kind::SendDm(to.clone())),
            Self::EmptyPieces => {
                let MaybeTlsStream::Plain(tcp) = ws.get_mut() else { panic!("no TLS here") };
                // the first piece of a message, masked and empty; or one more
                return Ok(tcp.write_all(&[0x00, 0x80, 1, 2, 3, 4]).await?);
            }
        };
        ws.feed(message).await
    }
}

/// Floods until the gateway has had enough; how many it took, and the code.
async fn flood(ws: &mut Ws, kind: Flood, to: &wire::SendDm) -> (u32, Option<u16>) {
    if let (Flood::EmptyPieces, MaybeTlsStream::Plain(tcp)) = (kind, ws.get_mut()) {
        tcp.write_all(&[0x02, 0x80, 1, 2, 3, 4]).await.unwrap();
    }
    let mut sent = 0;
    while sent < 20_000 && kind.send(ws, to).await.is_ok() {
        sent += 1;
        if sent % 50 == 0 {
            if ws.flush().await.is_err() {
                break;
            }
            // what comes back is read, and the end is not overrun by much
            match tokio::time::timeout(Duration::from_millis(5), ws.next()).await {
                Ok(Some(Ok(Message::Close(close)))) => return (sent, close.map(|close| close.code.into())),
                Ok(Some(Err(_)) | None) => break,
                _ => {}
            }
        }
    }
    (sent, close_code(ws).await)
}

#[tokio::test]
async fn who_floods_is_closed_and_kept_out_for_a_while() {
    let stack = Stack::builder().set("gateway.frames_burst", 100).set("gateway.barred_s", 3).all().await.unwrap();
    let (mut alice, bob) = friends(&stack).await.unwrap();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    // for a device that is not there
    let to = opaque(1, bob.account(), &[devices[0], (99.try_into().unwrap(), 5)], b"x");
    for kind in Flood::ALL {
        let flooder = alice.second_device(&stack).await.unwrap();
        flooder.client.disconnect();
        let mut ws = welcomed(&stack, &flooder.client).await;
        let (sent, code) = flood(&mut ws, kind, &to).await;
        assert!(sent < 20_000, "{kind:?} is not stopped");
        // a connection that is reset under a flood may lose its last words
        assert!([Some(CloseCode::Abuse.get()), None].contains(&code), "{kind:?}: {code:?}");
        let kept_out = eventually(seconds(5), async || match Raw::open(&stack, &flooder.client, None).await {
            Ok(_) => Ok(false),
            Err(error) => match error.downcast_ref() {
                Some(SocketError::Refused { code, .. }) => Ok(*code == ErrorCode::RateLimited),
                _ => Ok(false),
            },
        });
        kept_out.await.unwrap_or_else(|_| panic!("{kind:?} is not kept out"));
        // nobody else is: neither the person's other devices, nor this one when it signs in again
        alice.client.disconnect();
        alice.events = alice.client.connect().await.unwrap();
        alice.until(|event| matches!(event, nepto_sdk::Event::CaughtUp)).await.unwrap();
        let back = eventually(seconds(15), async || Ok(Raw::open(&stack, &flooder.client, None).await.is_ok()));
        back.await.unwrap_or_else(|_| panic!("{kind:?} stays out"));
        flooder.client.sign_out(false).await.unwrap();
    }
}

#[tokio::test]
async fn a_flood_is_over_after_twice_the_allowance() {
    let stack = Stack::builder().set("gateway.frames_burst", 50).all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    crate::talking::quiet(&stack).await;
    alice.client.disconnect();
    let mut raw = Raw::open(&stack, &alice.client, None).await.unwrap();
    let ping = || client_frame::Kind::Ping(Ping {});
    for _ in 0..50 {
        assert!(matches!(raw.call(ping()).await.unwrap(), server_frame::Kind::Pong(_)));
    }
    let mut limited = None;
    let error = loop {
        match raw.call(ping()).await {
            Ok(server_frame::Kind::Error(error)) => limited = Some(error),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let limited = limited.expect("it is said before it is over");
    assert_eq!(limited.code, ErrorCode::RateLimited.as_str());
    assert!((1..=10_000).contains(&limited.retry_after_ms), "{}", limited.retry_after_ms);
    assert_eq!(error.downcast_ref::<SocketError>().and_then(SocketError::close_code), Some(CloseCode::Abuse));
    assert!(bob.client.is_connected());
}

#[tokio::test]
async fn a_device_says_hello_so_often() {
    let stack = Stack::builder().set("limits.hellos_per_device_per_minute", 10).all().await.unwrap();
    early_in_window(seconds(60)).await;
    let person = Person::join(&stack).await.unwrap();
    person.client.disconnect();
    let token = person.client.http().access_token().await.unwrap();
    let url = &stack.sockets()[0];
    let mut welcomed = 0;
    let refused = loop {
        match Socket::open(url, &token, None, seconds(10)).await {
            Ok(_) => welcomed += 1,
            Err(error) => break error,
        }
        assert!(welcomed <= 10, "nothing stops it");
    };
    assert_eq!(refused.code(), Some(ErrorCode::RateLimited), "{refused}");
    // another device has its own
    let phone = person.second_device(&stack).await.unwrap();
    assert!(phone.client.is_connected());
}
