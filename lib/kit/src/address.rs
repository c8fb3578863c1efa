//! Addresses of servers that may hold a password.

/// An address as people and logs may see it: without user, password and query.
pub fn shown(address: &str) -> String {
    let (scheme, rest) = address.trim().split_once("://").unwrap_or(("", address.trim()));
    let separator = if scheme.is_empty() { "" } else { "://" };
    // a path has no user; elsewhere a password may hold anything, whether it is written as it should be or not
    let host = if rest.starts_with('/') { rest } else { rest.rsplit_once('@').map_or(rest, |(_, host)| host) };
    let host = host.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{separator}{host}")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn no_password_is_shown() {
        for (address, expected) in [
            ("redis://:p@ss@localhost:6379/0", "redis://localhost:6379/0"),
            ("redis://:pa/ss,word@localhost", "redis://localhost"),
            ("127.0.0.1:4222", "127.0.0.1:4222"),
            ("unix:///run/redis.sock?pass=s3cret", "unix:///run/redis.sock"),
            ("surrealkv:///var/lib/n@me", "surrealkv:///var/lib/n@me"),
            ("wss://user:pass@db.example.org/rpc?token=x#y", "wss://db.example.org/rpc"),
        ] {
            assert_eq!(shown(address), expected);
        }
    }
}
