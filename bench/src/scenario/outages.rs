//! What people notice while parts of a server die, move, or are replaced: clients that connect again as the SDK's do, and send again
//! what was not stored.
//!
//! Somebody new signs in every second, and what they are told if they can't is said at the end. Ctrl-C, or `kill`, ends the measured time early.
//!
//! A message counts as lost if it did not arrive in the end, whether it was stored or not: every one is sent until it is stored.

mod newcomers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use nepto_proto::wire::{Ack, Cursor, Deliver, client_frame, server_frame};
use nepto_sdk::session::{self, Credentials, Link, SessionEvent};
use nepto_sdk::{Env, SdkError};
use rand::RngCore;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, UnboundedReceiver};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{Outcome, at_rate, notes};
use crate::cli;
use crate::device::Command;
use crate::figures::{CpuFigures, Figures};
use crate::ground::Ground;
use crate::ledger::{Ledger, Seen};
use crate::pacer;
use crate::people::{Person, Town};
use crate::proc::Cpu;
use crate::stamp::{Phase, STAMP_BYTES, Stamp};
use crate::wire;

/// Before the measured phase, at the same rate.
const WARM_UP: Duration = Duration::from_secs(3);
/// Until all of the warm-up must have arrived.
const WARM_WITHIN: Duration = Duration::from_secs(30);
/// Who waits longer notices.
const NOTICED: Duration = Duration::from_secs(1);
/// From a frame to its answer, and before it is tried again: as the SDK.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Deliveries are acknowledged together.
const ACK_WITHIN: Duration = Duration::from_millis(50);
/// After the last message has left its sender's hands, for what is still on its way.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Every device in turn writes to its neighbour, `rate` times a second over all of them, whatever happens to the server.
pub async fn run(ground: &Ground, town: &Town, conns: usize, rate: u32, phase: &cli::Phase) -> Result<Outcome> {
    let people = town.settle(conns.max(2).next_multiple_of(2)).await?;
    town.introduce(&people).await?;
    let people: Vec<Arc<Person>> = people.into_iter().map(Arc::new).collect();
    let books = Arc::new(Books { ledger: Arc::new(Ledger::open()?), pauses: Mutex::default(), env: town.env.clone() });
    let ledger = &books.ledger;
    let stop = CancellationToken::new();
    let mut ciphertext = vec![0; phase.size.max(STAMP_BYTES)];
    town.env.rng().fill_bytes(&mut ciphertext);
    let run = town.env.rng().next_u32() >> 8;
    let (mut commands, mut senders, mut receivers) = (Vec::new(), JoinSet::new(), Vec::new());
    for (number, person) in people.iter().enumerate() {
        let cursor = Arc::default();
        let owner = Owner { person: person.clone(), sockets: town.info.sockets.clone(), cursor: Arc::clone(&cursor) };
        let (link, incoming) = session::start(owner, town.env.clone(), stop.clone());
        let (command, commanded) = mpsc::unbounded_channel();
        commands.push(command);
        let writer =
            Writer { to: people[number ^ 1].clone(), number: number as u32, run, ciphertext: ciphertext.clone() };
        senders.spawn(writer.write(link.clone(), commanded, books.clone()));
        receivers.push(tokio::spawn(read(link, incoming, cursor, run, books.clone())));
    }

    pacer::pace(commands.clone(), ledger.clone(), Phase::WarmUp, rate, ledger.now_us(), WARM_UP).await?;
    if !arrived(ledger, Phase::WarmUp, WARM_WITHIN).await {
        let complaint = ledger.counts().complaint.clone().unwrap_or_else(|| "nobody said why".to_owned());
        bail!("messages of the warm-up did not arrive: {complaint}");
    }
    *books.pauses() = Pauses::default();
    println!(
        "{} devices write {rate} messages a second; what keeps them waiting for more than a second:",
        people.len()
    );
    let teller = tell(books.clone());
    let before = Cpu::now();
    let from_us = ledger.begin();
    let enough = CancellationToken::new();
    let newcomers = tokio::spawn(newcomers::arrive(town.clone(), enough.clone()));
    let told = tokio::spawn(until_told(enough.clone()));
    // the senders end when the pacer has let go of their commands and everything is stored
    let lasts = Duration::from_secs(phase.secs);
    let sent =
        pacer::pace_until(enough.clone(), commands, ledger.clone(), Phase::Measured, rate, from_us, lasts).await?;
    let secs = ledger.now_us().saturating_sub(from_us).div_ceil(1_000_000).clamp(1, phase.secs.max(1));
    enough.cancel();
    told.abort();
    let cpu = Cpu::now().since(before);
    let all_stored = timeout(SETTLE_WITHIN, async { while senders.join_next().await.is_some() {} }).await.is_ok();
    senders.shutdown().await;
    ledger.counts().sent[Phase::Measured as usize] = sent;
    let newcomers = newcomers.await?;
    if all_stored {
        arrived(ledger, Phase::Measured, SETTLE_WITHIN).await;
    }
    teller.abort();
    books.tell(u64::MAX);
    stop.cancel();
    for receiver in receivers {
        let _ = receiver.await;
    }

    let counts = ledger.counts().clone();
    let mut notes = notes(&counts);
    notes.push(("stored", counts.stored[Phase::Measured as usize].to_string()));
    notes.push(("pauses", books.pauses().told.to_string()));
    notes.push(("signed in", newcomers.to_string()));
    let figures = Figures {
        cpu_ms_per_1000: CpuFigures::new(cpu, counts.delivered[Phase::Measured as usize], ground.is_ours()),
        ..at_rate("outages", &counts, people.len(), rate, &cli::Phase { secs, ..*phase })
    };
    Ok(Outcome { figures, notes, latency: Some(counts.latency), seconds: counts.seconds })
}

