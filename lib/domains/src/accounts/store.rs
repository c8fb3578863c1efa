//! All SurrealQL and Redis of this domain.

mod handles;

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::db::{Db, DbError, Id, Migration, Portions, RecordId, Table, Text, vars};
use nepto_kit::redis::Redis;
use nepto_proto::AccountId;
use nepto_proto::api::accounts::Consent;
use redis::{AsyncCommands, Script};
use surrealdb::types::{SurrealValue, Value, array};

pub use self::handles::{Change, NewHandle, Profile};
use super::model::{OPEN_REQUESTS_MAX, OPEN_REQUESTS_READ, rank};
use nepto_proto::svc::accounts::{Standing, Verdict};

pub const SCHEMA: &[Migration] = &[PROFILES, handles::LIKENESSES, handles::D_IS_LIKE_CL, OPEN_REQUESTS];

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
    rows: &[],
    compatible_from: None,
};

/// Requests from before count as those of accounts that were not young.
const OPEN_REQUESTS: Migration = Migration {
    number: 5,
    statements: "
        -- open_request:[owner, rank, since, other]: the contacts of an owner that others made, in the order in which they go
        DEFINE TABLE IF NOT EXISTS open_request SCHEMAFULL;
        -- none of what the owner decided
        DEFINE FIELD IF NOT EXISTS rank ON contact TYPE option<int>;
    ",
    rows: &[Portions {
        table: "contact",
        change: "FOR $row IN (SELECT id, since_ms FROM $rows WHERE consent = 'requested' AND rank = NONE) {
            LET $key = record::id($row.id);
            UPSERT type::record('open_request', [$key[0], 1, $row.since_ms, $key[1]]) RETURN NONE;
            UPDATE $row.id SET rank = 1 RETURN NONE;
        }",
    }],
    compatible_from: None,
};

/// A cached standing gives way to one that is as new or newer only: `<verdict, or ask>@<revision of the pair>`.
static PUT_STANDING: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local known = redis.call('GET', KEYS[1])
          if known and tonumber(string.match(known, '@(%d+)$') or 0) > tonumber(ARGV[2]) then return 0 end
          redis.call('SET', KEYS[1], ARGV[1] .. '@' .. ARGV[2], 'EX', ARGV[3])
          return 1",
    )
});

const CACHE_TTL: Duration = Duration::from_secs(300);
/// From the check of a message to the note that it is stored.
const WRITING_TTL: Duration = Duration::from_secs(10);

/// The table `contact`; ids are `contact:[owner, other]`.
#[derive(Debug)]
struct Contacts;

impl Table for Contacts {
    const NAME: &'static str = "contact";
    type Key = (Text<AccountId>, Text<AccountId>);
}

#[derive(Debug, Clone, SurrealValue)]
struct ContactRow {
    id: Id<Contacts>,
    consent: Text<Consent>,
    since_ms: i64,
}

/// What an account decided about another one.
pub struct Decision {
    pub other: AccountId,
    pub consent: Consent,
    pub since_ms: i64,
}

/// What two accounts decided about each other.
#[derive(Debug, Clone, SurrealValue)]
pub struct Known {
    revision: i64,
    one: Option<Text<Consent>>,
    other: Option<Text<Consent>>,
}

impl Known {
    /// How the first one stands with the other.
    pub fn standing(&self) -> Standing {
        let [one, other] = self.consents();
        Standing::of(one, other)
    }

    /// How the other stands with the first one.
    pub fn standing_back(&self) -> Standing {
        let [one, other] = self.consents();
        Standing::of(other, one)
    }

    /// What the first one thinks of the other, and the other of the first one.
    pub fn consents(&self) -> [Option<Consent>; 2] {
        [self.one, self.other].map(|consent| consent.map(|Text(consent)| consent))
    }

