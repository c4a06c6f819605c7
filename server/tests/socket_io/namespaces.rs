//! Entering and leaving namespaces: auth, refusals, several at once.

use crate::session::{Session, socket_echo, socket_echo_with};
use crate::support::raw::{End, Raw};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Enters a namespace and receives its `auth` event.
async fn enter(raw: &mut Raw, connect: &str, prefix: &str, auth: &str) -> String {
    raw.send_text(connect).await;
    let reply = raw.text().await;
    let body = reply.strip_prefix(&format!("40{prefix}")).unwrap_or_else(|| panic!("{reply}"));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "{reply}");
    assert_eq!(raw.text().await, format!("42{prefix}[\"auth\",{auth}]"));
    body["sid"].as_str().expect("a sid").to_owned()
}

/// The clients of the official suite miss the second of two messages that arrive together. So the application of the suite writes
/// the connect packet before it pauses.
#[tokio::test]
async fn dialect_that_flushes_sends_its_event_apart_from_the_connect_packet() {
    let server = socket_echo_with("", Duration::from_secs(2)).await;
    let mut raw = Raw::opened(&server).await;
    raw.send_text("40").await;
    assert!(raw.text().await.starts_with("40{"));
    assert!(!raw.has_frame(), "the event has arrived together with the connect packet");
    assert_eq!(raw.text().await, "42[\"auth\",{}]");
}

fn malformed() -> End {
    End::Closed(Some(1008), "malformed packet".to_owned())
}

#[tokio::test]
async fn namespace_is_entered_with_or_without_auth() {
    //
    let server = socket_echo("").await;
    for (connect, prefix, auth) in [
        ("40", "", "{}"),
        ("40{\"token\":\"123\"}", "", "{\"token\":\"123\"}"),
        ("40/custom,", "/custom,", "{}"),
        ("40/custom", "/custom,", "{}"),
        ("40/custom,{\"token\":\"abc\"}", "/custom,", "{\"token\":\"abc\"}"),
        ("40/custom?a=b,{}", "/custom,", "{}"),
    ] {
        let mut raw = Raw::opened(&server).await;
        enter(&mut raw, connect, prefix, auth).await;
    }
}

#[tokio::test]
async fn namespace_id_differs_from_the_session_id_and_other_namespace_ids() {
    let server = socket_echo("").await;
    let mut raw = Raw::open(&server, "").await;
    let open: Value = serde_json::from_str(&raw.text().await[1..]).unwrap();
    let main = enter(&mut raw, "40", "", "{}").await;
    let custom = enter(&mut raw, "40/custom,", "/custom,", "{}").await;
    assert_ne!(main, custom);
    assert_ne!(open["sid"], main, "one id must not reveal the other");
}

#[tokio::test]
async fn two_namespaces_on_one_connection_are_isolated() {
    //
    let server = socket_echo("").await;
    let mut raw = Raw::opened(&server).await;
    enter(&mut raw, "40", "", "{}").await;
    enter(&mut raw, "40/custom,", "/custom,", "{}").await;
    raw.send_text("42/custom,[\"message\",1]").await;
    raw.send_text("42[\"message\",2]").await;
    raw.send_text("42/custom?q=1,[\"message\",3]").await;
    assert_eq!(raw.text().await, "42/custom,[\"message-back\",1]");
    assert_eq!(raw.text().await, "42[\"message-back\",2]");
    assert_eq!(raw.text().await, "42/custom,[\"message-back\",3]");
    raw.send_text("41/custom,").await;
    raw.send_text("42[\"message\",4]").await;
    assert_eq!(raw.text().await, "42[\"message-back\",4]", "leaving one namespace does not affect the other");
    enter(&mut raw, "40/custom,", "/custom,", "{}").await;
}

#[tokio::test]
async fn unknown_or_refusing_namespace_is_an_error_and_the_connection_stays() {
    //
    let server = socket_echo("").await;
    let mut raw = Raw::opened(&server).await;
    raw.send_text("40/random,").await;
    assert_eq!(raw.text().await, "44/random,{\"message\":\"Invalid namespace\"}");
    raw.send_text("40/custom,{\"refuse\":\"not \\\"you\\\"\"}").await;
    assert_eq!(raw.text().await, "44/custom,{\"message\":\"not \\\"you\\\"\"}");
    raw.send_text("40{\"refuse\":\"no\"}").await;
    assert_eq!(raw.text().await, "44{\"message\":\"no\"}");
    enter(&mut raw, "40/custom,", "/custom,", "{}").await;
    let session = Session::open(&server).await;
    assert_eq!(session.post("40/random,").await.0, 200);
    assert_eq!(session.get().await, (200, "44/random,{\"message\":\"Invalid namespace\"}".to_owned()));
}

#[tokio::test]
async fn connection_without_namespaces_stays_open() {
    //
    let server = socket_echo("ping: {interval: 100ms, timeout: 5s}").await;
    let mut raw = Raw::opened(&server).await;
    enter(&mut raw, "40", "", "{}").await;
    raw.send_text("41").await;
    let frame = raw.frame().await.expect("the connection is open");
    assert_eq!(frame.payload, b"2");
    raw.send_text("3").await;
    enter(&mut raw, "40", "", "{}").await;
}

#[tokio::test]
async fn packet_for_a_namespace_that_was_not_entered_ends_the_connection() {
    let server = socket_echo("").await;
    for text in ["42[\"message\"]", "42/custom,[\"message\"]", "43/custom,1[]", "41/custom,", "42/random,[\"x\"]"] {
        let mut raw = Raw::opened(&server).await;
        raw.send_text(text).await;
        assert_eq!(raw.ended().await, malformed(), "{text}");
    }
    let mut raw = Raw::opened(&server).await;
    enter(&mut raw, "40", "", "{}").await;
    raw.send_text("40").await;
    assert_eq!(raw.ended().await, malformed(), "entered twice");
}

#[tokio::test]
async fn connection_that_enters_no_namespace_in_time_is_closed_with_a_reason() {
    //
    let server = socket_echo("limits: {connect_timeout: 300ms}").await;
    let began = Instant::now();
    let mut raw = Raw::opened(&server).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "no namespace or room joined in time".to_owned()));
    assert!(began.elapsed() >= Duration::from_millis(300));
    let mut raw = Raw::opened(&server).await;
    raw.send_text("40/random,").await;
    raw.text().await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "no namespace or room joined in time".to_owned()));
    let session = Session::open(&server).await;
    assert_eq!(session.get().await, (200, "1".to_owned()), "on long-polling");
    server.metric_is("nodevent_disconnects_total{reason=\"connect_timeout\"}", 3).await;
}
