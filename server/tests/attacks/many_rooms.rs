//! Publications to very many rooms, while clients keep their shard busy with joins that are rejected. The shard must deliver
//! more than one room between two turns of the clients.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::Request;
use crate::support::raw::{Raw, TEXT, last};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::task::JoinSet;

/// Connections of the flood.
const CONNECTIONS: usize = 12;
/// Rooms, each with one member.
const ROOMS: usize = 512;
/// Publications of one request. There are forty requests per second.
const BATCH: usize = 25;

/// Members of all rooms, which read what they receive.
async fn members(process: &Process) -> JoinSet<()> {
    let mut members = JoinSet::new();
    for first in (0..ROOMS).step_by(128) {
        let mut raw = Raw::connected(&process.site, "/nodevent").await;
        for room in first..first + 128 {
            let packet = format!("42/nodevent,{room}[\"join\",{{\"room\":\"room-{room}\"}}]");
            assert_eq!(attacker::join(&mut raw, &packet).await, "[null,true]");
        }
        members.spawn(async move { while raw.try_text().await.is_some() {} });
    }
    members
}

/// Publishes to one room after another.
async fn publish(process: &Process, is_over: &AtomicBool) {
    let mut stream = process.site.dial().await;
    let mut room = 0;
    while !is_over.load(SeqCst) {
        let pause = tokio::time::sleep(Duration::from_millis(25));
        let publications: Vec<String> = (room..room + BATCH)
            .map(|room| format!("{{\"room\":\"room-{}\",\"event\":\"e\",\"message\":1}}", room % ROOMS))
            .collect();
        room += BATCH;
        let request = Request::post("/api/nodevent/emit", format!("[{}]", publications.join(",")));
        assert_eq!(request.exchange(&mut stream, &process.site.address).await.unwrap().status, 200);
        pause.await;
    }
}

/// Sends packets of 128 joins without a key, on many connections, which reconnect when the server closes them.
async fn join_without_keys(process: &Process, is_over: &Arc<AtomicBool>) -> JoinSet<()> {
    let rooms = vec!["{\"room\":\"a\"}"; 128].join(",");
    let packets = last(TEXT, format!("42/closed,[\"join\",{{\"rooms\":[{rooms}]}}]")).repeat(3);
    let mut flood = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (site, packets, is_over) = (process.site.clone(), packets.clone(), Arc::clone(is_over));
        flood.spawn(async move {
            let mut raw = Raw::connected(&site, "/closed").await;
            while !is_over.load(SeqCst) {
                let pause = tokio::time::sleep(Duration::from_millis(50));
                if raw.try_send(&packets).await.is_none() {
                    raw = Raw::connected(&site, "/closed").await;
                }
                pause.await;
            }
        });
    }
    flood
}

#[test]
fn joins_without_keys_do_not_delay_publications_to_many_rooms() {
    attacker::run(async {
        let settings = "shards: 1\n/nodevent: {history: off}\n\
                        /closed: {secret: a-secret-of-more-than-sixteen, history: off}";
        let process = Process::start(settings).await;
        let mut members = members(&process).await;
        assert_unnoticed(&process.site.address, async || {
            let is_over = Arc::new(AtomicBool::new(false));
            let flood = join_without_keys(&process, &is_over).await;
            tokio::join!(publish(&process, &is_over), async {
                tokio::time::sleep(Duration::from_secs(4)).await;
                is_over.store(true, SeqCst);
            });
            flood.join_all().await;
        })
        .await;
        assert!(members.try_join_next().is_none(), "no member is closed");
    });
}
