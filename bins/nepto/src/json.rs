//! The JSON that `--json` prints. Times are RFC 3339; texts are as their author wrote them, escaped where needed.

mod channels;

use nepto_proto::AccountId;
use nepto_sdk::model::{Attachment, Body, Message, Notice, Status};
use nepto_sdk::{DisconnectReason, Event};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::names::Names;

pub use channels::{channel_message, happened, posted};

/// A time in milliseconds since 1970.
pub fn time(ms: u64) -> Value {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).map_or(Value::Null, Value::String)
}

/// An account: its id, and what else is known.
pub fn account(account: AccountId, names: &Names) -> Value {
    match names.get(account) {
        Some(known) => {
            let mut object = json!(known);
            if let Some(fields) = object.as_object_mut().filter(|_| known.wallet.is_empty()) {
                fields.remove("wallet");
            }
            object
        }
        None => json!({ "account": account }),
    }
}

/// A message of the history.
pub fn message(message: &Message, me: AccountId, names: &Names) -> Value {
    let (text, notice) = match &message.body {
        Body::Text(text) => (json!(text), Value::Null),
        Body::Deleted | Body::Unsupported => (Value::Null, Value::Null),
        Body::Notice(notice) => (Value::Null, notice_json(notice)),
    };
    let failed = match message.status {
        Status::Failed(failure) => json!(failure),
        _ => Value::Null,
    };
    let reactions: Vec<Value> =
        message.reactions.iter().map(|reaction| json!({ "by": reaction.by, "emoji": reaction.emoji })).collect();
    let mut object = json!({
        "number": message.order,
        "id": message.id.id,
        "author": message.id.author,
        "mine": message.id.author == me,
        "peer": account(message.conversation, names),
        "sent_at": time(message.sent_at_ms),
        "text": text,
        "deleted": message.body == Body::Deleted,
        "edited": message.edited,
        "status": status(message.status),
        "reply_to": message.reply_to.map(|id| id.id),
        "reactions": reactions,
        "expires_at": message.expires_at_ms.map(time),
    });
    if let Value::Object(fields) = &mut object {
        if message.body == Body::Unsupported {
            fields.insert("unsupported".to_owned(), true.into());
        }
        if !message.attachments.is_empty() {
            fields.insert("attachments".to_owned(), attachments(&message.attachments).into());
        }
        insert_if_some(fields, "notice", notice);
        insert_if_some(fields, "failure", failed);
    }
    object
}

/// Files of a message, without their keys: what is printed lands in logs.
pub fn attachments(attachments: &[Attachment]) -> Vec<Value> {
    attachments.iter().map(attachment).collect()
}

fn attachment(file: &Attachment) -> Value {
    json!({ "media": file.media, "name": file.name, "bytes": file.bytes, "media_type": file.media_type })
}

fn insert_if_some(fields: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        fields.insert(name.to_owned(), value);
    }
}

fn notice_json(notice: &Notice) -> Value {
    serde_json::to_value(notice).unwrap_or_default()
}

/// The word that `--json` has for a status.
pub fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Stored => "stored",
        Status::Delivered => "delivered",
        Status::Read => "read",
        Status::Failed(_) => "failed",
        Status::Unread => "unread",
    }
}

/// Something that happened, with its name in `event`.
pub fn event(event: &Event, me: AccountId, names: &Names) -> Value {
    let say = |name: &str, about: &Message| {
        let mut object = message(about, me, names);
        object["event"] = json!(name);
        object
    };
    match event {
        Event::Connected => json!({ "event": "connected" }),
        Event::Disconnected { reason, retry_in } => json!({
            "event": "disconnected",
            "reason": disconnect_reason(reason),
            "retry_in_ms": retry_in.as_millis() as u64,
        }),
        Event::CaughtUp => json!({ "event": "caught_up" }),
        Event::Message(message) => say("message", message),
        Event::Request(message) => say("request", message),
        Event::Status { conversation, id, status: now } => json!({
            "event": "status", "conversation": conversation, "id": id.id, "status": status(*now),
        }),
        Event::NotSent { conversation, change, failure } => json!({
            "event": "not_sent", "conversation": conversation, "change": change, "failure": failure,
        }),
        Event::Changed(message) => say("changed", message),
        Event::Deleted(message) => say("deleted", message),
        Event::Expired(messages) => {
            json!({ "event": "expired", "ids": messages.iter().map(|message| message.id.id).collect::<Vec<_>>() })
        }
        Event::ReadElsewhere { conversation, messages } => json!({
            "event": "read_elsewhere", "conversation": conversation,
            "ids": messages.iter().map(|id| id.id).collect::<Vec<_>>(),
        }),
        Event::Typing { account, active } => json!({ "event": "typing", "account": account, "active": active }),
        Event::Timer { conversation, by, expire_after_s } => json!({
            "event": "timer", "conversation": conversation, "by": by, "expire_after_s": expire_after_s,
        }),
        Event::DeviceAdded { account, device, wallet } => {
            json!({ "event": "device_added", "account": account, "device": device, "wallet": wallet })
        }
        Event::DeviceRemoved { account, device } => {
            json!({ "event": "device_removed", "account": account, "device": device })
        }
        Event::IdentityChanged { account, device } => {
            json!({ "event": "identity_changed", "account": account, "device": device })
        }
        Event::RootChanged { account, from, to } => {
            json!({ "event": "root_changed", "account": account, "from": from, "to": to })
        }
        Event::WalletUnlinked { account, wallet } => {
            json!({ "event": "wallet_unlinked", "account": account, "wallet": wallet })
        }
        Event::DeviceReturned { account, device, wallet } => {
            json!({ "event": "device_returned", "account": account, "device": device, "wallet": wallet })
        }
        Event::Uncertified { account, device, reason } => {
            json!({ "event": "uncertified", "account": account, "device": device, "reason": reason })
        }
        Event::Undecryptable { account, device, reason } => {
            json!({ "event": "undecryptable", "account": account, "device": device, "reason": reason })
        }
        Event::Missed { account, device, since_ms } => {
            json!({ "event": "missed", "account": account, "device": device, "since": time(*since_ms) })
        }
        Event::SessionReset { account, device, resent, unread } => json!({
            "event": "session_reset", "account": account, "device": device, "resent": resent, "unread": unread,
        }),
        Event::SignedOut { code } => json!({ "event": "signed_out", "code": code }),
        Event::Superseded => json!({ "event": "superseded" }),
        Event::Refused { reason } => json!({ "event": "refused", "reason": reason }),
        Event::KeysReplenished { ec, kyber } => json!({ "event": "keys_replenished", "ec": ec, "kyber": kyber }),
        Event::StoreFailed(reason) => json!({ "event": "store_failed", "reason": reason }),
        Event::Channel(_)
        | Event::ChannelFollowed { .. }
        | Event::ChannelClosed { .. }
        | Event::ChannelMention { .. }
        | Event::ChannelRead(_)
        | Event::ChannelTyping { .. } => channels::event(event).unwrap_or_default(),
    }
}

/// One word, or the network's.
pub fn disconnect_reason(reason: &DisconnectReason) -> &str {
    match reason {
        DisconnectReason::Drain => "the gateway restarts",
        DisconnectReason::Idle => "nothing was heard for too long",
        DisconnectReason::Token => "the access token is refreshed",
        DisconnectReason::Lost(why) => why,
    }
}
