//! The processes that the other tests stand on: they start, drain, die and come back.

use nepto_testkit::{Role, Server, Settings, Stack, eventually, seconds};

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
