//! A device of Nepto without network, files, threads or a clock of its own: what is signed, encrypted, decrypted, believed and
//! remembered.
//!
//! [`Core`] is the door. It works over a [`Backend`](store::backend::Backend), which keeps sealed bytes, and with an [`Env`],
//! which gives time and randomness. It asks for what it needs ([`Prepared`], [`Received`]) and hands out what must be sent;
//! whoever drives it does the rest: `nepto-sdk` natively, `nepto-sdk-wasm` in a browser.
//!
//! What must hold: **a frame leaves only after what it used up is committed** ([`Core::prepare`]), and a delivery is
//! acknowledged only after what it changed is durable ([`Core::flush`]).
//!
//! Programs that print logs should leave out libsignal's below `error`: they name public keys and addresses.

pub mod attachment;
pub mod channels;
mod chat;
pub mod contract_signatures;
pub mod core;
mod directory;
pub mod env;
mod error;
mod event;
pub mod gateway;
pub mod guard;
mod inbox;
mod interpret;
mod keys;
pub mod model;
pub mod names;
mod outbox;
pub mod platform;
mod resets;
mod safety;
pub mod sign_in;
mod signal;
pub mod store;
mod sync;
#[cfg(test)]
mod tests;
mod view;

pub use crate::core::Core;
pub use env::Env;
pub use error::{SdkError, is_signed_out};
pub use event::{DisconnectReason, Event};
pub use inbox::Received;
pub use outbox::{Frame, Prepared};
pub use safety::{SafetyNumber, safety_number};
pub use store::queue::Outgoing;
pub use view::Verification;
