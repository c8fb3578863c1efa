//! Storing with group commit.
//!
//! What must hold: a message is acknowledged to its sender only after JetStream acknowledged it, and the messages of one
//! [`Submission`] are stored all or not at all.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use futures_util::future::join_all;
use nepto_kit::Ctx;
use nepto_kit::clock::Random;
use nepto_proto::subject::{Shard, Shards};
use nepto_proto::{AccountId, DeviceId};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::ApiError;

/// Headers of JetStream (NATS ADR-50, atomic batch publishing).
mod header {
    pub const BATCH_ID: &str = "Nats-Batch-Id";
    pub const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
    pub const BATCH_COMMIT: &str = "Nats-Batch-Commit";
}

/// Error codes of the NATS server (`errors.json`).
mod err_code {
    /// The stream refused to store. The server has one code for many reasons; a full mailbox is told by its words.
    pub const STORE_FAILED: u64 = 10_077;
    /// Those words (`store.go`, `ErrMaxMsgsPerSubject`).
    pub const MAXIMUM_PER_SUBJECT: &str = "maximum messages per subject exceeded";
    /// An id of the batch was seen before.
    pub const BATCH_CONTAINS_DUPLICATE: u64 = 10_201;
}

/// JetStream must answer in this time.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Letters that wait for a shard at most; a full queue is answered with `unavailable`.
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

/// One message to the devices of one person.
#[derive(Debug)]
pub struct Submission {
    /// The recipient.
    pub to: AccountId,
    /// `<sender account>:<sender device>:<client_msg_id>`, so that nobody shadows another's id, and `:own` behind it for
    /// the sender's own devices. `:<recipient device>` makes it the id of one copy.
    pub id: String,
    /// An encoded `Envelope` for each device.
    pub copies: Vec<(DeviceId, Bytes)>,
}

impl Submission {
    fn bytes(&self) -> usize {
        self.copies.iter().map(|(_, envelope)| envelope.len()).sum()
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// It was there before; nothing was stored twice.
    pub duplicate: bool,
}

/// Why a message was not stored. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// One of the mailboxes is full.
    #[error("a mailbox of the recipient is full")]
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
    lanes: Arc<[mpsc::Sender<Pending>]>,
    shards: Shards,
}

impl Store {
    /// With a lane for each shard, to be run. They end when the store is dropped and everything in them is stored.
    pub fn new(ctx: &Ctx) -> (Self, Vec<Lane>) {
        let shards = ctx.config.nats.shards;
        let batches = Arc::new(Semaphore::new(BATCHES_MAX));
        let lane = |shard| {
            let batches = batches.clone();
            let (sender, receiver) = mpsc::channel(QUEUE_MAX);
            let (nats, random, batch_max) = (ctx.nats.clone(), ctx.random.clone(), ctx.config.gateway.batch_max);
            (sender, Lane { nats, random, shard, batch_max, receiver, batches })
        };
        let (senders, lanes): (Vec<_>, Vec<_>) = shards.all().map(lane).unzip();
        (Self { lanes: senders.into(), shards }, lanes)
    }

    /// Puts a message into its lane, in the order of the calls; the future is its fate.
    pub fn submit(&self, message: Submission) -> impl Future<Output = Result<Stored, StoreError>> + Send + use<> {
        let (done, fate) = oneshot::channel();
        let queued = self.lanes[self.shards.of(message.to).index()].try_send(Pending { message, done });
        async move {
            queued.map_err(|_| StoreError::Unavailable("its queue is full".to_owned()))?;
            fate.await.unwrap_or_else(|_| Err(StoreError::Unavailable("this gateway is stopping".to_owned())))
        }
    }
}

/// The writer of one shard.
pub struct Lane {
    nats: async_nats::Client,
    random: Random,
    shard: Shard,
    batch_max: usize,
    receiver: mpsc::Receiver<Pending>,
    /// Shared by all lanes.
    batches: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct PubAck {
    error: Option<ApiError>,
    #[serde(default)]
    duplicate: bool,
}

/// What goes into one commit.
#[derive(Default)]
struct Group {
    pending: Vec<Pending>,
    copies: usize,
    bytes: usize,
    /// Messages with more than one copy: each is a batch already.
    batches: usize,
}

impl Group {
    fn push(&mut self, pending: Pending) {
        let copies = pending.message.copies.len();
        self.copies += copies;
        self.bytes += pending.message.bytes();
        self.batches += usize::from(copies > 1);
        self.pending.push(pending);
    }

    fn measure(&self) {
        metrics::histogram!("nepto_store_group_size").record(self.copies as f64);
    }

    /// Whether one atomic batch is cheaper than each message alone.
    fn is_batch(&self) -> bool {
        self.pending.len() >= BATCH_MIN || self.batches > 1
    }
}

/// How a commit failed.
enum CommitError {
    Duplicate,
    Full,
    Other(String),
}

impl Lane {
    /// Stores what is submitted, until nobody can submit any more.
    pub async fn run(mut self) {
        let mut group = Group::default();
        loop {
            if group.pending.is_empty() {
                match self.receiver.recv().await {
                    Some(first) => group.push(first),
                    None => return,
                }
            }
            let mut next = self.fill(&mut group);
            if group.is_batch() {
                let turn = self.batches.clone().acquire_owned().await.ok();
                // it has grown meanwhile
                next = next.or_else(|| self.fill(&mut group));
                group.measure();
                self.commit_batch(group.pending, turn).await;
            } else {
                group.measure();
                self.commit_each(group.pending).await;
            }
            group = Group::default();
            next.into_iter().for_each(|pending| group.push(pending));
        }
    }

