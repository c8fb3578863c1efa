//! The rules that rows keep.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use nepto_kit::clock::{Clock, Random};
use nepto_kit::db::DbError;
use nepto_kit::outbox::Row;
use nepto_proto::api::keys::{DeviceSetup, EcPrekey, SignedPrekey, UploadKeys};
use nepto_proto::certificate::SignedMessage;
use nepto_proto::event::DeviceRemoved;
use nepto_proto::{AccountId, DeviceId};

use super::RegisterDevice;
use super::store::{DeviceRow, Store};
use crate::testing::{account, database, no_redis};

async fn store() -> Store {
    Store::new(database(super::domain()).await, no_redis())
}

fn signed(id: u32) -> SignedPrekey {
    SignedPrekey { id, public_key: vec![id as u8; 33].into(), signature: vec![2; 64].into() }
}

fn row(mine: AccountId, identity: u8, registration: u32) -> DeviceRow {
    let request = RegisterDevice {
        account: mine,
        wallet: "0xA".into(),
        registration_id: registration.try_into().unwrap(),
        identity_key: vec![identity; 33].into(),
        certificate: SignedMessage { message: "m".into(), signature: "0x".into() },
        setup: DeviceSetup { name: "phone".into(), signed_prekey: signed(1), last_resort: signed(2) },
    };
    DeviceRow::new(&request, 5)
}

fn upload(ids: std::ops::Range<u32>) -> UploadKeys {
    UploadKeys {
        ec: ids.clone().map(|id| EcPrekey { id, public_key: vec![5; 33].into() }).collect(),
        kyber: ids.map(signed).collect(),
        ..UploadKeys::default()
    }
}

fn device(number: u32) -> DeviceId {
    number.try_into().unwrap()
}

fn event() -> Row {
    let removed = DeviceRemoved { account: account(1), device: device(1) };
    Row::new(&removed, &Clock::default(), &Random::default())
}

#[tokio::test]
async fn a_device_keeps_its_number_and_numbers_are_not_reused_at_once() {
    let store = store().await;
    let mine = account(1);
    assert_eq!(store.register(mine, row(mine, 1, 100), 3).await.unwrap(), 1);
    assert_eq!(store.register(mine, row(mine, 2, 200), 3).await.unwrap(), 2);
    assert_eq!(store.register(mine, row(mine, 1, 101), 3).await.unwrap(), 1, "the same identity is the same device");
    let list = store.list(mine).await.unwrap();
    assert_eq!(list.revision, 3);
    assert_eq!(list.encode(), "3|1:101,2:200");
    assert_eq!(store.register(mine, row(mine, 3, 300), 3).await.unwrap(), 3);
    assert!(
        matches!(store.register(mine, row(mine, 4, 400), 3).await, Err(DbError::Thrown(code)) if code == "device_limit")
    );
    store.remove(mine, device(2), None, 7, event()).await.unwrap();
    assert_eq!(store.register(mine, row(mine, 4, 400), 3).await.unwrap(), 4);
    assert!(
        matches!(store.remove(mine, device(2), None, 7, event()).await, Err(DbError::Thrown(code)) if code == "device_unknown")
    );
    assert_eq!(store.devices(mine).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_removed_device_is_remembered_until_its_number_or_its_time_is_over() {
    let store = store().await;
    let mine = account(1);
    let removed = async || -> Vec<(u32, i64)> {
        let rows = store.removed(mine, 20).await.unwrap();
        let rows = rows.iter().map(|row| row.to_public().unwrap());
        rows.map(|row| (row.device.device.into(), (row.removed_at.unix_timestamp_nanos() / 1_000_000) as i64)).collect()
    };
    for n in 1..=3 {
        store.register(mine, row(mine, n, 100 * u32::from(n)), 3).await.unwrap();
    }
    store.remove(mine, device(1), None, 7, event()).await.unwrap();
    store.remove(mine, device(3), None, 9, event()).await.unwrap();
    store.remove(mine, device(2), None, 8, event()).await.unwrap();
    assert_eq!(removed().await, [(3, 9), (2, 8), (1, 7)], "the latest first");
    assert_eq!(store.removed(account(2), 20).await.unwrap().len(), 0);
    assert_eq!(store.removed(mine, 1).await.unwrap()[0].to_public().unwrap().device.identity_key.0, [3; 33]);
    // its number is another's now: once round, and it comes to 1 again
    for n in 4..=128 {
        let device_number = u32::try_from(store.register(mine, row(mine, n, 400), 3).await.unwrap()).unwrap();
        if device_number == 1 {
            break;
        }
        store.remove(mine, device(device_number), None, 6, event()).await.unwrap();
    }
    assert_eq!(store.devices(mine).await.unwrap()[0].number(), Some(device(1)));
    assert!(!removed().await.iter().any(|(number, _)| *number == 1));
    assert_eq!(store.forget_removed(9, 1_000).await.unwrap(), 125);
    assert_eq!(removed().await, [(3, 9)]);
}

#[tokio::test]
async fn a_device_is_removed_for_its_certificate_only_while_it_has_that() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 3).await.unwrap();
    let certificate = store.devices(mine).await.unwrap()[0].to_public().unwrap().certificate;
    let other = SignedMessage { signature: "0xother".into(), ..certificate.clone() };
    let refused = store.remove(mine, device(1), Some(other), 7, event()).await;
    assert!(matches!(refused, Err(DbError::Thrown(code)) if code == "device_unknown"));
    store.remove(mine, device(1), Some(certificate), 7, event()).await.unwrap();
    assert!(store.devices(mine).await.unwrap().is_empty());
}

