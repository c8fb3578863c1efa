//! What is counted and measured here.

use nepto_kit::metric::Metric;

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "nepto_prekey_drain_refused_total",
        &[],
        "bundles that were handed out without one-time keys, because somebody, or strangers together, had their share of a device's. A growing number means that somebody tries to use them up, and that newcomers start sessions with last-resort keys meanwhile: less forward secrecy for their first messages, nothing worse",
    ),
    Metric::counter(
        "nepto_idle_devices_left_total",
        &[],
        "runs of `idle-device-retirement` that left idle devices for the next, because one removes a hundred. Without a reason why so many people left half a year ago a clock is wrong, or was",
    ),
];
