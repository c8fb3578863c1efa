//! All SurrealQL and Redis of this domain.

mod handles;

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::db::{Db, DbError, Migration, RecordId, key, vars};
use nepto_proto::AccountId;
use nepto_proto::api::accounts::Consent;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Script};
use surrealdb::types::{SurrealValue, Value, array};

#[cfg(test)]
pub use self::handles::Profile;
pub use self::handles::{Change, NewHandle};
use super::model::{Verdict, consent_text, parse_consent};

pub const SCHEMA: &[Migration] = &[PROFILES, handles::LIKENESSES];

const PROFILES: Migration = Migration {
    number: 1,
    statements: "
        -- profile:[account]
        DEFINE TABLE IF NOT EXISTS profile SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS handle ON profile TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS display_name ON profile TYPE option<string>;
        -- handle:[handle]: a handle belongs to one account
        DEFINE TABLE IF NOT EXISTS handle SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS account ON handle TYPE string;
        -- contact:[owner, other]: what owner decided about other
        DEFINE TABLE IF NOT EXISTS contact SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS consent ON contact TYPE string;
        DEFINE FIELD IF NOT EXISTS since_ms ON contact TYPE int;
        -- pair:[lower account, higher account]: guards what two decided about each other; grows with every decision
        DEFINE TABLE IF NOT EXISTS pair SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS revision ON pair TYPE int;
    ",
};

/// A cached verdict gives way to one that is as new or newer only: `<verdict>@<revision of the pair>`.
static PUT_VERDICT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local known = redis.call('GET', KEYS[1])
          if known and tonumber(string.match(known, '@(%d+)$') or 0) > tonumber(ARGV[2]) then return 0 end
          redis.call('SET', KEYS[1], ARGV[1] .. '@' .. ARGV[2], 'EX', ARGV[3])
          return 1",
    )
});

const CACHE_TTL: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, SurrealValue)]
struct ContactRow {
    id: RecordId,
    consent: String,
    since_ms: i64,
}

/// What an account decided about another one.
pub struct Decision {
    pub other: AccountId,
    pub consent: Consent,
    pub since_ms: i64,
}

/// What two accounts decided about each other, before and after a message.
#[derive(Debug, Clone, SurrealValue)]
pub struct Met {
    revision: i64,
    /// What the sender had decided before.
    before: Option<String>,
    sender: Option<String>,
    recipient: Option<String>,
}

impl Met {
    /// Whether the sender may write.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(consent_of(&self.sender), consent_of(&self.recipient))
    }

    /// Whether the recipient may answer.
    pub fn verdict_back(&self) -> Verdict {
        Verdict::of(consent_of(&self.recipient), consent_of(&self.sender))
    }

    /// Of what the pair decided: a larger one is newer.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether both accepted the other.
    pub fn mutual(&self) -> bool {
        [&self.sender, &self.recipient].map(consent_of) == [Some(Consent::Accepted); 2]
    }

    /// Whether they had not met before.
    pub fn first_contact(&self) -> bool {
        self.before.is_none()
    }
}

fn consent_of(text: &Option<String>) -> Option<Consent> {
    text.as_deref().and_then(parse_consent)
}

/// The domain's tables.
#[derive(Clone)]
pub struct Store {
    db: Db,
    redis: ConnectionManager,
}

impl Store {
    pub fn new(db: Db, redis: ConnectionManager) -> Self {
        Self { db, redis }
    }

