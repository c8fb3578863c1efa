//! The connection under the subscriptions: dialling, signing in, staying connected.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::{ConnectInfo, Protocol, ServerAddr, ServerInfo};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::BytesMut;
use nkeys::KeyPair;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::wire::{self, ServerOp};
use crate::ctx::Ctx;
use crate::nats;

/// From the first packet to the answer of the server that we are in.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The server is asked so often whether it is still there,
const PING_EVERY: Duration = Duration::from_secs(10);
/// and so many questions may be open.
const PINGS_MAX: usize = 2;
/// The pause after a failed attempt: this, doubled with each, at most 32 times as much.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);
/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// A stream to a server, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Keeps the connection.
pub struct Link {
    dial: Dial,
    first: Connection,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Link {
    pub(super) async fn connect(ctx: &Ctx, shared: Arc<Shared>) -> anyhow::Result<Self> {
        let config = &ctx.config.nats;
        let credentials = match &config.credentials_file {
            Some(file) => Some(Credentials::load(file)?),
            None => None,
        };
        let (servers, name) = (nats::servers(config)?, format!("{} subscriptions", ctx.node));
        let (mut dial, stop) = (Dial { servers, next: 0, name, credentials }, ctx.stop.clone());
        let first = dial.any().await?;
        shared.table().connected();
        Ok(Self { dial, first, shared, stop })
    }

    /// Runs until the process stops; connects again for ever.
    pub async fn run(self) {
        let Self { mut dial, first, shared, stop } = self;
        let mut connection = Some(first);
        let keep = async {
            loop {
                let connected = match connection.take() {
                    Some(connection) => connection,
                    None => {
                        let connection = dial.until_connected().await;
                        shared.table().connected();
                        connection
                    }
                };
                let Err(error) = Serving::new(connected, &shared).run().await;
                shared.table().outbox = None;
                tracing::warn!(error = format!("{error:#}"), "the connection for subscriptions was lost");
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = keep => {}
        }
    }
}

/// Where to, and as whom.
struct Dial {
    servers: Vec<ServerAddr>,
    next: usize,
    name: String,
    credentials: Option<Credentials>,
}

/// A user of NATS by its JWT, which it proves with its key.
struct Credentials {
    jwt: String,
    key: KeyPair,
}

/// A connection whose server has let us in.
struct Connection {
    reader: ReadHalf<Box<dyn Wire>>,
    writer: WriteHalf<Box<dyn Wire>>,
    read: BytesMut,
}

impl Dial {
    async fn until_connected(&mut self) -> Connection {
        let mut pause = RECONNECT_AFTER;
        loop {
            match self.any().await {
                Ok(connection) => return connection,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "no connection for subscriptions"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(32 * RECONNECT_AFTER);
        }
    }

    /// Tries each server once.
    async fn any(&mut self) -> anyhow::Result<Connection> {
        let mut failed = anyhow::anyhow!("no server of NATS is named");
        for _ in 0..self.servers.len() {
            let server = &self.servers[self.next % self.servers.len()];
            self.next += 1;
            let connected = timeout(CONNECT_WITHIN, self.connect(server)).await;
            match connected.unwrap_or_else(|_| bail!("no answer in time")) {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = error.context(format!("NATS at {}:{}", server.host(), server.port())),
            }
        }
        Err(failed)
    }

    async fn connect(&self, server: &ServerAddr) -> anyhow::Result<Connection> {
        let mut tcp = TcpStream::connect((server.host(), server.port())).await?;
        tcp.set_nodelay(true)?;
        let mut read = BytesMut::with_capacity(READ_BYTES);
        let ServerOp::Info(info) = next_op(&mut tcp, &mut read).await? else { bail!("it does not introduce itself") };
        let tls_required = info.tls_required || server.tls_required();
        let stream: Box<dyn Wire> = if tls_required { Box::new(tls(server.host(), tcp).await?) } else { Box::new(tcp) };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let hello = serde_json::to_string(&self.hello(server, &info, tls_required)?)?;
        writer.write_all(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).await?;
        writer.flush().await?;
        loop {
            match next_op(&mut reader, &mut read).await? {
                ServerOp::Pong => return Ok(Connection { reader, writer, read }),
                ServerOp::Error(error) => bail!("it refuses us: {error}"),
                _ => {}
            }
        }
    }

    fn hello(&self, server: &ServerAddr, info: &ServerInfo, tls_required: bool) -> anyhow::Result<ConnectInfo> {
        let signature = match &self.credentials {
            Some(credentials) => Some(BASE64_URL_SAFE_NO_PAD.encode(credentials.key.sign(info.nonce.as_bytes())?)),
            None => None,
        };
        let (user, pass) = nats::user_of(server).unzip();
        Ok(ConnectInfo {
            verbose: false,
            pedantic: false,
            user_jwt: self.credentials.as_ref().map(|credentials| credentials.jwt.clone()),
            nkey: None,
            signature,
            name: Some(self.name.clone()),
            echo: true,
            lang: "rust".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: Protocol::Dynamic,
            tls_required,
            user,
            pass,
            auth_token: None,
            headers: true,
            no_responders: true,
        })
    }
}

/// With the certificates that the machine trusts, as the client library has it.
async fn tls(host: &str, tcp: TcpStream) -> anyhow::Result<impl Wire + use<>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
}

impl Credentials {
    /// Reads a file as `nsc` writes it: the user's JWT and the seed of its key, each between two lines of dashes.
    fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        let wrong = || format!("{} is not a credentials file of NATS", file.display());
        Self::parse(&text).with_context(wrong)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines().map(str::trim);
        let mut after = |title: &str| {
            lines.find(|line| line.starts_with("-----BEGIN") && line.contains(title))?;
            lines.next()
        };
        let jwt = after("USER JWT").context("it has no user JWT")?.to_owned();
        let key = KeyPair::from_seed(after("NKEY SEED").context("it has no seed")?)?;
        Ok(Self { jwt, key })
    }
}

async fn next_op(stream: &mut (impl AsyncRead + Unpin), read: &mut BytesMut) -> anyhow::Result<ServerOp> {
    loop {
        if let Some(op) = wire::take(read)? {
            return Ok(op);
        }
        if stream.read_buf(read).await? == 0 {
            bail!("it closed the connection");
        }
    }
}

/// A loop that only ends by losing the connection.
enum Never {}

/// The conversation over one connection.
struct Serving<'a> {
    connection: Connection,
    shared: &'a Shared,
    writing: BytesMut,
    /// For each question that is open, who waits for its answer.
    pings: VecDeque<Vec<oneshot::Sender<()>>>,
    /// Asked because nothing else was to be said.
    idle_pings: usize,
    /// The first answer says that everything is subscribed again.
    restored: bool,
}

