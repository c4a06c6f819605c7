//! What one client may take of what all share: memberships, open files, and memory for what has not arrived completely.

use crate::addresses::dial_from;
use crate::rooms::resident;
use crate::server_with_bystander::ServerWithBystander;
use crate::support::application::{Application, Behaviour};
use crate::support::raw::{BINARY, End, Raw, TEXT, close, first, handshake, last};
use crate::support::wait::until;
use crate::support::{Program, Request, Site, program};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MEGABYTE: usize = 1 << 20;

/// Opens a connection from another address of this machine. `None`: the server refuses its handshake.
async fn try_open_from(site: &Site, address: [u8; 4]) -> Option<Raw> {
    let mut stream = dial_from(site, address).await;
    stream.write_all(&handshake(&site.address, "")).await.ok()?;
    let mut raw = Raw::try_after_handshake(stream).await?;
    raw.try_text().await.filter(|open| open.starts_with('0'))?;
    Some(raw)
}

/// Enters the namespace and joins rooms `0..count`. Returns how many joins were accepted.
async fn join_rooms(raw: &mut Raw, prefix: &str, count: usize) -> usize {
    raw.send_text("40/nodevent,").await;
    assert!(raw.text().await.starts_with("40/nodevent,"));
    let join = |n| last(TEXT, format!("42/nodevent,{n}[\"join\",{{\"room\":\"{prefix}-{n}\"}}]"));
    raw.send((0..count).flat_map(join).collect::<Vec<_>>()).await;
    let mut accepted = 0;
    for n in 0..count {
        match raw.text().await.strip_prefix(&format!("43/nodevent,{n}")) {
            Some("[null,true]") => accepted += 1,
            Some("[\"Too many rooms\",false]") => {}
            other => panic!("{other:?}"),
        }
    }
    accepted
}

#[tokio::test]
async fn address_with_nearly_all_memberships_leaves_some_to_others() {
    let settings = "shards: 1\nlimits: {max_memberships: 1000}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let (mut members, mut accepted) = (Vec::new(), 0);
    for number in 0..12 {
        let mut raw = try_open_from(&server.site, [127, 0, 0, 7]).await.unwrap();
        accepted += join_rooms(&mut raw, &format!("c{number}"), 100).await;
        members.push(raw);
    }
    assert!((790..=800).contains(&accepted), "{accepted}");
    let line = server.logs("join rejected: `limits: max_memberships` is reached").await;
    assert!(line.contains("127.0.0.7"), "{line}");
    let mut other = try_open_from(&server.site, [127, 0, 0, 8]).await.unwrap();
    assert_eq!(join_rooms(&mut other, "other", 20).await, 20);
    // A member may join a room again, and rooms that are left are free for others.
    members[0].send_text("42/nodevent,900[\"join\",{\"room\":\"c0-1\"}]").await;
    assert_eq!(members[0].text().await, "43/nodevent,900[null,true]");
    members.truncate(4);
    let mut third = try_open_from(&server.site, [127, 0, 0, 9]).await.unwrap();
    until("the rooms are free again", async || server.metric("nodevent_rooms").await < 500).await;
    assert_eq!(join_rooms(&mut third, "third", 100).await, 100);
    server.bystander_is_unaffected().await;
}

/// Weakness 18: a WebSocket that was closed counted as nothing, although its socket was there for two more seconds.
#[tokio::test]
async fn websockets_count_until_their_sockets_are_gone() {
    const MAX: usize = 50;
    let settings = format!("shards: 1\nlimits: {{max_connections: {MAX}}}\n/nodevent: {{history: off}}");
    let mut server = ServerWithBystander::start(&settings).await;
    let began = std::time::Instant::now();
    let mut staying = Vec::new();
    for _ in 0..4 * MAX {
        if let Some(mut raw) = try_open_from(&server.site, [127, 0, 0, 7]).await {
            raw.send(close(1000, "")).await;
            staying.push(raw);
        }
    }
    // Each socket is gone two seconds after its end.
    let possible = MAX * (1 + began.elapsed().as_secs() as usize / 2);
    assert!(staying.len() <= possible, "{} in {:?}", staying.len(), began.elapsed());
    assert!(try_open_from(&server.site, [127, 0, 0, 8]).await.is_some(), "another address connects");
    until("the places are free again", async || try_open_from(&server.site, [127, 0, 0, 7]).await.is_some()).await;
    server.bystander_is_unaffected().await;
}

