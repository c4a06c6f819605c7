//! More packets per second than permitted, on both transports and of every kind.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::raw::{BINARY, CONTINUATION, End, PING, PONG, Raw, TEXT, first, last};
use crate::support::{Request, Transport};

const SLOW: &str = "limits: {packets_per_second: 20}\n/nodevent: {}";

fn too_many_packets() -> End {
    End::Closed(Some(1008), "too many packets".to_owned())
}

#[tokio::test]
async fn packet_flood_is_closed_with_its_reason() {
    let mut server = ServerWithBystander::start(SLOW).await;
    let kinds = [
        ("events", last(TEXT, "42/nodevent,[\"x\"]")),
        ("leaves", last(TEXT, "42/nodevent,1[\"leave\",{\"room\":\"r\"}]")),
        ("heartbeats", last(TEXT, "3")),
        ("noops", last(TEXT, "6")),
        ("WebSocket pings", last(PING, "x")),
        ("WebSocket pongs", last(PONG, "")),
        ("fragments", [first(TEXT, "6"), last(CONTINUATION, "")].concat()),
    ];
    for (name, packet) in &kinds {
        let mut raw = Raw::connected(&server.site, "/nodevent").await;
        // The limit permits a burst of five seconds.
        raw.send(packet.repeat(150)).await;
        assert_eq!(raw.ended().await, too_many_packets(), "{name}");
    }
    server.metric_is("nodevent_disconnects_total{reason=\"packet_rate\"}", kinds.len() as i64).await;
    server.logs("connection closed reason=\"packet_rate\"").await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn attachment_flood_is_closed_too() {
    let mut server = ServerWithBystander::start(SLOW).await;
    let mut raw = Raw::connected(&server.site, "/nodevent").await;
    let event = last(TEXT, "451-/nodevent,[\"x\",{\"_placeholder\":true,\"num\":0}]");
    raw.send([event, last(BINARY, "x")].concat().repeat(80)).await;
    assert_eq!(raw.ended().await, too_many_packets());
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn packet_flood_in_one_post_ends_the_session_with_its_reason() {
    let mut server = ServerWithBystander::start(SLOW).await;
    let open = server.get("/socket.io/?EIO=4&transport=polling").await.text();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let session = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    let response = server.send(&Request::post(&session, ["6"; 150].join("\u{1e}"))).await;
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["reason"], "too many packets");
    server.metric_is("nodevent_disconnects_total{reason=\"packet_rate\"}", 1).await;
    server.bystander_is_unaffected().await;
}

/// A connection that stays within the rate is never closed.
#[tokio::test]
async fn connection_within_the_packet_rate_stays_open() {
    let mut server = ServerWithBystander::start("limits: {packets_per_second: 1000}\n/nodevent: {}").await;
    for transport in Transport::BOTH {
        let mut browser = crate::support::Browser::connect(&server.site, "/nodevent", transport).await;
        for _ in 0..300 {
            browser.leave("nowhere").await;
        }
    }
    assert_eq!(server.metric("nodevent_disconnects_total{reason=\"packet_rate\"}").await, 0);
    server.bystander_is_unaffected().await;
}

/// The largest message may always be sent; further ones are too many bytes, on both transports.
#[tokio::test]
async fn byte_flood_is_closed_with_its_reason() {
    let limits = "limits: {bytes_per_second: 1KB, max_message_size: 10KB}\n/nodevent: {}";
    let mut server = ServerWithBystander::start(limits).await;
    let packet = format!("42/nodevent,[\"x\",\"{}\"]", "x".repeat(9_000));
    let mut raw = Raw::connected(&server.site, "/nodevent").await;
    raw.send_text(&packet).await;
    raw.send_text("42/nodevent,1[\"leave\",\"r\"]").await;
    assert_eq!(raw.text().await, "43/nodevent,1[null]", "one message is within the limit");
    raw.send(last(TEXT, &packet).repeat(2)).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "too many bytes".to_owned()));

    let open = server.get("/socket.io/?EIO=4&transport=polling").await.text();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let session = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(server.send(&Request::post(&session, "40/nodevent,")).await.status, 200);
    assert_eq!(server.send(&Request::post(&session, packet.clone())).await.status, 200);
    assert_eq!(server.send(&Request::post(&session, packet.clone())).await.status, 200);
    let response = server.send(&Request::post(&session, packet)).await;
    assert_eq!((response.status, response.json()["reason"].as_str()), (400, Some("too many bytes")));
    server.metric_is("nodevent_disconnects_total{reason=\"byte_rate\"}", 2).await;
    server.logs("connection closed reason=\"byte_rate\"").await;
    server.bystander_is_unaffected().await;
}

/// The oldest connections that have joined no room make room for newer ones of their address; members stay.
#[tokio::test]
async fn connections_without_a_room_are_displaced_by_newer_ones() {
    let limits = "shards: 1\nlimits: {max_roomless_per_address: 3}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(limits).await;
    let mut oldest = Raw::connected(&server.site, "/nodevent").await;
    let mut member = Raw::connected(&server.site, "/nodevent").await;
    member.send_text("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
    assert_eq!(member.text().await, "43/nodevent,1[null,true]");
    let mut newer = Vec::new();
    for _ in 0..3 {
        newer.push(Raw::connected(&server.site, "/nodevent").await);
    }
    let text = "too many connections without a room; reconnect later".to_owned();
    assert_eq!(oldest.ended().await, End::Closed(Some(1013), text));
    server.metric_is("nodevent_disconnects_total{reason=\"displaced\"}", 1).await;
    member.send_text("42/nodevent,2[\"leave\",\"r\"]").await;
    assert_eq!(member.text().await, "43/nodevent,2[null]");
    server.bystander_is_unaffected().await;
}
