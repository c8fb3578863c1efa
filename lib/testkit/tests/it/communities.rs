//! Communities over HTTP: who gets in, who may do what, and what is gone.

use futures_util::future::try_join_all;
use nepto_proto::api::communities::channels::{Channel, ChannelKind, NewChannel};
use nepto_proto::api::communities::members::NewBan;
use nepto_proto::api::communities::roles::{NewRole, Role};
use nepto_proto::api::communities::{Community, NewCommunity, NewInvite, TransferTo, Visibility};
use nepto_proto::api::endpoint::{Endpoint, NoParameters};
use nepto_proto::api::endpoints::communities::{
    AcceptInvite, CommunityPath, CreateCommunity, CreateInvite, DeleteCommunity, GetCommunity, GetOwnMembership,
    InviteCodePath, JoinCommunity, LeaveCommunity, PreviewInvite, RestoreCommunity, TransferCommunity,
};
use nepto_proto::api::endpoints::community_channels::{ChannelPath, CreateChannel, GetChannel, ListChannels};
use nepto_proto::api::endpoints::community_members::{
    BanMember, CreateRole, GrantRole, MemberPath, MemberRolePath, TakeRole,
};
use nepto_proto::permissions::{Permission, Permissions};
use nepto_proto::{ChannelId, CommunityId, ErrorCode};
use nepto_testkit::Stack;
use uuid::Uuid;

use crate::people::Person;

/// What an endpoint answers to somebody, or the code that it refuses with.
async fn ask<E: Endpoint<Query: Default>>(
    person: &Person,
    path: E::Path,
    body: E::Body,
) -> Result<E::Reply, ErrorCode> {
    let answer = person.client.http().call::<E>(&path, &E::Query::default(), &body).await;
    answer.map_err(|error| error.code().unwrap_or_else(|| panic!("no code: {error}")))
}

async fn found(person: &Person, visibility: Visibility) -> Community {
    let new = NewCommunity { name: "Gärtner".into(), description: "Tomatoes".into(), visibility };
    ask::<CreateCommunity>(person, NoParameters {}, new).await.unwrap()
}

fn at(community: CommunityId) -> CommunityPath {
    CommunityPath { community }
}

async fn role(person: &Person, community: CommunityId, permissions: &[Permission]) -> Result<Role, ErrorCode> {
    let new = NewRole {
        name: "role".into(),
        color: Some(0x2e_cc_71),
        permissions: Permissions::of(permissions),
        hoisted: false,
        mentionable: true,
    };
    ask::<CreateRole>(person, at(community), new).await
}

async fn secret(person: &Person, community: CommunityId) -> Channel {
    let new = NewChannel {
        kind: ChannelKind::Text,
        name: "secret".into(),
        topic: String::new(),
        category: None,
        slow_mode_s: 0,
        private: true,
        overrides: None,
    };
    ask::<CreateChannel>(person, at(community), new).await.unwrap()
}

#[tokio::test]
async fn an_invite_lets_so_many_in_and_a_ban_keeps_out() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let people = try_join_all((0..5).map(|_| Person::join(&stack))).await.unwrap();
    let [owner, others @ ..] = &people[..] else { panic!("nobody came") };
    let community = found(owner, Visibility::Private).await.community;
    let unseen = ask::<GetCommunity>(&others[0], at(community), ()).await;
    assert_eq!(unseen, Err(ErrorCode::NotFound));
    let new = NewInvite { uses: Some(2), ..NewInvite::default() };
    let code = ask::<CreateInvite>(owner, at(community), new).await.unwrap().code;
    let invite = || InviteCodePath { code: code.clone() };
    let preview = ask::<PreviewInvite>(&others[0], invite(), ()).await.unwrap();
    assert_eq!((preview.community.name.as_str(), preview.by), ("Gärtner", owner.account()));

    let tries = others.iter().map(|person| ask::<AcceptInvite>(person, invite(), ()));
    let results = futures_util::future::join_all(tries).await;
    let inside: Vec<&Person> =
        others.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(person, _)| person).collect();
    assert_eq!(inside.len(), 2, "{results:?}");
    assert!(results.iter().all(|result| result.is_ok() || *result == Err(ErrorCode::InviteInvalid)), "{results:?}");
    assert_eq!(ask::<GetCommunity>(owner, at(community), ()).await.unwrap().members, 3);

    let [banned, other] = inside[..] else { panic!("two are inside") };
    let whom = || MemberPath { community, account: banned.account() };
    assert_eq!(ask::<BanMember>(other, whom(), NewBan::default()).await.err(), Some(ErrorCode::PermissionNeeded));
    let ban = NewBan { for_s: None, reason: "spam".into() };
    assert_eq!(ask::<BanMember>(owner, whom(), ban).await.unwrap().reason, "spam");
    assert_eq!(ask::<GetOwnMembership>(banned, at(community), ()).await.err(), Some(ErrorCode::NotFound));
    let new = ask::<CreateInvite>(owner, at(community), NewInvite::default()).await.unwrap();
    let again = ask::<AcceptInvite>(banned, InviteCodePath { code: new.code }, ()).await;
    assert_eq!(again.err(), Some(ErrorCode::Banned));
}

