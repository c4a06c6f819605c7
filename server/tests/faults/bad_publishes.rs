//! Publishes that come twice, or are poison, or belong somewhere else.

use crate::harness::{Crowd, Node, Publishers, Redis, sites, traffic};
use crate::support::http::Request;
use crate::support::site::Site;
use crate::support::wait::until;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The same request, ten times at once and ten times one after the other, to three servers: it is one publication, and
/// every answer names the same position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_is_sent_many_times_is_one_publication() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(3, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(9, &sites(&nodes), "/nodevent", &["a"]).await;
    let mut answers = HashSet::new();
    let mut confirmed = Vec::new();
    for number in 1..=10_u64 {
        let sent = std::time::Instant::now();
        let asked: Vec<_> =
            (0..10).map(|index| tokio::spawn(publish(nodes[index % 3].site.clone(), number))).collect();
        let mut positions = HashSet::new();
        for answer in asked {
            positions.insert(answer.await.expect("an answer"));
        }
        for index in 0..10 {
            positions.insert(publish(nodes[index % 3].site.clone(), number).await);
        }
        assert_eq!(positions.len(), 1, "{positions:?}");
        let position = positions.into_iter().next().expect("one");
        assert!(answers.insert(position.clone()), "another publication has {position}");
        confirmed.push(crate::harness::publisher::Confirmed {
            namespace: "/nodevent".to_owned(),
            room: "a".to_owned(),
            number,
            position: nodevent_protocol::history::Position::parse(&position),
            sent,
        });
    }
    let verdict = crowd.verdict_of(&confirmed, &nodes).await;
    assert_eq!((verdict.heard, verdict.told), (90, 0), "{verdict:?}");
}

async fn publish(site: Site, number: u64) -> String {
    let message = json!({"number": number, "room": "a", "namespace": "/nodevent"});
    let body = json!({"room": "a", "event": "fact", "message": message}).to_string();
    let request = Request::post("/api/nodevent/emit", body).header("Idempotency-Key", &format!("key {number}"));
    let answer = site.send(&request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    answer["positions"][0].as_str().expect("a position").to_owned()
}

/// Everything that is no publication, on both ways in: it is refused or skipped with its reason, counted, and neither the
/// next publication nor the server's memory is any the worse for it. N-26, N-27, N-28
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_skipped_and_counted_and_the_next_publication_arrives() {
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start(&redis.namespace("/nodevent", "")).await];
    let crowd = Crowd::join(5, &sites(&nodes), "/nodevent", &["a"]).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["a"]);
    let deep =
        format!(r#"{{"room":"other","event":"e","message":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let poison = [
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
    ];
    for (reason, text) in poison {
        let series = format!("nodevent_invalid_publishes_total{{reason=\"{reason}\"}}");
        let count = nodes[0].metric(&series).await;
        redis.shout("/nodevent", text).await;
        until(&format!("{text} is skipped as {reason}"), async || nodes[0].metric(&series).await == count + 1)
            .await;
        let answer = nodes[0].site.publish("/nodevent", text).await;
        assert_eq!(answer.status, 400, "{text}");
        assert_eq!(nodes[0].metric(&series).await, count + 2, "{text}");
        traffic(&publishers, 1).await;
    }
    // Nested as deep as the limit lets it be: fine.
    assert_eq!(nodes[0].site.publish("/nodevent", deep.clone()).await.status, 200);
    redis.shout("/nodevent", &deep).await;
    // 20 MB from Redis are skipped. Of 50 MB Redis says itself that it is too much for a subscriber, and cuts the link;
    // what is missed until it stands again is mended. (Valkey 9 does not count what it need not copy, and hands it
    // over.) Over HTTP it is refused as soon as more came than is let.
    let large = "nodevent_invalid_publishes_total{reason=\"too_large\"}";
    let publication = |bytes| format!(r#"{{"room":"a","event":"e","message":"{}"}}"#, "x".repeat(bytes));
    redis.shout("/nodevent", &publication(20_000_000)).await;
    until("20 MB are skipped", async || nodes[0].metric(large).await == 1).await;
    redis.shout("/nodevent", &publication(50_000_000)).await;
    until("50 MB are skipped, or not even handed over", async || {
        nodes[0].metric(large).await == 2 || nodes[0].metric("nodevent_engine_disconnects_total").await > 0
    })
    .await;
    nodes[0].ready().await;
    let head = "POST /api/nodevent/emit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000000\r\n\r\n";
    let head = format!("{head}{}", "x".repeat(1_100_000));
    assert_eq!(
        crate::support::http::Response::read(&mut begun(&nodes[0].site, &head).await, false)
            .await
            .map(|answer| answer.status)
            .ok(),
        Some(413)
    );
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}

/// A request of which only this was sent.
async fn begun(site: &Site, head: &str) -> Box<dyn crate::support::http::Io> {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = site.dial().await;
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    stream
}

/// Two namespaces with a Redis each and one in memory, the same rooms in all, traffic in all. Nobody hears anything of
/// another namespace, and the loss of one Redis is told in its namespace alone. N-05, N-30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_share_nothing_not_even_a_fault() {
    let (mut first, second) = (Redis::start(&[]).await, Redis::start(&[]).await);
    let namespaces = format!(
        "{}{}/memory: {{history: {{size: 10000}}}}\n",
        first.namespace("/first", ""),
        second.namespace("/second", "")
    );
    let nodes = Node::start_many(2, &namespaces).await;
    let (mut crowds, mut publishers) = (Vec::new(), Vec::new());
    for (index, namespace) in ["/first", "/second", "/memory"].into_iter().enumerate() {
        // What is in memory is in one server only.
        let sites = if index == 2 { sites(&nodes[..1]) } else { sites(&nodes) };
        crowds.push(Crowd::join(10, &sites, namespace, &["a", "b"]).await);
        publishers.push(Publishers::start(&sites, namespace, &["a", "b"]));
    }
    traffic(&publishers[0], 20).await;
    first.kill();
    traffic(&publishers[1], 20).await;
    traffic(&publishers[2], 20).await;
    assert!(!nodes[0].is_ready().await || publishers[0].confirmed() < publishers[1].confirmed());
    first.start_again().await;
    traffic(&publishers[0], 20).await;
    let mut told = Vec::new();
    for (crowd, publishers) in crowds.into_iter().zip(publishers) {
        told.push(crowd.verdict(publishers, &[]).await.members_told);
    }
    for node in &nodes {
        node.is_back().await;
    }
    assert_eq!(told, [10, 0, 0]);
}
