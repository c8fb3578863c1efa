//! The way of a direct message from a client's `SendDm` to its answer, in the order in which it goes: it is read, counted
//! against limits, compared with consent and devices, given its share of the store, stored, noted, and answered.
//!
//! What must hold:
//! - messages of one connection are stored in the order in which they were sent: [`begin`] runs in sequence and ends when the
//!   message is in its queue, the rest runs beside the next one;
//! - what a message is refused for is decided before anything is used up, and what it took is given back if it stored nothing:
//!   neither a request nor a new contact is taken by a message for other devices than there are;
//! - strangers together have a share of a mailbox, in messages and in bytes, and what accepted people send is stored whatever
//!   strangers did. Nobody's bytes are without a bound, whoever accepted them (docs/adr/0019);
//! - only what was stored is writing to somebody; its sender is told after that is noted, so that whoever was interrupted in
//!   between sends it again (docs/adr/0020).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use nepto_kit::http::RequestId;
use nepto_kit::limit::{Cost, Taken};
use nepto_kit::{Ctx, Failure, frames};
use nepto_proto::frame::{self, encode_server};
use nepto_proto::limits::CIPHERTEXT_BYTES_MAX;
use nepto_proto::wire::{self, CiphertextType, DeviceCiphertext, Envelope, Mismatch, SendDm, server_frame};
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use prost::Message as _;
use tokio::time::Instant;

use super::config::{Limits, Mailbox};
use super::costs::Parties;
use super::fullness::Fullness;
use super::mailbox::{DeviceCopy, Store, StoreError, Stored, Submission};
use super::{costs, requests};
use nepto_proto::svc::accounts::{BeginsToWrite, MayWrite, Standing, Verdict, WhoAccepts, Wrote};
use nepto_proto::svc::keys::{DeviceList, ListDevices};

/// What sending needs.
pub struct Sending {
    pub ctx: Ctx,
    pub store: Store,
    pub fullness: Arc<Fullness>,
}

/// A message that is in its queue.
pub struct Started {
    /// Its recipient, if they have accepted the sender.
    pub contact: Option<AccountId>,
    /// What is left to do, which gives the answer.
    pub rest: BoxFuture<'static, Option<Bytes>>,
}

/// Why a message may not be stored.
#[derive(Debug)]
pub enum Refusal {
    /// Encrypted for other devices than there are.
    Mismatch(Mismatch),
    /// Anything else that a sender is told.
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

// 1. It is read.

/// A `SendDm` that is well-formed.
#[derive(Debug)]
pub struct ReadSend {
    /// Chosen by the sender.
    pub id: ClientMsgId,
    /// Who is to get it.
    pub to: AccountId,
    send: SendDm,
}

/// Reads a `SendDm` of this account.
pub fn read(from: AccountId, send: SendDm) -> Result<ReadSend, Failure> {
    let id = ClientMsgId::from_bytes(&send.client_msg_id)?;
    let to = AccountId::from_bytes(&send.to)?;
    if to == from && !send.own_devices.is_empty() {
        return Err(Failure::new(ErrorCode::ToSelf, "put all of them into to_devices"));
    }
    if send.recipient_only && !send.own_devices.is_empty() {
        return Err(Failure::new(ErrorCode::Malformed, "recipient_only means that own_devices is empty"));
    }
    check_copies(&send.to_devices)?;
    check_copies(&send.own_devices)?;
    Ok(ReadSend { id, to, send })
}

fn check_copies(copies: &[DeviceCiphertext]) -> Result<(), Failure> {
    let mut seen = [false; DeviceId::MAX as usize + 1];
    for copy in copies {
        let device = DeviceId::try_from(copy.device)?;
        if std::mem::replace(&mut seen[usize::from(device.get())], true) {
            return Err(Failure::new(ErrorCode::Malformed, format!("device {device} is named twice")));
        }
        if copy.r#type() == CiphertextType::Unspecified {
            return Err(Failure::new(ErrorCode::Malformed, "a ciphertext's type is missing"));
        }
        match copy.ciphertext.len() {
            0 => return Err(Failure::new(ErrorCode::Malformed, "a ciphertext is empty")),
            1..=CIPHERTEXT_BYTES_MAX => {}
            _ => {
                let detail = format!("a ciphertext has at most {CIPHERTEXT_BYTES_MAX} bytes");
                return Err(Failure::new(ErrorCode::TooLarge, detail));
            }
        }
    }
    Ok(())
}

// 2. Everything up to its queue, in sequence.

