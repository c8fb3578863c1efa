//! Files: uploads that are cut, overlap or are too many, downloads by addresses, and two people who exchange one.

use anyhow::{Context, Result};
use nepto_proto::{ErrorCode, MediaId};
use nepto_sdk::SdkError;
use nepto_sdk::model::Body;
use nepto_testkit::{Stack, eventually, folder, program};
use reqwest::{Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::cli::Home;
use crate::people::{PATIENCE, Person, friends};

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

/// A connection on which the head of an append was sent, and some bytes of what it announces.
async fn appending(
    stack: &Stack,
    person: &Person,
    media: MediaId,
    announced: usize,
    bytes: &[u8],
) -> Result<TcpStream> {
    let token = person.client.http().access_token().await?;
    let mut connection = TcpStream::connect(stack.domain()).await?;
    let head = format!(
        "PATCH /v1/media/uploads/{media} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: {announced}\r\n\r\n",
        stack.domain()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(bytes).await?;
    connection.flush().await?;
    Ok(connection)
}

/// The code of a refusal.
fn code<T>(answer: Result<T, SdkError>) -> Option<ErrorCode> {
    answer.err().and_then(|error| error.code())
}

async fn get(stack: &Stack, address: &str, range: Option<&str>) -> Response {
    let mut request = reqwest::Client::new().get(format!("{}{address}", stack.url()));
    if let Some(range) = range {
        request = request.header("range", range);
    }
    request.send().await.unwrap()
}

/// Starts a background job by hand.
async fn run_job(stack: &Stack, job: &str) -> Result<bool> {
    let mut command = Command::new(program("nepto")?);
    command.args(["--json", "admin", "--operator", &stack.api.admin_url(), "jobs", "run", job]);
    Ok(command.output().await?.status.success())
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut_and_one_at_a_time_writes() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (ann, ben) = tokio::join!(Person::join(&stack), Person::join(&stack));
    let (ann, ben) = (ann.unwrap(), ben.unwrap());
    let (http, file) = (ann.client.http(), bytes(1_000));
    let media = http.begin_upload(1_000).await.unwrap();

    let first = appending(&stack, &ann, media, 1_000, &file[..400]).await.unwrap();
    // somebody writes: nobody else may. Before that, this would be the wrong place
    let busy = async || Ok(code(http.append_to_upload(media, 7, &file[7..]).await) == Some(ErrorCode::UploadBusy));
    eventually(PATIENCE, busy).await.unwrap();
    drop(first);
    // what had arrived counts, and whoever goes on at another place is told
    eventually(PATIENCE, async || Ok(http.upload_offset(media).await? == 400)).await.unwrap();
    let released = async || Ok(code(http.append_to_upload(media, 0, &file).await) == Some(ErrorCode::UploadOffset));
    eventually(PATIENCE, released).await.unwrap();
    assert_eq!(code(ben.client.http().append_to_upload(media, 400, &file[400..]).await), Some(ErrorCode::NotFound));
    assert_eq!(code(ben.client.http().upload_offset(media).await), Some(ErrorCode::NotFound));
    assert_eq!(code(ben.client.http().media_address(media).await), Some(ErrorCode::NotFound), "it is not whole");
    assert_eq!(code(http.append_to_upload(media, 400, &bytes(601)).await), Some(ErrorCode::TooLarge));
    assert_eq!(http.upload_offset(media).await.unwrap(), 400, "nothing of it was taken");
    assert_eq!(http.append_to_upload(media, 400, &file[400..700]).await.unwrap(), 700);
    assert_eq!(http.append_to_upload(media, 700, &file[700..]).await.unwrap(), 1_000);
    assert_eq!(http.upload_offset(media).await.unwrap(), 1_000, "also when the answer was lost");

    // whoever knows its id may have it: all of it, or parts
    let address = ben.client.http().media_address(media).await.unwrap();
    let whole = get(&stack, &address.address, None).await;
    let header = |answer: &Response, name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header(&whole, "content-disposition"), "attachment; filename=\"file\"");
    assert_eq!(header(&whole, "x-content-type-options"), "nosniff");
    assert!(header(&whole, "content-security-policy").contains("sandbox"));
    assert_eq!((whole.status(), whole.bytes().await.unwrap().to_vec()), (StatusCode::OK, file.clone()));
    let part = get(&stack, &address.address, Some("bytes=100-199")).await;
    assert_eq!(
        (part.status(), header(&part, "content-range")),
        (StatusCode::PARTIAL_CONTENT, "bytes 100-199/1000".into())
    );
    assert_eq!(part.bytes().await.unwrap().to_vec(), &file[100..200]);
    let none = get(&stack, &address.address, Some("bytes=1000-")).await;
    assert_eq!((none.status().as_u16(), header(&none, "content-range")), (416, "bytes */1000".into()));
    // for another time, or another file, it is good for nothing
    let later = address.address.replace("expires=", "expires=1");
    assert_eq!(get(&stack, &later, None).await.status(), StatusCode::FORBIDDEN);
    let other = address.address.replace(&media.to_string(), &ann.account().to_string());
    assert_eq!(get(&stack, &other, None).await.status(), StatusCode::FORBIDDEN);

    assert_eq!(code(ben.client.http().delete_media(media).await), Some(ErrorCode::NotFound), "it is not his");
    http.delete_media(media).await.unwrap();
    assert_eq!(get(&stack, &address.address, None).await.status(), StatusCode::NOT_FOUND);
    let uploads = format!("{}/v1/media/uploads", stack.url());
    let other_version = reqwest::Client::new().post(&uploads).bearer_auth(http.access_token().await.unwrap());
    let refused = other_version.header("tus-resumable", "0.2.2").header("upload-length", 5).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "tus-version")), (412, "1.0.0".into()));
    let answer = reqwest::Client::new().request(reqwest::Method::OPTIONS, &uploads);
    let answer = answer.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "tus-extension")),
        (204, "creation,expiration,checksum,termination".into())
    );
}

