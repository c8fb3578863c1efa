//! The configuration: one struct per concern, unknown fields refused, every value with a default that suits one machine.
//!
//! What every process needs stands here; what a domain needs is declared by the domain ([`Section`]). All of it is read and
//! checked in every role, so a gateway refuses a mistake that only a worker would have stumbled over.
//!
//! Read from a TOML file and then from the environment: `NEPTO_<SECTION>__<FIELD>` sets one field, for example
//! `NEPTO_NATS__URL=nats://10.0.0.5:4222` or `NEPTO_PUBLIC__CHAINS=[1,137]`, and `NEPTO_<SECTION>__<FIELD>__FILE` names a file
//! with its text. An empty variable sets nothing.

mod backup;
mod database;
mod fetch;
mod http;
mod nats;
mod redis;
mod section;
mod source;
mod traces;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use self::section::Sections;
use self::source::Source;

pub use self::redis::Redis;
pub use backup::Backup;
pub use database::{Database, Elsewhere, Place, UserOf};
pub use fetch::Fetch;
pub use http::Http;
pub use nats::Nats;
pub use section::{Declared, Section};
pub use source::fields_of;
pub use traces::Traces;

/// Everything a process needs to know before it starts.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The file that it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// The name of this process, and how it stops.
    pub node: Node,
    /// The public listener: HTTP and sockets.
    pub http: Http,
    /// The operator's listener: health and metrics.
    pub admin: Admin,
    /// What the outside world calls this server.
    pub public: Public,
    /// Where NATS is, and what its streams may hold.
    pub nats: Nats,
    /// Where Redis is.
    pub redis: Redis,
    /// Where SurrealDB is, and who signs in to it.
    pub database: Database,
    /// Where backups go, and who can read them.
    pub backup: Backup,
    /// How access tokens are checked.
    pub tokens: Tokens,
    /// Rate limits of every process.
    pub limits: Limits,
    /// Fetching from untrusted hosts.
    pub fetch: Fetch,
    /// What is logged, and how it looks.
    pub log: Log,
    /// Where traces go.
    pub traces: Traces,
    /// What the domains declare.
    sections: Sections,
}

/// The name of this process, and how it stops.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Name in logs and presence records; unique per process. Drawn at random when empty.
    pub name: String,
    /// How long a stopping process may take to finish what it began.
    pub drain_ms: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self { name: String::new(), drain_ms: 5_000 }
    }
}

/// The operator's listener: `/healthz`, `/readyz`, `/metrics`, and what `nepto admin` asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port; keep it off the public network.
    #[serde(deserialize_with = "http::listener")]
    pub listen: SocketAddr,
    /// Names that it is asked under, beside addresses and names without a public domain: a page in a browser that made its own
    /// name lead here is turned away.
    pub names: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)), names: Vec::new() }
    }
}

/// What the outside world calls this server.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    /// The authority in sign-in messages.
    pub domain: String,
    /// The URI in sign-in messages and the base of the HTTP API.
    pub uri: String,
    /// EIP-155 chain ids that sign-in messages may name.
    pub chains: Vec<u64>,
    /// WebSocket addresses handed to clients, any of which serves any client.
    pub sockets: Vec<String>,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            domain: "localhost:8080".into(),
            uri: "http://localhost:8080".into(),
            chains: vec![1],
            sockets: vec!["ws://localhost:8080/v1/socket".into()],
        }
    }
}

/// How access tokens are checked. What it takes to make them is declared by the domain that does.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Ed25519 public key, SubjectPublicKeyInfo in PEM: everywhere.
    pub verifying_key_file: PathBuf,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { verifying_key_file: ".nepto/keys/tokens.pub.pem".into() }
    }
}

/// Rate limits of every process. Each domain declares its own beside these.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests of one account to the HTTP API.
    pub requests_per_account_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_account_per_minute: 600 }
    }
}

