//! What people ask for: words, "phrases", and filters. Pure.
//!
//! | form | finds |
//! |---|---|
//! | `word` | messages with the word; several words are all wanted |
//! | `"some words"` | the words in this order |
//! | `from:` an account | what it wrote; of several, any |
//! | `in:` a channel | what stands there; of several, any |
//! | `has:` `link`, `code`, `quote`, `spoiler`, `mention` | what has all of them |
//! | `before:2026-01-31`, `after:2026-01-31` | what was posted before that day, or after it (UTC) |
//! | `mentions:` an account, a role, `everyone` | what mentioned all of them |
//!
//! Accounts, roles and channels are UUIDs, mentions (`<@uuid>`, `<@&uuid>`, `<#uuid>`) or names (`@handle`, `#name`, in quotation marks if there is a space in them), which
//! [`Query::resolve`] makes ids of. Anything else with a colon is words.

use nepto_proto::ids::{AccountId, ChannelId};
use time::{Date, Month};
use uuid::Uuid;

use super::words::{Purpose, Word, words};

/// Characters of a question.
pub const QUERY_CHARS_MAX: usize = 500;
/// Words, phrases and filters of a question.
pub const PARTS_MAX: usize = 30;

/// What is wrong with a question, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {problem}", .at + 1)]
pub struct QueryError {
    /// Characters before it.
    pub at: usize,
    /// What is wrong there.
    pub problem: QueryProblem,
}

/// What can be wrong with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryProblem {
    /// Nothing is asked for.
    #[error("there is nothing to search for")]
    Empty,
    /// It is longer than [`QUERY_CHARS_MAX`].
    #[error("a search has up to {QUERY_CHARS_MAX} characters")]
    TooLong,
    /// It has more than [`PARTS_MAX`] parts.
    #[error("a search has up to {PARTS_MAX} words, phrases and filters")]
    TooMany,
    /// A quotation mark has no partner.
    #[error("this quotation mark is not closed")]
    Unclosed,
    /// A filter has no value.
    #[error("this filter has no value")]
    NoValue,
    /// Not what `has:` knows.
    #[error("has: is one of link, code, quote, spoiler, mention")]
    UnknownKind,
    /// Not a day.
    #[error("a day is written as 2026-01-31")]
    NoDay,
    /// Nobody, or nothing, of that name.
    #[error("nothing here has that name")]
    UnknownName,
}

/// What a message can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Has {
    /// A link.
    Link,
    /// Code.
    Code,
    /// A quote.
    Quote,
    /// A spoiler.
    Spoiler,
    /// A mention of an account, a role or everybody.
    Mention,
}

impl Has {
    /// All of them, with the words for them.
    pub const ALL: [(&'static str, Self); 5] = [
        ("link", Self::Link),
        ("code", Self::Code),
        ("quote", Self::Quote),
        ("spoiler", Self::Spoiler),
        ("mention", Self::Mention),
    ];
}

/// Who or what a filter is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// By its id.
    Id(Uuid),
    /// By what it is called, without `@` or `#`.
    Called(String),
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Written by this account.
    From(Name),
    /// In this channel.
    In(Name),
    /// It has that.
    Has(Has),
    /// Posted before this time, milliseconds since 1970.
    Before(u64),
    /// Posted at this time or later.
    Since(u64),
    /// It mentioned this account or role.
    Mentions(Name),
    /// It mentioned everybody.
    MentionsEveryone,
}

/// A question, as it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Words and phrases; each has words whose places follow each other.
    pub texts: Vec<Vec<Word>>,
    /// Conditions, each with its place: characters before it.
    pub filters: Vec<(usize, Filter)>,
}

/// Who mentions are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mentioned {
    /// An account or a role.
    Id(Uuid),
    /// Everybody.
    Everyone,
}

