//! Traces: a sampled publication has spans for each step, a receiver gets them by OTLP over HTTP, and clients see nothing.

use crate::support::application::{Application, Behaviour};
use crate::support::wait::until;
use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PARENT: &str = "00f067aa0ba902b7";

/// A receiver, which accepts everything.
async fn receiver() -> Application {
    Application::start(Behaviour::Respond(200, "{}".to_owned())).await
}

/// A server whose spans go to the receiver; `engine` are further keys of the namespace.
async fn server(receiver: &Application, engine: &str) -> TestServer {
    let settings = format!("traces: {{url: \"{}\", authorization: Bearer of-the-receiver}}", receiver.url);
    let server = TestServer::start(&format!("{settings}\n/nodevent: {{history: 10{engine}}}\n")).await;
    server.ready().await;
    server
}

fn traceparent(trace: u128, is_sampled: bool) -> String {
    format!("00-{trace:032x}-{PARENT}-0{}", u8::from(is_sampled))
}

/// A publication to a room, with the trace as its first member.
fn traced(trace: u128, is_sampled: bool, rest: &str) -> String {
    format!("{{\"traceparent\":\"{}\",{rest}}}", traceparent(trace, is_sampled))
}

/// The spans that a receiver has, of one trace.
fn spans(receiver: &Application, trace: u128) -> Vec<Value> {
    let mut found = Vec::new();
    for request in receiver.requests() {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("authorization: Bearer of-the-receiver"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        let service = &body["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(service, &json!({"key": "service.name", "value": {"stringValue": "nodevent"}}));
        let all = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
        found.extend(all.into_iter().filter(|span| span["traceId"] == format!("{trace:032x}")));
    }
    found
}

/// Waits for the spans of a trace with these names, and returns them by their start.
async fn spans_with(receiver: &Application, trace: u128, names: &[&str]) -> Vec<Value> {
    let expected: BTreeSet<String> = names.iter().map(|name| format!("nodevent {name}")).collect();
    until("all spans", async || {
        let names = spans(receiver, trace).iter().map(|span| span["name"].as_str().unwrap().to_owned()).collect();
        expected.is_subset(&names)
    })
    .await;
    let mut spans = spans(receiver, trace);
    let time = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
    spans.sort_by_key(|span| time(span, "startTimeUnixNano"));
    let ids: BTreeSet<String> = spans.iter().map(|span| span["spanId"].to_string()).collect();
    assert_eq!(ids.len(), spans.len(), "each span has an id of its own");
    for span in &spans {
        assert_eq!(span["parentSpanId"], PARENT);
        assert!(time(span, "startTimeUnixNano") <= time(span, "endTimeUnixNano"), "{span}");
        let namespace = json!({"key": "messaging.destination.name", "value": {"stringValue": "/nodevent"}});
        assert!(span["attributes"].as_array().unwrap().contains(&namespace), "{span}");
    }
    spans
}

#[tokio::test]
async fn sampled_publication_has_a_span_for_each_step_and_reaches_clients_without_its_trace() {
    let redis = RedisServer::start().await;
    let receiver = receiver().await;
    for (index, engine) in [String::new(), format!(", redis: \"{}\"", redis.url())].into_iter().enumerate() {
        // The publisher and the member are at different servers, if there is a Redis.
        let first = server(&receiver, &engine).await;
        let second = if index == 1 { Some(server(&receiver, &engine).await) } else { None };
        let of_member = second.as_ref().unwrap_or(&first);
        let mut browser = Browser::connect(of_member, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        let trace = 0xab00 + index as u128;
        let rest = r#""room":"r","event":"e","message":{"traceparent":"mine"}"#;
        assert_eq!(first.publish("/nodevent", traced(trace, true, rest)).await.status, 200);
        let event = browser.next_event().await;
        assert!(event.text.starts_with(&format!("{{{rest},\"position\":")), "{}", event.text);
        let history = of_member.get("/api/nodevent/rooms/r/history").await.text();
        assert!(history.contains(rest) && !history.contains("00-0000"), "{history}");
        let steps = spans_with(&receiver, trace, &["publish", "engine", "fan-out", "write"]).await;
        let names: Vec<&str> = steps.iter().map(|span| span["name"].as_str().unwrap()).collect();
        assert_eq!(names[0], "nodevent publish", "{names:?}");
        assert_eq!(names.last(), Some(&"nodevent write"), "{names:?}");
        of_member.metric_is("nodevent_spans_dropped_total", 0).await;
        assert!(of_member.metric("nodevent_spans_exported_total").await > 0);
    }
}

#[tokio::test]
async fn traces_that_are_not_sampled_have_no_spans_and_are_removed_too() {
    let receiver = receiver().await;
    let server = server(&receiver, "").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    let rest = r#""room":"r","event":"e","message":1"#;
    let header = |trace, is_sampled| {
        let request = Request::post("/api/nodevent/emit", format!("[{{{rest}}},{{{rest}}}]"));
        request.header("traceparent", &traceparent(trace, is_sampled))
    };
    assert_eq!(server.publish("/nodevent", traced(1, false, rest)).await.status, 200);
    assert_eq!(server.send(&header(2, false)).await.status, 200);
    assert_eq!(server.send(&header(3, true)).await.status, 200, "an HTTP client that is instrumented");
    for _ in 0..5 {
        let text = browser.next_event().await.text;
        assert!(text.starts_with(&format!("{{{rest},\"position\":")), "{text}");
    }
    until("the spans of both publications", async || spans(&receiver, 3).len() == 8).await;
    for trace in [1, 2] {
        assert!(spans(&receiver, trace).is_empty());
    }
}

#[tokio::test]
async fn each_copy_for_several_targets_has_spans_of_one_trace() {
    let receiver = receiver().await;
    let server = server(&receiver, "").await;
    let mut browsers = Vec::new();
    for room in ["a", "b"] {
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        browser.join(room).await;
        browsers.push(browser);
    }
    let publication = traced(7, true, r#""rooms":["a","b"],"event":"e""#);
    assert_eq!(server.publish("/nodevent", publication).await.status, 200);
    for browser in &mut browsers {
        let text = browser.next_event().await.text;
        assert!(!text.contains("traceparent"), "{text}");
    }
    let spans = spans_with(&receiver, 7, &["publish", "engine", "fan-out", "write"]).await;
    let count = |name: &str| spans.iter().filter(|span| span["name"] == name).count();
    assert_eq!((count("nodevent publish"), count("nodevent engine")), (1, 2));
}

#[tokio::test]
async fn server_without_a_receiver_removes_traces_and_records_nothing() {
    let server = TestServer::start("/nodevent: {}\n").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    let rest = r#""room":"r","event":"e""#;
    assert_eq!(server.publish("/nodevent", traced(7, true, rest)).await.status, 200);
    let text = browser.next_event().await.text;
    assert!(text.starts_with(&format!("{{{rest},\"position\":")), "{text}");
    for series in ["nodevent_spans_exported_total", "nodevent_spans_dropped_total"] {
        assert_eq!(server.metric(series).await, 0);
    }
}

#[tokio::test]
async fn receiver_that_rejects_spans_stops_no_publication_and_gets_later_ones() {
    let receiver = Application::start(Behaviour::Respond(403, String::new())).await;
    let server = server(&receiver, "").await;
    let rest = r#""room":"r","event":"e""#;
    assert_eq!(server.publish("/nodevent", traced(7, true, rest)).await.status, 200);
    server.metric_is("nodevent_spans_dropped_total", 2).await;
    receiver.set(Behaviour::Respond(200, "{}".to_owned()));
    assert_eq!(server.publish("/nodevent", traced(8, true, rest)).await.status, 200);
    server.metric_is("nodevent_spans_exported_total", 2).await;
    spans_with(&receiver, 8, &["publish", "engine"]).await;
}
