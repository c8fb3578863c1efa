//! Keeps the web pages that an operator looks at away from the operator's listener, which asks for no sign-in: a browser on the
//! operator's machine reaches it, and takes orders from strangers.
//!
//! - A page that sends something names its origin (`Origin`, WHATWG Fetch 3.2). Nothing that belongs here does.
//! - A page whose own name was made to lead here afterwards (DNS rebinding) can read what it asks for; then `Host` is that name. Only
//!   addresses, names that nobody in the internet can have, and those that the operator configured are ours.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nepto_proto::ErrorCode;

use crate::Failure;
use crate::fetch::is_local_name;

/// Lets nobody in whom a page sent.
pub async fn keep_out(State(names): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    match validate(request.headers(), host.as_deref(), &names) {
        Ok(()) => next.run(request).await,
        Err(why) => Failure::new(ErrorCode::OperatorsOnly, why).into_response(),
    }
}

fn validate(headers: &HeaderMap, in_target: Option<&str>, names: &[String]) -> Result<(), String> {
    if headers.contains_key(header::ORIGIN) {
        return Err("a web page asks; use nepto admin or curl".into());
    }
    let in_header = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("/"));
    for host in in_header.chain(in_target) {
        let authority: Option<Authority> = host.parse().ok();
        let name = authority.as_ref().map_or("", Authority::host);
        if !is_ours(name, names) {
            return Err(format!(
                "{name:?} is not a name of this listener; ask its address, or add the name to admin.names"
            ));
        }
    }
    Ok(())
}

fn is_ours(name: &str, names: &[String]) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.to_ascii_lowercase();
    !name.is_empty()
        && (bare.parse::<IpAddr>().is_ok()
            || is_local_name(&name)
            || names.iter().any(|ours| ours.eq_ignore_ascii_case(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(headers: &[(&'static str, &str)]) -> Result<(), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        validate(&map, None, &["nepto-1.example.org".to_owned()])
    }

    #[test]
    fn tools_are_let_in_and_pages_are_not() {
        for host in [
            "127.0.0.1:9464",
            "10.0.0.5",
            "[::1]:9464",
            "localhost:9464",
            "LOCALHOST",
            "nepto-1:9464",
            "nepto.default.svc.cluster.local:9464",
            "nepto-1.example.org:9464",
            "Nepto-1.Example.ORG",
        ] {
            assert_eq!(ask(&[("host", host)]), Ok(()), "{host}");
            for origin in ["https://evil.example", "null", "http://127.0.0.1:9464"] {
                assert!(ask(&[("host", host), ("origin", origin)]).is_err(), "{host} {origin}");
            }
        }
        assert_eq!(ask(&[]), Ok(()), "HTTP/1.0");
        for host in [
            "evil.example",
            "evil.example:9464",
            "127.0.0.1.nip.io",
            "nepto-1.example.org.evil.example",
            "",
            "a/b",
            "user@",
        ] {
            assert!(ask(&[("host", host)]).is_err(), "{host}");
            assert!(ask(&[("host", "127.0.0.1"), ("host", host)]).is_err(), "{host}");
            assert!(validate(&HeaderMap::new(), Some(host), &[]).is_err(), "{host}");
        }
    }
}
