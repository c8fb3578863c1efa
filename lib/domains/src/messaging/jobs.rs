//! Background jobs: the audit of the mailboxes.

use std::time::Duration;

use nepto_kit::Ctx;
use nepto_kit::job::Job;

use super::config::Mailbox;

pub fn jobs(ctx: &Ctx) -> Vec<Job> {
    let ctx = ctx.clone();
    vec![
        Job::every("mailbox-audit", Duration::from_secs(300))
            .within(Duration::from_secs(60))
            .run(move |_| audit(ctx.clone())),
    ]
}

/// How full the mailboxes are, and whether anything in them is older than it may get.
async fn audit(ctx: Ctx) -> anyhow::Result<String> {
    /// JetStream expires on its own; something this much older means that it does not.
    const LATE: Duration = Duration::from_secs(3_600);
    let expire_after = Duration::from_secs(ctx.config.section::<Mailbox>().expire_after_s);
    let (mut messages, mut bytes) = (0, 0);
    for shard in ctx.config.nats.shards.all() {
        let stream = ctx.jetstream.get_stream(shard.stream()).await?;
        let state = &stream.cached_info().state;
        let name = shard.stream();
        metrics::gauge!("nepto_mailbox_messages", "stream" => name.clone()).set(state.messages as f64);
        metrics::gauge!("nepto_mailbox_bytes", "stream" => name.clone()).set(state.bytes as f64);
        let age = ctx.clock.now() - state.first_timestamp;
        if state.messages > 0 && age > expire_after + LATE {
            anyhow::bail!("{name} holds a message of {age}, which should have expired");
        }
        messages += state.messages;
        bytes += state.bytes;
    }
    // a message goes from the stream some minutes after it was acknowledged
    Ok(format!("{messages} messages are stored, {bytes} bytes; those acknowledged in the last minutes are among them"))
}
