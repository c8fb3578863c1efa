//! One pipeline on one chain.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::hex;
use async_nats::jetstream::Message as NatsMessage;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use nepto_kit::clock::backoff;
use nepto_kit::consumer::Heartbeat;
use nepto_kit::db::DbError;
use nepto_kit::lease::Lease;
use nepto_kit::outbox::{self, Unwritable};
use nepto_kit::{crash, dead_letters, nats};
use nepto_proto::chain as wire;
use nepto_proto::event::{Finality, OwnershipChanged};
use nepto_proto::subject::CHAIN_STREAM;
use nepto_proto::svc::collector::{Pipeline, ReplayUpdates};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::LinkedWallets;
use super::decoding::Attempt;
use crate::assets::model::{Amount, BlockEffects, Holding};
use crate::assets::ops::Assets;
use crate::assets::shapes::Shapes;
use crate::assets::store::{Applied, Change, CursorRow, FORM, compactions};

/// A worker that is gone is replaced after this.
const LEASE_TTL: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Messages that are fetched at once, and how long for.
const FETCH_MAX: usize = 32;
const FETCH_EXPIRES: Duration = Duration::from_millis(500);
/// How often a worker that hears nothing asks whether it misses something.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Effects of events that are committed without waiting for more. One event may have many: a batch, a range.
const COMMIT_AT: usize = 8_000;
/// Final deltas that are compacted without waiting for a quiet moment; twice as many wait for the compaction before.
const COMPACT_AT: usize = 50_000;
/// Holdings that are compacted in one transaction.
const COMPACT_BATCH: usize = 2_000;
/// Events about final changes that are committed at once. Those about other changes are never more than the changes that
/// are committed with them.
const EVENTS_AT_ONCE: usize = 2_000;
/// Between two tries of something that failed.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A loop that is silent for longer has stalled.
const SILENCE_MAX: Duration = Duration::from_secs(90);

pub struct PipelineWorker {
    pub(super) assets: Assets,
    pub(super) pipeline: Pipeline,
    pub(super) chain: u64,
    linked: Arc<LinkedWallets>,
}

/// What the worker knows, as it stands in the database.
pub(super) struct State {
    pub(super) cursor: CursorRow,
    uncompacted: Vec<Applied>,
    /// With what the pending updates found out.
    pub(super) shapes: Shapes,
    /// When missing updates were asked for, and up to which they come.
    asked: Option<Instant>,
    coming: u64,
    /// At most one: a compaction of so many changes at the front, while more are taken.
    compacting: JoinSet<Result<Compacted, DbError>>,
}

/// A compaction whose sums are written, up to `seq`.
struct Compacted {
    count: usize,
    seq: u64,
}

/// Updates that were taken and are not committed yet.
#[derive(Default)]
struct Pending {
    /// The cursor after them, if there are any.
    after: Option<CursorRow>,
    block_effects: BlockEffects,
    late: bool,
}

impl State {
    /// Changes at the front of which everything is final.
    fn compactable(&self) -> usize {
        let is_final = |applied: &&Applied| applied.highest().is_none_or(|highest| highest <= self.cursor.final_height);
        self.uncompacted.iter().take_while(is_final).count()
    }

    fn compactable_deltas(&self) -> usize {
        self.uncompacted.iter().take(self.compactable()).map(|applied| applied.deltas.len()).sum()
    }
}

/// The lease of whoever takes a pipeline's updates of a chain.
pub fn lease_of(pipeline: Pipeline, chain: u64) -> String {
    format!("pipeline:{}", nats::of_chain(pipeline.as_str(), chain))
}

impl PipelineWorker {
    pub fn new(assets: &Assets, pipeline: Pipeline, chain: u64, linked: Arc<LinkedWallets>) -> Self {
        Self { assets: assets.clone(), pipeline, chain, linked }
    }

    /// Works until the process stops.
    pub async fn serve(self) {
        let name = nats::of_chain(self.pipeline.as_str(), self.chain);
        let lease = Lease::new(&self.assets.ctx, &lease_of(self.pipeline, self.chain), LEASE_TTL);
        lease.until_stop(self.run(&lease, &name)).await;
    }

    async fn run(&self, lease: &Lease, name: &str) {
        let ctx = &self.assets.ctx;
        let beat = Heartbeat::of_loop(ctx, format!("pipeline {name}"), SILENCE_MAX);
        let mut attempt = 0;
        loop {
            beat.beat(ctx);
            if !lease.hold().await {
                tokio::time::sleep(RENEW_EVERY).await;
                continue;
            }
            if let Err(error) = self.work(lease, &beat, &mut attempt).await {
                attempt += 1;
                let reason = format!("{error:#}");
                self.assets.note_error(self.pipeline, self.chain, Some(&reason)).await;
                tracing::warn!(pipeline = name, error = reason, attempt, "will be tried again");
                tokio::time::sleep(backoff(&ctx.random, attempt, RETRY_FIRST, RETRY_MAX)).await;
            }
        }
    }

