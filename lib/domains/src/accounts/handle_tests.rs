//! The rules that rows of profiles and handles keep.

use std::collections::HashMap;

use futures_util::future::join_all;
use nepto_kit::db::DbError;
use nepto_kit::domain::Domain;
use nepto_proto::AccountId;

use super::handles::{CHANGES_MAX, CHANGES_WINDOW, RESTS_FOR, skeleton};
use super::store::{Change, NewHandle, Profile, SCHEMA, Store};
use crate::testing::{account, database, no_redis};

const DAY_MS: i64 = 86_400_000;

async fn store() -> Store {
    Store::new(database(super::domain()).await, no_redis())
}

/// Takes a handle, or gives the one up that there is; what the database refuses it for.
async fn take(store: &Store, who: AccountId, handle: &str, now_ms: i64) -> Result<(), String> {
    let new = (!handle.is_empty()).then(|| NewHandle { handle: handle.into(), skeleton: skeleton(handle) });
    let change = Change { handle: Some(new), display_name: None };
    match store.change_profile(who, change, now_ms).await {
        Ok(()) => Ok(()),
        Err(DbError::Refused(code)) => Err(code.as_str().to_owned()),
        Err(error) => panic!("{error}"),
    }
}

fn refused(code: &str) -> Result<(), String> {
    Err(code.to_owned())
}

#[tokio::test]
async fn a_handle_and_what_looks_like_it_belong_to_one_account() {
    let store = store().await;
    let (alice, other) = (account(1), account(2));
    take(&store, alice, "alice", 0).await.unwrap();
    for alike in ["alice", "a1ice", "al1ce", "alice_", "alice__"] {
        assert_eq!(take(&store, other, alike, 0).await, refused("handle_taken"), "{alike}");
    }
    assert_eq!(store.account_of_handle("a1ice").await.unwrap(), None, "alike is not the same");
    take(&store, other, "alicia", 0).await.unwrap();
    // whatever the database takes a text for
    take(&store, account(3), "false", 0).await.unwrap();
    assert_eq!(take(&store, other, "false", 0).await, refused("handle_taken"));
    take(&store, account(3), "", 0).await.unwrap();
    assert_eq!(store.account_of_handle("false").await.unwrap(), None);
    // to one's own look-alike
    take(&store, alice, "a1ice", 0).await.unwrap();
    assert_eq!(take(&store, other, "alice", 0).await, refused("handle_taken"));
    assert_eq!(store.account_of_handle("alice").await.unwrap(), None);
    assert_eq!(store.account_of_handle("a1ice").await.unwrap(), Some(alice));
}

#[tokio::test]
async fn what_was_given_up_rests_and_its_last_holder_may_take_it_back() {
    let store = store().await;
    let (bob, mallory) = (account(1), account(2));
    let rest = RESTS_FOR.as_millis() as i64;
    take(&store, bob, "bob", 0).await.unwrap();
    take(&store, bob, "", 10).await.unwrap();
    assert_eq!(store.account_of_handle("bob").await.unwrap(), None);
    for alike in ["bob", "b0b"] {
        assert_eq!(take(&store, mallory, alike, 10 + rest - 1).await, refused("handle_resting"));
    }
    take(&store, bob, "bob", 20).await.unwrap();
    assert_eq!(store.account_of_handle("bob").await.unwrap(), Some(bob));
    // by moving on to another one
    take(&store, bob, "robert", 30).await.unwrap();
    assert_eq!(take(&store, mallory, "bob", 40).await, refused("handle_resting"));
    assert_eq!(store.forget_rested(30 + rest, 10).await.unwrap(), 0);
    take(&store, mallory, "bob", 30 + rest).await.unwrap();
    assert_eq!(take(&store, bob, "bob", 30 + rest).await, refused("handle_taken"));
    assert_eq!(store.forget_rested(2 * rest, 10).await.unwrap(), 0, "one that is in use is no one's to forget");
    assert_eq!(take(&store, account(3), "b0b", 2 * rest).await, refused("handle_taken"));
}

#[tokio::test]
async fn handles_that_have_rested_are_forgotten_and_an_operator_can_release_one() {
    let store = store().await;
    let rest = RESTS_FOR.as_millis() as i64;
    take(&store, account(1), "bob", 0).await.unwrap();
    assert_eq!(store.release_handle(&skeleton("bob")).await.unwrap(), None, "it is in use");
    take(&store, account(1), "", 0).await.unwrap();
    take(&store, account(2), "carol", 0).await.unwrap();
    take(&store, account(2), "", 5).await.unwrap();
    assert_eq!(store.release_handle(&skeleton("b0b")).await.unwrap().as_deref(), Some("bob"));
    take(&store, account(3), "bob", 1).await.unwrap();
    assert_eq!(store.forget_rested(rest + 5, 10).await.unwrap(), 0);
    assert_eq!(store.forget_rested(rest + 6, 10).await.unwrap(), 1);
}

