//! Channels on real servers: a message is live, in the history and counted, whatever stands still, and nobody sees what they may not.

use nepto_proto::api::channels::{ChannelHistory, EditMessage, MarkRead, PostMessage, PostedMessage};
use nepto_proto::api::communities::{NewCommunity, Visibility};
use nepto_proto::api::endpoint::{Endpoint, NoParameters};
use nepto_proto::api::endpoints::channels::{
    AddReaction, DeleteChannelMessage, EditChannelMessage, GetChannelHistory, GetUnread, ListMessageEdits,
    MarkChannelRead, MessagePath, MessagesPath, PostChannelMessage, ReactionPath, UnreadPath,
};
use nepto_proto::api::endpoints::communities::{CommunityPath, CreateCommunity, JoinCommunity};
use nepto_proto::api::endpoints::community_channels::ListChannels;
use nepto_proto::api::endpoints::community_members::{KickMember, MemberPath};
use nepto_proto::wire::{
    ChannelClosedReason, ChannelFollow, ChannelFollowed, ChannelPost, Cursor, StoredChannelEvent, channel_event,
    client_frame, server_frame,
};
use nepto_proto::{ChannelId, ClientMsgId, CommunityId, ErrorCode, MessageId};
use nepto_testkit::{Stack, eventually, seconds};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::people::{Person, Raw};

async fn ask<E: Endpoint<Query: Default>>(
    person: &Person,
    path: E::Path,
    body: E::Body,
) -> Result<E::Reply, ErrorCode> {
    let answer = person.client.http().call::<E>(&path, &E::Query::default(), &body).await;
    answer.map_err(|error| error.code().unwrap_or_else(|| panic!("no code: {error}")))
}

/// A community with two members, and its first channel. Their own connections are closed.
async fn place(stack: &Stack) -> (Person, Person, CommunityId, ChannelId) {
    let (owner, member) = tokio::try_join!(Person::join(stack), Person::join(stack)).unwrap();
    let new = NewCommunity { name: "Gardeners".into(), description: String::new(), visibility: Visibility::Public };
    let community = ask::<CreateCommunity>(&owner, NoParameters {}, new).await.unwrap().community;
    ask::<JoinCommunity>(&member, CommunityPath { community }, ()).await.unwrap();
    let channels = ask::<ListChannels>(&member, CommunityPath { community }, ()).await.unwrap().channels;
    owner.client.disconnect();
    member.client.disconnect();
    (owner, member, community, channels[0].channel)
}

/// Follows a channel: what was sent again, and the answer.
async fn follow(raw: &mut Raw, channel: ChannelId, resume: Option<Cursor>) -> (Vec<u64>, ChannelFollowed) {
    let follow = ChannelFollow { channel: channel.to_vec(), leave: false, resume };
    raw.socket.send(client_frame::Kind::ChannelFollow(follow)).await.unwrap();
    let mut again = Vec::new();
    loop {
        match raw.frame().await.unwrap().kind.unwrap() {
            server_frame::Kind::ChannelEvents(events) => again.extend(events.events.iter().map(|event| event.seq)),
            server_frame::Kind::ChannelFollowed(followed) => return (again, followed),
            server_frame::Kind::Error(error) => panic!("{error:?}"),
            _ => {}
        }
    }
}

async fn post(raw: &mut Raw, channel: ChannelId, name: u128, text: &str) -> server_frame::Kind {
    let client_msg_id = ClientMsgId::new(Uuid::from_u128(name)).to_vec();
    let post = ChannelPost { client_msg_id, channel: channel.to_vec(), text: text.to_owned(), reply_to: Vec::new() };
    raw.call(client_frame::Kind::ChannelPost(post)).await.unwrap()
}

async fn posted(raw: &mut Raw, channel: ChannelId, name: u128, text: &str) -> (MessageId, bool) {
    match post(raw, channel, name, text).await {
        server_frame::Kind::ChannelPosted(posted) => {
            (MessageId::from_bytes(&posted.message).unwrap(), posted.duplicate)
        }
        other => panic!("{other:?}"),
    }
}

/// A message in a channel that somebody follows.
pub async fn talk(stack: &Stack) {
    let (owner, member, _, channel) = place(stack).await;
    let mut reader = Raw::open(stack, &member.client, None).await.unwrap();
    follow(&mut reader, channel, None).await;
    let mut writer = Raw::open(stack, &owner.client, None).await.unwrap();
    posted(&mut writer, channel, 1, "hello").await;
    next_event(&mut reader).await;
}

async fn next_event(raw: &mut Raw) -> StoredChannelEvent {
    loop {
        if let Some(server_frame::Kind::ChannelEvents(events)) = raw.frame().await.unwrap().kind {
            let [event] = &events.events[..] else { panic!("{events:?}") };
            return event.clone();
        }
    }
}

fn place_of(event: &StoredChannelEvent) -> MessageId {
    MessageId::at(event.event.as_ref().unwrap().epoch, event.seq)
}

async fn history(person: &Person, channel: ChannelId) -> ChannelHistory {
    ask::<GetChannelHistory>(person, MessagesPath { channel }, ()).await.unwrap()
}

fn ids(history: &ChannelHistory) -> Vec<MessageId> {
    history.messages.iter().map(|message| message.message).collect()
}

