//! The rules that rows of contacts keep.

use std::collections::HashMap;

use nepto_kit::db::{Db, DbError, vars};
use nepto_kit::domain::Domain;
use nepto_proto::AccountId;
use nepto_proto::api::accounts::Consent;
use nepto_proto::svc::accounts::Verdict;

use super::model::{OPEN_REQUEST_FOR, OPEN_REQUESTS_MAX, waits_since};
use super::store::{Known, SCHEMA, Store};
use crate::testing::{account, database, no_redis};

async fn store() -> Store {
    Store::new(database(super::domain()).await, no_redis())
}

/// By a clock that is right.
async fn meet(store: &Store, from: AccountId, to: AccountId, now_ms: i64) -> Result<Known, DbError> {
    store.meet(from, to, now_ms, waits_since(now_ms)).await
}

/// Whether one may write to the other, and the other to one.
fn verdicts(known: &Known) -> (Verdict, Verdict) {
    (known.standing().verdict, known.standing_back().verdict)
}

#[tokio::test]
async fn writing_means_accepting_answers_and_nothing_for_the_other() {
    let store = store().await;
    let (alice, bob) = (account(1), account(2));
    assert!(store.known(alice, bob).await.unwrap().is_new());
    let known = meet(&store, alice, bob, 1).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Requested, Verdict::Accepted));
    assert!(!known.standing_back().settled, "the first answer must be noted, so that it counts as accepting");
    let known = meet(&store, bob, alice, 2).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Accepted, Verdict::Accepted));
    assert_eq!(store.who_accepts(alice, &[bob, account(3)]).await.unwrap(), [bob]);
}

#[tokio::test]
async fn who_was_accepted_and_writes_accepts_answers_as_well() {
    let store = store().await;
    let (alice, bob) = (account(1), account(2));
    let known = store.decide(bob, alice, Consent::Accepted, 1).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Requested, Verdict::Accepted));
    assert!(!known.standing_back().settled && !known.standing().settled, "what either writes is still to be noted");
    let known = meet(&store, alice, bob, 2).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Accepted, Verdict::Accepted));
    assert!(known.standing().settled && known.standing_back().settled);
}

#[tokio::test]
async fn a_block_is_not_lifted_by_writing() {
    let store = store().await;
    let (alice, bob) = (account(1), account(2));
    meet(&store, alice, bob, 1).await.unwrap();
    let known = store.decide(bob, alice, Consent::Blocked, 2).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::YouBlocked, Verdict::Blocked));
    assert_eq!(verdicts(&meet(&store, alice, bob, 3).await.unwrap()).0, Verdict::Blocked);
    assert_eq!(verdicts(&meet(&store, bob, alice, 4).await.unwrap()).0, Verdict::YouBlocked);
    assert_eq!(store.who_accepts(alice, &[bob]).await.unwrap(), []);
    store.decide(bob, alice, Consent::Accepted, 5).await.unwrap();
    assert_eq!(verdicts(&meet(&store, alice, bob, 6).await.unwrap()).0, Verdict::Accepted);
}

#[tokio::test]
async fn contacts_are_paged() {
    let store = store().await;
    for other in 2..7 {
        meet(&store, account(other), account(1), 1).await.unwrap();
    }
    meet(&store, account(2), account(9), 1).await.unwrap();
    let first = store.contacts(account(1), None, 3).await.unwrap();
    assert_eq!(first.iter().map(|found| found.other).collect::<Vec<_>>(), [account(2), account(3), account(4)]);
    let rest = store.contacts(account(1), Some(account(4)), 3).await.unwrap();
    assert_eq!(rest.iter().map(|found| found.other).collect::<Vec<_>>(), [account(5), account(6)]);
}

