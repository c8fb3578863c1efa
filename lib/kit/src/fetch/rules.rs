//! Which addresses of the web are asked at all, before any name is resolved.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::FetchError;
use super::address::is_public;
use crate::config;

/// Longest address, and longest `Location` of a redirect.
const URL_BYTES_MAX: usize = 4_096;

/// Ends of names that mean something only within a network (RFC 6761, 6762, 7686, 8375, and what clouds use).
const LOCAL_NAMES: [&str; 9] =
    ["localhost", "local", "internal", "localdomain", "home.arpa", "onion", "alt", "test", "invalid"];

/// What of the web is asked.
#[derive(Debug, Clone)]
pub struct Rules {
    http: bool,
    ports: Vec<u16>,
    addresses: Vec<IpAddr>,
}

impl Rules {
    pub fn new(config: &config::Fetch) -> Self {
        let addresses = config.addresses.iter().map(IpAddr::to_canonical).collect();
        Self { http: config.http, ports: config.ports.clone(), addresses }
    }

    /// Whether an untrusted address is asked. The host's name still has to be resolved.
    pub fn check(&self, url: &Url) -> Result<(), FetchError> {
        let refuse = |reason| Err(FetchError::Forbidden(reason));
        let default_port = match url.scheme() {
            "https" => 443,
            "http" if self.http => 80,
            "http" => return refuse("http:// is not fetched here, only https://"),
            _ => return refuse("only https:// is fetched"),
        };
        if url.as_str().len() > URL_BYTES_MAX {
            return refuse("the address is too long");
        }
        names_no_user(url)?;
        let port = url.port().unwrap_or(default_port);
        if port != default_port && !self.ports.contains(&port) {
            return refuse("the port is not an allowed one");
        }
        let host = url.host_str().unwrap_or_default();
        // every spelling of an IPv4 address was read as one: octal, hexadecimal, a single number
        let bare = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match bare {
            Ok(address) if self.addresses.contains(&address.to_canonical()) => Ok(()),
            Ok(_) => refuse("the host is a bare address, not a name"),
            Err(_) if is_local_name(host) => refuse("the host's name is a local one"),
            Err(_) => Ok(()),
        }
    }

    /// Whether a connection to this address may be made for an untrusted URL.
    pub fn allow(&self, address: IpAddr) -> bool {
        is_public(address) || self.addresses.contains(&address.to_canonical())
    }
}

/// No name and password are sent because a URL has them.
pub fn names_no_user(url: &Url) -> Result<(), FetchError> {
    match (url.username(), url.password()) {
        ("", None) => Ok(()),
        _ => Err(FetchError::Forbidden("the address names a user")),
    }
}

/// Whether a path is another one of the same server or lies below it, also for a server that decodes it before it looks for `..`.
pub fn is_below(url: &Url, below: &Url) -> Result<(), FetchError> {
    let rest = url.path().strip_prefix(below.path().trim_end_matches('/'));
    let rest = rest.filter(|rest| (rest.is_empty() || rest.starts_with('/')) && url.origin() == below.origin());
    let decoded: Vec<u8> = rest.into_iter().flat_map(percent_decode_str).collect();
    let climbs = decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|step| matches!(step, b"." | b".."));
    match rest {
        Some(_) if !climbs => Ok(()),
        _ => Err(FetchError::Forbidden("the path leads out of what the gateway serves")),
    }
}

