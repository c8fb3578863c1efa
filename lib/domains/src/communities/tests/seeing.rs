//! What may not be seen looks like what never was.

use nepto_proto::api::communities::EditCommunity;
use nepto_proto::api::communities::channels::{ChannelKind, EditChannel, NewChannel, OverrideKind, SetOverride};
use nepto_proto::svc::communities::{Access, AccessIn, CommunityStanding};
use uuid::Uuid;

use super::*;

#[tokio::test]
async fn a_hidden_channel_and_one_that_never_was_are_the_same() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    let communities = &world.communities;
    let insiders = world.role(community, "insiders", &[]).await.role;
    let staff = [Permission::ManageChannels, Permission::ManageRoles];
    let staff = world.role(community, "staff", &staff).await.role;
    let secret = NewChannel {
        kind: ChannelKind::Text,
        name: "secret".into(),
        topic: String::new(),
        category: None,
        slow_mode_s: 7,
        private: true,
        overrides: None,
    };
    let secret = communities.create_channel(community, account(OWNER), secret).await.unwrap();
    assert!(secret.private);
    let channel = secret.channel;
    let insider = world.member(community, 2, &[insiders]).await;
    let outsider = world.member(community, 3, &[staff]).await;
    let view = SetOverride { allow: Permissions::of(&[Permission::ViewChannel]), deny: Permissions::EMPTY };
    let whose = (OverrideKind::Role, insiders.uuid());
    communities.set_override(community, channel, account(OWNER), whose, view.clone()).await.unwrap();

    let access =
        async |channel, account| communities.access(Access { community: None, channel, account }).await.unwrap();
    let seen = access(channel, insider).await;
    assert_eq!((seen.community, seen.slow_mode_s, seen.owner), (Some(community), 7, false));
    assert!(access(channel, account(OWNER)).await.owner);
    let never = ChannelId::new(Uuid::from_u128(99));
    for (channel, who) in [(channel, outsider), (channel, account(9)), (never, insider), (never, account(OWNER))] {
        assert_eq!(access(channel, who).await, AccessIn::HIDDEN);
    }
    let elsewhere = Access { community: Some(CommunityId::new(Uuid::from_u128(98))), channel, account: insider };
    assert_eq!(communities.access(elsewhere).await.unwrap(), AccessIn::HIDDEN);

    // by every other door: who manages channels and roles, and does not see it
    assert_eq!(communities.channels(community, outsider).await.unwrap().channels.len(), 1);
    for channel in [channel, never] {
        assert_eq!(code(communities.channel(community, channel, outsider).await), ErrorCode::NotFound);
        assert_eq!(code(communities.delete_channel(community, channel, outsider).await), ErrorCode::NotFound);
        let renamed = EditChannel { name: Some("mine".into()), ..EditChannel::default() };
        let edited = communities.edit_channel(community, channel, outsider, renamed).await;
        assert_eq!(code(edited), ErrorCode::NotFound);
        let opened = communities.set_override(community, channel, outsider, whose, view.clone()).await;
        assert_eq!(code(opened), ErrorCode::NotFound);
    }
    // who makes a private channel sees it
    let own = NewChannel { name: "own".into(), private: true, ..secret_again() };
    let own = communities.create_channel(community, outsider, own).await.unwrap();
    assert!(own.private && own.permissions.contains(Permission::ViewChannel));
    assert_eq!(access(own.channel, insider).await, AccessIn::HIDDEN);
}

fn secret_again() -> NewChannel {
    NewChannel {
        kind: ChannelKind::Announcement,
        name: "again".into(),
        topic: String::new(),
        category: None,
        slow_mode_s: 0,
        private: false,
        overrides: None,
    }
}

#[tokio::test]
async fn a_private_community_and_one_that_never_was_are_the_same() {
    let world = World::new().await;
    let communities = &world.communities;
    let private = world.community(Visibility::Private).await;
    let never = CommunityId::new(Uuid::from_u128(98));
    let stranger = account(9);
    for community in [private, never] {
        assert_eq!(code(communities.view(community, stranger).await), ErrorCode::NotFound);
        assert_eq!(code(communities.join(community, stranger).await), ErrorCode::NotFound);
        assert_eq!(code(communities.leave(community, stranger).await), ErrorCode::NotFound);
        assert_eq!(code(communities.own(community, stranger).await), ErrorCode::NotFound);
        assert_eq!(code(communities.channels(community, stranger).await), ErrorCode::NotFound);
        assert_eq!(code(communities.members(community, stranger, None, 10).await), ErrorCode::NotFound);
        assert_eq!(code(communities.delete(community, stranger).await), ErrorCode::NotFound);
        let invite = communities.create_invite(community, stranger, NewInvite::default()).await;
        assert_eq!(code(invite), ErrorCode::NotFound);
        let standing = communities.standing(CommunityStanding { community, account: stranger }).await.unwrap();
        assert_eq!(standing, None);
    }
    for code_of_nothing in ["", "x", "abcdefghjkmnpqrs", "../../../../etc!"] {
        assert_eq!(code(communities.preview(code_of_nothing, stranger).await), ErrorCode::InviteInvalid);
    }
    let standing = communities.standing(CommunityStanding { community: private, account: account(OWNER) }).await;
    assert!(standing.unwrap().unwrap().owner);
}

#[tokio::test]
async fn everybody_finds_what_is_public_by_its_name() {
    let world = World::new().await;
    let communities = &world.communities;
    let names = ["Beta", "alpha", "ALPHABET", "Gamma"];
    let mut ids = Vec::new();
    for (number, name) in (2_u128..).zip(names) {
        let new = NewCommunity { name: name.into(), description: String::new(), visibility: Visibility::Public };
        ids.push(communities.create(account(number), new).await.unwrap().community);
    }
    world.community(Visibility::Unlisted).await;
    let found = async |prefix: Option<&str>, after: Option<&str>, limit| {
        let page = communities.discover(account(9), prefix, after, limit).await.unwrap();
        (page.communities.into_iter().map(|found| found.name).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = found(None, None, 3).await;
    assert_eq!(first, ["alpha", "ALPHABET", "Beta"]);
    let (rest, end) = found(None, next.as_deref(), 3).await;
    assert_eq!((rest, end), (vec!["Gamma".to_owned()], None));
    assert_eq!(found(Some("AlPh"), None, 10).await.0, ["alpha", "ALPHABET"]);
    // a hidden one is found no more, a renamed one under its new name
    let hidden = EditCommunity { visibility: Some(Visibility::Private), ..EditCommunity::default() };
    communities.edit(ids[1], account(3), hidden).await.unwrap();
    let renamed = EditCommunity { name: Some("Delta".into()), ..EditCommunity::default() };
    communities.edit(ids[3], account(5), renamed).await.unwrap();
    assert_eq!(found(None, None, 10).await.0, ["ALPHABET", "Beta", "Delta"]);
    assert_eq!(code(communities.edit(ids[0], account(9), EditCommunity::default()).await), ErrorCode::MembersOnly);
}
