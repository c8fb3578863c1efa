//! The client of Nepto: signs in with a wallet, keeps a connection, encrypts and decrypts with the Signal protocol, and
//! keeps history in a store that is encrypted at rest.
//!
//! [`Client`] is the door. Beneath it lies a core without network (`core`, `directory`, `outbox`, `inbox`, `chat`,
//! `keys`): it asks for what it needs and hands out what must be sent, so that it is tested without a server. [`http`],
//! [`socket`] and [`session`] are the network, and can be used alone.
//!
//! ```no_run
//! use nepto_sdk::{Client, Env, Event, LoginOptions, Wallet};
//!
//! # async fn example() -> Result<(), nepto_sdk::SdkError> {
//! let wallet = Wallet::random(&Env::system())?;
//! let client = Client::login(LoginOptions::new("https://chat.example.org"), &wallet).await?;
//! let mut events = client.connect().await?;
//! let peer = client.resolve("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266").await?.account;
//! client.send_text(peer, "hello", None, None)?;
//! while let Some(event) = events.next().await {
//!     if let Event::Message(message) = event {
//!         client.mark_read(message.conversation, message.order)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Programs that print logs should leave out libsignal's below `error`: they name public keys and addresses.

mod client;
pub mod env;
mod error;
mod event;
pub mod guard;
pub mod http;
pub mod model;
mod safety;
pub mod session;
pub mod socket;
pub mod store;
mod tls;
mod wallet;

mod chat;
mod core;
mod directory;
mod inbox;
mod interpret;
mod keys;
mod outbox;
mod resets;
mod signal;
mod sync;
#[cfg(test)]
mod tests;
mod words;

pub use client::{ChainNodes, Client, Events, LoginOptions, Place, Verification, revoke_device_by_wallet};
pub use env::Env;
pub use error::SdkError;
pub use event::{DisconnectReason, Event};
pub use safety::{SafetyNumber, safety_number};
pub use wallet::{ContractWallet, Creation, Wallet};
