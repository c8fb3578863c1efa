//! Changes of the index: gathered in memory, one for each message, and committed together with the place in the stream up to which
//! they go.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use nepto_proto::ids::{ChannelId, MessageId};
use tantivy::directory::error::{LockError, OpenReadError};
use tantivy::directory::{INDEX_WRITER_LOCK, MmapDirectory};
use tantivy::merge_policy::LogMergePolicy;
use tantivy::schema::Schema;
use tantivy::{Directory, Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError};

use super::index::{Cut, Entry, Fields, Limits, SearchError};
use super::reader::{Reader, find};

/// Of what the index holds, and how words are cut. An index of another form is made again.
const FORM: u32 = 1;
/// A segment in which more than this part is deleted is written anew.
const DELETED_RATIO_MAX: f32 = 0.2;
/// The list of its files that the library keeps; without it no file is checked.
const FILES_LIST: &str = ".managed.json";
/// A change counts for so many bytes beside its text.
const CHANGE_BYTES: usize = 256;

/// A place in the stream of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Of the stream, milliseconds since 1970.
    pub epoch: u64,
    /// Of an event in it.
    pub seq: u64,
}

impl Cursor {
    /// Where a message was posted: its id says so.
    pub fn of(message: MessageId) -> Self {
        Self { epoch: message.epoch_ms(), seq: message.seq() }
    }

    /// As it stands in a commit. It is checked, because a wrong place would leave messages out.
    fn payload(self) -> String {
        format!("{FORM} {} {} {}", self.epoch, self.seq, self.check())
    }

    fn read(payload: &str) -> Option<Self> {
        let numbers: Vec<u64> = payload.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [form, epoch, seq, check] = numbers[..] else { return None };
        let cursor = Self { epoch, seq };
        (form == u64::from(FORM) && check == cursor.check()).then_some(cursor)
    }

    const fn check(self) -> u64 {
        self.epoch.wrapping_mul(31).wrapping_add(self.seq).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message is there that was never there before.
    Posted(Entry),
    /// A message says something else. Whom it mentions stays.
    Edited {
        /// Which one. One that is not there stays away.
        message: MessageId,
        /// Markdown.
        text: String,
    },
    /// Messages are gone.
    Deleted(Vec<MessageId>),
    /// Nothing that is searched for.
    None,
}

/// A change and its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Places only grow.
    pub place: Cursor,
    /// What happened there.
    pub change: Change,
}

/// Opens the index in a folder, or makes it anew where it is missing, damaged, unfinished or of another form: then
/// [`Writer::cursor`] is `None`, and everything has to be loaded ([`Writer::load`]). Reads the whole index once, to check it.
pub fn open(folder: &Path, limits: Limits, now_ms: i64) -> Result<(Writer, Reader), SearchError> {
    fs::create_dir_all(folder)?;
    let (fields, schema) = Fields::with_schema();
    let (index, cursor) = {
        let directory = MmapDirectory::open(folder).map_err(TantivyError::from)?;
        // nobody else writes it while it is looked at, and maybe emptied
        let _lock = directory.acquire_lock(&INDEX_WRITER_LOCK).map_err(|error| match error {
            LockError::LockBusy => SearchError::Locked,
            LockError::IoError(_) => TantivyError::LockFailure(error, None).into(),
        })?;
        match whole(folder, &schema) {
            Ok(Some(found)) => found,
            Ok(None) => (create(folder, &schema)?, None),
            Err(error) if is_damage(&error) => {
                tracing::warn!(%error, folder = %folder.display(), "the search index is damaged and made again");
                (create(folder, &schema)?, None)
            }
            Err(error) => return Err(error.into()),
        }
    };
    index.tokenizers().register(Cut::NAME, Cut);
    let writer: IndexWriter<TantivyDocument> =
        index.writer_with_num_threads(1, limits.writer_bytes).map_err(|error| match error {
            TantivyError::LockFailure(LockError::LockBusy, _) => SearchError::Locked,
            other => other.into(),
        })?;
    let mut merges = LogMergePolicy::default();
    merges.set_del_docs_ratio_before_merge(DELETED_RATIO_MAX);
    writer.set_merge_policy(Box::new(merges));
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let answers = Reader::new(reader.clone(), fields, limits.hits_max);
    let writer = Writer {
        writer,
        reader,
        fields,
        limits,
        cursor,
        pending: HashMap::new(),
        pending_bytes: 0,
        is_dirty: false,
        committed_at_ms: now_ms,
        has_failed: false,
    };
    Ok((writer, answers))
}

