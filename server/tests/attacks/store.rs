//! Attacks on the store: what a publisher sends without end must not keep others from the disk.
//!
//! That such a publisher does not fill the disk is tested in `server/src/store/tests.rs`.

use crate::attacker::{self, PollingClient};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::Request;
use futures_util::future::join_all;
use serde_json::json;
use std::cell::RefCell;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Connections of a flood of small publications. Each sends the next one as soon as the last one is confirmed.
const PUBLISHERS: usize = 8;
/// Connections of a flood of large publications, which hold far more than what may wait for the disk.
const LARGE_PUBLISHERS: usize = 96;
/// The message of a large publication. Bytes.
const LARGE: usize = 300_000;
/// Publications of the other publisher.
const SAMPLES: usize = 8;

async fn start(folder: &TempDir, namespaces: &str) -> Process {
    let process = Process::start(&format!("store: {}\n{namespaces}", folder.path().join("store").display())).await;
    process.is_ready().await;
    process
}

/// Publishes with a key. Returns how long it took, and the status.
async fn publish(client: &mut PollingClient, key: &str, room: &str, message: &str) -> (Duration, u16) {
    let body = json!({"room": room, "event": "e", "message": message}).to_string();
    let request = Request::post("/api/flood/emit", body).header("Authorization", &format!("Bearer {key}"));
    let began = Instant::now();
    let status = client.send(&request).await.map_or(0, |response| response.status);
    (began.elapsed(), status)
}

fn median(samples: &RefCell<Vec<Duration>>) -> Duration {
    let mut sorted = samples.borrow().clone();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Publishers wait for the disk in turns: one with a key for its rooms, and many connections, is one of them.
#[test]
fn publications_of_one_publisher_are_not_behind_all_those_of_another() {
    attacker::run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = "publish_keys: [{id: all, key: all-1234567890abcdef}, {id: some, key: some-1234567890abcdef, rooms: r}]";
        let process = start(&folder, &format!("/flood: {{open: true, {keys}}}\n")).await;
        let times = || RefCell::new(Vec::<Duration>::new());
        let (text, flooding, sampling) = ("x".repeat(LARGE), times(), times());
        let is_over = || sampling.borrow().len() >= SAMPLES;
        let flood = join_all((0..LARGE_PUBLISHERS).map(async |_| {
            let mut client = PollingClient::connect(&process.site).await;
            while !is_over() {
                let (time, status) = publish(&mut client, "some-1234567890abcdef", "r", &text).await;
                match status {
                    200 => flooding.borrow_mut().push(time),
                    // Its bodies have their share of memory.
                    _ => client = PollingClient::connect(&process.site).await,
                }
            }
        }));
        let other = async {
            let mut client = PollingClient::connect(&process.site).await;
            crate::support::wait::until("it is a flood", async || flooding.borrow().len() > LARGE_PUBLISHERS).await;
            while !is_over() {
                let (time, status) = publish(&mut client, "all-1234567890abcdef", "other", "small").await;
                assert_eq!(status, 200);
                sampling.borrow_mut().push(time);
            }
        };
        tokio::join!(flood, other);
        let (own, others): (Duration, Duration) = (median(&sampling), median(&flooding));
        println!("a publication took {own:?}, and one of the flood {others:?}");
        assert!(own < others * 2 / 3, "{own:?} and {others:?}");
    });
}

/// Each publication has a key, so that checkpoints have much to write.
#[test]
fn flood_of_small_publications_delays_no_other_client() {
    attacker::run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let process = start(&folder, "/nodevent: {open: true}\n/flood: {open: true}\n").await;
        assert_unnoticed(&process.site.address, async || {
            let senders = (0..PUBLISHERS).map(async |number| {
                let mut client = PollingClient::connect(&process.site).await;
                let mut count = 0;
                attacker::repeat(async || {
                    count += 1;
                    let body = json!({"room": format!("r{count}"), "event": "e"}).to_string();
                    let key = format!("{number}-{count}");
                    let request = Request::post("/api/flood/emit", body).header("Idempotency-Key", &key);
                    let response = client.send(&request).await.expect("the server keeps the connection");
                    assert_eq!(response.status, 200, "{}", response.text());
                })
                .await;
                count
            });
            let counts: Vec<usize> = join_all(senders).await;
            println!("publications: {}", counts.iter().sum::<usize>());
        })
        .await;
    });
}
