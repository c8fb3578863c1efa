//! Use-cases: what routes, services, jobs and frames call, and what calls the store.

use std::sync::Arc;

use nepto_kit::domain::Parts;
use nepto_kit::outbox::{self, Outbox};
use nepto_kit::{Ctx, Failure};
use nepto_proto::ErrorCode;
use prost::Message as _;

use super::NoteMade;
use super::config::Notes;
use super::frames::{BOARD, Say};
use super::store::Store;

#[derive(Clone)]
pub struct Board {
    ctx: Ctx,
    store: Store,
    outbox: Outbox,
    notes: Arc<Notes>,
}

impl Board {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        let notes = ctx.config.section();
        Ok(Self { store: Store::new(parts.db()?.clone()), outbox: parts.outbox()?.clone(), notes, ctx })
    }

    pub async fn make_note(&self, text: String) -> Result<(), Failure> {
        let (max, Ctx { clock, random, .. }) = (self.notes.characters_max, &self.ctx);
        if text.chars().count() > max {
            return Err(Failure::new(ErrorCode::TooLarge, format!("a note has at most {max} characters")));
        }
        let id = random.uuid(clock).simple().to_string();
        let made = NoteMade { text };
        self.store.put(&id, &made.text, clock.now_ms(), outbox::Row::new(&made, clock, random)?).await?;
        self.outbox.wake();
        Ok(())
    }

    pub async fn count(&self) -> Result<u64, Failure> {
        Ok(self.store.count().await?)
    }

    /// To everybody who follows the board.
    pub async fn publish(&self, made: NoteMade) -> Result<(), Failure> {
        let say = Say { text: made.text, encoded: 0 };
        let published = self.ctx.nats.publish(BOARD, say.encode_to_vec().into()).await;
        published.map_err(|error| Failure::unavailable("NATS", error))
    }

    /// Deletes what was kept long enough.
    pub async fn delete_old(&self) -> anyhow::Result<u64> {
        let until_ms = self.ctx.clock.now_ms() - (self.notes.keep_for_s * 1_000).cast_signed();
        Ok(self.store.delete_until(until_ms).await?)
    }
}
