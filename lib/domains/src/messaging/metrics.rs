//! What is counted and measured here.

use nepto_kit::metric::{LATENCY_SECONDS, Metric};

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "nepto_dm_sends_total",
        &["outcome"],
        "messages that passed every check and went to their queue: `stored`, `full` (the mailboxes of the recipient are), `failed`",
    ),
    Metric::histogram(
        "nepto_dm_store_seconds",
        &[],
        LATENCY_SECONDS,
        "from the check of a message to the ack of JetStream. Its p99 is the disk's sync",
    ),
    Metric::histogram(
        "nepto_store_group_messages",
        &[],
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_000.0],
        "messages in one commit: grows under load, by itself",
    ),
    Metric::counter("nepto_dm_delivered_total", &[], "deliveries to sockets"),
    Metric::counter(
        "nepto_dm_withheld_total",
        &[],
        "messages that JetStream stored late, most likely after their senders were told that they are not, and that are not \
         delivered because one of the two has blocked the other by now; counted each time that one is passed over",
    ),
    Metric::counter(
        "nepto_mailbox_copies_missed_total",
        &[],
        "copies that were not stored because the mailbox of that device was full; its owner is told",
    ),
    Metric::counter(
        "nepto_requests_refused_total",
        &[],
        "requests of strangers that found their share of a mailbox, or of a day, used up",
    ),
    Metric::counter(
        "nepto_store_failed_total",
        &["stream"],
        "commits of messages that a mailbox stream did not take, or not in time: no connection, no room, an error of its disk. \
         Full mailboxes and repetitions don't count. Senders try again",
    ),
    Metric::gauge("nepto_store_used_ratio", &[], "how full the store of all messages is, 0 to 1"),
    Metric::counter(
        "nepto_store_crowded_total",
        &[],
        "requests and messages of new accounts that had to wait because the store is nearly full",
    ),
    Metric::gauge(
        "nepto_mailbox_messages",
        &["stream"],
        "what lies in all mailboxes, with what was acknowledged in the last minutes",
    ),
    Metric::gauge("nepto_mailbox_bytes", &["stream"], "the same in bytes"),
    Metric::counter("nepto_mailbox_purges_total", &[], "purges after acknowledgements"),
    Metric::gauge(
        "nepto_router_unsettled_messages",
        &["stream"],
        "messages that the router still looks after; a growing number means that it is behind",
    ),
    Metric::counter("nepto_router_nudges_total", &[], "connected devices that had to be reminded"),
    Metric::counter("nepto_router_waiting_total", &[], "devices that were away when a message came"),
];
