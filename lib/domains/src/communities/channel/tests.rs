//! The tables of messages, in memory: committing, reading, markers.

use nepto_kit::db::DbError;
use nepto_proto::wire::{
    ChannelEvent, ChannelMentions, MessagePosted, MessagesDeleted, ReactionChanged, channel_event,
};
use nepto_proto::{AccountId, ChannelId, ClientMsgId, CommunityId, MessageId, RoleId};
use uuid::Uuid;

use super::history::page_of;
use super::projection::{Needs, Projection};
use super::rows::Cursor;
use super::store::{Store, Window};
use super::stream::Event;
use crate::testing::{account, database};

const EPOCH: u64 = 7;

fn channel() -> ChannelId {
    ChannelId::new(Uuid::from_u128(100))
}

fn role() -> RoleId {
    RoleId::new(Uuid::from_u128(200))
}

fn id(seq: u64) -> MessageId {
    MessageId::at(EPOCH, seq)
}

fn event(seq: u64, by: AccountId, kind: channel_event::Kind) -> Event {
    let event = ChannelEvent { epoch: EPOCH, by: by.to_vec(), kind: Some(kind) };
    let community = CommunityId::new(Uuid::from_u128(9));
    Event { community, channel: channel(), place: id(seq), seq, stored_at_ms: 10, event }
}

fn post(seq: u64, name: u128, mentions: Option<ChannelMentions>) -> Event {
    let client_msg_id = ClientMsgId::new(Uuid::from_u128(name)).to_vec();
    let posted = MessagePosted { client_msg_id, text: format!("text {seq}"), reply_to: Vec::new(), mentions };
    event(seq, account(1), channel_event::Kind::Posted(posted))
}

fn delete(seq: u64, messages: &[u64]) -> Event {
    let messages = messages.iter().map(|seq| id(*seq).to_vec()).collect();
    event(seq, account(1), channel_event::Kind::Deleted(MessagesDeleted { messages }))
}

fn react(seq: u64, by: AccountId, of: u64) -> Event {
    let reaction = ReactionChanged { message: id(of).to_vec(), reaction: "👍".to_owned(), removed: false };
    event(seq, by, channel_event::Kind::Reaction(reaction))
}

async fn store() -> Store {
    Store::new(database(crate::communities::domain()).await)
}

/// As the worker commits.
async fn commit(store: &Store, events: &[Event]) -> Result<(), DbError> {
    let view = store.view(None, &Needs::of(events)).await?;
    let mut projection = Projection::over(view.base);
    events.iter().for_each(|event| projection.apply(event));
    let seq = events.last().map_or(view.cursor.seq, |event| event.seq);
    store.commit(view.cursor, Cursor { epoch_ms: EPOCH, seq }, &projection).await
}

async fn seqs(store: &Store, window: Window) -> Vec<u64> {
    let view = store.view(Some((channel(), window)), &Needs::default()).await.unwrap();
    view.window.iter().map(|id| id.seq()).collect()
}

