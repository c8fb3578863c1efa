//! What an answer costs: as much as what is asked for, however much there is beside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy_primitives::Address;
use nepto_kit::db::vars;
use nepto_kit::domain::Parts;
use nepto_kit::service::Service;
use nepto_proto::api::auth::Wallets;
use nepto_proto::svc::auth::{FindAccount, FoundAccount};
use nepto_proto::svc::collector::FindGaps;
use nepto_testkit::{Nats, Redis};
use serde_json::json;

use crate::assets::model::{Amount, AssetClass, Holding};
use crate::assets::ops::Assets;
use crate::assets::store::{Compaction, HOLDERS, Store, scope};
use crate::assets::tests::{CHAIN, ORIGIN};
use crate::chains::Chains;
use crate::testing::{account, connected, database};

const CHAINS: [u64; 2] = [1, 10];
/// Holdings that are compacted in one transaction.
const AT_ONCE: usize = 250;

/// An account with three wallets.
fn an_account() -> Service {
    Service::new(|_: FindAccount| async {
        let wallets: Vec<String> = (1..=3).map(|number| Address::repeat_byte(number).to_string()).collect();
        let wallets = Wallets { root: wallets[0].clone(), wallets, links: Vec::new() };
        Ok(Some(FoundAccount { account: account(1), wallets }))
    })
}

#[tokio::test]
async fn what_an_account_holds_asks_for_the_gaps_of_a_chain_once() {
    let (nats, redis) = tokio::join!(Nats::start(), Redis::start());
    let (nats, redis) = (nats.unwrap(), redis.unwrap());
    let chains = CHAINS.map(|id| json!({ "id": id, "rpc": ["http://127.0.0.1:1"] }));
    let chains: Chains = serde_json::from_value(chains.as_slice().into()).unwrap();
    let ctx = connected(&nats, &redis, |config| config.set_section(chains)).await;
    let asked: Arc<Mutex<BTreeMap<u64, usize>>> = Arc::default();
    let counted = asked.clone();
    let gaps = Service::new(move |FindGaps { chain_id }| {
        *counted.lock().unwrap().entry(chain_id).or_default() += 1;
        async { Ok(Vec::new()) }
    });
    for service in [an_account(), gaps] {
        tokio::spawn(service.serve(ctx.clone()));
    }
    let db = database(crate::assets::domain()).await;
    let assets = Assets::new(&Parts::new(&ctx, db)).unwrap();
    let held = assets.of_account(account(1), false).await.unwrap();
    assert!(held.is_complete && held.holdings.is_empty());
    assert_eq!(*asked.lock().unwrap(), CHAINS.map(|chain| (chain, 1)).into());
}

fn holder(number: u16) -> Address {
    Address::left_padding_from(&number.to_be_bytes())
}

fn holding(number: u16) -> Holding {
    Holding { holder: holder(number), contract: Address::repeat_byte(99), origin: ORIGIN, class: AssetClass::Whole }
}

/// Compacts amounts of holders, in one change.
async fn compact(store: &Store, seq: u64, amounts: impl Iterator<Item = (u16, Amount)>) {
    let compaction = |(number, amount)| Compaction { holding: holding(number), deltas: vec![(seq, amount)] };
    for compactions in amounts.map(compaction).collect::<Vec<_>>().chunks(AT_ONCE) {
        store.compact(CHAIN, seq, compactions).await.unwrap();
    }
}

#[tokio::test]
async fn the_last_page_of_holders_costs_what_the_first_does() {
    const HOLDERS_ALL: u16 = 1_500;
    const PAGE: usize = 20;
    let db = database(crate::assets::domain()).await;
    let store = Store::new(&db);
    let one = Amount(alloy_primitives::U256::from(1));
    compact(&store, 1, (1..=HOLDERS_ALL).map(|number| (number, one))).await;
    // most of them leave, but for the first and the last
    compact(&store, 2, (100..HOLDERS_ALL - 100).map(|number| (number, one.negated()))).await;
    let page = async |after: u16| {
        let sums = store.holders(CHAIN, &holding(0), Some(holder(after)), PAGE).await.unwrap();
        sums.iter().map(|sum| sum.holding.holder).collect::<Vec<_>>()
    };
    let to = |first: u16, last: u16| (first..=last).map(holder).collect::<Vec<_>>();
    assert_eq!(page(0).await, to(1, 20));
    assert_eq!(page(90).await, [to(91, 99), to(1_400, 1_410)].concat(), "those who left are not told");
    assert_eq!(page(HOLDERS_ALL - 5).await, to(HOLDERS_ALL - 4, HOLDERS_ALL));
    assert_eq!(page(HOLDERS_ALL).await, Vec::<Address>::new());

    for after in [0, 90, HOLDERS_ALL - 21] {
        let variables = vars! {
            scope: scope(CHAIN, &holding(0)),
            after: format!("{:x}", holder(after)).trim_start_matches("0x").to_owned(),
            limit: PAGE,
        };
        let plan: String = db.run(&format!("EXPLAIN ANALYZE {HOLDERS}"), variables).await.unwrap();
        let rows =
            plan.split("rows: ").skip(1).filter_map(|rest| rest.split([',', '}', '\n']).next()?.trim().parse().ok());
        let rows: Vec<usize> = rows.collect();
        assert!(!rows.is_empty() && rows.iter().all(|rows| *rows <= PAGE), "after {after}: {plan}");
    }
}
