//! What is counted and measured here.

use nepto_kit::metric::Metric;

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "nepto_media_uploads_total",
        &["outcome"],
        "uploads: `begun`, `stored` when the file can be downloaded, `expired` because nobody finished them, `ended` by whoever began them",
    ),
    Metric::counter("nepto_media_received_bytes_total", &[], "bytes of uploads that were stored"),
    Metric::counter("nepto_media_sent_bytes_total", &[], "bytes of files that were downloaded"),
    Metric::counter(
        "nepto_media_full_total",
        &[],
        "uploads that were refused because the file system of `media.folder` has no more than `media.free_bytes_min` left, or is full",
    ),
    Metric::counter(
        "nepto_media_deleted_total",
        &["reason"],
        "files that were deleted: `expired`, or by their `owner`",
    ),
];
