//! What tus says in headers (tus.io, resumable upload protocol 1.0.0): the core, and the extensions creation, expiration, checksum
//! and termination.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nepto_kit::Failure;
use nepto_proto::ErrorCode;

pub const VERSION: &str = "1.0.0";
pub const EXTENSIONS: &str = "creation,expiration,checksum,termination";
pub const ALGORITHM: &str = "sha256";
/// The media type of bytes to be appended.
pub const BYTES: &str = "application/offset+octet-stream";

pub const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub const VERSIONS: HeaderName = HeaderName::from_static("tus-version");
pub const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub const LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");

/// SHA-256 of the bytes of one request.
pub type Checksum = [u8; 32];

/// Refuses another version.
pub fn check_version(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(RESUMABLE).map(HeaderValue::as_bytes) {
        Some(version) if version == VERSION.as_bytes() => Ok(()),
        _ => Err(Failure::new(ErrorCode::UploadVersion, format!("send `Tus-Resumable: {VERSION}`"))),
    }
}

/// The length of a new upload.
pub fn length(headers: &HeaderMap) -> Result<u64, Failure> {
    if headers.contains_key(DEFER_LENGTH) {
        return Err(malformed("an upload says its length when it begins"));
    }
    match number(headers, &LENGTH)? {
        0 => Err(malformed("an upload has at least one byte")),
        length => Ok(length),
    }
}

/// Where bytes are to be appended.
pub fn offset(headers: &HeaderMap) -> Result<u64, Failure> {
    number(headers, &OFFSET)
}

/// What the bytes must be called.
pub fn check_type(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(axum::http::header::CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(kind) if kind.eq_ignore_ascii_case(BYTES.as_bytes()) => Ok(()),
        _ => Err(Failure::new(ErrorCode::UploadType, format!("send `Content-Type: {BYTES}`"))),
    }
}

/// The checksum of the bytes, if they have one.
pub fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Failure> {
    let Some(value) = headers.get(CHECKSUM) else { return Ok(None) };
    let wrong = || malformed(format!("`Upload-Checksum` is `{ALGORITHM} <base64>`"));
    let (algorithm, digest) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(wrong)?;
    if algorithm != ALGORITHM {
        return Err(wrong());
    }
    let digest = STANDARD.decode(digest).map_err(|_| wrong())?;
    digest.try_into().map(Some).map_err(|_| wrong())
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, Failure> {
    let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| malformed(format!("`{name}` is a number of bytes")))
}

fn malformed(detail: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        all.iter().map(header).collect()
    }

    #[test]
    fn another_version_is_refused() {
        assert!(check_version(&headers(&[("tus-resumable", "1.0.0")])).is_ok());
        for other in [&[][..], &[("tus-resumable", "0.2.2")], &[("tus-resumable", "")]] {
            assert_eq!(check_version(&headers(other)).unwrap_err().code, ErrorCode::UploadVersion, "{other:?}");
        }
    }

    #[test]
    fn lengths_and_offsets_are_numbers() {
        assert_eq!(length(&headers(&[("upload-length", "100")])).unwrap(), 100);
        assert_eq!(offset(&headers(&[("upload-offset", "0")])).unwrap(), 0);
        for text in ["", "-1", "+1", "1.5", "1e3", " 1", "18446744073709551616"] {
            assert!(length(&headers(&[("upload-length", text)])).is_err(), "{text:?}");
            assert!(offset(&headers(&[("upload-offset", text)])).is_err(), "{text:?}");
        }
        assert!(length(&headers(&[])).is_err() && offset(&headers(&[])).is_err());
        assert!(length(&headers(&[("upload-length", "0")])).is_err(), "there is nothing to upload");
        assert!(length(&headers(&[("upload-length", "9"), ("upload-defer-length", "1")])).is_err());
    }

    #[test]
    fn bytes_have_their_type_and_may_have_a_checksum() {
        assert!(check_type(&headers(&[("content-type", BYTES)])).is_ok());
        for kind in [&[][..], &[("content-type", "application/octet-stream")]] {
            assert_eq!(check_type(&headers(kind)).unwrap_err().code, ErrorCode::UploadType);
        }
        assert_eq!(checksum(&headers(&[])).unwrap(), None);
        let of_nothing = "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(checksum(&headers(&[("upload-checksum", of_nothing)])).unwrap().unwrap()[..2], [0xe3, 0xb0]);
        for wrong in ["", "sha256", "sha256 ", "sha256 AAAA", "md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha256 !"] {
            let refused = checksum(&headers(&[("upload-checksum", wrong)])).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Malformed, "{wrong:?}");
        }
    }
}
