//! Images of tokens: from the cache, or fetched once for all who want them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nepto_kit::Failure;
use nepto_kit::fetch::Wanted;
use nepto_proto::{AccountId, ErrorCode};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::cache::{Cached, ImageKey};
use super::contract::TokenKey;
use super::image::{ImageKind, may_be_image};
use super::problem::Problem;
use super::{Metadata, Outside};

/// Whoever asks for an image that is not here waits so long for it.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// When to ask again for what is not here yet.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Images that are being fetched.
const UNDER_WAY_MAX: usize = 1_000;
/// Images that could not be had and are remembered.
const FAILED_MAX: usize = 10_000;

/// What became of an image, once something did. `None` within: too much is fetched, and nothing was found out.
type Outcome = Option<Result<(), Option<Problem>>>;

/// Images that are being fetched, and those that could not be had.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    fetches: HashMap<ImageKey, watch::Receiver<Outcome>>,
    failed: HashMap<ImageKey, Failed>,
}

struct Failed {
    problem: Problem,
    failures: u32,
    until: Instant,
}

/// One that is being fetched, for as long as it lives.
struct Fetch {
    under_way: UnderWay,
    key: ImageKey,
    told: watch::Sender<Outcome>,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.under_way.lock().fetches.remove(&self.key);
    }
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why an image is not asked for now.
    fn failed(&self, key: ImageKey) -> Option<(Problem, Duration)> {
        let state = self.lock();
        let failed = state.failed.get(&key).filter(|failed| failed.until > Instant::now())?;
        Some((failed.problem.clone(), failed.until - Instant::now()))
    }

    /// Joins those who wait for an image. The first of them gets the fetch as well.
    fn join(&self, key: ImageKey) -> Option<(watch::Receiver<Outcome>, Option<Fetch>)> {
        let mut state = self.lock();
        if let Some(outcome) = state.fetches.get(&key) {
            return Some((outcome.clone(), None));
        }
        if state.fetches.len() >= UNDER_WAY_MAX {
            return None;
        }
        let (told, outcome) = watch::channel(None);
        state.fetches.insert(key, outcome.clone());
        Some((outcome, Some(Fetch { under_way: self.clone(), key, told })))
    }

    fn note(&self, key: ImageKey, outcome: Result<(), Problem>, retry_after: impl Fn(u32) -> Duration) {
        let mut state = self.lock();
        let problem = match outcome {
            Ok(()) => {
                state.failed.remove(&key);
                return;
            }
            Err(problem) => problem,
        };
        if state.failed.len() >= FAILED_MAX && !state.failed.contains_key(&key) {
            state.failed.clear();
        }
        let failures = state.failed.get(&key).map_or(0, |failed| failed.failures);
        let until = Instant::now() + retry_after(failures);
        state.failed.insert(key, Failed { problem, failures: failures + 1, until });
    }
}

impl Metadata {
    /// The image of a token.
    pub async fn image(&self, account: AccountId, token: &TokenKey) -> Result<Cached, Failure> {
        self.calls(token.chain, &token.contract)?;
        let row = self.assets.store.token(token).await?;
        self.want_named(account, token, row.as_ref()).await?;
        let Some(row) = row else { return Err(pending("the description of the token is being fetched")) };
        let Some(uri) = row.image else {
            return Err(match row.problem {
                Some(problem) => unavailable(format!("the description of the token is not known: {problem}"), None),
                None => unavailable("the description of the token names no image", None),
            });
        };
        self.image_at(account, uri).await
    }

    async fn image_at(&self, account: AccountId, uri: String) -> Result<Cached, Failure> {
        let (key, outside) = (ImageKey::of(&uri), self.outside().await?);
        if let Some(cached) = outside.cached(key).await? {
            let is_old = self.ctx().clock.now_ms() - cached.fetched_at_ms > self.refresh_after_ms();
            if is_old {
                self.join_or_fetch(key, uri, true);
            }
            metrics::counter!("nepto_token_images_total", "outcome" => "cached").increment(1);
            return Ok(cached);
        }
        if let Some((problem, retry_after)) = self.images.failed(key) {
            return Err(not_had(&problem, Some(retry_after)));
        }
        self.take(account).await?;
        let busy = || pending("too many images are being fetched");
        let mut outcome = self.join_or_fetch(key, uri, false).ok_or_else(busy)?;
        let told = async { outcome.wait_for(Option::is_some).await.map_or(Some(Err(None)), |told| told.clone()) };
        match timeout(WAIT_MAX, told).await {
            Err(_) => Err(pending("its server takes its time")),
            Ok(Some(Err(Some(problem)))) => Err(not_had(&problem, None)),
            Ok(Some(Err(None))) => Err(busy()),
            Ok(Some(Ok(())) | None) => {
                outside.cached(key).await?.ok_or_else(|| pending("it made room for others already"))
            }
        }
    }

