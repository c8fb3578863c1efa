//! Clients against a server in one process.

mod channels;
mod login;
mod names;
mod network;
mod own_devices;
mod server;

/// The authority that certificates name.
const DOMAIN: &str = "chat.example.org";
