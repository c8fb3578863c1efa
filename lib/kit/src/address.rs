//! Addresses of servers that may hold a password.

/// Comma-separated addresses as people and logs may see them: without user and password.
pub fn shown(addresses: &str) -> String {
    let shown = addresses.split(',').map(|address| {
        let (scheme, rest) = address.trim().split_once("://").unwrap_or(("", address.trim()));
        // a password may hold an `@`, a host may not
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let separator = if scheme.is_empty() { "" } else { "://" };
        format!("{scheme}{separator}{host}{path}")
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn no_password_is_shown() {
        for (address, expected) in [
            ("nats://nepto:s3cret@10.0.0.1:4222, nats://x@10.0.0.2", "nats://10.0.0.1:4222, nats://10.0.0.2"),
            ("redis://:p@ss@localhost:6379/0", "redis://localhost:6379/0"),
            ("127.0.0.1:4222", "127.0.0.1:4222"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("surrealkv:///var/lib/n@me", "surrealkv:///var/lib/n@me"),
        ] {
            assert_eq!(shown(address), expected);
        }
    }
}
