//! What this domain does about events and stored messages.

use nepto_kit::consumer::Consumer;
use nepto_kit::{Ctx, Failure};
use nepto_proto::event::DeviceRemoved;

use super::{mailbox, router};

pub const QUEUES: &[&str] = &["messaging-device-removed", router::NAME];

pub fn consumers(ctx: &Ctx) -> Vec<Consumer> {
    let ctx = ctx.clone();
    vec![
        Consumer::of_event("messaging-device-removed", move |event: DeviceRemoved| {
            let ctx = ctx.clone();
            async move {
                let purged = mailbox::purge_all(&ctx, event.account, event.device).await;
                purged.map_err(|error| Failure::unavailable("JetStream", error))
            }
        }),
        Consumer::new(router::NAME, router::serve),
    ]
}
