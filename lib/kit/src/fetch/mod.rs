//! Fetching files from untrusted hosts, over the web.
//!
//! What must hold, whatever is named and whatever its server answers:
//! - nothing is asked that does not lie in the open internet: no address of this machine or its networks, in any spelling or
//!   disguise, and no name that leads to one;
//! - the address that was checked is the one that the connection is made to;
//! - a redirect is checked like what was named first, and there are few of them;
//! - nothing goes along that says more than what is asked for: no cookie, no password, no referrer;
//! - time, bytes and the number of connections have a bound, in all and for one host; nothing is decompressed;
//! - a reason that is told says nothing about what this machine can reach, or which names its networks have;
//! - nobody's file keeps those of others away: what rests after a failure is the file, and a host only if it is not there.

mod address;
mod hosts;
mod resolver;
mod rest;
mod rules;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, ClientBuilder, Response, redirect};
use tokio::time::{Instant, timeout};

pub use reqwest::Url;

pub(crate) use self::rules::is_local_name;

use self::hosts::Hosts;
use self::resolver::{Guarded, Lookup, System, Unresolved};
use self::rest::Files;
use self::rules::{Rules, is_below, names_no_user};
use crate::config;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;
/// Characters of a server's words that are told.
const WORDS_SHOWN: usize = 60;

/// Why a file is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// An untrusted URL may not lead there.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The name has no address, or one of a closed network. Which of the two is for the operator's metrics alone: whoever is told
    /// learns the names of our network.
    #[error("the host's name leads nowhere in the open internet")]
    Nowhere {
        /// It has an address.
        is_closed: bool,
    },
    /// The host takes no connection.
    #[error("no connection to the host")]
    Unreachable,
    /// It took one, and then this.
    #[error("the connection broke, or the answer is not HTTP")]
    Broken,
    /// Not there in time.
    #[error("no answer in time")]
    TimedOut,
    /// The server says that it does not give it.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// It sends to somewhere else again and again.
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    /// More bytes than were asked for.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// Another kind of file than was asked for.
    #[error("of type {0:?}, which is not what belongs there")]
    WrongType(String),
    /// Compressed, although nobody asked for that.
    #[error("compressed with {0:?}, which is not read here")]
    Compressed(String),
    /// The host took no connection before.
    #[error("the host was not there before and is not asked for a while")]
    HostRests,
    /// The file did not come before.
    #[error("the file did not come before and is not asked for for a while")]
    FileRests,
    /// Too many want something of the host.
    #[error("too much is fetched already")]
    Busy,
}

/// Who named what is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// Anybody: only the open internet is asked.
    Untrusted,
    /// The operator, who may mean a server of this machine: what lies below this address is asked wherever it is, and nothing
    /// else of that server. Redirects away from the server are untrusted.
    Operator {
        /// `http://127.0.0.1:8080/ipfs` for `http://127.0.0.1:8080/ipfs/…`.
        below: Url,
    },
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Bytes at the most.
    pub bytes_max: usize,
    /// Media types, as they are asked for.
    pub accept: &'static str,
    /// Whether a file of this media type is looked at, in lower case and without parameters. A server that names none is
    /// believed to send what was asked for.
    pub is_type: fn(&str) -> bool,
}

/// Fetches files from untrusted hosts, within the bounds of the configuration.
pub struct Fetcher {
    rules: Rules,
    /// Connects only to where untrusted URLs may lead.
    guarded: Client,
    /// Connects anywhere, for what the operator named.
    open: Client,
    hosts: Hosts,
    files: Files,
    concurrency_max: usize,
    per_host_max: usize,
    timeout: Duration,
}

/// What became of one request.
enum Hop {
    There(Bytes),
    Elsewhere(Url),
}

impl Fetcher {
    /// Makes connections as configured.
    pub fn new(config: &config::Fetch) -> anyhow::Result<Self> {
        Self::with_lookup(config, Arc::new(System))
    }

    fn with_lookup(config: &config::Fetch, lookup: Arc<dyn Lookup>) -> anyhow::Result<Self> {
        let rules = Rules::new(config);
        let guarded = Guarded { rules: rules.clone(), lookup };
        Ok(Self {
            guarded: client(config).dns_resolver(Arc::new(guarded)).build()?,
            open: client(config).build()?,
            rules,
            hosts: Hosts::new(config.concurrency_max),
            files: Files::default(),
            concurrency_max: config.concurrency_max,
            per_host_max: config.concurrency_per_host_max,
            timeout: config::millis(config.timeout_ms),
        })
    }

    /// Fetches a file. Waits for a permit to fetch; the time limit counts from there.
    pub async fn fetch(&self, url: &Url, source: &UrlSource, wanted: &Wanted) -> Result<Bytes, FetchError> {
        let fetched = self.follow(url, source, wanted).await;
        let outcome = match &fetched {
            Ok(_) => "ok",
            Err(FetchError::Forbidden(_) | FetchError::Nowhere { is_closed: true }) => "forbidden",
            Err(FetchError::Nowhere { .. } | FetchError::Unreachable | FetchError::Broken) => "unreachable",
            Err(FetchError::TimedOut) => "timeout",
            Err(FetchError::Status(_) | FetchError::Redirects) => "status",
            Err(FetchError::TooLarge(_)) => "too_large",
            Err(FetchError::WrongType(_) | FetchError::Compressed(_)) => "wrong_type",
            Err(FetchError::HostRests | FetchError::FileRests) => "resting",
            Err(FetchError::Busy) => "busy",
        };
        metrics::counter!("nepto_fetches_total", "outcome" => outcome).increment(1);
        fetched
    }

