//! Channels, their order, and their overrides.

use std::collections::HashSet;

use nepto_kit::Failure;
use nepto_kit::db::Text;
use nepto_proto::api::communities::channels::{
    Channel, ChannelKind, ChannelOverride, Channels, EditChannel, MoveChannels, NewChannel, OverrideKind, SetOverride,
};
use nepto_proto::api::communities::members::AuditAction;
use nepto_proto::event::ChannelRemoved;
use nepto_proto::permissions::rank::Actor;
use nepto_proto::permissions::{Override, Permission, Permissions};
use nepto_proto::{AccountId, ChannelId, CommunityId, ErrorCode, RoleId};
use serde::Serialize;
use uuid::Uuid;

use super::{Communities, Deed, malformed, name, pair, text};
use crate::communities::model::{Powers, is_category, not_found};
use crate::communities::ranks;
use crate::communities::store::{Change, ChannelRow, OverrideRow, Seen, channel_id, channel_of_id};

/// What the audit log keeps of a channel.
#[derive(Serialize)]
struct Noted<'a> {
    kind: ChannelKind,
    name: &'a str,
    topic: &'a str,
    category: Option<ChannelId>,
    position: i64,
    slow_mode_s: u32,
    overrides: Vec<ChannelOverride>,
}

impl<'a> From<&'a ChannelRow> for Noted<'a> {
    fn from(row: &'a ChannelRow) -> Self {
        Self {
            kind: row.what.0,
            name: &row.name,
            topic: &row.topic,
            category: row.category.map(|category| category.0),
            position: row.position,
            slow_mode_s: row.slow_mode_s(),
            overrides: row.overrides.iter().map(OverrideRow::to_api).collect(),
        }
    }
}

/// Where a channel stands, for the audit log.
#[derive(Serialize)]
struct Place {
    channel: ChannelId,
    position: i64,
    category: Option<ChannelId>,
}

impl From<&ChannelRow> for Place {
    fn from(row: &ChannelRow) -> Self {
        Self { channel: row.channel(), position: row.position, category: row.category.map(|category| category.0) }
    }
}

impl Communities {
    /// The channels that the account sees.
    pub async fn channels(&self, community: CommunityId, account: AccountId) -> Result<Channels, Failure> {
        let (seen, powers) = self.look(community, account).await?;
        let mut rows: Vec<&ChannelRow> = seen.channels().iter().filter(|row| powers.sees(row)).collect();
        rows.sort_by_key(|row| (row.position, row.channel()));
        Ok(Channels { channels: rows.into_iter().map(|row| to_api(row, &powers, &seen)).collect() })
    }

    pub async fn channel(
        &self,
        community: CommunityId,
        channel: ChannelId,
        account: AccountId,
    ) -> Result<Channel, Failure> {
        let (seen, powers) = self.look(community, account).await?;
        Ok(to_api(visible(&seen, &powers, channel)?, &powers, &seen))
    }

