//! The rules of rank: cases, and a small community in which some members do whatever they are allowed to.

use Permission::{Administrator, BanMembers, KickMembers, ManageMessages, ManageRoles, SendMessages, ViewChannel};
use proptest::prelude::*;

use super::super::tests::permissions;
use super::super::{Member, Overrides, base, explicit, in_channel};
use super::*;

fn actor(highest: u32, permissions: &[Permission]) -> Actor {
    Actor { owner: false, highest, permissions: Permissions::of(permissions) }
}

fn set(permissions: &[Permission]) -> Permissions {
    Permissions::of(permissions)
}

#[test]
fn only_lower_roles_are_changed() {
    let moderator = actor(3, &[ManageRoles, KickMembers]);
    assert_eq!(edit_role(&moderator, 2), Ok(()));
    assert_eq!(edit_role(&moderator, 3), Err(Refusal::Rank), "their own");
    assert_eq!(edit_role(&moderator, 4), Err(Refusal::Rank));
    assert_eq!(edit_role(&actor(9, &[KickMembers]), 0), Err(Refusal::Needs(ManageRoles)));
    assert_eq!(move_role(&moderator, 1, 2), Ok(()));
    assert_eq!(move_role(&moderator, 1, 3), Err(Refusal::Rank), "to where they stand");
    assert_eq!(move_role(&moderator, 4, 1), Err(Refusal::Rank), "from above them");
    assert_eq!(edit_role(&actor(0, &[ManageRoles]), 0), Err(Refusal::Rank), "everybody's, by who has no other");
    let owner = Actor { owner: true, ..actor(0, &[]) };
    assert_eq!((edit_role(&owner, 9), move_role(&owner, 9, 8)), (Ok(()), Ok(())));
}

#[test]
fn nobody_gives_what_they_lack() {
    let moderator = actor(3, &[ManageRoles, KickMembers]);
    let (kick, ban) = (set(&[KickMembers]), set(&[BanMembers]));
    assert_eq!(give_permissions(&moderator, Permissions::EMPTY, kick), Ok(()));
    assert_eq!(give_permissions(&moderator, ban, ban | kick), Ok(()), "what was there stays");
    assert_eq!(give_permissions(&moderator, kick, kick | ban), Err(Refusal::Lacks(ban)));
    assert_eq!(give_permissions(&moderator, ban, kick), Err(Refusal::Lacks(ban)), "nor takes it");
    assert_eq!(grant_role(&moderator, 2, kick), Ok(()));
    assert_eq!(grant_role(&moderator, 2, kick | ban), Err(Refusal::Lacks(ban)));
    assert_eq!(grant_role(&moderator, 3, kick), Err(Refusal::Rank));
    let allows = Override { allow: set(&[ViewChannel]), deny: Permissions::EMPTY };
    assert_eq!(grant_overrides(&moderator, &allows), Err(Refusal::Lacks(set(&[ViewChannel]))));
    let mutes = Override { allow: Permissions::EMPTY, deny: set(&[SendMessages]) };
    assert_eq!(grant_overrides(&moderator, &mutes), Ok(()));
    assert_eq!(take_overrides(&moderator, &mutes), Err(Refusal::Lacks(set(&[SendMessages]))), "not even their own");
    assert_eq!(take_overrides(&actor(0, &[SendMessages]), &mutes), Ok(()));
}

#[test]
fn an_override_changes_what_the_actor_may_do_there() {
    let moderator = actor(3, &[ManageRoles, SendMessages]);
    let rule = |allow: &[Permission], deny: &[Permission]| Override { allow: set(allow), deny: set(deny) };
    assert_eq!(set_override(&moderator, 1, None, &rule(&[SendMessages], &[])), Ok(()));
    let lacks = Err(Refusal::Lacks(set(&[ManageMessages])));
    assert_eq!(set_override(&moderator, 1, None, &rule(&[ManageMessages], &[])), lacks);
    assert_eq!(set_override(&moderator, 1, None, &rule(&[], &[ManageMessages])), lacks);
    let before = rule(&[], &[ManageMessages]);
    assert_eq!(set_override(&moderator, 1, Some(&before), &rule(&[], &[])), lacks, "lifting a denial gives");
    assert_eq!(set_override(&moderator, 1, Some(&before), &rule(&[SendMessages], &[ManageMessages])), Ok(()));
    assert_eq!(set_override(&moderator, 3, None, &rule(&[SendMessages], &[])), Err(Refusal::Rank));
    let strange = Err(Refusal::NotOfChannels(set(&[Administrator])));
    let owner = Actor { owner: true, ..actor(0, &[]) };
    assert_eq!(set_override(&owner, 1, None, &rule(&[Administrator], &[])), strange, "not even by the owner");
}

