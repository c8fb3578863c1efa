//! All SurrealQL of this domain.

use nepto_kit::db::{Bytes, Db, DbError, Id, Migration, RecordId, Table, Text, vars};
use nepto_proto::{AccountId, ErrorCode, MediaId};
use surrealdb::types::SurrealValue;

use super::model::{Piece, Upload, Writer};

pub const SCHEMA: &[Migration] = &[Migration {
    number: 1,
    statements: "
        -- upload:[media]: an unfinished one
        DEFINE TABLE IF NOT EXISTS upload SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS account ON upload TYPE string;
        DEFINE FIELD IF NOT EXISTS length ON upload TYPE int;
        DEFINE FIELD IF NOT EXISTS received ON upload TYPE int;
        DEFINE FIELD IF NOT EXISTS pieces ON upload TYPE array<string>;
        DEFINE FIELD IF NOT EXISTS claim ON upload TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS claimed_until_ms ON upload TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS expires_at_ms ON upload TYPE int;
        -- grows with every change, so that of two only one counts
        DEFINE FIELD IF NOT EXISTS revision ON upload TYPE int;
        DEFINE INDEX IF NOT EXISTS upload_expiry ON upload FIELDS expires_at_ms;
        -- file:[media]: what an account stores, and for what: a reference to a blob
        DEFINE TABLE IF NOT EXISTS file SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS account ON file TYPE string;
        DEFINE FIELD IF NOT EXISTS purpose ON file TYPE string;
        DEFINE FIELD IF NOT EXISTS digest ON file TYPE string;
        DEFINE FIELD IF NOT EXISTS length ON file TYPE int;
        -- whether its blob is stored, and it can be read
        DEFINE FIELD IF NOT EXISTS ready ON file TYPE bool;
        DEFINE FIELD IF NOT EXISTS expires_at_ms ON file TYPE int;
        DEFINE INDEX IF NOT EXISTS file_expiry ON file FIELDS expires_at_ms;
        -- blob:[digest]: bytes that are stored once, and how many files name them
        DEFINE TABLE IF NOT EXISTS blob SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS named ON blob TYPE int;
        DEFINE FIELD IF NOT EXISTS stored ON blob TYPE bool;
        -- no file names it any more, and none may until it is gone
        DEFINE FIELD IF NOT EXISTS doomed ON blob TYPE bool;
        DEFINE INDEX IF NOT EXISTS blob_doomed ON blob FIELDS doomed;
        -- quota:[account]: what its files have, what its uploads reserve, and how many uploads are open
        DEFINE TABLE IF NOT EXISTS quota SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS stored ON quota TYPE int;
        DEFINE FIELD IF NOT EXISTS reserved ON quota TYPE int;
        DEFINE FIELD IF NOT EXISTS uploads ON quota TYPE int;
        -- secret:[name]: what signs addresses
        DEFINE TABLE IF NOT EXISTS secret SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS material ON secret TYPE bytes;
    ",
    rows: &[],
    compatible_from: None,
}];

/// The table `upload`; ids are `upload:[media]`.
struct Uploads;

impl Table for Uploads {
    const NAME: &'static str = "upload";
    type Key = (Text<MediaId>,);
}

/// The table `file`; ids are `file:[media]`.
struct Files;

impl Table for Files {
    const NAME: &'static str = "file";
    type Key = (Text<MediaId>,);
}

/// The table `blob`; ids are `blob:[digest]`.
struct Blobs;

impl Table for Blobs {
    const NAME: &'static str = "blob";
    type Key = (String,);
}

/// The table `quota`; ids are `quota:[account]`.
struct Quotas;

impl Table for Quotas {
    const NAME: &'static str = "quota";
    type Key = (Text<AccountId>,);
}

fn upload_id(media: MediaId) -> RecordId {
    Id::<Uploads>((Text(media),)).record()
}

fn file_id(media: MediaId) -> RecordId {
    Id::<Files>((Text(media),)).record()
}

