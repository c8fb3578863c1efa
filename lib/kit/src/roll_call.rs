//! Which processes of Nepto run. Whoever replaces what they work with asks first: a restore must not meet one of them.

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use nepto_proto::subject::ROLL_CALL;
use tokio::time::{Instant, timeout_at};

use crate::Ctx;

/// Answers that are listened to.
const ANSWERS_MAX: usize = 64;

/// Answers until the process stops.
pub async fn answer(ctx: Ctx) -> anyhow::Result<()> {
    let mut calls = ctx.nats.subscribe(ROLL_CALL).await?;
    loop {
        let call = tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            call = calls.next() => call,
        };
        let Some(call) = call else { return Ok(()) };
        if let Some(reply) = call.reply {
            ctx.nats.publish(reply, Bytes::copy_from_slice(ctx.node.as_bytes())).await?;
        }
    }
}

/// The names of those who answer in this time.
pub async fn call(client: &Client, within: Duration) -> anyhow::Result<Vec<String>> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(ROLL_CALL, inbox, Bytes::new()).await?;
    client.flush().await?;
    let (until, mut names) = (Instant::now() + within, Vec::new());
    while names.len() < ANSWERS_MAX
        && let Ok(Some(answer)) = timeout_at(until, answers.next()).await
    {
        if answer.payload.is_empty() {
            // NATS says that nobody listens
            break;
        }
        names.push(String::from_utf8_lossy(&answer.payload).into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ground;

    #[tokio::test]
    async fn who_runs_answers_and_who_has_stopped_does_not() {
        let ground = Ground::new().await;
        let within = Duration::from_millis(300);
        assert!(call(&ground.ctx.nats, within).await.unwrap().is_empty());
        let answering = tokio::spawn(answer(ground.ctx.clone()));
        let heard = async || call(&ground.ctx.nats, within).await.unwrap();
        while heard().await.is_empty() {}
        assert_eq!(heard().await, [ground.ctx.node.to_string()]);
        ground.ctx.stop.cancel();
        answering.await.unwrap().unwrap();
        assert!(heard().await.is_empty());
    }
}
