//! Sessions go on only with the device's own signature, and when somebody is told that one ended, it has.

use futures_util::StreamExt;
use libsignal_protocol::{IdentityKeyPair, KeyPair};
use nepto_proto::api::auth::{SignIn, Tokens, refresh_text};
use nepto_proto::api::keys::{DeviceSetup, SignedPrekey};
use nepto_proto::certificate::Resource;
use nepto_proto::event::{Event, WalletUnlinked};
use nepto_proto::siwe::SiweMessage;
use nepto_proto::subject::EVENTS_STREAM;
use nepto_proto::{CloseCode, ErrorCode};
use nepto_sdk::env::Env;
use nepto_sdk::http::Http;
use nepto_sdk::{Client, LoginOptions, SdkError, Wallet};
use nepto_testkit::{Stack, WatchedRedis, eventually, seconds};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::people::{Person, Raw};

/// A device without the SDK around it, whose identity key is at hand.
pub struct Bare {
    url: String,
    domain: String,
    identity: IdentityKeyPair,
    tokens: Tokens,
}

impl Bare {
    async fn sign_in(stack: &Stack) -> Self {
        let http = Http::new(&stack.url(), Env::system(), Box::new(())).unwrap();
        Self::with_nonce(stack, http.nonce().await.unwrap().nonce).await.unwrap()
    }

    /// Signs in with a new wallet and a nonce that the server has given.
    pub async fn with_nonce(stack: &Stack, nonce: String) -> Result<Self, SdkError> {
        let env = Env::system();
        let http = Http::new(&stack.url(), env.clone(), Box::new(()))?;
        let info = http.info().await?;
        let wallet = Wallet::random(&env).unwrap();
        let identity = IdentityKeyPair::generate(&mut env.rng());
        let identity_key = identity.identity_key().serialize().as_ref().try_into().unwrap();
        let prekey = |public_key: Vec<u8>| SignedPrekey {
            id: 1,
            signature: sign(&identity, &public_key).into(),
            public_key: public_key.into(),
        };
        let device = DeviceSetup {
            name: "bare".into(),
            signed_prekey: prekey(KeyPair::generate(&mut env.rng()).public_key.serialize().into_vec()),
            last_resort: prekey([vec![8], vec![9; 1568]].concat()),
        };
        let message = SiweMessage {
            scheme: None,
            domain: info.domain.clone(),
            address: wallet.address(),
            statement: None,
            uri: info.uri,
            chain_id: info.chains[0],
            nonce,
            issued_at: env.date_time().into(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: vec![Resource::Device { registration_id: 77.try_into().unwrap(), identity_key }.to_string()],
        };
        let tokens = http.sign_in(&SignIn { signed: wallet.sign(&message)?, device, invite: None }).await?;
        Ok(Self { url: stack.url(), domain: info.domain, identity, tokens })
    }

    /// Shows a token with this signature, or with none.
    async fn show(&self, token: &str, signature: Option<Vec<u8>>) -> Value {
        let mut body = json!({ "refresh_token": token, "device": self.tokens.device });
        if let Some(signature) = signature {
            body["signature"] = serde_json::to_value(nepto_proto::api::Base64(signature)).unwrap();
        }
        let request = crate::http::client().post(format!("{}/v1/auth/refresh", self.url)).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Refreshes as the owner does.
    async fn refresh(&self, token: &str) -> Value {
        self.show(token, Some(sign(&self.identity, refresh_text(&self.domain, token).as_bytes()))).await
    }
}

fn sign(by: &IdentityKeyPair, message: &[u8]) -> Vec<u8> {
    by.private_key().calculate_signature(message, &mut Env::system().rng()).unwrap().into_vec()
}

fn next_token(answer: &Value) -> String {
    answer["refresh_token"].as_str().unwrap_or_else(|| panic!("refused: {answer}")).to_owned()
}

/// What the server says about an access token.
async fn code_of(stack: &Stack, token: &str) -> Value {
    let request = crate::http::client().get(format!("{}/v1/accounts/me", stack.url())).bearer_auth(token);
    request.send().await.unwrap().json::<Value>().await.unwrap()["code"].clone()
}

#[tokio::test]
async fn a_refresh_token_works_once_and_reuse_ends_the_session() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let device = Bare::sign_in(&stack).await;
    let first = &device.tokens.refresh_token;
    let second = next_token(&device.refresh(first).await);
    // the answer was lost: the same again
    assert_eq!(next_token(&device.refresh(first).await), second);
    let third = next_token(&device.refresh(&second).await);
    assert_eq!(device.refresh(first).await["code"], "refresh_reused");
    assert_eq!(device.refresh(&third).await["code"], "refresh_invalid", "the whole family is gone");
    let mut tampered = third;
    tampered.replace_range(3..4, if &tampered[3..4] == "A" { "B" } else { "A" });
    assert_eq!(device.refresh(&tampered).await["code"], "refresh_invalid");
}

#[tokio::test]
async fn a_stolen_refresh_token_is_worth_nothing_and_disturbs_nobody() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let owner = Bare::sign_in(&stack).await;
    let thief = IdentityKeyPair::generate(&mut Env::system().rng());
    let (mut token, mut older) = (owner.tokens.refresh_token.clone(), Vec::new());
    for _ in 0..3 {
        // whoever has the newest token, the one before or an older one
        for stolen in older.iter().chain([&token]) {
            let text = refresh_text(&owner.domain, stolen);
            assert_eq!(owner.show(stolen, None).await["code"], "refresh_unsigned");
            for forged in [
                sign(&thief, text.as_bytes()),
                vec![0; 64],
                vec![],
                // the owner's words about something else
                sign(&owner.identity, refresh_text(&owner.domain, "another token").as_bytes()),
                sign(&owner.identity, refresh_text("chat.example.org", stolen).as_bytes()),
                sign(&owner.identity, stolen.as_bytes()),
            ] {
                assert_eq!(owner.show(stolen, Some(forged)).await["code"], "refresh_signature");
            }
        }
        let next = next_token(&owner.refresh(&token).await);
        older.push(std::mem::replace(&mut token, next));
    }
}