    pub async fn create_channel(
        &self,
        community: CommunityId,
        account: AccountId,
        new: NewChannel,
    ) -> Result<Channel, Failure> {
        let name = name(&new.name)?;
        let topic = text("a topic", &new.topic, self.bounds.topic_chars_max)?;
        let slow_mode_s = self.slow_mode(new.slow_mode_s)?;
        // ids of members whom an override names are read with the rest
        let named = new.overrides.iter().flatten().filter(|set| set.kind == OverrideKind::Member);
        let accounts: Vec<AccountId> = named.map(|set| AccountId::new(set.id)).chain([account]).collect();
        if accounts.len() > self.bounds.overrides_per_channel_max + 1 {
            return Err(too_many_overrides(self.bounds.overrides_per_channel_max));
        }
        self.count_change(account).await?;
        let channel = ChannelId::new(self.uuid());
        self.change(community, &accounts, |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::ManageChannels)?;
            if seen.channels().len() >= self.bounds.channels_max {
                let detail = format!("a community has at most {} channels", self.bounds.channels_max);
                return Err(Failure::new(ErrorCode::ChannelLimit, detail));
            }
            let category = new.category.map(|category| category_of(seen, &powers, new.kind, category)).transpose()?;
            let there = category.map_or_else(|| powers.base(), |category| powers.in_channel(category));
            let overrides = self.first_overrides(seen, &powers, &new, category, there)?;
            let position = seen.channels().iter().map(|row| row.position + 1).max().unwrap_or(0);
            let row = ChannelRow {
                id: pair(community, channel),
                what: Text(new.kind),
                name: name.clone(),
                topic: topic.clone(),
                category: new.category.map(Text),
                position,
                slow_mode_s,
                overrides,
            };
            let deed = Deed::new(account, AuditAction::ChannelCreated).to(channel.uuid());
            let entry = self.audit(community, deed, None::<&()>, Some(&Noted::from(&row)));
            let answer = to_api(&row, &powers, seen);
            Ok((Change::default().put(entry).put(row.of_it()).put(row).access_of(None), answer))
        })
        .await
    }

    /// The overrides of a new channel: its own, or those of its category, and what makes it private.
    fn first_overrides(
        &self,
        seen: &Seen,
        powers: &Powers,
        new: &NewChannel,
        category: Option<&ChannelRow>,
        there: Permissions,
    ) -> Result<Vec<OverrideRow>, Failure> {
        let mut overrides: Vec<OverrideRow> = match (&new.overrides, category) {
            (Some(own), _) => own.iter().map(OverrideRow::from).collect(),
            (None, Some(category)) => {
                // what a category allows to others is given on by who may do it there
                let gives = |row: &OverrideRow| row.rule().allow - there != Permissions::EMPTY;
                if category.overrides.iter().any(gives) {
                    let detail = "the category allows something that you may not do there";
                    return Err(Failure::new(ErrorCode::PermissionNeeded, detail));
                }
                category.overrides.clone()
            }
            (None, None) => Vec::new(),
        };
        let actor = powers.actor_with(there);
        if new.overrides.is_some() {
            let mut named = HashSet::new();
            for row in &overrides {
                if !named.insert((row.about.0, row.whose.0)) {
                    return Err(malformed("one of them is overridden twice"));
                }
                self.may_override(seen, powers, &actor, row.about.0, row.whose.0, (None, &row.rule()))?;
            }
            overrides.retain(|row| row.allowed != 0 || row.denied != 0);
        }
        if new.private {
            let view = Permissions::of(&[Permission::ViewChannel]);
            let everyone = RoleId::new(seen.id().uuid());
            let rule = Override { allow: Permissions::EMPTY, deny: view };
            self.may_override(seen, powers, &actor, OverrideKind::Role, everyone.uuid(), (None, &rule))?;
            overrides = with_rule(overrides, ChannelOverride::of_role(everyone, Permissions::EMPTY, view), true);
            let sees_all = powers.owner || powers.base().contains(Permission::Administrator);
            if !sees_all {
                let own = ChannelOverride::of_member(powers.account, view, Permissions::EMPTY);
                overrides = with_rule(overrides, own, true);
            }
        }
        self.fit_overrides(&overrides)?;
        Ok(overrides)
    }

    fn fit_overrides(&self, overrides: &[OverrideRow]) -> Result<(), Failure> {
        let max = self.bounds.overrides_per_channel_max;
        if overrides.len() > max { Err(too_many_overrides(max)) } else { Ok(()) }
    }

    fn slow_mode(&self, slow_mode_s: u32) -> Result<i64, Failure> {
        let max = self.bounds.slow_mode_s_max;
        match slow_mode_s <= max {
            true => Ok(slow_mode_s.into()),
            false => Err(malformed(format!("slow_mode_s is at most {max}"))),
        }
    }

    pub async fn edit_channel(
        &self,
        community: CommunityId,
        channel: ChannelId,
        account: AccountId,
        edit: EditChannel,
    ) -> Result<Channel, Failure> {
        let new_name = edit.name.as_deref().map(name).transpose()?;
        let chars_max = self.bounds.topic_chars_max;
        let topic = edit.topic.as_deref().map(|given| text("a topic", given, chars_max)).transpose()?;
        let slow_mode_s = edit.slow_mode_s.map(|given| self.slow_mode(given)).transpose()?;
        self.count_change(account).await?;
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            let before = visible(seen, &powers, channel)?;
            powers.need(Permission::ManageChannels)?;
            if edit.kind.is_some_and(|kind| (kind == ChannelKind::Category) != is_category(before)) {
                return Err(malformed("a category stays one, and nothing else becomes one"));
            }
            let mut row = before.clone();
            row.what = edit.kind.map_or(row.what, Text);
            row.name = new_name.clone().unwrap_or(row.name);
            row.topic = topic.clone().unwrap_or(row.topic);
            row.slow_mode_s = slow_mode_s.unwrap_or(row.slow_mode_s);
            let deed = Deed::new(account, AuditAction::ChannelEdited).to(channel.uuid());
            let entry = self.audit(community, deed, Some(&Noted::from(before)), Some(&Noted::from(&row)));
            let answer = to_api(&row, &powers, seen);
            Ok((Change::default().put(entry).put(row).access_of(None), answer))
        })
        .await
    }

    /// Puts channels elsewhere.
    pub async fn move_channels(
        &self,
        community: CommunityId,
        account: AccountId,
        places: MoveChannels,
    ) -> Result<Channels, Failure> {
        let mut named = HashSet::new();
        if !places.channels.iter().all(|place| named.insert(place.channel)) {
            return Err(malformed("a channel is named twice"));
        }
        self.count_change(account).await?;
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::ManageChannels)?;
            let (mut was, mut became, mut change) = (Vec::new(), Vec::new(), Change::default());
            for place in &places.channels {
                let before = visible(seen, &powers, place.channel)?;
                if let Some(category) = place.category {
                    category_of(seen, &powers, before.what.0, category)?;
                }
                let mut row = before.clone();
                row.position = place.position.into();
                row.category = place.category.map(Text);
                was.push(Place::from(before));
                became.push(Place::from(&row));
                change = change.put(row);
            }
            let deed = Deed::new(account, AuditAction::ChannelsMoved);
            Ok((change.put(self.audit(community, deed, Some(&was), Some(&became))), ()))
        })
        .await?;
        self.channels(community, account).await
    }

    pub async fn delete_channel(
        &self,
        community: CommunityId,
        channel: ChannelId,
        account: AccountId,
    ) -> Result<(), Failure> {
        self.count_change(account).await?;
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            let row = visible(seen, &powers, channel)?;
            powers.need(Permission::ManageChannels)?;
            let deed = Deed::new(account, AuditAction::ChannelDeleted).to(channel.uuid());
            let mut change = Change::default()
                .put(self.audit(community, deed, Some(&Noted::from(row)), None::<&()>))
                .gone(channel_id(community, channel))
                .gone(channel_of_id(channel))
                .emit(self.event(&ChannelRemoved { community, channel })?)
                .access_of(None);
            for inside in seen.channels().iter().filter(|inside| inside.category == Some(Text(channel))) {
                change = change.put(ChannelRow { category: None, ..inside.clone() });
            }
            Ok((change, ()))
        })
        .await
    }

    /// Says what a role or a member may do in a channel, other than everywhere.
    pub async fn set_override(
        &self,
        community: CommunityId,
        channel: ChannelId,
        account: AccountId,
        (about, whose): (OverrideKind, Uuid),
        set: SetOverride,
    ) -> Result<Channel, Failure> {
        self.count_change(account).await?;
        let accounts = [account, AccountId::new(whose)];
        let read = if about == OverrideKind::Member { &accounts[..] } else { &accounts[..1] };
        self.change(community, read, |seen| {
            let powers = self.acting(seen, account)?;
            let before = visible(seen, &powers, channel)?;
            let known = before.overrides.iter().find(|row| row.is_about(about, whose));
            let rule = Override { allow: set.allow, deny: set.deny };
            let actor = powers.actor_with(powers.in_channel(before));
            let known_rule = known.map(OverrideRow::rule);
            self.may_override(seen, &powers, &actor, about, whose, (known_rule.as_ref(), &rule))?;
            let now = ChannelOverride { kind: about, id: whose, allow: set.allow, deny: set.deny };
            let overrides = with_rule(before.overrides.clone(), now, false);
            self.fit_overrides(&overrides)?;
            let row = ChannelRow { overrides, ..before.clone() };
            let deed = Deed::new(account, AuditAction::OverrideSet).to(channel.uuid());
            let after = row.overrides.iter().find(|row| row.is_about(about, whose)).map(OverrideRow::to_api);
            let entry = self.audit(community, deed, known.map(OverrideRow::to_api).as_ref(), after.as_ref());
            let answer = to_api(&row, &powers, seen);
            Ok((Change::default().put(entry).put(row).access_of(None), answer))
        })
        .await
    }

    /// Whether somebody may set an override: by its permissions there, and by the rank of whom it is about.
    fn may_override(
        &self,
        seen: &Seen,
        powers: &Powers,
        actor: &Actor,
        about: OverrideKind,
        whose: Uuid,
        (before, after): (Option<&Override>, &Override),
    ) -> Result<(), Failure> {
        powers.need(Permission::ManageRoles)?;
        let target = match about {
            OverrideKind::Role => seen.role(RoleId::new(whose)).ok_or_else(not_found)?.rank(),
            OverrideKind::Member => {
                let member = Powers::of(seen, AccountId::new(whose), self.now_ms());
                let member = member.ok_or_else(|| Failure::new(ErrorCode::MemberUnknown, "that is no member"))?;
                if member.account == powers.account { 0 } else { member.rank }
            }
        };
        ranks::set_override(actor, target, before, after)
    }
}

