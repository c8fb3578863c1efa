//! What jobs do: communities whose time is over go for good, and what has expired is forgotten.

use nepto_kit::Failure;
use nepto_proto::event::{ChannelRemoved, CommunityRemoved};

use super::Communities;

/// Beyond the time in which an owner may restore a community, because clocks differ and a request takes its time.
const MARGIN_MS: i64 = 10 * 60 * 1_000;
/// Communities that one run looks at.
const COMMUNITIES_MAX: i64 = 20;
/// Members that one transaction lets go.
const MEMBERS_AT_ONCE: i64 = 500;
/// Rows of each kind that one transaction forgets.
const EXPIRED_AT_ONCE: i64 = 500;
/// Such transactions of one run.
const ROUNDS_MAX: usize = 100;

impl Communities {
    /// Removes communities that can't be restored any more, in steps, each of which may be the last before a crash; how many.
    pub async fn remove_deleted(&self) -> Result<usize, Failure> {
        if self.ctx.clock_check.is_wrong().await {
            // what is removed does not come back
            return Ok(0);
        }
        let restorable_for_ms = (self.bounds.restorable_for_s * 1_000).cast_signed();
        let before_ms = self.now_ms() - restorable_for_ms - MARGIN_MS;
        let rows = self.store.deleted_before(before_ms, COMMUNITIES_MAX).await?;
        for row in &rows {
            let community = row.community();
            while self.store.let_members_go(community, MEMBERS_AT_ONCE).await? > 0 {}
            let channels = self.store.channels_of(community).await?;
            let mut events = vec![self.event(&CommunityRemoved { community })?];
            for channel in &channels {
                events.push(self.event(&ChannelRemoved { community, channel: channel.channel() })?);
            }
            self.store.remove(row, &channels, events).await?;
            self.outbox.wake();
        }
        Ok(rows.len())
    }

    /// Forgets bans, time-outs and invites that are over; how many.
    pub async fn forget_expired(&self) -> Result<u64, Failure> {
        if self.ctx.clock_check.is_wrong().await {
            return Ok(0);
        }
        let mut forgotten = 0;
        for _ in 0..ROUNDS_MAX {
            match self.store.forget_expired(self.now_ms(), EXPIRED_AT_ONCE).await? {
                0 => break,
                some => forgotten += some,
            }
        }
        Ok(forgotten)
    }

    /// Forgets what the audit log is not to keep any longer; how many entries.
    pub async fn forget_audit(&self) -> Result<usize, Failure> {
        if self.ctx.clock_check.is_wrong().await {
            return Ok(0);
        }
        let before_ms = self.now_ms() - (self.bounds.audit_kept_s * 1_000).cast_signed();
        let mut forgotten = 0;
        for _ in 0..ROUNDS_MAX {
            match self.store.forget_audit(before_ms, EXPIRED_AT_ONCE).await? {
                0 => break,
                some => forgotten += some,
            }
        }
        Ok(forgotten)
    }
}
