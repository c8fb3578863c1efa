//! All SurrealQL and Redis of this domain.

mod contract_wallets;
mod invites;
mod owners;
mod restored;

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::clock::from_ms;
use nepto_kit::db::{Bytes, Db, DbError, Id, Int, Migration, RecordId, Table, Text, vars};
use nepto_kit::outbox;
use nepto_kit::redis::Redis;
use nepto_proto::api::auth::{Session, Wallets};
use nepto_proto::certificate::{SignedMessage, WalletLink};
use nepto_proto::svc::auth::SessionState;
use nepto_proto::{AccountId, DeviceId, ErrorCode, SessionId};
use redis::AsyncCommands;
use redis::Script;
use surrealdb::types::SurrealValue;

pub use self::contract_wallets::ContractWalletRow;
use self::contract_wallets::contract_wallet_id;
use self::invites::invite_id;
pub use self::invites::shown_id;
pub use self::restored::after_restore;
use super::invites::Code;

pub const SCHEMA: &[Migration] = &[
    Migration {
        number: 1,
        statements: "
            -- account:[account]
            DEFINE TABLE IF NOT EXISTS account SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS root ON account TYPE string;
            DEFINE FIELD IF NOT EXISTS wallets ON account TYPE array<string> ASSERT array::len($value) <= 10;
            DEFINE FIELD IF NOT EXISTS links ON account TYPE array<object>;
            DEFINE FIELD IF NOT EXISTS links.* ON account TYPE object;
            DEFINE FIELD IF NOT EXISTS links.*.approval ON account TYPE object;
            DEFINE FIELD IF NOT EXISTS links.*.approval.message ON account TYPE string;
            DEFINE FIELD IF NOT EXISTS links.*.approval.signature ON account TYPE string;
            DEFINE FIELD IF NOT EXISTS links.*.consent ON account TYPE object;
            DEFINE FIELD IF NOT EXISTS links.*.consent.message ON account TYPE string;
            DEFINE FIELD IF NOT EXISTS links.*.consent.signature ON account TYPE string;
            DEFINE FIELD IF NOT EXISTS created_at_ms ON account TYPE int;
            -- wallet:[address]: a wallet belongs to one account
            DEFINE TABLE IF NOT EXISTS wallet SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS account ON wallet TYPE string;
            -- session:[account, session]
            DEFINE TABLE IF NOT EXISTS session SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS device ON session TYPE int;
            DEFINE FIELD IF NOT EXISTS wallet ON session TYPE string;
            DEFINE FIELD IF NOT EXISTS generation ON session TYPE int;
            DEFINE FIELD IF NOT EXISTS created_at_ms ON session TYPE int;
            DEFINE FIELD IF NOT EXISTS refreshed_at_ms ON session TYPE int;
            DEFINE FIELD IF NOT EXISTS expires_at_ms ON session TYPE int;
            DEFINE INDEX IF NOT EXISTS session_expiry ON session FIELDS expires_at_ms;
        ",
        rows: &[],
        compatible_from: None,
    },
    Migration {
        number: 2,
        statements: "
            -- contract_wallet:[address]: a wallet that signed as a contract belongs to one chain
            DEFINE TABLE IF NOT EXISTS contract_wallet SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS chain_id ON contract_wallet TYPE int;
            DEFINE FIELD IF NOT EXISTS block ON contract_wallet TYPE int;
            DEFINE FIELD IF NOT EXISTS due_at_ms ON contract_wallet TYPE int;
            DEFINE INDEX IF NOT EXISTS contract_wallet_due ON contract_wallet FIELDS due_at_ms;
        ",
        rows: &[],
        compatible_from: None,
    },
    Migration {
        number: 3,
        statements: "
            -- signs each refresh; sessions that began before this was kept have none
            DEFINE FIELD IF NOT EXISTS identity_key ON session TYPE option<bytes>;
        ",
        rows: &[],
        compatible_from: None,
    },
    invites::INVITES,
];

#[derive(Debug, Clone, SurrealValue)]
struct Signed {
    message: String,
    signature: String,
}

#[derive(Debug, Clone, SurrealValue)]
struct Link {
    approval: Signed,
    consent: Signed,
}

#[derive(Debug, Clone, SurrealValue)]
struct AccountRow {
    root: String,
    wallets: Vec<String>,
    links: Vec<Link>,
}

