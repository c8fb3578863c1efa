//! What decides about one account in one channel, and its copy in Redis.

use nepto_kit::db::{DbError, Rows, vars};
use nepto_proto::svc::communities::CachedAccess;
use nepto_proto::{AccountId, ChannelId, CommunityId};
use redis::AsyncCommands;
use surrealdb::types::SurrealValue;

use super::Store;
use super::rows::*;

/// What decides about one account in a community, and in a channel of it if one was asked for.
#[derive(Debug, Clone, SurrealValue)]
pub struct Found {
    pub community: CommunityRow,
    pub member: Option<MemberRow>,
    pub channel: Option<ChannelRow>,
    pub time_out: Option<TimeOutRow>,
    pub roles: Rows<RoleRow>,
}

impl Store {
    /// What decides about an account, of one moment. `None` where there is no such community.
    pub async fn found(
        &self,
        community: CommunityId,
        channel: Option<ChannelId>,
        account: AccountId,
    ) -> Result<Option<Found>, DbError> {
        self.db
            .run(
                "{
                    LET $found = (SELECT * FROM ONLY $id);
                    IF !$found { RETURN NONE };
                    LET $own = (SELECT * FROM ONLY $member);
                    LET $there = IF $channel = NONE { NONE } ELSE { (SELECT * FROM ONLY $channel) };
                    LET $has = array::append($own.granted ?? [], $community)
                        .map(|$role| type::record('role', [$community, $role]));
                    RETURN {
                        community: $found,
                        member: $own,
                        channel: $there,
                        time_out: (SELECT * FROM ONLY $time_out),
                        roles: (SELECT * FROM $has)
                    };
                }",
                vars! {
                    id: community_id(community),
                    community: community.to_string(),
                    member: member_id(community, account),
                    channel: channel.map(|channel| channel_id(community, channel)),
                    time_out: time_out_id(community, account),
                },
            )
            .await
    }

    /// The numbers that a copy is made under, which there are afterwards: that of the community and that of the member. To be read
    /// before the database is.
    pub async fn numbers(
        &self,
        community: CommunityId,
        account: AccountId,
        new: [u64; 2],
    ) -> redis::RedisResult<[Option<u64>; 2]> {
        let keys = [CachedAccess::generation_key(community), CachedAccess::member_key(community, account)];
        let mut pipeline = redis::pipe();
        for (key, number) in keys.iter().zip(new) {
            let number = CachedAccess::encode_number(number);
            pipeline
                .cmd("SET")
                .arg(key)
                .arg(number)
                .arg("NX")
                .arg("EX")
                .arg(CachedAccess::NUMBER_TTL.as_secs())
                .ignore();
        }
        pipeline.mget(&keys[..]);
        let (found,): (Vec<Option<String>>,) = pipeline.query_async(&mut self.redis.clone()).await?;
        let number = |at: usize| found.get(at)?.as_deref().and_then(CachedAccess::parse_number);
        Ok([number(0), number(1)])
    }

    /// Another number, of a member or of the whole community: no copy of before counts any more.
    pub async fn renew(&self, community: CommunityId, account: Option<AccountId>, new: u64) -> redis::RedisResult<()> {
        let key = match account {
            Some(account) => CachedAccess::member_key(community, account),
            None => CachedAccess::generation_key(community),
        };
        self.redis.clone().set_ex(key, CachedAccess::encode_number(new), CachedAccess::NUMBER_TTL.as_secs()).await
    }

    /// Keeps a copy for gateways.
    pub async fn keep(&self, channel: ChannelId, account: AccountId, copy: &CachedAccess) -> redis::RedisResult<()> {
        let key = CachedAccess::key(channel, account);
        self.redis.clone().set_ex(key, copy.encode(), CachedAccess::TTL.as_secs()).await
    }
}
