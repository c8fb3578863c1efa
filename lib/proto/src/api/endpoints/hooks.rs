//! Deliveries of providers.

use crate::api::assets::HintsNoted;
use crate::api::endpoint::path_parameters;

path_parameters! {
    /// A webhook of the operator's configuration.
    HookPath {
        /// Its id, as it stands there.
        id: String as Hook,
    }
}

crate::endpoints! {
    "hooks"

    /// Takes what Alchemy Notify delivers.
    ///
    /// The header `X-Alchemy-Signature` has the hexadecimal HMAC-SHA256 of the body. A delivery that came before notes nothing. It
    /// makes the watcher look at once, and changes nothing else.
    Post "/v1/hooks/alchemy/{id}" => DeliverAlchemy {
        asker: Anybody,
        path: HookPath,
        takes: "application/json",
        reply: HintsNoted,
        codes: [HookSignature, NotFound],
    }
}
