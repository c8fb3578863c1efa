//! Asking the chain of this machine, in the few bytes that it takes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The result of a method of the chain on a port.
pub fn call(port: u16, method: &str, params: &Value) -> Result<Value> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let mut answer: Value = serde_json::from_str(body).context("not a JSON-RPC answer")?;
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => bail!("the chain refuses {method}: {}", answer["error"]),
    }
}