/// What is in the folder, if it is an index of this form that was finished, and every file of it is as it was written.
fn whole(folder: &Path, schema: &Schema) -> Result<Option<(Index, Option<Cursor>)>, TantivyError> {
    if !folder.join("meta.json").exists() || !folder.join(FILES_LIST).exists() {
        return Ok(None);
    }
    let index = Index::open_in_dir(folder)?;
    let cursor = index.load_metas()?.payload.as_deref().and_then(Cursor::read);
    // without a place it was not loaded to the end
    if index.schema() != *schema || cursor.is_none() || !index.validate_checksum()?.is_empty() {
        return Ok(None);
    }
    // a file that is missing shows itself here
    index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    Ok(Some((index, cursor)))
}

/// Whether making it again helps: not where there is no room, no right, or no file descriptor.
fn is_damage(error: &TantivyError) -> bool {
    let is_content =
        |kind: ErrorKind| matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::NotFound);
    match error {
        TantivyError::IoError(error) => is_content(error.kind()),
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => is_content(io_error.kind()),
        TantivyError::OpenDirectoryError(_)
        | TantivyError::LockFailure(..)
        | TantivyError::SystemError(_)
        | TantivyError::ErrorInThread(_) => false,
        _ => true,
    }
}

/// An empty index. Leaves the files of locks, one of which is held.
fn create(folder: &Path, schema: &Schema) -> Result<Index, SearchError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && !entry.file_name().to_string_lossy().ends_with(".lock") {
            fs::remove_file(entry.path())?;
        }
    }
    let directory = MmapDirectory::open(folder).map_err(TantivyError::from)?;
    Ok(Index::create(directory, schema.clone(), IndexSettings::default())?)
}

/// What a message will be with the next commit.
struct Pending {
    /// `None`: gone.
    entry: Option<Entry>,
    /// No commit has it: nothing is to be taken out, which costs a search in every segment.
    is_new: bool,
}

/// The only one that changes the index.
pub struct Writer {
    writer: IndexWriter<TantivyDocument>,
    reader: IndexReader,
    fields: Fields,
    limits: Limits,
    cursor: Option<Cursor>,
    pending: HashMap<MessageId, Pending>,
    pending_bytes: usize,
    /// There is something to commit, even if it is only a place.
    is_dirty: bool,
    committed_at_ms: i64,
    has_failed: bool,
}

impl Writer {
    /// Up to where the stream was read. `None` for an index that has to be loaded.
    pub const fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// Takes events of the stream, in its order. Those up to [`Self::cursor`] were taken before, and do nothing. Commits if it is
    /// time; so does [`Self::tick`], which has to be called while nothing comes.
    pub fn apply(&mut self, batch: Vec<Stored>, now_ms: i64) -> Result<(), SearchError> {
        self.guarded(|writer| {
            for Stored { place, change } in batch {
                if writer.cursor.is_some_and(|cursor| place <= cursor) {
                    continue;
                }
                writer.take(change)?;
                writer.cursor = Some(place);
                writer.is_dirty = true;
                writer.commit_if_full(now_ms)?;
            }
            writer.commit_if_due(now_ms)
        })
    }

    /// Takes messages that history has, each once, for an index that is made anew. `up_to` is the place up to which history went
    /// before its first message was read: what is behind it comes with the stream, and is left to that.
    pub fn load(&mut self, entries: Vec<Entry>, up_to: Cursor, now_ms: i64) -> Result<(), SearchError> {
        self.guarded(|writer| {
            for entry in entries {
                if Cursor::of(entry.message) > up_to {
                    continue;
                }
                writer.take(Change::Posted(entry))?;
                writer.is_dirty = true;
                writer.commit_if_full(now_ms)?;
            }
            Ok(())
        })
    }

