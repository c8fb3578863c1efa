//! Names of what is answered, and who knows them (RFC 9110, 8.8.3 and 13.1.2).

use axum::http::{HeaderMap, header};

/// Whether who asks has what is named so, with its quotes, and can be spared it.
pub fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    known.any(|tag| tag == "*" || tag == etag)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn who_has_it_says_so_in_one_of_several_ways() {
        let asks = |values: &[&'static str]| {
            let headers = values.iter().map(|&value| (header::IF_NONE_MATCH, HeaderValue::from_static(value)));
            is_known(&headers.collect(), "\"a\"")
        };
        for known in [&["\"a\""][..], &["*"], &["\"x\", W/\"a\""], &["\"x\"", " W/\"a\" "]] {
            assert!(asks(known), "{known:?}");
        }
        for unknown in [&[][..], &["\"x\""], &["a"], &["\"x\", \"ab\""]] {
            assert!(!asks(unknown), "{unknown:?}");
        }
    }
}
