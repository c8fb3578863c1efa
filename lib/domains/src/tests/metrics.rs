//! What is counted where it happens, what is declared, and what the operators' book tells are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use nepto_kit::metric::{Kind, LABELS, Metric, OWN};

use super::code_in;

fn declared() -> Vec<Metric> {
    OWN.iter().copied().chain(crate::metrics()).collect()
}

/// A metric as a line of the code counts it: what it is, and its labels.
type Counted = (&'static str, BTreeSet<String>);

/// A text up to the parenthesis that closes what was opened before it.
fn within_parentheses(text: &str) -> &str {
    let mut open = 1;
    let end = text.find(|c: char| {
        open += i32::from(c == '(') - i32::from(c == ')');
        open == 0
    });
    &text[..end.unwrap_or(text.len())]
}

/// Every metric that the server's code counts, by its name.
fn counted() -> BTreeMap<String, BTreeSet<Counted>> {
    let folders = ["src", "../kit/src", "../chain/src", "../../bins/nepto-server/src"];
    let mut counted: BTreeMap<String, BTreeSet<Counted>> = BTreeMap::new();
    for (path, text) in folders.into_iter().flat_map(code_in) {
        for (kind, call) in
            [("counter", "metrics::counter!("), ("gauge", "metrics::gauge!("), ("histogram", "metrics::histogram!(")]
        {
            for rest in text.split(call).skip(1) {
                let arguments = within_parentheses(rest);
                let name = arguments.split('"').nth(1).unwrap_or_else(|| panic!("no name in {}", path.display()));
                let mut labels: Vec<&str> = arguments.split("\" =>").collect();
                // behind the last label is only its value
                labels.pop();
                let labels = labels.into_iter().filter_map(|before| before.rsplit('"').next()).map(str::to_owned);
                counted.entry(name.to_owned()).or_default().insert((kind, labels.collect()));
            }
        }
    }
    counted
}

#[test]
fn what_is_declared_is_what_is_counted() {
    let (declared, counted) = (declared(), counted());
    assert!(counted.len() > 50, "the test finds them: {:?}", counted.keys());
    let names: BTreeSet<&str> = declared.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), declared.len(), "one is declared twice");
    let unknown: Vec<_> = counted.keys().filter(|name| !names.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "declare {unknown:?} in lib/kit/src/metric.rs or the domain's metrics.rs");
    for metric in &declared {
        let found = counted.get(metric.name).unwrap_or_else(|| panic!("nobody counts {}", metric.name));
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let wanted: Counted = (kind, metric.labels.iter().map(|label| (*label).to_owned()).collect());
        assert_eq!(
            found,
            &BTreeSet::from([wanted]),
            "{} is declared with these labels, and counted with others",
            metric.name
        );
    }
}

/// <https://prometheus.io/docs/practices/naming/>
#[test]
fn names_follow_the_convention() {
    for metric in declared() {
        let name = metric.name;
        assert!(
            name.starts_with("nepto_") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        for unit in
            ["_ms", "_millis", "_us", "_minutes", "_hours", "_kb", "_mb", "_percent", "_count", "_sum", "_bucket"]
        {
            assert!(
                !name.ends_with(unit),
                "{name}: seconds, bytes and ratios, and no suffix that Prometheus adds itself"
            );
        }
        if let Kind::Histogram(buckets) = metric.kind {
            assert!(buckets.len() > 3 && buckets.is_sorted(), "{name}");
            assert!(["_seconds", "_messages", "_bytes"].iter().any(|unit| name.ends_with(unit)), "{name}");
        }
        assert!(metric.help.len() > 10 && !metric.help.contains(['\n', '|']), "{name}");
    }
}

/// A label is one of a list, whose entries say what bounds their values: no name of a person, a device, a message or a request.
#[test]
fn no_label_is_an_id() {
    let known: BTreeSet<&str> = LABELS.iter().map(|(label, _)| *label).collect();
    let mut used = BTreeSet::new();
    for metric in declared() {
        for label in metric.labels {
            assert!(known.contains(label), "{}: what bounds the values of {label}? Say so in LABELS", metric.name);
            used.insert(*label);
        }
    }
    assert_eq!(used, known, "a label in LABELS that no metric has");
}

#[test]
fn the_operators_book_explains_every_metric_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let book = std::fs::read_to_string(&path).unwrap();
    let mut table = String::from("\n| metric | what it tells |\n|---|---|\n");
    for Metric { name, labels, help, .. } in declared() {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(table, "| `{name}{labels}` | {help} |").unwrap();
    }
    let marker = "<!-- metrics -->\n";
    let start = book.find(marker).expect("the marker of the metrics") + marker.len();
    let end = start + book[start..].find("\n<!-- end -->").expect("the end of the metrics");
    if std::env::var_os("NEPTO_UPDATE_DOCS").is_some() {
        let mut updated = book.clone();
        updated.replace_range(start..end, &table);
        std::fs::write(&path, updated).unwrap();
        return;
    }
    assert!(book[start..end] == table, "docs/OPERATIONS.md is out of step; run with NEPTO_UPDATE_DOCS=1");
    // and what it says elsewhere exists
    let names: BTreeSet<&str> = declared().iter().map(|metric| metric.name).collect();
    for mention in book.split("`nepto_").skip(1) {
        let name: String = mention.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        let name = format!("nepto_{name}");
        assert!(names.contains(name.as_str()) || FROM_ELSEWHERE.contains(&name.as_str()), "there is no {name}");
    }
}

/// Written to a file beside the last backup, and to one beside its copy, for the exporter of their host.
const FROM_ELSEWHERE: [&str; 4] = [
    "nepto_backup_last_success_timestamp_seconds",
    "nepto_backup_last_success_bytes",
    "nepto_backup_failed",
    "nepto_backup_copy_failed",
];
