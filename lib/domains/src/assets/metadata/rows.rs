//! What is kept of an attempt, and what is told of it. Pure rules.

use std::time::Duration;

use nepto_kit::clock::from_ms;
use nepto_proto::api::assets::{Attribute, Metadata, MetadataProblem, MetadataReason, MetadataState};

use super::contract::TokenKey;
use super::document::Document;
use super::problem::{Problem, parse_reason, reason_text};
use crate::assets::store::{AttributeRow, TokenRow};
use crate::text;

/// Characters of a URI that are kept to be shown.
const URI_CHARS_MAX: usize = 2_048;

/// It is known now, and good enough for so long.
pub fn known(uri: Option<&str>, document: Document, now_ms: i64, refresh_after_ms: i64) -> TokenRow {
    let attribute = |(name, value)| AttributeRow { name, value };
    TokenRow {
        uri: uri.and_then(shown_uri),
        name: document.name,
        description: document.description,
        image: document.image,
        attributes: document.attributes.into_iter().map(attribute).collect(),
        fetched_at_ms: Some(now_ms),
        reason: None,
        problem: None,
        failures: 0,
        tried_at_ms: now_ms,
        next_try_at_ms: now_ms.saturating_add(refresh_after_ms),
    }
}

/// It could not be found out; what was known before stays.
pub fn failed(before: TokenRow, uri: Option<&str>, problem: Problem, now_ms: i64, retry_after: Duration) -> TokenRow {
    TokenRow {
        uri: uri.and_then(shown_uri).or(before.uri),
        reason: Some(reason_text(problem.reason).to_owned()),
        problem: Some(problem.detail),
        failures: before.failures + 1,
        tried_at_ms: now_ms,
        next_try_at_ms: now_ms + retry_after.as_millis() as i64,
        ..before
    }
}

/// A URI that can be shown; one that is the file itself is none.
fn shown_uri(uri: &str) -> Option<String> {
    let uri = uri.trim();
    let is_file = uri.starts_with('{') || uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    (!is_file).then(|| text::line(uri, URI_CHARS_MAX))
}

/// As it is told. Where nothing is fetched at all (`is_on`), that is the problem.
pub fn metadata_of(key: &TokenKey, row: Option<&TokenRow>, is_on: bool) -> Metadata {
    let nothing = TokenRow::default();
    let row = row.unwrap_or(&nothing);
    let TokenKey { chain, contract, token } = key;
    let problem = match &row.problem {
        _ if !is_on => Some((MetadataReason::Forbidden, "this server fetches no descriptions of tokens")),
        Some(detail) => Some((parse_reason(row.reason.as_deref().unwrap_or_default()), detail.as_str())),
        None => None,
    };
    let state = match (row.fetched_at_ms, &problem) {
        (Some(_), _) => MetadataState::Known,
        (None, Some(_)) => MetadataState::Failed,
        (None, None) => MetadataState::Pending,
    };
    let image = || format!("/v1/assets/{chain}/contracts/{contract}/tokens/{token}/image");
    let attribute = |row: &AttributeRow| Attribute { name: row.name.clone(), value: row.value.clone() };
    Metadata {
        state,
        name: row.name.clone(),
        description: row.description.clone(),
        image: row.image.as_ref().map(|_| image()),
        attributes: row.attributes.iter().map(attribute).collect(),
        uri: row.uri.clone(),
        fetched_at: row.fetched_at_ms.map(from_ms),
        problem: problem.map(|(reason, detail)| MetadataProblem {
            reason,
            detail: detail.to_owned(),
            try_again_at: from_ms(row.next_try_at_ms),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, U256};

    const URI: Option<&str> = Some("https://a/1");

    fn key() -> TokenKey {
        TokenKey { chain: 5, contract: Address::repeat_byte(0xab), token: U256::from(7) }
    }

    fn document() -> Document {
        Document { name: Some("one".into()), image: Some("https://a/1.png".into()), ..Document::default() }
    }

    #[test]
    fn what_was_known_stays_when_it_fails() {
        let pending = metadata_of(&key(), None, true);
        assert_eq!((pending.state, &pending.problem, &pending.image), (MetadataState::Pending, &None, &None));
        let row = known(URI, document(), 1_000, 500);
        assert_eq!((row.next_try_at_ms, row.failures), (1_500, 0));
        let first = metadata_of(&key(), Some(&row), true);
        let path = "/v1/assets/5/contracts/0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB/tokens/7/image";
        assert_eq!((first.state, first.image.as_deref()), (MetadataState::Known, Some(path)));
        let problem = Problem::new(MetadataReason::Unreachable, "gone");
        let row = failed(row, Some("https://b/1"), problem.clone(), 2_000, Duration::from_millis(60));
        assert_eq!((row.failures, row.tried_at_ms, row.next_try_at_ms), (1, 2_000, 2_060));
        let second = metadata_of(&key(), Some(&row), true);
        assert_eq!(
            (second.state, second.name.as_deref(), second.uri.as_deref()),
            (MetadataState::Known, Some("one"), Some("https://b/1"))
        );
        assert_eq!(second.problem.unwrap().reason, MetadataReason::Unreachable);
        // and is forgotten when it works again
        let row = known(URI, Document::default(), 3_000, i64::MAX);
        assert_eq!(row.next_try_at_ms, i64::MAX);
        assert_eq!((metadata_of(&key(), Some(&row), true).problem, row.name), (None, None));
        let never = failed(TokenRow::default(), None, problem, 0, Duration::ZERO);
        assert_eq!(metadata_of(&key(), Some(&never), true).state, MetadataState::Failed);
    }

    #[test]
    fn a_server_that_fetches_nothing_says_so() {
        let off = metadata_of(&key(), None, false);
        assert_eq!((off.state, off.problem.unwrap().reason), (MetadataState::Failed, MetadataReason::Forbidden));
    }

    #[test]
    fn a_uri_is_shown_unless_it_is_the_file() {
        assert_eq!(shown_uri(" https://a/\u{202e}1 ").as_deref(), Some("https://a/1"));
        assert_eq!((shown_uri("DATA:,x"), shown_uri("{\"a\":1}")), (None, None));
        assert_eq!(shown_uri(&"a".repeat(9_999)).unwrap().len(), URI_CHARS_MAX);
    }
}
