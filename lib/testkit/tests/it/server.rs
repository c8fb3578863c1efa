//! The processes that the other tests stand on: they start, drain, die and come back.

use std::time::Duration;

use nepto_proto::CloseCode;
use nepto_testkit::{Role, Server, Settings, Stack, eventually, seconds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::people::Person;
use crate::socket;

async fn stays_ready(server: &Server) {
    eventually(seconds(10), async || server.is_ready().await).await.unwrap();
}

#[tokio::test]
async fn one_process_drains_and_comes_back() {
    let stack = Stack::all().await.unwrap();
    let server = &stack.api;
    assert_eq!(stack.servers().len(), 1);
    assert_eq!(stack.sockets(), [server.socket_url()]);
    let (url, pid) = (stack.url(), server.pid().unwrap());
    let status = server.term().await.unwrap();
    assert!(status.success(), "a drained server ends well: {status}");
    assert!(server.is_ready().await.is_err());
    server.restart().await.unwrap();
    server.kill9().unwrap();
    server.restart().await.unwrap();
    assert_eq!(stack.url(), url);
    assert_ne!(server.pid().unwrap(), pid);
    stays_ready(server).await;
}

#[tokio::test]
async fn who_is_inside_when_a_process_stops_is_answered_or_sent_elsewhere() {
    let stack = Stack::all().await.unwrap();
    let server = &stack.api;
    let alice = Person::join(&stack).await.unwrap();
    let token = alice.client.http().access_token().await.unwrap();
    // another service of the same process says who this is
    let head =
        format!("GET /v1/accounts/me HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n", server.address());
    let mut request = TcpStream::connect(server.address()).await.unwrap();
    request.write_all(head.as_bytes()).await.unwrap();
    // accepted after it, so that it is inside as well
    let mut silent = socket::connect(&stack, Some("nepto.v1")).await.unwrap();
    let answered = async {
        eventually(seconds(10), async || Ok(server.log().contains("stopping"))).await.unwrap();
        assert!(!server.is_ready().await.unwrap(), "operators see that it stops");
        // for what would not wait
        sleep(Duration::from_millis(200)).await;
        request.write_all(b"\r\n").await.unwrap();
        let mut answer = String::new();
        // to its end, which is no reset
        request.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (ended, answer, code) = tokio::join!(server.term(), answered, socket::close_code(&mut silent));
    assert!(ended.unwrap().success());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(code, Some(CloseCode::Restart.get()));
    assert!(!server.log().contains("not every request and socket ended in time"));
}

#[tokio::test]
async fn a_split_stack_loses_a_gateway_and_gets_another() {
    let stack = Stack::builder().set("mailbox.expire_after_s", 600).unlimited().proxy_sockets().split(2).await.unwrap();
    assert_eq!(stack.servers().len(), 4);
    for (socket, proxy) in stack.sockets().iter().zip(&stack.socket_proxies) {
        assert_eq!(*socket, format!("ws://{}/v1/socket", proxy.address()));
    }
    stack.gateways[0].kill9().unwrap();
    for server in stack.servers().into_iter().filter(|server| server.pid().is_ok()) {
        stays_ready(server).await;
    }
    stack.gateways[0].restart().await.unwrap();
    let third = stack.start(Role::Gateway, &Settings::new().set("gateway.sockets_max", 10)).await.unwrap();
    stays_ready(&third).await;
    assert!(third.term().await.unwrap().success());
}

#[tokio::test]
async fn a_wrong_setting_is_told_with_the_log() {
    let error = Stack::builder().set("mailbox.no_such_field", 1).all().await.unwrap_err();
    assert!(format!("{error:#}").contains("no_such_field"), "{error:#}");
}