/// What is logged, and how it looks.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What to log, as `tracing` filters, for example `info,nepto=debug`.
    pub filter: String,
    /// `json` for machines, `text` for people.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// A line for people, with colours on a terminal.
    Text,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Json }
    }
}

/// A name in a configuration that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum UnknownName {
    /// A section that does not exist.
    #[error(
        "there is no section [{section}]; there are {known} (what became of those of older versions is in CHANGELOG.md)"
    )]
    Section {
        /// As it is written.
        section: String,
        /// The sections that exist, as text.
        known: String,
    },
    /// A field that does not exist.
    #[error(
        "there is no field `{field}` in [{section}]; there are {known} (what became of those of older versions is in CHANGELOG.md)"
    )]
    Field {
        /// The section that was looked in.
        section: String,
        /// The name, as it is written.
        field: String,
        /// The fields that the section has, as text.
        known: String,
    },
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read: {source}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// Not TOML, or a value of the wrong kind.
    #[error("the configuration is not valid: {0}")]
    Parse(#[from] toml::de::Error),
    /// A section or a field that does not exist.
    #[error("the configuration is not valid: {0}")]
    Unknown(#[from] UnknownName),
    /// An environment variable that names no field.
    #[error("the environment variable {0} must look like NEPTO_<SECTION>__<FIELD>")]
    Variable(String),
    /// A setting of the environment that names no field, or does not fit it.
    #[error("the environment variable {name} is not valid: {problem}")]
    Environment {
        /// Its name, as it is set.
        name: String,
        /// What does not fit; English, for people.
        problem: String,
    },
    /// Well-formed, but makes no sense.
    #[error("the configuration is not valid: {field}: {problem}")]
    Value {
        /// The setting, `<section>.<field>`.
        field: &'static str,
        /// What makes no sense about it; English, for people.
        problem: String,
    },
    /// Any of these, in a file.
    #[error("{}: {source}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        source: Box<ConfigError>,
    },
}

impl ConfigError {
    /// A value that makes no sense: `section.field`, and what it must be.
    pub fn value(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Value { field, problem: problem.into() }
    }
}

impl Config {
    /// Reads a file, if one is named, then the environment. `declared` are the sections of all domains.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        declared: &[Declared],
    ) -> Result<Self, ConfigError> {
        let Some(path) = file else { return Self::parse("", environment, declared) };
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let read = Self::parse(&text, environment, declared).map_err(|error| match error {
            // the file is as good as before
            ConfigError::Environment { .. } | ConfigError::Variable(_) => error,
            error => ConfigError::File { path: path.to_owned(), source: Box::new(error) },
        });
        Ok(Self { file: Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())), ..read? })
    }

    /// Reads a text, then the environment.
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        declared: &[Declared],
    ) -> Result<Self, ConfigError> {
        let mut source = Source::new(text, environment)?;
        let config = Self::read(&mut source, declared)?;
        source.finish()?;
        let checked = config.check().and_then(|()| declared.iter().try_for_each(|section| section.check(&config)));
        checked.map_err(|error| source.blame_value(error))?;
        Ok(config)
    }

    fn read(source: &mut Source, declared: &[Declared]) -> Result<Self, ConfigError> {
        Ok(Self {
            file: None,
            node: source.read("node")?,
            http: source.read("http")?,
            admin: source.read("admin")?,
            public: source.read("public")?,
            nats: source.read("nats")?,
            redis: source.read("redis")?,
            database: source.read("database")?,
            backup: source.read("backup")?,
            tokens: source.read("tokens")?,
            limits: source.read("limits")?,
            fetch: source.read("fetch")?,
            log: source.read("log")?,
            traces: source.read("traces")?,
            sections: Sections::read(declared, source)?,
        })
    }

    /// Every section with its fields, for the test that keeps the sample complete. A list of tables has none here.
    pub fn every_field(declared: &[Declared]) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let mut source = Source::default();
        // every section may be left out, so there is nothing that could fail
        drop(Self::read(&mut source, declared));
        source.declared()
    }

    /// What a domain declared.
    pub fn section<T: Section>(&self) -> Arc<T> {
        self.sections.get()
    }

    /// Puts a section into the place of what was read, for tests.
    pub fn set_section<T: Section>(&mut self, section: T) {
        self.sections.set(section);
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
        if self.public.chains.is_empty() {
            return bad("public.chains", "at least one chain must be accepted");
        }
        if self.public.domain.is_empty() || self.public.domain.contains("//") {
            return bad("public.domain", "must be an authority like chat.example.org, without a scheme");
        }
        if self.public.sockets.is_empty()
            || self.public.sockets.iter().any(|url| !url.starts_with("ws://") && !url.starts_with("wss://"))
        {
            return bad("public.sockets", "must be ws:// or wss:// addresses");
        }
        nats::check(&self.nats)?;
        redis::check(&self.redis)?;
        database::check(&self.database)?;
        fetch::check(&self.fetch)?;
        backup::check(&self.backup)?;
        traces::check(&self.traces)?;
        http::check(&self.http)
    }
}

