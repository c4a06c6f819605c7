//! Every seed of the fuzz targets, sent to a real server over real sockets, whole and in pieces, while a bystander is
//! served.

use crate::support::raw::{BINARY, Raw, TEXT, last};
use crate::support::wait::in_time;
use crate::support::{Browser, Request, TestServer, Transport};
use std::path::PathBuf;

/// Returns the seeds of one fuzz target with their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/fuzz/seeds")).join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut all: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() > 10, "{target} has seeds");
    all
}

/// Starts a server with a bystander.
async fn server_with_bystander() -> (TestServer, Browser) {
    let server = TestServer::start("/nodevent: {history: off}").await;
    let mut bystander = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    bystander.join("bystanders").await;
    (server, bystander)
}

/// Checks that the bystander receives an event, and that no other connection remains.
async fn assert_unaffected(server: &TestServer, bystander: &mut Browser) {
    server.emit("/nodevent", "bystanders", "e", "served").await;
    assert_eq!(bystander.next_event().await.message, "served");
    server.metric_is("nodevent_connections", 1).await;
}

/// Returns the bytes whole, byte by byte, and without the last byte.
fn ways(bytes: &[u8]) -> [Vec<Vec<u8>>; 3] {
    let short = &bytes[..bytes.len().saturating_sub(1)];
    [vec![bytes.to_vec()], bytes.iter().take(300).map(|byte| vec![*byte]).collect(), vec![short.to_vec()]]
}

#[tokio::test]
async fn hostile_frames_affect_no_other_client() {
    // X-03
    let (server, mut bystander) = server_with_bystander().await;
    for (_, bytes) in seeds("websocket") {
        for way in ways(&bytes) {
            let mut raw = Raw::connected(&server, "/nodevent").await;
            for piece in way {
                raw.send(piece).await;
            }
        }
    }
    assert_unaffected(&server, &mut bystander).await;
}

#[tokio::test]
async fn hostile_packets_affect_no_other_client_on_either_transport() {
    // X-03
    let (server, mut bystander) = server_with_bystander().await;
    for (_, bytes) in seeds("socket_io") {
        let mut raw = Raw::connected(&server, "/nodevent").await;
        for message in bytes.split(|byte| *byte == 0x1e) {
            match message.strip_prefix(b"b") {
                Some(attachment) => raw.send(last(BINARY, attachment)).await,
                None => raw.send(last(TEXT, [b"4", message].concat())).await,
            }
        }
        let body =
            bytes.split(|byte| *byte == 0x1e).map(|one| [b"4", one].concat()).collect::<Vec<_>>().join(&0x1e);
        poll(&server, 4, [b"40/nodevent,", &body, b"1"]).await;
    }
    for (_, bytes) in seeds("polling_payload") {
        poll(&server, 4, [b"40/nodevent,", &bytes, b"1"]).await;
    }
    for (_, bytes) in seeds("polling_payload_3") {
        poll(&server, 3, [b"12:40/nodevent,", &bytes, b"1:1"]).await;
    }
    assert_unaffected(&server, &mut bystander).await;
}

#[tokio::test]
async fn hostile_join_arguments_affect_no_other_client() {
    // X-03
    let (server, mut bystander) = server_with_bystander().await;
    for (name, bytes) in seeds("join_args") {
        let arguments = String::from_utf8_lossy(&bytes);
        for event in ["join", "leave"] {
            let mut raw = Raw::connected(&server, "/nodevent").await;
            raw.send_text(&format!("42/nodevent,1[\"{event}\",{arguments}]")).await;
            raw.send_text("42/nodevent,2[\"leave\",\"fence\"]").await;
            let first = in_time(&name, raw.frame()).await;
            assert!(first.is_some(), "{name}: a reply or a close frame, without hanging");
        }
    }
    assert_unaffected(&server, &mut bystander).await;
}

#[tokio::test]
async fn hostile_publications_are_skipped_and_the_next_is_delivered() {
    // X-03
    let (server, mut bystander) = server_with_bystander().await;
    for (name, bytes) in seeds("publication") {
        let status = server.publish("/nodevent", bytes).await.status;
        assert!([200, 400].contains(&status), "{name}: {status}");
    }
    assert_unaffected(&server, &mut bystander).await;
}

/// Runs a long-polling session of a version of Engine.IO, which posts these bodies. The last one closes it.
async fn poll(server: &TestServer, version: u8, bodies: [&[u8]; 3]) {
    let path = format!("/socket.io/?EIO={version}&transport=polling");
    let text = server.get(&path).await.text();
    let sid = text.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split('"').next()).expect("a sid");
    let session = format!("{path}&sid={sid}");
    for body in bodies {
        let status = server.send(&Request::post(&session, body)).await.status;
        assert!([200, 400].contains(&status), "{status}");
    }
}
