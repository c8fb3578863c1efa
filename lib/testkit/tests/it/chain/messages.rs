//! Messages with payments, as their senders and recipients see them.

use nepto_testkit::contracts::Contracts;
use serde_json::Value;

use super::world::World;

impl World {
    async fn payments(&self, holder: &alloy_primitives::Address, page: &str) -> Value {
        self.get(&format!("31337/wallets/{holder}/payments{page}")).await.unwrap().1
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["message"]["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_was_sent_to_many_reaches_each_and_what_was_orphaned_nobody() {
    let world = World::new(10).await.unwrap();
    let Contracts { owner, token, multisender, .. } = world.contracts;
    let [_, alice, bob, carol, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    let send = async |transaction| world.anvil.send(&transaction).await.unwrap();
    send(token.approve(owner, multisender.0, 1_000)).await;
    send(multisender.set_opted_out(bob, true)).await;
    send(multisender.send_token(owner, token, &[(alice, 10), (bob, 20), (carol, 30)], "gm \u{202e}all")).await;
    // a contract that takes no ether, and somebody who is paid twice
    send(multisender.send_ether(carol, &[(token.0, 5), (alice, 6), (alice, 7)], "ether")).await;
    world.anvil.mine(10).await.unwrap();
    send(multisender.send_token(owner, token, &[(alice, 1)], "third")).await;
    world.settled().await.unwrap();

    let contract = format!("31337/contracts/{}/messages", multisender.0);
    let (_, all) = world.get(&contract).await.unwrap();
    let batches: Vec<_> = all["messages"].as_array().unwrap().iter().map(|m| m["batch"].as_str().unwrap()).collect();
    assert_eq!((batches, &all["next"]), (vec!["3", "2", "1"], &Value::Null), "{all}");
    let (_, page) = world.get(&format!("{contract}?limit=2")).await.unwrap();
    let (_, rest) = world.get(&format!("{contract}?limit=2&after={}", page["next"].as_str().unwrap())).await.unwrap();
    assert_eq!((page["messages"].as_array().unwrap().len(), rest["messages"].as_array().unwrap().len()), (2, 1));

    let (_, first) = world.get(&format!("{contract}/1")).await.unwrap();
    let message = &first["message"];
    assert_eq!((&message["sender"], &message["token"]), (&owner.to_string().into(), &token.0.to_string().into()));
    assert_eq!((message["text"].as_str(), &message["is_final"]), (Some("gm all"), &true.into()), "{message}");
    let outcomes = |message: &Value| {
        let part = |part: &Value| format!("{} {}", part["amount"].as_str().unwrap(), part["outcome"].as_str().unwrap());
        message["parts"].as_array().unwrap().iter().map(part).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&first), ["10 paid", "20 skipped", "30 paid"]);
    let (_, second) = world.get(&format!("{contract}/2")).await.unwrap();
    assert_eq!(
        (outcomes(&second), &second["message"]["token"]),
        (vec!["5 credited".into(), "6 paid".into(), "7 paid".into()], &Value::Null)
    );

    let got = world.payments(&alice, "").await;
    assert_eq!(texts(&got["payments"]), ["third", "ether", "ether", "gm all"]);
    assert_eq!(
        (&got["payments"][0]["message"]["is_final"], &got["payments"][1]["amount"]),
        (&false.into(), &"7".into())
    );
    assert_eq!(texts(&world.payments(&bob, "").await["payments"]), ["gm all"]);
    // page by page it is the same, though two of them are in one transaction
    let (mut paged, mut page) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let got = world.payments(&alice, &page).await;
        paged.extend(got["payments"].as_array().unwrap().clone());
        let Some(next) = got["next"].as_str() else { break };
        page = format!("?limit=2&after={next}");
    }
    assert_eq!(Value::from(paged), got["payments"]);

    // the block of the third is orphaned
    world.anvil.reorg(1, []).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(texts(&world.payments(&alice, "").await["payments"]), ["ether", "ether", "gm all"]);
    assert_eq!(world.get(&format!("{contract}/3")).await.unwrap().1["code"], "not_found");

    for (path, code) in [
        (format!("{contract}/x"), "malformed"),
        (format!("{contract}?limit=0"), "malformed"),
        (format!("31337/contracts/{alice}/messages"), "contract_unknown"),
        (format!("5/wallets/{alice}/payments"), "chain_unknown"),
        (format!("31337/wallets/{alice}/payments?after=7"), "malformed"),
    ] {
        assert_eq!(world.get(&path).await.unwrap().1["code"], code, "{path}");
    }
}
