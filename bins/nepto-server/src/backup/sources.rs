//! Where the databases are read: in the process that has them, or in their server.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use nepto_kit::{Config, address, seal};
use reqwest::{Response, StatusCode};

use super::archive::Entry;

/// A snapshot that is open: what is committed from now on is not in it.
pub struct Snapshot {
    /// What it is.
    pub entry: Entry,
    contents: Response,
    /// Of what was not encrypted by who sent it: the digest of all bytes, and the last ones, which must be that digest.
    tail: Option<(blake3::Hasher, Vec<u8>)>,
}

/// Opens a snapshot of all databases. `operator` says where the process with an embedded database is, if not where the configuration
/// says.
pub async fn open(config: &Config, operator: Option<&str>) -> anyhow::Result<Snapshot> {
    let domains = nepto_domains::all().into_iter().filter(|domain| domain.needs_database(true));
    let domains: Vec<String> = domains.map(|domain| domain.name.to_owned()).collect();
    let url = &config.database.url;
    let http = reqwest::Client::new();
    let (contents, sealed) = match server(url) {
        Some(server) => {
            let password = config.database.password_file.as_deref().map(read_password).transpose()?;
            let request = http.post(format!("{server}/kvexport")).basic_auth(&config.database.username, password);
            let answer = request.send().await;
            let answer = answer.with_context(|| format!("the databases at {} can't be asked", address::shown(url)))?;
            (from_server(answer)?, false)
        }
        None => {
            let place = operator.map_or_else(|| operators(config), |url| url.trim_end_matches('/').to_owned());
            let answer = http.post(format!("{place}{}", seal::DATABASES_PATH)).send().await;
            let answer = answer.with_context(|| {
                format!(
                    "the databases are those of `nepto-server all`, which can't be asked at {place}: start it, or say with \
                     --operator where its listener (admin.listen) is"
                )
            })?;
            (from_process(answer).await?, true)
        }
    };
    let tail = (!sealed).then(|| (blake3::Hasher::new(), Vec::new()));
    Ok(Snapshot { entry: Entry::Databases { domains, sealed }, contents, tail })
}

impl Snapshot {
    /// The next bytes; nothing behind the last. One that breaks off is an error.
    pub async fn next(&mut self) -> anyhow::Result<Option<bytes::Bytes>> {
        let bytes = self.contents.chunk().await.context("the databases were not handed out as a whole")?;
        let Some((digest, tail)) = &mut self.tail else { return Ok(bytes) };
        match &bytes {
            Some(bytes) => {
                tail.extend_from_slice(bytes);
                let known = tail.len().saturating_sub(blake3::OUT_LEN);
                digest.update(&tail[..known]);
                tail.drain(..known);
            }
            None => ensure!(
                digest.finalize().as_bytes()[..] == tail[..],
                "the databases were not handed out as a whole: their digest is another one"
            ),
        }
        Ok(bytes)
    }
}

/// Where a server of databases speaks HTTP; none for an embedded one.
fn server(url: &str) -> Option<String> {
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
            "the server of the databases does not hand them out: database.username must be an owner of everything, and the \
             server must run with SURREAL_CAPS_ALLOW_EXPERIMENTAL=kvexport, as `nepto-server database` does by itself"
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
    Ok(password.with_context(|| format!("database.password_file {}", file.display()))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
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
}
