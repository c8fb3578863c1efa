//! The one-time prekeys of devices: how they are handed out, to whom, and how there are new ones.

use nepto_proto::ErrorCode;
use nepto_proto::api::keys::CheckKeys;
use nepto_proto::limits::ONE_TIME_PREKEYS_LOW;
use nepto_testkit::{Stack, eventually, seconds};

use crate::people::{Person, early_in_window};

#[tokio::test]
async fn one_time_prekeys_are_handed_out_once_whoever_asks_at_once() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let target = Person::join(&stack).await.unwrap();
    eventually(seconds(20), async || {
        let count = target.client.http().key_count().await?;
        Ok(count.ec == 100 && count.kyber == 100)
    })
    .await
    .unwrap();
    target.client.disconnect();
    let asker = Person::join(&stack).await.unwrap();
    let fetch = || async {
        let bundles = asker.client.http().bundles(target.account(), &[]).await.unwrap().bundles;
        (bundles[0].ec_prekey.as_ref().map(|key| key.id), bundles[0].kyber_prekey.as_ref().unwrap().id)
    };
    let fetched = futures_util::future::join_all((0..40).map(|_| fetch())).await;
    let ec: std::collections::BTreeSet<_> = fetched.iter().map(|(ec, _)| ec.unwrap()).collect();
    let kyber: std::collections::BTreeSet<_> = fetched.iter().map(|(_, kyber)| *kyber).collect();
    assert_eq!((ec.len(), kyber.len()), (40, 40), "a key was handed out twice");
    let count = target.client.http().key_count().await.unwrap();
    assert_eq!((count.ec, count.kyber), (60, 60));
}

#[tokio::test]
async fn a_pool_that_runs_low_is_filled_up_by_its_device() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (target, asker) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    let count = async || Ok(target.client.http().key_count().await?);
    let full = async || count().await.map(|count| count.ec == 100 && count.kyber == 100);
    eventually(seconds(20), full).await.unwrap();
    for _ in 0..85 {
        asker.client.http().bundles(target.account(), &[]).await.unwrap();
    }
    // the server says so on the socket, and the client uploads more, whatever was taken meanwhile
    let more = async || {
        count().await.map(|count| {
            let low = ONE_TIME_PREKEYS_LOW as u32;
            count.next.ec > 101 && count.next.kyber > 102 && count.ec >= low && count.kyber >= low
        })
    };
    eventually(seconds(20), more).await.unwrap();
}

#[tokio::test]
async fn a_client_can_tell_whether_the_server_has_its_keys() {
    let stack = Stack::all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    let short = CheckKeys { digest: vec![7; 31].into() };
    let refused = person.client.http().check_keys(&short).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Malformed), "a digest of another length is none");
    let wrong = CheckKeys { digest: vec![7; 32].into() };
    assert!(!person.client.http().check_keys(&wrong).await.unwrap().matches);
}

#[tokio::test]
async fn strangers_get_half_of_a_pool_and_each_of_them_a_few() {
    let stack = Stack::builder()
        .unlimited()
        .set("limits.bundles_per_pair_per_10_minutes", 8)
        .set("limits.one_time_prekeys_per_stranger_per_day", 5)
        .set("limits.one_time_prekeys_per_contact_per_day", 7)
        .all()
        .await
        .unwrap();
    let target = Person::join(&stack).await.unwrap();
    eventually(seconds(20), async || Ok(target.client.http().key_count().await?.kyber == 100)).await.unwrap();
    // it makes no new ones, so that what is left is what was not taken
    target.client.close().await;
    early_in_window(seconds(600)).await;
    let take = async |asker: &Person| match asker.client.http().bundles(target.account(), &[]).await {
        Ok(bundles) => Ok(bundles.bundles[0].ec_prekey.is_some()),
        Err(error) => Err(error.code()),
    };
    let mut taken = 0;
    for n in 0..12 {
        let asker = Person::join(&stack).await.unwrap();
        let mut share = 0;
        for _ in 0..8 {
            share += usize::from(take(&asker).await.unwrap());
        }
        assert_eq!(share, if n < 10 { 5 } else { 0 }, "stranger {n}");
        assert_eq!(take(&asker).await, Err(Some(ErrorCode::RateLimited)));
        taken += share;
    }
    assert_eq!(taken, 50);
    let friend = Person::join(&stack).await.unwrap();
    target.client.accept(friend.account()).await.unwrap();
    let mut share = 0;
    for _ in 0..8 {
        share += usize::from(take(&friend).await.unwrap());
    }
    assert_eq!(share, 7, "who was accepted draws from the rest");
    let stock = target.client.http().key_count().await.unwrap();
    assert_eq!((stock.ec, stock.kyber), (43, 43));
}
