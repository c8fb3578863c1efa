//! The configuration: one struct per concern, unknown fields refused, every value with a default that suits one machine.
//!
//! Read from a TOML file and then from the environment: `NEPTO_<SECTION>__<FIELD>` sets one field, for example
//! `NEPTO_NATS__URL=nats://10.0.0.5:4222` or `NEPTO_PUBLIC__CHAINS=[1,137]`.

mod assets;
mod chains;
mod environment;
mod fetch;
mod gateway;
mod http;
mod mailbox;
mod sign_up;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nepto_proto::subject::Shards;
use serde::Deserialize;

pub use assets::Assets;
pub use chains::{Chain, Contract, Endpoint, Finality, Hook, HookProvider, Receipts, Standard, Tag};
pub use fetch::Fetch;
pub use gateway::Gateway;
pub use http::Http;
pub use mailbox::Mailbox;
pub use sign_up::{Proof, SignUp};

/// Everything a process needs to know before it starts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This process.
    pub node: Node,
    /// The public listener: HTTP and sockets.
    pub http: Http,
    /// The operator's listener: health and metrics.
    pub admin: Admin,
    /// What the outside world calls this server.
    pub public: Public,
    /// NATS with JetStream.
    pub nats: Nats,
    /// Redis.
    pub redis: Redis,
    /// SurrealDB.
    pub database: Database,
    /// Access and refresh tokens.
    pub tokens: Tokens,
    /// Direct-message mailboxes.
    pub mailbox: Mailbox,
    /// The socket gateway.
    pub gateway: Gateway,
    /// Rate limits.
    pub limits: Limits,
    /// What a new account costs.
    pub sign_up: SignUp,
    /// The chains that are watched; none by default.
    pub chains: Vec<Chain>,
    /// What is shown of tokens.
    pub assets: Assets,
    /// Fetching what strangers name.
    pub fetch: Fetch,
    /// Logs.
    pub log: Log,
}

/// This process.
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

/// The operator's listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port; keep it off the public network.
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

/// NATS with JetStream.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// One or more servers, comma-separated.
    pub url: String,
    /// A `.creds` file, if the servers ask for one.
    pub credentials_file: Option<PathBuf>,
    /// Copies of every stream: 1 on one machine, 3 in a cluster.
    pub replicas: usize,
    /// Streams that the mailboxes are spread over. Can't be changed once messages are stored.
    pub shards: Shards,
}

impl Default for Nats {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".into(), credentials_file: None, replicas: 1, shards: Shards::DEFAULT }
    }
}

/// Redis.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// `redis://` or `unix://` address.
    pub url: String,
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: "redis://127.0.0.1:6379".into() }
    }
}

/// SurrealDB.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `surrealkv://<folder>` embedded in this process, or `ws://<host>:<port>` of a server.
    pub url: String,
    /// User of a server; not used when embedded.
    pub username: String,
    /// File with the password of that user, so that it stands in no configuration.
    pub password_file: Option<PathBuf>,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: "surrealkv://.nepto/database".into(), username: "root".into(), password_file: None }
    }
}

/// Access and refresh tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Ed25519 private key, PKCS#8 PEM: only where the domain `auth` runs. Made by `provision`.
    pub signing_key_file: PathBuf,
    /// Its public key, PEM: everywhere.
    pub verifying_key_file: PathBuf,
    /// Life of an access token.
    pub access_ttl_s: u64,
    /// Life of a refresh token that is not used.
    pub refresh_ttl_s: u64,
    /// Life of a sign-in nonce.
    pub nonce_ttl_s: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            signing_key_file: ".nepto/keys/tokens.pem".into(),
            verifying_key_file: ".nepto/keys/tokens.pub.pem".into(),
            access_ttl_s: 600,
            refresh_ttl_s: 60 * 86_400,
            nonce_ttl_s: 300,
        }
    }
}

