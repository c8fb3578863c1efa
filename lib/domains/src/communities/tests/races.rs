//! What happens at the same moment.

use futures_util::future::join_all;
use nepto_kit::db::DbError;
use nepto_proto::api::communities::members::NewBan;
use nepto_proto::api::communities::roles::EditRole;
use nepto_proto::svc::communities::{Access, CachedAccess};

use super::*;
use crate::communities::store::Change;

#[tokio::test]
async fn an_invite_for_so_many_lets_exactly_so_many_in() {
    let world = World::new().await;
    let community = world.community(Visibility::Private).await;
    let invite = world.code(community, Some(3), None).await;
    let communities = &world.communities;
    // looking and being a member use none up
    communities.preview(&invite, account(2)).await.unwrap();
    communities.accept_invite(&invite, account(OWNER)).await.unwrap();
    let tries = (2..10).map(|number| communities.accept_invite(&invite, account(number)));
    let results = join_all(tries).await;
    let (inside, outside): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((inside.len(), outside.len()), (3, 5));
    assert!(outside.into_iter().all(|refused| code(refused) == ErrorCode::InviteInvalid));
    let members = world.store.member_ids(community).await.unwrap();
    let counted = communities.view(community, account(OWNER)).await.unwrap().members;
    assert_eq!((members.len(), counted), (4, 4));
    // a member who opens it now is no worse off
    let member = members.into_iter().find(|member| *member != account(OWNER)).unwrap();
    assert_eq!(code(communities.preview(&invite, member).await), ErrorCode::InviteInvalid);
}

#[tokio::test]
async fn a_ban_and_a_join_at_one_moment_end_in_a_ban() {
    let world = World::new().await;
    world.with_accounts().await;
    let community = world.community(Visibility::Public).await;
    let communities = &world.communities;
    for number in 2..8 {
        let (joined, banned) = tokio::join!(
            communities.join(community, account(number)),
            communities.ban(community, account(number), account(OWNER), NewBan::default()),
        );
        banned.unwrap();
        if let Err(failure) = joined {
            // who was in for a moment was thrown out before it could look
            let possible = [ErrorCode::Banned, ErrorCode::MembersOnly];
            assert!(possible.contains(&failure.code), "{failure}");
        }
        assert_eq!(world.store.member_ids(community).await.unwrap(), [account(OWNER)]);
        assert_eq!(code(communities.join(community, account(number)).await), ErrorCode::Banned);
    }
    assert_eq!(communities.view(community, account(OWNER)).await.unwrap().members, 1);
    assert_eq!(communities.bans(community, account(OWNER), None, 50).await.unwrap().bans.len(), 6);
    communities.unban(community, account(2), account(OWNER), "").await.unwrap();
    communities.join(community, account(2)).await.unwrap();
}

#[tokio::test]
async fn what_was_decided_by_an_older_state_is_not_committed() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    let member = world.member(community, 2, &[]).await;
    let (store, seen) = (&world.store, async || world.store.seen(community, &[member]).await.unwrap().unwrap());
    let before = seen().await;
    world.role(community, "new", &[]).await;
    let late = store.commit(community, before.revision(), Change::default(), (9, 9)).await;
    assert!(matches!(late, Err(DbError::Stale)), "{late:?}");
    // and what an account is: it left, and came back
    let before = seen().await;
    world.communities.leave(community, member).await.unwrap();
    world.communities.join(community, member).await.unwrap();
    let late = Change::default().of_seat(&before, member, true);
    let late = store.commit(community, seen().await.revision(), late, (9, 9)).await;
    assert!(matches!(late, Err(DbError::Stale)), "{late:?}");
    let now = seen().await;
    let good = Change::default().of_seat(&now, member, true);
    store.commit(community, now.revision(), good, (9, 9)).await.unwrap();
}

