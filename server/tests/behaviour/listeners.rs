//! Where a server listens: Unix sockets, IPv6 and IPv4, and sockets that systemd has opened.

use crate::support::program::command;
use crate::support::wait::{in_time, until};
use crate::support::{Browser, Program, Request, Site, Transport};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

async fn get_on_socket(path: &Path, target: &str) -> u16 {
    let mut stream = in_time("a connection", UnixStream::connect(path)).await.unwrap();
    in_time("a response", Request::get(target).exchange(&mut stream, "localhost")).await.unwrap().status
}

/// Clients connect through a Unix socket as through a port. The file has the permissions that are written, and that of a
/// server that was killed is replaced.
#[tokio::test]
async fn unix_socket_serves_clients_and_replaces_the_file_of_a_dead_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let text =
        "listen: [{socket: web.sock, socket_mode: \"0600\"}]\nadmin: {port: 0}\npublish: local\n/nodevent: {}\n";
    let program = Program::serve(folder.path(), text).await;
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(get_on_socket(&path, "/readyz").await, 200);
    // A WebSocket, up to the first packet of Engine.IO.
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !received.windows(6).any(|part| part == b"{\"sid\"") {
        assert!(in_time("the open packet", stream.read_buf(&mut received)).await.unwrap() > 0);
    }
    assert!(received.starts_with(b"HTTP/1.1 101 "));
    // A proxy that forwards to the socket publishes nothing without a key, whatever `publish: local` says of ports.
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let emit = Request::post("/api/nodevent/emit", r#"{"room":"r","event":"e"}"#);
    assert_eq!(emit.exchange(&mut stream, "localhost").await.unwrap().status, 403);
    let other = Program::run(folder.path(), &["serve", "nodevent.yml"]).await;
    let error = String::from_utf8(other.stderr).unwrap();
    assert!(error.contains("another program listens on it"), "{error}");
    program.kill().await;
    assert!(path.exists(), "a server that is killed leaves its file");
    let mut program = Program::serve(folder.path(), text).await;
    assert_eq!(get_on_socket(&path, "/healthz").await, 200);
    program.signal(Signal::TERM);
    assert_eq!(program.status().await, Some(0));
    assert!(!path.exists());
}

/// Without `bind`, clients connect by IPv4 and by IPv6.
#[tokio::test]
async fn both_versions_of_ip_are_served_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), "port: 0\n/nodevent: {open: true}\n").await;
    let url = program.listening().await[0].clone();
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let mut addresses = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    // Some machines have no IPv6.
    if TcpListener::bind("[::1]:0").is_ok() {
        addresses.push(format!("[::1]:{port}").parse().unwrap());
    }
    for address in addresses {
        let mut stream = in_time("a connection", TcpStream::connect(address)).await.unwrap();
        let response = Request::get("/healthz").exchange(&mut stream, "localhost").await.unwrap();
        assert_eq!(response.status, 200, "{address}");
    }
}

/// Starts a server as systemd does: it inherits a listening socket as descriptor 3, and LISTEN_PID is its process id.
fn start_with_socket(folder: &Path, listener: &TcpListener) -> Program {
    let script =
        format!("exec 3<&{}; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" nodevent.yml", listener.as_raw_fd());
    let flags = rustix::io::fcntl_getfd(listener).unwrap();
    rustix::io::fcntl_setfd(listener, flags - rustix::io::FdFlags::CLOEXEC).unwrap();
    let mut start = tokio::process::Command::new("bash");
    crate::support::program::clean(&mut start, folder);
    start.args(["-c", &script, crate::support::program::NODEVENT]);
    Program::spawn(start)
}

/// A deployment: the old server stops and a new one starts while clients connect all the time. The listening socket stays
/// open, so none of them is refused, and each page reconnects once.
#[tokio::test]
async fn a_restart_with_the_socket_of_systemd_refuses_no_connection() {
    // N-12
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let text =
        format!("bind: 127.0.0.1\nport: {}\nadmin: {{port: 0}}\n/nodevent: {{open: true}}\n", address.port());
    std::fs::write(folder.path().join("nodevent.yml"), text).unwrap();
    let mut old = start_with_socket(folder.path(), &listener);
    old.listening().await;
    let site = Site::at(&format!("http://{address}"));
    let mut page = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    page.join("r").await;
    let (is_over, connected, refused) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, connected, refused) =
                (Arc::clone(&is_over), Arc::clone(&connected), Arc::clone(&refused));
            tokio::spawn(async move {
                while !is_over.load(Relaxed) {
                    match TcpStream::connect(address).await {
                        Ok(_) => connected.fetch_add(1, Relaxed),
                        Err(_) => refused.fetch_add(1, Relaxed),
                    };
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    let reached = async |count: usize| until("clients connect", async || connected.load(Relaxed) >= count).await;
    reached(20).await;
    old.signal(Signal::TERM);
    assert_eq!(page.ended().await, Some((1001, "server shutting down".to_owned())));
    assert_eq!(old.status().await, Some(0));
    let between = connected.load(Relaxed);
    reached(between + 20).await;
    let new = start_with_socket(folder.path(), &listener);
    new.listening().await;
    let mut page = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    page.join("r").await;
    reached(connected.load(Relaxed) + 20).await;
    is_over.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(refused.load(Relaxed), 0, "of {}", connected.load(Relaxed));
}

#[tokio::test]
async fn a_socket_of_systemd_that_no_listener_has_is_an_error_and_that_of_another_process_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(folder.path().join("nodevent.yml"), "bind: 127.0.0.1\nport: 0\n/nodevent: {open: true}\n")
        .unwrap();
    let mut program = start_with_socket(folder.path(), &listener);
    let line = program.logs("no listener has its address").await;
    assert!(line.contains(&listener.local_addr().unwrap().to_string()) && line.contains(".socket unit"), "{line}");
    assert_eq!(program.status().await, Some(69));
    let mut start = command(folder.path());
    start.arg("nodevent.yml").env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    assert_eq!(Program::spawn(start).site().await.get("/healthz").await.status, 200);
}
