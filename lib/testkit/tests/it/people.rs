//! People with wallets and devices, for the tests of the whole.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nepto_proto::wire::{CiphertextType, DeviceCiphertext, SendDm, ServerFrame, client_frame, server_frame};
use nepto_proto::{AccountId, ClientMsgId, DeviceId};
use nepto_sdk::env::Clock;
use nepto_sdk::model::{Body, Message};
use nepto_sdk::socket::{Incoming, Socket};
use nepto_sdk::store::file;
use nepto_sdk::store::seal::Cost;
use nepto_sdk::{Client, Env, Event, Events, LoginOptions, ProfileLocation, Wallet};
use nepto_testkit::Stack;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::timeout;
use uuid::Uuid;

/// How long a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A signed-in, connected device.
pub struct Person {
    key: String,
    pub client: Client,
    pub events: Events,
}

impl Person {
    /// A new account.
    pub async fn join(stack: &Stack) -> Result<Self> {
        let key: [u8; 32] = Env::system().bytes();
        Self::with_key(stack, hex::encode(key)).await
    }

    /// A new device of this wallet's account.
    pub async fn with_key(stack: &Stack, key: String) -> Result<Self> {
        let client = Client::login(LoginOptions::new(stack.url()), &Wallet::from_private_key(&key)?).await?;
        let events = client.connect().await?;
        let mut person = Self { key, client, events };
        person.until(|event| matches!(event, Event::CaughtUp)).await.context("never caught up")?;
        Ok(person)
    }

    /// The device whose profile is in this file, which is made if it is not there: it signs in, maybe again.
    pub async fn in_file(stack: &Stack, file: &Path, key: &str) -> Result<Self> {
        if !file.exists() {
            // with a passphrase that costs little to try: opened again and again, it would cost more than all else
            drop(file::create(file, "x", Cost::LOW, &Env::system())?);
        }
        let location = ProfileLocation::File { path: file.to_owned(), passphrase: "x".to_owned().into() };
        let options = LoginOptions { location, ..LoginOptions::new(stack.url()) };
        let client = Client::login(options, &Wallet::from_private_key(key)?).await?;
        let events = client.connect().await?;
        Ok(Self { key: key.to_owned(), client, events })
    }

    /// Another device of the same account.
    pub async fn second_device(&self, stack: &Stack) -> Result<Self> {
        Self::with_key(stack, self.key.clone()).await
    }

    /// A wallet with this person's key.
    pub fn wallet(&self) -> Result<Wallet> {
        Ok(Wallet::from_private_key(&self.key)?)
    }

    pub fn account(&self) -> AccountId {
        self.client.account()
    }

    /// Sends a text and waits until it is stored.
    pub async fn says(&self, to: &Self, text: &str) -> Result<ClientMsgId> {
        let message = self.client.send_text(to.account(), text, None, None)?;
        timeout(PATIENCE, self.client.wait_sent(message.id.id)).await.context("never stored")??;
        Ok(message.id.id)
    }

    /// Waits for an event; skips others.
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let mut skipped = Vec::new();
        let search = async {
            while let Some(event) = self.events.next().await {
                if wanted(&event) {
                    return Ok(event);
                }
                skipped.push(event);
            }
            bail!("the events ended")
        };
        let found = timeout(PATIENCE, search).await;
        found.with_context(|| format!("waited in vain; there were only {skipped:#?}"))?
    }

    /// Waits for the next message, request or not.
    pub async fn hears(&mut self) -> Result<Message> {
        match self.until(|event| matches!(event, Event::Message(_) | Event::Request(_))).await? {
            Event::Message(message) | Event::Request(message) => Ok(message),
            _ => bail!("not a message"),
        }
    }

    /// Waits for the next message and compares its text.
    pub async fn hears_text(&mut self, text: &str) -> Result<Message> {
        let message = self.hears().await?;
        anyhow::ensure!(message.body == Body::Text(text.to_owned()), "heard {:?}, not {text:?}", message.body);
        Ok(message)
    }
}

