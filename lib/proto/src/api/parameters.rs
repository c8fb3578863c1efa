//! What the parameters of the HTTP API look like, for its description. What is described here is what the server reads, and no
//! more.

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

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
    /// As the operator wrote it into the configuration.
    Hook = "^[^/?#]{1,128}$", "wh_8x1n0q";
}

numbers! {
    /// EIP-155, with the bound of EIP-2294.
    ChainId = 0 to 9_223_372_036_854_775_771_u64;
    /// Its height.
    Block = 0 to 9_223_372_036_854_775_807_u64;
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
