//! Sign-In with Ethereum messages ([EIP-4361]): writing, strict reading, and the checks that need no state.
//!
//! Reading is exact: a message that this module would not write the same way, byte for byte, is refused, so that nothing
//! a wallet showed to its owner differs from what is checked here. Each part has only the characters that the EIP's grammar
//! gives it, all of them ASCII: a certificate is read by other people's clients, and none must find it odd.
//!
//! [EIP-4361]: https://eips.ethereum.org/EIPS/eip-4361

use std::fmt;

use alloy_primitives::{Address, Signature};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ErrorCode;
use crate::limits::{CLOCK_SKEW_MAX, SIWE_BYTES_MAX, SIWE_RESOURCES_MAX};

/// A sign-in message. Times are kept as they were written, beside their parsed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiweMessage {
    /// That of the asking page's origin, for example `https`; many messages have none.
    pub scheme: Option<String>,
    /// The authority that asks, for example `chat.example.org`.
    pub domain: String,
    /// The wallet that signs.
    pub address: Address,
    /// What the wallet shows to its owner; one line.
    pub statement: Option<String>,
    /// The resource that the sign-in is about.
    pub uri: String,
    /// The chain's EIP-155 id.
    pub chain_id: u64,
    /// Single use, from the server; at least 8 letters and digits.
    pub nonce: String,
    /// When the message was made.
    pub issued_at: Timestamp,
    /// From when on it is void.
    pub expiration_time: Option<Timestamp>,
    /// Before when it is void.
    pub not_before: Option<Timestamp>,
    /// Free text of the asking party.
    pub request_id: Option<String>,
    /// URIs that the signature also covers.
    pub resources: Vec<String>,
}

/// An RFC 3339 time with its original spelling, which the signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    text: String,
    time: OffsetDateTime,
}

impl Timestamp {
    /// The moment that the text names; its UTC offset is kept.
    pub fn time(&self) -> OffsetDateTime {
        self.time
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), time: OffsetDateTime::parse(text, &Rfc3339).ok()? })
    }
}

impl From<OffsetDateTime> for Timestamp {
    /// Whole seconds, UTC.
    fn from(time: OffsetDateTime) -> Self {
        let time = time.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(time);
        Self { text: time.format(&Rfc3339).unwrap_or_default(), time }
    }
}

/// Why a sign-in message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiweError {
    /// Not an EIP-4361 message.
    #[error("the sign-in message is malformed: {0}")]
    Malformed(&'static str),
    /// For another domain: a message like this is made by a site that copies this one.
    #[error("the sign-in message is for the domain {found:?}, this server is {expected:?}")]
    Domain {
        /// The domain that this server signs people in for.
        expected: String,
        /// The domain that the message names.
        found: String,
    },
    /// For the same domain under another scheme.
    #[error("the sign-in message is for {scheme}://{domain}, and its URI begins with another scheme")]
    Scheme {
        /// What stands before the domain in the message, without `://`.
        scheme: String,
        /// The domain that the message names.
        domain: String,
    },
    /// For another URI than this server's.
    #[error("the sign-in message is for the URI {found:?}, this server is {expected:?}")]
    Uri {
        /// The URI that this server signs people in for.
        expected: String,
        /// The URI that the message names.
        found: String,
    },
    /// A chain that this server does not accept.
    #[error("the sign-in message names chain {0}, which this server does not accept")]
    Chain(u64),
    /// Past its expiration time, or too old.
    #[error("the sign-in message expired at {0}")]
    Expired(String),
    /// Before its not-before time.
    #[error("the sign-in message is not valid before {0}")]
    NotYetValid(String),
    /// Issued too far in the past or the future.
    #[error(
        "the sign-in message was issued {off_by_s} s {direction} the server's time; set the clock of this machine, or \
         that of the server if this one is right",
        direction = if *ahead { "ahead of" } else { "behind" }
    )]
    ClockSkew {
        /// Seconds between the two clocks.
        off_by_s: u64,
        /// Whether the client's clock is ahead.
        ahead: bool,
    },
    /// Not 65 bytes of r, s, v, or not by the key of the named wallet.
    #[error("the signature is not by {0}")]
    Signature(Address),
}

impl SiweError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::SiweMalformed,
            Self::Domain { .. } | Self::Scheme { .. } => ErrorCode::SiweDomain,
            Self::Uri { .. } => ErrorCode::SiweUri,
            Self::Chain(_) => ErrorCode::SiweChain,
            Self::Expired(_) => ErrorCode::SiweExpired,
            Self::NotYetValid(_) => ErrorCode::SiweNotYetValid,
            Self::ClockSkew { .. } => ErrorCode::ClockSkew,
            Self::Signature(_) => ErrorCode::SignatureInvalid,
        }
    }
}

/// What a server expects of a message.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The authority of this server.
    pub domain: &'a str,
    /// The URI of this server.
    pub uri: &'a str,
    /// Chains that are accepted.
    pub chains: &'a [u64],
    /// The time by the server's clock.
    pub now: OffsetDateTime,
}

