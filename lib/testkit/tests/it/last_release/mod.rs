//! While a deployment is upgraded, two neighbouring versions run beside each other: over one database, one NATS, and with clients of
//! both. What the last release left behind is kept in `fixtures/` (its `make` says how), and today's code must go on from there.

mod contract;
mod messages;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use nepto_proto::AccountId;
use nepto_proto::api::accounts::Consent;
use nepto_sdk::Wallet;
use nepto_testkit::{DATABASE_PASSWORD, Server, Stack};
use serde_json::Value;

use crate::people::Person;

const DOMAINS: [&str; 6] = ["auth", "accounts", "keys", "messaging", "collector", "assets"];

/// This package in the checkout that the tests run in.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("cargo runs this")
}

/// The folder of the last version that was released, or will be first.
fn last_release() -> PathBuf {
    let numbers = |folder: &Path| -> Option<Vec<u64>> {
        folder.file_name()?.to_str()?.split('.').map(|number| number.parse().ok()).collect()
    };
    let folders = std::fs::read_dir(package().join("fixtures")).expect("fixtures");
    let folders = folders.filter_map(|entry| Some(entry.ok()?.path())).filter(|folder| numbers(folder).is_some());
    folders.max_by_key(|folder| numbers(folder)).expect("the fixtures of a release")
}

