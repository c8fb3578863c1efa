//! Plain requests to the servers of a test. They speak no TLS: the system's certificates, which take longer to load than a
//! request takes, stay where they are.

use reqwest::{Client, IntoUrl, Response, Result};

/// A client with connections of its own.
pub fn client() -> Client {
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// One request over a connection of its own.
pub async fn get(url: impl IntoUrl) -> Result<Response> {
    client().get(url).send().await
}
