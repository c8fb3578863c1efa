//! Clients against the server in one process: signing in, reconnecting, resuming, refreshing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nepto_proto::wire::Cursor;
use nepto_proto::{CloseCode, DeviceId, ErrorCode};
use zeroize::Zeroizing;

use super::DOMAIN;
use super::server::{Answer, Server};
use crate::model::{Body, Status};
use crate::store::Store;
use crate::store::backend::MemoryBackend;
use crate::store::seal::Cost;
use crate::{
    Client, DisconnectReason, Env, Event, Events, LoginOptions, ProfileLocation, SdkError, Verification, Wallet,
};

async fn client(server: &Server) -> Client {
    let wallet = Wallet::random(&Env::system()).unwrap();
    Client::login(options(server), &wallet).await.unwrap()
}

fn options(server: &Server) -> LoginOptions {
    LoginOptions { domain: Some(DOMAIN.to_owned()), ..LoginOptions::new(&server.url) }
}

/// The next event that this accepts; others are skipped. Fails after a while.
async fn until<T>(events: &mut Events, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = events.next().await.expect("the events ended");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.expect("the event never came")
}

async fn until_is(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    until(events, |event| wanted(event).then_some(())).await;
}

async fn text(events: &mut Events) -> String {
    until(events, |event| match event {
        Event::Message(m) | Event::Request(m) => match &m.body {
            Body::Text(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    })
    .await
}

async fn pair() -> (Arc<Server>, [Client; 2], [Events; 2]) {
    let server = Server::start().await;
    let (a, b) = (client(&server).await, client(&server).await);
    let (mut from_a, mut from_b) = (a.connect().await.unwrap(), b.connect().await.unwrap());
    until_is(&mut from_a, |e| *e == Event::CaughtUp).await;
    until_is(&mut from_b, |e| *e == Event::CaughtUp).await;
    (server, [a, b], [from_a, from_b])
}

#[tokio::test]
async fn two_clients_talk() {
    let (server, [a, b], [mut from_a, mut from_b]) = pair().await;
    let sent = a.send_text(b.account(), "hello", None, None).unwrap();
    a.wait_sent(sent.id.id).await.unwrap();
    assert_eq!(text(&mut from_b).await, "hello");
    assert_eq!(b.requests().unwrap().len(), 1);
    b.accept(a.account()).await.unwrap();
    for n in 0..100 {
        a.send_text(b.account(), &format!("{n}"), None, None).unwrap();
    }
    for n in 0..100 {
        assert_eq!(text(&mut from_b).await, n.to_string(), "in order");
    }
    b.send_text(a.account(), "enough", None, None).unwrap();
    assert_eq!(text(&mut from_a).await, "enough");
    b.wait_all_sent().await.unwrap();
    let last = a.history(b.account(), None, 2).unwrap().remove(1);
    let delivered = async {
        while a.message(last.id).unwrap().unwrap().status != Status::Delivered {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), delivered).await.expect("receipts come back");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(server.world().mailboxes.values().all(|mailbox| mailbox.is_empty()), "all is acknowledged");
    assert_eq!(server.bundle_calls.load(Ordering::Relaxed), 1, "the answer needs no bundle");
    drop(from_a);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!a.is_connected(), "dropping the events disconnects");
}

#[tokio::test]
async fn a_lost_answer_sends_nothing_twice() {
    let (server, [a, b], [mut from_a, mut from_b]) = pair().await;
    server.faults.lose_answers.store(2, Ordering::Relaxed);
    for n in 0..5 {
        a.send_text(b.account(), &format!("{n}"), None, None).unwrap();
    }
    until_is(&mut from_a, |e| matches!(e, Event::Disconnected { .. })).await;
    for n in 0..5 {
        assert_eq!(text(&mut from_b).await, n.to_string());
    }
    a.wait_all_sent().await.unwrap();
    assert_eq!(b.history(a.account(), None, 100).unwrap().len(), 5);
    assert!(server.sockets.load(Ordering::Relaxed) >= 4);
}

#[tokio::test]
async fn a_client_resumes_where_it_was() {
    let (server, [a, b], [_from_a, mut from_b]) = pair().await;
    a.send_text(b.account(), "one", None, None).unwrap();
    assert_eq!(text(&mut from_b).await, "one");
    drop(from_b);
    let sent = a.send_text(b.account(), "two", None, None).unwrap();
    a.wait_sent(sent.id.id).await.unwrap();
    let mut from_b = b.connect().await.unwrap();
    assert_eq!(text(&mut from_b).await, "two");
    assert_eq!(server.resumed.lock().unwrap().last(), Some(&Some(Cursor { epoch: 7, seq: 1 })), "after the first one");
}

/// Two clients that know nothing of each other, and a message of the first in the mailbox of the second, which is away.
async fn one_waits() -> (Arc<Server>, [Client; 2]) {
    let (server, [a, b], [_from_a, from_b]) = pair().await;
    b.wait_all_sent().await.unwrap();
    b.close().await;
    drop(from_b);
    let sent = a.send_text(b.account(), "for you", None, None).unwrap();
    a.wait_sent(sent.id.id).await.unwrap();
    a.wait_all_sent().await.unwrap();
    (server, [a, b])
}

#[tokio::test]
async fn a_look_up_that_says_nothing_about_the_sender_loses_no_message() {
    let (server, [_a, b]) = one_waits().await;
    let refusal = |code| Answer::Refusal(code);
    // the last one first; a token that is refused is refreshed and tried once more
    let token = refusal(ErrorCode::TokenInvalid);
    *server.faults.lookups.lock().unwrap() = vec![refusal(ErrorCode::NotFound), token, token, Answer::Page];
    let mut from_b = b.connect().await.unwrap();
    let said = until(&mut from_b, |event| match event {
        Event::Request(message) => Some(message.body.clone()),
        Event::Uncertified { .. } => panic!("the message was passed over"),
        _ => None,
    });
    assert_eq!(said.await, Body::Text("for you".into()));
    assert!(server.faults.lookups.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_sender_that_does_not_exist_is_passed_over() {
    let (server, [a, b]) = one_waits().await;
    server.faults.lookups.lock().unwrap().push(Answer::Refusal(ErrorCode::AccountUnknown));
    let mut from_b = b.connect().await.unwrap();
    until_is(&mut from_b, |e| matches!(e, Event::Uncertified { account, .. } if *account == a.account())).await;
    let _from_a = a.connect().await.unwrap();
    a.send_text(b.account(), "I do exist", None, None).unwrap();
    assert_eq!(text(&mut from_b).await, "I do exist");
}

#[tokio::test]
async fn a_session_that_ends_during_a_look_up_takes_no_message_with_it() {
    let (server, [_a, b]) = one_waits().await;
    server.faults.lookups.lock().unwrap().push(Answer::Refusal(ErrorCode::SessionRevoked));
    let mut from_b = b.connect().await.unwrap();
    until_is(&mut from_b, |e| *e == Event::SignedOut { code: Some(ErrorCode::SessionRevoked) }).await;
    assert_eq!(from_b.next().await, None);
    assert_eq!(server.world().mailboxes[&(b.account(), b.device())].len(), 1, "it waits for the next sign-in");
    assert!(matches!(b.whoami().await, Err(SdkError::SignedOut)));
}

#[tokio::test]
async fn a_text_outlives_what_is_said_about_the_session() {
    let (server, [a, b], [mut from_a, mut from_b]) = pair().await;
    let token = Answer::Refusal(ErrorCode::TokenInvalid);
    let revoked = Answer::Refusal(ErrorCode::SessionRevoked);
    *server.faults.bundles.lock().unwrap() = vec![revoked, Answer::Page, token, token];
    let sent = a.send_text(b.account(), "still here", None, None).unwrap();
    assert_eq!(text(&mut from_b).await, "still here");
    let stored = until(&mut from_a, |event| match event {
        Event::Status { id, status, .. } if *id == sent.id => Some(*status),
        _ => None,
    });
    assert_eq!(stored.await, Status::Stored);
    assert!(server.faults.bundles.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_wallet_of_a_profile_is_the_one_that_devices_are_checked_against() {
    let server = Server::start().await;
    let (a, wallet) = (client(&server).await, Wallet::random(&Env::system()).unwrap());
    let b = Client::login(options(&server), &wallet).await.unwrap().account();
    let address = wallet.address().to_string();
    assert_eq!(a.pinned_wallet(b).unwrap(), None);
    for reference in [b.to_string(), address.clone(), address.to_lowercase()] {
        assert_eq!(a.resolve(&reference).await.unwrap().wallet, address);
    }
    assert_eq!(a.pinned_wallet(b).unwrap(), Some(address.clone()));
    // a profile that lies
    let other = Wallet::random(&Env::system()).unwrap().address().to_string();
    *server.faults.profile_wallet.lock().unwrap() = Some(other.clone());
    assert!(matches!(a.resolve(&b.to_string()).await, Err(SdkError::BadKeys { account, .. }) if account == b));
    assert!(matches!(a.resolve(&address).await, Err(SdkError::BadKeys { .. })));
    // profile and directory agree on another wallet than the pinned one, which is shown nevertheless
    let d = client(&server).await;
    *server.faults.profile_wallet.lock().unwrap() = None;
    d.resolve(&b.to_string()).await.unwrap();
    server.world().accounts.get_mut(&b).unwrap().wallets.root = other;
    assert_eq!(d.resolve(&b.to_string()).await.unwrap().wallet, address);
    assert_eq!(d.verification(b).unwrap(), Verification::Changed);
}

#[tokio::test]
async fn a_goodbye_acknowledges_what_was_received() {
    let (server, [a, b], [_from_a, mut from_b]) = pair().await;
    for n in 0..10 {
        a.send_text(b.account(), &n.to_string(), None, None).unwrap();
    }
    for n in 0..10 {
        assert_eq!(text(&mut from_b).await, n.to_string());
    }
    b.close().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.world().mailboxes[&(b.account(), b.device())].len(), 0);
    assert!(!b.is_connected());
    assert_eq!(from_b.next().await, None);
}

#[tokio::test]
async fn who_missed_messages_is_told_once_and_it_is_kept() {
    let (server, [a, _], [from_a, _from_b]) = pair().await;
    drop(from_a);
    let account = a.account();
    let other = DeviceId::try_from(9).unwrap();
    for (told, new) in [
        (vec![(a.device(), 5)], vec![(a.device(), 5)]),
        (vec![(a.device(), 5), (other, 6)], vec![(other, 6)]),
        (vec![(a.device(), 7), (other, 6)], vec![(a.device(), 7)]),
    ] {
        server.faults.missed.lock().unwrap().clone_from(&told);
        let mut from_a = a.connect().await.unwrap();
        let mut missed = Vec::new();
        until(&mut from_a, |event| {
            if let Event::Missed { account: whose, device, since_ms } = event {
                assert_eq!(*whose, account);
                missed.push((*device, *since_ms));
            }
            (*event == Event::CaughtUp).then_some(())
        })
        .await;
        assert_eq!(missed, new, "of {told:?}");
        assert_eq!(a.missed().unwrap(), told.into_iter().collect());
    }
}

#[tokio::test]
async fn frames_of_kinds_that_are_not_known_are_ignored() {
    let (server, [a, b], [from_a, mut from_b]) = pair().await;
    drop(from_a);
    server.faults.unknown_kinds.store(usize::MAX, Ordering::Relaxed);
    let mut from_a = a.connect().await.unwrap();
    until_is(&mut from_a, |event| *event == Event::CaughtUp).await;
    let sent = a.send_text(b.account(), "hello", None, None).unwrap();
    a.wait_sent(sent.id.id).await.unwrap();
    assert_eq!(text(&mut from_b).await, "hello");
    assert!(a.is_connected() && b.is_connected());
}

#[tokio::test]
async fn close_codes_are_understood() {
    let (server, [a, _], [mut from_a, _from_b]) = pair().await;
    for code in [CloseCode::Idle, CloseCode::Restart, CloseCode::SlowReader, CloseCode::Unavailable] {
        server.faults.close_next.lock().unwrap().push(code);
    }
    a.disconnect();
    while from_a.next().await.is_some() {}
    let mut from_a = a.connect().await.unwrap();
    let mut reasons = vec![];
    while reasons.len() < 4 {
        let reason = until(&mut from_a, |event| match event {
            Event::Disconnected { reason, retry_in } => {
                assert!(*retry_in <= Duration::from_secs(30));
                Some(reason.clone())
            }
            _ => None,
        })
        .await;
        // the first gateway of the list is never there
        if !matches!(&reason, DisconnectReason::Lost(text) if text.contains("refused")) {
            reasons.push(reason);
        }
    }
    assert!(
        matches!(
            &reasons[..],
            [DisconnectReason::Lost(_), DisconnectReason::Lost(_), DisconnectReason::Drain, DisconnectReason::Idle,]
        ),
        "{reasons:?}"
    );
    until_is(&mut from_a, |e| *e == Event::CaughtUp).await;

    server.faults.close_next.lock().unwrap().push(CloseCode::Superseded);
    let mut from_a = a.connect().await.unwrap();
    until_is(&mut from_a, |e| *e == Event::Superseded).await;
    assert_eq!(from_a.next().await, None);

    server.faults.close_next.lock().unwrap().push(CloseCode::SessionRevoked);
    let mut from_a = a.connect().await.unwrap();
    until_is(&mut from_a, |e| *e == Event::SignedOut { code: Some(ErrorCode::SessionRevoked) }).await;
    assert_eq!(from_a.next().await, None);
    assert!(matches!(a.whoami().await, Err(SdkError::SignedOut)));
}

#[tokio::test]
async fn who_is_not_understood_does_not_come_back() {
    let (server, [a, _], [from_a, _from_b]) = pair().await;
    drop(from_a);
    for code in [CloseCode::Malformed, CloseCode::TooLarge] {
        server.faults.close_next.lock().unwrap().push(code);
        let mut from_a = a.connect().await.unwrap();
        let reason = until(&mut from_a, |event| match event {
            Event::Refused { reason } => Some(reason.clone()),
            _ => None,
        });
        let reason = reason.await;
        assert!(reason.contains(code.reason()), "{reason}");
        assert_eq!(from_a.next().await, None);
    }
    server.faults.close_next.lock().unwrap().push(CloseCode::Abuse);
    let mut from_a = a.connect().await.unwrap();
    let abuse = CloseCode::Abuse.reason();
    let wait = until(&mut from_a, |event| match event {
        Event::Disconnected { reason: DisconnectReason::Lost(why), retry_in } if why.contains(abuse) => Some(*retry_in),
        _ => None,
    });
    assert!(wait.await >= Duration::from_secs(60));
}

#[tokio::test]
async fn a_drain_is_honoured() {
    let (server, [a, _], _) = pair().await;
    server.faults.drain_next.lock().unwrap().push(300);
    let mut from_a = a.connect().await.unwrap();
    let began = tokio::time::Instant::now();
    until_is(&mut from_a, |e| *e == Event::CaughtUp).await;
    until_is(&mut from_a, |e| matches!(e, Event::Disconnected { reason: DisconnectReason::Drain, .. })).await;
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
    until_is(&mut from_a, |e| *e == Event::CaughtUp).await;
}

#[tokio::test]
async fn tokens_are_refreshed_once_and_stored() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile");
    let location = || ProfileLocation::File { path: path.clone(), passphrase: Zeroizing::new("secret".to_owned()) };
    let options = LoginOptions { location: location(), ..options(&server) };
    let kept = Client::login(options, &Wallet::random(&Env::system()).unwrap()).await.unwrap();
    let before = kept.http().access_token().await.unwrap();
    server.faults.expire_tokens.store(1, Ordering::Relaxed);
    kept.whoami().await.unwrap();
    let after = kept.http().access_token().await.unwrap();
    assert_ne!(before, after);
    drop(kept);
    let opened = Client::open(location(), Env::system()).await.unwrap();
    assert_eq!(opened.http().access_token().await.unwrap(), after);
    assert_eq!(server.refreshes.swap(0, Ordering::Relaxed), 1);
    let a = client(&server).await;
    server.faults.expire_tokens.store(5, Ordering::Relaxed);
    let calls = futures_util::future::join_all((0..5).map(|_| a.whoami())).await;
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    assert_eq!(server.refreshes.load(Ordering::Relaxed), 1, "one refresh for all");
    server.faults.expire_tokens.store(1, Ordering::Relaxed);
    let mut from_a = a.connect().await.unwrap();
    until_is(&mut from_a, |e| matches!(e, Event::Disconnected { reason: DisconnectReason::Token, .. })).await;
    until_is(&mut from_a, |e| *e == Event::CaughtUp).await;
    assert_eq!(server.refreshes.load(Ordering::Relaxed), 2);
    // a server that takes no token at all is not asked for ever
    server.faults.expire_tokens.store(100, Ordering::Relaxed);
    assert_eq!(a.whoami().await.unwrap_err().code(), Some(ErrorCode::TokenExpired));
    assert_eq!(server.faults.expire_tokens.swap(0, Ordering::Relaxed), 98);
    assert_eq!(server.refreshes.load(Ordering::Relaxed), 3);
    server.faults.revoked.store(1, Ordering::Relaxed);
    server.faults.expire_tokens.store(1, Ordering::Relaxed);
    assert_eq!(a.whoami().await.unwrap_err().code(), Some(ErrorCode::SessionRevoked));
    assert!(matches!(a.whoami().await, Err(SdkError::SignedOut)));
}

#[tokio::test]
async fn a_refresh_goes_on_when_nobody_waits_for_it() {
    let server = Server::start().await;
    let a = client(&server).await;
    let before = a.http().access_token().await.unwrap();
    server.faults.expire_tokens.store(1, Ordering::Relaxed);
    let asked = async {
        while server.refreshes.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = a.whoami() => panic!("nothing was cancelled"),
        () = asked => {}
    }
    // the server has taken the old token, and its answer must not be lost
    assert_ne!(a.http().access_token().await.unwrap(), before);
    a.whoami().await.unwrap();
    assert_eq!(server.refreshes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_asked_again() {
    let server = Server::start().await;
    let a = client(&server).await;
    server.faults.unavailable.store(2, Ordering::Relaxed);
    a.whoami().await.unwrap();
    server.faults.unavailable.store(3, Ordering::Relaxed);
    let error = a.whoami().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unavailable));
    assert!(error.is_temporary());
    let nobody = crate::http::Http::new("http://127.0.0.1:1", Env::system(), Box::new(())).unwrap();
    assert!(matches!(nobody.info().await, Err(SdkError::Network(_))));
}

#[tokio::test]
async fn a_profile_stays_the_same_device() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile");
    let location = || ProfileLocation::File { path: path.clone(), passphrase: Zeroizing::new("secret".to_owned()) };
    let wallet = Wallet::random(&Env::system()).unwrap();
    let options = || LoginOptions { location: location(), ..options(&server) };
    let first = Client::login(options(), &wallet).await.unwrap();
    let me = (first.account(), first.device());
    assert!(matches!(
        Client::open(location(), Env::system()).await,
        Err(SdkError::Store(crate::store::StoreError::InUse))
    ));
    drop(first);
    let opened = Client::open(location(), Env::system()).await.unwrap();
    assert_eq!((opened.account(), opened.device()), me);
    opened.whoami().await.unwrap();
    drop(opened);
    let again = Client::login(options(), &wallet).await.unwrap();
    assert_eq!((again.account(), again.device()), me);
    drop(again);
    let stranger = Wallet::random(&Env::system()).unwrap();
    assert!(matches!(Client::login(options(), &stranger).await, Err(SdkError::OtherAccount(_))));
    let strangers = stranger.address().to_string();
    let left = server.world().accounts.values().filter(|a| a.wallets.root == strangers).map(|a| a.devices.len()).sum();
    assert_eq!((left, server.world().accounts.len()), (0usize, 2), "no device is left behind");
    let wrong = ProfileLocation::File { path, passphrase: Zeroizing::new("guess".to_owned()) };
    assert!(matches!(
        Client::open(wrong, Env::system()).await,
        Err(SdkError::Store(crate::store::StoreError::Passphrase))
    ));
}

#[tokio::test]
async fn a_device_with_another_number_says_hello_again() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile");
    let wallet = Wallet::random(&Env::system()).unwrap();
    let login = || {
        let location = ProfileLocation::File { path: path.clone(), passphrase: Zeroizing::new("secret".to_owned()) };
        Client::login(LoginOptions { location, ..options(&server) }, &wallet)
    };
    let first = login().await.unwrap();
    let second = Client::login(options(&server), &wallet).await.unwrap();
    let mut from_second = second.connect().await.unwrap();
    second.wait_all_sent().await.unwrap();
    server.world().remove_device(first.account(), first.device());
    drop(first);
    let again = login().await.unwrap();
    let number = again.device();
    assert!(number > second.device(), "{number}");
    let _from_again = again.connect().await.unwrap();
    until_is(&mut from_second, |e| matches!(e, Event::DeviceAdded { device, .. } if *device == number)).await;
}

#[tokio::test]
async fn an_empty_profile_asks_for_a_sign_in() {
    let env = Env::system();
    let store = Store::open(Box::new(MemoryBackend::default()), "", Cost::LOW, &env).unwrap();
    assert!(matches!(Client::open(ProfileLocation::Store(Box::new(store)), env).await, Err(SdkError::NotSignedIn)));
}