impl<'a> Serving<'a> {
    fn new(connection: Connection, shared: &'a Shared) -> Self {
        let (writing, pings) = (BytesMut::new(), VecDeque::new());
        Self { connection, shared, writing, pings, idle_pings: 0, restored: false }
    }

    async fn run(mut self) -> anyhow::Result<Never> {
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.say();
        loop {
            let writes = !self.writing.is_empty();
            tokio::select! {
                read = self.connection.reader.read_buf(&mut self.connection.read) => {
                    if read? == 0 {
                        bail!("the server closed it");
                    }
                    self.listen()?;
                    self.connection.read.reserve(READ_BYTES);
                }
                written = self.connection.writer.write_buf(&mut self.writing), if writes => {
                    written?;
                    if self.writing.is_empty() {
                        self.connection.writer.flush().await?;
                    }
                }
                () = self.shared.said.notified(), if !writes => self.say(),
                _ = ping.tick() => {
                    if self.idle_pings >= PINGS_MAX {
                        bail!("the server does not answer");
                    }
                    self.idle_pings += 1;
                    self.ask(Vec::new());
                }
            }
        }
    }

    /// Takes what is to be said, and asks the server to confirm it if somebody waits for that.
    fn say(&mut self) {
        let Some(outbox) = self.shared.table().outbox.as_mut().map(std::mem::take) else { return };
        self.writing.unsplit(outbox.bytes);
        if !outbox.confirm.is_empty() || self.pings.is_empty() && !self.restored {
            self.ask(outbox.confirm);
        }
    }

    fn ask(&mut self, confirm: Vec<oneshot::Sender<()>>) {
        self.writing.extend_from_slice(b"PING\r\n");
        self.pings.push_back(confirm);
    }

    fn listen(&mut self) -> anyhow::Result<()> {
        let table = self.shared.table();
        while let Some(op) = wire::take(&mut self.connection.read)? {
            match op {
                ServerOp::Message(sid, message) => table.arrived(sid, message),
                ServerOp::Ping => self.writing.extend_from_slice(b"PONG\r\n"),
                ServerOp::Pong => {
                    self.idle_pings = 0;
                    if !std::mem::replace(&mut self.restored, true) {
                        table.missed();
                    }
                    for confirm in self.pings.pop_front().into_iter().flatten() {
                        let _ = confirm.send(());
                    }
                }
                ServerOp::Error(error) => bail!("{error}"),
                ServerOp::Info(_) | ServerOp::Ok => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_credentials_is_read() {
        let seed = KeyPair::new_user().seed().unwrap();
        let file = format!(
            "-----BEGIN NATS USER JWT-----\r\ney.J0.x\r\n------END NATS USER JWT------\r\n\r\n*** IMPORTANT ***\r\n\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        );
        assert_eq!(Credentials::parse(&file).unwrap().jwt, "ey.J0.x");
        let Err(error) = Credentials::parse("ey.J0.x") else { panic!("it was read") };
        assert!(format!("{error}").contains("no user JWT"), "{error}");
    }
}
