//! Which pages may connect: the origin is checked on every request of every transport.

use crate::support::{Browser, Request, TestServer, Transport};

const CONFIGURATION: &str = "origins: [\"https://www.example.com\", \"https://*.example.org\"]\n/nodevent: {}";
const ADMITTED: [&str; 5] = [
    "http://127.0.0.1",
    "http://127.0.0.1:3000",
    "https://127.0.0.1:8443",
    "https://www.example.com",
    "https://shop.example.org",
];
const REFUSED: [&str; 7] = [
    "https://evil.example",
    "http://www.example.com",
    "https://www.example.com:8443",
    "https://www.example.com.evil.example",
    "https://example.org",
    "null",
    "http://localhost",
];

#[tokio::test]
async fn pages_of_the_same_host_and_those_listed_may_connect_and_others_may_not() {
    // N-21
    let server = TestServer::start(CONFIGURATION).await;
    for transport in Transport::BOTH {
        for origin in ADMITTED {
            let opened = Browser::try_open(&server, transport, &[("Origin", origin)]).await;
            let mut browser = opened.unwrap_or_else(|response| panic!("{origin}: {}", response.status));
            browser.enter("/nodevent").await.expect("the namespace lets it in");
            browser.join("r").await;
        }
        for origin in REFUSED {
            let Err(response) = Browser::try_open(&server, transport, &[("Origin", origin)]).await else {
                panic!("{origin} was let in over {transport:?}");
            };
            assert_eq!(response.status, 403, "{origin}");
            assert_eq!(response.header("access-control-allow-origin"), None, "{origin}");
        }
    }
    let refused = 2 * REFUSED.len() as i64;
    assert_eq!(server.metric("nodevent_rejected_origins_total").await, refused);
}

#[tokio::test]
async fn a_page_on_a_polling_session_is_checked_on_each_of_its_requests() {
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
    // The browser must be told that its page may read the answer.
    let origin = "https://www.example.com";
    let answers = [server.send(&post(origin)).await, server.send(&get(origin)).await];
    for answer in answers {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
}

#[tokio::test]
async fn a_browser_that_asks_beforehand_is_told_who_may() {
    // N-21
    let server = TestServer::start(CONFIGURATION).await;
    let ask = |origin| {
        Request::new("OPTIONS", "/socket.io/?EIO=4&transport=polling")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type")
    };
    let allowed = server.send(&ask("https://shop.example.org")).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://shop.example.org"));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!(server.send(&ask("https://evil.example")).await.status, 403);
}

#[tokio::test]
async fn every_page_may_connect_where_the_operator_says_so() {
    let server = TestServer::start("origins: [\"*\"]\n/nodevent: {}").await;
    for transport in Transport::BOTH {
        for origin in ["https://anything.example", "null"] {
            assert!(Browser::try_open(&server, transport, &[("Origin", origin)]).await.is_ok(), "{origin}");
        }
    }
}
