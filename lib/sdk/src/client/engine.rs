//! The tasks behind a connection: one takes in what the gateway says, one drives the queue.

use std::sync::Arc;
use std::time::Duration;

use nepto_proto::api::accounts::Consent;
use nepto_proto::api::keys::{KeyCount, NextIds};
use nepto_proto::wire::{Ack, Cursor, client_frame, server_frame};
use nepto_proto::{AccountId, DeviceId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Inner, follow, send};
use crate::model::ConversationState;
use crate::session::{Credentials, Link, SessionEvent};
use crate::{Event, SdkError};

/// Deliveries that may wait for their acknowledgement.
const ACK_BURST: u32 = 32;
/// How long they may wait.
const ACK_AFTER: Duration = Duration::from_millis(50);
/// How long a goodbye may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks at disappearing messages.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Contacts per page, and pages read at a connection.
const CONTACTS_PAGE: u32 = 200;
const CONTACT_PAGES_MAX: usize = 50;

/// The client, as a session knows it.
pub(super) struct Owner(pub Arc<Inner>);

impl Credentials for Owner {
    async fn gateways(&self) -> Result<Vec<String>, SdkError> {
        Ok(self.0.http.info().await?.sockets)
    }

    async fn access_token(&self) -> Result<String, SdkError> {
        self.0.http.access_token().await
    }

    async fn refreshed_token(&self, refused: &str) -> Result<String, SdkError> {
        self.0.http.refreshed_token(refused).await
    }

    fn cursor(&self) -> Result<Option<Cursor>, SdkError> {
        self.0.core().resume_from()
    }
}

pub(super) fn start(
    inner: Arc<Inner>,
    link: Link,
    mut incoming: mpsc::Receiver<SessionEvent>,
    events: mpsc::Sender<Event>,
    (stop, over): (CancellationToken, CancellationToken),
) {
    let sending = send::run(inner.clone(), link.clone(), events.clone());
    let (sender, follower) = (stop.clone(), stop.clone());
    tokio::spawn(async move { sender.run_until_cancelled(sending).await });
    let following = follow::run(inner.clone(), link.clone());
    tokio::spawn(async move { follower.run_until_cancelled(following).await });
    let (unacked, ack, ack_at, caught_up) = (0, 0, None, false);
    let mut engine = Engine { inner, link, events, stop: stop.clone(), unacked, ack, ack_at, caught_up };
    tokio::spawn(async move {
        stop.run_until_cancelled(engine.run(&mut incoming)).await;
        stop.cancel();
        let _ = tokio::time::timeout(LEAVE_WITHIN, engine.leave()).await;
        over.cancel();
    });
}

struct Engine {
    inner: Arc<Inner>,
    link: Link,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
    unacked: u32,
    ack: u64,
    ack_at: Option<Instant>,
    /// What had waited was delivered.
    caught_up: bool,
}

/// The client is over: no event follows.
struct Over;

