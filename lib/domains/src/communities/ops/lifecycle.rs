//! Making communities, showing and changing them, giving them away, deleting and restoring them.

use std::time::Duration;

use nepto_kit::Failure;
use nepto_kit::clock::from_ms;
use nepto_kit::db::{Id, Text};
use nepto_proto::api::communities::channels::ChannelKind;
use nepto_proto::api::communities::members::AuditAction;
use nepto_proto::api::communities::{
    Communities as Page, Community, EditCommunity, NewCommunity, OwnMembership, TransferTo, Visibility,
};
use nepto_proto::event::MemberJoined;
use nepto_proto::permissions::{Permission, Permissions};
use nepto_proto::{AccountId, ChannelId, CommunityId, ErrorCode, RoleId};
use serde::Serialize;

use super::{Communities, Deed, malformed, name, pair, text};
use crate::communities::model::{OF_EVERYONE, Powers, members_only, not_found};
use crate::communities::store::{
    Change, ChannelRow, CommunityRow, MemberRow, MembershipRow, Revision, RoleRow, Seen, View, folded,
};

/// The name of the role that every member has.
const EVERYONE: &str = "everyone";
/// The name of the channel that a community begins with.
const FIRST_CHANNEL: &str = "general";
/// Characters of what a name is searched by.
const PREFIX_CHARS_MAX: usize = 64;

/// What the audit log keeps of a community.
#[derive(Serialize)]
struct Noted<'a> {
    name: &'a str,
    description: &'a str,
    visibility: Visibility,
}

impl<'a> From<&'a CommunityRow> for Noted<'a> {
    fn from(row: &'a CommunityRow) -> Self {
        Self { name: &row.name, description: &row.description, visibility: row.visibility.0 }
    }
}

impl Communities {
    pub async fn create(&self, account: AccountId, new: NewCommunity) -> Result<Community, Failure> {
        let name = name(&new.name)?;
        let description = text("a description", &new.description, self.bounds.description_chars_max)?;
        let max = self.bounds.made_per_account_per_day;
        self.count(account, "communities_made", max, Duration::from_secs(86_400)).await?;
        let (community, channel) = (CommunityId::new(self.uuid()), ChannelId::new(self.uuid()));
        let now_ms = self.now_ms();
        let row = CommunityRow {
            id: Id(Text(community)),
            name,
            description,
            visibility: Text(new.visibility),
            owner: Text(account),
            created_at_ms: now_ms,
            deleted_at_ms: None,
        };
        let everyone = RoleRow {
            id: pair(community, RoleId::new(community.uuid())),
            name: EVERYONE.to_owned(),
            color: None,
            rank: 0,
            bits: Permissions::of(OF_EVERYONE).bits().cast_signed(),
            hoisted: false,
            mentionable: false,
        };
        let first = ChannelRow {
            id: pair(community, channel),
            what: Text(ChannelKind::Text),
            name: FIRST_CHANNEL.to_owned(),
            topic: String::new(),
            category: None,
            position: 0,
            slow_mode_s: 0,
            overrides: Vec::new(),
        };
        let deed = Deed::new(account, AuditAction::CommunityCreated);
        let mut change = Change::default()
            .put(self.audit(community, deed, None::<&()>, Some(&Noted::from(&row))))
            .put(everyone)
            .put(first.of_it())
            .put(first)
            .put(MemberRow::new(community, account, now_ms))
            .put(MembershipRow { id: pair(account, community) })
            .new_seat(community, account)
            .of_person(account, 1, 1)
            .members(1)
            .emit(self.event(&MemberJoined { community, account })?);
        if let Some(listing) = row.listing() {
            change = change.put(listing);
        }
        self.commit(community, Revision(None), change.put(row)).await?;
        self.view(community, account).await
    }

    /// A community as somebody may see it: a member, everybody if it may be joined, and its owner while it may be restored.
    pub async fn view(&self, community: CommunityId, account: AccountId) -> Result<Community, Failure> {
        let view = self.store.views(account, &[community]).await?.pop().ok_or_else(not_found)?;
        let is_shown = match (view.community.deleted_at_ms, &view.own) {
            (Some(_), _) => view.community.owner.0 == account,
            (None, Some(_)) => true,
            (None, None) => view.community.visibility.0 != Visibility::Private,
        };
        if is_shown { Ok(self.to_api(&view)) } else { Err(not_found()) }
    }

