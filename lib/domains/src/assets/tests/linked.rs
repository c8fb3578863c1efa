//! Which wallets belong to accounts, whatever comes late.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::person;
use crate::assets::store::Store;
use crate::testing::{account, database};

async fn owners(store: &Store) -> HashMap<alloy_primitives::Address, nepto_proto::AccountId> {
    let linked = store.linked_after(None).await.unwrap();
    linked.into_iter().filter_map(|linked| Some((linked.wallet, linked.account?))).collect()
}

#[tokio::test]
async fn a_late_link_does_not_bring_back_a_wallet_that_left() {
    let store = Store::new(&database(super::super::domain()).await);
    store.link(&person(1), account(1), 1).await.unwrap();
    store.unlink(&person(1), account(1), 2).await.unwrap();
    // it is tried again, after what came later
    store.link(&person(1), account(1), 1).await.unwrap();
    assert_eq!(owners(&store).await, HashMap::new());
    // and one that came before anything was known of the wallet
    store.unlink(&person(2), account(1), 2).await.unwrap();
    store.link(&person(2), account(1), 1).await.unwrap();
    assert_eq!(owners(&store).await, HashMap::new());
    // a late unlink does not take it from whom it belongs to now
    store.link(&person(1), account(2), 3).await.unwrap();
    store.unlink(&person(1), account(1), 2).await.unwrap();
    assert_eq!(owners(&store).await, HashMap::from([(person(1), account(2))]));
}

#[tokio::test]
async fn events_from_before_there_were_versions_count_until_there_is_one() {
    let store = Store::new(&database(super::super::domain()).await);
    store.link(&person(1), account(1), 0).await.unwrap();
    store.unlink(&person(1), account(2), 0).await.unwrap();
    assert_eq!(owners(&store).await, HashMap::from([(person(1), account(1))]));
    store.unlink(&person(1), account(1), 0).await.unwrap();
    assert_eq!(owners(&store).await, HashMap::new());
    store.link(&person(1), account(2), 1).await.unwrap();
    store.unlink(&person(1), account(2), 0).await.unwrap();
    assert_eq!(owners(&store).await, HashMap::from([(person(1), account(2))]));
}

/// In whichever order a wallet's events come, and however often, the newest of them is what holds.
#[test]
fn the_newest_event_holds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // odd versions link the wallet to another account each time, even ones unlink it
    let arrivals = (1_u64..8).prop_flat_map(|newest| {
        prop::collection::vec(1..=newest, 0..12).prop_map(move |mut arrivals| {
            arrivals.push(newest);
            arrivals
        })
    });
    let shuffled = arrivals.prop_flat_map(|arrivals| Just(arrivals).prop_shuffle());
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let law = |arrivals: Vec<u64>| {
        runtime.block_on(async {
            let store = Store::new(&database(super::super::domain()).await);
            let of = |version: u64| account(u128::from(version.div_ceil(2)));
            for version in &arrivals {
                match version % 2 {
                    1 => store.link(&person(1), of(*version), *version).await.unwrap(),
                    _ => store.unlink(&person(1), of(*version), *version).await.unwrap(),
                }
            }
            let newest = *arrivals.iter().max().unwrap();
            let expected: HashMap<_, _> = (newest % 2 == 1).then(|| (person(1), of(newest))).into_iter().collect();
            prop_assert_eq!(owners(&store).await, expected);
            Ok(())
        })
    };
    runner.run(&shuffled, law).unwrap();
}
