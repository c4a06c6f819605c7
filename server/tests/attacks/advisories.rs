//! What ended or stopped other servers of this field, as their security advisories describe it. SECURITY.md lists the
//! advisories. Each input gets an end of its own, and a browser that is connected meanwhile does not notice it.

use crate::support::http::Io;
use crate::support::raw::Raw;
use crate::support::wait::in_time;
use crate::support::{Browser, PLAIN, Site, TestServer, Transport};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The longest time that the server may need for one of the inputs that took others exponential or quadratic time. The
/// machine may be loaded.
const LINEAR: Duration = Duration::from_secs(5);

async fn is_served(server: &TestServer, browser: &mut Browser, after: &str) {
    server.emit("/nodevent", "r", "e", json!(after)).await;
    assert_eq!(browser.next_publication().await.message, json!(after));
}

/// Sends bytes on a new connection, and returns what comes until the end or the first response.
async fn response(site: &Site, bytes: &[u8]) -> String {
    let mut stream: Box<dyn Io> = site.dial().await;
    // The server may have closed it before everything is sent.
    let _ = in_time("a request is sent", stream.write_all(bytes)).await;
    let mut received = vec![0; 4096];
    let length = in_time("a response or the end", stream.read(&mut received)).await.unwrap_or(0);
    String::from_utf8_lossy(&received[..length]).into_owned()
}

fn handshake(more: &str) -> Vec<u8> {
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    format!("{head}{more}\r\n").into_bytes()
}

#[tokio::test]
async fn handshakes_and_requests_of_published_advisories_affect_no_other_client() {
    let server = TestServer::start(PLAIN).await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    let many = |count: usize| (0..count).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
    let spaces = " ".repeat(12_000);
    let escapes = "\\\"".repeat(6_000);
    let get = |query: &str| format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    let post = |more: &str, body: &str| {
        format!("POST /socket.io/?EIO=4&transport=polling&sid=none HTTP/1.1\r\nHost: localhost\r\n{more}\r\n{body}")
            .into_bytes()
    };
    // The advisory, the input, and how the response begins. An empty one is also the end of the connection.
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("ws CVE-2024-37890: headers without end", handshake(&many(2_000)), &["HTTP/1.1 4"]),
        (
            "tungstenite CVE-2023-43669: a long handshake",
            handshake(&format!("X: {}\r\n", "a".repeat(200_000))),
            &["HTTP/1.1 4", ""],
        ),
        (
            "ws CVE-2021-32640: blanks in the subprotocol",
            handshake(&format!("Sec-WebSocket-Protocol: a,{spaces}b\r\n")),
            &["HTTP/1.1 101"],
        ),
        (
            "websocket-extensions CVE-2020-7662 and CVE-2020-7663: an unclosed text in an extension",
            handshake(&format!("Sec-WebSocket-Extensions: a; b=\"{escapes}\r\n")),
            &["HTTP/1.1 101"],
        ),
        (
            "ws CVE-2016-10542, permessage-deflate: compression is not accepted",
            handshake("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            &["HTTP/1.1 101"],
        ),
        ("engine.io CVE-2022-41940: an unknown transport", get("EIO=4&transport=websocket"), &["HTTP/1.1 4"]),
        (
            "engine.io CVE-2022-21676: a parameter that is listed twice",
            get("EIO=4&transport=polling&EIO=5&transport=__proto__"),
            &["HTTP/1.1 "],
        ),
        (
            "engine.io CVE-2023-31125: a session that does not exist",
            get("EIO=4&transport=polling&sid=__proto__"),
            &["HTTP/1.1 4"],
        ),
        (
            "engine.io CVE-2020-36048: a body that is announced as 4 GB",
            post("Content-Length: 4294967296\r\n", "4"),
            &["HTTP/1.1 4"],
        ),
        ("hyper CVE-2021-32715: a signed length", post("Content-Length: +1\r\n", "4"), &["HTTP/1.1 4", ""]),
        (
            "hyper CVE-2021-21299: two encodings",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
            &["HTTP/1.1 4", ""],
        ),
        (
            "hyper CVE-2021-32714: a chunk that overflows",
            post("Transfer-Encoding: chunked\r\n", "f0000000000000003\r\nabc\r\n0\r\n\r\n"),
            &["HTTP/1.1 4", ""],
        ),
    ];
    for (name, bytes, beginnings) in cases {
        let began = Instant::now();
        let text = response(&server, &bytes).await;
        assert!(
            beginnings.iter().any(|one| text.starts_with(one) && one.is_empty() == text.is_empty()),
            "{name}: {text}"
        );
        assert!(!text.to_ascii_lowercase().contains("sec-websocket-extensions"), "{name}: {text}");
        assert!(began.elapsed() < LINEAR, "{name}: {:?}", began.elapsed());
        is_served(&server, &mut browser, name).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn packets_of_published_advisories_affect_no_other_client() {
    // X-03
    let server = TestServer::start(PLAIN).await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    let nested = format!("42/nodevent,{}", "[".repeat(30_000));
    for (name, packet) in [
        ("socket.io-parser CVE-2020-36049: digits without end", format!("42{}", "9".repeat(60_000))),
        (
            "socket.io-parser CVE-2022-2421: an index that is no number",
            "451-/nodevent,[\"e\",{\"_placeholder\":true,\"num\":\"splice\"}]".into(),
        ),
        (
            "socket.io-parser CVE-2023-32695: an event name that is an object",
            "42/nodevent,[{\"toString\":\"foo\"}]".into(),
        ),
        (
            "socket.io-parser, March 2026: attachments without end",
            "4565535-/nodevent,[\"e\",{\"_placeholder\":true,\"num\":0}]".into(),
        ),
        ("socket.io CVE-2024-38355: the event `error`", "42/nodevent,[\"error\"]".into()),
        ("the name of a method of objects", "42/nodevent,[\"__proto__\",{\"constructor\":1}]".into()),
        ("nested arrays", nested),
    ] {
        let mut raw = Raw::connected(&server, "/nodevent").await;
        raw.send_text(&packet).await;
        is_served(&server, &mut browser, name).await;
    }
    server.stop().await;
}
