//! Direct messages on the sockets: what the domain's frames do, and the mailbox of the device being delivered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nepto_kit::frames::{
    AnySession, Connections, Effects, Frame, FrameHandler, FrameKind, FrameSession, Frames, Opening, Order, Part, Price,
};
use nepto_kit::subscriptions::Message;
use nepto_kit::{Ctx, Failure};
use nepto_proto::event::MailboxNotice;
use nepto_proto::frame::{self, ClientKind};
use nepto_proto::limits::ACK_WINDOW;
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, Ack, PresenceQuery, SendDm, Typing, server_frame};
use nepto_proto::{AccountId, ClientMsgId, CloseCode, DeviceId, ErrorCode};
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::acked::{Acked, Purger};
use super::config::Mailbox;
use super::delivery::{self, DeliveryState};
use super::fullness::Fullness;
use super::mailbox::{self, Missed, Page, Store, StoredEnvelope, missed};
use super::mailboxes::Mailboxes;
use super::send::{self, Refusal, Sending, Started};
use super::{late, presence_query, typing};

/// Mailboxes of a process that are read at once: after a lost connection to NATS, everybody's.
const READS_MAX: usize = 256;
/// A read that failed, or found nothing twice where something must be, is repeated after this.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// What a refusal costs that is not an `Error`.
const REFUSAL: u32 = 2;
/// What an acknowledgement of nothing new costs.
const EMPTY_ACK: u32 = 1;

/// What the connections of a process share.
struct Messaging {
    ctx: Ctx,
    sending: Arc<Sending>,
    purger: Purger,
    mailboxes: Mailboxes,
    /// Turns to read a mailbox.
    reads: Arc<Semaphore>,
}

pub fn mount(ctx: Ctx, connections: Arc<dyn Connections>) -> BoxFuture<'static, anyhow::Result<Frames>> {
    Box::pin(async move {
        let (store, writers) = Store::new(&ctx);
        let fullness = Arc::new(Fullness::default());
        let messaging = Arc::new(Messaging {
            sending: Arc::new(Sending { ctx: ctx.clone(), store: store.clone(), fullness: fullness.clone() }),
            purger: Purger::new(&ctx),
            mailboxes: Mailboxes::find(&ctx).await?,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            ctx: ctx.clone(),
        });
        register_health(&ctx, &store, &fullness);
        // writers end with the last of these
        drop(store);
        let (purging, watching, watched) = (messaging.clone(), messaging.clone(), fullness.clone());
        let purges = async move {
            purging.purger.run(&purging.ctx).await;
            anyhow::Ok(())
        };
        let mailboxes = async move { watching.mailboxes.watch(&watching.ctx, &watched, &*connections).await };
        let mut parts: Vec<Part> = vec![
            ("purges".to_owned(), Box::pin(purges)),
            ("mailboxes".to_owned(), Box::pin(mailboxes)),
            ("fullness".to_owned(), Box::pin(async move { fullness.watch(&ctx).map(Ok).await })),
        ];
        for (index, writer) in writers.into_iter().enumerate() {
            parts.push((format!("shard writer {index}"), Box::pin(writer.run().map(Ok))));
        }
        Ok(Frames { handler: Arc::new(MessagingFrames(messaging)), parts })
    })
}

fn register_health(ctx: &Ctx, store: &Store, fullness: &Arc<Fullness>) {
    for shard in ctx.config.nats.shards.all() {
        let (nats, jetstream, stores) = (ctx.nats.clone(), ctx.jetstream.clone(), store.stores(shard).clone());
        ctx.health.register(format!("stream {}", shard.stream()), move || {
            let (nats, jetstream, stores) = (nats.clone(), jetstream.clone(), stores.clone());
            async move {
                jetstream.get_stream(shard.stream()).await.map_err(|error| error.to_string())?;
                stores.check(&nats, Instant::now()).await
            }
        });
    }
    let (full, config) = (fullness.clone(), ctx.config.section::<Mailbox>());
    ctx.health.register("message store", move || std::future::ready(full.check(&config)));
}

impl Messaging {
    /// This part of a mailbox may go: some time soon, and not with everybody else's. The epoch is that of the connection.
    fn acknowledge(&self, account: AccountId, device: DeviceId, epoch: u64, part: Acked) {
        let spread_ms = || {
            let every = self.ctx.config.section::<Mailbox>().purge_every_ms;
            (every / 2 + self.ctx.random.below(every)).cast_signed()
        };
        self.purger.acknowledge((account, device), epoch, part, self.ctx.clock.now_ms(), spread_ms);
    }
}

