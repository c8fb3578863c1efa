//! The rules that rows keep.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use nepto_kit::clock::{Clock, Random};
use nepto_kit::db::{DbError, vars};
use nepto_kit::outbox;
use nepto_proto::api::auth::Wallets;
use nepto_proto::certificate::{SignedMessage, WalletLink};
use nepto_proto::event::WalletLinked;
use nepto_proto::svc::auth::RootWallet;
use nepto_proto::{AccountId, DeviceId, ErrorCode, SessionId};
use uuid::Uuid;

use super::invites::Code;
use super::store::{Beginning, Store};
use crate::testing::{account, database, no_redis};

async fn store() -> Store {
    Store::new(database(super::domain()).await, no_redis())
}

fn link() -> WalletLink {
    let signed = SignedMessage { message: "m".into(), signature: "0x".into() };
    WalletLink { approval: signed.clone(), consent: signed }
}

/// Links a wallet of an account, with as many links as it has by now and this one.
async fn link_wallet(store: &Store, account: AccountId, wallet: &str, max: usize) -> Result<(), DbError> {
    let seen = store.wallets(account).await.unwrap().unwrap().links;
    let links = seen.iter().cloned().chain([link()]).collect();
    store.link(account, wallet, (seen, links), max, event()).await
}

fn event() -> outbox::Row {
    let event = WalletLinked { account: account(1), wallet: "0xA".into(), version: 0 };
    outbox::Row::about(&event, "0xA", &Clock::default(), &Random::default()).unwrap()
}

fn session(number: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(number))
}

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_wallet_gets_one_account_however_often_it_comes() {
    let store = store().await;
    let many =
        join_all((1..=8).map(|number| store.account_of_wallet_or_new("0xA", account(number), None, 0, event()))).await;
    let first = many[0].as_ref().unwrap();
    assert!(many.iter().all(|found| found.as_ref().unwrap() == first));
    assert_eq!(store.account_of_wallet("0xA").await.unwrap(), Some(*first));
    assert_eq!(store.wallets(*first).await.unwrap().unwrap().wallets, ["0xA"]);
    assert_eq!(store.account_of_wallet("0xB").await.unwrap(), None);
    assert_eq!(store.wallets(account(77)).await.unwrap(), None);
}

#[tokio::test]
async fn a_wallet_is_linked_to_one_account_and_within_the_limit() {
    let store = store().await;
    let (mine, other) = (account(1), account(2));
    store.account_of_wallet_or_new("0xA", mine, None, 0, event()).await.unwrap();
    store.account_of_wallet_or_new("0xB", other, None, 0, event()).await.unwrap();
    let refused = |result: Result<(), DbError>| match result {
        Err(DbError::Refused(code)) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(link_wallet(&store, mine, "0xB", 3).await), ErrorCode::WalletLinked);
    link_wallet(&store, mine, "0xC", 3).await.unwrap();
    link_wallet(&store, mine, "0xD", 3).await.unwrap();
    assert_eq!(refused(link_wallet(&store, mine, "0xE", 3).await), ErrorCode::WalletLimit);
    let wallets = store.wallets(mine).await.unwrap().unwrap();
    assert_eq!((wallets.root.as_str(), wallets.wallets.len(), wallets.links.len()), ("0xA", 3, 2));
    assert_eq!(store.account_of_wallet("0xE").await.unwrap(), None, "a refusal leaves nothing behind");
    // a link that somebody else made meanwhile is not written over
    let changed = store.link(mine, "0xC", (vec![], vec![link()]), 3, event()).await;
    assert_eq!(refused(changed), ErrorCode::Unavailable);
}

#[tokio::test]
async fn what_happens_to_a_wallet_is_numbered_whichever_account_it_belongs_to() {
    let db = database(super::domain()).await;
    let store = Store::new(db.clone(), no_redis());
    let of_b = || {
        let event = WalletLinked { account: account(1), wallet: "0xB".into(), version: 0 };
        outbox::Row::about(&event, "0xB", &Clock::default(), &Random::default()).unwrap()
    };
    for number in [1, 2] {
        let mine = account(number);
        let first = format!("0xA{number}");
        store.account_of_wallet_or_new(&first, mine, None, 0, of_b()).await.unwrap();
        let seen = store.wallets(mine).await.unwrap().unwrap();
        store.link(mine, "0xB", (seen.links, vec![link()]), 3, of_b()).await.unwrap();
        let seen = store.wallets(mine).await.unwrap().unwrap();
        let left = Wallets { root: first.clone(), wallets: vec![first], links: vec![] };
        store.unlink(mine, seen, left, &["0xB".to_owned()], vec![of_b()]).await.unwrap();
    }
    let versions: Vec<i64> = db.run("SELECT VALUE version FROM outbox", vars! {}).await.unwrap();
    let versions: BTreeSet<i64> = versions.into_iter().collect();
    assert_eq!(versions.len(), 6, "each has another one");
    assert!(
        versions.first() > Some(&1_700_000_000_000),
        "larger than any that was told before a restore: {versions:?}"
    );
    let last: i64 = db.run("RETURN (SELECT VALUE number FROM ONLY event_version:`0xB`)", vars! {}).await.unwrap();
    assert_eq!(Some(&last), versions.last());
    assert_eq!(store.numbered_account_of_wallet("0xB").await.unwrap(), None, "it left");
    let mine = store.wallets(account(1)).await.unwrap().unwrap();
    store.link(account(1), "0xB", (mine.links, vec![link()]), 3, of_b()).await.unwrap();
    let (holder, number) = store.numbered_account_of_wallet("0xB").await.unwrap().unwrap();
    assert!(holder == account(1) && number > last as u64, "{number} after {last}");
}

