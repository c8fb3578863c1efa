//! What lasts for some time, and what comes after it.

use std::time::Duration;

use nepto_proto::api::communities::members::{NewBan, TimeOut};
use nepto_proto::svc::communities::Access;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_time_out_stays_when_its_account_leaves_and_ends_by_itself() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    let (channel, member) = (world.first_channel(community).await, world.member(community, 2, &[]).await);
    let communities = &world.communities;
    let new = |for_s| TimeOut { for_s, reason: String::new() };
    for senseless in [0, 28 * 86_400 + 1] {
        let refused = communities.time_out(community, member, account(OWNER), new(senseless)).await;
        assert_eq!(code(refused), ErrorCode::Malformed);
    }
    communities.time_out(community, member, account(OWNER), new(3_600)).await.unwrap();
    communities.leave(community, member).await.unwrap();
    communities.join(community, member).await.unwrap();
    let access = async || communities.access(Access { community: None, channel, account: member }).await.unwrap();
    let now = access().await;
    assert!(now.permissions.contains(Permission::ViewChannel) && !now.permissions.contains(Permission::SendMessages));
    assert!(now.timed_out_until_ms.is_some());
    assert!(communities.own(community, member).await.unwrap().timed_out_until.is_some());
    world.ctx.clock.advance(Duration::from_secs(3_601));
    assert!(access().await.permissions.contains(Permission::SendMessages));
    // one that is lifted ends at once
    communities.time_out(community, member, account(OWNER), new(3_600)).await.unwrap();
    communities.lift_time_out(community, member, account(OWNER), "").await.unwrap();
    assert!(access().await.permissions.contains(Permission::SendMessages));
    let again = communities.lift_time_out(community, member, account(OWNER), "").await;
    assert_eq!(code(again), ErrorCode::NotFound);
}

#[tokio::test]
async fn bans_and_invites_end_and_are_forgotten() {
    let world = World::new().await;
    world.with_accounts().await;
    let community = world.community(Visibility::Private).await;
    let communities = &world.communities;
    let (short, long) = (world.code(community, None, None).await, world.code(community, None, None).await);
    let ban = NewBan { for_s: Some(3_600), reason: "spam".into() };
    communities.ban(community, account(2), account(OWNER), ban).await.unwrap();
    assert_eq!(code(communities.accept_invite(&short, account(2)).await), ErrorCode::Banned);
    communities.revoke_invite(community, &short, account(OWNER)).await.unwrap();
    assert_eq!(code(communities.accept_invite(&short, account(3)).await), ErrorCode::InviteInvalid);
    world.ctx.clock.advance(Duration::from_secs(3_601));
    communities.accept_invite(&long, account(2)).await.unwrap();
    assert_eq!(communities.bans(community, account(OWNER), None, 10).await.unwrap().bans, []);
    world.ctx.clock.advance(8 * DAY);
    assert_eq!(code(communities.accept_invite(&long, account(3)).await), ErrorCode::InviteInvalid);
    // the ban and the invite
    assert_eq!(communities.forget_expired().await.unwrap(), 2);
    assert_eq!(communities.forget_expired().await.unwrap(), 0);
    assert_eq!(world.store.count_invites(community, 10).await.unwrap(), 0);
    let seen = world.store.seen(community, &[account(2)]).await.unwrap().unwrap();
    assert!(seen.bans() == 0 && seen.any_ban(account(2)).is_none());
}