#[tokio::test]
async fn devices_that_come_at_once_get_different_numbers() {
    let store = store().await;
    let mine = account(1);
    let numbers = join_all((1..=8).map(|n| store.register(mine, row(mine, n, 100 + u32::from(n)), 10))).await;
    let numbers: BTreeSet<i64> = numbers.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, (1..=8).collect());
}

#[tokio::test]
async fn a_one_time_key_is_taken_once_and_then_the_last_resort_serves() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    let count = store.upload(mine, device(1), &upload(10..30), 100).await.unwrap();
    assert_eq!((count.ec, count.kyber), (20, 20));
    let taken = join_all((0..25).map(|_| store.take_bundle(mine, device(1)))).await;
    let bundles: Vec<_> = taken.into_iter().map(|taken| taken.unwrap().unwrap().bundle).collect();
    let ec: BTreeSet<u32> = bundles.iter().filter_map(|bundle| bundle.ec_prekey.as_ref().map(|key| key.id)).collect();
    assert_eq!(ec, (10..30).collect());
    let last_resort = bundles.iter().filter(|bundle| bundle.kyber_prekey == signed(2)).count();
    assert_eq!(last_resort, 5);
    assert!(store.take_bundle(mine, device(9)).await.unwrap().is_none());
    let row = store.device(mine, device(1)).await.unwrap().unwrap();
    assert_eq!((row.ec_left, row.kyber_left), (0, 0));
}

#[tokio::test]
async fn uploads_are_all_or_nothing() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    store.upload(mine, device(1), &upload(1..11), 20).await.unwrap();
    assert!(matches!(store.upload(mine, device(1), &upload(5..12), 100).await, Err(DbError::Exists)));
    assert!(
        matches!(store.upload(mine, device(1), &upload(50..61), 20).await, Err(DbError::Thrown(code)) if code == "key_limit")
    );
    assert!(
        matches!(store.upload(mine, device(2), &upload(1..2), 20).await, Err(DbError::Thrown(code)) if code == "device_unknown")
    );
    let row = store.device(mine, device(1)).await.unwrap().unwrap();
    assert_eq!((row.ec_left, row.kyber_left), (10, 10));
    let rotated = UploadKeys { signed_prekey: Some(signed(9)), ..UploadKeys::default() };
    store.upload(mine, device(1), &rotated, 20).await.unwrap();
    let (signed_prekey, last_resort) = store.device(mine, device(1)).await.unwrap().unwrap().repeated_use();
    assert_eq!((signed_prekey, last_resort), (signed(9), signed(2)));
}

#[tokio::test]
async fn silent_devices_and_empty_pools_are_found() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    store.register(mine, row(mine, 2, 200), 10).await.unwrap();
    store.seen(mine, device(2), 1_000).await.unwrap();
    let idle = store.idle_since(500, 10).await.unwrap();
    assert_eq!(idle.iter().map(|row| row.device).collect::<Vec<_>>(), [1]);
    store.upload(mine, device(1), &upload(1..31), 100).await.unwrap();
    let low = store.low_on_prekeys(20, 10).await.unwrap();
    assert_eq!(low.iter().map(|row| row.device).collect::<Vec<_>>(), [2]);
}
