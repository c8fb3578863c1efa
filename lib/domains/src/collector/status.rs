//! How the chains are followed, for operators: `/chains` of the operator's listener, which `nepto admin chain status` reads.

use std::collections::HashMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use nepto_chain::block::Proof;
use nepto_chain::rpc::EndpointStatus;
use nepto_kit::clock::from_ms;
use nepto_kit::http::Path;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::chain::{ChainStatus, Endpoint, Gap, PipelineStatus, Sighting};
use nepto_proto::svc::assets::Cursors;
use nepto_proto::svc::collector::Pipeline;
use serde::{Deserialize, Serialize};

use super::ops::Collector;

/// What only the watcher's process knows is kept in Redis, and forgotten when it is silent.
const STATUS_FOR_S: u64 = 30;
/// Sightings of one answer.
const SIGHTINGS_SHOWN: i64 = 200;

/// What only the watcher's process knows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Live {
    /// The highest block that an endpoint spoke of.
    pub head: u64,
    /// Why nothing is read now.
    #[serde(rename = "trouble")]
    pub last_error: Option<String>,
    #[serde(skip)]
    pub endpoints: Vec<EndpointStatus>,
    #[serde(rename = "told")]
    reported: Vec<Endpoint>,
}

pub fn routes(collector: Collector) -> Router {
    Router::new().route("/chains", get(chains)).route("/chains/{chain}/sightings", get(sightings)).with_state(collector)
}

/// The newest first.
async fn sightings(State(collector): State<Collector>, Path(chain): Path<u64>) -> Result<Json<Vec<Sighting>>, Failure> {
    Ok(Json(collector.store.sightings(chain, SIGHTINGS_SHOWN).await?))
}

async fn chains(State(collector): State<Collector>) -> Result<Json<Vec<ChainStatus>>, Failure> {
    let mut all = Vec::new();
    for chain in collector.chains.iter() {
        all.push(collector.status(chain.id).await?);
    }
    Ok(Json(all))
}

/// The word for a proof, in rows and answers.
pub const fn proof_name(proof: Proof) -> &'static str {
    match proof {
        Proof::Bloom => "bloom",
        Proof::Receipts => "receipts",
        Proof::Compared => "compared",
    }
}

/// Publishes what only this process knows.
pub async fn publish(ctx: &Ctx, chain_id: u64, live: &Live) {
    let reported = live.endpoints.iter().map(|endpoint| Endpoint {
        name: endpoint.name.clone(),
        available: endpoint.available,
        head: endpoint.head,
        latency_ms: (endpoint.latency_ms * 10.0).round() / 10.0,
        concurrency: endpoint.concurrency as u64,
        asked: endpoint.asked,
        failed: endpoint.failed,
        lied: endpoint.lied,
        last_error: endpoint.last_error.clone(),
    });
    let live = Live {
        head: live.head,
        last_error: live.last_error.clone(),
        endpoints: Vec::new(),
        reported: reported.collect(),
    };
    let text = serde_json::to_string(&live).unwrap_or_default();
    let published: Result<(), _> = redis::cmd("SET")
        .arg(key(chain_id))
        .arg(text)
        .arg("EX")
        .arg(STATUS_FOR_S)
        .query_async(&mut ctx.redis.clone())
        .await;
    if let Err(error) = published {
        tracing::debug!(chain = chain_id, %error, "the status of the chain was not published");
    }
}

fn key(chain_id: u64) -> String {
    format!("chain:live:{chain_id}")
}

impl Collector {
    async fn status(&self, chain_id: u64) -> Result<ChainStatus, Failure> {
        let published: Option<String> =
            redis::cmd("GET").arg(key(chain_id)).query_async(&mut self.ctx.redis.clone()).await?;
        let live: Option<Live> = published.and_then(|text| serde_json::from_str(&text).ok());
        let watched = live.is_some();
        let live = live.unwrap_or_default();
        let Some(tip) = self.store.tip(chain_id).await? else {
            return Ok(ChainStatus {
                chain_id,
                watched,
                head: live.head,
                last_error: live.last_error,
                ..Default::default()
            });
        };
        let contracts = self.store.contracts(chain_id).await?;
        let active = contracts.iter().filter(|row| row.left_at.is_none());
        let gaps = active.clone().flat_map(|row| {
            let contract = row.at();
            row.gaps.iter().map(move |gap| Gap { contract: contract.to_string(), from: gap.from, to: gap.to })
        });
        let head = live.head.max(tip.height);
        Ok(ChainStatus {
            chain_id,
            watched,
            last_error: live.last_error,
            head,
            height: tip.height,
            hash: tip.hash.0.to_string(),
            lag_blocks: head - tip.height,
            final_height: tip.final_height,
            first_block: tip.anchor + 1,
            contracts: active.count() as u64,
            step: tip.step,
            proven_blocks: tip.proven,
            compared_blocks: tip.compared,
            logs: tip.logs,
            reverts: tip.reverts,
            deepest_revert_blocks: tip.deepest_revert,
            updated_at: Some(from_ms(tip.at_ms)),
            gaps: gaps.collect(),
            pipelines: self.pipelines(chain_id, tip.step).await,
            endpoints: live.reported,
        })
    }

    /// The cursors belong to who keeps them; without an answer there are none to show.
    async fn pipelines(&self, chain_id: u64, step: u64) -> Vec<PipelineStatus> {
        let answer = self.ctx.call(&Cursors { chain_id }).await;
        let cursors: HashMap<Pipeline, _> = match answer {
            Ok(cursors) => cursors.into_iter().map(|cursor| (cursor.pipeline, cursor)).collect(),
            Err(failure) => {
                failure.log();
                HashMap::new()
            }
        };
        let status = |pipeline: Pipeline| {
            let cursor = cursors.get(&pipeline)?;
            Some(PipelineStatus {
                name: pipeline.as_str().to_owned(),
                step: cursor.step,
                behind_steps: step.saturating_sub(cursor.step),
                height: cursor.height,
                events: cursor.events,
                dead_letters: cursor.dead_letters,
                last_error: cursor.last_error.clone(),
            })
        };
        Pipeline::ALL.into_iter().filter_map(status).collect()
    }
}
