//! `restore`: everything of a backup, put where it belongs while nothing runs (docs/adr/0038-backups.md).
//!
//! What must hold:
//! - the whole backup is read and found to be whole before anything is touched, and what is there is not replaced unless that was
//!   asked for;
//! - databases are made ready beside their place and moved there last, so a restore that broke off is begun again;
//! - what was taken back, used up or handed out since the backup does not come alive again: each domain sees to it
//!   ([`Domain::restored`](nepto_kit::domain::Domain)).

mod places;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use async_nats::jetstream;
use nepto_files::Readers;
use nepto_kit::clock::{Clock, Random};
use nepto_kit::config::Database;
use nepto_kit::db::{Databases, snapshot};
use nepto_kit::health::Health;
use nepto_kit::redis::Redis;
use nepto_kit::{Config, nats, outbox, roll_call, stream_copy};
use tokio_util::sync::CancellationToken;

use super::archive::{Contents, Entry, Reader};
use super::file;
use super::images;
use super::named::Named;
use super::telling::Progress;
use crate::databases;

use self::places::Folder;

/// Processes that run have this time to say so.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A file of the server's is smaller.
const FILE_BYTES_MAX: u64 = 16 << 20;

type Identities = [Box<dyn age::Identity>];

/// What `restore` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The backup
    backup: PathBuf,
    /// File with the private key of one of its recipients, as age-keygen made it
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Only reads all of it, and says what is in it
    #[arg(long)]
    check: bool,
    /// Only puts the files in it (configuration, token keys) into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "check")]
    files_to: Option<PathBuf>,
    /// Puts what is in the backup into the place of what is there: databases are moved aside, streams deleted
    #[arg(long)]
    replace: bool,
    /// Leaves the mailboxes alone, where NATS was not lost and so has all messages since the backup
    #[arg(long)]
    keep_mailboxes: bool,
    /// Puts databases into this folder, for a server that is started on it afterwards: those of database.url, or those of the
    /// server that has this domain's
    #[arg(long, value_name = "[DOMAIN=]FOLDER", value_parser = Named::parse)]
    databases_to: Vec<Named>,
}

/// Restores a backup, or does a part of it.
pub async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let backup = Backup::open(arguments)?;
    let Whole { contents, files, streams, stores } = backup
        .check()
        .with_context(|| format!("{} can't be restored, and nothing was touched", arguments.backup.display()))?;
    for entry in &contents.entries {
        println!("{}: {} bytes", entry.title, entry.bytes);
    }
    println!("The backup is whole: made {} UTC by version {}.", contents.made_at, contents.version);
    if arguments.check {
        return Ok(());
    }
    if let Some(folder) = &arguments.files_to {
        return put_files(&files, folder);
    }
    check_streams(config, &streams)?;
    let stores = places::folders(&config.database, &arguments.databases_to, &stores)?;
    Restoring::new(config, arguments, stores, files).await?.run(&backup).await
}

/// A backup that can be read more than once.
struct Backup {
    file: File,
    identities: Vec<Box<dyn age::Identity>>,
}

/// A backup that was read to its end.
struct Whole {
    contents: Contents,
    files: Vec<KeptFile>,
    streams: Vec<String>,
    /// The domains of each store.
    stores: Vec<Vec<String>>,
}

struct KeptFile {
    name: String,
    contents: Vec<u8>,
}

impl Backup {
    fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let path = arguments.identity.display();
        let identities = age::IdentityFile::from_file(arguments.identity.to_string_lossy().into_owned());
        let identities = identities.with_context(|| format!("the key {path} can't be read"))?;
        let identities = identities.into_identities().with_context(|| format!("{path} holds no private key of age"))?;
        let file = File::open(&arguments.backup);
        let file = file.with_context(|| format!("the backup {} can't be read", arguments.backup.display()))?;
        Ok(Self { file, identities })
    }

    fn reader(&self) -> anyhow::Result<Reader<io::BufReader<&File>>> {
        (&self.file).rewind()?;
        Reader::new(&self.identities, io::BufReader::with_capacity(1 << 20, &self.file))
    }

    /// Reads all of it: what is in it, and the files.
    fn check(&self) -> anyhow::Result<Whole> {
        let mut reader = self.reader()?;
        let (mut files, mut streams, mut stores) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(entry) = reader.entry()? {
            let mut contents = reader.stream();
            match &entry {
                Entry::Databases { domains, sealed } => {
                    let checked = unseal(*sealed, &self.identities, contents).and_then(snapshot::check);
                    checked.with_context(|| entry.title())?;
                    stores.push(domains.clone());
                }
                Entry::Stream { name, .. } => streams.push(name.clone()),
                Entry::Images { .. } => {}
                Entry::File { name } => {
                    let mut bytes = Vec::new();
                    contents.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
                    ensure!(bytes.len() as u64 <= FILE_BYTES_MAX, "{} is too large", entry.title());
                    files.push(KeptFile { name: name.clone(), contents: bytes });
                }
            }
        }
        Ok(Whole { contents: reader.contents()?, files, streams, stores })
    }
}

