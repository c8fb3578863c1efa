//! Storing with group commit.
//!
//! What must hold: a message is acknowledged to its sender only after JetStream acknowledged a copy of it for every device
//! that it is for, or, for a device whose mailbox is full, a [mark](super::missed) that says so. It is refused only if no
//! device had room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::join_all;
use nepto_kit::Ctx;
use nepto_kit::batch::{self, BatchError, Part};
use nepto_kit::clock::{Clock, Random};
use nepto_kit::group::{Collector, Group, Item};
use nepto_kit::nats::connected;
use nepto_proto::event::MailboxNotice;
use nepto_proto::subject::{Shard, Shards};
use nepto_proto::{AccountId, ClientMsgId, DeviceId};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::missed::{self, Missed};
use super::publish::Refused;
use super::stores::StreamStores;
use super::{header, notify};
use crate::messaging::config::Batches;

/// Messages that wait for a shard at most; a full queue is answered with `unavailable`.
const QUEUE_MAX: usize = 8_192;
/// Bytes of one group commit, about.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// From this many messages on an atomic batch is cheaper than a sync for each (`bench/README.md`).
const BATCH_MIN: usize = 8;
/// Batches of many messages under way at once, of all shards together. JetStream stages each in a store of its own, whose
/// making and removing costs more than fifty messages: what has to wait goes into fewer, larger batches
/// (`bench/README.md`).
const BATCHES_MAX: usize = 2;
/// A batch that takes longer gives its turn away.
const TURN_MAX: Duration = Duration::from_millis(100);
/// A full mailbox rejects the whole batch that a copy for it is in. So long messages to its account stay out of batches.
const FULL_REMEMBERED: Duration = Duration::from_secs(60);
/// Such accounts of a shard; past it all are forgotten, and noticed again.
const FULL_MAX: usize = 1_024;

/// One message to the devices of one person.
#[derive(Debug)]
pub struct Submission {
    /// The sending device.
    pub from: (AccountId, DeviceId),
    /// What the sender calls it.
    pub id: ClientMsgId,
    /// Whom the message is for.
    pub recipient: AccountId,
    /// Whose mailboxes these copies go into: the recipient's, or the sender's own.
    pub to: AccountId,
    /// When it was asked whether the recipient consents, milliseconds since 1970.
    pub consent_ms: i64,
    /// Of somebody whom the recipient has not accepted: what a stranger could not store leaves no mark.
    pub request: bool,
    /// One for each device.
    pub copies: Vec<DeviceCopy>,
}

/// What goes into one mailbox.
#[derive(Debug)]
pub struct DeviceCopy {
    /// The device that the mailbox belongs to.
    pub device: DeviceId,
    /// Tells two installations under one device number apart.
    pub registration_id: u32,
    /// An encoded `Envelope`.
    pub envelope: Bytes,
}

impl Submission {
    fn bytes(&self) -> usize {
        self.copies.iter().map(|copy| copy.envelope.len()).sum()
    }

    /// What JetStream knows repetitions by: the message, and a digest of sender, recipient and mailbox, so that nobody shadows
    /// another's id, and no recipient or installation another one's copy. Short, because JetStream keeps and compares it with
    /// every message: 128 bits of SHA-256.
    fn copy_id(&self, copy: &DeviceCopy) -> String {
        let (sender, from_device) = self.from;
        let digest = Sha256::new()
            .chain_update(sender.uuid())
            .chain_update([from_device.get()])
            .chain_update(self.recipient.uuid())
            .chain_update([u8::from(self.to != self.recipient), copy.device.get()])
            .chain_update(copy.registration_id.to_be_bytes())
            .finalize();
        format!("{}:{}", self.id, BASE64_URL_SAFE_NO_PAD.encode(&digest[..16]))
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// It was there before; nothing was stored twice.
    pub duplicate: bool,
    /// Whether any copy is new: a repetition for more devices than before is a duplicate, and still takes room.
    pub added: bool,
    /// Devices whose mailbox was full. All others have it.
    pub missed: Vec<DeviceId>,
}

impl Stored {
    /// All copies, or all of them before.
    const fn whole(duplicate: bool) -> Self {
        Self { duplicate, added: !duplicate, missed: Vec::new() }
    }
}

/// Why a message was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No mailbox had room. Nothing was stored.
    #[error("the mailboxes of all of the recipient's devices are full")]
    MailboxFull,
    /// No acknowledgement: it may have been stored. A retry with the same id is safe.
    #[error("the message store does not answer: {0}")]
    Unavailable(String),
}