#[test]
fn only_lower_members_are_thrown_out() {
    let moderator = actor(2, &[KickMembers]);
    assert_eq!(act_on_member(&moderator, 1, KickMembers), Ok(()));
    assert_eq!(act_on_member(&moderator, 2, KickMembers), Err(Refusal::Rank), "an equal");
    assert_eq!(act_on_member(&moderator, 1, BanMembers), Err(Refusal::Needs(BanMembers)));
    let administrator = Actor { owner: false, highest: 1, permissions: Permissions::ALL };
    assert_eq!(act_on_member(&administrator, 1, BanMembers), Err(Refusal::Rank), "administrators have ranks too");
    assert_eq!(Refusal::Needs(BanMembers).to_string(), "this needs the permission `ban_members`");
}

/// Channels of the small community, and members who are there from the start.
const CHANNELS: usize = 2;
const MEMBERS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Role(usize),
    Member(usize),
}

#[derive(Debug, Clone)]
struct Role {
    id: usize,
    permissions: Permissions,
}

/// Members and roles by number; the role 0 is everybody's, and the place of a role is its rank.
#[derive(Debug, Clone)]
struct Community {
    roles: Vec<Role>,
    members: Vec<Vec<usize>>,
    overrides: Vec<Vec<(Whose, Override)>>,
    next_id: usize,
}

/// What a member does. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Act {
    Create(Permissions),
    Edit(usize, Permissions),
    Move(usize, usize),
    Delete(usize),
    Grant(usize, usize),
    Take(usize, usize),
    OverrideRole(usize, usize, Override),
    OverrideMember(usize, usize, Override),
    Invite(usize),
}

impl Community {
    fn rank(&self, role: usize) -> Option<usize> {
        self.roles.iter().position(|known| known.id == role)
    }

    fn highest(&self, member: usize) -> usize {
        self.members[member].iter().filter_map(|role| self.rank(*role)).max().unwrap_or(0)
    }

    /// Of a member in a channel.
    fn with<T>(&self, member: usize, channel: usize, ask: impl Fn(&Member<'_>, &Overrides<'_>) -> T) -> T {
        let granted = || self.roles.iter().skip(1).filter(move |role| self.members[member].contains(&role.id));
        let roles: Vec<Permissions> = granted().map(|role| role.permissions).collect();
        let rule = |whose| self.overrides[channel].iter().find(|(of, _)| *of == whose).map(|(_, rule)| rule);
        let rules: Vec<&Override> = granted().filter_map(|role| rule(Whose::Role(role.id))).collect();
        let everyone = self.roles[0].permissions;
        let overrides =
            Overrides { everyone: rule(Whose::Role(0)), roles: &rules, member: rule(Whose::Member(member)) };
        ask(&Member { owner: false, timed_out: false, everyone, roles: &roles }, &overrides)
    }

    fn base(&self, member: usize) -> Permissions {
        self.with(member, 0, |of, _| base(of))
    }

    fn explicit(&self, member: usize, channel: usize) -> Permissions {
        self.with(member, channel, explicit)
    }

    fn actor(&self, member: usize, permissions: Permissions) -> Actor {
        Actor { owner: false, highest: self.highest(member) as u32, permissions }
    }

    fn actor_in(&self, member: usize, channel: usize) -> Actor {
        self.actor(member, self.with(member, channel, |of, overrides| in_channel(of, overrides, false)))
    }

    fn rules_of(&self, role: usize) -> Vec<(usize, Override)> {
        let all = self.overrides.iter().enumerate();
        all.flat_map(|(channel, rules)| rules.iter().map(move |(whose, rule)| (channel, *whose, *rule)))
            .filter(|(_, whose, _)| *whose == Whose::Role(role))
            .map(|(channel, _, rule)| (channel, rule))
            .collect()
    }

    fn may_take(&self, by: usize, role: usize) -> Result<(), Refusal> {
        self.rules_of(role).iter().try_for_each(|(channel, rule)| take_overrides(&self.actor_in(by, *channel), rule))
    }