/// The mailboxes of a backup lie in as many streams as the configuration says, or nobody would find them.
fn check_streams(config: &Config, found: &[String]) -> anyhow::Result<()> {
    let wanted = nats::copied_streams(&config.nats)?;
    let differs = |one: &[String], other: &[String]| one.iter().find(|stream| !other.contains(stream)).cloned();
    match differs(&wanted, found).or_else(|| differs(found, &wanted)) {
        None => Ok(()),
        Some(stream) => bail!(
            "{stream} is either in the backup or of this configuration, not both: nats.shards must be what it was when the backup \
             was made (--files-to shows its configuration)"
        ),
    }
}

/// What the process that had the databases encrypted by itself is decrypted.
fn unseal<'a>(sealed: bool, identities: &Identities, contents: impl Read + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
    if !sealed {
        return Ok(Box::new(contents));
    }
    let decryptor = age::Decryptor::new(contents)?;
    let identities = identities.iter().map(|identity| identity.as_ref() as &dyn age::Identity);
    Ok(Box::new(decryptor.decrypt(identities).context("this key does not open the databases in the backup")?))
}

/// Puts files into a folder that has none of them.
fn put_files(files: &[KeptFile], folder: &Path) -> anyhow::Result<()> {
    nepto_files::private_folder(folder)?;
    for KeptFile { name, contents } in files {
        ensure!(!name.contains('/') && name != "..", "{name:?} is not the name of a file");
        let path = folder.join(name);
        ensure!(!path.exists(), "{} is there already", path.display());
        nepto_files::write(&path, contents, Readers::Owner)?;
        println!("Wrote {}.", path.display());
    }
    Ok(())
}

/// A restore that may begin.
struct Restoring<'a> {
    config: &'a Config,
    arguments: &'a Arguments,
    client: async_nats::Client,
    jetstream: jetstream::Context,
    redis: Redis,
    /// Where the databases of which domains belong.
    stores: Vec<Folder>,
    /// What belongs into files that are not there.
    files: Vec<(PathBuf, KeptFile)>,
    clock: Clock,
}

impl<'a> Restoring<'a> {
    /// Looks at all that would be replaced. Nothing is touched.
    async fn new(
        config: &'a Config,
        arguments: &'a Arguments,
        stores: Vec<Folder>,
        files: Vec<KeptFile>,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (client, _) = nats::connect(&config.nats, "restore", &Health::default(), stop).await?;
        let redis = Redis::connect(&config.redis).await?;
        let running = roll_call::call(&client, ANSWER_WITHIN).await?;
        ensure!(running.is_empty(), "these processes run, and must be stopped first: {}", running.join(", "));
        let files = place_files(config, arguments.replace, files)?;
        let jetstream = nats::jetstream(&client);
        let clock = Clock::default();
        let restoring = Self { config, arguments, client, jetstream, redis, stores, files, clock };
        if !arguments.replace {
            restoring.refuse_to_replace().await?;
        }
        Ok(restoring)
    }

    async fn refuse_to_replace(&self) -> anyhow::Result<()> {
        for Folder { path, .. } in &self.stores {
            ensure!(
                is_empty(path)?,
                "there are databases in {} already. With --replace they are moved aside, and those of the backup take their place",
                path.display()
            );
        }
        for stream in nats::copied_streams(&self.config.nats)? {
            let found = self.jetstream.get_stream(&stream).await.ok();
            let messages = found.map_or(0, |stream| stream.cached_info().state.messages);
            ensure!(
                messages == 0 || self.keeps(&stream),
                "the stream {stream} holds {messages} messages. If NATS lost nothing, --replace --keep-mailboxes leaves the \
                 mailboxes as they are; with --replace alone the streams of the backup take their place"
            );
        }
        Ok(())
    }

    fn keeps(&self, stream: &str) -> bool {
        self.arguments.keep_mailboxes && self.config.nats.shards.all().any(|shard| shard.stream() == stream)
    }