/// Overrides with one of them set: beside what it said, or in place of it. One that says nothing goes.
fn with_rule(mut overrides: Vec<OverrideRow>, set: ChannelOverride, adds: bool) -> Vec<OverrideRow> {
    let known = overrides.iter().position(|row| row.is_about(set.kind, set.id)).map(|at| overrides.remove(at).rule());
    let (allow, deny) = match known {
        Some(known) if adds => ((known.allow - set.deny) | set.allow, (known.deny - set.allow) | set.deny),
        _ => (set.allow, set.deny),
    };
    let row = OverrideRow::from(&ChannelOverride { allow, deny, ..set });
    if row.allowed != 0 || row.denied != 0 {
        overrides.push(row);
    }
    overrides
}

fn too_many_overrides(max: usize) -> Failure {
    Failure::new(ErrorCode::OverrideLimit, format!("a channel has at most {max} overrides"))
}

/// A channel that the member sees.
fn visible<'a>(seen: &'a Seen, powers: &Powers, channel: ChannelId) -> Result<&'a ChannelRow, Failure> {
    seen.channel(channel).filter(|row| powers.sees(row)).ok_or_else(not_found)
}

/// A category that the member sees, for a channel of this kind.
fn category_of<'a>(
    seen: &'a Seen,
    powers: &Powers,
    kind: ChannelKind,
    category: ChannelId,
) -> Result<&'a ChannelRow, Failure> {
    let row = visible(seen, powers, category)?;
    match is_category(row) && kind != ChannelKind::Category {
        true => Ok(row),
        false => Err(malformed("only categories hold channels, and no category holds another one")),
    }
}

/// A channel as the member sees it; a category that is hidden is none.
fn to_api(row: &ChannelRow, powers: &Powers, seen: &Seen) -> Channel {
    let everyone = row.id.0.0.0.uuid();
    let hides = |set: &OverrideRow| {
        set.is_about(OverrideKind::Role, everyone) && set.rule().deny.contains(Permission::ViewChannel)
    };
    let shows_overrides = powers.base().contains(Permission::ManageRoles);
    Channel {
        channel: row.channel(),
        community: row.id.0.0.0,
        kind: row.what.0,
        name: row.name.clone(),
        topic: row.topic.clone(),
        category: row.category.map(|category| category.0).filter(|category| visible(seen, powers, *category).is_ok()),
        position: u32::try_from(row.position).unwrap_or(u32::MAX),
        slow_mode_s: row.slow_mode_s(),
        private: row.overrides.iter().any(hides),
        overrides: match shows_overrides {
            true => row.overrides.iter().map(OverrideRow::to_api).collect(),
            false => Vec::new(),
        },
        permissions: powers.in_channel(row),
    }
}
