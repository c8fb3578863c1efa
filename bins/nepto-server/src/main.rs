//! `nepto-server`: one program, many roles.

// optimized, the futures of the database's library are laid out here, one within the other
#![recursion_limit = "256"]

mod advice;
mod backfill;
mod backup;
mod database;
mod databases;
mod facets;
mod health;
mod meta;
mod open_files;
mod process;
mod provision;
mod secrets;
mod service_manager;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use facets::{Facets, Only};
use nepto_kit::Config;
use nepto_kit::clock::Random;
use nepto_kit::domain::Domain;

/// The server of Nepto, a self-hosted Web3 messenger
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Configuration file (TOML); environment variables NEPTO_<SECTION>__<FIELD> win over it
    #[arg(long, env = "NEPTO_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Everything in one process, with an embedded database: enough for one machine
    All,
    /// The HTTP API, and the answers that other processes ask for
    Api {
        /// Only these domains, comma-separated
        #[arg(long, value_delimiter = ',')]
        domains: Vec<String>,
    },
    /// The WebSocket gateway; needs NATS and Redis, and no database
    Gateway,
    /// The queue workers
    Worker {
        /// Only these queues (the durable consumers of nats/streams.toml), comma-separated
        #[arg(long, value_delimiter = ',')]
        queues: Vec<String>,
    },
    /// Follows the chains of the configuration
    Watcher {
        /// Read these older blocks for every contract that has not seen them, then end; FROM.. ends at the newest
        #[arg(long, value_name = "FROM..TO")]
        backfill: Option<backfill::Range>,
        /// The chain to backfill (EIP-155), if there are several
        #[arg(long, requires = "backfill")]
        chain: Option<u64>,
    },
    /// The background jobs
    Cron,
    /// SurrealDB's own server and command line, for example `database start --bind 0.0.0.0:8000 surrealkv://data`
    #[command(disable_help_flag = true)]
    Database {
        /// Arguments of `surreal`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Creates what is missing: streams, consumers, database schemas, token keys
    Provision {
        /// The streams were restored from a backup: clients forget where they stopped and fetch everything again
        #[arg(long)]
        restored: bool,
    },
    /// Makes the users of SurrealDB that the configuration names, each of one database alone
    DatabaseUsers(databases::Users),
    /// Copies a domain's database to the server that [database.domains] names, and checks each row; nothing may run meanwhile
    MoveDatabase {
        /// The domain, for example `keys`
        domain: String,
        /// A configuration that says where it was until now; without it that is where [database] says
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Forgets what was collected of a chain, so that the next start reads it from the beginning; nothing may run meanwhile
    ForgetChain {
        /// The chain, by its EIP-155 id: 1 for Ethereum
        chain: u64,
    },
    /// Makes the passwords of the servers of one deployment, each in the folder of who may read it, and never again
    MakeSecrets {
        /// Where the folders are
        folder: PathBuf,
    },
    /// Writes everything that can't be made again into one encrypted file, while the server runs
    Backup(backup::Arguments),
    /// Puts a backup where it belongs; nothing may run meanwhile
    Restore(backup::restore::Arguments),
    /// Reads the configuration and exits; non-zero if it is not valid
    CheckConfig,
    /// Asks the process that runs with this configuration on this machine whether it is ready; non-zero if it is not
    Health {
        /// Only whether it lives, whatever NATS, Redis and the database do
        #[arg(long)]
        alive: bool,
    },
}

impl Role {
    /// What runs until the process is told to stop; nothing for a role that does its work and ends.
    fn facets(&self) -> Facets<'_> {
        match self {
            Self::All => Facets::ALL,
            Self::Api { domains } => Facets { api: Some(Only(domains)), ..Facets::default() },
            Self::Gateway => Facets { sockets: true, ..Facets::default() },
            Self::Worker { queues } => Facets { workers: Some(Only(queues)), ..Facets::default() },
            Self::Watcher { .. } => Facets { watchers: true, ..Facets::default() },
            Self::Cron => Facets { jobs: true, ..Facets::default() },
            Self::Provision { .. }
            | Self::DatabaseUsers(_)
            | Self::MoveDatabase { .. }
            | Self::ForgetChain { .. }
            | Self::MakeSecrets { .. }
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::CheckConfig
            | Self::Health { .. }
            | Self::Database { .. } => Facets::default(),
        }
    }

    /// As it is called on the command line.
    fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api { .. } => "api",
            Self::Gateway => "gateway",
            Self::Worker { .. } => "worker",
            Self::Watcher { .. } => "watcher",
            Self::Cron => "cron",
            Self::Database { .. } => "database",
            Self::Provision { .. } => "provision",
            Self::DatabaseUsers(_) => "database-users",
            Self::MoveDatabase { .. } => "move-database",
            Self::ForgetChain { .. } => "forget-chain",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::MakeSecrets { .. } => "make-secrets",
            Self::CheckConfig => "check-config",
            Self::Health { .. } => "health",
        }
    }

    /// The domains whose databases it needs.
    fn domains(&self) -> Vec<Domain> {
        match self {
            Self::Provision { .. } | Self::ForgetChain { .. } => nepto_domains::all(),
            _ => self.facets().domains(),
        }
    }
}

/// Exit status where trying again changes nothing: `RestartPreventExitStatus` of the units.
const WRONG_CONFIGURATION: u8 = 2;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    open_files::raise();
    if database::is_database_process() {
        return database::run();
    }
    let start = service_manager::Start::begin();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // it can't be printed where nobody listens
            let _ = error.print();
            return if error.use_stderr() { start.failed(WRONG_CONFIGURATION) } else { ExitCode::SUCCESS };
        }
    };
    if let Role::Database { arguments } = cli.role {
        return database::become_database_process(arguments);
    }
    if let Role::MakeSecrets { folder } = &cli.role {
        let made = secrets::make(folder, &Random::default());
        return told(made.map(|is_new| println!("{}", if is_new { "secrets made" } else { "secrets are there" })));
    }
    let config = Config::load(cli.config.as_deref(), std::env::vars(), &nepto_domains::sections());
    let config = match config.and_then(|config| databases::check_names(&config).map(|()| config)) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("nepto-server: {error}");
            return start.failed(WRONG_CONFIGURATION);
        }
    };
    if let Role::Health { alive } = cli.role {
        let question = if alive { health::Question::Alive } else { health::Question::Ready };
        return told(health::ask(config.admin.listen, question));
    }
    match process::run(cli.role, config, cli.config.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "stopped");
            eprintln!("nepto-server: {error}");
            if let Some(advice) = advice::about(&error) {
                eprintln!("{advice}");
            }
            start.failed(1)
        }
    }
}

/// The outcome of a command that has no log.
fn told(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nepto-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
