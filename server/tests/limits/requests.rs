//! Requests that trickle in, or are none.

use crate::guarded::Guarded;
use crate::support::wait::in_time;
use crate::support::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SLOW: &str = "limits: {handshake_timeout: 300ms}\n/nodevent: {}";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Writes `bytes`, then one more byte as often as the server takes it: nothing that a pause could end.
async fn trickle(server: &Guarded, bytes: &[u8]) -> Response {
    let mut stream = server.dial().await;
    stream.write_all(bytes).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let dripping = tokio::spawn(async move {
        let mut drops = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            drops.tick().await;
            if writing.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let read = in_time("an answer", async {
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            if !matches!(reading.read_buf(&mut answer).await, Ok(1..)) {
                break;
            }
        }
        let _ = reading.read_to_end(&mut answer).await;
    });
    read.await;
    dripping.abort();
    let whole = Response::read(&mut tokio::io::join(answer.as_slice(), tokio::io::sink()), false).await;
    whole.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer)))
}

#[tokio::test]
async fn a_head_that_trickles_in_is_told_so_and_cut() {
    //
    let mut server = Guarded::start(SLOW).await;
    let before = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nX-Long: ";
    let response = trickle(&server, before.as_bytes()).await;
    assert_eq!(response.status, 408);
    assert!(response.text().contains("head"), "{}", response.text());
    server.counts("nodevent_request_timeouts_total", 1).await;
    server.logs("a request's head did not arrive in time").await;
    server.harmed_nobody_else().await;
}

/// A browser opens connections beforehand, and keeps those it has used: that is no offence.
#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed_without_a_word() {
    let mut server = Guarded::start(SLOW).await;
    let mut silent = server.dial().await;
    let mut used = server.dial().await;
    assert_eq!(Request::get("/healthz").exchange(&mut used, &server.address).await.unwrap().status, 200);
    for stream in [&mut silent, &mut used] {
        let mut rest = Vec::new();
        in_time("the end", stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"");
    }
    assert_eq!(server.metric("nodevent_request_timeouts_total").await, 0);
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_polling_body_that_trickles_in_is_told_so_and_ends_its_session() {
    //
    let mut server = Guarded::start(SLOW).await;
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let session = format!("{POLLING}&sid={}", open["sid"].as_str().unwrap());
    let mut head = Request::post(&session, vec![b'4'; 1000]).encode(&server.address);
    head.truncate(head.len() - 900);
    let response = trickle(&server, &head).await;
    assert_eq!(response.status, 408);
    assert!(response.text().contains("the body did not arrive in time"), "{}", response.text());
    server.counts("nodevent_request_timeouts_total", 1).await;
    server.counts("nodevent_disconnects_total{reason=\"post_timeout\"}", 1).await;
    server.logs("a request's body did not arrive in time").await;
    assert_eq!(server.get(&session).await.status, 400);
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_publish_that_trickles_in_is_told_so() {
    let mut server = Guarded::start(SLOW).await;
    let mut head = Request::post("/api/nodevent/emit", vec![b'['; 1000]).encode(&server.address);
    head.truncate(head.len() - 900);
    let response = trickle(&server, &head).await;
    assert_eq!(response.status, 408);
    assert_eq!(response.json()["hint"], "send it again");
    server.counts("nodevent_request_timeouts_total", 1).await;
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    //
    let mut server = Guarded::start("/nodevent: {}").await;
    for request in [
        Request::get(POLLING).header("Cookie", &"x".repeat(20_000)),
        Request::get(&format!("{POLLING}&t={}", "x".repeat(20_000))),
    ] {
        let status = server.send(&request).await.status;
        assert!([414, 431].contains(&status), "{status}");
    }
    server.counts("nodevent_oversized_requests_total", 2).await;
    server.logs("its head is too large").await;
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    //
    let mut server = Guarded::start("/nodevent: {}").await;
    for nonsense in
        ["\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n"]
    {
        let mut stream = server.dial().await;
        stream.write_all(nonsense.as_bytes()).await.unwrap();
        let response = in_time("an answer", Response::read(&mut stream, true)).await.unwrap();
        assert_eq!(response.status, 400, "{nonsense:?}");
    }
    server.counts("nodevent_rejected_requests_total", 4).await;
    server.logs("it is not HTTP/1.1").await;
    server.harmed_nobody_else().await;
}

/// `Host` twice, lengths that contradict each other, a body in chunks that never end: what proxies have been tricked
/// with must not confuse this server about where a request ends.
#[tokio::test]
async fn a_request_whose_end_is_in_doubt_is_refused() {
    //
    let mut server = Guarded::start(SLOW).await;
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let session = format!("{POLLING}&sid={}", open["sid"].as_str().unwrap());
    for headers in [
        "Content-Length: 2\r\nContent-Length: 20\r\n\r\n3 GET /healthz",
        "Content-Length: -1\r\n\r\n3",
        "Content-Length: 18446744073709551617\r\n\r\n3",
        "Transfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n3",
    ] {
        let mut stream = server.dial().await;
        let head = format!("POST {session} HTTP/1.1\r\nHost: x\r\n{headers}");
        stream.write_all(head.as_bytes()).await.unwrap();
        let response = in_time("an answer", Response::read(&mut stream, true)).await.unwrap();
        assert_eq!(response.status, 400, "{headers:?}");
    }
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_tls_handshake_that_trickles_in_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let place = folder.path().display();
    let listen =
        format!("listen: [{{bind: 127.0.0.1, port: 0, ssl: {{cert: {place}/cert.pem, key: {place}/key.pem}}}}]");
    let mut server = Guarded::start(&format!("{listen}\n{SLOW}")).await;
    let secure = server.logs("listening url=https://").await;
    let address = secure.split_once("https://").unwrap().1.trim().trim_end_matches('/');
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let mut rest = Vec::new();
    let _ = in_time("the end", stream.read_to_end(&mut rest)).await;
    server.counts("nodevent_request_timeouts_total", 1).await;
    server.logs("a TLS handshake was not finished in time").await;
    server.harmed_nobody_else().await;
}