fn blob_id(digest: &str) -> RecordId {
    Id::<Blobs>((digest.to_owned(),)).record()
}

fn quota_id(account: AccountId) -> RecordId {
    Id::<Quotas>((Text(account),)).record()
}

#[derive(SurrealValue)]
struct UploadRow {
    account: Text<AccountId>,
    length: u64,
    received: u64,
    pieces: Vec<Text<Piece>>,
    claim: Option<String>,
    claimed_until_ms: Option<i64>,
    expires_at_ms: i64,
    revision: i64,
}

/// An upload, and which state of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub upload: Upload,
    pub revision: i64,
}

impl From<UploadRow> for Known {
    fn from(row: UploadRow) -> Self {
        let writer = row.claim.zip(row.claimed_until_ms).map(|(claim, until_ms)| Writer { claim, until_ms });
        let upload = Upload {
            account: row.account.0,
            length: row.length,
            received: row.received,
            pieces: row.pieces.into_iter().map(|Text(piece)| piece).collect(),
            writer,
            expires_at_ms: row.expires_at_ms,
        };
        Self { upload, revision: row.revision }
    }
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, SurrealValue)]
pub struct File {
    pub account: Text<AccountId>,
    pub digest: String,
    pub length: u64,
    pub ready: bool,
    pub expires_at_ms: i64,
}

/// A file to be: whose and for what it is, and which bytes it has.
pub struct NewFile<'a> {
    pub account: AccountId,
    pub purpose: &'static str,
    pub digest: &'a str,
    pub length: u64,
    pub expires_at_ms: i64,
}

/// What an account may have.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    pub bytes_max: u64,
    pub uploads_max: u32,
}

/// Numbers of the database have a sign.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The domain's tables.
#[derive(Clone)]
pub struct Store {
    db: Db,
}

impl Store {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Begins an upload, for which so many bytes are reserved. Refused if the account has too many open, or too many bytes.
    pub async fn begin(&self, media: MediaId, upload: &Upload, allowance: Allowance) -> Result<(), DbError> {
        let variables = vars! {
            id: upload_id(media),
            quota: quota_id(upload.account),
            account: upload.account.to_string(),
            length: int(upload.length),
            expires: upload.expires_at_ms,
            bytes_max: int(allowance.bytes_max),
            uploads_max: i64::from(allowance.uploads_max),
        };
        self.db
            .transaction(variables)
            .then("LET $held = (SELECT stored, reserved, uploads FROM ONLY $quota)")
            .refuse_if("($held.uploads ?? 0) >= $uploads_max", ErrorCode::UploadLimit)
            .refuse_if("($held.stored ?? 0) + ($held.reserved ?? 0) + $length > $bytes_max", ErrorCode::MediaQuota)
            .then(
                "UPSERT $quota SET stored = $held.stored ?? 0, reserved = ($held.reserved ?? 0) + $length,
                    uploads = ($held.uploads ?? 0) + 1;
                CREATE $id SET account = $account, length = $length, received = 0, pieces = [],
                    expires_at_ms = $expires, revision = 0",
            )
            .execute()
            .await
    }

    /// An unfinished upload.
    pub async fn upload(&self, media: MediaId) -> Result<Option<Known>, DbError> {
        let statement = "SELECT account, length, received, pieces, claim, claimed_until_ms, expires_at_ms, revision
            FROM ONLY $id";
        let row: Option<UploadRow> = self.db.run(statement, vars! { id: upload_id(media) }).await?;
        Ok(row.map(Known::from))
    }

