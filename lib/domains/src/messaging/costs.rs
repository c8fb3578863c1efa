//! What a message costs of the allowances of its day (docs/adr/0019), and what is said where one is used up.

use std::time::Duration;

use nepto_kit::clock::Clock;
use nepto_kit::limit::{Cost, Exhausted, Limit, Taken};
use nepto_kit::{Ctx, Failure};
use nepto_proto::wire::{DeviceCiphertext, SendDm};
use nepto_proto::{AccountId, ErrorCode};

use super::config::{Limits, Mailbox};

const MINUTE: Duration = Duration::from_secs(60);
pub const DAY: Duration = Duration::from_secs(86_400);
/// When what others take may be different.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// What a message counts at least: it takes a place in a mailbox, however small it is.
const MESSAGE_BYTES_MIN: u64 = 4 * 1024;

/// The refusal where an allowance is exhausted.
pub fn exhausted(Exhausted { limit, left }: Exhausted) -> Failure {
    metrics::counter!("nepto_rate_limited_total", "kind" => limit.kind).increment(1);
    let (what, left) = match limit.kind {
        "sends" | "sends_to" => ("messages a minute", left),
        "bytes_of" => ("bytes a day of one account", left),
        "bytes_of_to" => ("bytes a day of one account for one other", left),
        "receipt_bytes_of" => ("bytes of receipts a day of one account", left),
        "receipt_bytes_of_to" => ("bytes of receipts a day of one account for one other", left),
        // others' messages on their way count until it is known that they are refused
        _ => ("bytes a day for one account", left.min(ASK_AGAIN_AFTER)),
    };
    Failure::rate_limited(left, format!("at most {} {what}", limit.max))
}

/// Who writes to whom, and how keys name them: written once for all allowances that a message takes from.
pub struct Parties {
    pub sender: AccountId,
    pub to: AccountId,
    sender_key: String,
    to_key: String,
}

impl Parties {
    pub fn new(sender: AccountId, to: AccountId) -> Self {
        Self { sender, to, sender_key: sender.to_string(), to_key: to.to_string() }
    }

    /// The recipient, as one of those for each of whom the sender has an allowance.
    fn member(&self) -> Vec<u8> {
        self.to.random_half().to_vec()
    }
}

/// What any message counts of its sender's minute, whatever becomes of it.
pub fn of_minute(limits: &Limits, parties: &Parties) -> [Cost; 2] {
    let cost = |kind, max, member| {
        let limit = Limit { kind, max, window: MINUTE };
        Cost { limit, subject: parties.sender_key.clone(), member, amount: 1, refundable: false }
    };
    [
        cost("sends", limits.sends_per_account_per_minute, None),
        cost("sends_to", limits.sends_per_pair_per_minute, Some(parties.member())),
    ]
}

/// What a message costs its sender. Receipts, which are for the recipient's devices only, have half as much for themselves:
/// clients send them by themselves, and whoever makes a client send many must not keep its owner from writing. What the sender has
/// for one other is not counted where all that it has is less, as that of a new account is: it would never be used up.
pub fn of_sender(config: &Mailbox, parties: &Parties, is_new: bool, send: &SendDm) -> Vec<Cost> {
    let max = match is_new {
        true => config.bytes_per_new_account_per_day,
        false => config.bytes_per_account_per_day,
    };
    let ([of, of_pair], part) = match send.recipient_only {
        false => (["bytes_of", "bytes_of_to"], 1),
        true => (["receipt_bytes_of", "receipt_bytes_of_to"], 2),
    };
    let to_recipient = bytes_to_recipient(&send.to_devices);
    let all = to_recipient + bytes(&send.own_devices);
    let cost = |kind, max, member, amount| {
        let limit = Limit { kind, max: max / part, window: DAY };
        Cost { limit, subject: parties.sender_key.clone(), member, amount, refundable: true }
    };
    let mut costs = vec![cost(of, max, None, all)];
    if config.bytes_per_pair_per_day < max {
        costs.push(cost(of_pair, config.bytes_per_pair_per_day, Some(parties.member()), to_recipient));
    }
    costs
}

/// What it costs of that which all whom the recipient has accepted may send to them.
pub fn of_recipient(config: &Mailbox, parties: &Parties, send: &SendDm) -> Cost {
    let limit = Limit { kind: "bytes_to", max: config.bytes_per_recipient_per_day, window: DAY };
    let amount = bytes_to_recipient(&send.to_devices);
    Cost { limit, subject: parties.to_key.clone(), member: None, amount, refundable: true }
}

/// Bytes that a message takes of its recipient's mailboxes.
pub fn bytes_to_recipient(copies: &[DeviceCiphertext]) -> u64 {
    bytes(copies).max(MESSAGE_BYTES_MIN)
}

/// Bytes of all ciphertexts.
fn bytes(copies: &[DeviceCiphertext]) -> u64 {
    copies.iter().map(|copy| copy.ciphertext.len() as u64).sum()
}

/// Gives everything back, some time soon: the message stored nothing.
pub fn give_back(ctx: &Ctx, taken: Taken) {
    let ctx = ctx.clone();
    ctx.tasks.clone().spawn(async move {
        if let Err(error) = taken.give_back(&ctx.redis).await {
            tracing::debug!(%error, "an allowance was not given back");
        }
    });
}

/// A refusal that time mends.
pub fn waits(code: ErrorCode, retry_after: Duration, detail: &str) -> Failure {
    let mut failure = Failure::new(code, format!("{} ({detail})", code.title()));
    failure.retry_after = Some(retry_after);
    failure
}

/// Whether an account is so new that it has less.
pub fn is_new(config: &Mailbox, clock: &Clock, account: AccountId) -> bool {
    account.is_younger(clock.now_ms(), Duration::from_secs(config.new_account_for_s))
}
