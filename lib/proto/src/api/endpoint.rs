//! What an endpoint of the HTTP API is. Each is declared once, in [`super::endpoints`]; the server's router, its description at
//! `/v1/openapi.json` and the SDK's calls are made from the declaration.

use std::any::TypeId;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::InvalidId;
use crate::{AccountId, ChannelId, CommunityId, DeviceId, ErrorCode, MediaId, MessageId, RoleId};

#[cfg(feature = "openapi")]
pub use utoipa::{IntoParams as DescribedParameters, ToSchema as Described};

/// A body that can be described; here nothing is.
#[cfg(not(feature = "openapi"))]
pub trait Described {}
#[cfg(not(feature = "openapi"))]
impl<T> Described for T {}

/// Parameters that can be described; here nothing is.
#[cfg(not(feature = "openapi"))]
pub trait DescribedParameters {}
#[cfg(not(feature = "openapi"))]
impl<T> DescribedParameters for T {}

/// An operation of the HTTP API. [`endpoints!`](crate::endpoints) declares it.
pub trait Endpoint: Send + Sync + 'static {
    /// Who may ask.
    type Asker: Asker;
    /// What stands in the path.
    type Path: PathParameters;
    /// What stands behind the path.
    type Query: QueryParameters;
    /// What is sent, if `TAKES` is JSON.
    type Body: Serialize + DeserializeOwned + Described + Send + Sync;
    /// What is answered, if `GIVES` is JSON.
    type Reply: Serialize + DeserializeOwned + Described + Send + Sync;

    /// Its name, unlike that of every other endpoint.
    const NAME: &'static str;
    /// The group that it is described in.
    const TAG: &'static str;
    /// What it does, a line each; the first paragraph is the summary.
    const WORDS: &'static [&'static str];
    /// What is done to the resource.
    const METHOD: Method;
    /// The path, with `{names}` of what [`Endpoint::Path`] has.
    const PATH: &'static str;
    /// What a request carries.
    const TAKES: Media;
    /// What an answer carries that is no problem.
    const GIVES: Media;
    /// The status of such an answer.
    const STATUS: u16;
    /// Whether doing it twice is the same as doing it once, so that a client may try again when no answer came.
    const IS_REPEATABLE: bool;
    /// The codes of its own problems. [`Endpoint::codes`] has those as well that all endpoints of its kind have: of tokens, of
    /// input that can't be read, of limits, and of a server that is in trouble.
    const CODES: &'static [ErrorCode];

    /// Whether it may answer with this code.
    fn may_answer(code: ErrorCode) -> bool {
        Self::CODES.contains(&code)
            || ALWAYS.contains(&code)
            || (Self::Asker::HAS_TOKEN && OF_TOKENS.contains(&code))
            || (!reads_nothing::<Self>() && code == ErrorCode::Malformed)
            || (Self::TAKES != Media::Nothing && code == ErrorCode::TooLarge)
    }

    /// Every code that it may answer with, in the order of the documentation.
    fn codes() -> impl Iterator<Item = ErrorCode> {
        ErrorCode::ALL.iter().copied().filter(|code| Self::may_answer(*code))
    }

    /// The path for these parameters. Whatever could be read as something else than a part of it is percent-encoded.
    fn path(parameters: &Self::Path) -> Result<String, NotInAPath> {
        parameters.values().into_iter().try_fold(Self::PATH.to_owned(), |path, (name, value)| {
            if matches!(value.as_str(), "" | "." | "..") {
                return Err(NotInAPath(value));
            }
            Ok(path.replace(&format!("{{{name}}}"), &percent_encoded(&value)))
        })
    }
}

/// A parameter with which a path would be another one. `.` and `..` are steps within a path, also percent-encoded (URL Standard,
/// "single-dot" and "double-dot URL path segment"), and nothing leaves a part out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be looked up by the name {0:?}; name it otherwise")]
pub struct NotInAPath(pub String);

