//! Backups that are made while people talk, and what comes of them after a restore.

mod alternating;
mod broken_off;

use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use async_nats::jetstream::consumer::{Info, pull};
use futures_util::TryStreamExt;
use nepto_proto::ErrorCode;
use nepto_proto::api::accounts::Consent;
use nepto_sdk::model::{Body, Message};
use nepto_sdk::{Client, Env, Event, ProfileLocation, SdkError, Wallet};
use nepto_testkit::{Builder, Server, Stack, eventually, seconds};
use tempfile::TempDir;

use crate::databases::{Database, ROOT_PASSWORD, elsewhere, make_users, nepto_server};
use crate::people::{Person, Raw};
use crate::sessions::Bare;

/// A stack whose backups one key opens.
struct Place {
    stack: Stack,
    folder: TempDir,
}

impl Place {
    async fn new(make: impl AsyncFnOnce(Builder) -> anyhow::Result<Stack>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::generate();
        std::fs::write(folder.path().join("backup.key"), identity.to_string().expose_secret()).unwrap();
        let builder = Stack::builder()
            .unlimited()
            .set("backup.recipients", vec![identity.to_public().to_string()])
            .set("backup.folder", text(&folder.path().join("backups")))
            .set("backup.metrics_file", text(&folder.path().join("backup.prom")))
            .set("backup.keep", 2);
        let stack = make(builder).await.unwrap();
        Self { stack, folder }
    }

    async fn back_up(&self) -> anyhow::Result<PathBuf> {
        self.stack.run(&["backup", "--operator", &self.stack.api.admin_url()]).await?;
        Ok(self.backups().pop().unwrap())
    }