/// Limits count by fixed windows: waits for the next one if this is about to end.
pub async fn early_in_window(window: Duration) {
    let now_ms = Env::system().now_ms();
    let left = window.as_millis() as u64 - now_ms % window.as_millis() as u64;
    if left < 15_000 {
        tokio::time::sleep(Duration::from_millis(left + 100)).await;
    }
}

/// Two people who have accepted each other.
pub async fn friends(stack: &Stack) -> Result<(Person, Person)> {
    let (alice, mut bob) = (Person::join(stack).await?, Person::join(stack).await?);
    alice.says(&bob, "hello").await?;
    bob.hears_text("hello").await?;
    bob.client.accept(alice.account()).await?;
    Ok((alice, bob))
}

/// A clock that is off.
pub struct OffClock {
    pub by_ms: i64,
}

impl Clock for OffClock {
    fn now_ms(&self) -> u64 {
        Env::system().now_ms().saturating_add_signed(self.by_ms)
    }
}

/// An environment whose clock is off.
pub fn env_off_by(by_ms: i64) -> Env {
    Env::new(Arc::new(OffClock { by_ms }), StdRng::from_os_rng())
}

/// A bare connection of a device, without the SDK's session around it: the SDK's own must not run beside it.
pub struct Raw {
    pub socket: Socket,
    pub epoch: u64,
}

impl Raw {
    pub async fn open(stack: &Stack, client: &Client, resume: Option<(u64, u64)>) -> Result<Self> {
        let token = client.http().access_token().await?;
        let resume = resume.map(|(epoch, seq)| nepto_proto::wire::Cursor { epoch, seq });
        let url = stack.sockets().first().cloned().context("no socket address")?;
        let (socket, welcome) = Socket::open(&url, &token, resume, PATIENCE).await?;
        Ok(Self { socket, epoch: welcome.epoch })
    }

    pub async fn frame(&mut self) -> Result<ServerFrame> {
        loop {
            match timeout(PATIENCE, self.socket.recv()).await.context("no frame came")?? {
                Incoming::Frame(frame) => return Ok(frame),
                Incoming::Alive => {}
            }
        }
    }

    /// The reply to a request; deliveries and the like in between are left out.
    pub async fn call(&mut self, kind: client_frame::Kind) -> Result<server_frame::Kind> {
        let id = self.socket.send(kind).await?;
        loop {
            let frame = self.frame().await?;
            if frame.reply_to == id {
                return frame.kind.context("an empty frame");
            }
        }
    }

    /// The next delivery.
    pub async fn delivery(&mut self) -> Result<nepto_proto::wire::Deliver> {
        loop {
            if let Some(server_frame::Kind::Deliver(deliver)) = self.frame().await?.kind {
                return Ok(deliver);
            }
        }
    }

    pub async fn ack(&mut self, up_to: u64) -> Result<()> {
        self.socket.send(client_frame::Kind::Ack(nepto_proto::wire::Ack { up_to })).await?;
        Ok(())
    }
}

/// A `SendDm` of bytes that nobody will decrypt, to these devices.
pub fn opaque(id: u128, to: AccountId, devices: &[(DeviceId, u32)], bytes: &[u8]) -> SendDm {
    SendDm {
        client_msg_id: Uuid::from_u128(id).as_bytes().to_vec(),
        to: to.to_vec(),
        to_devices: devices
            .iter()
            .map(|(device, registration_id)| DeviceCiphertext {
                device: (*device).into(),
                registration_id: *registration_id,
                r#type: CiphertextType::Session.into(),
                ciphertext: bytes.to_vec().into(),
            })
            .collect(),
        own_devices: vec![],
        recipient_only: false,
        automatic: false,
    }
}

/// Device numbers and registration ids of an account, as the server lists them.
pub async fn devices_of(asker: &Client, account: AccountId) -> Result<Vec<(DeviceId, u32)>> {
    let directory = asker.http().directory(account).await?;
    Ok(directory.devices.iter().map(|device| (device.device, device.registration_id.get())).collect())
}