    pub(super) fn to_api(&self, view: &View) -> Community {
        let row = &view.community;
        let now_ms = self.now_ms();
        let own = view.own.as_ref().filter(|_| row.deleted_at_ms.is_none()).map(|member| {
            let until_ms = view.timed_out_until_ms.filter(|until_ms| *until_ms > now_ms);
            let powers = Powers::shown(member, row.owner.0, &view.roles, until_ms);
            OwnMembership {
                joined_at: from_ms(member.joined_at_ms),
                roles: powers.granted().to_vec(),
                permissions: powers.base(),
                timed_out_until: until_ms.map(from_ms),
            }
        });
        Community {
            community: row.community(),
            name: row.name.clone(),
            description: row.description.clone(),
            visibility: row.visibility.0,
            owner: row.owner.0,
            members: view.members,
            created_at: from_ms(row.created_at_ms),
            restorable_until: row.deleted_at_ms.map(|deleted_at_ms| from_ms(self.restorable_until_ms(deleted_at_ms))),
            own,
        }
    }

    fn restorable_until_ms(&self, deleted_at_ms: i64) -> i64 {
        deleted_at_ms + (self.bounds.restorable_for_s * 1_000).cast_signed()
    }

    /// What the account is in a community.
    pub async fn own(&self, community: CommunityId, account: AccountId) -> Result<OwnMembership, Failure> {
        let seen = self.view(community, account).await?;
        if seen.restorable_until.is_some() {
            return Err(not_found());
        }
        seen.own.ok_or_else(members_only)
    }

    /// A page of the communities that the account belongs to.
    pub async fn mine(&self, account: AccountId, after: Option<CommunityId>, limit: usize) -> Result<Page, Failure> {
        let ids = self.store.memberships(account, after, limit).await?;
        let next = if ids.len() == limit { ids.last().map(ToString::to_string) } else { None };
        let views = self.store.views(account, &ids).await?;
        let is_shown = |view: &&View| view.community.deleted_at_ms.is_none() || view.community.owner.0 == account;
        Ok(Page { communities: views.iter().filter(is_shown).map(|view| self.to_api(view)).collect(), next })
    }