    /// Fetches again an image that is here already; one that could not be had may be tried again.
    pub(super) async fn refresh_image(&self, uri: &str) -> Result<(), Failure> {
        let key = ImageKey::of(uri);
        self.images.lock().failed.remove(&key);
        if self.outside().await?.cached(key).await?.is_some() {
            self.join_or_fetch(key, uri.to_owned(), true);
        }
        Ok(())
    }

    /// Fetches an image in the background, unless somebody does already; `is_refresh` if it is here. `None` if there is no
    /// room.
    fn join_or_fetch(&self, key: ImageKey, uri: String, is_refresh: bool) -> Option<watch::Receiver<Outcome>> {
        let (outcome, fetch) = self.images.join(key)?;
        if let Some(fetch) = fetch {
            let metadata = self.clone();
            self.ctx().tasks.spawn(async move {
                let outcome = tokio::select! {
                    () = metadata.ctx().stop.cancelled() => return,
                    outcome = metadata.fetch_image(key, &uri, is_refresh) => outcome,
                };
                fetch.told.send_replace(Some(outcome));
            });
        }
        Some(outcome)
    }

    async fn fetch_image(&self, key: ImageKey, uri: &str, is_refresh: bool) -> Result<(), Option<Problem>> {
        let ours = |failure: Failure| {
            failure.log();
            None
        };
        if !self.is_on() {
            return Err(Some(Problem::forbidden("this server fetches no images of tokens")));
        }
        let outside = self.outside().await.map_err(ours)?;
        // nobody else is at it, and somebody may just have been
        if let Some((problem, _)) = self.images.failed(key) {
            return Err(Some(problem));
        }
        if !is_refresh && outside.cached(key).await.map_err(ours)?.is_some() {
            return Ok(());
        }
        let bytes_max = self.config.image_bytes_max;
        let accept = "image/avif,image/webp,image/png,image/jpeg,image/gif";
        let fetched = match outside.file(uri, &Wanted { bytes_max, accept, is_type: may_be_image }).await {
            Ok(Some(file)) if ImageKind::of(&file).is_some() => Ok(file),
            Ok(Some(_)) => Err(Problem::unreadable("not a PNG, JPEG, GIF, WebP or AVIF")),
            Ok(None) => return Err(None),
            Err(problem) => Err(problem),
        };
        let outcome = if fetched.is_ok() { "fetched" } else { "failed" };
        metrics::counter!("nepto_token_images_total", "outcome" => outcome).increment(1);
        let noted = fetched.as_ref().map(drop).map_err(Problem::clone);
        self.images.note(key, noted, |failures| self.retry_after(failures));
        let image = fetched.map_err(Some)?;
        let cache = outside.cache.clone();
        blocking(move || cache.put(key, &image)).await.map_err(ours)
    }
}

impl Outside {
    async fn cached(&self, key: ImageKey) -> Result<Option<Cached>, Failure> {
        let cache = self.cache.clone();
        blocking(move || cache.get(key)).await
    }
}

/// Does something on the disk, away from the threads that must not wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| Failure::unavailable("the cache of images", error)),
        Err(panic) => Err(Failure::internal(panic)),
    }
}

fn pending(why: &str) -> Failure {
    let mut failure = Failure::new(ErrorCode::ImagePending, why);
    failure.retry_after = Some(AGAIN_AFTER);
    failure
}

fn unavailable(why: impl Into<String>, retry_after: Option<Duration>) -> Failure {
    let mut failure = Failure::new(ErrorCode::ImageUnavailable, why);
    failure.retry_after = retry_after;
    failure
}

fn not_had(problem: &Problem, retry_after: Option<Duration>) -> Failure {
    unavailable(format!("the image can't be had: {}", problem.detail), retry_after)
}
