//! Real servers for tests: NATS, Redis, chains and Nepto's own processes, each on a free port with a folder of its own; a
//! proxy that breaks the network between them, and an RPC that lies about its chain.
//!
//! Nothing survives a test: every process is killed and every folder removed when its owner is dropped, also when the
//! test panics, and by a watchdog when the test's process itself is killed. When a test panics, the ends of the logs of
//! its servers are printed.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use nepto_proto::subject::Shards;
//! use nepto_testkit::{Stack, eventually, seconds};
//!
//! let stack = Stack::builder().set("mailbox.expire_after_s", 2).split(2).await?;
//! stack.gateways[0].kill9()?;
//! stack.nats.pause()?;
//! stack.nats.resume()?;
//! eventually(seconds(5), async || Ok(stack.nats.mailboxes(Shards::DEFAULT).await? == 0)).await?;
//! # Ok(()) }
//! ```

mod anvil;
pub mod contracts;
mod first_start;
mod folder;
mod guard;
mod jetstream;
mod lying_rpc;
mod nats;
mod nats_cluster;
mod port;
mod process;
mod proxy;
mod quiet;
mod redis;
mod rpc;
mod server;
mod settings;
mod stack;
mod transaction;
mod untrusted_host;
mod wait;
mod watched_redis;

pub use self::redis::Redis;
pub use anvil::{Anvil, AnvilBuilder, MNEMONIC, Snapshot, anvil_program};
pub use folder::folder;
pub use guard::Guard;
pub use jetstream::Pending;
pub use lying_rpc::{Dialect, HeaderField, Lie, LyingRpc, Refusal};
pub use nats::{Nats, nats_program};
pub use nats_cluster::NatsCluster;
pub use port::Port;
pub use process::{Launch, Process, resident_bytes};
pub use proxy::FaultProxy;
pub use quiet::quiet;
pub use server::{DATABASE_PASSWORD, Role, Server, program};
pub use settings::{Settings, WatchedChain};
pub use stack::{Builder, Stack};
pub use transaction::{Included, Receipt, Transaction};
pub use untrusted_host::{Answer, UntrustedHost};
pub use wait::{eventually, seconds};
pub use watched_redis::WatchedRedis;
