//! `backup`: one encrypted file with everything that can't be made again, while the server runs (docs/adr/0038-backups.md).
//!
//! What must hold:
//! - the databases of one store are all of one moment, and no event that was committed by then is missing: what was not worked off
//!   is in the stream of events, because nobody works any off from before the first of these moments until the stream is copied;
//! - a backup that failed replaces nothing, and says so: by its exit status and its metrics.

pub mod archive;
mod images;
mod named;
mod owners;
pub mod restore;
mod sources;
mod stores;
mod telling;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use nepto_files::Readers;
use nepto_kit::clock::Clock;
use nepto_kit::config::Backup;
use nepto_kit::health::Health;
use nepto_kit::stream_copy::{self, Held};
use nepto_kit::{Config, nats};
use nepto_proto::subject::EVENTS_STREAM;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::archive::{Entry, Writer};
use self::owners::Owner;
use self::sources::{Reading, Snapshot};
use self::telling::Progress;

/// Consumers are held so often while events are copied.
const RENEW_EVERY: Duration = Duration::from_secs(30);

/// Names of the files that the server needs, in a backup.
mod file {
    pub const CONFIGURATION: &str = "nepto.toml";
    pub const SIGNING_KEY: &str = "tokens.pem";
    pub const VERIFYING_KEY: &str = "tokens.pub.pem";
    pub const DATABASE_PASSWORD: &str = "database.password";
    pub const NATS_CREDENTIALS: &str = "nats.creds";

    /// The key that the provider of a webhook signs with.
    pub fn key_of_hook(id: &str) -> String {
        format!("hook.{id}.key")
    }

    /// The password of the database of one domain.
    pub fn password_of(domain: &str) -> String {
        format!("database.{domain}.password")
    }
}

const BEFORE_TIME: &str = "nepto-";
const UNFINISHED: &str = ".nepto-";
const BEHIND_TIME: &str = ".backup.age";

/// What `backup` is told.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    reading: Reading,
}

/// Makes a backup in `backup.folder`, and removes those that are more than `backup.keep`.
pub async fn run(config: &Config, configuration: Option<&Path>, arguments: &Arguments) -> anyhow::Result<()> {
    let clock = Clock::default();
    let Backup { folder, keep, .. } = &config.backup;
    telling::can_be_told(&config.backup)?;
    let owner = Owner::of_folder(folder)?;
    let alone = alone(folder)?;
    remove_unfinished(folder)?;
    let finished = async {
        let made = make(config, configuration, arguments, &clock).await?;
        owner.give(&made.path)?;
        println!("Wrote {} ({} bytes, BLAKE3 {}).", made.path.display(), made.bytes, made.digest);
        for old in remove_old(folder, *keep, &made.path)? {
            println!("Removed {}.", old.display());
        }
        Ok(made)
    };
    let finished = tokio::select! {
        finished = finished => finished,
        () = told_to_stop() => Err(anyhow!("it was told to stop; consumers that it held go on in two minutes")),
    };
    if finished.is_err() {
        // what was begun is of no use; why it failed says more than why that can't be removed
        drop(remove_unfinished(folder));
    }
    drop(alone);
    let told = telling::write_metrics(&config.backup, finished.as_ref().ok(), clock.now_ms());
    finished?;
    Ok(told?)
}

/// A backup that is on the disk.
struct Made {
    path: PathBuf,
    bytes: u64,
    /// BLAKE3, hexadecimal.
    digest: String,
}

async fn told_to_stop() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        },
        // then nobody tells it, and it ends as processes do
        _ => std::future::pending().await,
    }
}

