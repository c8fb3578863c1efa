//! `health`: asks the process that runs with the same configuration how it is. For containers, which hold no other program that
//! could ask.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

/// Longer than `/readyz` may take itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Of an answer; that of `/readyz` has a line for each check.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether it can do what it must: everything that it needs is there.
    Ready,
    /// Whether it lives, whatever it needs.
    Alive,
}

/// Fails unless the answer is yes.
pub fn ask(listener: SocketAddr, question: Question) -> anyhow::Result<()> {
    let address = own(listener);
    let path = match question {
        Question::Ready => "/readyz",
        Question::Alive => "/healthz",
    };
    let answer = get(address, path).with_context(|| format!("nobody answers at {address}, which is admin.listen"))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(()),
        _ => {
            bail!("{path} is {status}{}", answer.split_once("\r\n\r\n").map(|(_, body)| why(body)).unwrap_or_default())
        }
    }
}

/// Where a process of the same machine reaches a listener.
fn own(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The checks that failed, as the operator's listener tells them.
fn why(body: &str) -> String {
    #[derive(Deserialize)]
    struct Answer {
        checks: Vec<Check>,
    }
    #[derive(Deserialize)]
    struct Check {
        name: String,
        error: Option<String>,
    }
    let Ok(answer) = serde_json::from_str::<Answer>(body) else { return String::new() };
    let failed = answer.checks.into_iter().filter_map(|check| Some(format!(": {}: {}", check.name, check.error?)));
    failed.collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Says this to whoever asks first.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 512];
            assert!(stream.read(&mut question).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        ask(answering("HTTP/1.1 200 OK\r\n\r\n{\"ready\":true,\"checks\":[]}"), Question::Ready).unwrap();
        let red = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\":false,\"checks\":[{\"name\":\"nats\",\"error\":\"no \
                   connection\"},{\"name\":\"redis\",\"error\":null}]}";
        let error = ask(answering(red), Question::Ready).unwrap_err().to_string();
        assert_eq!(error, "/readyz is 503: nats: no connection");
        assert!(ask(answering("220 mail.example.org ESMTP"), Question::Alive).is_err());
    }

    #[test]
    fn who_is_not_there_is_named_with_the_setting() {
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let error = format!("{:#}", ask(closed, Question::Alive).unwrap_err());
        assert!(error.contains("admin.listen"), "{error}");
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_its_own_machine() {
        for (listener, asked) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:9464", "[::1]:9464"), ("10.0.0.2:9464", "10.0.0.2:9464")]
        {
            assert_eq!(own(listener.parse().unwrap()).to_string(), asked);
        }
    }
}
