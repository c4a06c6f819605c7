//! Several servers share Redis and nothing else, in each of its forms: one channel per room, a cluster, or one channel
//! for all rooms.

use crate::harness::cluster::Cluster;
use crate::harness::{Fleet, Node, Publishers, Redis, sites, traffic};
use crate::support::{Browser, Transport};
use serde_json::{Value, json};

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// With `channel_per_room: true` a server subscribes only to the rooms of its own members. Publications of one server
/// reach members of the other. Redis restarts, a server is killed, and no member misses anything. N-11, T-43
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_miss_nothing_with_a_channel_per_room() {
    let mut redis = Redis::start_durable().await;
    let mut nodes = Node::start_many(2, &redis.namespace("/nodevent", ", channel_per_room: true")).await;
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let channels = redis.query(&["PUBSUB", "CHANNELS", "nodevent:1:{*"]);
    assert_eq!(channels.lines().count(), 3, "{channels}");
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["a", "b", "c", "empty"]);
    traffic(&publishers, 50).await;
    redis.terminate();
    redis.start_again().await;
    traffic(&publishers, 50).await;
    nodes[1].kill().await;
    traffic(&publishers, 20).await;
    nodes[1].start_again().await;
    fleet.all_joined().await;
    let channels = redis.query(&["PUBSUB", "CHANNELS", "nodevent:1:{*"]);
    assert_eq!(channels.lines().count(), 3, "the fourth room has no members: {channels}");
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
    let unsubscribed = async || redis.query(&["PUBSUB", "CHANNELS", "nodevent:1:{*"]).is_empty();
    crate::support::wait::until("no room without members is subscribed", unsubscribed).await;
}

/// Two servers on a Redis Cluster of three nodes, with and without a channel per room; one server is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_miss_nothing_on_a_redis_cluster() {
    let cluster = Cluster::start().await;
    for more in ["", ", channel_per_room: true"] {
        let mut nodes = Node::start_many(2, &cluster.namespace("/nodevent", more)).await;
        let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
        let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
        traffic(&publishers, 50).await;
        let backfilled = nodes[0].metric("nodevent_backfilled_publications_total").await;
        assert!(backfilled <= 3, "`{more}`: publications arrive live, not through the check: {backfilled}");
        nodes[1].kill().await;
        traffic(&publishers, 20).await;
        nodes[1].start_again().await;
        let verdict = fleet.verdict(publishers, &nodes).await;
        assert_eq!(verdict.gap_notices, 0, "`{more}`: {verdict:?}");
    }
}

/// On a cluster with a channel per room, rooms with and without history are delivered on the other server, and their
/// channels are unsubscribed when the last member leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_without_history_are_delivered_throughout_a_cluster() {
    let cluster = Cluster::start().await;
    let settings = "channel_per_room: true, history: {rooms: {brief_: off}}";
    let nodes = Node::start_many(2, &cluster.namespace_with("/nodevent", settings)).await;
    let mut browser = Browser::connect(&nodes[0].site, "/nodevent", Transport::WebSocket).await;
    let rooms = ["brief_a", "kept_a", "brief_b", "kept_b", "brief_c"];
    for room in rooms {
        browser.join(room).await;
        nodes[1].site.emit("/nodevent", room, "e", 1).await;
        assert_eq!(browser.next_event().await.room, room);
    }
    assert_eq!(cluster.channels(), 5);
    for room in rooms {
        browser.leave(room).await;
    }
    crate::support::wait::until("the rooms are unsubscribed", async || cluster.channels() == 0).await;
}

/// Live and recovered publications are what was published, byte for byte: numbers beyond a browser's range, line
/// separators, nesting, unknown members. A number as a room is its text, and a second join is not a second membership.
/// N-29, N-32, N-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publication_is_the_same_live_and_recovered_on_every_server() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let mut live = Browser::connect(&nodes[0].site, "/nodevent", Transport::WebSocket).await;
    let joined = live.call("join", &[json!({"room": 42})]).await;
    let again = live.call("join", &[json!({"room": "42"})]).await;
    assert_eq!(again[1], true, "{again}");
    let since = joined[2]["position"].as_str().expect("a position").to_owned();
    let texts = [
        r#"{"room":42,"event":"numbers","message":[123456789012345678901234567890,1e300,-0.0,1.10]}"#,
        "{\"room\":\"42\", \"event\":\"text\",\"message\":\"\u{2028}\\u2028 ü 🚆 \\\"\"}",
        r#"{"extra":[{"deep":[[[]]]}],"event":"order","message":null,"room":"42"}"#,
    ];
    let mut received = Vec::new();
    for text in texts {
        assert_eq!(nodes[1].site.publish("/nodevent", text).await.status, 200);
        let event = live.next_event().await;
        let position = format!(",\"position\":{}}}", event.publication["position"]);
        assert_eq!(event.text, format!("{}{position}", &text[..text.len() - 1]));
        received.push(event.text);
    }
    for (node, transport) in [(&nodes[0], Transport::WebSocket), (&nodes[1], Transport::Polling)] {
        let mut late = Browser::connect(&node.site, "/nodevent", transport).await;
        let joined = late.call("join", &[json!({"room": "42", "since": since})]).await;
        assert_eq!(joined[2]["recovered"], true, "{joined}");
        for text in &received {
            assert_eq!(&late.next_event().await.text, text);
        }
    }
}

/// 1,000 numbered publishes through one server arrive in that order on another. N-31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_publishes_arrive_in_order_on_another_server() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let mut live = Browser::connect(&nodes[0].site, "/nodevent", Transport::WebSocket).await;
    for room in ["a", "b"] {
        assert_eq!(live.call("join", &[json!({"room": room})]).await[1], true);
    }
    let publication = |number: usize| json!({"room": if number.is_multiple_of(2) { "a" } else { "b" }, "event": "e", "message": number});
    let all: Vec<Value> = (0..1000).map(publication).collect();
    assert_eq!(nodes[1].site.publish("/nodevent", Value::from(all).to_string()).await.status, 200);
    for number in 0..1000 {
        assert_eq!(live.next_event().await.message, number);
    }
}