    async fn run(&self, backup: &Backup) -> anyhow::Result<()> {
        let mut reader = backup.reader()?;
        while let Some(entry) = reader.entry()? {
            match entry {
                Entry::Databases { domains, sealed } => {
                    let store = self.stores.iter().find(|store| store.domains == domains);
                    let store = store.with_context(|| format!("{} were not there before", domains.join(", ")))?;
                    let source = unseal(sealed, &backup.identities, reader.stream())?;
                    self.databases(store, source).await?;
                }
                Entry::Stream { name, description } => self.stream(&name, &description, &mut reader).await?,
                Entry::Images { .. } => {
                    let (folder, _) = nepto_domains::assets::kept_images(self.config)?;
                    let restored = images::restore(&folder, reader.stream())?;
                    println!("Put {restored} images of tokens into {}.", folder.display());
                }
                Entry::File { .. } => {}
            }
        }
        for stream in nats::rebuilt_streams(&self.config.nats)? {
            // what is in them is about databases that are no more
            self.delete(&stream).await?;
        }
        nats::provision(&self.jetstream, &self.config.nats, &nepto_domains::streams(self.config), false).await?;
        for (path, KeptFile { contents, name }) in &self.files {
            if let Some(folder) = path.parent() {
                nepto_files::private_folder(folder)?;
            }
            let readers = if name == file::VERIFYING_KEY { Readers::Everybody } else { Readers::Owner };
            nepto_files::write(path, contents, readers)?;
            println!("Wrote {}.", path.display());
        }
        self.redis.forget_everything().await.context("Redis can't be emptied")?;
        println!("Emptied Redis.");
        for store in &self.stores {
            self.put_in_place(store)?;
        }
        println!("Restored. Start the servers; everybody signs in again with their wallet, and has what they had.");
        Ok(())
    }

    /// Makes databases ready beside their place.
    async fn databases(&self, store: &Folder, source: impl Read) -> anyhow::Result<()> {
        let folder = store.unfinished()?;
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        nepto_files::private_folder(&folder)?;
        let url = format!("surrealkv://{}", folder.display());
        let mut progress = Progress::new(format!("the databases of {}", store.domains.join(", ")));
        snapshot::fill(&url, source, |size| progress.set(size.bytes)).await?;
        progress.done();
        let config = Database { url, ..Database::default() };
        let databases = Databases::new(&config, Random::default());
        for domain in databases::domains().into_iter().filter(|domain| store.has(domain.name)) {
            let db = databases.of(domain.name).await?;
            db.migrate(domain.schema).await.map_err(|error| error.context(domain.name))?;
            outbox::renumber_after_restore(&db).await?;
            let Some(restored) = domain.restored else { continue };
            for undone in restored(db).await? {
                println!("{}: {} {}", domain.name, undone.count, undone.what);
            }
        }
        databases.close().await
    }

    async fn stream<R: Read>(
        &self,
        name: &str,
        description: &stream_copy::Description,
        reader: &mut Reader<R>,
    ) -> anyhow::Result<()> {
        if self.keeps(name) {
            println!("the stream {name} is left as it is");
            return Ok(());
        }
        self.delete(name).await?;
        let mut progress = Progress::new(format!("the stream {name} with {} messages", description.messages()));
        let next = || {
            let piece = reader.piece()?;
            progress.add(piece.as_ref().map_or(0, Vec::len) as u64);
            Ok(piece)
        };
        let restored = stream_copy::restore(&self.client, name, description, next).await;
        restored
            .with_context(|| format!("NATS does not take the stream {name} back; run this again with --replace"))?;
        nats::begin_epoch(&self.jetstream, name, &self.clock).await?;
        progress.done();
        Ok(())
    }

    async fn delete(&self, stream: &str) -> anyhow::Result<()> {
        if self.jetstream.get_stream(stream).await.is_ok() {
            self.jetstream.delete_stream(stream).await?;
        }
        Ok(())
    }

    /// The last step: from here on the databases are those of the backup.
    fn put_in_place(&self, store: &Folder) -> anyhow::Result<()> {
        let (place, now) = (&store.path, self.clock.now_ms());
        if !is_empty(place)? {
            let aside = places::beside(place, &format!("before-{now}"))?;
            std::fs::rename(place, &aside)?;
            println!("Moved what was in {} to {}.", place.display(), aside.display());
        } else if place.exists() {
            std::fs::remove_dir(place)?;
        }
        let unfinished = store.unfinished()?;
        std::fs::rename(&unfinished, place).with_context(|| format!("{} can't be moved", unfinished.display()))
    }
}

/// Where the files of a backup belong that the server reads by itself, if they are not there. The others are for `--files-to`.
fn place_files(config: &Config, replace: bool, files: Vec<KeptFile>) -> anyhow::Result<Vec<(PathBuf, KeptFile)>> {
    let mut placed = Vec::new();
    for kept in files {
        let path = match kept.name.as_str() {
            file::SIGNING_KEY => nepto_domains::auth::signing_key_file(config),
            file::VERIFYING_KEY => config.tokens.verifying_key_file.clone(),
            _ => continue,
        };
        match std::fs::read(&path) {
            Ok(there) if there == kept.contents => continue,
            Ok(_) => ensure!(
                replace,
                "{} is another key than that of the backup; with --replace that one takes its place",
                path.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", path.display())),
        }
        placed.push((path, kept));
    }
    Ok(placed)
}

fn is_empty(folder: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", folder.display())),
    }
}
