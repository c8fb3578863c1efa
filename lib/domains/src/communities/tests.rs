//! The rules that communities keep.

mod ends;
mod power;
mod races;
mod seeing;

use nepto_kit::clock::Clock;
use nepto_kit::domain::Parts;
use nepto_kit::service::Service;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::auth::Wallets;
use nepto_proto::api::communities::roles::{NewRole, Role};
use nepto_proto::api::communities::{NewCommunity, NewInvite, Visibility};
use nepto_proto::permissions::{Permission, Permissions};
use nepto_proto::svc::auth::{FindAccount, FoundAccount};
use nepto_proto::{AccountId, ChannelId, CommunityId, ErrorCode, RoleId};
use nepto_testkit::{Nats, Redis, eventually, seconds};

use super::ops::Communities;
use super::store::Store;
use crate::testing::{account, connected, database};

/// Whoever owns the community of a test.
const OWNER: u128 = 1;

/// A process with the domain, whose clock stands still until it is moved.
struct World {
    _servers: (Nats, Redis),
    ctx: Ctx,
    communities: Communities,
    store: Store,
}

impl World {
    async fn new() -> Self {
        let (nats, redis) = tokio::try_join!(Nats::start(), Redis::start()).unwrap();
        let mut ctx = connected(&nats, &redis, |_| {}).await;
        ctx.clock = Clock::manual(Clock::default().now());
        let parts = Parts::new(&ctx, database(super::domain()).await);
        let store = Store::new(parts.db().unwrap().clone(), ctx.redis.clone());
        Self { communities: Communities::new(&parts).unwrap(), store, ctx, _servers: (nats, redis) }
    }

    /// A community of `OWNER`'s.
    async fn community(&self, visibility: Visibility) -> CommunityId {
        let new = NewCommunity { name: "Gardeners".into(), description: String::new(), visibility };
        self.communities.create(account(OWNER), new).await.unwrap().community
    }

    /// The channel that it began with.
    async fn first_channel(&self, community: CommunityId) -> ChannelId {
        self.communities.channels(community, account(OWNER)).await.unwrap().channels[0].channel
    }

    /// A role that its owner makes, the lowest.
    async fn role(&self, community: CommunityId, name: &str, permissions: &[Permission]) -> Role {
        let new = NewRole {
            name: name.into(),
            color: None,
            permissions: Permissions::of(permissions),
            hoisted: false,
            mentionable: false,
        };
        self.communities.create_role(community, account(OWNER), new).await.unwrap()
    }

    /// A member, who joined by themselves and got these roles of the owner.
    async fn member(&self, community: CommunityId, number: u128, roles: &[RoleId]) -> AccountId {
        let member = account(number);
        self.communities.join(community, member).await.unwrap();
        for role in roles {
            self.communities.grant_role(community, (member, *role), account(OWNER)).await.unwrap();
        }
        member
    }

    /// A code that the owner made.
    async fn code(&self, community: CommunityId, uses: Option<u32>, role: Option<RoleId>) -> String {
        let new = NewInvite { uses, role, expires_after_s: None };
        self.communities.create_invite(community, account(OWNER), new).await.unwrap().code
    }

    /// From here on every account exists.
    async fn with_accounts(&self) {
        let found = |asked: FindAccount| async move {
            let FindAccount::Id(account) = asked else { return Ok(None) };
            let wallets = Wallets { root: "0xA".into(), wallets: vec!["0xA".into()], links: Vec::new() };
            Ok(Some(FoundAccount { account, wallets }))
        };
        tokio::spawn(Service::new(found).serve(self.ctx.clone()));
        let anybody = FindAccount::Id(account(1));
        eventually(seconds(5), async || Ok(self.ctx.call(&anybody).await.is_ok())).await.unwrap();
    }
}

/// What was refused.
fn code<T>(result: Result<T, Failure>) -> ErrorCode {
    match result {
        Err(failure) => failure.code,
        Ok(_) => panic!("nothing was refused"),
    }
}
