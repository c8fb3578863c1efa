//! One process of `nepto-server`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use argon2::password_hash::SaltString;
use argon2::{Argon2, Params, PasswordHasher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::first_start::DATABASE;
use crate::{Launch, Port, Process, Settings, eventually, seconds};

/// What a process of `nepto-server` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Everything, with an embedded database.
    All,
    /// The HTTP API of these domains; of all if none are named.
    Api(Vec<String>),
    /// The sockets of clients.
    Gateway,
    /// Every queue of every domain.
    Worker,
    /// The queues of these names.
    Queues(Vec<String>),
    /// The watchers of the chains.
    Watcher,
    /// The background jobs.
    Cron,
    /// The database server.
    Database,
}

impl Role {
    /// The name on the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api(_) => "api",
            Self::Gateway => "gateway",
            Self::Worker | Self::Queues(_) => "worker",
            Self::Watcher => "watcher",
            Self::Cron => "cron",
            Self::Database => "database",
        }
    }

    fn arguments(&self, http: SocketAddr, folder: &Path) -> Vec<OsString> {
        match self {
            Self::Api(domains) if !domains.is_empty() => vec!["--domains".into(), domains.join(",").into()],
            Self::Queues(queues) => vec!["--queues".into(), queues.join(",").into()],
            Self::Database => {
                let mut store = OsString::from("surrealkv://");
                store.push(folder.join(DATABASE));
                vec!["start".into(), "--no-banner".into(), "--bind".into(), http.to_string().into(), store]
            }
            _ => Vec::new(),
        }
    }
}

/// How long a process may take to hand over what it has.
const DRAINS_WITHIN: Duration = Duration::from_secs(20);

/// A running process of `nepto-server`.
#[derive(Debug)]
pub struct Server {
    process: Process,
    role: Role,
    http: Port,
    admin: Port,
    configuration: PathBuf,
    settings: Settings,
}

impl Server {
    /// Starts it on a reserved port and waits until it is ready. `name` is unique in the folder.
    pub(crate) async fn start(role: Role, name: &str, http: Port, folder: &Path, settings: &Settings) -> Result<Self> {
        Self::start_trusting(None, role, name, http, folder, settings).await
    }

    /// The same, where the certificates in a file are the only ones that it trusts.
    pub(crate) async fn start_trusting(
        certificates: Option<&Path>,
        role: Role,
        name: &str,
        http: Port,
        folder: &Path,
        settings: &Settings,
    ) -> Result<Self> {
        Self::launch(None, certificates, role, name, http, folder, settings).await
    }

    /// The same, by a shell that sets limits first.
    pub(crate) async fn start_limited(
        limits: &str,
        role: Role,
        name: &str,
        http: Port,
        folder: &Path,
        settings: &Settings,
    ) -> Result<Self> {
        Self::launch(Some(limits), None, role, name, http, folder, settings).await
    }

    async fn launch(
        limits: Option<&str>,
        certificates: Option<&Path>,
        role: Role,
        name: &str,
        http: Port,
        folder: &Path,
        settings: &Settings,
    ) -> Result<Self> {
        let admin = Port::reserve()?;
        let settings = Settings::new()
            .set("node.name", name)
            .set("http.listen", http.address().to_string())
            .set("admin.listen", admin.address().to_string())
            .and(settings);
        let configuration = write(folder, name, &settings)?;
        let mut arguments: Vec<OsString> = Vec::new();
        if role != Role::Database {
            arguments.extend(["--config".into(), configuration.clone().into()]);
        }
        arguments.push(role.name().into());
        arguments.extend(role.arguments(http.address(), folder));
        let environment = match role {
            Role::Database => vec![
                ("SURREAL_IMPORT_FILE".into(), database_user(folder)?.into()),
                ("SURREAL_ONLINE_VERSION_CHECK".into(), "false".into()),
            ],
            _ => {
                let certificates = certificates.map(|file| ("SSL_CERT_FILE".into(), file.into()));
                // so that endpoints declare all that they answer with
                [("NEPTO_REFUSE_UNDECLARED".into(), "1".into())].into_iter().chain(certificates).collect()
            }
        };
        let folder = folder.to_owned();
        let (mut program, name) = (executable()?, name.to_owned());
        if let Some(limits) = limits {
            let script = format!("{limits} && exec \"$@\"");
            arguments.splice(0..0, ["-c".into(), script.into(), "sh".into(), program.into()]);
            program = "sh".into();
        }
        let launch = Launch { name, program, arguments, environment, folder };
        let server = Self { process: Process::start(launch)?, role, http, admin, configuration, settings };
        server.ready().await?;
        Ok(server)
    }

    /// What it does.
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// Where the public listener is.
    pub const fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where it serves HTTP: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where clients open sockets: `ws://127.0.0.1:<port>/v1/socket`.
    pub fn socket_url(&self) -> String {
        format!("ws://{}/v1/socket", self.address())
    }

