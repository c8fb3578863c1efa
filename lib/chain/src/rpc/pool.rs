//! All endpoints of one chain.

use futures_util::future::join_all;
use serde_json::Value;

use super::RpcError;
use super::endpoint::{Endpoint, EndpointStatus, Limits};

/// The endpoints of one chain. They are asked in the order of their health, each at most once for a question.
pub struct Pool {
    endpoints: Vec<Endpoint>,
}

impl Pool {
    /// Endpoints at these addresses, `http` or `https`.
    pub fn new(urls: &[String], limits: Limits) -> Result<Self, RpcError> {
        let endpoints = urls.iter().map(|url| Endpoint::new(url, limits)).collect::<Result<_, _>>()?;
        Ok(Self { endpoints })
    }

    /// Every endpoint.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// How each does.
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.endpoints.iter().map(Endpoint::status).collect()
    }

    /// Asks until an answer passes `judge`. `height` is a block that the answer needs: who is known to lag is asked last.
    /// A range that is too large is said at once; of other failures the one that says most.
    pub async fn ask<T>(
        &self,
        method: &str,
        params: &Value,
        height: Option<u64>,
        judge: impl Fn(&str) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        let mut order: Vec<&Endpoint> = self.endpoints.iter().collect();
        order.sort_by_cached_key(|endpoint| endpoint.order(height));
        let mut worst = RpcError::NoEndpoint;
        for endpoint in order {
            match endpoint.ask(method, params, &judge).await {
                Err(error @ RpcError::TooMany(_)) => return Err(error),
                Err(error) => {
                    if let RpcError::Lie(lie) = &error {
                        tracing::warn!(endpoint = endpoint.name(), method, lie, "an endpoint said what is not true");
                    }
                    if error.weight() >= worst.weight() {
                        worst = error;
                    }
                }
                answer => return answer,
            }
        }
        Err(worst)
    }

    /// Asks every endpoint that does not rest, at once; all of them if all rest. Each answer with its endpoint.
    pub async fn ask_each<T>(
        &self,
        method: &str,
        params: &Value,
        judge: impl Fn(&str) -> Result<T, RpcError>,
    ) -> Vec<(&Endpoint, Result<T, RpcError>)> {
        let awake: Vec<&Endpoint> = self.endpoints.iter().filter(|endpoint| endpoint.rests_until().is_none()).collect();
        let asked = if awake.is_empty() { self.endpoints.iter().collect() } else { awake };
        let judge = &judge;
        join_all(asked.into_iter().map(|endpoint| async move { (endpoint, endpoint.ask(method, params, judge).await) }))
            .await
    }
}
