//! Attack 1: joins with positions that cannot exist. Each makes a read in Redis fail and stays pending, and all joins of
//! a shard share the budget of pending ones, so that one connection closes the joins of all others.

use crate::attacker::{self, PollingClient, join, join_since};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::RedisServer;
use crate::support::raw::Raw;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Positions that no room has had: the highest offsets, an offset whose successor is negative in Redis, offsets beyond
/// the numbers that Lua and streams represent exactly, and an unknown epoch.
const IMPOSSIBLE: [&str; 5] = [
    "0000000000000000:9223372036854775807",
    "0000000000000000:18446744073709551615",
    "ffffffffffffffff:9223372036854775806",
    "0123456789abcdef:9007199254740993",
    "0123456789abcdef:1",
];
/// Sessions of the attack, each with as many joins as the default rate permits at once.
const SESSIONS: usize = 300;
const JOINS: usize = 250;

async fn server_on(redis: &RedisServer) -> Process {
    let process = Process::start(&format!("shards: 2\n/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    redis.has_subscribers("/nodevent", 1).await;
    process
}

/// Checks that each join is acknowledged without a retry: the server has nothing to replay, and can decide that.
async fn assert_answered_immediately(process: &Process) {
    for (number, since) in IMPOSSIBLE.iter().enumerate() {
        let mut raw = Raw::connected(&process.site, "/nodevent").await;
        let began = Instant::now();
        let ack = join(&mut raw, &join_since(1, &format!("room-{number}"), since)).await;
        assert!(ack.starts_with("[null,true,") && ack.contains("\"recovered\":false"), "{since}: {ack}");
        assert!(began.elapsed() < Duration::from_secs(1), "{since}: {:?}", began.elapsed());
    }
}

#[test]
fn impossible_position_is_answered_immediately_by_the_memory_engine() {
    attacker::run(async {
        assert_answered_immediately(&Process::start("/nodevent: {}").await).await;
    });
}

#[test]
fn impossible_position_is_answered_immediately_by_the_redis_engine() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        assert_answered_immediately(&server_on(&redis).await).await;
    });
}

#[test]
fn flood_of_impossible_positions_on_one_connection_delays_no_other_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = server_on(&redis).await;
        assert_unnoticed(&process.site.address, async || {
            let mut client = PollingClient::connect(&process.site).await;
            for session in 0..SESSIONS {
                let Some(sid) = client.open().await else { continue };
                let mut packets = vec!["40/nodevent,".to_owned()];
                packets.extend((0..JOINS).map(|id| join_since(id, &format!("{session}-{id}"), IMPOSSIBLE[0])));
                client.post(&sid, &packets).await;
            }
        })
        .await;
    });
}

/// A sibling: joins that wait for a Redis that never replies, in another namespace.
#[test]
fn flood_of_pending_joins_delays_no_other_namespace() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let namespaces = format!(
            "/nodevent: {{redis: \"{}\"}}\n/silent: {{redis: {{host: 127.0.0.1, port: {port}}}}}",
            redis.url()
        );
        let process = Process::start(&format!("shards: 2\n{namespaces}")).await;
        redis.has_subscribers("/nodevent", 1).await;
        assert_unnoticed(&process.site.address, async || {
            let mut client = PollingClient::connect(&process.site).await;
            for session in 0..SESSIONS {
                let Some(sid) = client.open().await else { continue };
                let mut packets = vec!["40/silent,".to_owned()];
                let join = |id| join_since(id, &format!("{session}-{id}"), "0123456789abcdef:1");
                packets.extend((0..JOINS).map(|id| join(id).replace("/nodevent", "/silent")));
                client.post(&sid, &packets).await;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        })
        .await;
        drop(silent);
    });
}

/// A sibling: the same positions over the protocol `plain`.
#[test]
fn impossible_position_is_answered_immediately_over_plain() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let namespace = format!("/nodevent: {{redis: \"{}\", protocol: plain}}", redis.url());
        let process = Process::start(&namespace).await;
        redis.has_subscribers("/nodevent", 1).await;
        for (number, since) in IMPOSSIBLE.iter().enumerate() {
            let mut raw = attacker::plain(&process.site).await;
            let began = Instant::now();
            raw.send_text(&format!("{{\"join\":\"room-{number}\",\"since\":\"{since}\",\"id\":1}}")).await;
            let reply = raw.text().await;
            assert!(reply.contains("\"recovered\":false"), "{since}: {reply}");
            assert!(began.elapsed() < Duration::from_secs(1), "{since}: {:?}", began.elapsed());
        }
    });
}
