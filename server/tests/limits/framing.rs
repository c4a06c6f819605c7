//! Requests that a proxy and the server could understand differently. They get 400, and the connection ends.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::wait::in_time;
use crate::support::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PLAIN: &str = "/nodevent: {history: off}";

/// Sends bytes, and returns everything until the end of the connection.
async fn exchange(server: &ServerWithBystander, bytes: &[u8]) -> String {
    let mut stream = server.dial().await;
    stream.write_all(bytes).await.unwrap();
    let mut received = Vec::new();
    let _ = in_time("the end", stream.read_to_end(&mut received)).await;
    String::from_utf8(received).unwrap()
}

#[tokio::test]
async fn line_that_ends_with_lf_alone_is_refused_in_every_request_of_a_connection() {
    let mut server = ServerWithBystander::start(PLAIN).await;
    let good = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = "POST /api/nodevent/emit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n\n\n\n";
    for bad in [
        "GET /healthz HTTP/1.1\nHost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\n",
    ] {
        let received = exchange(&server, bad.as_bytes()).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{bad:?}: {received}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{bad:?}: {received}");
        // After a complete request on the same connection.
        for before in [good, post] {
            let mut stream = server.dial().await;
            stream.write_all(before.as_bytes()).await.unwrap();
            in_time("a response", Response::read(&mut stream, false)).await.unwrap();
            stream.write_all(bad.as_bytes()).await.unwrap();
            let response = in_time("a response", Response::read(&mut stream, false)).await.unwrap();
            assert_eq!(response.status, 400, "{bad:?} after {before:?}");
        }
        // In advance, before the response to the first one.
        let received = exchange(&server, format!("{good}{bad}").as_bytes()).await;
        assert!(!received.contains("200 OK") || !received.ends_with("ok\nok\n"), "{received}");
        assert!(received.matches("200 OK").count() <= 1, "the second one is never served: {received}");
    }
    assert!(server.metric("nodevent_rejected_requests_total").await > 0);
    server
        .logs("request rejected: malformed client=127.0.0.1 reason=a line of the request ends with LF alone")
        .await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn request_must_name_exactly_one_host() {
    let mut server = ServerWithBystander::start(PLAIN).await;
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: user@localhost\r\n", "400"),
        ("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n", "400"),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n", "200"),
        // A health check of a simple load balancer.
        ("GET /healthz HTTP/1.0\r\n", "200"),
    ] {
        let mut stream = server.dial().await;
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let response = in_time("a response", Response::read(&mut stream, false)).await.unwrap();
        assert_eq!(response.status.to_string(), status, "{head:?}");
    }
    server.bystander_is_unaffected().await;
}

/// A body of chunks is served, but nothing after it on the same connection: the server cannot check where it ends.
#[tokio::test]
async fn body_of_chunks_ends_its_connection() {
    let mut server = ServerWithBystander::start(PLAIN).await;
    let body = "25\r\n{\"room\":\"r\",\"event\":\"e\",\"message\":\"\n\"\r\n2\r\n}\n\r\n0\r\n\r\n";
    let head = "POST /api/nodevent/emit HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let received = exchange(&server, format!("{head}{body}{next}").as_bytes()).await;
    assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{received}");
    assert!(received.contains("connection: close"), "{received}");
    let both = "POST /api/nodevent/emit HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    assert!(exchange(&server, format!("{both}0\r\n\r\n").as_bytes()).await.starts_with("HTTP/1.1 400 "));
    let ok = Request::get("/healthz");
    assert_eq!(server.send(&ok).await.status, 200);
    server.bystander_is_unaffected().await;
}
