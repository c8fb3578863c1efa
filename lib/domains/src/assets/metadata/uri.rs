//! Where a URI of a contract leads.

use alloy_primitives::U256;
use nepto_kit::fetch::{Url, UrlSource};
use percent_encoding::percent_decode_str;

use super::inline;
use super::problem::Problem;
use crate::assets::config;
use crate::assets::store::TokenHex;

/// Characters of a content id of IPFS: any version and base.
const CID_CHARS: std::ops::RangeInclusive<usize> = 40..=128;
/// Characters of a transaction's id on Arweave: 32 bytes, base64url.
const ARWEAVE_ID_CHARS: usize = 43;
/// Characters of a kind of URI that are told.
const SCHEME_SHOWN: usize = 20;

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UriTarget {
    /// On the web, at an address that somebody named.
    Web(Url, UrlSource),
    /// In the URI itself.
    Inline(Vec<u8>),
}

/// The servers that stand for what is not in the web.
#[derive(Debug, Clone)]
pub struct Gateways {
    ipfs: Option<Url>,
    arweave: Option<Url>,
}

impl Gateways {
    pub fn new(config: &config::Assets) -> Self {
        Self { ipfs: config.ipfs_gateway.parse().ok(), arweave: config.arweave_gateway.parse().ok() }
    }

    /// Where a URI leads; a file within it has a bound.
    pub fn locate(&self, uri: &str, bytes_max: usize) -> Result<UriTarget, Problem> {
        let uri = uri.trim();
        // the file itself and no URI: nothing in it is percent-encoded (RFC 3986, section 2.4)
        if uri.starts_with('{') {
            return inline::plain(uri, bytes_max).map(UriTarget::Inline);
        }
        let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
        match scheme.to_ascii_lowercase().as_str() {
            "data" => inline::read(rest, bytes_max).map(UriTarget::Inline),
            "http" | "https" => {
                let url = uri.parse().map_err(|error| Problem::forbidden(format!("no address of the web: {error}")))?;
                Ok(UriTarget::Web(url, UrlSource::Untrusted))
            }
            "ipfs" => self.ipfs(rest),
            "ar" => self.arweave(rest),
            "" if names_ipfs(rest) => self.ipfs(rest),
            "" => Err(Problem::forbidden("the contract names no address")),
            other => {
                let shown: String = other.chars().filter(char::is_ascii_graphic).take(SCHEME_SHOWN).collect();
                Err(Problem::forbidden(format!("addresses that begin with {shown}: are not fetched")))
            }
        }
    }

    /// `ipfs://<content id>/<path>`, and `ipfs://ipfs/…`, which many write.
    fn ipfs(&self, rest: &str) -> Result<UriTarget, Problem> {
        let gateway = self.ipfs.as_ref().ok_or_else(|| Problem::forbidden("this server has no gateway to IPFS"))?;
        let rest = rest.trim_start_matches('/');
        let rest = rest.strip_prefix("ipfs/").unwrap_or(rest);
        let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !CID_CHARS.contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Problem::forbidden("no content id of IPFS"));
        }
        below(gateway, "ipfs", &format!("{id}/{path}"))
    }

    /// `ar://<transaction id>/<path>`
    fn arweave(&self, rest: &str) -> Result<UriTarget, Problem> {
        let gateway = self.arweave.as_ref();
        let gateway = gateway.ok_or_else(|| Problem::forbidden("this server has no gateway to Arweave"))?;
        let rest = rest.trim_start_matches('/');
        let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if id.len() != ARWEAVE_ID_CHARS || !id.bytes().all(is_letter) {
            return Err(Problem::forbidden("no transaction of Arweave"));
        }
        below(gateway, id, path)
    }
}

/// What many write without a scheme: `/ipfs/<content id>/<path>`, and a content id alone (46 characters of version 0, or base 32
/// of version 1).
fn names_ipfs(text: &str) -> bool {
    let id = text.split('/').next().unwrap_or_default();
    let is_base32 = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'2'..=b'7');
    let is_id = match id.as_bytes() {
        [b'Q', b'm', rest @ ..] => rest.len() == 44 && rest.iter().all(u8::is_ascii_alphanumeric),
        [b'b', rest @ ..] => CID_CHARS.contains(&id.len()) && rest.iter().copied().all(is_base32),
        _ => false,
    };
    is_id || text.starts_with("/ipfs/") || text.starts_with("ipfs/")
}

