//! A request is traced from process to process, and a message never is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use nepto_testkit::{Port, Stack, eventually, seconds};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::people::{Person, friends};

/// What arrived of a span.
#[derive(Debug, Clone)]
struct Seen {
    role: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    fields: Vec<(String, String)>,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<Seen>>>);

impl Sink {
    /// Listens until the test ends.
    fn start() -> (Self, Port) {
        let (sink, port) = (Self::default(), Port::reserve().unwrap());
        let server = Server::builder().add_service(TraceServiceServer::new(sink.clone()));
        tokio::spawn(server.serve(port.address()));
        (sink, port)
    }

    fn spans(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    }
}

fn fields(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    attributes.into_iter().map(|field| (field.key, text(field.value))).collect()
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for process in request.into_inner().resource_spans {
            let resource = fields(process.resource.map(|resource| resource.attributes).unwrap_or_default());
            let role = resource.into_iter().find(|(name, _)| name == "nepto.role").map(|(_, role)| role);
            for span in process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert!(span.events.is_empty() && span.links.is_empty(), "{span:?}");
                seen.push(Seen {
                    role: role.clone().unwrap_or_default(),
                    name: span.name,
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    fields: fields(span.attributes),
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

/// Subjects of everything that NATS passes on, and whether it names a trace.
async fn tap(stack: &Stack) -> Arc<Mutex<Vec<(String, bool)>>> {
    let heard: Arc<Mutex<Vec<(String, bool)>>> = Arc::default();
    let (kept, client) = (heard.clone(), stack.nats.client().await.unwrap());
    let mut all = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        // the subscription lasts as long as its client
        let _client = client;
        while let Some(message) = all.next().await {
            let traced = message.headers.is_some_and(|headers| headers.get("traceparent").is_some());
            kept.lock().unwrap_or_else(PoisonError::into_inner).push((message.subject.to_string(), traced));
        }
    });
    heard
}

#[tokio::test]
async fn a_request_is_traced_into_other_domains_and_workers_and_a_message_is_not() {
    let (sink, port) = Sink::start();
    let builder = Stack::builder().unlimited();
    let traced = builder.set("traces.endpoint", format!("http://{}", port.address())).set("traces.sampled_ratio", 1.0);
    let stack = traced.split(1).await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    let heard = tap(&stack).await;

    // it asks another domain, and its event is told to two workers
    let second = alice.second_device(&stack).await.unwrap();
    alice.client.http().delete_device(second.client.device()).await.unwrap();
    let whole = |spans: &[Seen]| {
        let removed = |span: &&Seen| span.name == "http" && span.field("path") == Some("/v1/devices/{device}");
        let root = spans.iter().find(removed)?.clone();
        let of_it = |name: &str, field: &str, value: &str| {
            let mut found = spans.iter().filter(|span| span.trace == root.trace && span.name == name);
            found.find(|span| span.field(field) == Some(value)).cloned()
        };
        let asked = of_it("service", "operation", "end_sessions")?;
        let mailbox = of_it("consumer", "consumer", "messaging-device-removed")?;
        let sessions = of_it("consumer", "consumer", "auth-device-removed")?;
        Some((root, asked, mailbox, sessions))
    };
    eventually(seconds(30), async || Ok(whole(&sink.spans()).is_some())).await.unwrap();
    let (root, asked, mailbox, sessions) = whole(&sink.spans()).unwrap();
    assert_eq!((root.role.as_str(), root.field("method")), ("api", Some("DELETE")));
    assert!(root.parent.is_empty(), "it begins here");
    assert_eq!(asked.parent, root.id);
    for worked in [mailbox, sessions] {
        assert_eq!((worked.role.as_str(), &worked.parent), ("worker", &root.id));
    }

    // what people write to each other
    alice.says(&bob, "nobody's business").await.unwrap();
    bob.hears_text("nobody's business").await.unwrap();
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let kinds = |traced: bool| -> BTreeSet<String> {
        let subjects = heard.iter().filter(|(_, is_traced)| *is_traced == traced);
        subjects.filter_map(|(subject, _)| subject.split('.').next().map(str::to_owned)).collect()
    };
    // an event, and its way to a worker
    let (traced, may_be) = (kinds(true), ["events", "svc", "_INBOX"]);
    assert!(traced.contains("events") && traced.contains("svc"), "{traced:?}");
    assert!(traced.iter().all(|kind| may_be.contains(&kind.as_str())), "{traced:?}");
    assert!(kinds(false).is_superset(&BTreeSet::from(["dm".to_owned(), "live".to_owned()])), "the tap hears messages");

    // nothing in a span says who
    let known = ["method", "path", "status", "domain", "operation", "consumer", "request_id"];
    for span in sink.spans() {
        for (name, value) in &span.fields {
            assert!(known.contains(&name.as_str()), "{span:?}");
            for person in [&alice, &bob] {
                assert!(!value.contains(&person.account().to_string()), "{span:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_client_says_about_traces_is_ignored() {
    let (sink, port) = Sink::start();
    let builder = Stack::builder().unlimited();
    let traced = builder.set("traces.endpoint", format!("http://{}", port.address())).set("traces.sampled_ratio", 1.0);
    let stack = traced.all().await.unwrap();
    let claimed = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let asked = reqwest::Client::new().get(format!("{}/v1/info", stack.url())).header("traceparent", claimed);
    assert!(asked.send().await.unwrap().status().is_success());
    let of_it = || sink.spans().into_iter().find(|span| span.field("path") == Some("/v1/info"));
    eventually(seconds(30), async || Ok(of_it().is_some())).await.unwrap();
    let span = of_it().unwrap();
    assert!(span.parent.is_empty() && !span.trace.starts_with(&[0x0a, 0xf7, 0x65]), "{span:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_nobody() {
    let nobody = Port::reserve().unwrap();
    let builder = Stack::builder().unlimited().set("traces.sampled_ratio", 1.0);
    let stack = builder.set("traces.endpoint", format!("http://{}", nobody.address())).all().await.unwrap();
    let (alice, mut bob) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    alice.says(&bob, "hello").await.unwrap();
    bob.hears_text("hello").await.unwrap();
    assert!(stack.api.term().await.unwrap().success());
}
