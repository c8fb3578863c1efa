//! What is counted and measured here.

use nepto_kit::metric::Metric;

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "nepto_channel_posts_total",
        &["outcome"],
        "messages in channels that passed every check and went to their queue: `stored`, `failed`",
    ),
    Metric::histogram(
        "nepto_channel_group_messages",
        &[],
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
        "events of channels in one commit: grows under load, by itself",
    ),
    Metric::counter(
        "nepto_channel_store_failed_total",
        &[],
        "commits of events that the stream of channels did not take, or did not acknowledge",
    ),
    Metric::counter("nepto_channel_delivered_total", &[], "events of channels sent to sockets"),
    Metric::counter(
        "nepto_channel_closed_total",
        &[],
        "channels that were closed on open sockets because their accounts may not see them any more",
    ),
    Metric::counter("nepto_channel_history_events_total", &[], "events that `channel-history` brought into the tables"),
    Metric::gauge(
        "nepto_channel_history_pending",
        &[],
        "events that the stream has and the tables do not; history is read from the stream as far as they go",
    ),
    Metric::counter(
        "nepto_channel_events_unreadable_total",
        &[],
        "events of channels that could not be read and were passed over, each time that one was",
    ),
];
