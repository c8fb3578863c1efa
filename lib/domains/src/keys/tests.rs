//! The rules that rows keep.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use nepto_kit::clock::{Clock, Random};
use nepto_kit::db::{DbError, vars};
use nepto_kit::domain::Parts;
use nepto_kit::outbox::Row;
use nepto_kit::service::Service;
use nepto_proto::api::keys::{
    DeviceSetup, EcPrekey, KeyCount, KeyStock, SignedPrekey, UploadKeys, one_time_tag, sum_of_tags,
};
use nepto_proto::certificate::SignedMessage;
use nepto_proto::event::DeviceRemoved;
use nepto_proto::limits::ONE_TIME_PREKEYS_LOW;
use nepto_proto::svc::auth::EndSessions;
use nepto_proto::svc::keys::RegisterDevice;
use nepto_proto::{AccountId, DeviceId, ErrorCode};
use nepto_testkit::{Nats, Redis, eventually, seconds};

use super::ops::{Keys, Retired};
use super::store::{DeviceRow, LowDevice, Store};
use crate::testing::{account, connected, database, no_redis};

async fn store() -> Store {
    Store::new(database(super::domain()).await, no_redis())
}

fn signed(id: u32) -> SignedPrekey {
    SignedPrekey { id, public_key: vec![id as u8; 33].into(), signature: vec![2; 64].into() }
}

fn row(mine: AccountId, identity: u8, registration: u32) -> DeviceRow {
    certified(mine, identity, registration, 3)
}

