//! Clients that accept compression let the server compress much: a stream with very many identifiers, whole histories again and
//! again, or what a publisher sends without a pause.

use crate::attacker::{self, join_since, repeat};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::cable::{STREAM_KEY, command, turbo_with};
use crate::support::raw::{Raw, handshake_request};
use crate::support::{RedisServer, Site};
use futures_util::future::join_all;
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;

const OFFER: (&str, &str) = ("Sec-WebSocket-Extensions", "permessage-deflate");

/// Opens a WebSocket that accepts compression.
async fn open(site: &Site, path: &str) -> Raw {
    let mut request = handshake_request("").header(OFFER.0, OFFER.1);
    path.clone_into(&mut request.path);
    let (response, raw) = Raw::respond(site, &request).await;
    assert!(response.header("sec-websocket-extensions").is_some());
    raw
}

/// Enters `/nodevent` with Socket.IO.
async fn connected(site: &Site) -> Raw {
    let mut raw = open(site, "/socket.io/?EIO=4&transport=websocket").await;
    raw.text().await;
    raw.send_text("40/nodevent,").await;
    assert!(raw.text().await.starts_with("40/nodevent,"));
    raw
}

/// The next message that is not compressed and begins with `start`.
async fn text(raw: &mut Raw, start: &str) -> String {
    loop {
        let (is_deflated, frame) = raw.deflated_frame().await;
        match String::from_utf8(frame.payload) {
            Ok(text) if !is_deflated && text.starts_with(start) => return text,
            _ => {}
        }
    }
}

/// A text that takes long to compress: words in no order.
fn words(bytes: usize) -> String {
    let (mut text, mut state) = (String::with_capacity(bytes + 20), 1_u64);
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let _ = write!(text, "{:x} ", state >> 48);
    }
    text
}

/// The server compresses, and what exceeds its rate it sends as it is.
async fn assert_limited(process: &Process) {
    assert!(process.metric("nodevent_deflate_input_bytes_total").await > 0);
    assert!(process.metric("nodevent_deflate_skipped_total").await > 0);
}

/// Each identifier is an encoding of its own, for which a message would be compressed again.
#[test]
fn very_many_identifiers_on_one_stream_are_not_compressed_one_by_one() {
    /// Connections that attack, and the subscriptions of each.
    const CONNECTIONS: usize = 2;
    const IDENTIFIERS: usize = 120;
    /// The size of a message. Bytes. With 30,000, the copies for one connection occupied the shard for 10 ms in a build for tests.
    const MESSAGE: usize = 20_000;

    attacker::run(async {
        let configuration = format!(
            "shards: 1\ndeflate: true\n\
             /cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}\n/nodevent: {{open: true}}\n"
        );
        let process = Process::start(&configuration).await;
        let message = words(MESSAGE);
        let mut clients = Vec::new();
        for number in 0..CONNECTIONS * IDENTIFIERS {
            if number % IDENTIFIERS == 0 {
                clients.push(open(&process.site, "/cable").await);
            }
            let client = clients.last_mut().unwrap();
            client.send_text(&command("subscribe", &turbo_with("posts", &json!({"n": number})))).await;
            while !text(client, "{").await.contains("confirm_subscription") {}
        }
        assert_unnoticed(&process.site.address, async || {
            repeat(async || {
                process.site.emit("/cable", "posts", "e", message.as_str()).await;
                join_all(clients.iter_mut().map(async |client| {
                    for _ in 0..IDENTIFIERS {
                        client.deflated_frame().await;
                    }
                }))
                .await;
            })
            .await;
        })
        .await;
        assert_limited(&process).await;
    });
}

/// Redis returns a history again for each join, so what was compressed before is not known.
#[test]
fn histories_that_are_recovered_again_and_again_are_not_compressed_each_time() {
    const CLIENTS: usize = 2;
    /// Together less than a send buffer. Bytes.
    const PUBLICATIONS: usize = 9;
    const MESSAGE: usize = 100_000;

    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!(
            "shards: 1\ndeflate: true\n/nodevent: {{redis: \"{}\", history: {{size: 100}}}}\n",
            redis.url()
        ))
        .await;
        process.is_ready().await;
        for _ in 0..PUBLICATIONS {
            process.site.emit("/nodevent", "large", "e", words(MESSAGE)).await;
        }
        let history = process.site.get("/api/nodevent/rooms/large/history").await.json();
        let epoch = history["position"].as_str().unwrap().split_once(':').unwrap().0.to_owned();
        assert_unnoticed(&process.site.address, async || {
            let clients = (0..CLIENTS).map(async |_| {
                let mut raw = connected(&process.site).await;
                repeat(async || {
                    raw.send_text(&join_since(7, "large", &format!("{epoch}:0"))).await;
                    assert!(text(&mut raw, "43/nodevent,7").await.contains("\"recovered\":true"));
                    raw.send_text("42/nodevent,[\"leave\",{\"room\":\"large\"}]").await;
                    // The rate of joins.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                })
                .await;
            });
            join_all(clients).await;
        })
        .await;
        assert_limited(&process).await;
    });
}

/// Of a publisher with a key for one room.
#[test]
fn flood_of_texts_that_take_long_to_compress_delays_no_other_client() {
    const MESSAGE: usize = 125_000;

    attacker::run(async {
        let process = Process::start("shards: 1\ndeflate: true\n/nodevent: {open: true}\n").await;
        let mut member = connected(&process.site).await;
        member.send_text(&join_since(1, "flood", "")).await;
        text(&mut member, "43/nodevent,1").await;
        let body = json!({"room": "flood", "event": "e", "message": words(MESSAGE)}).to_string();
        assert_unnoticed(&process.site.address, async || {
            repeat(async || {
                assert_eq!(process.site.publish("/nodevent", body.clone()).await.status, 200);
                member.deflated_frame().await;
            })
            .await;
        })
        .await;
        assert_limited(&process).await;
    });
}
