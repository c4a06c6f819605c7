//! Scripts that know which run of Redis executes them. A publication does not ask Redis for its run, and a Redis that was
//! restarted, emptied or replaced by a replica is recognized all the same (N-30).

use crate::redis_batches::{eval, publish, text};
use crate::support::redis::redis_cli;
use crate::support::wait::until;
use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use nodevent_protocol::history::{self, Batch, Keys};

const JUMP: u64 = 1_000_000_000;

fn cli(redis: &RedisServer, words: &[&str]) -> String {
    let output = redis_cli().args(["-p", &redis.port.to_string()]).args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// How often INFO was called, by this function too.
fn infos(redis: &RedisServer) -> u64 {
    let stats = cli(redis, &["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_info:calls="));
    calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// Publishes over HTTP, and returns the epoch and the offset.
async fn emit(server: &TestServer, message: u64) -> (String, u64) {
    let response = server.send(&Request::post("/api/nodevent/emit", text("r", message))).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let history = server.get("/api/nodevent/rooms/r/history").await.json();
    let last = history["publications"].as_array().unwrap().last().unwrap();
    assert_eq!(last["message"], message);
    let (epoch, offset) = last["position"].as_str().unwrap().split_once(':').unwrap();
    (epoch.to_owned(), offset.parse().unwrap())
}

/// Publishes without reading.
async fn emit_only(server: &TestServer, message: u64) {
    let response = server.send(&Request::post("/api/nodevent/emit", text("r", message))).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Before version 7, scripts reach the file of a Redis and its replicas, so none is for one run.
fn has_scripts_of_runs(redis: &RedisServer) -> bool {
    let version = cli(redis, &["INFO", "server"]);
    let version = version.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
    let has = version.split('.').next().unwrap().parse::<u32>().unwrap() >= 7;
    assert_eq!(cli(redis, &["EVAL", history::READ_RUN, "0"]).is_empty(), !has, "{version}");
    has
}

/// Publishes until the server has a script for this run of Redis. Returns the number of publications.
async fn verified(server: &TestServer, redis: &RedisServer, from: u64) -> u64 {
    let mut message = from;
    until("a publication asks nothing", async || {
        message += 1;
        let before = infos(redis);
        emit_only(server, message).await;
        infos(redis) == before + 1 || !has_scripts_of_runs(redis)
    })
    .await;
    message
}

async fn server_of(redis: &RedisServer) -> TestServer {
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    server.ready().await;
    server
}

#[tokio::test]
async fn a_restart_between_two_publications_is_recognized_with_and_without_persistence() {
    for is_durable in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut redis = match is_durable {
            true => RedisServer::start_durable_in(folder.path()).await,
            false => RedisServer::start().await,
        };
        let server = server_of(&redis).await;
        let mut member = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        member.join("r").await;
        let last = verified(&server, &redis, 0).await;
        for message in 1..=last {
            assert_eq!(member.next_event().await.message, message);
        }
        let (epoch, offset) = emit(&server, last + 1).await;
        assert_eq!(member.next_event().await.message, last + 1);
        for round in 1..=2 {
            redis.stop();
            redis.start_again().await;
            server.ready().await;
            let message = last + 1 + round;
            let (new_epoch, new_offset) = emit(&server, message).await;
            if is_durable {
                assert_eq!(
                    (&new_epoch, new_offset),
                    (&epoch, offset + round * (JUMP + 1)),
                    "once for each restart"
                );
                assert_eq!(member.next_event().await.message, message, "without a gap");
            } else {
                assert_ne!(new_epoch, epoch, "Redis has forgotten the room");
                assert_eq!(new_offset, 1);
            }
        }
        let message = verified(&server, &redis, last + 3).await;
        let (again, offset) = emit(&server, message + 1).await;
        assert_eq!((again == epoch, offset > 2 * JUMP), (is_durable, is_durable));
    }
}

#[tokio::test]
async fn an_emptied_redis_is_a_new_epoch_and_a_script_that_was_removed_is_loaded_again() {
    let redis = RedisServer::start().await;
    let server = server_of(&redis).await;
    let mut last = verified(&server, &redis, 0).await;
    let (epoch, offset) = emit(&server, last + 1).await;
    assert_eq!(redis.call(&["SCRIPT", "FLUSH"]).await, "+OK");
    assert_eq!(emit(&server, last + 2).await, (epoch.clone(), offset + 1));
    last = verified(&server, &redis, last + 2).await;
    let (same, offset) = emit(&server, last + 1).await;
    assert_eq!((same, offset), (epoch.clone(), last + 1), "no offset was skipped");
    assert_eq!(redis.call(&["FLUSHALL"]).await, "+OK");
    let (other, offset) = emit(&server, 1).await;
    assert_ne!(other, epoch);
    assert_eq!(offset, 1);
}

/// Loads a script for a run as programs do, and returns its SHA-1.
fn load(redis: &RedisServer, script: &str) -> String {
    let run = cli(redis, &["EVAL", history::READ_RUN, "0"]);
    let text = history::for_run(script, &run).unwrap();
    assert_eq!(cli(redis, &["EVAL", &text, "0"]), run);
    history::script_sha(&text)
}

/// Publishes with a script that is loaded. Returns the reply.
fn call(redis: &RedisServer, sha: &str, message: u64) -> String {
    let (keys, text) = (Keys::of("/nodevent", "r"), text("r", message));
    let (keys, args) = Batch::new(7, message, &keys, &publish(&text)).into_call();
    let mut words = vec!["EVALSHA".to_owned(), sha.to_owned(), keys.len().to_string()];
    words.extend(keys.into_iter().chain(args));
    cli(redis, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn offset(reply: &str) -> u64 {
    reply.split([':', ' ']).nth(1).and_then(|offset| offset.parse().ok()).unwrap_or_else(|| panic!("{reply}"))
}

#[tokio::test]
async fn a_replica_that_takes_over_and_a_restarted_primary_do_not_have_the_script() {
    // A replica writes the data of its primary into its folder.
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut primary = RedisServer::start_durable_in(folder.path()).await;
    let replica = RedisServer::start_in(other.path()).await;
    if !has_scripts_of_runs(&primary) {
        return;
    }
    let of_primary = load(&primary, history::PUBLISH_MANY);
    assert_eq!(offset(&call(&primary, &of_primary, 1)), 1);
    let port = primary.port.to_string();
    assert_eq!(replica.call(&["REPLICAOF", "127.0.0.1", &port]).await, "+OK");
    until("the replica follows", async || {
        cli(&replica, &["INFO", "replication"]).contains("master_link_status:up")
    })
    .await;
    // Loaded again, and used, while the replica follows.
    assert_eq!(load(&primary, history::PUBLISH_MANY), of_primary);
    let before = infos(&primary);
    assert_eq!(offset(&call(&primary, &of_primary, 2)), 2);
    assert_eq!(infos(&primary), before + 1, "it asks nothing");
    let position = Keys::of("/nodevent", "r").position;
    until("the replica has it", async || cli(&replica, &["HGET", &position, "o"]) == "2").await;
    assert_eq!(cli(&replica, &["SCRIPT", "EXISTS", &of_primary]), "0");

    assert_eq!(replica.call(&["REPLICAOF", "NO", "ONE"]).await, "+OK");
    assert!(call(&replica, &of_primary, 3).starts_with("NOSCRIPT"));
    let of_replica = load(&replica, history::PUBLISH_MANY);
    assert_ne!(of_replica, of_primary);
    assert_eq!(offset(&call(&replica, &of_replica, 3)), JUMP + 3);
    assert_eq!(cli(&replica, &["HGET", &position, "w"]), "-1", "what the primary accepted last may be lost");
    assert_eq!(offset(&call(&replica, &of_replica, 4)), JUMP + 4);
    // The other scripts agree.
    let (keys, text) = (Keys::of("/nodevent", "r"), text("r", 5));
    let reply = eval(&replica, history::PUBLISH, &[keys.position, keys.log], &publish(&text).args());
    assert_eq!(offset(&reply[0]), JUMP + 5);

    primary.stop();
    primary.start_again().await;
    assert!(call(&primary, &of_primary, 3).starts_with("NOSCRIPT"), "the file of a durable Redis does not have it");
    let again = load(&primary, history::PUBLISH_MANY);
    assert_ne!(again, of_primary);
    assert_eq!(offset(&call(&primary, &again, 3)), JUMP + 3);
    assert_eq!(cli(&primary, &["HGET", &position, "w"]), "1", "every command was on disk");
}

/// A room that a program of another version has written last is compared once.
#[tokio::test]
async fn rooms_of_scripts_that_ask_and_of_those_that_do_not_are_the_same() {
    let redis = RedisServer::start().await;
    if !has_scripts_of_runs(&redis) {
        return;
    }
    let sha = load(&redis, history::PUBLISH_MANY);
    let one = |message: u64| {
        let (keys, text) = (Keys::of("/nodevent", "r"), text("r", message));
        eval(&redis, history::PUBLISH, &[keys.position, keys.log], &publish(&text).args())[0].clone()
    };
    let offsets: Vec<u64> = (1..=6)
        .map(|message| if message % 2 == 0 { offset(&one(message)) } else { offset(&call(&redis, &sha, message)) })
        .collect();
    assert_eq!(offsets, [1, 2, 3, 4, 5, 6]);
    assert_eq!(cli(&redis, &["XLEN", &Keys::of("/nodevent", "r").log]), "6");
}
