//! One connection to a gateway: frames out, frames in. No task, no queue, no retry: whoever drives thousands of them in
//! one process pays for one WebSocket each. [`crate::session`] keeps one alive.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use nepto_proto::frame::{self, FrameError, SUBPROTOCOL};
use nepto_proto::limits::FRAME_BYTES_MAX;
use nepto_proto::wire::{ClientFrame, Cursor, Hello, ServerFrame, Welcome, client_frame, server_frame};
use nepto_proto::{CloseCode, ErrorCode};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub use nepto_sdk_core::gateway::SocketError;

/// Buffer of a connection in each direction.
const BUFFER_BYTES: usize = 4 * 1024;
/// What may wait for a slow network before sending fails.
const WRITE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

fn broken(error: WsError) -> SocketError {
    match error {
        WsError::Http(response) => SocketError::Http(response.status().as_u16()),
        WsError::Url(error) => SocketError::Url(error.to_string()),
        WsError::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_)) => {
            SocketError::Subprotocol
        }
        WsError::ConnectionClosed | WsError::AlreadyClosed => closed(None),
        other => SocketError::Network(other.to_string()),
    }
}

fn closed(close: Option<CloseFrame>) -> SocketError {
    let (number, reason) = close.map_or((1006, String::new()), |close| (close.code.into(), close.reason.to_string()));
    SocketError::Closed { code: CloseCode::from_number(number), number, reason }
}

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    /// A frame of the gateway: an answer, or something live.
    Frame(ServerFrame),
    /// A ping or pong: the connection lives. A pong is sent by itself.
    Alive,
}

type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A WebSocket to a gateway, inside TLS for `wss:`.
pub struct Socket {
    ws: Ws,
    last_id: u32,
}

impl Socket {
    /// Connects to `ws(s)://…/v1/socket`, without a `Hello`.
    pub async fn connect(url: &str) -> Result<Self, SocketError> {
        let mut request = url.into_client_request().map_err(|_| SocketError::Url(url.to_owned()))?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BYTES_MAX)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        crate::tls::prepare();
        let connected = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await;
        let (ws, _) = connected.map_err(|error| match broken(error) {
            SocketError::Network(why) => SocketError::Network(format!("{why} at {url}")),
            error => error,
        })?;
        Ok(Self { ws, last_id: 0 })
    }

    /// Connects and says hello.
    pub async fn open(
        url: &str,
        access_token: &str,
        resume: Option<Cursor>,
        within: Duration,
    ) -> Result<(Self, Welcome), SocketError> {
        let opened = async {
            let mut socket = Self::connect(url).await?;
            let welcome = socket.hello(access_token, resume).await?;
            Ok((socket, welcome))
        };
        tokio::time::timeout(within, opened).await.map_err(|_| SocketError::Timeout)?
    }

    /// The first frame of every connection, and its answer.
    pub async fn hello(&mut self, access_token: &str, resume: Option<Cursor>) -> Result<Welcome, SocketError> {
        let hello = Hello { access_token: access_token.to_owned(), resume };
        self.send(client_frame::Kind::Hello(hello)).await?;
        loop {
            match self.recv().await? {
                Incoming::Frame(ServerFrame { kind: Some(server_frame::Kind::Welcome(welcome)), .. }) => {
                    return Ok(welcome);
                }
                Incoming::Frame(ServerFrame { kind: Some(server_frame::Kind::Error(error)), .. }) => {
                    let code = error.code.parse().unwrap_or(ErrorCode::Internal);
                    return Err(SocketError::Refused { code, detail: error.detail });
                }
                _ => {}
            }
        }
    }

    /// Sends a frame under the next id and flushes. Returns the id, which the reply echoes.
    pub async fn send(&mut self, kind: client_frame::Kind) -> Result<u32, SocketError> {
        let id = self.feed(kind).await?;
        self.flush().await?;
        Ok(id)
    }

    /// Puts a frame into the write buffer; [`Socket::flush`] sends it.
    pub async fn feed(&mut self, kind: client_frame::Kind) -> Result<u32, SocketError> {
        self.last_id = next_id(self.last_id);
        self.ws.feed(encode(self.last_id, kind)?).await.map_err(broken)?;
        Ok(self.last_id)
    }

    /// Sends what is buffered.
    pub async fn flush(&mut self) -> Result<(), SocketError> {
        self.ws.flush().await.map_err(broken)
    }

    /// The next thing that comes in. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Incoming, SocketError> {
        recv(&mut self.ws).await
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> Result<(), SocketError> {
        self.ws.send(Message::Ping(Default::default())).await.map_err(broken)
    }

    /// Closes it properly; a network that is gone already does not matter.
    pub async fn close(mut self) {
        let _ = self.ws.close(None).await;
    }

    /// Two halves, for two tasks.
    pub fn split(self) -> (SocketSender, SocketReceiver) {
        let (sink, stream) = self.ws.split();
        (SocketSender { sink, last_id: self.last_id }, SocketReceiver { stream })
    }
}

