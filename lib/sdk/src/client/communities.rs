//! Communities: what belongs to them, all pages at once. Everything else of them is asked with [`Http::call`](crate::http::Http::call)
//! by the endpoints of [`nepto_proto::api::endpoints`].

use nepto_proto::api::communities::channels::Channel;
use nepto_proto::api::communities::members::{Ban, Member};
use nepto_proto::api::communities::roles::Role;
use nepto_proto::api::communities::{Community, Invite, OwnMembership};
use nepto_proto::api::endpoint::NoParameters;
use nepto_proto::api::endpoints::communities::{
    AcceptInvite, CommunitiesPage, CommunityPath, InviteCodePath, InvitesPage, JoinCommunity, LeaveCommunity,
    ListCommunities, ListInvites,
};
use nepto_proto::api::endpoints::community_channels::ListChannels;
use nepto_proto::api::endpoints::community_members::{ListBans, ListMembers, ListRoles, MembersPage};
use nepto_proto::{AccountId, CommunityId};

use super::Client;
use crate::SdkError;

const NONE: &NoParameters = &NoParameters {};
/// Pages that are read of one list; what is beyond them is for programs that page themselves.
const PAGES_MAX: usize = 50;

impl Client {
    /// The communities that the account belongs to, and those that it deleted and may still restore.
    pub async fn communities(&self) -> Result<Vec<Community>, SdkError> {
        let (mut all, mut page) = (Vec::new(), CommunitiesPage::default());
        for _ in 0..PAGES_MAX {
            let answer = self.inner.http.call::<ListCommunities>(NONE, &page, &()).await?;
            all.extend(answer.communities);
            page.after = answer.next.and_then(|next| next.parse().ok());
            if page.after.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Joins a community that is public or unlisted.
    pub async fn join_community(&self, community: CommunityId) -> Result<OwnMembership, SdkError> {
        self.inner.http.call::<JoinCommunity>(&CommunityPath { community }, NONE, &()).await
    }

    /// Joins a community by an invite.
    pub async fn accept_invite(&self, code: &str) -> Result<Community, SdkError> {
        self.inner.http.call::<AcceptInvite>(&InviteCodePath { code: code.to_owned() }, NONE, &()).await
    }

    /// Leaves a community.
    pub async fn leave_community(&self, community: CommunityId) -> Result<(), SdkError> {
        self.inner.http.call::<LeaveCommunity>(&CommunityPath { community }, NONE, &()).await
    }

    /// The channels that the account may see, by position.
    pub async fn channels(&self, community: CommunityId) -> Result<Vec<Channel>, SdkError> {
        Ok(self.inner.http.call::<ListChannels>(&CommunityPath { community }, NONE, &()).await?.channels)
    }

    /// The roles of a community, the lowest first.
    pub async fn roles(&self, community: CommunityId) -> Result<Vec<Role>, SdkError> {
        Ok(self.inner.http.call::<ListRoles>(&CommunityPath { community }, NONE, &()).await?.roles)
    }

    /// Members of a community, from behind this one on, up to so many; and where more begin.
    pub async fn members(
        &self,
        community: CommunityId,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<(Vec<Member>, Option<AccountId>), SdkError> {
        let (mut all, mut page) = (Vec::new(), MembersPage { after, limit: None });
        while all.len() < limit {
            let answer = self.inner.http.call::<ListMembers>(&CommunityPath { community }, &page, &()).await?;
            all.extend(answer.members);
            page.after = answer.next;
            if page.after.is_none() {
                break;
            }
        }
        if all.len() > limit {
            all.truncate(limit);
            page.after = all.last().map(|member| member.account);
        }
        Ok((all, page.after))
    }

    /// Who may not join a community.
    pub async fn bans(&self, community: CommunityId) -> Result<Vec<Ban>, SdkError> {
        let (mut all, mut page) = (Vec::new(), MembersPage::default());
        for _ in 0..PAGES_MAX {
            let answer = self.inner.http.call::<ListBans>(&CommunityPath { community }, &page, &()).await?;
            all.extend(answer.bans);
            page.after = answer.next;
            if page.after.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// The invites of a community: all of them for who manages it, their own for others.
    pub async fn invites(&self, community: CommunityId) -> Result<Vec<Invite>, SdkError> {
        let (mut all, mut page) = (Vec::new(), InvitesPage::default());
        for _ in 0..PAGES_MAX {
            let answer = self.inner.http.call::<ListInvites>(&CommunityPath { community }, &page, &()).await?;
            all.extend(answer.invites);
            page.after = answer.next;
            if page.after.is_none() {
                break;
            }
        }
        Ok(all)
    }
}
