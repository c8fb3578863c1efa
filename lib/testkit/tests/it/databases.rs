//! Databases on servers of their own: users who may do no more than they must, one that is away, one that moves.

use std::path::Path;

use nepto_testkit::{Launch, Port, Process, Role, Settings, Stack, eventually, folder, program, seconds};
use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

use crate::people::{Person, friends};

pub const ROOT_PASSWORD: &str = "of the whole server";

/// One more SurrealDB server.
pub struct Database {
    process: Process,
    port: Port,
    folder: TempDir,
}

impl Database {
    /// One that keeps nothing.
    pub async fn start() -> Self {
        Self::start_on("memory").await
    }

    pub async fn start_on(storage: &str) -> Self {
        let (folder, port) = (folder("nepto-database-").unwrap(), Port::reserve().unwrap());
        let bind = port.address().to_string();
        let arguments = ["database", "start", "--no-banner", "--bind", &bind, storage];
        let process = Process::start(Launch {
            name: "database".into(),
            program: program("nepto-server").unwrap(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: vec![("SURREAL_USER".into(), "root".into()), ("SURREAL_PASS".into(), ROOT_PASSWORD.into())],
            folder: folder.path().to_owned(),
        })
        .unwrap();
        let database = Self { process, port, folder };
        let ready = eventually(seconds(60), async || {
            let answer = reqwest::get(format!("http://{}/ready", database.port.address())).await?;
            Ok(answer.status().is_success())
        });
        database.process.or_ended(ready).await.unwrap();
        database
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.port.address())
    }

    pub fn secret(&self, name: &str, secret: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, secret).unwrap();
        file.display().to_string()
    }

    /// What it answers to a user of one database: for each statement whether it was done.
    async fn tell(&self, user: (&str, &str), domain: &str, statements: &str) -> Vec<bool> {
        let answer = reqwest::Client::new()
            .post(format!("http://{}/sql", self.port.address()))
            .basic_auth(user.0, Some(user.1))
            .header("accept", "application/json")
            .header("surreal-auth-ns", "nepto")
            .header("surreal-auth-db", domain)
            .header("surreal-ns", "nepto")
            .header("surreal-db", domain)
            .body(statements.to_owned())
            .send()
            .await
            .unwrap();
        let answers: Vec<Value> = answer.json().await.unwrap();
        answers.iter().map(|answer| answer["status"] == "OK").collect()
    }
}

/// The settings that name a server and a user for the database of one domain.
pub fn elsewhere(domain: &str, url: &str, password_file: &str) -> Settings {
    let own = [("url", url), ("username", "nepto"), ("password_file", password_file), ("user_of", "database")];
    let own: Table = own.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Settings::new().set("database.domains", Table::from_iter([(domain.to_owned(), own.into())]))
}

pub async fn nepto_server(stack: &Stack, settings: &Settings, arguments: &[&str]) -> (bool, String) {
    let configuration = stack.configuration("elsewhere", settings).unwrap();
    let output = tokio::process::Command::new(program("nepto-server").unwrap())
        .arg("--config")
        .arg(configuration)
        .args(arguments)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (output.status.success(), said)
}

/// Makes the users of `keys` on this server.
pub async fn make_users(stack: &Stack, server: &Database, settings: &Settings) {
    let (root, export) = (server.secret("root", ROOT_PASSWORD), server.secret("export", "of who exports"));
    let arguments = ["database-users", "--root-password-file", &root, "--export-user", "export"];
    let (made, said) =
        nepto_server(stack, settings, &[&arguments[..], &["--export-password-file", &export]].concat()).await;
    assert!(made && said.contains("keys: nepto may write, export may read"), "{said}");
}