/// Codes of everything.
const ALWAYS: &[ErrorCode] = &[ErrorCode::RateLimited, ErrorCode::Timeout, ErrorCode::Unavailable, ErrorCode::Internal];
/// Codes of what needs an access token, of which there may be one only.
const OF_TOKENS: &[ErrorCode] = &[
    ErrorCode::Unauthenticated,
    ErrorCode::TokenInvalid,
    ErrorCode::TokenExpired,
    ErrorCode::SessionRevoked,
    ErrorCode::Malformed,
];
fn reads_nothing<E: Endpoint + ?Sized>() -> bool {
    let none = TypeId::of::<NoParameters>();
    TypeId::of::<E::Path>() == none && TypeId::of::<E::Query>() == none && E::TAKES == Media::Nothing
}

/// The methods that endpoints have (RFC 9110, 9.3; RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFCs say what they mean")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
    Options,
}

impl Method {
    /// As it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// What a request or an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// No body.
    Nothing,
    /// The JSON of a type.
    Json,
    /// Bytes of this media type, which the endpoint reads or writes itself.
    Bytes(&'static str),
    /// Bytes of this media type, more of them than are held at once: the endpoint takes them as they come.
    Stream(&'static str),
}

/// Who may ask an endpoint.
pub trait Asker: 'static {
    /// Whether an access token is needed.
    const HAS_TOKEN: bool;
}

/// Whoever has an access token of a session that lives.
#[derive(Debug)]
pub struct SignedIn;

/// Everybody. What they may do is counted by their address.
#[derive(Debug)]
pub struct Anybody;

impl Asker for SignedIn {
    const HAS_TOKEN: bool = true;
}

impl Asker for Anybody {
    const HAS_TOKEN: bool = false;
}

/// What stands in a path.
pub trait PathParameters: DescribedParameters + Send + Sync + Sized + 'static {
    /// Names and values, as they are written.
    fn values(&self) -> Vec<(&'static str, String)>;

    /// Reads each part by its name, or says which can't be read and why.
    fn read<'a>(given: impl Fn(&str) -> Option<&'a str>) -> Result<Self, String>;
}

/// A part of a path. Each value has one text, but for the hyphens and capitals of a UUID: what is read leniently names something
/// that nobody meant.
pub trait PathPart: Sized {
    /// Reads it, or says why not.
    fn read(text: &str) -> Result<Self, String>;
}

impl PathPart for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl PathPart for u64 {
    fn read(text: &str) -> Result<Self, String> {
        // `+3` and `03` are numbers too
        let number = text.parse().ok().filter(|number: &Self| number.to_string() == text);
        number.ok_or_else(|| "a number without sign and leading zeros is needed".to_owned())
    }
}

impl PathPart for DeviceId {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: InvalidId| error.to_string())
    }
}

macro_rules! uuids_in_paths {
    ($($name:ident)+) => {$(
        impl PathPart for $name {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error: InvalidId| error.to_string())
            }
        }
    )+};
}
uuids_in_paths!(AccountId CommunityId ChannelId RoleId MessageId MediaId);

/// What stands behind a path.
pub trait QueryParameters: Serialize + DeserializeOwned + DescribedParameters + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + DescribedParameters + Send + Sync + 'static> QueryParameters for T {}

/// No parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NoParameters {}

impl PathParameters for NoParameters {
    fn values(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn read<'a>(_: impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
        Ok(Self {})
    }
}

#[cfg(feature = "openapi")]
impl utoipa::IntoParams for NoParameters {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        Vec::new()
    }
}

/// Everything but unreserved characters (RFC 3986, 2.3) as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// An endpoint as a value: what is the same for every request to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// [`Endpoint::NAME`].
    pub name: &'static str,
    /// [`Endpoint::TAG`].
    pub tag: &'static str,
    /// What it does: the first paragraph of its words, without the full stop.
    pub summary: String,
    /// The other paragraphs.
    pub details: String,
    /// [`Endpoint::METHOD`].
    pub method: Method,
    /// [`Endpoint::PATH`].
    pub path: &'static str,
    /// [`Asker::HAS_TOKEN`].
    pub has_token: bool,
    /// [`Endpoint::IS_REPEATABLE`].
    pub is_repeatable: bool,
    /// Whether [`Endpoint::TAKES`] is a stream.
    pub is_streamed: bool,
    /// [`Endpoint::CODES`].
    pub own_codes: &'static [ErrorCode],
}