/// Takes a message as far as its queue. Whether the recipient has most likely accepted the sender only decides what is taken at
/// once.
pub async fn begin(
    sending: Arc<Sending>,
    from: (AccountId, DeviceId),
    is_contact: bool,
    reply_to: u32,
    message: ReadSend,
) -> Result<Started, Refusal> {
    let (id, consent_ms) = (message.id, sending.ctx.clock.now_ms());
    let admitting = admit(&sending, from, is_contact, &message);
    let Admitted { cleared, room, taken } = RequestId::from(id.to_string().as_str()).scope(admitting).await?;
    let contact = (!cleared.request).then_some(message.to);
    let queued = Queued { from, to: message.to, id, cleared, reply_to, since: Instant::now() };
    let (mut recipient, own) = message.into_submissions(from, cleared, consent_ms);
    if let Some(room) = room {
        recipient.copies.retain(|copy| room.contains(&copy.device));
    }
    let first = sending.store.submit(recipient);
    let rest = async move {
        let (outcome, is_paid) = store_all(&sending.store, first, own).await;
        if !is_paid {
            costs::give_back(&sending.ctx, taken);
        }
        Some(queued.answer(&sending.ctx, outcome).await)
    };
    Ok(Started { contact, rest: Box::pin(rest) })
}

/// A message that may be stored.
struct Admitted {
    cleared: Cleared,
    /// For a request: the devices of the recipient that have room for one.
    room: Option<Vec<DeviceId>>,
    /// To be given back if it is not stored.
    taken: Taken,
}

/// What all who are accepted may send to one account is not for strangers to use up: it is taken at once only for who is most
/// likely one of them, and for the others once that is known.
async fn admit(
    sending: &Sending,
    from: (AccountId, DeviceId),
    is_contact: bool,
    message: &ReadSend,
) -> Result<Admitted, Refusal> {
    let (ctx, parties) = (&sending.ctx, Parties::new(from.0, message.to));
    let config = ctx.config.section::<Mailbox>();
    let is_new = costs::is_new(&config, &ctx.clock, parties.sender);
    let of_recipient = is_contact.then(|| costs::of_recipient(&config, &parties, &message.send));
    let costs = costs::of_sender(&config, &parties, is_new, &message.send).into_iter().chain(of_recipient);
    let (known, mut taken) = ask_redis(ctx, &parties, costs).await?;
    let cleared = match check(ctx, from, message.to, message.id, &message.send, known).await {
        Ok(cleared) => cleared,
        Err(refusal) => {
            costs::give_back(ctx, taken);
            return Err(refusal);
        }
    };
    if is_contact && cleared.request {
        costs::give_back(ctx, taken.split_last());
    }
    let unpaid = (!is_contact).then(|| costs::of_recipient(&config, &parties, &message.send));
    let share = Share { is_request: cleared.request, is_new, unpaid };
    match room_in_store(sending, message, share, &mut taken).await {
        Ok(room) => Ok(Admitted { cleared, room, taken }),
        Err(failure) => {
            cleared.undo(ctx, from, message.to, message.id).await;
            costs::give_back(ctx, taken);
            Err(failure.into())
        }
    }
}

// 3. Limits, and what Redis knows: one round trip for both.

/// What Redis knows of a sender and a recipient.
#[derive(Debug, Default)]
pub struct Known {
    verdict: Option<Verdict>,
    recipient_devices: Option<DeviceList>,
    sender_devices: Option<DeviceList>,
}

/// Counts a message against the limits a minute and takes its other costs, or takes nothing and fails with `rate_limited`;
/// and reads what is known of the two.
pub async fn ask_redis(
    ctx: &Ctx,
    parties: &Parties,
    costs: impl IntoIterator<Item = Cost>,
) -> Result<(Known, Taken), Failure> {
    let (sender, to) = (parties.sender, parties.to);
    let of_minute = costs::of_minute(&ctx.config.section::<Limits>(), parties);
    let all: Vec<Cost> = of_minute.into_iter().chain(costs).collect();
    let keys = [Verdict::cache_key(sender, to), DeviceList::cache_key(to), DeviceList::cache_key(sender)];
    let mut taken = Taken::default();
    match taken.add_and_read(&ctx.redis, &ctx.clock, &all, &keys).await? {
        Ok(values) => {
            let value = |at: usize| values.get(at).and_then(Option::as_deref).unwrap_or_default();
            let known = Known {
                verdict: Verdict::parse(value(0)),
                recipient_devices: DeviceList::decode(value(1)),
                sender_devices: DeviceList::decode(value(2)),
            };
            Ok((known, taken))
        }
        Err(allowance) => Err(costs::exhausted(allowance)),
    }
}

// 4. Devices and consent; the owning domains are asked only where Redis does not know.

/// A message that the recipient's devices and consent allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// The recipient has not accepted the sender yet.
    pub request: bool,
    /// It is a request that was not counted before.
    counted: bool,
    /// Once it is stored, the two know each other better than before: see [`noted`].
    unsettled: bool,
}

