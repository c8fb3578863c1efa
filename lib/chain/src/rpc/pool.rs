//! All endpoints of one chain.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::RpcError;
use super::endpoint::{Endpoint, EndpointStatus, Limits};

/// How long a question waits for an endpoint that rests.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Where the nodes of a chain are.
#[derive(Clone)]
pub struct Addresses {
    /// `http` or `https`; each may hold a key.
    pub urls: Vec<String>,
    /// EIP-155: a node that serves another chain is not asked. `None` believes every node to serve the right one.
    pub chain_id: Option<u64>,
}

impl From<&Addresses> for Addresses {
    fn from(addresses: &Addresses) -> Self {
        addresses.clone()
    }
}

impl From<&[String]> for Addresses {
    fn from(urls: &[String]) -> Self {
        Self { urls: urls.to_vec(), chain_id: None }
    }
}

impl From<&Vec<String>> for Addresses {
    fn from(urls: &Vec<String>) -> Self {
        urls.as_slice().into()
    }
}

/// The endpoints of one chain. They are asked in the order of their health, each at most once for a question.
pub struct Pool {
    endpoints: Vec<Endpoint>,
}

impl Pool {
    /// Endpoints at these addresses.
    pub fn new(addresses: impl Into<Addresses>, limits: Limits) -> Result<Self, RpcError> {
        let Addresses { urls, chain_id } = addresses.into();
        let endpoints = urls.iter().map(|url| Endpoint::new(url, chain_id, limits)).collect::<Result<_, _>>()?;
        Ok(Self { endpoints })
    }

    /// The same endpoints, asked only while they serve this chain.
    pub(crate) fn of_chain(mut self, chain_id: u64) -> Self {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.set_chain(chain_id));
        self
    }

    /// Each may serve another chain by now: it is asked before anything else.
    #[cfg(feature = "logs")]
    pub(crate) fn doubt(&self) {
        self.endpoints.iter().for_each(Endpoint::doubt);
    }

    /// Every endpoint, also those that are resting, in the order in which they were given.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// How each endpoint does, in the same order.
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.endpoints.iter().map(Endpoint::status).collect()
    }

    /// Asks until an answer passes `validate`. `height` is a block that the answer needs: who is known to lag is asked last.
    /// A range that is too large is said at once; of other failures the one that says most.
    pub async fn ask<T>(
        &self,
        method: &str,
        params: &Value,
        height: Option<u64>,
        validate: impl Fn(&str) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        let mut order = self.awake().await?;
        order.sort_by_cached_key(|endpoint| endpoint.order(height));
        let mut worst = RpcError::NoEndpoint;
        for endpoint in order {
            match endpoint.ask(method, params, &validate).await {
                Err(error @ RpcError::TooMany(_)) => return Err(error),
                Err(error) => {
                    if error.weight() >= worst.weight() {
                        worst = error;
                    }
                }
                answer => return answer,
            }
        }
        Err(worst)
    }

    /// Asks every endpoint that does not rest, all at once. Each answer with its endpoint.
    pub async fn ask_each<T>(
        &self,
        method: &str,
        params: &Value,
        validate: impl Fn(&str) -> Result<T, RpcError>,
    ) -> Result<Vec<(&Endpoint, Result<T, RpcError>)>, RpcError> {
        let validate = &validate;
        let asked = self.awake().await?.into_iter();
        Ok(join_all(asked.map(|endpoint| async move { (endpoint, endpoint.ask(method, params, validate).await) }))
            .await)
    }

    /// Every endpoint that does not rest. If all do, waits for the first to come back, but not long.
    pub(crate) async fn awake(&self) -> Result<Vec<&Endpoint>, RpcError> {
        let awake: Vec<&Endpoint> = self.endpoints.iter().filter(|endpoint| endpoint.rests_until().is_none()).collect();
        if !awake.is_empty() {
            return Ok(awake);
        }
        let first = self.endpoints.iter().filter_map(|endpoint| Some((endpoint.rests_until()?, endpoint)));
        let (until, endpoint) = first.min_by_key(|(until, _)| *until).ok_or(RpcError::NoEndpoint)?;
        let left = until.saturating_duration_since(Instant::now());
        if left > WAIT_MAX {
            return Err(RpcError::Resting { left, why: self.last_errors() });
        }
        tokio::time::sleep(left).await;
        Ok(vec![endpoint])
    }

    /// What went wrong last, of each endpoint.
    fn last_errors(&self) -> String {
        let last_errors = self.endpoints.iter().filter_map(|endpoint| Some((endpoint.name(), endpoint.last_error()?)));
        last_errors.map(|(name, error)| format!("{name}: {error}")).collect::<Vec<_>>().join("; ")
    }
}
