//! Where a consumer's messages are between their fetch and their acknowledgement.
//!
//! One loop fetches for as long as there is room on the desk, and another gives what lies there to tasks of its own: everything at
//! once, but what has a key one after the other. The bench lets as many of these tasks work as the consumer allows. There is room for
//! twice as many messages, so that the next are at hand when one is done, and those that hang don't stop the fetching.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use nepto_proto::subject::EVENTS_STREAM;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::attempt::Bench;
use super::events::Events;
use super::heartbeat::Heartbeat;
use crate::Ctx;
use crate::clock::backoff;
use crate::lease::Lease;

/// One request for messages waits so long.
const FETCH_EXPIRES: Duration = Duration::from_secs(15);
/// While there is no room the loop is alive all the same.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// What is worked on when the process stops may take so long; after that it comes again.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// The lease of a consumer that keeps an order: who is gone is replaced after this.
const LEASE_TTL: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// A message, and its room on the desk.
struct Arrived {
    message: Message,
    _room: OwnedSemaphorePermit,
}

/// Works until the process stops.
pub async fn serve(ctx: Ctx, events: Events) -> anyhow::Result<()> {
    let beat = Heartbeat::of_consumer(&ctx, EVENTS_STREAM, events.name);
    let room_for = 2 * events.concurrency;
    let (sender, arriving) = mpsc::channel(room_for);
    // all may be fetched, until a lease says otherwise
    let (may_fetch, turn) = watch::channel(!events.is_ordered());
    let lease = events.is_ordered().then(|| Lease::new(&ctx, &format!("consumer:{}", events.name), LEASE_TTL));
    let fetcher = Fetcher {
        name: events.name,
        room: Arc::new(Semaphore::new(room_for)),
        // a few large requests rather than one for each message
        fetch_min: events.concurrency.div_ceil(2) as u32,
        sender,
        turn,
        ack_wait_ms: Arc::default(),
    };
    let desk = Desk {
        ack_wait_ms: fetcher.ack_wait_ms.clone(),
        bench: Bench::new(ctx.clone(), events),
        held: HashMap::new(),
        lines: HashMap::new(),
        tasks: JoinSet::new(),
        next_number: 0,
    };
    let keep_lease = async {
        match &lease {
            Some(lease) => loop {
                may_fetch.send_replace(lease.hold().await);
                sleep(RENEW_EVERY).await;
            },
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = desk.run(arriving) => {}
        () = fetcher.run(&ctx, &beat) => {}
        () = keep_lease => {}
    }
    if let Some(lease) = &lease {
        lease.free().await;
    }
    Ok(())
}

/// Brings messages to the desk.
struct Fetcher {
    name: &'static str,
    room: Arc<Semaphore>,
    fetch_min: u32,
    sender: mpsc::Sender<Arrived>,
    turn: watch::Receiver<bool>,
    ack_wait_ms: Arc<AtomicU64>,
}

impl Fetcher {
    /// Until it is dropped; what it brought so far stays on the desk when the process stops.
    async fn run(&self, ctx: &Ctx, beat: &Heartbeat) {
        loop {
            match ctx.stop.run_until_cancelled(self.fetch(ctx, beat)).await {
                // the desk ends by itself
                None => std::future::pending::<()>().await,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    let error = format!("{error:#}");
                    tracing::warn!(consumer = self.name, error, "the consumer can't fetch; trying again");
                    sleep(backoff(&ctx.random, 4, Duration::from_millis(50), Duration::from_secs(1))).await;
                }
            }
        }
    }

    /// Makes one request for as many messages as there is room for.
    async fn fetch(&self, ctx: &Ctx, beat: &Heartbeat) -> anyhow::Result<()> {
        let mut room = self.wait_for_room(ctx, beat).await?;
        // a deleted consumer answers nothing, so look whether it is still there
        let consumer: PullConsumer = ctx.jetstream.get_consumer_from_stream(self.name, EVENTS_STREAM).await?;
        let ack_wait = consumer.cached_info().config.ack_wait;
        self.ack_wait_ms.store(ack_wait.as_millis() as u64, Ordering::Relaxed);
        beat.beat(ctx);
        let fetch = consumer.fetch().max_messages(room.num_permits()).expires(FETCH_EXPIRES);
        let mut batch = fetch.messages().await?;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("a fetch broke off: {error}"))?;
            // a server that sends more than it was asked for
            let Some(one) = room.split(1) else { break };
            if self.sender.send(Arrived { message, _room: one }).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn wait_for_room(&self, ctx: &Ctx, beat: &Heartbeat) -> anyhow::Result<OwnedSemaphorePermit> {
        let mut turn = self.turn.clone();
        let room = async {
            turn.wait_for(|mine| *mine).await?;
            let mut room = self.room.clone().acquire_many_owned(self.fetch_min).await?;
            let more = u32::try_from(self.room.available_permits()).unwrap_or_default();
            if let Ok(more) = self.room.clone().try_acquire_many_owned(more) {
                room.merge(more);
            }
            anyhow::Ok(room)
        };
        tokio::pin!(room);
        loop {
            // it is bounded by the time that a message may take
            beat.beat(ctx);
            if let Ok(room) = timeout(BEAT_EVERY, &mut room).await {
                return room;
            }
        }
    }
}

