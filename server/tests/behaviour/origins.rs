//! Which pages may connect: the origin is checked on every request of every transport.

use crate::support::{Browser, Request, TestServer, Transport};

const CONFIGURATION: &str = "origins: [\"https://www.example.com\", \"https://*.example.org\"]\n/nodevent: {}";
const ADMITTED: [&str; 7] = [
    // The names of this machine are one host: Puma prints 127.0.0.1, and the server is at localhost.
    "http://localhost",
    "http://localhost:3000",
    "http://127.0.0.1",
    "http://127.0.0.1:3000",
    "https://127.0.0.1:8443",
    "https://www.example.com",
    "https://shop.example.org",
];
const REFUSED: [&str; 6] = [
    "https://evil.example",
    "http://www.example.com",
    "https://www.example.com:8443",
    "https://www.example.com.evil.example",
    "https://example.org",
    "null",
];

#[tokio::test]
async fn pages_of_the_same_host_and_listed_origins_may_connect() {
    // N-21
    let server = TestServer::start(CONFIGURATION).await;
    for transport in Transport::BOTH {
        for origin in ADMITTED {
            let opened = Browser::try_open(&server, transport, &[("Origin", origin)]).await;
            let mut browser = opened.unwrap_or_else(|response| panic!("{origin}: {}", response.status));
            browser.enter("/nodevent").await.expect("the namespace admits it");
            browser.join("r").await;
        }
        for origin in REFUSED {
            let Err(response) = Browser::try_open(&server, transport, &[("Origin", origin)]).await else {
                panic!("{origin} was admitted over {transport:?}");
            };
            assert_eq!(response.status, 403, "{origin}");
            assert_eq!(response.header("access-control-allow-origin"), None, "{origin}");
        }
    }
    let refused = 2 * REFUSED.len() as i64;
    assert_eq!(server.metric("nodevent_rejected_origins_total").await, refused);
}

#[tokio::test]
async fn origin_is_checked_on_every_request_of_a_polling_session() {
    // N-21
    let server = TestServer::start(CONFIGURATION).await;
    let open = server.get("/socket.io/?EIO=4&transport=polling").await;
    let handshake: serde_json::Value = serde_json::from_str(&open.text()[1..]).unwrap();
    let session = format!("/socket.io/?EIO=4&transport=polling&sid={}", handshake["sid"].as_str().unwrap());
    let post = |origin| Request::post(&session, "40/nodevent,").header("Origin", origin);
    let get = |origin| Request::get(&session).header("Origin", origin);
    for origin in REFUSED {
        assert_eq!(server.send(&post(origin)).await.status, 403, "{origin}");
        assert_eq!(server.send(&get(origin)).await.status, 403, "{origin}");
    }
    // The browser needs headers that permit its page to read the response.
    let origin = "https://www.example.com";
    let responses = [server.send(&post(origin)).await, server.send(&get(origin)).await];
    for response in responses {
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin"), Some(origin));
        assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    }
}

#[tokio::test]
async fn preflight_request_returns_the_permitted_origin() {
    // N-21
    let server = TestServer::start(CONFIGURATION).await;
    let preflight = |origin| {
        Request::new("OPTIONS", "/socket.io/?EIO=4&transport=polling")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type")
    };
    let allowed = server.send(&preflight("https://shop.example.org")).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://shop.example.org"));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        Some("authorization, content-type, idempotency-key")
    );
    assert_eq!(server.send(&preflight("https://evil.example")).await.status, 403);
}

#[tokio::test]
async fn every_page_may_connect_if_the_operator_permits_it() {
    let server = TestServer::start("origins: [\"*\"]\n/nodevent: {}").await;
    for transport in Transport::BOTH {
        for origin in ["https://anything.example", "null"] {
            assert!(Browser::try_open(&server, transport, &[("Origin", origin)]).await.is_ok(), "{origin}");
        }
    }
}

/// Pages without a host of the web: sandboxed frames, files, app shells and extensions. Each kind is allowed only by an
/// entry of its own.
#[tokio::test]
async fn pages_of_app_shells_files_and_extensions_may_connect_if_they_are_listed() {
    let kinds = ["null", "file://", "capacitor://localhost", "ionic://localhost", "chrome-extension://abcdefgh"];
    let unlisted = TestServer::start("/nodevent: {}").await;
    for kind in kinds {
        let listed = TestServer::start(&format!("origins: [\"{kind}\"]\n/nodevent: {{}}")).await;
        for transport in Transport::BOTH {
            let opened = Browser::try_open(&listed, transport, &[("Origin", kind)]).await;
            assert!(opened.is_ok(), "{kind} is listed, and rejected over {transport:?}");
            let opened = Browser::try_open(&unlisted, transport, &[("Origin", kind)]).await;
            assert_eq!(opened.err().map(|response| response.status), Some(403), "{kind} is not listed");
        }
        for other in kinds.iter().filter(|other| **other != kind) {
            let opened = Browser::try_open(&listed, Transport::WebSocket, &[("Origin", *other)]).await;
            assert!(opened.is_err(), "{kind} allows {other}");
        }
    }
}