    /// Writes a changed upload back. Stale if somebody changed it meanwhile, or it is gone.
    pub async fn change(&self, media: MediaId, revision: i64, upload: &Upload) -> Result<(), DbError> {
        let writer = upload.writer.clone();
        let variables = vars! {
            id: upload_id(media),
            before: revision,
            received: int(upload.received),
            pieces: upload.pieces.iter().map(ToString::to_string).collect::<Vec<String>>(),
            claim: writer.as_ref().map(|writer| writer.claim.clone()),
            until: writer.map(|writer| writer.until_ms),
        };
        self.db
            .transaction(variables)
            .then("LET $revision = (SELECT VALUE revision FROM ONLY $id)")
            .stale_if("$revision != $before")
            .then(
                "UPDATE $id SET received = $received, pieces = $pieces, claim = $claim, claimed_until_ms = $until,
                    revision = $before + 1",
            )
            .execute()
            .await
    }

    /// Names the bytes of a complete upload, which may be stored only then: as a file that can't be read yet. Answers whether they
    /// are stored already. Stale if the upload is gone, or the same bytes are just being deleted.
    pub async fn name(&self, media: MediaId, file: &NewFile<'_>) -> Result<bool, DbError> {
        let variables = vars! {
            upload: upload_id(media),
            file: file_id(media),
            blob: blob_id(file.digest),
            account: file.account.to_string(),
            purpose: file.purpose.to_owned(),
            digest: file.digest.to_owned(),
            length: int(file.length),
            expires: file.expires_at_ms,
        };
        self.db
            .transaction(variables)
            .then(
                "LET $revision = (SELECT VALUE revision FROM ONLY $upload);
                LET $known = (SELECT VALUE digest FROM ONLY $file);
                LET $kept = (SELECT named, stored, doomed FROM ONLY $blob)",
            )
            .stale_if("$revision = NONE OR ($kept.doomed ?? false)")
            .within("IF $known = NONE", |new| {
                new.then(
                    "UPSERT $blob SET named = ($kept.named ?? 0) + 1, stored = $kept.stored ?? false, doomed = false;
                    CREATE $file SET account = $account, purpose = $purpose, digest = $digest, length = $length,
                        ready = false, expires_at_ms = $expires",
                )
            })
            .then("RETURN $kept.stored ?? false")
            .run()
            .await
    }

    /// The bytes are stored: the upload becomes the file. Stale if the upload is gone.
    pub async fn finish(&self, media: MediaId, file: &NewFile<'_>) -> Result<(), DbError> {
        let variables = vars! {
            upload: upload_id(media),
            file: file_id(media),
            blob: blob_id(file.digest),
            quota: quota_id(file.account),
            length: int(file.length),
        };
        self.db
            .transaction(variables)
            .then("LET $revision = (SELECT VALUE revision FROM ONLY $upload)")
            .stale_if("$revision = NONE")
            .then(
                "UPDATE $blob SET stored = true;
                UPDATE $file SET ready = true;
                DELETE $upload;
                UPDATE $quota SET reserved -= $length, stored += $length, uploads -= 1",
            )
            .execute()
            .await
    }

    /// Takes an unfinished upload back, with what it reserved and with the file that it was about to be. Stale if it is gone.
    pub async fn drop_upload(&self, media: MediaId, upload: &Upload) -> Result<(), DbError> {
        let variables = vars! {
            upload: upload_id(media),
            file: file_id(media),
            quota: quota_id(upload.account),
            length: int(upload.length),
        };
        self.db
            .transaction(variables)
            .then(
                "LET $revision = (SELECT VALUE revision FROM ONLY $upload);
                LET $digest = (SELECT VALUE digest FROM ONLY $file)",
            )
            .stale_if("$revision = NONE")
            .then(
                "DELETE $upload;
                UPDATE $quota SET reserved -= $length, uploads -= 1",
            )
            .within("IF $digest != NONE", |file| {
                file.then(
                    "LET $blob = type::record('blob', [$digest]);
                    LET $left = (SELECT VALUE named FROM ONLY $blob) - 1;
                    DELETE $file;
                    UPDATE $blob SET named = $left, doomed = $left <= 0",
                )
            })
            .execute()
            .await
    }