const SCHEME_END: &str = "://";
const HEADER: &str = " wants you to sign in with your Ethereum account:";

impl fmt::Display for SiweMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}{SCHEME_END}")?;
        }
        writeln!(f, "{}{HEADER}", self.domain)?;
        writeln!(f, "{}\n", self.address)?;
        if let Some(statement) = &self.statement {
            writeln!(f, "{statement}")?;
        }
        writeln!(f, "\nURI: {}", self.uri)?;
        writeln!(f, "Version: 1")?;
        writeln!(f, "Chain ID: {}", self.chain_id)?;
        writeln!(f, "Nonce: {}", self.nonce)?;
        write!(f, "Issued At: {}", self.issued_at.text)?;
        if let Some(time) = &self.expiration_time {
            write!(f, "\nExpiration Time: {}", time.text)?;
        }
        if let Some(time) = &self.not_before {
            write!(f, "\nNot Before: {}", time.text)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "\nRequest ID: {id}")?;
        }
        if !self.resources.is_empty() {
            write!(f, "\nResources:")?;
            for resource in &self.resources {
                write!(f, "\n- {resource}")?;
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for SiweMessage {
    type Err = SiweError;

    fn from_str(text: &str) -> Result<Self, SiweError> {
        let message = Lines::new(text)?.message()?;
        if message.to_string() == text { Ok(message) } else { Err(SiweError::Malformed("its form is not canonical")) }
    }
}

/// The lines of a message, taken one after the other.
struct Lines<'a> {
    rest: std::iter::Peekable<std::str::Split<'a, char>>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Result<Self, SiweError> {
        if text.len() > SIWE_BYTES_MAX {
            return Err(SiweError::Malformed("it is too long"));
        }
        if !text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
            return Err(SiweError::Malformed("it holds other characters than printable ASCII"));
        }
        Ok(Self { rest: text.split('\n').peekable() })
    }

    fn line(&mut self) -> Result<&'a str, SiweError> {
        self.rest.next().ok_or(SiweError::Malformed("it ends too early"))
    }

    fn empty(&mut self) -> Result<(), SiweError> {
        if self.line()?.is_empty() { Ok(()) } else { Err(SiweError::Malformed("an empty line is missing")) }
    }

    fn field(&mut self, name: &'static str) -> Result<&'a str, SiweError> {
        self.optional(name).ok_or(SiweError::Malformed(name))
    }

    fn optional(&mut self, name: &str) -> Option<&'a str> {
        let value = self.rest.peek()?.strip_prefix(name)?;
        self.rest.next();
        Some(value)
    }

    fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, SiweError> {
        self.optional(name)
            .map(|text| Timestamp::parse(text).ok_or(SiweError::Malformed("a time is not RFC 3339")))
            .transpose()
    }

    fn message(mut self) -> Result<SiweMessage, SiweError> {
        let origin = self.line()?.strip_suffix(HEADER).ok_or(SiweError::Malformed("its first line"))?;
        let (scheme, domain) = match origin.split_once(SCHEME_END) {
            Some((scheme, domain)) => (Some(scheme), domain),
            None => (None, origin),
        };
        if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
            return Err(SiweError::Malformed("the scheme before the domain is none"));
        }
        if domain.is_empty() || domain.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@')) {
            return Err(SiweError::Malformed("the domain is not an authority"));
        }
        let address = Address::parse_checksummed(self.line()?, None)
            .map_err(|_| SiweError::Malformed("the address is not EIP-55"))?;
        self.empty()?;
        let statement = match self.line()? {
            "" => None,
            statement => {
                if !statement.bytes().all(|byte| byte == b' ' || is_reserved(byte) || is_unreserved(byte)) {
                    return Err(SiweError::Malformed(
                        "the statement holds characters that the EIP does not allow there",
                    ));
                }
                self.empty()?;
                Some(statement.to_owned())
            }
        };
        let uri = self.field("URI: ")?.to_owned();
        if !is_uri(&uri) {
            return Err(SiweError::Malformed("the URI is none"));
        }
        if self.field("Version: ")? != "1" {
            return Err(SiweError::Malformed("the version is not 1"));
        }
        let chain_id =
            self.field("Chain ID: ")?.parse().map_err(|_| SiweError::Malformed("the chain id is not a number"))?;
        let nonce = self.field("Nonce: ")?.to_owned();
        if nonce.len() < 8 || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(SiweError::Malformed("the nonce is not 8 or more letters and digits"));
        }
        let issued_at = self.time("Issued At: ")?.ok_or(SiweError::Malformed("Issued At: "))?;
        let expiration_time = self.time("Expiration Time: ")?;
        let not_before = self.time("Not Before: ")?;
        let request_id = self.optional("Request ID: ").map(str::to_owned);
        if request_id.as_ref().is_some_and(|id| !id.bytes().all(is_path_char)) {
            return Err(SiweError::Malformed("the request id holds characters that the EIP does not allow there"));
        }
        let mut resources = Vec::new();
        if self.optional("Resources:").is_some() {
            while let Some(resource) = self.optional("- ") {
                if !is_uri(resource) {
                    return Err(SiweError::Malformed("a resource is no URI"));
                }
                resources.push(resource.to_owned());
            }
            if resources.is_empty() || resources.len() > SIWE_RESOURCES_MAX {
                return Err(SiweError::Malformed("it has no or too many resources"));
            }
        }
        if self.rest.next().is_some() {
            return Err(SiweError::Malformed("something follows its end"));
        }
        Ok(SiweMessage {
            scheme: scheme.map(str::to_owned),
            domain: domain.to_owned(),
            address,
            statement,
            uri,
            chain_id,
            nonce,
            issued_at,
            expiration_time,
            not_before,
            request_id,
            resources,
        })
    }
}

