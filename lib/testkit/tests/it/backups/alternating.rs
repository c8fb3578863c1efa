//! People who have written by turns for longer than libsignal remembers, and a restore that delivers all of it again.

use nepto_proto::wire::server_frame;
use nepto_sdk::Event;
use nepto_sdk::model::{Body, Status};
use nepto_testkit::{Builder, eventually, seconds};

use super::{Place, has_each_once, new_key, stop};
use crate::people::{Person, Raw};

const ROUNDS: usize = 8;

/// Waits until everything in a conversation is read, by whoever it was for.
async fn all_is_read(of: &Person, with: &Person) {
    let statuses = || -> Vec<Status> {
        let history = of.client.history(with.account(), None, 100).unwrap();
        history.iter().map(|message| message.status).collect()
    };
    let read = async || Ok(statuses().iter().all(|status| *status == Status::Read));
    eventually(seconds(20), read).await.unwrap_or_else(|_| panic!("not everything is read: {:?}", statuses()));
}

/// Waits for an event, before which nothing may be said to be lost.
async fn nothing_is_lost_until(person: &mut Person, wanted: impl Fn(&Event) -> bool) {
    let search = person.until(|event| {
        let lost = matches!(event, Event::Undecryptable { .. } | Event::SessionReset { .. });
        assert!(!lost, "{event:?}");
        wanted(event)
    });
    search.await.unwrap();
}

fn says(text: &str) -> impl Fn(&Event) -> bool {
    move |event: &Event| matches!(event, Event::Message(message) if message.body == Body::Text(text.to_owned()))
}

#[tokio::test]
async fn what_was_read_is_not_called_lost_after_a_restore() {
    // what was acknowledged is in the mailboxes for so long, and so in the backup
    let make = async |builder: Builder| builder.set("mailbox.duplicate_window_s", 600).all().await;
    let place = Place::new(make).await;
    let stack = &place.stack;
    let [alices, bobs] = [new_key(), new_key()];
    let mut alice = place.person("alice", &alices).await;
    let mut bob = place.person("bob", &bobs).await;
    alice.says(&bob, "hello").await.unwrap();
    bob.hears_text("hello").await.unwrap();
    bob.client.accept(alice.account()).await.unwrap();
    let mut said = vec!["hello".to_owned()];
    for round in 0..ROUNDS {
        let (question, answer) = (format!("{round}?"), format!("{round}!"));
        alice.says(&bob, &question).await.unwrap();
        bob.hears_text(&question).await.unwrap();
        bob.client.mark_read(alice.account(), u64::MAX).unwrap();
        bob.says(&alice, &answer).await.unwrap();
        alice.hears_text(&answer).await.unwrap();
        alice.client.mark_read(bob.account(), u64::MAX).unwrap();
        said.extend([question, answer]);
    }
    all_is_read(&alice, &bob).await;
    all_is_read(&bob, &alice).await;
    let backup = place.back_up().await.unwrap();
    alice.client.close().await;
    bob.client.close().await;
    drop((alice, bob));
    stop(stack).await;
    place.restore(&backup, &["--replace"]).await.unwrap();
    stack.api.restart().await.unwrap();

    let mut alice = place.person("alice", &alices).await;
    let mut bob = place.person("bob", &bobs).await;
    for person in [&mut alice, &mut bob] {
        nothing_is_lost_until(person, |event| matches!(event, Event::CaughtUp)).await;
    }
    all_is_read(&alice, &bob).await;
    all_is_read(&bob, &alice).await;
    // whoever is asked for something again has heard of it before this
    bob.says(&alice, "we go on").await.unwrap();
    nothing_is_lost_until(&mut alice, says("we go on")).await;
    alice.says(&bob, "so do I").await.unwrap();
    nothing_is_lost_until(&mut bob, says("so do I")).await;
    said.extend(["we go on", "so do I"].map(str::to_owned));
    has_each_once(&alice, &bob, &said).await;
    has_each_once(&bob, &alice, &said).await;
    alice.client.mark_read(bob.account(), u64::MAX).unwrap();
    bob.client.mark_read(alice.account(), u64::MAX).unwrap();
    all_is_read(&alice, &bob).await;
    all_is_read(&bob, &alice).await;

    // all of it did come again: it is there still
    bob.client.close().await;
    let mut raw = Raw::open(stack, &bob.client, None).await.unwrap();
    let mut delivered = 0;
    loop {
        match raw.frame().await.unwrap().kind {
            Some(server_frame::Kind::Deliver(_)) => delivered += 1,
            Some(server_frame::Kind::CaughtUp(_)) => break,
            _ => {}
        }
    }
    assert!(delivered > ROUNDS, "there were only {delivered}");
}
