//! Every endpoint of the HTTP API, a file for each domain. Their bodies are beside this folder.

pub mod accounts;
pub mod assets;
pub mod auth;
pub mod channels;
pub mod communities;
pub mod community_channels;
pub mod community_members;
pub mod hooks;
pub mod keys;
pub mod media;
pub mod meta;

use super::endpoint::Declaration;

/// All of them, in the order of the description's groups.
pub fn all() -> Vec<Declaration> {
    [
        meta::all(),
        auth::all(),
        accounts::all(),
        keys::all(),
        communities::all(),
        community_channels::all(),
        community_members::all(),
        channels::all(),
        assets::all(),
        media::all(),
        hooks::all(),
    ]
    .concat()
}

/// What the groups are about.
pub const TAGS: &[(&str, &str)] = &[
    ("meta", "What a client must know of a server before anything else."),
    ("auth", "Signing in with a wallet (EIP-4361), sessions, and the wallets of an account."),
    ("accounts", "Profiles, handles, and who may write to whom."),
    ("keys", "Devices with their certificates, and the prekeys that sessions begin with (PQXDH)."),
    (
        "communities",
        "Communities: who belongs to them, their channels, and what roles allow where. What one may not see looks as if it never was.",
    ),
    (
        "assets",
        "What wallets hold on the chains that are watched, how it came there, and what is said about tokens. Amounts are base \
         units, decimal, in strings.",
    ),
    ("channels", "Messages of channels, their history, and what an account has read of them."),
    (
        "media",
        "Files: encrypted attachments of direct messages. They are uploaded by tus 1.0.0 (https://tus.io/protocols/resumable-upload), \
         which every request but `OPTIONS` names in the header `Tus-Resumable`, and downloaded by an address that is good for minutes.",
    ),
    ("hooks", "For providers that tell of new logs. Nothing here is for clients."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ErrorCode;
    use crate::api::endpoint::Method;

    #[test]
    fn names_and_places_are_unique_and_groups_are_known() {
        let all = all();
        assert_eq!(all.iter().map(|one| one.name).collect::<BTreeSet<_>>().len(), all.len());
        let places: BTreeSet<_> = all.iter().map(|one| (one.method.as_str(), one.path)).collect();
        assert_eq!(places.len(), all.len());
        let used: BTreeSet<_> = all.iter().map(|one| one.tag).collect();
        assert_eq!(used, TAGS.iter().map(|(tag, _)| *tag).collect());
        assert!(all.iter().all(|one| one.path.starts_with("/v1/")));
    }

    #[test]
    fn what_uses_something_up_is_not_done_twice() {
        let repeatable = |name: &str| all().iter().find(|one| one.name == name).map(|one| one.is_repeatable);
        // a bundle takes one-time keys; a nonce that nobody got expires, and a comparison changes nothing
        assert_eq!(repeatable("TakeBundles"), Some(false));
        assert_eq!((repeatable("MakeNonce"), repeatable("CheckKeys")), (Some(true), Some(true)));
        for one in all().iter().filter(|one| !["TakeBundles", "MakeNonce", "CheckKeys"].contains(&one.name)) {
            assert_eq!(one.is_repeatable, one.method != Method::Post, "{}", one.name);
        }
    }

    #[test]
    fn no_endpoint_claims_a_code_that_only_sockets_answer_with() {
        let of_frames = [
            ErrorCode::UnknownFrame,
            ErrorCode::AlreadyHello,
            ErrorCode::AckBeyondDelivered,
            ErrorCode::ToSelf,
            ErrorCode::MailboxFull,
            ErrorCode::FollowLimit,
        ];
        for one in all() {
            assert!(!one.own_codes.iter().any(|code| of_frames.contains(code)), "{}", one.name);
        }
    }
}