    async fn follow(&self, first: &Url, source: &UrlSource, wanted: &Wanted) -> Result<Bytes, FetchError> {
        let (mut url, mut left) = (first.clone(), self.timeout);
        for _ in 0..=REDIRECTS_MAX {
            if self.files.rests(first) {
                return Err(FetchError::FileRests);
            }
            let source = match source {
                UrlSource::Operator { below } if below.origin() == url.origin() => source,
                _ => &UrlSource::Untrusted,
            };
            let host =
                format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
            // what untrusted URLs do to a gateway's host is not held against the gateway
            let (host, at_once) = match source {
                UrlSource::Untrusted => {
                    self.rules.check(&url)?;
                    (host, self.per_host_max)
                }
                UrlSource::Operator { below } => {
                    names_no_user(&url)?;
                    is_below(&url, below)?;
                    (format!("gateway {host}"), self.concurrency_max)
                }
            };
            let _permit = self.hosts.enter(&host, at_once).await?;
            // it may have failed for others meanwhile
            if self.files.rests(first) {
                return Err(FetchError::FileRests);
            }
            let started = Instant::now();
            let hop = match timeout(left, self.ask(&url, source, wanted)).await {
                Ok(hop) => hop,
                Err(_) => Err(FetchError::TimedOut),
            };
            match &hop {
                Err(FetchError::Nowhere { .. } | FetchError::Unreachable) => self.hosts.note(&host, false),
                Err(FetchError::TimedOut | FetchError::Broken) => self.files.note(first, false),
                _ => self.hosts.note(&host, true),
            }
            left = left.saturating_sub(started.elapsed());
            match hop? {
                Hop::There(file) => {
                    self.files.note(first, true);
                    return Ok(file);
                }
                Hop::Elsewhere(next) => url = next,
            }
        }
        Err(FetchError::Redirects)
    }

    async fn ask(&self, url: &Url, source: &UrlSource, wanted: &Wanted) -> Result<Hop, FetchError> {
        let client = match source {
            UrlSource::Untrusted => &self.guarded,
            UrlSource::Operator { .. } => &self.open,
        };
        let request = client.get(url.clone()).header(ACCEPT, wanted.accept).header(ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|error| reason(&error))?;
        let status = response.status().as_u16();
        if let (301 | 302 | 303 | 307 | 308, Some(to)) = (status, response.headers().get(LOCATION)) {
            let to = to.to_str().ok().and_then(|to| url.join(to).ok());
            return to.map(Hop::Elsewhere).ok_or(FetchError::Forbidden("the redirect leads nowhere"));
        }
        if status != 200 {
            return Err(FetchError::Status(status));
        }
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err(FetchError::Compressed(words(encoding)));
        }
        if let Some(named) = response.headers().get(CONTENT_TYPE).map(words) {
            let media_type = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if !media_type.is_empty() && !(wanted.is_type)(&media_type) {
                return Err(FetchError::WrongType(media_type));
            }
        }
        read(response, wanted.bytes_max).await.map(Hop::There)
    }
}

/// What both clients have in common. A connection serves one request: nobody finds a place where another one was checked.
fn client(config: &config::Fetch) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("nepto/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config::millis(config.connect_timeout_ms))
        .redirect(redirect::Policy::none())
        .referer(false)
        .pool_max_idle_per_host(0)
        .http1_only()
        // a proxy would resolve names again
        .no_proxy()
        // other crates of the process switch these on
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
}

async fn read(mut response: Response, bytes_max: usize) -> Result<Bytes, FetchError> {
    if response.content_length().is_some_and(|length| length > bytes_max as u64) {
        return Err(FetchError::TooLarge(bytes_max));
    }
    let mut file = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        if file.len() + chunk.len() > bytes_max {
            return Err(FetchError::TooLarge(bytes_max));
        }
        file.extend_from_slice(&chunk);
    }
    Ok(file.freeze())
}

/// What went wrong, without the addresses that the error may name.
fn reason(error: &reqwest::Error) -> FetchError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(unresolved) = error.downcast_ref::<Unresolved>() {
            return FetchError::Nowhere { is_closed: *unresolved == Unresolved::Closed };
        }
        cause = error.source();
    }
    // one that takes too long to connect is not there; what takes long after that is the file's fault
    if error.is_connect() {
        FetchError::Unreachable
    } else if error.is_timeout() {
        FetchError::TimedOut
    } else {
        FetchError::Broken
    }
}

/// A server's words, as far as they can be shown.
fn words(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.chars().filter(|char| (' '..='~').contains(char)).take(WORDS_SHOWN).collect()
}
