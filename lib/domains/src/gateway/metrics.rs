//! What is counted and measured here.

use nepto_kit::metric::Metric;

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::gauge("nepto_gateway_sockets", &[], "open sockets"),
    Metric::gauge("nepto_gateway_devices", &[], "sockets that have said hello"),
    Metric::counter(
        "nepto_gateway_closed_total",
        &["reason"],
        "why sockets were closed: the close codes of `docs/PROTOCOL.md`",
    ),
];
