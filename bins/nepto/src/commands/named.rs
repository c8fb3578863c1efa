//! What people call communities, channels and roles: by name, where it means one, or by id.

use std::fmt::Display;
use std::str::FromStr;

use nepto_proto::api::communities::channels::{Channel, ChannelKind};
use nepto_proto::api::communities::roles::Role;
use nepto_proto::api::communities::{Community, Visibility};
use nepto_proto::api::endpoint::NoParameters;
use nepto_proto::permissions::{Permission, Permissions};
use nepto_proto::{AccountId, ChannelId, CommunityId, MessageId, RoleId};
use nepto_sdk::Client;
use time::OffsetDateTime;

use super::find;
use crate::app::App;
use crate::failure::Failure;
use crate::text::clean_name;

/// What most endpoints of communities have behind their path.
pub const NONE: &NoParameters = &NoParameters {};
/// The name of the role that every member has.
pub const EVERYONE: &str = "everyone";

/// A community by its id, whoever may see it, or by the name of one of one's own.
pub async fn community(client: &Client, named: &str) -> Result<CommunityId, Failure> {
    if let Ok(id) = named.parse() {
        return Ok(id);
    }
    let own = client.communities().await?;
    let known = own.iter().map(|community: &Community| (community.name.as_str(), community.community));
    one(known, named, "community of yours", "nepto community list")
}

/// A channel by its id or its name, with or without `#`.
pub fn channel<'a>(channels: &'a [Channel], named: &str) -> Result<&'a Channel, Failure> {
    let named = named.strip_prefix('#').unwrap_or(named);
    if let Ok(id) = named.parse() {
        let found = channels.iter().find(|channel| channel.channel == id);
        return found.ok_or_else(|| none(named, "channel", "nepto channel list COMMUNITY"));
    }
    let known = channels.iter().map(|channel| (channel.name.as_str(), channel));
    one(known, named, "channel", "nepto channel list COMMUNITY")
}

/// A channel that messages are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absent where the channel was named by its id.
    pub community: Option<CommunityId>,
    pub channel: ChannelId,
    /// For people.
    pub name: String,
}

/// A channel by its id, whoever may see it, or among one's own communities: as COMMUNITY/CHANNEL, or as #CHANNEL where that is clear.
pub async fn place(client: &Client, named: &str) -> Result<Place, Failure> {
    if let Ok(channel) = named.strip_prefix('#').unwrap_or(named).parse() {
        return Ok(Place { community: None, channel, name: clean_name(named) });
    }
    if let Some(name) = named.strip_prefix('#').filter(|name| !name.contains('/')) {
        return anywhere(client, name).await;
    }
    let (of, within) = halves(named)?;
    let community = community(client, of).await?;
    let channels = client.channels(community).await?;
    let found = channel(&channels, within)?;
    let name = format!("#{}", clean_name(&found.name));
    match found.kind {
        ChannelKind::Category => {
            Err(Failure::usage(format!("{name} is a category: it holds channels, and no messages")))
        }
        ChannelKind::Text | ChannelKind::Announcement => {
            Ok(Place { community: Some(community), channel: found.channel, name })
        }
    }
}

/// The channel of this name, if only one of one's own communities has one.
async fn anywhere(client: &Client, name: &str) -> Result<Place, Failure> {
    let folded = name.to_lowercase();
    let mut found = Vec::new();
    for community in client.communities().await?.iter().filter(|community| community.restorable_until.is_none()) {
        let channels = client.channels(community.community).await?;
        let fits = |channel: &Channel| channel.kind != ChannelKind::Category && channel.name.to_lowercase() == folded;
        found.extend(channels.into_iter().filter(fits));
    }
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => {
            let name = format!("#{}", clean_name(&only.name));
            Ok(Place { community: Some(only.community), channel: only.channel, name })
        }
        (Some(_), false) => {
            let name = clean_name(name);
            Err(Failure::usage(format!("more than one channel is called #{name}; name it COMMUNITY/{name}")))
        }
        (None, _) => Err(none(name, "channel", "nepto channel list COMMUNITY")),
    }
}

/// The community and the channel of COMMUNITY/CHANNEL. Those with a slash in their names are named by their ids.
fn halves(named: &str) -> Result<(&str, &str), Failure> {
    let halves = named.split_once('/').map(|(of, within)| (of.trim(), within.trim()));
    halves.filter(|(of, within)| !of.is_empty() && !within.is_empty()).ok_or_else(|| {
        let named = clean_name(named);
        Failure::usage(format!(
            "{named} names no channel; name it COMMUNITY/CHANNEL or by its id: nepto channel list COMMUNITY"
        ))
    })
}

/// The id of a message of a channel.
pub fn parse_message(text: &str) -> Result<MessageId, String> {
    text.parse().map_err(|_| format!("{text:?} is no id of a message; see nepto read CHANNEL --ids"))
}

/// A role by its id or its name, with or without `@`.
pub fn role<'a>(roles: &'a [Role], community: CommunityId, named: &str) -> Result<&'a Role, Failure> {
    let named = named.strip_prefix('@').unwrap_or(named);
    let by_id = named.parse().ok().or_else(|| (named == EVERYONE).then(|| community.everyone()));
    if let Some(id) = by_id {
        let found = roles.iter().find(|role| role.role == id);
        return found.ok_or_else(|| none(named, "role", "nepto role list COMMUNITY"));
    }
    let known = roles.iter().map(|role| (role.name.as_str(), role));
    one(known, named, "role", "nepto role list COMMUNITY")
}