#[tokio::test]
async fn a_removed_device_is_signed_out_by_the_time_that_is_said_whatever_queue_is_down() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let bob = Person::join(&stack).await.unwrap();
    let phone = bob.second_device(&stack).await.unwrap();
    phone.client.disconnect();
    let mut socket = Raw::open(&stack, &phone.client, None).await.unwrap();
    let token = phone.client.http().access_token().await.unwrap();
    stack.nats.jetstream().await.unwrap().delete_stream(EVENTS_STREAM).await.unwrap();
    bob.client.http().delete_device(phone.client.device()).await.unwrap();
    assert_eq!(code_of(&stack, &token).await, "session_revoked");
    let refused = phone.client.http().refreshed_token(&token).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::RefreshInvalid));
    closed_as_signed_out(&mut socket).await;
    let gone = bob.client.http().delete_device(phone.client.device()).await.unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::DeviceUnknown), "nothing was left to be done");
}

#[tokio::test]
async fn a_removal_that_can_not_be_finished_says_so_and_the_next_try_finishes_it() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let bob = Person::join(&stack).await.unwrap();
    let phone = bob.second_device(&stack).await.unwrap();
    let token = phone.client.http().access_token().await.unwrap();
    phone.client.disconnect();
    stack.nats.jetstream().await.unwrap().delete_stream(EVENTS_STREAM).await.unwrap();
    stack.nats.pause().unwrap();
    let unfinished = bob.client.http().delete_device(phone.client.device()).await.unwrap_err();
    assert_eq!(unfinished.code(), Some(ErrorCode::Unavailable));
    stack.nats.resume().unwrap();
    // what was asked before may have arrived meanwhile; then nothing is left to be done
    if let Err(error) = bob.client.http().delete_device(phone.client.device()).await {
        assert_eq!(error.code(), Some(ErrorCode::DeviceUnknown));
    }
    assert_eq!(code_of(&stack, &token).await, "session_revoked");
    assert!(phone.client.http().refreshed_token(&token).await.is_err());
}

#[tokio::test]
async fn a_sign_out_that_sockets_may_not_hear_of_is_not_done() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let bob = Person::join(&stack).await.unwrap();
    bob.client.disconnect();
    let mut socket = Raw::open(&stack, &bob.client, None).await.unwrap();
    let token = bob.client.http().access_token().await.unwrap();
    let sign_out = async || {
        let request = crate::http::client().post(format!("{}/v1/auth/sign-out", stack.url())).bearer_auth(&token);
        request.json(&json!({})).send().await.unwrap()
    };
    // it takes what is written to it, and reads none of it
    stack.nats.pause().unwrap();
    let answer = sign_out().await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unavailable");
    // there is no other try, so all else is done
    assert_eq!(code_of(&stack, &token).await, "session_revoked");
    let refused = bob.client.http().refreshed_token(&token).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::RefreshInvalid));
    stack.nats.resume().unwrap();
    closed_as_signed_out(&mut socket).await;
}

#[tokio::test]
async fn sockets_of_an_ended_session_close_without_nats() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let bob = Person::join(&stack).await.unwrap();
    bob.client.disconnect();
    let mut socket = Raw::open(&stack, &bob.client, None).await.unwrap();
    let token = bob.client.http().access_token().await.unwrap();
    stack.nats.pause().unwrap();
    let answer = crate::http::client().post(format!("{}/v1/auth/sign-out", stack.url())).bearer_auth(&token);
    assert_eq!(answer.json(&json!({})).send().await.unwrap().status(), 503);
    closed_as_signed_out(&mut socket).await;
}

