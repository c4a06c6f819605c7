//! Upgrades in place: a server executes the program at its path again while clients connect, publish and are members.

use crate::harness::{Fleet, Node, Publishers, sites, traffic};
use crate::support::wait::until;
use crate::support::{Browser, Request, Transport};
use rustix::process::Signal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

const ROOMS: [&str; 3] = ["a", "b", "c"];
const STORE: &str = "store: data\n/nodevent: {history: {size: 10000}}\n";

/// Where clients connect.
#[derive(Clone)]
enum Address {
    Tcp(String),
    Unix(PathBuf),
}

/// Clients that connect all the time, and send one request on each connection.
struct Storm {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

// === impl Storm ===

impl Storm {
    fn start(addresses: &[Address]) -> Self {
        let (is_over, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let failures = Arc::<Mutex<Vec<String>>>::default();
        let clients = addresses
            .iter()
            .map(|address| {
                let (address, is_over, served) = (address.clone(), Arc::clone(&is_over), Arc::clone(&served));
                let failures = Arc::clone(&failures);
                tokio::spawn(async move {
                    while !is_over.load(SeqCst) {
                        match request(&address).await {
                            Ok(200) => drop(served.fetch_add(1, SeqCst)),
                            Ok(status) => failures.lock().unwrap().push(format!("status {status}")),
                            Err(error) => failures.lock().unwrap().push(error),
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
            })
            .collect();
        Self { is_over, served, failures, clients }
    }

    /// Waits until more requests were served.
    async fn more(&self, more: usize) {
        let before = self.served.load(SeqCst);
        until("requests are served", async || self.served.load(SeqCst) >= before + more).await;
    }

    /// Stops, and returns how many requests were served. None has failed.
    async fn end(self) -> usize {
        self.is_over.store(true, SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{} of {}: {failures:?}", failures.len(), self.served.load(SeqCst));
        self.served.load(SeqCst)
    }
}

async fn request(address: &Address) -> Result<u16, String> {
    let text = |error: std::io::Error| error.to_string();
    let get = Request::get("/healthz").header("Connection", "close");
    let response = match address {
        Address::Tcp(address) => {
            let mut stream = TcpStream::connect(address).await.map_err(text)?;
            get.exchange(&mut stream, "localhost").await
        }
        Address::Unix(path) => {
            let mut stream = UnixStream::connect(path).await.map_err(text)?;
            get.exchange(&mut stream, "localhost").await
        }
    };
    response.map(|response| response.status).map_err(text)
}

/// Three upgrades under traffic. No connection is refused and no request fails. To each member an upgrade is one reconnect,
/// in which it recovers everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_refuses_no_connection_and_is_one_reconnect_to_members() {
    // N-12
    let mut nodes = vec![Node::start(STORE).await];
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    let storm = Storm::start(&[(); 4].map(|()| Address::Tcp(nodes[0].site.address.clone())));
    let pid = nodes[0].program.pid();
    for _ in 0..3 {
        traffic(&publishers, 30).await;
        storm.more(20).await;
        nodes[0].upgrade().await;
        fleet.all_joined().await;
    }
    storm.more(20).await;
    let served = storm.end().await;
    assert_eq!(nodes[0].program.pid(), pid);
    let verdict = fleet.verdict(publishers, &nodes).await;
    println!("{served} requests were served during three upgrades");
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 150), "{verdict:?}");
}

/// A configuration that the new program rejects changes nothing. One that it accepts is used, and its listeners are those of
/// the server before: Unix sockets too. Those that it does not have any more are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_uses_a_configuration_that_is_accepted_and_keeps_all_sockets() {
    let listeners = "publish_socket: publish.sock\nhandover_socket: handover.sock\n";
    let mut node = Node::start(&format!("{listeners}/nodevent: {{history: {{size: 10}}}}\n")).await;
    let folder = node.folder().to_owned();
    let socket = |name: &str| folder.join(name);
    let mut page = Browser::connect(&node.site, "/nodevent", Transport::WebSocket).await;
    page.join("r").await;
    node.configure(&format!("{listeners}/nodevent: {{history: nonsense}}\n"));
    node.program.signal(Signal::USR2);
    let line = node.program.logs("the server was not upgraded, and goes on").await;
    assert!(line.contains("/nodevent.history is neither off nor an age"), "{line}");
    node.site.emit("/nodevent", "r", "e", 1).await;
    assert_eq!(page.next_event().await.message, 1);
    node.configure(&format!("{listeners}/nodevent: {{}}\n/other: {{}}\n"));
    let storm = Storm::start(&[Address::Tcp(node.site.address.clone()), Address::Unix(socket("publish.sock"))]);
    storm.more(20).await;
    node.upgrade().await;
    assert_eq!(page.ended().await, Some((1001, "server shutting down".to_owned())));
    storm.more(20).await;
    storm.end().await;
    Browser::connect(&node.site, "/other", Transport::WebSocket).await;
    assert!(UnixStream::connect(socket("handover.sock")).await.is_ok());
    node.configure("/nodevent: {}\n");
    node.upgrade().await;
    for name in ["publish.sock", "handover.sock"] {
        assert!(!socket(name).exists(), "{name} is closed");
    }
    assert_eq!(node.terminate().await, Some(0));
    assert!(TcpStream::connect(&node.site.address).await.is_err(), "nothing keeps the socket open");
}
