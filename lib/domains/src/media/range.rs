//! One range of a file (RFC 9110, 14).

use std::ops::Range;

/// What of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: nothing else is asked for, or something that need not be understood.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Nothing,
}

/// Reads `Range`, for a file of this many bytes. Several ranges at once are answered with the whole file, as a server may.
pub fn wanted(header: Option<&str>, bytes: u64) -> Wanted {
    let Some(range) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Wanted::All };
    let Some((first, last)) = range.trim().split_once('-').filter(|_| !range.contains(',')) else { return Wanted::All };
    let part = |first: u64, end: u64| if first < end { Wanted::Part(first..end) } else { Wanted::Nothing };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Wanted::All,
        (Some(first), Some(last)) => part(first, bytes.min(last.saturating_add(1))),
        (Some(first), None) if last.is_empty() => part(first, bytes),
        // the last so many
        (None, Some(last)) if first.is_empty() => part(bytes.saturating_sub(last), bytes),
        _ => Wanted::All,
    }
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // more than any file has
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_rfc_says() {
        for (header, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-499", 0..500),
            ("bytes=500-999", 500..1_000),
            ("bytes=990-5000", 990..1_000),
            ("bytes=990-", 990..1_000),
            ("bytes=-10", 990..1_000),
            ("bytes=-5000", 0..1_000),
            ("bytes=7-99999999999999999999999", 7..1_000),
        ] {
            assert_eq!(wanted(Some(header), 1_000), Wanted::Part(range), "{header}");
        }
        for header in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(wanted(Some(header), 1_000), Wanted::Nothing, "{header}");
        }
        for header in ["", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=+1-2", "bytes=0-1,3-4", "lines=0-1"] {
            assert_eq!(wanted(Some(header), 1_000), Wanted::All, "{header}");
        }
        assert_eq!(wanted(None, 1_000), Wanted::All);
    }
}