#[tokio::test]
async fn a_deleted_community_is_gone_for_others_and_later_for_good() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    let (channel, member) = (world.first_channel(community).await, world.member(community, 2, &[]).await);
    let invite = world.code(community, None, None).await;
    let communities = &world.communities;
    let owner = account(OWNER);
    communities.delete(community, owner).await.unwrap();
    communities.delete(community, owner).await.unwrap();
    let access = async |account| communities.access(Access { community: None, channel, account }).await.unwrap();
    assert!(access(member).await.is_hidden() && access(owner).await.is_hidden());
    assert_eq!(code(communities.view(community, member).await), ErrorCode::NotFound);
    assert_eq!(code(communities.restore(community, member).await), ErrorCode::NotFound);
    assert_eq!(code(communities.join(community, account(3)).await), ErrorCode::NotFound);
    assert_eq!(code(communities.accept_invite(&invite, account(3)).await), ErrorCode::InviteInvalid);
    assert_eq!(communities.discover(member, None, None, 10).await.unwrap().communities, []);
    assert_eq!(communities.mine(member, None, 10).await.unwrap().communities, []);
    let mine = communities.mine(owner, None, 10).await.unwrap().communities;
    assert!(mine[0].restorable_until.is_some());
    assert_eq!(communities.remove_deleted().await.unwrap(), 0, "it may be restored");

    let restored = communities.restore(community, owner).await.unwrap();
    assert!(restored.restorable_until.is_none() && !access(member).await.is_hidden());
    communities.delete(community, owner).await.unwrap();
    world.ctx.clock.advance(7 * DAY);
    assert_eq!(code(communities.restore(community, owner).await), ErrorCode::NotFound);
    world.ctx.clock.advance(DAY);
    assert_eq!(communities.remove_deleted().await.unwrap(), 1);
    assert_eq!(communities.remove_deleted().await.unwrap(), 0);
    assert_eq!(code(communities.view(community, owner).await), ErrorCode::NotFound);
    assert_eq!(world.store.member_ids(community).await.unwrap(), []);
    assert_eq!(world.store.community_of(channel).await.unwrap(), None);
    assert_eq!(world.store.invite(&invite).await.unwrap(), None);
    assert_eq!(communities.mine(member, None, 10).await.unwrap().communities, []);
    // and it counts no more
    let bounds = crate::communities::config::Bounds::default();
    for _ in 0..bounds.owned_per_account_max {
        world.ctx.clock.advance(DAY);
        world.community(Visibility::Private).await;
    }
}

#[tokio::test]
async fn an_account_owns_and_joins_so_many() {
    let world = World::new().await;
    let bounds = crate::communities::config::Bounds::default();
    for _ in 0..bounds.owned_per_account_max {
        world.community(Visibility::Public).await;
        world.ctx.clock.advance(DAY);
    }
    let one_more = NewCommunity { name: "x".into(), description: String::new(), visibility: Visibility::Public };
    let refused = world.communities.create(account(OWNER), one_more.clone()).await;
    assert_eq!(code(refused), ErrorCode::CommunityLimit);
    // so many in a day, whatever becomes of them
    for _ in 0..bounds.made_per_account_per_day {
        world.communities.create(account(2), one_more.clone()).await.unwrap();
    }
    assert_eq!(code(world.communities.create(account(2), one_more).await), ErrorCode::RateLimited);
}

#[tokio::test]
async fn the_audit_log_is_read_in_pages_and_kept_for_a_year() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    for name in ["one", "two", "three"] {
        world.ctx.clock.advance(Duration::from_secs(1));
        world.role(community, name, &[]).await;
    }
    let read = async |after, limit| {
        let page = world.communities.audit_log(community, account(OWNER), after, limit).await.unwrap();
        let names = page.entries.iter().map(|entry| entry.after.as_ref().unwrap()["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), page.next)
    };
    let (newest, next) = read(None, 2).await;
    assert_eq!(newest, ["three", "two"]);
    let (rest, end) = read(next, 3).await;
    assert_eq!((rest, end), (vec!["one".to_owned(), "Gardeners".to_owned()], None));
    world.ctx.clock.advance(365 * DAY + Duration::from_secs(1));
    world.role(community, "four", &[]).await;
    assert_eq!(world.communities.forget_audit().await.unwrap(), 4);
    assert_eq!(read(None, 10).await.0, ["four"]);
}
