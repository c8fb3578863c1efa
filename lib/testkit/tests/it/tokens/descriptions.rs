//! Names, descriptions and properties.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Answer, UntrustedHost};
use reqwest::Method;
use serde_json::{Value, json};

use super::world::World;
use crate::people::early_in_window;

/// A token is not tried more often than this.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_list_waits_for_nobody_and_tells_what_becomes_known() {
    let world = World::new(|builder| builder).await.unwrap();
    let silent = UntrustedHost::start().await.unwrap();
    silent.answer("/", Answer::Silence);
    let Contracts { owner, badge, .. } = world.contracts;
    let good = json!({
        "name": "Pass \u{202e}one\n", "description": "First\nof all", "image": world.host.url("/1.gif"),
        "attributes": [{ "trait_type": "Level", "value": 5 }], "external_url": "https://example.org",
    });
    world.host.answer("/pass/1", Answer::json(good.to_string()));
    world.host.answer("/pass/2", Answer::Redirect("/elsewhere/2".into()));
    world.host.answer("/elsewhere/2", Answer::json("{\"name\": \"two\"}"));
    world.host.answer("/pass/3", Answer::status(403));
    world.host.answer("/pass/4", Answer::File("text/html", b"<html>".to_vec()));
    world.host.answer("/pass/5", Answer::json("[]"));
    world.host.answer("/pass/6", Answer::Endless);
    world.host.answer("/pass/7", Answer::Drip(Duration::from_millis(100)));
    let id = format!("{:064x}", 0xab);
    world.host.answer(&format!("/badge/{id}"), Answer::json("{\"name\": \"badge\", \"image\": \"ipfs://x/{id}\"}"));
    world.anvil.send(&badge.set_uri(owner, &world.host.url("/badge/{id}"))).await.unwrap();
    world.anvil.send(&badge.mint(owner, world.wallet, 0xab, 3)).await.unwrap();
    world.gives_passes(6).await.unwrap();
    world.holds(7).await.unwrap();

    let started = Instant::now();
    let first = world.get("mine/tokens").await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let tokens = first["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 7);
    assert!(tokens.iter().all(|token| token["metadata"]["state"] == "pending"), "{first:#}");
    assert!(first.get("next").is_none());

    let one = world.described(&world.pass(1)).await.unwrap();
    assert_eq!(
        (&one["state"], &one["name"], &one["description"]),
        (&json!("known"), &json!("Pass one"), &json!("First\nof all"))
    );
    assert_eq!(one["attributes"], json!([{ "name": "Level", "value": "5" }]));
    assert_eq!(one["uri"], world.host.url("/pass/1"));
    assert_eq!(one["image"], format!("/v1/assets/{}/image", world.pass(1)));
    assert!(one["fetched_at"].is_string() && one.get("problem").is_none());
    assert_eq!(world.described(&world.pass(2)).await.unwrap()["name"], "two");
    assert_eq!(world.described(&world.badge(0xab)).await.unwrap()["name"], "badge");
    for (token, reason) in [(3, "refused"), (4, "unreadable"), (5, "unreadable"), (6, "too_large")] {
        let metadata = world.described(&world.pass(token)).await.unwrap();
        assert_eq!(
            (&metadata["state"], &metadata["problem"]["reason"]),
            (&json!("failed"), &json!(reason)),
            "{metadata:#}"
        );
        assert!(metadata["problem"]["try_again_at"].is_string());
    }
    // the last, because its server is not asked again for a while
    world.gives_passes(1).await.unwrap();
    let slow = world.described(&world.pass(7)).await.unwrap();
    assert_eq!(slow["problem"]["reason"], "unreachable", "{slow:#}");
    // whoever asks again does not make the server ask again
    let asked = world.host.heads().len();
    for _ in 0..5 {
        world.get("mine/tokens").await.unwrap();
    }
    assert_eq!(world.host.heads().len(), asked, "{:#?}", world.host.heads());
    // what is known survives the death of the server
    world.stack.api.kill9().unwrap();
    world.stack.api.restart().await.unwrap();
    let told = world.get(&world.pass(1)).await.unwrap();
    assert_eq!(
        (&told["metadata"]["name"], &told["owner"]["owner"]),
        (&json!("Pass one"), &json!(world.wallet.to_string()))
    );
    assert!(world.get(&world.badge(0xab)).await.unwrap().get("owner").is_none());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new(|builder| builder).await.unwrap();
    let Contracts { owner, badge, .. } = world.contracts;
    world.anvil.send(&badge.mint_batch(owner, world.wallet, &[(9, 1), (10, 5), (200, 1)])).await.unwrap();
    world.gives_passes(3).await.unwrap();
    world.holds(6).await.unwrap();
    let (mut path, mut seen, mut pages) = ("mine/tokens?limit=2".to_owned(), Vec::new(), 0);
    loop {
        let page = world.get(&path).await.unwrap();
        let tokens = page["tokens"].as_array().unwrap().clone();
        assert!(tokens.len() <= 2);
        pages += 1;
        seen.extend(tokens.iter().map(|token| {
            let text = |name: &str| token[name].as_str().unwrap().to_owned();
            (text("contract"), text("token").parse::<u64>().unwrap(), text("amount"))
        }));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("mine/tokens?limit=2&after={next}");
    }
    assert_eq!((pages, seen.len()), (3, 6));
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 6, "each once: {seen:?}");
    let badges: Vec<_> = seen.iter().filter(|(contract, ..)| *contract == badge.0.to_string()).collect();
    assert_eq!(badges.iter().map(|(_, token, _)| *token).collect::<Vec<_>>(), [9, 10, 200]);
    for wrong in ["mine/tokens?limit=0", "mine/tokens?limit=201", "mine/tokens?after=x", "mine/tokens?befor=1"] {
        assert_eq!(world.refused(Method::GET, wrong).await.unwrap(), (400, "malformed".into()), "{wrong}");
    }
}

