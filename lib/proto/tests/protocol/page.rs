//! The parts of the page that follow from the code: the protobuf files, the codes, the bounds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use nepto_proto::api::endpoint::Declaration;
use nepto_proto::api::endpoints;
use nepto_proto::limits::*;
use nepto_proto::{CloseCode, ErrorCode};

use crate::{docs, expect_file, package};

/// The page with the parts that are generated filled in again.
fn page_in_step(page: &str) -> String {
    let mut page = page.to_owned();
    for file in ["nepto.proto", "content.proto"] {
        let text = fs::read_to_string(package().join("proto").join(file)).unwrap();
        let marker = format!("`proto/{file}`:\n\n```proto\n");
        let start = page.find(&marker).expect("the marker of a proto file") + marker.len();
        let end = start + page[start..].find("```").expect("the end of a proto file");
        page.replace_range(start..end, &format!("{}\n", text.trim_end()));
    }
    let marker = "<!-- codes -->\n";
    let start = page.find(marker).expect("the marker of the codes") + marker.len();
    let end = start + page[start..].find("\n## ").expect("the section after the codes");
    let mut table = String::from("\n| code | HTTP | meaning |\n|---|---|---|\n");
    for code in ErrorCode::ALL {
        table.push_str(&format!("| `{code}` | {} | {} |\n", code.status(), code.title()));
    }
    page.replace_range(start..end, &table);
    for (name, table) in [("limits", limits()), ("defaults", defaults()), ("endpoints", endpoints())] {
        let marker = format!("<!-- {name} -->\n");
        let start = page.find(&marker).expect("the marker of a table") + marker.len();
        let end = start + page[start..].find("\n<!-- end -->").expect("the end of a table");
        page.replace_range(start..end, &table);
    }
    page
}

/// A bound, told with its unit.
trait Told {
    fn shown(&self) -> String;
}

impl Told for usize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Told for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Told for Duration {
    fn shown(&self) -> String {
        format!("{} s", self.as_secs())
    }
}

impl Told for std::ops::RangeInclusive<usize> {
    fn shown(&self) -> String {
        format!("{} to {}", self.start(), self.end())
    }
}

/// Names, values and words of bounds.
macro_rules! bounds {
    ($($name:ident: $words:literal,)*) => {
        [$((stringify!($name), $name.shown(), $words)),*]
    };
}

/// The bounds that every server has; all of `limits.rs`, or the test fails.
fn limits() -> String {
    let bounds = bounds![
        FRAME_BYTES_MAX: "bytes of a frame",
        CIPHERTEXT_BYTES_MAX: "bytes of one device's ciphertext",
        TEXT_BYTES_MAX: "bytes of a text before it is encrypted",
        PADDING_BLOCK_BYTES: "bytes: content is padded to a multiple of it",
        ACK_WINDOW: "deliveries that may be unacknowledged on a connection",
        RECEIPT_IDS_MAX: "messages that one receipt names",
        PRESENCE_QUERY_MAX: "accounts in one presence query",
        HELLO_TIMEOUT: "from the opening of a socket to its `Hello`",
        HELLO_BYTES_MAX: "bytes that a socket may send until it has said `Hello`",
        PING_EVERY: "between two pings of the gateway",
        IDLE_TIMEOUT: "of silence, without even a pong, until a socket is closed",
        HTTP_BODY_BYTES_MAX: "bytes of an HTTP request's body",
        SIWE_BYTES_MAX: "bytes of a sign-in message",
        SIWE_RESOURCES_MAX: "resources of a sign-in message",
        SIGNATURE_BYTES_MAX: "bytes of a wallet's signature",
        CLOCK_SKEW_MAX: "that a client's clock may be off when it signs in",
        DEVICES_PER_ACCOUNT_MAX: "devices of an account",
        WALLETS_PER_ACCOUNT_MAX: "wallets of an account",
        ONE_TIME_PREKEYS_MAX: "one-time prekeys of each kind that are kept for a device",
        ONE_TIME_PREKEYS_RESERVED: "of them that only people get whom the device's owner accepted",
        ONE_TIME_PREKEYS_LOW: "one-time prekeys of a kind, below which a device is asked for more",
        HANDLE_CHARS: "characters of a handle",
        NAME_CHARS_MAX: "characters of a display name or of a device's name",
    ];
    let source = fs::read_to_string(package().join("src/limits.rs")).unwrap();
    for line in source.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let name = line.split(':').next().unwrap_or_default();
        assert!(bounds.iter().any(|(known, ..)| *known == name), "the table of limits lacks {name}");
    }
    let mut table = String::from("\n| at most | of what |\n|---|---|\n");
    for (_, value, words) in bounds {
        writeln!(table, "| {value} | {words} |").unwrap();
    }
    table
}