    fn may_grant(&self, by: usize, rank: usize) -> Result<(), Refusal> {
        let role = &self.roles[rank];
        grant_role(&self.actor(by, self.base(by)), rank as u32, role.permissions)?;
        self.rules_of(role.id)
            .iter()
            .try_for_each(|(channel, rule)| grant_overrides(&self.actor_in(by, *channel), rule))
    }

    fn set_override(
        &mut self,
        by: usize,
        channel: usize,
        (whose, rank): (Whose, usize),
        rule: Override,
    ) -> Result<(), Refusal> {
        let known = self.overrides[channel].iter().find(|(of, _)| *of == whose).map(|(_, rule)| *rule);
        set_override(&self.actor_in(by, channel), rank as u32, known.as_ref(), &rule)?;
        self.overrides[channel].retain(|(of, _)| *of != whose);
        self.overrides[channel].push((whose, rule));
        Ok(())
    }

    /// Does it, if the rules let it.
    fn act(&mut self, by: usize, act: &Act) -> Result<(), Refusal> {
        let (roles, members) = (self.roles.len(), self.members.len());
        let actor = self.actor(by, self.base(by));
        match act {
            Act::Create(permissions) => {
                give_permissions(&actor, Permissions::EMPTY, *permissions)?;
                self.roles.insert(1, Role { id: self.next_id, permissions: *permissions });
                self.next_id += 1;
            }
            Act::Edit(rank, permissions) => {
                let rank = rank % roles;
                edit_role(&actor, rank as u32)?;
                give_permissions(&actor, self.roles[rank].permissions, *permissions)?;
                self.roles[rank].permissions = *permissions;
            }
            Act::Move(from, to) => {
                let (from, to) = (from % roles, to % roles);
                move_role(&actor, from as u32, to as u32)?;
                if from > 0 && to > 0 {
                    let role = self.roles.remove(from);
                    self.roles.insert(to, role);
                }
            }
            Act::Delete(rank) => {
                let rank = rank % roles;
                edit_role(&actor, rank as u32)?;
                self.may_take(by, self.roles[rank].id)?;
                if rank > 0 {
                    let gone = self.roles.remove(rank).id;
                    self.overrides.iter_mut().for_each(|rules| rules.retain(|(of, _)| *of != Whose::Role(gone)));
                }
            }
            Act::Grant(member, rank) => {
                let rank = rank % roles;
                self.may_grant(by, rank)?;
                self.members[member % members].push(self.roles[rank].id);
            }
            Act::Take(member, rank) => {
                let (member, rank) = (member % members, rank % roles);
                if member != by {
                    edit_role(&actor, rank as u32)?;
                }
                let role = self.roles[rank].id;
                self.may_take(by, role)?;
                self.members[member].retain(|granted| *granted != role);
            }
            Act::OverrideRole(channel, rank, rule) => {
                let rank = rank % roles;
                let whose = Whose::Role(self.roles[rank].id);
                self.set_override(by, channel % CHANNELS, (whose, rank), *rule)?;
            }
            Act::OverrideMember(channel, member, rule) => {
                let member = member % members;
                // oneself may always be reached
                let rank = if member == by { 0 } else { self.highest(member) };
                self.set_override(by, channel % CHANNELS, (Whose::Member(member), rank), *rule)?;
            }
            Act::Invite(rank) => {
                let rank = rank % roles;
                self.may_grant(by, rank)?;
                self.members.push(vec![self.roles[rank].id]);
            }
        }
        Ok(())
    }

    fn group(&self) -> impl Iterator<Item = usize> {
        0..self.members.len()
    }

    fn bases(&self) -> Permissions {
        self.group().fold(Permissions::EMPTY, |all, member| all | self.base(member))
    }

    fn explicits(&self, channel: usize) -> Permissions {
        self.group().fold(Permissions::EMPTY, |all, member| all | self.explicit(member, channel))
    }

    /// The roles that nobody of them stood above at the start: ids and permissions, in their order.
    fn above(&self, top: usize) -> Vec<(usize, Permissions)> {
        self.roles[top..].iter().map(|role| (role.id, role.permissions)).collect()
    }
}

/// Permissions of which one in a few lets do something here.
fn useful() -> impl Strategy<Value = Permissions> {
    (permissions(), prop::bool::weighted(0.6))
        .prop_map(|(some, manages)| if manages { some | set(&[ManageRoles, ViewChannel]) } else { some })
}

fn overriding() -> impl Strategy<Value = Override> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(allow, deny, few, fewer)| Override {
        allow: Permissions::from_bits_truncate(allow & few & fewer) & Permissions::CHANNEL,
        deny: Permissions::from_bits_truncate(deny & few & !fewer) & Permissions::CHANNEL,
    })
}

