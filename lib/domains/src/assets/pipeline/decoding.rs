//! Events that are decoded, and those that are dead-lettered.

use std::fmt;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Message as NatsMessage;
use nepto_kit::db::DbError;
use nepto_kit::{crash, dead_letters};
use nepto_proto::chain as wire;
use nepto_proto::subject::{self, CHAIN_STREAM};
use nepto_proto::svc::collector::Pipeline;
use prost::Message;

use super::worker::{PipelineWorker, State};
use crate::assets::decode::{Decoded, decode};
use crate::assets::model::{BlockEffects, position};
use crate::assets::shapes::{Noted, Other, Shapes, Unread, shapes_of};
use crate::assets::store::CursorRow;

/// An attempt to decode an event: with its update, or once more, by a message of this sequence.
#[derive(Clone, Copy)]
pub struct Attempt {
    pub update: u64,
    again: Option<u64>,
}

impl Attempt {
    pub const fn first(update: u64) -> Self {
        Self { update, again: None }
    }

    pub fn again(update: u64, message: &NatsMessage) -> anyhow::Result<Self> {
        let info = message.info().map_err(|error| anyhow::anyhow!("a message without its place: {error}"))?;
        Ok(Self { update, again: Some(info.stream_sequence) })
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.again {
            None => write!(f, "step {}", self.update),
            Some(sequence) => write!(f, "message {sequence}"),
        }
    }
}

/// A log that is to be dead-lettered.
pub struct RejectedLog {
    pub letter: wire::Retry,
    pub reason: String,
}

/// What logs do, and what is to be dead-lettered of them. Pure.
pub fn read(
    pipeline: Pipeline,
    blocks: &[wire::Block],
    shapes: &mut Shapes,
    block_effects: &mut BlockEffects,
) -> Vec<RejectedLog> {
    let mut rejected = Vec::new();
    for block in blocks {
        for log in &block.logs {
            let position = position(block, log);
            let alone = || wire::Block { logs: vec![log.clone()], hash: block.hash.clone(), ..*block };
            match decode(pipeline, log) {
                Ok(Decoded { contract, origin, effects }) => {
                    block_effects.add(position, origin, effects);
                    if shapes_of(pipeline).is_empty() {
                        continue;
                    }
                    let other = shapes.note(contract, origin.topics, position, alone, &mut block_effects.noted);
                    rejected.extend(other.map(|Other { sample, reason }| RejectedLog {
                        letter: wire::Retry { blocks: vec![sample], is_counted: true },
                        reason,
                    }));
                }
                Err(reason) => {
                    if let Ok(contract) = log.address[..].try_into() {
                        block_effects.noted.unread.insert(Unread::log(contract, (block.number, log.index)));
                    }
                    rejected.push(RejectedLog {
                        letter: wire::Retry { blocks: vec![alone()], is_counted: false },
                        reason: reason.to_string(),
                    });
                }
            }
        }
    }
    rejected
}

/// The logs of a block that make their contracts incomplete no more, as they could be decoded now. One whose address is none made no
/// contract incomplete.
fn taken(block: &wire::Block, noted: &Noted) -> Vec<Unread> {
    let logs = block.logs.iter();
    let of_contracts = logs.filter_map(|log| {
        let contract = log.address[..].try_into().ok()?;
        Some(Unread::log(contract, (block.number, log.index)))
    });
    of_contracts.filter(|unread| !noted.unread.contains(unread)).collect()
}

impl PipelineWorker {
    /// Decodes all logs; what can't be decoded is dead-lettered first.
    pub async fn decode(
        &self,
        attempt: Attempt,
        blocks: &[wire::Block],
        shapes: &mut Shapes,
        block_effects: &mut BlockEffects,
        after: &mut CursorRow,
    ) -> anyhow::Result<()> {
        for rejected in read(self.pipeline, blocks, shapes, block_effects) {
            self.dead_letter_log(attempt, rejected).await?;
            after.dead_letters += 1;
        }
        Ok(())
    }

