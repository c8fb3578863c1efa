//! What is in `observability/`: dashboards, alerts and their runbooks, held against each other and against the metrics that
//! there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::paths::Paths;
use crate::tools::prometheus;

/// Panels of a row of a dashboard; a row is 24 wide.
const COLUMNS: usize = 3;
const HEIGHT: usize = 8;

/// Metrics of Prometheus itself, and of the exporters of others.
const OF_OTHERS: [&str; 4] = ["node_", "redis_", "probe_", "surrealdb_"];

fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this");
    Path::new(&own).join("../..").canonicalize().expect("the checkout")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dashboards {
    dashboard: Vec<Dashboard>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dashboard {
    uid: String,
    title: String,
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    unit: String,
    #[serde(default)]
    big: bool,
    /// Each a legend and an expression.
    queries: Vec<(String, String)>,
}

fn dashboards() -> Vec<Dashboard> {
    let read: Dashboards = toml::from_str(&read("observability/grafana/dashboards.toml")).expect("the dashboards");
    read.dashboard
}

impl Panel {
    /// As Grafana reads it (schema 39), in its place.
    fn to_json(&self, place: usize) -> Value {
        let source = json!({ "type": "prometheus", "uid": "${source}" });
        let target = |(number, (legend, expression)): (usize, &(String, String))| {
            json!({
                "refId": char::from(b'A' + number as u8).to_string(),
                "datasource": source,
                "editorMode": "code",
                "expr": expression,
                "legendFormat": if legend.is_empty() { self.title.as_str() } else { legend.as_str() },
                "range": true,
            })
        };
        let targets: Vec<Value> = self.queries.iter().enumerate().map(target).collect();
        let (kind, options) = match self.big {
            true => ("stat", json!({ "reduceOptions": { "calcs": ["lastNotNull"] }, "colorMode": "none" })),
            false => (
                "timeseries",
                json!({
                    "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                    "tooltip": { "mode": "multi", "sort": "desc" },
                }),
            ),
        };
        json!({
            "id": place + 1,
            "type": kind,
            "title": self.title,
            "datasource": source,
            "gridPos": { "h": HEIGHT, "w": 24 / COLUMNS, "x": place % COLUMNS * (24 / COLUMNS), "y": place / COLUMNS * HEIGHT },
            "fieldConfig": { "defaults": { "unit": self.unit, "min": 0 }, "overrides": [] },
            "options": options,
            "targets": targets,
        })
    }
}

impl Dashboard {
    fn to_json(&self) -> Value {
        let panels: Vec<Value> = self.panels.iter().enumerate().map(|(place, panel)| panel.to_json(place)).collect();
        json!({
            "uid": self.uid,
            "title": self.title,
            "tags": ["nepto"],
            "schemaVersion": 39,
            "editable": false,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-6h", "to": "now" },
            "timezone": "browser",
            "templating": { "list": [{ "name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus" }] },
            "links": [{ "type": "dashboards", "title": "Nepto", "tags": ["nepto"], "asDropdown": true }],
            "panels": panels,
        })
    }
}

#[test]
fn dashboards_are_what_they_are_made_of() {
    let folder = root().join("observability/grafana");
    let mut wanted = BTreeSet::new();
    for dashboard in dashboards() {
        let (name, made) = (format!("{}.json", dashboard.uid), dashboard.to_json());
        if std::env::var_os("NEPTO_UPDATE_DOCS").is_some() {
            fs::write(folder.join(&name), format!("{made:#}\n")).unwrap();
        }
        let found = fs::read_to_string(folder.join(&name)).unwrap_or_default();
        let found: Value = serde_json::from_str(&found).unwrap_or_default();
        assert!(found == made, "{name} is out of step; run with NEPTO_UPDATE_DOCS=1");
        wanted.insert(name);
    }
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = names.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(found, wanted);
}

/// Words of an expression that may be metrics: not the labels, functions and keywords around them.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':'));
    let prefixes = ["nepto_", "nepto:"].into_iter().chain(OF_OTHERS).collect::<Vec<_>>();
    words.filter(move |word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_there_are() {
    let (book, rules) = (read("docs/OPERATIONS.md"), rules());
    let dashboards = dashboards();
    let queries = dashboards.iter().flat_map(|dashboard| &dashboard.panels).flat_map(|panel| &panel.queries);
    let mut asked: Vec<&str> = queries.flat_map(|(_, expression)| metrics_in(expression)).collect();
    // what is no expression there is a comment, a sentence or a heading
    let lines = rules.lines().map(str::trim).filter(|line| !line.starts_with(['#']) && !line.starts_with("runbook:"));
    asked.extend(lines.flat_map(metrics_in));
    assert!(asked.len() > 100, "the test finds them");
    for metric in asked {
        let exists = match metric.strip_prefix("nepto") {
            Some(rest) if rest.starts_with(':') => rules.contains(&format!("record: {metric}\n")),
            Some(_) => {
                let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| metric.strip_suffix(part));
                parts
                    .chain([metric])
                    .any(|name| book.contains(&format!("`{name}`")) || book.contains(&format!("`{name}{{")))
            }
            None => true,
        };
        assert!(exists, "there is no {metric}");
    }
}

#[test]
fn every_metric_of_ours_is_on_a_dashboard_or_in_an_alert() {
    let (book, rules) = (read("docs/OPERATIONS.md"), rules());
    let boards = read("observability/grafana/dashboards.toml");
    let asked: BTreeSet<&str> = metrics_in(&boards).chain(metrics_in(&rules)).collect();
    let table =
        book.split("<!-- metrics -->").nth(1).and_then(|rest| rest.split("<!-- end -->").next()).expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    let unseen: Vec<&str> = rows
        .filter(|name| {
            !["", "_bucket", "_sum", "_count"].iter().any(|part| asked.contains(format!("{name}{part}").as_str()))
        })
        .collect();
    assert_eq!(unseen, ON_NONE, "show it, or say here why not");
}

/// Looked at when something else points there.
const ON_NONE: [&str; 9] = [
    "nepto_http_forwarded_unread_total",
    "nepto_http_slow_bodies_total",
    "nepto_job_seconds",
    "nepto_refresh_refused_total",
    // the check `stream DM_<s>` of /readyz
    "nepto_store_failed_total",
    // the same as the levels of the streams, counted by a job
    "nepto_mailbox_messages",
    "nepto_mailbox_bytes",
    "nepto_token_queue_full_total",
    "nepto_image_cache_bytes",
];

/// All alerts and what they are computed from.
fn rules() -> String {
    ["nepto", "promises"].map(|name| read(&format!("observability/prometheus/rules/{name}.yml"))).concat()
}

fn alerts(rules: &str) -> BTreeSet<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let (rules, runbooks) = (rules(), read("docs/RUNBOOKS.md"));
    let headings: BTreeSet<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts(&rules);
    assert!(alerts.len() > 30, "{alerts:?}");
    assert_eq!(alerts, headings);
    for alert in alerts {
        let link = format!("runbook: docs/RUNBOOKS.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} does not say where its runbook is");
    }
}

fn run_promtool(arguments: &[&str]) {
    let programs = prometheus::find(&Paths::find().unwrap()).expect("promtool; `cargo xtask test` fetches it");
    let output =
        Command::new(programs.promtool).args(arguments).current_dir(root().join("observability/prometheus")).output();
    let output = output.expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}:\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn alerts_ring_when_they_should_and_not_before() {
    run_promtool(&["check", "config", "prometheus.yml"]);
    run_promtool(&["test", "rules", "tests/nepto.yml", "tests/hours.yml", "tests/promises.yml"]);
    // and none of them was left out
    let tests =
        ["nepto", "hours", "promises"].map(|name| read(&format!("observability/prometheus/tests/{name}.yml"))).concat();
    for alert in alerts(&rules()) {
        let marker = format!("alertname=\"{alert}\"");
        let asked = || tests.lines().filter(|line| line.contains(&marker));
        let silent = asked().any(|line| line.contains("exp_samples: []"));
        let rings = asked().any(|line| line.contains("value: 1"));
        assert!(silent && rings, "{alert} must be silent once, and ring once");
    }
}
