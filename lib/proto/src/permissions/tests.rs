//! The calculation: a table of cases, and properties against a model that asks for one permission after the other.

use Permission::{
    Administrator, AttachFiles, CreatePolls, KickMembers, ManageMessages, ManageRoles, MentionEveryone, ReadHistory,
    SendInThreads, SendMessages, ViewChannel,
};
use proptest::prelude::*;

use super::*;

/// A member in a channel.
#[derive(Debug, Clone, Default)]
struct Who {
    owner: bool,
    timed_out: bool,
    thread: bool,
    everyone: Permissions,
    roles: Vec<Permissions>,
    on_everyone: Option<Override>,
    on_roles: Vec<Override>,
    on_member: Option<Override>,
}

fn rule(allow: &[Permission], deny: &[Permission]) -> Override {
    Override { allow: Permissions::of(allow), deny: Permissions::of(deny) }
}

/// A member, by what everybody may do.
fn who(everyone: &[Permission]) -> Who {
    Who { everyone: Permissions::of(everyone), ..Who::default() }
}

impl Who {
    fn owner(self) -> Self {
        Self { owner: true, ..self }
    }
    fn timed_out(self) -> Self {
        Self { timed_out: true, ..self }
    }
    fn thread(self) -> Self {
        Self { thread: true, ..self }
    }
    fn role(mut self, permissions: &[Permission]) -> Self {
        self.roles.push(Permissions::of(permissions));
        self
    }
    fn on_everyone(self, allow: &[Permission], deny: &[Permission]) -> Self {
        Self { on_everyone: Some(rule(allow, deny)), ..self }
    }
    fn on_role(mut self, allow: &[Permission], deny: &[Permission]) -> Self {
        self.on_roles.push(rule(allow, deny));
        self
    }
    fn on_member(self, allow: &[Permission], deny: &[Permission]) -> Self {
        Self { on_member: Some(rule(allow, deny)), ..self }
    }

    fn member(&self) -> Member<'_> {
        Member { owner: self.owner, timed_out: self.timed_out, everyone: self.everyone, roles: &self.roles }
    }

    fn base(&self) -> Permissions {
        base(&self.member())
    }

    fn in_channel(&self) -> Permissions {
        let roles: Vec<&Override> = self.on_roles.iter().collect();
        let overrides =
            Overrides { everyone: self.on_everyone.as_ref(), roles: &roles, member: self.on_member.as_ref() };
        in_channel(&self.member(), &overrides, self.thread)
    }
}

const VIEW_SEND: &[Permission] = &[ViewChannel, SendMessages];
const ALL: &[Permission] = &Permission::ALL;