impl Cleared {
    /// The message was refused after all: it was none of the few that somebody who was not accepted may send.
    async fn undo(self, ctx: &Ctx, from: (AccountId, DeviceId), to: AccountId, id: ClientMsgId) {
        if self.counted {
            requests::uncount(ctx, from, to, id).await;
        }
    }
}

/// Checks a message of a device. What is known of the two comes from [`ask_redis`].
pub async fn check(
    ctx: &Ctx,
    from: (AccountId, DeviceId),
    to: AccountId,
    id: ClientMsgId,
    send: &SendDm,
    known: Known,
) -> Result<Cleared, Refusal> {
    let (sender, device) = from;
    let recipient_devices = match known.recipient_devices {
        Some(list) => list,
        None => ctx.call(&ListDevices { account: to }).await?,
    };
    if recipient_devices.devices.is_empty() && to != sender {
        // a list that never changed is nobody's
        let failure = match recipient_devices.revision {
            0 => Failure::new(ErrorCode::AccountUnknown, "nobody here has this account id"),
            _ => Failure::new(ErrorCode::DeviceUnknown, "the recipient has no device that could receive it"),
        };
        return Err(failure.into());
    }
    let mismatch = if to == sender {
        recipient_devices.without(device).mismatch(to, id, &send.to_devices)
    } else {
        let own = match (send.recipient_only, known.sender_devices) {
            (true, _) => None,
            (false, Some(list)) => Some(list),
            (false, None) => Some(ctx.call(&ListDevices { account: sender }).await?),
        };
        let own = own.and_then(|list| list.without(device).mismatch(sender, id, &send.own_devices));
        recipient_devices.mismatch(to, id, &send.to_devices).or(own)
    };
    let standing = match known.verdict {
        _ if to == sender => Standing { verdict: Verdict::Accepted, settled: true },
        // it decides nothing, so there is nothing to note
        _ if send.automatic => Standing { verdict: may_answer(ctx, sender, to).await?, settled: true },
        Some(verdict) => Standing { verdict, settled: true },
        None => ctx.call(&MayWrite { from: sender, to }).await?,
    };
    match standing.verdict {
        Verdict::Accepted | Verdict::Requested => {}
        Verdict::Blocked => return Err(Failure::new(ErrorCode::Blocked, "").into()),
        Verdict::YouBlocked => return Err(Failure::new(ErrorCode::YouBlocked, "").into()),
    }
    if let Some(mismatch) = mismatch {
        return Err(Refusal::Mismatch(mismatch));
    }
    let request = standing.verdict == Verdict::Requested;
    let counted = request && requests::count(ctx, from, to, id).await?;
    let cleared = Cleared { request, counted, unsettled: !standing.settled };
    if cleared.unsettled
        && let Err(failure) = ctx.call(&BeginsToWrite { from: sender, to }).await
    {
        cleared.undo(ctx, from, to, id).await;
        return Err(failure.into());
    }
    Ok(cleared)
}

/// Whether a device may say something by itself: the recipient must have accepted its owner, who decides nothing by it.
async fn may_answer(ctx: &Ctx, sender: AccountId, to: AccountId) -> Result<Verdict, Failure> {
    if ctx.call(&WhoAccepts { asker: sender, accounts: vec![to] }).await?.contains(&to) {
        return Ok(Verdict::Accepted);
    }
    Err(Failure::new(ErrorCode::RequestLimit, "what a device says by itself is only for who has accepted its owner"))
}

// 5. What it may take of the store.

/// What decides how much of the store a message may have.
struct Share {
    /// The recipient has not accepted the sender.
    is_request: bool,
    /// The sender's account is new.
    is_new: bool,
    /// What it costs of all that the recipient takes in a day, if that is not taken yet.
    unpaid: Option<Cost>,
}

/// For a request, the devices that have room for it. For anything else its share of what the recipient takes in a day is taken.
async fn room_in_store(
    sending: &Sending,
    message: &ReadSend,
    Share { is_request, is_new, unpaid }: Share,
    taken: &mut Taken,
) -> Result<Option<Vec<DeviceId>>, Failure> {
    let ctx = &sending.ctx;
    if (is_request || is_new) && sending.fullness.is_crowded(&ctx.config.section::<Mailbox>()) {
        metrics::counter!("nepto_store_crowded_total").increment(1);
        return Err(costs::waits(ErrorCode::StoreCrowded, costs::ASK_AGAIN_AFTER, "try again later"));
    }
    if is_request {
        return requests::room(ctx, message.to, &message.send.to_devices, is_new, taken).await.map(Some);
    }
    if let Some(cost) = unpaid
        && let Err(allowance) = taken.add(&ctx.redis, &ctx.clock, &[cost]).await?
    {
        return Err(costs::exhausted(allowance));
    }
    Ok(None)
}