impl Engine {
    /// Acknowledges what is stored before it says goodbye, so that nothing stays in the mailbox for nothing.
    async fn leave(&mut self) {
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "the last deliveries were not acknowledged");
        }
        self.link.close().await;
    }

    async fn run(&mut self, incoming: &mut mpsc::Receiver<SessionEvent>) {
        let inner = self.inner.clone();
        let mut sweep_at = Instant::now();
        loop {
            let ack_at = self.ack_at.unwrap_or(sweep_at);
            let step = tokio::select! {
                event = incoming.recv() => match event {
                    Some(event) => self.session(event).await,
                    None => return,
                },
                () = sleep_until(ack_at), if self.ack_at.is_some() => self.settle().await,
                () = inner.owed.notified() => self.receipts().await,
                () = sleep_until(sweep_at) => {
                    sweep_at = Instant::now() + SWEEP_EVERY;
                    self.sweep().await
                }
                () = self.events.closed() => return,
            };
            match step {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let event = match error {
                        error if error.is_signed_out() => {
                            let _ = inner.http.forget().await;
                            Event::SignedOut { code: error.code() }
                        }
                        other => Event::StoreFailed(other.to_string()),
                    };
                    let _ = self.emit(event).await;
                    return;
                }
            }
        }
    }

    async fn emit(&self, event: Event) -> Result<(), Over> {
        self.events.send(event).await.map_err(|_| Over)
    }

    /// `false`: nobody listens any more, or there is nothing more to say.
    async fn emit_all(&self, events: Vec<Event>) -> bool {
        for event in events {
            if self.emit(event).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn session(&mut self, event: SessionEvent) -> Result<bool, SdkError> {
        Ok(match event {
            SessionEvent::Connected(welcome) => {
                self.inner.core().heard_welcome(&welcome)?;
                (self.unacked, self.ack, self.ack_at, self.caught_up) = (0, 0, None, false);
                self.inner.keys_settled.send_replace(false);
                self.background(maintain(self.inner.clone(), self.events.clone()));
                self.inner.owed.notify_one();
                let is_heard = self.emit(Event::Connected).await.is_ok();
                self.inner.follow_again();
                is_heard
            }
            SessionEvent::Disconnected { reason, retry_in } => {
                (self.unacked, self.ack, self.ack_at) = (0, 0, None);
                self.emit(Event::Disconnected { reason, retry_in }).await.is_ok()
            }
            SessionEvent::Frame(frame) => self.frame(frame).await?,
            SessionEvent::NotFollowed { channel, error } => {
                let events = self.inner.not_followed(&channel, error);
                self.emit_all(events).await
            }
            SessionEvent::SignedOut(code) => {
                self.inner.http.forget().await?;
                let _ = self.emit(Event::SignedOut { code }).await;
                false
            }
            SessionEvent::Superseded => {
                let _ = self.emit(Event::Superseded).await;
                false
            }
            SessionEvent::Refused(reason) => {
                let _ = self.emit(Event::Refused { reason }).await;
                false
            }
            SessionEvent::Failed(error) => return Err(error),
        })
    }

    async fn frame(&mut self, frame: server_frame::Kind) -> Result<bool, SdkError> {
        match frame {
            server_frame::Kind::Deliver(deliver) => {
                let events = self.inner.deliver(&deliver).await?;
                self.ack = self.ack.max(deliver.seq);
                self.unacked += 1;
                self.ack_at.get_or_insert_with(|| Instant::now() + ACK_AFTER);
                if self.unacked >= ACK_BURST {
                    self.settle().await?;
                }
                if events.iter().any(|event| matches!(event, Event::SessionReset { .. })) {
                    self.inner.queued.notify_one();
                }
                Ok(self.emit_all(events).await)
            }
            server_frame::Kind::CaughtUp(_) => {
                self.settle().await?;
                self.caught_up = true;
                self.resets()?;
                Ok(self.emit(Event::CaughtUp).await.is_ok())
            }
            server_frame::Kind::TypingFrom(typing) => {
                let Ok(account) = AccountId::from_bytes(&typing.from) else { return Ok(true) };
                let welcome = self.inner.core().is_accepted(account)?;
                let event = Event::Typing { account, active: typing.active };
                Ok(!welcome || self.emit(event).await.is_ok())
            }
            server_frame::Kind::DevicesChanged(_) => {
                self.inner.core().set_outdated(self.inner.account);
                self.background(refresh_own_devices(self.inner.clone(), self.events.clone()));
                Ok(true)
            }
            server_frame::Kind::PrekeysLow(_) => {
                self.background(replenish(self.inner.clone(), self.events.clone()));
                Ok(true)
            }
            server_frame::Kind::Missed(missed) => {
                let Ok(device) = DeviceId::try_from(missed.device) else { return Ok(true) };
                let event = self.inner.core().missed(device, missed.since_ms)?;
                Ok(self.emit_all(event.into_iter().collect()).await)
            }
            server_frame::Kind::Error(error) => {
                tracing::warn!(code = error.code, "the gateway refused something");
                Ok(true)
            }
            other => {
                let events = self.inner.heard_of_channels(other);
                Ok(self.emit_all(events).await)
            }
        }
    }

    /// Makes what was received durable, acknowledges it, and queues the receipts that it earned.
    async fn settle(&mut self) -> Result<bool, SdkError> {
        self.ack_at = None;
        if self.unacked > 0 {
            self.unacked = 0;
            self.inner.core().flush()?;
            // without a connection the gateway delivers them again, and they are dropped
            let _ = self.link.notify(client_frame::Kind::Ack(Ack { up_to: self.ack })).await;
        }
        self.receipts().await
    }

    async fn receipts(&mut self) -> Result<bool, SdkError> {
        if self.inner.core().queue_receipts()? {
            self.inner.queued.notify_one();
        }
        Ok(true)
    }

    /// Tells senders what could not be read; all that waited at once.
    fn resets(&self) -> Result<(), SdkError> {
        if self.caught_up && self.inner.core().queue_resets()? {
            self.inner.queued.notify_one();
        }
        Ok(())
    }

    async fn sweep(&mut self) -> Result<bool, SdkError> {
        self.resets()?;
        let gone = self.inner.core().sweep()?;
        Ok(gone.is_empty() || self.emit(Event::Expired(gone)).await.is_ok())
    }

    /// Runs something beside the deliveries, while the connection lasts.
    fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(work).await });
    }
}

