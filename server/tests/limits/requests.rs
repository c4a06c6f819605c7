//! Slow, oversized and invalid requests.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::wait::in_time;
use crate::support::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SLOW: &str = "limits: {request_timeout: 300ms}\n/nodevent: {}";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Writes `bytes`, and then one more byte every 50 ms, so that no idle timeout applies. Returns the response.
async fn trickle(server: &ServerWithBystander, bytes: &[u8]) -> Response {
    let mut stream = server.dial().await;
    stream.write_all(bytes).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let writer = tokio::spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            tick.tick().await;
            if writing.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    let mut received = Vec::new();
    let read = in_time("a response", async {
        while !received.windows(4).any(|four| four == b"\r\n\r\n") {
            if !matches!(reading.read_buf(&mut received).await, Ok(1..)) {
                break;
            }
        }
        let _ = reading.read_to_end(&mut received).await;
    });
    read.await;
    writer.abort();
    let whole = Response::read(&mut tokio::io::join(received.as_slice(), tokio::io::sink()), false).await;
    whole.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&received)))
}

#[tokio::test]
async fn slow_request_header_gets_408_and_is_closed() {
    //
    let mut server = ServerWithBystander::start(SLOW).await;
    let before = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nX-Long: ";
    let response = trickle(&server, before.as_bytes()).await;
    assert_eq!(response.status, 408);
    assert!(response.text().contains("header"), "{}", response.text());
    server.metric_is("nodevent_request_timeouts_total", 1).await;
    server.logs("request rejected: its header did not arrive in time").await;
    server.bystander_is_unaffected().await;
}

/// Browsers open connections in advance and keep used ones open, so the server closes them without counting an error.
#[tokio::test]
async fn connection_without_a_request_is_closed_silently() {
    let limits = "limits: {request_timeout: 300ms, keep_alive_timeout: 300ms}\n/nodevent: {}";
    let mut server = ServerWithBystander::start(limits).await;
    let mut unused = server.dial().await;
    let mut used = server.dial().await;
    assert_eq!(Request::get("/healthz").exchange(&mut used, &server.address).await.unwrap().status, 200);
    for stream in [&mut unused, &mut used] {
        let mut rest = Vec::new();
        in_time("the end", stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"");
    }
    assert_eq!(server.metric("nodevent_request_timeouts_total").await, 0);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn slow_polling_body_gets_408_and_ends_its_session() {
    //
    let mut server = ServerWithBystander::start(SLOW).await;
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let session = format!("{POLLING}&sid={}", open["sid"].as_str().unwrap());
    let mut head = Request::post(&session, vec![b'4'; 1000]).encode(&server.address);
    head.truncate(head.len() - 900);
    let response = trickle(&server, &head).await;
    assert_eq!(response.status, 408);
    assert!(response.text().contains("the body did not arrive in time"), "{}", response.text());
    server.metric_is("nodevent_request_timeouts_total", 1).await;
    server.metric_is("nodevent_disconnects_total{reason=\"post_timeout\"}", 1).await;
    server.logs("request rejected: its body did not arrive in time").await;
    assert_eq!(server.get(&session).await.status, 400);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn slow_publish_body_gets_408() {
    let mut server = ServerWithBystander::start(SLOW).await;
    let mut head = Request::post("/api/nodevent/emit", vec![b'['; 1000]).encode(&server.address);
    head.truncate(head.len() - 900);
    let response = trickle(&server, &head).await;
    assert_eq!(response.status, 408);
    assert_eq!(response.json()["hint"], "retry the request");
    server.metric_is("nodevent_request_timeouts_total", 1).await;
    assert_eq!(
        server.metric("nodevent_rejected_requests_total").await,
        0,
        "each rejection is counted in one series"
    );
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn oversized_request_header_is_refused() {
    //
    let mut server = ServerWithBystander::start("/nodevent: {}").await;
    for request in [
        Request::get(POLLING).header("Cookie", &"x".repeat(20_000)),
        Request::get(&format!("{POLLING}&t={}", "x".repeat(20_000))),
    ] {
        let status = server.send(&request).await.status;
        assert!([414, 431].contains(&status), "{status}");
    }
    server.metric_is("nodevent_oversized_requests_total", 2).await;
    server.logs("header too large").await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    //
    let mut server = ServerWithBystander::start("/nodevent: {}").await;
    for bytes in
        ["\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n"]
    {
        let mut stream = server.dial().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let response = in_time("a response", Response::read(&mut stream, true)).await.unwrap();
        assert_eq!(response.status, 400, "{bytes:?}");
    }
    server.metric_is("nodevent_rejected_requests_total", 4).await;
    server.logs("not HTTP/1.1").await;
    server.bystander_is_unaffected().await;
}

/// Contradictory or invalid lengths, as in request smuggling, must not confuse the server about the end of a request.
#[tokio::test]
async fn request_with_an_ambiguous_length_is_refused() {
    //
    let mut server = ServerWithBystander::start(SLOW).await;
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
        let response = in_time("a response", Response::read(&mut stream, true)).await.unwrap();
        assert_eq!(response.status, 400, "{headers:?}");
    }
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn slow_tls_handshake_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let place = folder.path().display();
    let listen =
        format!("listen: [{{bind: 127.0.0.1, port: 0, ssl: {{cert: {place}/cert.pem, key: {place}/key.pem}}}}]");
    let mut server = ServerWithBystander::start(&format!("{listen}\n{SLOW}")).await;
    let secure = server.logs("listening url=https://").await;
    let address = secure.split_once("https://").unwrap().1.trim().trim_end_matches('/');
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let mut rest = Vec::new();
    let _ = in_time("the end", stream.read_to_end(&mut rest)).await;
    server.metric_is("nodevent_request_timeouts_total", 1).await;
    server.logs("TLS handshake timed out").await;
    server.bystander_is_unaffected().await;
}