    /// A page of what everybody finds.
    pub async fn discover(
        &self,
        account: AccountId,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Failure> {
        let prefix = folded(prefix.unwrap_or_default());
        if prefix.chars().count() > PREFIX_CHARS_MAX {
            return Err(malformed(format!("a name has at most {PREFIX_CHARS_MAX} characters")));
        }
        let after = after.map(read_mark).transpose()?;
        let listed = self.store.listed(&prefix, after, limit).await?;
        let next = if listed.len() == limit { listed.last().map(|(name, id)| format!("{id}:{name}")) } else { None };
        let ids: Vec<CommunityId> = listed.into_iter().map(|(_, community)| community).collect();
        let views = self.store.views(account, &ids).await?;
        // one that was hidden at this moment stands there no more
        let shown = views.iter().filter(|view| view.community.listing().is_some());
        Ok(Page { communities: shown.map(|view| self.to_api(view)).collect(), next })
    }

    pub async fn edit(
        &self,
        community: CommunityId,
        account: AccountId,
        edit: EditCommunity,
    ) -> Result<Community, Failure> {
        let new_name = edit.name.as_deref().map(name).transpose()?;
        let chars_max = self.bounds.description_chars_max;
        let description =
            edit.description.as_deref().map(|given| text("a description", given, chars_max)).transpose()?;
        self.count_change(account).await?;
        self.change(community, &[account], |seen| {
            self.acting(seen, account)?.need(Permission::ManageCommunity)?;
            let mut row = seen.community.clone();
            row.name = new_name.clone().unwrap_or(row.name);
            row.description = description.clone().unwrap_or(row.description);
            row.visibility = edit.visibility.map_or(row.visibility, Text);
            let deed = Deed::new(account, AuditAction::CommunityEdited);
            let entry = self.audit(community, deed, Some(&Noted::from(&seen.community)), Some(&Noted::from(&row)));
            Ok((relisted(&seen.community, &row).put(entry).put(row), ()))
        })
        .await?;
        self.view(community, account).await
    }

    pub async fn transfer(
        &self,
        community: CommunityId,
        account: AccountId,
        TransferTo { account: to }: TransferTo,
    ) -> Result<Community, Failure> {
        self.count_change(account).await?;
        self.change(community, &[account, to], |seen| {
            self.owner(seen, account)?;
            seen.member(to).ok_or_else(|| Failure::new(ErrorCode::MemberUnknown, "only a member can own it"))?;
            if to == account {
                return Ok((Change::default(), ()));
            }
            let mut row = seen.community.clone();
            row.owner = Text(to);
            let deed = Deed::new(account, AuditAction::CommunityTransferred).to(to.uuid());
            let change = Change::default()
                .put(self.audit(community, deed, Some(&account), Some(&to)))
                .put(row)
                .of_seat(seen, to, true)
                .of_person(account, -1, 0)
                .of_person(to, 1, 0)
                .access_of(None);
            Ok((change, ()))
        })
        .await?;
        self.view(community, account).await
    }

    /// Deletes a community. Again does no harm.
    pub async fn delete(&self, community: CommunityId, account: AccountId) -> Result<(), Failure> {
        self.ctx.clock_check.refuse_if_wrong().await?;
        self.count_change(account).await?;
        let now_ms = self.now_ms();
        self.change(community, &[account], |seen| {
            if seen.community.deleted_at_ms.is_some() && seen.community.owner.0 == account {
                return Ok((Change::default(), ()));
            }
            self.owner(seen, account)?;
            let mut row = seen.community.clone();
            row.deleted_at_ms = Some(now_ms);
            let deed = Deed::new(account, AuditAction::CommunityDeleted);
            let entry = self.audit(community, deed, Some(&Noted::from(&seen.community)), None::<&()>);
            Ok((relisted(&seen.community, &row).put(entry).put(row).access_of(None), ()))
        })
        .await
    }

    /// Restores a community that was deleted. Again does no harm.
    pub async fn restore(&self, community: CommunityId, account: AccountId) -> Result<Community, Failure> {
        self.ctx.clock_check.refuse_if_wrong().await?;
        self.count_change(account).await?;
        let now_ms = self.now_ms();
        self.change(community, &[account], |seen| {
            let Some(deleted_at_ms) = seen.community.deleted_at_ms else {
                return self.owner(seen, account).map(|()| (Change::default(), ()));
            };
            if seen.community.owner.0 != account || self.restorable_until_ms(deleted_at_ms) <= now_ms {
                return Err(not_found());
            }
            let mut row = seen.community.clone();
            row.deleted_at_ms = None;
            let deed = Deed::new(account, AuditAction::CommunityRestored);
            let entry = self.audit(community, deed, None::<&()>, Some(&Noted::from(&row)));
            Ok((relisted(&seen.community, &row).put(entry).put(row).access_of(None), ()))
        })
        .await?;
        self.view(community, account).await
    }

    /// Refuses whoever is not the owner.
    fn owner(&self, seen: &Seen, account: AccountId) -> Result<(), Failure> {
        match self.acting(seen, account)?.owner {
            true => Ok(()),
            false => Err(Failure::new(ErrorCode::PermissionNeeded, "its owner alone may do this")),
        }
    }
}

/// Where a community stands in the list of what everybody finds, after it was changed.
fn relisted(before: &CommunityRow, after: &CommunityRow) -> Change {
    let mut change = Change::default();
    if let Some(listing) = before.listing() {
        change = change.gone(listing.id.record());
    }
    if let Some(listing) = after.listing() {
        change = change.put(listing);
    }
    change
}

/// The place behind a community in the list of what everybody finds.
fn read_mark(mark: &str) -> Result<(String, CommunityId), Failure> {
    let read = mark.split_once(':').and_then(|(id, name)| Some((name.to_owned(), id.parse().ok()?)));
    read.ok_or_else(|| malformed("`after` is the `next` of the page before"))
}

#[cfg(test)]
mod tests {
    use nepto_kit::db::{Id, Text};
    use nepto_proto::ErrorCode;
    use nepto_proto::api::communities::Visibility;

    use super::{CommunityRow, read_mark, relisted};
    use crate::communities::store::Change;
    use crate::testing::account;

    #[test]
    fn a_mark_is_read_back_with_whatever_a_name_has() {
        let id = nepto_proto::CommunityId::new(uuid::Uuid::from_u128(7));
        for name in ["gardeners", "a:b", ":", ""] {
            assert_eq!(read_mark(&format!("{id}:{name}")).unwrap(), (name.to_owned(), id));
        }
        for bad in ["", "x", "x:y", &id.to_string()] {
            assert_eq!(read_mark(bad).unwrap_err().code, ErrorCode::Malformed, "{bad}");
        }
    }

    #[test]
    fn what_is_hidden_or_deleted_stands_in_no_list() {
        let row = |visibility, deleted_at_ms| CommunityRow {
            id: Id(Text(nepto_proto::CommunityId::new(uuid::Uuid::from_u128(7)))),
            name: "Gärtner".into(),
            description: String::new(),
            visibility: Text(visibility),
            owner: Text(account(1)),
            created_at_ms: 1,
            deleted_at_ms,
        };
        let public = row(Visibility::Public, None);
        assert_eq!(public.listing().unwrap().id.0.0, "gärtner");
        for hidden in
            [row(Visibility::Unlisted, None), row(Visibility::Private, None), row(Visibility::Public, Some(1))]
        {
            assert!(hidden.listing().is_none());
            assert_eq!(format!("{:?}", relisted(&hidden, &hidden)), format!("{:?}", Change::default()));
        }
    }
}
