//! The wire contract of Nepto: ids, frames, subjects, events, error codes, the sign-in message and device certificates.
//!
//! Everything that two programs must agree on stands here, and nothing does I/O. Server and client both depend on this
//! crate; neither depends on the other.

pub mod api;
pub mod certificate;
pub mod close_code;
pub mod content;
pub mod error_code;
pub mod event;
pub mod frame;
pub mod gate;
pub mod ids;
mod kinds;
pub mod limits;
pub mod markdown;
pub mod names;
pub mod permissions;
pub mod siwe;
pub mod subject;
pub mod svc;
pub mod xeddsa;

/// Protobuf types of the socket (`proto/nepto.proto`).
#[allow(missing_docs)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/nepto.v1.rs"));
}

/// Protobuf types between the collector and the pipelines (`proto/chain.proto`).
#[allow(missing_docs)]
pub mod chain {
    include!(concat!(env!("OUT_DIR"), "/nepto.chain.v1.rs"));
}

pub use close_code::CloseCode;
pub use error_code::ErrorCode;
pub use ids::{
    AccountId, ChannelId, ClientMsgId, CommunityId, DeviceId, MediaId, MessageId, RegistrationId, RoleId, SessionId,
};
