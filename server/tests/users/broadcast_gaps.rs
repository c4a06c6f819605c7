//! A gap in what was published to all connections concerns those that have asked for it.

use crate::support::{Browser, RedisServer, TestServer, Transport};
use serde_json::json;

#[tokio::test]
async fn after_a_redis_that_lost_its_data_only_connections_that_asked_for_publications_to_all_are_notified() {
    let mut redis = RedisServer::start().await;
    let written = format!("/n: {{open: true, redis: \"{}\"}}\n", redis.url());
    let server = TestServer::start(&written).await;
    server.ready().await;
    let mut asks = Browser::connect(&server, "/n", Transport::WebSocket).await;
    let mut others = Vec::new();
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/n", transport).await;
        browser.join("r").await;
        others.push(browser);
    }
    assert_eq!(asks.call("join", &[json!({"broadcast": true})]).await[1], true);
    let publish = async |message: u32| {
        let body = json!({"broadcast": true, "event": "e", "message": message}).to_string();
        let response = server.send(&crate::support::Request::post("/api/n/emit", body)).await;
        assert_eq!(response.status, 200, "{}", response.text());
    };
    publish(1).await;
    assert_eq!(asks.next_event().await.message, 1);
    redis.stop();
    redis.start_again().await;
    server.ready().await;
    publish(2).await;
    let lost = asks.next_notice().await;
    assert_eq!((&lost[0], &lost[1]["broadcast"]), (&json!("lost"), &json!(true)), "{lost}");
    assert_eq!(asks.next_publication().await.message, 2);
    for browser in &mut others {
        for message in [1, 2] {
            assert_eq!(browser.next_publication().await.message, message);
        }
        // The notice would have come before the second publication. The one of the room is not about all.
        browser.leave("r").await;
        while let Some(notice) = browser.deferred_notice() {
            assert!(notice[1].get("broadcast").is_none(), "{notice}");
        }
    }
}