struct MessagingFrames(Arc<Messaging>);

impl FrameHandler for MessagingFrames {
    fn domain(&self) -> &'static str {
        "messaging"
    }

    /// Stored messages and acknowledgements of deliveries are free: they have limits of their own, and bring something about.
    fn kinds(&self) -> &'static [FrameKind] {
        const KINDS: &[FrameKind] = &[
            FrameKind::of::<SendDm>(Price::Free),
            FrameKind::of::<Ack>(Price::Units(0)),
            FrameKind::of::<Typing>(Price::Units(1)),
            // up to 500 accounts, and a question to another domain
            FrameKind::of::<PresenceQuery>(Price::Units(4)),
        ];
        KINDS
    }

    fn live(&self) -> &'static [Live] {
        &[Live::Dm, Live::Typing, Live::Mailbox]
    }

    fn open<'a>(&'a self, opening: Opening<'a>) -> BoxFuture<'a, Result<Box<dyn AnySession>, Failure>> {
        Box::pin(async move { Ok(Box::new(open(&self.0, opening).await?) as Box<dyn AnySession>) })
    }
}

async fn open(messaging: &Arc<Messaging>, opening: Opening<'_>) -> Result<DeviceSession, Failure> {
    let (ctx, account, device) = (&messaging.ctx, opening.claims.account, opening.claims.device);
    let missed = {
        let _turn = messaging.reads.acquire().await;
        missed::of(&ctx.nats, ctx.config.nats.shards.of(account), account).await
    };
    let missed = missed.map_err(|error| Failure::unavailable("JetStream", error))?;
    let epoch = messaging.mailboxes.epoch_of(account);
    let resume = match &opening.hello.resume {
        Some(cursor) if cursor.epoch == epoch => messaging.mailboxes.resume_at(ctx, account, cursor.seq).await?,
        _ => 0,
    };
    if resume > 0 {
        // how old these are is not known
        let part = Acked { up_to: resume, stored_at_ms: ctx.clock.now_ms(), messages: 0 };
        messaging.acknowledge(account, device, epoch, part);
    }
    opening.welcome.epoch = epoch;
    opening.welcome.window = ACK_WINDOW;
    Ok(DeviceSession {
        messaging: messaging.clone(),
        account,
        device,
        epoch,
        delivery: DeliveryState::new(resume),
        missed,
        misses: false,
        contact: None,
        typing: typing::Typing::default(),
    })
}

/// One connection of a device.
struct DeviceSession {
    messaging: Arc<Messaging>,
    account: AccountId,
    device: DeviceId,
    /// Of the mailbox that it reads.
    epoch: u64,
    delivery: DeliveryState,
    /// Devices that miss messages, still to be told.
    missed: Vec<Missed>,
    /// This device was told that it is one of them, and has acknowledged nothing since.
    misses: bool,
    /// The last recipient, if they have accepted us: it is likely that of the next message.
    contact: Option<AccountId>,
    typing: typing::Typing,
}

/// What work results in.
enum Done {
    /// A message of this request is in its queue, or is refused.
    Started(u32, ClientMsgId, Result<Started, Refusal>),
    /// A part of the mailbox was read.
    Read(anyhow::Result<Page>),
}

type Out<'a> = Effects<'a, Done>;

impl FrameSession for DeviceSession {
    type Done = Done;

    fn start(&mut self, out: &mut Out) -> Result<(), CloseCode> {
        for missed in std::mem::take(&mut self.missed) {
            self.notify_missed(missed, out);
        }
        let start = self.delivery.start();
        self.apply(start, None, out);
        Ok(())
    }

    fn frame(&mut self, frame: Frame, out: &mut Out) -> Result<(), CloseCode> {
        match frame.kind {
            SendDm::NUMBER => self.send(frame.id, frame.read()?, out),
            Ack::NUMBER => self.acknowledge(frame.id, &frame.read()?, out),
            Typing::NUMBER => self.typing(frame.id, &frame.read()?, out),
            PresenceQuery::NUMBER => self.presence_query(frame.id, &frame.read()?, out),
            _ => {}
        }
        Ok(())
    }

