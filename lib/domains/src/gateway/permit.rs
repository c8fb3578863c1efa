//! How many connections a gateway holds: of all, of one network, and of those who have not said hello.

use std::sync::Arc;

use nepto_kit::config::Http;
use nepto_kit::http::{Acquaintance, Bounds, Full, Origin, Share, Shares};

use super::{Gateway, config};

/// What there is room for.
pub struct Permits {
    /// All open sockets.
    sockets: Shares,
    /// Those that have not said hello: they cost nobody a wallet, so nobody may have many.
    greetings: Shares,
}

impl Permits {
    pub fn new(http: &Http, gateway: &config::Gateway) -> Self {
        let all = gateway.sockets_max;
        let sockets =
            Bounds { all, network: http.connections_per_address_max, prefix: http.connections_per_prefix_max };
        let greetings = Bounds { all, network: http.greetings_per_address_max, prefix: http.greetings_per_prefix_max };
        Self { sockets: Shares::new("sockets", sockets), greetings: Shares::new("greetings", greetings) }
    }
}

/// One of the connections that a gateway has room for; given back when dropped.
pub struct ConnectionPermit {
    gateway: Arc<Gateway>,
    /// Until it has said hello.
    greeting: Option<(Share, Acquaintance)>,
    _socket: Share,
}

impl ConnectionPermit {
    /// Takes one, if there is room, also for who asks.
    pub fn take(gateway: &Arc<Gateway>, origin: Origin, acquaintance: Acquaintance) -> Result<Self, Full> {
        let socket = gateway.permits.sockets.take(Some(origin))?;
        let greeting = Some((gateway.permits.greetings.take(Some(origin))?, acquaintance));
        metrics::gauge!("nepto_gateway_sockets").increment(1.0);
        Ok(Self { gateway: gateway.clone(), greeting, _socket: socket })
    }

    /// The gateway that gave the permit.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// It has said hello.
    pub fn greeted(&mut self) {
        if let Some((_, acquaintance)) = self.greeting.take() {
            acquaintance.make();
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        metrics::gauge!("nepto_gateway_sockets").decrement(1.0);
    }
}
