//! Use-cases. Whatever changes who may do what goes one way ([`Communities::change`]): read, decide, commit if it is still so, tell.

mod access;
mod channels;
mod invites;
mod lifecycle;
mod members;
mod roles;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use nepto_kit::clock::backoff;
use nepto_kit::db::{DbError, Id, Text};
use nepto_kit::domain::Parts;
use nepto_kit::limit::Limit;
use nepto_kit::outbox::{Outbox, Row};
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::communities::members::AuditAction;
use nepto_proto::event::{AccessChanged, Event};
use nepto_proto::limits::NAME_CHARS_MAX;
use nepto_proto::names::check_name;
use nepto_proto::{AccountId, CommunityId, ErrorCode};
use serde::Serialize;
use uuid::Uuid;

use super::config::Bounds;
use super::model::{self, Powers};
use super::store::{AuditRow, Change, Revision, Seen, Store, audit_id};
use crate::text::lines;

/// A decision is made so often in all, if others change the same community meanwhile.
const ATTEMPTS_MAX: u32 = 12;
/// Characters of a reason (Discord has as many).
const REASON_CHARS_MAX: usize = 512;
/// Bytes of JSON that the audit log keeps of what was there before or afterwards.
const AUDIT_BYTES_MAX: usize = 16 * 1024;

/// The use-cases of the domain.
#[derive(Clone)]
pub struct Communities {
    ctx: Ctx,
    store: Store,
    outbox: Outbox,
    bounds: Arc<Bounds>,
}

/// What somebody does, for the audit log.
struct Deed<'a> {
    by: AccountId,
    what: AuditAction,
    target: Option<String>,
    reason: &'a str,
}

impl<'a> Deed<'a> {
    const fn new(by: AccountId, what: AuditAction) -> Self {
        Self { by, what, target: None, reason: "" }
    }

    /// What it is done to.
    fn to(mut self, target: impl ToString) -> Self {
        self.target = Some(target.to_string());
        self
    }

    fn because(mut self, reason: &'a str) -> Self {
        self.reason = reason;
        self
    }
}

impl Communities {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        let bounds = ctx.config.section();
        let store = Store::new(parts.db()?.clone(), ctx.redis.clone());
        Ok(Self { store, outbox: parts.outbox()?.clone(), bounds, ctx })
    }

    fn now_ms(&self) -> i64 {
        self.ctx.clock.now_ms()
    }

    fn uuid(&self) -> Uuid {
        self.ctx.random.uuid(&self.ctx.clock)
    }

    /// Reads a community with the one who acts and some others, decides by that, commits if it is still so, and tells who listens.
    /// Where it is not so any more, it is read and decided again.
    async fn change<T>(
        &self,
        community: CommunityId,
        accounts: &[AccountId],
        decide: impl Fn(&Seen) -> Result<(Change, T), Failure>,
    ) -> Result<T, Failure> {
        for attempt in 0..ATTEMPTS_MAX {
            let seen = self.store.seen(community, accounts).await?.ok_or_else(model::not_found)?;
            let (change, answer) = decide(&seen)?;
            if self.commit(community, seen.revision(), change).await? {
                return Ok(answer);
            }
            let (base, max) = (Duration::from_millis(2), Duration::from_millis(100));
            tokio::time::sleep(backoff(&self.ctx.random, attempt, base, max)).await;
        }
        Err(DbError::Conflict.into())
    }

    /// Commits with the events that tell whose access changed, and tells at once. `false`: it is not what was seen any more.
    async fn commit(&self, community: CommunityId, revision: Revision, change: Change) -> Result<bool, Failure> {
        let changed = change.changed().to_vec();
        let mut whole = change;
        for account in &changed {
            whole = whole.emit(self.event(&AccessChanged { community, account: *account })?);
        }
        let maxima = (self.bounds.owned_per_account_max, self.bounds.joined_per_account_max);
        match self.store.commit(community, revision, whole, maxima).await {
            Err(DbError::Stale) => return Ok(false),
            done => done.map_err(explained)?,
        }
        self.outbox.wake();
        for account in changed {
            self.tell(community, account).await;
        }
        Ok(true)
    }

    fn event<E: Event>(&self, event: &E) -> Result<Row, Failure> {
        Ok(Row::new(event, &self.ctx.clock, &self.ctx.random)?)
    }

    /// An entry of the audit log, to be committed with what it tells of.
    fn audit<B: Serialize, A: Serialize>(
        &self,
        community: CommunityId,
        deed: Deed<'_>,
        was: Option<&B>,
        became: Option<&A>,
    ) -> AuditRow {
        let (entry, now_ms) = (self.uuid(), self.now_ms());
        AuditRow {
            id: audit_id(community, made_at_ms(entry).unwrap_or(now_ms), entry),
            done_by: Text(deed.by),
            what: Text(deed.what),
            target: deed.target,
            was: was.and_then(shortened),
            became: became.and_then(shortened),
            reason: deed.reason.to_owned(),
            done_at_ms: now_ms,
        }
    }

    /// Counts what an account does against what it may do.
    async fn count(&self, account: AccountId, kind: &'static str, max: u32, window: Duration) -> Result<(), Failure> {
        let limit = Limit { kind, max, window };
        limit.take(&self.ctx.redis, &self.ctx.clock, &account.to_string(), 1).await
    }

    /// Counts a change of anything.
    async fn count_change(&self, account: AccountId) -> Result<(), Failure> {
        let max = self.bounds.changes_per_account_per_minute;
        self.count(account, "community_changes", max, Duration::from_secs(60)).await
    }

    /// Who acts, as [`model::acting`] says.
    fn acting(&self, seen: &Seen, account: AccountId) -> Result<Powers, Failure> {
        model::acting(seen, account, self.now_ms())
    }

    /// What was read for one member who only looks.
    async fn look(&self, community: CommunityId, account: AccountId) -> Result<(Seen, Powers), Failure> {
        let seen = self.store.seen(community, &[account]).await?.ok_or_else(model::not_found)?;
        let powers = self.acting(&seen, account)?;
        Ok((seen, powers))
    }
}