#[tokio::test]
async fn of_all_who_take_what_looks_alike_at_once_one_does() {
    let store = store().await;
    let alike = ["alice", "a1ice", "al1ce", "alice_", "a11ce", "alice"];
    let store = &store;
    let taken = join_all(alike.iter().zip(1..).map(|(handle, who)| take(store, account(who), handle, 0))).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1, "{taken:?}");
    assert!(taken.iter().filter(|taken| taken.is_err()).all(|taken| *taken == refused("handle_taken")), "{taken:?}");
}

#[tokio::test]
async fn an_account_takes_so_many_handles_within_a_month() {
    let store = store().await;
    for number in 0..CHANGES_MAX {
        take(&store, account(1), &format!("name_{number}"), number * DAY_MS).await.unwrap();
    }
    let now = CHANGES_MAX * DAY_MS;
    assert_eq!(take(&store, account(1), "one_more", now).await, refused("handle_limit"));
    take(&store, account(1), "name_4", now).await.unwrap();
    take(&store, account(1), "", now).await.unwrap();
    // its own, which rests; there is time for that
    assert_eq!(take(&store, account(1), "name_0", now).await, refused("handle_limit"));
    take(&store, account(1), "name_0", CHANGES_WINDOW.as_millis() as i64).await.unwrap();
}

#[tokio::test]
async fn a_name_and_a_handle_change_together_or_not_at_all() {
    let store = store().await;
    take(&store, account(1), "alice", 0).await.unwrap();
    let name = |name: &str| Some(Some(name.to_owned()));
    let named = Change { display_name: name("A"), handle: None };
    store.change_profile(account(2), named, 0).await.unwrap();
    let both = Change {
        display_name: name("B"),
        handle: Some(Some(NewHandle { handle: "a1ice".into(), skeleton: skeleton("a1ice") })),
    };
    store.change_profile(account(2), both, 0).await.unwrap_err();
    let wanted = Profile { handle: None, display_name: Some("A".into()) };
    assert_eq!(store.profile(account(2)).await.unwrap(), wanted);
    take(&store, account(2), "bob", 0).await.unwrap();
    let wanted = Profile { handle: Some("bob".into()), ..wanted };
    assert_eq!(store.profile(account(2)).await.unwrap(), wanted, "the name stays");
    assert_eq!(store.profile(account(3)).await.unwrap(), Profile::default());
}

#[tokio::test]
async fn many_profiles_are_read_at_once_and_each_is_its_own() {
    let store = store().await;
    take(&store, account(1), "alice", 0).await.unwrap();
    let named = Change { display_name: Some(Some("B".into())), handle: None };
    store.change_profile(account(2), named, 0).await.unwrap();
    take(&store, account(4), "dora", 0).await.unwrap();
    let wanted = [account(3), account(2), account(1)];
    let profiles = store.profiles(&wanted).await.unwrap();
    let alice = Profile { handle: Some("alice".into()), display_name: None };
    let bob = Profile { handle: None, display_name: Some("B".into()) };
    assert_eq!(profiles, HashMap::from([(account(1), alice), (account(2), bob)]));
}

#[tokio::test]
async fn handles_from_before_have_guards_by_what_they_look_like_now() {
    let before = Domain { schema: &SCHEMA[..2], ..super::domain() };
    let db = database(before).await;
    let store = Store::new(db.clone(), no_redis());
    let took = async |who: u128, handle: Option<&str>| {
        let new = handle.map(|handle| NewHandle { handle: handle.into(), skeleton: handle.into() });
        let change = Change { handle: Some(new), display_name: None };
        store.change_profile(account(who), change, 0).await.unwrap();
    };
    // one in use, and one that looked different and rests; one that rests
    took(1, Some("done")).await;
    took(2, Some("clone")).await;
    took(2, None).await;
    took(3, Some("dora")).await;
    took(3, None).await;
    db.migrate(SCHEMA).await.unwrap();
    for alike in ["done", "clone", "cl0ne"] {
        assert_eq!(take(&store, account(4), alike, 0).await, refused("handle_taken"), "{alike}");
    }
    for alike in ["dora", "clora"] {
        assert_eq!(take(&store, account(4), alike, 0).await, refused("handle_resting"), "{alike}");
    }
    assert_eq!(store.account_of_handle("done").await.unwrap(), Some(account(1)));
    take(&store, account(3), "dora", 0).await.unwrap();
    take(&store, account(1), "", 0).await.unwrap();
    assert_eq!(take(&store, account(4), "clone", 0).await, refused("handle_resting"));
    take(&store, account(1), "clone", 0).await.unwrap();
}

#[tokio::test]
async fn the_database_sees_what_we_see() {
    let store = store().await;
    for handle in ["alice", "a1ice_", "the__mallow_0123456789", "rn_vv_", "daddy_cl", "a___b__", "wim", "i1l"] {
        assert_eq!(store.skeleton(handle).await.unwrap(), skeleton(handle), "{handle}");
    }
}
