//! Attack 5: reads and joins of made-up rooms. They write data into Redis, or evict the history of real rooms from the
//! memory engine.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::RedisServer;
use crate::support::raw::{Raw, TEXT, last};
use crate::support::redis::redis_cli;
use std::time::{Duration, Instant};

/// Returns the Redis keys of made-up rooms.
fn keys(redis: &RedisServer) -> Vec<String> {
    let output = redis_cli().args(["-p", &redis.port.to_string(), "--scan", "--pattern", "*made-up*"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn reading_made_up_rooms_creates_no_keys() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        for number in 0..100 {
            for query in ["", "?since=0000000000000001:5", "?since=nonsense"] {
                let path = format!("/api/nodevent/rooms/made-up-{number}/history{query}");
                assert_eq!(process.site.get(&path).await.status, 200);
            }
        }
        let keys = keys(&redis);
        assert!(keys.is_empty(), "{} keys after reads alone, such as {}", keys.len(), keys[0]);
    });
}

#[test]
fn joins_of_made_up_rooms_leave_no_keys_behind() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        let mut raw = Raw::connected(&process.site, "/nodevent").await;
        for number in 0..100 {
            raw.send_text(&format!("42/nodevent,{number}[\"join\",{{\"room\":\"made-up-{number}\"}}]")).await;
            assert!(raw.text().await.contains("[null,true"));
        }
        drop(raw);
        process.metric_is("nodevent_rooms", 0).await;
        let deadline = Instant::now() + Duration::from_secs(5);
        while !keys(&redis).is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let keys = keys(&redis);
        assert!(keys.is_empty(), "{} keys outlive their joins, such as {}", keys.len(), keys[0]);
    });
}

#[test]
fn made_up_rooms_evict_no_published_history() {
    attacker::run(async {
        let limits = "limits: {joins_per_second: 1000000, packets_per_second: 1000000, bytes_per_second: 100MB}";
        let process = Process::start(&format!("{limits}\n/nodevent: {{history: {{max_memory: 64KB}}}}")).await;
        for number in 0..5 {
            process.site.emit("/nodevent", "real", "e", number).await;
        }
        let kept = async || {
            let history = process.site.get("/api/nodevent/rooms/real/history").await.json();
            history["publications"].as_array().unwrap().len()
        };
        assert_eq!(kept().await, 5);
        for number in 0..2_000 {
            process.site.get(&format!("/api/nodevent/rooms/made-up-{number}/history")).await;
        }
        assert_eq!(kept().await, 5, "publications left after reads of made-up rooms");
        for connection in 0..30 {
            let mut raw = Raw::connected(&process.site, "/nodevent").await;
            let join =
                |n| last(TEXT, format!("42/nodevent,{n}[\"join\",{{\"room\":\"made-up-{connection}-{n}\"}}]"));
            raw.send((0..100).flat_map(join).collect::<Vec<u8>>()).await;
            for _ in 0..100 {
                raw.text().await;
            }
        }
        assert_eq!(kept().await, 5, "publications left after joins of made-up rooms");
    });
}

#[test]
fn flood_of_made_up_rooms_delays_no_other_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for engine in [String::new(), format!("redis: \"{}\"", redis.url())] {
            let process = Process::start(&format!("/nodevent: {{{engine}}}")).await;
            process.is_ready().await;
            assert_unnoticed(&process.site.address, async || {
                let mut number = 0;
                let reads = attacker::repeat(async || {
                    number += 1;
                    process.site.get(&format!("/api/nodevent/rooms/made-up-{number}/history")).await;
                });
                let mut connection = 0;
                let joins = attacker::repeat(async || {
                    connection += 1;
                    let mut raw = Raw::connected(&process.site, "/nodevent").await;
                    let room = |n| format!("{{\"room\":\"made-up-{connection}-{n}\"}}");
                    let join = |n| last(TEXT, format!("42/nodevent,{n}[\"join\",{}]", room(n)));
                    raw.send((0..100).flat_map(join).collect::<Vec<u8>>()).await;
                    for _ in 0..100 {
                        raw.text().await;
                    }
                });
                tokio::join!(reads, joins);
            })
            .await;
        }
    });
}
