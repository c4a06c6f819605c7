//! Twenty thousand browsers connect and join without waiting for anything, and no join is lost.
//!
//! A test program of its own, since it takes both cores and half of the open files.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use support::http::Response;
use support::wait::in_time;
use support::websocket::{Reader, frame, handshake};
use support::{Site, TestServer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ALL: usize = 20_000;
/// Browsers at a time, where the limit of open files allows it: two files each, since the server is in this process.
const WAVE: usize = 1_000;
/// Files for everything else.
const SPARE: u64 = 200;

/// How a browser does not wait.
#[derive(Debug, Clone, Copy)]
enum Haste {
    /// It connects the namespace and joins in the bytes that follow its handshake, before it has an answer.
    WithTheHandshake,
    /// It does so as soon as it is answered 101, before it has read the open packet.
    BehindTheAnswer,
}

/// One browser comes; answers its socket when its join has been acknowledged.
async fn come(address: SocketAddr, haste: Haste) -> (TcpStream, Reader) {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let head = handshake(&address.to_string(), "");
    let packets = [frame("40/nodevent,"), frame(r#"42/nodevent,7["join",{"room":"r"}]"#)].concat();
    let first = match haste {
        Haste::WithTheHandshake => [&head[..], &packets].concat(),
        Haste::BehindTheAnswer => head,
    };
    stream.write_all(&first).await.expect("the handshake is taken");
    let response = Response::read(&mut stream, true).await.expect("an answer");
    assert_eq!(response.status, 101);
    if let Haste::BehindTheAnswer = haste {
        stream.write_all(&packets).await.expect("the packets are taken");
    }
    let mut reader = Reader::after(&response);
    for expected in ["0{", "40/nodevent,{", "43/nodevent,7[null,true"] {
        let packet = reader.next(&mut stream).await.unwrap_or_else(|| panic!("{haste:?}: no {expected}"));
        assert!(packet.starts_with(expected), "{haste:?}: {packet} instead of {expected}");
    }
    (stream, reader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_thousand_joins_that_wait_for_nothing_none_is_lost() {
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files");
    let wave = WAVE.min((files.saturating_sub(SPARE) / 2) as usize);
    assert!(wave > 0, "{files} open files are too few: raise the limit, e.g. `ulimit -n 4096`");
    let server = TestServer::start_as_written("port: 0\nadmin: {port: 0}\n/nodevent: {}").await;
    let port = server.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let mut come_so_far = 0;
    for number in 0.. {
        let many = wave.min(ALL - come_so_far);
        if many == 0 {
            break;
        }
        // Each wave meets another address of this machine, so that ports in TIME_WAIT do not run out.
        let address =
            SocketAddr::from((Ipv4Addr::new(127, 0, 1 + (number / 250) as u8, 1 + (number % 250) as u8), port));
        let mut coming = JoinSet::new();
        for one in 0..many {
            let haste = if one % 2 == 0 { Haste::WithTheHandshake } else { Haste::BehindTheAnswer };
            coming.spawn(async move { in_time("a browser has joined", come(address, haste)).await });
        }
        let browsers = coming.join_all().await;
        come_so_far += many;
        assert_eq!(server.metric("nodevent_joins_total").await, come_so_far as i64);
        // An acknowledged join is a join: everybody hears what is said in the room.
        Site::at(&format!("http://127.0.0.1:{port}")).emit("/nodevent", "r", "e", number).await;
        for (mut stream, mut reader) in browsers {
            let heard = in_time("everybody hears", reader.next(&mut stream)).await.expect("an event");
            assert!(heard.contains(&format!(r#""message":{number}"#)), "{heard}");
        }
        server.metric_is("nodevent_connections", 0).await;
    }
    assert_eq!(server.metric("nodevent_connections_opened_total").await, ALL as i64);
    assert_eq!(server.metric("nodevent_rejected_joins_total").await, 0);
}
