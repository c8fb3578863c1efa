//! What `communities` answers: what an account may do in a channel, and where Redis has a copy of that.
//!
//! A copy ([`CachedAccess`]) counts only beside the two numbers that it was made under: that of its community and that of its
//! member. Whoever makes one reads both numbers before it reads the database; whoever changes something that decides about access
//! puts another number there once that is committed. So a copy of an older state never counts, however late it is written, and a
//! Redis that was emptied knows nothing. One `MGET` reads a copy with both numbers:
//!
//! ```text
//! MGET cache:access:{channel}:{account} cache:access-generation:{community} cache:access-member:{community}:{account}
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::operations;
use crate::api::communities::channels::ChannelKind;
use crate::permissions::Permissions;
use crate::{AccountId, ChannelId, CommunityId, RoleId};

operations! { "communities"
    /// What an account may do in a channel. What it finds is also put into Redis, under [`CachedAccess::key`].
    "access" Access {
        /// The community that the channel belongs to, if the caller knows it: a channel of another one is not there. Without it
        /// the channel says.
        #[serde(default)]
        community: Option<CommunityId>,
        /// The channel.
        channel: ChannelId,
        /// Who wants something there.
        account: AccountId,
    } -> AccessIn;

    /// What an account may do in a community as such, before the overrides of channels; `None` where it is no member, and where
    /// there is no such community.
    "standing" CommunityStanding {
        /// The community.
        community: CommunityId,
        /// Who wants something there.
        account: AccountId,
    } -> Option<Standing>;
}

/// What an account is in a community.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it owns the community.
    pub owner: bool,
    /// The rank of its highest role; 0 without any but `everyone`.
    pub rank: u32,
    /// What its roles allow together.
    pub permissions: Permissions,
    /// The roles that were granted, without `everyone`.
    pub roles: Vec<RoleId>,
    /// Until then only reading is allowed, milliseconds since 1970.
    pub timed_out_until_ms: Option<i64>,
}

/// What an account may do in a channel. Where it may not see the channel, and where there is none, this is the same value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessIn {
    /// The community of the channel; absent where nothing may be seen.
    pub community: Option<CommunityId>,
    /// What is allowed; empty where nothing may be seen.
    pub permissions: Permissions,
    /// Who lacks `bypass_slow_mode` posts once in so many seconds.
    pub slow_mode_s: u32,
    /// Until then only reading is allowed, milliseconds since 1970. The permissions say so already.
    pub timed_out_until_ms: Option<i64>,
    /// What the channel is for.
    pub kind: ChannelKind,
    /// Whether the account owns the community.
    pub owner: bool,
}

impl AccessIn {
    /// Nothing may be seen, or there is nothing.
    pub const HIDDEN: Self = Self {
        community: None,
        permissions: Permissions::EMPTY,
        slow_mode_s: 0,
        timed_out_until_ms: None,
        kind: ChannelKind::Text,
        owner: false,
    };

    /// Whether the channel does not exist, as far as this account may know.
    pub fn is_hidden(&self) -> bool {
        self.community.is_none()
    }
}

/// A copy of [`AccessIn`] in Redis, with the numbers that it was made under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedAccess {
    /// What may be done.
    pub access: AccessIn,
    /// The community of the channel, also where nothing may be seen: for whoever has to look for its number. Not for clients.
    pub of: CommunityId,
    /// The number of the community at that time.
    pub generation: u64,
    /// The number of the member at that time.
    pub member: u64,
}

impl CachedAccess {
    /// How long Redis keeps a copy.
    pub const TTL: Duration = Duration::from_secs(60);
    /// How long Redis keeps a number. When it is gone there is another one, and copies of before count no more.
    pub const NUMBER_TTL: Duration = Duration::from_secs(86_400);

    /// The key of a copy.
    pub fn key(channel: ChannelId, account: AccountId) -> String {
        format!("cache:access:{channel}:{account}")
    }

    /// The key of a community's number: another one after every change of its roles, channels and overrides, and of its owner.
    pub fn generation_key(community: CommunityId) -> String {
        format!("cache:access-generation:{community}")
    }

    /// The key of a member's number: another one after every change of its roles, its time-out, and of whether it is a member.
    pub fn member_key(community: CommunityId, account: AccountId) -> String {
        format!("cache:access-member:{community}:{account}")
    }

    /// A number as it stands in Redis.
    pub fn encode_number(number: u64) -> String {
        format!("{number:016x}")
    }

