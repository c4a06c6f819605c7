//! Further attacks on HTTP sockets: responses that are read slowly or not at all, and closed WebSockets that stay. They take
//! the sockets and descriptors that others need.

use crate::attacker::{self, repeat};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::Request;
use crate::support::raw::{Raw, close, handshake};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Sockets that the server has, fewer than the attack opens.
const SOCKETS: usize = 200;
/// Requests on each socket, whose responses exceed what the kernel takes.
const PIPELINED: usize = 20;
/// A public file of some 100 KB.
const FILE: &str = "/api/nodevent.js.map";

/// Connects from the attacker's address, with a small receive buffer.
async fn dial(address: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(4096).ok()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 7], 0))).ok()?;
    socket.connect(address.parse().ok()?).await.ok()
}

/// Weakness 15. Each response makes some progress now and then.
#[test]
fn responses_that_are_read_slowly_keep_no_client_out() {
    attacker::run(async {
        let limits = format!("limits: {{max_http_connections: {SOCKETS}}}\n/nodevent: {{}}");
        let process = Process::start(&limits).await;
        let address = &process.site.address;
        let requests = Request::get(FILE).encode(address).repeat(PIPELINED);
        assert_unnoticed(address, async || {
            let mut sockets = Vec::new();
            for _ in 0..SOCKETS + 50 {
                let Some(mut socket) = dial(address).await else { continue };
                let _ = socket.write_all(&requests).await;
                sockets.push(socket);
            }
            repeat(async || {
                let mut bytes = [0; 16 * 1024];
                for socket in &mut sockets {
                    let _ = socket.try_read(&mut bytes);
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            })
            .await;
        })
        .await;
    });
}

/// Weakness 18: memory that closed WebSockets hold while they stay. What they have not read waits for them.
#[test]
fn closed_websockets_that_stay_need_bounded_memory() {
    const SIZE: usize = 85_000;
    attacker::run(async {
        let settings = "shards: 1\nlimits: {send_buffers_total: 20MB}\n\
                        /nodevent: {history: {size: 100, max_memory: 64MB}}";
        let process = Process::start(settings).await;
        for number in 0..11 {
            let message = serde_json::json!([number, "x".repeat(SIZE)]);
            process.site.emit("/nodevent", "large", "e", message).await;
        }
        let history = process.site.get("/api/nodevent/rooms/large/history").await.json();
        let epoch = history["position"].as_str().unwrap().split(':').next().unwrap().to_owned();
        let (before, mut most, mut sockets) = (process.resident(), 0, Vec::new());
        for number in 0..150 {
            let Some(mut socket) = dial(&process.site.address).await else { continue };
            socket.write_all(&handshake(&process.site.address, "")).await.unwrap();
            let Some(mut raw) = Raw::try_after_handshake(Box::new(socket)).await else { continue };
            let join = attacker::join_since(1, "large", &format!("{epoch}:0"));
            raw.send_text("40/nodevent,").await;
            raw.send_text(&join).await;
            let _ = raw.try_send(close(1000, "")).await;
            sockets.push(raw);
            if number % 10 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                most = most.max(process.resident().saturating_sub(before));
            }
        }
        assert!(most < 80 << 20, "the server grew by {} MB", most >> 20);
    });
}

/// Clients of many addresses hold all sockets with responses that they do not read. Their sockets make room.
#[test]
fn unread_responses_of_many_addresses_make_room() {
    attacker::run(async {
        let process =
            Process::start("limits: {max_http_connections: 60, write_timeout: 120s}\n/nodevent: {}").await;
        let address = &process.site.address;
        let requests = Request::get(FILE).encode(address).repeat(PIPELINED);
        let mut sockets = Vec::new();
        for number in 0..90_u8 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.bind(SocketAddr::from(([127, 0, 1, number + 1], 0))).unwrap();
            let Ok(mut socket) = socket.connect(address.parse().unwrap()).await else { continue };
            let _ = socket.write_all(&requests).await;
            sockets.push(socket);
        }
        crate::support::wait::until("a newcomer is served", async || {
            let Ok(mut stream) = TcpStream::connect(address).await else { return false };
            let response = Request::get("/api/nodevent").exchange(&mut stream, address).await;
            response.is_ok_and(|response| response.status == 200)
        })
        .await;
        let mut first = [0; 12];
        let _ = sockets[0].read(&mut first).await;
        assert_eq!(&first, b"HTTP/1.1 200", "its responses had begun");
    });
}
