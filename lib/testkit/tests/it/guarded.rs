//! A NATS server that asks who is there, over TLS: both of a gateway's connections must get in, and come back.

use nepto_testkit::{Guard, Stack, eventually, seconds};

use crate::people::friends;

/// Two people talk, and again after NATS was killed.
async fn talk_through(guard: Guard) {
    let stack = Stack::builder().guard_nats(guard).all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    alice.says(&bob, "before").await.unwrap();
    bob.hears_text("before").await.unwrap();
    stack.nats.kill9().unwrap();
    stack.nats.restart().await.unwrap();
    eventually(seconds(20), async || stack.api.is_ready().await).await.unwrap();
    alice.says(&bob, "after").await.unwrap();
    bob.hears_text("after").await.unwrap();
}

#[tokio::test]
async fn with_a_password() {
    talk_through(Guard::Password).await;
}

#[tokio::test]
async fn with_credentials() {
    talk_through(Guard::Credentials).await;
}
