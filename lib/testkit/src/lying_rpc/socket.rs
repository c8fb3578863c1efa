//! WebSockets: subscriptions are the chain's, everything else is answered as over HTTP.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, connect_async};

use super::liar::{Liar, Outcome};
use super::lie::NEW_HEAD;

/// Serves a client until a side closes the connection or a lie does.
pub(super) async fn serve(stream: TcpStream, chain_url: &str, liar: Arc<Liar>) -> Result<()> {
    let mut client = accept_async(stream).await?;
    let (mut chain, _) = connect_async(chain_url).await.context("the chain has no WebSocket")?;
    loop {
        tokio::select! {
            message = client.next() => match message.transpose()? {
                Some(Message::Text(text)) => {
                    let request: Value = serde_json::from_str(&text)?;
                    let outcome = if is_subscription(&request) {
                        match liar.before(&request).await {
                            Some(outcome) => outcome,
                            None => {
                                chain.send(Message::Text(text)).await?;
                                continue;
                            }
                        }
                    } else {
                        liar.exchange(&request).await
                    };
                    if !say(&mut client, outcome).await? {
                        return Ok(());
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
            message = chain.next() => match message.transpose()? {
                Some(Message::Text(text)) => {
                    let said: Value = serde_json::from_str(&text)?;
                    let told = if said["method"] == NEW_HEAD { liar.new_head(said).await } else { vec![said] };
                    for said in told {
                        client.send(Message::text(said.to_string())).await?;
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

fn is_subscription(request: &Value) -> bool {
    request["method"] == "eth_subscribe" || request["method"] == "eth_unsubscribe"
}

/// Whether the connection goes on.
async fn say(client: &mut WebSocketStream<TcpStream>, outcome: Outcome) -> Result<bool> {
    match outcome {
        Outcome::Body { json, .. } => client.send(Message::text(json.to_string())).await?,
        Outcome::Garbage => client.send(Message::text("<html>")).await?,
        Outcome::Hang => {}
        Outcome::Close | Outcome::CloseHalfway(_) => return Ok(false),
    }
    Ok(true)
}
