//! What domains ask each other: one file for each domain that answers, with its operations, what they carry, and where Redis
//! has a copy of an answer.
//!
//! A request is JSON on `svc.<domain>.<operation>` ([`crate::subject::service`]) and the answer its [`Operation::Reply`] or the
//! code of an error. Events, which nobody waits for, are in [`crate::event`].

pub mod accounts;
pub mod assets;
pub mod auth;
pub mod collector;
pub mod communities;
pub mod keys;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An operation that a domain offers to others.
pub trait Operation: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What is answered.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// Who answers, the second part of the subject.
    const DOMAIN: &'static str;
    /// The third part of the subject.
    const NAME: &'static str;
}

/// Declares operations of a domain: `"name" Request { fields } -> Reply;`.
macro_rules! operations {
    ($domain:literal $(
        $(#[$doc:meta])*
        $name:literal $type:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),+ $(,)? } -> $reply:ty;
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $type { $($(#[$field_doc])* pub $field: $kind),+ }

        impl $crate::svc::Operation for $type {
            type Reply = $reply;
            const DOMAIN: &'static str = $domain;
            const NAME: &'static str = $name;
        }
    )+};
}
pub(crate) use operations;