struct Pending {
    message: Submission,
    done: oneshot::Sender<Result<Stored, StoreError>>,
}

/// Stores messages. What arrives while a commit is under way goes into the next one, as an atomic batch: one sync of the
/// disk for all of them. The order of arrival is the order of storage.
#[derive(Clone)]
pub struct Store {
    writers: Arc<[mpsc::Sender<Pending>]>,
    /// What comes of it, of each shard.
    stores: Arc<[Arc<StreamStores>]>,
    shards: Shards,
}

impl Store {
    /// With a writer for each shard, to be run. They end when the store is dropped and everything in them is stored.
    pub fn new(ctx: &Ctx) -> (Self, Vec<ShardWriter>) {
        let shards = ctx.config.nats.shards;
        let batches = Arc::new(Semaphore::new(BATCHES_MAX));
        let stores: Arc<[_]> = shards.all().map(|shard| Arc::new(StreamStores::new(shard))).collect();
        let writer = |shard: Shard| {
            let (batches, stores) = (batches.clone(), stores[shard.index()].clone());
            let (sender, receiver) = mpsc::channel(QUEUE_MAX);
            let (nats, clock, random) = (ctx.nats.clone(), ctx.clock.clone(), ctx.random.clone());
            let batch_max = ctx.config.section::<Batches>().batch_max;
            let waiting = Collector::new(receiver, batch_max, GROUP_BYTES_MAX);
            let full = Mutex::default();
            (sender, ShardWriter { nats, clock, random, shard, waiting, batches, full, stores })
        };
        let (senders, writers): (Vec<_>, Vec<_>) = shards.all().map(writer).unzip();
        (Self { writers: senders.into(), stores, shards }, writers)
    }

    /// Whether a shard's stream stores, as far as is known here.
    pub fn stores(&self, shard: Shard) -> &Arc<StreamStores> {
        &self.stores[shard.index()]
    }

    /// Queues a message for its shard's writer, in the order of the calls; the future is its outcome.
    pub fn submit(&self, message: Submission) -> impl Future<Output = Result<Stored, StoreError>> + Send + use<> {
        let (done, outcome) = oneshot::channel();
        let queued = self.writers[self.shards.of(message.to).index()].try_send(Pending { message, done });
        async move {
            queued.map_err(|_| StoreError::Unavailable("its queue is full".to_owned()))?;
            outcome.await.unwrap_or_else(|_| Err(StoreError::Unavailable("this gateway is stopping".to_owned())))
        }
    }
}

/// The writer of one shard.
pub struct ShardWriter {
    nats: async_nats::Client,
    clock: Clock,
    random: Random,
    shard: Shard,
    waiting: Collector<Pending>,
    /// Shared by all writers.
    batches: Arc<Semaphore>,
    /// Accounts with a full mailbox, and when that was seen. A hint: it only decides what goes together.
    full: Mutex<HashMap<AccountId, Instant>>,
    stores: Arc<StreamStores>,
}

impl Item for Pending {
    fn messages(&self) -> usize {
        self.message.copies.len()
    }

    fn bytes(&self) -> usize {
        self.message.bytes()
    }
}

/// Whether one atomic batch is cheaper than each message alone. A message with more than one copy is a batch already.
fn is_batch(group: &Group<Pending>) -> bool {
    let batches = group.items.iter().filter(|pending| pending.message.copies.len() > 1);
    group.items.len() >= BATCH_MIN || batches.take(2).count() > 1
}

