//! What the parameters of the HTTP API look like, and bytes in its bodies, for its description. What is described here is what
//! the server reads, and no more.

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::Base64;
pub use super::assets::{BalanceKind, TokenStandard};

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $pattern:literal, $example:literal;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern)).examples([$example]).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $least:literal to $most:literal;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let number = ObjectBuilder::new().schema_type(Type::Integer);
                let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
                number.minimum(Some($least)).maximum(Some($most)).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

texts! {
    /// A UUID, with or without hyphens.
    AccountId = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
        "0190a0a0-0000-7000-8000-000000000001";
    /// A UUID, with or without hyphens.
    CommunityId = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
        "0190a0a0-0000-7000-8000-000000000002";
    /// A UUID, with or without hyphens.
    ChannelId = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
        "0190a0a0-0000-7000-8000-000000000003";
    /// A UUID, with or without hyphens.
    RoleId = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
        "0190a0a0-0000-7000-8000-000000000004";
    /// A UUID, with or without hyphens.
    MessageId = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
        "019b0a0a-0000-8000-8000-000000000006";
    /// A place in the audit log: the `next` of the page before.
    AuditMark = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", "0190a0a0-0000-7000-8000-000000000005";
    /// What stands in an invite link.
    InviteCode = "^[a-z0-9]{16}$", "abcdefghjkmnpqrs";
    /// What a name begins with.
    NamePrefix = "^[0-9A-Za-z ]{1,64}$", "gard";
    /// A place in the list of public communities: the `next` of the page before.
    DiscoverMark = "^[0-9a-f]{32}:[0-9a-z ]{1,64}$", "0190a0a0000070008000000000000002:gardeners";
    /// Why something is done.
    Reason = "^[^\\x00-\\x1f]{0,512}$", "spam";
    /// A UUID, with or without hyphens.
    MediaId = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
        "0190a0a0-0000-7000-8000-000000000002";
    /// Made by the server, of 32 bytes.
    AddressSignature = "^[0-9A-Za-z_-]{43}$", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    /// An account's id, an address of one of its wallets, or its handle.
    Reference = "^@?[0-9A-Za-z_-]{3,42}$", "alice";
    /// Of a wallet or contract.
    Address = "^0x[0-9a-fA-F]{40}$", "0x5FbDB2315678afecb367f032d93F642f64180aa3";
    /// Of a transaction.
    Hash = "^0x[0-9a-fA-F]{64}$", "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe340394a06";
    /// Of 256 bits, decimal.
    Number = "^[0-9]{1,78}$", "42";
    /// Numbers of devices, ten at the most.
    Devices = "^(12[0-7]|1[01][0-9]|[1-9][0-9]?)(,(12[0-7]|1[01][0-9]|[1-9][0-9]?)){0,9}$", "1,3";
    /// A place in the list of tokens: the `next` of the page before.
    TokenMark = "^[0-9]{1,19}:0x[0-9a-fA-F]{40}:[0-9]{1,78}:0x[0-9a-fA-F]{40}$",
        "1:0x5FbDB2315678afecb367f032d93F642f64180aa3:42:0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    /// A place in the list of payments: the `next` of the page before.
    PaymentMark = "^[0-9]{1,19}:[0-9]{1,9}$", "21000000:7";
    /// One emoji.
    Emoji = "^[^/?#]{1,32}$", "👍";
    /// As the operator wrote it into the configuration.
    Hook = "^[^/?#]{1,128}$", "wh_8x1n0q";
}

numbers! {
    /// EIP-155, with the bound of EIP-2294.
    ChainId = 0 to 9_223_372_036_854_775_771_u64;
    /// Its height.
    Block = 0 to 9_223_372_036_854_775_807_u64;
    /// Milliseconds since 1970.
    AddressExpiry = 0 to 9_223_372_036_854_775_807_u64;
    /// Of an account.
    Device = 1 to 127;
    /// Entries of a page.
    Limit = 1 to 200;
}

/// `true` or `false`.
pub struct Flag;

impl PartialSchema for Flag {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Boolean).into()
    }
}

impl ToSchema for Flag {}

impl PartialSchema for Base64 {
    fn schema() -> RefOr<Schema> {
        let bytes =
            ObjectBuilder::new().schema_type(Type::String).description(Some("Bytes, as base64url without padding."));
        // the bits that the last letter has too many are 0
        let pattern = "^([0-9A-Za-z_-]{4})*([0-9A-Za-z_-][AQgw]|[0-9A-Za-z_-]{2}[AEIMQUYcgkosw048])?$";
        bytes.format(Some(SchemaFormat::Custom("base64url".to_owned()))).pattern(Some(pattern)).into()
    }
}

impl ToSchema for Base64 {}

#[cfg(test)]
mod tests {
    use proptest::string::string_regex;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::api::keys::PublicDevice;
    use crate::{DeviceId, RegistrationId};

    fn object<T: PartialSchema>() -> serde_json::Value {
        serde_json::to_value(T::schema()).unwrap()
    }

    /// Whatever is described so can be read.
    fn is_read<T: PartialSchema>(read: impl Fn(&str) -> bool) {
        let object = object::<T>();
        let pattern = object["pattern"].as_str().unwrap();
        let inside = pattern.strip_prefix('^').unwrap().strip_suffix('$').unwrap();
        TestRunner::deterministic()
            .run(&string_regex(inside).unwrap(), |text| {
                proptest::prop_assert!(read(&text), "{text:?} is described by {pattern} and not read");
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_is_described_is_read() {
        is_read::<AccountId>(|text| text.parse::<crate::AccountId>().is_ok());
        is_read::<MediaId>(|text| text.parse::<crate::MediaId>().is_ok());
        is_read::<Devices>(|text| text.split(',').all(|device| device.parse::<DeviceId>().is_ok()));
        is_read::<Address>(|text| text.parse::<alloy_primitives::Address>().is_ok());
        let bytes = |text: &str| serde_json::from_value::<Base64>(text.into()).is_ok();
        is_read::<Base64>(bytes);
        for other in ["A", "AA==", "AB", "AAB", "+/==", "AAAAA", " "] {
            assert!(!bytes(other), "{other}: the pattern says no more than what is true");
        }
    }

    #[test]
    fn the_bounds_of_a_device_are_those_that_are_described() {
        let device = object::<PublicDevice>();
        let bounds = |field: &str| {
            let field = &device["properties"][field];
            [&field["minimum"], &field["maximum"]].map(|bound| bound.as_f64().unwrap() as u32)
        };
        let [least, most] = bounds("device");
        assert!(DeviceId::try_from(least).is_ok() && DeviceId::try_from(least - 1).is_err());
        assert!(DeviceId::try_from(most).is_ok() && DeviceId::try_from(most + 1).is_err());
        let [least, most] = bounds("registration_id");
        assert!(RegistrationId::try_from(least).is_ok() && RegistrationId::try_from(least - 1).is_err());
        assert!(RegistrationId::try_from(most).is_ok() && RegistrationId::try_from(most + 1).is_err());
    }
}
