//! Work that waits, as an operator sees it: background jobs and dead letters.

use async_nats::HeaderMap;
use nepto_proto::AccountId;
use nepto_proto::api::operator::{DeadLetter, JobRun, JobStatus};
use nepto_proto::event::{DeviceRemoved, Event};
use nepto_testkit::{Role, Settings, Stack, eventually, program, seconds};
use serde::de::DeserializeOwned;
use tokio::process::Command;
use uuid::Uuid;

/// `nepto admin … --json`: whether it went well, and what it said.
async fn admin(stack: &Stack, arguments: &[&str]) -> (bool, String) {
    admin_at(&stack.api.admin_url(), arguments).await
}

async fn admin_at(operator: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program("nepto").unwrap());
    command.args(["--json", "admin", "--operator", operator]).args(arguments);
    let output = command.output().await.unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

async fn json_of<T: DeserializeOwned>(stack: &Stack, arguments: &[&str]) -> Vec<T> {
    let (well, said) = admin(stack, arguments).await;
    assert!(well, "{arguments:?}: {said}");
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

async fn order(stack: &Stack, arguments: &[&str]) -> String {
    let (well, said) = admin(stack, arguments).await;
    assert!(well, "{arguments:?}: {said}");
    said
}

#[tokio::test]
async fn two_processes_run_a_job_once_and_an_operator_has_a_say() {
    const JOB: &str = "idle-device-retirement";
    let stack = Stack::split(1).await.unwrap();
    let nothing = json_of::<JobStatus>(&stack, &["jobs", "list"]).await;
    assert!(nothing.is_empty(), "{nothing:?}");
    let crons = [
        stack.start(Role::Cron, &Settings::new()).await.unwrap(),
        stack.start(Role::Cron, &Settings::new()).await.unwrap(),
    ];
    let job = async || -> anyhow::Result<Option<JobStatus>> {
        Ok(json_of::<JobStatus>(&stack, &["jobs", "list"]).await.into_iter().find(|job| job.name == JOB))
    };
    eventually(seconds(10), async || Ok(job().await?.is_some())).await.unwrap();
    // a domain without tables has jobs all the same
    let audited = async || {
        let jobs = json_of::<JobStatus>(&stack, &["jobs", "list"]).await;
        Ok(jobs.iter().any(|job| (job.name.as_str(), job.domain.as_str()) == ("mailbox-audit", "messaging")))
    };
    eventually(seconds(10), audited).await.unwrap();
    order(&stack, &["jobs", "pause", JOB]).await;
    assert!(job().await.unwrap().unwrap().is_paused);
    let runs = async || json_of::<JobRun>(&stack, &["jobs", "history", JOB]).await;
    let before = runs().await.len();
    // it runs by hand although it is paused, and once although there are two
    order(&stack, &["jobs", "run", JOB]).await;
    let has_run = async || Ok(runs().await.first().is_some_and(|run| run.is_manual && run.ended_at.is_some()));
    eventually(seconds(10), has_run).await.unwrap();
    tokio::time::sleep(seconds(3)).await;
    let history = runs().await;
    assert_eq!(history.len(), before + 1, "{history:?}");
    assert!(history[0].detail.contains("idle devices"), "{history:?}");
    order(&stack, &["jobs", "resume", JOB]).await;
    assert!(!job().await.unwrap().unwrap().is_paused);
    let (well, said) = admin(&stack, &["jobs", "run", "no-such-job"]).await;
    assert!(!well && said.contains("no-such-job"), "{said}");
    let (well, said) = admin_at(&stack.url(), &["jobs", "list"]).await;
    assert!(!well && said.contains("is where people reach the server"), "{said}");
    drop(crons);
}

#[tokio::test]
async fn dead_letters_are_found_shown_given_back_and_dropped() {
    let stack = Stack::all().await.unwrap();
    let js = stack.nats.jetstream().await.unwrap();
    let event = DeviceRemoved { account: AccountId::new(Uuid::from_u128(9)), device: 3.try_into().unwrap() };
    let dead_letter = async |consumer: &str, reason: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Nepto-Subject", DeviceRemoved::subject());
        headers.insert("Nepto-Reason", reason);
        let body = serde_json::to_vec(&event).unwrap();
        let sent = js.publish_with_headers(format!("dlq.EVENTS.{consumer}"), headers, body.into()).await.unwrap();
        sent.await.unwrap()
    };
    for number in 0..700 {
        dead_letter("auth-device-removed", if number % 2 == 0 { "it was late" } else { "it was early" }).await;
    }
    dead_letter("messaging-device-removed", "it was late").await;
    let list = async |filter: &[&str]| {
        json_of::<DeadLetter>(&stack, &[&["dead-letters", "list"], filter].concat()).await.len()
    };
    assert_eq!(list(&[]).await, 701);
    assert_eq!(list(&["--consumer", "messaging-device-removed"]).await, 1);
    assert_eq!(list(&["--reason", "late"]).await, 351);
    assert_eq!(list(&["--reason", "late", "--consumer", "auth-device-removed"]).await, 350);
    assert_eq!(list(&["--older-than", "1h"]).await, 0);
    assert_eq!(list(&["--newer-than", "1h"]).await, 701);
    assert_eq!(list(&["--subject", "events.keys.other"]).await, 0);
    let shown = order(&stack, &["dead-letters", "show", "701"]).await;
    assert!(shown.contains("messaging-device-removed") && shown.contains(&event.account.uuid().to_string()), "{shown}");
    // some are dropped, and all others given back
    order(&stack, &["dead-letters", "drop", "--all", "--reason", "early"]).await;
    assert_eq!(list(&[]).await, 351);
    order(&stack, &["dead-letters", "replay", "--all", "--consumer", "auth-device-removed"]).await;
    assert_eq!(list(&[]).await, 1);
    order(&stack, &["dead-letters", "drop", "701"]).await;
    assert_eq!(list(&[]).await, 0);
    for consumer in ["auth-device-removed", "messaging-device-removed"] {
        let worked_off = async || Ok(stack.nats.pending("EVENTS", consumer).await?.is_empty());
        eventually(seconds(20), worked_off).await.unwrap();
    }
    let (well, said) = admin(&stack, &["dead-letters", "show", "701"]).await;
    assert!(!well && said.contains("there is no dead letter 701"), "{said}");
    let (well, said) = admin(&stack, &["dead-letters", "replay"]).await;
    assert!(!well, "{said}");
}
