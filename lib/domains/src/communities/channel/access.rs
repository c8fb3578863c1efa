//! What an account may do in a channel, as the sockets and routes of this domain ask it.
//!
//! What must hold: a copy in Redis counts only beside the numbers that it was made under; where nobody knows, nothing is allowed, and
//! the question failed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use nepto_kit::{Ctx, Failure};
use nepto_proto::api::communities::channels::ChannelKind;
use nepto_proto::permissions::Permission;
use nepto_proto::svc::communities::{Access, AccessIn, CachedAccess};
use nepto_proto::{AccountId, ChannelId, CommunityId, ErrorCode};
use redis::AsyncCommands;

/// Channels whose community a process remembers; past it all are forgotten, and learnt again.
const REMEMBERED_MAX: usize = 20_000;

/// Which community a channel belongs to, which never changes: with it one round trip to Redis is enough.
#[derive(Debug, Default)]
pub struct Communities(Mutex<HashMap<ChannelId, CommunityId>>);

impl Communities {
    /// The community of a channel, if it is known here.
    pub fn of(&self, channel: ChannelId) -> Option<CommunityId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&channel).copied()
    }

    /// Remembers it.
    pub fn learn(&self, channel: ChannelId, access: &AccessIn) {
        let Some(community) = access.community else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(channel, community);
    }
}

/// The keys of Redis that say it, for one `MGET`.
pub fn keys(community: CommunityId, channel: ChannelId, account: AccountId) -> [String; 3] {
    [
        CachedAccess::key(channel, account),
        CachedAccess::generation_key(community),
        CachedAccess::member_key(community, account),
    ]
}

/// What counts of what was found under [`keys`].
pub fn counting(ctx: &Ctx, community: CommunityId, found: &[Option<String>]) -> Option<AccessIn> {
    let value = |at: usize| found.get(at).and_then(Option::as_deref);
    CachedAccess::counting(value(0), value(1), value(2), community, ctx.clock.now_ms())
}

/// Asks Redis, and whoever owns the answer where Redis does not know.
pub async fn ask(
    ctx: &Ctx,
    communities: &Communities,
    channel: ChannelId,
    account: AccountId,
) -> Result<AccessIn, Failure> {
    if let Some(community) = communities.of(channel) {
        let keys = keys(community, channel, account);
        // Redis away is Redis that does not know
        let found: Vec<Option<String>> = ctx.redis.clone().mget(&keys[..]).await.unwrap_or_default();
        if let Some(access) = counting(ctx, community, &found) {
            return Ok(access);
        }
    }
    ask_owner(ctx, communities, channel, account).await
}

/// Asks whoever owns the answer.
pub async fn ask_owner(
    ctx: &Ctx,
    communities: &Communities,
    channel: ChannelId,
    account: AccountId,
) -> Result<AccessIn, Failure> {
    let access = ctx.call(&Access { community: None, channel, account }).await?;
    communities.learn(channel, &access);
    Ok(access)
}

/// The channel's community, if the account may do this there. A channel that it may not see is none, and a category is none for
/// messages.
pub fn require(access: &AccessIn, permission: Permission) -> Result<CommunityId, Failure> {
    let is_seen = access.permissions.contains(Permission::ViewChannel) && access.kind != ChannelKind::Category;
    let Some(community) = access.community.filter(|_| is_seen) else {
        return Err(Failure::new(ErrorCode::NotFound, "there is no such channel"));
    };
    if access.permissions.contains(permission) {
        return Ok(community);
    }
    // a time-out takes everything but reading
    match access.timed_out_until_ms {
        Some(_) if permission != Permission::ReadHistory => Err(Failure::new(ErrorCode::TimedOut, "")),
        _ => Err(Failure::new(ErrorCode::PermissionNeeded, "")),
    }
}

/// The channel's community, if the account may post there: where announcements are made, who manages messages.
pub fn require_post(access: &AccessIn) -> Result<CommunityId, Failure> {
    if access.kind == ChannelKind::Announcement {
        require(access, Permission::ManageMessages)?;
    }
    require(access, Permission::SendMessages)
}

#[cfg(test)]
mod tests {
    use nepto_proto::permissions::Permissions;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_may_not_be_seen_is_not_there_whatever_else_is_allowed() {
        let community = CommunityId::new(Uuid::from_u128(1));
        let seen = |permissions: &[Permission]| AccessIn {
            community: Some(community),
            permissions: Permissions::of(permissions),
            ..AccessIn::HIDDEN
        };
        let code = |access: &AccessIn| require(access, Permission::SendMessages).map_err(|failure| failure.code);
        assert_eq!(code(&AccessIn::HIDDEN), Err(ErrorCode::NotFound));
        assert_eq!(code(&seen(&[Permission::SendMessages])), Err(ErrorCode::NotFound));
        assert_eq!(code(&seen(&[Permission::ViewChannel])), Err(ErrorCode::PermissionNeeded));
        assert_eq!(code(&seen(&[Permission::ViewChannel, Permission::SendMessages])), Ok(community));
        let silent = AccessIn { timed_out_until_ms: Some(1), ..seen(&[Permission::ViewChannel]) };
        assert_eq!(code(&silent), Err(ErrorCode::TimedOut));
        let writes = seen(&[Permission::ViewChannel, Permission::SendMessages]);
        let of_kind = |kind| require_post(&AccessIn { kind, ..writes.clone() }).map_err(|failure| failure.code);
        assert_eq!(of_kind(ChannelKind::Text), Ok(community));
        assert_eq!(of_kind(ChannelKind::Announcement), Err(ErrorCode::PermissionNeeded));
        assert_eq!(of_kind(ChannelKind::Category), Err(ErrorCode::NotFound));
    }
}
