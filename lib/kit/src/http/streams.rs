//! Bodies that are too large to be held: handed on as they come, at a pace, some at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use futures_util::{StreamExt, stream};
use nepto_proto::api::endpoints;
use tokio::time::{Instant, timeout_at};

use super::Origin;
use super::shares::{Bounds, Full, Share, Shares};
use crate::config::{Http, millis};

/// The endpoints that take such bodies, and the places of those under way.
#[derive(Clone)]
pub struct Streams {
    shares: Shares,
    /// Method and path.
    endpoints: Arc<HashSet<(&'static str, &'static str)>>,
}

/// Why the rest of a body does not come.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the body came too slowly")]
    Slow,
    #[error("the connection broke")]
    Connection(#[source] axum::Error),
}

impl Streams {
    pub fn new(http: &Http) -> Self {
        let bounds = Bounds {
            all: http.streams_max,
            network: http.streams_per_address_max,
            prefix: http.streams_per_prefix_max,
        };
        let streamed = endpoints::all().into_iter().filter(|one| one.is_streamed);
        let endpoints = streamed.map(|one| (one.method.as_str(), one.path)).collect();
        Self { shares: Shares::new("streams", bounds), endpoints: Arc::new(endpoints) }
    }

    /// Whether the body of this request is taken as it comes.
    pub fn is_one(&self, request: &Request) -> bool {
        let path = request.extensions().get::<MatchedPath>();
        path.is_some_and(|path| self.endpoints.contains(&(request.method().as_str(), path.as_str())))
    }

    pub fn take(&self, origin: Option<Origin>) -> Result<Share, Full> {
        self.shares.take(origin)
    }
}

/// How a body must come.
struct Pace {
    begun: Instant,
    bytes: u64,
    grace: Duration,
    bytes_per_second_min: u64,
    idle: Duration,
    most: Duration,
}

impl Pace {
    /// When the next piece must be there.
    fn due(&self, now: Instant) -> Instant {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1_000) / self.bytes_per_second_min.max(1));
        (now + self.idle).min(self.begun + (self.grace + earned).min(self.most))
    }
}

/// The same body, which fails once it comes too slowly.
pub fn paced(body: Body, http: &Http) -> Body {
    let pace = Pace {
        begun: Instant::now(),
        bytes: 0,
        grace: millis(http.body_timeout_ms).max(millis(http.stream_idle_ms)),
        bytes_per_second_min: http.body_bytes_per_second_min,
        idle: millis(http.stream_idle_ms),
        most: millis(http.stream_timeout_ms),
    };
    let pieces = stream::try_unfold((body.into_data_stream(), pace), |(mut body, mut pace)| async move {
        match timeout_at(pace.due(Instant::now()), body.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => {
                pace.bytes += piece.len() as u64;
                Ok(Some((piece, (body, pace))))
            }
            Ok(Some(Err(error))) => Err(Broken::Connection(error)),
            Err(_) => {
                metrics::counter!("nepto_http_slow_bodies_total").increment(1);
                Err(Broken::Slow)
            }
        }
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many bytes of a body arrive, in what time, and whether it ends well.
    async fn taken(pieces: usize, bytes: usize, pause: Duration) -> (usize, Duration, bool) {
        let http = Http {
            body_bytes_per_second_min: 1_000,
            stream_idle_ms: 10_000,
            stream_timeout_ms: 60_000,
            ..Http::default()
        };
        let body = Body::from_stream(stream::iter(0..pieces).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, std::io::Error>(vec![b' '; bytes])
        }));
        let (begun, mut taken) = (Instant::now(), 0);
        let mut body = paced(body, &http).into_data_stream();
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => taken += piece.len(),
                Err(_) => return (taken, begun.elapsed(), false),
            }
        }
        (taken, begun.elapsed(), true)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_any_length_comes_at_a_pace_or_ends() {
        let (bytes, after, well) = taken(50, 1_000_000, SECOND).await;
        assert_eq!((bytes, after.as_secs(), well), (50_000_000, 50, true));
        let (bytes, after, well) = taken(2, 50_000, SECOND * 11).await;
        assert_eq!((bytes, after.as_secs(), well), (0, 10, false), "nothing came for ten seconds");
        let (bytes, after, well) = taken(100, 100, SECOND).await;
        assert!(!well && bytes > 500 && after < SECOND * 13, "it drips: {bytes} bytes, {after:?}");
        let (_, after, well) = taken(100, 1_000_000, SECOND).await;
        assert_eq!((after.as_secs(), well), (60, false), "it has no more than a minute");
    }
}