#[tokio::test]
async fn every_decision_has_a_larger_revision_and_nothing_else_has() {
    let store = store().await;
    let (alice, bob) = (account(1), account(2));
    assert_eq!(store.known(alice, bob).await.unwrap().revision(), 0);
    let first = meet(&store, alice, bob, 1).await.unwrap();
    let again = meet(&store, alice, bob, 2).await.unwrap();
    assert_eq!(again.revision(), first.revision());
    let answer = meet(&store, bob, alice, 3).await.unwrap();
    assert!(answer.revision() > first.revision(), "answering accepts");
    let block = store.decide(bob, alice, Consent::Blocked, 4).await.unwrap();
    assert!(block.revision() > answer.revision());
    assert_eq!(meet(&store, alice, bob, 5).await.unwrap().revision(), block.revision());
    assert_eq!(
        store.known(bob, alice).await.unwrap().revision(),
        block.revision(),
        "of the pair, whoever is named first"
    );
}

/// What can't be read must fail whoever asks for it: a block that nobody understands is not "they have not met".
#[tokio::test]
async fn a_row_that_cant_be_read_is_an_error_with_its_id() {
    let db = database(super::domain()).await;
    let store = Store::new(db.clone(), no_redis());
    let (alice, bob) = (account(1), account(2));
    for other in 2..6 {
        store.decide(alice, account(other), Consent::Blocked, 1).await.unwrap();
    }
    let spoil = async |db: &Db, statement: &str| {
        db.execute(statement, vars! { alice: alice.to_string(), bob: bob.to_string() }).await.unwrap();
    };
    let named = |error: DbError| match error {
        DbError::Corrupt { row, problem } => (row, problem),
        other => panic!("{other:?}"),
    };
    spoil(&db, "UPDATE type::record('contact', [$alice, $bob]) SET consent = 'bloked'").await;
    let (row, problem) = named(store.contacts(alice, None, 10).await.err().unwrap());
    assert!(row.starts_with("contact:[") && row.contains(&bob.to_string()), "{row}");
    assert!(problem.contains("bloked"), "{problem}");
    assert!(matches!(store.known(bob, alice).await, Err(DbError::Corrupt { .. })));
    spoil(&db, "CREATE type::record('contact', [$alice, 'nobody']) SET consent = 'accepted', since_ms = 1").await;
    spoil(&db, "DELETE type::record('contact', [$alice, $bob])").await;
    let (row, _) = named(store.contacts(alice, None, 10).await.err().unwrap());
    assert!(row.contains("nobody"), "{row}");
}

/// Everybody whom the owner has met.
async fn listed(store: &Store, owner: AccountId) -> HashMap<AccountId, Consent> {
    let contacts = store.contacts(owner, None, 1_000).await.unwrap();
    contacts.into_iter().map(|decision| (decision.other, decision.consent)).collect()
}

/// The n-th account that was made at a time.
fn made_at(at_ms: i64, number: u16) -> AccountId {
    let mut random = [0; 10];
    random[8..].copy_from_slice(&number.to_be_bytes());
    AccountId::new(uuid::Builder::from_unix_timestamp_millis(at_ms.unsigned_abs(), &random).into_uuid())
}

#[tokio::test]
async fn strangers_fill_a_list_up_to_a_bound_and_what_was_decided_stays() {
    let store = store().await;
    let (owner, friend, enemy) = (account(1), account(2), account(3));
    for (other, consent) in [(friend, Consent::Accepted), (enemy, Consent::Blocked)] {
        meet(&store, other, owner, 1).await.unwrap();
        store.decide(owner, other, consent, 2).await.unwrap();
    }
    let stranger = |number: i64| account(100 + u128::from(number.unsigned_abs()));
    for number in 0..OPEN_REQUESTS_MAX + 2 {
        meet(&store, stranger(number), owner, 10 + number).await.unwrap();
    }
    let list = listed(&store, owner).await;
    assert_eq!((list[&friend], list[&enemy]), (Consent::Accepted, Consent::Blocked));
    assert_eq!(list.len() as i64, OPEN_REQUESTS_MAX + 2);
    assert!([0, 1].iter().all(|gone| !list.contains_key(&stranger(*gone))), "the oldest went");
    assert_eq!(list[&stranger(2)], Consent::Requested);
    // whoever is not in the list may still be accepted, and is in it again when they write
    let known = store.decide(owner, stranger(0), Consent::Accepted, 1_000).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Accepted, Verdict::Accepted));
    let known = meet(&store, stranger(1), owner, 1_001).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Requested, Verdict::Accepted));
    // who is answered or decided about waits no more, and takes nobody's place
    meet(&store, owner, stranger(200), 1_002).await.unwrap();
    store.decide(owner, stranger(201), Consent::Blocked, 1_003).await.unwrap();
    for number in [1_000, 1_001] {
        meet(&store, stranger(number), owner, 1_100 + number).await.unwrap();
    }
    let list = listed(&store, owner).await;
    assert!([1, 3, 4, 1_000, 1_001].iter().all(|open| list.get(&stranger(*open)) == Some(&Consent::Requested)));
    assert_eq!((list[&stranger(200)], list[&stranger(201)]), (Consent::Accepted, Consent::Blocked));
}

