//! Resources run out: file descriptors, the log pipe, the send buffer of a connection.

use crate::harness::node::{SLOW_HEARTBEAT, STORE};
use crate::harness::{Fleet, Member, Node, Publishers, Redis, eventually, raise_file_limit, sites, traffic};
use crate::support::program;
use crate::support::raw::Raw;
use crate::support::redis::free_port;
use crate::support::site::Site;
use crate::support::wait::until;
use std::io::{BufRead as _, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A server may open 64 files, and 100 members try to connect. It logs the shortage once, serves the connected members,
/// and accepts others as soon as some have left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_without_file_descriptors_keeps_its_members_and_accepts_again_later() {
    without_file_descriptors("").await;
}

/// The same with a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_with_a_store_and_without_file_descriptors_keeps_its_members_and_accepts_again_later() {
    without_file_descriptors(STORE).await;
}

async fn without_file_descriptors(store: &str) {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let settings = format!("{SLOW_HEARTBEAT}{store}/nodevent: {{history: {{size: 10000}}}}\n");
    let file = Node::write(&folder, port, &settings);
    let mut command = tokio::process::Command::new("sh");
    program::clean(&mut command, folder.path());
    command.args(["-c", "ulimit -n 64 && exec \"$0\" \"$1\"", program::NODEVENT]).arg(file);
    let server = program::Program::spawn(command);
    server.listening().await;
    let site = Site::at(&format!("http://127.0.0.1:{port}"));
    let addresses = [site.address.clone()];
    // Publishing needs a descriptor too: the publisher connects before they run out.
    let publishers = Publishers::start(std::slice::from_ref(&site), "/nodevent", &["a"]);
    traffic(&publishers, 1).await;
    let fleet: Vec<_> = (0..100).map(|_| crate::harness::Member::new(&addresses, "/nodevent", &["a"])).collect();
    server.logs("cannot accept connections").await;
    let inside = || fleet.iter().filter(|member| member.is_joined()).count();
    eventually("some have joined", Duration::from_secs(60), async || inside() > 20).await;
    assert!(inside() < 64, "{} with 64 descriptors", inside());
    traffic(&publishers, 20).await;
    let logged = || server.log().iter().filter(|line| line.contains("cannot accept connections")).count();
    assert!(logged() < 5, "logged {} times", logged());
    // Some joined members leave, and others take their place.
    let mut fleet = Fleet { members: fleet };
    let (inside, outside): (Vec<_>, Vec<_>) = fleet.members.drain(..).partition(|member| member.is_joined());
    let left = inside.len().min(30);
    let mut stay = outside;
    for (index, member) in inside.into_iter().enumerate() {
        if index < left {
            assert_eq!(member.end().await.violations, Vec::<String>::new());
        } else {
            stay.push(member);
        }
    }
    // Some may have joined before.
    let waiting = stay.iter().filter(|member| member.record().connects == 0).count();
    let more = || stay.iter().filter(|member| member.record().connects > 0).count();
    let before = more();
    eventually("others join", Duration::from_secs(60), async || more() >= before + left.min(waiting) / 2).await;
    let confirmed = publishers.finish().await;
    // Members that never joined have no record to check. They stop, so that the others get their descriptors.
    let (inside, outside): (Vec<_>, Vec<_>) = stay.into_iter().partition(Member::is_joined);
    for member in outside {
        assert_eq!(member.end().await.violations, Vec::<String>::new());
    }
    let verdict = Fleet { members: inside }.verdict_of(&confirmed, &[]).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
}

/// The pipe of the server's log is full from the beginning, and no process reads it. The server starts, serves and
/// refuses invalid requests, with log lines that it cannot write. It writes them when the pipe is read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_with_a_blocked_log_keeps_serving() {
    blocked_log("").await;
}

/// The same with a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_with_a_store_and_a_blocked_log_keeps_serving() {
    blocked_log(STORE).await;
}

async fn blocked_log(store: &str) {
    let (reader, pipe) = std::io::pipe().expect("a pipe");
    let filled = Arc::new(AtomicUsize::new(0));
    let (mut filler, written) = (pipe.try_clone().expect("the same pipe"), Arc::clone(&filled));
    // The thread ends when the reader of the pipe is dropped.
    std::thread::spawn(move || {
        while let Ok(length) = filler.write(&[b'\n'; 4096]) {
            written.fetch_add(length, SeqCst);
        }
    });
    until("the pipe is full", async || filled.load(SeqCst) >= 65_536).await;
    let (folder, port) = (TempDir::new().expect("a folder"), free_port());
    let file = Node::write(
        &folder,
        port,
        &format!("log: {{level: trace}}\n{store}/nodevent: {{history: {{size: 10000}}}}\n"),
    );
    let mut command = program::command(folder.path());
    command.arg(file).stdin(Stdio::null()).stderr(pipe).kill_on_drop(true);
    let mut server = command.spawn().expect("the program starts");
    let site = Site::at(&format!("http://127.0.0.1:{port}"));
    until("it listens", async || TcpStream::connect(&site.address).await.is_ok()).await;
    let fleet = Fleet::join(20, std::slice::from_ref(&site), "/nodevent", &["a"]).await;
    let publishers = Publishers::start(std::slice::from_ref(&site), "/nodevent", &["a"]);
    for _ in 0..1000 {
        assert_eq!(site.publish("/nodevent", "not a publication").await.status, 400);
    }
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &[]).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
    let lines = std::io::BufReader::new(reader).lines();
    let mut texts = lines.map_while(Result::ok);
    assert!(texts.any(|line| line.contains("listening url=")), "the queued lines are written now");
    server.kill().await.expect("it exits");
}

/// A member stops reading while its room is flooded. The server disconnects it with a reason, its own memory stays
/// bounded, and the other members miss nothing. N-34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_stops_reading_is_disconnected_without_affecting_others() {
    raise_file_limit();
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start(&redis.namespace("/nodevent", "")).await];
    let before = nodes[0].footprint();
    let fleet = Fleet::join(10, &sites(&nodes), "/nodevent", &["a"]).await;
    let mut stalled = Raw::connected(&nodes[0].site, "/nodevent").await;
    stalled.send_text(r#"42/nodevent,1["join",{"room":"flood"}]"#).await;
    assert!(stalled.text().await.starts_with("43/nodevent,1[null,true"));
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["a"]);
    let text = format!("{{\"room\":\"flood\",\"event\":\"e\",\"message\":\"{}\"}}", "x".repeat(100_000));
    let closed = "nodevent_disconnects_total{reason=\"send_buffer_full\"}";
    for _ in 0..300 {
        redis.publish_raw("/nodevent", &text).await;
        if nodes[0].metric(closed).await == 1 {
            break;
        }
    }
    until("it is disconnected", async || nodes[0].metric(closed).await == 1).await;
    let after = nodes[0].footprint();
    assert!(after.memory < before.memory + 64 * 1024, "{before:?}, {after:?}");
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
    stalled.drain().await;
}
