//! Machines whose clocks are wrong. What can't be done says so, with what to do about it, and nothing is half done.

use std::path::PathBuf;

use anyhow::{Context, Result};
use async_nats::jetstream::consumer::Info;
use futures_util::TryStreamExt;
use nepto_proto::ErrorCode;
use nepto_proto::api::accounts::UpdateProfile;
use nepto_sdk::{Client, Env, LoginOptions, SdkError, Wallet};
use nepto_testkit::{Launch, Port, Process, Settings, Stack, eventually, folder, program, seconds};
use serde_json::Value;
use tempfile::TempDir;

use crate::people::{Person, friends};

/// What a shell does so that the program after it sees the time that will be so many seconds later. Its timers run as ever.
fn later_by(seconds: i64) -> String {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().chain(std::fs::read_dir("/usr/lib64").into_iter().flatten());
    let library = libraries
        .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
        .find(|library: &PathBuf| library.exists())
        .expect("libfaketime is missing: `cargo xtask test` installs it");
    format!(
        "export LD_PRELOAD={} FAKETIME={seconds:+} FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1",
        library.display()
    )
}

/// A process of the server on a machine whose clock is off.
struct Off {
    process: Process,
    admin: Port,
    _folder: TempDir,
}

impl Off {
    /// Starts it in the place of another one, by the address that it had.
    async fn start(stack: &Stack, role: &str, instead: std::net::SocketAddr, by_s: i64) -> Result<Self> {
        let (folder, admin) = (folder("nepto-off-")?, Port::reserve()?);
        let settings = Settings::new()
            .set("node.name", format!("{role}-off"))
            .set("http.listen", instead.to_string())
            .set("admin.listen", admin.address().to_string());
        let configuration = stack.configuration(&format!("{role}-off"), &settings)?;
        let script = format!("{} && exec \"$@\"", later_by(by_s));
        let process = Process::start(Launch {
            name: format!("{role}-off"),
            program: "sh".into(),
            arguments: vec![
                "-c".into(),
                script.into(),
                "sh".into(),
                program("nepto-server")?.into(),
                "--config".into(),
                configuration.into(),
                role.into(),
            ],
            environment: Vec::new(),
            folder: folder.path().to_owned(),
        })?;
        let off = Self { process, admin, _folder: folder };
        // it is not ready, and says why
        let serves = eventually(seconds(60), async || Ok(off.checks().await.is_ok()));
        off.process.or_ended(serves).await?;
        Ok(off)
    }

    /// The checks that fail, with what they say.
    async fn checks(&self) -> Result<Vec<(String, String)>> {
        let ready: Value = crate::http::get(format!("http://{}/readyz", self.admin.address())).await?.json().await?;
        let checks = ready["checks"].as_array().context("no checks")?;
        let failed = checks
            .iter()
            .filter_map(|check| Some((check["name"].as_str()?.to_owned(), check["error"].as_str()?.to_owned())));
        Ok(failed.collect())
    }
}

/// Whether a load balancer should send people there.
async fn is_in_rotation(public: std::net::SocketAddr) -> bool {
    crate::http::get(format!("http://{public}/readyz/rotation")).await.unwrap().status().is_success()
}

/// Somebody new, or why not.
async fn sign_up(stack: &Stack) -> Result<Client, SdkError> {
    Client::login(LoginOptions::new(stack.url()), &Wallet::random(&Env::system())?).await
}

/// A person with a clock that is right is not taken for the one whose clock is wrong, and no account is left behind.
async fn refuses_whoever_is_new(stack: &Stack, by_s: i64) {
    let refused = sign_up(stack).await.err().expect("refused");
    assert_eq!(refused.code(), Some(ErrorCode::ClockSkew), "{refused}");
    let (way, said) = (if by_s > 0 { "behind" } else { "ahead of" }, refused.to_string());
    assert!(said.contains(way) && said.contains("if it is right, the server's is wrong"), "{said}");
}

/// Clients that lost short connections one after the other wait for up to half a minute before they try again.
async fn are_back(people: [&Person; 2]) {
    let all_are = async || Ok(people.iter().all(|person| person.client.is_connected()));
    eventually(seconds(60), all_are).await.expect("they connect again");
}

/// The check that fails, which is one alone.
async fn says_whose_clock(off: &Off, by_s: i64) {
    let way = if by_s > 0 { "ahead of" } else { "behind" };
    let wanted =
        format!("the clock of this machine is {} s {way} those of NATS and Redis: set it (`timedatectl`)", by_s.abs());
    let says_so = async || {
        let failed = off.checks().await?;
        anyhow::ensure!(
            matches!(&failed[..], [(name, error)] if name == "clock" && error.contains(&wanted)),
            "{failed:?}"
        );
        anyhow::Ok(true)
    };
    eventually(seconds(20), says_so).await.unwrap();
    eventually(seconds(20), async || Ok(off.process.log().contains(&wanted))).await.expect("the log says it too");
}