/// Two at once would hold the same consumers and remove each other's files.
fn alone(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(".lock");
    // no link: root may make a backup in somebody else's folder
    let lock = File::options().create(true).append(true).custom_flags(nix::libc::O_NOFOLLOW).open(&path);
    let lock = lock.with_context(|| format!("{} can't be written", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => bail!("another backup is being made in {}", folder.display()),
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Removes what backups left that were killed.
fn remove_unfinished(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = |name: &str| name.starts_with(UNFINISHED) && name.ends_with(".unfinished");
        if name.to_str().is_some_and(is_ours) {
            let path = entry.path();
            std::fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        }
    }
    Ok(())
}

async fn make(
    config: &Config,
    configuration: Option<&Path>,
    arguments: &Arguments,
    clock: &Clock,
) -> anyhow::Result<Made> {
    let recipients = config.backup.keys(configuration)?;
    let path = config.backup.folder.join(name_of(clock.now_ms()));
    let unfinished = nepto_files::unfinished(&path)?;
    let output = Hashed::create(&unfinished)?;
    let writer = Writer::new(&recipients, output)?;
    let making = Making { config, configuration, reading: &arguments.reading, clock };
    let digest = making.write(writer).await?.close()?;
    // the disk gives back what was written
    let (read, bytes) = digest_of(&unfinished)?;
    ensure!(read == digest, "the disk gives back something else than was written");
    nepto_files::publish(&unfinished, &path, Readers::Owner)?;
    Ok(Made { path, bytes, digest: digest.to_hex().to_string() })
}

/// A backup that is being made.
struct Making<'a> {
    config: &'a Config,
    configuration: Option<&'a Path>,
    reading: &'a Reading,
    clock: &'a Clock,
}

impl Making<'_> {
    async fn write<W: Write>(&self, mut writer: Writer<W>) -> anyhow::Result<W> {
        let files = self.files()?;
        let stop = CancellationToken::new();
        let (client, _) = nats::connect(&self.config.nats, "backup", &Health::default(), stop).await?;
        let jetstream = nats::jetstream(&client);
        let held = Held::all(&jetstream, EVENTS_STREAM, self.clock.now()).await?;
        let cut = self.cut(&client, &held, &mut writer).await;
        let released = held.release().await;
        let (databases, made_at) = cut?;
        released?;
        for store in databases {
            write_databases(store, &mut writer).await?;
        }
        for stream in nats::copied_streams(&self.config.nats)?.into_iter().filter(|name| name != EVENTS_STREAM) {
            write_stream(&client, &stream, false, &mut writer).await?;
        }
        self.images(&mut writer)?;
        for (name, contents) in files {
            writer.begin(&Entry::File { name })?;
            writer.put(&contents)?;
            writer.end()?;
        }
        writer.finish(env!("CARGO_PKG_VERSION"), made_at)
    }

    /// Opens the databases and copies the events that were not worked off by then. Nobody works any off in between: one that is
    /// neither in a database nor in the stream would be lost.
    async fn cut<W: Write>(
        &self,
        client: &async_nats::Client,
        held: &Held,
        writer: &mut Writer<W>,
    ) -> anyhow::Result<(Vec<Snapshot>, String)> {
        let before = held.places().await?;
        let databases = sources::open(self.config, self.reading).await?;
        let made_at = shown(self.clock.now_ms());
        let copied = write_stream(client, EVENTS_STREAM, true, writer);
        tokio::pin!(copied);
        loop {
            tokio::select! {
                copied = &mut copied => break copied?,
                () = tokio::time::sleep(RENEW_EVERY) => held.renew(self.clock.now()).await?,
            }
        }
        ensure!(
            held.places().await? == before,
            "an event was worked off while the databases were cut, although consumers were held; run it again"
        );
        Ok((databases, made_at))
    }

    /// The images that this machine has. Where somebody else serves them there are none.
    fn images<W: Write>(&self, writer: &mut Writer<W>) -> anyhow::Result<()> {
        let (folder, names) = nepto_domains::assets::kept_images(self.config)?;
        if names.is_empty() {
            return Ok(());
        }
        let entry = Entry::Images { count: names.len() };
        writer.begin(&entry)?;
        let mut progress = Progress::new(entry.title());
        images::write(&folder, &names, |bytes| {
            progress.add(bytes.len() as u64);
            writer.put(bytes)
        })?;
        progress.done();
        writer.end()
    }

    /// The files that the server needs. All of them, or it is no backup.
    fn files(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let signing_key = nepto_domains::auth::signing_key_file(self.config);
        let wanted = [
            (file::CONFIGURATION, self.configuration),
            (file::SIGNING_KEY, Some(signing_key.as_path())),
            (file::VERIFYING_KEY, Some(self.config.tokens.verifying_key_file.as_path())),
            (file::DATABASE_PASSWORD, self.config.database.password_file.as_deref()),
            (file::NATS_CREDENTIALS, self.config.nats.credentials_file.as_deref()),
        ];
        let of_domains = self.config.database.domains.iter();
        let of_domains = of_domains.map(|(name, own)| (file::password_of(name), own.password_file.as_deref()));
        let hooks = nepto_domains::chains::hook_keys(self.config);
        let of_hooks = hooks.iter().filter(|(id, path)| {
            // the processes that read them may run elsewhere, and the provider shows its key again
            let is_here = path.exists();
            if !is_here {
                println!("The key of the webhook {id} is not on this machine, and in no backup from here.");
            }
            is_here
        });
        let of_hooks = of_hooks.map(|(id, path)| (file::key_of_hook(id), Some(path.as_path())));
        let wanted = wanted.into_iter().map(|(name, path)| (name.to_owned(), path)).chain(of_domains).chain(of_hooks);
        if self.configuration.is_none() {
            println!(
                "No file of configuration was read, so none is in this backup: keep what your environment says elsewhere."
            );
        }
        let read = |(name, path): (String, &Path)| {
            let contents = std::fs::read(path);
            contents.map(|contents| (name, contents)).with_context(|| {
                format!("{} can't be read, and a backup without it is none; back up where it is", path.display())
            })
        };
        wanted.filter_map(|(name, path)| Some((name, path?))).map(read).collect()
    }
}

async fn write_databases<W: Write>(mut databases: Snapshot, writer: &mut Writer<W>) -> anyhow::Result<()> {
    writer.begin(&databases.entry)?;
    let mut progress = Progress::new(databases.entry.title());
    while let Some(bytes) = databases.next().await? {
        writer.put(&bytes)?;
        progress.add(bytes.len() as u64);
    }
    progress.done();
    writer.end()
}