#[tokio::test]
async fn roles_reach_no_higher_than_who_gives_them_and_hidden_channels_are_not_there() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (owner, moderator) = tokio::try_join!(Person::join(&stack), Person::join(&stack)).unwrap();
    let community = found(&owner, Visibility::Public).await.community;
    ask::<JoinCommunity>(&moderator, at(community), ()).await.unwrap();
    let high = role(&owner, community, &[Permission::BanMembers]).await.unwrap().role;
    let mods = role(&owner, community, &[Permission::ManageRoles, Permission::ManageChannels]).await.unwrap().role;
    let of = |role| MemberRolePath { community, account: moderator.account(), role };
    assert_eq!(role(&moderator, community, &[]).await, Err(ErrorCode::PermissionNeeded));
    ask::<GrantRole>(&owner, of(mods), ()).await.unwrap();
    assert_eq!(role(&moderator, community, &[Permission::BanMembers]).await, Err(ErrorCode::PermissionNeeded));
    assert_eq!(ask::<GrantRole>(&moderator, of(high), ()).await.err(), Some(ErrorCode::RankTooLow));

    let secret = secret(&owner, community).await.channel;
    let shown = ask::<ListChannels>(&moderator, at(community), ()).await.unwrap().channels;
    assert!(shown.len() == 1 && shown[0].channel != secret);
    let never = ChannelId::new(Uuid::from_u128(7));
    let [hidden, absent] = [secret, never].map(|channel| ChannelPath { community, channel });
    for path in [hidden, absent] {
        assert_eq!(ask::<GetChannel>(&moderator, path, ()).await.err(), Some(ErrorCode::NotFound));
    }
    ask::<TakeRole>(&moderator, of(mods), ()).await.unwrap();
    assert_eq!(role(&moderator, community, &[]).await, Err(ErrorCode::PermissionNeeded));
}

#[tokio::test]
async fn a_community_is_given_away_deleted_and_restored() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (owner, heir) = tokio::try_join!(Person::join(&stack), Person::join(&stack)).unwrap();
    let community = found(&owner, Visibility::Unlisted).await.community;
    let to = || TransferTo { account: heir.account() };
    let too_early = ask::<TransferCommunity>(&owner, at(community), to()).await;
    assert_eq!(too_early.err(), Some(ErrorCode::MemberUnknown));
    ask::<JoinCommunity>(&heir, at(community), ()).await.unwrap();
    assert_eq!(ask::<LeaveCommunity>(&owner, at(community), ()).await, Err(ErrorCode::OwnerStays));
    assert_eq!(ask::<TransferCommunity>(&owner, at(community), to()).await.unwrap().owner, heir.account());
    assert_eq!(ask::<DeleteCommunity>(&owner, at(community), ()).await, Err(ErrorCode::PermissionNeeded));
    ask::<DeleteCommunity>(&heir, at(community), ()).await.unwrap();
    assert_eq!(ask::<GetCommunity>(&owner, at(community), ()).await.err(), Some(ErrorCode::NotFound));
    assert_eq!(ask::<RestoreCommunity>(&owner, at(community), ()).await.err(), Some(ErrorCode::NotFound));
    let deleted = ask::<GetCommunity>(&heir, at(community), ()).await.unwrap();
    assert!(deleted.restorable_until.is_some());
    ask::<RestoreCommunity>(&heir, at(community), ()).await.unwrap();
    assert_eq!(ask::<GetCommunity>(&owner, at(community), ()).await.unwrap().members, 2);
}