#[tokio::test]
async fn an_api_whose_clock_is_off_says_so_and_what_was_sent_meanwhile_arrives_once() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    for by_s in [3_600, -3_600] {
        stack.api.term().await.unwrap();
        let off = Off::start(&stack, "api", stack.api.address(), by_s).await.unwrap();
        says_whose_clock(&off, by_s).await;
        refuses_whoever_is_new(&stack, by_s).await;
        let text = format!("while {by_s}");
        let sent = alice.client.send_text(bob.account(), &text, None, None).unwrap();
        // at once, where nobody has to ask that process, or when it is right again
        let _ = tokio::time::timeout(seconds(8), alice.client.wait_sent(sent.id.id)).await;
        drop(off);
        stack.api.restart().await.unwrap();
        are_back([&alice, &bob]).await;
        bob.hears_text(&text).await.unwrap();
        sign_up(&stack).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_whose_clock_is_off_goes_on_for_who_is_signed_in_and_makes_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    let backups = folder.path().join("backups").display().to_string();
    let builder = Stack::builder().unlimited().set("backup.recipients", vec![recipient]).set("backup.folder", backups);
    let stack = builder.all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    for by_s in [172_800, 3_600, -3_600] {
        stack.api.term().await.unwrap();
        let off = Off::start(&stack, "all", stack.api.address(), by_s).await.unwrap();
        says_whose_clock(&off, by_s).await;
        refuses_whoever_is_new(&stack, by_s).await;
        are_back([&alice, &bob]).await;
        alice.says(&bob, &format!("while {by_s}")).await.unwrap();
        bob.hears_text(&format!("while {by_s}")).await.unwrap();
        let operator = format!("http://{}", off.admin.address());
        let (status, said) = stack.run_after(&later_by(by_s), &["backup", "--operator", &operator]).await.unwrap();
        assert!(!status.success() && said.contains("the clocks of this machine and of NATS differ"), "{said}");
        let events = stack.nats.jetstream().await.unwrap().get_stream("EVENTS").await.unwrap();
        let consumers: Vec<Info> = events.consumers().try_collect().await.unwrap();
        assert!(consumers.iter().all(|consumer| !consumer.paused), "{consumers:?}");
        drop(off);
        stack.api.restart().await.unwrap();
        are_back([&alice, &bob]).await;
        alice.says(&bob, &format!("after {by_s}")).await.unwrap();
        bob.hears_text(&format!("after {by_s}")).await.unwrap();
        sign_up(&stack).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_that_lasts_is_made_by_a_clock_that_is_known_to_be_wrong() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let alice = Person::join(&stack).await.unwrap();
    stack.api.term().await.unwrap();
    // near enough for a sign-in message
    let off = Off::start(&stack, "api", stack.api.address(), 60).await.unwrap();
    says_whose_clock(&off, 60).await;
    assert!(!is_in_rotation(stack.api.address()).await);
    let is_refused = |error: SdkError| {
        assert_eq!(error.code(), Some(ErrorCode::Unavailable), "{error}");
        assert!(error.to_string().contains("the clock of this server is wrong"), "{error}");
    };
    is_refused(sign_up(&stack).await.err().expect("refused"));
    let takes = UpdateProfile { handle: Some("alice".to_owned()), ..UpdateProfile::default() };
    is_refused(alice.client.http().update_profile(&takes).await.unwrap_err());
    // what does not depend on the time goes on
    let named = UpdateProfile { display_name: Some("Alice".to_owned()), ..UpdateProfile::default() };
    alice.client.http().update_profile(&named).await.unwrap();
    drop(off);
    stack.api.restart().await.unwrap();
    alice.client.http().update_profile(&takes).await.unwrap();
    sign_up(&stack).await.unwrap();
}

#[tokio::test]
async fn an_api_whose_clock_is_ahead_leaves_people_at_the_other_one_alone() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let port = Port::reserve().unwrap();
    // by more than a question may wait and right clocks may differ
    let off = Off::start(&stack, "api", port.address(), 8).await.unwrap();
    says_whose_clock(&off, 8).await;
    assert!(!is_in_rotation(port.address()).await, "nobody new comes to it");
    for well in [stack.api.address(), stack.gateways[0].address()] {
        assert!(is_in_rotation(well).await);
    }
    // half of the questions that these make go to it
    for _ in 0..5 {
        sign_up(&stack).await.unwrap();
    }
    drop(off);
}