#[tokio::test]
async fn an_unlinked_wallet_takes_its_devices_with_it_whatever_queue_is_down() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let alice = Person::join(&stack).await.unwrap();
    let (root, second) = (alice.wallet().unwrap(), Wallet::random(&Env::system()).unwrap());
    alice.client.link_wallet(&root, &second).await.unwrap();
    let laptop = Client::login(LoginOptions::new(stack.url()), &second).await.unwrap();
    let mut socket = Raw::open(&stack, &laptop, None).await.unwrap();
    let token = laptop.http().access_token().await.unwrap();
    stack.nats.jetstream().await.unwrap().delete_stream(EVENTS_STREAM).await.unwrap();
    alice.client.http().unlink_wallet(&second.address().to_string()).await.unwrap();
    assert_eq!(code_of(&stack, &token).await, "session_revoked");
    assert!(laptop.http().refreshed_token(&token).await.is_err());
    assert_eq!(alice.client.devices().await.unwrap().len(), 1);
    closed_as_signed_out(&mut socket).await;
}

#[tokio::test]
async fn a_late_word_that_a_wallet_left_spares_what_it_certified_since() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let alice = Person::join(&stack).await.unwrap();
    let (root, second) = (alice.wallet().unwrap(), Wallet::random(&Env::system()).unwrap());
    let wallet = second.address().to_string();
    let mut told = stack.nats.client().await.unwrap().subscribe(WalletUnlinked::subject()).await.unwrap();
    alice.client.link_wallet(&root, &second).await.unwrap();
    alice.client.unlink_wallet(second.address()).await.unwrap();
    let left = timeout(seconds(5), told.next()).await.expect("nobody was told").unwrap();
    let left: WalletUnlinked = serde_json::from_slice(&left.payload).unwrap();
    assert_eq!(left.wallet, wallet);
    // it is back, and certifies a device
    alice.client.link_wallet(&root, &second).await.unwrap();
    Client::login(LoginOptions::new(stack.url()), &second).await.unwrap();
    let jetstream = stack.nats.jetstream().await.unwrap();
    let tell = async |event: WalletUnlinked| {
        let body = serde_json::to_vec(&event).unwrap();
        jetstream.publish(WalletUnlinked::subject(), body.into()).await.unwrap().await.unwrap();
        let heard = async || Ok(stack.nats.pending(EVENTS_STREAM, "keys-wallet-unlinked").await?.is_empty());
        eventually(seconds(10), heard).await.unwrap();
    };
    tell(left.clone()).await;
    assert_eq!(alice.client.devices().await.unwrap().len(), 2);
    tell(WalletUnlinked { version: left.version + 3_600_000, ..left }).await;
    assert_eq!(alice.client.devices().await.unwrap().len(), 1, "a newer one does not");
}

async fn closed_as_signed_out(socket: &mut Raw) {
    let closed = loop {
        if let Err(error) = socket.frame().await {
            break error;
        }
    };
    let closed: &nepto_sdk::socket::SocketError = closed.downcast_ref().unwrap();
    assert_eq!(closed.close_code(), Some(CloseCode::SessionRevoked));
}

#[tokio::test]
async fn what_was_ended_does_not_come_back_with_a_redis_that_was_behind() {
    let watched = WatchedRedis::start().await.unwrap();
    let stack = Stack::builder().set("redis.sentinels", watched.sentinels()).split(1).await.unwrap();
    let device = Bare::sign_in(&stack).await;
    let token = &device.tokens.access_token;
    assert_eq!(code_of(&stack, token).await, Value::Null);
    // from here on the replica believes that the session lives
    watched.cut_off().await.unwrap();
    let request = reqwest::Client::new().post(format!("{}/v1/auth/sign-out", stack.url())).bearer_auth(token);
    assert!(request.json(&json!({})).send().await.unwrap().status().is_success());
    assert_eq!(code_of(&stack, token).await, "session_revoked");
    let [primary, replica] = &watched.servers;
    primary.kill9().unwrap();
    replica.resume().unwrap();
    // while there is no Redis, when there is one again, and afterwards
    let mut promoted = 0;
    eventually(seconds(60), async || {
        assert_ne!(code_of(&stack, token).await, Value::Null, "the session lives again");
        let told: String = redis::cmd("INFO").arg("replication").query_async(&mut replica.client().await?).await?;
        promoted += u32::from(told.contains("role:master") && stack.api.is_ready().await?);
        Ok(promoted > 20)
    })
    .await
    .unwrap();
    assert_eq!(code_of(&stack, token).await, "session_revoked");
}
