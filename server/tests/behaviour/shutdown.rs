//! Shutdown: the effect of SIGTERM on browsers, readiness and the process.

use crate::support::wait::until;
use crate::support::{Browser, Program, Transport};
use rustix::process::Signal;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

const CONFIGURATION: &str = "publish: local\nbind: 127.0.0.1\nport: 0\nadmin: {port: 0}\n/nodevent: {}\n";

#[tokio::test]
async fn server_notifies_browsers_and_exits_within_two_seconds_of_sigterm() {
    // N-14, X-08
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::serve(folder.path(), CONFIGURATION).await;
        let site = program.site().await;
        let mut polling = Browser::connect(&site, "/nodevent", Transport::Polling).await;
        let mut websocket = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
        let began = Instant::now();
        program.signal(signal);
        polling.ended().await;
        assert_eq!(websocket.ended().await, Some((1001, "server shutting down".to_owned())));
        assert_eq!(program.status().await, Some(0));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        program.logs("stopped").await;
        assert!(TcpStream::connect(&site.address).await.is_err(), "the listener is closed");
    }
}

#[tokio::test]
async fn server_without_browsers_exits_immediately() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(folder.path(), &format!("drain_timeout: 1h\n{CONFIGURATION}")).await;
    program.signal(Signal::TERM);
    assert_eq!(program.status().await, Some(0));
}

/// The last browser is disconnected only at the end of a long drain. Until then the server reports that it is not
/// ready, accepts no connections, and delivers to the remaining browsers.
#[tokio::test]
async fn draining_server_is_not_ready_accepts_no_connections_and_still_delivers() {
    // N-14
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), &format!("drain_timeout: 1h\n{CONFIGURATION}")).await;
    let (site, admin) = (program.site().await, program.admin().await);
    assert_eq!((site.get("/readyz").await.status, admin.get("/readyz").await.status), (200, 200));
    let mut browsers = Vec::new();
    for _ in 0..8 {
        let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        browsers.push(browser);
    }
    // A response shows that the server has accepted the connection before the signal.
    let mut publisher = site.dial().await;
    let alive = crate::support::Request::get("/healthz").exchange(&mut publisher, &site.address).await.unwrap();
    assert_eq!(alive.status, 200);
    program.signal(Signal::TERM);
    until("it is not ready", async || admin.get("/readyz").await.status == 503).await;
    assert_eq!(admin.get("/healthz").await.status, 200);
    until("it accepts no connections", async || TcpStream::connect(&site.address).await.is_err()).await;
    let publication =
        crate::support::Request::post("/api/nodevent/emit", r#"{"room":"r","event":"e","message":1}"#);
    assert_eq!(publication.exchange(&mut publisher, &site.address).await.unwrap().status, 200);
    // Each shard disconnects its first browser immediately; the last of eight is still connected.
    assert_eq!(browsers[7].next_event().await.message, 1);
}
