//! Very many connections in very many rooms that time out at the same moment. Closing all of them takes long, and must not
//! be done in one turn.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::{Raw, TEXT, last};
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::until;
use serde_json::json;
use std::time::Duration;

/// Connections that time out at the same moment.
const CONNECTIONS: usize = 600;
/// Rooms of each, which all of them are in.
const ROOMS: usize = 128;
/// The time in which all connections are opened.
const OPENING: f64 = 8.0;

/// Opens connections whose tokens expire at the same moment. Returns it, in seconds since the Unix epoch.
async fn open(process: &Process) -> (Vec<Raw>, f64) {
    let expiry = (now() + OPENING).ceil();
    let auth = json!({"token": token(json!({"sub": "7", "exp": expiry}))});
    let rooms: Vec<String> = (0..ROOMS).map(|room| format!("{{\"room\":\"r{room}\"}}")).collect();
    let packets = [
        last(TEXT, format!("40/tokens,{auth}")),
        last(TEXT, format!("42/tokens,1[\"join\",{{\"rooms\":[{}]}}]", rooms.join(","))),
    ];
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut raw = Raw::opened(&process.site).await;
        raw.send(packets.concat()).await;
        connections.push(raw);
    }
    for raw in &mut connections {
        loop {
            let text = raw.text().await;
            if text.starts_with("43/tokens,1") {
                assert!(text.contains("true") && !text.contains("false"), "{text}");
                break;
            }
        }
    }
    let left = expiry - now();
    assert!(left > 0.0, "opening the connections took too long");
    (connections, expiry)
}

#[test]
fn connections_that_time_out_together_delay_no_other_client() {
    attacker::run(async {
        let settings = format!(
            "shards: 1\n/nodevent: {{history: off}}\n\
             /tokens: {{open: true, history: off, token: {{secret: {TOKEN_SECRET}, leeway: 0s, grace: 0s}}}}"
        );
        let process = Process::start(&settings).await;
        let closed = "nodevent_disconnects_total{reason=\"token_expired\"}";
        assert_unnoticed(&process.site.address, async || {
            let before = process.metric(closed).await;
            let (connections, expiry) = open(&process).await;
            tokio::time::sleep(Duration::from_secs_f64((expiry - now()).max(0.0))).await;
            until("all of them are closed", async || process.metric(closed).await == before + CONNECTIONS as i64)
                .await;
            drop(connections);
        })
        .await;
    });
}