#[tokio::test]
async fn a_domain_moves_to_another_server_whose_user_may_do_no_more_than_he_must() {
    let stack = Stack::split(1).await.unwrap();
    let (ann, mut bob) = friends(&stack).await.unwrap();
    let server = Database::start().await;
    let settings = elsewhere("keys", &server.url(), &server.secret("keys", "of keys"));
    make_users(&stack, &server, &settings).await;
    for running in [&stack.api, &stack.worker] {
        running.term().await.unwrap();
    }
    let (moved, said) = nepto_server(&stack, &settings, &["move-database", "keys"]).await;
    assert!(moved && said.contains("is moved"), "{said}");
    let (again, said) = nepto_server(&stack, &settings, &["move-database", "keys"]).await;
    assert!(!again && said.contains("already"), "{said}");
    for running in [&stack.api, &stack.worker] {
        running.reconfigure(&settings).await.unwrap();
    }
    // what was there is there, and what is new comes to it
    let third = Person::join(&stack).await.unwrap();
    ann.says(&bob, "still here").await.unwrap();
    bob.hears_text("still here").await.unwrap();
    third.says(&ann, "new here").await.unwrap();
    let editor = ("nepto", "of keys");
    let may = async |user, statements: &str| server.tell(user, "keys", statements).await;
    assert_eq!(
        may(editor, "DEFINE TABLE IF NOT EXISTS probe SCHEMALESS; UPSERT probe:test SET x = 1").await,
        [true, true]
    );
    for forbidden in [
        "DEFINE USER other ON DATABASE PASSWORD 'x' ROLES OWNER",
        "DEFINE USER OVERWRITE nepto ON DATABASE PASSWORD 'x' ROLES OWNER",
        "DEFINE DATABASE other",
        "REMOVE DATABASE keys",
        "DEFINE ACCESS a ON DATABASE TYPE RECORD",
        "DEFINE USER other ON ROOT PASSWORD 'x' ROLES OWNER",
        "INFO FOR ROOT",
    ] {
        assert_eq!(may(editor, forbidden).await, [false], "{forbidden}");
    }
    let export = ("export", "of who exports");
    assert_eq!(may(export, "SELECT * FROM migration").await, [true]);
    assert_eq!(may(export, "DEFINE TABLE theirs SCHEMALESS").await, [false]);
    drop(may(export, "DELETE migration").await);
    let arguments = ["provision"];
    let (provisioned, said) = nepto_server(&stack, &settings, &arguments).await;
    assert!(provisioned, "an editor migrates, and nothing was deleted: {said}");
}

#[tokio::test]
async fn the_database_that_is_away_is_named_and_the_others_go_on() {
    let stack = Stack::split(1).await.unwrap();
    let server = Database::start().await;
    let settings = elsewhere("keys", &server.url(), &server.secret("keys", "of keys"));
    make_users(&stack, &server, &settings).await;
    let (provisioned, said) = nepto_server(&stack, &settings, &["provision"]).await;
    assert!(provisioned, "{said}");
    stack.api.reconfigure(&settings).await.unwrap();
    server.process.kill9().unwrap();
    let red = eventually(seconds(20), async || {
        let ready: Value = reqwest::get(format!("{}/readyz", stack.api.admin_url())).await?.json().await?;
        let checks = ready["checks"].as_array().cloned().unwrap_or_default();
        let error = |name: &str| checks.iter().find(|check| check["name"] == name).map(|check| check["error"].clone());
        Ok(error("database keys").is_some_and(|error| error.is_string())
            && error("database auth").is_some_and(|error| error.is_null()))
    });
    red.await.unwrap();
    let nonce = reqwest::Client::new().post(format!("{}/v1/auth/nonce", stack.url())).send().await.unwrap();
    assert!(nonce.status().is_success());
    // who starts now says which one it is, and where
    let refused = stack.start(Role::Api(vec!["keys".into()]), &settings).await.unwrap_err();
    assert!(format!("{refused:#}").contains(&format!("the database of keys at {}", server.url())), "{refused:#}");
    stack.start(Role::Api(vec!["auth".into()]), &settings).await.unwrap();
}

#[tokio::test]
async fn what_an_operator_gets_wrong_is_said_before_anything_is_done() {
    let stack = Stack::split(1).await.unwrap();
    let server = Database::start().await;
    let wrong = server.secret("wrong", "nobody's password");
    let keys = elsewhere("keys", &server.url(), &wrong);
    let no_domain = elsewhere("kees", &server.url(), &wrong);
    for (settings, arguments, named) in [
        (&no_domain, &["check-config"][..], "kees"),
        (&keys, &["move-database", "kees"], "there is no domain with a database \"kees\""),
        (&keys, &["move-database", "auth"], "[database.domains.auth]"),
        (&keys, &["move-database", "keys"], "database-users"),
        (&Settings::new(), &["database-users", "--root-password-file", &wrong], "database.user_of"),
        (&keys, &["database-users", "--root-password-file", &wrong], "the users of keys at"),
        (&keys, &["database-users", "--root-password-file", "/nowhere"], "/nowhere"),
    ] {
        let (done, said) = nepto_server(&stack, settings, arguments).await;
        assert!(!done && said.contains(named), "{arguments:?}: {said}");
        assert!(!said.contains("nobody's password"), "{said}");
    }
    assert!(Path::new(&wrong).exists());
}
