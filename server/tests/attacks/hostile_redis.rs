//! Attack 14: a hostile Redis. Its replies must not crash the server or take its memory.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::wait::until;
use crate::support::{Request, Site};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Replies that nest aggregates without end, one per kind.
fn nested() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |head: &str| head.as_bytes().repeat(200_000);
    vec![
        ("nested arrays", nested("*1\r\n")),
        ("nested maps", nested("%1\r\n")),
        ("nested sets", nested("~1\r\n")),
        ("nested pushes", nested(">1\r\n")),
        ("nested attributes", nested("|1\r\n")),
        ("nested arrays that end", [b"*1\r\n".repeat(250_000), b":1\r\n".to_vec()].concat()),
        ("wide nested arrays", b"*1000000\r\n".repeat(100_000)),
    ]
}

/// Replies with impossible or excessive lengths, and bytes that are not replies.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a giant array", b"*9223372036854775807\r\n".to_vec()),
        ("a negative array", b"*-9223372036854775808\r\n".to_vec()),
        ("a giant text", b"$9223372036854775807\r\nx".to_vec()),
        ("a text of 4 GB", b"$4294967296\r\nx".to_vec()),
        ("bytes of another protocol", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("an endless line", vec![b'+'; 1_000_000]),
    ]
}

/// Replies of RESP3 that are sent in parts, which have no limit together. The server never switches to RESP3.
fn streamed() -> Vec<(&'static str, Vec<u8>)> {
    let streamed = |head: &str, part: &str| [head.as_bytes(), &part.as_bytes().repeat(1_500_000)].concat();
    vec![
        ("a streamed array", streamed("*?\r\n", ":1\r\n")),
        ("a streamed set", streamed("~?\r\n", "_\r\n")),
        ("a streamed map", streamed("%?\r\n", "+k\r\n:1\r\n")),
        ("a streamed text", streamed("$?\r\n", ";1\r\na\r\n")),
        ("a streamed array in an attribute", streamed("|1\r\n+k\r\n:1\r\n*?\r\n", ":1\r\n")),
    ]
}

/// Accepts connections, and sends `reply` to each while it is hostile; otherwise it closes them. Returns the port and the
/// number of replies.
async fn hostile_redis(reply: Vec<u8>, is_hostile: Arc<AtomicBool>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, sent) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if !is_hostile.load(SeqCst) {
                continue;
            }
            let (reply, count) = (reply.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let mut command = [0; 4096];
                if let Ok(1..) = stream.read(&mut command).await {
                    let _ = stream.write_all(&reply).await;
                    count.fetch_add(1, SeqCst);
                    while let Ok(1..) = stream.read(&mut command).await {}
                }
            });
        }
    });
    (port, sent)
}

async fn is_alive(site: &Site) -> bool {
    let Ok(mut stream) = TcpStream::connect(&site.address).await else { return false };
    Request::get("/healthz").exchange(&mut stream, &site.address).await.is_ok_and(|response| response.status == 200)
}

