//! Origins that resemble permitted ones, on every request that a browser can make.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::Request;
use crate::support::raw::handshake_request;

const LISTED: &str = "origins: [\"https://example.com\", \"https://*.example.org\"]\n/nodevent: {}";
const ALIKE: [&str; 10] = [
    "https://example.com.evil.tld",
    "https://evilexample.com",
    "https://example.com@evil.tld",
    "https://example.com:444",
    "http://example.com",
    "https://example.org.evil.tld",
    "https://notexample.org",
    "http://127.0.0.1.evil.tld",
    "http://127.0.0.1@evil.tld",
    "null",
];

#[tokio::test]
async fn look_alike_origin_is_refused_on_every_transport_and_logged_with_the_fix() {
    // N-21, X-03
    let mut server = ServerWithBystander::start(LISTED).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let open: serde_json::Value = serde_json::from_str(&server.get(path).await.text()[1..]).unwrap();
    let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let upgrade = handshake_request(&session[path.len()..]);
    for origin in ALIKE {
        for (what, request) in [
            ("a session on polling", Request::get(path)),
            ("a GET", Request::get(&session)),
            ("a POST", Request::post(&session, "40/nodevent,")),
            ("a preflight", Request::new("OPTIONS", path)),
            ("a WebSocket", handshake_request("")),
            ("an upgrade", upgrade.clone()),
        ] {
            let response = server.send(&request.header("Origin", origin)).await;
            assert_eq!(response.status, 403, "{what} from {origin}");
            assert_eq!(response.text(), r#"{"code":4,"message":"Forbidden"}"#, "{what} from {origin}");
            assert_eq!(response.header("access-control-allow-origin"), None, "{what} from {origin}");
        }
    }
    server.metric_is("nodevent_rejected_origins_total", 6 * ALIKE.len() as i64).await;
    assert_eq!(
        server.metric("nodevent_rejected_requests_total").await,
        0,
        "each rejection is counted in one series"
    );
    server.logs("request rejected for its origin; if the page is yours, list its origin under `origins`").await;
    for origin in ALIKE {
        let name = format!("origin={origin} ");
        server.logs(&name).await;
        let log = server.program.log();
        let lines: Vec<_> = log.iter().filter(|line| line.contains(&name)).collect();
        // Once a minute; the machine may be slow.
        assert!((1..=2).contains(&lines.len()), "{origin}: {lines:?}");
        assert!(lines[0].contains("list its origin under `origins`"), "{}", lines[0]);
    }
    assert_eq!(server.send(&Request::post(&session, "40/nodevent,")).await.text(), "ok", "the session continues");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn page_of_another_origin_cannot_publish_through_a_local_browser() {
    let mut server = ServerWithBystander::start(LISTED).await;
    for origin in ALIKE {
        let request = Request::post("/api/nodevent/emit", r#"{"room":"bystanders","event":"e"}"#);
        assert_eq!(server.send(&request.header("Origin", origin)).await.status, 403, "{origin}");
    }
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn made_up_origins_neither_fill_the_log_nor_forge_lines() {
    let mut server = ServerWithBystander::start(LISTED).await;
    let request = |origin: &str| Request::get("/socket.io/?EIO=4&transport=polling").header("Origin", origin);
    let long = format!("https://{}.example", "x".repeat(4_000));
    let forged = ["https://a.example level=error forged", "https://\u{1b}[2J.example", &long];
    for origin in forged {
        assert_eq!(server.send(&request(origin)).await.status, if origin.contains('\u{1b}') { 400 } else { 403 });
    }
    for number in 0..500 {
        assert_eq!(server.send(&request(&format!("https://made-up-{number}.example"))).await.status, 403);
    }
    server.logs("requests rejected for their origins, which are too many to list").await;
    server.bystander_is_unaffected().await;
    let log = server.program.log();
    let lines: Vec<_> = log.iter().filter(|line| line.contains("rejected for its origin")).collect();
    assert!((50..=100).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines.iter().any(|line| line.contains("origin=https://a.example?level=error?forged ")), "{lines:?}");
    assert!(lines.iter().all(|line| line.len() < 600), "{lines:?}");
}