/// Rate limits. Each counts within windows of the named length.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Direct messages of one account.
    pub sends_per_account_per_minute: u32,
    /// Direct messages of one account to one other.
    pub sends_per_pair_per_minute: u32,
    /// Messages to somebody who has not accepted the sender yet, in all. A repetition is not another one.
    pub request_messages: u32,
    /// New people that an account writes to or decides about; who wrote to it first is nobody new.
    pub new_contacts_per_day: u32,
    /// Prekey bundles of one account for one other.
    pub bundles_per_pair_per_10_minutes: u32,
    /// One-time prekeys of a device for somebody whom its owner has not accepted; past it bundles come without. An honest
    /// stranger needs one for each of their own devices.
    pub one_time_prekeys_per_stranger_per_day: u32,
    /// The same for somebody who was accepted, and for own devices.
    pub one_time_prekeys_per_contact_per_day: u32,
    /// One-time prekeys of a device for all strangers together.
    pub one_time_prekeys_to_strangers_per_10_minutes: u32,
    /// Uploads of keys of one device, taken in or not.
    pub key_uploads_per_device_per_minute: u32,
    /// Nonces, sign-ins and other unauthenticated requests of one address.
    pub sign_ins_per_address_per_minute: u32,
    /// Requests of one account to the HTTP API.
    pub requests_per_account_per_minute: u32,
    /// Accounts whose presence one account may ask for.
    pub presence_accounts_per_minute: u32,
    /// Connections of one device.
    pub hellos_per_device_per_minute: u32,
    /// Descriptions and images of tokens that are fetched for one account.
    pub token_fetches_per_account_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sends_per_account_per_minute: 600,
            sends_per_pair_per_minute: 120,
            request_messages: 5,
            new_contacts_per_day: 200,
            bundles_per_pair_per_10_minutes: 20,
            one_time_prekeys_per_stranger_per_day: 3,
            one_time_prekeys_per_contact_per_day: 20,
            one_time_prekeys_to_strangers_per_10_minutes: 50,
            key_uploads_per_device_per_minute: 12,
            sign_ins_per_address_per_minute: 60,
            requests_per_account_per_minute: 600,
            presence_accounts_per_minute: 30_000,
            hellos_per_device_per_minute: 300,
            token_fetches_per_account_per_minute: 300,
        }
    }
}

/// Logs.
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
    /// Readable lines.
    Text,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Json }
    }
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, a field that does not exist, or a value of the wrong kind.
    #[error("the configuration is not valid: {0}")]
    Parse(#[from] toml::de::Error),
    /// The same, in a file.
    #[error("the configuration {} is not valid: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What and where.
        source: toml::de::Error,
    },
    /// An environment variable that names no field.
    #[error("the environment variable {0} must look like NEPTO_<SECTION>__<FIELD>")]
    Variable(String),
    /// A setting of the environment that names no field, or does not fit it.
    #[error("the environment variable {name} is not valid: {source}")]
    Environment {
        /// Which variable.
        name: String,
        /// What is wrong.
        source: toml::de::Error,
    },
    /// Well-formed, but makes no sense.
    #[error("the configuration is not valid: {field}: {problem}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// Reads a file, if one is named, then the environment.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?
            }
            None => String::new(),
        };
        Self::parse(&text, environment).map_err(|error| match (error, file) {
            (ConfigError::Parse(source), Some(path)) => ConfigError::File { path: path.to_owned(), source },
            (error, _) => error,
        })
    }

    /// Reads a text, then the environment.
    pub fn parse(text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse()?;
        let config = environment::read(table, environment)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::Value { field, problem: problem.to_owned() });
        if !(1..=5).contains(&self.nats.replicas) {
            return bad("nats.replicas", "must be 1 to 5");
        }
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
        if self.tokens.access_ttl_s == 0 || self.tokens.refresh_ttl_s <= self.tokens.access_ttl_s {
            return bad("tokens.refresh_ttl_s", "must exceed access_ttl_s, which must not be 0");
        }
        gateway::check(&self.gateway)?;
        mailbox::check(&self.mailbox)?;
        assets::check(&self.assets)?;
        fetch::check(&self.fetch)?;
        http::check(&self.http, &self.gateway)?;
        sign_up::check(&self.sign_up, &self.chains)?;
        chains::check(&self.chains)
    }
}

