//! Channels: followed across connections, and posts that are stored once. Beside the server in one process, a stream of its own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use nepto_proto::api::channels::{PostMessage, PostedMessage};
use nepto_proto::wire::{
    ChannelClosed, ChannelClosedReason, ChannelEvent, ChannelEvents, ChannelFollow, ChannelFollowed, ChannelPosted,
    Cursor, Error, MessagePosted, StoredChannelEvent, channel_event, client_frame, server_frame,
};
use nepto_proto::{AccountId, ChannelId, ErrorCode, MessageId};
use uuid::Uuid;

use super::DOMAIN;
use super::server::{Server, take};
use crate::channels::{ChannelEnd, Happened};
use crate::{Client, Env, Event, Events, LoginOptions, Wallet};

const EPOCH_MS: u64 = 1_800_000_000_000;

/// What the server knows of channels: one stream, whose posts all belong to the channel that is asked for.
#[derive(Default)]
pub struct Channels {
    /// What its client called each post, and its text.
    posts: Mutex<Vec<(Vec<u8>, String)>>,
    /// Where each following began, in order.
    resumed: Mutex<Vec<Option<Cursor>>>,
    /// The next followings are refused with these, the last one first.
    refusals: Mutex<Vec<ErrorCode>>,
    /// The next posts are stored, and their answers lost together with the connection.
    lose_answers: AtomicUsize,
    is_followed: AtomicBool,
}

impl Channels {
    /// What a gateway says to a frame, each with whether it is the reply. `None`: the connection breaks.
    pub fn answers(&self, kind: client_frame::Kind) -> Option<Vec<(bool, server_frame::Kind)>> {
        match kind {
            client_frame::Kind::ChannelFollow(follow) => Some(self.follow(follow)),
            client_frame::Kind::ChannelPost(post) => {
                let (seq, duplicate) = self.store(post.client_msg_id.clone(), post.text);
                if take(&self.lose_answers) {
                    return None;
                }
                let message = MessageId::at(EPOCH_MS, seq).to_vec();
                let posted = ChannelPosted { client_msg_id: post.client_msg_id, message, duplicate };
                let is_live = !duplicate && self.is_followed.load(Ordering::Relaxed);
                let live = is_live.then(|| (false, self.events(post.channel, seq - 1)));
                Some(live.into_iter().chain([(true, server_frame::Kind::ChannelPosted(posted))]).collect())
            }
            _ => Some(Vec::new()),
        }
    }

    fn follow(&self, follow: ChannelFollow) -> Vec<(bool, server_frame::Kind)> {
        self.is_followed.store(!follow.leave, Ordering::Relaxed);
        if follow.leave {
            let reason = ChannelClosedReason::Left.into();
            return vec![(true, server_frame::Kind::ChannelClosed(ChannelClosed { channel: follow.channel, reason }))];
        }
        self.resumed.lock().unwrap().push(follow.resume);
        if let Some(code) = self.refusals.lock().unwrap().pop() {
            let error = Error { code: code.as_str().to_owned(), ..Error::default() };
            return vec![(true, server_frame::Kind::Error(error))];
        }
        let head = self.posts.lock().unwrap().len() as u64;
        let after = follow.resume.map_or(head, |resume| resume.seq);
        let followed = ChannelFollowed {
            channel: follow.channel.clone(),
            community: vec![1; 16],
            at: Some(Cursor { epoch: EPOCH_MS, seq: head }),
            reload: false,
        };
        vec![(false, self.events(follow.channel, after)), (true, server_frame::Kind::ChannelFollowed(followed))]
    }

    fn store(&self, client_msg_id: Vec<u8>, text: String) -> (u64, bool) {
        let mut posts = self.posts.lock().unwrap();
        if let Some(at) = posts.iter().position(|(known, _)| *known == client_msg_id) {
            return (at as u64 + 1, true);
        }
        posts.push((client_msg_id, text));
        (posts.len() as u64, false)
    }

