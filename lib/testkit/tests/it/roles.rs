//! `nepto-server` on its command line: configuration that is wrong, roles that run a part, the description of the API.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Instant;

use futures_util::StreamExt;
use nepto_proto::ErrorCode;
use nepto_proto::event::{DeviceRemoved, Event, WalletUnlinked};
use nepto_testkit::{Role, Settings, Stack, program, seconds};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::people::Person;

async fn server(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program("nepto-server").unwrap());
    command.args(arguments).env_clear().envs(environment.iter().copied()).kill_on_drop(true);
    command.output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn a_configuration_is_validated_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nepto.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "[gateway]\nsockets_max = 10\n").unwrap();
    let good = server(&["--config", path, "check-config"], &[]).await;
    assert!(good.status.success(), "{}", said(&good));
    for (text, named) in [
        ("[gateway]\nsocket_max = 10\n", "socket_max"),
        ("[gatewy]\n", "gatewy"),
        ("[gateway]\nsockets_max = -1\n", "sockets_max"),
        ("[nats]\nshards = 0\n", "shards"),
        ("not toml", "nepto.toml"),
    ] {
        std::fs::write(&file, text).unwrap();
        let bad = server(&["--config", path, "check-config"], &[]).await;
        assert_eq!(bad.status.code(), Some(2), "{text}");
        assert!(said(&bad).contains(named), "{text}: {}", said(&bad));
    }
    let absent = server(&["--config", "/nowhere.toml", "check-config"], &[]).await;
    assert!(!absent.status.success() && said(&absent).contains("/nowhere.toml"));
    let misspelt = server(&["check-config"], &[("NEPTO_NATS__URI", "nats://x")]).await;
    assert!(!misspelt.status.success() && said(&misspelt).contains("uri"), "{}", said(&misspelt));
}

