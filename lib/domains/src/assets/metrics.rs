//! What is counted and measured here.

use nepto_kit::metric::Metric;

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::gauge("nepto_pipeline_height", &["pipeline"], "how far a pipeline is, `<pipeline>-<chain>`"),
    Metric::counter("nepto_token_metadata_total", &["outcome"], "descriptions of tokens: `known`, or why not"),
    Metric::counter("nepto_token_images_total", &["outcome"], "images of tokens: `cached`, `fetched`, `failed`"),
    Metric::counter(
        "nepto_token_queue_full_total",
        &[],
        "descriptions that were not even queued; a growing number means that `fetch.concurrency_max` is too small",
    ),
    Metric::gauge("nepto_image_cache_bytes", &[], "bytes of images on the disk"),
];
