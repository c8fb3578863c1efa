//! Answers, newest first.

use std::ops::Bound;

use nepto_proto::ids::{AccountId, ChannelId, MessageId, RoleId};
use tantivy::collector::{DocSetCollector, TopDocs};
use tantivy::query::{BooleanQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery, TermSetQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{IndexReader, Order, Searcher, SegmentReader, Term};
use uuid::Uuid;

use super::index::{EVERYONE, Entry, Fields, SearchError, place};
use super::query::{Mentioned, Search};
use super::words::Word;

/// A message that was found. It is read from history, under the rules of now, before it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Which message.
    pub message: MessageId,
    /// Where it stood when it was indexed.
    pub channel: ChannelId,
}

/// A part of what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Newest first.
    pub hits: Vec<Hit>,
    /// There are older ones: ask again with the last message as `older_than`.
    pub has_more: bool,
}

/// Answers from the last commit.
#[derive(Clone)]
pub struct Reader {
    reader: IndexReader,
    fields: Fields,
    hits_max: usize,
}

impl Reader {
    pub(super) fn new(reader: IndexReader, fields: Fields, hits_max: usize) -> Self {
        Self { reader, fields, hits_max }
    }

    /// Messages that answer a question, among those in the channels that the asker may see.
    pub fn search(
        &self,
        search: &Search,
        allowed: &[ChannelId],
        older_than: Option<MessageId>,
        limit: usize,
    ) -> Result<Found, SearchError> {
        let is_wanted = |channel: &&ChannelId| search.channels.is_empty() || search.channels.contains(channel);
        let channels: Vec<Term> =
            allowed.iter().filter(is_wanted).map(|channel| self.fields.channel_term(*channel)).collect();
        let limit = limit.min(self.hits_max);
        if channels.is_empty() || limit == 0 {
            return Ok(Found::default());
        }
        let mut clauses = vec![any_of(channels)];
        self.add_texts(&search.texts, &mut clauses);
        self.add_filters(search, older_than, &mut clauses);
        let wanted: Vec<(Occur, Box<dyn Query>)> = clauses.into_iter().map(|clause| (Occur::Must, clause)).collect();
        let searcher = self.reader.searcher();
        // one more says whether there are more
        let newest = TopDocs::with_limit(limit + 1).order_by_u64_field(Fields::PLACE, Order::Desc);
        let found = searcher.search(&BooleanQuery::new(wanted), &newest)?;
        let has_more = found.len() > limit;
        let mut hits = Vec::with_capacity(found.len().min(limit));
        for (_, address) in found.into_iter().take(limit) {
            let segment = searcher.segment_reader(address.segment_ord);
            let channel = first_id(segment, Fields::CHANNEL, address.doc_id)?;
            if let (Some(message), Some(channel)) = (message_of(segment, address.doc_id)?, channel) {
                hits.push(Hit { message, channel: ChannelId::new(channel) });
            }
        }
        Ok(Found { hits, has_more })
    }

    fn add_texts(&self, texts: &[Vec<Word>], clauses: &mut Vec<Box<dyn Query>>) {
        let term = |word: &Word| Term::from_field_text(self.fields.text, &word.text);
        for words in texts {
            let (begins, whole): (Vec<&Word>, Vec<&Word>) = words.iter().partition(|word| word.is_begin);
            // a phrase has whole words; what a word of it only begins with is wanted somewhere
            for word in begins {
                clauses.push(Box::new(FuzzyTermQuery::new_prefix(term(word), 0, false)));
            }
            match whole[..] {
                [] => {}
                [word] => clauses.push(Box::new(TermQuery::new(term(word), IndexRecordOption::Basic))),
                _ => {
                    let first = whole[0].position;
                    let places = whole.iter().map(|&word| (word.position - first, term(word))).collect();
                    clauses.push(Box::new(PhraseQuery::new_with_offset(places)));
                }
            }
        }
    }