    /// What was dead-lettered is taken once more, unless it was taken since or its block was orphaned.
    pub(super) async fn retry(&self, state: &mut State, attempt: Attempt, retry: &wire::Retry) -> anyhow::Result<()> {
        for block in &retry.blocks {
            if self.is_gone(attempt, block).await? {
                continue;
            }
            if retry.is_counted {
                self.look_again(state, attempt, block).await?;
                continue;
            }
            let (mut after, mut shapes) = (state.cursor.clone(), state.shapes.clone());
            let mut block_effects = BlockEffects::default();
            self.decode(attempt, std::slice::from_ref(block), &mut shapes, &mut block_effects, &mut after).await?;
            if block_effects.events == 0 {
                continue;
            }
            block_effects.noted.read.extend(taken(block, &block_effects.noted));
            let retried = block.logs.iter().map(|log| (block.number, log.index)).collect();
            let before = std::mem::replace(&mut state.shapes, shapes);
            match self.apply(state, after, block_effects, true, retried).await {
                Err(error) if error.downcast_ref::<DbError>().is_some_and(|e| matches!(e, DbError::Exists)) => {
                    state.shapes = before;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// The first log of a shape that did not count comes back: it has its sums already, and counts by now or does not.
    async fn look_again(&self, state: &State, attempt: Attempt, block: &wire::Block) -> anyhow::Result<()> {
        for log in &block.logs {
            let counts =
                decode(self.pipeline, log).is_ok_and(|decoded| state.shapes.counts(&decoded.contract, decoded.origin));
            if !counts {
                let alone = wire::Block { logs: vec![log.clone()], hash: block.hash.clone(), ..*block };
                let letter = wire::Retry { blocks: vec![alone], is_counted: true };
                let reason = "its contract's first event has another number of topics".to_owned();
                self.dead_letter_log(attempt, RejectedLog { letter, reason }).await?;
            }
        }
        Ok(())
    }

    /// An operator dropped what was dead-lettered: it is nothing that anybody waits for any more.
    pub(super) async fn drop_dead_letter(
        &self,
        state: &mut State,
        attempt: Attempt,
        retry: &wire::Retry,
    ) -> anyhow::Result<()> {
        let mut noted = Noted::default();
        for block in &retry.blocks {
            if self.is_gone(attempt, block).await? {
                continue;
            }
            for log in &block.logs {
                let Ok(contract) = log.address[..].try_into() else { continue };
                noted.read.insert(match retry.is_counted {
                    true => Unread::shape(contract, (log.topics.len() / 32) as u8),
                    false => Unread::log(contract, (block.number, log.index)),
                });
            }
        }
        if noted.is_empty() {
            return Ok(());
        }
        let block_effects = BlockEffects { noted, ..BlockEffects::default() };
        self.apply(state, state.cursor.clone(), block_effects, false, Vec::new()).await
    }

    /// Whether the block of a dead-lettered log was orphaned since.
    async fn is_gone(&self, attempt: Attempt, block: &wire::Block) -> anyhow::Result<bool> {
        Ok(self.assets.store.was_reverted(self.pipeline, self.chain, attempt.update, block.number).await?)
    }

    async fn dead_letter_log(
        &self,
        attempt: Attempt,
        RejectedLog { letter, reason }: RejectedLog,
    ) -> anyhow::Result<()> {
        let Some((block, log)) =
            letter.blocks.first().and_then(|block| Some((block.number, block.logs.first()?.index)))
        else {
            return Ok(());
        };
        let at = format!("block {block}, log {log}: {reason}");
        let id = format!("{attempt}:{block}:{log}");
        let what = Some(wire::chain_update::What::Retry(letter));
        let update = wire::ChainUpdate { chain_id: self.chain, number: attempt.update, final_height: 0, what };
        self.dead_letter(update.encode_to_vec(), &at, &id).await
    }

    /// Makes a dead letter; one of the same id is the same one, dead-lettered again because a commit failed.
    pub async fn dead_letter(&self, body: Vec<u8>, reason: &str, id: &str) -> anyhow::Result<()> {
        let ctx = &self.assets.ctx;
        tracing::error!(pipeline = self.pipeline.as_str(), chain = self.chain, reason, "dead-lettered");
        metrics::counter!("nepto_consumed_total", "consumer" => self.pipeline.as_str(), "outcome" => "dead")
            .increment(1);
        let mut headers = dead_letters::headers(&subject::chain(self.pipeline.as_str(), self.chain), reason);
        dead_letters::notify_when_dropped(&mut headers);
        headers.insert(NATS_MESSAGE_ID, format!("{}:{}:{id}", self.pipeline.as_str(), self.chain));
        let subject = subject::dead_letter(CHAIN_STREAM, self.pipeline.as_str());
        ctx.jetstream.publish_with_headers(subject, headers, body.into()).await?.await?;
        crash::at(self.pipeline.as_str(), "dead-lettered");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;

    #[test]
    fn a_log_is_taken_at_its_own_place_whatever_is_between() {
        let log = |index, address: &[u8]| wire::Log { index, address: address.to_vec(), ..Default::default() };
        let [first, second, third] = [1, 2, 3].map(Address::repeat_byte);
        let logs = vec![log(3, &first[..]), log(5, b"no address"), log(8, &second[..]), log(9, &third[..])];
        let block = wire::Block { number: 7, logs, ..Default::default() };
        let mut noted = Noted::default();
        noted.unread.insert(Unread::log(third, (7, 9)));
        assert_eq!(taken(&block, &noted), [Unread::log(first, (7, 3)), Unread::log(second, (7, 8))]);
    }
}