fn certified(mine: AccountId, identity: u8, registration: u32, wallet_version: u64) -> DeviceRow {
    let request = RegisterDevice {
        account: mine,
        wallet: "0xA".into(),
        wallet_version,
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

fn refused<T>(result: Result<T, DbError>) -> ErrorCode {
    match result {
        Err(DbError::Refused(code)) => code,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nothing was refused"),
    }
}

async fn stock(store: &Store, account: AccountId) -> KeyStock {
    store.device(account, device(1)).await.unwrap().unwrap().stock()
}

fn device(number: u32) -> DeviceId {
    number.try_into().unwrap()
}

fn event() -> Row {
    let removed = DeviceRemoved { account: account(1), device: device(1) };
    Row::new(&removed, &Clock::default(), &Random::default()).unwrap()
}

#[tokio::test]
async fn a_device_keeps_its_number_and_numbers_are_not_reused_at_once() {
    let store = store().await;
    let mine = account(1);
    assert_eq!(store.register(mine, row(mine, 1, 100), 3).await.unwrap(), device(1));
    assert_eq!(store.register(mine, row(mine, 2, 200), 3).await.unwrap(), device(2));
    assert_eq!(
        store.register(mine, row(mine, 1, 101), 3).await.unwrap(),
        device(1),
        "the same identity is the same device"
    );
    let list = store.list(mine).await.unwrap();
    assert_eq!(list.revision, 3);
    assert_eq!(list.encode(), "3|1:101,2:200");
    assert_eq!(store.register(mine, row(mine, 3, 300), 3).await.unwrap(), device(3));
    assert_eq!(refused(store.register(mine, row(mine, 4, 400), 3).await), ErrorCode::DeviceLimit);
    store.remove(mine, device(2), None, 7, event()).await.unwrap();
    assert_eq!(store.register(mine, row(mine, 4, 400), 3).await.unwrap(), device(4));
    assert_eq!(refused(store.remove(mine, device(2), None, 7, event()).await), ErrorCode::DeviceUnknown);
    assert_eq!(store.devices(mine).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_removed_device_is_remembered_until_its_number_or_its_time_is_over() {
    let store = store().await;
    let mine = account(1);
    let removed = async || -> Vec<(u32, i64)> {
        let rows = store.removed(mine, 20).await.unwrap();
        let rows = rows.iter().map(|row| row.to_public());
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
    assert_eq!(store.removed(mine, 1).await.unwrap()[0].to_public().device.identity_key.0, [3; 33]);
    // its number is another's now: once round, and it comes to 1 again
    for n in 4..=128 {
        let next = store.register(mine, row(mine, n, 400), 3).await.unwrap();
        if next == device(1) {
            break;
        }
        store.remove(mine, next, None, 6, event()).await.unwrap();
    }
    assert_eq!(store.devices(mine).await.unwrap()[0].number(), device(1));
    assert!(!removed().await.iter().any(|(number, _)| *number == 1));
    assert_eq!(store.forget_removed(9, 1_000).await.unwrap(), 125);
    assert_eq!(removed().await, [(3, 9)]);
}

#[tokio::test]
async fn a_device_is_removed_for_its_certificate_only_while_it_has_that() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 3).await.unwrap();
    let certificate = store.devices(mine).await.unwrap()[0].to_public().certificate;
    let other = SignedMessage { signature: "0xother".into(), ..certificate.clone() };
    let refused = store.remove(mine, device(1), Some(other), 7, event()).await;
    assert!(matches!(refused, Err(DbError::Refused(ErrorCode::DeviceUnknown))));
    store.remove(mine, device(1), Some(certificate), 7, event()).await.unwrap();
    assert!(store.devices(mine).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wallet_that_left_takes_what_it_had_certified_until_then() {
    let store = store().await;
    let mine = account(1);
    let ended = async |version: u64| {
        let devices = store.devices(mine).await.unwrap();
        devices.iter().filter(|row| row.ends_with("0xA", version)).count()
    };
    store.register(mine, row(mine, 1, 100), 3).await.unwrap();
    assert_eq!((ended(2).await, ended(3).await, ended(4).await), (0, 0, 1), "it was certified as of 3");
    assert_eq!(ended(0).await, 1, "an event of before there were numbers");
    assert!(!store.devices(mine).await.unwrap()[0].ends_with("0xB", 4), "another wallet");
    // and once more, when the wallet was back
    store.register(mine, certified(mine, 1, 100, 5), 3).await.unwrap();
    assert_eq!((ended(4).await, ended(6).await), (0, 1));
}

#[tokio::test]
async fn devices_that_come_at_once_get_different_numbers() {
    let store = store().await;
    let mine = account(1);
    let numbers = join_all((1..=8).map(|n| store.register(mine, row(mine, n, 100 + u32::from(n)), 10))).await;
    let numbers: BTreeSet<DeviceId> = numbers.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, (1..=8).map(device).collect());
}

#[tokio::test]
async fn a_one_time_key_is_taken_once_and_then_the_last_resort_serves() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    let count = store.upload(mine, device(1), &upload(10..30), 100).await.unwrap();
    assert_eq!((count.ec, count.kyber), (20, 20));
    let taken = join_all((0..25).map(|_| store.take_bundle(mine, device(1), 0))).await;
    let bundles: Vec<_> = taken.into_iter().map(|taken| taken.unwrap().unwrap().bundle).collect();
    let ec: BTreeSet<u32> = bundles.iter().filter_map(|bundle| bundle.ec_prekey.as_ref().map(|key| key.id)).collect();
    assert_eq!(ec, (10..30).collect());
    let last_resort = bundles.iter().filter(|bundle| bundle.kyber_prekey == Some(signed(2))).count();
    assert_eq!(last_resort, 5);
    assert!(store.take_bundle(mine, device(9), 0).await.unwrap().is_none());
    let row = store.device(mine, device(1)).await.unwrap().unwrap();
    assert_eq!(row.left(), KeyCount { ec: 0, kyber: 0 });
}

#[tokio::test]
async fn uploads_are_all_or_nothing() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    store.upload(mine, device(1), &upload(1..11), 20).await.unwrap();
    assert_eq!(refused(store.upload(mine, device(1), &upload(5..12), 100).await), ErrorCode::KeyUsed);
    assert_eq!(refused(store.upload(mine, device(1), &upload(50..61), 20).await), ErrorCode::KeyLimit);
    assert_eq!(refused(store.upload(mine, device(2), &upload(1..2), 20).await), ErrorCode::DeviceUnknown);
    let twice = UploadKeys { ec: vec![upload(20..21).ec[0].clone(); 2], ..UploadKeys::default() };
    assert!(store.upload(mine, device(1), &twice, 20).await.is_err());
    let row = store.device(mine, device(1)).await.unwrap().unwrap();
    assert_eq!(row.left(), KeyCount { ec: 10, kyber: 10 });
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
    // by a clock that is behind
    store.seen(mine, device(2), 100).await.unwrap();
    let idle = store.idle_since(500, 10).await.unwrap();
    assert_eq!(idle.iter().map(DeviceRow::number).collect::<Vec<_>>(), [device(1)]);
    let low = async |after: &LowDevice| {
        let rows = store.low_on_prekeys(after, 1).await.unwrap();
        rows.first().map(|row| (row.number(), LowDevice::from(row)))
    };
    let (first, after) = low(&LowDevice::default()).await.unwrap();
    let (second, last) = low(&after).await.unwrap();
    assert_eq!([first, second], [device(1), device(2)], "one page after the other");
    assert!(low(&last).await.is_none());
    let enough = u32::try_from(ONE_TIME_PREKEYS_LOW).unwrap();
    store.upload(mine, device(1), &upload(1..enough + 1), 100).await.unwrap();
    store.upload(mine, device(2), &upload(1..enough), 100).await.unwrap();
    assert_eq!(low(&LowDevice::default()).await.unwrap().0, device(2), "one too few");
    assert!(low(&after).await.unwrap().0 == device(2));
}

#[tokio::test]
async fn one_run_removes_so_many_idle_devices_and_says_that_there_are_more() {
    let (nats, redis) = tokio::try_join!(Nats::start(), Redis::start()).unwrap();
    let ctx = connected(&nats, &redis, |_| {}).await;
    let parts = Parts::new(&ctx, database(super::domain()).await);
    let (keys, store) = (Keys::new(&parts).unwrap(), Store::new(parts.db().unwrap().clone(), ctx.redis.clone()));
    let nobodys = EndSessions { account: account(9), device: device(1) };
    tokio::spawn(Service::new(|_: EndSessions| async { Ok(0) }).serve(ctx.clone()));
    eventually(seconds(5), async || Ok(ctx.call(&nobodys).await.is_ok())).await.unwrap();
    for number in 1..=3 {
        store.register(account(number), row(account(number), number as u8, 100), 10).await.unwrap();
    }
    store.register(account(4), row(account(4), 4, 100), 10).await.unwrap();
    store.seen(account(4), device(1), ctx.clock.now_ms()).await.unwrap();
    assert_eq!(keys.retire_idle(2).await.unwrap(), Retired { removed: 2, are_left: true });
    assert_eq!(keys.retire_idle(2).await.unwrap(), Retired { removed: 1, are_left: false });
    assert_eq!(store.devices(account(4)).await.unwrap().len(), 1, "it was heard of");
}

#[tokio::test]
async fn an_id_that_was_taken_once_is_not_taken_again() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    store.upload(mine, device(1), &upload(1..11), 100).await.unwrap();
    for _ in 0..10 {
        store.take_bundle(mine, device(1), 0).await.unwrap().unwrap();
    }
    assert_eq!(stock(&store, mine).await.ec, 0);
    for again in [upload(1..2), upload(10..12)] {
        let (ec, kyber) = (again.ec, again.kyber);
        for half in [UploadKeys { ec, ..UploadKeys::default() }, UploadKeys { kyber, ..UploadKeys::default() }] {
            assert_eq!(refused(store.upload(mine, device(1), &half, 100).await), ErrorCode::KeyUsed);
            let replaced = UploadKeys { replace: true, ..half };
            assert_eq!(refused(store.upload(mine, device(1), &replaced, 100).await), ErrorCode::KeyUsed);
        }
    }
    store.upload(mine, device(1), &upload(11..12), 100).await.unwrap();
    let next = stock(&store, mine).await.next;
    assert_eq!((next.ec, next.kyber, next.signed_prekey, next.last_resort), (12, 12, 2, 3));
    // the repeated-use keys may be uploaded again as they are, and else only grow
    let signed_prekey = |key| UploadKeys { signed_prekey: Some(key), ..UploadKeys::default() };
    let last_resort = |key| UploadKeys { last_resort: Some(key), ..UploadKeys::default() };
    for same in [signed_prekey(signed(1)), last_resort(signed(2)), signed_prekey(signed(9)), last_resort(signed(9))] {
        store.upload(mine, device(1), &same, 100).await.unwrap();
    }
    let other = SignedPrekey { public_key: vec![7; 33].into(), ..signed(9) };
    for used in [signed(1), signed(8), other] {
        assert_eq!(refused(store.upload(mine, device(1), &signed_prekey(used.clone()), 100).await), ErrorCode::KeyUsed);
        assert_eq!(refused(store.upload(mine, device(1), &last_resort(used), 100).await), ErrorCode::KeyUsed);
    }
    // a device that signs in again with older keys: ids go on from the largest that ever was
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    let next = stock(&store, mine).await.next;
    assert_eq!((next.signed_prekey, next.last_resort), (10, 10));
}

#[tokio::test]
async fn an_identity_key_belongs_to_one_account_for_good() {
    let store = store().await;
    let (mine, other) = (account(1), account(2));
    store.register(mine, row(mine, 1, 100), 3).await.unwrap();
    assert_eq!(refused(store.register(other, row(other, 1, 100), 3).await), ErrorCode::IdentityTaken);
    assert!(store.devices(other).await.unwrap().is_empty());
    assert_eq!(store.identity_owner(&[1; 33]).await.unwrap(), Some(mine));
    assert_eq!(store.identity_owner(&[2; 33]).await.unwrap(), None);
    store.remove(mine, device(1), None, 7, event()).await.unwrap();
    assert_eq!(
        refused(store.register(other, row(other, 1, 100), 3).await),
        ErrorCode::IdentityTaken,
        "also when it is gone"
    );
    assert_eq!(
        store.register(mine, row(mine, 1, 100), 3).await.unwrap(),
        device(2),
        "its owner may sign in with it again"
    );
    // two who come at once
    let both = join_all([3, 4].map(|n| store.register(account(n), row(account(n), 9, 100), 3))).await;
    assert_eq!(both.iter().filter(|registered| registered.is_ok()).count(), 1);
}

#[tokio::test]
async fn the_sum_says_which_keys_are_there() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    let sums = |ids: std::ops::Range<u32>| {
        let keys = upload(ids);
        (
            sum_of_tags(keys.ec.iter().map(|key| one_time_tag(key.id, &key.public_key.0))),
            sum_of_tags(keys.kyber.iter().map(|key| one_time_tag(key.id, &key.public_key.0))),
        )
    };
    assert_eq!(sums(0..0), (0, 0));
    let found = async || {
        let stock = stock(&store, mine).await;
        ((stock.ec, stock.kyber), (stock.ec_sum, stock.kyber_sum))
    };
    assert_eq!(found().await, ((0, 0), (0, 0)));
    store.upload(mine, device(1), &upload(1..21), 100).await.unwrap();
    store.upload(mine, device(1), &upload(21..41), 100).await.unwrap();
    assert_eq!(found().await, ((40, 40), sums(1..41)));
    join_all((0..15).map(|_| store.take_bundle(mine, device(1), 0))).await;
    assert_eq!(found().await, ((25, 25), sums(16..41)), "the oldest are handed out first");
    store.take_bundle(mine, device(1), 25).await.unwrap().unwrap();
    assert_eq!(found().await, ((25, 25), sums(16..41)));
    let replaced = UploadKeys { replace: true, ..upload(50..60) };
    store.upload(mine, device(1), &replaced, 100).await.unwrap();
    assert_eq!(found().await, ((10, 10), sums(50..60)));
    let emptied = UploadKeys { replace: true, ..UploadKeys::default() };
    store.upload(mine, device(1), &emptied, 100).await.unwrap();
    assert_eq!(found().await, ((0, 0), (0, 0)));
    assert!(store.take_bundle(mine, device(1), 0).await.unwrap().unwrap().bundle.ec_prekey.is_none());
}