/// A question in which everything has an id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// All of these are wanted.
    pub texts: Vec<Vec<Word>>,
    /// Any of these authors; empty for all.
    pub from: Vec<AccountId>,
    /// Any of these channels; empty for all.
    pub channels: Vec<ChannelId>,
    /// All of these are wanted.
    pub has: Vec<Has>,
    /// All of these are wanted.
    pub mentions: Vec<Mentioned>,
    /// Posted before this time, milliseconds since 1970.
    pub before_ms: Option<u64>,
    /// Posted at this time or later.
    pub since_ms: Option<u64>,
}

/// Whoever knows names. They are looked up before ([`Query::names`]).
pub trait Names {
    /// The account with this handle.
    fn account(&self, handle: &str) -> Option<AccountId>;
    /// The channel with this name, among those that may be seen.
    fn channel(&self, name: &str) -> Option<ChannelId>;
    /// The account with this handle, or else the role with this name.
    fn mentioned(&self, name: &str) -> Option<Uuid>;
}

impl Query {
    /// Reads a question.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let chars: Vec<char> = text.chars().collect();
        if chars.len() > QUERY_CHARS_MAX {
            return Err(QueryError { at: QUERY_CHARS_MAX, problem: QueryProblem::TooLong });
        }
        let mut query = Self::default();
        let mut at = 0;
        while at < chars.len() {
            if chars[at].is_whitespace() {
                at += 1;
                continue;
            }
            if query.texts.len() + query.filters.len() == PARTS_MAX {
                return Err(QueryError { at, problem: QueryProblem::TooMany });
            }
            at = query.part(&chars, at)?;
        }
        if query.texts.is_empty() && query.filters.is_empty() {
            return Err(QueryError { at: 0, problem: QueryProblem::Empty });
        }
        Ok(query)
    }

    /// Reads one part that begins at a place, and says where it ends.
    fn part(&mut self, chars: &[char], at: usize) -> Result<usize, QueryError> {
        let key: String = chars[at..].iter().take_while(|char| char.is_ascii_alphabetic()).collect();
        let behind = at + key.len();
        let key = Key::of(&key).filter(|_| chars.get(behind) == Some(&':'));
        let from = if key.is_some() { behind + 1 } else { at };
        let (value, end) = value(chars, from)?;
        match key {
            None => {
                let words = words(&value, Purpose::Question);
                self.texts.extend((!words.is_empty()).then_some(words));
            }
            Some(_) if value.trim().is_empty() => {
                return Err(QueryError { at: from, problem: QueryProblem::NoValue });
            }
            Some(key) => {
                let filter = key.filter(value.trim()).map_err(|problem| QueryError { at: from, problem })?;
                self.filters.push((from, filter));
            }
        }
        Ok(end)
    }

    /// What has to be looked up before [`Self::resolve`].
    pub fn names(&self) -> impl Iterator<Item = (&Filter, &str)> {
        self.filters.iter().filter_map(|(_, filter)| match filter {
            Filter::From(Name::Called(name))
            | Filter::In(Name::Called(name))
            | Filter::Mentions(Name::Called(name)) => Some((filter, name.as_str())),
            _ => None,
        })
    }

    /// Makes ids of names.
    pub fn resolve(self, names: &impl Names) -> Result<Search, QueryError> {
        let mut search = Search { texts: self.texts, ..Search::default() };
        for (at, filter) in self.filters {
            let unknown = QueryError { at, problem: QueryProblem::UnknownName };
            match filter {
                Filter::From(Name::Id(id)) => search.from.push(AccountId::new(id)),
                Filter::From(Name::Called(name)) => search.from.push(names.account(&name).ok_or(unknown)?),
                Filter::In(Name::Id(id)) => search.channels.push(ChannelId::new(id)),
                Filter::In(Name::Called(name)) => search.channels.push(names.channel(&name).ok_or(unknown)?),
                Filter::Mentions(Name::Id(id)) => search.mentions.push(Mentioned::Id(id)),
                Filter::Mentions(Name::Called(name)) => {
                    search.mentions.push(Mentioned::Id(names.mentioned(&name).ok_or(unknown)?));
                }
                Filter::MentionsEveryone => search.mentions.push(Mentioned::Everyone),
                Filter::Has(has) => search.has.push(has),
                Filter::Before(ms) => search.before_ms = Some(search.before_ms.map_or(ms, |other| other.min(ms))),
                Filter::Since(ms) => search.since_ms = Some(search.since_ms.map_or(ms, |other| other.max(ms))),
            }
        }
        Ok(search)
    }
}

