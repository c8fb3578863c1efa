//! What belongs to no domain.

use crate::api::ServerInfo;

crate::endpoints! {
    "meta"

    /// Says what a client needs to know of this server before it signs in.
    ///
    /// The domain, URI and chains that a sign-in message must name, where the sockets are, the server's clock, and what a wallet
    /// without an account must show.
    Get "/v1/info" => GetInfo {
        asker: Anybody,
        reply: ServerInfo,
        codes: [],
    }
}
