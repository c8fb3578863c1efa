//! What happens in channels. Messages are as the API has them, with the channel that they are in.

use nepto_proto::ChannelId;
use nepto_proto::api::channels::ChannelMessage;
use nepto_sdk::Event;
use nepto_sdk::channels::{ChannelEnd, ChannelEvent, Happened};
use serde_json::{Value, json};

use super::time;

/// A message of the history.
pub fn channel_message(channel: ChannelId, message: &ChannelMessage) -> Value {
    let mut object = json!(message);
    object["channel"] = json!(channel);
    object
}

/// A message that was posted, whether that is heard now or read in the history.
pub fn posted(channel: ChannelId, message: &ChannelMessage) -> Value {
    json!({
        "event": "channel_posted", "channel": channel, "by": message.author, "id": message.message,
        "message": channel_message(channel, message),
    })
}

/// An event about channels; `None` for the others.
pub fn event(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Channel(happened) => self::happened(happened),
        Event::ChannelFollowed { community, channel, at, reload } => json!({
            "event": "channel_followed", "community": community, "channel": channel, "id": at, "reload": reload,
        }),
        Event::ChannelClosed { channel, why } => {
            let (why, code) = match why {
                ChannelEnd::AccessLost => ("access_lost", None),
                ChannelEnd::Refused(code) => ("refused", Some(code)),
            };
            json!({ "event": "channel_closed", "channel": channel, "why": why, "code": code })
        }
        Event::ChannelMention { community, channel, message, from } => json!({
            "event": "channel_mention", "community": community, "channel": channel, "message": message, "from": from,
        }),
        Event::ChannelRead(read) => {
            let mut object = json!(read);
            object["event"] = json!("channel_read");
            object
        }
        Event::ChannelTyping { channel, accounts, more } => {
            json!({ "event": "channel_typing", "channel": channel, "accounts": accounts, "more": more })
        }
        _ => return None,
    })
}

/// Something that happened in a channel.
pub fn happened(event: &ChannelEvent) -> Value {
    let (name, mut object) = match &event.what {
        Happened::Posted(message) => return posted(event.channel, message),
        Happened::Edited { message, text } => ("channel_edited", json!({ "message": message, "text": text })),
        Happened::Deleted { messages } => ("channel_deleted", json!({ "messages": messages })),
        Happened::Reaction { message, reaction, removed } => {
            ("channel_reaction", json!({ "message": message, "reaction": reaction, "removed": removed }))
        }
        Happened::Pin { message, unpinned } => ("channel_pin", json!({ "message": message, "unpinned": unpinned })),
    };
    object["event"] = json!(name);
    object["channel"] = json!(event.channel);
    object["by"] = json!(event.by);
    object["id"] = json!(event.at);
    object["at"] = time(event.at_ms);
    object
}

#[cfg(test)]
mod tests {
    use nepto_proto::{AccountId, ErrorCode, MessageId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_happens_has_a_name_and_a_place() {
        let channel = ChannelId::new(Uuid::from_u128(1));
        let (by, at, message) = (AccountId::new(Uuid::from_u128(2)), MessageId::at(5, 9), MessageId::at(5, 7));
        let what = Happened::Reaction { message, reaction: "👍".into(), removed: true };
        let happened = Event::Channel(ChannelEvent { channel, at, at_ms: 1_000, by, what });
        let wanted = json!({
            "event": "channel_reaction", "channel": channel, "by": by, "id": at, "at": "1970-01-01T00:00:01Z",
            "message": message, "reaction": "👍", "removed": true,
        });
        assert_eq!(event(&happened), Some(wanted));
        let closed = Event::ChannelClosed { channel, why: ChannelEnd::Refused(ErrorCode::NotFound) };
        assert_eq!(
            event(&closed),
            Some(json!({ "event": "channel_closed", "channel": channel, "why": "refused", "code": "not_found" }))
        );
        assert_eq!(event(&Event::CaughtUp), None);
    }
}