/// Ends the measured time when somebody asks for it.
async fn until_told(enough: CancellationToken) {
    let Ok(mut kill) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = kill.recv() => {}
        _ = ctrl_c() => {}
    }
    enough.cancel();
}

/// Waits until everything of a phase has arrived. `false`: not within this time.
async fn arrived(ledger: &Ledger, phase: Phase, within: Duration) -> bool {
    let all = async {
        while {
            let counts = ledger.counts();
            let sent = counts.sent[phase as usize];
            sent == 0 || counts.stored[phase as usize] < sent || counts.delivered[phase as usize] < sent
        } {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(within, all).await.is_ok()
}

/// What a session asks of who owns it.
struct Owner {
    person: Arc<Person>,
    sockets: Vec<String>,
    cursor: Arc<Mutex<Option<Cursor>>>,
}

impl Credentials for Owner {
    async fn gateways(&self) -> Result<Vec<String>, SdkError> {
        Ok(self.sockets.clone())
    }

    async fn access_token(&self) -> Result<String, SdkError> {
        self.person.http().access_token().await
    }

    async fn refreshed_token(&self, refused: &str) -> Result<String, SdkError> {
        self.person.http().refreshed_token(refused).await
    }

    fn cursor(&self) -> Result<Option<Cursor>, SdkError> {
        Ok(*lock(&self.cursor))
    }
}

/// Somebody who writes: one message after the other, each until it is stored.
struct Writer {
    to: Arc<Person>,
    number: u32,
    run: u32,
    ciphertext: Vec<u8>,
}

impl Writer {
    async fn write(mut self, mut link: Link, mut commands: UnboundedReceiver<Command>, books: Arc<Books>) {
        let mut seq = 0;
        while let Some(command) = commands.recv().await {
            let Command::Send { intended_us, phase } = command else { continue };
            let stamp = Stamp { run: self.run, phase, sender: self.number, seq, intended_us };
            seq += 1;
            books.ledger.counts().sent(stamp, books.ledger.now_us());
            self.ciphertext[..STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
            let send = wire::send_dm(&self.to, stamp.to_bytes().to_vec(), Bytes::copy_from_slice(&self.ciphertext));
            loop {
                match link.request(client_frame::Kind::SendDm(send.clone()), ANSWER_WITHIN).await {
                    Ok(server_frame::Kind::Stored(_)) => break,
                    Ok(server_frame::Kind::Error(error)) => {
                        books.ledger.counts().refused(format!("{}: {}", error.code, error.detail));
                    }
                    Ok(other) => books.ledger.counts().refused(format!("an answer of another kind: {other:?}")),
                    Err(SdkError::NotConnected) => {}
                    Err(error) => books.ledger.counts().refused(error.to_string()),
                }
                tokio::select! {
                    () = sleep(AGAIN_AFTER) => {}
                    // over: what is not stored will never be
                    changed = link.changed() => if !changed { return },
                }
            }
            books.stored(stamp);
        }
    }
}

/// Reads what arrives, and acknowledges it, until the session ends.
async fn read(
    link: Link,
    mut incoming: Receiver<SessionEvent>,
    cursor: Arc<Mutex<Option<Cursor>>>,
    run: u32,
    books: Arc<Books>,
) {
    let (mut seen, mut epoch, mut ack_at) = (Seen::default(), 0, None);
    loop {
        let due = ack_at.unwrap_or_else(Instant::now);
        let event = tokio::select! {
            event = incoming.recv() => event,
            () = sleep_until(due), if ack_at.is_some() => {
                ack_at = None;
                let up_to = lock(&cursor).map_or(0, |cursor| cursor.seq);
                // without a connection it is the cursor of the next one that says so
                let _ = link.notify(client_frame::Kind::Ack(Ack { up_to })).await;
                continue;
            }
        };
        match event {
            Some(SessionEvent::Connected(welcome)) => epoch = welcome.epoch,
            Some(SessionEvent::Frame(server_frame::Kind::Deliver(Deliver { seq, envelope, .. }))) => {
                *lock(&cursor) = Some(Cursor { epoch, seq });
                ack_at.get_or_insert_with(|| Instant::now() + ACK_WITHIN);
                let stamp = envelope.and_then(|envelope| Stamp::read(&envelope.ciphertext));
                match stamp.filter(|stamp| stamp.run == run) {
                    Some(stamp) if seen.is_new(stamp.seq) => books.delivered(stamp),
                    Some(_) => books.ledger.counts().duplicated += 1,
                    None => books.ledger.counts().broke("something arrived that nobody sent".to_owned()),
                }
            }
            Some(SessionEvent::Frame(_)) => {}
            Some(SessionEvent::Disconnected { reason, .. }) => books.ledger.counts().broke(format!("{reason:?}")),
            Some(last) => books.ledger.counts().broke(format!("it is over: {last:?}")),
            None => return,
        }
    }
}

/// The ledger, and beside it what people noticed.
struct Books {
    ledger: Arc<Ledger>,
    pauses: Mutex<Pauses>,
    env: Env,
}

impl Books {
    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        lock(&self.pauses)
    }

    fn stored(&self, stamp: Stamp) {
        let now_us = self.ledger.now_us();
        self.ledger.counts().stored(stamp, now_us);
        self.pauses().stored(stamp.intended_us, now_us);
    }

    fn delivered(&self, stamp: Stamp) {
        let now_us = self.ledger.now_us();
        self.ledger.counts().delivered(stamp, now_us);
        self.pauses().delivered(stamp.intended_us, now_us);
    }

    /// Tells of the pause that is over by then, if there is one.
    fn tell(&self, now_us: u64) {
        let Some(pause) = self.pauses().over(now_us) else { return };
        let ago_ms = self.ledger.now_us().saturating_sub(pause.from_us) / 1_000;
        let s = |us: u64| us as f64 / 1_000_000.0;
        println!(
            "  {}  {} messages waited, {:.1} s at most until stored, {:.1} s until they arrived; nobody's was stored for {:.1} s",
            time_of_day(self.env.now_ms().saturating_sub(ago_ms)),
            pause.messages,
            s(pause.until_stored_us),
            s(pause.until_arrived_us),
            s(pause.silence_us),
        );
    }
}

fn time_of_day(unix_ms: u64) -> String {
    let second = unix_ms / 1_000 % (24 * 3_600);
    format!("{:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

fn tell(books: Arc<Books>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(NOTICED);
        loop {
            ticks.tick().await;
            books.tell(books.ledger.now_us());
        }
    })
}

/// A time in which messages waited for longer than a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pause {
    /// When the first of them should have left.
    from_us: u64,
    /// When the last of them was through.
    until_us: u64,
    /// How many of them arrived late.
    messages: u64,
    until_stored_us: u64,
    until_arrived_us: u64,
    /// The longest time without any message stored.
    silence_us: u64,
}

#[derive(Default)]
struct Pauses {
    open: Option<Pause>,
    told: u64,
    last_stored_us: Option<u64>,
}

impl Pauses {
    const NOTICED_US: u64 = NOTICED.as_micros() as u64;

    fn stored(&mut self, intended_us: u64, now_us: u64) {
        let silence_us = now_us.saturating_sub(self.last_stored_us.replace(now_us).unwrap_or(now_us));
        if let Some(pause) = self.waited(intended_us, now_us) {
            pause.until_stored_us = pause.until_stored_us.max(now_us - intended_us);
            pause.silence_us = pause.silence_us.max(silence_us);
        }
    }

    fn delivered(&mut self, intended_us: u64, now_us: u64) {
        if let Some(pause) = self.waited(intended_us, now_us) {
            pause.messages += 1;
            pause.until_arrived_us = pause.until_arrived_us.max(now_us - intended_us);
        }
    }

    /// The pause that a message belongs to which waited so long that somebody noticed.
    fn waited(&mut self, intended_us: u64, now_us: u64) -> Option<&mut Pause> {
        if now_us.saturating_sub(intended_us) <= Self::NOTICED_US {
            return None;
        }
        let fresh = Pause { from_us: intended_us, ..Pause::default() };
        let pause = self.open.get_or_insert(fresh);
        pause.from_us = pause.from_us.min(intended_us);
        pause.until_us = pause.until_us.max(now_us);
        Some(pause)
    }

    /// Takes the pause that is over: nothing that waited came through in the last seconds.
    fn over(&mut self, now_us: u64) -> Option<Pause> {
        let is_over = |pause: &mut Pause| pause.until_us.saturating_add(2 * Self::NOTICED_US) < now_us;
        let pause = self.open.take_if(is_over)?;
        self.told += 1;
        Some(pause)
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn messages_that_waited_at_the_same_time_are_one_pause() {
        let mut pauses = Pauses::default();
        pauses.stored(S, S + 10);
        pauses.delivered(S, S + 20);
        // nobody noticed anything so far
        assert_eq!(pauses.over(u64::MAX), None);

        for (intended, stored) in [(2 * S, 7 * S), (3 * S, 7 * S + 1), (6 * S + 500_000, 7 * S + 2)] {
            pauses.stored(intended, stored);
            pauses.delivered(intended, stored + 5);
        }
        assert_eq!(pauses.over(8 * S), None, "more may come");
        let pause = Pause {
            from_us: 2 * S,
            until_us: 7 * S + 6,
            messages: 2,
            until_stored_us: 5 * S,
            until_arrived_us: 5 * S + 5,
            silence_us: 6 * S - 10,
        };
        assert_eq!(pauses.over(10 * S), Some(pause));
        assert_eq!((pauses.over(u64::MAX), pauses.told), (None, 1));
    }
}