    fn limited(&mut self, frame: Frame, failure: Failure, out: &mut Out) -> Result<(), CloseCode> {
        let client_msg_id =
            if frame.kind == SendDm::NUMBER { frame.read::<SendDm>()?.client_msg_id } else { Vec::new() };
        out.refuse_message(frame.id, failure, client_msg_id);
        Ok(())
    }

    fn live(&mut self, message: &Arc<Message>, out: &mut Out) -> Result<(), CloseCode> {
        match Live::parse(message.subject()) {
            Some(Live::Dm) => {
                if let Some(message) = StoredEnvelope::from_live(message) {
                    let effect = self.delivery.live(message);
                    self.apply(effect, None, out);
                }
            }
            Some(Live::Typing) => {
                if let Ok(typing) = wire::TypingFrom::decode(message.payload.clone()) {
                    out.reply(0, server_frame::Kind::TypingFrom(typing));
                }
            }
            Some(Live::Mailbox) => match serde_json::from_slice(&message.payload) {
                Ok(MailboxNotice::Nudge) => {
                    let effect = self.delivery.nudge();
                    self.apply(effect, None, out);
                }
                Ok(MailboxNotice::Recreated) => return Err(CloseCode::Unavailable),
                Ok(MailboxNotice::Missed { device, since_ms }) => self.notify_missed(Missed { device, since_ms }, out),
                // of a newer version
                Err(_) => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn missed(&mut self, _: &str, out: &mut Out) -> Result<(), CloseCode> {
        self.check_mailbox()?;
        let effect = self.delivery.nudge();
        self.apply(effect, None, out);
        Ok(())
    }

    fn done(&mut self, done: Done, out: &mut Out) -> Result<(), CloseCode> {
        match done {
            Done::Started(_, _, Ok(Started { contact, rest })) => {
                self.contact = contact;
                out.answer(Order::Parallel, rest);
            }
            Done::Started(reply_to, _, Err(Refusal::Mismatch(mismatch))) => {
                out.spend(REFUSAL);
                out.reply(reply_to, server_frame::Kind::Mismatch(mismatch));
            }
            Done::Started(reply_to, id, Err(Refusal::Failure(failure))) => {
                out.refuse_message(reply_to, failure, id.to_vec());
            }
            Done::Read(Ok(page)) => {
                let mut effects = Vec::new();
                self.delivery.read(page, &mut effects);
                let lags = self.delivery.reads_in_vain() > 1;
                self.apply(effects, lags.then_some(READ_AGAIN_AFTER), out);
            }
            Done::Read(Err(error)) => {
                tracing::warn!(account = %self.account, error = format!("{error:#}"), "a mailbox was not read; trying again");
                let effect = self.delivery.read_failed();
                self.apply(effect, Some(READ_AGAIN_AFTER), out);
            }
        }
        Ok(())
    }

    fn tick(&mut self, _: &mut Out) -> Result<(), CloseCode> {
        self.check_mailbox()
    }
}

impl DeviceSession {
    /// Notices may be missed: whether the mailbox is still the one that is read.
    fn check_mailbox(&self) -> Result<(), CloseCode> {
        let is_same = self.messaging.mailboxes.epoch_of(self.account) == self.epoch;
        if is_same { Ok(()) } else { Err(CloseCode::Unavailable) }
    }

    fn send(&mut self, reply_to: u32, send: SendDm, out: &mut Out) {
        let client_msg_id = send.client_msg_id.clone();
        match send::read(self.account, send) {
            Ok(message) => {
                let (sending, from, id) = (self.messaging.sending.clone(), (self.account, self.device), message.id);
                let is_contact = self.contact == Some(message.to);
                let started = send::begin(sending, from, is_contact, reply_to, message);
                out.run(Order::InSequence, started.map(move |started| Done::Started(reply_to, id, started)));
            }
            Err(failure) => out.refuse_message(reply_to, failure, client_msg_id),
        }
    }

    fn acknowledge(&mut self, reply_to: u32, ack: &Ack, out: &mut Out) {
        let mut effects = Vec::new();
        if self.delivery.acknowledge(ack.up_to, &mut effects).is_err() {
            return out.refuse(reply_to, Failure::new(ErrorCode::AckBeyondDelivered, format!("up to {}", ack.up_to)));
        }
        if effects.is_empty() {
            return out.spend(EMPTY_ACK);
        }
        self.forget_missed(ack.up_to);
        self.apply(effects, None, out);
    }

    fn typing(&mut self, reply_to: u32, typing: &Typing, out: &mut Out) {
        let to = match AccountId::from_bytes(&typing.to) {
            Ok(to) => to,
            Err(error) => return out.refuse(reply_to, error.into()),
        };
        if !self.typing.passes(to, typing.active, Instant::now()) {
            return;
        }
        let (ctx, from) = (self.messaging.ctx.clone(), self.account);
        let typing = wire::TypingFrom { from: from.to_vec(), from_device: self.device.into(), active: typing.active };
        out.answer(Order::Parallel, async move {
            if let Err(error) = typing::pass_on(&ctx, from, to, typing).await {
                tracing::debug!(%error, "typing was not passed on");
            }
            None
        });
    }

    fn presence_query(&mut self, reply_to: u32, query: &PresenceQuery, out: &mut Out) {
        match presence_query::read(query) {
            Ok(accounts) => {
                let ctx = self.messaging.ctx.clone();
                out.answer(Order::Parallel, presence_query::answer(ctx, reply_to, self.account, accounts));
            }
            Err(failure) => out.refuse(reply_to, failure),
        }
    }

    fn notify_missed(&mut self, missed: Missed, out: &mut Out) {
        self.misses |= missed.device == self.device;
        let missed = wire::Missed { device: missed.device.into(), since_ms: missed.since_ms };
        out.reply(0, server_frame::Kind::Missed(missed));
    }

    /// It has taken in what it was told before it acknowledged something. What it acknowledged makes room at once: a full mailbox
    /// must not wait for the next purge, or what is sent meanwhile misses a device that is there.
    fn forget_missed(&mut self, up_to: u64) {
        if std::mem::take(&mut self.misses) {
            let (ctx, account, device, epoch) = (self.messaging.ctx.clone(), self.account, self.device, self.epoch);
            ctx.tasks.clone().spawn(async move {
                let forgotten = async {
                    Mailboxes::of_now(&ctx).purge((account, device), epoch, up_to).await?;
                    missed::forget(&ctx, account, device).await
                };
                if let Err(error) = forgotten.await {
                    // it is told again with the next connection
                    tracing::warn!(%account, %device, error = format!("{error:#}"), "a mark was not removed");
                }
            });
        }
    }

    /// Does what the delivery says; a read waits for the pause first.
    fn apply(&self, effects: impl IntoIterator<Item = delivery::Effect>, pause: Option<Duration>, out: &mut Out) {
        for effect in effects {
            match effect {
                delivery::Effect::Deliver(message) => out.send(self.deliver(&message)),
                delivery::Effect::CaughtUp(seq) => {
                    out.reply(0, server_frame::Kind::CaughtUp(wire::CaughtUp { seq }));
                }
                delivery::Effect::Purge { up_to, stored_at_ms, messages } => {
                    let part = Acked { up_to, stored_at_ms: stored_at_ms.cast_signed(), messages };
                    self.messaging.acknowledge(self.account, self.device, self.epoch, part);
                }
                delivery::Effect::Read { after, limit } => {
                    let (messaging, account, device) = (self.messaging.clone(), self.account, self.device);
                    out.run(Order::Background, async move {
                        if let Some(pause) = pause {
                            sleep(pause).await;
                        }
                        let _turn = messaging.reads.acquire().await;
                        let ctx = &messaging.ctx;
                        let shard = ctx.config.nats.shards.of(account);
                        let read = async {
                            let mut page = mailbox::read(&ctx.nats, shard, account, device, after, limit).await?;
                            late::withhold(ctx, account, &mut page).await?;
                            anyhow::Ok(page)
                        };
                        Done::Read(read.await)
                    });
                }
            }
        }
    }

    /// The last line about a message; its id is only read where somebody looks for it.
    fn deliver(&self, message: &StoredEnvelope) -> Bytes {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Ok(envelope) = wire::Envelope::decode(message.envelope.clone())
            && let Ok(id) = ClientMsgId::from_bytes(&envelope.client_msg_id)
        {
            let (account, device) = (self.account, self.device);
            tracing::debug!(request_id = %id, to = %account, %device, seq = message.seq, "delivered");
        }
        metrics::counter!("nepto_dm_delivered_total").increment(1);
        frame::encode_deliver(message.seq, message.stored_at_ms, &message.envelope)
    }
}