async fn write_stream<W: Write>(
    client: &async_nats::Client,
    name: &str,
    with_consumers: bool,
    writer: &mut Writer<W>,
) -> anyhow::Result<()> {
    let copied = async {
        let mut copy = stream_copy::begin(client, name, with_consumers).await?;
        let description = Box::new(copy.description.clone());
        let entry = Entry::Stream { name: name.to_owned(), description };
        writer.begin(&entry)?;
        let mut progress = Progress::new(entry.title());
        while let Some(chunk) = copy.chunk().await? {
            writer.put(&chunk)?;
            progress.add(chunk.len() as u64);
        }
        progress.done();
        writer.end()
    };
    copied.await.with_context(|| format!("the stream {name} was not copied"))
}

/// A moment as people read it, in UTC.
fn shown(ms: i64) -> String {
    let moment = nepto_kit::clock::from_ms(ms);
    let (date, time) = (moment.date(), moment.time());
    let (month, day) = (u8::from(date.month()), date.day());
    let (hour, minute, second) = time.as_hms();
    format!("{}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}", date.year())
}

/// Names are in the order of their times.
fn name_of(ms: i64) -> String {
    let time: String = shown(ms).chars().map(|c| if c == ' ' { 'T' } else { c }).filter(|c| *c != ':').collect();
    format!("{BEFORE_TIME}{time}Z{BEHIND_TIME}")
}

/// The backups in a folder, the oldest first.
fn backups(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours = |name: &str| name.starts_with(BEFORE_TIME) && name.ends_with(BEHIND_TIME);
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Removes all but the newest, of which this one must be the last; which these were.
fn remove_old(folder: &Path, keep: usize, newest: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut old = backups(folder)?;
    let later: Vec<String> = old.iter().filter(|path| *path > newest).map(|path| path.display().to_string()).collect();
    ensure!(
        later.is_empty(),
        "backups are removed by the time in their names, and by that these were made later than the one just written, {}: {}. The \
         clock of this machine is or was wrong; nothing was removed. Set it right, and move what was made by a wrong clock away",
        newest.display(),
        later.join(", ")
    );
    old.truncate(old.len().saturating_sub(keep));
    for path in &old {
        std::fs::remove_file(path).with_context(|| format!("the old backup {} can't be removed", path.display()))?;
    }
    Ok(old)
}

/// A file that knows what was written into it.
struct Hashed {
    file: BufWriter<File>,
    digest: blake3::Hasher,
}

impl Hashed {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).with_context(|| format!("{} can't be written", path.display()))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), digest: blake3::Hasher::new() })
    }

    /// Everything is on the disk when this returns.
    fn close(mut self) -> anyhow::Result<blake3::Hash> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        // so that whoever reads it asks the disk, and not the memory that it was written from
        rustix::fs::fadvise(self.file.get_ref(), 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(self.digest.finalize())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn digest_of(path: &Path) -> anyhow::Result<(blake3::Hash, u64)> {
    let (mut file, mut digest, mut all) = (File::open(path)?, blake3::Hasher::new(), 0);
    let mut bytes = vec![0; 1 << 20];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok((digest.finalize(), all)),
            read => {
                digest.update(&bytes[..read]);
                all += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_what_was_killed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let first = alone(folder.path()).unwrap();
        assert!(alone(folder.path()).unwrap_err().to_string().contains("another backup"));
        drop(first);
        alone(folder.path()).unwrap();
        let finished = name_of(1_796_000_000_000);
        for name in [finished.clone(), format!(".{finished}.4711.unfinished")] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        remove_unfinished(folder.path()).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".lock", &finished]);
    }

    #[test]
    fn the_newest_are_kept_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..5).map(|day| name_of(1_796_000_000_000 + day * 86_400_000)).collect();
        assert_eq!(names[0], "nepto-2026-11-30T005320Z.backup.age");
        for name in names.iter().map(String::as_str).chain(["notes.txt", "nepto-old.tar"]) {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let newest = folder.path().join(&names[4]);
        assert_eq!(remove_old(folder.path(), 9, &newest).unwrap(), [] as [PathBuf; 0]);
        // the clock was ahead once: the one just made must not count as old
        let refused = remove_old(folder.path(), 1, &folder.path().join(&names[3])).unwrap_err().to_string();
        assert!(refused.contains(&names[4]) && refused.contains("clock"), "{refused}");
        assert_eq!(backups(folder.path()).unwrap().len(), 5);
        let removed = remove_old(folder.path(), 2, &newest).unwrap();
        assert_eq!(removed, names[..3].iter().map(|name| folder.path().join(name)).collect::<Vec<_>>());
        let left = backups(folder.path()).unwrap();
        assert_eq!(left, names[3..].iter().map(|name| folder.path().join(name)).collect::<Vec<_>>());
        assert!(folder.path().join("notes.txt").exists() && folder.path().join("nepto-old.tar").exists());
    }
}