/// A session of the first account, at the beginning of time.
fn beginning(number: u128, device: DeviceId) -> Beginning<'static> {
    Beginning {
        account: account(1),
        session: session(number),
        device,
        wallet: "0xA",
        identity_key: &[5; 33],
        now_ms: 0,
    }
}

#[tokio::test]
async fn a_device_has_one_session() {
    let store = store().await;
    let (mine, device) = (account(1), 3.try_into().unwrap());
    assert!(store.begin_session(beginning(1, device), DAY, None).await.unwrap().is_empty());
    assert!(store.begin_session(beginning(2, 4.try_into().unwrap()), DAY, None).await.unwrap().is_empty());
    let ended = store.begin_session(beginning(3, device), DAY, None).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].session(), session(1));
    let left: Vec<_> = store.sessions(mine).await.unwrap().iter().map(|row| row.session()).collect();
    assert_eq!(left, [session(2), session(3)]);
    assert!(store.sessions(account(2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn of_two_who_rotate_at_once_one_does() {
    let store = store().await;
    let mine = account(1);
    store.begin_session(beginning(1, 1.try_into().unwrap()), DAY, None).await.unwrap();
    let moved = join_all((0..6).map(|_| store.rotate(mine, session(1), 0, 1, DAY))).await;
    assert_eq!(moved.into_iter().filter(|moved| *moved.as_ref().unwrap()).count(), 1);
    assert_eq!(store.session(mine, session(1)).await.unwrap().unwrap().generation, 1);
}

#[tokio::test]
async fn a_process_whose_clock_is_behind_shortens_no_session() {
    let (store, mine) = (store().await, account(1));
    store.begin_session(beginning(1, 1.try_into().unwrap()), DAY, None).await.unwrap();
    let expires_at_ms = async || store.session(mine, session(1)).await.unwrap().unwrap().expires_at_ms;
    let before = expires_at_ms().await;
    assert!(store.rotate(mine, session(1), 0, before - 200 * 86_400_000, DAY).await.unwrap());
    assert_eq!(expires_at_ms().await, before);
    assert!(store.rotate(mine, session(1), 1, before, DAY).await.unwrap());
    assert_eq!(expires_at_ms().await, before + 86_400_000);
}

#[tokio::test]
async fn expired_sessions_are_removed_and_no_others() {
    let store = store().await;
    let mine = account(1);
    store.begin_session(beginning(1, 1.try_into().unwrap()), Duration::from_millis(10), None).await.unwrap();
    store.begin_session(beginning(2, 2.try_into().unwrap()), DAY, None).await.unwrap();
    assert_eq!(store.remove_expired(5, 100).await.unwrap(), 0);
    assert_eq!(store.remove_expired(11, 100).await.unwrap(), 1);
    assert_eq!(store.sessions(mine).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_contract_wallet_belongs_to_one_chain_and_is_asked_when_it_is_due() {
    let store = store().await;
    store.note_contract_wallet("0xA", 10, 100, 5_000).await.unwrap();
    let other = store.note_contract_wallet("0xA", 1, 100, 0).await;
    assert!(matches!(other, Err(DbError::Refused(ErrorCode::WalletChain))));
    store.note_contract_wallet("0xB", 1, 7, 1_000).await.unwrap();
    assert!(store.due_contract_wallets(999, 10).await.unwrap().is_empty());
    let due = store.due_contract_wallets(6_000, 10).await.unwrap();
    assert_eq!(due.iter().map(|row| row.wallet()).collect::<Vec<_>>(), ["0xB", "0xA"], "who waits longest comes first");
    // an older block does not count, and sooner is sooner
    store.note_contract_wallet("0xA", 10, 90, 2_000).await.unwrap();
    let row = store.contract_wallet("0xA").await.unwrap().unwrap();
    assert_eq!((row.chain_id, row.block, row.due_at_ms), (10, 100, 2_000));
    // what was wanted meanwhile is not forgotten
    store.contract_wallet_asked(&due[1], 9_000).await.unwrap();
    assert_eq!(store.contract_wallet("0xA").await.unwrap().unwrap().due_at_ms, 2_000);
    store.contract_wallet_asked(&row, 9_000).await.unwrap();
    assert_eq!(store.due_contract_wallets(6_000, 10).await.unwrap().len(), 1);
    store.forget_contract_wallet(&row).await.unwrap();
    assert_eq!(store.contract_wallet("0xA").await.unwrap(), None);
}

#[tokio::test]
async fn wallets_go_only_from_what_was_seen() {
    let store = store().await;
    let mine = account(1);
    store.account_of_wallet_or_new("0xA", mine, None, 0, event()).await.unwrap();
    let before = store.wallets(mine).await.unwrap().unwrap();
    link_wallet(&store, mine, "0xB", 5).await.unwrap();
    store.note_contract_wallet("0xB", 1, 7, 1_000).await.unwrap();
    let seen = store.wallets(mine).await.unwrap().unwrap();
    let gone = ["0xB".to_owned()];
    // another link between the same wallets is a change too
    link_wallet(&store, mine, "0xB", 5).await.unwrap();
    let changed = store.unlink(mine, seen.clone(), before.clone(), &gone, vec![event()]).await;
    assert!(matches!(changed, Err(DbError::Refused(ErrorCode::Unavailable))));
    let seen = store.wallets(mine).await.unwrap().unwrap();
    store.unlink(mine, seen, before.clone(), &gone, vec![event()]).await.unwrap();
    assert_eq!(store.wallets(mine).await.unwrap(), Some(before));
    assert_eq!(store.account_of_wallet("0xB").await.unwrap(), None);
    assert_eq!(store.contract_wallet("0xB").await.unwrap(), None, "with what was known of it as a contract");
}

#[tokio::test]
async fn the_wallets_of_many_accounts_are_read_at_once() {
    let store = store().await;
    for (wallet, number) in [("0xA", 1), ("0xB", 2), ("0xC", 3)] {
        store.account_of_wallet_or_new(wallet, account(number), None, 0, event()).await.unwrap();
    }
    link_wallet(&store, account(1), "0xD", 10).await.unwrap();
    let mut found = store.root_wallets(&[account(4), account(2), account(1)]).await.unwrap();
    found.sort_by_key(|found| found.account);
    let known_by = |number, wallet: &str| RootWallet { account: account(number), wallet: wallet.into() };
    assert_eq!(found, [known_by(1, "0xA"), known_by(2, "0xB")]);
    assert_eq!(store.root_wallets(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn an_invite_is_used_up_by_the_accounts_that_it_lets_in_and_by_nothing_else() {
    let store = &store().await;
    let code = Code::read("abcde-fghjk-mnpqr-stuvw").unwrap();
    let hashes = || vec![code.hash()];
    let sign_up = async |wallet: &str, number: u128, now_ms: i64| match store
        .account_of_wallet_or_new(wallet, account(number), Some(&code), now_ms, event())
        .await
    {
        Err(DbError::Refused(code)) => Err(code),
        made => Ok(made.unwrap()),
    };
    let invalid = Err(ErrorCode::InviteInvalid);
    assert_eq!(sign_up("0xA", 1, 0).await, invalid);
    assert!(store.add_invites(hashes(), 3, 0, 100, 1).await.unwrap());
    assert_eq!(sign_up("0xA", 1, 100).await, invalid, "it has expired");
    assert_eq!(store.account_of_wallet("0xA").await.unwrap(), None, "a refusal leaves nothing behind");
    // who comes at once, and who comes again
    let wallets = ["0xA", "0xB", "0xC", "0xD", "0xE"];
    let made = join_all(wallets.iter().zip(1..).map(|(wallet, number)| sign_up(wallet, number, 0))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3, "{made:?}");
    for (wallet, made) in wallets.iter().zip(&made) {
        assert_eq!(store.account_of_wallet(wallet).await.unwrap().is_some(), made.is_ok());
        let again = sign_up(wallet, 77, 0).await;
        assert_eq!(&again, made);
    }
    assert!(store.invites("", 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn so_many_invites_are_open_and_those_that_expired_are_removed() {
    let store = store().await;
    let hash = |number: u8| format!("{number:02x}").repeat(32);
    assert!(store.add_invites(vec![hash(1), hash(2)], 1, 0, 100, 3).await.unwrap());
    assert!(!store.add_invites(vec![hash(3), hash(4)], 1, 0, 200, 3).await.unwrap(), "all or none");
    assert!(store.add_invites(vec![hash(3)], 1, 0, 200, 3).await.unwrap());
    let ids = async |after: &str, now_ms: i64, limit: i64| -> Vec<String> {
        store.invites(after, now_ms, limit).await.unwrap().into_iter().map(|invite| invite.id).collect()
    };
    let all = ids("", 0, 10).await;
    assert_eq!(all, [1, 2, 3].map(|number| hash(number)[..16].to_owned()));
    assert_eq!(ids("", 0, 2).await, all[..2]);
    assert_eq!(ids(&all[1], 0, 2).await, all[2..]);
    assert_eq!(ids("", 100, 10).await, all[2..], "what has expired is not shown");
    assert_eq!(store.remove_expired_invites(99, 10).await.unwrap(), 0);
    assert_eq!(store.remove_expired_invites(100, 10).await.unwrap(), 2);
    assert!(!store.drop_invite("03").await.unwrap(), "no short name drops many");
    assert!(store.drop_invite(&all[2]).await.unwrap());
    assert!(!store.drop_invite(&all[2]).await.unwrap());
}
