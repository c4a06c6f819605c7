//! Very many connections in very many rooms that time out at the same moment. Closing all of them takes long, and must not
//! be done in one turn.

use crate::attacker;
use crate::process::Process;
use crate::support::raw::{Raw, TEXT, handshake, last};
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::until;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

/// Connections that time out at the same moment. Closing all of them takes more than 200 ms.
const CONNECTIONS: usize = 2_000;
/// Rooms of each, in which it is alone.
const ROOMS: usize = 128;
/// From the last connection to the moment. Seconds.
const LEAD: f64 = 3.0;
/// The longest time for which the bystander may wait in any case. One sample shows the attack, so there is no percentile.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// The time for which it may wait in comparison with the longest one before the attack.
const FACTOR: u32 = 3;
/// Attempts, because the machine may be busy with something else.
const ATTEMPTS: usize = 3;

/// Opens connections in rooms of their own.
async fn open(process: &Process) -> Vec<Raw> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    // The token expires later than all of them are open. A newer one replaces it.
    let auth = json!({"token": token(json!({"sub": "7", "exp": now() + 600.0}))});
    for number in 0..CONNECTIONS {
        let mut raw = Raw::opened(&process.site).await;
        let rooms: Vec<String> = (0..ROOMS).map(|room| format!("{{\"room\":\"r{number}-{room}\"}}")).collect();
        let join = format!("42/tokens,1[\"join\",{{\"rooms\":[{}]}}]", rooms.join(","));
        raw.send([last(TEXT, format!("40/tokens,{auth}")), last(TEXT, join)].concat()).await;
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
    connections
}

/// Joins a room all the time, from another address. Returns the longest time until a reply before `attack`, and after it.
async fn bystander(process: &Process, attack: Instant) -> JoinHandle<[Duration; 2]> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    let mut stream = socket.connect(process.site.address.parse().unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&handshake(&process.site.address, "")).await.unwrap();
    let mut raw = Raw::after_handshake(Box::new(stream)).await;
    raw.text().await;
    raw.send_text("40/nodevent,").await;
    raw.text().await;
    tokio::spawn(async move {
        let mut longest = [Duration::ZERO; 2];
        for id in 1.. {
            let sent = Instant::now();
            let reply = attacker::join(&mut raw, &format!("42/nodevent,{id}[\"join\",{{\"room\":\"r\"}}]")).await;
            assert!(reply.starts_with("[null,true"), "{reply}");
            let phase = usize::from(Instant::now() >= attack);
            longest[phase] = longest[phase].max(sent.elapsed());
            if attack.elapsed() > Duration::from_secs(2) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        longest
    })
}

#[test]
fn connections_that_time_out_together_delay_no_other_client() {
    attacker::run(async {
        let settings = format!(
            "shards: 1\nlimits: {{joins_per_second: 1000, packets_per_second: 1000}}\nping: {{interval: 60s}}\n\
             /nodevent: {{history: off}}\n\
             /tokens: {{open: true, history: off, token: {{secret: {TOKEN_SECRET}, leeway: 0s, grace: 0s}}}}"
        );
        let closed = "nodevent_disconnects_total{reason=\"token_expired\"}";
        for attempt in 1..=ATTEMPTS {
            let process = Process::start(&settings).await;
            let mut connections = open(&process).await;
            let expiry = (now() + LEAD).ceil();
            let identify =
                format!("42/tokens,2[\"token\",{{\"token\":\"{}\"}}]", token(json!({"sub": "7", "exp": expiry})));
            for raw in &mut connections {
                raw.send_text(&identify).await;
            }
            let attack = Instant::now() + Duration::from_secs_f64((expiry - now()).max(0.0));
            let bystander = bystander(&process, attack).await;
            until("all of them are closed", async || process.metric(closed).await == CONNECTIONS as i64).await;
            let [before, during] = bystander.await.unwrap();
            println!("the bystander waited for {before:?} before, and for {during:?} during the attack");
            if during <= MAX_WAIT.max(before * FACTOR) {
                return;
            }
            assert!(attempt < ATTEMPTS, "the bystander waited for {during:?}");
        }
    });
}