    /// Works until the lease is lost or something fails.
    async fn work(&self, lease: &Lease, beat: &Heartbeat, attempt: &mut u32) -> anyhow::Result<()> {
        let ctx = &self.assets.ctx;
        let store = &self.assets.store;
        let mut cursor = store.cursor(self.pipeline, self.chain).await?;
        if cursor.as_ref().is_some_and(|cursor| cursor.form != Some(FORM)) {
            tracing::warn!(pipeline = self.pipeline.as_str(), chain = self.chain, "all updates are taken again");
            beat.during(store.reset(self.pipeline, self.chain)).await?;
            cursor = None;
        }
        let mut state = State {
            cursor: cursor.unwrap_or_else(|| CursorRow::new(self.pipeline, self.chain)),
            uncompacted: store.uncompacted(self.pipeline, self.chain).await?,
            shapes: store.shapes(self.pipeline, self.chain).await?,
            asked: None,
            coming: 0,
            compacting: JoinSet::new(),
        };
        let name = nats::of_chain(self.pipeline.as_str(), self.chain);
        let mut renewed = Instant::now();
        loop {
            // a deleted consumer answers nothing, so look whether it is still there
            let consumer: PullConsumer = ctx.jetstream.get_consumer_from_stream(&name, CHAIN_STREAM).await?;
            let is_paused = consumer.cached_info().paused;
            beat.beat(ctx);
            if renewed.elapsed() > RENEW_EVERY {
                renewed = Instant::now();
                if !lease.hold().await {
                    return Ok(());
                }
            }
            let fetch = consumer.fetch().max_messages(FETCH_MAX).expires(FETCH_EXPIRES);
            let mut messages = fetch.messages().await?.ready_chunks(FETCH_MAX);
            let mut heard = 0;
            while let Some(waiting) = messages.next().await {
                let waiting: Vec<NatsMessage> = waiting
                    .into_iter()
                    .collect::<Result<_, _>>()
                    .map_err(|error| anyhow::anyhow!("a fetch broke off: {error}"))?;
                heard += waiting.len();
                crash::at(self.pipeline.as_str(), "fetched");
                beat.during(self.take(&mut state, &waiting)).await?;
                for message in waiting {
                    // the cursor makes it idempotent: one that is lost comes again and is passed over
                    message.ack().await.map_err(|error| anyhow::anyhow!("not acknowledged: {error}"))?;
                }
                crash::at(self.pipeline.as_str(), "acknowledged");
            }
            if *attempt > 0 {
                *attempt = 0;
                self.assets.note_error(self.pipeline, self.chain, None).await;
            }
            if heard == 0 {
                self.begin_compaction(&mut state);
                beat.during(self.end_compaction(&mut state)).await?;
            }
            if heard == 0 && !is_paused && state.asked.is_none_or(|asked| asked.elapsed() > ASK_EVERY) {
                self.ask_for_missing(&mut state).await?;
            }
        }
    }

    /// Takes messages: next updates, old ones, some from beyond a gap, or what was dead-lettered. Updates that wait together
    /// are committed together.
    async fn take(&self, state: &mut State, messages: &[NatsMessage]) -> anyhow::Result<()> {
        let mut pending = Pending::default();
        for message in messages {
            let update = match wire::ChainUpdate::decode(message.payload.clone()) {
                Ok(update) if update.chain_id == self.chain => update,
                _ if dead_letters::is_dropped(message.headers.as_ref()) => continue,
                _ => {
                    let id = Attempt::again(0, message)?.to_string();
                    self.dead_letter(message.payload.to_vec(), "not an update of this chain", &id).await?;
                    continue;
                }
            };
            if let Some(wire::chain_update::What::Retry(retry)) = &update.what {
                self.flush(state, &mut pending).await?;
                let attempt = Attempt::again(update.number, message)?;
                match dead_letters::is_dropped(message.headers.as_ref()) {
                    true => self.drop_dead_letter(state, attempt, retry).await?,
                    false => self.retry(state, attempt, retry).await?,
                }
                continue;
            }
            let taken = pending.after.as_ref().map_or(state.cursor.step, |after| after.step);
            match update.number.saturating_sub(taken) {
                0 => {}
                1 => self.advance(state, &mut pending, update).await?,
                // what lies between comes again, and this one with it
                _ => {
                    self.flush(state, &mut pending).await?;
                    self.ask_for_missing(state).await?;
                }
            }
        }
        self.flush(state, &mut pending).await
    }

