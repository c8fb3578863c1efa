//! What is counted and measured here.

use nepto_kit::metric::Metric;

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "nepto_refresh_refused_total",
        &["reason"],
        "refresh tokens that were shown without their device's signature (`unsigned`: an old client or somebody else), with another one (`signature`: somebody else), or a second time (`reused`: two copies of one device; its session ended)",
    ),
    Metric::counter(
        "nepto_contract_rechecks_total",
        &["outcome"],
        "attestations by contract wallets that were asked for again: `holds`, `ended` with the device or link that stood on it, `unsure` because the chain could not be asked",
    ),
];
