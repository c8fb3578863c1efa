//! What is counted and measured here.

use nepto_kit::metric::{LATENCY_SECONDS, Metric};

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::gauge("nepto_chain_head", &["chain"], "the highest block that a node has told of"),
    Metric::gauge("nepto_chain_height", &["chain"], "the newest block that was collected"),
    Metric::gauge("nepto_chain_final_height", &["chain"], "the newest block that was collected and can't change"),
    Metric::gauge(
        "nepto_chain_gap_blocks",
        &["chain"],
        "older blocks that are still to be read for contracts that came later",
    ),
    Metric::counter("nepto_chain_reverted_blocks_total", &["chain"], "blocks that were orphaned"),
    Metric::counter(
        "nepto_chain_halted_total",
        &["chain"],
        "most nodes say that a final block is another one: nothing more is collected",
    ),
    Metric::counter(
        "nepto_chain_updates_replayed_total",
        &["pipeline"],
        "updates that a pipeline had missed and asked for",
    ),
    Metric::counter(
        "nepto_rpc_requests_total",
        &["endpoint", "outcome"],
        "questions to nodes; `lie` is an answer that was proven false, `header` a header with another hash than Ethereum's rule gives it (a chain that can't be followed, or a node that changes headers), `other_chain` a node of another chain",
    ),
    Metric::counter("nepto_rpc_disagreements_total", &[], "blocks without proof about whose logs nodes disagree"),
    Metric::counter(
        "nepto_hook_deliveries_total",
        &["outcome"],
        "webhooks: taken, repeated, or dropped because too many were being noted",
    ),
    Metric::histogram(
        "nepto_hint_lead_seconds",
        &[],
        LATENCY_SECONDS,
        "by how much webhooks were earlier than the watcher",
    ),
];
