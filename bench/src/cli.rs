//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::chain::ChainArgs;
use crate::growth::GrowthArgs;
use crate::siege::Flood;

/// Measures a Nepto server under load
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to measure
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// One scenario and its measure.
#[derive(Subcommand)]
pub enum Scenario {
    /// Latency of direct messages at a fixed rate (open loop)
    Dm {
        /// Connected devices, each of an account of its own
        #[arg(long, default_value_t = 1_000)]
        conns: usize,
        /// Messages a second, over all devices
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
        #[command(flatten)]
        phase: Phase,
        #[command(flatten)]
        common: Common,
    },
    /// What people notice while you restart, upgrade or kill parts of a running server (open loop, with --url)
    Outages {
        /// Connected devices, each of an account of its own
        #[arg(long, default_value_t = 50)]
        conns: usize,
        /// Messages a second, over all devices
        #[arg(long, default_value_t = 200)]
        rate: u32,
        #[command(flatten)]
        phase: Phase,
        #[command(flatten)]
        common: Common,
    },
    /// The most direct messages a second (closed loop)
    Max {
        /// Connected devices, each of an account of its own
        #[arg(long, default_value_t = 200)]
        conns: usize,
        /// Messages of one sender that may wait for `stored`
        #[arg(long, default_value_t = 16)]
        window: u32,
        #[command(flatten)]
        phase: Phase,
        #[command(flatten)]
        common: Common,
    },
    /// What an idle socket costs
    Idle {
        /// Connected devices, each of an account of its own
        #[arg(long, default_value_t = 10_000)]
        conns: usize,
        /// Seconds that the sockets stay idle
        #[arg(long, default_value_t = 20)]
        secs: u64,
        #[command(flatten)]
        common: Common,
    },
    /// What a person notices while one address floods the server
    Siege {
        /// Seconds of each flood, and of the measurement without one before it
        #[arg(long, default_value_t = 30)]
        secs: u64,
        /// Only this flood; may be repeated
        #[arg(long = "flood", value_enum)]
        floods: Vec<Flood>,
        #[command(flatten)]
        common: Common,
    },
    /// From the events of a chain to who holds what, and through a reorganization
    Chain(ChainArgs),
    /// What things cost with a thousand accounts in the stores, and with a million
    Growth(GrowthArgs),
    /// Messages for devices that are away: how fast they are stored, and fetched later
    Offline {
        /// Messages in all
        #[arg(long, default_value_t = 100_000)]
        count: u32,
        /// Bytes of a ciphertext
        #[arg(long, default_value_t = 1_024)]
        size: usize,
        /// Devices that are away; as many others write to them
        #[arg(long, default_value_t = 50)]
        devices: usize,
        /// Messages of one sender that may wait for `stored`
        #[arg(long, default_value_t = 16)]
        window: u32,
        #[command(flatten)]
        common: Common,
    },
}

/// The measured time and the messages in it.
#[derive(Args)]
pub struct Phase {
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    pub secs: u64,
    /// Bytes of a ciphertext
    #[arg(long, default_value_t = 1_024)]
    pub size: usize,
}

/// What every scenario takes.
#[derive(Args)]
pub struct Common {
    /// Measure this running server instead of one of our own (rate limits must be raised there)
    #[arg(long)]
    pub url: Option<String>,
    /// A process for each role instead of one for all
    #[arg(long)]
    pub split: bool,
    /// When NATS syncs the disk: before each ack, or every two minutes as it does by itself
    #[arg(long, value_enum, default_value_t = Sync::Always)]
    pub sync: Sync,
    /// Repeat, and print the median of each figure
    #[arg(long, default_value_t = 1)]
    pub runs: usize,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1)]
    pub load_threads: usize,
    /// Write the figures to this file
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Draw latency and throughput into this file
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// A setting of the server, `section.field=number`; may be repeated
    #[arg(long = "set", value_name = "NAME=NUMBER", value_parser = setting)]
    pub settings: Vec<(String, i64)>,
}

/// When NATS writes through to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sync {
    /// Before each ack: the default of Nepto.
    Always,
    /// Every two minutes: acked messages are lost when the power fails.
    Interval,
}

impl Cli {
    /// What every scenario with messages takes.
    pub const fn common(&self) -> Option<&Common> {
        match &self.scenario {
            Scenario::Dm { common, .. }
            | Scenario::Outages { common, .. }
            | Scenario::Max { common, .. }
            | Scenario::Idle { common, .. }
            | Scenario::Siege { common, .. }
            | Scenario::Offline { common, .. } => Some(common),
            Scenario::Chain(_) | Scenario::Growth(_) => None,
        }
    }

    /// Threads of the load generator.
    pub fn load_threads(&self) -> usize {
        self.common().map_or(1, |common| common.load_threads.max(1))
    }

    /// A process for each role: asked for, or needed to see the gateway's memory alone.
    pub fn split(&self) -> bool {
        self.common().is_some_and(|common| common.split) || matches!(self.scenario, Scenario::Idle { .. })
    }
}

fn setting(text: &str) -> Result<(String, i64), String> {
    let (name, value) = text.split_once('=').ok_or("it looks like gateway.batch_max=100")?;
    Ok((name.to_owned(), value.parse().map_err(|_| format!("{value:?} is not a number"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let cli = Cli::parse_from(["nepto-bench", "max", "--set", "gateway.batch_max=400", "--sync", "interval"]);
        assert_eq!(cli.common().unwrap().settings, [("gateway.batch_max".to_owned(), 400)]);
        assert_eq!(cli.common().unwrap().sync, Sync::Interval);
        assert!(Cli::try_parse_from(["nepto-bench", "max", "--set", "x"]).is_err());
        assert!(Cli::parse_from(["nepto-bench", "idle"]).split());
    }
}
