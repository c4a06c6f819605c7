//! Twenty thousand browsers connect and join without waiting for replies, and no join is lost.
//!
//! It is a separate test program because it uses both cores and half of the open files.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use support::raw::{Raw, TEXT, handshake, last};
use support::wait::in_time;

use support::{Site, TestServer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ALL: usize = 20_000;
/// Concurrent browsers, if the limit of open files permits: two files each, because the server is in this process.
const WAVE: usize = 1_000;
/// Files reserved for everything else.
const SPARE: u64 = 200;

/// The moment at which a browser sends its connect packet and its join.
#[derive(Debug, Clone, Copy)]
enum Timing {
    /// In the same write as the handshake, before any response.
    WithTheHandshake,
    /// After the 101 response, before the open packet.
    AfterTheResponse,
}

/// Connects and joins as one browser; returns when the join is acknowledged.
async fn connect_and_join(address: SocketAddr, timing: Timing) -> Raw {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let head = handshake(&address.to_string(), "");
    let packets = [last(TEXT, "40/nodevent,"), last(TEXT, r#"42/nodevent,7["join",{"room":"r"}]"#)].concat();
    let first = match timing {
        Timing::WithTheHandshake => [&head[..], &packets].concat(),
        Timing::AfterTheResponse => head,
    };
    stream.write_all(&first).await.expect("the server accepts the handshake");
    let mut raw = Raw::after_handshake(Box::new(stream)).await;
    if let Timing::AfterTheResponse = timing {
        raw.send(&packets).await;
    }
    for expected in ["0{", "40/nodevent,{", "43/nodevent,7[null,true"] {
        let packet = raw.text().await;
        assert!(packet.starts_with(expected), "{timing:?}: {packet} instead of {expected}");
    }
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_eager_joins_are_all_acknowledged() {
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files");
    let wave = WAVE.min((files.saturating_sub(SPARE) / 2) as usize);
    assert!(wave > 0, "{files} open files are too few: raise the limit, e.g. `ulimit -n 4096`");
    let server = TestServer::start_as_written("port: 0\nadmin: {port: 0}\npublish: local\n/nodevent: {}").await;
    let port = server.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let mut joined = 0;
    for number in 0.. {
        let many = wave.min(ALL - joined);
        if many == 0 {
            break;
        }
        // Each wave connects to another address of this machine, so that ports in TIME_WAIT do not run out.
        let address =
            SocketAddr::from((Ipv4Addr::new(127, 0, 1 + (number / 250) as u8, 1 + (number % 250) as u8), port));
        let mut connecting = JoinSet::new();
        for one in 0..many {
            let timing = if one % 2 == 0 { Timing::WithTheHandshake } else { Timing::AfterTheResponse };
            connecting
                .spawn(async move { in_time("a browser has joined", connect_and_join(address, timing)).await });
        }
        let browsers = connecting.join_all().await;
        joined += many;
        assert_eq!(server.metric("nodevent_joins_total").await, joined as i64);
        // Every acknowledged join is effective: all members receive a publication to the room.
        Site::at(&format!("http://127.0.0.1:{port}")).emit("/nodevent", "r", "e", number).await;
        for mut browser in browsers {
            let received = browser.text().await;
            assert!(received.contains(&format!(r#""message":{number}"#)), "{received}");
        }
        server.metric_is("nodevent_connections", 0).await;
    }
    assert_eq!(server.metric("nodevent_connections_opened_total").await, ALL as i64);
    assert_eq!(server.metric("nodevent_rejected_joins_total").await, 0);
}
