//! Why a description or an image is not there.

use nepto_kit::fetch::FetchError;
use nepto_proto::api::assets::MetadataReason;

/// Why, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub reason: MetadataReason,
    pub detail: String,
}

impl Problem {
    pub fn new(reason: MetadataReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(MetadataReason::Forbidden, detail)
    }

    pub fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(MetadataReason::Unreadable, detail)
    }
}

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Self {
        let reason = match &error {
            FetchError::Forbidden(_) => MetadataReason::Forbidden,
            // closed names and names that don't exist are told alike
            FetchError::Nowhere { .. }
            | FetchError::Unreachable
            | FetchError::Broken
            | FetchError::TimedOut
            | FetchError::HostRests
            | FetchError::FileRests
            | FetchError::Busy => MetadataReason::Unreachable,
            FetchError::Status(_) | FetchError::Redirects => MetadataReason::Refused,
            FetchError::TooLarge(_) => MetadataReason::TooLarge,
            FetchError::WrongType(_) | FetchError::Compressed(_) => MetadataReason::Unreadable,
        };
        Self::new(reason, error.to_string())
    }
}

/// A reason as it stands in rows.
pub const fn reason_text(reason: MetadataReason) -> &'static str {
    match reason {
        MetadataReason::ChainUnavailable => "chain_unavailable",
        MetadataReason::NoUri => "no_uri",
        MetadataReason::Forbidden => "forbidden",
        MetadataReason::Unreachable => "unreachable",
        MetadataReason::Refused => "refused",
        MetadataReason::TooLarge => "too_large",
        MetadataReason::Unreadable => "unreadable",
    }
}

/// Undoes [`reason_text`]; what another version wrote is unreadable.
pub fn parse_reason(text: &str) -> MetadataReason {
    use MetadataReason::{ChainUnavailable, Forbidden, NoUri, Refused, TooLarge, Unreachable, Unreadable};
    let all = [ChainUnavailable, NoUri, Forbidden, Unreachable, Refused, TooLarge];
    all.into_iter().find(|reason| reason_text(*reason) == text).unwrap_or(Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_our_network_is_told_like_one_that_does_not_exist() {
        let told = |is_closed| Problem::from(FetchError::Nowhere { is_closed });
        assert_eq!(told(true), told(false));
    }

    #[test]
    fn reasons_are_written_as_on_the_wire_and_read_back() {
        for reason in ["chain_unavailable", "no_uri", "forbidden", "unreachable", "refused", "too_large", "unreadable"]
        {
            let parsed = parse_reason(reason);
            assert_eq!(reason_text(parsed), reason);
            assert_eq!(serde_json::to_value(parsed).unwrap(), reason);
        }
    }
}
