//! All SurrealQL and Redis of this domain, beside that of `channel/`.
//!
//! Who may do what is decided by pure rules over what was read ([`Seen`]), and what they decided is committed only if the guard
//! of the community, and the seats of those whom it is about, are still what was read ([`Change`]). Each commit writes them, so
//! that two that build on the same state conflict: nobody acts by a permission that was just taken.

mod access;
mod change;
mod joining;
mod pages;
mod removal;
mod restored;
mod rows;
mod schema;
mod seen;

use nepto_kit::db::{Db, DbError, Migration, Text, vars};
use nepto_kit::redis::Redis;
use nepto_proto::{ChannelId, CommunityId};

pub use self::access::Found;
pub use self::change::{Change, Revision};
pub use self::joining::{Joined, Joining};
pub use self::pages::View;
pub use self::restored::after_restore;
pub use self::rows::*;
pub use self::seen::Seen;
use super::channel;

/// Every version of the tables: those of `channel/` have numbers of their own.
pub const SCHEMA: &[Migration] = &[schema::COMMUNITIES, channel::SCHEMA];

/// The domain's tables.
#[derive(Clone)]
pub struct Store {
    db: Db,
    redis: Redis,
}

impl Store {
    pub fn new(db: Db, redis: Redis) -> Self {
        Self { db, redis }
    }

    /// The community that a channel belongs to.
    pub async fn community_of(&self, channel: ChannelId) -> Result<Option<CommunityId>, DbError> {
        let community: Option<Text<CommunityId>> =
            self.db.run("SELECT VALUE community FROM ONLY $id", vars! { id: channel_of_id(channel) }).await?;
        Ok(community.map(|community| community.0))
    }
}