/// Messages of which all but the end has arrived, on many connections.
#[tokio::test]
async fn messages_that_never_end_are_limited_together() {
    let settings = "shards: 1\nlimits: {max_message_size: 1MB, bytes_per_second: 4MB, send_buffers_total: 20MB}\n\
                    /nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let before = resident(&server);
    let (mut open, part) = (Vec::new(), first(TEXT, "4".repeat(900_000)));
    for number in 0..100 {
        let mut raw = Raw::connected(&server.site, "/nodevent").await;
        raw.send(&part).await;
        open.push(raw);
        if number % 10 == 9 {
            // The budget is checked four times per second.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    server.logs("connection closed reason=\"send_buffers_full\"").await;
    let closed = server.metric("nodevent_disconnects_total{reason=\"send_buffers_full\"}").await;
    assert!((70..100).contains(&closed), "{closed}");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 60 * MEGABYTE as u64, "the server grew by {grown} bytes");
    server.bystander_is_unaffected().await;
}

/// Bodies of which all but the end has arrived, on many sockets. Another client publishes as before.
#[tokio::test]
async fn bodies_that_never_end_are_limited_for_each_client() {
    const BODIES: usize = 60;
    let settings = "limits: {max_publish_size: 1MB, request_timeout: 60s}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let before = resident(&server);
    let body = vec![b' '; 900_000];
    let head =
        format!("POST /api/nodevent/emit HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\r\n", server.address);
    let mut sockets = Vec::new();
    for _ in 0..BODIES {
        let mut stream = dial_from(&server, [127, 0, 0, 7]).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = stream.write_all(&body).await;
        sockets.push(stream);
    }
    server.logs("request rejected: the bodies of other requests hold too much").await;
    until("the bodies beyond the limit are rejected", async || {
        server.metric("nodevent_overloaded_requests_total").await >= 20
    })
    .await;
    let mut rejected = 0;
    for stream in &mut sockets {
        let mut response = [0; 12];
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut response)).await;
        rejected += usize::from(matches!(read, Ok(Ok(12))) && response.ends_with(b"503"));
    }
    assert!((20..BODIES - 20).contains(&rejected), "{rejected}");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 100 * MEGABYTE as u64, "the server grew by {grown} bytes");
    server.bystander_is_unaffected().await;
    drop(sockets);
    until("everything is released", async || {
        server.publish("/nodevent", r#"{"room":"r","event":"e"}"#).await.status == 200
    })
    .await;
}

/// Fewer files may be open than connections. One address opens as many as it can, and another one connects.
#[tokio::test]
async fn address_that_opens_all_files_leaves_some_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodevent.yml");
    std::fs::write(&file, "bind: 127.0.0.1\nport: 0\nshards: 1\n/nodevent: {open: true, history: off}\n").unwrap();
    let mut command = tokio::process::Command::new("sh");
    program::clean(&mut command, folder.path());
    command.args(["-c", "ulimit -n 1024 && exec \"$0\" \"$1\"", program::NODEVENT]).arg(&file);
    let program = Program::spawn(command);
    let site = program.site().await;
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        if let Some(mut raw) = try_open_from(&site, [127, 0, 0, 7]).await {
            // A member of a room is not displaced by newer connections.
            assert_eq!(join_rooms(&mut raw, "r", 1).await, 1);
            flood.push(raw);
        }
    }
    assert!((700..800).contains(&flood.len()), "{}", flood.len());
    program.logs("request refused: a limit of its address is reached").await;
    for host in 8..20 {
        let mut other = try_open_from(&site, [127, 0, 0, host]).await.expect("another address connects");
        assert_eq!(join_rooms(&mut other, "r", 1).await, 1);
    }
}