/// The section `[limits]` of the sample configuration, which a test of the server holds against its defaults.
fn defaults() -> String {
    let sample = fs::read_to_string(docs().join("nepto.example.toml")).unwrap();
    let section = sample.split("\n[limits]\n").nth(1).expect("the section [limits]");
    let section = section.split("\n[").next().unwrap_or_default();
    let mut table = String::from("\n| setting | default | what |\n|---|---|---|\n");
    let mut rows = 0;
    for line in section.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (setting, rest) = line.split_once(" = ").expect("a setting");
        let (value, words) = rest.split_once('#').unwrap_or_else(|| panic!("{setting} has no explanation behind it"));
        writeln!(table, "| `{setting}` | {} | {} |", value.trim(), words.trim()).unwrap();
        rows += 1;
    }
    assert!(rows > 5, "the test finds the settings");
    table
}

/// Every endpoint, with the codes of its own problems.
fn endpoints() -> String {
    let mut table = String::from("\n| endpoint | what it does | codes of its own |\n|---|---|---|\n");
    for Declaration { method, path, summary, has_token, own_codes, .. } in endpoints::all() {
        let codes: Vec<String> = own_codes.iter().map(|code| format!("`{code}`")).collect();
        let open = if has_token { "" } else { " (for everybody)" };
        writeln!(table, "| `{} {path}` | {summary}{open} | {} |", method.as_str(), codes.join(" ")).unwrap();
    }
    table
}

/// The requests that the page names: a method and a path, whatever its parts are called.
fn named(page: &str) -> BTreeSet<(&str, String)> {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let words: Vec<&str> = page.split(|c: char| c.is_whitespace() || c == '`').collect();
    let requests = words.windows(2).filter(|pair| methods.contains(&pair[0]) && pair[1].starts_with("/v1/"));
    requests.map(|pair| (pair[0], shape(pair[1].split('?').next().unwrap_or_default()))).collect()
}

/// A path without the names of its parameters.
fn shape(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn every_endpoint_that_the_page_names_exists() {
    let page = fs::read_to_string(docs().join("PROTOCOL.md")).unwrap();
    let table = page.find("<!-- endpoints -->").expect("the table of all endpoints");
    let named = named(&page[..table]);
    assert!(named.len() > 20, "the test finds them: {named:?}");
    let all: BTreeSet<(&str, String)> =
        endpoints::all().iter().map(|one| (one.method.as_str(), shape(one.path))).collect();
    let unknown: Vec<_> = named.difference(&all).filter(|(_, path)| path != "/v1/openapi.json").collect();
    assert!(unknown.is_empty(), "PROTOCOL.md names what does not exist: {unknown:?}");
}

#[test]
fn the_page_is_in_step_with_the_code() {
    let path = docs().join("PROTOCOL.md");
    let page = fs::read_to_string(&path).unwrap();
    expect_file(&path, &page_in_step(&page));
    for code in CloseCode::ALL {
        let row = format!("| {} | {} |", code.get(), code.reason());
        assert!(page.contains(&row), "PROTOCOL.md lacks the close code: {row}");
    }
}
