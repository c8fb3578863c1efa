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

/// Answers until the process stops: with what it is, and where, so that whoever reads it can stop it.
pub async fn answer(ctx: Ctx, role: &str) -> anyhow::Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let answer = format!("{role} (process {} on {}, {})", std::process::id(), host.trim(), ctx.node);
    let answer = Bytes::from(answer);
    let mut calls = ctx.nats.subscribe(ROLL_CALL).await?;
    loop {
        let call = tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            call = calls.next() => call,
        };
        let Some(call) = call else { return Ok(()) };
        if let Some(reply) = call.reply {
            ctx.nats.publish(reply, answer.clone()).await?;
        }
    }
}

/// What those say who answer in this time.
pub async fn call(client: &Client, within: Duration) -> anyhow::Result<Vec<String>> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(ROLL_CALL, inbox, Bytes::new()).await?;
    client.flush().await?;
    let (until, mut heard) = (Instant::now() + within, Vec::new());
    while heard.len() < ANSWERS_MAX
        && let Ok(Some(answer)) = timeout_at(until, answers.next()).await
    {
        if answer.payload.is_empty() {
            // NATS says that nobody listens
            break;
        }
        heard.push(String::from_utf8_lossy(&answer.payload).into_owned());
    }
    heard.sort();
    Ok(heard)
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
        let answering = tokio::spawn(answer(ground.ctx.clone(), "gateway"));
        let heard = async || call(&ground.ctx.nats, within).await.unwrap();
        while heard().await.is_empty() {}
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let (id, host, node) = (std::process::id(), host.trim(), &ground.ctx.node);
        assert_eq!(heard().await, [format!("gateway (process {id} on {host}, {node})")]);
        ground.ctx.stop.cancel();
        answering.await.unwrap().unwrap();
        assert!(heard().await.is_empty());
    }
}
