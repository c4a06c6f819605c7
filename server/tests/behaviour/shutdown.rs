//! The way down: SIGTERM, told to browsers and to whoever asks for readiness.

use crate::support::wait::until;
use crate::support::{Browser, Program, Transport};
use rustix::process::Signal;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

const CONFIGURATION: &str = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\n/nodevent: {}\n";

#[tokio::test]
async fn at_sigterm_browsers_are_told_and_the_server_ends_well_within_two_seconds() {
    // N-14
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
        program.says("stopped").await;
        assert!(TcpStream::connect(&site.address).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn without_browsers_the_server_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(folder.path(), &format!("drain_timeout: 1h\n{CONFIGURATION}")).await;
    program.signal(Signal::TERM);
    assert_eq!(program.status().await, Some(0));
}

/// The last browser leaves only at the end of a long drain. Until then the server says that it is not ready, takes
/// nobody new, and delivers to those who are still there.
#[tokio::test]
async fn a_draining_server_is_not_ready_takes_nobody_new_and_still_delivers() {
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
    let mut publisher = site.dial().await;
    program.signal(Signal::TERM);
    until("it is not ready", async || admin.get("/readyz").await.status == 503).await;
    assert_eq!(admin.get("/healthz").await.status, 200);
    until("it accepts nobody", async || TcpStream::connect(&site.address).await.is_err()).await;
    let publication =
        crate::support::Request::post("/api/nodevent/emit", r#"{"room":"r","event":"e","message":1}"#);
    assert_eq!(publication.exchange(&mut publisher, &site.address).await.unwrap().status, 200);
    // On each shard the first has left at once; the last of eight is still there.
    assert_eq!(browsers[7].next_event().await.message, 1);
}
