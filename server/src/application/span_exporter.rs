//! Exports spans by OTLP over HTTP, as JSON: the form of `ExportTraceServiceRequest` that the specification of OTLP describes.
//!
//! One request at a time carries what has arrived meanwhile. What the receiver does not accept is dropped and counted: spans
//! are worth no memory of the server. It does not know what a step means.

use super::client::{ApplicationClient, ApplicationRequest};
use crate::clock::now_ns;
use crate::metrics::Metrics;
use crate::namespace::Namespaces;
use crate::spans::{Span, Step};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

/// Spans of one request.
const MAX_BATCH: usize = 512;
/// Time for which the spans of one request are collected.
const INTERVAL: Duration = Duration::from_secs(1);
/// The kinds of spans.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

/// Exports what the server records.
pub struct SpanExporter {
    /// The client for the URL of the receiver.
    pub client: ApplicationClient,
    /// The value of the header `Authorization`.
    pub authorization: Option<HeaderValue>,
    /// Names the namespaces.
    pub namespaces: Arc<Namespaces>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What is recorded.
    pub queue: Receiver<Span>,
}

// === impl SpanExporter ===

impl SpanExporter {
    /// Exports until the server ends.
    pub async fn run(mut self) {
        let (mut batch, mut is_accepted) = (Vec::with_capacity(MAX_BATCH), true);
        while self.queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let by = tokio::time::Instant::now() + INTERVAL;
            while batch.len() < MAX_BATCH {
                let free = MAX_BATCH - batch.len();
                let more = self.queue.recv_many(&mut batch, free);
                if !matches!(tokio::time::timeout_at(by, more).await, Ok(1..)) {
                    break;
                }
            }
            let result = self.send(&batch).await;
            let (count, target) = (batch.len() as u64, self.client.target());
            match &result {
                Ok(()) => {
                    self.metrics.spans.exported.fetch_add(count, Relaxed);
                    if !is_accepted {
                        tracing::info!(target = target, "traces: spans are accepted again");
                    }
                }
                Err(reason) => {
                    self.metrics.spans.dropped.fetch_add(count, Relaxed);
                    // Once, until it works again: the counter has the rest.
                    if is_accepted {
                        tracing::warn!(target = target, reason, "traces: spans are not accepted, and dropped");
                    }
                }
            }
            is_accepted = result.is_ok();
            batch.clear();
        }
    }

    async fn send(&self, batch: &[Span]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let name = |id: u16| Arc::clone(&self.namespaces.get(id).name);
        let body = request(batch, name, (Instant::now(), now_ns())).to_string();
        let request = ApplicationRequest { method: Method::POST, path: None, headers, body: Bytes::from(body) };
        let response = self.client.send(&request, None).await.map_err(|error| error.to_string())?;
        match response.status.is_success() {
            true => Ok(()),
            false => Err(format!("the response has the status {}", response.status.as_u16())),
        }
    }
}

/// The body of a request. `now` is the same moment by both clocks.
fn request(batch: &[Span], name: impl Fn(u16) -> Arc<str>, now: (Instant, u64)) -> Value {
    let spans: Vec<Value> = batch.iter().map(|span| json_of(span, &name(span.namespace), now)).collect();
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "nodevent"), text("service.version", version)]},
        "scopeSpans": [{"scope": {"name": "nodevent", "version": version}, "spans": spans}],
    }]})
}

fn json_of(span: &Span, namespace: &str, (now, now_ns): (Instant, u64)) -> Value {
    let time = |at: Instant| (now_ns - now.saturating_duration_since(at).as_nanos() as u64).to_string();
    let mut attributes = vec![text("messaging.system", "nodevent"), text("messaging.destination.name", namespace)];
    if let Some(shard) = span.shard {
        // Numbers of 64 bits are texts in OTLP/JSON.
        attributes.push(json!({"key": "nodevent.shard", "value": {"intValue": shard.to_string()}}));
    }
    let own: u64 = rand::random();
    json!({
        "traceId": format!("{:032x}", span.context.trace),
        "spanId": format!("{:016x}", own.max(1)),
        "parentSpanId": format!("{:016x}", span.context.span),
        "name": span.step.name(),
        "kind": if span.step == Step::Publish { SERVER } else { INTERNAL },
        "startTimeUnixNano": time(span.began),
        "endTimeUnixNano": time(span.ended),
        "attributes": attributes,
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodevent_protocol::trace::TraceContext;

    #[test]
    fn request_has_the_form_of_otlp_in_json() {
        let now = Instant::now();
        let (began, ended) = (now - Duration::from_millis(30), now - Duration::from_millis(10));
        let context = TraceContext { trace: 0xab, span: 0xcd };
        let span = Span { context, step: Step::Write, namespace: 3, shard: Some(1), began, ended };
        let body = request(&[span], |id| format!("/n{id}").into(), (now, 1_000_000_000));
        let resource = &body["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "nodevent");
        let one = &resource["scopeSpans"][0]["spans"][0];
        assert_eq!(one["traceId"], "000000000000000000000000000000ab");
        assert_eq!(one["parentSpanId"], "00000000000000cd");
        assert_eq!(one["spanId"].as_str().map(str::len), Some(16));
        assert_eq!((&one["name"], &one["kind"]), (&json!("nodevent write"), &json!(1)));
        assert_eq!(
            (&one["startTimeUnixNano"], &one["endTimeUnixNano"]),
            (&json!("970000000"), &json!("990000000"))
        );
        assert_eq!(
            one["attributes"][1],
            json!({"key": "messaging.destination.name", "value": {"stringValue": "/n3"}})
        );
        assert_eq!(one["attributes"][2], json!({"key": "nodevent.shard", "value": {"intValue": "1"}}));
    }
}
