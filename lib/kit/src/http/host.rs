//! The header `Host`, of which every HTTP/1.1 request has one (RFC 9112, 3.2). Two servers that each believe another one of two, a
//! proxy and this one, can be played against each other.

use axum::http::uri::Authority;
use axum::http::{HeaderValue, Request, Version, header};
use nepto_proto::ErrorCode;

use crate::Failure;

/// Refuses a request with none, several, or one that is no host.
pub fn check<B>(request: &Request<B>) -> Result<(), Failure> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        // HTTP/1.0 has none
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Failure::new(ErrorCode::Malformed, "the request has no Host")),
        (_, Some(_)) => Err(Failure::new(ErrorCode::Malformed, "the request has several Hosts")),
        (Some(_), None) => Err(Failure::new(ErrorCode::Malformed, "the request's Host is none")),
    }
}

/// A name or address, which `http` can't do without (RFC 9110, 4.2.1), and perhaps a port.
fn is_host(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default();
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let host = authority.host();
    let is_port =
        |port: &str| port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    // what stands before the host is a user, which does not belong here
    match text.strip_prefix(host) {
        Some("") => !host.is_empty(),
        Some(rest) => !host.is_empty() && rest.strip_prefix(':').is_some_and(is_port),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(version: Version, hosts: &[&str]) -> Option<String> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        for host in hosts {
            request.headers_mut().append(header::HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        check(&request).err().map(|failure| {
            assert_eq!(failure.code, ErrorCode::Malformed);
            failure.detail
        })
    }

    #[test]
    fn a_request_names_one_host() {
        for good in
            ["a", "chat.example.org", "chat.example.org:8443", "a:", "127.0.0.1:80", "[::1]", "[::1]:8080", "A_b-c"]
        {
            assert_eq!(refusal(Version::HTTP_11, &[good]), None, "{good}");
        }
        for bad in [
            "",
            " ",
            "a b",
            "a/b",
            "http://a",
            "user@a",
            "a:b",
            "a:65536",
            "a:80:80",
            ":80",
            "[::1",
            "a,b\u{e9}",
            "a?b",
            "a#b",
        ] {
            assert_eq!(refusal(Version::HTTP_11, &[bad]).as_deref(), Some("the request's Host is none"), "{bad:?}");
        }
        assert!(refusal(Version::HTTP_11, &[]).unwrap().contains("no Host"));
        assert!(refusal(Version::HTTP_11, &["a", "a"]).unwrap().contains("several"), "even if they are the same");
        assert_eq!(refusal(Version::HTTP_10, &[]), None);
        assert!(refusal(Version::HTTP_10, &["a", "b"]).is_some());
    }
}
