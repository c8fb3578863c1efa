//! What one address may take: while it floods, another one is served as ever.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nepto_testkit::{Stack, eventually, resident_bytes, seconds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::people::Person;

/// Where floods come from. Everybody else is at 127.0.0.1, in another /24.
const FLOODER: [u8; 4] = [127, 9, 9, 9];
const UPGRADE: &[u8] = b"GET /v1/socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: nepto.v1\r\n\r\n";
const HALF_A_BODY: &[u8] = b"POST /v1/auth/sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
    Content-Length: 1000\r\n\r\n{";

async fn connect_from(host: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((host, 0).into())?;
    socket.connect(to).await
}

/// A connection of a flood. Nothing where it was reset before anything could be said on it.
type Flooding = Option<TcpStream>;

/// Opens connections that say something.
async fn flood(to: SocketAddr, count: usize, says: &[u8]) -> Vec<Flooding> {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(match connect_from(FLOODER, to).await {
            Ok(mut stream) => {
                // one that was closed at once is counted later
                let _ = stream.write_all(says).await;
                Some(stream)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no connection: {error}"),
        });
    }
    open
}

/// The status of an answer that comes within this time; 0 for a connection that was closed without one.
async fn status(stream: &mut Flooding, within: Duration) -> Option<u16> {
    let Some(stream) = stream else { return Some(0) };
    let mut head = [0; 12];
    match timeout(within, stream.read_exact(&mut head)).await {
        Err(_) => None,
        Ok(Err(_)) => Some(0),
        Ok(Ok(_)) => std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok(),
    }
}

/// How many of each: without an answer, closed without one, or with this status.
async fn count(streams: &mut [Flooding], wanted: Option<u16>) -> usize {
    let (mut found, mut silent) = (0, Vec::new());
    for stream in streams {
        match status(stream, Duration::from_millis(20)).await {
            None => silent.push(stream),
            answer => found += usize::from(answer == wanted),
        }
    }
    // a busy machine answers some of them later
    sleep(Duration::from_millis(250)).await;
    for stream in silent {
        found += usize::from(status(stream, Duration::from_millis(1)).await == wanted);
    }
    found
}

#[tokio::test]
async fn bodies_that_do_not_come_take_nothing_from_others() {
    let stack = Stack::builder()
        .set("http.concurrency_max", 16)
        .set("http.body_timeout_ms", 3_000)
        .set("http.connections_per_address_per_second", 400)
        .all()
        .await
        .unwrap();
    let person = Person::join(&stack).await.unwrap();
    let began = Instant::now();
    let mut slow = flood(stack.api.address(), 300, HALF_A_BODY).await;
    for _ in 0..20 {
        person.client.http().me().await.unwrap();
    }
    assert!(began.elapsed() < seconds(3), "the bodies were given up before anybody was asked");
    // the shares of one address: 64 wait for their bodies, the rest was refused
    assert_eq!(count(&mut slow, Some(429)).await, 300 - 64);
    sleep(seconds(3)).await;
    assert_eq!(count(&mut slow, Some(504)).await, 64);
}

#[tokio::test]
async fn connections_that_say_nothing_are_few_and_short() {
    let stack = Stack::builder().set("http.connections_per_address_max", 40).all().await.unwrap();
    let mut silent = flood(stack.api.address(), 100, b"").await;
    let mut dripping = connect_from([127, 9, 9, 10], stack.api.address()).await.unwrap();
    dripping.write_all(b"GET /v1/info HTTP/1.1\r\nX-Slow: ").await.unwrap();
    assert_eq!(count(&mut silent, Some(0)).await, 60);
    Person::join(&stack).await.unwrap();
    sleep(seconds(5)).await;
    assert_eq!(status(&mut Some(dripping), seconds(2)).await, Some(0));
    assert_eq!(count(&mut silent, Some(0)).await, 100);
    assert_eq!(count(&mut flood(stack.api.address(), 40, b"").await, None).await, 40);
}

#[tokio::test]
async fn sockets_that_say_no_hello_are_few_and_those_that_do_are_not() {
    let stack = Stack::builder()
        .set("http.connections_per_address_per_second", 800)
        .set("http.requests_per_address_per_second", 800)
        .split(1)
        .await
        .unwrap();
    let gateway = &stack.gateways[0];
    let mut waiting = flood(gateway.address(), 200, UPGRADE).await;
    assert_eq!(count(&mut waiting, Some(429)).await, 200 - 64);
    let person = Person::join(&stack).await.unwrap();
    drop(waiting);
    eventually(seconds(5), async || Ok(gateway.metric("nepto_gateway_sockets").await? == 1.0)).await.unwrap();
    assert_eq!(count(&mut flood(gateway.address(), 64, UPGRADE).await, Some(101)).await, 64);
    drop(person);
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_it_names_has_the_share() {
    let stack =
        Stack::builder().set("http.behind_proxy", true).set("http.requests_per_address_max", 8).all().await.unwrap();
    let from = |address: &str| {
        let head = String::from_utf8(HALF_A_BODY.to_vec()).unwrap();
        head.replace("Host: a\r\n", &format!("Host: a\r\nX-Forwarded-For: 203.0.113.1, {address}\r\n"))
    };
    let mut one = flood(stack.api.address(), 20, from("198.51.100.1").as_bytes()).await;
    let mut other = flood(stack.api.address(), 8, from("192.0.2.1").as_bytes()).await;
    assert_eq!(count(&mut one, Some(429)).await, 12);
    assert_eq!(count(&mut other, None).await, 8);
}

#[tokio::test]
async fn who_asks_faster_than_allowed_waits_and_then_is_refused() {
    let stack = Stack::builder().set("http.requests_per_address_per_second", 20).all().await.unwrap();
    let asks = reqwest::Client::builder().local_address(IpAddr::from(FLOODER)).build().unwrap();
    let began = Instant::now();
    for _ in 0..30 {
        assert_eq!(asks.get(format!("{}/healthz", stack.url())).send().await.unwrap().status(), 200);
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    let mut many = flood(stack.api.address(), 60, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    sleep(seconds(1)).await;
    let mut refused = 0;
    for stream in &mut many {
        if status(stream, seconds(2)).await == Some(429) {
            let mut rest = String::new();
            stream.as_mut().unwrap().read_to_string(&mut rest).await.unwrap();
            // a page in a browser learns of it as well
            assert!(rest.contains("access-control-allow-origin: *\r\n") && rest.contains("retry-after: "), "{rest}");
            refused += 1;
        }
    }
    assert!(refused >= 20, "{refused} of 60");
    assert!(crate::http::get(format!("{}/healthz", stack.url())).await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_socket_that_has_not_said_hello_holds_little() {
    const SOCKETS: usize = 1_500;
    const BYTES_MAX: u64 = 16 * 1024;
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let gateway = &stack.gateways[0];
    // the first ones also pay for what all share
    let mut first = flood(gateway.address(), 100, UPGRADE).await;
    assert_eq!(count(&mut first, Some(101)).await, 100);
    let before = resident_bytes(gateway.pid().unwrap()).unwrap();
    let each = || resident_bytes(gateway.pid().unwrap()).unwrap().saturating_sub(before) / SOCKETS as u64;
    let mut open = flood(gateway.address(), SOCKETS, UPGRADE).await;
    // a frame of 4,000 bytes that comes but for its end
    for stream in &mut open {
        assert_eq!(status(stream, seconds(5)).await, Some(101));
        stream
            .as_mut()
            .unwrap()
            .write_all(&[&[0x82, 0xfe, 0x0f, 0xa0, 1, 2, 3, 4][..], &[7; 3_900]].concat())
            .await
            .unwrap();
    }
    sleep(seconds(1)).await;
    assert!(gateway.metric("nepto_gateway_sockets").await.unwrap() >= SOCKETS as f64, "they are open");
    assert!(each() < BYTES_MAX, "{} bytes a socket", each());
    drop(open);
    eventually(seconds(5), async || Ok(gateway.metric("nepto_gateway_sockets").await? <= 100.0)).await.unwrap();
    // who announces one of 256 KiB is closed: no room is made for it, however it comes
    let announced = [0x82, 0xff, 0, 0, 0, 0, 0, 4, 0, 0, 1, 2, 3, 4];
    let mut open = flood(gateway.address(), SOCKETS, &[UPGRADE, &announced].concat()).await;
    for stream in first.iter_mut().flatten() {
        let _ = stream.write_all(&announced).await;
    }
    eventually(seconds(5), async || Ok(gateway.metric("nepto_gateway_sockets").await? == 0.0)).await.unwrap();
    assert!(each() < BYTES_MAX, "{} bytes a socket", each());
    open.clear();
}

#[tokio::test]
async fn the_description_of_the_api_is_sent_once_to_who_keeps_it() {
    let stack = Stack::all().await.unwrap();
    let http = crate::http::client();
    let url = format!("{}/v1/openapi.json", stack.url());
    let first = http.get(&url).send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    assert_eq!(first.headers()["content-type"], "application/json");
    assert!(first.json::<serde_json::Value>().await.unwrap()["paths"].is_object());
    let again = http.get(&url).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    assert!(again.bytes().await.unwrap().is_empty());
}