#[tokio::test]
async fn what_is_reserved_is_not_for_everybody() {
    let store = store().await;
    let mine = account(1);
    store.register(mine, row(mine, 1, 100), 10).await.unwrap();
    store.upload(mine, device(1), &upload(1..11), 100).await.unwrap();
    let taken = join_all((0..10).map(|_| store.take_bundle(mine, device(1), 6))).await;
    let with = taken.iter().filter(|taken| taken.as_ref().unwrap().as_ref().unwrap().bundle.ec_prekey.is_some());
    assert_eq!(with.count(), 4, "strangers, all at once");
    for _ in 0..6 {
        assert!(store.take_bundle(mine, device(1), 0).await.unwrap().unwrap().bundle.ec_prekey.is_some());
    }
    let last = store.take_bundle(mine, device(1), 0).await.unwrap().unwrap().bundle;
    assert_eq!((last.ec_prekey, last.kyber_prekey), (None, Some(signed(2))));
}

#[tokio::test]
async fn devices_of_before_keep_their_keys_and_lose_one_time_prekeys_that_nobody_checked() {
    let schema = super::store::SCHEMA;
    let domain = super::domain();
    let db = database(nepto_kit::domain::Domain { schema: &schema[..2], ..domain }).await;
    let device_row = "{
        CREATE type::record('device', [$account, 1]) CONTENT { account: $account, device: 1, registration_id: 7, identity_key: <bytes>'key',
            name: 'phone', wallet: '0xA', message: 'm', signature: '0x', created_at_ms: 1, last_seen_at_ms: 1,
            signed_prekey: { id: 5, public_key: <bytes>'s', signature: <bytes>'x' },
            last_resort: { id: 6, public_key: <bytes>'l', signature: <bytes>'y' }, ec_left: 1, kyber_left: 1 };
        CREATE type::record('ec_prekey', [$account, 1, 9]) SET public_key = <bytes>'e';
        CREATE type::record('kyber_prekey', [$account, 1, 9]) SET public_key = <bytes>'k', signature = <bytes>'z';
    }";
    db.execute(device_row, vars! { account: account(1).to_string() }).await.unwrap();
    for _ in 0..2 {
        db.migrate(schema).await.unwrap();
    }
    let left: i64 = db.run("RETURN array::len(SELECT * FROM ec_prekey, kyber_prekey)", vars! {}).await.unwrap();
    assert_eq!(left, 0);
    let rows: Vec<DeviceRow> = db.run("SELECT * FROM device", vars! {}).await.unwrap();
    let stock = rows[0].stock();
    assert_eq!((stock.ec, stock.kyber, stock.ec_sum, stock.kyber_sum), (0, 0, 0, 0));
    assert_eq!((stock.next.signed_prekey, stock.next.last_resort), (6, 7));
    let owner = "RETURN type::record('identity', encoding::base64::encode(<bytes>'key')).account";
    assert_eq!(db.run::<String>(owner, vars! {}).await.unwrap(), account(1).to_string());
}
