//! Long-polling: one GET and one POST at a time, and the end of a session.

use crate::session::{Session, closed, engine_echo, error};
use crate::support::Request;
use crate::support::wait::{in_time, until};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn concurrent_second_get_closes_the_session() {
    //
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    let (one, other) = (session.begin_get().await, session.begin_get().await);
    let mut responses = [one.response().await, other.response().await];
    responses.sort();
    let [waited, second] = responses;
    assert_eq!(waited, (200, "1".to_owned()), "the waiting GET receives the close packet");
    assert_eq!(second, (400, closed("overlapping requests")));
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
    server.metric_is("nodevent_disconnects_total{reason=\"overlap\"}", 1).await;
}

#[tokio::test]
async fn concurrent_second_post_closes_the_session() {
    //
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    let waiting = session.begin_get().await;
    let mut first = server.dial().await;
    let half = Request::post(&session.path(), "4hello").encode(&server.address);
    first.write_all(&half[..half.len() - 3]).await.unwrap();
    let mut second = (200, String::new());
    until("the first POST has started", async || {
        second = session.post("4late").await;
        second.0 != 200
    })
    .await;
    assert_eq!(second, (400, closed("overlapping requests")));
    let (status, payload) = waiting.response().await;
    assert_eq!(status, 200);
    assert!(payload.ends_with('1') || payload.starts_with("4late"), "{payload}");
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
}

/// A test cannot observe whether the GET reaches the server first, so it retries until it does.
#[tokio::test]
async fn close_packet_releases_the_waiting_get_with_a_noop() {
    //
    let server = engine_echo("").await;
    until("a GET arrives before the POST sent after it", async || {
        let session = Session::open(&server).await;
        let waiting = session.begin_get().await;
        assert_eq!(session.post("1").await, (200, "ok".to_owned()));
        let response = waiting.response().await;
        assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
        assert!(
            response == (200, "6".to_owned()) || response == (400, error(1, "Session ID unknown")),
            "{response:?}"
        );
        response.0 == 200
    })
    .await;
    server.metric_is("nodevent_connections", 0).await;
    assert_eq!(
        server.metric("nodevent_disconnects_total{reason=\"closed\"}").await,
        server.metric("nodevent_connections_opened_total").await
    );
}

#[tokio::test]
async fn malformed_post_closes_the_session_with_its_reason() {
    //
    let server = engine_echo("").await;
    for body in ["abc", "", "\u{1e}", "4fine\u{1e}", "9", "bnot base64!", "4fine\u{1e}2"] {
        let session = Session::open(&server).await;
        assert_eq!(session.post(body).await, (400, closed("malformed packet")), "{body:?}");
        assert_eq!(session.get().await, (400, error(1, "Session ID unknown")), "{body:?}");
    }
}

#[tokio::test]
async fn binary_post_of_protocol_3_closes_the_session() {
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    let request = Request::post(&session.path(), "4x").header("Content-Type", "application/octet-stream");
    let response = server.send(&request).await;
    assert_eq!((response.status, response.text()), (400, closed("malformed packet")));
    assert_eq!(session.get().await.0, 400);
}

#[tokio::test]
async fn abandoned_get_ends_the_session() {
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    drop(session.begin_get().await);
    server.metric_is("nodevent_disconnects_total{reason=\"poll_aborted\"}", 1).await;
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
}

/// The content of a truncated POST is lost, so a session that continued would have a gap.
#[tokio::test]
async fn truncated_post_ends_the_session() {
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    let mut stream = server.dial().await;
    let half = Request::post(&session.path(), "4hello").encode(&server.address);
    stream.write_all(&half[..half.len() - 3]).await.unwrap();
    drop(stream);
    server.metric_is("nodevent_disconnects_total{reason=\"post_aborted\"}", 1).await;
    assert_eq!(session.get().await, (400, error(1, "Session ID unknown")));
}

#[tokio::test]
async fn many_requests_may_share_one_connection() {
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    let mut stream = server.dial().await;
    for number in 0..50 {
        let body = format!("4{number}");
        let post = Request::post(&session.path(), body.as_str());
        let post = post.exchange(&mut stream, &server.address);
        assert_eq!(in_time("a POST", post).await.unwrap().text(), "ok");
        let get = Request::get(&session.path());
        let get = in_time("a GET", get.exchange(&mut stream, &server.address)).await.unwrap();
        assert_eq!(get.text(), body);
    }
}