/// `scheme` of RFC 3986.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// A scheme, and behind it what RFC 3986 lets a URI hold. What the parts mean is not looked at.
fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
        && text.bytes().all(|byte| byte == b'%' || is_reserved(byte) || is_unreserved(byte))
}

/// `unreserved` of RFC 3986.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `reserved` of RFC 3986.
const fn is_reserved(byte: u8) -> bool {
    is_sub_delimiter(byte) || matches!(byte, b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@')
}

/// `sub-delims` of RFC 3986.
const fn is_sub_delimiter(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// `pchar` of RFC 3986.
const fn is_path_char(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delimiter(byte) || matches!(byte, b'%' | b':' | b'@')
}

impl SiweMessage {
    /// Whether the scheme before the domain, if there is one, is that of the URI. The URI is the server's, so the scheme is.
    pub fn check_scheme(&self) -> Result<(), SiweError> {
        let of_uri = self.uri.split_once(':').map(|(scheme, _)| scheme);
        match &self.scheme {
            Some(scheme) if of_uri != Some(scheme) => {
                Err(SiweError::Scheme { scheme: scheme.clone(), domain: self.domain.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Checks every field that needs no state; the nonce and the signature are the caller's.
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), SiweError> {
        if self.domain != expected.domain {
            return Err(SiweError::Domain { expected: expected.domain.to_owned(), found: self.domain.clone() });
        }
        if self.uri != expected.uri {
            return Err(SiweError::Uri { expected: expected.uri.to_owned(), found: self.uri.clone() });
        }
        self.check_scheme()?;
        if !expected.chains.contains(&self.chain_id) {
            return Err(SiweError::Chain(self.chain_id));
        }
        let age = expected.now - self.issued_at.time;
        if age.unsigned_abs() > CLOCK_SKEW_MAX {
            return Err(SiweError::ClockSkew { off_by_s: age.unsigned_abs().as_secs(), ahead: age.is_negative() });
        }
        if let Some(expiry) = self.expiration_time.as_ref().filter(|expiry| expiry.time <= expected.now) {
            return Err(SiweError::Expired(expiry.text.clone()));
        }
        if let Some(start) = self.not_before.as_ref().filter(|start| start.time > expected.now) {
            return Err(SiweError::NotYetValid(start.text.clone()));
        }
        Ok(())
    }
}

/// Whether an externally owned account signed this text ([EIP-191], `personal_sign`). Only a [canonical](canonical_eoa) signature
/// counts: others of the same key would be taken by some who read a certificate, and refused by others.
///
/// [EIP-191]: https://eips.ethereum.org/EIPS/eip-191
pub fn verify_eoa(text: &str, signature: &[u8], address: Address) -> Result<(), SiweError> {
    let signer = canonical_eoa(signature)
        .filter(|canonical| canonical == signature)
        .and_then(|canonical| Signature::from_raw_array(&canonical).ok()?.recover_address_from_msg(text).ok());
    if signer == Some(address) { Ok(()) } else { Err(SiweError::Signature(address)) }
}

/// The one form of what wallets give as the signature of a key: r, s and v, with s in the lower half of the curve's order ([EIP-2],
/// [BIP 62]) and v 27 or 28. Taken are the other s as well, and 0 or 1 as v, which some wallets give; nothing else, whatever
/// it may mean in a transaction ([EIP-155]). `None` for what no key's signature looks like.
///
/// [EIP-2]: https://eips.ethereum.org/EIPS/eip-2
/// [BIP 62]: https://github.com/bitcoin/bips/blob/master/bip-0062.mediawiki
/// [EIP-155]: https://eips.ethereum.org/EIPS/eip-155
pub fn canonical_eoa(signature: &[u8]) -> Option<[u8; 65]> {
    let signature: &[u8; 65] = signature.try_into().ok()?;
    let [.., 0 | 1 | 27 | 28] = signature else { return None };
    Some(Signature::from_raw_array(signature).ok()?.normalized_s().as_bytes())
}

#[cfg(test)]
mod tests;
