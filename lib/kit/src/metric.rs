//! What is counted and measured: every metric with its labels and what it tells.
//!
//! A metric is counted where it happens, by its name, and declared once: by the kit here, by a domain in its `metrics.rs`. What it
//! tells is its HELP text and its row in `docs/OPERATIONS.md`, and a test holds the three against each other. A label has few values
//! ([`LABELS`]); none names a person, a device, a message or a request.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram};

/// Bucket bounds of every latency: from a tenth of a millisecond to ten seconds.
pub const LATENCY_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A declared metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, with its unit at the end; of a counter behind that `_total`.
    pub name: &'static str,
    /// What it is for Prometheus.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells; Markdown, in one line.
    pub help: &'static str,
}

/// What a metric is for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Samples in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

impl Metric {
    /// One that grows.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    /// One that goes up and down.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    /// Samples in buckets.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        buckets: &'static [f64],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram(buckets), labels, help }
    }

    /// Gives it its HELP text. A counter without labels begins at 0, so that Prometheus sees it grow when it first does.
    pub(crate) fn describe(&self) {
        match self.kind {
            Kind::Counter => {
                describe_counter!(self.name, self.help);
                if self.labels.is_empty() {
                    counter!(self.name).increment(0);
                }
            }
            Kind::Gauge => describe_gauge!(self.name, self.help),
            Kind::Histogram(_) => describe_histogram!(self.name, self.help),
        }
    }
}

/// Every label that there may be, and what bounds how many values it has.
pub const LABELS: &[(&str, &str)] = &[
    ("chain", "the chains of the configuration"),
    ("check", "the checks of a process"),
    ("consumer", "`nats/streams.toml`"),
    ("domain", "the domains"),
    ("endpoint", "the nodes of the configuration"),
    ("kind", "the limits in the code"),
    ("method", "eight"),
    ("name", "the jobs; Prometheus itself has a label `job`"),
    ("operation", "the operations in `lib/proto/src/svc`"),
    ("outcome", "words in the code"),
    ("path", "the endpoints, as they are declared"),
    ("pipeline", "five for each chain of the configuration"),
    ("reason", "words in the code"),
    ("role", "the roles"),
    ("share", "three"),
    ("status", "status codes in the code"),
    ("stream", "`nats/streams.toml`, and the shards of the configuration"),
    ("version", "one"),
    ("what", "six"),
];

/// What every process counts and measures.
pub const OWN: &[Metric] = &[
    Metric::gauge("nepto_build_info", &["version", "role"], "1, with the version of this process and its role"),
    Metric::gauge(
        "nepto_ready",
        &["check"],
        "1 while this check of `/readyz` passes, 0 while it does not; looked at every fifteen seconds",
    ),
    Metric::histogram(
        "nepto_http_seconds",
        &["method", "path", "status"],
        LATENCY_SECONDS,
        "HTTP requests, from their head to their answer",
    ),
    Metric::counter(
        "nepto_http_forwarded_unread_total",
        &[],
        "requests whose `X-Forwarded-For` ends with no address, behind a proxy: they count as the proxy's own",
    ),
    Metric::counter(
        "nepto_http_refused_total",
        &["what", "share"],
        "`connections`, `requests`, `streams` (bodies of uploads), `downloads`, `sockets` and `greetings` (sockets before their hello) for which there was no place: `share` says whether the `address` or the `prefix` has its share, or `all` are taken",
    ),
    Metric::counter("nepto_http_slow_bodies_total", &[], "bodies that were given up"),
    Metric::histogram(
        "nepto_service_seconds",
        &["domain", "operation"],
        LATENCY_SECONDS,
        "questions between domains, from their arrival to their answer",
    ),
    Metric::counter(
        "nepto_service_expired_total",
        &["domain", "operation"],
        "questions that waited so long that whoever asked has left; they are not begun. A growing number is overload",
    ),
    Metric::counter(
        "nepto_rate_limited_total",
        &["kind"],
        "refusals for a limit; `frames`, `hellos` and `barred` are a client out of control, or an attack",
    ),
    Metric::counter(
        "nepto_fetches_total",
        &["outcome"],
        "files from untrusted hosts: `forbidden` is what leads to a closed network or port, `resting` a host that was not there before, or a file that did not come",
    ),
    Metric::counter(
        "nepto_consumed_total",
        &["consumer", "outcome"],
        "events worked off: `done`, `retried`, `dead` (in the stream `DLQ`), `kept` (it belongs there, and `DLQ` is full)",
    ),
    Metric::counter("nepto_outbox_published_total", &["domain"], "events that were published"),
    Metric::counter(
        "nepto_job_runs_total",
        &["name", "outcome"],
        "runs of background jobs, counted by the process that ran them; `superseded` is a run that stood still until another one took its place",
    ),
    Metric::histogram(
        "nepto_job_seconds",
        &["name"],
        &[0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1_800.0, 7_200.0],
        "how long they took",
    ),
    Metric::histogram(
        "nepto_database_seconds",
        &["domain", "outcome"],
        LATENCY_SECONDS,
        "statements and transactions, with their retries: `done`, `refused` (a rule said no, or somebody was faster), `failed`",
    ),
    Metric::counter("nepto_database_conflicts_total", &[], "transactions that were tried again"),
    Metric::counter(
        "nepto_redis_emptied_total",
        &[],
        "a Redis that took over from another one, or restarted, was emptied",
    ),
    Metric::counter("nepto_rows_unreadable_total", &[], "rows that do not mean what they must; the log names each"),
    Metric::counter(
        "nepto_nats_slow_consumer_total",
        &[],
        "this process, or a socket of it, does not keep up with what NATS sends",
    ),
    Metric::gauge(
        "nepto_stream_messages",
        &["stream"],
        "messages in a stream, as each `cron` sees it; of `DLQ`: dead letters that nobody has dealt with",
    ),
    Metric::gauge("nepto_stream_bytes", &["stream"], "bytes in a stream"),
    Metric::gauge("nepto_stream_bytes_max", &["stream"], "the bound of a stream in bytes, where it has one"),
    Metric::gauge("nepto_stream_replicas", &["stream"], "copies of a stream that it should have"),
    Metric::gauge(
        "nepto_stream_replicas_current",
        &["stream"],
        "copies that have everything, 0 while the stream does not answer; fewer than the above: do not stop another server of NATS",
    ),
    Metric::gauge(
        "nepto_consumer_pending_messages",
        &["stream", "consumer"],
        "messages that a consumer has not been given yet; a growing number means that it is behind",
    ),
    Metric::gauge(
        "nepto_consumer_unacknowledged_messages",
        &["stream", "consumer"],
        "messages that it works on, or that will come again",
    ),
];