    /// The oldest first.
    fn backups(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("backups")).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // beside them lies the lock of whoever makes one
        files.retain(|file| !file.ends_with(".lock"));
        files.sort();
        files
    }

    async fn restore(&self, backup: &Path, more: &[&str]) -> anyhow::Result<String> {
        let (status, said) = self.restore_after("true", backup, more).await;
        anyhow::ensure!(status.success(), "it does not restore:\n{said}");
        Ok(said)
    }

    /// By a shell that does something first: how it ended, and what it said.
    async fn restore_after(&self, first: &str, backup: &Path, more: &[&str]) -> (ExitStatus, String) {
        let (key, backup) = (text(&self.folder.path().join("backup.key")), text(backup));
        let arguments = [&["restore", "--identity", &key, &backup][..], more].concat();
        self.stack.run_after(first, &arguments).await.unwrap()
    }

    /// Why it does not restore.
    async fn refusal(&self, backup: &Path, more: &[&str]) -> String {
        format!("{:#}", self.restore(backup, more).await.unwrap_err())
    }

    fn metrics(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("backup.prom")).unwrap()
    }

    fn profile(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A device that signed in before, and does not sign in again.
    async fn open(&self, name: &str) -> Result<Client, SdkError> {
        let location = ProfileLocation::File { path: self.profile(name), passphrase: "x".to_owned().into() };
        Client::open(location, Env::system()).await
    }

    /// A device with a profile in a file, which signs in, maybe again.
    async fn person(&self, name: &str, key: &str) -> Person {
        let file = self.profile(name);
        let signed_in = async || Person::in_file(&self.stack, &file, key).await;
        // the profile is locked until its last user has let it go
        let mut last = signed_in().await;
        for _ in 0..50 {
            if last.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            last = signed_in().await;
        }
        last.unwrap()
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn new_key() -> String {
    let key: [u8; 32] = Env::system().bytes();
    hex::encode(key)
}

/// The texts of a conversation, in their order.
fn texts(history: &[Message]) -> Vec<String> {
    let texts = history.iter().filter_map(|message| match &message.body {
        Body::Text(text) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

fn history(of: &Person, with: &Person) -> Vec<String> {
    texts(&of.client.history(with.account(), None, 100).unwrap())
}

/// Waits until a conversation has all of these texts, each once, and looks for what can't be read.
async fn has_each_once(of: &Person, with: &Person, wanted: &[String]) {
    let has_all = async || {
        let there = history(of, with);
        Ok(wanted.iter().all(|text| there.contains(text)))
    };
    eventually(seconds(20), has_all)
        .await
        .unwrap_or_else(|_| panic!("there are {:?} of {wanted:?}", history(of, with)));
    let mut there = history(of, with);
    let all = there.len();
    there.sort();
    there.dedup();
    assert_eq!(there.len(), all, "something came twice: {:?}", history(of, with));
}

async fn stop(stack: &Stack) {
    for server in stack.servers() {
        server.term().await.unwrap();
    }
}

#[tokio::test]
async fn people_talk_before_during_and_after_a_backup_and_go_on_after_its_restore() {
    let place = Place::new(async |builder: Builder| builder.all().await).await;
    let stack = &place.stack;
    let [alices, bobs, erins] = [new_key(), new_key(), new_key()];
    let alice = place.person("alice", &alices).await;
    let mut bob = place.person("bob", &bobs).await;
    // she is away from before the backup until after the restore
    let erin = place.person("erin", &erins).await;
    erin.client.wait_keys().await;
    erin.client.close().await;
    let message = alice.client.send_text(erin.account(), "while you were away", None, None).unwrap();
    alice.client.wait_sent(message.id.id).await.unwrap();
    // of hers too, and she will sign it out
    let phone = place.person("phone", &alices).await;
    alice.says(&bob, "hello").await.unwrap();
    bob.hears_text("hello").await.unwrap();
    bob.client.accept(alice.account()).await.unwrap();
    bob.client.close().await;
    alice.says(&bob, "before").await.unwrap();
    let epoch = Raw::open(stack, &phone.client, None).await.unwrap().epoch;

    let talking = async {
        for number in 0..20 {
            alice.says(&bob, &format!("during {number}")).await.unwrap();
        }
    };
    let (backup, ()) = tokio::join!(place.back_up(), talking);
    let backup = backup.unwrap();
    assert!(place.metrics().contains("\nnepto_backup_failed 0\n"), "{}", place.metrics());

    // after it: messages, keys that are handed out, a session that ends, somebody new
    phone.client.close().await;
    drop(phone);
    eventually(seconds(10), async || Ok(place.open("phone").await.is_ok())).await.unwrap();
    std::fs::copy(place.profile("phone"), place.profile("phone-copy")).unwrap();
    let phone = place.open("phone").await.unwrap();
    phone.sign_out(false).await.unwrap();
    bob.events = bob.client.connect().await.unwrap();
    alice.says(&bob, "after").await.unwrap();
    let during = (0..20).map(|number| format!("during {number}"));
    let said: Vec<String> = ["hello", "before", "after"].map(str::to_owned).into_iter().chain(during).collect();
    has_each_once(&bob, &alice, &said).await;
    let carol = Person::join(stack).await.unwrap();
    let of_bob = carol.client.http().bundles(bob.account(), &[]).await.unwrap();
    assert!(of_bob.bundles[0].ec_prekey.is_some(), "one that is in the backup was handed out");

    // a nonce that nobody has used, and could still
    let nonce = carol.client.http().nonce().await.unwrap().nonce;

    // nothing is touched while something runs, nor where something is, nor for what is not whole
    let refused = place.refusal(&backup, &["--replace"]).await;
    assert!(refused.contains("must be stopped first: all (process "), "{refused}");
    let (alice_file, bob_file) = ((alice.account(), alice.client.device()), (bob.account(), bob.client.device()));
    bob.client.close().await;
    alice.client.close().await;
    drop((alice, bob, erin, phone, carol));
    stop(stack).await;
    let refused = place.refusal(&backup, &[]).await;
    assert!(refused.contains("there are databases"), "{refused}");
    let whole = std::fs::read(&backup).unwrap();
    let broken = place.profile("broken");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &flipped[..], b""] {
        std::fs::write(&broken, bytes).unwrap();
        let refused = place.refusal(&broken, &["--replace"]).await;
        assert!(refused.contains("nothing was touched"), "{refused}");
    }
    stack.api.restart().await.unwrap();
    stop(stack).await;

    let said_by_restore = place.restore(&backup, &["--replace"]).await.unwrap();
    let is_alarming = |line: &&str| line.contains("surreal") && line.contains("ERROR");
    assert_eq!(said_by_restore.lines().find(is_alarming), None, "a store that is closed is not closed again");
    let count = |what: &str| {
        let line =
            said_by_restore.lines().find(|line| line.ends_with(what)).unwrap_or_else(|| panic!("{said_by_restore}"));
        line.split([' ', ':']).find_map(|word| word.parse::<u64>().ok()).unwrap()
    };
    assert_eq!(count("sessions ended"), 4, "of two devices of hers, and two others");
    assert!(count("one-time prekeys removed") > 400, "of four devices, most of two hundred each");
    stack.api.restart().await.unwrap();

    // the signed-out device stays signed out, although the backup had its session; and nobody knows of the others that they were not
    for name in ["phone-copy", "alice"] {
        let refused = place.open(name).await.unwrap().whoami().await.unwrap_err();
        let ended = [Some(ErrorCode::SessionRevoked), Some(ErrorCode::RefreshInvalid)].contains(&refused.code());
        assert!(matches!(refused, SdkError::SignedOut) || ended, "{name}: {refused:?}");
    }
    let refused = Bare::with_nonce(stack, nonce).await.err().expect("a nonce of before");
    assert_eq!(refused.code(), Some(ErrorCode::NonceInvalid));
    // nobody gets a key that somebody else may have
    let dave = Person::join(stack).await.unwrap();
    let of_bob = dave.client.http().bundles(bob_file.0, &[]).await.unwrap();
    assert_eq!(of_bob.bundles.len(), 1);
    assert!(of_bob.bundles[0].ec_prekey.is_none());
    let message = dave.client.send_text(bob_file.0, "to somebody who is away", None, None).unwrap();
    dave.client.wait_sent(message.id.id).await.unwrap();

    let alice = place.person("alice", &alices).await;
    let mut bob = place.person("bob", &bobs).await;
    assert_eq!((alice.account(), alice.client.device()), alice_file);
    assert_eq!((bob.account(), bob.client.device()), bob_file);
    bob.until(|event| {
        assert!(!matches!(event, Event::Undecryptable { .. }), "{event:?}");
        matches!(event, Event::Request(message) if message.body == Body::Text("to somebody who is away".to_owned()))
    })
    .await
    .unwrap();
    let mut erin = place.person("erin", &erins).await;
    let waited = |event: &Event| {
        assert!(!matches!(event, Event::Undecryptable { .. }), "{event:?}");
        matches!(event, Event::Request(message) if message.body == Body::Text("while you were away".to_owned()))
    };
    erin.until(|event| waited(event)).await.unwrap();
    alice.says(&bob, "we go on").await.unwrap();
    bob.says(&alice, "so do I").await.unwrap();
    let said: Vec<String> = said.into_iter().chain(["we go on", "so do I"].map(str::to_owned)).collect();
    has_each_once(&bob, &alice, &said).await;
    has_each_once(&alice, &bob, &said).await;
    bob.client.wait_keys().await;
    assert_eq!(bob.client.http().key_count().await.unwrap().ec, 100);
    // of the hundred before, the rest of which is in the backup, nobody gets one
    let new = dave.client.http().bundles(bob.account(), &[]).await.unwrap();
    let id = new.bundles[0].ec_prekey.as_ref().unwrap().id;
    assert!(id > 100, "{id}");
    let phone = place.person("phone", &alices).await;
    phone.client.close().await;
    assert_ne!(Raw::open(stack, &phone.client, None).await.unwrap().epoch, epoch);
}

#[tokio::test]
async fn databases_of_a_server_come_back_and_mailboxes_may_stay() {
    let place = Place::new(async |builder: Builder| builder.split(1).await).await;
    let stack = &place.stack;
    let database: &Server = stack.database.as_ref().unwrap();
    let [alices, bobs] = [new_key(), new_key()];
    let alice = place.person("alice", &alices).await;
    let mut bob = place.person("bob", &bobs).await;
    alice.says(&bob, "hello").await.unwrap();
    bob.hears_text("hello").await.unwrap();
    bob.client.accept(alice.account()).await.unwrap();
    let mallory = Person::join(stack).await.unwrap();
    mallory.client.close().await;
    // an event that nobody works off before the backup
    stack.worker.term().await.unwrap();
    let another = Wallet::random(&Env::system()).unwrap();
    alice.client.link_wallet(&alice.wallet().unwrap(), &another).await.unwrap();
    let waiting = async || -> (u64, usize) {
        let events = stack.nats.jetstream().await.unwrap().get_stream("EVENTS").await.unwrap();
        let consumer = events.get_consumer::<pull::Config>("assets-wallets").await.unwrap();
        (consumer.cached_info().num_pending, consumer.cached_info().num_ack_pending)
    };
    eventually(seconds(10), async || Ok(waiting().await.0 > 0)).await.unwrap();
    let backup = place.back_up().await.unwrap();
    stack.worker.restart().await.unwrap();
    eventually(seconds(10), async || Ok(waiting().await == (0, 0))).await.unwrap();
    bob.client.close().await;
    // in his mailbox only, and in no backup
    alice.says(&bob, "after the backup").await.unwrap();
    alice.client.block(mallory.account()).await.unwrap();
    alice.client.close().await;
    drop((alice, bob));
    stop(stack).await;
    let folder = database_folder(stack);
    let at = text(&folder);
    let refused = place.refusal(&backup, &["--replace", "--keep-mailboxes", "--databases-to", &at]).await;
    assert!(refused.contains("runs, and must be stopped first"), "{refused}");
    database.term().await.unwrap();
    let refused = place.refusal(&backup, &["--replace", "--keep-mailboxes"]).await;
    assert!(refused.contains("--databases-to"), "{refused}");
    std::fs::remove_dir_all(&folder).unwrap();
    let folder = text(&folder);
    place.restore(&backup, &["--replace", "--keep-mailboxes", "--databases-to", &folder]).await.unwrap();
    assert!(waiting().await.0 > 0, "the event waits again");
    database.restart().await.unwrap();
    for server in stack.servers() {
        server.restart().await.unwrap();
    }
    eventually(seconds(10), async || Ok(waiting().await == (0, 0))).await.unwrap();
    let mut bob = place.person("bob", &bobs).await;
    bob.hears_text("after the backup").await.unwrap();
    let alice = place.person("alice", &alices).await;
    // she says again whom she blocked
    let blocks = async || {
        let contacts = alice.client.http().contacts(None, 100).await?.contacts;
        let found = contacts.iter().find(|contact| contact.account.account == mallory.account());
        Ok(found.is_some_and(|contact| contact.consent == Consent::Blocked))
    };
    eventually(seconds(10), blocks).await.unwrap();
    bob.says(&alice, "and on").await.unwrap();
    has_each_once(&alice, &bob, &["hello", "after the backup", "and on"].map(str::to_owned)).await;
}

/// Where the server of a stack has its databases.
fn database_folder(stack: &Stack) -> PathBuf {
    let configuration = stack.configuration("unused", &nepto_testkit::Settings::new()).unwrap();
    configuration.with_file_name("database")
}

#[tokio::test]
async fn databases_of_two_servers_are_one_backup_and_each_comes_back_to_its_own() {
    let place = Place::new(async |builder: Builder| builder.split(1).await).await;
    let stack = &place.stack;
    let server = Database::start().await;
    let settings = elsewhere("keys", &server.url(), &server.secret("keys", "of keys"));
    make_users(stack, &server, &settings).await;
    let (provisioned, said) = nepto_server(stack, &settings, &["provision"]).await;
    assert!(provisioned, "{said}");
    for running in [&stack.api, &stack.worker] {
        running.reconfigure(&settings).await.unwrap();
    }
    let [alices, bobs] = [new_key(), new_key()];
    let alice = place.person("alice", &alices).await;
    let mut bob = place.person("bob", &bobs).await;
    alice.says(&bob, "hello").await.unwrap();
    bob.hears_text("hello").await.unwrap();
    bob.client.accept(alice.account()).await.unwrap();
    let devices = (alice.client.device(), bob.client.device());

    // who works in one database may not read the whole server
    let (made, said) = nepto_server(stack, &settings, &["backup"]).await;
    assert!(!made && said.contains("--root-password-file keys=FILE"), "{said}");
    let root = format!("keys={}", server.secret("root", ROOT_PASSWORD));
    let (made, said) = nepto_server(stack, &settings, &["backup", "--root-password-file", &root]).await;
    assert!(made && said.contains("the databases of keys: "), "{said}");
    let backup = text(&place.backups().pop().unwrap());
    bob.client.close().await;
    alice.client.close().await;
    drop((alice, bob));
    stop(stack).await;
    stack.database.as_ref().unwrap().term().await.unwrap();
    drop(server);

    let (common, own) = (text(&database_folder(stack)), text(&place.profile("keys-database")));
    let key = text(&place.profile("backup.key"));
    let arguments = ["restore", "--identity", &key, &backup, "--replace", "--databases-to", &common];
    let (restored, said) = nepto_server(stack, &settings, &arguments).await;
    assert!(!restored && said.contains("--databases-to keys=FOLDER"), "{said}");
    let own_folder = format!("keys={own}");
    let arguments = [&arguments[..], &["--databases-to", &own_folder]].concat();
    let (restored, said) = nepto_server(stack, &settings, &arguments).await;
    assert!(restored, "{said}");
    stack.database.as_ref().unwrap().restart().await.unwrap();
    let server = Database::start_on(&format!("surrealkv://{own}")).await;
    let settings = elsewhere("keys", &server.url(), &server.secret("keys", "of keys"));
    for running in [&stack.api, &stack.worker] {
        running.reconfigure(&settings).await.unwrap();
    }
    stack.gateways[0].restart().await.unwrap();
    let alice = place.person("alice", &alices).await;
    let mut bob = place.person("bob", &bobs).await;
    assert_eq!((alice.client.device(), bob.client.device()), devices);
    alice.says(&bob, "and on").await.unwrap();
    bob.hears_text("and on").await.unwrap();
}

#[tokio::test]
async fn a_backup_that_fails_replaces_nothing_and_says_so() {
    let place = Place::new(async |builder: Builder| builder.all().await).await;
    let first = place.back_up().await.unwrap();
    let good = place.metrics();
    // nobody hands out the databases
    let failed = place.stack.run(&["backup", "--operator", "http://127.0.0.1:1"]).await.unwrap_err();
    assert!(format!("{failed:#}").contains("nepto-server all"), "{failed:#}");
    assert_eq!(place.backups(), [first], "neither a part of one nor one less");
    let said = place.metrics();
    assert!(said.contains("\nnepto_backup_failed 1\n"), "{said}");
    let success =
        |text: &str| text.lines().find(|line| line.starts_with("nepto_backup_last_success_t")).map(str::to_owned);
    assert!(success(&said).is_some() && success(&said) == success(&good), "{said}");
    // consumers that were held go on
    let events = place.stack.nats.jetstream().await.unwrap().get_stream("EVENTS").await.unwrap();
    let consumers: Vec<Info> = events.consumers().try_collect().await.unwrap();
    assert!(!consumers.is_empty() && consumers.iter().all(|consumer| !consumer.paused), "{consumers:?}");
    let refused = place.refusal(&place.profile("nowhere"), &[]).await;
    assert!(refused.contains("can't be read"), "{refused}");
}

/// A user that nobody is.
const SOMEBODY: u32 = 4_711;

/// Gives a folder away, with all that is in it.
fn give(path: &Path) {
    lchown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

#[tokio::test]
async fn a_restore_by_root_goes_no_further_than_who_owns_the_folder() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new(async |builder: Builder| builder.all().await).await;
    let backup = place.back_up().await.unwrap();
    stop(&place.stack).await;
    let folder = database_folder(&place.stack);
    // the key and the backup stay where root alone can read them
    std::fs::set_permissions(folder.parent().unwrap(), std::fs::Permissions::from_mode(0o711)).unwrap();
    give(&folder);
    let precious = place.profile("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("file"), "kept").unwrap();
    let (staging, lock) = (folder.join("restoring"), folder.join("LOCK"));
    symlink(&precious, &staging).unwrap();
    let refused = place.refusal(&backup, &["--replace"]).await;
    assert!(refused.contains("restoring is a symbolic link"), "{refused}");
    assert_eq!(std::fs::read_to_string(precious.join("file")).unwrap(), "kept");
    std::fs::remove_file(&staging).unwrap();
    std::fs::remove_file(&lock).unwrap();
    symlink(precious.join("made"), &lock).unwrap();
    let refused = place.refusal(&backup, &["--replace"]).await;
    assert!(refused.contains("LOCK is a symbolic link"), "{refused}");
    assert!(!precious.join("made").exists());
    std::fs::remove_file(&lock).unwrap();
    let said = place.restore(&backup, &["--replace"]).await.unwrap();
    assert!(said.contains("Goes on as "), "{said}");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), SOMEBODY, "{}", entry.path().display());
    }
    place.stack.api.restart().await.unwrap();
}
