//! What providers say when they refuse, in their own words and codes.

use serde_json::json;

use super::reply::Reply;

/// Whose words a refusal of too wide an `eth_getLogs` has. Texts are as these providers sent them in 2024 to 2026; numbers
/// in them follow the limit that is told. Each is in one body of JSON-RPC, mostly under status 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Alchemy without a paid plan: status 400, code -32600, a range that would work.
    Alchemy,
    /// Alchemy, when the answer is too large: -32602, a range that would work.
    AlchemySize,
    /// Infura, when there are too many results: -32005, a range that would work in the text and in `data`.
    Infura,
    /// Infura, when the range is too wide: -32602, the limit.
    InfuraRange,
    /// QuickNode and nodes behind it: status 413, -32614, the limit with thousands separated.
    QuickNode,
    /// Ankr: -32600, no number.
    Ankr,
    /// Cloudflare's gateway: -32047, the limit.
    Cloudflare,
    /// dRPC: code 35, the limit.
    Drpc,
    /// reth, when the range is too wide: -32602, the limit.
    Reth,
    /// reth, when there are too many results: -32602, a range that would work, in decimal numbers.
    RethResults,
    /// PublicNode, and geth as BNB Chain runs it: -32701, the limit.
    PublicNode,
    /// Tenderly and thirdweb: -32602, everything in `data`.
    Tenderly,
    /// 1RPC: -32602, the limit as the end of a range.
    OneRpc,
    /// Optimism's proxyd: -32062, no number.
    Proxyd,
    /// Erigon and others that count results only: -32000, no range that would work.
    Results,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Alchemy,
        Self::AlchemySize,
        Self::Infura,
        Self::InfuraRange,
        Self::QuickNode,
        Self::Ankr,
        Self::Cloudflare,
        Self::Drpc,
        Self::Reth,
        Self::RethResults,
        Self::PublicNode,
        Self::Tenderly,
        Self::OneRpc,
        Self::Proxyd,
        Self::Results,
    ];

    /// The refusal of blocks `from` to `to`, where `blocks_max` would have been answered.
    pub(super) fn refuse(self, from: u64, to: u64, blocks_max: u64) -> Reply {
        let works = from + blocks_max.max(1) - 1;
        let range = format!("[{from:#x}, {works:#x}]");
        let blocks = to - from + 1;
        let error = |code: i64, message: String| Reply::error(code, message);
        match self {
            Self::Alchemy => error(
                -32600,
                format!(
                    "Under the Free tier plan, you can make eth_getLogs requests with up to a {blocks_max} block range. \
                     Based on your parameters, this block range should work: {range}. Upgrade to PAYG for expanded \
                     block range."
                ),
            )
            .status(400),
            Self::AlchemySize => error(
                -32602,
                format!(
                    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no \
                     limit on the response size, or you can request any block range with a cap of 10K logs in the \
                     response. Based on your parameters and the response size limit, this block range should work: \
                     {range}"
                ),
            ),
            Self::Infura => {
                let message = format!("query returned more than 10000 results. Try with this block range {range}.");
                let data = json!({ "from": format!("{from:#X}"), "limit": 10_000, "to": format!("{works:#X}") });
                error(-32005, message).data(data)
            }
            Self::InfuraRange => error(-32602, format!("range {blocks} exceeds limit of {blocks_max}")),
            Self::QuickNode => {
                let limit = thousands(blocks_max);
                error(-32614, format!("eth_getLogs is limited to a {limit} range")).status(413)
            }
            Self::Ankr => error(-32600, "block range is too wide".into()),
            Self::Cloudflare => error(
                -32047,
                format!("Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: {blocks_max}"),
            ),
            Self::Drpc => error(35, format!("ranges over {blocks_max} blocks are not supported on freetier")),
            Self::Reth => error(-32602, format!("query exceeds max block range {blocks_max}")),
            Self::RethResults => {
                error(-32602, format!("query exceeds max results 20000, retry with the range {from}-{works}"))
            }
            Self::PublicNode => error(-32701, format!("exceed maximum block range: {blocks_max}")),
            Self::Tenderly => error(-32602, "invalid params".into())
                .data(json!(format!("range {blocks} is bigger than range limit {blocks_max}"))),
            Self::OneRpc => error(-32602, format!("eth_getLogs is limited to 0 - {blocks_max} blocks range")),
            Self::Proxyd => error(-32062, "Block range is too large".into()),
            Self::Results => error(-32000, "query returned more than 10000 results".into()),
        }
    }
}

/// How a rate limit is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Status 429 with `Retry-After`, and Alchemy's words. A whole batch is refused for one of its requests.
    Status429,
    /// Code 429 under status 200: Alchemy in batches and on WebSockets. When to come back is not said.
    Code429,
    /// Code -32005 under status 200, with `backoff_seconds` in its data: Infura.
    Code32005,
}

impl Refusal {
    pub(super) fn refuse(self, retry_after_s: u64) -> Reply {
        let words = "Your app has exceeded its compute units per second capacity. If you have retries enabled, you can \
                     safely ignore this message. If not, check out https://docs.alchemy.com/reference/throughput";
        match self {
            Self::Status429 => Reply::error(429, words.into()).status(429).retry_after_s(retry_after_s),
            Self::Code429 => Reply::error(429, words.into()),
            Self::Code32005 => {
                let rate = json!({ "allowed_rps": 1, "backoff_seconds": retry_after_s, "current_rps": 1.1 });
                let data = json!({ "rate": rate, "see": "https://infura.io/dashboard" });
                Reply::error(-32005, "daily request count exceeded, request rate limited".into()).data(data)
            }
        }
    }
}

/// 10000 as 10,000.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [(5, "5"), (999, "999"), (10_000, "10,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn every_dialect_refuses_and_those_that_suggest_a_range_suggest_one_that_works() {
        let mut suggestions = 0;
        for dialect in Dialect::ALL {
            let answer = dialect.refuse(100, 299, 50).to_json(&json!(7));
            assert!(answer["error"]["code"].is_i64() && answer["id"] == 7, "{dialect:?}: {answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            suggestions += usize::from(message.contains("[0x64, 0x95]") || message.contains("100-149"));
        }
        assert_eq!(suggestions, 4);
    }
}
