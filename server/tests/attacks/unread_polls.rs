//! Responses to polls that are not read: an anonymous client has the server send as much as fits into a send buffer, and
//! reads nothing of it.

use crate::attacker::{self, PollingClient, join_since};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::http::Io;
use crate::support::wait::{in_time, until};
use crate::support::{Request, Response};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

const MEGABYTE: u64 = 1 << 20;
/// The size of one publication, and their number in the room. Nearly as much as a send buffer.
const SIZE: usize = 400_000;
const COUNT: usize = 5;
/// Sessions with an unread response. Unbounded, these need more than 300 MB.
const SESSIONS: usize = 160;
/// How long the responses stay unread.
const UNREAD: Duration = Duration::from_secs(2);
/// A response takes as much as the budget allows, and the process needs something to work.
const GROWTH: u64 = 60 * MEGABYTE;

/// Starts a server with a large room. Returns the epoch of the room too.
async fn start() -> (Process, String) {
    let limits = "limits: {send_buffer: 4MB, send_buffers_total: 20MB}";
    let process = Process::start(&format!(
        "shards: 1\n{limits}\n/nodevent: {{open: true, history: {{size: 100, max_memory: 64MB}}}}"
    ))
    .await;
    for number in 0..COUNT {
        process.site.emit("/nodevent", "large", "e", json!([number, "x".repeat(SIZE)])).await;
    }
    let history = process.site.get("/api/nodevent/rooms/large/history").await.json();
    let position = history["position"].as_str().unwrap();
    let epoch = position.split_once(':').unwrap().0.to_owned();
    (process, epoch)
}

/// A socket that accepts little of what the server sends.
async fn dial_slowly(process: &Process) -> Box<dyn Io> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 7], 0))).unwrap();
    Box::new(socket.connect(process.site.address.parse().unwrap()).await.unwrap())
}

fn poll(sid: &str) -> Request {
    Request::get(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"))
}

/// Opens a session that is about to receive the whole room. `None`: the server refused.
async fn session(client: &mut PollingClient, process: &Process, epoch: &str) -> Option<String> {
    let sid = client.open().await?;
    client.post(&sid, &["40/nodevent,".to_owned()]).await?;
    let mut stream = process.site.dial().await;
    poll(&sid).exchange(&mut stream, &process.site.address).await.ok()?;
    client.post(&sid, &[join_since(1, "large", &format!("{epoch}:0"))]).await?;
    Some(sid)
}

/// Requests what waits for a session, and reads one byte of it.
async fn leave_unread(process: &Process, sid: &str) -> Box<dyn Io> {
    let mut socket = dial_slowly(process).await;
    socket.write_all(&poll(sid).encode(&process.site.address)).await.unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.read_exact(&mut [0])).await;
    socket
}

#[test]
fn unread_polls_of_many_sessions_need_bounded_memory() {
    attacker::run(async {
        let (process, epoch) = start().await;
        let mut client = PollingClient::connect(&process.site).await;
        let before = process.resident();
        assert_unnoticed(&process.site.address, async || {
            let (mut unread, mut most) = (Vec::new(), 0);
            for _ in 0..SESSIONS {
                let Some(sid) = session(&mut client, &process, &epoch).await else { continue };
                unread.push(leave_unread(&process, &sid).await);
                most = most.max(process.resident().saturating_sub(before));
            }
            // The responses stay unread for a while.
            tokio::time::sleep(UNREAD).await;
            most = most.max(process.resident().saturating_sub(before));
            assert!(most < GROWTH, "the server grew by {} MB", most / MEGABYTE);
        })
        .await;
        let closed = process.metric("nodevent_disconnects_total{reason=\"send_buffers_full\"}").await;
        assert!(closed > 0, "the responses of one client exceed its share");
        // A client on another address receives all of its response.
        let mut other = attacker_from(&process, [127, 0, 0, 9]).await;
        let sid = session(&mut client, &process, &epoch).await.expect("a session");
        let response = in_time("a response", poll(&sid).exchange(&mut other, &process.site.address)).await.unwrap();
        assert_eq!(response.status, 200);
        assert!(response.body.len() > COUNT * SIZE, "{}", response.body.len());
    });
}

async fn attacker_from(process: &Process, address: [u8; 4]) -> Box<dyn Io> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    Box::new(socket.connect(process.site.address.parse().unwrap()).await.unwrap())
}

/// The next response of a session follows when the last one is written, so that it has one unread response at most.
#[test]
fn poll_waits_until_the_last_response_is_written() {
    attacker::run(async {
        let (process, epoch) = start().await;
        let mut client = PollingClient::connect(&process.site).await;
        let sid = session(&mut client, &process, &epoch).await.expect("a session");
        let mut first = leave_unread(&process, &sid).await;
        // There is something for the next response.
        process.site.emit("/nodevent", "large", "e", "next").await;
        let mut next = process.site.dial().await;
        next.write_all(&poll(&sid).encode(&process.site.address)).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(500), next.read_u8()).await;
        assert!(early.is_err(), "the first response is not read");
        // Reading on makes room.
        let mut buffer = vec![0; 64 * 1024];
        let mut read = 1;
        while read < COUNT * SIZE {
            read += in_time("the rest of the response", first.read(&mut buffer)).await.unwrap();
        }
        let response = in_time("the next response", Response::read(&mut next, false)).await.unwrap();
        assert!(response.text().contains("next"), "{}", response.text());
        until("nothing is left", async || process.metric("nodevent_connections").await == 1).await;
    });
}