/// What a transaction refused, in words.
fn explained(error: DbError) -> Failure {
    let failure = Failure::from(error);
    let detail = match failure.code {
        ErrorCode::CommunityLimit => {
            "leave or delete another community first; deleted ones count until they are gone for good"
        }
        ErrorCode::CommunityFull => "nobody else can join it for now",
        ErrorCode::Banned => "who runs the community decided so",
        ErrorCode::InviteInvalid => "ask for another invite",
        ErrorCode::NotFound => "there is nothing by this id, or nothing that you may see",
        _ => return failure,
    };
    Failure::new(failure.code, detail)
}

/// When an id was made, in milliseconds since 1970.
fn made_at_ms(id: Uuid) -> Option<i64> {
    let (s, ns) = id.get_timestamp()?.to_unix();
    Some(s.saturating_mul(1_000).saturating_add(u64::from(ns) / 1_000_000).cast_signed())
}

/// As JSON, if it is short enough to be kept.
fn shortened<T: Serialize>(value: &T) -> Option<String> {
    let text = serde_json::to_string(value).ok()?;
    match text.len() <= AUDIT_BYTES_MAX {
        true => Some(text),
        false => Some(r#""too large to be kept""#.to_owned()),
    }
}

/// A name that shows what it holds.
fn name(text: &str) -> Result<String, Failure> {
    check_name(text, NAME_CHARS_MAX).map_err(|problem| Failure::new(ErrorCode::NameInvalid, problem.to_string()))
}

/// A text with several lines, without what can't be seen.
fn text(what: &str, text: &str, chars_max: usize) -> Result<String, Failure> {
    if text.chars().count() > chars_max {
        return Err(malformed(format!("{what} has at most {chars_max} characters")));
    }
    Ok(lines(text, chars_max))
}

fn reason(given: &str) -> Result<String, Failure> {
    text("a reason", given, REASON_CHARS_MAX)
}

fn malformed(detail: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Malformed, detail)
}

/// The id of a row from its parts.
fn pair<A, B, T>(one: A, other: B) -> Id<T>
where
    T: nepto_kit::db::Table<Key = (Text<A>, Text<B>)>,
{
    Id((Text(one), Text(other)))
}