impl From<Signed> for SignedMessage {
    fn from(Signed { message, signature }: Signed) -> Self {
        Self { message, signature }
    }
}

impl From<SignedMessage> for Signed {
    fn from(SignedMessage { message, signature }: SignedMessage) -> Self {
        Self { message, signature }
    }
}

impl From<WalletLink> for Link {
    fn from(WalletLink { approval, consent }: WalletLink) -> Self {
        Self { approval: approval.into(), consent: consent.into() }
    }
}

impl From<AccountRow> for Wallets {
    fn from(row: AccountRow) -> Self {
        let link = |Link { approval, consent }| WalletLink { approval: approval.into(), consent: consent.into() };
        Self { root: row.root, wallets: row.wallets, links: row.links.into_iter().map(link).collect() }
    }
}

impl From<Wallets> for AccountRow {
    fn from(wallets: Wallets) -> Self {
        let links = wallets.links.into_iter().map(Link::from).collect();
        Self { root: wallets.root, wallets: wallets.wallets, links }
    }
}

/// A session as stored.
#[derive(Debug, Clone, SurrealValue)]
pub struct SessionRow {
    id: Id<Sessions>,
    device: Int<DeviceId>,
    pub wallet: String,
    pub identity_key: Option<Bytes>,
    pub generation: u32,
    pub created_at_ms: i64,
    pub refreshed_at_ms: i64,
    pub expires_at_ms: i64,
}

impl SessionRow {
    pub fn session(&self) -> SessionId {
        self.id.0.1.0
    }

    pub fn device(&self) -> DeviceId {
        self.device.0
    }

    /// As its owner sees it.
    pub fn to_api(&self) -> Session {
        Session {
            session: self.session(),
            device: self.device(),
            wallet: self.wallet.clone(),
            created_at: from_ms(self.created_at_ms),
            refreshed_at: from_ms(self.refreshed_at_ms),
        }
    }
}

/// The table `account`; ids are `account:[account]`.
#[derive(Debug)]
struct Accounts;

impl Table for Accounts {
    const NAME: &'static str = "account";
    type Key = Text<AccountId>;
}

/// The table `session`; ids are `session:[account, session]`.
#[derive(Debug)]
struct Sessions;

impl Table for Sessions {
    const NAME: &'static str = "session";
    type Key = (Text<AccountId>, Text<SessionId>);
}

fn account_id(account: AccountId) -> RecordId {
    Id::<Accounts>(Text(account)).record()
}