    /// Undoes [`CachedAccess::encode_number`].
    pub fn parse_number(text: &str) -> Option<u64> {
        u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16)
    }

    /// As it stands in Redis: `generation member community hidden|seen permissions slow-mode timed-out-until kind owner`, the
    /// numbers and permissions hexadecimal, `-` for none.
    pub fn encode(&self) -> String {
        let Self { access, of, generation, member } = self;
        format!(
            "{generation:016x} {member:016x} {of} {} {:x} {} {} {} {}",
            if access.is_hidden() { "hidden" } else { "seen" },
            access.permissions.bits(),
            access.slow_mode_s,
            access.timed_out_until_ms.map_or_else(|| "-".to_owned(), |until_ms| until_ms.to_string()),
            access.kind,
            u8::from(access.owner),
        )
    }

    /// Undoes [`CachedAccess::encode`]; `None` for what another version wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [generation, member, of, seen, permissions, slow_mode_s, until_ms, kind, owner] = parts[..] else {
            return None;
        };
        let of: CommunityId = of.parse().ok()?;
        let community = match seen {
            "seen" => Some(of),
            "hidden" => None,
            _ => return None,
        };
        let timed_out_until_ms = match until_ms {
            "-" => None,
            text => Some(text.parse().ok()?),
        };
        let access = AccessIn {
            community,
            permissions: Permissions::from_bits_truncate(u64::from_str_radix(permissions, 16).ok()?),
            slow_mode_s: slow_mode_s.parse().ok()?,
            timed_out_until_ms,
            kind: kind.parse().ok()?,
            owner: owner == "1",
        };
        Some(Self { access, of, generation: Self::parse_number(generation)?, member: Self::parse_number(member)? })
    }

    /// What counts of what one `MGET` found: the copy, the number of the community, and that of the member. `None`: ask.
    pub fn counting(
        copy: Option<&str>,
        generation: Option<&str>,
        member: Option<&str>,
        community: CommunityId,
        now_ms: i64,
    ) -> Option<AccessIn> {
        let copy = Self::parse(copy?)?;
        let is_newest = copy.of == community
            && Self::parse_number(generation?)? == copy.generation
            && Self::parse_number(member?)? == copy.member;
        // what is allowed after a time-out is not in it
        let is_over = copy.access.timed_out_until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        (is_newest && !is_over).then_some(copy.access)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::permissions::Permission;

    fn copy() -> CachedAccess {
        let community = CommunityId::new(Uuid::from_u128(7));
        let access = AccessIn {
            community: Some(community),
            permissions: Permissions::of(&[Permission::ViewChannel, Permission::SendMessages]),
            slow_mode_s: 5,
            timed_out_until_ms: None,
            kind: ChannelKind::Announcement,
            owner: true,
        };
        CachedAccess { access, of: community, generation: 1, member: u64::MAX }
    }

    #[test]
    fn a_copy_is_read_back() {
        let hidden = CachedAccess { access: AccessIn::HIDDEN, ..copy() };
        let timed_out = AccessIn { timed_out_until_ms: Some(9), ..copy().access };
        for copy in [copy(), hidden, CachedAccess { access: timed_out, ..copy() }] {
            assert_eq!(CachedAccess::parse(&copy.encode()), Some(copy));
        }
        let text = copy().encode();
        for other in ["", " ", &text[1..], &format!("{text} 1"), &text.replace("seen", "soon")] {
            assert_eq!(CachedAccess::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_copy_counts_beside_its_own_numbers_alone() {
        let copy = copy();
        let (text, of) = (copy.encode(), copy.of);
        let [generation, member] = [copy.generation, copy.member].map(CachedAccess::encode_number);
        let count = |copy: &str, generation: Option<&str>, member: Option<&str>, of, now_ms| {
            CachedAccess::counting(Some(copy), generation, member, of, now_ms)
        };
        assert_eq!(count(&text, Some(&generation), Some(&member), of, 0), Some(copy.access.clone()));
        let other = CachedAccess::encode_number(2);
        assert_eq!(count(&text, Some(&other), Some(&member), of, 0), None);
        assert_eq!(count(&text, Some(&generation), Some(&other), of, 0), None);
        assert_eq!(count(&text, None, Some(&member), of, 0), None);
        assert_eq!(count(&text, Some(&generation), None, of, 0), None);
        assert_eq!(count(&text, Some(&generation), Some(&member), CommunityId::new(Uuid::nil()), 0), None);
        let access = AccessIn { timed_out_until_ms: Some(9), ..copy.access.clone() };
        let text = CachedAccess { access: access.clone(), ..copy }.encode();
        assert_eq!(count(&text, Some(&generation), Some(&member), of, 8), Some(access));
        assert_eq!(count(&text, Some(&generation), Some(&member), of, 9), None, "it is over");
    }
}