/// Packets whose last attachment never comes, on many connections.
#[tokio::test]
async fn attachments_that_never_come_are_limited_together() {
    let settings = "shards: 1\nlimits: {send_buffers_total: 10MB}\n/nodevent: {secret: a-secret-of-more-than-sixteen}\n\
                    /open: {open: true}";
    let mut server = ServerWithBystander::start_in("/open", settings).await;
    let before = resident(&server);
    let announced = "452-/nodevent,[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    let packet = [last(TEXT, announced), last(BINARY, vec![0; 65_000])].concat();
    let mut open = Vec::new();
    for number in 0..400 {
        let mut raw = try_open_from(&server.site, [127, 0, 0, 7]).await.unwrap();
        raw.send_text("40/nodevent,").await;
        assert!(raw.text().await.starts_with("40/nodevent,"));
        raw.send(&packet).await;
        open.push(raw);
        if number % 50 == 49 {
            // The budget is checked four times per second.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    server.logs("connection closed reason=\"send_buffers_full\"").await;
    let closed = server.metric("nodevent_disconnects_total{reason=\"send_buffers_full\"}").await;
    assert!((200..400).contains(&closed), "{closed}");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 30 * MEGABYTE as u64, "the server grew by {grown} bytes");
    server.bystander_is_unaffected().await;
}

/// What connections send while the application decides who they are.
#[tokio::test]
async fn what_is_held_for_the_application_is_limited_together() {
    let application = Application::start(Behaviour::Never).await;
    let settings = format!(
        "shards: 1\nlimits: {{send_buffers_total: 10MB}}\n/nodevent: {{auth: {{url: \"{}\", timeout: 60s}}}}\n/open: {{open: true}}",
        application.url
    );
    let mut server = ServerWithBystander::start_in("/open", &settings).await;
    let before = resident(&server);
    let packet = last(TEXT, format!("42/nodevent,[\"x\",\"{}\"]", "x".repeat(60_000)));
    let mut open = Vec::new();
    for number in 0..400 {
        let mut raw = try_open_from(&server.site, [127, 0, 0, 7]).await.unwrap();
        raw.send_text("40/nodevent,{\"token\":\"same\"}").await;
        raw.send(&packet).await;
        open.push(raw);
        if number % 50 == 49 {
            // The budget is checked four times per second.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    server.logs("connection closed reason=\"send_buffers_full\"").await;
    let closed = server.metric("nodevent_disconnects_total{reason=\"send_buffers_full\"}").await;
    assert!((100..400).contains(&closed), "{closed}");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 20 * MEGABYTE as u64, "the server grew by {grown} bytes");
    server.bystander_is_unaffected().await;
}

/// The same on long-polling, and one connection at a time.
#[tokio::test]
async fn attachments_that_do_not_come_in_time_close_their_connection() {
    let settings = "limits: {request_timeout: 500ms}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let announced = "451-/nodevent,[\"x\",{\"_placeholder\":true,\"num\":0}]";
    let mut raw = Raw::connected(&server.site, "/nodevent").await;
    raw.send_text(announced).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "attachments timeout".to_owned()));
    let path = "/socket.io/?EIO=4&transport=polling";
    let open: serde_json::Value = serde_json::from_str(&server.get(path).await.text()[1..]).unwrap();
    let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let body = format!("40/nodevent,\u{1e}{announced}");
    assert_eq!(server.send(&Request::post(&session, body)).await.text(), "ok");
    server.metric_is("nodevent_disconnects_total{reason=\"message_timeout\"}", 2).await;
    server.logs("connection closed reason=\"message_timeout\"").await;
    // A packet whose attachments come is accepted, however late the next one.
    let mut raw = Raw::connected(&server.site, "/nodevent").await;
    raw.send([last(TEXT, announced), last(BINARY, [1])].concat()).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    raw.send_text("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
    assert!(raw.text().await.starts_with("43/nodevent,1[null,true"));
    server.bystander_is_unaffected().await;
}

/// Two addresses hold as many bodies as they may. A third one may hold several too.
#[tokio::test]
async fn two_addresses_do_not_use_up_the_memory_for_bodies() {
    let settings = "limits: {max_publish_size: 1MB, request_timeout: 60s}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let body = vec![b' '; 900_000];
    let head =
        format!("POST /api/nodevent/emit HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\r\n", server.address);
    let mut accepted = Vec::new();
    for host in [7, 8, 9] {
        let mut sockets = Vec::new();
        for _ in 0..40 {
            let mut stream = dial_from(&server, [127, 0, 0, host]).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let _ = stream.write_all(&body).await;
            sockets.push(stream);
        }
        // Bodies beyond the share are rejected at once.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut held = Vec::new();
        for mut stream in sockets {
            let mut response = [0; 12];
            let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut response)).await;
            if read.is_err() {
                held.push(stream);
            }
        }
        accepted.push(held);
    }
    let counts: Vec<usize> = accepted.iter().map(Vec::len).collect();
    assert!(counts[0] >= 25 && counts[1] >= 10 && counts[2] >= 5, "{counts:?}");
    server.bystander_is_unaffected().await;
}