#[tokio::test]
async fn a_role_of_an_invite_is_what_its_maker_may_grant_when_somebody_joins() {
    let world = World::new().await;
    let community = world.community(Visibility::Private).await;
    let mods = world.role(community, "mods", &[Permission::ManageRoles]).await.role;
    let low = world.role(community, "low", &[]).await.role;
    let communities = &world.communities;
    let code_of_mods = world.code(community, None, Some(mods)).await;
    let maker = account(2);
    communities.accept_invite(&code_of_mods, maker).await.unwrap();
    assert_eq!(communities.own(community, maker).await.unwrap().roles, [mods]);
    let new = NewInvite { uses: None, role: Some(low), expires_after_s: None };
    let invite = communities.create_invite(community, maker, new).await.unwrap().code;
    communities.accept_invite(&invite, account(3)).await.unwrap();
    assert_eq!(communities.own(community, account(3)).await.unwrap().roles, [low]);
    // the role allows more than its maker may do
    let more = EditRole { permissions: Some(Permissions::of(&[Permission::BanMembers])), ..EditRole::default() };
    communities.edit_role(community, low, account(OWNER), more).await.unwrap();
    communities.accept_invite(&invite, account(4)).await.unwrap();
    assert_eq!(communities.own(community, account(4)).await.unwrap().roles, []);
}

#[tokio::test]
async fn a_copy_of_an_older_state_never_counts() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    let (channel, member) = (world.first_channel(community).await, world.member(community, 2, &[]).await);
    let now_ms = world.ctx.clock.now_ms();
    let counting = async || {
        let keys = [
            CachedAccess::key(channel, member),
            CachedAccess::generation_key(community),
            CachedAccess::member_key(community, member),
        ];
        let found: Vec<Option<String>> =
            redis::cmd("MGET").arg(&keys).query_async(&mut world.ctx.redis.clone()).await.unwrap();
        let [copy, generation, of_member] = &found[..] else { panic!("{found:?}") };
        let [copy, generation, of_member] = [copy, generation, of_member].map(|text| text.as_deref());
        CachedAccess::counting(copy, generation, of_member, community, now_ms)
    };
    let ask = || world.communities.access(Access { community: None, channel, account: member });
    assert_eq!(counting().await, None, "nobody has asked");
    let access = ask().await.unwrap();
    assert!(access.permissions.contains(Permission::SendMessages));
    assert_eq!(counting().await, Some(access.clone()));

    // somebody computes an answer, something changes, and only then the answer is put there
    for changes_member in [true, false] {
        let numbers = world.store.numbers(community, member, [1, 2]).await.unwrap();
        let [Some(generation), Some(of_member)] = numbers else { panic!("{numbers:?}") };
        let role = world.role(community, "new", &[Permission::ManageMessages]).await.role;
        let numbers = world.store.numbers(community, member, [1, 2]).await.unwrap();
        assert_ne!(numbers[0], Some(generation));
        let (generation, of_member) = match changes_member {
            false => (generation, of_member),
            true => {
                world.communities.grant_role(community, (member, role), account(OWNER)).await.unwrap();
                (numbers[0].unwrap(), of_member)
            }
        };
        let late = CachedAccess { access: access.clone(), of: community, generation, member: of_member };
        world.store.keep(channel, member, &late).await.unwrap();
        assert_eq!(counting().await, None);
        let fresh = ask().await.unwrap();
        assert!(fresh.permissions.contains(Permission::ManageMessages));
        assert_eq!(counting().await, Some(fresh));
    }

    // Redis forgets, and knows nothing; without it the answer is the same
    redis::cmd("FLUSHALL").exec_async(&mut world.ctx.redis.clone()).await.unwrap();
    assert_eq!(counting().await, None);
    let fresh = ask().await.unwrap();
    world.communities.leave(community, member).await.unwrap();
    assert_eq!(counting().await, None);
    assert!(ask().await.unwrap().is_hidden() && !fresh.is_hidden());
}
