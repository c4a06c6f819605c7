//! Several publications in one call of a script: what the gem sends. A batch is as good as its publications one by one.

use crate::support::redis::redis_cli;
use crate::support::{Browser, RedisServer, TestServer, Transport};
use nodevent_protocol::history::{self, Batch, Keys, Publish, Retention};
use serde_json::json;
use std::time::Duration;

/// The script of servers and gems before there were batches, without its comments.
const EARLIER_PUBLISH: &str = include_str!("redis_batches/earlier_publish.lua");

/// The text of a publication.
pub(crate) fn text(room: &str, message: u64) -> String {
    json!({"room": room, "event": "e", "message": message}).to_string()
}

/// What publishes a text, with its own epoch for a new room.
pub(crate) fn publish(text: &str) -> Publish<'_> {
    let idempotency_ttl = Duration::from_secs(60);
    let retention = Retention::default();
    Publish { channel: "/nodevent", text, retention, fresh_epoch: rand::random(), idempotency_ttl, sharded: false }
}

/// Publishes messages in rooms, with one call that has a number. Returns the lines of the reply.
fn call(redis: &RedisServer, number: u64, publications: &[(&str, u64)]) -> Vec<String> {
    let mut batch: Option<Batch> = None;
    for (room, message) in publications {
        let (keys, text) = (Keys::of("/nodevent", room), text(room, *message));
        match &mut batch {
            Some(batch) => batch.add(&keys, &publish(&text)),
            None => batch = Some(Batch::new(7, number, &keys, &publish(&text))),
        }
    }
    let (keys, args) = batch.unwrap().into_call();
    eval(redis, history::PUBLISH_MANY, &keys, &args)
}

/// Runs a script. Returns the lines of the reply.
pub(crate) fn eval(redis: &RedisServer, script: &str, keys: &[String], args: &[String]) -> Vec<String> {
    let mut command = redis_cli();
    command.args(["-p", &redis.port.to_string(), "EVAL", script, &keys.len().to_string()]).args(keys).args(args);
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The offsets of positions.
fn offsets(lines: &[String]) -> Vec<u64> {
    let offset = |line: &String| line.split([':', ' ']).nth(1).and_then(|offset| offset.parse().ok());
    lines.iter().map(|line| offset(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[tokio::test]
async fn a_batch_is_delivered_in_order_once_and_is_in_the_histories_of_its_rooms() {
    // N-23, N-30
    let redis = RedisServer::start().await;
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    server.ready().await;
    let mut member = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    for room in ["a", "b"] {
        member.join(room).await;
    }
    let publications = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)];
    let lines = call(&redis, 1, &publications);
    assert_eq!(offsets(&lines), [1, 1, 2, 3, 2]);
    assert!(lines.iter().all(|line| line.ends_with(" 1")), "one server: {lines:?}");
    // The reply was lost, and the publisher repeats the call.
    assert_eq!(call(&redis, 1, &publications), lines);
    // Another call, whose record has the same place.
    assert_eq!(offsets(&call(&redis, 1 + 1024, &[("a", 6), ("b", 7)])), [4, 3]);
    for (room, message) in publications.into_iter().chain([("a", 6), ("b", 7)]) {
        let publication = member.next_event().await.publication;
        assert_eq!((publication["room"].as_str(), publication["message"].as_u64()), (Some(room), Some(message)));
    }
    for (room, messages) in [("a", vec![1, 3, 4, 6]), ("b", vec![2, 5, 7])] {
        let history = server.get(&format!("/api/nodevent/rooms/{room}/history")).await.json();
        let stored: Vec<_> = history["publications"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["message"].as_u64().unwrap())
            .collect();
        assert_eq!(stored, messages, "{room}: {history}");
    }
}

#[tokio::test]
async fn a_room_that_redis_does_not_accept_harms_no_other_of_its_batch() {
    let redis = RedisServer::start().await;
    let bad = Keys::of("/nodevent", "bad");
    assert_eq!(redis.call(&["SET", &bad.position, "not a hash"]).await, "+OK");
    let publications = [("a", 1), ("bad", 2), ("a", 3)];
    let lines = call(&redis, 1, &publications);
    assert!(lines[1].starts_with("-") && lines[1].contains("WRONGTYPE"), "{lines:?}");
    assert_eq!(offsets(&[lines[0].clone(), lines[2].clone()]), [1, 2]);
    assert_eq!(call(&redis, 1, &publications), lines, "the same result if it is repeated");
}

#[tokio::test]
async fn a_redis_without_memory_accepts_a_batch_later_and_once() {
    let redis = RedisServer::start().await;
    assert_eq!(offsets(&call(&redis, 1, &[("a", 1)])), [1]);
    assert_eq!(redis.call(&["CONFIG", "SET", "maxmemory", "1"]).await, "+OK");
    let refused = call(&redis, 2, &[("a", 2), ("b", 3)]);
    assert!(refused[0].contains("OOM") && history::Batch::parse(&refused.join("\n")).is_none(), "{refused:?}");
    assert!(!history::is_permanent(&refused[0]), "the publisher repeats it: {refused:?}");
    assert_eq!(redis.call(&["CONFIG", "SET", "maxmemory", "0"]).await, "+OK");
    assert_eq!(offsets(&call(&redis, 2, &[("a", 2), ("b", 3)])), [2, 1]);
}

/// A publication through the script of an earlier version.
fn publish_as_before(redis: &RedisServer, room: &str, message: u64) -> u64 {
    let (keys, text) = (Keys::of("/nodevent", room), text(room, message));
    let reply = eval(redis, EARLIER_PUBLISH, &[keys.position, keys.log], &publish(&text).args());
    offsets(&reply[..1])[0]
}

/// The next offset of a room jumps after Redis was restarted, whatever version of the script published before and after.
#[tokio::test]
async fn batches_and_the_script_of_earlier_versions_share_rooms_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start_durable_in(folder.path()).await;
    for room in ["a", "b"] {
        assert_eq!(publish_as_before(&redis, room, 1), 1);
        assert_eq!(offsets(&call(&redis, 1, &[(room, 2), (room, 3)])), [2, 3]);
        assert_eq!(publish_as_before(&redis, room, 4), 4);
    }
    redis.stop();
    redis.start_again().await;
    let jump = 1_000_000_000;
    // The room that an old program publishes to first, and the one that a batch publishes to first.
    assert_eq!(publish_as_before(&redis, "a", 5), jump + 5);
    assert_eq!(offsets(&call(&redis, 2, &[("b", 5), ("a", 6), ("b", 6)])), [jump + 5, jump + 6, jump + 6]);
    assert_eq!(publish_as_before(&redis, "b", 7), jump + 7);
}
