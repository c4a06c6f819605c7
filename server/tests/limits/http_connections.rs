//! Sockets that are not WebSockets: they have a limit of their own, and health checks and the admin listener work when
//! clients have used up everything else.

use crate::addresses::dial_from;
use crate::server_with_bystander::ServerWithBystander;
use crate::support::raw::handshake;
use crate::support::wait::until;
use crate::support::{Program, Request, Site, program};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

async fn status(site: &Site, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(&site.address).await.ok()?;
    let exchange = async { Request::get(path).exchange(&mut stream, &site.address).await };
    tokio::time::timeout(Duration::from_secs(5), exchange).await.ok()?.ok().map(|response| response.status)
}

/// Silent sockets and idle ones make room for new ones.
#[tokio::test]
async fn sockets_without_a_request_keep_no_client_out() {
    let limits = "limits: {max_http_connections: 50, request_timeout: 60s}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(limits).await;
    let mut idle = Vec::new();
    for number in 0..200 {
        let mut stream = server.dial().await;
        if number % 2 == 0 {
            let response = Request::get("/healthz").exchange(&mut stream, &server.address).await;
            assert_eq!(response.unwrap().status, 200, "{number}");
        }
        idle.push(stream);
        assert_eq!(status(&server.site, "/api/nodevent").await, Some(200), "{number}");
    }
    assert_eq!(server.metric("nodevent_rejected_connections_total").await, 0);
    server.bystander_is_unaffected().await;
}

/// Polls that wait are being served, so they are not closed.
#[tokio::test]
async fn sockets_beyond_the_limit_leave_health_checks_and_connected_clients_alone() {
    const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
    let limits = "limits: {max_http_connections: 50}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(limits).await;
    let mut polls = Vec::new();
    for number in 0..50 {
        // Addresses share the sockets, so that few of them cannot use up all.
        let mut stream = dial_from(&server, [127, 0, 1, number + 1]).await;
        let open = Request::get(POLLING).exchange(&mut stream, &server.address).await.unwrap().text();
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        let poll = Request::get(&format!("{POLLING}&sid={}", open["sid"].as_str().unwrap()));
        stream.write_all(&poll.encode(&server.address)).await.unwrap();
        polls.push(stream);
    }
    until("the limit is reached", async || status(&server.site, "/api/nodevent").await == Some(503)).await;
    for _ in 0..20 {
        assert_eq!(status(&server.site, "/healthz").await, Some(200));
        assert_eq!(status(&server.site, "/readyz").await, Some(200));
        assert_eq!(status(&server.site, POLLING).await, Some(503));
    }
    server.logs("cannot accept connections: `limits: max_http_connections` is reached").await;
    server.logs("request refused: too many sockets are open client=127.0.0.1").await;
    assert!(server.metric("nodevent_rejected_connections_total").await >= 21);
    polls.truncate(40);
    until("there is room again", async || status(&server.site, "/api/nodevent").await == Some(200)).await;
    server.logs("accepting connections again").await;
    drop(polls);
    server.bystander_is_unaffected().await;
}

/// The requests of each client behind a proxy count as its sockets, and the proxy's own sockets are not shared.
#[tokio::test]
async fn requests_of_one_client_behind_a_proxy_leave_sockets_to_others() {
    let settings = "trusted_proxies: [127.0.0.9]\nlimits: {max_http_connections: 50}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let mut streams = Vec::new();
    let mut listen = async |client: &str| {
        let mut stream = dial_from(&server, [127, 0, 0, 9]).await;
        let request = Request::get("/api/nodevent/rooms/r/events").header("X-Forwarded-For", client);
        stream.write_all(&request.encode(&server.address)).await.unwrap();
        let mut status = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut status).await.unwrap();
        streams.push(stream);
        String::from_utf8_lossy(&status[9..]).into_owned()
    };
    let mut accepted = 0;
    while listen("203.0.113.7").await == "200" {
        accepted += 1;
    }
    assert!((35..=40).contains(&accepted), "{accepted}");
    assert_eq!(listen("203.0.113.7").await, "429");
    assert_eq!(listen("203.0.113.8").await, "200");
    server.logs("request refused client=203.0.113.7").await;
    drop(streams);
    server.bystander_is_unaffected().await;
}

/// A WebSocket does not count: its shard owns the socket.
#[tokio::test]
async fn websockets_do_not_count_as_http_connections() {
    let mut server =
        ServerWithBystander::start("limits: {max_http_connections: 4}\n/nodevent: {history: off}").await;
    let mut browsers = Vec::new();
    for _ in 0..20 {
        let site = &server.site;
        browsers
            .push(crate::support::Browser::connect(site, "/nodevent", crate::support::Transport::WebSocket).await);
    }
    server.bystander_is_unaffected().await;
}

/// A program that may open few files, its address and that of its admin listener.
async fn with_few_descriptors() -> (Program, Site, Site, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodevent.yml");
    let settings =
        "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\nlimits: {request_timeout: 60s}\n/nodevent: {open: true}\n";
    std::fs::write(&file, settings).unwrap();
    let mut command = tokio::process::Command::new("sh");
    program::clean(&mut command, folder.path());
    command.args(["-c", "ulimit -n 128 && exec \"$0\" \"$1\"", program::NODEVENT]).arg(&file);
    let program = Program::spawn(command);
    let (site, admin) = (program.site().await, program.admin().await);
    (program, site, admin, folder)
}

/// The admin listener has a limit of its own: programs that reach it cannot take the descriptors of clients.
#[tokio::test]
async fn sockets_of_the_admin_listener_take_no_descriptors_of_clients() {
    let (_program, site, admin, _folder) = with_few_descriptors().await;
    let mut flood = Vec::new();
    for _ in 0..400 {
        let connected = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(&admin.address)).await;
        flood.extend(connected.ok().and_then(Result::ok));
    }
    for _ in 0..20 {
        assert_eq!(status(&site, "/api/nodevent").await, Some(200));
    }
    until("monitoring is served", async || status(&admin, "/metrics").await == Some(200)).await;
}

/// The server may open 128 files, and 400 WebSockets connect. The admin listener and health checks work as before.
#[tokio::test]
async fn some_descriptors_are_reserved_for_the_admin_listener_and_health_checks() {
    let (program, site, admin, _folder) = with_few_descriptors().await;
    // WebSockets are never closed to make room.
    let mut flood = Vec::new();
    for _ in 0..400 {
        let connected = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(&site.address)).await;
        if let Ok(Ok(mut stream)) = connected {
            let _ = stream.write_all(&handshake(&site.address, "")).await;
            flood.push(stream);
        }
    }
    program.logs("cannot accept connections: too many files are open").await;
    for _ in 0..20 {
        assert_eq!(status(&admin, "/metrics").await, Some(200));
        assert_eq!(status(&admin, "/healthz").await, Some(200));
    }
    until("a health check is served", async || status(&site, "/healthz").await == Some(200)).await;
    drop(flood);
    until("clients are served again", async || status(&site, "/api/nodevent").await == Some(200)).await;
}