fn session_id(account: AccountId, session: SessionId) -> RecordId {
    Id::<Sessions>((Text(account), Text(session))).record()
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

    /// The account of a wallet; makes one with this id where there is none, for an invite if one is given. Throws
    /// `invite_invalid`.
    pub async fn account_of_wallet_or_new(
        &self,
        wallet: &str,
        new: AccountId,
        invite: Option<&Code>,
        now_ms: i64,
        event: outbox::Row,
    ) -> Result<AccountId, DbError> {
        let variables = vars! {
            wallet_id: RecordId::new("wallet", wallet),
            account_id: account_id(new),
            invite_id: invite.map(|code| invite_id(&code.hash())),
            wallet: wallet.to_owned(),
            new: new.to_string(),
            now: now_ms,
        };
        let Text(account) = self
            .db
            .transaction(variables)
            .then("LET $known = (SELECT VALUE account FROM ONLY $wallet_id)")
            .then("IF $known { RETURN $known }")
            .within("IF $invite_id != NONE", |invited| {
                invited
                    .then("LET $invite = (SELECT * FROM ONLY $invite_id)")
                    .refuse_if("!$invite OR $invite.expires_at_ms <= $now", ErrorCode::InviteInvalid)
                    .then(
                        "IF $invite.uses_left > 1 {
                            UPDATE $invite_id SET uses_left -= 1;
                        } ELSE {
                            DELETE $invite_id;
                        }",
                    )
            })
            .then(
                "CREATE $wallet_id SET account = $new;
                CREATE $account_id SET root = $wallet, wallets = [$wallet], links = [], created_at_ms = $now",
            )
            .emit([event])
            .then("RETURN $new")
            .run()
            .await?;
        Ok(account)
    }

    /// The wallets of an account.
    pub async fn wallets(&self, account: AccountId) -> Result<Option<Wallets>, DbError> {
        let row: Option<AccountRow> =
            self.db.run("SELECT root, wallets, links FROM ONLY $id", vars! { id: account_id(account) }).await?;
        Ok(row.map(Wallets::from))
    }

    /// Replaces the links of an account, if they are still the ones that the caller saw, and adds a wallet unless it belongs
    /// to this account already. Throws `wallet_linked`, `wallet_limit`, and `unavailable` where the links changed meanwhile.
    pub async fn link(
        &self,
        account: AccountId,
        wallet: &str,
        (seen, links): (Vec<WalletLink>, Vec<WalletLink>),
        wallets_max: usize,
        event: outbox::Row,
    ) -> Result<(), DbError> {
        let rows = |links: Vec<WalletLink>| links.into_iter().map(Link::from).collect::<Vec<_>>();
        let variables = vars! {
            wallet_id: RecordId::new("wallet", wallet),
            account_id: account_id(account),
            account: account.to_string(),
            wallet: wallet.to_owned(),
            seen: rows(seen),
            links: rows(links),
            max: wallets_max,
        };
        self.db
            .transaction(variables)
            .then("LET $owner = (SELECT VALUE account FROM ONLY $wallet_id)")
            .refuse_if("$owner AND $owner != $account", ErrorCode::WalletLinked)
            .then("LET $row = (SELECT wallets, links FROM ONLY $account_id)")
            .refuse_if("$row.links != $seen", ErrorCode::Unavailable)
            .within("IF !$owner", |new| {
                new.refuse_if("array::len($row.wallets) >= $max", ErrorCode::WalletLimit)
                    .then("CREATE $wallet_id SET account = $account; UPDATE $account_id SET wallets += $wallet")
                    .emit([event])
            })
            .then("UPDATE $account_id SET links = $links")
            .execute()
            .await
    }

    /// Replaces the wallets and links of an account by fewer, if they are still the ones that the caller saw. Throws
    /// `unavailable` where they changed meanwhile.
    pub async fn unlink(
        &self,
        account: AccountId,
        seen: Wallets,
        left: Wallets,
        gone: &[String],
        events: Vec<outbox::Row>,
    ) -> Result<(), DbError> {
        let (seen, left) = (AccountRow::from(seen), AccountRow::from(left));
        let gone =
            gone.iter().flat_map(|wallet| [RecordId::new("wallet", wallet.as_str()), contract_wallet_id(wallet)]);
        let variables = vars! {
            account_id: account_id(account),
            seen_wallets: seen.wallets,
            seen_links: seen.links,
            root: left.root,
            wallets: left.wallets,
            links: left.links,
            gone: gone.collect::<Vec<_>>(),
        };
        self.db
            .transaction(variables)
            .then("LET $row = (SELECT wallets, links FROM ONLY $account_id)")
            .refuse_if("$row.wallets != $seen_wallets OR $row.links != $seen_links", ErrorCode::Unavailable)
            .then("UPDATE $account_id SET root = $root, wallets = $wallets, links = $links; DELETE $gone")
            .emit(events)
            .execute()
            .await
    }

    /// Begins a session. Earlier sessions of the same device end; returns them.
    pub async fn begin_session(
        &self,
        beginning: Beginning<'_>,
        ttl: Duration,
        event: Option<outbox::Row>,
    ) -> Result<Vec<SessionRow>, DbError> {
        let Beginning { account, session, device, wallet, identity_key, now_ms } = beginning;
        let variables = vars! {
            id: session_id(account, session),
            account: account.to_string(),
            device: Int(device),
            wallet: wallet.to_owned(),
            identity_key: Bytes::from(identity_key.to_vec()),
            now: now_ms,
            expires: now_ms + ttl.as_millis() as i64,
        };
        self.db
            .transaction(variables)
            .then(
                "LET $before = (SELECT * FROM session:[$account, NONE]..[$account, []] WHERE device = $device);
                DELETE $before.id;
                CREATE $id SET device = $device, wallet = $wallet, identity_key = $identity_key, generation = 0,
                    created_at_ms = $now, refreshed_at_ms = $now, expires_at_ms = $expires",
            )
            .emit(event)
            .then("RETURN $before")
            .rows()
            .await
    }

    /// A session, unless it has ended.
    pub async fn session(&self, account: AccountId, session: SessionId) -> Result<Option<SessionRow>, DbError> {
        self.db.run("SELECT * FROM ONLY $id", vars! { id: session_id(account, session) }).await
    }

    /// The sessions of an account.
    pub async fn sessions(&self, account: AccountId) -> Result<Vec<SessionRow>, DbError> {
        // a range of record ids: no index, no scan
        let statement = "SELECT * FROM session:[$account, NONE]..[$account, []]";
        self.db.rows(statement, vars! { account: account.to_string() }).await
    }

    /// Moves a session on to its next refresh token, if nobody did meanwhile. Returns whether it was moved.
    pub async fn rotate(
        &self,
        account: AccountId,
        session: SessionId,
        from: u32,
        now_ms: i64,
        ttl: Duration,
    ) -> Result<bool, DbError> {
        self.db
            .run(
                "{
                    LET $row = (SELECT VALUE generation FROM ONLY $id);
                    IF $row != $from { RETURN false };
                    -- never sooner: a process whose clock is behind would sign out whoever refreshes there
                    UPDATE $id SET generation = $from + 1, refreshed_at_ms = $now,
                        expires_at_ms = math::max([expires_at_ms, $expires]);
                    RETURN true;
                }",
                vars! {
                    id: session_id(account, session),
                    from: i64::from(from),
                    now: now_ms,
                    expires: now_ms + ttl.as_millis() as i64,
                },
            )
            .await
    }

    /// Ends sessions, together with the event that says so.
    pub async fn end_sessions(
        &self,
        account: AccountId,
        sessions: &[SessionId],
        event: outbox::Row,
    ) -> Result<(), DbError> {
        let ids: Vec<RecordId> = sessions.iter().map(|session| session_id(account, *session)).collect();
        self.db.transaction(vars! { ids: ids }).then("DELETE $ids").emit([event]).execute().await
    }

    /// Removes sessions whose refresh token has expired, up to a bound. Returns how many.
    pub async fn remove_expired(&self, now_ms: i64, limit: i64) -> Result<usize, DbError> {
        let gone: Vec<RecordId> = self
            .db
            .rows(
                "{
                    LET $gone = (SELECT VALUE id FROM session WHERE expires_at_ms < $now LIMIT $limit);
                    DELETE $gone;
                    RETURN $gone;
                }",
                vars! { now: now_ms, limit: limit },
            )
            .await?;
        Ok(gone.len())
    }

    /// Keeps a nonce until it is used or expires.
    pub async fn put_nonce(&self, nonce: &str, ttl: Duration) -> redis::RedisResult<()> {
        self.redis.clone().set_ex(nonce_key(nonce), 1, ttl.as_secs().max(1)).await
    }

    /// Uses a nonce up. Returns whether it was there: true once.
    pub async fn take_nonce(&self, nonce: &str) -> redis::RedisResult<bool> {
        let taken: Option<i64> = self.redis.clone().get_del(nonce_key(nonce)).await?;
        Ok(taken.is_some())
    }

    /// Puts into Redis that a session lives, unless it was ended meanwhile: what was read before that is stale.
    pub async fn remember_live(&self, session: SessionId, ttl: Duration) -> redis::RedisResult<()> {
        LIVE.key(SessionState::key(session))
            .arg(SessionState::Revoked.as_str())
            .arg(SessionState::Live.as_str())
            .arg(ttl.as_secs().max(1))
            .invoke_async(&mut self.redis.clone())
            .await
    }

    /// Puts into Redis that a session was ended.
    pub async fn remember_revoked(&self, session: SessionId, ttl: Duration) -> redis::RedisResult<()> {
        let state = SessionState::Revoked.as_str();
        self.redis.clone().set_ex(SessionState::key(session), state, ttl.as_secs().max(1)).await
    }
}

static LIVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
          redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
          return 1",
    )
});

/// A session that begins.
pub struct Beginning<'a> {
    pub account: AccountId,
    pub session: SessionId,
    pub device: DeviceId,
    /// The wallet that signed in, EIP-55.
    pub wallet: &'a str,
    /// The Signal identity key of the device, which signs its refreshes.
    pub identity_key: &'a [u8],
    pub now_ms: i64,
}

fn nonce_key(nonce: &str) -> String {
    format!("nonce:{nonce}")
}