/// Up to white space; with quotation marks, up to the closing one.
fn value(chars: &[char], from: usize) -> Result<(String, usize), QueryError> {
    if chars.get(from) == Some(&'"') {
        let inner = &chars[from + 1..];
        let length = inner.iter().position(|char| *char == '"');
        let length = length.ok_or(QueryError { at: from, problem: QueryProblem::Unclosed })?;
        return Ok((inner[..length].iter().collect(), from + length + 2));
    }
    let value: Vec<char> = chars[from..].iter().copied().take_while(|char| !char.is_whitespace()).collect();
    let end = from + value.len();
    Ok((value.into_iter().collect(), end))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    From,
    In,
    Has,
    Before,
    After,
    Mentions,
}

impl Key {
    fn of(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "from" => Self::From,
            "in" => Self::In,
            "has" => Self::Has,
            "before" => Self::Before,
            "after" => Self::After,
            "mentions" => Self::Mentions,
            _ => return None,
        })
    }

    fn filter(self, value: &str) -> Result<Filter, QueryProblem> {
        Ok(match self {
            Self::From => Filter::From(name(value)?),
            Self::In => Filter::In(name(value)?),
            Self::Has => {
                let found = Has::ALL.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(value));
                Filter::Has(found.ok_or(QueryProblem::UnknownKind)?.1)
            }
            Self::Before => Filter::Before(begin_ms(day(value))?),
            Self::After => Filter::Since(begin_ms(day(value).and_then(Date::next_day))?),
            Self::Mentions if value.trim_start_matches('@').eq_ignore_ascii_case("everyone") => {
                Filter::MentionsEveryone
            }
            Self::Mentions => Filter::Mentions(name(value)?),
        })
    }
}

/// A UUID, a mention, or a name.
fn name(value: &str) -> Result<Name, QueryProblem> {
    let mention = ["<@&", "<@", "<#"].into_iter().find_map(|begin| value.strip_prefix(begin)?.strip_suffix('>'));
    let bare = mention.unwrap_or(value);
    if matches!(bare.len(), 32 | 36)
        && let Ok(id) = Uuid::try_parse(bare)
    {
        return Ok(Name::Id(id));
    }
    let called = value.strip_prefix(['@', '#']).unwrap_or(value);
    if called.is_empty() { Err(QueryProblem::NoValue) } else { Ok(Name::Called(called.to_owned())) }
}