/// A name that no server of the internet has.
pub fn is_local_name(host: &str) -> bool {
    let name = host.trim_end_matches('.');
    let ends = |end: &&str| name == *end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    !name.contains('.') || LOCAL_NAMES.iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(change: impl FnOnce(&mut config::Fetch)) -> Rules {
        let mut config = config::Fetch::default();
        change(&mut config);
        Rules::new(&config)
    }

    fn is_fetched(rules: &Rules, url: &str) -> bool {
        url.parse::<Url>().is_ok_and(|url| rules.check(&url).is_ok())
    }

    #[test]
    fn names_over_https_are_fetched_and_nothing_else() {
        let strict = rules(|_| ());
        for url in [
            "https://example.org/1.json",
            "https://example.org:443/1.json?a=b#c",
            "https://EXAMPLE.org./1",
            "https://bücher.example.org/",
        ] {
            assert!(is_fetched(&strict, url), "{url}");
        }
        for url in [
            "http://example.org/1.json",
            "ftp://example.org/1.json",
            "file:///etc/passwd",
            "gopher://example.org/",
            "https://example.org:8443/",
            "https://example.org:22/",
            "https://user@example.org/",
            "https://:secret@example.org/",
            "https:///",
            &format!("https://example.org/{}", "a".repeat(URL_BYTES_MAX)),
        ] {
            assert!(!is_fetched(&strict, url), "{url}");
        }
    }

    #[test]
    fn a_bare_address_is_refused_in_every_spelling() {
        let strict = rules(|config| config.http = true);
        for host in [
            "1.1.1.1",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "①②⑦.⓪.⓪.①",
            "127。0。0。1",
            "%31%32%37.0.0.1",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[2606:4700::1111]",
        ] {
            assert!(!is_fetched(&strict, &format!("http://{host}/")), "{host}");
        }
    }

    #[test]
    fn local_names_are_refused() {
        let strict = rules(|_| ());
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "printer.local",
            "metadata.google.internal",
            "nas.home.arpa",
            "redis",
            "nats.",
            "hidden.onion",
            "ｌｏｃａｌｈｏｓｔ",
        ] {
            assert!(!is_fetched(&strict, &format!("https://{host}/")), "{host}");
        }
        // only whole parts of a name count
        assert!(is_fetched(&strict, "https://notlocal.example.org/") && is_fetched(&strict, "https://my-local.dev/"));
    }

    #[test]
    fn below_is_below_however_it_is_written() {
        let is_below = |url: &str, below: &str| is_below(&url.parse().unwrap(), &below.parse().unwrap()).is_ok();
        let gateway = "http://127.0.0.1:8080/base/ipfs";
        for path in [
            "/base/ipfs/Qm/1",
            "/base/ipfs/Qm/",
            "/base/ipfs/Qm/a%2Fb?x=1#y",
            "/x/../base/ipfs/Qm",
            "/base/ipfs//Qm",
            "/base/ipfs",
        ] {
            assert!(is_below(&format!("http://127.0.0.1:8080{path}"), gateway), "{path}");
            assert!(is_below(&format!("http://127.0.0.1:8080{path}"), &format!("{gateway}/")), "{path}");
        }
        for path in [
            "/",
            "/admin",
            "/base",
            "/base/ipfsx/Qm",
            "/ipfs/Qm",
            "/base/ipfs/../admin",
            "/base/ipfs/%2e%2e/admin",
            "/base/ipfs/Qm/..%2f..%2f..%2fadmin",
            "/base/ipfs/Qm\\..\\..\\..\\admin",
            "/base/ipfs/Qm/..%5c..%5cadmin",
            "/base%2fipfs/Qm",
        ] {
            assert!(!is_below(&format!("http://127.0.0.1:8080{path}"), gateway), "{path}");
        }
        for other in ["http://127.0.0.1:8081", "https://127.0.0.1:8080", "http://localhost:8080"] {
            assert!(!is_below(&format!("{other}/base/ipfs/Qm"), gateway), "{other}");
        }
    }

    #[test]
    fn what_is_allowed_is_only_what_is_named() {
        let lenient = rules(|config| {
            config.http = true;
            config.ports = vec![8080];
            config.addresses = vec!["127.0.0.1".parse().unwrap()];
        });
        for url in
            ["http://127.0.0.1:8080/", "http://127.0.0.1/", "http://example.org:8080/", "http://[::ffff:7f00:1]/"]
        {
            assert!(is_fetched(&lenient, url), "{url}");
        }
        for url in ["http://127.0.0.2:8080/", "http://127.0.0.1:8081/", "http://[::1]:8080/", "http://localhost:8080/"]
        {
            assert!(!is_fetched(&lenient, url), "{url}");
        }
        assert!(lenient.allow("127.0.0.1".parse().unwrap()) && lenient.allow("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!lenient.allow("127.0.0.2".parse().unwrap()));
    }
}
