//! Pages that only look like ours, on every request that a browser can make; what is counted, and what the log says.

use crate::guarded::Guarded;
use crate::support::Request;

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
async fn a_look_alike_is_refused_on_every_transport_and_its_name_is_not_logged() {
    // N-21, X-03
    let mut server = Guarded::start(LISTED).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let open: serde_json::Value = serde_json::from_str(&server.get(path).await.text()[1..]).unwrap();
    let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let websocket = |session: &str| {
        Request::get(&format!("/socket.io/?EIO=4&transport=websocket{session}"))
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let upgrade = websocket(&session[path.len()..]);
    for origin in ALIKE {
        for (what, request) in [
            ("a session on polling", Request::get(path)),
            ("a GET", Request::get(&session)),
            ("a POST", Request::post(&session, "40/nodevent,")),
            ("a preflight", Request::new("OPTIONS", path)),
            ("a WebSocket", websocket("")),
            ("an upgrade", upgrade.clone()),
        ] {
            let response = server.send(&request.header("Origin", origin)).await;
            assert_eq!(response.status, 403, "{what} from {origin}");
            assert_eq!(response.text(), r#"{"code":4,"message":"Forbidden"}"#, "{what} from {origin}");
            assert_eq!(response.header("access-control-allow-origin"), None, "{what} from {origin}");
        }
    }
    server.counts("nodevent_rejected_origins_total", 6 * ALIKE.len() as i64).await;
    server.logs("a handshake was refused for its origin; list the page's origin under `origins` to allow it").await;
    assert!(!server.program.log().iter().any(|line| line.contains("evil")), "no words of a stranger in the log");
    assert_eq!(server.send(&Request::post(&session, "40/nodevent,")).await.text(), "ok", "the session is unharmed");
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_page_of_somebody_else_may_not_publish_through_a_browser_on_this_machine() {
    let mut server = Guarded::start(LISTED).await;
    for origin in ALIKE {
        let request = Request::post("/api/nodevent/emit", r#"{"room":"bystanders","event":"e"}"#);
        assert_eq!(server.send(&request.header("Origin", origin)).await.status, 403, "{origin}");
    }
    server.harmed_nobody_else().await;
}