    /// A file, also one that can't be read yet.
    pub async fn file(&self, media: MediaId) -> Result<Option<File>, DbError> {
        let statement = "SELECT account, digest, length, ready, expires_at_ms FROM ONLY $id";
        self.db.run(statement, vars! { id: file_id(media) }).await
    }

    /// Takes a file away. Stale if it is gone, or can't be read yet. Answers whether no other names its bytes.
    pub async fn drop_file(&self, media: MediaId, file: &File) -> Result<bool, DbError> {
        let variables = vars! {
            file: file_id(media),
            blob: blob_id(&file.digest),
            quota: quota_id(file.account.0),
            length: int(file.length),
        };
        self.db
            .transaction(variables)
            .then("LET $ready = (SELECT VALUE ready FROM ONLY $file)")
            .stale_if("($ready ?? false) = false")
            .then(
                "LET $left = (SELECT VALUE named FROM ONLY $blob) - 1;
                DELETE $file;
                UPDATE $blob SET named = $left, doomed = $left <= 0;
                UPDATE $quota SET stored -= $length;
                RETURN $left <= 0",
            )
            .run()
            .await
    }

    /// The bytes are deleted.
    pub async fn forget_blob(&self, digest: &str) -> Result<(), DbError> {
        self.db.execute("DELETE $id WHERE doomed = true", vars! { id: blob_id(digest) }).await
    }

    /// Digests of bytes that no file names any more and that may not be deleted yet, some at once.
    pub async fn doomed(&self, limit: i64) -> Result<Vec<String>, DbError> {
        let statement = "SELECT VALUE id FROM blob WHERE doomed = true LIMIT $limit";
        let ids: Vec<Id<Blobs>> = self.db.rows(statement, vars! { limit: limit }).await?;
        Ok(ids.into_iter().map(|Id((digest,))| digest).collect())
    }

    /// Uploads whose time is over, some at once.
    pub async fn expired_uploads(&self, now_ms: i64, limit: i64) -> Result<Vec<MediaId>, DbError> {
        let statement = "SELECT VALUE id FROM upload WHERE expires_at_ms <= $now LIMIT $limit";
        let ids: Vec<Id<Uploads>> = self.db.rows(statement, vars! { now: now_ms, limit: limit }).await?;
        Ok(ids.into_iter().map(|Id((Text(media),))| media).collect())
    }

    /// Files whose time is over, some at once.
    pub async fn expired_files(&self, now_ms: i64, limit: i64) -> Result<Vec<MediaId>, DbError> {
        let statement = "SELECT VALUE id FROM file WHERE expires_at_ms <= $now LIMIT $limit";
        let ids: Vec<Id<Files>> = self.db.rows(statement, vars! { now: now_ms, limit: limit }).await?;
        Ok(ids.into_iter().map(|Id((Text(media),))| media).collect())
    }

    /// The secret of this name: the one that is there, or this one from now on.
    pub async fn secret(&self, name: &str, drawn: [u8; 32]) -> Result<[u8; 32], DbError> {
        let id = RecordId::new("secret", name);
        let read = || self.db.run::<Option<Bytes>>("SELECT VALUE material FROM ONLY $id", vars! { id: id.clone() });
        if let Some(known) = read().await? {
            return as_secret(name, &known);
        }
        let made = vars! { id: id.clone(), material: Bytes::from(drawn.to_vec()) };
        match self.db.execute("CREATE $id SET material = $material", made).await {
            Ok(()) => Ok(drawn),
            // another process was faster
            Err(DbError::Exists) => match read().await? {
                Some(known) => as_secret(name, &known),
                None => Err(DbError::Stale),
            },
            Err(error) => Err(error),
        }
    }
}

fn as_secret(name: &str, bytes: &[u8]) -> Result<[u8; 32], DbError> {
    let problem = || format!("{} bytes are no secret", bytes.len());
    bytes.try_into().map_err(|_| DbError::Corrupt { row: format!("secret:{name}"), problem: problem() })
}