#[tokio::test]
async fn what_may_be_stored_is_reserved_and_comes_back_and_time_ends_it() {
    let settings = [("file_bytes_max", 3_000), ("bytes_per_account_max", 4_000), ("uploads_open_max", 2)];
    let settings = settings.into_iter().chain([("upload_expire_s", 2), ("dm_expire_s", 1)]);
    let builder = Stack::builder().unlimited();
    let builder =
        settings.fold(builder, |builder, (name, value)| builder.set(&format!("media.{name}"), i64::from(value)));
    let stack = builder.all().await.unwrap();
    let ann = Person::join(&stack).await.unwrap();
    let http = ann.client.http();
    assert_eq!(code(http.begin_upload(3_001).await), Some(ErrorCode::TooLarge));
    let first = http.begin_upload(3_000).await.unwrap();
    assert_eq!(code(http.begin_upload(1_001).await), Some(ErrorCode::MediaQuota));
    let second = http.begin_upload(1_000).await.unwrap();
    assert_eq!(code(http.begin_upload(1).await), Some(ErrorCode::UploadLimit));
    http.end_upload(second).await.unwrap();
    assert_eq!(code(http.end_upload(second).await), Some(ErrorCode::NotFound));
    let third = http.begin_upload(1_000).await.unwrap();
    // two are forgotten, and what they reserved is there again
    eventually(PATIENCE, async || Ok(code(http.upload_offset(third).await) == Some(ErrorCode::NotFound)))
        .await
        .unwrap();
    let forgotten = async || {
        run_job(&stack, "media-upload-expiry").await?;
        Ok(code(http.begin_upload(3_000).await).is_none())
    };
    eventually(PATIENCE, forgotten).await.unwrap();
    assert_eq!(code(http.upload_offset(first).await), Some(ErrorCode::NotFound));
    let stored = async || {
        run_job(&stack, "media-upload-expiry").await?;
        let media = http.begin_upload(3_000).await?;
        Ok(http.append_to_upload(media, 0, &bytes(3_000)).await? == 3_000)
    };
    eventually(PATIENCE, stored).await.unwrap();
    // a file ends as well
    let deleted = async || {
        run_job(&stack, "media-expiry").await?;
        Ok(code(http.begin_upload(3_000).await).is_none())
    };
    eventually(PATIENCE, deleted).await.unwrap();
    assert!(stack.api.metric("nepto_media_deleted_total").await.unwrap() >= 1.0);
}

