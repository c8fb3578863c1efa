//! What can go wrong, by stable names: the codes of HTTP problem documents and of `Error` frames.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal;)+) => {
        /// A stable error code. Programs branch on it; people read the problem's `detail`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $(#[doc = $title] $(#[$doc])* $name,)+
        }

        impl ErrorCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The HTTP status that carries it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// One sentence for people, the same for every occurrence (RFC 9457 `title`).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

error_codes! {
    // the request itself
    Malformed = "malformed", 400, "The request could not be read.";
    UnknownFrame = "unknown_frame", 400, "This kind of frame is not known here.";
    TooLarge = "too_large", 413, "The request is larger than allowed.";
    NotFound = "not_found", 404, "There is nothing here.";
    MethodNotAllowed = "method_not_allowed", 405, "This resource does not take that method.";
    RateLimited = "rate_limited", 429, "Too many requests; wait and try again.";
    Timeout = "timeout", 504, "The request took too long and was given up.";
    Unavailable = "unavailable", 503, "A part of the service is out of reach; try again.";
    OperatorsOnly = "operators_only", 403, "This listener answers to the operator's tools, and under its own names.";
    Internal = "internal", 500, "Something broke on the server.";
    // tokens and sessions
    Unauthenticated = "unauthenticated", 401, "An access token is needed.";
    TokenInvalid = "token_invalid", 401, "The access token is not valid.";
    TokenExpired = "token_expired", 401, "The access token has expired; refresh it.";
    SessionRevoked = "session_revoked", 401, "The session was signed out.";
    RefreshInvalid = "refresh_invalid", 401, "The refresh token is not valid.";
    RefreshReused = "refresh_reused", 401, "The refresh token was used before; the session was signed out for safety.";
    RefreshUnsigned = "refresh_unsigned", 401, "The refresh lacks the signature of the device's identity key.";
    RefreshSignature = "refresh_signature", 401, "The refresh is not signed by the device's identity key.";
    // signing in
    SiweMalformed = "siwe_malformed", 400, "The sign-in message is not an EIP-4361 message.";
    SiweDomain = "siwe_domain", 401, "The sign-in message is for another domain.";
    SiweUri = "siwe_uri", 401, "The sign-in message is for another URI.";
    SiweChain = "siwe_chain", 401, "The sign-in message names a chain that is not accepted here.";
    SiweExpired = "siwe_expired", 401, "The sign-in message has expired.";
    SiweNotYetValid = "siwe_not_yet_valid", 401, "The sign-in message is not valid yet.";
    SiweResource = "siwe_resource", 400, "The sign-in message lacks the resource that this operation needs.";
    ClockSkew = "clock_skew", 401, "The client's clock is off.";
    NonceInvalid = "nonce_invalid", 401, "The nonce is unknown, used or expired.";
    SignatureInvalid = "signature_invalid", 401, "The signature is not by that wallet.";
    ContractWallet = "contract_wallet", 422, "The wallet's own key did not sign, and contract wallets of that chain can't be asked here.";
    InviteNeeded = "invite_needed", 403, "A new account needs an invite code here.";
    InviteInvalid = "invite_invalid", 403, "The invite code is unknown, used up or expired.";
    BalanceNeeded = "balance_needed", 403, "A new account needs a wallet that holds enough.";
    NftNeeded = "nft_needed", 403, "A new account needs a wallet that holds a token of a collection.";
    AgeNeeded = "age_needed", 403, "A new account needs a wallet that has been used for some time.";
    // wallets
    WalletLinked = "wallet_linked", 409, "The wallet belongs to an account already.";
    WalletChain = "wallet_chain", 409, "The contract wallet is known on another chain; there it may belong to somebody else.";
    WalletUnknown = "wallet_unknown", 404, "The wallet is not linked to this account.";
    WalletLast = "wallet_last", 409, "The last wallet of an account can't be unlinked.";
    WalletNeeded = "wallet_needed", 409, "Other wallets of the account belong to it by this wallet's attestation.";
    WalletLimit = "wallet_limit", 409, "The account has as many wallets as it may.";
    // accounts
    AccountUnknown = "account_unknown", 404, "There is no such account.";
    HandleInvalid = "handle_invalid", 422, "The handle is not well-formed.";
    HandleTaken = "handle_taken", 409, "The handle, or one that looks like it, belongs to somebody else.";
    HandleResting = "handle_resting", 409, "The handle was given up lately; for now only its last holder may take it.";
    HandleReserved = "handle_reserved", 409, "The handle is reserved.";
    HandleLimit = "handle_limit", 409, "The account took as many handles as it may for now.";
    NameInvalid = "name_invalid", 422, "The name is not well-formed.";
    // devices and keys
    DeviceUnknown = "device_unknown", 404, "There is no such device.";
    DeviceLimit = "device_limit", 409, "The account has as many devices as it may; revoke one.";
    DeviceMismatch = "device_mismatch", 409, "The keys belong to another device.";
    IdentityTaken = "identity_taken", 409, "The identity key belongs to another account.";
    KeyInvalid = "key_invalid", 422, "A key is not well-formed, not signed by the identity key, or an id stands twice in one upload.";
    KeyUsed = "key_used", 409, "A prekey of this kind had this id, or a larger one, before.";
    KeyLimit = "key_limit", 422, "More one-time prekeys than the server keeps.";
    // messages
    Blocked = "blocked", 403, "The recipient does not take messages from you.";
    YouBlocked = "you_blocked", 409, "You have blocked this account; unblock it first.";
    RequestLimit = "request_limit", 403, "The recipient has not accepted you yet; no more messages until then.";
    RequestsFull = "requests_full", 409, "The recipient takes no more requests of strangers for now.";
    MailboxFull = "mailbox_full", 409, "The mailboxes of all of the recipient's devices are full.";
    StoreCrowded = "store_crowded", 503, "The store of all messages is nearly full: new accounts and requests wait.";
    ToSelf = "to_self", 422, "A message to yourself has no own devices beside the recipient's.";
    AckBeyondDelivered = "ack_beyond_delivered", 400, "The acknowledgement names a message that was not delivered on this connection.";
    // communities
    PermissionNeeded = "permission_needed", 403, "That needs a permission which the account lacks there.";
    RankTooLow = "rank_too_low", 403, "That stands as high as the account does, or higher.";
    MembersOnly = "members_only", 403, "Members of the community alone may do that.";
    MemberUnknown = "member_unknown", 404, "There is no such member.";
    Banned = "banned", 403, "The account is banned from this community.";
    OwnerStays = "owner_stays", 409, "The owner of a community can't leave it, nor be put in their place; it can be transferred.";
    CommunityLimit = "community_limit", 409, "The account owns, or belongs to, as many communities as it may.";
    CommunityFull = "community_full", 409, "The community has as many members as it may.";
    ChannelLimit = "channel_limit", 409, "The community has as many channels as it may.";
    RoleLimit = "role_limit", 409, "The community, or the member, has as many roles as it may.";
    OverrideLimit = "override_limit", 409, "The channel has as many overrides as it may.";
    CommunityInviteLimit = "community_invite_limit", 409, "The community has as many invites as it may; revoke some.";
    BanLimit = "ban_limit", 409, "The community bans as many accounts as it may; lift some bans.";
    OrderStale = "order_stale", 409, "The order does not name exactly what is there now; read it again.";
    // channels
    TimedOut = "timed_out", 403, "You were timed out by a moderator.";
    SlowMode = "slow_mode", 429, "The channel is in slow mode; wait before the next message.";
    MessageUnknown = "message_unknown", 404, "There is no such message in this channel.";
    TextInvalid = "text_invalid", 422, "The text is empty, or longer than allowed.";
    ReactionInvalid = "reaction_invalid", 422, "That is no emoji.";
    ReactionLimit = "reaction_limit", 409, "The message has as many kinds of reactions as it may.";
    PinLimit = "pin_limit", 409, "The channel has as many pinned messages as it may.";
    FollowLimit = "follow_limit", 409, "This connection follows as many channels as it may.";
    // chains
    ChainUnknown = "chain_unknown", 404, "This chain is not watched here.";
    ContractUnknown = "contract_unknown", 404, "This contract is not watched here.";
    BlockUnknown = "block_unknown", 409, "This block was not collected yet.";
    TrackLimit = "track_limit", 409, "As many transactions as may be are looked after for the account.";
    HookSignature = "hook_signature", 401, "The delivery is not signed by the provider.";
    // tokens
    ImageUnavailable = "image_unavailable", 404, "The token has no image that can be shown.";
    ImagePending = "image_pending", 503, "The image is still being fetched; try again.";
    // files
    UploadVersion = "upload_version", 412, "This version of tus is not spoken here.";
    UploadType = "upload_type", 415, "The bytes of an upload have a media type of their own.";
    UploadOffset = "upload_offset", 409, "The upload is at another offset.";
    UploadBusy = "upload_busy", 423, "Somebody else is writing to this upload.";
    UploadChecksum = "upload_checksum", 460, "The bytes do not have that checksum; they were left out.";
    UploadPieces = "upload_pieces", 409, "The upload came in too many pieces; begin again with larger ones.";
    UploadLimit = "upload_limit", 409, "The account has as many uploads open as it may; end one.";
    MediaQuota = "media_quota", 409, "The account stores as much as it may; delete something.";
    MediaFull = "media_full", 507, "There is no room for more files for now.";
    AddressInvalid = "address_invalid", 403, "The address is not good, or not any more; ask for another one.";
    RangeUnsatisfiable = "range_unsatisfiable", 416, "The file has no such range.";
    AlreadyHello = "already_hello", 400, "This connection has said hello before.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ErrorCode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire() {
        for &code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str(), "serde and as_str disagree");
            assert!((400..600).contains(&code.status()));
        }
    }
}