#[tokio::test]
async fn a_message_is_live_and_stays_once_and_who_was_away_misses_nothing_until_the_channel_is_lost() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (owner, member, community, channel) = place(&stack).await;
    let mut writer = Raw::open(&stack, &owner.client, None).await.unwrap();
    let mut reader = Raw::open(&stack, &member.client, None).await.unwrap();
    let (again, followed) = follow(&mut reader, channel, None).await;
    assert!(again.is_empty() && !followed.reload, "{followed:?}");

    let (first, duplicate) = posted(&mut writer, channel, 1, "**hello**").await;
    assert!(!duplicate);
    let event = next_event(&mut reader).await;
    assert_eq!(place_of(&event), first);
    let Some(channel_event::Kind::Posted(said)) = event.event.unwrap().kind else { panic!("no message") };
    assert_eq!(said.text, "**hello**");
    assert_eq!(posted(&mut writer, channel, 1, "**hello**").await, (first, true));
    assert_eq!(ids(&history(&member, channel).await), [first]);

    stack.redis.flush().await.unwrap();
    let (second, _) = posted(&mut writer, channel, 2, "still there").await;
    let last = next_event(&mut reader).await;
    assert_eq!(place_of(&last), second);

    drop(reader);
    let mut missed = Vec::new();
    for name in 3..6 {
        missed.push(posted(&mut writer, channel, name, "meanwhile").await.0.seq());
    }
    let mut reader = Raw::open(&stack, &member.client, None).await.unwrap();
    let epoch = followed.at.unwrap().epoch;
    let (again, followed) = follow(&mut reader, channel, Some(Cursor { epoch, seq: last.seq })).await;
    assert_eq!((again, followed.reload), (missed, false));
    let elsewhere = Cursor { epoch: epoch + 1, seq: 1 };
    assert!(follow(&mut reader, channel, Some(elsewhere)).await.1.reload, "nobody knows what was missed");

    let whom = MemberPath { community, account: member.account() };
    ask::<KickMember>(&owner, whom, ()).await.unwrap();
    let kicked = Instant::now();
    let closed = async {
        loop {
            if let Some(server_frame::Kind::ChannelClosed(closed)) = reader.frame().await.unwrap().kind {
                return closed.reason();
            }
        }
    };
    let reason = timeout(seconds(5), closed).await.expect("it stays open");
    assert!(kicked.elapsed() < seconds(1), "{:?}", kicked.elapsed());
    assert_eq!(reason, ChannelClosedReason::AccessLost);
    let server_frame::Kind::Error(refused) = post(&mut reader, channel, 9, "me too").await else { panic!("posted") };
    assert_eq!(refused.code, ErrorCode::NotFound.as_str());
    let hidden = ask::<GetChannelHistory>(&member, MessagesPath { channel }, ()).await;
    assert_eq!(hidden.err(), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_and_counted_while_the_worker_stands_still() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (owner, member, community, channel) = place(&stack).await;
    let path = || MessagesPath { channel };
    let say = async |name: u128, text: String| -> PostedMessage {
        let body = PostMessage { client_msg_id: ClientMsgId::new(Uuid::from_u128(name)), text, reply_to: None };
        ask::<PostChannelMessage>(&owner, path(), body).await.unwrap()
    };
    stack.worker.pause().unwrap();
    let first = say(1, "first".to_owned()).await.message;
    let second = say(2, format!("look, <@{}>", member.account())).await.message;
    let of = |message| MessagePath { channel, message };
    ask::<EditChannelMessage>(&owner, of(first), EditMessage { text: "better".into() }).await.unwrap();
    let stranger = ask::<EditChannelMessage>(&member, of(first), EditMessage { text: "mine".into() }).await;
    assert_eq!(stranger.err(), Some(ErrorCode::PermissionNeeded));
    let thumb = ReactionPath { channel, message: first, reaction: "👍".into() };
    for _ in 0..2 {
        ask::<AddReaction>(&member, thumb.clone(), ()).await.unwrap();
    }
    let unread = async || {
        let unread = ask::<GetUnread>(&member, UnreadPath { community }, ()).await.unwrap();
        let of = unread.channels.into_iter().find(|state| state.channel == channel).unwrap();
        (of.unread, of.mentions)
    };
    let looks_right = async || {
        let found = history(&member, channel).await;
        assert_eq!(ids(&found), [first, second]);
        let [message, _] = &found.messages[..] else { panic!("{found:?}") };
        assert_eq!((message.text.as_str(), message.edited_at.is_some()), ("better", true));
        let [thumbs] = &message.reactions[..] else { panic!("{message:?}") };
        assert_eq!((thumbs.count, thumbs.own), (1, true));
        assert_eq!(unread().await, (true, 1));
        let edits = ask::<ListMessageEdits>(&owner, of(first), ()).await.unwrap().edits;
        assert_eq!(edits.iter().map(|edit| edit.text.as_str()).collect::<Vec<_>>(), ["first"]);
    };
    looks_right().await;
    stack.worker.resume().unwrap();
    eventually(seconds(20), async || Ok(stack.worker.metric("nepto_channel_history_events_total").await? >= 4.0))
        .await
        .unwrap();
    looks_right().await;

    let beyond = MessageId::at(second.epoch_ms(), second.seq() + 1_000);
    let hides = ask::<MarkChannelRead>(&member, path(), MarkRead { up_to: beyond }).await;
    assert_eq!(hides.err(), Some(ErrorCode::MessageUnknown));
    let state = ask::<MarkChannelRead>(&member, path(), MarkRead { up_to: first }).await.unwrap();
    assert_eq!((state.unread, state.mentions), (true, 1));
    ask::<DeleteChannelMessage>(&owner, of(second), ()).await.unwrap();
    assert_eq!(unread().await, (false, 0), "what is deleted is not unread");
    assert_eq!(ids(&history(&member, channel).await), [first]);
    let back = ask::<MarkChannelRead>(&member, path(), MarkRead { up_to: MessageId::at(first.epoch_ms(), 0) }).await;
    assert_eq!(back.unwrap().up_to, Some(first), "a marker only moves forward");
}
