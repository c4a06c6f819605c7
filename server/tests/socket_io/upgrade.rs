//! Upgrades from long-polling to WebSocket, packet by packet.

use crate::session::{Session, engine_echo, error};
use crate::support::raw::{End, PING, PONG, Raw, TEXT, last};
use crate::support::wait::until;
use crate::support::{Request, TestServer};
use tokio::io::AsyncWriteExt as _;

async fn probed(server: &TestServer) -> (Session, Raw) {
    let session = Session::open(server).await;
    let mut raw = Raw::open(server, &format!("&sid={}", session.sid)).await;
    raw.send_text("2probe").await;
    assert_eq!(raw.text().await, "3probe");
    (session, raw)
}

async fn upgraded(server: &TestServer) -> (Session, Raw) {
    let (session, mut raw) = probed(server).await;
    raw.send_text("5").await;
    raw.send_text("4there").await;
    assert_eq!(raw.text().await, "4there");
    (session, raw)
}

fn refused() -> End {
    End::Closed(Some(1008), "session already upgraded or closed".to_owned())
}

/// The limits of a connection count what its probe sends.
#[tokio::test]
async fn probe_that_sends_too_much_closes_its_session() {
    let server = engine_echo("limits: {packets_per_second: 10}").await;
    let (session, mut raw) = probed(&server).await;
    for _ in 0..100 {
        if raw.try_send(last(PING, "")).await.is_none() {
            break;
        }
    }
    until("the session is closed", async || session.get().await.0 == 400).await;
    server.metric_is("nodevent_disconnects_total{reason=\"packet_rate\"}", 1).await;
}

#[tokio::test]
async fn get_between_probe_and_upgrade_is_released_with_a_noop() {
    //
    let server = engine_echo("").await;
    let (session, mut raw) = probed(&server).await;
    assert_eq!(session.get().await, (200, "6".to_owned()));
    raw.send([last(TEXT, "5"), last(TEXT, "4hello")].concat()).await;
    assert_eq!(raw.text().await, "4hello", "also in one write with the last packet of the upgrade");
}

#[tokio::test]
async fn waiting_get_is_released_when_the_probe_is_answered() {
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    let waiting = session.begin_get().await;
    let mut raw = Raw::open(&server, &format!("&sid={}", session.sid)).await;
    raw.send_text("2probe").await;
    assert_eq!(raw.text().await, "3probe");
    assert_eq!(waiting.response().await, (200, "6".to_owned()));
}

#[tokio::test]
async fn packets_queued_for_the_next_get_arrive_over_the_websocket() {
    let server = engine_echo("").await;
    let (session, mut raw) = probed(&server).await;
    assert_eq!(session.post("4one\u{1e}bAQID\u{1e}4two").await.0, 200);
    raw.send_text("5").await;
    assert_eq!(raw.text().await, "4one");
    assert_eq!(raw.frame().await.unwrap().payload, [1, 2, 3]);
    assert_eq!(raw.text().await, "4two");
}

/// The upgrade is sent before the GET, so it takes effect first, however the two connections are scheduled.
#[tokio::test]
async fn get_after_the_upgrade_is_a_bad_request_and_the_session_continues() {
    //
    let server = engine_echo("").await;
    for _ in 0..30 {
        let session = Session::open(&server).await;
        let mut raw = Raw::open(&server, &format!("&sid={}", session.sid)).await;
        raw.send([last(TEXT, "2probe"), last(TEXT, "5")].concat()).await;
        assert_eq!(session.get().await, (400, error(3, "Bad request")));
        assert_eq!(session.post("4x").await, (400, error(3, "Bad request")));
        raw.send_text("4hello").await;
        assert_eq!(raw.text().await, "3probe");
        assert_eq!(raw.text().await, "4hello");
    }
}

