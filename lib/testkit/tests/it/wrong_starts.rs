//! What can't be started says what to do, and changes nothing.

use anyhow::Result;
use nepto_testkit::{DATABASE_PASSWORD, Server, Stack};

/// What a database says, in the database of a domain.
async fn sql(database: &Server, domain: &str, statement: &str) -> Result<String> {
    let request = reqwest::Client::new()
        .post(format!("{}/sql", database.url()))
        .basic_auth("root", Some(DATABASE_PASSWORD))
        .header("surreal-ns", "nepto")
        .header("surreal-db", domain)
        .header("accept", "application/json")
        .body(statement.to_owned());
    Ok(request.send().await?.error_for_status()?.text().await?)
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_until_it_may_be_opened() {
    let stack = Stack::split(1).await.unwrap();
    let database = stack.database.as_ref().unwrap();
    let row = "UPSERT migration:compatible_from SET oldest = [9, 0, 0], by = [9, 1, 0]";
    sql(database, "keys", row).await.unwrap();
    let before = sql(database, "keys", "SELECT * FROM migration ORDER BY id").await.unwrap();

    for role in ["provision", "api", "worker"] {
        let said = format!("{:#}", stack.run(&[role]).await.unwrap_err());
        assert!(said.contains("changed by nepto-server 9.1.0"), "{role}: {said}");
        assert!(said.contains("Install 9.0.0 or newer"), "{role}: {said}");
    }
    let after = sql(database, "keys", "SELECT * FROM migration ORDER BY id").await.unwrap();
    let rows = |answer: &str| {
        answer.split("\"result\":").nth(1).map(|rest| rest.split(",\"status\"").next().map(str::to_owned))
    };
    assert_eq!(rows(&after), rows(&before));
    assert!(before.contains("compatible_from"), "{before}");

    // one that breaks nobody who is here
    sql(database, "keys", "UPSERT migration:compatible_from SET oldest = [0, 1, 0], by = [9, 1, 0]").await.unwrap();
    stack.provision().await.unwrap();
}

#[tokio::test]
async fn a_second_process_on_one_folder_says_who_has_it() {
    let stack = Stack::all().await.unwrap();
    let said = format!("{:#}", stack.run(&["all"]).await.unwrap_err());
    assert!(said.contains("a folder serves one `all`"), "{said}");
    assert!(stack.api.is_ready().await.unwrap(), "the first one goes on");
}

#[tokio::test]
async fn who_finds_nobody_says_what_to_start() {
    let stack = Stack::all().await.unwrap();
    stack.nats.kill9().unwrap();
    let said = format!("{:#}", stack.run(&["gateway"]).await.unwrap_err());
    assert!(said.contains("NATS at") && said.contains("Nobody listens there: start it"), "{said}");
}