    /// Adds the next update to those that are pending, unless it can't be committed with them.
    async fn advance(&self, state: &mut State, pending: &mut Pending, update: wire::ChainUpdate) -> anyhow::Result<()> {
        let before = pending.after.as_ref().unwrap_or(&state.cursor);
        let mut after = CursorRow {
            step: update.number,
            final_height: before.final_height.max(update.final_height),
            ..before.clone()
        };
        let blocks = match update.what.unwrap_or(wire::chain_update::What::Fill(wire::Fill::default())) {
            wire::chain_update::What::Revert(revert) => {
                self.flush(state, pending).await?;
                after.height = revert.height;
                after.hash = String::new();
                return self.revert(state, after, revert.height).await;
            }
            wire::chain_update::What::Advance(advance) => {
                after.height = advance.height;
                after.hash = hex::encode(advance.hash);
                advance.blocks
            }
            wire::chain_update::What::Fill(fill) => fill.blocks,
            wire::chain_update::What::Retry(retry) => retry.blocks,
        };
        let late = blocks.first().is_some_and(|block| block.number <= before.height);
        if pending.after.is_some() && (pending.late != late || pending.block_effects.effects >= COMMIT_AT) {
            self.flush(state, pending).await?;
        }
        pending.late = late;
        self.decode(Attempt::first(update.number), &blocks, &mut state.shapes, &mut pending.block_effects, &mut after)
            .await?;
        pending.after = Some(after);
        Ok(())
    }

    /// Commits what is pending.
    async fn flush(&self, state: &mut State, pending: &mut Pending) -> anyhow::Result<()> {
        let Pending { after: Some(after), block_effects, late } = std::mem::take(pending) else { return Ok(()) };
        self.apply(state, after, block_effects, late, Vec::new()).await?;
        if state.compactable_deltas() >= 2 * COMPACT_AT {
            self.end_compaction(state).await?;
        } else if let Some(compacting) = state.compacting.try_join_next() {
            self.compacted(state, compacting?.map_err(explain)?).await?;
        }
        if state.compactable_deltas() >= COMPACT_AT {
            self.begin_compaction(state);
        }
        Ok(())
    }

    pub(super) async fn apply(
        &self,
        state: &mut State,
        after: CursorRow,
        mut block_effects: BlockEffects,
        late: bool,
        retried: Vec<(u64, u32)>,
    ) -> anyhow::Result<()> {
        self.assets.store.settle(self.chain, &mut block_effects, late).await?;
        let block_effects = &block_effects;
        let after =
            CursorRow { seq: state.cursor.seq + 1, events: state.cursor.events + block_effects.events, ..after };
        let changes = block_effects.deltas.iter().map(|((block, holding), delta)| (*block, *holding, delta.amount));
        let open = changes.filter(|(block, ..)| *block > after.final_height);
        let events = self.events(&state.shapes, open, Finality::Provisional)?;
        let change = Change {
            pipeline: self.pipeline,
            before: &state.cursor,
            after: &after,
            block_effects,
            late,
            retried,
            events,
        };
        let has_events = !change.events.is_empty();
        crash::at(self.pipeline.as_str(), "decoded");
        let applied = self.assets.store.apply(change).await.map_err(explain)?;
        crash::at(self.pipeline.as_str(), "committed");
        metrics::counter!("nepto_consumed_total", "consumer" => self.pipeline.as_str(), "outcome" => "done")
            .increment(block_effects.events);
        self.committed(state, after, has_events);
        if applied.highest().is_some() {
            state.uncompacted.push(applied);
        }
        Ok(())
    }

    async fn revert(&self, state: &mut State, after: CursorRow, height: u64) -> anyhow::Result<()> {
        anyhow::ensure!(
            height >= state.cursor.final_height,
            "the collector orphans blocks above {height}, and what is final up to {} can't be taken back",
            state.cursor.final_height
        );
        let after = CursorRow { seq: state.cursor.seq + 1, ..after };
        let gone = state.uncompacted.iter().flat_map(|applied| &applied.deltas).filter(|delta| delta.block > height);
        let undone = gone.map(|delta| (delta.block, delta.holding, delta.amount.negated()));
        let events = self.events(&state.shapes, undone, Finality::Reverted)?;
        let has_events = !events.is_empty();
        let store = &self.assets.store;
        store
            .revert(self.pipeline, &state.cursor, &after, &mut state.uncompacted, &mut state.shapes, height, events)
            .await
            .map_err(explain)?;
        crash::at(self.pipeline.as_str(), "reverted");
        self.committed(state, after, has_events);
        Ok(())
    }

