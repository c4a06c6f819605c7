//! Attack 4: history requests. Their responses are not read, so that the server buffers them, or they are so frequent
//! that they starve publishing.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::{RedisServer, Request};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// A room's history: 100 publications of 90 KB, so that a response has 9 MB.
const PUBLICATIONS: usize = 100;
const SIZE: usize = 90_000;
const PATH: &str = "/api/nodevent/rooms/large/history";
/// Unread responses. Unbounded, they need 540 MB.
const UNREAD: usize = 60;
/// The growth that is acceptable: a send buffer of 1 MB each, and what the process needs to work.
const GROWTH: u64 = (UNREAD as u64 + 40) << 20;
/// Rooms with a history of 0.9 MB each.
const ROOMS: usize = 30;
/// How long an attack continues.
const LENGTH: Duration = Duration::from_secs(3);

async fn fill(process: &Process) {
    for number in 0..PUBLICATIONS {
        process.site.emit("/nodevent", "large", "e", json!([number, "x".repeat(SIZE)])).await;
    }
}

#[test]
fn unread_history_responses_need_bounded_memory() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for engine in [String::new(), format!("redis: \"{}\", ", redis.url())] {
            let history = "history: {size: 100, max_memory: 64MB}";
            let process = Process::start(&format!("/nodevent: {{{engine}{history}}}")).await;
            process.is_ready().await;
            fill(&process).await;
            let before = process.resident();
            let mut sockets = Vec::new();
            for _ in 0..UNREAD {
                let mut socket = process.site.dial().await;
                socket.write_all(&Request::get(PATH).encode(&process.site.address)).await.unwrap();
                sockets.push(socket);
            }
            let mut most = 0;
            for _ in 0..30 {
                tokio::time::sleep(LENGTH / 30).await;
                most = most.max(process.resident().saturating_sub(before));
            }
            assert!(most < GROWTH, "the server grew by {} MB for {UNREAD} responses", most >> 20);
        }
    });
}

/// A sibling: event streams that replay the whole history, unread.
#[test]
fn unread_event_streams_need_bounded_memory() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for engine in [String::new(), format!("redis: \"{}\", ", redis.url())] {
            let process =
                Process::start(&format!("/nodevent: {{{engine}history: {{size: 100, max_memory: 64MB}}}}")).await;
            process.is_ready().await;
            fill(&process).await;
            let history = process.site.get(PATH).await.json();
            let since = history["publications"][0]["position"].as_str().unwrap().to_owned();
            drop(history);
            let before = process.resident();
            let mut sockets = Vec::new();
            for _ in 0..UNREAD {
                let mut socket = process.site.dial().await;
                let request = Request::get("/api/nodevent/rooms/large/events").header("Last-Event-ID", &since);
                socket.write_all(&request.encode(&process.site.address)).await.unwrap();
                sockets.push(socket);
            }
            let mut most = 0;
            for _ in 0..30 {
                tokio::time::sleep(LENGTH / 30).await;
                most = most.max(process.resident().saturating_sub(before));
            }
            assert!(most < GROWTH, "the server grew by {} MB for {UNREAD} streams", most >> 20);
        }
    });
}

/// A sibling: requests for many histories wait in one queue. Another client's request does not wait for all of them.
#[test]
fn flood_of_history_requests_delays_no_other_reader() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        for room in 0..ROOMS {
            for number in 0..10 {
                let message = json!([number, "x".repeat(SIZE)]);
                process.site.emit("/nodevent", &format!("room-{room}"), "e", message).await;
            }
        }
        let mut flood = JoinSet::new();
        for number in 0..8 * ROOMS {
            let site = process.site.clone();
            flood.spawn(async move {
                for round in number.. {
                    // Each epoch is a read of its own, of the whole history.
                    let path = format!("/api/nodevent/rooms/room-{}/history?since={round:016x}:0", round % ROOMS);
                    site.get(&path).await;
                }
            });
        }
        tokio::time::sleep(LENGTH / 3).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
            let mut stream = socket.connect(process.site.address.parse().unwrap()).await.unwrap();
            let request = Request::get("/api/nodevent/rooms/small/history");
            assert_eq!(request.exchange(&mut stream, &process.site.address).await.unwrap().status, 200);
            slowest = slowest.max(began.elapsed());
        }
        println!("another client waits {slowest:?} at most");
        assert!(slowest < LENGTH / 3, "another client waits {slowest:?} for its history");
    });
}

#[test]
fn flood_of_history_requests_starves_no_publisher() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        fill(&process).await;
        assert_unnoticed(&process.site.address, async || {
            let mut readers = JoinSet::new();
            for _ in 0..20 {
                let site = process.site.clone();
                readers.spawn(async move {
                    loop {
                        let mut socket = site.dial().await;
                        socket.write_all(&Request::get(PATH).encode(&site.address)).await.unwrap();
                        let mut piece = vec![0; 64 * 1024];
                        while let Ok(1..) = socket.read(&mut piece).await {
                            if piece.ends_with(b"]}") {
                                break;
                            }
                        }
                    }
                });
            }
            tokio::time::sleep(LENGTH).await;
        })
        .await;
    });
}
