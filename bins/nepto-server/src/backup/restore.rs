//! `restore`: everything of a backup, put where it belongs while nothing runs (docs/adr/0038-backups.md).
//!
//! What must hold:
//! - the whole backup is read and found to be whole before anything is touched, and what is there is not replaced unless that was
//!   asked for;
//! - in folders of another account root is that account before anything is touched (account.rs), so that no link in them leads
//!   further than its owner gets;
//! - databases are made ready before anything is replaced, and get their place last. Until then nobody opens them, neither those of
//!   before nor the new ones (`nepto_kit::db::restoring`), so a restore that broke off is begun again;
//! - what was taken back, used up or handed out since the backup does not come alive again: each domain sees to it
//!   ([`Domain::restored`](nepto_kit::domain::Domain)).

mod account;
mod files;
mod places;
mod whole;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use async_nats::jetstream::{self, stream};
use nepto_files::Readers;
use nepto_kit::clock::{Clock, Random};
use nepto_kit::config::Database;
use nepto_kit::db::{Databases, snapshot};
use nepto_kit::health::Health;
use nepto_kit::redis::Redis;
use nepto_kit::{Config, address, crash, nats, roll_call, stream_copy};
use tokio_util::sync::CancellationToken;

use super::archive::{Entry, Reader};
use super::images;
use super::named::Named;
use super::telling::Progress;
use super::{digest_of, sources, stores};
use crate::databases;

use self::places::{Folder, MAILBOXES};
use self::whole::{Backup, KeptFile, Whole};

/// Processes that run have this time to say so.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

const BROKEN_OFF: &str =
    "the restore broke off, and what is there now is half of it: start nothing, and run it again with --replace";

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
    /// Refuses another file than that of which `backup` said this digest: whoever knows the public key can write one
    #[arg(long, value_name = "BLAKE3")]
    digest: Option<String>,
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
    if let Some(digest) = &arguments.digest {
        let found = digest_of(&arguments.backup).context("the backup can't be read")?.0.to_hex();
        ensure!(
            found.as_str() == digest.trim(),
            "{} is another file: its digest is {found}",
            arguments.backup.display()
        );
    }
    let backup = Backup::open(&arguments.backup, &arguments.identity)?;
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
        account::become_owner([folder.as_path()])?;
        return files::extract(&files, folder);
    }
    check_streams(config, &streams)?;
    let stores = places::folders(&config.database, &arguments.databases_to, &stores)?;
    Restoring::new(config, arguments, stores, files).await?.run(&backup).await
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