    /// Adds final deltas to what is held, beside what is taken meanwhile: no fork reaches them.
    fn begin_compaction(&self, state: &mut State) {
        let count = state.compactable();
        let Some(last) = count.checked_sub(1).and_then(|last| state.uncompacted.get(last)) else { return };
        if !state.compacting.is_empty() {
            return;
        }
        let (store, pipeline, chain, seq) = (self.assets.store.clone(), self.pipeline, self.chain, last.seq);
        let compactions = compactions(state.uncompacted.iter().take(count));
        state.compacting.spawn(async move {
            for batch in compactions.chunks(COMPACT_BATCH) {
                store.compact(chain, seq, batch).await?;
            }
            crash::at(pipeline.as_str(), "half compacted");
            Ok(Compacted { count, seq })
        });
    }

    /// Waits for the sums, if there is a compaction.
    async fn end_compaction(&self, state: &mut State) -> anyhow::Result<()> {
        match state.compacting.join_next().await {
            Some(compacting) => self.compacted(state, compacting?.map_err(explain)?).await,
            None => Ok(()),
        }
    }

    /// Commits that the deltas of a compaction are needed no longer.
    async fn compacted(&self, state: &mut State, Compacted { count, seq }: Compacted) -> anyhow::Result<()> {
        let store = &self.assets.store;
        let deltas = state.uncompacted.iter().take(count).flat_map(|applied| &applied.deltas);
        let deltas = deltas.map(|delta| (delta.block, delta.holding, delta.amount));
        let mut events = self.events(&state.shapes, deltas, Finality::Final)?;
        let has_events = !events.is_empty();
        while events.len() > EVENTS_AT_ONCE {
            store.emit(events.drain(..EVENTS_AT_ONCE).collect()).await?;
        }
        let after = CursorRow { folded: seq, ..state.cursor.clone() };
        store.end_compaction(self.pipeline, &state.cursor, &after, events).await.map_err(explain)?;
        crash::at(self.pipeline.as_str(), "compacted");
        self.committed(state, after, has_events);
        state.uncompacted.drain(..count);
        Ok(())
    }

    fn committed(&self, state: &mut State, after: CursorRow, has_events: bool) {
        state.cursor = after;
        if has_events {
            self.assets.outbox.wake();
        }
        let name = nats::of_chain(self.pipeline.as_str(), self.chain);
        metrics::gauge!("nepto_pipeline_height", "pipeline" => name).set(state.cursor.height as f64);
    }

    /// What other domains should know: changes of wallets that belong to accounts.
    fn events(
        &self,
        shapes: &Shapes,
        changes: impl Iterator<Item = (u64, Holding, Amount)>,
        finality: Finality,
    ) -> Result<Vec<outbox::Row>, Unwritable> {
        let accounts = self.linked.accounts();
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let ctx = &self.assets.ctx;
        let event = |(block, holding, amount): (u64, Holding, Amount)| {
            let account = *accounts.get(&holding.holder)?;
            if !shapes.counts(&holding.contract, holding.origin) {
                return None;
            }
            let event = OwnershipChanged {
                account,
                wallet: holding.holder.to_string(),
                chain_id: self.chain,
                contract: holding.contract.to_string(),
                standard: holding.origin.pipeline.into(),
                token: holding.class.token(),
                what: holding.class.what(),
                change: amount.signed(),
                block,
                finality,
            };
            Some(outbox::Row::new(&event, &ctx.clock, &ctx.random))
        };
        changes.filter_map(event).collect()
    }

    /// Asks the collector for updates after the last that was taken, if there are any.
    async fn ask_for_missing(&self, state: &mut State) -> anyhow::Result<()> {
        let is_coming = state.cursor.step < state.coming;
        if is_coming && state.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return Ok(());
        }
        state.asked = Some(Instant::now());
        let from = state.cursor.step + 1;
        let request = ReplayUpdates { pipeline: self.pipeline, chain_id: self.chain, from };
        let answer = self.assets.ctx.call(&request).await;
        let replayed = answer.map_err(|failure| anyhow::anyhow!("the collector does not answer: {failure}"))?;
        state.coming = state.cursor.step + replayed.sent;
        if replayed.sent > 0 {
            tracing::info!(pipeline = self.pipeline.as_str(), from, sent = replayed.sent, "missing updates come again");
        }
        Ok(())
    }
}

fn explain(error: DbError) -> anyhow::Error {
    match error {
        DbError::Stale => anyhow::anyhow!("another worker was faster"),
        error => error.into(),
    }
}
