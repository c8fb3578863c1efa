//! What everybody asks: what an account may do in a channel; and telling those who keep copies of it.

use nepto_kit::Failure;
use nepto_proto::event::CommunityNotice;
use nepto_proto::subject;
use nepto_proto::svc::communities::{Access, AccessIn, CachedAccess, CommunityStanding, Standing};
use nepto_proto::{AccountId, CommunityId};

use super::Communities;
use crate::communities::model::{self, Powers};

impl Communities {
    /// What an account may do in a channel. A copy is put into Redis under the numbers that were there before the database was
    /// read; without Redis the answer is the same, and nobody keeps it.
    pub async fn access(&self, Access { community, channel, account }: Access) -> Result<AccessIn, Failure> {
        // first, so that ids of nothing leave nothing in Redis
        let Some(of) = self.store.community_of(channel).await? else { return Ok(AccessIn::HIDDEN) };
        if community.is_some_and(|community| community != of) {
            return Ok(AccessIn::HIDDEN);
        }
        let new = [self.number(), self.number()];
        let numbers = self.store.numbers(of, account, new).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "access is answered without a copy");
            [None, None]
        });
        let found = self.store.found(of, Some(channel), account).await?;
        let access = found.map_or(AccessIn::HIDDEN, |found| model::access(&found, self.now_ms()));
        if let [Some(generation), Some(member)] = numbers {
            let copy = CachedAccess { access: access.clone(), of, generation, member };
            if let Err(error) = self.store.keep(channel, account, &copy).await {
                tracing::debug!(%error, "no copy of an access was kept");
            }
        }
        Ok(access)
    }

    /// What an account is in a community.
    pub async fn standing(
        &self,
        CommunityStanding { community, account }: CommunityStanding,
    ) -> Result<Option<Standing>, Failure> {
        let found = self.store.found(community, None, account).await?;
        let powers = found.and_then(|found| Powers::found(&found, self.now_ms()));
        Ok(powers.map(|powers| powers.standing()))
    }

    fn number(&self) -> u64 {
        u64::from_be_bytes(self.ctx.random.bytes())
    }

    /// Another number in Redis, so that no copy of before counts, and a word to the sockets that listen. What does not work now is
    /// done by the event that was committed with the change.
    pub(super) async fn tell(&self, community: CommunityId, account: Option<AccountId>) {
        if let Err(failure) = self.tell_again(community, account).await {
            failure.log();
        }
    }

    /// The same, for the event: what does not work is tried again.
    pub async fn tell_again(&self, community: CommunityId, account: Option<AccountId>) -> Result<(), Failure> {
        self.store.renew(community, account, self.number()).await?;
        let notice = CommunityNotice::AccessChanged { account };
        let notice = serde_json::to_vec(&notice).map_err(Failure::internal)?;
        let told = self.ctx.nats.publish(subject::live_community(community), notice.into()).await;
        told.map_err(|error| Failure::unavailable("NATS", error))
    }
}
