//! Heartbeats on both transports: the server pings, and closes connections that do not answer.

use crate::session::{Session, engine_echo, error};
use crate::support::raw::{End, Frame, Raw};
use crate::support::wait::until;
use std::time::{Duration, Instant};

const FAST: &str = "ping: {interval: 300ms, timeout: 200ms}";

#[tokio::test]
async fn browser_that_answers_is_pinged_repeatedly() {
    //
    let server = engine_echo(FAST).await;
    let session = Session::open(&server).await;
    let mut raw = Raw::opened(&server).await;
    for _ in 0..3 {
        assert_eq!(raw.frame().await, Some(Frame::text("2")));
        raw.send_text("3").await;
    }
    // The polling session was not polled meanwhile, so its first ping was not answered in time.
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
    let session = Session::open(&server).await;
    for _ in 0..3 {
        assert_eq!(session.get().await, (200, "2".to_owned()));
        assert_eq!(session.post("3").await, (200, "ok".to_owned()));
    }
}

#[tokio::test]
async fn browser_that_does_not_answer_pings_is_closed_with_a_reason() {
    //
    let server = engine_echo(FAST).await;
    let began = Instant::now();
    let mut raw = Raw::opened(&server).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "ping timeout".to_owned()));
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    server.metric_is("nodevent_disconnects_total{reason=\"ping_timeout\"}", 1).await;
}

#[tokio::test]
async fn get_after_the_ping_timeout_finds_no_session() {
    //
    let server = engine_echo(FAST).await;
    let session = Session::open(&server).await;
    let opened = Instant::now();
    until("the timeout has passed", async || opened.elapsed() >= Duration::from_millis(500)).await;
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
}

#[tokio::test]
async fn waiting_get_receives_a_close_at_the_ping_timeout() {
    let server = engine_echo(FAST).await;
    let session = Session::open(&server).await;
    assert_eq!(session.get().await, (200, "2".to_owned()));
    assert_eq!(session.get().await, (200, "1".to_owned()));
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
}

#[tokio::test]
async fn ping_from_a_protocol_3_browser_closes_the_session() {
    let server = engine_echo("").await;
    let mut raw = Raw::opened(&server).await;
    raw.send_text("2").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
}

#[tokio::test]
async fn packets_without_meaning_in_this_state_are_ignored() {
    let server = engine_echo("").await;
    let mut raw = Raw::opened(&server).await;
    for packet in ["0", "3", "3probe", "5", "6", "6noop"] {
        raw.send_text(packet).await;
    }
    raw.send_text("4still here").await;
    assert_eq!(raw.text().await, "4still here");
}

#[tokio::test]
async fn close_packet_closes_the_websocket() {
    //
    let server = engine_echo("").await;
    let mut raw = Raw::opened(&server).await;
    raw.send_text("1").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1000), String::new()));
}