/// Milliseconds of the configuration as a duration.
pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let text = "[nats]\nurl = \"nats://a:1\"\nshards = 2\n";
        let env =
            environment(&[("NEPTO_NATS__URL", "nats://b:2"), ("NEPTO_PUBLIC__CHAINS", "[1, 137]"), ("PATH", "/")]);
        let config = Config::parse(text, env).unwrap();
        assert_eq!((config.nats.url.as_str(), config.nats.shards), ("nats://b:2", Shards::new(2).unwrap()));
        assert_eq!(config.public.chains, [1, 137]);
    }

    #[test]
    fn the_sample_names_every_field_with_its_default() {
        let sample = include_str!("../../../docs/nepto.example.toml");
        let as_it_stands = format!("{:#?}", Config::parse(sample, []).unwrap());
        assert_eq!(as_it_stands, format!("{:#?}", Config::default()));
        let fields = as_it_stands.lines().filter(|line| line.contains(": ") && !line.ends_with('{')).count();
        let named = sample.lines().filter(|line| line.trim_start_matches("# ").contains(" = ")).count();
        assert!(named >= fields - 2, "{named} named, {fields} in all");
    }

    #[test]
    fn unknown_fields_are_refused_wherever_they_stand() {
        for text in ["[nats]\nurll = \"x\"\n", "[natz]\n", "nats = 3\n"] {
            assert!(Config::parse(text, []).is_err(), "{text}");
        }
        let error = Config::parse("", environment(&[("NEPTO_NATS__URLL", "x")])).unwrap_err().to_string();
        assert!(error.contains("urll"), "{error}");
        // the file is not blamed for what the environment says, nor the other way round
        let [good, bad] = [("NEPTO_NATS__SHARDS", "2"), ("NEPTO_NATS__URLL", "x")];
        for pairs in [[good, bad], [bad, good]] {
            let error = Config::parse("[nats]\nreplicas = 3\n", environment(&pairs)).unwrap_err();
            assert!(matches!(&error, ConfigError::Environment { name, .. } if name == bad.0), "{error}");
        }
        let error = Config::parse("[nats]\nurll = 3\n", environment(&[good])).unwrap_err();
        assert!(matches!(error, ConfigError::Parse(_)), "{error}");
    }

    #[test]
    fn senseless_values_are_refused_with_the_name_of_the_field() {
        for (text, field) in [
            ("[nats]\nshards = 0", "shards"),
            ("[nats]\nreplicas = 9", "nats.replicas"),
            ("[public]\nchains = []", "public.chains"),
            ("[public]\ndomain = \"https://x\"", "public.domain"),
            ("[public]\nsockets = [\"http://x\"]", "public.sockets"),
            ("[mailbox]\nmessages_max = 0", "mailbox.messages_max"),
            ("[gateway]\nbatch_max = 5000", "gateway.batch_max"),
            ("[gateway]\nframes_per_second = 0", "gateway.frames_per_second"),
            ("[gateway]\nbarred_s = 0", "gateway.barred_s"),
            ("[mailbox]\ngrace_ms = 10", "mailbox.grace_ms"),
            ("[mailbox]\nrequests_percent = 101", "mailbox.requests_percent"),
            ("[mailbox]\ncrowded_percent = 90", "mailbox.crowded_percent"),
            ("[mailbox]\nbytes_per_pair_per_day = 4000", "mailbox.bytes_per_pair_per_day"),
            ("[assets]\nipfs_gateway = \"ipfs.example.org\"", "assets.ipfs_gateway"),
            ("[assets]\nipfs_gateway = \"https://user@ipfs.example.org\"", "assets.ipfs_gateway"),
            ("[assets]\narweave_gateway = \"ftp://ar.example.org\"", "assets.arweave_gateway"),
            ("[assets]\nmetadata_bytes_max = 10", "assets.metadata_bytes_max"),
            ("[assets]\nimage_cache_bytes_max = 1000", "assets.image_bytes_max"),
            ("[fetch]\ntimeout_ms = 0", "fetch.timeout_ms"),
            ("[http]\nhead_timeout_ms = 0", "http.head_timeout_ms"),
            ("[http]\nrequests_per_prefix_max = 1", "http.requests_per_prefix_max"),
            ("[gateway]\nsockets_max = 50_000", "gateway.sockets_max"),
            ("[fetch]\nconcurrency_per_host_max = 0", "fetch.concurrency_max"),
            ("[fetch]\naddresses = [\"localhost\"]", "fetch"),
        ] {
            let error = Config::parse(text, []).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
        assert!(Config::parse("[nats]\nshards = -1", []).is_err());
    }
}
