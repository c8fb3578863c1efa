//! The rows of the domain's tables.

use nepto_kit::clock::from_ms;
use nepto_kit::db::{Id, RecordId, Table, Text};
use nepto_proto::api::communities::channels::{ChannelKind, ChannelOverride, OverrideKind};
use nepto_proto::api::communities::members::{AuditAction, AuditEntry, Ban};
use nepto_proto::api::communities::roles::Role;
use nepto_proto::api::communities::{Invite, Visibility};
use nepto_proto::permissions::{Override, Permissions};
use nepto_proto::{AccountId, ChannelId, CommunityId, RoleId};
use surrealdb::types::SurrealValue;
use uuid::Uuid;

macro_rules! tables {
    ($($name:ident = $table:literal, $key:ty;)+) => {$(
        #[derive(Debug)]
        pub struct $name;

        impl Table for $name {
            const NAME: &'static str = $table;
            type Key = $key;
        }
    )+};
}
tables! {
    Communities = "community", Text<CommunityId>;
    Guards = "guard", Text<CommunityId>;
    Censuses = "census", Text<CommunityId>;
    Seats = "seat", (Text<CommunityId>, Text<AccountId>);
    Members = "member", (Text<CommunityId>, Text<AccountId>);
    Memberships = "membership", (Text<AccountId>, Text<CommunityId>);
    Persons = "person", Text<AccountId>;
    TimeOuts = "time_out", (Text<CommunityId>, Text<AccountId>);
    Bans = "ban", (Text<CommunityId>, Text<AccountId>);
    Roles = "role", (Text<CommunityId>, Text<RoleId>);
    Channels = "channel", (Text<CommunityId>, Text<ChannelId>);
    ChannelsOf = "channel_of", Text<ChannelId>;
    Invites = "invite", String;
    InvitesOf = "invite_of", (Text<CommunityId>, String);
    Listings = "listing", (String, Text<CommunityId>);
    Audits = "audit", (Text<CommunityId>, i64, Text<Uuid>);
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct CommunityRow {
    pub id: Id<Communities>,
    pub name: String,
    pub description: String,
    pub visibility: Text<Visibility>,
    pub owner: Text<AccountId>,
    pub created_at_ms: i64,
    pub deleted_at_ms: Option<i64>,
}

impl CommunityRow {
    pub fn community(&self) -> CommunityId {
        self.id.0.0
    }

    /// Its row in the list of what everybody finds, if it stands there.
    pub fn listing(&self) -> Option<ListingRow> {
        let is_listed = self.visibility.0 == Visibility::Public && self.deleted_at_ms.is_none();
        is_listed.then(|| ListingRow { id: Id((folded(&self.name), Text(self.community()))) })
    }
}

/// A name as it is sorted and searched.
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

#[derive(Debug, Clone, SurrealValue)]
pub struct ListingRow {
    pub id: Id<Listings>,
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct MemberRow {
    pub id: Id<Members>,
    pub joined_at_ms: i64,
    pub granted: Vec<Text<RoleId>>,
}

impl MemberRow {
    pub fn new(community: CommunityId, account: AccountId, joined_at_ms: i64) -> Self {
        Self { id: Id((Text(community), Text(account))), joined_at_ms, granted: Vec::new() }
    }

    pub fn account(&self) -> AccountId {
        self.id.0.1.0
    }

    pub fn has(&self, role: RoleId) -> bool {
        self.granted.contains(&Text(role))
    }
}

#[derive(Debug, Clone, SurrealValue)]
pub struct MembershipRow {
    pub id: Id<Memberships>,
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct TimeOutRow {
    pub id: Id<TimeOuts>,
    pub until_ms: i64,
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct BanRow {
    pub id: Id<Bans>,
    pub decided_by: Text<AccountId>,
    pub reason: String,
    pub since_ms: i64,
    pub until_ms: Option<i64>,
}

impl BanRow {
    pub fn to_api(&self) -> Ban {
        Ban {
            account: self.id.0.1.0,
            by: self.decided_by.0,
            reason: self.reason.clone(),
            since: from_ms(self.since_ms),
            until: self.until_ms.map(from_ms),
        }
    }
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct RoleRow {
    pub id: Id<Roles>,
    pub name: String,
    pub color: Option<i64>,
    pub rank: i64,
    pub bits: i64,
    pub hoisted: bool,
    pub mentionable: bool,
}

impl RoleRow {
    pub fn role(&self) -> RoleId {
        self.id.0.1.0
    }

    pub fn permissions(&self) -> Permissions {
        Permissions::from_bits_truncate(self.bits.cast_unsigned())
    }

    /// Greater is higher; `everyone` has 0.
    pub fn rank(&self) -> u32 {
        u32::try_from(self.rank).unwrap_or(0)
    }

    pub fn to_api(&self) -> Role {
        Role {
            role: self.role(),
            name: self.name.clone(),
            color: self.color.and_then(|color| u32::try_from(color).ok()),
            rank: self.rank(),
            permissions: self.permissions(),
            hoisted: self.hoisted,
            mentionable: self.mentionable,
        }
    }
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct OverrideRow {
    pub about: Text<OverrideKind>,
    pub whose: Text<Uuid>,
    pub allowed: i64,
    pub denied: i64,
}

impl OverrideRow {
    pub fn is_about(&self, kind: OverrideKind, id: Uuid) -> bool {
        self.about == Text(kind) && self.whose == Text(id)
    }

    pub fn rule(&self) -> Override {
        Override {
            allow: Permissions::from_bits_truncate(self.allowed.cast_unsigned()),
            deny: Permissions::from_bits_truncate(self.denied.cast_unsigned()),
        }
    }

    pub fn to_api(&self) -> ChannelOverride {
        let Override { allow, deny } = self.rule();
        ChannelOverride { kind: self.about.0, id: self.whose.0, allow, deny }
    }
}

impl From<&ChannelOverride> for OverrideRow {
    fn from(set: &ChannelOverride) -> Self {
        Self {
            about: Text(set.kind),
            whose: Text(set.id),
            allowed: set.allow.bits().cast_signed(),
            denied: set.deny.bits().cast_signed(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct ChannelRow {
    pub id: Id<Channels>,
    pub what: Text<ChannelKind>,
    pub name: String,
    pub topic: String,
    pub category: Option<Text<ChannelId>>,
    pub position: i64,
    pub slow_mode_s: i64,
    pub overrides: Vec<OverrideRow>,
}

impl ChannelRow {
    pub fn channel(&self) -> ChannelId {
        self.id.0.1.0
    }

    pub fn slow_mode_s(&self) -> u32 {
        u32::try_from(self.slow_mode_s).unwrap_or(0)
    }

    pub fn of_it(&self) -> ChannelOfRow {
        ChannelOfRow { id: Id(Text(self.channel())), community: self.id.0.0 }
    }
}

#[derive(Debug, Clone, SurrealValue)]
pub struct ChannelOfRow {
    pub id: Id<ChannelsOf>,
    pub community: Text<CommunityId>,
}

#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct InviteRow {
    pub id: Id<Invites>,
    pub community: Text<CommunityId>,
    pub made_by: Text<AccountId>,
    pub uses_left: Option<i64>,
    pub used: i64,
    pub grants: Option<Text<RoleId>>,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
}

impl InviteRow {
    pub fn works_at(&self, now_ms: i64) -> bool {
        self.expires_at_ms > now_ms && self.uses_left != Some(0)
    }

    pub fn to_api(&self) -> Invite {
        let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        Invite {
            code: self.id.0.clone(),
            community: self.community.0,
            by: self.made_by.0,
            uses_left: self.uses_left.map(count),
            used: count(self.used),
            role: self.grants.map(|role| role.0),
            created_at: from_ms(self.created_at_ms),
            expires_at: from_ms(self.expires_at_ms),
        }
    }

    pub fn of_it(&self) -> InviteOfRow {
        InviteOfRow { id: Id((self.community, self.id.0.clone())) }
    }
}

#[derive(Debug, Clone, SurrealValue)]
pub struct InviteOfRow {
    pub id: Id<InvitesOf>,
}

#[derive(Debug, Clone, SurrealValue)]
pub struct AuditRow {
    pub id: Id<Audits>,
    pub done_by: Text<AccountId>,
    pub what: Text<AuditAction>,
    pub target: Option<String>,
    /// JSON, as all that came before and after.
    pub was: Option<String>,
    pub became: Option<String>,
    pub reason: String,
    pub done_at_ms: i64,
}

impl AuditRow {
    pub fn to_api(&self) -> AuditEntry {
        let read = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| text.clone().into());
        AuditEntry {
            entry: self.id.0.2.0,
            at: from_ms(self.done_at_ms),
            by: self.done_by.0,
            action: self.what.0,
            target: self.target.clone(),
            before: self.was.as_ref().map(read),
            after: self.became.as_ref().map(read),
            reason: self.reason.clone(),
        }
    }
}

/// The key of an entry, which says when it was made.
pub fn audit_id(community: CommunityId, at_ms: i64, entry: Uuid) -> Id<Audits> {
    Id((Text(community), -at_ms, Text(entry)))
}

pub fn community_id(community: CommunityId) -> RecordId {
    Id::<Communities>(Text(community)).record()
}

pub fn guard_id(community: CommunityId) -> RecordId {
    Id::<Guards>(Text(community)).record()
}

pub fn census_id(community: CommunityId) -> RecordId {
    Id::<Censuses>(Text(community)).record()
}

pub fn seat_id(community: CommunityId, account: AccountId) -> RecordId {
    Id::<Seats>((Text(community), Text(account))).record()
}

pub fn member_id(community: CommunityId, account: AccountId) -> RecordId {
    Id::<Members>((Text(community), Text(account))).record()
}

pub fn membership_id(account: AccountId, community: CommunityId) -> RecordId {
    Id::<Memberships>((Text(account), Text(community))).record()
}

pub fn person_id(account: AccountId) -> RecordId {
    Id::<Persons>(Text(account)).record()
}

pub fn time_out_id(community: CommunityId, account: AccountId) -> RecordId {
    Id::<TimeOuts>((Text(community), Text(account))).record()
}

pub fn ban_id(community: CommunityId, account: AccountId) -> RecordId {
    Id::<Bans>((Text(community), Text(account))).record()
}

pub fn role_id(community: CommunityId, role: RoleId) -> RecordId {
    Id::<Roles>((Text(community), Text(role))).record()
}

pub fn channel_id(community: CommunityId, channel: ChannelId) -> RecordId {
    Id::<Channels>((Text(community), Text(channel))).record()
}

pub fn channel_of_id(channel: ChannelId) -> RecordId {
    Id::<ChannelsOf>(Text(channel)).record()
}

pub fn invite_id(code: &str) -> RecordId {
    Id::<Invites>(code.to_owned()).record()
}

pub fn invite_of_id(community: CommunityId, code: &str) -> RecordId {
    Id::<InvitesOf>((Text(community), code.to_owned())).record()
}