/// Milliseconds of the configuration as a duration.
pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use nepto_proto::subject::Shards;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let text = "[nats]\nurl = \"nats://a:1\"\nshards = 2\n";
        let env =
            environment(&[("NEPTO_NATS__URL", "nats://b:2"), ("NEPTO_PUBLIC__CHAINS", "[1, 137]"), ("PATH", "/")]);
        let config = Config::parse(text, env, &[]).unwrap();
        assert_eq!((config.nats.url.as_str(), config.nats.shards), ("nats://b:2", Shards::new(2).unwrap()));
        assert_eq!(config.public.chains, [1, 137]);
    }

    #[test]
    fn unknown_fields_are_refused_wherever_they_stand() {
        for text in ["[nats]\nurll = \"x\"\n", "[natz]\n", "nats = 3\n"] {
            assert!(Config::parse(text, [], &[]).is_err(), "{text}");
        }
        let error = Config::parse("", environment(&[("NEPTO_NATS__URLL", "x")]), &[]).unwrap_err().to_string();
        assert!(error.contains("urll"), "{error}");
        assert!(error.contains("replicas, ") && error.contains("CHANGELOG.md"), "what to do about it: {error}");
        // the file is not blamed for what the environment says, nor the other way round
        let [good, bad] = [("NEPTO_NATS__SHARDS", "2"), ("NEPTO_NATS__URLL", "x")];
        for pairs in [[good, bad], [bad, good]] {
            let error = Config::parse("[nats]\nreplicas = 3\n", environment(&pairs), &[]).unwrap_err();
            assert!(matches!(&error, ConfigError::Environment { name, .. } if name == bad.0), "{error}");
        }
        let error = Config::parse("[nats]\nurll = 3\n", environment(&[good]), &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Unknown(_)), "{error}");
        // the same for a value of the wrong kind
        let wrong = environment(&[("NEPTO_NATS__REPLICAS", "x"), good]);
        let error = Config::parse("[nats]\nreplicas = 3\n", wrong, &[]).unwrap_err();
        assert!(matches!(&error, ConfigError::Environment { name, .. } if name == "NEPTO_NATS__REPLICAS"), "{error}");
        let error = Config::parse("[nats]\nreplicas = true\n", environment(&[good]), &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Parse(_)), "{error}");
        // and for one that makes no sense
        let senseless = environment(&[("NEPTO_NATS__REPLICAS", "9"), good]);
        let error = Config::parse("[nats]\nreplicas = 3\n", senseless, &[]).unwrap_err();
        assert!(matches!(&error, ConfigError::Environment { name, .. } if name == "NEPTO_NATS__REPLICAS"), "{error}");
        assert!(error.to_string().contains("must be 1 to 5"), "{error}");
        let error = Config::parse("[nats]\nreplicas = 9\n", environment(&[good]), &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Value { .. }), "{error}");
    }

    #[test]
    fn addresses_of_every_scheme_that_there_is_are_taken() {
        for (nats, redis) in [
            ("nats://a:1, tls://b", "redis://:p@a:1/2"),
            ("127.0.0.1:4222", "unix:///run/redis.sock?db=1"),
            ("nats://user:secret@[::1]:4222", "redis://10.0.0.5"),
        ] {
            let text = format!("[nats]\nurl = \"{nats}\"\n[redis]\nurl = \"{redis}\"\n");
            Config::parse(&text, [], &[]).unwrap();
        }
    }

    #[test]
    fn where_to_listen_is_shown_to_whoever_writes_something_else() {
        for text in ["[http]\nlisten = 8080", "[http]\nlisten = \"localhost:8080\"", "[admin]\nlisten = \":9464\""] {
            let error = Config::parse(text, [], &[]).unwrap_err().to_string();
            assert!(error.contains("listen") && error.contains("like \"127.0.0.1:8080\""), "{text}: {error}");
        }
        let error = Config::parse("", environment(&[("NEPTO_HTTP__LISTEN", "8080")]), &[]).unwrap_err().to_string();
        assert!(error.contains("NEPTO_HTTP__LISTEN") && error.contains("like \"127.0.0.1:8080\""), "{error}");
        let config = Config::parse("[admin]\nlisten = \"[::1]:9464\"", [], &[]).unwrap();
        assert_eq!(config.admin.listen, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9464)));
    }

    #[test]
    fn senseless_values_are_refused_with_the_name_of_the_field() {
        for (text, field) in [
            ("[nats]\nshards = 0", "shards"),
            ("[nats]\nreplicas = 9", "nats.replicas"),
            ("[nats]\nurl = \"nat://10.0.0.5:4222\"", "nats.url"),
            ("[nats]\nurl = \"nats://10.0.0.5:4222,http://10.0.0.6\"", "nats.url"),
            ("[nats]\nurl = \"\"", "nats.url"),
            ("[redis]\nurl = \"reddis://10.0.0.5\"", "redis.url"),
            ("[redis]\nurl = \"10.0.0.5:6379\"", "redis.url"),
            ("[nats]\nmonitors = [\"10.0.0.5:8222\"]", "nats.monitors"),
            ("[redis]\nsentinels = [\"10.0.0.1:26379\"]", "redis.sentinels"),
            ("[redis]\nsentinels = [\"redis://10.0.0.1:26379\"]\nmaster = \"\"", "redis.master"),
            ("[public]\nchains = []", "public.chains"),
            ("[public]\ndomain = \"https://x\"", "public.domain"),
            ("[public]\nsockets = [\"http://x\"]", "public.sockets"),
            ("[fetch]\ntimeout_ms = 0", "fetch.timeout_ms"),
            ("[http]\nhead_timeout_ms = 0", "http.head_timeout_ms"),
            ("[http]\nrequests_per_prefix_max = 1", "http.requests_per_prefix_max"),
            ("[http]\nstreams_per_prefix_max = 1", "http.streams_per_prefix_max"),
            ("[http]\nstream_idle_ms = 0", "http.stream_idle_ms"),
            ("[fetch]\nconcurrency_per_host_max = 0", "fetch.concurrency_max"),
            ("[fetch]\naddresses = [\"localhost\"]", "fetch"),
            ("[traces]\nendpoint = \"127.0.0.1:4317\"", "traces.endpoint"),
            ("[traces]\nsampled_ratio = 1.5", "traces.sampled_ratio"),
            ("[traces]\nsampled_ratio = nan", "traces.sampled_ratio"),
        ] {
            let error = Config::parse(text, [], &[]).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
        assert!(Config::parse("[nats]\nshards = -1", [], &[]).is_err());
    }
}
