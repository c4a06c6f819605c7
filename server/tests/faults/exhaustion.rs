//! Something runs out: file descriptors, the reader of the log, a browser that does not read.

use crate::harness::node::QUICK;
use crate::harness::{Crowd, Member, Node, Publishers, Redis, patiently, raise_file_limit, sites, traffic};
use crate::support::program;
use crate::support::redis::free_port;
use crate::support::site::Site;
use crate::support::wait::{in_time, until};
use std::io::{BufRead as _, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server may open 64 files, and 100 members want in. It says so once, serves those that are in, and lets others
/// in as soon as some have left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_file_descriptors_serves_who_is_in_and_goes_on_when_some_leave() {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let file = Node::write(&folder, port, &format!("{QUICK}/nodevent: {{history: {{size: 10000}}}}\n"));
    let mut command = tokio::process::Command::new("sh");
    program::clean(&mut command, folder.path());
    command.args(["-c", "ulimit -n 64 && exec \"$0\" \"$1\"", program::NODEVENT]).arg(file);
    let server = program::Program::spawn(command);
    server.listening().await;
    let site = Site::at(&format!("http://127.0.0.1:{port}"));
    let addresses = [site.address.clone()];
    // Publishing needs a descriptor too: the publisher has its connection before they are gone.
    let publishers = Publishers::start(std::slice::from_ref(&site), "/nodevent", &["a"]);
    traffic(&publishers, 1).await;
    let crowd: Vec<_> = (0..100).map(|_| crate::harness::Member::new(&addresses, "/nodevent", &["a"])).collect();
    server.says("cannot accept connections").await;
    let inside = || crowd.iter().filter(|member| member.is_settled()).count();
    patiently("some are in", Duration::from_secs(20), async || inside() > 20).await;
    assert!(inside() < 64, "{} with 64 descriptors", inside());
    traffic(&publishers, 20).await;
    let said = || server.log().iter().filter(|line| line.contains("cannot accept connections")).count();
    assert!(said() < 5, "said {} times", said());
    // Whoever is in leaves, and the others have their turn.
    let mut crowd = Crowd { members: crowd };
    let (inside, outside): (Vec<_>, Vec<_>) = crowd.members.drain(..).partition(|member| member.is_settled());
    let left = inside.len().min(30);
    let mut stay = outside;
    for (index, member) in inside.into_iter().enumerate() {
        if index < left {
            assert_eq!(member.end().await.strange, Vec::<String>::new());
        } else {
            stay.push(member);
        }
    }
    // Some may have been in before: a busy machine misses heartbeats.
    let waiting = stay.iter().filter(|member| member.record().connects == 0).count();
    let more = || stay.iter().filter(|member| member.record().connects > 0).count();
    let before = more();
    patiently("others come in", Duration::from_secs(20), async || more() >= before + left.min(waiting) / 2).await;
    let confirmed = publishers.finish().await;
    // Whoever never came in has nothing to be judged by, and goes, so that nobody else lacks a descriptor.
    let (inside, outside): (Vec<_>, Vec<_>) = stay.into_iter().partition(Member::is_settled);
    for member in outside {
        assert_eq!(member.end().await.strange, Vec::<String>::new());
    }
    let verdict = Crowd { members: inside }.verdict_of(&confirmed, &[]).await;
    assert_eq!(verdict.told, 0, "{verdict:?}");
}

/// Nobody reads the server's log: the pipe is full from the beginning. The server starts, serves, and refuses what is
/// wrong, with lines that nobody takes. What waited is there when the pipe is read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_log_nobody_reads_serves_on() {
    let (reader, pipe) = std::io::pipe().expect("a pipe");
    let filled = Arc::new(AtomicUsize::new(0));
    let (mut filler, written) = (pipe.try_clone().expect("the same pipe"), Arc::clone(&filled));
    // Ends, as the pipe does, with its reader.
    std::thread::spawn(move || {
        while let Ok(length) = filler.write(&[b'\n'; 4096]) {
            written.fetch_add(length, SeqCst);
        }
    });
    until("the pipe is full", async || filled.load(SeqCst) >= 65_536).await;
    let (folder, port) = (TempDir::new().expect("a folder"), free_port());
    let file = Node::write(&folder, port, "log: {level: trace}\n/nodevent: {history: {size: 10000}}\n");
    let mut command = program::command(folder.path());
    command.arg(file).stdin(Stdio::null()).stderr(pipe).kill_on_drop(true);
    let mut server = command.spawn().expect("the program starts");
    let site = Site::at(&format!("http://127.0.0.1:{port}"));
    until("it listens", async || TcpStream::connect(&site.address).await.is_ok()).await;
    let crowd = Crowd::join(20, std::slice::from_ref(&site), "/nodevent", &["a"]).await;
    let publishers = Publishers::start(std::slice::from_ref(&site), "/nodevent", &["a"]);
    for _ in 0..1000 {
        assert_eq!(site.publish("/nodevent", "no publication").await.status, 400);
    }
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &[]).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
    let lines = std::io::BufReader::new(reader).lines();
    let mut texts = lines.map_while(Result::ok);
    assert!(texts.any(|line| line.contains("listening url=")), "what waited is written now");
    server.kill().await.expect("it ends");
}

/// A member stops reading while its room is flooded: it is cut with a name, the server's memory stays bounded, and the
/// other members miss nothing. N-34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_read_is_cut_and_harms_nobody() {
    raise_file_limit();
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start(&redis.namespace("/nodevent", "")).await];
    let before = nodes[0].footprint();
    let crowd = Crowd::join(10, &sites(&nodes), "/nodevent", &["a"]).await;
    let mut deaf = TcpStream::connect(&nodes[0].site.address).await.expect("the server listens");
    let handshake = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        nodes[0].site.address
    );
    deaf.write_all(handshake.as_bytes()).await.expect("the server reads");
    for text in ["40/nodevent,", r#"42/nodevent,1["join",{"room":"flood"}]"#] {
        // A masked frame whose mask is zero.
        let head = [0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        deaf.write_all(&[&head, text.as_bytes()].concat()).await.expect("the server reads");
    }
    let mut answer = Vec::new();
    until("it has joined", async || {
        let read = tokio::time::timeout(Duration::from_millis(100), deaf.read_buf(&mut answer)).await;
        read.is_ok() && String::from_utf8_lossy(&answer).contains("43/nodevent,1")
    })
    .await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["a"]);
    let text = format!("{{\"room\":\"flood\",\"event\":\"e\",\"message\":\"{}\"}}", "x".repeat(100_000));
    let cut = "nodevent_disconnects_total{reason=\"send_buffer_full\"}";
    for _ in 0..300 {
        redis.shout("/nodevent", &text).await;
        if nodes[0].metric(cut).await == 1 {
            break;
        }
    }
    until("it is cut", async || nodes[0].metric(cut).await == 1).await;
    let after = nodes[0].footprint();
    assert!(after.memory < before.memory + 64 * 1024, "{before:?}, {after:?}");
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
    in_time("the server has closed it", async {
        while deaf.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
    })
    .await;
}