/// Else whoever waits at the port makes systemd start it so often that systemd closes the port.
#[tokio::test]
async fn a_start_that_fails_at_a_port_of_systemd_takes_its_time() {
    for (arguments, variable) in [(["check-config"], "NEPTO_NATS__URI"), (["no-role"], "NEPTO_NATS__URL")] {
        let begun = Instant::now();
        let failed = server(&arguments, &[(variable, "nats://x"), ("LISTEN_FDS", "1")]).await;
        assert_eq!(failed.status.code(), Some(2), "{}", said(&failed));
        assert!(begun.elapsed() >= seconds(1), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_api_of_one_domain_serves_that_domain_alone() {
    let stack = Stack::split(1).await.unwrap();
    let keys = stack.start(Role::Api(vec!["keys".into()]), &Settings::new()).await.unwrap();
    let http = crate::http::client();
    let status = async |path: &str| http.post(format!("{}{path}", keys.url())).send().await.unwrap().status().as_u16();
    assert_eq!(status("/v1/keys/check").await, 401, "it is there, and asks who calls");
    assert_eq!(status("/v1/auth/nonce").await, 404);
    let unknown = stack.start(Role::Api(vec!["kees".into()]), &Settings::new()).await.unwrap_err();
    assert!(format!("{unknown:#}").contains("kees"), "{unknown:#}");
}

#[tokio::test]
async fn what_needs_a_database_does_not_start_on_one_that_nobody_provisioned() {
    let stack = Stack::all().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let empty = Settings::new().set("database.url", format!("surrealkv://{}", folder.path().display()));
    for role in [Role::Api(Vec::new()), Role::Worker, Role::Cron] {
        let refused = stack.start(role.clone(), &empty).await.unwrap_err();
        assert!(format!("{refused:#}").contains("nepto-server provision"), "{role:?}: {refused:#}");
    }
}

#[tokio::test]
async fn a_mistake_in_any_section_is_refused_by_every_role() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nepto.toml");
    let path = file.to_str().unwrap();
    for (text, named) in [
        ("[mailbox]\nmessages_max = 0\n", "mailbox.messages_max"),
        ("[sign_up]\nproof = \"money\"\n", "sign_up.proof"),
        ("[limits]\nsend_per_pair_per_minute = 1\n", "send_per_pair_per_minute"),
        ("[[chains]]\nid = 0\nrpc = [\"http://x\"]\n", "chains.id"),
    ] {
        std::fs::write(&file, text).unwrap();
        for role in ["all", "api", "gateway", "worker", "watcher", "cron", "provision", "check-config"] {
            let refused = server(&["--config", path, role], &[]).await;
            assert_eq!(refused.status.code(), Some(2), "{role}: {text}");
            assert!(said(&refused).contains(named), "{role}: {}", said(&refused));
        }
    }
}

#[tokio::test]
async fn only_the_api_that_issues_tokens_has_their_key() {
    let stack = Stack::split(1).await.unwrap();
    let without = Settings::new().set("tokens.signing_key_file", "/nowhere/tokens.pem");
    for role in [Role::Gateway, Role::Worker, Role::Watcher, Role::Cron, Role::Api(vec!["keys".into()])] {
        stack.start(role.clone(), &without).await.unwrap_or_else(|error| panic!("{role:?}: {error:#}"));
    }
    for role in [Role::Api(Vec::new()), Role::Api(vec!["auth".into()])] {
        let refused = stack.start(role.clone(), &without).await.unwrap_err();
        assert!(format!("{refused:#}").contains("tokens.signing_key_file"), "{role:?}: {refused:#}");
    }
}

#[tokio::test]
async fn a_process_opens_the_databases_of_what_it_runs_and_no_other() {
    let stack = Stack::split(1).await.unwrap();
    let queue = |name: &str| Role::Queues(vec![name.to_owned()]);
    let pipeline = stack.start(queue("erc20"), &Settings::new()).await.unwrap();
    let ready: Value =
        crate::http::get(format!("{}/readyz", pipeline.admin_url())).await.unwrap().json().await.unwrap();
    let checks = ready["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap());
    let databases: Vec<&str> = checks.filter(|check| check.starts_with("database")).collect();
    assert_eq!(databases, ["database assets"]);
    // what has no tables needs no server for them
    let nowhere = Settings::new().set("database.url", "ws://127.0.0.1:1");
    for role in [Role::Gateway, queue("message-router")] {
        stack.start(role.clone(), &nowhere).await.unwrap_or_else(|error| panic!("{role:?}: {error:#}"));
    }
    let unknown = stack.start(queue("erc777"), &Settings::new()).await.unwrap_err();
    assert!(format!("{unknown:#}").contains("there is no queue \"erc777\""), "{unknown:#}");
}

#[tokio::test]
async fn what_a_worker_has_to_tell_waits_for_no_api() {
    let stack = Stack::split(1).await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    let (account, wallet) = (person.account(), person.wallet().unwrap().address().to_string());
    stack.api.term().await.unwrap();
    let mut told = stack.nats.client().await.unwrap().subscribe(DeviceRemoved::subject()).await.unwrap();
    // newer than anything that was told
    let event = serde_json::to_vec(&WalletUnlinked { account, wallet, version: 9_999_999_999_999 }).unwrap();
    let jetstream = stack.nats.jetstream().await.unwrap();
    jetstream.publish(WalletUnlinked::subject(), event.into()).await.unwrap().await.unwrap();
    // the worker removes the device, and says so; the sessions end when there is an API again
    let removed = tokio::time::timeout(seconds(3), told.next()).await.expect("nobody was told").unwrap();
    let removed: DeviceRemoved = serde_json::from_slice(&removed.payload).unwrap();
    assert_eq!(removed.account, account);
}

/// The codes that a response of an operation may carry.
fn codes_of(operation: &Value, status: u16) -> Vec<&str> {
    let content = &operation["responses"][status.to_string()]["content"]["application/problem+json"];
    let codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"].as_array();
    codes.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether an operation says what it does, what its problems are, and what each of its parameters may be.
fn describes_well(name: &str, operation: &Value) {
    for words in ["summary", "operationId"] {
        assert!(operation[words].as_str().is_some_and(|words| words.len() > 5), "{name} has no {words}");
    }
    for (status, response) in operation["responses"].as_object().unwrap() {
        let kinds: Vec<&String> =
            response["content"].as_object().into_iter().flat_map(|content| content.keys()).collect();
        assert!(response["description"].as_str().is_some_and(|words| words.len() > 5), "{name} {status} has no words");
        let status: u16 = status.parse().unwrap();
        if status < 400 {
            assert!(!kinds.iter().any(|kind| kind.contains("problem")), "{name} {status}");
            continue;
        }
        assert_eq!(kinds, ["application/problem+json"], "{name} {status}");
        let codes = codes_of(operation, status);
        assert!(!codes.is_empty(), "{name} {status} has no codes");
        for code in codes {
            assert_eq!(code.parse::<ErrorCode>().map(ErrorCode::status), Ok(status), "{name}: {code}");
        }
    }
    assert!(
        operation["security"] == json!([{}]) || operation["security"].is_null(),
        "{name}: {}",
        operation["security"]
    );
    let mut named = BTreeSet::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        assert!(named.insert(parameter["name"].to_string()), "{name}: {parameter} stands there twice");
        let schema = &parameter["schema"];
        let has = |bounds: &[&str]| bounds.iter().all(|bound| !schema[*bound].is_null());
        let is_bound = match schema["type"].as_str() {
            Some("string") => has(&["pattern"]) || has(&["enum"]),
            Some("integer") => has(&["minimum", "maximum"]),
            Some("boolean") => true,
            _ => false,
        };
        assert!(is_bound, "{name}: {parameter} has no pattern or no bounds, or may be null");
    }
}

/// Every reference in a part of the description.
fn references<'a>(part: &'a Value, found: &mut BTreeSet<&'a str>) {
    match part {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_description_names_every_route_and_every_failure_is_a_problem() {
    let stack = Stack::all().await.unwrap();
    let http = crate::http::client();
    let description: Value =
        http.get(format!("{}/v1/openapi.json", stack.url())).send().await.unwrap().json().await.unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{}", description["openapi"]);
    // a reader has no source to follow a link into
    assert!(!description.to_string().contains("[`"));
    let mut named = BTreeSet::new();
    references(&description, &mut named);
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        let place = name.strip_prefix('#').unwrap();
        assert!(description.pointer(place).is_some(), "{name} leads nowhere");
    }
    let paths = description["paths"].as_object().unwrap();
    let token = Person::join(&stack).await.unwrap().client.http().access_token().await.unwrap();
    let (mut called, mut lists) = (BTreeSet::new(), 0);
    for (path, methods) in paths {
        // a path with any id in it: whatever is wrong, it is answered as the page says
        let concrete: Vec<&str> = path
            .split('/')
            .map(|part| if part.starts_with('{') { "0190a0a0-0000-7000-8000-000000000000" } else { part })
            .collect();
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            describes_well(&format!("{method} {path}"), operation);
            let url = format!("{}{}", stack.url(), concrete.join("/"));
            let request = http.request(method.parse().unwrap(), &url).header("content-type", "application/json");
            let response = request.body("{\"no such field\": 1}").send().await.unwrap();
            let status = response.status().as_u16();
            assert!(status != 404 && status != 405, "{method} {path} is described and not there");
            // what is described as open to all asks for no token, and everything else does
            let is_open = operation["security"] == json!([{}]);
            assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{method} {path}");
            if status >= 400 {
                let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
                assert_eq!(kind, "application/problem+json", "{method} {path}");
                called.insert(format!("{method} {path}"));
                if method == "HEAD" {
                    // it has no body (RFC 9110, 9.3.2)
                    assert_eq!(status == 401, !is_open, "{method} {path}");
                    continue;
                }
                let problem: Value = response.json().await.unwrap();
                let code = problem["code"].as_str().unwrap();
                assert!(codes_of(operation, status).contains(&code), "{method} {path} does not declare {problem}");
                assert_eq!(problem["code"] == "unauthenticated", !is_open, "{method} {path}: {problem}");
            }
            // an object is not the list of its values
            if operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].is_string() {
                let request = http.request(method.parse().unwrap(), url).header("content-type", "application/json");
                let response = request.bearer_auth(&token).body("[]").send().await.unwrap();
                let problem: Value = response.json().await.unwrap();
                let is_told =
                    problem["detail"].as_str().is_some_and(|detail| detail.contains("invalid type: sequence"));
                assert!(problem["code"] == "malformed" && is_told, "{method} {path}: {problem}");
                lists += 1;
            }
            called.insert(format!("{method} {path}"));
        }
    }
    for expected in
        ["POST /v1/auth/sign-in", "PUT /v1/keys", "GET /v1/accounts/{account}/bundles", "PUT /v1/contacts/{account}"]
    {
        assert!(called.contains(expected), "{expected} is not described: {called:#?}");
    }
    assert!(lists >= 9, "only {lists} operations take a body");
}
