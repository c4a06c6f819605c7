//! Issue 11, section H: a Redis that accepts no writes for a while. The server rejects what is published over HTTP with
//! 503, so that publishers keep it and send it again; nothing is lost or duplicated, and members recover across it.
//!
//! `bin/test redis-versions` runs this with Redis 6.2, which wraps the errors of scripts in `ERR`, and with Valkey.

use crate::support::wait::until;
use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use serde_json::json;

/// The commands that enter and leave a state.
struct State {
    name: &'static str,
    enter: &'static [&'static [&'static str]],
    leave: &'static [&'static str],
}

/// Publishes before, in and after a state.
async fn assert_nothing_is_lost(State { name, enter, leave }: State) {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start_in(folder.path()).await;
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    server.ready().await;
    let mut member = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    member.join("r").await;
    let publish = async |message: u64| {
        let body = json!({"room": "r", "event": "e", "message": message}).to_string();
        let key = format!("key-{message}");
        server.send(&Request::post("/api/nodevent/emit", body).header("Idempotency-Key", &key)).await
    };
    assert_eq!(publish(1).await.status, 200, "{name}");
    let first = member.next_event().await.publication["position"].clone();

    drop(folder);
    for command in enter {
        let reply = redis.call(command).await;
        assert!(!reply.starts_with('-'), "{name}: {command:?}: {reply}");
    }
    until(&format!("{name} begins"), async || redis.call(&["SET", "probe", "1"]).await.starts_with('-')).await;
    let rejected = publish(2).await;
    assert_eq!(rejected.status, 503, "{name}: {}", rejected.text());
    assert_eq!(rejected.json()["accepted"], 0, "{name}");
    let hint = rejected.json()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("send what was not accepted again"), "{name}: {hint}");
    until(&format!("{name} is reported"), async || server.admin.send(&Request::get("/readyz")).await.status == 503)
        .await;

    assert_eq!(redis.call(leave).await, "+OK", "{name}");
    until(&format!("{name} is over"), async || publish(2).await.status == 200).await;
    assert_eq!(publish(3).await.status, 200, "{name}");
    server.ready().await;
    for message in [2, 3] {
        assert_eq!(member.next_event().await.message, message, "{name}: in order and once");
    }
    let mut late = Browser::connect(&server, "/nodevent", Transport::Polling).await;
    let ack = late.call("join", &[json!({"room": "r", "since": first})]).await;
    assert_eq!(ack[2]["recovered"], true, "{name}: {ack}");
    for message in [2, 3] {
        assert_eq!(late.next_event().await.message, message, "{name}: recovered");
    }
    let history = server.get("/api/nodevent/rooms/r/history").await.json();
    let messages: Vec<_> = history["publications"].as_array().unwrap().iter().map(|one| &one["message"]).collect();
    assert_eq!(messages, [&json!(1), &json!(2), &json!(3)], "{name}");
}

#[tokio::test]
async fn publications_are_rejected_while_redis_is_read_only_and_accepted_later() {
    assert_nothing_is_lost(State {
        name: "READONLY",
        enter: &[&["REPLICAOF", "127.0.0.1", "1"]],
        leave: &["REPLICAOF", "NO", "ONE"],
    })
    .await;
}

#[tokio::test]
async fn publications_are_rejected_while_redis_is_full_and_accepted_later() {
    assert_nothing_is_lost(State {
        name: "OOM",
        enter: &[&["CONFIG", "SET", "maxmemory", "1"]],
        leave: &["CONFIG", "SET", "maxmemory", "0"],
    })
    .await;
}

#[tokio::test]
async fn publications_are_rejected_while_redis_lacks_replicas_and_accepted_later() {
    assert_nothing_is_lost(State {
        name: "NOREPLICAS",
        enter: &[&["CONFIG", "SET", "min-replicas-to-write", "1"]],
        leave: &["CONFIG", "SET", "min-replicas-to-write", "0"],
    })
    .await;
}

#[tokio::test]
async fn publications_are_rejected_while_a_replica_has_no_primary_and_accepted_later() {
    assert_nothing_is_lost(State {
        name: "MASTERDOWN",
        enter: &[&["CONFIG", "SET", "replica-serve-stale-data", "no"], &["REPLICAOF", "127.0.0.1", "1"]],
        leave: &["REPLICAOF", "NO", "ONE"],
    })
    .await;
}

#[tokio::test]
async fn publications_are_rejected_while_redis_cannot_save_and_accepted_later() {
    // The folder is gone by then.
    assert_nothing_is_lost(State {
        name: "MISCONF",
        enter: &[&["SET", "changed", "1"], &["CONFIG", "SET", "save", "1 1"], &["BGSAVE"]],
        leave: &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"],
    })
    .await;
}
