//! More packets a second than allowed, on both transports and in every disguise.

use crate::guarded::Guarded;
use crate::support::raw::{BINARY, CONTINUATION, End, PING, PONG, Raw, TEXT, first, last};
use crate::support::{Request, Transport};

const SLOW: &str = "limits: {packets_per_second: 20}\n/nodevent: {}";

fn told() -> End {
    End::Closed(Some(1008), "too many packets".to_owned())
}

#[tokio::test]
async fn a_flood_of_packets_is_told_so_and_cut() {
    let mut server = Guarded::start(SLOW).await;
    let disguises = [
        ("events", last(TEXT, "42/nodevent,[\"x\"]")),
        ("leaves", last(TEXT, "42/nodevent,1[\"leave\",{\"room\":\"r\"}]")),
        ("heartbeats", last(TEXT, "3")),
        ("noops", last(TEXT, "6")),
        ("pings of the layer below", last(PING, "x")),
        ("pongs of the layer below", last(PONG, "")),
        ("fragments", [first(TEXT, "6"), last(CONTINUATION, "")].concat()),
    ];
    for (name, packet) in &disguises {
        let mut raw = Raw::connected(&server.site, "/nodevent").await;
        // The bound allows a burst of five seconds' worth.
        raw.send(packet.repeat(150)).await;
        assert_eq!(raw.ended().await, told(), "{name}");
    }
    server.counts("nodevent_disconnects_total{reason=\"packet_rate\"}", disguises.len() as i64).await;
    server.logs("a connection was closed reason=\"packet_rate\"").await;
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_flood_of_attachments_is_cut_too() {
    let mut server = Guarded::start(SLOW).await;
    let mut raw = Raw::connected(&server.site, "/nodevent").await;
    let event = last(TEXT, "451-/nodevent,[\"x\",{\"_placeholder\":true,\"num\":0}]");
    raw.send([event, last(BINARY, "x")].concat().repeat(80)).await;
    assert_eq!(raw.ended().await, told());
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_flood_in_one_post_is_told_why_its_session_ended() {
    let mut server = Guarded::start(SLOW).await;
    let open = server.get("/socket.io/?EIO=4&transport=polling").await.text();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let session = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    let response = server.send(&Request::post(&session, ["6"; 150].join("\u{1e}"))).await;
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["reason"], "too many packets");
    server.counts("nodevent_disconnects_total{reason=\"packet_rate\"}", 1).await;
    server.harmed_nobody_else().await;
}

/// Within the rate nothing happens, however long it goes on.
#[tokio::test]
async fn who_keeps_to_the_rate_is_never_cut() {
    let mut server = Guarded::start("limits: {packets_per_second: 1000}\n/nodevent: {}").await;
    for transport in Transport::BOTH {
        let mut browser = crate::support::Browser::connect(&server.site, "/nodevent", transport).await;
        for _ in 0..300 {
            browser.leave("nowhere").await;
        }
    }
    assert_eq!(server.metric("nodevent_disconnects_total{reason=\"packet_rate\"}").await, 0);
    server.harmed_nobody_else().await;
}