    fn add_filters(&self, search: &Search, older_than: Option<MessageId>, clauses: &mut Vec<Box<dyn Query>>) {
        let fields = &self.fields;
        if !search.from.is_empty() {
            let author = |id: &AccountId| Term::from_field_bytes(fields.author, id.uuid().as_bytes());
            clauses.push(any_of(search.from.iter().map(author).collect()));
        }
        for has in &search.has {
            clauses.push(any_of(vec![fields.has_term(*has)]));
        }
        for mentioned in &search.mentions {
            clauses.push(any_of(vec![match mentioned {
                Mentioned::Id(id) => Term::from_field_bytes(fields.mentions, id.as_bytes()),
                Mentioned::Everyone => Term::from_field_bytes(fields.mentions, EVERYONE),
            }]));
        }
        let posted = |ms: u64| Term::from_field_u64(fields.posted_at_ms, ms);
        if search.before_ms.is_some() || search.since_ms.is_some() {
            let since = search.since_ms.map_or(Bound::Unbounded, |ms| Bound::Included(posted(ms)));
            let before = search.before_ms.map_or(Bound::Unbounded, |ms| Bound::Excluded(posted(ms)));
            clauses.push(Box::new(RangeQuery::new(since, before)));
        }
        if let Some(message) = older_than {
            let end = Bound::Excluded(Term::from_field_u64(fields.place, place(message)));
            clauses.push(Box::new(RangeQuery::new(Bound::Unbounded, end)));
        }
    }
}

fn any_of(mut terms: Vec<Term>) -> Box<dyn Query> {
    match terms.len() {
        1 => Box::new(TermQuery::new(terms.remove(0), IndexRecordOption::Basic)),
        _ => Box::new(TermSetQuery::new(terms)),
    }
}

/// What the last commit has of a message, but for its text.
pub fn find(searcher: &Searcher, fields: &Fields, message: MessageId) -> Result<Option<Entry>, SearchError> {
    let query = TermQuery::new(fields.message_term(message), IndexRecordOption::Basic);
    let Some(address) = searcher.search(&query, &DocSetCollector)?.into_iter().next() else { return Ok(None) };
    let (segment, doc) = (searcher.segment_reader(address.segment_ord), address.doc_id);
    let author = first_id(segment, Fields::AUTHOR, doc)?;
    let channel = first_id(segment, Fields::CHANNEL, doc)?;
    let posted_at_ms = segment.fast_fields().u64(Fields::POSTED_AT_MS)?.first(doc);
    let (Some(author), Some(channel), Some(posted_at_ms)) = (author, channel, posted_at_ms) else { return Ok(None) };
    let mentions = values(segment, Fields::MENTIONS, doc)?;
    let everyone = mentions.iter().any(|value| value == EVERYONE);
    // accounts and roles have ids of one space, and are found alike: which of the two they are is not kept
    let users = mentions.iter().filter_map(|value| Uuid::from_slice(value).ok()).map(AccountId::new).collect();
    let roles: Vec<RoleId> = Vec::new();
    let (author, channel) = (AccountId::new(author), ChannelId::new(channel));
    Ok(Some(Entry { message, channel, author, posted_at_ms, text: String::new(), users, roles, everyone }))
}

fn message_of(segment: &SegmentReader, doc: u32) -> Result<Option<MessageId>, SearchError> {
    let epoch = segment.fast_fields().u64(Fields::EPOCH)?.first(doc);
    let seq = segment.fast_fields().u64(Fields::SEQ)?.first(doc);
    Ok(epoch.zip(seq).map(|(epoch, seq)| MessageId::at(epoch, seq)))
}

fn first_id(segment: &SegmentReader, field: &str, doc: u32) -> Result<Option<Uuid>, SearchError> {
    Ok(values(segment, field, doc)?.first().and_then(|value| Uuid::from_slice(value).ok()))
}

/// The values of a field, in no order.
fn values(segment: &SegmentReader, field: &str, doc: u32) -> Result<Vec<Vec<u8>>, SearchError> {
    let Some(column) = segment.fast_fields().bytes(field)? else { return Ok(Vec::new()) };
    let mut values = Vec::new();
    for ordinal in column.term_ords(doc) {
        let mut value = Vec::new();
        if column.ord_to_bytes(ordinal, &mut value)? {
            values.push(value);
        }
    }
    Ok(values)
}