#[tokio::test]
async fn a_description_is_fetched_again_on_demand_and_what_was_known_stays() {
    let world = World::new(|builder| builder).await.unwrap();
    world.host.answer("/pass/1", Answer::json("{\"name\": \"old\"}"));
    world.gives_passes(1).await.unwrap();
    let path = world.pass(1);
    let refresh = async || {
        let response = world.ask(Method::POST, &format!("{path}/refresh"), &[]).await.unwrap();
        assert_eq!(response.status(), 202);
        response.json::<Value>().await.unwrap()
    };
    assert_eq!(world.described(&path).await.unwrap()["name"], "old");
    world.host.answer("/pass/1", Answer::json("{\"name\": \"new\"}"));
    // not so soon
    assert_eq!(refresh().await["metadata"]["name"], "old");
    tokio::time::sleep(AGAIN_AFTER).await;
    assert_eq!(world.host.asked_for("/pass/1"), 1);
    refresh().await;
    world.described_as(&path, |metadata| metadata["name"] == "new").await.unwrap();
    world.host.answer("/pass/1", Answer::status(500));
    tokio::time::sleep(AGAIN_AFTER).await;
    refresh().await;
    let kept = world.described_as(&path, |metadata| metadata["problem"].is_object()).await.unwrap();
    assert_eq!(
        (&kept["state"], &kept["name"], &kept["problem"]["reason"]),
        (&json!("known"), &json!("new"), &json!("refused"))
    );
    assert_eq!(world.host.asked_for("/pass/1"), 3);
}

