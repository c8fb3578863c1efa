//! Where a request comes from, as far as that can be made cheap or dear: the network of one person, and the prefix around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use crate::Failure;

/// Who is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// What one person has: an IPv4 address, or a /64 of IPv6, within which addresses cost nothing.
    pub network: IpAddr,
    /// What is rented as a whole: a /24, or a /48.
    pub prefix: IpAddr,
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                Self { network: address.into(), prefix: Ipv4Addr::from_bits(address.to_bits() & (!0 << 8)).into() }
            }
            IpAddr::V6(address) => {
                let masked = |bits: u32| Ipv6Addr::from_bits(address.to_bits() & (!0 << bits)).into();
                Self { network: masked(64), prefix: masked(80) }
            }
        }
    }
}

impl Origin {
    /// Of a request: its peer, or whom our own proxy names. The last entry is the one that the proxy wrote; those before it
    /// are the client's word.
    pub fn of(headers: &HeaderMap, extensions: &Extensions, behind_proxy: bool) -> Option<Self> {
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back().filter(|_| behind_proxy);
        let forwarded = forwarded.and_then(|value| {
            let address = address(value.to_str().unwrap_or_default().rsplit(',').next().unwrap_or_default().trim());
            if address.is_none() {
                metrics::counter!("nepto_http_forwarded_unread_total").increment(1);
                tracing::debug!(?value, "a proxy names no address; its own counts for everybody it says that of");
            }
            address
        });
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        forwarded.or(peer).map(Self::from)
    }
}

/// An address as proxies write it, also with a port or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let known = parts.extensions.get::<Self>().copied();
        known.ok_or_else(|| Failure::internal(anyhow::anyhow!("the listener does not say who is connected")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> (String, String) {
        let origin = Origin::from(text.parse::<IpAddr>().unwrap());
        (origin.network.to_string(), origin.prefix.to_string())
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_neighbours_share_a_prefix() {
        let pair = |network: &str, prefix: &str| (network.to_owned(), prefix.to_owned());
        assert_eq!(origin("2001:db8:1:2:3:4:5:6"), pair("2001:db8:1:2::", "2001:db8:1::"));
        assert_eq!(origin("192.0.2.7"), pair("192.0.2.7", "192.0.2.0"));
        assert_eq!(origin("::ffff:192.0.2.7"), origin("192.0.2.7"));
    }

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for text in ["203.0.113.9", "203.0.113.9:4711"] {
            assert_eq!(address(text).unwrap().to_string(), "203.0.113.9");
        }
        for text in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"] {
            assert_eq!(address(text).unwrap().to_string(), "2001:db8::1");
        }
        for text in ["", "unknown", "_hidden", "1.2.3", "[", "1.2.3.4:x"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn the_proxys_entry_counts_and_nothing_that_a_client_wrote() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "198.51.100.1".parse().unwrap());
        headers.append("x-forwarded-for", "198.51.100.2, 203.0.113.9".parse().unwrap());
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 5))));
        let network = |behind_proxy| Origin::of(&headers, &extensions, behind_proxy).unwrap().network.to_string();
        assert_eq!(network(true), "203.0.113.9");
        assert_eq!(network(false), "10.0.0.1");
    }
}