/// Somebody by account id, which needs no check of their devices, or as people are named everywhere.
pub async fn somebody(client: &Client, peer: &str) -> Result<AccountId, Failure> {
    match peer.parse() {
        Ok(account) => Ok(account),
        Err(_) => Ok(find(client, peer).await?.account),
    }
}

/// The one that has this name, in whatever capitals.
fn one<'a, T>(known: impl Iterator<Item = (&'a str, T)>, named: &str, what: &str, list: &str) -> Result<T, Failure> {
    let folded = named.to_lowercase();
    let mut found: Vec<T> = known.filter(|(name, _)| name.to_lowercase() == folded).map(|(_, found)| found).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            let named = clean_name(named);
            Err(Failure::usage(format!("more than one {what} is called {named}; name it by its id: {list}")))
        }
        (None, _) => Err(none(named, what, list)),
    }
}

fn none(named: &str, what: &str, list: &str) -> Failure {
    Failure::usage(format!("no {what} is called {}; see {list}", clean_name(named)))
}

/// A value that is one of these words.
fn word<T: Copy + Display + FromStr>(text: &str, words: &[T]) -> Result<T, String> {
    let all = || words.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|_| format!("{text:?} is none of these: {}", all()))
}

/// Who may find and join a community.
pub fn parse_visibility(text: &str) -> Result<Visibility, String> {
    word(text, &Visibility::ALL)
}

/// What a channel is for.
pub fn parse_kind(text: &str) -> Result<ChannelKind, String> {
    word(text, &ChannelKind::ALL)
}

/// A permission by its name.
pub fn parse_permission(text: &str) -> Result<Permission, String> {
    word(text, &Permission::ALL)
}

/// A permission that an override may name.
pub fn parse_channel_permission(text: &str) -> Result<Permission, String> {
    let all: Vec<Permission> = Permissions::CHANNEL.iter().collect();
    let permission = word(text, &all)?;
    match all.contains(&permission) {
        true => Ok(permission),
        false => Err(format!("{permission} is not about channels; give it by a role: nepto role edit --help")),
    }
}

/// A colour as designers write it: `#2ecc71`; `none` is 0.
pub fn parse_color(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    match u32::from_str_radix(digits, 16) {
        _ if text == "none" => Ok(0),
        Ok(color) if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(color),
        _ => Err(format!("{text:?} is no colour; write it like #2ecc71")),
    }
}

/// A time for people.
pub fn when(app: &App, at: OffsetDateTime) -> String {
    let at = at.to_offset(app.offset);
    format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute())
}

/// Permissions for people.
pub fn show(permissions: Permissions) -> String {
    if permissions.is_empty() { "nothing".to_owned() } else { permissions.to_string() }
}

/// Names of roles, in the order of the list.
pub fn role_names(roles: &[Role], granted: &[RoleId]) -> String {
    let names = roles.iter().rev().filter(|role| granted.contains(&role.role));
    names.map(|role| clean_name(&role.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn named(number: u128, name: &str) -> Role {
        Role {
            role: RoleId::new(Uuid::from_u128(number)),
            name: name.to_owned(),
            color: None,
            rank: 0,
            permissions: Permissions::EMPTY,
            hoisted: false,
            mentionable: false,
        }
    }

    #[test]
    fn a_name_means_one_or_nothing() {
        let community = CommunityId::new(Uuid::from_u128(1));
        let roles = [named(1, "everyone"), named(2, "Helpers"), named(3, "friends"), named(4, "Friends")];
        let found = |name: &str| role(&roles, community, name).map(|role| role.role.uuid().as_u128());
        assert_eq!(found("helpers"), Ok(2));
        assert_eq!(found("@everyone"), Ok(1));
        assert_eq!(found("00000000000000000000000000000004"), Ok(4));
        assert!(found("friends").unwrap_err().detail.contains("more than one role is called friends"));
        let absent = found("owners\u{1b}[2J").unwrap_err().detail;
        assert_eq!(absent, "no role is called owners; see nepto role list COMMUNITY");
        assert!(found("00000000000000000000000000000009").is_err());
        assert_eq!(role_names(&roles, &[roles[1].role, roles[2].role]), "friends, Helpers");
    }

    #[test]
    fn a_channel_is_named_with_its_community() {
        assert_eq!(halves("Gardeners/#tomatoes"), Ok(("Gardeners", "#tomatoes")));
        assert_eq!(halves("Red Things / tomatoes"), Ok(("Red Things", "tomatoes")));
        for wrong in ["#tomatoes", "/tomatoes", "Gardeners/ ", ""] {
            assert!(halves(wrong).unwrap_err().detail.contains("COMMUNITY/CHANNEL"), "{wrong}");
        }
        assert_eq!(parse_message(&MessageId::at(5, 7).to_string()), Ok(MessageId::at(5, 7)));
        assert!(parse_message("7").is_err());
    }

    #[test]
    fn values_are_words_that_the_server_knows() {
        assert_eq!(parse_permission("kick_members"), Ok(Permission::KickMembers));
        assert!(parse_permission("fly").unwrap_err().contains("view_channel, read_history"));
        assert!(parse_channel_permission("send_messages").is_ok());
        assert!(parse_channel_permission("administrator").unwrap_err().contains("not about channels"));
        assert_eq!((parse_color("#2ecc71"), parse_color("none")), (Ok(0x2e_cc_71), Ok(0)));
        for wrong in ["green", "#fff", "+12345", "#2ecc711", ""] {
            assert!(parse_color(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show(Permissions::EMPTY), "nothing");
    }
}
