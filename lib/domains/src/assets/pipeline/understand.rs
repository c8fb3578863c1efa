//! Events that are understood, and those that are put aside.

use std::fmt;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Message as NatsMessage;
use nepto_kit::{crash, dead_letters};
use nepto_proto::chain as wire;
use nepto_proto::subject::{self, CHAIN_STREAM};
use prost::Message;

use super::lane::Lane;
use crate::assets::decode::decode;
use crate::assets::model::{Folded, place};
use crate::assets::store::CursorRow;

/// When an event was tried to be understood: with its step, or again, by a message of this sequence.
#[derive(Clone, Copy)]
pub struct Tried {
    pub step: u64,
    again: Option<u64>,
}

impl Tried {
    pub const fn first(step: u64) -> Self {
        Self { step, again: None }
    }

    pub fn again(step: u64, message: &NatsMessage) -> anyhow::Result<Self> {
        let info = message.info().map_err(|error| anyhow::anyhow!("a message without its place: {error}"))?;
        Ok(Self { step, again: Some(info.stream_sequence) })
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.again {
            None => write!(f, "step {}", self.step),
            Some(sequence) => write!(f, "message {sequence}"),
        }
    }
}

impl Lane {
    /// Decodes all logs; what can't be understood is put aside first.
    pub async fn understand(
        &self,
        tried: Tried,
        blocks: &[wire::Block],
        folded: &mut Folded,
        after: &mut CursorRow,
    ) -> anyhow::Result<()> {
        for block in blocks {
            for log in &block.logs {
                match decode(self.pipeline, log) {
                    Ok(effects) => folded.add(place(block, log), effects),
                    Err(reason) => {
                        let alone = wire::Block { logs: vec![log.clone()], hash: block.hash.clone(), ..*block };
                        let step = wire::Step {
                            chain_id: self.chain,
                            number: tried.step,
                            final_height: 0,
                            what: Some(wire::step::What::Retry(wire::Retry { blocks: vec![alone] })),
                        };
                        let at = format!("block {}, log {}: {reason}", block.number, log.index);
                        let id = format!("{tried}:{}:{}", block.number, log.index);
                        self.put_aside(step.encode_to_vec(), &at, &id).await?;
                        after.dead_letters += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes a dead letter; one of the same id is the same one, put aside again because a commit failed.
    pub async fn put_aside(&self, body: Vec<u8>, reason: &str, id: &str) -> anyhow::Result<()> {
        let ctx = &self.assets.ctx;
        tracing::error!(pipeline = self.pipeline.as_str(), chain = self.chain, reason, "put aside");
        metrics::counter!("nepto_consumed_total", "consumer" => self.pipeline.as_str(), "outcome" => "dead")
            .increment(1);
        let mut headers = dead_letters::headers(&subject::chain(self.pipeline.as_str(), self.chain), reason);
        headers.insert(NATS_MESSAGE_ID, format!("{}:{}:{id}", self.pipeline.as_str(), self.chain));
        let subject = subject::dead_letter(CHAIN_STREAM, self.pipeline.as_str());
        ctx.jetstream.publish_with_headers(subject, headers, body.into()).await?.await?;
        crash::at(self.pipeline.as_str(), "put aside");
        Ok(())
    }
}