    /// What two accounts decided about each other.
    pub async fn met(&self, from: AccountId, to: AccountId) -> Result<Met, DbError> {
        self.db
            .run(
                "{
                    LET $sender = (SELECT VALUE consent FROM ONLY $outgoing);
                    LET $recipient = (SELECT VALUE consent FROM ONLY $incoming);
                    RETURN { revision: 0, before: $sender, sender: $sender, recipient: $recipient };
                }",
                vars! { outgoing: contact_id(from, to), incoming: contact_id(to, from) },
            )
            .await
    }

    /// Notes that one wrote to the other: the sender accepts answers, the recipient has something to decide about. A block
    /// on either side changes nothing.
    pub async fn meet(&self, from: AccountId, to: AccountId, now_ms: i64) -> Result<Met, DbError> {
        self.db
            .run(
                "{
                    LET $sender = (SELECT VALUE consent FROM ONLY $outgoing);
                    LET $recipient = (SELECT VALUE consent FROM ONLY $incoming);
                    LET $revision = (SELECT VALUE revision FROM ONLY $pair) ?? 0;
                    IF $sender = 'blocked' OR $recipient = 'blocked' OR ($sender = 'accepted' AND $recipient) {
                        RETURN { revision: $revision, before: $sender, sender: $sender, recipient: $recipient };
                    };
                    IF $sender != 'accepted' { UPSERT $outgoing SET consent = 'accepted', since_ms = $now };
                    IF !$recipient { CREATE $incoming SET consent = 'requested', since_ms = $now };
                    UPSERT $pair SET revision = $revision + 1;
                    RETURN { revision: $revision + 1, before: $sender, sender: 'accepted',
                        recipient: $recipient ?? 'requested' };
                }",
                vars! {
                    outgoing: contact_id(from, to),
                    incoming: contact_id(to, from),
                    pair: pair_id(from, to),
                    now: now_ms,
                },
            )
            .await
    }

    /// Notes a decision and returns what both now think of each other.
    pub async fn decide(
        &self,
        owner: AccountId,
        other: AccountId,
        consent: Consent,
        now_ms: i64,
    ) -> Result<Met, DbError> {
        self.db
            .run(
                "{
                    LET $before = (SELECT VALUE consent FROM ONLY $outgoing);
                    UPSERT $outgoing SET consent = $consent, since_ms = $now;
                    LET $recipient = (SELECT VALUE consent FROM ONLY $incoming);
                    LET $revision = ((SELECT VALUE revision FROM ONLY $pair) ?? 0) + 1;
                    UPSERT $pair SET revision = $revision;
                    RETURN { revision: $revision, before: $before, sender: $consent, recipient: $recipient };
                }",
                vars! {
                    outgoing: contact_id(owner, other),
                    incoming: contact_id(other, owner),
                    pair: pair_id(owner, other),
                    consent: consent_text(consent).to_owned(),
                    now: now_ms,
                },
            )
            .await
    }

    /// A page of an owner's contacts, by the other's id.
    pub async fn contacts(
        &self,
        owner: AccountId,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Decision>, DbError> {
        let after = after.map_or(Value::None, |after| Value::String(after.to_string()));
        let rows: Vec<ContactRow> = self
            .db
            .run(
                "SELECT * FROM contact:[$owner, $after]>..[$owner, []] LIMIT $limit",
                vars! { owner: owner.to_string(), after: after, limit: limit as i64 },
            )
            .await?;
        Ok(rows.into_iter().filter_map(ContactRow::decision).collect())
    }

    /// Which of these have accepted the asker.
    pub async fn who_accepts(&self, asker: AccountId, accounts: &[AccountId]) -> Result<Vec<AccountId>, DbError> {
        let ids: Vec<RecordId> = accounts.iter().map(|account| contact_id(*account, asker)).collect();
        let rows: Vec<RecordId> =
            self.db.run("SELECT VALUE id FROM $ids WHERE consent = 'accepted'", vars! { ids: ids }).await?;
        Ok(rows.iter().filter_map(|id| part(id, 0)).collect())
    }

    /// Puts into Redis what one may do to the other, unless something newer stands there.
    pub async fn cache(&self, from: AccountId, to: AccountId, verdict: Verdict, met: &Met) -> redis::RedisResult<()> {
        PUT_VERDICT
            .key(Verdict::cache_key(from, to))
            .arg(verdict.as_str())
            .arg(met.revision())
            .arg(CACHE_TTL.as_secs())
            .invoke_async(&mut self.redis.clone())
            .await
    }

    /// Forgets a verdict: the next message asks again.
    pub async fn forget(&self, from: AccountId, to: AccountId) -> redis::RedisResult<()> {
        self.redis.clone().del(Verdict::cache_key(from, to)).await
    }
}

impl ContactRow {
    fn decision(self) -> Option<Decision> {
        Some(Decision { other: part(&self.id, 1)?, consent: parse_consent(&self.consent)?, since_ms: self.since_ms })
    }
}

fn pair_id(a: AccountId, b: AccountId) -> RecordId {
    RecordId::new("pair", array![a.min(b).to_string(), a.max(b).to_string()])
}

fn part(id: &RecordId, index: usize) -> Option<AccountId> {
    key::text(id, index)?.parse().ok()
}

fn contact_id(owner: AccountId, other: AccountId) -> RecordId {
    RecordId::new("contact", array![owner.to_string(), other.to_string()])
}
