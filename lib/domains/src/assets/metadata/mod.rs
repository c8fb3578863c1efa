//! What is said about tokens: names, descriptions, properties and images, which contracts name and untrusted hosts serve.
//!
//! What must hold:
//! - who asks for a list waits for no untrusted host: what is not known is `pending` and is fetched meanwhile;
//! - everything that comes from outside has a bound, and what is kept of it is fit to be shown;
//! - what was known stays while it can't be fetched again, and failures are tried again ever more seldom;
//! - an image is what its first bytes say, and none that could run anything is given out;
//! - a client learns what an untrusted host serves, and the host never learns of the client.

mod cache;
mod contract;
mod describe;
mod document;
mod image;
mod images;
mod inline;
mod page;
mod problem;
mod queue;
mod routes;
mod rows;
mod uri;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nepto_chain::rpc::Pool;
use nepto_kit::fetch::{FetchError, Fetcher, Wanted};
use nepto_kit::job::Job;
use nepto_kit::limit::Limit;
use nepto_kit::{Config, Ctx, Failure};
use nepto_proto::AccountId;
use nepto_proto::ErrorCode;
use tokio::sync::OnceCell;

use self::cache::Cache;
use self::images::UnderWay;
use self::problem::Problem;
use self::queue::Queue;
use self::uri::{Gateways, UriTarget};
use super::config::{self, Limits};
use super::ops::Assets;
use crate::chains::Chains;

pub use cache::{is_image_file, is_image_name};
pub use contract::TokenKey;
pub use routes::routes;

/// After the first failure it is tried again in so long, doubled for each further one.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(86_400);
/// What nobody has asked for since it grew old is forgotten after this.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 86_400);

/// What the domain can do about descriptions and images. Cheap to clone.
#[derive(Clone)]
pub struct Metadata {
    assets: Assets,
    config: Arc<config::Assets>,
    queue: Queue,
    images: UnderWay,
    outside: Arc<OnceCell<Outside>>,
}

/// What is needed to find out, made when it is needed first: most processes that know this domain never do.
struct Outside {
    pools: HashMap<u64, Pool>,
    gateways: Gateways,
    fetcher: Fetcher,
    cache: Cache,
}

impl Metadata {
    pub fn new(assets: &Assets) -> Self {
        let (queue, images, outside) = (Queue::default(), UnderWay::default(), Arc::default());
        Self { assets: assets.clone(), config: assets.ctx.config.section(), queue, images, outside }
    }

    fn ctx(&self) -> &Ctx {
        &self.assets.ctx
    }

    /// Whether anything is fetched at all.
    fn is_on(&self) -> bool {
        self.config.metadata
    }

    async fn outside(&self) -> Result<&Outside, Failure> {
        self.outside
            .get_or_try_init(|| async { Outside::new(self.ctx(), &self.config, &self.assets.chains) })
            .await
            .map_err(Failure::internal)
    }

    /// Takes one from what may be fetched for an account.
    async fn take(&self, account: AccountId) -> Result<(), Failure> {
        let limit = Limit {
            kind: "token_fetches",
            max: self.ctx().config.section::<Limits>().token_fetches_per_account_per_minute,
            window: Duration::from_secs(60),
        };
        limit.take(&self.ctx().redis, &self.ctx().clock, &account.to_string(), 1).await
    }

    /// What was fetched is good enough for so long.
    fn refresh_after_ms(&self) -> i64 {
        i64::try_from(self.config.metadata_refresh_after_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    /// When to try again after so many failures: half of the time is certain, the other left to chance.
    fn retry_after(&self, failures: u32) -> Duration {
        let doubled = RETRY_FIRST.saturating_mul(1 << failures.min(20)).min(RETRY_MAX);
        let half_ms = doubled.as_millis() as u64 / 2;
        Duration::from_millis(half_ms + self.ctx().random.below(half_ms))
    }

    /// Forgets tokens that nobody asks for.
    async fn prune(&self) -> anyhow::Result<String> {
        let before_ms = self.ctx().clock.now_ms() - FORGET_AFTER.as_millis() as i64;
        let pruned = self.assets.store.prune_tokens(before_ms).await?;
        Ok(format!("{pruned} descriptions of tokens forgotten"))
    }
}

/// The folder of images, and the names of those that are in it: what a backup copies.
pub fn kept_images(config: &Config) -> io::Result<(PathBuf, Vec<String>)> {
    let folder = config.section::<config::Assets>().image_cache_folder.clone();
    let names = cache::names_in(&folder)?;
    Ok((folder, names))
}

impl Outside {
    fn new(ctx: &Ctx, config: &config::Assets, chains: &Chains) -> anyhow::Result<Self> {
        let mut pools = HashMap::new();
        for chain in chains.iter() {
            pools.insert(chain.id, contract::pool_of(chain, config.metadata_bytes_max)?);
        }
        let folder = &config.image_cache_folder;
        let cache = Cache::open(folder, config.image_cache_bytes_max, ctx.clock.clone(), ctx.random.clone());
        let cache =
            cache.map_err(|error| anyhow::anyhow!("assets.image_cache_folder {}: {error}", folder.display()))?;
        Ok(Self { pools, gateways: Gateways::new(config), fetcher: Fetcher::new(&ctx.config.fetch)?, cache })
    }

    /// The file that a URI leads to. `None`: too much is fetched already, and nothing was found out.
    async fn file(&self, uri: &str, wanted: &Wanted) -> Result<Option<Bytes>, Problem> {
        match self.gateways.locate(uri, wanted.bytes_max)? {
            UriTarget::Inline(file) => Ok(Some(file.into())),
            UriTarget::Web(url, source) => match self.fetcher.fetch(&url, &source, wanted).await {
                Ok(file) => Ok(Some(file)),
                Err(FetchError::Busy) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }
}

fn not_found(detail: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::NotFound, detail)
}

pub fn jobs(metadata: &Metadata) -> Vec<Job> {
    let metadata = metadata.clone();
    vec![Job::every("token-metadata-prune", Duration::from_secs(3_600)).within(Duration::from_secs(60)).run(
        move |_| {
            let metadata = metadata.clone();
            async move { metadata.prune().await }
        },
    )]
}