fn fixture(name: &str) -> String {
    let path = last_release().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs statements in the database of a domain, each of which must succeed.
async fn run(database: &Server, path: &str, domain: &str, statements: String) -> Result<()> {
    let request = reqwest::Client::new()
        .post(format!("{}/{path}", database.url()))
        .basic_auth("root", Some(DATABASE_PASSWORD))
        .header("surreal-ns", "nepto")
        .header("surreal-db", domain)
        .header("accept", "application/json")
        .body(statements);
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    let results: Value = serde_json::from_str(&text)?;
    let failed: Vec<&Value> =
        results.as_array().into_iter().flatten().filter(|result| result["status"] != "OK").collect();
    ensure!(status.is_success() && results.is_array() && failed.is_empty(), "{domain}: {status} {failed:?}");
    Ok(())
}

/// A deployment whose processes are stopped, all but the database.
async fn stopped() -> Result<Stack> {
    // the name that the people of the fixtures signed
    let stack = Stack::builder().unlimited().set("public.domain", "localhost").split(1).await?;
    for server in stack.servers() {
        server.term().await?;
    }
    Ok(stack)
}

/// Today's processes know the people of the last release, who go on where they were.
async fn serves_the_people(stack: &Stack) -> Result<()> {
    for server in stack.servers() {
        server.restart().await?;
    }
    let people: Value = serde_json::from_str(&fixture("people.json"))?;
    let account =
        |name: &str| -> Result<AccountId> { Ok(people[name]["account"].as_str().unwrap_or_default().parse()?) };
    let (alice_account, bob, carol) = (account("alice")?, account("bob")?, account("carol")?);

    // the wallet is known, so this is her second device and no new account
    let alice = Person::with_key(stack, format!("{:064x}", 1001)).await?;
    assert_eq!(alice.account(), alice_account);
    let me = alice.client.http().me().await?;
    assert_eq!(me.handle.as_deref(), Some("alice"));
    assert_eq!(me.display_name.as_deref(), Some("Alice"));
    let wallets = alice.client.http().wallets().await?.wallets;
    let wanted = people["alice"]["wallets"].as_array().map(Vec::len);
    assert_eq!(Some(wallets.len()), wanted, "the linked one is hers still: {wallets:?}");
    let devices = alice.client.devices().await?;
    assert_eq!(devices.len(), 2, "{devices:?}");

    let found = alice.client.http().account("bob").await?;
    assert_eq!(found.account, bob);
    let contacts = alice.client.http().contacts(None, 10).await?.contacts;
    let known = contacts.iter().find(|contact| contact.account.account == bob);
    assert_eq!(known.map(|contact| contact.consent), Some(Consent::Accepted));

    // his old device has a certificate that counts, and prekeys that a session begins with
    let message = alice.client.send_text(bob, "from today", None, None)?;
    alice.client.wait_sent(message.id.id).await?;

    // a device that was revoked stays so
    let directory = alice.client.http().directory(carol).await?;
    assert_eq!(directory.devices.len(), 1, "{directory:?}");
    let carol = Person::with_key(stack, format!("{:064x}", 1003)).await?;
    assert_eq!(
        carol.client.devices().await?.last().map(|device| device.device.get()),
        Some(3),
        "no number is used twice"
    );
    // a wallet that left its account is anybody's
    let wallet = Wallet::from_private_key(&format!("{:064x}", 2003))?;
    let stranger = Person::with_key(stack, format!("{:064x}", 2003)).await?;
    assert!(stranger.account() != carol.account(), "{}", wallet.address());
    Ok(())
}

#[tokio::test]
async fn todays_code_opens_the_database_of_the_last_release() {
    let stack = stopped().await.unwrap();
    let database = stack.database.as_ref().unwrap();
    for domain in DOMAINS {
        run(database, "sql", domain, format!("REMOVE DATABASE {domain}; DEFINE DATABASE {domain}")).await.unwrap();
        run(database, "import", domain, fixture(&format!("{domain}.surql"))).await.unwrap();
    }
    stack.provision().await.unwrap();
    serves_the_people(&stack).await.unwrap();
}

/// As a process of the last release does that is not replaced yet.
#[tokio::test]
async fn rows_that_the_last_release_writes_fit_todays_tables() {
    let stack = stopped().await.unwrap();
    let database = stack.database.as_ref().unwrap();
    for domain in DOMAINS {
        let export = fixture(&format!("{domain}.surql"));
        let is_own = |row: &str| ["migration:", "probe:"].iter().any(|table| row.contains(&format!(" id: {table}")));
        let rows: Vec<&str> = export.lines().filter(|line| line.starts_with("INSERT ") && !is_own(line)).collect();
        assert!(!rows.is_empty() || domain == "collector", "{domain}");
        run(database, "sql", domain, rows.join("\n")).await.unwrap();
    }
    serves_the_people(&stack).await.unwrap();
}

#[tokio::test]
async fn clients_of_the_last_release_are_understood() {
    let stack = Stack::all().await.unwrap();
    let answer = reqwest::get(format!("{}/v1/openapi.json", stack.url())).await.unwrap();
    let today: Value = answer.json().await.unwrap();
    let before: Value = serde_json::from_str(&fixture("openapi.json")).unwrap();
    let problems = contract::broken(&before, &today);
    assert!(problems.is_empty(), "clients of the last release break:\n{}", problems.join("\n"));
    // that it would be seen
    for (pointer, field) in [("/components/schemas/ServerInfo/properties", "sockets"), ("/paths", "/v1/info")] {
        let mut less = today.clone();
        less.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap().remove(field).unwrap();
        assert!(!contract::broken(&before, &less).is_empty(), "without {field}");
    }
}

#[test]
fn processes_of_the_last_release_are_understood() {
    let mut heard: BTreeMap<String, Value> = serde_json::from_str(&fixture("messages.json")).unwrap();
    assert!(heard.len() > 10, "{heard:?}");
    let problems = messages::broken(&heard);
    assert!(problems.is_empty(), "what the last release says breaks:\n{}", problems.join("\n"));
    // that it would be seen
    heard.insert("events.keys.device_removed".into(), "{\"account\":\"x\"}".into());
    heard.insert("svc.keys.gone".into(), Value::Null);
    assert_eq!(messages::broken(&heard).len(), 2);
}

#[test]
fn frames_of_the_last_release_mean_what_they_meant() {
    let today = Path::new(&package()).join("../proto/proto");
    for file in ["nepto.proto", "content.proto", "chain.proto"] {
        let (before, now) = (fixture(file), std::fs::read_to_string(today.join(file)).unwrap());
        let problems = wire::broken(&before, &now);
        assert!(problems.is_empty(), "{file} of the last release breaks:\n{}", problems.join("\n"));
    }
}
