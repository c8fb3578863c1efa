//! What an answer costs: as much as what is asked for, however much there is beside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy_primitives::Address;
use nepto_kit::domain::Parts;
use nepto_kit::outbox::Outbox;
use nepto_kit::service::Service;
use nepto_proto::api::auth::Wallets;
use nepto_testkit::{Nats, Redis};
use serde_json::json;

use crate::assets::ops::Assets;
use crate::auth::{FindAccount, FoundAccount};
use crate::collector::FindGaps;
use crate::testing::{account, connected, database};

const CHAINS: [u64; 2] = [1, 10];

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
    let chain = |id: u64| serde_json::from_value(json!({ "id": id, "rpc": ["http://127.0.0.1:1"] })).unwrap();
    let ctx = connected(&nats, &redis, |config| config.chains = CHAINS.map(chain).to_vec()).await;
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
    let assets = Assets::new(&Parts { outbox: Outbox::new(&ctx, &db), ctx, db });
    let held = assets.of_account(account(1), false).await.unwrap();
    assert!(held.is_complete && held.holdings.is_empty());
    assert_eq!(*asked.lock().unwrap(), CHAINS.map(|chain| (chain, 1)).into());
}
