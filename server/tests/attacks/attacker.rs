//! The parts of attacks: a runtime with low priority, and hostile clients.

use crate::support::http::Io;
use crate::support::raw::{Raw, handshake, handshake_request};
use crate::support::wait::in_time;
use crate::support::{Request, Response, Site};
use futures_util::future::join_all;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

/// How long a repeated attack lasts.
const LENGTH: Duration = Duration::from_secs(3);

/// Runs a test, and no other one of this program at the same time: it would distort the measurement. Its tasks have a
/// lower priority than the server and the bystander, with which they share the cores.
pub(crate) fn run(test: impl Future<Output = ()>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            let _ = rustix::process::nice(10);
        })
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

/// Repeats a part of an attack, so that the bystander takes enough samples during it.
pub(crate) async fn repeat(mut part: impl AsyncFnMut()) {
    let began = Instant::now();
    while began.elapsed() < LENGTH {
        part().await;
    }
}

/// Sends a request on many connections, again and again. Prints how often each status came.
pub(crate) async fn flood(site: &Site, request: &Request, connections: usize) {
    let statuses = RefCell::new(BTreeMap::<u16, usize>::new());
    let one = async |_| {
        let mut client = PollingClient::connect(site).await;
        repeat(async || {
            let status = client.send(request).await.map(|response| response.status);
            *statuses.borrow_mut().entry(status.unwrap_or_default()).or_default() += 1;
            if status.is_none_or(|status| status >= 500) {
                client = PollingClient::connect(site).await;
            }
        })
        .await;
    };
    join_all((0..connections).map(one)).await;
    println!("statuses: {:?}", statuses.into_inner());
}

/// A client with many polling sessions on one TCP connection.
pub(crate) struct PollingClient {
    stream: Box<dyn Io>,
    host: String,
}

// === impl PollingClient ===

impl PollingClient {
    const PATH: &str = "/socket.io/?EIO=4&transport=polling";

    pub(crate) async fn connect(site: &Site) -> Self {
        Self { stream: site.dial().await, host: site.address.clone() }
    }

    /// Sends a request; returns `None` if the server closed the connection.
    pub(crate) async fn send(&mut self, request: &Request) -> Option<Response> {
        in_time("a response to an attacker", request.exchange(&mut self.stream, &self.host)).await.ok()
    }

    /// Opens a session. `None`: the server refused.
    pub(crate) async fn open(&mut self) -> Option<String> {
        let response = self.send(&Request::get(Self::PATH)).await.filter(|response| response.status == 200)?;
        let open: serde_json::Value = serde_json::from_str(response.text().get(1..)?).ok()?;
        Some(open["sid"].as_str()?.to_owned())
    }

    /// Posts packets to a session. `None`: the server refused.
    pub(crate) async fn post(&mut self, sid: &str, packets: &[String]) -> Option<()> {
        let request = Request::post(&format!("{}&sid={sid}", Self::PATH), packets.join("\u{1e}"));
        self.send(&request).await.filter(|response| response.status == 200).map(drop)
    }
}

/// Opens a connection from another address of this machine.
pub(crate) async fn open_from(site: &Site, address: [u8; 4]) -> Raw {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((address, 0).into()).expect("an address of this machine");
    let server = site.address.parse().expect("an address");
    let mut stream: Box<dyn Io> = Box::new(socket.connect(server).await.expect("the server accepts"));
    stream.write_all(&handshake(&site.address, "")).await.expect("the server accepts a handshake");
    let mut raw = Raw::after_handshake(stream).await;
    assert!(raw.text().await.starts_with("0{"));
    raw
}

/// Enters a namespace with a token. Returns the connect packet, or the error.
pub(crate) async fn enter(raw: &mut Raw, namespace: &str, token: &str) -> String {
    raw.send_text(&format!("40{namespace},{{\"token\":\"{token}\"}}")).await;
    raw.text().await
}

/// The packet of a join with a position.
pub(crate) fn join_since(id: usize, room: &str, since: &str) -> String {
    format!("42/nodevent,{id}[\"join\",{{\"room\":\"{room}\",\"since\":\"{since}\"}}]")
}

/// Joins a room, and returns the acknowledgement without its prefix.
pub(crate) async fn join(raw: &mut Raw, packet: &str) -> String {
    raw.send_text(packet).await;
    let reply = raw.text().await;
    let start = reply.find('[').unwrap_or_else(|| panic!("not an acknowledgement: {reply}"));
    reply[start..].to_owned()
}

/// Opens a connection to `/nodevent` with the protocol `plain`.
pub(crate) async fn plain(site: &Site) -> Raw {
    let mut stream = site.dial().await;
    let mut request = handshake_request("");
    request.path = "/ws/nodevent".to_owned();
    stream.write_all(&request.encode(&site.address)).await.expect("the server accepts a handshake");
    let mut raw = Raw::after_handshake(stream).await;
    assert!(raw.text().await.starts_with("{\"hello\""));
    raw
}
