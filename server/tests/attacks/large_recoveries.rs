//! Joins that recover whole histories, again and again. Reading one takes Redis and the connection of the publishers as
//! long as it is large, unless it is read in pages.

use crate::attacker::{self, join_since};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::RedisServer;
use crate::support::raw::Raw;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Rooms with a history of 10 MB each.
const ROOMS: usize = 8;
const PUBLICATIONS: usize = 100;
const SIZE: usize = 100_000;
/// How long the attack lasts.
const LENGTH: Duration = Duration::from_secs(3);

#[test]
fn joins_that_recover_whole_histories_delay_no_other_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let history = "history: {size: 100, max_memory: 200MB}";
        let process =
            Process::start(&format!("shards: 1\n/nodevent: {{redis: \"{}\", {history}}}", redis.url())).await;
        process.is_ready().await;
        for room in 0..ROOMS {
            for _ in 0..PUBLICATIONS {
                process.site.emit("/nodevent", &format!("large-{room}"), "e", json!("x".repeat(SIZE))).await;
            }
        }
        let epoch_of = async |room: usize| {
            let path = format!("/api/nodevent/rooms/large-{room}/history");
            let history = process.site.get(&path).await.json();
            history["position"].as_str().unwrap().split_once(':').unwrap().0.to_owned()
        };
        let mut epochs = Vec::new();
        for room in 0..ROOMS {
            epochs.push(epoch_of(room).await);
        }
        assert_unnoticed(&process.site.address, async || {
            let mut clients = JoinSet::new();
            for (room, epoch) in epochs.iter().cloned().enumerate() {
                let site = process.site.clone();
                clients.spawn(async move {
                    let began = Instant::now();
                    while began.elapsed() < LENGTH {
                        // Each has a connection of its own: the rate of joins limits only one.
                        let mut raw = Raw::connected(&site, "/nodevent").await;
                        for id in (1..20).take_while(|_| began.elapsed() < LENGTH) {
                            let room = format!("large-{room}");
                            let join = join_since(id, &room, &format!("{epoch}:0"));
                            raw.send_text(&join).await;
                            // It does not fit into a send buffer, so the client is notified of a gap.
                            while !raw.text().await.starts_with("43/nodevent,") {}
                            raw.send_text(&format!("42/nodevent,[\"leave\",{{\"room\":\"{room}\"}}]")).await;
                        }
                    }
                });
            }
            clients.join_all().await;
        })
        .await;
    });
}