/// At each connection: keys, and what was decided on other devices. What fails is tried at the next one.
async fn maintain(inner: Arc<Inner>, events: mpsc::Sender<Event>) {
    replenish(inner.clone(), events.clone()).await;
    inner.keys_settled.send_replace(true);
    let is_outdated = inner.core().is_outdated(inner.account);
    if is_outdated {
        refresh_own_devices(inner.clone(), events).await;
    }
    if let Err(error) = inner.sync_contacts().await {
        tracing::warn!(%error, "contacts were not read");
    }
}

/// Takes the list of one's own devices in, so that new ones are told what was said since they joined. What fails is tried again
/// with the next message that they must get.
async fn refresh_own_devices(inner: Arc<Inner>, events: mpsc::Sender<Event>) {
    let Ok(_place) = inner.refreshing.try_acquire() else { return };
    match inner.fetch_directory(inner.account, None).await {
        Ok(reported) => {
            for event in reported {
                let _ = events.send(event).await;
            }
        }
        Err(error) => tracing::warn!(%error, "the own devices were not looked at"),
    }
}

async fn replenish(inner: Arc<Inner>, events: mpsc::Sender<Event>) {
    match inner.replenish().await {
        Ok(Some(event)) => drop(events.send(event).await),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "prekeys were not checked, or not uploaded"),
    }
}

impl Inner {
    /// Sees to it that the server has the keys of this device and no others: rotates repeated-use keys when it is time,
    /// repairs the server's copy when it differs, replaces one-time keys that are not known here, and fills their stock up.
    pub(super) async fn replenish(&self) -> Result<Option<Event>, SdkError> {
        // two at once would both fill up the same gap
        let _alone = self.replenishing.lock().await;
        let mut stock = self.http.key_count().await?;
        let mut known = self.core().knows_stock(&stock)?;
        if !known {
            // somebody may have got a key, and written, while we were looking
            stock = self.http.key_count().await?;
            known = self.core().knows_stock(&stock)?;
        }
        self.repair_keys(stock.next).await?;
        let left = KeyCount { ec: stock.ec, kyber: stock.kyber };
        let upload = if known {
            self.core().one_time_keys(left)?
        } else {
            tracing::warn!("the server has one-time prekeys that are not known here; replacing them");
            Some(self.core().other_one_time_keys()?)
        };
        let Some(upload) = upload else { return Ok(None) };
        self.http.upload_keys(&upload).await?;
        self.core().uploaded(&upload)?;
        Ok(Some(Event::KeysReplenished { ec: upload.ec.len() as u32, kyber: upload.kyber.len() as u32 }))
    }

    async fn repair_keys(&self, next: NextIds) -> Result<(), SdkError> {
        let rotated = self.core().rotate_keys()?;
        if let Some(upload) = rotated {
            self.http.upload_keys(&upload).await?;
            return Ok(());
        }
        let check = self.core().key_check()?;
        if !self.http.check_keys(&check).await?.matches {
            tracing::warn!("the server has other keys of this device; uploading them again");
            let repair = self.core().key_repair(next)?;
            self.http.upload_keys(&repair).await?;
        }
        Ok(())
    }

    /// Takes over what was decided about contacts on other devices.
    async fn sync_contacts(&self) -> Result<(), SdkError> {
        let blocked = self.core().blocks_to_say()?;
        for peer in blocked {
            self.http.set_consent(peer, Consent::Blocked).await?;
        }
        self.core().said_blocks()?;
        let mut after = None;
        for _ in 0..CONTACT_PAGES_MAX {
            let page = self.http.contacts(after, CONTACTS_PAGE).await?;
            for contact in &page.contacts {
                let state = match contact.consent {
                    Consent::Accepted => ConversationState::Accepted,
                    Consent::Blocked => ConversationState::Blocked,
                    Consent::Requested => ConversationState::Requested,
                };
                self.core().decided_elsewhere(contact.account.account, state)?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(())
    }
}