impl Declaration {
    /// Of this endpoint.
    pub fn of<E: Endpoint>() -> Self {
        let lines: Vec<&str> = E::WORDS.iter().map(|line| line.trim()).collect();
        let mut paragraphs = lines.split(|line| line.is_empty()).map(|lines| lines.join(" "));
        let summary = paragraphs.next().unwrap_or_default();
        Self {
            name: E::NAME,
            tag: E::TAG,
            summary: summary.trim_end_matches('.').to_owned(),
            details: paragraphs.collect::<Vec<_>>().join("\n\n"),
            method: E::METHOD,
            path: E::PATH,
            has_token: E::Asker::HAS_TOKEN,
            is_repeatable: E::IS_REPEATABLE,
            is_streamed: matches!(E::TAKES, Media::Stream(_)),
            own_codes: E::CODES,
        }
    }
}

/// Declares the endpoints of a domain, and lists them in a function `all`.
///
/// Behind the method, the path and the name: who asks (`SignedIn` if it is left out), what it reads from the path, the query and
/// the body, what it answers (`204` if nothing), and the codes of its own problems. Everything but `POST` may be repeated, unless it
/// says otherwise.
#[macro_export]
macro_rules! endpoints {
    ($tag:literal $(
        $(#[doc = $words:literal])+
        $method:ident $path:literal => $name:ident {
            $(asker: $asker:ident,)?
            $(path: $in_path:ty,)?
            $(query: $query:ty,)?
            $(body: $body:ty,)?
            $(takes: $takes:literal,)?
            $(streams: $streams:literal,)?
            $(reply: $reply:ty,)?
            $(gives: $gives:literal,)?
            $(status: $status:literal,)?
            $(repeatable: $repeatable:literal,)?
            codes: [$($code:ident),* $(,)?],
        }
    )+) => {
        $(
            $(#[doc = $words])+
            #[derive(Debug)]
            pub struct $name;

            impl $crate::api::endpoint::Endpoint for $name {
                type Asker = $crate::endpoints!(@or [$($crate::api::endpoint::$asker)?] $crate::api::endpoint::SignedIn);
                type Path = $crate::endpoints!(@or [$($in_path)?] $crate::api::endpoint::NoParameters);
                type Query = $crate::endpoints!(@or [$($query)?] $crate::api::endpoint::NoParameters);
                type Body = $crate::endpoints!(@or [$($body)?] ());
                type Reply = $crate::endpoints!(@or [$($reply)?] ());
                const NAME: &'static str = stringify!($name);
                const TAG: &'static str = $tag;
                const WORDS: &'static [&'static str] = &[$($words),+];
                const METHOD: $crate::api::endpoint::Method = $crate::api::endpoint::Method::$method;
                const PATH: &'static str = $path;
                const TAKES: $crate::api::endpoint::Media = $crate::endpoints!(@takes [$($body)?] [$($takes)?] [$($streams)?]);
                const GIVES: $crate::api::endpoint::Media = $crate::endpoints!(@media [$($reply)?] [$($gives)?]);
                const STATUS: u16 = $crate::endpoints!(@value [$($status)?]
                    if matches!(Self::GIVES, $crate::api::endpoint::Media::Nothing) { 204 } else { 200 });
                const IS_REPEATABLE: bool = $crate::endpoints!(@value [$($repeatable)?]
                    !matches!(Self::METHOD, $crate::api::endpoint::Method::Post));
                const CODES: &'static [$crate::ErrorCode] = &[$($crate::ErrorCode::$code),*];
            }
        )+

        /// All of them.
        pub fn all() -> Vec<$crate::api::endpoint::Declaration> {
            vec![$($crate::api::endpoint::Declaration::of::<$name>()),+]
        }
    };
    (@or [] $default:ty) => { $default };
    (@or [$given:ty] $default:ty) => { $given };
    (@value [] $default:expr) => { $default };
    (@value [$given:literal] $default:expr) => { $given };
    (@takes [] [] [$streamed:literal]) => { $crate::api::endpoint::Media::Stream($streamed) };
    (@takes [$($json:ty)?] [$($bytes:literal)?] []) => { $crate::endpoints!(@media [$($json)?] [$($bytes)?]) };
    (@media [] []) => { $crate::api::endpoint::Media::Nothing };
    (@media [$json:ty] []) => { $crate::api::endpoint::Media::Json };
    (@media [] [$bytes:literal]) => { $crate::api::endpoint::Media::Bytes($bytes) };
}

/// Declares what stands in paths: each part with its type, and what it may look like for the description.
macro_rules! path_parameters {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty as $shape:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
        #[cfg_attr(feature = "openapi", into_params(parameter_in = Path))]
        pub struct $name {$(
            $(#[$field_doc])*
            #[cfg_attr(feature = "openapi", param(value_type = crate::api::parameters::$shape, inline))]
            pub $field: $type,
        )+}

        impl crate::api::endpoint::PathParameters for $name {
            fn values(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($field), self.$field.to_string())),+]
            }

            fn read<'a>(given: impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
                let part = |name: &str| given(name).ok_or_else(|| format!("the path has no {name}"));
                let why = |name: &str, error: String| format!("{name}: {error}");
                Ok(Self {$(
                    $field: crate::api::endpoint::PathPart::read(part(stringify!($field))?)
                        .map_err(|error| why(stringify!($field), error))?,
                )+})
            }
        }
    )+};
}
pub(crate) use path_parameters;

