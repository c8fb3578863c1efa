//! The connection under the subscriptions: dialling, signing in, staying connected.

use std::collections::VecDeque;
use std::convert::Infallible;
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
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::wire::{self, ServerOp};
use crate::config::Nats;
use crate::nats::{self, Servers};

/// From the first packet to the answer of the server that we are in.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// So many questions whether the server is still there may be open.
const PINGS_MAX: usize = 2;
/// A question that the server answers with `PONG` when it has read everything before it.
const PING: &[u8] = b"PING\r\n";
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// A stream to a server, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Keeps a connection to the server, and recreates it when it breaks.
pub struct Link {
    dial: Dial,
    first: Connection,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Link {
    pub(super) async fn connect(
        config: &Nats,
        node: &str,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let credentials = match &config.credentials_file {
            Some(file) => Some(Credentials::load(file)?),
            None => None,
        };
        let (servers, name) = (Servers::new(config)?, format!("{node} subscriptions"));
        let mut dial = Dial { servers, next: 0, attempts: 0, name, credentials };
        let first = dial.any().await?;
        shared.table().connected();
        Ok(Self { dial, first, shared, stop })
    }

    /// Runs until the process stops; connects again for ever.
    pub async fn run(self) {
        let Self { mut dial, first, shared, stop } = self;
        let keep = async {
            let mut connection = first;
            loop {
                let Err(error) = Serving::new(connection, &shared, &dial.servers).run().await;
                if shared.table().lost() {
                    dial.attempts = 0;
                }
                tracing::warn!(error = format!("{error:#}"), "the connection for subscriptions was lost");
                connection = dial.until_connected().await;
                shared.table().connected();
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
    servers: Servers,
    next: usize,
    /// To connect since a connection was of use.
    attempts: usize,
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
        loop {
            sleep(nats::reconnect_delay(self.attempts)).await;
            self.attempts += 1;
            match self.any().await {
                Ok(connection) => return connection,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "no connection for subscriptions"),
            }
        }
    }

    /// Tries each server once.
    async fn any(&mut self) -> anyhow::Result<Connection> {
        let mut failed = anyhow::anyhow!("no server of NATS is named");
        let servers = self.servers.all();
        for turn in 0..servers.len() {
            let server = &servers[(self.next + turn) % servers.len()];
            let connected = timeout(CONNECT_WITHIN, self.connect(server)).await;
            match connected.unwrap_or_else(|_| bail!("no answer in time")) {
                Ok(connection) => {
                    // the next connection begins with another one
                    self.next += turn + 1;
                    return Ok(connection);
                }
                Err(error) => failed = error.context(format!("NATS at {}:{}", server.host(), server.port())),
            }
        }
        Err(failed)
    }

    async fn connect(&self, server: &ServerAddr) -> anyhow::Result<Connection> {
        let mut tcp = TcpStream::connect((server.host(), server.port())).await?;
        tcp.set_nodelay(true)?;
        let mut read = BytesMut::with_capacity(READ_BYTES);
        let ServerOp::Info(info) = wire::next(&mut tcp, &mut read).await? else {
            bail!("it does not introduce itself")
        };
        self.servers.learn(&info);
        let tls_required = info.tls_required || server.tls_required();
        if tls_required && !read.is_empty() {
            // whoever is on the way could have added it
            bail!("it goes on talking before TLS begins");
        }
        let stream: Box<dyn Wire> = if tls_required { Box::new(tls(server.host(), tcp).await?) } else { Box::new(tcp) };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let hello = serde_json::to_string(&self.hello(&info, tls_required)?)?;
        writer.write_all(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).await?;
        writer.flush().await?;
        loop {
            match wire::next(&mut reader, &mut read).await? {
                ServerOp::Pong => return Ok(Connection { reader, writer, read }),
                ServerOp::Error(error) => bail!("it refuses us: {error}"),
                _ => {}
            }
        }
    }

    fn hello(&self, info: &ServerInfo, tls_required: bool) -> anyhow::Result<ConnectInfo> {
        let signature = match &self.credentials {
            Some(credentials) => Some(BASE64_URL_SAFE_NO_PAD.encode(credentials.key.sign(info.nonce.as_bytes())?)),
            None => None,
        };
        let (user, pass) = nats::user(self.servers.configured()).unzip();
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

/// The conversation over one connection.
struct Serving<'a> {
    connection: Connection,
    shared: &'a Shared,
    servers: &'a Servers,
    writing: BytesMut,
    /// Something was written and may lie in a buffer of TLS.
    unflushed: bool,
    /// For each question that is open, the subscriptions that its answer confirms.
    pings: VecDeque<Vec<u64>>,
    /// Questions in a row whose only purpose is to hear whether the server is still there.
    idle_pings: usize,
    /// A subscription was refused since the last answer.
    refused: Option<String>,
}

impl<'a> Serving<'a> {
    fn new(connection: Connection, shared: &'a Shared, servers: &'a Servers) -> Self {
        let (writing, pings) = (BytesMut::new(), VecDeque::new());
        Self { connection, shared, servers, writing, unflushed: false, pings, idle_pings: 0, refused: None }
    }

    /// Only ends by losing the connection.
    async fn run(mut self) -> anyhow::Result<Infallible> {
        let mut ping = interval_at(Instant::now() + nats::PING_EVERY, nats::PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.say();
        // the first answer says that everything is subscribed again
        self.writing.extend_from_slice(PING);
        loop {
            let Connection { reader, writer, read: buffer } = &mut self.connection;
            let writes = !self.writing.is_empty() || self.unflushed;
            let writing = &mut self.writing;
            let write = async {
                // one step at a time, so that nothing is half done when something else comes first
                match writing.is_empty() {
                    true => writer.flush().await.map(|()| false),
                    false => writer.write_buf(writing).await.map(|_| true),
                }
            };
            tokio::select! {
                read = reader.read_buf(buffer) => {
                    if read? == 0 {
                        bail!("the server closed it");
                    }
                    self.listen()?;
                    self.connection.read.reserve(READ_BYTES);
                }
                unflushed = write, if writes => self.unflushed = unflushed?,
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
        let Some(outbox) = self.shared.table().take_outbox() else { return };
        self.writing.unsplit(outbox.bytes);
        if !outbox.confirm.is_empty() {
            self.ask(outbox.confirm);
        }
    }

    fn ask(&mut self, confirm: Vec<u64>) {
        self.writing.extend_from_slice(PING);
        self.pings.push_back(confirm);
    }

    fn listen(&mut self) -> anyhow::Result<()> {
        let mut table = self.shared.table();
        while let Some(op) = wire::take(&mut self.connection.read)? {
            match op {
                ServerOp::Message(sid, message) => table.arrived(sid, message),
                ServerOp::Ping => self.writing.extend_from_slice(b"PONG\r\n"),
                ServerOp::Pong => {
                    self.idle_pings = 0;
                    let refused = self.refused.take();
                    if !table.is_restored() {
                        if let Some(error) = refused {
                            bail!("it refuses what we had subscribed to: {error}");
                        }
                        table.restored();
                        continue;
                    }
                    for sid in self.pings.pop_front().into_iter().flatten() {
                        table.confirmed(sid, refused.as_deref());
                    }
                }
                ServerOp::Error(error) if keeps_open(&error) => {
                    tracing::warn!(error, "NATS refuses a subscription");
                    self.refused = Some(error);
                }
                ServerOp::Error(error) => bail!("{error}"),
                ServerOp::Info(info) => {
                    self.servers.learn(&info);
                }
                ServerOp::Ok => {}
            }
        }
        Ok(())
    }
}

/// Errors after which the server goes on (`-ERR` in the NATS protocol).
fn keeps_open(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["permissions violation", "maximum subscriptions", "invalid subject"].iter().any(|known| error.starts_with(known))
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
