//! What the gateway reads of the configuration.

use nepto_kit::config::{Config, ConfigError, Declared, Section};
use serde::Deserialize;

/// The sections that the gateway declares.
pub const SECTIONS: &[Declared] = &[Declared::of::<Gateway>(), Declared::of::<Limits>()];

/// What the gateway allows sockets, and how it closes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Sockets of one process at most.
    pub sockets_max: usize,
    /// A frame that the client's side does not take in this time closes the socket.
    pub write_timeout_ms: u64,
    /// Bad requests of one connection until it is closed.
    pub errors_max: u32,
    /// What a connection may spend on frames that store and acknowledge nothing: typing costs 1, a ping 1, a refusal 2.
    pub frames_per_second: u32,
    /// So much at once. Past it frames are refused; past twice as much the connection is closed with 4429.
    pub frames_burst: u32,
    /// For so long the session of such a connection is kept out.
    pub barred_s: u64,
    /// Clients are told to come back within this time when the gateway stops.
    pub reconnect_spread_ms: u32,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            sockets_max: 16_000,
            write_timeout_ms: 10_000,
            errors_max: 100,
            frames_per_second: 20,
            frames_burst: 400,
            barred_s: 60,
            reconnect_spread_ms: 3_000,
        }
    }
}

/// The most that a burst can be: what it takes to come back must stay a time that a clock can hold.
const FRAMES_MAX: u32 = 1_000_000;

impl Section for Gateway {
    const NAME: &'static str = "gateway";

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
        if !(1..=FRAMES_MAX).contains(&self.frames_per_second) {
            return bad("gateway.frames_per_second", "must be 1 to 1000000");
        }
        if !(1..=FRAMES_MAX).contains(&self.frames_burst) {
            return bad("gateway.frames_burst", "must be 1 to 1000000");
        }
        if self.barred_s == 0 {
            return bad("gateway.barred_s", "must be at least 1");
        }
        if self.sockets_max > config.http.connections_max {
            return bad("gateway.sockets_max", "must not exceed http.connections_max: each socket is a connection");
        }
        Ok(())
    }
}

/// Rate limits of sockets. Each counts within windows of the named length.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of one device.
    pub hellos_per_device_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { hellos_per_device_per_minute: 300 }
    }
}

impl Section for Limits {
    const NAME: &'static str = "limits";
}
