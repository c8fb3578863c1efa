//! The servers of a run: our own, started for it and gone after it, or one that runs somewhere.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nepto_testkit::{Launch, Port, Process, Stack, eventually, nats_program, seconds};

use crate::cli::{Cli, Scenario, Sync};
use crate::proc::Group;

const NATS_CONFIGURATION: &str = include_str!("../../nats/server.conf");
/// Access tokens outlive every run.
const TOKEN_TTL_S: i64 = 24 * 3600;
/// Limits that one person would meet who writes and asks all the time.
const OF_ONE_PERSON: [&str; 7] = [
    "limits.sends_per_account_per_minute",
    "limits.sends_per_pair_per_minute",
    "limits.requests_per_account_per_minute",
    "mailbox.bytes_per_account_per_day",
    "mailbox.bytes_per_new_account_per_day",
    "mailbox.bytes_per_pair_per_day",
    "mailbox.bytes_per_recipient_per_day",
];
/// Open files of a server beside its connections: what it insists on.
const FILES_OF_A_SERVER: u64 = 1_000;
/// Connections of a server at most, where files have no bound.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// Places that prefixes which have some already don't get.
const PLACES_SPARE: u64 = 200;
/// Messages that may wait for one device.
const MAILBOX_MESSAGES_MAX: i64 = 10_000_000;

/// Where a scenario takes place.
pub struct Ground {
    /// The HTTP API.
    pub url: String,
    stack: Option<Stack>,
    _nats: Option<RelaxedNats>,
}

/// What a server that is started here takes.
fn connections_max() -> u64 {
    crate::proc::open_files_max().saturating_sub(FILES_OF_A_SERVER).min(CONNECTIONS_MAX)
}

impl Ground {
    /// Refuses more sockets than a server that was started here has files for, before thousands have signed in.
    pub fn has_room_for(&self, sockets: usize) -> Result<()> {
        // the last places are for prefixes that have none yet
        let room = connections_max().saturating_sub(PLACES_SPARE);
        let is_ours = self.stack.is_some();
        ensure!(
            !is_ours || sockets as u64 <= room,
            "a server that may open {} files takes {room} sockets: raise `ulimit -Hn`, or lower --conns",
            crate::proc::open_files_max()
        );
        Ok(())
    }

    /// Starts what is needed.
    pub async fn start(cli: &Cli) -> Result<Self> {
        let common = cli.common().context("a scenario without messages has a ground of its own")?;
        if let Some(url) = &common.url {
            return Ok(Self { url: url.clone(), stack: None, _nats: None });
        }
        let stack = match cli.scenario {
            // what an address may have is what it measures
            Scenario::Siege { .. } => {
                OF_ONE_PERSON.iter().fold(Stack::as_shipped(), |stack, limit| stack.set(limit, i64::from(u32::MAX)))
            }
            _ => Stack::as_shipped().unlimited(),
        };
        let connections = connections_max();
        let mut builder = stack
            .set("http.connections_max", connections as i64)
            .set("gateway.sockets_max", connections as i64)
            .set("log.filter", "warn")
            .set("tokens.access_ttl_s", TOKEN_TTL_S)
            .set("mailbox.messages_max", MAILBOX_MESSAGES_MAX);
        for (name, value) in &common.settings {
            builder = builder.set(name, *value);
        }
        let nats = match common.sync {
            Sync::Always => None,
            Sync::Interval => Some(RelaxedNats::start().await?),
        };
        if let Some(nats) = &nats {
            builder = builder.set("nats.url", format!("nats://{}", nats.port.address()));
        }
        let stack = if cli.split() { builder.split(1).await? } else { builder.all().await? };
        Ok(Self { url: stack.url(), stack: Some(stack), _nats: nats })
    }

    /// Whether the processes are ours, so that their cost is known.
    pub const fn is_ours(&self) -> bool {
        self.stack.is_some()
    }

    /// The process that holds the sockets, if it is ours.
    pub fn gateway_pid(&self) -> Option<u32> {
        self.stack.as_ref()?.gateways.first()?.pid().ok()
    }

    /// Resident bytes of a group, if it is ours.
    pub fn rss_of(&self, group: Group) -> Option<u64> {
        self.is_ours().then(|| crate::proc::rss_of(group))
    }

    /// An error with what the servers had to say.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let log = self.complaints();
        if log.is_empty() { error } else { error.context(format!("the servers said:\n{log}")) }
    }

    /// The ends of the logs: warnings and errors, as nothing else is logged.
    pub fn complaints(&self) -> String {
        let servers = self.stack.iter().flat_map(Stack::servers);
        let ends = servers.map(|server| {
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(10)..].join("\n")
        });
        ends.filter(|end| !end.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Ends the servers; their data goes with them.
    pub async fn stop(self) {
        // killing waits for the processes to be gone
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// NATS as Nepto ships it, but for the sync of the disk: every two minutes, as NATS does by itself.
struct RelaxedNats {
    process: Process,
    port: Port,
    folder: PathBuf,
}

impl RelaxedNats {
    async fn start() -> Result<Self> {
        let port = Port::reserve()?;
        let folder = std::env::temp_dir().join(format!("nepto-bench-{}-{}", std::process::id(), port.number()));
        std::fs::create_dir_all(&folder)?;
        let configuration = folder.join("server.conf");
        std::fs::write(&configuration, NATS_CONFIGURATION.replace("sync_interval: always", "sync_interval: \"2m\""))?;
        let process = Process::start(Launch {
            name: "nats".into(),
            program: nats_program()?,
            arguments: vec![
                "-c".into(),
                configuration.into(),
                "-p".into(),
                port.number().to_string().into(),
                "-n".into(),
                "bench".into(),
            ],
            environment: vec![("NEPTO_NATS_STORE".into(), folder.join("store").into())],
            folder: folder.clone(),
        })?;
        let address = port.address();
        let answers =
            eventually(seconds(20), async || Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()));
        process.or_ended(answers).await?;
        Ok(Self { process, port, folder })
    }
}

impl Drop for RelaxedNats {
    fn drop(&mut self) {
        // what the process may still write goes with the next cleaning of the folder for temporary files
        let _ = self.process.kill9();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
