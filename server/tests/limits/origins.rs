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
async fn look_alike_origin_is_refused_on_every_transport_and_not_logged() {
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
    server.logs("request rejected for its origin; list the page's origin under `origins` to allow it").await;
    assert!(!server.program.log().iter().any(|line| line.contains("evil")), "no origin is in the log");
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
