//! Traces: one request, through the processes that it reaches.
//!
//! What must hold:
//! - an HTTP request begins a trace, by chance; nothing else does. What a client says about traces is ignored, and what comes
//!   over a socket is in none: neither a stored message nor anything that is told about it names a trace, so nobody can read off
//!   one who wrote to whom;
//! - a trace goes on where a request goes: through questions between domains, and through the events that it caused to their
//!   consumers. Only what is sampled names its trace (W3C `traceparent`), and an event does so for as long as it is kept;
//! - a span has the name and the fields of [`SPANS`], and no log line becomes part of it: no account, device, wallet or address.

use std::time::Duration;

use async_nats::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Link, SamplingDecision, SamplingResult, SpanKind, TraceContextExt, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, ShouldSample};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::config::Traces;

/// The header, in what is sent between processes and in events.
pub const HEADER: &str = "traceparent";
/// The span that may begin a trace.
const ROOT: &str = "http";
/// What is in traces. Their fields are `method`, `path` (of the declaration), `status`, `domain`, `operation`, `consumer` and
/// `request_id`.
pub const SPANS: [&str; 3] = [ROOT, "service", "consumer"];
/// A collector must answer in this time; what it does not take is gone.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// A process that stops waits so long for it.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Sends spans to a collector, in the background. Made within a runtime.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// The collector of the configuration, if there is one. It need not be there yet.
    pub fn new(config: &Traces, role: &str, node: &str) -> anyhow::Result<Option<Self>> {
        if !config.is_on() {
            return Ok(None);
        }
        let mut exporter = SpanExporter::builder().with_tonic();
        if config.endpoint.starts_with("https://") {
            // of those that this machine trusts
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        let exporter = exporter.with_endpoint(&config.endpoint).with_timeout(EXPORT_TIMEOUT).build();
        let exporter = exporter.map_err(|error| anyhow::anyhow!("traces.endpoint {}: {error}", config.endpoint))?;
        let instance = match node {
            "" => format!("{role}-{}", std::process::id()),
            named => named.to_owned(),
        };
        // what the environment says of resources is not asked: the configuration is one file
        let resource = Resource::builder_empty().with_service_name("nepto-server").with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
            KeyValue::new("nepto.role", role.to_owned()),
        ]);
        let sampler = Sampler::ParentBased(Box::new(OfRequests(Sampler::TraceIdRatioBased(config.sampled_ratio))));
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_sampler(sampler);
        Ok(Some(Self(provider.with_resource(resource.build()).build())))
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer("nepto")
    }

    /// Sends what is left; call it last, outside of the runtime and while that still runs.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_WITHIN) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// Leaves the choice to another sampler for what may begin a trace, and begins none with anything else.
#[derive(Debug, Clone)]
struct OfRequests(Sampler);

impl ShouldSample for OfRequests {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        match name {
            ROOT => self.0.should_sample(parent, trace, name, kind, attributes, links),
            _ => SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            },
        }
    }
}

/// The trace that this task works for, if it is sampled, and the place in it: a value of [`HEADER`].
pub fn current() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let at = span.span_context();
    (at.is_valid() && at.is_sampled())
        .then(|| format!("00-{}-{}-{:02x}", at.trace_id(), at.span_id(), at.trace_flags().to_u8()))
}

/// What is sent with these headers belongs to the trace of this task.
pub(crate) fn hand_on(headers: &mut HeaderMap) {
    if let Some(trace) = current() {
        headers.insert(HEADER, trace);
    }
}

/// A span of work that was asked for with these headers. It must not have been entered.
pub(crate) fn continue_from(span: &Span, headers: Option<&HeaderMap>) {
    let Some(headers) = headers.filter(|headers| headers.get(HEADER).is_some()) else { return };
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    // without traces in this process there is nothing to continue
    let _ = span.set_parent(parent);
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        // not the `tracestate`, which is anybody's text
        (key == HEADER).then(|| self.0.get(HEADER).map(async_nats::HeaderValue::as_str)).flatten()
    }

    fn keys(&self) -> Vec<&str> {
        vec![HEADER]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decides(name: &str, parent: Option<&str>, ratio: f64) -> bool {
        let sampler = Sampler::ParentBased(Box::new(OfRequests(Sampler::TraceIdRatioBased(ratio))));
        let mut headers = HeaderMap::new();
        if let Some(parent) = parent {
            headers.insert(HEADER, parent);
        }
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(&headers));
        let trace = TraceId::from(1_u128);
        let sampled = sampler.should_sample(Some(&context), trace, name, &SpanKind::Internal, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn requests_begin_traces_and_the_rest_only_goes_on_with_them() {
        assert!(decides("http", None, 1.0) && !decides("http", None, 0.0));
        for name in ["service", "consumer"] {
            assert!(!decides(name, None, 1.0), "{name} begins none");
            assert!(decides(name, Some(SAMPLED), 0.0), "{name} goes on");
            assert!(!decides(name, Some(&SAMPLED.replace("-01", "-00")), 1.0), "{name} of what is not sampled");
        }
    }

    #[test]
    fn a_header_that_is_none_is_no_parent() {
        for broken in ["", "00", "00-0-0-01", "no trace at all", &"0".repeat(10_000), "00-GG-b7ad6b7169203331-01"] {
            assert!(!decides("service", Some(broken), 1.0), "{broken}");
        }
    }

    #[test]
    fn without_traces_nothing_names_one() {
        let mut headers = HeaderMap::new();
        tracing::info_span!("http").in_scope(|| hand_on(&mut headers));
        assert!(headers.get(HEADER).is_none());
        continue_from(&tracing::info_span!("service"), Some(&headers));
    }
}
