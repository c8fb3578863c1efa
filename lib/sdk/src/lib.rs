//! The client of Nepto: signs in with a wallet, keeps a connection, encrypts and decrypts with the Signal protocol, and
//! keeps history in a store that is encrypted at rest.
//!
//! [`Client`] is the door. What a device believes, encrypts and remembers is [`nepto_sdk_core`], which has no network and is
//! tested without a server. Here is what a program with an operating system puts around it: [`http`], [`socket`] and
//! [`session`], which can be used alone, [`Wallet`]s with their keys, and the [`store`] in a file.
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
//! An answer that does not come for two seconds is logged once, with the target `nepto_sdk::waiting` and a sentence for people.
//! Programs that print logs should leave out libsignal's below `error`: they name public keys and addresses.

mod client;
pub mod http;
pub mod session;
pub mod socket;
pub mod store;
#[cfg(test)]
mod tests;
mod tls;
mod waiting;
mod wallet;

pub use client::{ChainNodes, Client, Events, LoginOptions, ProfileLocation, revoke_device_by_wallet};
pub use nepto_sdk_core::{
    DisconnectReason, Env, Event, SafetyNumber, SdkError, Verification, channels, env, guard, model, safety_number,
};
pub use wallet::{ContractWallet, Creation, Wallet};
