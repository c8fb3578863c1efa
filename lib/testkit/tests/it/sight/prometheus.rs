//! A real Prometheus with the configuration that is shipped asks every role at work what dashboards and alerts ask.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{
    Anvil, Launch, Port, Process, Role, Server, Settings, Stack, WatchedChain, eventually, folder, seconds,
};
use serde_json::Value;
use tempfile::TempDir;

use super::busy;

/// What may have no answer here, and why.
const SILENT: &[(&str, &str)] = &[
    ("node_", "there is no exporter of the host"),
    ("redis_", "there is no exporter of Redis"),
    ("probe_", "nobody asks from outside"),
    ("nepto_backup_", "no backup is made"),
    ("ALERTS", "nothing is wrong"),
    ("outcome=\"failed\"", "nothing fails"),
    ("nepto_http_refused_total", "there is room for everybody"),
    ("nepto_rate_limited_total", "the limits are out of reach"),
    ("nepto_service_expired_total", "nothing waits for so long"),
    ("nepto_chain_reverted_blocks_total", "no block is orphaned"),
    ("nepto_chain_halted_total", "no final block is another one"),
    ("nepto_chain_updates_replayed_total", "no update is missed"),
    ("nepto_chain_gap_blocks", "no contract came later"),
    ("nepto_hook_deliveries_total", "there is no webhook"),
    ("nepto_hint_lead_seconds", "there is no webhook"),
    ("nepto_contract_rechecks_total", "nobody has a wallet that is a contract"),
    ("nepto_token_metadata_total", "nobody looks at tokens"),
    ("nepto_token_images_total", "nobody looks at tokens"),
    ("nepto_fetches_total", "nobody looks at tokens"),
];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../observability")
}

struct Prometheus {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Prometheus {
    /// With what is shipped, but for how often it looks, and where.
    async fn start(servers: &[&Server], database: &Server) -> Result<Self> {
        let (folder, port) = (folder("nepto-prometheus-")?, Port::reserve()?);
        for part in ["rules", "targets"] {
            fs::create_dir(folder.path().join(part))?;
        }
        let from = shipped().join("prometheus");
        let configuration = fs::read_to_string(from.join("prometheus.yml"))?;
        let configuration = configuration.replace("15s", "1s").replace("127.0.0.1:9090", &port.address().to_string());
        fs::write(folder.path().join("prometheus.yml"), configuration)?;
        for rules in ["rules/nepto.yml", "rules/promises.yml"] {
            fs::copy(from.join(rules), folder.path().join(rules))?;
        }
        let targets: Vec<String> = servers.iter().map(|server| server.admin_url().replace("http://", "")).collect();
        fs::write(folder.path().join("targets/nepto.yml"), format!("- targets: {targets:?}\n"))?;
        let database = format!("- targets: [\"{}\"]\n", database.address());
        fs::write(folder.path().join("targets/database.yml"), database)?;
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache"))).unwrap_or_default();
        let cached = cache.join("nepto/tools/prometheus");
        let process = Process::start(Launch {
            name: "prometheus".into(),
            program: if cached.exists() { cached } else { "prometheus".into() },
            arguments: vec![
                "--config.file=prometheus.yml".into(),
                "--storage.tsdb.path=data".into(),
                format!("--web.listen-address={}", port.address()).into(),
            ],
            environment: Vec::new(),
            folder: folder.path().to_owned(),
        })?;
        let prometheus = Self { process, port, _folder: folder };
        let ready = async || Ok(prometheus.get("-/ready").await.is_ok());
        prometheus.process.or_ended(eventually(seconds(30), ready)).await?;
        Ok(prometheus)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let answer = reqwest::get(format!("http://{}/{path}", self.port.address())).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// How many lines an expression gives.
    async fn ask(&self, expression: &str) -> Result<usize> {
        let url = format!("http://{}/api/v1/query", self.port.address());
        let answer = reqwest::Client::new().get(url).query(&[("query", expression)]).send().await?;
        let answer: Value = answer.json().await?;
        let result = answer["data"]["result"].as_array().with_context(|| format!("{expression}: {answer}"))?;
        Ok(result.len())
    }

    /// Every rule as it was evaluated last.
    async fn rules(&self) -> Result<Vec<Value>> {
        let answer: Value = serde_json::from_str(&self.get("api/v1/rules").await?)?;
        let groups = answer["data"]["groups"].as_array().context("no groups")?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }
}

/// The expressions of all panels, with their titles.
fn questions() -> Result<Vec<(String, String)>> {
    let boards: toml::Table = fs::read_to_string(shipped().join("grafana/dashboards.toml"))?.parse()?;
    let boards = boards["dashboard"].as_array().context("no dashboards")?;
    let mut questions = Vec::new();
    for panel in boards.iter().filter_map(|board| board["panels"].as_array()).flatten() {
        let title = panel["title"].as_str().context("no title")?;
        for query in panel["queries"].as_array().context("no queries")? {
            let expression = query[1].as_str().context("no expression")?;
            questions.push((title.to_owned(), expression.replace("$__rate_interval", "10s")));
        }
    }
    Ok(questions)
}

/// Names of our metrics in an expression.
fn ours(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':'));
    words.filter(|word| word.starts_with("nepto_")).map(str::to_owned).collect()
}

fn may_be_silent(expression: &str) -> bool {
    SILENT.iter().any(|(part, _)| expression.contains(part))
}

#[tokio::test]
async fn every_question_of_dashboards_and_alerts_has_an_answer() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 2).contracts(&contracts);
    let stack = Stack::builder().unlimited().chain(&chain).split(1).await.unwrap();
    let watcher = stack.start(Role::Watcher, &Settings::new()).await.unwrap();
    let cron = stack.start(Role::Cron, &Settings::new()).await.unwrap();
    let servers = [stack.servers(), vec![&watcher, &cron]].concat();
    assert_eq!(servers.len(), 5, "each role");
    let database = stack.database.as_ref().expect("the role `database`");
    let prometheus = Prometheus::start(&servers, database).await.unwrap();

    let well = async || {
        let mut unanswered = Vec::new();
        busy(&stack).await;
        anvil.mine(1).await?;
        for (title, expression) in questions()? {
            if prometheus.ask(&expression).await? == 0 && !may_be_silent(&expression) {
                unanswered.push(format!("{title}: {expression}"));
            }
        }
        for rule in prometheus.rules().await? {
            let expression = rule["query"].as_str().context("no expression")?;
            for metric in ours(expression) {
                if prometheus.ask(&metric).await? == 0 && !may_be_silent(expression) {
                    unanswered.push(format!("{}: {metric}", rule["name"]));
                }
            }
        }
        anyhow::Ok(unanswered)
    };
    let mut left = Vec::new();
    let answered = eventually(seconds(90), async || {
        left = well().await?;
        Ok(left.is_empty())
    });
    answered.await.unwrap_or_else(|error| panic!("{error:#}: no answer to {left:#?}"));

    // each is evaluated, and whoever is well alarms nobody
    let rules = prometheus.rules().await.unwrap();
    assert!(rules.len() > 50, "{}", rules.len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        assert_ne!(rule["state"], "firing", "{rule:#}");
    }
}
