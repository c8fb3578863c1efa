//! The index in a folder: what is found, what no longer is, and what is left after a kill.

use std::fs;
use std::path::{Path, PathBuf};

use nepto_proto::ids::{AccountId, ChannelId, MessageId, RoleId};
use nepto_proto::wire::channel_event::Kind;
use nepto_proto::wire::{ChannelEvent, ChannelMentions, MessageEdited, MessagePosted, MessagesDeleted};
use uuid::Uuid;

use super::query::{Mentioned, Query, Search};
use super::*;

const EPOCH: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 86_400_000;
/// 2026-03-01
const POSTED_AT_MS: u64 = 1_772_323_200_000;

fn limits() -> Limits {
    Limits { writer_bytes: 15_000_000, ..Limits::default() }
}

fn channel(number: u128) -> ChannelId {
    ChannelId::new(Uuid::from_u128(0xc0 + number))
}

fn account(number: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(0xa0 + number))
}

fn message(seq: u64) -> MessageId {
    MessageId::at(EPOCH, seq)
}

fn event(kind: Kind) -> ChannelEvent {
    ChannelEvent { epoch: EPOCH, by: account(1).to_vec(), kind: Some(kind) }
}

fn posted(seq: u64, text: &str) -> Stored {
    let kind = Kind::Posted(MessagePosted { text: text.into(), ..MessagePosted::default() });
    feed::stored(channel(1), seq, POSTED_AT_MS, &event(kind)).unwrap()
}

fn edited(seq: u64, of: u64, text: &str) -> Stored {
    let kind = Kind::Edited(MessageEdited { message: message(of).to_vec(), text: text.into() });
    feed::stored(channel(1), seq, POSTED_AT_MS, &event(kind)).unwrap()
}

fn deleted(seq: u64, of: &[u64]) -> Stored {
    let messages = of.iter().map(|seq| message(*seq).to_vec()).collect();
    feed::stored(channel(1), seq, POSTED_AT_MS, &event(Kind::Deleted(MessagesDeleted { messages }))).unwrap()
}

/// An index, and a clock that each commit moves on.
struct Index {
    writer: Writer,
    reader: Reader,
    now_ms: i64,
}

impl Index {
    fn open(folder: &Path) -> Self {
        let (writer, reader) = open(folder, limits(), 0).unwrap();
        Self { writer, reader, now_ms: 0 }
    }

    /// Takes changes, and commits them.
    fn take(&mut self, batch: Vec<Stored>) {
        self.now_ms += limits().commit_ms;
        self.writer.apply(batch, self.now_ms).unwrap();
    }

    fn found(&self, search: &Search) -> Vec<u64> {
        let found = self.reader.search(search, &[channel(1), channel(2)], None, 50).unwrap();
        assert!(!found.has_more);
        found.hits.iter().map(|hit| hit.message.seq()).collect()
    }

    /// Sequences of what a question finds, newest first.
    fn ask(&self, text: &str) -> Vec<u64> {
        let Query { texts, .. } = Query::parse(text).unwrap();
        self.found(&Search { texts, ..Search::default() })
    }
}

#[test]
fn words_phrases_and_parts_of_unspaced_texts_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    index.take(vec![
        posted(1, "The quick **brown** fox"),
        posted(2, "我明天去上海出差"),
        posted(3, "지금 학교에서 왔어요"),
        posted(4, "brown and quick, see [docs](https://example.org/fox)"),
        posted(5, "海上の `東京` タワー"),
    ]);
    for (text, wanted) in [
        ("brown", &[4, 1][..]),
        ("QUICK brown", &[4, 1]),
        ("\"quick brown\"", &[1]),
        ("\"brown fox\"", &[1]),
        ("\"the brown\"", &[]),
        ("上海", &[2]),
        ("上海出差", &[2]),
        ("海", &[5, 2]),
        ("\"去上海\"", &[2]),
        ("上出", &[]),
        ("학교", &[3]),
        ("\"지금 학교\"", &[3]),
        ("왔어", &[3]),
        ("タワ", &[5]),
        ("東京", &[5]),
        ("example.org", &[4]),
        ("absent", &[]),
    ] {
        assert_eq!(index.ask(text), wanted, "{text}");
    }
}

