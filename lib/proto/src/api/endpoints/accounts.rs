//! Profiles, handles and contacts.

use crate::AccountId;
use crate::api::accounts::{Account, Contact, Contacts, SetConsent, UpdateProfile};
use crate::api::endpoint::{path_parameters, query_parameters};

path_parameters! {
    /// An account, by any of its names.
    ReferencePath {
        /// Its id, the address of one of its wallets, or its handle.
        account: String as Reference,
    }

    /// An account, by its id.
    AccountPath {
        /// Its id.
        account: AccountId as AccountId,
    }
}

query_parameters! {
    /// A page of contacts.
    ContactsPage {
        /// The `next` of the page before.
        after: AccountId as AccountId,
        /// Contacts of the page, 50 without it.
        limit: usize as Limit,
    }
}

crate::endpoints! {
    "accounts"

    /// Shows the own account.
    Get "/v1/accounts/me" => GetOwnAccount {
        reply: Account,
        codes: [AccountUnknown],
    }

    /// Changes the own profile.
    ///
    /// What is absent stays as it is; an empty text removes. A handle that was given up rests for some time, in which only its
    /// last holder may take it again.
    Patch "/v1/accounts/me" => UpdateOwnAccount {
        body: UpdateProfile,
        reply: Account,
        codes: [HandleInvalid, HandleTaken, HandleResting, HandleReserved, HandleLimit, NameInvalid, AccountUnknown],
    }

    /// Looks up an account by its id, a wallet's address or a handle.
    Get "/v1/accounts/{account}" => LookUpAccount {
        path: ReferencePath,
        reply: Account,
        codes: [AccountUnknown],
    }

    /// Lists everybody whom the account has met, with what it decided about them.
    Get "/v1/contacts" => ListContacts {
        query: ContactsPage,
        reply: Contacts,
        codes: [],
    }

    /// Accepts or blocks somebody, or forgets the decision.
    ///
    /// Deciding about somebody new counts against a limit of new contacts a day (`rate_limited`).
    Put "/v1/contacts/{account}" => DecideContact {
        path: AccountPath,
        body: SetConsent,
        reply: Contact,
        codes: [AccountUnknown],
    }
}