fn measure(group: &Group<Pending>) {
    metrics::histogram!("nepto_store_group_messages").record(group.messages() as f64);
}

impl ShardWriter {
    /// Stores what is submitted, until nobody can submit any more.
    pub async fn run(mut self) {
        while let Some(mut group) = self.waiting.first().await {
            // one that was lost a moment ago is back soon, and without one everything is refused
            let _ = connected(&self.nats).await;
            self.waiting.fill(&mut group);
            if is_batch(&group) {
                let turn = self.batches.clone().acquire_owned().await.ok();
                // it has grown meanwhile
                self.waiting.fill(&mut group);
                measure(&group);
                self.commit_batch(group.items, turn).await;
            } else {
                measure(&group);
                self.commit_each(group.items).await;
            }
        }
    }

    /// Commits what is not worth a batch message by message, all at once. What has to go copy by copy comes after that, for each
    /// recipient one after the other: frames of one connection are stored in their order.
    async fn commit_each(&self, group: Vec<Pending>) {
        let outcomes = join_all(group.iter().map(|pending| self.commit_whole(&pending.message))).await;
        let mut by_copy: HashMap<AccountId, Vec<Pending>> = HashMap::new();
        for (pending, outcome) in group.into_iter().zip(outcomes) {
            match outcome {
                // who asked may be gone; the message is stored all the same
                Some(outcome) => drop(pending.done.send(outcome)),
                None => by_copy.entry(pending.message.to).or_default().push(pending),
            }
        }
        let of_one = |messages: Vec<Pending>| async move {
            for pending in messages {
                let outcome = self.commit_copies(&pending.message).await;
                let _ = pending.done.send(outcome);
            }
        };
        join_all(by_copy.into_values().map(of_one)).await;
    }

    /// Whether a mailbox of an account was full a moment ago.
    fn was_full(&self, account: AccountId) -> bool {
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.get(&account).is_some_and(|seen| seen.elapsed() < FULL_REMEMBERED)
    }

    fn note_full(&self, account: AccountId) {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() >= FULL_MAX {
            full.clear();
        }
        full.insert(account, Instant::now());
    }

    /// Commits a group as one batch, but for those who would spoil it.
    async fn commit_batch(&self, group: Vec<Pending>, turn: Option<OwnedSemaphorePermit>) {
        let (alone, group) = group.into_iter().partition(|pending| self.was_full(pending.message.to));
        tokio::join!(self.commit_each(alone), self.commit_together(group, turn));
    }