    fn events(&self, channel: Vec<u8>, after: u64) -> server_frame::Kind {
        let posts = self.posts.lock().unwrap();
        let events = (1u64..).zip(posts.iter()).filter(|(seq, _)| *seq > after).map(|(seq, (client_msg_id, text))| {
            let (client_msg_id, text) = (client_msg_id.clone(), text.clone());
            let posted = MessagePosted { client_msg_id, text, ..MessagePosted::default() };
            let kind = Some(channel_event::Kind::Posted(posted));
            let by = AccountId::new(Uuid::from_u128(9)).to_vec();
            StoredChannelEvent { seq, stored_at_ms: EPOCH_MS, event: Some(ChannelEvent { epoch: EPOCH_MS, by, kind }) }
        });
        server_frame::Kind::ChannelEvents(ChannelEvents { channel, events: events.collect() })
    }
}

/// A post over HTTP.
pub async fn post(State(server): State<Arc<Server>>, Json(body): Json<PostMessage>) -> Json<PostedMessage> {
    let (seq, duplicate) = server.channels.store(body.client_msg_id.to_vec(), body.text);
    Json(PostedMessage { message: MessageId::at(EPOCH_MS, seq), duplicate })
}

async fn client(server: &Server) -> Client {
    let wallet = Wallet::random(&Env::system()).unwrap();
    let options = LoginOptions { domain: Some(DOMAIN.to_owned()), ..LoginOptions::new(&server.url) };
    Client::login(options, &wallet).await.unwrap()
}

fn channel() -> ChannelId {
    ChannelId::new(Uuid::from_u128(7))
}

/// The next event about channels; others are skipped.
async fn next(events: &mut Events) -> Event {
    let search = async {
        loop {
            let event = events.next().await.expect("the events ended");
            if matches!(event, Event::Channel(_) | Event::ChannelFollowed { .. } | Event::ChannelClosed { .. }) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.expect("the event never came")
}

async fn followed(events: &mut Events) -> u64 {
    match next(events).await {
        Event::ChannelFollowed { channel: of, at, reload: false, .. } if of == channel() => at.seq(),
        other => panic!("{other:?}"),
    }
}

async fn posted(events: &mut Events) -> (MessageId, String) {
    match next(events).await {
        Event::Channel(event) => match event.what {
            Happened::Posted(message) => (message.message, message.text),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_channel_is_followed_on_the_next_connection_too_and_a_post_is_stored_once() {
    let server = Server::start().await;
    let client = client(&server).await;
    let over_http = client.post(channel(), "before", None).await.unwrap();
    assert_eq!((over_http.message.seq(), over_http.duplicate), (1, false));
    let mut events = client.connect().await.unwrap();
    client.follow(channel());
    assert_eq!(followed(&mut events).await, 1, "from now on");

    let first = client.post(channel(), "one", None).await.unwrap();
    assert_eq!(posted(&mut events).await, (first.message, "one".to_owned()));
    server.channels.lose_answers.store(1, Ordering::Relaxed);
    let second = client.post(channel(), "two", None).await.unwrap();
    assert!(second.duplicate, "it was stored when its answer was lost");
    // once, and before the channel counts as followed again
    assert_eq!(posted(&mut events).await, (second.message, "two".to_owned()));
    assert_eq!(followed(&mut events).await, 3);
    assert_eq!(*server.channels.resumed.lock().unwrap(), [None, Some(Cursor { epoch: EPOCH_MS, seq: 2 })]);

    client.unfollow(channel()).await;
    client.post(channel(), "three", None).await.unwrap();
    client.follow(channel());
    assert_eq!(followed(&mut events).await, 4, "what was posted meanwhile was not told");
}

#[tokio::test]
async fn what_is_refused_for_now_is_followed_later_and_what_is_refused_for_good_ends() {
    let server = Server::start().await;
    let client = client(&server).await;
    let mut events = client.connect().await.unwrap();
    server.channels.refusals.lock().unwrap().push(ErrorCode::Unavailable);
    client.follow(channel());
    assert_eq!(followed(&mut events).await, 0);
    assert_eq!(server.channels.resumed.lock().unwrap().len(), 2);

    client.unfollow(channel()).await;
    server.channels.refusals.lock().unwrap().push(ErrorCode::NotFound);
    client.follow(channel());
    let closed = Event::ChannelClosed { channel: channel(), why: ChannelEnd::Refused(ErrorCode::NotFound) };
    assert_eq!(next(&mut events).await, closed);
}
