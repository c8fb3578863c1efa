//! Enumerations that are words: the same ones in JSON, in a store and in a log.

/// Declares such enumerations, each variant with its word.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// As it is written in JSON, and stored.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
            }
        }
    )+};
}
pub(crate) use kinds;

#[cfg(test)]
mod tests {
    use crate::api::accounts::Consent;
    use crate::api::assets::{BalanceKind, ContractKind, PartOutcome, Standard, TokenStandard, TransactionState};
    use crate::api::communities::Visibility;
    use crate::api::communities::channels::{ChannelKind, OverrideKind};
    use crate::api::communities::members::AuditAction;
    use crate::api::operator::JobOutcome;
    use crate::permissions::Permission;
    use crate::svc::collector::Pipeline;

    #[test]
    fn a_word_is_the_same_in_json_and_in_the_store() {
        macro_rules! check {
            ($($name:ident)+) => {$(
                for word in $name::ALL {
                    assert_eq!(serde_json::to_value(word).unwrap(), word.as_str());
                    assert_eq!(word.as_str().parse(), Ok(word));
                }
            )+};
        }
        check!(Standard TokenStandard ContractKind BalanceKind PartOutcome TransactionState Pipeline JobOutcome Consent);
        check!(Permission Visibility ChannelKind OverrideKind AuditAction);
        assert_eq!("Held".parse::<BalanceKind>(), Err(()));
    }
}
