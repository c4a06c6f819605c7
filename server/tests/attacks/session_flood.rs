//! Attack 2: anonymous polling handshakes. Sessions without a connection behind them fill the limit of connections, and
//! the server refuses all further clients.

use crate::attacker::{self, PollingClient};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::wait::in_time;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

/// A limit that the attack exceeds within a second; the default of 200,000 lasts four.
const LIMIT: usize = 2_000;
/// TCP connections of the attack.
const CONNECTIONS: usize = 4;
/// How long the attack continues after it has reached the limit.
const LENGTH: Duration = Duration::from_secs(3);

#[test]
fn flood_of_polling_handshakes_refuses_no_other_client() {
    attacker::run(async {
        let process = Process::start(&format!("limits: {{max_connections: {LIMIT}}}\n/nodevent: {{}}")).await;
        assert_unnoticed(&process.site.address, async || {
            let mut clients = JoinSet::new();
            for _ in 0..CONNECTIONS {
                let site = process.site.clone();
                clients.spawn(async move {
                    let mut client = PollingClient::connect(&site).await;
                    for _ in 0..LIMIT {
                        client.open().await;
                    }
                });
            }
            clients.join_all().await;
            tokio::time::sleep(LENGTH).await;
        })
        .await;
    });
}

/// A sibling: sockets that send nothing are not sessions, and must not keep others out either.
#[test]
fn flood_of_silent_sockets_refuses_no_other_client() {
    attacker::run(async {
        let process = Process::start(&format!("limits: {{max_connections: {LIMIT}}}\n/nodevent: {{}}")).await;
        assert_unnoticed(&process.site.address, async || {
            let mut sockets = Vec::new();
            for _ in 0..LIMIT {
                sockets.push(process.site.dial().await);
            }
            tokio::time::sleep(LENGTH).await;
        })
        .await;
    });
}

/// A sibling: slow request headers, one byte at a time.
#[test]
fn flood_of_slow_headers_refuses_no_other_client() {
    attacker::run(async {
        let process = Process::start(&format!("limits: {{max_connections: {LIMIT}}}\n/nodevent: {{}}")).await;
        assert_unnoticed(&process.site.address, async || {
            let mut sockets = Vec::new();
            for _ in 0..500 {
                let mut socket = process.site.dial().await;
                socket
                    .write_all(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX: ")
                    .await
                    .unwrap();
                sockets.push(socket);
            }
            for _ in 0..20 {
                for socket in &mut sockets {
                    let _ = socket.write_all(b"x").await;
                }
                tokio::time::sleep(LENGTH / 20).await;
            }
        })
        .await;
        let mut socket = process.site.dial().await;
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        in_time("a response", socket.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    });
}
