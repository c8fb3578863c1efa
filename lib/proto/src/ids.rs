//! Names of things. Each is a type of its own, so that an account can't be passed for a session.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id that does not have the form its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the caller made, from its own clock and randomness.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }
            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
            /// The 16 bytes of the protobuf form.
            pub fn to_vec(self) -> Vec<u8> {
                self.0.as_bytes().to_vec()
            }
            /// Reads the protobuf form: exactly 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId(concat!($what, " must be 16 bytes")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_simple().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // with hyphens or without; others are known to one library and not to the next
                let id = if matches!(text.len(), 32 | 36) { Uuid::try_parse(text).ok() } else { None };
                id.map(Self).ok_or(InvalidId(concat!($what, " must be a UUID")))
            }
        }
    };
}

uuid_id!(
    /// A person's account: a set of wallets. UUIDv7.
    AccountId,
    "an account id"
);
uuid_id!(
    /// A signed-in session of one device. UUIDv7.
    SessionId,
    "a session id"
);
uuid_id!(
    /// A message, named by its sender: the idempotency key of a send.
    ClientMsgId,
    "a client_msg_id"
);

uuid_id!(
    /// A community. UUIDv7. The role that all of its members have, `everyone`, has the same UUID.
    CommunityId,
    "a community id"
);
uuid_id!(
    /// A channel of a community. UUIDv7.
    ChannelId,
    "a channel id"
);
uuid_id!(
    /// A role of a community. UUIDv7; that of `everyone` is the community's own.
    RoleId,
    "a role id"
);
uuid_id!(
    /// An uploaded file. UUIDv7.
    MediaId,
    "a media id"
);
uuid_id!(
    /// A message of a channel: its place in the stream of channels, as a UUIDv8 (RFC 9562, 5.8). The first 48 bits are the epoch
    /// of the stream in milliseconds, the 74 bits that version and variant leave are the sequence. So ids sort as the stream does,
    /// whatever clocks say, and every reader computes the same one.
    MessageId,
    "a message id"
);

impl CommunityId {
    /// The role that every member has.
    pub const fn everyone(self) -> RoleId {
        RoleId::new(self.0)
    }
}

impl MessageId {
    const EPOCH_MS_MAX: u64 = (1 << 48) - 1;
    const VERSION: u128 = 8 << 76;
    const VARIANT: u128 = 0b10 << 62;
    /// The bits of the sequence that stand behind the variant.
    const SEQ_LOW_BITS: u32 = 62;
    const SEQ_LOW: u64 = (1 << Self::SEQ_LOW_BITS) - 1;

    /// The message at this place of the stream that began, or was restored, at this time. An epoch past the year 10,000 counts as the
    /// last one that fits.
    pub const fn at(epoch_ms: u64, seq: u64) -> Self {
        let epoch_ms = if epoch_ms > Self::EPOCH_MS_MAX { Self::EPOCH_MS_MAX } else { epoch_ms };
        let high = ((seq >> Self::SEQ_LOW_BITS) as u128) << 64;
        let low = (seq & Self::SEQ_LOW) as u128;
        let epoch = (epoch_ms as u128) << 80;
        Self(Uuid::from_u128(epoch | Self::VERSION | high | Self::VARIANT | low))
    }

    /// When the stream began, or was restored: milliseconds since 1970. Of a UUID that [`Self::at`] did not make it says nothing.
    pub const fn epoch_ms(self) -> u64 {
        (self.0.as_u128() >> 80) as u64
    }

    /// The place in the stream, from 1 on. Of a UUID that [`Self::at`] did not make it says nothing.
    pub const fn seq(self) -> u64 {
        let (high, low) = self.0.as_u64_pair();
        ((high & 0b11) << Self::SEQ_LOW_BITS) | (low & Self::SEQ_LOW)
    }
}

impl AccountId {
    /// The half of it that was drawn at random: it tells accounts apart where 16 bytes are too many to keep. Nobody chooses the id
    /// of an account.
    pub fn random_half(self) -> [u8; 8] {
        self.0.as_u64_pair().1.to_be_bytes()
    }

    /// When the account was made, in milliseconds since 1970: the other half of a UUIDv7 says so.
    pub fn made_at_ms(self) -> Option<i64> {
        let (s, ns) = self.0.get_timestamp()?.to_unix();
        Some(s.saturating_mul(1_000).saturating_add(u64::from(ns) / 1_000_000).cast_signed())
    }

    /// Whether the account was made less than so long ago. One whose id does not say when counts as old.
    pub fn is_younger(self, now_ms: i64, than: Duration) -> bool {
        let age_ms = self.made_at_ms().map(|made_at_ms| i128::from(now_ms) - i128::from(made_at_ms));
        age_ms.is_some_and(|age_ms| age_ms < than.as_millis().cast_signed())
    }
}

/// A device of an account, 1 to 127 (the range of Signal's device ids).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DeviceId(u8);

