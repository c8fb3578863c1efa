//! What the index holds of a message, and how.

use std::collections::BTreeSet;

use nepto_proto::ids::{AccountId, ChannelId, MessageId, RoleId};
use nepto_proto::markdown::{Block, Inline, Spoilers, parse, plain};
use tantivy::schema::{BytesOptions, FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use tantivy::{TantivyDocument, TantivyError, Term};

use super::query::Has;
use super::words::{Purpose, Word, words};

/// Bounds of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of what is written and not yet a segment. At least 15 MB, which is the library's own bound.
    pub writer_bytes: usize,
    /// Texts that wait for a commit. Past it, they are committed at once.
    pub pending_bytes_max: usize,
    /// What is new can be found after so long.
    pub commit_ms: i64,
    /// A commit that says only how far the stream was read waits for so long.
    pub idle_commit_ms: i64,
    /// Hits of one answer.
    pub hits_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            writer_bytes: 32 << 20,
            pending_bytes_max: 8 << 20,
            commit_ms: 1_000,
            idle_commit_ms: 60_000,
            hits_max: 100,
        }
    }
}

/// Why the index can't answer, or be written.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Another process has it open.
    #[error("another process writes the search index")]
    Locked,
    /// An earlier change failed: what is in memory is not what is stored. Open it again; it goes on from its last commit.
    #[error("the search index failed before; it has to be opened again")]
    Failed,
    /// The library's.
    #[error("the search index: {0}")]
    Index(Box<TantivyError>),
    /// The file system's.
    #[error("the folder of the search index: {0}")]
    Io(#[from] std::io::Error),
}

impl From<TantivyError> for SearchError {
    fn from(error: TantivyError) -> Self {
        Self::Index(Box::new(error))
    }
}

/// A message, as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub message: MessageId,
    /// Where it stands.
    pub channel: ChannelId,
    /// Who wrote it.
    pub author: AccountId,
    /// When it was stored, milliseconds since 1970.
    pub posted_at_ms: u64,
    /// Markdown.
    pub text: String,
    /// Accounts that it mentioned when it was posted.
    pub users: Vec<AccountId>,
    /// Roles that it mentioned.
    pub roles: Vec<RoleId>,
    /// Whether it mentioned everybody.
    pub everyone: bool,
}

/// How everybody is written among those who are mentioned: shorter than any id.
pub const EVERYONE: &[u8] = b"*";
/// In [`Fields::place`], epochs are seconds from here on (2020-01-01), 31 bits, and sequences have 33.
const EPOCH_FROM_S: u64 = 1_577_836_800;
const SEQ_BITS: u32 = 33;

/// The order of messages in one number: newer ones have larger ones.
pub fn place(message: MessageId) -> u64 {
    let epoch_s = (message.epoch_ms() / 1_000).saturating_sub(EPOCH_FROM_S).min((1 << 31) - 1);
    (epoch_s << SEQ_BITS) | message.seq().min((1 << SEQ_BITS) - 1)
}

/// The fields, by their names.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// The id, to delete by.
    pub message: Field,
    /// The two halves of the id, to answer with, and its order.
    pub epoch: Field,
    pub seq: Field,
    pub place: Field,
    pub channel: Field,
    pub author: Field,
    pub mentions: Field,
    pub has: Field,
    pub posted_at_ms: Field,
    pub text: Field,
}

impl Fields {
    pub const EPOCH: &'static str = "epoch";
    pub const SEQ: &'static str = "seq";
    pub const PLACE: &'static str = "place";
    pub const CHANNEL: &'static str = "channel";
    pub const AUTHOR: &'static str = "author";
    pub const MENTIONS: &'static str = "mentions";
    pub const POSTED_AT_MS: &'static str = "posted_at_ms";

