//! The HTTP API under `/v1/hooks`, for providers.

use std::sync::Arc;

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::ErrorCode;
use nepto_proto::api::assets::HintsNoted;
use nepto_proto::api::endpoints::hooks::DeliverAlchemy;

use super::Hooks;
use crate::collector::ops::Collector;

const SIGNATURE_HEADER: &str = "x-alchemy-signature";

#[derive(Clone)]
struct Doors {
    collector: Collector,
    hooks: Arc<Hooks>,
}

pub fn routes(collector: Collector, hooks: Hooks) -> Routes {
    Routes::new().on(alchemy).with_state(Doors { collector, hooks: Arc::new(hooks) })
}

async fn alchemy(doors: Doors, asked: Asked<DeliverAlchemy>) -> Result<HintsNoted, Failure> {
    let signature = asked.headers.get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
    let signature =
        signature.ok_or_else(|| Failure::new(ErrorCode::HookSignature, "the header X-Alchemy-Signature is missing"))?;
    let noted = doors.collector.hinted(&doors.hooks, &asked.path.id, signature, &asked.bytes).await?;
    Ok(HintsNoted { noted: noted as u64 })
}