#[tokio::test]
async fn a_flood_of_young_accounts_leaves_the_requests_of_others_alone() {
    let store = store().await;
    let (owner, now_ms) = (account(1), 1_700_000_000_000);
    let older = made_at(now_ms - 86_400_000, 1);
    meet(&store, older, owner, now_ms).await.unwrap();
    let young = |number: i64| made_at(now_ms, number as u16);
    for number in 0..=OPEN_REQUESTS_MAX {
        meet(&store, young(number), owner, now_ms + 1 + number).await.unwrap();
    }
    let list = listed(&store, owner).await;
    assert_eq!(list.len() as i64, OPEN_REQUESTS_MAX);
    assert!(list.contains_key(&older), "though it is the oldest");
    assert!(!list.contains_key(&young(0)) && !list.contains_key(&young(1)) && list.contains_key(&young(2)));
    assert!(list.contains_key(&young(OPEN_REQUESTS_MAX)), "who is new is never kept out");
}

#[tokio::test]
async fn a_request_waits_for_so_long_also_one_from_before() {
    let before = Domain { schema: &SCHEMA[..3], ..super::domain() };
    let db = database(before).await;
    let owner = account(1);
    for (other, consent) in [(account(2), "requested"), (account(3), "accepted")] {
        let statement = "CREATE type::record('contact', [$owner, $other]) SET consent = $consent, since_ms = 5";
        let variables = vars! { owner: owner.to_string(), other: other.to_string(), consent: consent.to_owned() };
        db.execute(statement, variables).await.unwrap();
    }
    db.migrate(SCHEMA).await.unwrap();
    let store = Store::new(db, no_redis());
    let after_ms = 5 + OPEN_REQUEST_FOR.as_millis() as i64;
    meet(&store, account(4), owner, after_ms).await.unwrap();
    assert_eq!(listed(&store, owner).await[&account(2)], Consent::Requested);
    meet(&store, account(5), owner, after_ms + 1).await.unwrap();
    let list = listed(&store, owner).await;
    assert!(!list.contains_key(&account(2)));
    assert_eq!(list[&account(3)], Consent::Accepted);
    assert_eq!(list[&account(4)], Consent::Requested);
}

#[tokio::test]
async fn a_list_from_before_there_was_a_bound_is_worked_off_a_part_at_a_time() {
    let before = Domain { schema: &SCHEMA[..3], ..super::domain() };
    let db = database(before).await;
    let owner = account(1);
    let statement = "FOR $other IN $others { CREATE type::record('contact', [$owner, $other]) SET consent = 'requested', since_ms = 5 }";
    let others: Vec<String> = (100..100 + 5 * OPEN_REQUESTS_MAX as u128).map(|n| account(n).to_string()).collect();
    db.execute(statement, vars! { owner: owner.to_string(), others: others }).await.unwrap();
    db.migrate(SCHEMA).await.unwrap();
    let store = Store::new(db, no_redis());
    let mut lengths = Vec::new();
    for number in 2..8 {
        meet(&store, account(number), owner, 10).await.unwrap();
        lengths.push(listed(&store, owner).await.len() as i64 / OPEN_REQUESTS_MAX);
    }
    assert_eq!(lengths, [4, 3, 2, 1, 1, 1]);
}
