//! Restores that are killed on their way, or fail: nobody opens half of one, and the next try ends it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use nepto_sdk::socket::Socket;
use nepto_testkit::{Builder, Server, Stack};

use super::{Place, database_folder, has_each_once, new_key, stop, text};
use crate::people::{PATIENCE, Person};

/// `SIGABRT`, of a crash point.
const ABORTED: i32 = 6;
/// As if the disk were full. What is written past it is an error, which by itself would be a signal.
const NO_ROOM: &str = "trap '' XFSZ && ulimit -f 256";

impl Place {
    /// A restore that dies there, as by `kill -9`.
    async fn dies_at(&self, point: &str, backup: &Path, more: &[&str]) {
        let first = format!("export NEPTO_CRASH_AT='{point}'");
        let (status, said) = self.restore_after(&first, backup, more).await;
        assert_eq!(status.signal(), Some(ABORTED), "it did not come to {point}: {said}");
    }
}

/// Why a server does not start; only what it says this time.
async fn refusal_to_start(server: &Server) -> String {
    let before = server.log().len();
    server.restart().await.unwrap_err();
    server.log()[before..].to_owned()
}

async fn stays_closed(server: &Server, when: &str) {
    let said = refusal_to_start(server).await;
    assert!(
        said.contains("has begun and not ended: run `nepto-server restore` again, with --replace"),
        "{when}: {said}"
    );
}

/// Two people who have talked, and are away.
struct Friends {
    keys: [String; 2],
    said: Vec<String>,
}

impl Friends {
    async fn meet(place: &Place) -> Self {
        let keys = [new_key(), new_key()];
        let (alice, mut bob) = (place.person("alice", &keys[0]).await, place.person("bob", &keys[1]).await);
        alice.says(&bob, "hello").await.unwrap();
        bob.hears_text("hello").await.unwrap();
        bob.client.accept(alice.account()).await.unwrap();
        leave([alice, bob]).await;
        Self { keys, said: vec!["hello".to_owned()] }
    }

    async fn both(&self, place: &Place) -> (Person, Person) {
        (place.person("alice", &self.keys[0]).await, place.person("bob", &self.keys[1]).await)
    }

    /// They sign in, say something, and have all that was ever said.
    async fn go_on(&mut self, place: &Place, about: &str) {
        let (alice, bob) = self.both(place).await;
        let (question, answer) = (format!("{about}?"), format!("{about}!"));
        alice.says(&bob, &question).await.unwrap();
        bob.says(&alice, &answer).await.unwrap();
        self.said.extend([question, answer]);
        has_each_once(&bob, &alice, &self.said).await;
        has_each_once(&alice, &bob, &self.said).await;
        leave([alice, bob]).await;
    }
}

async fn leave(people: [Person; 2]) {
    for person in &people {
        person.client.close().await;
    }
}

#[tokio::test]
async fn a_restore_may_die_anywhere_and_people_go_on_after_the_next_one() {
    let place = Place::new(async |builder: Builder| builder.all().await).await;
    let mut friends = Friends::meet(&place).await;
    // it waits for him in the backup
    let (alice, bob) = friends.both(&place).await;
    bob.client.close().await;
    alice.says(&bob, "before").await.unwrap();
    friends.said.push("before".to_owned());
    leave([alice, bob]).await;
    let backup = place.back_up().await.unwrap();
    friends.go_on(&place, "after").await;
    stop(&place.stack).await;
    for point in [
        "restore:filled",
        "restore:ready",
        "EVENTS:deleted",
        "DM_0:deleted",
        "restore:streams replaced",
        "restore:moved aside",
        "restore:moved in",
    ] {
        place.dies_at(point, &backup, &["--replace"]).await;
        stays_closed(&place.stack.api, point).await;
        if point == "DM_0:deleted" {
            let refused = place.refusal(&backup, &["--replace", "--keep-mailboxes"]).await;
            assert!(refused.contains("run this without --keep-mailboxes"), "{refused}");
            stays_closed(&place.stack.api, point).await;
        }
        place.restore(&backup, &["--replace"]).await.unwrap();
        place.stack.api.restart().await.unwrap();
        friends.go_on(&place, point).await;
        stop(&place.stack).await;
    }
    // what is left are images, without which all works
    place.dies_at("restore:swapped", &backup, &["--replace"]).await;
    place.stack.api.restart().await.unwrap();
    friends.go_on(&place, "at last").await;
}

