//! What operators see: lines of the log and metrics of running processes, as their book says.

mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nepto_testkit::{Stack, eventually, seconds};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::channels;
use crate::people::{Person, friends};

/// The rows of a table of the operators' book, between its marker and the end.
fn table(marker: &str) -> Vec<String> {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let book = std::fs::read_to_string(book).unwrap();
    let table = book.split(&format!("<!-- {marker} -->")).nth(1).and_then(|rest| rest.split("<!-- end -->").next());
    let rows = table.unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split(" |").next()).map(|names| format!("`{names}")).collect()
}

/// What stands in backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// People who sign in, talk, are refused, and remove a device.
async fn busy(stack: &Stack) {
    let (alice, mut bob) = friends(stack).await.unwrap();
    alice.says(&bob, "hello again").await.unwrap();
    bob.hears_text("hello again").await.unwrap();
    let second = alice.second_device(stack).await.unwrap();
    alice.client.http().delete_device(second.client.device()).await.unwrap();
    let client = reqwest::Client::new();
    for path in ["/v1/accounts/me", "/v1/no-such-thing", "/v1/info"] {
        client.get(format!("{}{path}", stack.url())).bearer_auth("no token").send().await.unwrap();
    }
    let http = alice.client.http();
    let media = http.begin_upload(5).await.unwrap();
    http.append_to_upload(media, 0, b"files").await.unwrap();
    let address = http.media_address(media).await.unwrap().address;
    assert_eq!(client.get(format!("{}{address}", stack.url())).send().await.unwrap().text().await.unwrap(), "files");
    http.delete_media(media).await.unwrap();
    channels::talk(stack).await;
}

#[tokio::test]
async fn a_line_of_the_log_is_json_with_the_fields_of_the_book() {
    let filter = "info,nepto_kit=debug,nepto_domains=debug,nepto_chain=debug,nepto_server=debug";
    let builder = Stack::builder().unlimited().set("log.format", "json").set("log.filter", filter);
    let stack = builder.all().await.unwrap();
    busy(&stack).await;
    let known = table("log fields");
    let known: BTreeSet<&str> = known.iter().flat_map(|cell| names(cell)).collect();
    assert!(known.len() > 40, "{known:?}");

    let log = stack.api.log();
    let (mut ours, mut spans) = (0, BTreeSet::new());
    for line in log.lines() {
        let line: Map<String, Value> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("{field}: {line:?}"));
        let timestamp = text("timestamp");
        OffsetDateTime::parse(timestamp, &Rfc3339).unwrap();
        assert!(timestamp.ends_with('Z'), "{timestamp}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&text("level")), "{line:?}");
        if !text("target").starts_with("nepto_") {
            continue;
        }
        ours += 1;
        assert!(!text("message").is_empty());
        for field in line.keys() {
            assert!(known.contains(field.as_str()), "the book does not explain {field}: {line:?}");
        }
        if let Some(span) = line.get("span") {
            spans.insert(span["name"].as_str().unwrap().to_owned());
            let fields = ["name", "method", "path", "request_id", "status", "domain", "operation", "consumer", "node"];
            let fields = BTreeSet::from(fields);
            assert!(span.as_object().unwrap().keys().all(|field| fields.contains(field.as_str())), "{line:?}");
        }
    }
    assert!(ours > 20, "{ours} lines\n{log}");
    assert!(spans.contains("http"), "{spans:?}");
    assert!(log.contains("\"request_id\""), "a message is followed by its id");
}

/// Samples of a page of metrics: names with their labels.
fn samples(page: &str) -> Vec<(String, Vec<(String, String)>)> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let labels = rest.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (label, value) = label.split_once("=\"").unwrap();
            (label.to_owned(), value.trim_end_matches('"').to_owned())
        });
        (name.to_owned(), labels.collect())
    };
    lines.map(sample).collect()
}

/// Whether a value looks like what names somebody or something of theirs: UUIDs, addresses, keys, hashes, drawn names.
fn looks_like_an_id(value: &str) -> bool {
    let longest = value.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max().unwrap_or_default();
    value.contains("0x") || longest >= 8 && value.bytes().any(|byte| byte.is_ascii_digit()) || value.len() > 80
}

#[tokio::test]
async fn a_page_of_metrics_has_help_and_types_and_names_nobody() {
    assert!(looks_like_an_id("01a20f45-3963-7559-80cb-f59fd035b63e") && looks_like_an_id("0x336b"));
    assert!(!looks_like_an_id("/v1/accounts/{account}/devices") && !looks_like_an_id("messaging-device-removed"));
    let stack = Stack::builder().unlimited().all().await.unwrap();
    busy(&stack).await;
    Person::join(&stack).await.unwrap();
    let page = async || {
        let answer = reqwest::get(format!("{}/metrics", stack.api.admin_url())).await.unwrap();
        answer.text().await.unwrap()
    };
    // what is looked at every few seconds
    eventually(seconds(30), async || Ok(page().await.contains("nepto_stream_messages{"))).await.unwrap();
    let page = page().await;
    let book = table("metrics");
    let explained: BTreeMap<&str, &str> = book
        .iter()
        .filter_map(|cell| names(cell).next())
        .map(|metric| {
            metric.split_once('{').map_or((metric, ""), |(name, labels)| (name, labels.trim_end_matches('}')))
        })
        .collect();
    let samples = samples(&page);
    assert!(samples.len() > 100, "{page}");
    for (sample, labels) in samples {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| sample.strip_suffix(part));
        let name = parts.chain([sample.as_str()]).find(|name| explained.contains_key(name));
        let name = name.unwrap_or_else(|| panic!("the book does not explain {sample}"));
        assert!(page.contains(&format!("# HELP {name} ")) && page.contains(&format!("# TYPE {name} ")), "{name}");
        let declared: BTreeSet<&str> = explained[name].split(',').filter(|label| !label.is_empty()).collect();
        for (label, value) in &labels {
            assert!(label == "le" || declared.contains(label.as_str()), "{sample}{{{label}}}");
            assert!(!looks_like_an_id(value), "{sample}{{{label}={value:?}}}");
            assert_ne!(label, "quantile", "{sample} is a summary, which can't be added up over processes");
        }
    }
}
