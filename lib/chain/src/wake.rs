//! Knowing early that there is a new block: `eth_subscribe` over a WebSocket.
//!
//! A subscription is a wake-up and nothing else. Providers drop messages and reconnect silently; whoever is woken asks for
//! the block as it would have done a moment later by itself.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

/// A provider that says nothing for so long is reconnected.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// After a connection that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The answer to the subscription.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Notifies at each new head, for ever; cancel it by dropping it. `url` is `ws` or `wss` and may hold a key.
pub async fn new_heads(url: String, wake: &Notify) {
    loop {
        if let Err(error) = listen(&url, wake).await {
            tracing::debug!(error, "no wake-ups from this endpoint for now");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn listen(url: &str, wake: &Notify) -> Result<(), String> {
    let connect = tokio_tungstenite::connect_async(url);
    let connected = tokio::time::timeout(CONNECT_WITHIN, connect).await.map_err(|_| "too slow")?;
    // its text may hold the address
    let (mut socket, _) = connected.map_err(|_| "it can't be reached")?;
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
    socket.send(Message::text(subscribe)).await.map_err(|error| error.to_string())?;
    loop {
        let heard = tokio::time::timeout(SILENCE_MAX, socket.next()).await.map_err(|_| "it fell silent")?;
        match heard.ok_or("it closed")?.map_err(|error| error.to_string())? {
            Message::Text(_) => wake.notify_one(),
            Message::Close(_) => return Err("it closed".into()),
            _ => {}
        }
    }
}
