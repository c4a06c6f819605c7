//! HTTPS and WSS on a listener with a certificate.

use crate::support::raw::{Raw, TEXT, handshake, last};
use crate::support::wait::in_time;
use crate::support::{Browser, Site, TestServer, Transport};
use futures_util::future::join_all;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

/// Starts a server with a self-signed certificate, and returns it with a site that trusts the certificate.
async fn server(more: &str) -> (TestServer, Site, TempDir) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
    let path = folder.path().display();
    let ssl = format!("{{key: {path}/key.pem, cert: {path}/cert.pem}}");
    let server = TestServer::start(&format!("ssl: {ssl}\n{more}")).await;
    let site = Site::with_tls(server.urls.last().unwrap(), cert.der().clone());
    (server, site, folder)
}

#[tokio::test]
async fn script_and_a_thousand_publications_arrive_over_tls() {
    // N-06
    let (server, site, _folder) = server("/nodevent: {}").await;
    assert!(server.urls[0].starts_with("https://"), "{:?}", server.urls);
    let script = site.get("/api/nodevent").await;
    assert_eq!(script.status, 200);
    // N-17, N-18: it uses the address that it was loaded from, also behind a proxy.
    assert!(!script.text().contains("http://"));
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&site, "/nodevent", transport).await;
        browser.join("r").await;
        let all: Vec<_> = (0..1_000).map(|n| json!({"room": "r", "event": "e", "message": n})).collect();
        assert_eq!(site.publish("/nodevent", json!(all).to_string()).await.status, 200);
        for n in 0..1_000 {
            assert_eq!(browser.next_event().await.message, n);
        }
        browser.receives_nothing_else(&site).await;
    }
}

/// The browser reads nothing until everything is published. What the socket does not accept waits in the server, some
/// of it already encrypted.
#[tokio::test]
async fn partial_writes_arrive_whole_over_tls() {
    let (_server, site, _folder) = server("limits: {send_buffer: 64MB}\n/nodevent: {history: off}").await;
    let mut browsers = Vec::new();
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&site, "/nodevent", transport).await;
        browser.join("r").await;
        browsers.push(browser);
    }
    let text = |n: usize| format!("{n:07}").repeat(20_000);
    for n in 0..50 {
        site.emit("/nodevent", "r", "e", text(n)).await;
    }
    for browser in &mut browsers {
        for n in 0..50 {
            assert!(browser.next_event().await.message == text(n), "publication {n} is not whole");
        }
        browser.receives_nothing_else(&site).await;
    }
}

#[tokio::test]
async fn browser_upgrades_from_polling_to_websocket_over_tls() {
    let (_server, site, _folder) = server("/nodevent: {}").await;
    let mut browser = Browser::connect(&site, "/nodevent", Transport::Polling).await;
    browser.join("r").await;
    let join = browser.event_packet("", "join", &[json!({"room": "s"})]);
    browser.upgrade(&[&join]).await;
    browser.join("t").await;
    for room in ["r", "s", "t"] {
        site.emit("/nodevent", room, "e", room).await;
        assert_eq!(browser.next_event().await.message, room);
    }
}

/// A hundred joins follow the handshake before its response: more than the read buffer of HTTP holds, and decrypted
/// before the socket is handed to a shard.
#[tokio::test]
async fn packets_right_after_the_handshake_are_received_over_tls() {
    let (_server, site, _folder) = server("/nodevent: {history: off}").await;
    let mut stream = site.dial().await;
    let mut bytes = handshake(&site.address, "");
    bytes.extend(last(TEXT, "40/nodevent,"));
    for n in 0..100 {
        let room = format!("{n:03}").repeat(80);
        bytes.extend(last(TEXT, format!("42/nodevent,{n}[\"join\",{{\"room\":\"{room}\"}}]")));
    }
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut raw = Raw::after_handshake(stream).await;
    assert!(raw.text().await.starts_with('0'), "the open packet");
    assert!(raw.text().await.starts_with("40/nodevent,"), "the connect packet");
    for n in 0..100 {
        assert_eq!(raw.text().await, format!("43/nodevent,{n}[null,true]"));
    }
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_affects_no_other_client() {
    let (server, site, _folder) = server("limits: {request_timeout: 200ms}\n/nodevent: {}").await;
    let plain = Site::at(&server.urls[0].replacen("https", "http", 1));
    let attempts = (0..20).map(|_| async {
        let mut stream = plain.dial().await;
        let request = crate::support::Request::get("/api/nodevent");
        assert!(in_time("the end of the connection", request.exchange(&mut stream, &plain.address)).await.is_err());
    });
    join_all(attempts).await;
    assert_eq!(site.get("/api/nodevent").await.status, 200);
}