    /// `http://127.0.0.1:<port>` of the operator's listener.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin.address())
    }

    /// The process id.
    pub fn pid(&self) -> Result<u32> {
        self.process.pid()
    }

    /// The exit status, if it ended by itself.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// `SIGKILL`: no chance to drain, close or say anything.
    pub fn kill9(&self) -> Result<()> {
        self.process.kill9()
    }

    /// `SIGTERM`; waits until it has drained and ended.
    pub async fn term(&self) -> Result<ExitStatus> {
        self.process.term(DRAINS_WITHIN).await
    }

    /// Drains it if it runs, starts it with the same ports and data, and waits until it is ready.
    pub async fn restart(&self) -> Result<()> {
        self.process.stop(DRAINS_WITHIN).await?;
        self.process.start_again()?;
        self.ready().await
    }

    /// Drains it, and starts it with these settings on top of its own.
    pub async fn reconfigure(&self, settings: &Settings) -> Result<()> {
        self.process.stop(DRAINS_WITHIN).await?;
        self.write(settings)?;
        self.process.start_again()?;
        self.ready().await
    }

    /// The same, such that it dies at a place that the server names, `who:done`. Does not wait: it may die at once.
    pub async fn crash_at(&self, place: &str, settings: &Settings) -> Result<()> {
        self.process.stop(DRAINS_WITHIN).await?;
        self.write(settings)?;
        self.process.start_again_with(&[("NEPTO_CRASH_AT", place)])
    }

    fn write(&self, settings: &Settings) -> Result<()> {
        Ok(std::fs::write(&self.configuration, self.settings.clone().and(settings).to_toml())?)
    }

    /// `SIGSTOP`: connections stay open, and nobody answers.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// `SIGCONT`: goes on after [`pause`](Self::pause), with the connections that it had.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Whether `/readyz` of the operator's listener says so.
    pub async fn is_ready(&self) -> Result<bool> {
        let (address, path) = match self.role {
            Role::Database => (self.http.address(), "/ready"),
            _ => (self.admin.address(), "/readyz"),
        };
        Ok(get(address, path).await?.0 == 200)
    }

    /// The sum of a metric over all its labels; 0 if it was never counted.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (status, text) = get(self.admin.address(), "/metrics").await?;
        ensure!(status == 200, "/metrics answers {status}");
        Ok(sum_of_metric(&text, name))
    }

    async fn ready(&self) -> Result<()> {
        self.process.or_ended(eventually(seconds(60), async || self.is_ready().await)).await
    }
}

/// Password of the user `root` of a test's database server.
pub const DATABASE_PASSWORD: &str = "test";

/// A file that the database server defines its user by, when it starts. Every domain of every process signs in, and by
/// itself the server goes twice over 19 MiB to look at a password: more than half of what it computed in a test.
fn database_user(folder: &Path) -> Result<PathBuf> {
    let cheapest = Params::new(Params::MIN_M_COST, Params::MIN_T_COST, Params::MIN_P_COST, None);
    let argon2 =
        Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cheapest.map_err(anyhow::Error::msg)?);
    let salt = SaltString::encode_b64(b"of any test").map_err(anyhow::Error::msg)?;
    let hash = argon2.hash_password(DATABASE_PASSWORD.as_bytes(), &salt).map_err(anyhow::Error::msg)?;
    let file = folder.join("database-user.surql");
    std::fs::write(&file, format!("DEFINE USER OVERWRITE root ON ROOT PASSHASH '{hash}' ROLES OWNER;\n"))?;
    Ok(file)
}

/// Runs `nepto-server` with these arguments to its end, which must be a good one; what it said.
pub(crate) async fn run(folder: &Path, settings: &Settings, arguments: &[&str]) -> Result<String> {
    let (status, said) = run_after("true", folder, settings, arguments).await?;
    ensure!(status.success(), "{} failed:\n{said}", arguments.join(" "));
    Ok(said)
}

/// The same by a shell that does something `first`, like `ulimit -f 64`, to whatever end.
pub(crate) async fn run_after(
    first: &str,
    folder: &Path,
    settings: &Settings,
    arguments: &[&str],
) -> Result<(ExitStatus, String)> {
    let name = arguments.first().context("no arguments")?;
    let configuration = write(folder, name, settings)?;
    let script = format!("{first} && exec \"$@\"");
    let shell =
        ["-c".into(), script.into(), "sh".into(), executable()?.into(), "--config".into(), configuration.into()];
    let launch = Launch {
        name: (*name).to_owned(),
        program: "sh".into(),
        arguments: shell.into_iter().chain(arguments.iter().map(OsString::from)).collect(),
        environment: Vec::new(),
        folder: folder.to_owned(),
    };
    // the log goes on where that of an earlier run ended
    let before = std::fs::metadata(folder.join(format!("{name}.log"))).map_or(0, |log| log.len());
    let process = Process::start(launch)?;
    let ended = eventually(seconds(60), async || Ok(process.ended()?.is_some())).await;
    ended.with_context(|| format!("{name} does not end"))?;
    let said = process.log().get(usize::try_from(before)?..).unwrap_or_default().to_owned();
    Ok((process.ended()?.context("it has ended")?, said))
}

pub(crate) fn write(folder: &Path, name: &str, settings: &Settings) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, settings.to_toml())?;
    Ok(path)
}

pub(crate) fn executable() -> Result<PathBuf> {
    program("nepto-server")
}

/// A program of ours in `NEPTO_BIN_DIR`, or in the target folder that this test was built into.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("NEPTO_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = std::env::current_exe()?;
            test.parent().and_then(Path::parent).context("the test stands in no target folder")?.to_owned()
        }
    };
    let path = folder.join(name);
    ensure!(path.exists(), "{} is missing: `cargo xtask test` builds it first", path.display());
    Ok(path)
}

/// Status and body of a plain GET, without a client that would keep connections.
async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), exchange).await.context("no answer")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Adds up the samples `name{…} value` of a Prometheus text.
fn sum_of_metric(text: &str, name: &str) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next())??;
        value.parse::<f64>().ok()
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_added_up_over_its_labels() {
        let text = "# TYPE sent counter\nsent{to=\"a b\"} 2\nsent{to=\"c\"} 3\nsent_bytes 100\nopen 7\n";
        assert_eq!(sum_of_metric(text, "sent"), 5.0);
        assert_eq!(sum_of_metric(text, "open"), 7.0);
        assert_eq!(sum_of_metric(text, "closed"), 0.0);
    }
}
