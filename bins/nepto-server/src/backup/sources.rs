//! Where the databases are read: in the process that has them, or in their server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nepto_kit::config::UserOf;
use nepto_kit::db::snapshot::Watch;
use nepto_kit::{Config, address, seal};
use reqwest::{Response, StatusCode};

use super::archive::Entry;
use super::named::Named;
use super::stores::{self, Store};

/// A snapshot that is open: what is committed from now on is not in it.
pub struct Snapshot {
    /// What it is.
    pub entry: Entry,
    contents: Response,
    form: Form,
}

/// In which form a snapshot comes, and what was seen of it.
enum Form {
    /// As it is: it ends with its digest.
    Plain(Box<Watch>),
    /// Encrypted by whoever sends it; these are its first bytes.
    Sealed(Vec<u8>),
}

/// What age begins its files with (<https://age-encryption.org/v1>).
const AGE: &[u8] = b"age-encryption.org/v1\n";
/// Whoever is asked for databases answers, and goes on, in this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(120);

/// Who reads the databases, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct Reading {
    /// The operator's listener of the process that has the databases, if not where the configuration says
    #[arg(long, value_name = "URL")]
    operator: Option<String>,
    /// Where the users of the configuration are users of single databases: a user of the whole server
    #[arg(long, value_name = "NAME", default_value = "root")]
    root: String,
    /// File with the password of that user of the server at database.url, or of that which has this domain's database
    #[arg(long, value_name = "[DOMAIN=]FILE", value_parser = Named::parse)]
    root_password_file: Vec<Named>,
}

/// Opens snapshots of all stores, one after the other. Each has all of its databases as they are at one moment.
pub async fn open(config: &Config, reading: &Reading) -> anyhow::Result<Vec<Snapshot>> {
    // not through a proxy of the environment, which would get the passwords
    let http =
        reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN).read_timeout(READ_WITHIN).build()?;
    let stores = stores::of(&config.database);
    Named::check(&reading.root_password_file, stores.iter().map(|store| &store.domains[..]))?;
    let mut snapshots = Vec::new();
    for store in stores {
        snapshots.push(open_one(config, reading, &http, store).await?);
    }
    Ok(snapshots)
}

async fn open_one(
    config: &Config,
    reading: &Reading,
    http: &reqwest::Client,
    store: Store,
) -> anyhow::Result<Snapshot> {
    let (place, domains) = (&store.place, &store.domains);
    let (contents, sealed) = match server(&place.url) {
        Some(server) => {
            let at = address::shown(&place.url);
            let (username, password) = user(reading, &store, place.url == config.database.url)
                .with_context(|| format!("nobody can read the databases of {} at {at}", domains.join(", ")))?;
            let request = http.post(format!("{server}/kvexport")).basic_auth(username, password);
            let answer = request.send().await.with_context(|| format!("the databases at {at} can't be asked"))?;
            (from_server(answer).with_context(|| at)?, false)
        }
        None => {
            let operator = reading.operator.as_deref();
            let operator = operator.map_or_else(|| operators(config), |url| url.trim_end_matches('/').to_owned());
            let question = seal::Question { recipients: config.backup.recipients.clone() };
            let answer = http.post(format!("{operator}{}", seal::DATABASES_PATH)).json(&question).send().await;
            let answer = answer.with_context(|| {
                format!(
                    "the databases are those of `nepto-server all`, which can't be asked at {operator}: start it, or say with \
                     --operator where its listener (admin.listen) is"
                )
            })?;
            (from_process(answer).await?, true)
        }
    };
    let form = if sealed { Form::Sealed(Vec::new()) } else { Form::Plain(Box::default()) };
    Ok(Snapshot { entry: Entry::Databases { domains: store.domains, sealed }, contents, form })
}

/// Who reads all of a server.
fn user(reading: &Reading, store: &Store, is_common: bool) -> anyhow::Result<(String, Option<String>)> {
    let Store { place, domains } = store;
    match (Named::for_store(&reading.root_password_file, domains, is_common), place.user_of) {
        (Some(file), _) => Ok((reading.root.clone(), Some(read_password(file)?))),
        (None, UserOf::Server) => {
            let password = place.password_file.as_deref().map(read_password).transpose()?;
            Ok((place.username.clone(), password))
        }
        (None, UserOf::Database) => bail!(
            "{:?} is a user of single databases, and a store is read as a whole: name the password of a user of the whole \
             server with --root-password-file {}FILE",
            place.username,
            match domains.first() {
                Some(domain) if !is_common => format!("{domain}="),
                _ => String::new(),
            }
        ),
    }
}