fn communities(members: usize) -> impl Strategy<Value = Community> {
    let roles = prop::collection::vec(useful(), 6);
    let granted = prop::collection::vec(prop::collection::vec(1..5_usize, 0..3), members);
    let rules = prop::collection::vec((0..8_usize, overriding()), 0..5);
    (roles, granted, prop::collection::vec(rules, CHANNELS)).prop_map(move |(roles, members, channels)| {
        let roles: Vec<Role> =
            roles.into_iter().enumerate().map(|(id, permissions)| Role { id, permissions }).collect();
        let whose = |number: usize| if number < 6 { Whose::Role(number) } else { Whose::Member(number - 6) };
        let mut overrides = vec![Vec::new(); CHANNELS];
        for (channel, rules) in channels.into_iter().enumerate() {
            for (number, rule) in rules {
                if !overrides[channel].iter().any(|(of, _)| *of == whose(number)) {
                    overrides[channel].push((whose(number), rule));
                }
            }
        }
        Community { next_id: roles.len(), roles, members, overrides }
    })
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let number = || 0..16_usize;
    let act = prop_oneof![
        useful().prop_map(Act::Create),
        (number(), useful()).prop_map(|(rank, permissions)| Act::Edit(rank, permissions)),
        // a role without permissions is what most may make
        Just(Act::Create(Permissions::EMPTY)),
        (number(), number()).prop_map(|(from, to)| Act::Move(from, to)),
        number().prop_map(Act::Delete),
        (number(), number()).prop_map(|(member, rank)| Act::Grant(member, rank)),
        (number(), number()).prop_map(|(member, rank)| Act::Take(member, rank)),
        (number(), number(), overriding()).prop_map(|(at, rank, rule)| Act::OverrideRole(at, rank, rule)),
        (number(), number(), overriding()).prop_map(|(at, member, rule)| Act::OverrideMember(at, member, rule)),
        number().prop_map(Act::Invite),
    ];
    prop::collection::vec((number(), act), 1..40)
}

proptest! {
    #[test]
    fn nobody_together_with_others_reaches_what_none_of_them_had(start in communities(MEMBERS), acts in acts()) {
        let top = start.group().map(|member| start.highest(member)).max().unwrap_or(0).max(1);
        let mut now = start.clone();
        for (by, act) in &acts {
            let _ = now.act(by % now.members.len(), act);
            prop_assert!(start.bases().covers(now.bases()), "everywhere, by {:?}", act);
            for channel in 0..CHANNELS {
                // what the channel keeps from everybody, and what none of them had anywhere, none of them gets there
                let of_everyone = start.overrides[channel].iter().find(|(of, _)| *of == Whose::Role(0));
                let rule = of_everyone.map(|(_, rule)| *rule).unwrap_or_default();
                let nowhere = Permissions::ALL - start.bases();
                let closed = ((rule.deny | nowhere) - rule.allow) - start.explicits(channel);
                let got = now.explicits(channel) & closed;
                let is_administrators = start.bases().contains(Administrator);
                prop_assert!(is_administrators || got.is_empty(), "{} in {}, by {:?}", got, channel, act);
            }
            let above: Vec<usize> = start.above(top).iter().map(|(id, _)| *id).collect();
            let stands = now.rank(above[0]).unwrap_or(usize::MAX);
            prop_assert!(stands != usize::MAX, "a role went by {:?}", act);
            prop_assert_eq!(now.above(stands), start.above(top), "by {:?}", act);
            for (member, granted) in now.members.iter().enumerate() {
                let had = |role: &usize| start.members.get(member).is_some_and(|granted| granted.contains(role));
                prop_assert!(granted.iter().all(|role| !above.contains(role) || had(role)), "by {:?}", act);
            }
        }
    }

    #[test]
    fn nobody_alone_gets_anything(start in communities(1), acts in acts()) {
        let mut now = start.clone();
        for (_, act) in &acts {
            if matches!(act, Act::Invite(_)) {
                continue;
            }
            let _ = now.act(0, act);
            prop_assert!(start.base(0).covers(now.base(0)), "by {:?}", act);
            for channel in 0..CHANNELS {
                let got = now.explicit(0, channel) - start.explicit(0, channel);
                prop_assert!(got.is_empty(), "{} in {}, by {:?}", got, channel, act);
            }
        }
    }
}