/// The sending half of a [`Socket`].
pub struct SocketSender {
    sink: SplitSink<Ws, Message>,
    last_id: u32,
}

impl SocketSender {
    /// Sends a frame at once; as [`Socket::send`].
    pub async fn send(&mut self, kind: client_frame::Kind) -> Result<u32, SocketError> {
        let id = self.feed(kind).await?;
        self.flush().await?;
        Ok(id)
    }

    /// Puts a frame into the write buffer; as [`Socket::feed`].
    pub async fn feed(&mut self, kind: client_frame::Kind) -> Result<u32, SocketError> {
        self.last_id = next_id(self.last_id);
        feed(&mut self.sink, encode(self.last_id, kind)?).await?;
        Ok(self.last_id)
    }

    /// Sends what is in the buffer; as [`Socket::flush`].
    pub async fn flush(&mut self) -> Result<(), SocketError> {
        self.sink.flush().await.map_err(broken)
    }
}

/// The receiving half of a [`Socket`].
pub struct SocketReceiver {
    stream: SplitStream<Ws>,
}

impl SocketReceiver {
    /// Waits for what comes in; as [`Socket::recv`].
    pub async fn recv(&mut self) -> Result<Incoming, SocketError> {
        recv(&mut self.stream).await
    }
}

/// 0 means that no reply is wanted.
fn next_id(last: u32) -> u32 {
    last.checked_add(1).unwrap_or(1)
}

fn encode(id: u32, kind: client_frame::Kind) -> Result<Message, SocketError> {
    let bytes = ClientFrame { id, kind: Some(kind) }.encode_to_vec();
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(bytes.len()).into());
    }
    Ok(Message::Binary(bytes.into()))
}

async fn feed(sink: &mut (impl Sink<Message, Error = WsError> + Unpin), message: Message) -> Result<(), SocketError> {
    sink.feed(message).await.map_err(broken)
}

async fn recv(stream: &mut (impl Stream<Item = Result<Message, WsError>> + Unpin)) -> Result<Incoming, SocketError> {
    match stream.next().await {
        None => Err(closed(None)),
        Some(Err(error)) => Err(broken(error)),
        Some(Ok(Message::Binary(bytes))) => Ok(Incoming::Frame(frame::decode_server(bytes)?)),
        Some(Ok(Message::Close(close))) => Err(closed(close)),
        Some(Ok(_)) => Ok(Incoming::Alive),
    }
}

/// Requests that wait for their replies.
#[derive(Default)]
pub struct Calls {
    waiting: HashMap<u32, oneshot::Sender<server_frame::Kind>>,
}

impl Calls {
    /// Remembers who waits for the reply to this request.
    pub fn insert(&mut self, id: u32, waiter: oneshot::Sender<server_frame::Kind>) {
        // those who gave up waiting are forgotten before the table grows
        if self.waiting.len() >= self.waiting.capacity() {
            self.waiting.retain(|_, waiter| !waiter.is_closed());
        }
        self.waiting.insert(id, waiter);
    }

    /// Hands a reply to who waits for it. Anything else is given back.
    pub fn complete(&mut self, frame: ServerFrame) -> Option<server_frame::Kind> {
        let kind = frame.kind?;
        match self.waiting.remove(&frame.reply_to) {
            Some(waiter) => waiter.send(kind).err().and(None),
            None => Some(kind),
        }
    }
}
