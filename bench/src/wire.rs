//! The socket, without anything per message that the measurement does not need: frames are patched copies of one that was
//! encoded before, and many sockets leave from several local addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nepto_proto::frame::{self, SUBPROTOCOL};
use nepto_proto::limits::FRAME_BYTES_MAX;
use nepto_proto::wire::{CiphertextType, ClientFrame, DeviceCiphertext, Hello, SendDm, client_frame, server_frame};
use prost::Message as _;
use rand::RngCore;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::people::Person;
use crate::stamp::{STAMP_BYTES, Stamp};

/// A WebSocket to a gateway.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Sockets come from so many prefixes of the loopback: one alone gets a share of the places only, and an address has so many ports.
const PREFIXES: usize = 250;
/// Buffer of a connection in each direction.
const BUFFER_BYTES: usize = 4 * 1024;
/// From connecting to `Welcome`.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// Connects and says hello. `number` is the device's place among all.
pub async fn open(url: &str, token: &str, number: usize) -> Result<Socket> {
    tokio::time::timeout(OPEN_WITHIN, greet(url, token, number)).await.context("the gateway does not answer")?
}

async fn greet(url: &str, token: &str, number: usize) -> Result<Socket> {
    let mut request = url.into_client_request().with_context(|| format!("{url} is not a socket address"))?;
    let uri = request.uri();
    let host = uri.host().context("a socket address without a host")?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let stream = connect(host, port, number).await?;
    stream.set_nodelay(true)?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let (mut socket, _) = tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), None).await?;
    let hello = Hello { access_token: token.to_owned(), resume: None };
    socket.send(encode(2, client_frame::Kind::Hello(hello))).await?;
    loop {
        let Message::Binary(bytes) = socket.next().await.context("the gateway closed the connection")?? else {
            continue;
        };
        match frame::decode_server(bytes)?.kind {
            Some(server_frame::Kind::Welcome(_)) => return Ok(socket),
            Some(server_frame::Kind::Error(error)) => bail!("the gateway refused: {} ({})", error.detail, error.code),
            _ => {}
        }
    }
}

async fn connect(host: &str, port: u16, number: usize) -> Result<TcpStream> {
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let address = addresses.next().with_context(|| format!("{host} has no address"))?;
    if !address.ip().is_loopback() || !address.is_ipv4() {
        return Ok(TcpStream::connect(address).await?);
    }
    let socket = TcpSocket::new_v4()?;
    let prefix = (number % PREFIXES) as u8;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, prefix, 1)), 0))?;
    Ok(socket.connect(address).await?)
}

/// A frame for the wire.
pub fn encode(id: u32, kind: client_frame::Kind) -> Message {
    Message::Binary(ClientFrame { id, kind: Some(kind) }.encode_to_vec().into())
}

/// A message to somebody's only device.
pub fn send_dm(to: &Person, client_msg_id: Vec<u8>, ciphertext: Bytes) -> SendDm {
    let copy = DeviceCiphertext {
        device: to.device.into(),
        registration_id: to.registration_id.get(),
        r#type: CiphertextType::Session.into(),
        ciphertext,
    };
    SendDm {
        client_msg_id,
        to: to.account.to_vec(),
        to_devices: vec![copy],
        own_devices: Vec::new(),
        recipient_only: false,
        automatic: false,
    }
}

/// A `SendDm` to one device, encoded once; each message is a copy with its own stamp.
pub struct Template {
    frame: Vec<u8>,
    id_at: usize,
    ciphertext_at: usize,
}

impl Template {
    /// For messages to this device with ciphertexts of this size.
    pub fn new(to: &Person, size: usize, rng: &mut impl RngCore) -> Result<Self> {
        let mut marks = [[0u8; STAMP_BYTES]; 2];
        marks.iter_mut().for_each(|mark| rng.fill_bytes(mark));
        let mut ciphertext = vec![0; size.max(STAMP_BYTES)];
        rng.fill_bytes(&mut ciphertext);
        ciphertext[..STAMP_BYTES].copy_from_slice(&marks[1]);
        let send = send_dm(to, marks[0].to_vec(), ciphertext.into());
        let frame = ClientFrame { id: 1, kind: Some(client_frame::Kind::SendDm(send)) }.encode_to_vec();
        let find = |mark: &[u8]| frame.windows(STAMP_BYTES).position(|window| window == mark);
        let (id_at, ciphertext_at) = find(&marks[0]).zip(find(&marks[1])).context("a frame lacks what was put in")?;
        Ok(Self { frame, id_at, ciphertext_at })
    }

    /// The message with this stamp.
    pub fn stamped(&self, stamp: Stamp) -> Message {
        let stamp = stamp.to_bytes();
        let mut frame = self.frame.clone();
        frame[self.id_at..][..STAMP_BYTES].copy_from_slice(&stamp);
        frame[self.ciphertext_at..][..STAMP_BYTES].copy_from_slice(&stamp);
        Message::Binary(frame.into())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::stamp::Phase;

    #[test]
    fn a_stamped_frame_is_a_frame() {
        let to = Person::example();
        let template = Template::new(&to, 1_000, &mut rand::rngs::StdRng::seed_from_u64(1)).unwrap();
        let stamp = Stamp { run: 3, phase: Phase::Measured, sender: 4, seq: 5, intended_us: 6 };
        let Message::Binary(bytes) = template.stamped(stamp) else { panic!("not binary") };
        let frame = frame::decode_client(bytes).unwrap();
        let Some(client_frame::Kind::SendDm(send)) = frame.kind else { panic!("not a message") };
        assert_eq!(send.to, to.account.to_vec());
        assert_eq!(Stamp::read(&send.client_msg_id), Some(stamp));
        assert_eq!(Stamp::read(&send.to_devices[0].ciphertext), Some(stamp));
        assert_eq!(send.to_devices[0].ciphertext.len(), 1_000);
    }
}