/// Declares what stands behind paths, all of which may be left out: each part with its type, and what it may look like for the
/// description. What is absent is not written, and what is unknown is refused.
macro_rules! query_parameters {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty as $shape:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
        #[serde(deny_unknown_fields)]
        pub struct $name {$(
            $(#[$field_doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "openapi", param(value_type = crate::api::parameters::$shape, required = false, inline))]
            pub $field: Option<$type>,
        )+}
    )+};
}
pub(crate) use query_parameters;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::endpoints::accounts::{AccountPath, LookUpAccount, ReferencePath};
    use crate::api::endpoints::assets::ContractPath;
    use crate::api::endpoints::keys::DevicePath;

    #[test]
    fn what_stands_in_a_path_is_read_in_one_form() {
        let of_device = |text: &str| DevicePath::read(|_| Some(text));
        assert_eq!(of_device("1").unwrap().device, DeviceId::FIRST);
        for text in ["01", "+1", "1 ", "0x1", "1.0", "", "0", "128", "257"] {
            assert!(of_device(text).is_err(), "{text:?}");
        }
        let of_account = |text: &str| AccountPath::read(|_| Some(text));
        let hyphens = "0190a0a0-0000-7000-8000-000000000001";
        assert_eq!(of_account(hyphens), of_account(&hyphens.replace('-', "").to_uppercase()));
        assert!(of_account(hyphens).is_ok());
        for text in [format!("{{{hyphens}}}"), format!("urn:uuid:{hyphens}"), hyphens[1..].to_owned()] {
            assert!(of_account(&text).is_err(), "{text}");
        }
        let of_chain =
            |chain: &'static str| ContractPath::read(|name| Some(if name == "chain_id" { chain } else { "0x" }));
        assert_eq!(of_chain("10").unwrap().chain_id, 10);
        assert!(of_chain("010").unwrap_err().starts_with("chain_id: "));
        assert!(of_chain("+10").is_err());
    }

    #[test]
    fn what_stands_in_a_path_is_one_part_of_it() {
        for (reference, path) in [
            ("alice_1", "/v1/accounts/alice_1"),
            ("../me?x#y", "/v1/accounts/..%2Fme%3Fx%23y"),
            ("ä %", "/v1/accounts/%C3%A4%20%25"),
            ("%2e%2E", "/v1/accounts/%252e%252E"),
            ("...", "/v1/accounts/..."),
        ] {
            assert_eq!(LookUpAccount::path(&ReferencePath { account: reference.into() }).unwrap(), path);
        }
        for step in ["", ".", ".."] {
            let refused = LookUpAccount::path(&ReferencePath { account: step.into() });
            assert_eq!(refused, Err(NotInAPath(step.into())));
        }
    }
}
