//! Whether a server answers, in the few bytes that each protocol needs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// NATS greets with its description, once JetStream is ready.
pub fn nats(port: u16) -> bool {
    begins(port, "", "INFO ")
}

/// Redis answers a ping.
pub fn redis(port: u16) -> bool {
    begins(port, "PING\r\n", "+PONG")
}

/// Nepto's operator listener says that everything it needs is there.
pub fn server(port: u16) -> bool {
    begins(port, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.1 200")
}

fn begins(port: u16, question: &str, answer: &str) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(question.as_bytes())?;
        let mut start = vec![0; answer.len()];
        stream.read_exact(&mut start)?;
        std::io::Result::Ok(start)
    };
    ask().is_ok_and(|start| start == answer.as_bytes())
}