    /// Takes what waits; gives back what there is no room for.
    fn fill(&mut self, group: &mut Group) -> Option<Pending> {
        while let Ok(next) = self.receiver.try_recv() {
            if group.copies + next.message.copies.len() > self.batch_max
                || group.bytes + next.message.bytes() > GROUP_BYTES_MAX
            {
                return Some(next);
            }
            group.push(next);
        }
        None
    }

    /// Commits what is not worth a batch message by message, all at once.
    async fn commit_each(&self, group: Vec<Pending>) {
        let fates = join_all(group.iter().map(|pending| self.commit_one(&pending.message))).await;
        for (pending, fate) in group.into_iter().zip(fates) {
            // who asked may be gone; the message is stored all the same
            let _ = pending.done.send(fate);
        }
    }

    /// Commits a group as one batch, and if the server refuses that for one of its messages, one after the other.
    async fn commit_batch(&self, group: Vec<Pending>, mut turn: Option<OwnedSemaphorePermit>) {
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
            Ok(stored) => answer_all(group, Ok(stored)),
            Err(CommitError::Other(reason)) => answer_all(group, Err(StoreError::Unavailable(reason))),
            Err(CommitError::Duplicate | CommitError::Full) => {
                let mut group = group.into_iter();
                while let Some(pending) = group.next() {
                    let fate = self.commit_one(&pending.message).await;
                    let gone = matches!(fate, Err(StoreError::Unavailable(_)));
                    let _ = pending.done.send(fate.clone());
                    if gone {
                        return answer_all(group.collect(), fate);
                    }
                }
            }
        }
    }

    async fn commit_one(&self, message: &Submission) -> Result<Stored, StoreError> {
        match self.commit(&[message]).await {
            Ok(stored) => Ok(stored),
            Err(CommitError::Full) => Err(StoreError::MailboxFull),
            Err(CommitError::Other(reason)) => Err(StoreError::Unavailable(reason)),
            // A retry: what was stored before is left out by the server, copies for devices that came later are stored.
            Err(CommitError::Duplicate) => {
                for (device, envelope) in &message.copies {
                    match self.publish(message, *device, envelope).await {
                        Ok(_) => {}
                        Err(CommitError::Full) => return Err(StoreError::MailboxFull),
                        Err(CommitError::Other(reason)) => return Err(StoreError::Unavailable(reason)),
                        Err(CommitError::Duplicate) => {}
                    }
                }
                Ok(Stored { duplicate: true })
            }
        }
    }

    /// All copies of these messages in one atomic batch, or as a plain publish where it is only one.
    async fn commit(&self, messages: &[&Submission]) -> Result<Stored, CommitError> {
        let copies: Vec<(&Submission, DeviceId, &Bytes)> = messages
            .iter()
            .flat_map(|message| message.copies.iter().map(|(device, envelope)| (*message, *device, envelope)))
            .collect();
        match copies.as_slice() {
            [] => return Ok(Stored { duplicate: false }),
            [(message, device, envelope)] => return self.publish(message, *device, envelope).await,
            _ => {}
        }
        let batch_id = self.random.alphanumeric(24);
        let mut reply = None;
        for (index, (message, device, envelope)) in copies.iter().enumerate() {
            let mut headers = self.headers(message, *device);
            headers.insert(header::BATCH_ID, batch_id.as_str());
            headers.insert(header::BATCH_SEQUENCE, (index + 1).to_string());
            let subject = self.shard.mailbox(message.to, *device);
            let envelope = Bytes::clone(envelope);
            if index + 1 < copies.len() {
                let sent = self.nats.publish_with_headers(subject, headers, envelope).await;
                sent.map_err(|error| CommitError::Other(error.to_string()))?;
            } else {
                headers.insert(header::BATCH_COMMIT, "1");
                reply = Some(self.request(subject, headers, envelope).await?);
            }
        }
        reply.ok_or_else(|| CommitError::Other("nothing to commit".to_owned()))
    }

    async fn publish(&self, message: &Submission, device: DeviceId, envelope: &Bytes) -> Result<Stored, CommitError> {
        let subject = self.shard.mailbox(message.to, device);
        self.request(subject, self.headers(message, device), envelope.clone()).await
    }

    fn headers(&self, message: &Submission, device: DeviceId) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}:{device}", message.id));
        headers
    }

    async fn request(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<Stored, CommitError> {
        let request = async_nats::Request::new().headers(headers).payload(payload).timeout(Some(STORE_TIMEOUT));
        let reply = self.nats.send_request(subject, request).await;
        let reply = reply.map_err(|error| CommitError::Other(error.to_string()))?;
        let ack: PubAck =
            serde_json::from_slice(&reply.payload).map_err(|error| CommitError::Other(error.to_string()))?;
        match ack.error {
            None => Ok(Stored { duplicate: ack.duplicate }),
            Some(error) => Err(match error.err_code {
                err_code::STORE_FAILED if error.description == err_code::MAXIMUM_PER_SUBJECT => CommitError::Full,
                err_code::BATCH_CONTAINS_DUPLICATE => CommitError::Duplicate,
                _ => CommitError::Other(error.description),
            }),
        }
    }
}

fn answer_all(group: Vec<Pending>, fate: Result<Stored, StoreError>) {
    for pending in group {
        let _ = pending.done.send(fate.clone());
    }
}