// 6. Its ciphertexts become messages in mailboxes.

impl ReadSend {
    /// What goes into the recipient's mailboxes and, if there is any, what goes into the sender's own.
    fn into_submissions(
        self,
        from: (AccountId, DeviceId),
        cleared: Cleared,
        consent_ms: i64,
    ) -> (Submission, Option<Submission>) {
        let (sender, device) = from;
        let copy = |copy: DeviceCiphertext, request| {
            let envelope = Envelope {
                from: sender.to_vec(),
                from_device: device.into(),
                client_msg_id: self.id.to_vec(),
                r#type: copy.r#type,
                ciphertext: copy.ciphertext,
                request,
            };
            Some(DeviceCopy {
                device: DeviceId::try_from(copy.device).ok()?,
                registration_id: copy.registration_id,
                envelope: Bytes::from(envelope.encode_to_vec()),
            })
        };
        let wrap = |to: AccountId, copies: Vec<DeviceCiphertext>, request: bool| {
            let copies = copies.into_iter().filter_map(|each| copy(each, request)).collect();
            Submission { from, id: self.id, recipient: self.to, to, consent_ms, request, copies }
        };
        let recipient = wrap(self.to, self.send.to_devices, cleared.request);
        let own = (!self.send.own_devices.is_empty()).then(|| wrap(sender, self.send.own_devices, false));
        (recipient, own)
    }
}

// 7. It is stored, noted and answered, beside the next message.

/// What became of it, and whether it is paid for: anything that may have been stored is.
async fn store_all(
    store: &Store,
    first: impl Future<Output = Result<Stored, StoreError>>,
    own: Option<Submission>,
) -> (Result<Stored, StoreError>, bool) {
    let first = first.await;
    let is_paid = match &first {
        Ok(stored) => stored.added,
        Err(StoreError::MailboxFull) => false,
        Err(_) => true,
    };
    let Some(own) = own.filter(|_| first.is_ok()) else { return (first, is_paid) };
    match store.submit(own).await {
        Ok(own) => (first, is_paid || own.added),
        // The recipient has the message. Devices of one's own that never fetch must not stop that: they are marked, and told.
        Err(StoreError::MailboxFull) => (first, is_paid),
        Err(unavailable) => (Err(unavailable), true),
    }
}

/// What is known of a message that is in its queue.
struct Queued {
    from: (AccountId, DeviceId),
    to: AccountId,
    id: ClientMsgId,
    cleared: Cleared,
    reply_to: u32,
    since: Instant,
}

impl Queued {
    async fn answer(self, ctx: &Ctx, outcome: Result<Stored, StoreError>) -> Bytes {
        let Self { from: (account, device), to, id, cleared, reply_to, since } = self;
        match outcome {
            Ok(Stored { duplicate, .. }) => {
                if let Err(failure) = noted(ctx, account, to, cleared).await {
                    metrics::counter!("nepto_dm_sends_total", "outcome" => "failed").increment(1);
                    failure.log();
                    return frames::Refusal { reply_to, failure, client_msg_id: id.to_vec() }.into_frame();
                }
                metrics::counter!("nepto_dm_sends_total", "outcome" => "stored").increment(1);
                metrics::histogram!("nepto_dm_store_seconds").record(since.elapsed());
                tracing::debug!(request_id = %id, from = %account, %device, %to, duplicate, "stored");
                let stored = wire::Stored { client_msg_id: id.to_vec(), duplicate };
                encode_server(reply_to, server_frame::Kind::Stored(stored))
            }
            Err(error) => {
                tracing::warn!(request_id = %id, %error, "not stored");
                let code = match error {
                    StoreError::MailboxFull => {
                        cleared.undo(ctx, (account, device), to, id).await;
                        metrics::counter!("nepto_dm_sends_total", "outcome" => "full").increment(1);
                        ErrorCode::MailboxFull
                    }
                    StoreError::Unavailable(_) => {
                        metrics::counter!("nepto_dm_sends_total", "outcome" => "failed").increment(1);
                        ErrorCode::Unavailable
                    }
                };
                encode_server(reply_to, server_frame::Kind::Error(frame::send_error(id, code, error.to_string())))
            }
        }
    }
}

/// A message was stored. Only then is it one that makes people known to each other.
pub async fn noted(ctx: &Ctx, sender: AccountId, to: AccountId, cleared: Cleared) -> Result<(), Failure> {
    if cleared.unsettled { ctx.call(&Wrote { from: sender, to }).await } else { Ok(()) }
}
