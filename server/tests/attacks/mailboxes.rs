//! Attacks with mailboxes: responses that are not read, and a user with very many connections.

use crate::attacker::{self, open_from};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::in_time;
use crate::support::{RedisServer, Request};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// Messages of 60 KB: a page has half a megabyte.
const MESSAGES: usize = 12;
/// Requests whose responses are not read. Unbounded, they hold 200 MB.
const UNREAD: usize = 400;
/// What all responses may hold, and what the process needs to work.
const GROWTH: u64 = 110 << 20;
/// Messages for a user who never comes: short and long ones. Unbounded, they hold 100 MB.
const SHORT: (usize, usize) = (50_000, 10);
const LONG: (usize, usize) = (50_000, 2_000);
/// Requests that are sent together.
const BATCH: usize = 50;
/// What a mailbox may hold.
const MAX_COUNT: u64 = 1000;
const MAX_BYTES: u64 = 1 << 20;
/// What the process needs to work with them.
const WORKING: u64 = 16 << 20;
/// Connections of one user.
const CONNECTIONS: usize = 600;

fn settings(more: &str) -> String {
    format!("/nodevent: {{open: true, {more}token: {{secret: {TOKEN_SECRET}}}, mailbox: {{unknown: keep}}}}\n")
}

async fn notify(process: &Process, message: &str) -> String {
    let body = json!({"user": "7", "event": "e", "message": message}).to_string();
    let request = Request::post("/api/nodevent/notify", body).header("Content-Type", "application/json");
    let response = process.site.send(&request).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["ids"][0].as_str().unwrap().to_owned()
}

#[test]
fn unread_mailboxes_need_bounded_memory() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for engine in [String::new(), format!("redis: \"{}\", ", redis.url())] {
            let process = Process::start(&settings(&engine)).await;
            process.is_ready().await;
            for _ in 0..MESSAGES {
                notify(&process, &"x".repeat(60_000)).await;
            }
            let bearer = format!("Bearer {}", token(json!({"sub": "7"})));
            let request = Request::get("/api/nodevent/users/7/mailbox").header("Authorization", &bearer);
            assert!(process.site.send(&request).await.text().len() > 400_000, "a page is large");
            let before = process.resident();
            let mut sockets = Vec::new();
            for _ in 0..UNREAD {
                let socket = TcpSocket::new_v4().unwrap();
                // The kernel is to hold little of it.
                socket.set_recv_buffer_size(4096).unwrap();
                let mut stream = socket.connect(process.site.address.parse().unwrap()).await.unwrap();
                stream.write_all(&request.encode(&process.site.address)).await.unwrap();
                sockets.push(stream);
            }
            let mut most = 0;
            for _ in 0..30 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                most = most.max(process.resident().saturating_sub(before));
            }
            assert!(most < GROWTH, "the server grew by {} MB for {UNREAD} responses", most >> 20);
            let mut first = [0; 12];
            sockets[0].read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200", "they were not all rejected");
        }
    });
}

/// Each acknowledgement reaches all connections of its user, and may name 1000 messages, of which only those that exist are
/// passed on.
#[test]
fn changes_of_a_mailbox_with_very_many_connections_delay_no_other_client() {
    attacker::run(async {
        let process = Process::start(&format!("shards: 1\n{}", settings(""))).await;
        let credential = json!({"token": token(json!({"sub": "7"}))}).to_string();
        let mut readers = JoinSet::new();
        let open = async || {
            let mut raw = open_from(&process.site, [127, 0, 0, 1]).await;
            raw.send_text(&format!("40/nodevent,{credential}")).await;
            raw.send_text("42/nodevent,1[\"mailbox\"]").await;
            while !raw.text().await.starts_with("43/nodevent,1[null,true]") {}
            raw
        };
        for _ in 0..CONNECTIONS {
            let raw = open().await;
            readers.spawn(raw.drain());
        }
        let mut attacker = open().await;
        assert_unnoticed(&process.site.address, async || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(3) {
                let id = notify(&process, "x").await;
                let made_up: Vec<String> = (1..1000).map(|number| format!("\"{number}\"")).collect();
                let ids = made_up.join(",");
                attacker.send_text(&format!("42/nodevent,2[\"acknowledge\",{{\"ids\":[\"{id}\",{ids}]}}]")).await;
                while !attacker.text().await.starts_with("43/nodevent,2[null,") {}
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        })
        .await;
        assert!(readers.try_join_next().is_none(), "all connections are still open");
        readers.abort_all();
    });
}

/// Sends so many messages of this length to a user, many at a time. Returns when all were stored.
async fn send_many(process: &Process, (count, length): (usize, usize)) {
    let body = json!({"user": "7", "event": "e", "message": "x".repeat(length)}).to_string();
    let batch = Request::post("/api/nodevent/notify", body).encode(&process.site.address).repeat(BATCH);
    let stored = |text: &[u8]| text.windows(8).filter(|part| part == b"\"ids\":[\"").count();
    let mut stream = process.site.dial().await;
    for _ in 0..count / BATCH {
        stream.write_all(&batch).await.unwrap();
        let mut responses = Vec::new();
        while stored(&responses) < BATCH {
            let read = in_time("the responses", stream.read_buf(&mut responses)).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&responses));
        }
    }
}

/// W-53: a site sends to a user who never comes.
#[test]
fn very_many_messages_for_one_user_need_bounded_memory() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        // With Redis, the server itself holds nothing.
        for (engine, part) in [(String::new(), 1), (format!("redis: \"{}\", ", redis.url()), 10)] {
            let process = Process::start(&settings(&engine)).await;
            process.is_ready().await;
            // The mailbox is full from now on.
            let first = 2000;
            send_many(&process, (first, LONG.1)).await;
            let before = process.resident();
            let mut sent = first as i64;
            for kind in [SHORT, LONG].map(|(count, length)| (count / part, length)) {
                send_many(&process, kind).await;
                sent += kind.0 as i64;
                let request = Request::get("/api/nodevent/users/7/mailbox?limit=1")
                    .header("Authorization", &format!("Bearer {}", token(json!({"sub": "7"}))));
                let unread = process.site.send(&request).await.json()["unread"].as_u64().unwrap();
                let length = kind.1 as u64;
                assert!(unread <= MAX_COUNT && unread * length <= MAX_BYTES, "{unread} of {length} bytes");
                // It holds nearly as many as it may.
                assert!(unread == MAX_COUNT || unread * (length + 200) > MAX_BYTES, "{unread} of {length} bytes");
                process.metric_is("nodevent_mailbox_messages_total", sent).await;
                process.metric_is("nodevent_mailbox_dropped_total", sent - unread as i64).await;
            }
            let grown = process.resident().saturating_sub(before);
            println!("{sent} messages: the process grew by {} KB", grown >> 10);
            assert!(grown < WORKING, "the server grew by {} MB", grown >> 20);
        }
    });
}