#[tokio::test]
async fn a_full_disk_refuses_files_and_nothing_else() {
    let stack = Stack::builder().set("media.free_bytes_min", i64::MAX).all().await.unwrap();
    let (ann, mut ben) = friends(&stack).await.unwrap();
    assert_eq!(code(ann.client.http().begin_upload(1_000).await), Some(ErrorCode::MediaFull));
    ann.says(&ben, "no pictures today").await.unwrap();
    ben.hears_text("no pictures today").await.unwrap();
    assert!(stack.api.is_ready().await.unwrap());
}

#[tokio::test]
async fn two_people_exchange_files() {
    let stack = Stack::builder().unlimited().set("media.address_ttl_s", 1).all().await.unwrap();
    let (ann, mut ben) = friends(&stack).await.unwrap();
    let here = folder("nepto-files-").unwrap();
    let (path, content) = (here.path().join("holiday.jpg"), bytes(3_000_000));
    std::fs::write(&path, &content).unwrap();
    let mut shown = Vec::new();
    let file = ann.client.upload(&path, |done, of| shown.push((done, of))).await.unwrap();
    let whole = shown.last().copied().unwrap();
    assert!(shown.len() >= 4 && whole.0 == whole.1 && whole.0 >= 3_000_000, "{shown:?}");
    ann.client.send_files(ben.account(), "", vec![file], None, None).unwrap();
    let heard = ben.hears().await.unwrap();
    assert_eq!((&heard.body, heard.attachments[0].name.as_str()), (&Body::Text(String::new()), "holiday.jpg"));
    for name in ["holiday (1).jpg", "holiday (2).jpg"] {
        let saved = ben.client.download(&heard.attachments[0], here.path(), |_, _| {}).await.unwrap();
        assert_eq!(saved, here.path().join(name));
        assert_eq!(std::fs::read(&saved).unwrap(), content);
    }
    // an address is good for its time
    let address = ben.client.http().media_address(heard.attachments[0].media).await.unwrap().address;
    let over = async || Ok(get(&stack, &address, Some("bytes=0-0")).await.status() == StatusCode::FORBIDDEN);
    eventually(PATIENCE, over).await.unwrap();
    let mut other = heard.attachments[0].clone();
    other.digest = [0; 32];
    let refused = ben.client.download(&other, here.path(), |_, _| {}).await;
    assert!(matches!(refused, Err(SdkError::Attachment(_))), "{refused:?}");
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 3, "nothing appeared");
}

#[tokio::test]
async fn a_file_is_sent_and_saved_from_the_command_line() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = tokio::join!(Home::join(&stack, "alice"), Home::join(&stack, "bob"));
    let (alice, bob) = (alice.unwrap(), bob.unwrap());
    std::fs::write(alice.path().join("notes.txt"), "the door code is 4711").unwrap();
    std::fs::write(alice.path().join("two.bin"), bytes(2_000)).unwrap();
    let sent = alice.nepto("send @bob --file notes.txt --file two.bin look --json").await.unwrap().json().unwrap();
    assert_eq!(sent[0]["attachments"][1]["name"], "two.bin");
    let inbox = bob.nepto("inbox --json --wait 20").await.unwrap().json().unwrap();
    assert_eq!((&inbox[0]["text"], &inbox[0]["attachments"][0]["name"]), (&"look".into(), &"notes.txt".into()));
    assert!(!inbox[0].to_string().contains("key"), "{}", inbox[0]);
    let history = bob.nepto("history @alice").await.unwrap().well().unwrap();
    assert!(history.contains("📎 notes.txt (21 B)"), "{history}");
    let number = inbox[0]["number"].as_u64().context("a number").unwrap();
    std::fs::create_dir(bob.path().join("saved")).unwrap();
    bob.nepto("save latest --to saved").await.unwrap().well().unwrap();
    let again = bob.nepto(&format!("save {number} --to saved --json")).await.unwrap().json().unwrap();
    assert_eq!((again.len(), &again[0]["path"]), (2, &"saved/notes (1).txt".into()));
    assert_eq!(std::fs::read_to_string(bob.path().join("saved/notes.txt")).unwrap(), "the door code is 4711");
    assert_eq!(std::fs::read(bob.path().join("saved/two.bin")).unwrap(), bytes(2_000));
    assert_eq!(bob.nepto("save 99 --json").await.unwrap().failure().unwrap(), (2, "usage".to_owned()));
    let missing = alice.nepto("send @bob --file nowhere.txt --json").await.unwrap();
    assert_eq!(missing.failure().unwrap(), (1, "file".to_owned()));
}