/// Checks that a server survives each of the replies and does not grow.
async fn assert_survived(replies: Vec<(&'static str, Vec<u8>)>) {
    let mut failures = Vec::new();
    for (name, reply) in replies {
        let (port, sent) = hostile_redis(reply, Arc::new(AtomicBool::new(true))).await;
        let process = Process::start(&format!("/nodevent: {{redis: {{host: 127.0.0.1, port: {port}}}}}")).await;
        let before = process.resident();
        until("the server has received a reply", async || sent.load(SeqCst) > 0).await;
        let mut most = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if !is_alive(&process.site).await {
                failures.push(format!("{name}: the server crashes"));
                break;
            }
            most = most.max(process.resident().saturating_sub(before));
        }
        if most > 64 << 20 {
            failures.push(format!("{name}: the server grows by {} MB", most >> 20));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn malformed_redis_replies_neither_crash_the_server_nor_take_its_memory() {
    attacker::run(assert_survived(malformed()));
}

#[test]
fn nested_redis_replies_neither_crash_the_server_nor_take_its_memory() {
    attacker::run(assert_survived(nested()));
}

#[test]
fn streamed_redis_replies_neither_crash_the_server_nor_take_its_memory() {
    attacker::run(assert_survived(streamed()));
}

/// The hostile Redis serves other namespaces of the same server, one for each reply.
#[test]
fn hostile_redis_delays_no_client_of_another_namespace() {
    attacker::run(async {
        let (is_hostile, mut counts, mut settings) =
            (Arc::new(AtomicBool::new(false)), Vec::new(), "/nodevent: {}\n".to_owned());
        for (number, (_, reply)) in nested().into_iter().chain(malformed()).chain(streamed()).enumerate() {
            let (port, sent) = hostile_redis(reply, Arc::clone(&is_hostile)).await;
            settings.push_str(&format!("/hostile{number}: {{redis: {{host: 127.0.0.1, port: {port}}}}}\n"));
            counts.push(sent);
        }
        let process = Process::start(&settings).await;
        assert_unnoticed(&process.site.address, async || {
            let before: Vec<usize> = counts.iter().map(|count| count.load(SeqCst)).collect();
            is_hostile.store(true, SeqCst);
            until("each reply has been sent", async || {
                counts.iter().zip(&before).all(|(count, before)| count.load(SeqCst) > *before)
            })
            .await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            is_hostile.store(false, SeqCst);
        })
        .await;
    });
}

/// A Redis that serves everything but reads of histories in pages: to these it returns full pages without an end.
async fn redis_with_endless_pages(real: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(real) = TcpStream::connect(("127.0.0.1", real)).await else { return };
                let ((mut from_client, mut to_client), (mut from_real, mut to_real)) =
                    (client.into_split(), real.into_split());
                let (replies, mut all) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
                let own = replies.clone();
                tokio::spawn(async move {
                    while let Some(reply) = all.recv().await {
                        if to_client.write_all(&reply).await.is_err() {
                            return;
                        }
                    }
                });
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(count @ 1..) = from_real.read(&mut bytes).await {
                        if replies.send(bytes[..count].to_vec()).await.is_err() {
                            return;
                        }
                    }
                });
                let mut bytes = vec![0; 65_536];
                while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                    let is_open = match page_for(&bytes[..count]) {
                        Some(page) => own.send(page).await.is_ok(),
                        None => to_real.write_all(&bytes[..count]).await.is_ok(),
                    };
                    if !is_open {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The page for a read of a history with a limit: as many publications of 500 KB as it requests. `None`: it is another
/// command.
fn page_for(command: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(command);
    let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
    // EVALSHA, the script, 2, two keys, and the five arguments of a read.
    let [name, _, "2", _, _, _, after, _, _, limit] = words[..] else { return None };
    let (after, limit) = (after.parse::<u64>().ok()?, limit.parse::<u64>().ok()?);
    name.eq_ignore_ascii_case("evalsha").then(|| {
        let mut reply = format!("*7\r\n$16\r\n0000000000000001\r\n:{}\r\n*{limit}\r\n", after + limit + 1);
        for offset in after + 1..=after + limit {
            let padding = "x".repeat(500_000);
            let one = format!(
                "{{\"room\":\"r\",\"event\":\"e\",\"message\":\"{padding}\",\"position\":\"0000000000000001:{offset}\"}}"
            );
            reply.push_str(&format!("${}\r\n{one}\r\n", one.len()));
        }
        reply.push_str(&"$0\r\n\r\n".repeat(4));
        reply.into_bytes()
    })
}

/// Weakness 22. A history has at most 10 publications of 1 MB; the pages would have half a gigabyte before they are
/// given up.
#[test]
fn endless_pages_of_a_history_take_bounded_memory_and_delay_no_other_client() {
    attacker::run(async {
        let redis = crate::support::RedisServer::start().await;
        let port = redis_with_endless_pages(redis.port).await;
        let settings = format!(
            "/nodevent: {{}}\n/hostile: {{open: true, history: {{size: 10}}, redis: {{host: 127.0.0.1, port: {port}}}}}\n"
        );
        let process = Process::start(&settings).await;
        process.is_ready().await;
        let before = process.resident();
        assert_unnoticed(&process.site.address, async || {
            let response = process.site.get("/api/hostile/rooms/r/history?since=0000000000000001:0").await;
            assert_eq!(response.status, 503, "{}", response.text());
            tokio::time::sleep(Duration::from_secs(2)).await;
        })
        .await;
        let grown = process.resident().saturating_sub(before);
        assert!(grown < 250 << 20, "the server grew by {} MB", grown >> 20);
    });
}