#[test]
fn the_cases_of_the_documentation() {
    let v: &[Permission] = &[ViewChannel];
    let s: &[Permission] = &[SendMessages];
    #[rustfmt::skip]
    let cases: [(&str, Who, &[Permission]); 40] = [
        ("nobody allows anything", who(&[]), &[]),
        ("everybody's role counts", who(VIEW_SEND), VIEW_SEND),
        ("a role adds to it", who(v).role(s), VIEW_SEND),
        ("two roles add up", who(&[]).role(v).role(s), VIEW_SEND),
        ("a role without permissions takes none", who(VIEW_SEND).role(&[]), VIEW_SEND),
        ("an owner may do everything", who(&[]).owner(), ALL),
        ("an administrator may do everything", who(&[]).role(&[Administrator]), ALL),
        ("everybody may be an administrator", who(&[Administrator]), ALL),
        ("no override stops an owner", who(&[]).owner().on_everyone(&[], v).on_member(&[], s), ALL),
        ("no override stops an administrator", who(&[]).role(&[Administrator]).on_role(&[], v).on_member(&[], v), ALL),
        ("a channel denies to everybody", who(VIEW_SEND).on_everyone(&[], s), v),
        ("a channel allows to everybody", who(v).on_everyone(s, &[]), VIEW_SEND),
        ("what stands in both is allowed to everybody", who(v).on_everyone(s, s), VIEW_SEND),
        ("a denial to everybody takes what a role allows everywhere", who(v).role(s).on_everyone(&[], s), v),
        ("a role's override lifts it", who(VIEW_SEND).on_everyone(&[], s).on_role(s, &[]), VIEW_SEND),
        ("only this role sees it", who(VIEW_SEND).on_everyone(&[], v).on_role(v, &[]), VIEW_SEND),
        ("who has not that role does not", who(VIEW_SEND).on_everyone(&[], v), &[]),
        ("a role's override denies", who(VIEW_SEND).on_role(&[], s), v),
        ("it denies what is allowed to everybody here", who(v).on_everyone(s, &[]).on_role(&[], s), v),
        ("one role allows what another denies", who(VIEW_SEND).on_role(&[], s).on_role(s, &[]), VIEW_SEND),
        ("in whatever order they stand", who(VIEW_SEND).on_role(s, &[]).on_role(&[], s), VIEW_SEND),
        ("a role allows what it denies itself", who(VIEW_SEND).on_role(s, s), VIEW_SEND),
        ("two roles deny together", who(&[ViewChannel, SendMessages, ReadHistory]).on_role(&[], s).on_role(&[], &[ReadHistory]), v),
        ("a member is denied", who(VIEW_SEND).on_member(&[], s), v),
        ("although a role allows it here", who(VIEW_SEND).on_role(s, &[]).on_member(&[], s), v),
        ("a member is allowed what a role denies", who(VIEW_SEND).on_role(&[], s).on_member(s, &[]), VIEW_SEND),
        ("a member alone sees it", who(VIEW_SEND).on_everyone(&[], v).on_member(v, &[]), VIEW_SEND),
        ("who sees nothing may do nothing", who(&[SendMessages, ManageMessages, KickMembers]), &[]),
        ("also if it is allowed here", who(v).on_everyone(s, v).on_member(&[ManageMessages], &[]), &[]),
        ("who may not send mentions, attaches and asks nothing",
            who(&[ViewChannel, MentionEveryone, AttachFiles, CreatePolls, ManageMessages]), &[ViewChannel, ManageMessages]),
        ("who may send does", who(&[ViewChannel, SendMessages, MentionEveryone, AttachFiles, CreatePolls]),
            &[ViewChannel, SendMessages, MentionEveryone, AttachFiles, CreatePolls]),
        ("a thread asks for its own permission to send", who(VIEW_SEND).thread(), v),
        ("and that is enough", who(&[ViewChannel, SendInThreads, AttachFiles]).thread(),
            &[ViewChannel, SendInThreads, SendMessages, AttachFiles]),
        ("a thread of a channel where nobody sends", who(&[ViewChannel, SendMessages, SendInThreads]).on_everyone(&[], s).thread(),
            &[ViewChannel, SendMessages, SendInThreads]),
        ("a thread of a hidden channel is hidden", who(&[SendInThreads]).on_everyone(&[], v).thread(), &[]),
        ("a time-out leaves reading", who(&[ViewChannel, ReadHistory, SendMessages, KickMembers]).timed_out(), &[ViewChannel, ReadHistory]),
        ("and gives none", who(&[ReadHistory, SendMessages]).timed_out(), &[]),
        ("no override lifts a time-out", who(v).timed_out().on_member(s, &[]), v),
        ("an administrator is exempt from it", who(&[]).role(&[Administrator]).timed_out(), ALL),
        ("no override names what is not about channels",
            who(&[ViewChannel, KickMembers]).on_member(&[Administrator, ManageRoles], &[KickMembers]), &[ViewChannel, KickMembers]),
    ];
    for (sentence, who, expected) in cases {
        assert_eq!(who.in_channel(), Permissions::of(expected), "{sentence}");
    }
}

