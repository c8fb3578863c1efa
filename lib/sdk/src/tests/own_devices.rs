//! What one device sends after another one of its account joined reaches that one, however it is heard of.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::DOMAIN;
use super::server::Server;
use crate::model::{Body, Message};
use crate::{Client, Env, Event, Events, LoginOptions, Wallet};

struct Desk {
    server: Arc<Server>,
    wallet: Wallet,
    client: Client,
    events: Events,
    bob: Client,
}

async fn login(server: &Server, wallet: &Wallet) -> Client {
    let options = LoginOptions { domain: Some(DOMAIN.to_owned()), ..LoginOptions::new(&server.url) };
    Client::login(options, wallet).await.unwrap()
}

impl Desk {
    /// Connected, and with a message sent, so that it knows its own devices: itself.
    async fn new() -> Self {
        let server = Server::start().await;
        let wallet = Wallet::random(&Env::system()).unwrap();
        let bob = login(&server, &Wallet::random(&Env::system()).unwrap()).await;
        let client = login(&server, &wallet).await;
        let events = client.connect().await.unwrap();
        let mut desk = Self { server, wallet, client, events, bob };
        desk.says("before").await;
        desk
    }

    /// Another device signs in, and says nothing.
    async fn phone(&self) -> Client {
        login(&self.server, &self.wallet).await
    }

    async fn says(&mut self, text: &str) {
        let sent = self.client.send_text(self.bob.account(), text, None, None).unwrap();
        let listening = async { while self.events.next().await.is_some() {} };
        tokio::select! {
            sent = self.client.wait_sent(sent.id.id) => sent.unwrap(),
            () = listening => panic!("the events ended"),
        }
    }

    /// What lies in the phone's mailbox, and how often a device list was the wrong one until then.
    async fn hears(&self, phone: &Client) -> (Vec<String>, usize) {
        let mismatches = self.server.mismatches.load(Ordering::Relaxed);
        let mut events = phone.connect().await.unwrap();
        let caught_up = async {
            while let Some(event) = events.next().await {
                if event == Event::CaughtUp {
                    return;
                }
            }
            panic!("the events ended");
        };
        tokio::time::timeout(Duration::from_secs(20), caught_up).await.expect("the mailbox never ended");
        let text = |message: Message| match message.body {
            Body::Text(text) => Some(text),
            _ => None,
        };
        let history = phone.history(self.bob.account(), None, 10_000).unwrap();
        (history.into_iter().rev().filter_map(text).collect(), mismatches)
    }
}

#[tokio::test]
async fn by_a_mismatch_of_the_own_account() {
    let mut desk = Desk::new().await;
    let phone = desk.phone().await;
    desk.says("after").await;
    assert_eq!(desk.hears(&phone).await, (vec!["after".to_owned()], 1));
}

#[tokio::test]
async fn by_a_connection_before_anything_is_sent() {
    let mut desk = Desk::new().await;
    desk.client.close().await;
    let phone = desk.phone().await;
    let waits = desk.client.send_text(desk.bob.account(), "waits", None, None).unwrap();
    desk.events = desk.client.connect().await.unwrap();
    desk.says("after").await;
    desk.client.wait_sent(waits.id.id).await.unwrap();
    assert_eq!(desk.hears(&phone).await, (vec!["waits".to_owned(), "after".to_owned()], 0));
}

#[tokio::test]
async fn by_the_gateways_word() {
    let mut desk = Desk::new().await;
    let phone = desk.phone().await;
    desk.server.faults.devices_changed.store(1, Ordering::Relaxed);
    let added = async {
        while let Some(event) = desk.events.next().await {
            if matches!(event, Event::DeviceAdded { device, .. } if device == phone.device()) {
                return;
            }
        }
        panic!("the events ended");
    };
    tokio::time::timeout(Duration::from_secs(20), added).await.expect("nobody looked");
    desk.says("after").await;
    assert_eq!(desk.hears(&phone).await, (vec!["after".to_owned()], 0));
}