    /// Of what the pair decided: a larger one is newer.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The first one knows nothing of the other: they have not been written to, nor written, nor decided.
    pub fn is_new(&self) -> bool {
        self.one.is_none()
    }
}

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

    /// What two accounts decided about each other.
    pub async fn known(&self, one: AccountId, other: AccountId) -> Result<Known, DbError> {
        self.db
            .run(
                "{
                    LET $one = (SELECT VALUE consent FROM ONLY $outgoing);
                    LET $other = (SELECT VALUE consent FROM ONLY $incoming);
                    LET $revision = (SELECT VALUE revision FROM ONLY $pair) ?? 0;
                    RETURN { revision: $revision, one: $one, other: $other };
                }",
                vars! {
                    outgoing: contact_id(one, other),
                    incoming: contact_id(other, one),
                    pair: pair_id(one, other),
                },
            )
            .await
    }

    /// Notes that one wrote to the other: the sender accepts answers, the recipient has something to decide about. A block
    /// on either side changes nothing. What has waited for a decision since `before_ms` goes, and where too much does, what ranks
    /// first; what the recipient decided stays.
    pub async fn meet(&self, from: AccountId, to: AccountId, now_ms: i64, before_ms: i64) -> Result<Known, DbError> {
        self.db
            .run(
                "{
                    LET $sender = (SELECT VALUE consent FROM ONLY $outgoing);
                    LET $recipient = (SELECT VALUE consent FROM ONLY $incoming);
                    LET $revision = (SELECT VALUE revision FROM ONLY $pair) ?? 0;
                    IF $sender = 'blocked' OR $recipient = 'blocked' OR ($sender = 'accepted' AND $recipient) {
                        RETURN { revision: $revision, one: $sender, other: $recipient };
                    };
                    IF $sender != 'accepted' {
                        LET $asked = (SELECT rank, since_ms FROM ONLY $outgoing);
                        IF $asked.rank != NONE {
                            DELETE type::record('open_request', [$from, $asked.rank, $asked.since_ms, $to]) RETURN NONE;
                        };
                        UPSERT $outgoing SET consent = 'accepted', since_ms = $now, rank = NONE;
                    };
                    IF !$recipient {
                        LET $known = (SELECT VALUE id FROM type::record('open_request', [$to]..[$to, []]) LIMIT $read);
                        LET $open = $known.filter(|$id| record::id($id)[2] >= $before);
                        LET $old = $known.filter(|$id| record::id($id)[2] < $before);
                        LET $surplus = IF array::len($open) < $max { [] }
                            ELSE { array::slice($open, 0, array::len($open) - $max + 1) };
                        LET $gone = array::concat($old, $surplus);
                        LET $dropped = (SELECT VALUE type::record('contact', [record::id(id)[0], record::id(id)[3]])
                            FROM $gone);
                        DELETE $dropped WHERE consent = 'requested' RETURN NONE;
                        DELETE $gone RETURN NONE;
                        UPSERT type::record('open_request', [$to, $rank, $now, $from]) RETURN NONE;
                        CREATE $incoming SET consent = 'requested', since_ms = $now, rank = $rank;
                    };
                    UPSERT $pair SET revision = $revision + 1;
                    RETURN { revision: $revision + 1, one: 'accepted', other: $recipient ?? 'requested' };
                }",
                vars! {
                    outgoing: contact_id(from, to),
                    incoming: contact_id(to, from),
                    pair: pair_id(from, to),
                    from: from.to_string(),
                    to: to.to_string(),
                    rank: rank(from, now_ms),
                    max: OPEN_REQUESTS_MAX,
                    read: OPEN_REQUESTS_READ,
                    before: before_ms,
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
    ) -> Result<Known, DbError> {
        self.db
            .run(
                "{
                    LET $asked = (SELECT rank, since_ms FROM ONLY $outgoing);
                    IF $asked.rank != NONE {
                        DELETE type::record('open_request', [$owner, $asked.rank, $asked.since_ms, $who]) RETURN NONE;
                    };
                    UPSERT $outgoing SET consent = $consent, since_ms = $now, rank = NONE;
                    LET $other = (SELECT VALUE consent FROM ONLY $incoming);
                    LET $revision = ((SELECT VALUE revision FROM ONLY $pair) ?? 0) + 1;
                    UPSERT $pair SET revision = $revision;
                    RETURN { revision: $revision, one: $consent, other: $other };
                }",
                vars! {
                    outgoing: contact_id(owner, other),
                    incoming: contact_id(other, owner),
                    pair: pair_id(owner, other),
                    owner: owner.to_string(),
                    who: other.to_string(),
                    consent: Text(consent),
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
            .rows(
                "SELECT id, consent, since_ms FROM type::record('contact', [$owner, $after]>..[$owner, []])
                    LIMIT $limit",
                vars! { owner: owner.to_string(), after: after, limit: limit as i64 },
            )
            .await?;
        Ok(rows.into_iter().map(ContactRow::decision).collect())
    }

    /// Which of these have accepted the asker.
    pub async fn who_accepts(&self, asker: AccountId, accounts: &[AccountId]) -> Result<Vec<AccountId>, DbError> {
        let ids: Vec<RecordId> = accounts.iter().map(|account| contact_id(*account, asker)).collect();
        let rows: Vec<Id<Contacts>> =
            self.db.rows("SELECT VALUE id FROM $ids WHERE consent = 'accepted'", vars! { ids: ids }).await?;
        Ok(rows.into_iter().map(|Id((Text(account), _))| account).collect())
    }

    /// Puts into Redis how one stands with the other, unless something newer stands there. What is not settled is put there
    /// as well, as a word that says to ask: an answer of before that was slower must not come after it. Where the two have never
    /// decided anything there was none before, and whoever names strangers puts nothing there.
    pub async fn cache(
        &self,
        from: AccountId,
        to: AccountId,
        standing: Standing,
        known: &Known,
    ) -> redis::RedisResult<()> {
        if known.revision() == 0 && !standing.settled {
            return Ok(());
        }
        PUT_STANDING
            .key(Verdict::cache_key(from, to))
            .arg(standing.cached())
            .arg(known.revision())
            .arg(CACHE_TTL.as_secs())
            .invoke_async(&mut self.redis.clone())
            .await
    }

    /// Notes for seconds that a message is on its way; whoever answers is asked for again.
    pub async fn begin_writing(&self, from: AccountId, to: AccountId, known: &Known) -> redis::RedisResult<()> {
        let () = self.redis.clone().set_ex(writing_key(from, to), 1, WRITING_TTL.as_secs()).await?;
        let answers = Standing { settled: false, ..known.standing_back() };
        self.cache(to, from, answers, known).await
    }

    /// Whether a message is on its way.
    pub async fn is_writing(&self, from: AccountId, to: AccountId) -> redis::RedisResult<bool> {
        self.redis.clone().exists(writing_key(from, to)).await
    }

    /// What was on its way is noted.
    pub async fn end_writing(&self, from: AccountId, to: AccountId) -> redis::RedisResult<()> {
        self.redis.clone().del(writing_key(from, to)).await
    }
}

#[cfg(test)]
#[derive(Debug, Clone, SurrealValue)]
struct Copied {
    from: RecordId,
    to: Vec<RecordId>,
}

#[cfg(test)]
impl Store {
    /// Gives accounts, two by two, copies of the rows that two others have about each other.
    pub async fn copy_two(&self, from: [AccountId; 2], to: &[[AccountId; 2]]) -> Result<(), DbError> {
        let rows = |[one, other]: [AccountId; 2]| [contact_id(one, other), contact_id(other, one), pair_id(one, other)];
        let mut copies = rows(from).map(|from| Copied { from, to: Vec::new() });
        for two in to {
            copies.iter_mut().zip(rows(*two)).for_each(|(copied, to)| copied.to.push(to));
        }
        let statement = "FOR $copy IN $copies {
            LET $row = (SELECT * OMIT id FROM ONLY $copy.from);
            IF $row { FOR $to IN $copy.to { CREATE $to CONTENT $row RETURN NONE } };
        }";
        self.db.execute(statement, vars! { copies: Vec::from(copies) }).await
    }

    /// What each of two has decided about the other, of several twos.
    pub async fn consents_of_two(&self, twos: &[[AccountId; 2]]) -> Result<Vec<[Option<Consent>; 2]>, DbError> {
        let both = |[one, other]: [AccountId; 2]| [(one, other), (other, one)];
        let ids: Vec<RecordId> =
            twos.iter().flat_map(|two| both(*two)).map(|(owner, other)| contact_id(owner, other)).collect();
        let rows: Vec<ContactRow> = self.db.rows("SELECT id, consent, since_ms FROM $ids", vars! { ids: ids }).await?;
        let consents: std::collections::HashMap<_, _> = rows
            .into_iter()
            .map(|ContactRow { id: Id((Text(owner), Text(other))), consent: Text(consent), .. }| {
                ((owner, other), consent)
            })
            .collect();
        Ok(twos.iter().map(|two| both(*two).map(|of| consents.get(&of).copied())).collect())
    }
}

/// Where the note is that a message is on its way.
pub fn writing_key(from: AccountId, to: AccountId) -> String {
    format!("writing:{from}:{to}")
}

impl ContactRow {
    fn decision(self) -> Decision {
        let Id((_, Text(other))) = self.id;
        Decision { other, consent: self.consent.0, since_ms: self.since_ms }
    }
}

fn pair_id(a: AccountId, b: AccountId) -> RecordId {
    RecordId::new("pair", array![a.min(b).to_string(), a.max(b).to_string()])
}

fn contact_id(owner: AccountId, other: AccountId) -> RecordId {
    Id::<Contacts>((Text(owner), Text(other))).record()
}