    /// Commits a group as one batch, and if the server refuses that for one of its messages, message by message.
    async fn commit_together(&self, group: Vec<Pending>, mut turn: Option<OwnedSemaphorePermit>) {
        let outcome = {
            let messages: Vec<&Submission> = group.iter().map(|pending| &pending.message).collect();
            let mut commit = std::pin::pin!(self.commit(&messages));
            match timeout(TURN_MAX, commit.as_mut()).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    // a stream that is slow must not make the others wait
                    drop(turn.take());
                    commit.await
                }
            }
        };
        drop(turn);
        match outcome {
            Ok(duplicate) => answer_all(group, Ok(Stored::whole(duplicate))),
            Err(Refused::Other(reason)) => answer_all(group, Err(StoreError::Unavailable(reason))),
            Err(Refused::Duplicate | Refused::Full | Refused::Exists) => self.commit_each(group).await,
        }
    }

    /// Stores all copies of a message or none; `None` if it has to go copy by copy: a retry, or a full mailbox, which stops
    /// neither the other devices nor what a later try adds.
    async fn commit_whole(&self, message: &Submission) -> Option<Result<Stored, StoreError>> {
        if self.was_full(message.to) {
            return None;
        }
        match self.commit(&[message]).await {
            Ok(duplicate) => Some(Ok(Stored::whole(duplicate))),
            Err(Refused::Other(reason)) => Some(Err(StoreError::Unavailable(reason))),
            Err(Refused::Duplicate | Refused::Full | Refused::Exists) => None,
        }
    }

    /// Stores each copy for itself, for the devices that have room: what was there before is left out by the server.
    async fn commit_copies(&self, message: &Submission) -> Result<Stored, StoreError> {
        let answers = join_all(message.copies.iter().map(|copy| self.publish(message, copy))).await;
        let (mut duplicate, mut added, mut missed) = (false, false, Vec::new());
        for (copy, answer) in message.copies.iter().zip(answers) {
            match answer {
                Ok(repeated) => {
                    duplicate |= repeated;
                    added |= !repeated;
                }
                Err(Refused::Full) => missed.push(copy.device),
                Err(Refused::Duplicate | Refused::Exists) => duplicate = true,
                Err(Refused::Other(reason)) => return Err(StoreError::Unavailable(reason)),
            }
        }
        if !missed.is_empty() {
            self.note_full(message.to);
        }
        if !message.request {
            for device in &missed {
                self.mark(message, *device).await?;
            }
        }
        if missed.len() == message.copies.len() {
            return Err(StoreError::MailboxFull);
        }
        Ok(Stored { duplicate, added, missed })
    }

    /// Marks a device that misses this message, and tells the devices of its owner, as far as they are known here.
    async fn mark(&self, message: &Submission, device: DeviceId) -> Result<(), StoreError> {
        metrics::counter!("nepto_mailbox_copies_missed_total").increment(1);
        let missed = Missed { device, since_ms: self.clock.now_ms().unsigned_abs() };
        let marked = missed::mark(&self.nats, self.shard, message.to, missed).await;
        self.stores.note(marked.as_ref().map(|is_new| !is_new));
        match marked {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(refused) => return Err(StoreError::Unavailable(format!("a full mailbox was not marked: {refused:?}"))),
        }
        tracing::info!(account = %message.to, %device, "a full mailbox: the device misses messages from now on");
        let notice = MailboxNotice::Missed { device, since_ms: missed.since_ms };
        let sender = (message.from.0 == message.to).then_some(message.from.1);
        for other in message.copies.iter().map(|copy| copy.device).chain(sender) {
            // who does not hear it now is told with the next connection
            let _ = notify(&self.nats, message.to, other, &notice).await;
        }
        Ok(())
    }

    /// All copies of these messages in one atomic batch, or as a plain publish where it is only one.
    async fn commit(&self, messages: &[&Submission]) -> Result<bool, Refused> {
        let copies: Vec<(&Submission, &DeviceCopy)> =
            messages.iter().flat_map(|message| message.copies.iter().map(|copy| (*message, copy))).collect();
        match copies.as_slice() {
            [] => return Ok(false),
            [(message, copy)] => return self.publish(message, copy).await,
            _ => {}
        }
        let parts = copies.iter().map(|(message, copy)| self.part(message, copy)).collect();
        // a batch with something that was there before is refused
        let stored = batch::publish(&self.nats, &self.random.alphanumeric(24), parts).await;
        self.noted(stored.map(|_| false))
    }

    /// Whether the copy was there before.
    async fn publish(&self, message: &Submission, copy: &DeviceCopy) -> Result<bool, Refused> {
        self.noted(batch::publish_one(&self.nats, self.part(message, copy)).await)
    }

    fn noted(&self, outcome: Result<bool, BatchError>) -> Result<bool, Refused> {
        let outcome = outcome.map_err(Refused::from);
        self.stores.note(outcome.as_ref().copied());
        outcome
    }

    fn part(&self, message: &Submission, copy: &DeviceCopy) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, message.copy_id(copy));
        headers.insert(header::CONSENT_MS, message.consent_ms.to_string());
        Part { subject: self.shard.mailbox(message.to, copy.device), headers, body: copy.envelope.clone() }
    }
}

fn answer_all(group: Vec<Pending>, outcome: Result<Stored, StoreError>) {
    for pending in group {
        let _ = pending.done.send(outcome.clone());
    }
}
