//! The server pings, the browser answers: on both transports, and what follows where it does not.

use crate::session::{Session, engine_echo, error};
use crate::support::raw::{End, Frame, Raw};
use crate::support::wait::until;
use std::time::{Duration, Instant};

const FAST: &str = "ping: {interval: 300ms, timeout: 200ms}";

#[tokio::test]
async fn a_browser_that_answers_is_pinged_again_and_again() {
    //
    let server = engine_echo(FAST).await;
    let session = Session::open(&server).await;
    let mut raw = Raw::opened(&server).await;
    for _ in 0..3 {
        assert_eq!(raw.frame().await, Some(Frame::text("2")));
        raw.say("3").await;
    }
    // The session on long-polling was not polled meanwhile: its first ping was not answered in time.
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
    let session = Session::open(&server).await;
    for _ in 0..3 {
        assert_eq!(session.get().await, (200, "2".to_owned()));
        assert_eq!(session.post("3").await, (200, "ok".to_owned()));
    }
}

#[tokio::test]
async fn a_browser_that_does_not_answer_is_told_so_and_closed() {
    //
    let server = engine_echo(FAST).await;
    let began = Instant::now();
    let mut raw = Raw::opened(&server).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "ping timeout".to_owned()));
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    server.metric_is("nodevent_disconnects_total{reason=\"ping_timeout\"}", 1).await;
}

#[tokio::test]
async fn a_get_that_comes_when_the_time_is_over_finds_no_session() {
    //
    let server = engine_echo(FAST).await;
    let session = Session::open(&server).await;
    let opened = Instant::now();
    until("the time is over", async || opened.elapsed() >= Duration::from_millis(500)).await;
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
}

#[tokio::test]
async fn a_get_that_waits_when_the_time_is_over_is_let_go_with_a_close() {
    let server = engine_echo(FAST).await;
    let session = Session::open(&server).await;
    assert_eq!(session.get().await, (200, "2".to_owned()));
    assert_eq!(session.get().await, (200, "1".to_owned()));
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
}

#[tokio::test]
async fn a_ping_from_the_browser_is_of_protocol_3_and_closes_the_session() {
    let server = engine_echo("").await;
    let mut raw = Raw::opened(&server).await;
    raw.say("2").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
}

#[tokio::test]
async fn packets_that_mean_nothing_now_are_overlooked() {
    let server = engine_echo("").await;
    let mut raw = Raw::opened(&server).await;
    for packet in ["0", "3", "3probe", "5", "6", "6noop"] {
        raw.say(packet).await;
    }
    raw.say("4still here").await;
    assert_eq!(raw.text().await, "4still here");
}

#[tokio::test]
async fn a_close_packet_closes_the_websocket() {
    //
    let server = engine_echo("").await;
    let mut raw = Raw::opened(&server).await;
    raw.say("1").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1000), String::new()));
}