/// A restore that may begin.
struct Restoring<'a> {
    config: &'a Config,
    arguments: &'a Arguments,
    client: async_nats::Client,
    jetstream: jetstream::Context,
    redis: Redis,
    /// Where the databases of which domains belong.
    stores: Vec<Store>,
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
        for store in stores::of(&config.database) {
            refuse_to_be_overheard(&store.place.url).await?;
        }
        let files = files::place(config, arguments.replace, files)?;
        let folders = stores.iter().map(|folder| folder.path.as_path());
        account::become_owner(folders.chain(files.iter().map(|(path, _)| files::folder_of(path))))?;
        let stores = stores.into_iter().map(Store::take).collect::<anyhow::Result<Vec<_>>>()?;
        let jetstream = nats::jetstream(&client);
        let clock = Clock::default();
        let restoring = Self { config, arguments, client, jetstream, redis, stores, files, clock };
        ensure!(
            !arguments.keep_mailboxes || !restoring.marker().exists(),
            "an earlier restore broke off while it replaced mailboxes, so they can't be left as they are: run this without \
             --keep-mailboxes"
        );
        if !arguments.replace {
            restoring.refuse_to_replace().await?;
        }
        Ok(restoring)
    }

    /// Says that mailboxes are being replaced, as long as they are.
    fn marker(&self) -> PathBuf {
        let first = self.stores.first().map(|store| store.folder.path.clone()).unwrap_or_default();
        first.join(MAILBOXES)
    }

    async fn refuse_to_replace(&self) -> anyhow::Result<()> {
        for Store { folder, .. } in &self.stores {
            ensure!(
                folder.contents()?.is_empty(),
                "there are databases in {} already. With --replace they are moved aside, and those of the backup take their place",
                folder.path.display()
            );
        }
        for stream in nats::copied_streams(&self.config.nats)? {
            let found = nats::find_stream(&self.jetstream, &stream).await?;
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
        self.arguments.keep_mailboxes && self.is_mailbox(stream)
    }

    fn is_mailbox(&self, stream: &str) -> bool {
        self.config.nats.shards.all().any(|shard| shard.stream() == stream)
    }

    async fn run(&self, backup: &Backup) -> anyhow::Result<()> {
        if let Err(error) = self.make_ready(backup).await {
            if self.stores.iter().any(|store| store.was_broken_off) {
                return Err(error.context(BROKEN_OFF));
            }
            for store in &self.stores {
                // where it can't be removed, the next try does
                drop(store.folder.forget_staging());
            }
            return Err(error.context("the databases can't be made ready; nothing was replaced"));
        }
        crash::at("restore", "ready");
        self.replace(backup).await.context(BROKEN_OFF)
    }

    /// All databases, in folders beside those that they replace.
    async fn make_ready(&self, backup: &Backup) -> anyhow::Result<()> {
        let mut reader = backup.reader()?;
        while let Some(entry) = reader.entry()? {
            let Entry::Databases { domains, sealed } = entry else { continue };
            let store = self.stores.iter().find(|store| store.folder.domains == domains);
            let store = store.with_context(|| format!("{} were not there before", domains.join(", ")))?;
            let source = backup.unseal(sealed, reader.stream())?;
            self.databases(store, source).await?;
        }
        Ok(())
    }

    async fn replace(&self, backup: &Backup) -> anyhow::Result<()> {
        // first, so that a gateway that is started on a half, and needs no database, knows nobody's session
        self.redis.forget_everything().await.context("Redis can't be emptied")?;
        println!("Emptied Redis.");
        let mut reader = backup.reader()?;
        while let Some(entry) = reader.entry()? {
            if let Entry::Stream { name, description } = entry {
                self.stream(&name, *description, &mut reader).await?;
            }
        }
        for stream in nats::rebuilt_streams(&self.config.nats)? {
            // what is in them is about databases that are no more
            self.delete(&stream).await?;
        }
        nats::provision(&self.jetstream, &self.config.nats, &nepto_domains::streams(self.config), false).await?;
        for (path, file) in &self.files {
            files::put(path, file)?;
        }
        crash::at("restore", "streams replaced");
        for store in &self.stores {
            store.folder.swap(self.clock.now_ms())?;
        }
        crash::at("restore", "swapped");
        if let Err(error) = self.images(backup) {
            println!("The images of tokens were not all put back, and are fetched again: {error:#}.");
        }
        println!("Restored. Start the servers; everybody signs in again with their wallet, and has what they had.");
        println!("Who lost a wallet or a device since the backup removes it again.");
        Ok(())
    }

    fn images(&self, backup: &Backup) -> anyhow::Result<()> {
        let mut reader = backup.reader()?;
        while let Some(entry) = reader.entry()? {
            if let Entry::Images { .. } = entry {
                let (folder, _) = nepto_domains::assets::kept_images(self.config)?;
                // the last step: whoever is still root here needs that no more
                account::become_owner([folder.as_path()])?;
                account::refuse_link_of_others(&folder)?;
                let restored = images::restore(&folder, reader.stream())?;
                println!("Put {restored} images of tokens into {}.", folder.display());
            }
        }
        Ok(())
    }

    /// Makes databases ready, where they are moved to their place from.
    async fn databases(&self, store: &Store, source: impl Read) -> anyhow::Result<()> {
        let folder = store.folder.new_staging()?;
        let url = format!("surrealkv://{}", folder.display());
        let mut progress = Progress::new(format!("the databases of {}", store.folder.domains.join(", ")));
        snapshot::fill(&url, source, |size| progress.set(size.bytes)).await?;
        progress.done();
        crash::at("restore", "filled");
        let config = Database { url, ..Database::default() };
        let databases = Databases::new(&config, Random::default());
        for domain in databases::domains().into_iter().filter(|domain| store.folder.has(domain.name)) {
            let db = databases.of(domain.name).await?;
            db.migrate(domain.schema).await.map_err(|error| error.context(domain.name))?;
            let Some(restored) = domain.restored else { continue };
            for undone in restored(db, self.clock.now_ms()).await? {
                println!("{}: {} {}", domain.name, undone.count, undone.what);
            }
        }
        databases.close().await
    }

    async fn stream<R: Read>(
        &self,
        name: &str,
        mut description: stream_copy::Description,
        reader: &mut Reader<R>,
    ) -> anyhow::Result<()> {
        if self.keeps(name) {
            // clients say again what the server forgot, when they see that it was restored
            self.begin_epoch(name).await?;
            println!("the stream {name} is left as it is");
            return Ok(());
        }
        if self.is_mailbox(name) {
            nepto_files::write(&self.marker(), "", Readers::Owner)?;
        }
        self.delete(name).await?;
        crash::at(name, "deleted");
        let mut progress = Progress::new(format!("the stream {name} with {} messages", description.messages()));
        let next = || {
            let piece = reader.piece()?;
            progress.add(piece.as_ref().map_or(0, Vec::len) as u64);
            Ok(piece)
        };
        nats::restored_config(&mut description.config, &self.config.nats, &self.clock);
        let restored = stream_copy::restore(&self.client, name, &description, next).await;
        restored.with_context(|| format!("NATS does not take the stream {name} back"))?;
        stream_copy::resume(&self.jetstream, name).await?;
        progress.done();
        Ok(())
    }

    /// A new epoch for a stream that stays, beside databases that went back.
    async fn begin_epoch(&self, name: &str) -> anyhow::Result<()> {
        let stream = self.jetstream.get_stream(name).await?;
        let mut config = serde_json::to_value(&stream.cached_info().config)?;
        nats::restored_config(&mut config, &self.config.nats, &self.clock);
        self.jetstream.update_stream(serde_json::from_value::<stream::Config>(config)?).await?;
        Ok(())
    }

    async fn delete(&self, stream: &str) -> anyhow::Result<()> {
        if nats::find_stream(&self.jetstream, stream).await?.is_some() {
            self.jetstream.delete_stream(stream).await?;
        }
        Ok(())
    }
}

/// A folder for databases, which nobody else opens meanwhile.
struct Store {
    folder: Folder,
    /// A restore into it has begun before and not ended: what is in it may be a half, and stays closed until one has.
    was_broken_off: bool,
    /// Held as long as this is there.
    _lock: File,
}

impl Store {
    fn take(folder: Folder) -> anyhow::Result<Self> {
        nepto_files::private_folder(&folder.path)?;
        let lock = folder.lock()?;
        let was_broken_off = folder.is_staged();
        Ok(Self { folder, was_broken_off, _lock: lock })
    }
}

/// A server of databases that goes on would have those of before, and write them.
async fn refuse_to_be_overheard(url: &str) -> anyhow::Result<()> {
    let Some(server) = sources::server(url) else { return Ok(()) };
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let answer = http.get(format!("{server}/health")).send().await;
    ensure!(answer.is_err(), "the server of databases at {} runs, and must be stopped first", address::shown(url));
    Ok(())
}
