//! Attacks with mailboxes: responses that are not read, a user with very many connections, and acknowledgements without end.

use crate::attacker::{self, open_from};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::http::Io;
use crate::support::raw::{Raw, handshake};
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::{in_time, until};
use crate::support::{RedisServer, Request};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
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
/// Connections that acknowledge without end, each as often as its limit of bytes allows.
const ACKNOWLEDGING: usize = 40;
const ACKNOWLEDGEMENT_INTERVAL: Duration = Duration::from_millis(50);
/// Connections that do not read their mailbox.
const NOT_READING: usize = 20;
/// Calls of Redis in half a second that are no reads without end: others have a few.
const FEW_CALLS: i64 = 20;

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

/// Enters the namespace as a user, and requests the mailbox.
async fn open_mailbox(raw: &mut Raw, user: &str) {
    assert!(attacker::enter(raw, "/nodevent", &token(json!({"sub": user}))).await.starts_with("40/nodevent,"));
    raw.send_text("42/nodevent,[\"mailbox\"]").await;
}

/// Whether a packet is the end of a mailbox.
fn is_last_page(packet: &str) -> bool {
    packet.starts_with("42/nodevent,[\"mailbox\"") && packet.ends_with("\"last\":true}]")
}

/// Each names a thousand messages that do not exist, which Redis looks up one by one.
#[test]
fn acknowledgements_without_end_delay_no_publication() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&settings(&format!("redis: \"{}\", ", redis.url()))).await;
        process.is_ready().await;
        notify(&process, "x").await;
        let ids = Vec::from_iter((1..=1000).map(|number| format!("\"{number}\"")));
        let packet = Arc::new(format!("42/nodevent,2[\"acknowledge\",{{\"ids\":[{}]}}]", ids.join(",")));
        let mut connections = Vec::new();
        for _ in 0..ACKNOWLEDGING {
            let mut raw = open_from(&process.site, [127, 0, 0, 1]).await;
            open_mailbox(&mut raw, "7").await;
            connections.push(raw);
        }
        let replies = Arc::new(AtomicUsize::new(0));
        let mut flood = JoinSet::new();
        assert_unnoticed(&process.site.address, async || {
            for mut raw in connections.drain(..) {
                let (packet, replies) = (Arc::clone(&packet), Arc::clone(&replies));
                flood.spawn(async move {
                    let mut interval = tokio::time::interval(ACKNOWLEDGEMENT_INTERVAL);
                    loop {
                        tokio::select! {
                            _ = interval.tick() => raw.send_text(&packet).await,
                            text = raw.try_text() => match text {
                                Some(text) => drop(replies.fetch_add(usize::from(text.starts_with("43")), SeqCst)),
                                None => return,
                            },
                        }
                    }
                });
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        })
        .await;
        assert!(replies.load(SeqCst) > ACKNOWLEDGING && flood.try_join_next().is_none(), "none was closed");
        flood.abort_all();
    });
}

/// All connections of one user want its full mailbox at the same moment.
#[test]
fn mailbox_of_one_client_is_not_behind_all_those_of_another() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process =
            Process::start(&format!("shards: 1\n{}", settings(&format!("redis: \"{}\", ", redis.url())))).await;
        process.is_ready().await;
        send_many(&process, (1000, 700)).await;
        let mut readers = JoinSet::new();
        let enter = async |address, user: &str| {
            let mut raw = open_from(&process.site, address).await;
            assert!(attacker::enter(&mut raw, "/nodevent", &token(json!({"sub": user}))).await.starts_with("40"));
            raw
        };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(enter([127, 0, 0, 1], "7").await);
        }
        let mut other = enter([127, 0, 0, 2], "8").await;
        let before = calls(&redis).await;
        for raw in &mut connections {
            raw.send_text("42/nodevent,[\"mailbox\"]").await;
        }
        other.send_text("42/nodevent,[\"mailbox\"]").await;
        for raw in connections {
            readers.spawn(raw.drain());
        }
        while !is_last_page(&other.text().await) {}
        let reads = calls(&redis).await - before;
        assert!(reads < CONNECTIONS as i64 / 2, "{reads} pages were read before, of {CONNECTIONS} connections");
        readers.abort_all();
    });
}

/// The scripts that a Redis has run.
async fn calls(redis: &RedisServer) -> i64 {
    let count = "return tonumber(string.match(redis.call('INFO', 'commandstats'), 'cmdstat_evalsha:calls=(%d+)'))";
    redis.call(&["EVAL", count, "0"]).await.trim_start_matches(':').parse().unwrap()
}

/// A page for which the client has no room is not read before it has.
#[test]
fn mailboxes_of_clients_that_do_not_read_are_not_read_again_and_again() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&settings(&format!("redis: \"{}\", ", redis.url()))).await;
        process.is_ready().await;
        send_many(&process, (1000, 1000)).await;
        let mut connections = Vec::new();
        for _ in 0..NOT_READING {
            let socket = TcpSocket::new_v4().unwrap();
            // The kernel is to hold little of it.
            socket.set_recv_buffer_size(4096).unwrap();
            let stream = socket.connect(process.site.address.parse().unwrap()).await.unwrap();
            let mut stream: Box<dyn Io> = Box::new(stream);
            stream.write_all(&handshake(&process.site.address, "")).await.unwrap();
            let mut raw = Raw::after_handshake(stream).await;
            assert!(raw.text().await.starts_with("0{"));
            open_mailbox(&mut raw, "7").await;
            connections.push(raw);
        }
        assert!(calls(&redis).await >= NOT_READING as i64, "the first pages were read");
        until("the server waits for the clients", async || {
            let before = calls(&redis).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            calls(&redis).await - before < FEW_CALLS
        })
        .await;
        // They receive the rest as soon as they read.
        for raw in &mut connections {
            while !is_last_page(&raw.text().await) {}
        }
    });
}