#[tokio::test]
async fn events_are_committed_once_and_by_one() {
    let store = store().await;
    let events: Vec<Event> = (1..=5).map(|seq| post(seq, seq.into(), None)).collect();
    commit(&store, &events).await.unwrap();
    assert_eq!(store.cursor().await.unwrap(), Cursor { epoch_ms: EPOCH, seq: 5 });
    // another worker that has not noticed
    let stale = store.commit(Cursor::default(), Cursor { epoch_ms: EPOCH, seq: 6 }, &Projection::default()).await;
    assert!(matches!(stale, Err(DbError::Stale)), "{stale:?}");
    // the same message, sent again after JetStream forgot it
    commit(&store, &[post(6, 3, None), post(7, 7, None)]).await.unwrap();
    assert_eq!(seqs(&store, Window::Newest(9)).await, [7, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn windows_are_read_from_either_end() {
    let store = store().await;
    let events: Vec<Event> = (1..=9).map(|seq| post(seq, seq.into(), None)).collect();
    commit(&store, &events).await.unwrap();
    assert_eq!(seqs(&store, Window::Newest(2)).await, [9, 8]);
    assert_eq!(seqs(&store, Window::Before(id(5), 2)).await, [4, 3]);
    assert_eq!(seqs(&store, Window::After(id(5), 2)).await, [6, 7]);
    assert_eq!(seqs(&store, Window::From(id(5), 2)).await, [5, 6]);
    assert!(seqs(&store, Window::Pinned(2)).await.is_empty());
}

#[tokio::test]
async fn a_page_has_what_the_tables_do_not_have_yet_and_nothing_from_beyond_its_end() {
    let store = store().await;
    let events: Vec<Event> = (1..=9).map(|seq| post(seq, seq.into(), None)).collect();
    commit(&store, &events).await.unwrap();
    // a reaction to an old message, a deletion, and a new message
    let tail = [react(10, account(2), 1), delete(11, &[8]), post(12, 12, None)];
    let page = async |window: Window| {
        let read = window.with_limit(window.limit() + 2);
        let view = store.view(Some((channel(), read)), &Needs::of(&tail)).await.unwrap();
        let mut projection = Projection::over(view.base);
        tail.iter().for_each(|event| projection.apply(event));
        let page = page_of(channel(), window, &projection, &view.window, read.limit());
        (page.messages.iter().map(|(id, _)| id.seq()).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(page(Window::Newest(3)).await, (vec![7, 9, 12], true));
    assert_eq!(page(Window::Before(id(3), 5)).await, (vec![1, 2], false));
    assert_eq!(page(Window::After(id(6), 5)).await, (vec![7, 9, 12], false));
    assert_eq!(page(Window::After(id(2), 2)).await, (vec![3, 4], true));
}

#[tokio::test]
async fn what_a_deleted_message_left_goes_with_it() {
    let store = store().await;
    let mentions = ChannelMentions { users: vec![account(2).to_vec()], roles: vec![role().to_vec()], everyone: false };
    commit(&store, &[post(1, 1, None), post(2, 2, Some(mentions)), react(3, account(3), 2)]).await.unwrap();
    let read = async || {
        let mentions = store.mentions(account(2), channel(), None).await.unwrap();
        let groups = store.group_mentions(channel(), None).await.unwrap();
        let needs = Needs::of(&[react(0, account(3), 2)]);
        let reactions = store.reactions(&needs.reactions).await.unwrap();
        let head = store.heads(&[channel()]).await.unwrap().get(&channel()).map(|id| id.seq());
        (mentions.len(), groups.len(), reactions.len(), head)
    };
    assert_eq!(read().await, (1, 1, 1, Some(2)));
    let [group] = &store.group_mentions(channel(), None).await.unwrap()[..] else { panic!("one") };
    assert!(group.is_of(account(9), &[role()]) && !group.is_of(account(1), &[role()]) && !group.is_of(account(9), &[]));
    commit(&store, &[delete(4, &[2])]).await.unwrap();
    assert_eq!(read().await, (0, 0, 0, Some(1)));
    commit(&store, &[delete(5, &[1])]).await.unwrap();
    assert_eq!(read().await, (0, 0, 0, None));
}

#[tokio::test]
async fn a_marker_only_moves_forward_and_what_was_read_is_no_mention() {
    let store = store().await;
    let mentions = || Some(ChannelMentions { users: vec![account(2).to_vec()], ..ChannelMentions::default() });
    let events: Vec<Event> = (1..=4).map(|seq| post(seq, seq.into(), mentions())).collect();
    commit(&store, &events).await.unwrap();
    assert_eq!(store.mark(account(2), channel(), id(3)).await.unwrap(), id(3));
    assert_eq!(store.mark(account(2), channel(), id(1)).await.unwrap(), id(3));
    let markers = store.markers(account(2), &[channel()]).await.unwrap();
    assert_eq!(markers.get(&channel()), Some(&id(3)));
    assert_eq!(store.mentions(account(2), channel(), None).await.unwrap(), [id(4)]);
}