impl DeviceId {
    /// The lowest device number.
    pub const FIRST: Self = Self(1);
    /// The highest device number.
    pub const MAX: u8 = 127;
    /// The device number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u32> for DeviceId {
    type Error = InvalidId;
    fn try_from(number: u32) -> Result<Self, InvalidId> {
        match u8::try_from(number) {
            Ok(number @ 1..=Self::MAX) => Ok(Self(number)),
            _ => Err(InvalidId("a device id must be 1 to 127")),
        }
    }
}

impl From<DeviceId> for u32 {
    fn from(id: DeviceId) -> u32 {
        u32::from(id.0)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeviceId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let number: Self = text.parse::<u32>().map_err(|_| InvalidId("a device id must be 1 to 127"))?.try_into()?;
        // `+3` and `03` are numbers too
        if number.to_string() == text {
            Ok(number)
        } else {
            Err(InvalidId("a device id has no sign and no leading zeros"))
        }
    }
}

/// Drawn at random by an installation; tells two installations under one device number apart. 14 bits, not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct RegistrationId(u16);

impl RegistrationId {
    /// The highest registration id that Signal's clients draw.
    pub const MAX: u32 = 16_380;
    /// As Signal's formats write it.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }
}

impl TryFrom<u32> for RegistrationId {
    type Error = InvalidId;
    fn try_from(number: u32) -> Result<Self, InvalidId> {
        match u16::try_from(number) {
            Ok(small) if small > 0 && number <= Self::MAX => Ok(Self(small)),
            _ => Err(InvalidId("a registration id must be 1 to 16380")),
        }
    }
}

impl From<RegistrationId> for u32 {
    fn from(id: RegistrationId) -> u32 {
        id.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_id_is_laid_out_as_rfc_9562_says() {
        let id = MessageId::at(0x0190_A0A0_B0B0, 0x1234_5678_9ABC_DEF0);
        // epoch, version 8, then two bits of the sequence, the variant, and 62 bits of the sequence
        assert_eq!(id.uuid().hyphenated().to_string(), "0190a0a0-b0b0-8000-9234-56789abcdef0");
        let last = MessageId::at(u64::MAX, u64::MAX);
        assert_eq!(last.uuid().hyphenated().to_string(), "ffffffff-ffff-8003-bfff-ffffffffffff");
        assert_eq!((last.epoch_ms(), last.seq()), ((1 << 48) - 1, u64::MAX));
        assert_eq!((id.uuid().get_version_num(), id.uuid().get_variant()), (8, uuid::Variant::RFC4122));
    }

    #[test]
    fn everyone_has_the_id_of_the_community() {
        let community = CommunityId::new(Uuid::from_u128(7));
        assert_eq!(community.everyone().uuid(), community.uuid());
    }

    proptest! {
        #[test]
        fn message_ids_say_where_the_message_is_and_sort_so(
            one in (0..1_u64 << 48, any::<u64>()),
            other in (0..1_u64 << 48, any::<u64>()),
            same_epoch in any::<bool>(),
        ) {
            let other = if same_epoch { (one.0, other.1) } else { other };
            let [a, b] = [one, other].map(|(epoch_ms, seq)| MessageId::at(epoch_ms, seq));
            prop_assert_eq!((a.epoch_ms(), a.seq()), one);
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a.to_vec().cmp(&b.to_vec()), one.cmp(&other));
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), one.cmp(&other));
            prop_assert_eq!((a.uuid().get_version_num(), a.uuid().get_variant()), (8, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn device_ids_outside_signals_range_are_refused() {
        for number in [0, 128, 255, 256, u32::MAX] {
            assert!(DeviceId::try_from(number).is_err(), "{number}");
        }
        assert_eq!(DeviceId::try_from(127).map(u32::from), Ok(127));
        assert_eq!("3".parse::<DeviceId>().map(u32::from), Ok(3));
        for text in ["+3", "03", " 3", "3 ", "", "-1", "0x3"] {
            assert!(text.parse::<DeviceId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn registration_ids_outside_signals_range_are_refused() {
        for number in [0, 16_381, 65_536 + 1, u32::MAX] {
            assert!(RegistrationId::try_from(number).is_err(), "{number}");
        }
        assert_eq!(RegistrationId::try_from(16_380).map(u32::from), Ok(16_380));
    }

    #[test]
    fn ids_of_the_wrong_length_are_refused() {
        assert!(AccountId::from_bytes(&[1; 15]).is_err());
        assert!(AccountId::from_bytes(&[]).is_err());
        assert_eq!(AccountId::from_bytes(&[7; 16]).map(AccountId::to_vec), Ok(vec![7; 16]));
    }

    #[test]
    fn the_id_of_an_account_tells_how_old_it_is() {
        let day = Duration::from_secs(86_400);
        let account =
            AccountId::new(uuid::Builder::from_unix_timestamp_millis(1_700_000_000_000, &[7; 10]).into_uuid());
        let is_young = |later_ms: i64| account.is_younger(1_700_000_000_000 + later_ms, day);
        assert!(is_young(-1) && is_young(0) && is_young(86_399_999));
        assert!(!is_young(86_400_000) && !is_young(i64::MAX - 1_700_000_000_000));
        assert!(!AccountId::new(Uuid::from_bytes([7; 16])).is_younger(0, day), "it does not say when");
    }
}