fn day(value: &str) -> Option<Date> {
    let is_form = value.len() == 10
        && value
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if !is_form {
        return None;
    }
    let month = Month::try_from(value[5..7].parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(value[..4].parse().ok()?, month, value[8..].parse().ok()?).ok()
}

/// When a day begins, milliseconds since 1970.
fn begin_ms(day: Option<Date>) -> Result<u64, QueryProblem> {
    let begin_s = day.map(|day| day.midnight().assume_utc().unix_timestamp());
    begin_s.and_then(|s| u64::try_from(s).ok()).map(|s| s * 1_000).ok_or(QueryProblem::NoDay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "01981234-0000-7000-8000-00000000000a";

    struct Few;
    impl Names for Few {
        fn account(&self, handle: &str) -> Option<AccountId> {
            (handle == "alice").then(|| AccountId::new(Uuid::from_u128(1)))
        }
        fn channel(&self, name: &str) -> Option<ChannelId> {
            (name == "general chat").then(|| ChannelId::new(Uuid::from_u128(2)))
        }
        fn mentioned(&self, name: &str) -> Option<Uuid> {
            (name == "crew").then(|| Uuid::from_u128(3))
        }
    }

    fn refused(text: &str) -> (usize, QueryProblem) {
        let error = Query::parse(text).and_then(|query| query.resolve(&Few)).unwrap_err();
        (error.at, error.problem)
    }

    fn texts(text: &str) -> Vec<Vec<String>> {
        let query = Query::parse(text).unwrap();
        query.texts.into_iter().map(|words| words.into_iter().map(|word| word.text).collect()).collect()
    }

    #[test]
    fn words_and_phrases_are_told_apart() {
        assert_eq!(texts("Two words"), [["two"], ["words"]]);
        assert_eq!(texts("one \"a phrase\" ..."), [vec!["one"], vec!["a", "phrase"]]);
        assert_eq!(texts("don't"), [["don", "t"]]);
        assert_eq!(texts("https://example.org note:this"), [vec!["https", "example", "org"], vec!["note", "this"]]);
    }

    #[test]
    fn filters_become_conditions() {
        let text = format!(
            "gm from:@alice From:{ID} in:\"#general chat\" has:link HAS:Code before:2026-02-01 before:2026-03-01 after:2026-01-30 mentions:crew \
             mentions:<@{ID}> mentions:@everyone"
        );
        let query = Query::parse(&text).unwrap();
        assert_eq!(query.names().map(|(_, name)| name).collect::<Vec<_>>(), ["alice", "general chat", "crew"]);
        let search = query.resolve(&Few).unwrap();
        let id: Uuid = ID.parse().unwrap();
        assert_eq!(search.from, [AccountId::new(Uuid::from_u128(1)), AccountId::new(id)]);
        assert_eq!(search.channels, [ChannelId::new(Uuid::from_u128(2))]);
        assert_eq!(search.has, [Has::Link, Has::Code]);
        assert_eq!(search.before_ms, Some(1_769_904_000_000));
        assert_eq!(search.since_ms, Some(1_769_817_600_000));
        let everyone = Mentioned::Everyone;
        assert_eq!(search.mentions, [Mentioned::Id(Uuid::from_u128(3)), Mentioned::Id(id), everyone]);
        assert_eq!(search.texts.len(), 1);
    }

    #[test]
    fn an_error_says_where() {
        for (text, at, problem) in [
            ("", 0, QueryProblem::Empty),
            (" ... ", 0, QueryProblem::Empty),
            ("上海 \"open", 3, QueryProblem::Unclosed),
            ("a from:", 7, QueryProblem::NoValue),
            ("a from: b", 7, QueryProblem::NoValue),
            ("from:\"\"", 5, QueryProblem::NoValue),
            ("in:#", 3, QueryProblem::NoValue),
            ("has:luck", 4, QueryProblem::UnknownKind),
            ("a before:2026-02-30", 9, QueryProblem::NoDay),
            ("after:yesterday", 6, QueryProblem::NoDay),
            ("before:1969-12-31", 7, QueryProblem::NoDay),
            ("gm from:bob", 8, QueryProblem::UnknownName),
            ("in:general", 3, QueryProblem::UnknownName),
        ] {
            assert_eq!(refused(text), (at, problem), "{text:?}");
        }
        assert_eq!(refused(&"a".repeat(QUERY_CHARS_MAX + 1)), (QUERY_CHARS_MAX, QueryProblem::TooLong));
        assert_eq!(refused(&"a ".repeat(PARTS_MAX + 1)), (2 * PARTS_MAX, QueryProblem::TooMany));
    }

    proptest! {
        #[test]
        fn any_question_is_read_or_refused(text in "[a\":@#<> 0-9上-]{0,60}|(from|in|has|before|after|mentions):\\PC{0,30}|[\\s\\S]{0,60}") {
            if let Err(error) = Query::parse(&text) {
                prop_assert!(error.at <= text.chars().count());
            }
        }
    }
}