#[test]
fn filters_narrow_what_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    let role = RoleId::new(Uuid::from_u128(7));
    let entry = |seq: u64, text: &str| Entry {
        message: message(seq),
        channel: channel(1),
        author: account(1),
        posted_at_ms: POSTED_AT_MS,
        text: text.to_owned(),
        users: Vec::new(),
        roles: Vec::new(),
        everyone: false,
    };
    let entries = vec![
        entry(1, "gm `code`"),
        Entry { author: account(2), posted_at_ms: POSTED_AT_MS + DAY_MS, ..entry(2, "gm https://example.org") },
        Entry { channel: channel(2), users: vec![account(2)], roles: vec![role], ..entry(3, "gm ||all||\n> what") },
        Entry { everyone: true, ..entry(4, "gm") },
        // the stream brings this one
        entry(5, "gm"),
    ];
    let up_to = Cursor { epoch: EPOCH, seq: 4 };
    index.writer.load(entries, up_to, 0).unwrap();
    index.writer.loaded(up_to, 0).unwrap();
    let gm = || Search { texts: Query::parse("gm").unwrap().texts, ..Search::default() };
    for (search, wanted) in [
        (gm(), &[4, 3, 2, 1][..]),
        (Search { from: vec![account(2)], ..gm() }, &[2]),
        (Search { from: vec![account(1), account(2)], ..Search::default() }, &[4, 3, 2, 1]),
        (Search { channels: vec![channel(2)], ..gm() }, &[3]),
        (Search { channels: vec![channel(9)], ..gm() }, &[]),
        (Search { has: vec![query::Has::Code], ..gm() }, &[1]),
        (Search { has: vec![query::Has::Link], ..Search::default() }, &[2]),
        (Search { has: vec![query::Has::Spoiler, query::Has::Quote], ..gm() }, &[3]),
        (Search { has: vec![query::Has::Mention], ..gm() }, &[4, 3]),
        (Search { mentions: vec![Mentioned::Id(account(2).uuid()), Mentioned::Id(role.uuid())], ..gm() }, &[3]),
        (Search { mentions: vec![Mentioned::Everyone], ..gm() }, &[4]),
        (Search { before_ms: Some(POSTED_AT_MS + DAY_MS), ..gm() }, &[4, 3, 1]),
        (Search { since_ms: Some(POSTED_AT_MS + DAY_MS), ..gm() }, &[2]),
        (Search { since_ms: Some(POSTED_AT_MS), before_ms: Some(POSTED_AT_MS), ..gm() }, &[]),
    ] {
        assert_eq!(index.found(&search), wanted, "{search:?}");
    }
}

#[test]
fn nothing_is_found_where_the_asker_may_not_look() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    index.take(vec![posted(1, "gm")]);
    let all = Search { texts: Query::parse("gm").unwrap().texts, ..Search::default() };
    assert_eq!(index.reader.search(&all, &[], None, 10).unwrap(), Found::default());
    assert_eq!(index.reader.search(&all, &[channel(2)], None, 10).unwrap(), Found::default());
    // naming a channel opens none
    let named = Search { channels: vec![channel(1)], ..all };
    assert_eq!(index.reader.search(&named, &[channel(2)], None, 10).unwrap(), Found::default());
    let hit = Hit { message: message(1), channel: channel(1) };
    assert_eq!(index.reader.search(&named, &[channel(1)], None, 10).unwrap().hits, [hit]);
}

#[test]
fn answers_come_in_parts_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    index.take((1..=10).map(|seq| posted(seq, "gm")).collect());
    index.take((11..=15).map(|seq| posted(seq, "gm")).collect());
    let gm = Search { texts: Query::parse("gm").unwrap().texts, ..Search::default() };
    let (mut seen, mut older_than) = (Vec::new(), None);
    loop {
        let part = index.reader.search(&gm, &[channel(1)], older_than, 4).unwrap();
        seen.extend(part.hits.iter().map(|hit| hit.message.seq()));
        older_than = part.hits.last().map(|hit| hit.message);
        if !part.has_more {
            break;
        }
    }
    assert_eq!(seen, (1..=15).rev().collect::<Vec<u64>>());
    // of a later epoch, so it is newer, whatever its sequence
    let later = MessageId::at(EPOCH + 1_000, 1);
    assert!(super::index::place(later) > super::index::place(message(15)));
}

#[test]
fn edits_and_deletions_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    let mentions = Some(ChannelMentions { users: vec![account(2).to_vec()], ..ChannelMentions::default() });
    let kind = Kind::Posted(MessagePosted { text: "first words".into(), mentions, ..MessagePosted::default() });
    index.take(vec![
        feed::stored(channel(1), 1, POSTED_AT_MS, &event(kind)).unwrap(),
        posted(2, "second words"),
        posted(3, "third words"),
        // before they are committed
        edited(4, 2, "other letters"),
        deleted(5, &[3]),
    ]);
    assert_eq!(index.ask("words"), [1]);
    assert_eq!(index.ask("letters"), [2]);
    // and after
    index.take(vec![
        edited(6, 1, "new text"),
        edited(7, 1, "newest text"),
        edited(8, 3, "gone text"),
        deleted(9, &[2, 99]),
    ]);
    assert_eq!(index.ask("words"), [0_u64; 0]);
    assert_eq!(index.ask("letters"), [0_u64; 0]);
    assert_eq!(index.ask("text"), [1]);
    assert_eq!(index.ask("newest"), [1]);
    // whom it mentions, who wrote it and where stays
    let mentioned =
        Search { mentions: vec![Mentioned::Id(account(2).uuid())], from: vec![account(1)], ..Search::default() };
    assert_eq!(index.found(&mentioned), [1]);
    index.writer.forget_channel(channel(1)).unwrap();
    index.take(vec![posted(10, "text behind it")]);
    assert_eq!(index.ask("text"), [10]);
}