impl Snapshot {
    /// The next bytes; nothing behind the last. One that breaks off is an error.
    pub async fn next(&mut self) -> anyhow::Result<Option<bytes::Bytes>> {
        let bytes = self.contents.chunk().await.context("the databases were not handed out as a whole")?;
        match (&mut self.form, &bytes) {
            (Form::Plain(watch), Some(bytes)) => watch.pass(bytes),
            (Form::Plain(watch), None) => {
                ensure!(watch.is_whole(), "the databases were not handed out as a whole: their digest is another one")
            }
            (Form::Sealed(head), Some(bytes)) => {
                head.extend_from_slice(&bytes[..bytes.len().min(AGE.len() - head.len())]);
            }
            (Form::Sealed(head), None) => {
                ensure!(head == AGE, "what was handed out is not encrypted by age: no databases")
            }
        }
        Ok(bytes)
    }
}

/// Where a server of databases speaks HTTP; none for an embedded one.
pub fn server(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "ws" | "http" => "http",
        "wss" | "https" => "https",
        _ => return None,
    };
    let rest = rest.trim_end_matches('/');
    Some(format!("{scheme}://{}", rest.strip_suffix("/rpc").unwrap_or(rest)))
}

/// The operator's listener of the process of this configuration.
fn operators(config: &Config) -> String {
    let mut listen = config.admin.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{listen}")
}

fn from_server(answer: Response) -> anyhow::Result<Response> {
    match answer.status() {
        StatusCode::OK => Ok(answer),
        StatusCode::UNAUTHORIZED => bail!("the server of the databases does not know this user or password"),
        StatusCode::FORBIDDEN => bail!(
            "the server of the databases does not hand them out: who asks must be an owner of everything, and the server must \
             run with SURREAL_CAPS_ALLOW_EXPERIMENTAL=kvexport, as `nepto-server database` does by itself"
        ),
        status => bail!("the server of the databases does not hand them out: {status}"),
    }
}

async fn from_process(answer: Response) -> anyhow::Result<Response> {
    match answer.status() {
        StatusCode::OK => Ok(answer),
        status => {
            let said = answer.text().await.unwrap_or_default();
            let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
            let detail = said["detail"].as_str().unwrap_or("it is no `nepto-server all` of this version");
            bail!("the databases are not handed out ({status}): {detail}")
        }
    }
}

fn read_password(file: &Path) -> anyhow::Result<String> {
    let password = std::fs::read_to_string(file);
    Ok(password.with_context(|| format!("the password in {} can't be read", file.display()))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use nepto_kit::config::Place;

    use super::*;

    #[test]
    fn a_server_is_asked_over_http_and_an_embedded_database_is_none() {
        assert_eq!(server("ws://10.0.0.2:8000").as_deref(), Some("http://10.0.0.2:8000"));
        assert_eq!(server("wss://db.example.org/rpc").as_deref(), Some("https://db.example.org"));
        assert_eq!(server("surrealkv:///var/lib/nepto/database"), None);
        let mut config = Config::default();
        config.admin.listen = ([0, 0, 0, 0], 9464).into();
        assert_eq!(operators(&config), "http://127.0.0.1:9464");
    }
    #[test]
    fn a_store_is_read_by_somebody_who_may_see_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let [root, editor] = ["root", "editor"].map(|name| folder.path().join(name));
        std::fs::write(&root, "all\n").unwrap();
        std::fs::write(&editor, "one\n").unwrap();
        let mut reading = Reading { operator: None, root: "root".to_owned(), root_password_file: Vec::new() };
        let place = Place {
            url: "ws://10.0.0.2:8000".to_owned(),
            username: "nepto".to_owned(),
            password_file: Some(editor),
            user_of: UserOf::Server,
        };
        let mut store = Store { place, domains: vec!["keys".to_owned()] };
        let said = |user: &str, password: &str| (user.to_owned(), Some(password.to_owned()));
        assert_eq!(user(&reading, &store, true).unwrap(), said("nepto", "one"));
        store.place.user_of = UserOf::Database;
        let refused = user(&reading, &store, false).unwrap_err().to_string();
        assert!(refused.contains("--root-password-file keys=FILE"), "{refused}");
        reading.root_password_file = vec![Named::parse(root.to_str().unwrap()).unwrap()];
        assert_eq!(user(&reading, &store, true).unwrap(), said("root", "all"));
        user(&reading, &store, false).unwrap_err();
    }
}