#[test]
fn before_channels_nothing_is_implied() {
    assert_eq!(who(&[KickMembers]).role(&[SendMessages]).base(), Permissions::of(&[KickMembers, SendMessages]));
    assert_eq!(who(&[]).role(&[Administrator]).timed_out().base(), Permissions::ALL);
    assert_eq!(who(&[]).owner().timed_out().base(), Permissions::ALL);
    assert_eq!(who(&[ViewChannel, KickMembers]).timed_out().base(), Permissions::of(&[ViewChannel]));
}

#[test]
fn sets_are_written_as_names_in_the_order_of_the_bits() {
    let set = Permissions::of(&[Administrator, ViewChannel, SendMessages]);
    let json = r#"["view_channel","send_messages","administrator"]"#;
    assert_eq!(serde_json::to_string(&set).unwrap(), json);
    let read = |text: &str| serde_json::from_str::<Permissions>(text);
    assert_eq!(read(r#"["administrator","send_messages","view_channel","send_messages"]"#).unwrap(), set);
    assert_eq!(read("[]").unwrap(), Permissions::EMPTY);
    assert_eq!(set.to_string(), "view_channel, send_messages, administrator");
    for wrong in [r#"["fly"]"#, r#"["ViewChannel"]"#, "1", r#""view_channel""#, "[1]"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn bits_are_what_stores_and_other_clients_know_them_by() {
    assert_eq!(Permission::ALL.map(Permission::bit).iter().sum::<u64>(), (1 << 24) - 1);
    assert_eq!((ViewChannel.bit(), SendMessages.bit(), Administrator.bit()), (1, 1 << 2, 1 << 23));
    assert_eq!(Permissions::from_bits_truncate(u64::MAX), Permissions::ALL);
    assert!(!Permissions::CHANNEL.contains(Administrator) && !Permissions::CHANNEL.contains(ManageRoles));
}

#[test]
fn the_protocol_has_the_same_table() {
    let protocol = include_str!("../../../../docs/PROTOCOL.md");
    for permission in Permission::ALL {
        let about_channels = if Permissions::CHANNEL.contains(permission) { "yes" } else { "no" };
        let row = format!("| {} | `{permission}` | {about_channels} | ", permission.bit().trailing_zeros());
        assert!(protocol.lines().any(|line| line.starts_with(&row)), "{row}");
    }
}

/// Any permissions; those of administrators are rare.
pub(super) fn permissions() -> impl Strategy<Value = Permissions> {
    (any::<u64>(), any::<u64>(), prop::bool::weighted(0.03)).prop_map(|(bits, more, administrator)| {
        let some = Permissions::from_bits_truncate(bits | (more & 0b111));
        if administrator { some | Permissions::of(&[Administrator]) } else { some - Permissions::of(&[Administrator]) }
    })
}

/// Any override, also one that no rule would let through.
fn rules() -> impl Strategy<Value = Override> {
    // each permission is named by half of them
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(allow, deny, named)| Override {
        allow: Permissions::from_bits_truncate(allow & named),
        deny: Permissions::from_bits_truncate(deny & named),
    })
}

fn anybody() -> impl Strategy<Value = Who> {
    let flags = (prop::bool::weighted(0.05), prop::bool::weighted(0.2), any::<bool>());
    let roles = prop::collection::vec(permissions(), 0..4);
    let on_roles = prop::collection::vec(rules(), 0..4);
    (flags, permissions(), roles, prop::option::of(rules()), on_roles, prop::option::of(rules())).prop_map(
        |((owner, timed_out, thread), everyone, roles, on_everyone, on_roles, on_member)| Who {
            owner,
            timed_out,
            thread,
            everyone,
            roles,
            on_everyone,
            on_roles,
            on_member,
        },
    )
}

/// Whether a member may do one thing, step by step.
fn naive(who: &Who, asked: Permission) -> bool {
    let anywhere = |permission| {
        let mut may = who.everyone.contains(permission);
        for role in &who.roles {
            if role.contains(permission) {
                may = true;
            }
        }
        may
    };
    if who.owner || anywhere(Administrator) {
        return true;
    }
    let about_channels = |permission| {
        use Permission::*;
        match permission {
            ViewChannel | ReadHistory | SendMessages | SendInThreads | CreateThreads | AttachFiles | AddReactions => {
                true
            }
            MentionEveryone | CreatePolls | PinMessages | ManageMessages | BypassSlowMode => true,
            CreateInvites | ManageWebhooks => true,
            ManageChannels | ManageRoles | ManageCommunity | ManageGates | ManageBots | KickMembers => false,
            BanMembers | TimeOutMembers | ViewAuditLog | Administrator => false,
        }
    };
    let here = |permission| {
        let mut may = anywhere(permission);
        if !about_channels(permission) {
            return may;
        }
        let mut step = |rules: &[Override]| {
            if rules.iter().any(|rule| rule.deny.contains(permission)) {
                may = false;
            }
            if rules.iter().any(|rule| rule.allow.contains(permission)) {
                may = true;
            }
        };
        step(who.on_everyone.as_slice());
        step(&who.on_roles);
        step(who.on_member.as_slice());
        may
    };
    if !here(ViewChannel) || (who.timed_out && asked != ViewChannel && asked != ReadHistory) {
        return false;
    }
    let sends = here(if who.thread { SendInThreads } else { SendMessages });
    match asked {
        SendMessages => sends,
        MentionEveryone | AttachFiles | CreatePolls => sends && here(asked),
        _ => here(asked),
    }
}

proptest! {
    #[test]
    fn each_permission_is_what_the_naive_model_says(who in anybody()) {
        let allowed = who.in_channel();
        for permission in Permission::ALL {
            prop_assert_eq!(allowed.contains(permission), naive(&who, permission), "{}", permission);
        }
    }

    #[test]
    fn who_is_allowed_more_may_do_no_less(who in anybody(), more in permissions(), place in 0..5_usize) {
        let mut other = who.clone();
        match place {
            0 => other.everyone = other.everyone | more,
            1 => other.roles.push(more),
            2 => other.on_roles.push(Override { allow: more, deny: Permissions::EMPTY }),
            3 => other.on_everyone.get_or_insert_default().allow = who.on_everyone.unwrap_or_default().allow | more,
            _ => other.on_member.get_or_insert_default().allow = who.on_member.unwrap_or_default().allow | more,
        }
        prop_assert!(other.in_channel().covers(who.in_channel()));
    }

    #[test]
    fn who_is_denied_more_may_do_no_more(who in anybody(), more in permissions(), place in 0..3_usize) {
        let mut other = who.clone();
        match place {
            0 => other.on_roles.push(Override { allow: Permissions::EMPTY, deny: more }),
            1 => other.on_everyone.get_or_insert_default().deny = who.on_everyone.unwrap_or_default().deny | more,
            _ => other.on_member.get_or_insert_default().deny = who.on_member.unwrap_or_default().deny | more,
        }
        prop_assert!(who.in_channel().covers(other.in_channel()));
    }

    #[test]
    fn a_time_out_gives_nothing_and_the_order_of_roles_is_nothing(who in anybody()) {
        let free = Who { timed_out: false, ..who.clone() };
        prop_assert!(free.in_channel().covers(who.clone().timed_out().in_channel()));
        let mut reversed = who.clone();
        reversed.roles.reverse();
        reversed.on_roles.reverse();
        prop_assert_eq!(reversed.in_channel(), who.in_channel());
    }

    #[test]
    fn no_channel_makes_an_administrator(who in anybody()) {
        prop_assert_eq!(who.in_channel().contains(Administrator), who.base().contains(Administrator));
        let beyond = (who.in_channel() - who.base()) - Permissions::CHANNEL;
        prop_assert!(beyond.is_empty(), "{}", beyond);
    }

    #[test]
    fn sets_survive_json_and_the_store(set in permissions()) {
        let json = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(serde_json::from_str::<Permissions>(&json).unwrap(), set);
        prop_assert_eq!(Permissions::from_bits_truncate(set.bits()), set);
    }
}