#[tokio::test]
async fn a_description_that_is_old_is_fetched_when_somebody_asks() {
    let world = World::new(|builder| builder.set("assets.metadata_refresh_after_s", 1)).await.unwrap();
    world.host.answer("/pass/1", Answer::json("{\"name\": \"old\"}"));
    world.gives_passes(1).await.unwrap();
    assert_eq!(world.described(&world.pass(1)).await.unwrap()["name"], "old");
    world.host.answer("/pass/1", Answer::json("{\"name\": \"new\"}"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.host.asked_for("/pass/1"), 1, "nobody asked");
    world.get("mine/tokens").await.unwrap();
    world.described_as(&world.pass(1), |metadata| metadata["name"] == "new").await.unwrap();
}

#[tokio::test]
async fn a_contract_leads_to_nothing_of_ours() {
    // as shipped: no address of this machine is asked
    let world = World::with(UntrustedHost::start().await.unwrap(), |builder| {
        builder.set("fetch.http", true).set("fetch.timeout_ms", 1_500)
    })
    .await
    .unwrap();
    let (admin, port) = (world.stack.api.admin_url(), world.host.address().port());
    let bases = [
        world.host.url("/pass/"),
        format!("http://localhost:{port}/pass/"),
        format!("http://2130706433:{port}/pass/"),
        format!("http://0x7f.1:{port}/pass/"),
        format!("http://[::ffff:127.0.0.1]:{port}/pass/"),
        format!("{admin}/metrics?"),
        "http://127.0.0.1/pass/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/hostname?".to_owned(),
        "ipfs://QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG/".to_owned(),
    ];
    for (base, token) in bases.iter().zip(1..) {
        world.host.answer(&format!("/pass/{token}"), Answer::json("{\"name\": \"secret\"}"));
        world.describes_passes(base).await.unwrap();
        world.gives_passes(1).await.unwrap();
        let refused = world.described(&world.pass(token)).await.unwrap();
        let state = (&refused["state"], &refused["problem"]["reason"]);
        assert_eq!(state, (&json!("failed"), &json!("forbidden")), "{base}: {refused:#}");
        let detail = refused["problem"]["detail"].as_str().unwrap();
        assert!(!detail.contains("127.0.0.1"), "{detail}");
    }
    assert!(world.host.heads().is_empty(), "{:?}", world.host.heads());
}

#[tokio::test]
async fn a_stranger_that_may_be_asked_leads_nowhere_else() {
    let world = World::new(|builder| builder).await.unwrap();
    let inner = UntrustedHost::start().await.unwrap();
    inner.answer("/secret", Answer::json("{\"name\": \"secret\"}"));
    let port = inner.address().port();
    for (to, token) in [inner.url("/secret"), format!("http://localhost:{port}/secret"), world.stack.api.admin_url()]
        .into_iter()
        .zip(1..)
    {
        world.host.answer(&format!("/pass/{token}"), Answer::Redirect(to.clone()));
        world.gives_passes(1).await.unwrap();
        let refused = world.described(&world.pass(token)).await.unwrap();
        assert_eq!(refused["problem"]["reason"], "forbidden", "{to}: {refused:#}");
    }
    assert_eq!(world.host.heads().len(), 3);
    assert!(inner.heads().is_empty(), "{:?}", inner.heads());
}

#[tokio::test]
async fn a_gateway_of_the_operator_is_asked_wherever_it_is() {
    const CID: &str = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    let gateway = UntrustedHost::start().await.unwrap();
    let address = gateway.url("");
    let world = World::with(gateway, |builder| builder.set("assets.ipfs_gateway", address)).await.unwrap();
    let path = format!("/ipfs/{CID}/a%20b/1");
    world.host.answer(&path, Answer::json("{\"name\": \"from afar\"}"));
    world.describes_passes(&format!("ipfs://ipfs/{CID}/a b/")).await.unwrap();
    // it redirects to what strangers have no business with
    world.host.answer(&format!("/ipfs/{CID}/a%20b/3"), Answer::Redirect("/admin".into()));
    world.gives_passes(3).await.unwrap();
    assert_eq!(world.described(&world.pass(1)).await.unwrap()["name"], "from afar");
    assert_eq!(world.described(&world.pass(3)).await.unwrap()["problem"]["reason"], "forbidden");
    assert_eq!(world.host.asked_for("/admin"), 0);
    assert_eq!(world.described(&world.pass(2)).await.unwrap()["problem"]["reason"], "refused");
    // the same address is not asked when a contract names it
    world.describes_passes(&world.host.url(&format!("/ipfs/{CID}/a%20b/"))).await.unwrap();
    world.gives_passes(1).await.unwrap();
    assert_eq!(world.described(&world.pass(4)).await.unwrap()["problem"]["reason"], "forbidden");
    assert_eq!(world.host.heads().len(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_said_so_and_naming_numbers_has_a_limit() {
    let world = World::new(|builder| builder.set("limits.token_fetches_per_account_per_minute", 3)).await.unwrap();
    early_in_window(Duration::from_secs(60)).await;
    let (token, host) = (world.contracts.token.0, world.wallet);
    for (path, expected) in [
        (format!("5/contracts/{}/tokens/1", world.contracts.pass.0), (404, "chain_unknown")),
        (format!("31337/contracts/{host}/tokens/1"), (404, "contract_unknown")),
        (format!("31337/contracts/{token}/tokens/1"), (404, "not_found")),
        (world.pass(1).replace("tokens/1", "tokens/x"), (400, "malformed")),
        ("31337/contracts/x/tokens/1".to_owned(), (400, "malformed")),
    ] {
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(world.refused(Method::GET, &path).await.unwrap(), expected, "{path}");
        assert_eq!(world.refused(Method::GET, &format!("{path}/image")).await.unwrap(), expected, "{path}");
        assert_eq!(world.refused(Method::POST, &format!("{path}/refresh")).await.unwrap(), expected, "{path}");
    }
    for token in 1..=3 {
        let nothing = world.described(&world.pass(token)).await.unwrap();
        assert_eq!(nothing["problem"]["reason"], "no_uri", "{nothing:#}");
    }
    assert_eq!(world.refused(Method::GET, &world.pass(4)).await.unwrap(), (429, "rate_limited".into()));
    let refresh = format!("{}/refresh", world.pass(1));
    assert_eq!(world.refused(Method::POST, &refresh).await.unwrap(), (429, "rate_limited".into()));
    // what is known costs nothing
    world.get(&world.pass(1)).await.unwrap();
    let unknown = crate::http::get(format!("{}/v1/assets/{}", world.stack.url(), world.pass(1))).await.unwrap();
    assert_eq!(unknown.status(), 401);
}

#[tokio::test]
async fn a_server_can_be_told_to_ask_nobody() {
    let world = World::new(|builder| builder.set("assets.metadata", false)).await.unwrap();
    world.gives_passes(1).await.unwrap();
    let off = world.get(&world.pass(1)).await.unwrap();
    assert_eq!(
        (&off["metadata"]["state"], &off["metadata"]["problem"]["reason"]),
        (&json!("failed"), &json!("forbidden"))
    );
    world.ask(Method::POST, &format!("{}/refresh", world.pass(1)), &[]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.host.heads().is_empty());
}