#[tokio::test]
async fn second_websocket_is_refused_and_the_session_continues() {
    //
    let server = engine_echo("").await;
    let (session, mut raw) = upgraded(&server).await;
    let mut second = Raw::open(&server, &format!("&sid={}", session.sid)).await;
    assert_eq!(second.ended().await, refused());
    let (session, _probing) = probed(&server).await;
    let mut second = Raw::open(&server, &format!("&sid={}", session.sid)).await;
    assert_eq!(second.ended().await, refused());
    raw.send_text("4hello").await;
    assert_eq!(raw.text().await, "4hello");
}

#[tokio::test]
async fn session_that_began_on_websocket_accepts_no_upgrade() {
    let server = engine_echo("").await;
    let mut raw = Raw::open(&server, "").await;
    let open: serde_json::Value = serde_json::from_str(&raw.text().await[1..]).unwrap();
    let session = format!("&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(Raw::open(&server, &session).await.ended().await, refused());
    let path = format!("/socket.io/?EIO=4&transport=polling{session}");
    for request in [Request::get(&path), Request::post(&path, "4x")] {
        assert_eq!(server.send(&request).await.text(), error(3, "Bad request"));
    }
    raw.send_text("4hello").await;
    assert_eq!(raw.text().await, "4hello");
}

#[tokio::test]
async fn probing_websocket_with_an_error_is_closed_and_its_session_continues() {
    let server = engine_echo("").await;
    for (sent, code, reason) in [
        (last(TEXT, "4early"), 1008, "malformed packet"),
        (last(TEXT, "2"), 1008, "malformed packet"),
        (last(TEXT, "abc"), 1008, "malformed packet"),
        (last(TEXT, "5"), 1008, "malformed packet"),
        (vec![0xf1, 0x80, 0, 0, 0, 0], 1002, "reserved_bits"),
    ] {
        let session = Session::open(&server).await;
        let mut raw = Raw::open(&server, &format!("&sid={}", session.sid)).await;
        raw.send(&sent).await;
        assert_eq!(raw.ended().await, End::Closed(Some(code), reason.to_owned()), "{sent:?}");
        assert_eq!(session.post("4alive").await.0, 200);
        assert_eq!(session.get().await, (200, "4alive".to_owned()));
        let mut again = Raw::open(&server, &format!("&sid={}", session.sid)).await;
        again.send_text("2probe").await;
        assert_eq!(again.text().await, "3probe", "another upgrade is possible");
    }
}

#[tokio::test]
async fn probing_websocket_answers_websocket_pings_and_closes() {
    let server = engine_echo("").await;
    let (session, mut raw) = probed(&server).await;
    raw.send(last(PING, "there?")).await;
    let pong = raw.frame().await.unwrap();
    assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, &b"there?"[..]));
    raw.send(crate::support::raw::close(1001, "never mind")).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1001), String::new()));
    assert_eq!(session.post("4alive").await.0, 200);
}

#[tokio::test]
async fn session_that_ends_closes_its_probing_websocket() {
    let server = engine_echo("").await;
    let (session, mut raw) = probed(&server).await;
    assert_eq!(session.post("1").await.0, 200);
    assert_eq!(raw.ended().await, End::Closed(Some(1001), "the session has ended".to_owned()));
}

/// The browser requests the upgrade and disconnects before the response. The session must not wait for that WebSocket.
#[tokio::test]
async fn upgrade_without_a_socket_is_forgotten() {
    let server = engine_echo("limits: {request_timeout: 200ms}").await;
    let session = Session::open(&server).await;
    let handshake = crate::support::raw::handshake(&server.address, &format!("&sid={}", session.sid));
    for _ in 0..20 {
        let mut stream = server.dial().await;
        stream.write_all(&handshake).await.unwrap();
        drop(stream);
    }
    until("an upgrade succeeds", async || {
        let mut raw = Raw::open(&server, &format!("&sid={}", session.sid)).await;
        raw.send_text("2probe").await;
        raw.frame().await.is_some_and(|frame| frame.payload == b"3probe")
    })
    .await;
}
