//! A web server of somebody else, which may answer in any way.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes of a request's head that are read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How it answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With a file of a media type.
    File(&'static str, Vec<u8>),
    /// By sending to somewhere else.
    Redirect(String),
    /// With these bytes and nothing else, then it closes.
    Bytes(Vec<u8>),
    /// With a good head, and then with zeros for as long as anybody reads.
    Endless,
    /// With a good head, and then a byte now and then.
    Drip(Duration),
    /// Not at all, on an open connection.
    Silence,
    /// By closing the connection.
    Close,
}

impl Answer {
    /// A JSON file.
    pub fn json(text: impl Into<String>) -> Self {
        Self::File("application/json", text.into().into_bytes())
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::Bytes(format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n").into_bytes())
    }

    /// A good head with these headers, and a body that is as it is.
    pub fn with_headers(headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Self::Bytes([format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), body].concat())
    }
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// The heads of all requests.
    heads: Vec<String>,
    under_way: usize,
    most_under_way: usize,
}

/// A web server on a port of its own. What it has no answer for is not found.
#[derive(Debug)]
pub struct UntrustedHost {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl UntrustedHost {
    /// Starts one that has nothing yet.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let serving = tokio::spawn(serve(listener, state.clone()));
        Ok(Self { address, state, serving })
    }

    /// Answers so on a path from now on.
    pub fn answer(&self, path: &str, answer: Answer) {
        lock(&self.state).answers.insert(path.to_owned(), answer);
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of one of its files: `http://127.0.0.1:<port><path>`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests so far, as they came.
    pub fn heads(&self) -> Vec<String> {
        lock(&self.state).heads.clone()
    }

    /// How often a path was asked for.
    pub fn asked_for(&self, path: &str) -> usize {
        let line = format!("GET {path} ");
        lock(&self.state).heads.iter().filter(|head| head.starts_with(&line)).count()
    }

    /// Requests that were answered at once, at the most.
    pub fn most_at_once(&self) -> usize {
        lock(&self.state).most_under_way
    }
}

impl Drop for UntrustedHost {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    // dropped with the task, and all conversations with it
    let mut conversations = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        conversations.spawn(async move {
            // the other side may be gone at any time
            let _ = converse(stream, &state).await;
            lock(&state).under_way -= 1;
        });
    }
}

async fn converse(mut stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let (mut head, mut chunk) = (Vec::new(), [0; 4_096]);
    {
        let mut state = lock(state);
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
    }
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        match stream.read(&mut chunk).await? {
            0 => break,
            count => head.extend_from_slice(&chunk[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut state = lock(state);
        state.heads.push(head);
        state.answers.get(&path).cloned()
    };
    const GOOD_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    match answer.unwrap_or_else(|| Answer::status(404)) {
        Answer::File(media_type, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Redirect(to) => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        Answer::Bytes(bytes) => stream.write_all(&bytes).await?,
        Answer::Endless => {
            stream.write_all(GOOD_HEAD).await?;
            loop {
                stream.write_all(&[b'0'; 16 * 1024]).await?;
            }
        }
        Answer::Drip(every) => {
            stream.write_all(GOOD_HEAD).await?;
            loop {
                stream.write_all(b"0").await?;
                tokio::time::sleep(every).await;
            }
        }
        Answer::Silence => std::future::pending().await,
        Answer::Close => {}
    }
    stream.shutdown().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_answers_as_it_was_told_and_remembers_who_asked() {
        let host = UntrustedHost::start().await.unwrap();
        host.answer("/a", Answer::json("{}"));
        let get = async |path: &str| {
            let mut stream = TcpStream::connect(host.address()).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(get("/a").await.ends_with("\r\n\r\n{}"));
        assert!(get("/b").await.starts_with("HTTP/1.1 404 "));
        assert_eq!((host.asked_for("/a"), host.asked_for("/c")), (1, 0));
        assert!(host.heads()[0].contains("Host: a"));
    }
}