/// A path below a part of a gateway, and never anything else of its server, wherever that redirects to.
fn below(gateway: &Url, part: &str, path: &str) -> Result<UriTarget, Problem> {
    let wrong = || Problem::forbidden("the path leads out of what the contract names");
    let mut below = gateway.clone();
    below.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().push(part);
    let mut url = below.clone();
    {
        let mut parts = url.path_segments_mut().map_err(|()| wrong())?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let part = percent_decode_str(part).decode_utf8().map_err(|_| wrong())?;
            // some servers decode before they look for `..`
            if part.split('/').any(|step| matches!(step, "." | "..")) || part.contains('\\') {
                return Err(wrong());
            }
            parts.push(&part);
        }
    }
    Ok(UriTarget::Web(url, UrlSource::Operator { below }))
}

/// Puts the id of a token where ERC-1155 wants it: hexadecimal, 64 digits.
pub fn with_id(uri: &str, token: &U256) -> String {
    uri.replace("{id}", &TokenHex(*token).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::api::assets::MetadataReason;
    use proptest::prelude::*;

    const CID: &str = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    const IPFS: &str = "http://127.0.0.1:8080/base/ipfs";
    const TX: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-_";

    fn gateways(ipfs: &str, arweave: &str) -> Gateways {
        let config = config::Assets {
            ipfs_gateway: ipfs.to_owned(),
            arweave_gateway: arweave.to_owned(),
            ..config::Assets::default()
        };
        Gateways::new(&config)
    }

    fn both() -> Gateways {
        gateways("http://127.0.0.1:8080/base/", "https://ar.example.org")
    }

    fn operators(below: &str) -> UrlSource {
        UrlSource::Operator { below: below.parse().unwrap() }
    }

    fn located(uri: &str) -> (String, UrlSource) {
        match both().locate(uri, 1_000) {
            Ok(UriTarget::Web(url, source)) => (url.to_string(), source),
            other => panic!("{uri}: {other:?}"),
        }
    }

    #[test]
    fn every_kind_of_uri_is_understood() {
        let ipfs = |rest: &str| (format!("{IPFS}/{CID}{rest}"), operators(IPFS));
        for (uri, expected) in [
            (
                " https://example.org/1.json\n".to_owned(),
                ("https://example.org/1.json".to_owned(), UrlSource::Untrusted),
            ),
            ("HTTP://127.0.0.1/".to_owned(), ("http://127.0.0.1/".to_owned(), UrlSource::Untrusted)),
            (format!("ipfs://{CID}"), ipfs("")),
            (format!("IPFS://{CID}/1.json"), ipfs("/1.json")),
            (format!("ipfs://ipfs/{CID}/a/1.json"), ipfs("/a/1.json")),
            (format!("ipfs:/ipfs/{CID}/1"), ipfs("/1")),
            (format!("ipfs://{CID}/Ape #1?.png"), ipfs("/Ape%20%231%3F.png")),
            (format!("ipfs://{CID}/Ape%20%231.png"), ipfs("/Ape%20%231.png")),
            (format!("ipfs://{CID}/a%2Fb/100%/"), ipfs("/a%2Fb/100%25")),
            (
                format!("ar://{TX}/1.json"),
                (format!("https://ar.example.org/{TX}/1.json"), operators(&format!("https://ar.example.org/{TX}"))),
            ),
        ] {
            assert_eq!(located(&uri), expected, "{uri}");
        }
        let held = UriTarget::Inline(b"{\"a\":1}".to_vec());
        assert_eq!(both().locate("data:application/json;base64,eyJhIjoxfQ==", 100), Ok(held.clone()));
        assert_eq!(both().locate("{\"a\":1}", 100), Ok(held));
    }

    #[test]
    fn what_is_json_is_no_uri_and_nothing_in_it_is_decoded() {
        for text in [
            r#"{"name":"50%20off"}"#,
            r#"{"name":"said %22yes%22"}"#,
            r#"{"image":"https://example.org/a%2Fb.png"}"#,
            r#"{"image":"data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E"}"#,
            "{\"data:\":\"ipfs://\"}",
        ] {
            assert_eq!(
                both().locate(&format!(" {text}\n"), 100),
                Ok(UriTarget::Inline(text.as_bytes().to_vec())),
                "{text}"
            );
            assert_eq!(both().locate(text, text.len() - 1).unwrap_err().reason, MetadataReason::TooLarge);
        }
        // that of a `data:` URI is
        let decoded = UriTarget::Inline(br#"{"name":"50 off"}"#.to_vec());
        assert_eq!(both().locate(r#"data:application/json;utf8,{"name":"50%20off"}"#, 100), Ok(decoded));
    }

    #[test]
    fn ipfs_is_known_without_its_scheme() {
        let v1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
        for (uri, path) in [
            (format!("{CID}/1.json"), format!("{CID}/1.json")),
            (format!("{v1}/1"), format!("{v1}/1")),
            (v1.to_owned(), v1.to_owned()),
            (format!("/ipfs/{CID}/1"), format!("{CID}/1")),
            (format!("ipfs/{CID}/1"), format!("{CID}/1")),
        ] {
            assert_eq!(located(&uri), (format!("{IPFS}/{path}"), operators(IPFS)), "{uri}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for uri in [
            "",
            "1.json",
            "/etc/passwd",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://",
            "ipfs://",
            "ipfs://short",
            &format!("ipfs://{CID}/../../admin"),
            &format!("ipfs://{CID}/%2e%2e/admin"),
            &format!("ipfs://{CID}/a/%2E./admin"),
            &format!("ipfs://{CID}/..\\admin"),
            &format!("ipfs://{CID}/..%2f..%2fadmin"),
            &format!("ipfs://{CID}/a%2F..%2F..%2F..%2Fadmin"),
            &format!("{CID}/../../admin"),
            "/ipfs/../admin",
            "QmShort/1",
            &format!("ipfs://{CID}@127.0.0.1/x"),
            &format!("ipfs://user@{CID}"),
            &format!("ipfs://../{CID}"),
            &format!("ipfs://{}", "a".repeat(200)),
            "ar://short",
            &format!("ar://{TX}x"),
        ] {
            assert_eq!(both().locate(uri, 1_000).unwrap_err().reason, MetadataReason::Forbidden, "{uri}");
        }
        let none = gateways("", "");
        for uri in [format!("ipfs://{CID}"), format!("ar://{TX}")] {
            assert!(none.locate(&uri, 1_000).unwrap_err().detail.contains("no gateway"));
        }
        let large = format!("data:,{}", "a".repeat(1_001));
        assert_eq!(both().locate(&large, 1_000).unwrap_err().reason, MetadataReason::TooLarge);
    }

    #[test]
    fn ids_are_64_small_digits() {
        let token = U256::from(0x0004_CCE0);
        let id = "000000000000000000000000000000000000000000000000000000000004cce0";
        assert_eq!(with_id("https://a/{id}.json?{id}", &token), format!("https://a/{id}.json?{id}"));
        assert_eq!(with_id("https://a/1.json", &token), "https://a/1.json");
    }

    proptest! {
        #[test]
        fn no_path_leaves_what_it_is_below(path in "([./\\\\%a-zA-Z0-9?#@:]|%2e|%2f|%5c){0,40}") {
            if let Ok(UriTarget::Web(url, _)) = both().locate(&format!("ipfs://{CID}/{path}"), 1_000) {
                prop_assert_eq!(url.origin(), "http://127.0.0.1:8080".parse::<Url>().unwrap().origin());
                let below = format!("/base/ipfs/{CID}");
                // the same after one more reading
                let again: Url = url.as_str().parse().unwrap();
                prop_assert!(again.path() == below || again.path().starts_with(&format!("{below}/")), "{}", again);
                prop_assert_eq!((again.query(), again.fragment(), again.username()), (None, None, ""));
            }
        }
    }
}
