//! What the admin listener returns to Prometheus.

use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use serde_json::json;

/// X-06: times are measured, and both text formats are complete.
#[tokio::test]
async fn times_of_publications_are_histograms_in_both_formats() {
    let server = TestServer::start("shards: 1\n/nodevent: {}\n").await;
    let mut first = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    first.join("r").await;
    for number in 0..3 {
        server.emit("/nodevent", "r", "e", json!(number)).await;
        first.next_publication().await;
    }
    server.metric_is("nodevent_publish_to_write_seconds_count", 3).await;
    server.metric_is("nodevent_delivery_seconds_count", 3).await;
    server.metric_is("nodevent_delivery_seconds_bucket{le=\"+Inf\"}", 3).await;
    let plain = server.admin.get("/metrics").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5";
    let open = server.admin.send(&Request::get("/metrics").header("accept", accept)).await;
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = open.text();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE nodevent_publications counter\nnodevent_publications_total 3\n"), "{text}");
    // The buckets of a histogram never decrease, and its sum is that of three times.
    let buckets: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("nodevent_delivery_seconds_bucket{")?.split(' ').nth(1)?.parse().ok())
        .collect();
    assert!(buckets.len() > 10 && buckets.is_sorted(), "{buckets:?}");
    let sum = text.lines().find_map(|line| line.strip_prefix("nodevent_delivery_seconds_sum ")).unwrap();
    assert!(sum.parse::<f64>().unwrap() > 0.0, "{sum}");
}

/// X-06: the time of a join that reads the history in Redis is measured, once for each of them. A join that needs no read is
/// none.
#[tokio::test]
async fn times_of_recoveries_from_redis_are_measured() {
    let redis = RedisServer::start().await;
    let settings = format!("shards: 1\n/nodevent: {{redis: \"{}\"}}\n", redis.url());
    let server = TestServer::start(&settings).await;
    server.ready().await;
    let count = "nodevent_recovery_seconds_count";
    assert_eq!(server.metric(count).await, 0);
    for number in 1..=5 {
        server.emit("/nodevent", "r", "e", number).await;
    }
    let history = server.get("/api/nodevent/rooms/r/history").await.json();
    let first = history["publications"][0]["position"].as_str().unwrap().to_owned();
    for joins in 1..=3 {
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        let ack = browser.call("join", &[json!({"room": "r", "since": first})]).await;
        assert_eq!((&ack[0], &ack[1]), (&json!(null), &json!(true)), "{ack}");
        for number in 2..=5 {
            assert_eq!(browser.next_publication().await.message, number);
        }
        server.metric_is(count, joins).await;
        // Without a member, the server forgets the room: the next join reads it again.
        browser.close().await;
        server.metric_is("nodevent_rooms", 0).await;
    }
    server.metric_is("nodevent_recovery_seconds_bucket{le=\"+Inf\"}", 3).await;
    let text = server.admin.get("/metrics").await.text();
    let sum = text.lines().find_map(|line| line.strip_prefix("nodevent_recovery_seconds_sum ")).unwrap();
    assert!(sum.parse::<f64>().unwrap() > 0.0, "{sum}");
    let memory = TestServer::start("/nodevent: {}\n").await;
    let mut browser = Browser::connect(&memory, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    assert_eq!(memory.metric(count).await, 0, "the memory engine needs no read");
}