#[test]
fn what_is_new_waits_for_the_next_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    index.writer.apply(vec![posted(1, "gm")], 10).unwrap();
    assert_eq!(index.ask("gm"), [0_u64; 0]);
    index.writer.tick(999).unwrap();
    assert_eq!(index.ask("gm"), [0_u64; 0]);
    index.writer.tick(1_000).unwrap();
    assert_eq!(index.ask("gm"), [1]);
    // much of it does not wait
    drop(index);
    let few = Limits { pending_bytes_max: 10_000, ..limits() };
    let (mut writer, reader) = open(folder.path(), few, 1_000).unwrap();
    writer.apply(vec![posted(2, &"gm ".repeat(4_000))], 1_001).unwrap();
    let gm = Search { texts: Query::parse("gm").unwrap().texts, ..Search::default() };
    assert_eq!(reader.search(&gm, &[channel(1)], None, 10).unwrap().hits.len(), 2);
}

#[test]
fn after_a_kill_it_goes_on_from_its_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    assert_eq!(index.writer.cursor(), None);
    index.take(vec![posted(1, "one"), posted(2, "two")]);
    // this one is not committed when the process ends
    index.writer.apply(vec![posted(3, "three")], index.now_ms).unwrap();
    drop(index);
    let mut index = Index::open(folder.path());
    assert_eq!(index.writer.cursor(), Some(Cursor { epoch: EPOCH, seq: 2 }));
    assert_eq!(index.ask("three"), [0_u64; 0]);
    // what comes again does nothing
    index.take(vec![posted(1, "again"), posted(2, "again"), posted(3, "three")]);
    assert_eq!(index.ask("again"), [0_u64; 0]);
    assert_eq!(index.ask("three"), [3]);
    assert_eq!(index.ask("two"), [2]);
    let now_ms = index.now_ms;
    index.writer.close(now_ms).unwrap();
}

#[test]
fn an_index_that_was_not_loaded_to_the_end_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let few = Limits { pending_bytes_max: 1, ..limits() };
    let (mut writer, _) = open(folder.path(), few, 0).unwrap();
    let Change::Posted(entry) = posted(1, "half").change else { panic!("a message") };
    writer.load(vec![entry], Cursor { epoch: EPOCH, seq: 1 }, 0).unwrap();
    drop(writer);
    let index = Index::open(folder.path());
    assert_eq!(index.writer.cursor(), None);
    assert_eq!(index.ask("half"), [0_u64; 0]);
}

#[test]
fn only_one_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path());
    assert!(matches!(open(folder.path(), limits(), 0), Err(SearchError::Locked)));
    drop(index);
    assert!(open(folder.path(), limits(), 0).is_ok());
}

/// A folder with an index in it.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path());
    index.take((1..=200).map(|seq| posted(seq, &format!("gm number{seq} 上海市"))).collect());
    let now_ms = index.now_ms;
    index.writer.close(now_ms).unwrap();
    folder
}

/// The files of segments, without those of the library's own lists.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of_segments = ["term", "idx", "pos", "fast"];
    paths.filter(|path| path.extension().is_some_and(|end| of_segments.iter().any(|known| end == *known))).collect()
}

fn is_empty_and_works(folder: &Path) {
    let mut index = Index::open(folder);
    assert_eq!(index.writer.cursor(), None);
    assert_eq!(index.ask("gm"), [0_u64; 0]);
    index.take(vec![posted(1, "gm")]);
    assert_eq!(index.ask("gm"), [1]);
}

#[test]
fn a_damaged_index_is_made_again() {
    let whole = written();
    assert_eq!(Index::open(whole.path()).ask("number7"), [7]);
    for path in segments(whole.path()) {
        let folder = written();
        let wanted = path.extension().unwrap();
        let same = segments(folder.path()).into_iter().find(|path| path.extension() == Some(wanted)).unwrap();
        let mut bytes = fs::read(&same).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        fs::write(&same, bytes).unwrap();
        is_empty_and_works(folder.path());
    }
}

#[test]
fn a_missing_or_foreign_index_is_made_again() {
    let folder = written();
    fs::remove_dir_all(folder.path()).unwrap();
    is_empty_and_works(folder.path());
    let damages: [fn(&Path); 4] = [
        |folder: &Path| fs::remove_file(&segments(folder)[0]).unwrap(),
        |folder: &Path| fs::write(folder.join("meta.json"), "{").unwrap(),
        |folder: &Path| fs::remove_file(folder.join("meta.json")).unwrap(),
        |folder: &Path| {
            // another place than the one that was committed
            let meta = fs::read_to_string(folder.join("meta.json")).unwrap();
            let moved = meta.replace(&format!(" {EPOCH} 200 "), &format!(" {EPOCH} 201 "));
            assert_ne!(moved, meta);
            fs::write(folder.join("meta.json"), moved).unwrap();
        },
    ];
    for damage in damages {
        let folder = written();
        damage(folder.path());
        is_empty_and_works(folder.path());
    }
}