/// A message that is worked on, or waits for those before it.
struct Held {
    arrived: Arrived,
    key: Option<String>,
}

struct Desk {
    bench: Arc<Bench>,
    held: HashMap<u64, Held>,
    /// Of each key: the message that is worked on, and those that wait for it.
    lines: HashMap<String, VecDeque<u64>>,
    tasks: JoinSet<u64>,
    next_number: u64,
    ack_wait_ms: Arc<AtomicU64>,
}

impl Desk {
    async fn run(mut self, mut arriving: mpsc::Receiver<Arrived>) {
        let stop = self.bench.ctx.stop.clone();
        let mut progress_at = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(arrived) = arriving.recv() => {
                    if self.held.is_empty() {
                        progress_at = Instant::now() + self.progress_every();
                    }
                    self.admit(arrived);
                }
                Some(done) = self.tasks.join_next() => self.done(done),
                () = sleep_until(progress_at), if !self.held.is_empty() => {
                    self.say_in_progress().await;
                    progress_at = Instant::now() + self.progress_every();
                }
            }
        }
        arriving.close();
        while let Some(arrived) = arriving.recv().await {
            self.bench.give_back(&arrived.message).await;
        }
        self.end().await;
    }

    /// Often enough that JetStream takes no message for lost.
    fn progress_every(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms.load(Ordering::Relaxed).max(300)) / 3
    }

    fn admit(&mut self, arrived: Arrived) {
        let number = self.next_number;
        self.next_number += 1;
        let key = self.bench.events.key_of(&arrived.message.subject, &arrived.message.payload);
        let mut is_first = true;
        if let Some(key) = &key {
            let line = self.lines.entry(key.clone()).or_default();
            is_first = line.is_empty();
            line.push_back(number);
        }
        self.held.insert(number, Held { arrived, key });
        if is_first {
            self.begin(number);
        }
    }

    fn begin(&mut self, number: u64) {
        let Some(held) = self.held.get(&number) else { return };
        let (bench, message, is_in_line) = (self.bench.clone(), held.arrived.message.clone(), held.key.is_some());
        self.tasks.spawn(async move {
            bench.work_off(&message, is_in_line).await;
            number
        });
    }

    fn done(&mut self, done: Result<u64, tokio::task::JoinError>) {
        let number = match done {
            Ok(number) => number,
            // what handlers do is caught, so this is a mistake of ours: it ends the process
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        let Some(key) = self.held.remove(&number).and_then(|held| held.key) else { return };
        let next = self.lines.get_mut(&key).and_then(|line| {
            line.pop_front();
            line.front().copied()
        });
        match next {
            Some(next) => self.begin(next),
            None => drop(self.lines.remove(&key)),
        }
    }

    async fn say_in_progress(&self) {
        for held in self.held.values() {
            if let Err(error) = held.arrived.message.ack_with(AckKind::Progress).await {
                tracing::debug!(consumer = self.bench.events.name, %error, "not told that it is in progress");
            }
        }
    }

    /// Lets what is worked on this moment end, and gives back what only waits.
    async fn end(mut self) {
        for line in self.lines.values_mut() {
            for number in line.drain(..).skip(1) {
                if let Some(held) = self.held.remove(&number) {
                    self.bench.give_back(&held.arrived.message).await;
                }
            }
        }
        let ended = timeout(STOP_WITHIN, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            let left = self.tasks.len();
            tracing::warn!(consumer = self.bench.events.name, left, "not worked off in time; they will come again");
        }
    }
}
