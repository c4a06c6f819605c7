//! Reads of a history over HTTP, which readers of the Redis engine share.

use crate::support::redis::redis_cli;
use crate::support::{RedisServer, TestServer};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/api/nodevent/rooms/r/history";
/// Readers at a time.
const READERS: usize = 20;

async fn server_on(redis: &RedisServer) -> TestServer {
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    redis.has_subscribers("/nodevent", 1).await;
    server
}

/// How often Redis has run a script.
fn script_calls(redis: &RedisServer) -> u64 {
    let output = redis_cli().args(["-p", &redis.port.to_string(), "info", "commandstats"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let calls = |name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=")))?;
        line.split(['=', ',']).nth(1)?.parse().ok()
    };
    calls("evalsha").unwrap_or(0) + calls("eval").unwrap_or(0)
}

async fn messages(server: &TestServer) -> Vec<Value> {
    let history = server.get(PATH).await.json();
    history["publications"].as_array().unwrap().iter().map(|one| one["message"].clone()).collect()
}

#[tokio::test]
async fn readers_that_wait_for_the_same_share_one_read() {
    let redis = RedisServer::start().await;
    let server = server_on(&redis).await;
    for number in 0..3 {
        server.emit("/nodevent", "r", "e", number).await;
    }
    // The first read opens the connection and loads the script.
    assert_eq!(messages(&server).await, [json!(0), json!(1), json!(2)]);
    let before = script_calls(&redis);
    for read in join_all((0..READERS).map(|_| messages(&server))).await {
        assert_eq!(read, [json!(0), json!(1), json!(2)]);
    }
    let calls = script_calls(&redis) - before;
    assert!((1..READERS as u64 / 2).contains(&calls), "{calls} reads for {READERS} readers");
}

/// A read that has started may miss what was published since, so a later reader must not share it.
#[tokio::test]
async fn reader_receives_what_was_published_before_its_request_whatever_others_read() {
    let redis = RedisServer::start().await;
    let server = server_on(&redis).await;
    // So that a read takes long enough for a publish to fall into it.
    for _ in 0..100 {
        server.emit("/nodevent", "r", "e", "x".repeat(20_000)).await;
    }
    let reading = async {
        loop {
            join_all((0..3).map(|_| server.get(PATH))).await;
        }
    };
    let publishing = async {
        for number in 0..40 {
            // At any time of the others' reads and of the pauses between them.
            tokio::time::sleep(Duration::from_millis(number % 20)).await;
            server.emit("/nodevent", "r", "e", number).await;
            assert_eq!(messages(&server).await.last(), Some(&json!(number)));
        }
    };
    tokio::select! {
        () = reading => {}
        () = publishing => {}
    }
}
