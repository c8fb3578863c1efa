//! The rules that rows of contacts keep.

use nepto_kit::db::{Db, DbError, vars};
use nepto_proto::api::accounts::Consent;
use nepto_proto::svc::accounts::Verdict;

use super::store::{Known, Store};
use crate::testing::{account, database, no_redis};

async fn store() -> Store {
    Store::new(database(super::domain()).await, no_redis())
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
    let known = store.meet(alice, bob, 1).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Requested, Verdict::Accepted));
    assert!(!known.standing_back().settled, "the first answer must be noted, so that it counts as accepting");
    let known = store.meet(bob, alice, 2).await.unwrap();
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
    let known = store.meet(alice, bob, 2).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::Accepted, Verdict::Accepted));
    assert!(known.standing().settled && known.standing_back().settled);
}

#[tokio::test]
async fn a_block_is_not_lifted_by_writing() {
    let store = store().await;
    let (alice, bob) = (account(1), account(2));
    store.meet(alice, bob, 1).await.unwrap();
    let known = store.decide(bob, alice, Consent::Blocked, 2).await.unwrap();
    assert_eq!(verdicts(&known), (Verdict::YouBlocked, Verdict::Blocked));
    assert_eq!(verdicts(&store.meet(alice, bob, 3).await.unwrap()).0, Verdict::Blocked);
    assert_eq!(verdicts(&store.meet(bob, alice, 4).await.unwrap()).0, Verdict::YouBlocked);
    assert_eq!(store.who_accepts(alice, &[bob]).await.unwrap(), []);
    store.decide(bob, alice, Consent::Accepted, 5).await.unwrap();
    assert_eq!(verdicts(&store.meet(alice, bob, 6).await.unwrap()).0, Verdict::Accepted);
}

#[tokio::test]
async fn contacts_are_paged() {
    let store = store().await;
    for other in 2..7 {
        store.meet(account(other), account(1), 1).await.unwrap();
    }
    store.meet(account(2), account(9), 1).await.unwrap();
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
    let first = store.meet(alice, bob, 1).await.unwrap();
    let again = store.meet(alice, bob, 2).await.unwrap();
    assert_eq!(again.revision(), first.revision());
    let answer = store.meet(bob, alice, 3).await.unwrap();
    assert!(answer.revision() > first.revision(), "answering accepts");
    let block = store.decide(bob, alice, Consent::Blocked, 4).await.unwrap();
    assert!(block.revision() > answer.revision());
    assert_eq!(store.meet(alice, bob, 5).await.unwrap().revision(), block.revision());
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
