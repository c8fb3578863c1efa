use nepto_proto::CommunityId;
use nepto_proto::wire::{ChannelEvent, MessageEdited, MessagesDeleted, PinChanged};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const EPOCH: u64 = 7;

fn account(number: u8) -> AccountId {
    AccountId::new(Uuid::from_u128(u128::from(number) + 1))
}

fn channel(number: u8) -> ChannelId {
    ChannelId::new(Uuid::from_u128(u128::from(number) + 100))
}

/// What somebody does; messages are named by the sequences that they have, or will have, or never.
#[derive(Debug, Clone)]
enum Does {
    Post(u8),
    Edit(u64),
    Delete(u64),
    React(u64, u8, bool),
    Pin(u64, bool),
}

fn does() -> impl Strategy<Value = (u8, u8, Does)> {
    let what = prop_oneof![
        4 => (0u8..6).prop_map(Does::Post),
        1 => (1u64..30).prop_map(Does::Edit),
        1 => (1u64..30).prop_map(Does::Delete),
        4 => (1u64..30, 0u8..3, any::<bool>()).prop_map(|(of, kind, removed)| Does::React(of, kind, removed)),
        1 => (1u64..30, any::<bool>()).prop_map(|(of, unpinned)| Does::Pin(of, unpinned)),
    ];
    (0u8..3, 0u8..2, what)
}

fn event(seq: u64, by: u8, of: u8, does: &Does) -> Event {
    let message = |seq: &u64| MessageId::at(EPOCH, *seq).to_vec();
    let kind = match does {
        Does::Post(name) => channel_event::Kind::Posted(MessagePosted {
            client_msg_id: vec![*name; 16],
            text: format!("text {seq}"),
            ..MessagePosted::default()
        }),
        Does::Edit(of) => {
            channel_event::Kind::Edited(MessageEdited { message: message(of), text: format!("edit {seq}") })
        }
        Does::Delete(of) => channel_event::Kind::Deleted(MessagesDeleted { messages: vec![message(of)] }),
        Does::React(of, kind, removed) => channel_event::Kind::Reaction(ReactionChanged {
            message: message(of),
            reaction: format!("kind {kind}"),
            removed: *removed,
        }),
        Does::Pin(of, unpinned) => channel_event::Kind::Pin(PinChanged { message: message(of), unpinned: *unpinned }),
    };
    let event = ChannelEvent { epoch: EPOCH, by: account(by).to_vec(), kind: Some(kind) };
    let (community, place) = (CommunityId::new(Uuid::from_u128(9)), MessageId::at(EPOCH, seq));
    Event { community, channel: channel(of), place, seq, stored_at_ms: seq.cast_signed() * 10, event }
}

/// Of all that is known, what was asked for: as the tables answer.
fn asked_for(all: &Base, needs: &Needs) -> Base {
    Base {
        posted: all.posted.iter().filter(|(key, _)| needs.posted.contains(*key)).map(|(k, v)| (*k, *v)).collect(),
        messages: all
            .messages
            .iter()
            .filter(|(key, _)| needs.messages.contains(*key))
            .map(|(key, message)| (*key, message.clone()))
            .collect(),
        reactions: all.reactions.iter().filter(|key| needs.reactions.contains(*key)).cloned().collect(),
    }
}

/// What the tables have after a commit.
fn committed(mut all: Base, projection: &Projection) -> Base {
    for key in projection.created.iter().chain(&projection.changed) {
        all.messages.insert(*key, projection.now.messages[key].clone());
    }
    for key in projection.deleted.keys() {
        all.messages.remove(key);
        all.reactions.retain(|(channel, message, ..)| (*channel, *message) != *key);
    }
    for (name, (_, place)) in &projection.posted {
        all.posted.entry(*name).or_insert(*place);
    }
    for (key, is_there) in &projection.reactions {
        if *is_there {
            all.reactions.insert(key.clone())
        } else {
            all.reactions.remove(key)
        };
    }
    all
}

fn in_pieces(events: &[Event], piece: usize) -> Base {
    events.chunks(piece).fold(Base::default(), |all, events| {
        let mut projection = Projection::over(asked_for(&all, &Needs::of(events)));
        events.iter().for_each(|event| projection.apply(event));
        committed(all, &projection)
    })
}

proptest! {
    #[test]
    fn in_whatever_pieces_events_are_taken_they_make_the_same_and_counts_are_those_of_a_recount(
        does in proptest::collection::vec(does(), 0..80),
        piece in 1usize..20,
        again in 0usize..20,
    ) {
        let events: Vec<Event> =
            (1..).zip(&does).map(|(seq, (by, of, does))| event(seq, *by, *of, does)).collect();
        let whole = in_pieces(&events, events.len().max(1));
        prop_assert_eq!(&in_pieces(&events, piece), &whole);
        for ((channel, id), message) in &whole.messages {
            for (kind, count) in &message.reactions {
                let of = |key: &&ReactionKey| (key.0, key.1) == (*channel, *id) && key.2 == *kind;
                prop_assert_eq!(whole.reactions.iter().filter(of).count(), *count as usize);
            }
        }
        // posts that come again are void
        let again = &events[events.len().saturating_sub(again)..];
        let posts: Vec<Event> =
            again.iter().filter(|event| matches!(event.event.kind, Some(channel_event::Kind::Posted(_)))).cloned().collect();
        let mut projection = Projection::over(asked_for(&whole, &Needs::of(&posts)));
        posts.iter().for_each(|event| projection.apply(event));
        prop_assert_eq!(&committed(whole.clone(), &projection), &whole);
    }
}

#[test]
fn a_message_is_posted_once_whoever_sends_it_again() {
    let mut projection = Projection::default();
    for (seq, by) in [(1, 0), (2, 0), (3, 1)] {
        projection.apply(&event(seq, by, 0, &Does::Post(5)));
    }
    let places: Vec<u64> = projection.created.iter().map(|(_, id)| id.seq()).collect();
    assert_eq!(places, [1, 3], "the same name of another author is another message");
}

#[test]
fn what_is_said_of_a_message_in_another_channel_is_void() {
    let mut projection = Projection::default();
    projection.apply(&event(1, 0, 0, &Does::Post(0)));
    for (seq, does) in
        [(2, Does::Edit(1)), (3, Does::Delete(1)), (4, Does::React(1, 0, false)), (5, Does::Pin(1, false))]
    {
        projection.apply(&event(seq, 0, 1, &does));
    }
    let message = &projection.now.messages[&(channel(0), MessageId::at(EPOCH, 1))];
    assert_eq!((message.text.as_str(), message.reactions.len(), message.pinned_at_ms), ("text 1", 0, None));
}

#[test]
fn what_is_posted_and_deleted_in_one_piece_leaves_its_name_only() {
    let mut projection = Projection::default();
    for (seq, does) in [(1, Does::Post(0)), (2, Does::React(1, 0, false)), (3, Does::Edit(1)), (4, Does::Delete(1))] {
        projection.apply(&event(seq, 0, 0, &does));
    }
    assert!(projection.created.is_empty() && projection.deleted.is_empty() && projection.changed.is_empty());
    assert!(projection.reactions.is_empty() && projection.edits.is_empty() && projection.now.messages.is_empty());
    assert_eq!(projection.posted.len(), 1);
}
