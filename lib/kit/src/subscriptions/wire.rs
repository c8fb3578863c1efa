//! The NATS client protocol, as far as a connection that only listens needs it
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).

use std::sync::OnceLock;

use anyhow::ensure;
use async_nats::ServerInfo;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A control line may have this many bytes (`max_control_line` of the server; `INFO` is the longest).
const LINE_BYTES_MAX: usize = 32 * 1024;
/// A message may have this many bytes, headers included; the servers' own default (`max_payload`) is 1 MiB.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the server says.
#[derive(Debug)]
pub enum ServerOp {
    /// A message for this subscription.
    Message(u64, Message),
    Info(Box<ServerInfo>),
    Ping,
    Pong,
    Ok,
    Error(String),
}

/// The server says something else.
#[derive(Debug, thiserror::Error)]
#[error("not the NATS protocol: {0}")]
pub struct NotNats(String);

/// A message as it arrived, once for all who listen.
#[derive(Debug)]
pub struct Message {
    subject: Bytes,
    headers: Bytes,
    /// The body of the message, without headers.
    pub payload: Bytes,
    frame: OnceLock<Bytes>,
}

impl Message {
    /// One that came over no connection.
    pub(super) fn here(subject: &str, payload: Bytes) -> Self {
        let subject = Bytes::copy_from_slice(subject.as_bytes());
        Self { subject, headers: Bytes::new(), payload, frame: OnceLock::new() }
    }

    /// Where it was sent to.
    pub fn subject(&self) -> &str {
        std::str::from_utf8(&self.subject).unwrap_or_default()
    }

    /// The first header of this name, as it was written.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = std::str::from_utf8(&self.headers).ok()?;
        headers.lines().skip(1).find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    /// The frame that it becomes for everybody who listens: encoded by the first one, shared by all.
    pub fn frame(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.frame.get_or_init(|| encode(self)).clone()
    }

    /// What it takes in memory, about.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.headers.len() + self.payload.len()
    }
}

/// The next thing that a server says. What it said behind that stays in `read`.
pub async fn next(stream: &mut (impl AsyncRead + Unpin), read: &mut BytesMut) -> anyhow::Result<ServerOp> {
    loop {
        if let Some(op) = take(read)? {
            return Ok(op);
        }
        ensure!(stream.read_buf(read).await? > 0, "it closed the connection");
    }
}

/// Takes the next operation from what was read; `None` where more must be read first.
pub fn take(read: &mut BytesMut) -> Result<Option<ServerOp>, NotNats> {
    let Some(end) = read.windows(2).position(|pair| pair == b"\r\n") else {
        return if read.len() > LINE_BYTES_MAX { Err(NotNats("a line without an end".to_owned())) } else { Ok(None) };
    };
    if read.starts_with(b"MSG ") || read.starts_with(b"HMSG ") {
        return take_message(read, end + 2);
    }
    let line = std::str::from_utf8(&read[..end]).map_err(|error| NotNats(error.to_string()))?;
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let op = match word {
        "INFO" => ServerOp::Info(serde_json::from_str(rest).map_err(|error| NotNats(error.to_string()))?),
        "PING" => ServerOp::Ping,
        "PONG" => ServerOp::Pong,
        "+OK" => ServerOp::Ok,
        "-ERR" => ServerOp::Error(rest.trim_matches('\'').to_owned()),
        _ => return Err(NotNats(line.chars().take(64).collect())),
    };
    read.advance(end + 2);
    Ok(Some(op))
}

/// `MSG <subject> <sid> [reply-to] <bytes>` or `HMSG <subject> <sid> [reply-to] <header bytes> <bytes>`, and what follows.
fn take_message(read: &mut BytesMut, body: usize) -> Result<Option<ServerOp>, NotNats> {
    let line = std::str::from_utf8(&read[..body - 2]).map_err(|error| NotNats(error.to_string()))?;
    let wrong = || NotNats(line.chars().take(64).collect());
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<usize>().ok());
    let mut words = line.split(' ');
    let with_headers = words.next() == Some("HMSG");
    let (Some(subject), Some(sid)) = (words.next(), number(words.next())) else { return Err(wrong()) };
    let bytes = number(words.next_back()).ok_or_else(wrong)?;
    let header_bytes = if with_headers { number(words.next_back()).ok_or_else(wrong)? } else { 0 };
    if header_bytes > bytes || bytes > MESSAGE_BYTES_MAX {
        return Err(wrong());
    }
    let end = body + bytes;
    if read.len() < end + 2 {
        return Ok(None);
    }
    // a copy of its own, so that a message that waits does not keep all that was read with it
    let subject_at = "MSG ".len() + usize::from(with_headers);
    let subject_at = subject_at..subject_at + subject.len();
    let whole = Bytes::copy_from_slice(&read[..end]);
    let message = Message {
        subject: whole.slice(subject_at),
        headers: whole.slice(body..body + header_bytes),
        payload: whole.slice(body + header_bytes..end),
        frame: OnceLock::new(),
    };
    read.advance(end + 2);
    Ok(Some(ServerOp::Message(sid as u64, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALK: &[u8] = b"INFO {\"server_id\":\"S\",\"nonce\":\"n\"}\r\n+OK\r\nPING\r\nMSG live.a.1.typing 7 5\r\nhello\r\n\
        HMSG live.a.1.dm 8 reply.to 40 43\r\nNATS/1.0\r\nNats-Sequence: 12\r\nOther:x\r\n\r\nabc\r\nPONG\r\n-ERR 'Slow Consumer'\r\n";

    /// What is said, and read in pieces of this many bytes.
    fn read_in_pieces(size: usize) -> Vec<String> {
        let (mut read, mut said) = (BytesMut::new(), Vec::new());
        for piece in TALK.chunks(size) {
            read.extend_from_slice(piece);
            while let Some(op) = take(&mut read).unwrap() {
                said.push(match op {
                    ServerOp::Message(sid, message) => format!(
                        "{sid} {} {:?} {:?}",
                        message.subject(),
                        message.header("Nats-Sequence"),
                        std::str::from_utf8(&message.payload).unwrap()
                    ),
                    ServerOp::Info(info) => format!("info {}", info.nonce),
                    ServerOp::Ping => "ping".to_owned(),
                    ServerOp::Pong => "pong".to_owned(),
                    ServerOp::Ok => "ok".to_owned(),
                    ServerOp::Error(error) => error,
                });
            }
        }
        assert!(read.is_empty());
        said
    }

    #[test]
    fn what_the_server_says_is_read_however_it_is_cut() {
        let expected = [
            "info n",
            "ok",
            "ping",
            "7 live.a.1.typing None \"hello\"",
            "8 live.a.1.dm Some(\"12\") \"abc\"",
            "pong",
            "Slow Consumer",
        ];
        for size in [1, 2, 3, 7, 64, TALK.len()] {
            assert_eq!(read_in_pieces(size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        for line in [
            "HTTP/1.1 400 Bad Request\r\n",
            "MSG live 1\r\n",
            "MSG live x 5\r\n",
            "MSG live 1 99999999999\r\n",
            "HMSG live 1 9 5\r\n",
            "INFO {\r\n",
        ] {
            assert!(take(&mut BytesMut::from(line)).is_err(), "{line}");
        }
        assert!(take(&mut BytesMut::from(&[b'x'; LINE_BYTES_MAX + 1][..])).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut read = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut read) {}
        }
    }
}
