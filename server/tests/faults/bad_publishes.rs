//! Repeated publishes, invalid publishes, and publishes to other namespaces.

use crate::harness::{Fleet, Node, Publishers, Redis, sites, traffic};
use crate::support::http::Request;
use crate::support::site::Site;
use crate::support::wait::until;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The test sends the same request to three servers, ten times concurrently and ten times in sequence. It is one
/// publication, and every response carries the same position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_with_the_same_idempotency_key_is_one_publication() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(3, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(9, &sites(&nodes), "/nodevent", &["a"]).await;
    let mut taken = HashSet::new();
    let mut confirmed = Vec::new();
    for number in 1..=10_u64 {
        let sent = std::time::Instant::now();
        let requests: Vec<_> =
            (0..10).map(|index| tokio::spawn(publish(nodes[index % 3].site.clone(), number))).collect();
        let mut positions = HashSet::new();
        for response in requests {
            positions.insert(response.await.expect("a response"));
        }
        for index in 0..10 {
            positions.insert(publish(nodes[index % 3].site.clone(), number).await);
        }
        assert_eq!(positions.len(), 1, "{positions:?}");
        let position = positions.into_iter().next().expect("one");
        assert!(taken.insert(position.clone()), "another publication has {position}");
        confirmed.push(crate::harness::publisher::Confirmed {
            namespace: "/nodevent".to_owned(),
            room: "a".to_owned(),
            number,
            position: nodevent_protocol::history::Position::parse(&position),
            sent,
        });
    }
    let verdict = fleet.verdict_of(&confirmed, &nodes).await;
    assert_eq!((verdict.received, verdict.gap_notices), (90, 0), "{verdict:?}");
}

async fn publish(site: Site, number: u64) -> String {
    let message = json!({"number": number, "room": "a", "namespace": "/nodevent"});
    let body = json!({"room": "a", "event": "fact", "message": message}).to_string();
    let request = Request::post("/api/nodevent/emit", body).header("Idempotency-Key", &format!("key {number}"));
    let response = site.send(&request).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    body["positions"][0].as_str().expect("a position").to_owned()
}

/// Invalid publishes over HTTP and through Redis: the server refuses or skips each with its reason, counts it, and the
/// next publication arrives. N-26, N-27, N-28
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_publishes_are_counted_and_the_next_publication_arrives() {
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start(&redis.namespace("/nodevent", "")).await];
    let fleet = Fleet::join(5, &sites(&nodes), "/nodevent", &["a"]).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["a"]);
    let deep =
        format!(r#"{{"room":"other","event":"e","message":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let invalid = [
        ("not_json", "not json"),
        ("not_json", "{room: 'x'}"),
        ("not_json", r#"{"room":"a","event":"e""#),
        ("not_an_object", "null"),
        ("not_an_object", "42"),
        ("not_an_object", "\"a\""),
        ("no_room", r#"{"event":"e"}"#),
        ("no_room", r#"{"room":null,"event":"e"}"#),
        ("no_room", r#"{"room":"","event":"e"}"#),
        ("bad_room", r#"{"room":["a"],"event":"e"}"#),
        ("no_event", r#"{"room":"a"}"#),
        ("not_an_event", r#"{"room":"a","event":7}"#),
        ("bad_except", r#"{"room":"a","event":"e","except":"some page"}"#),
    ];
    for (reason, text) in invalid {
        let series = format!("nodevent_invalid_publishes_total{{reason=\"{reason}\"}}");
        let count = nodes[0].metric(&series).await;
        redis.publish_raw("/nodevent", text).await;
        until(&format!("{text} is skipped as {reason}"), async || nodes[0].metric(&series).await == count + 1)
            .await;
        let response = nodes[0].site.publish("/nodevent", text).await;
        assert_eq!(response.status, 400, "{text}");
        assert_eq!(nodes[0].metric(&series).await, count + 2, "{text}");
        traffic(&publishers, 1).await;
    }
    // Deep nesting within the size limit is valid.
    assert_eq!(nodes[0].site.publish("/nodevent", deep.clone()).await.status, 200);
    redis.publish_raw("/nodevent", &deep).await;
    // The server skips 20 MB from Redis. At 50 MB Redis disconnects the subscriber, whose output buffer is full, and
    // the server backfills what it misses until it is connected again. (Valkey 9 does not count messages that it need
    // not copy, and delivers them.) Over HTTP the server refuses the request as soon as it exceeds the limit.
    let large = "nodevent_invalid_publishes_total{reason=\"too_large\"}";
    let publication = |bytes| format!(r#"{{"room":"a","event":"e","message":"{}"}}"#, "x".repeat(bytes));
    redis.publish_raw("/nodevent", &publication(20_000_000)).await;
    until("20 MB are skipped", async || nodes[0].metric(large).await == 1).await;
    redis.publish_raw("/nodevent", &publication(50_000_000)).await;
    until("50 MB are skipped or not delivered", async || {
        nodes[0].metric(large).await == 2 || nodes[0].metric("nodevent_engine_disconnects_total").await > 0
    })
    .await;
    nodes[0].ready().await;
    let head = "POST /api/nodevent/emit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000000\r\n\r\n";
    let head = format!("{head}{}", "x".repeat(1_100_000));
    assert_eq!(
        crate::support::http::Response::read(&mut begun(&nodes[0].site, &head).await, false)
            .await
            .map(|response| response.status)
            .ok(),
        Some(413)
    );
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}

/// Sends the beginning of a request.
async fn begun(site: &Site, head: &str) -> Box<dyn crate::support::http::Io> {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = site.dial().await;
    stream.write_all(head.as_bytes()).await.expect("the server accepts it");
    stream
}

/// Two namespaces with a Redis each and one in memory have rooms of the same names, with traffic in all. No member
/// receives an event of another namespace, and the loss of one Redis causes gap notices in its namespace only.
/// N-05, N-30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_share_neither_rooms_nor_faults() {
    let (mut first, second) = (Redis::start(&[]).await, Redis::start(&[]).await);
    let namespaces = format!(
        "{}{}/memory: {{history: {{size: 10000}}}}\n",
        first.namespace("/first", ""),
        second.namespace("/second", "")
    );
    let nodes = Node::start_many(2, &namespaces).await;
    let (mut fleets, mut publishers) = (Vec::new(), Vec::new());
    for (index, namespace) in ["/first", "/second", "/memory"].into_iter().enumerate() {
        // The memory engine is local to one server.
        let sites = if index == 2 { sites(&nodes[..1]) } else { sites(&nodes) };
        fleets.push(Fleet::join(10, &sites, namespace, &["a", "b"]).await);
        publishers.push(Publishers::start(&sites, namespace, &["a", "b"]));
    }
    traffic(&publishers[0], 20).await;
    first.kill();
    traffic(&publishers[1], 20).await;
    traffic(&publishers[2], 20).await;
    assert!(!nodes[0].is_ready().await || publishers[0].confirmed() < publishers[1].confirmed());
    first.start_again().await;
    traffic(&publishers[0], 20).await;
    let mut notified = Vec::new();
    for (fleet, publishers) in fleets.into_iter().zip(publishers) {
        notified.push(fleet.verdict(publishers, &[]).await.members_notified);
    }
    for node in &nodes {
        node.returns_to_baseline().await;
    }
    assert_eq!(notified, [10, 0, 0]);
}