    /// The schema. Nothing is stored: what is found is read from history.
    pub fn with_schema() -> (Self, Schema) {
        let mut schema = Schema::builder();
        let found = || BytesOptions::default().set_indexed();
        let kept = || BytesOptions::default().set_indexed().set_fast();
        // messages are sorted by time, so lengths of texts play no part
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(Cut::NAME)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let fields = Self {
            message: schema.add_bytes_field("message", found()),
            epoch: schema.add_u64_field(Self::EPOCH, FAST),
            seq: schema.add_u64_field(Self::SEQ, FAST),
            place: schema.add_u64_field(Self::PLACE, FAST),
            channel: schema.add_bytes_field(Self::CHANNEL, kept()),
            author: schema.add_bytes_field(Self::AUTHOR, kept()),
            mentions: schema.add_bytes_field(Self::MENTIONS, kept()),
            has: schema.add_bytes_field("has", found()),
            posted_at_ms: schema.add_u64_field(Self::POSTED_AT_MS, FAST),
            text: schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing)),
        };
        (fields, schema.build())
    }

    /// What finds a message by its id.
    pub fn message_term(&self, message: MessageId) -> Term {
        Term::from_field_bytes(self.message, message.uuid().as_bytes())
    }

    /// What finds everything in a channel.
    pub fn channel_term(&self, channel: ChannelId) -> Term {
        Term::from_field_bytes(self.channel, channel.uuid().as_bytes())
    }

    /// What finds messages that have something.
    pub fn has_term(&self, has: Has) -> Term {
        Term::from_field_bytes(self.has, &[has_byte(has)])
    }

    /// A message as the index takes it.
    pub fn document(&self, entry: &Entry) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_bytes(self.message, entry.message.uuid().as_bytes());
        document.add_u64(self.epoch, entry.message.epoch_ms());
        document.add_u64(self.seq, entry.message.seq());
        document.add_u64(self.place, place(entry.message));
        document.add_bytes(self.channel, entry.channel.uuid().as_bytes());
        document.add_bytes(self.author, entry.author.uuid().as_bytes());
        document.add_u64(self.posted_at_ms, entry.posted_at_ms);
        entry.users.iter().for_each(|id| document.add_bytes(self.mentions, id.uuid().as_bytes()));
        entry.roles.iter().for_each(|id| document.add_bytes(self.mentions, id.uuid().as_bytes()));
        if entry.everyone {
            document.add_bytes(self.mentions, EVERYONE);
        }
        let blocks = parse(&entry.text);
        let mut has = BTreeSet::new();
        note_blocks(&blocks, &mut has);
        if !entry.users.is_empty() || !entry.roles.is_empty() || entry.everyone {
            has.insert(has_byte(Has::Mention));
        }
        has.iter().for_each(|byte| document.add_bytes(self.has, &[*byte]));
        // mentions are found by who is mentioned, not by what is written
        document.add_text(self.text, plain(&blocks, Spoilers::Shown, &|_| Some(String::new())));
        document
    }
}

/// Cuts texts into words.
#[derive(Debug, Clone, Copy)]
pub struct Cut;

impl Cut {
    /// The library's name of it.
    pub const NAME: &'static str = "nepto";
}

impl Tokenizer for Cut {
    type TokenStream<'a> = Words;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Words {
        Words { rest: words(text, Purpose::Index).into_iter(), token: Token::default() }
    }
}

/// Words, one after the other.
pub struct Words {
    rest: std::vec::IntoIter<Word>,
    token: Token,
}

impl TokenStream for Words {
    fn advance(&mut self) -> bool {
        let Some(word) = self.rest.next() else { return false };
        (self.token.text, self.token.position) = (word.text, word.position);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

const fn has_byte(has: Has) -> u8 {
    match has {
        Has::Link => b'l',
        Has::Code => b'c',
        Has::Quote => b'q',
        Has::Spoiler => b's',
        Has::Mention => b'm',
    }
}

fn note_blocks(blocks: &[Block], has: &mut BTreeSet<u8>) {
    for block in blocks {
        match block {
            Block::Paragraph { content } | Block::Heading { content, .. } => note_inlines(content, has),
            Block::List { items, .. } => items.iter().for_each(|item| note_inlines(item, has)),
            Block::Code { .. } => {
                has.insert(has_byte(Has::Code));
            }
            Block::Quote { blocks } => {
                has.insert(has_byte(Has::Quote));
                note_blocks(blocks, has);
            }
        }
    }
}

fn note_inlines(content: &[Inline], has: &mut BTreeSet<u8>) {
    let nothing: &[Inline] = &[];
    for inline in content {
        let (found, content) = match inline {
            Inline::Link { content, .. } => (Some(Has::Link), content.as_slice()),
            Inline::Spoiler { content } => (Some(Has::Spoiler), content.as_slice()),
            Inline::Code { .. } => (Some(Has::Code), nothing),
            Inline::Bold { content } | Inline::Italic { content } | Inline::Strike { content } => {
                (None, content.as_slice())
            }
            _ => (None, nothing),
        };
        has.extend(found.map(has_byte));
        note_inlines(content, has);
    }
}