#[tokio::test]
async fn a_second_try_that_fails_opens_nothing() {
    let place = Place::new(async |builder: Builder| builder.all().await).await;
    let mut friends = Friends::meet(&place).await;
    let backup = place.back_up().await.unwrap();
    stop(&place.stack).await;
    // where nothing was broken off, nothing is
    let (status, said) = place.restore_after(NO_ROOM, &backup, &["--replace"]).await;
    assert!(!status.success() && said.contains("nothing was replaced"), "{said}");
    place.stack.api.restart().await.unwrap();
    friends.go_on(&place, "nothing happened").await;
    stop(&place.stack).await;

    place.dies_at("restore:streams replaced", &backup, &["--replace"]).await;
    let other = place.folder.path().join("other.key");
    std::fs::write(&other, Identity::generate().to_string().expose_secret()).unwrap();
    let arguments = ["restore", "--identity", &text(&other), &text(&backup), "--replace"];
    let refused = format!("{:#}", place.stack.run(&arguments).await.unwrap_err());
    assert!(refused.contains("can't be restored, and nothing was touched"), "{refused}");
    stays_closed(&place.stack.api, "with another key").await;
    let refused = place.refusal(&place.folder.path().join("nowhere"), &["--replace"]).await;
    assert!(refused.contains("can't be read"), "{refused}");
    stays_closed(&place.stack.api, "without the backup").await;
    let (status, said) = place.restore_after(NO_ROOM, &backup, &["--replace"]).await;
    assert!(!status.success() && said.contains("start nothing, and run it again with --replace"), "{said}");
    stays_closed(&place.stack.api, "without room").await;

    place.restore(&backup, &["--replace"]).await.unwrap();
    place.stack.api.restart().await.unwrap();
    // what they said since the backup is on their devices
    friends.go_on(&place, "and on").await;
}

#[tokio::test]
async fn neither_a_server_of_databases_nor_a_gateway_serves_half_a_restore() {
    let place = Place::new(async |builder: Builder| builder.split(1).await).await;
    let stack: &Stack = &place.stack;
    let (database, gateway) = (stack.database.as_ref().unwrap(), &stack.gateways[0]);
    let mut friends = Friends::meet(&place).await;
    let backup = place.back_up().await.unwrap();
    let (alice, bob) = friends.both(&place).await;
    // a token that is good for minutes to come
    let token = alice.client.http().access_token().await.unwrap();
    leave([alice, bob]).await;
    Socket::open(&gateway.socket_url(), &token, None, PATIENCE).await.unwrap();
    stop(stack).await;
    database.term().await.unwrap();
    let folder = text(&database_folder(stack));
    let more = ["--replace", "--databases-to", &folder];
    place.dies_at("restore:streams replaced", &backup, &more).await;
    stays_closed(database, "died").await;
    // it needs no database to start
    gateway.restart().await.unwrap();
    Socket::open(&gateway.socket_url(), &token, None, PATIENCE).await.err().expect("nobody says that it is a session");
    let refused = place.refusal(&backup, &more).await;
    assert!(refused.contains("must be stopped first: gateway (process "), "{refused}");
    gateway.term().await.unwrap();

    place.restore(&backup, &more).await.unwrap();
    database.restart().await.unwrap();
    for server in stack.servers() {
        server.restart().await.unwrap();
    }
    friends.go_on(&place, "and on").await;
}
