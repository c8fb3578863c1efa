//! The public listener, and what one address may take of it.

use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::ConfigError;

/// The public listener.
///
/// A *network* is what one person has: an IPv4 address, or a /64 of IPv6. A *prefix* is what is cheap to rent as a whole: a
/// /24 of IPv4, or a /48 of IPv6.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The address and the port that it listens on.
    #[serde(deserialize_with = "listener")]
    pub listen: SocketAddr,
    /// A request that takes longer is answered with `timeout`.
    pub request_timeout_ms: u64,
    /// Requests being answered at once; more are answered with `unavailable`.
    pub concurrency_max: usize,
    /// Trust the `X-Forwarded-For` header of a proxy in front for the client's address.
    pub behind_proxy: bool,
    /// Connections that are open at once, sockets included. Each is an open file.
    pub connections_max: usize,
    /// Of them, those of one network. Behind a proxy: its sockets, as the proxy's connections are the proxy's.
    pub connections_per_address_max: usize,
    /// Of them, those of one prefix.
    pub connections_per_prefix_max: usize,
    /// New connections of one network a second.
    pub connections_per_address_per_second: u32,
    /// New connections of one prefix a second.
    pub connections_per_prefix_per_second: u32,
    /// Sockets of one network that have not said hello.
    pub greetings_per_address_max: usize,
    /// Sockets of one prefix that have not said hello.
    pub greetings_per_prefix_max: usize,
    /// Requests of one network under way at once, from their head to their answer; more are answered with `rate_limited`.
    pub requests_per_address_max: usize,
    /// Requests of one prefix under way at once.
    pub requests_per_prefix_max: usize,
    /// Requests of one network a second. Who is faster is answered later, and much faster with `rate_limited`.
    pub requests_per_address_per_second: u32,
    /// Requests of one prefix a second.
    pub requests_per_prefix_per_second: u32,
    /// From the first byte of a request to the end of its head; of a connection's first, from its opening.
    pub head_timeout_ms: u64,
    /// A connection without a request stays open for so long. Longer than a proxy in front keeps its own.
    pub idle_timeout_ms: u64,
    /// A body has so long, and longer as far as it comes at `body_bytes_per_second_min`.
    pub body_timeout_ms: u64,
    /// The least rate of a body that takes longer.
    pub body_bytes_per_second_min: u64,
    /// A connection that takes nothing of an answer for so long is closed.
    pub write_timeout_ms: u64,
    /// Bodies that are taken as they come, of uploads, at once. Each holds some megabytes.
    pub streams_max: usize,
    /// Of them, those of one network.
    pub streams_per_address_max: usize,
    /// Of them, those of one prefix.
    pub streams_per_prefix_max: usize,
    /// Such a body of which nothing comes for so long is given up. It must come at `body_bytes_per_second_min` as well.
    pub stream_idle_ms: u64,
    /// Such a body as a whole.
    pub stream_timeout_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            request_timeout_ms: 15_000,
            concurrency_max: 4_096,
            behind_proxy: false,
            connections_max: 18_000,
            connections_per_address_max: 512,
            connections_per_prefix_max: 2_048,
            connections_per_address_per_second: 200,
            connections_per_prefix_per_second: 800,
            greetings_per_address_max: 64,
            greetings_per_prefix_max: 256,
            requests_per_address_max: 64,
            requests_per_prefix_max: 256,
            requests_per_address_per_second: 200,
            requests_per_prefix_per_second: 800,
            head_timeout_ms: 5_000,
            idle_timeout_ms: 75_000,
            body_timeout_ms: 5_000,
            body_bytes_per_second_min: 16_384,
            write_timeout_ms: 15_000,
            streams_max: 64,
            streams_per_address_max: 8,
            streams_per_prefix_max: 24,
            stream_idle_ms: 10_000,
            stream_timeout_ms: 600_000,
        }
    }
}

/// Where to listen. Who writes something else reads what it looks like.
pub(super) fn listener<'de, D: Deserializer<'de>>(written: D) -> Result<SocketAddr, D::Error> {
    struct Listener;
    impl Visitor<'_> for Listener {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address with its port, like \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all addresses")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<SocketAddr, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
    written.deserialize_str(Listener)
}

pub(super) fn check(http: &Http) -> Result<(), ConfigError> {
    let bad = |field, problem: &str| Err(ConfigError::Value { field, problem: problem.to_owned() });
    for (field, value) in [
        ("http.concurrency_max", http.concurrency_max as u64),
        ("http.connections_per_address_max", http.connections_per_address_max as u64),
        ("http.connections_per_address_per_second", u64::from(http.connections_per_address_per_second)),
        ("http.greetings_per_address_max", http.greetings_per_address_max as u64),
        ("http.requests_per_address_max", http.requests_per_address_max as u64),
        ("http.requests_per_address_per_second", u64::from(http.requests_per_address_per_second)),
        ("http.request_timeout_ms", http.request_timeout_ms),
        ("http.head_timeout_ms", http.head_timeout_ms),
        ("http.idle_timeout_ms", http.idle_timeout_ms),
        ("http.body_timeout_ms", http.body_timeout_ms),
        ("http.body_bytes_per_second_min", http.body_bytes_per_second_min),
        ("http.write_timeout_ms", http.write_timeout_ms),
        ("http.streams_max", http.streams_max as u64),
        ("http.streams_per_address_max", http.streams_per_address_max as u64),
        ("http.stream_idle_ms", http.stream_idle_ms),
        ("http.stream_timeout_ms", http.stream_timeout_ms),
    ] {
        if value == 0 {
            return bad(field, "must be at least 1");
        }
    }
    for (field, address, prefix) in [
        ("http.connections_per_prefix_max", http.connections_per_address_max, http.connections_per_prefix_max),
        ("http.greetings_per_prefix_max", http.greetings_per_address_max, http.greetings_per_prefix_max),
        ("http.requests_per_prefix_max", http.requests_per_address_max, http.requests_per_prefix_max),
        ("http.streams_per_prefix_max", http.streams_per_address_max, http.streams_per_prefix_max),
        (
            "http.connections_per_prefix_per_second",
            http.connections_per_address_per_second as usize,
            http.connections_per_prefix_per_second as usize,
        ),
        (
            "http.requests_per_prefix_per_second",
            http.requests_per_address_per_second as usize,
            http.requests_per_prefix_per_second as usize,
        ),
    ] {
        if prefix < address {
            return bad(field, "must not be less than what one address of it may have");
        }
    }
    Ok(())
}