    /// Everything up to this place was loaded. A process that ends before this begins again.
    pub fn loaded(&mut self, up_to: Cursor, now_ms: i64) -> Result<(), SearchError> {
        self.guarded(|writer| {
            writer.cursor = Some(up_to);
            writer.commit(now_ms)
        })
    }

    /// Takes everything of a channel out, for one that is deleted for good. What comes of it later is taken in.
    pub fn forget_channel(&mut self, channel: ChannelId) -> Result<(), SearchError> {
        self.guarded(|writer| {
            for pending in writer.pending.values_mut() {
                if pending.entry.as_ref().is_some_and(|entry| entry.channel == channel) {
                    pending.entry = None;
                }
            }
            writer.writer.delete_term(writer.fields.channel_term(channel));
            writer.is_dirty = true;
            Ok(())
        })
    }

    /// Commits if it is time.
    pub fn tick(&mut self, now_ms: i64) -> Result<(), SearchError> {
        self.guarded(|writer| writer.commit_if_due(now_ms))
    }

    /// Commits, and waits until segments that are being merged are.
    pub fn close(mut self, now_ms: i64) -> Result<(), SearchError> {
        self.guarded(|writer| writer.commit(now_ms))?;
        Ok(self.writer.wait_merging_threads()?)
    }

    /// Nothing more is taken after a failure, or what is in memory would be committed without what failed.
    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> Result<(), SearchError>) -> Result<(), SearchError> {
        if self.has_failed {
            return Err(SearchError::Failed);
        }
        let done = work(self);
        self.has_failed = done.is_err();
        done
    }

    fn take(&mut self, change: Change) -> Result<(), SearchError> {
        match change {
            Change::Posted(entry) => self.set(entry.message, Some(entry), true),
            Change::Edited { message, text } => {
                let known = match self.pending.get(&message) {
                    Some(pending) => pending.entry.clone(),
                    None => find(&self.reader.searcher(), &self.fields, message)?,
                };
                if let Some(entry) = known {
                    self.set(message, Some(Entry { text, ..entry }), false);
                }
            }
            Change::Deleted(messages) => messages.into_iter().for_each(|message| self.set(message, None, false)),
            Change::None => {}
        }
        Ok(())
    }

    fn set(&mut self, message: MessageId, entry: Option<Entry>, is_new: bool) {
        self.pending_bytes += CHANGE_BYTES + entry.as_ref().map_or(0, |entry| entry.text.len());
        // what was new for this commit still is
        let is_new = self.pending.get(&message).map_or(is_new, |pending| pending.is_new);
        self.pending.insert(message, Pending { entry, is_new });
    }

    fn commit_if_full(&mut self, now_ms: i64) -> Result<(), SearchError> {
        if self.pending_bytes < self.limits.pending_bytes_max { Ok(()) } else { self.commit(now_ms) }
    }

    fn commit_if_due(&mut self, now_ms: i64) -> Result<(), SearchError> {
        let wait_ms = if self.pending.is_empty() { self.limits.idle_commit_ms } else { self.limits.commit_ms };
        // a clock that was put back does not hold it up
        let passed_ms = now_ms.saturating_sub(self.committed_at_ms);
        if self.is_dirty && !(0..wait_ms).contains(&passed_ms) { self.commit(now_ms) } else { Ok(()) }
    }

    fn commit(&mut self, now_ms: i64) -> Result<(), SearchError> {
        for (message, Pending { entry, is_new }) in self.pending.drain() {
            if !is_new {
                self.writer.delete_term(self.fields.message_term(message));
            }
            if let Some(entry) = entry {
                self.writer.add_document(self.fields.document(&entry))?;
            }
        }
        self.pending_bytes = 0;
        let mut commit = self.writer.prepare_commit()?;
        if let Some(cursor) = self.cursor {
            commit.set_payload(&cursor.payload());
        }
        commit.commit()?;
        self.reader.reload()?;
        self.is_dirty = false;
        self.committed_at_ms = now_ms;
        Ok(())
    }
}
