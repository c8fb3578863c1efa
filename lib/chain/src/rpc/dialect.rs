//! How providers say that a range is too large, that one asks too often, or that they don't have it. There is no standard:
//! these are the words of geth, erigon, reth, Alchemy, Infura, QuickNode, Ankr and others.

use std::time::Duration;

use super::RpcError;

/// Heights of blocks, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The lowest height.
    pub from: u64,
    /// The highest height.
    pub to: u64,
}

const TOO_MANY: [&str; 22] = [
    "query returned more than",
    "log response size exceeded",
    "response size exceeded",
    "response size should not greater than",
    "response is too big",
    "query exceeds max results",
    "query exceeds max block range",
    "block range is too wide",
    "block range is too large",
    "block range too large",
    "block range exceeds",
    "exceeds limit of",
    "range is too large",
    "range too large",
    "exceed maximum block range",
    "limited to a",
    "is limited to 0 -",
    "up to a",
    "max block range",
    "query timeout exceeded",
    "ranges over",
    "bigger than range limit",
];
const LIMITED: [&str; 7] = [
    "rate limit",
    "too many requests",
    "request count exceeded",
    "exceeded its compute units",
    "request limit reached",
    "daily request",
    "capacity exceeded",
];
const MISSING: [&str; 8] = [
    "header not found",
    "block not found",
    "unknown block",
    "missing trie node",
    "history has been pruned",
    "pruned history",
    "receipts not found",
    "not available",
];

/// What an error of JSON-RPC means.
pub fn read(code: i64, message: &str, data: Option<String>) -> RpcError {
    // some say what they mean in the data alone
    let words = format!("{message} {}", data.as_deref().unwrap_or_default()).to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    if says(&TOO_MANY) {
        return RpcError::TooMany(suggested(message).or_else(|| suggested(data.as_deref()?)));
    }
    // 429 is what some say inside of an answer that is 200; -32005 is EIP-1474's "limit exceeded"
    if code == 429 || code == -32_005 || says(&LIMITED) {
        return RpcError::Limited(retry_after(&words));
    }
    if says(&MISSING) {
        return RpcError::Missing;
    }
    RpcError::Refused { code, message: message.chars().take(300).collect(), data }
}

/// A smaller range that the provider proposes: `[0x1, 0x2]`, or `from` and `to`.
fn suggested(text: &str) -> Option<Range> {
    let mut heights = text.match_indices("0x").filter_map(|(at, _)| {
        let digits: String = text[at + 2..].chars().take_while(char::is_ascii_hexdigit).collect();
        // hashes and addresses are longer
        (digits.len() <= 16).then(|| u64::from_str_radix(&digits, 16).ok()).flatten()
    });
    let range = Range { from: heights.next()?, to: heights.next()? };
    (range.from <= range.to).then_some(range)
}

/// "try again in 12 seconds", "wait 500ms".
fn retry_after(words: &str) -> Option<Duration> {
    let after = |phrase: &str| words.match_indices(phrase).map(|(at, _)| at + phrase.len()).collect::<Vec<_>>();
    let starts = after(" in ").into_iter().chain(after("wait "));
    let wait = starts.filter_map(|start| {
        let rest = &words[start..];
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let count: u64 = digits.parse().ok()?;
        match rest[digits.len()..].trim_start() {
            unit if unit.starts_with("ms") || unit.starts_with("milli") => Some(Duration::from_millis(count)),
            unit if unit.starts_with('s') => Some(Duration::from_secs(count)),
            _ => None,
        }
    });
    wait.map(|wait| wait.min(Duration::from_secs(60))).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_understood() {
        let range = |from, to| RpcError::TooMany(Some(Range { from, to }));
        for (code, message, meaning) in [
            (-32_005, "query returned more than 10000 results", RpcError::TooMany(None)),
            (
                -32_005,
                "query returned more than 10000 results. Try with this block range [0x7B83A8, 0x7B83AA].",
                range(0x7b_83a8, 0x7b_83aa),
            ),
            (
                -32_602,
                "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit \
                 on the response size, or you can request any block range with a cap of 10K logs in the response. Based \
                 on your parameters and the response size limit, this block range should work: [0x10, 0x1f]",
                range(0x10, 0x1f),
            ),
            (-32_614, "eth_getLogs is limited to a 10,000 range", RpcError::TooMany(None)),
            (-32_000, "exceed maximum block range: 5000", RpcError::TooMany(None)),
            (-32_600, "block range is too wide", RpcError::TooMany(None)),
            (-32_000, "query exceeds max block range 100000", RpcError::TooMany(None)),
            (-32_602, "query exceeds max results 20000, retry with the range 16-20", RpcError::TooMany(None)),
            (-32_005, "daily request count exceeded, request rate limited", RpcError::Limited(None)),
            (429, "try again in 3 seconds", RpcError::Limited(Some(Duration::from_secs(3)))),
            (-32_000, "header not found", RpcError::Missing),
            (-32_000, "missing trie node 0xabc (path )", RpcError::Missing),
        ] {
            assert_eq!(read(code, message, None), meaning, "{message}");
        }
        assert!(matches!(read(-32_601, "the method does not exist", None), RpcError::Refused { code: -32_601, .. }));
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in ["", "0x", "[0x5, 0x2]", "0xffffffffffffffffffffffffffffffff", "0x1 only"] {
            assert_eq!(suggested(text), None, "{text}");
        }
    }
}
