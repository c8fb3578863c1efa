//! The tables: what is reserved, named, finished and taken back.

use nepto_kit::db::DbError;
use nepto_proto::{ErrorCode, MediaId};
use uuid::Uuid;

use super::model::{Piece, Upload};
use super::store::{Allowance, NewFile, Store};
use crate::testing::{account, database};

const ALLOWANCE: Allowance = Allowance { bytes_max: 1_000, uploads_max: 2 };
/// Of some bytes.
const DIGEST: &str = "e3b0";

async fn store() -> Store {
    Store::new(database(super::domain()).await)
}

fn media(number: u128) -> MediaId {
    MediaId::new(Uuid::from_u128(number))
}

fn upload(length: u64) -> Upload {
    Upload { account: account(1), length, received: 0, pieces: Vec::new(), writer: None, expires_at_ms: 1_000 }
}

fn file(length: u64) -> NewFile<'static> {
    NewFile { account: account(1), purpose: "dm", digest: DIGEST, length, expires_at_ms: 2_000 }
}

/// A file, from its beginning to its end. Whether its bytes were stored before.
async fn keep(store: &Store, number: u128, length: u64) -> Result<bool, DbError> {
    store.begin(media(number), &upload(length), ALLOWANCE).await?;
    let was_stored = store.name(media(number), &file(length)).await?;
    store.finish(media(number), &file(length)).await?;
    Ok(was_stored)
}

fn refused(done: Result<impl Sized, DbError>) -> Option<ErrorCode> {
    match done {
        Err(DbError::Refused(code)) => Some(code),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_begun_is_reserved_and_given_back() {
    let store = store().await;
    store.begin(media(1), &upload(600), ALLOWANCE).await.unwrap();
    assert_eq!(refused(store.begin(media(2), &upload(401), ALLOWANCE).await), Some(ErrorCode::MediaQuota));
    store.begin(media(2), &upload(400), ALLOWANCE).await.unwrap();
    assert_eq!(refused(store.begin(media(3), &upload(1), ALLOWANCE).await), Some(ErrorCode::UploadLimit));
    store.drop_upload(media(2), &upload(400)).await.unwrap();
    assert!(matches!(store.drop_upload(media(2), &upload(400)).await, Err(DbError::Stale)), "once");
    // what is stored counts as what is reserved did
    store.name(media(1), &file(600)).await.unwrap();
    store.finish(media(1), &file(600)).await.unwrap();
    assert_eq!(refused(store.begin(media(3), &upload(401), ALLOWANCE).await), Some(ErrorCode::MediaQuota));
    let kept = store.file(media(1)).await.unwrap().unwrap();
    assert!(store.drop_file(media(1), &kept).await.unwrap(), "nobody else names its bytes");
    store.begin(media(3), &upload(1_000), ALLOWANCE).await.unwrap();
}

#[tokio::test]
async fn a_row_is_changed_by_who_read_it_last() {
    let store = store().await;
    store.begin(media(1), &upload(600), ALLOWANCE).await.unwrap();
    let known = store.upload(media(1)).await.unwrap().unwrap();
    assert_eq!((&known.upload, known.revision), (&upload(600), 0));
    let mut changed = known.upload.clone();
    changed.claim(0, "claim", 0).unwrap();
    changed.append("claim", &[Piece { name: "0-a".into(), bytes: 100 }], 0).unwrap();
    store.change(media(1), 0, &changed).await.unwrap();
    assert_eq!(store.upload(media(1)).await.unwrap().unwrap().upload, changed);
    assert!(matches!(store.change(media(1), 0, &known.upload).await, Err(DbError::Stale)));
    assert!(matches!(store.change(media(2), 0, &changed).await, Err(DbError::Stale)), "there is none");
    changed.release("claim");
    store.change(media(1), 1, &changed).await.unwrap();
    assert_eq!(store.upload(media(1)).await.unwrap().unwrap().upload, changed);
}

#[tokio::test]
async fn bytes_stay_while_anybody_names_them_and_nobody_names_them_while_they_go() {
    let store = store().await;
    assert!(!keep(&store, 1, 10).await.unwrap());
    assert!(keep(&store, 2, 10).await.unwrap(), "the same bytes are there");
    for (number, is_last) in [(1, false), (2, true)] {
        let kept = store.file(media(number)).await.unwrap().unwrap();
        assert_eq!(store.drop_file(media(number), &kept).await.unwrap(), is_last);
        assert!(matches!(store.drop_file(media(number), &kept).await, Err(DbError::Stale)), "once");
    }
    assert_eq!(store.doomed(10).await.unwrap(), [DIGEST]);
    store.begin(media(3), &upload(10), ALLOWANCE).await.unwrap();
    assert!(matches!(store.name(media(3), &file(10)).await, Err(DbError::Stale)), "they are being deleted");
    store.forget_blob(DIGEST).await.unwrap();
    assert!(store.doomed(10).await.unwrap().is_empty());
    assert!(!store.name(media(3), &file(10)).await.unwrap(), "they have to be stored again");
    // killed before they were, it does the same again
    assert!(!store.name(media(3), &file(10)).await.unwrap());
    let unread = store.file(media(3)).await.unwrap().unwrap();
    assert!(!unread.ready);
    // and taken back, nobody names them
    store.drop_upload(media(3), &upload(10)).await.unwrap();
    assert_eq!((store.file(media(3)).await.unwrap(), store.doomed(10).await.unwrap().len()), (None, 1));
    assert!(matches!(store.name(media(3), &file(10)).await, Err(DbError::Stale)), "there is no upload");
}

#[tokio::test]
async fn what_is_over_is_found_and_one_secret_is_everybodys() {
    let store = store().await;
    store.begin(media(1), &upload(10), ALLOWANCE).await.unwrap();
    keep(&store, 2, 10).await.unwrap();
    assert!(store.expired_uploads(999, 10).await.unwrap().is_empty());
    assert_eq!(store.expired_uploads(1_000, 10).await.unwrap(), [media(1)]);
    assert!(store.expired_files(1_999, 10).await.unwrap().is_empty());
    assert_eq!(store.expired_files(2_000, 10).await.unwrap(), [media(2)]);
    assert_eq!(store.secret("addresses", [1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.secret("addresses", [2; 32]).await.unwrap(), [1; 32]);
}
