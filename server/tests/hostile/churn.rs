//! Repeated cycles of connecting, joining, leaving and closing leave nothing behind.

use crate::process::Process;
use crate::support::raw::{Raw, TEXT, close, last};
use crate::support::wait::in_time;
use crate::support::{Request, is_full_run};
use tokio::task::JoinSet;

/// Concurrent connections.
const CONCURRENCY: usize = 50;

/// Runs cycles of many connections. Half of them leave their room before they close.
async fn churn(process: &Process, from: usize, to: usize) {
    let mut cycles = JoinSet::new();
    for n in from..to {
        if cycles.len() == CONCURRENCY {
            cycles.join_next().await.expect("a cycle").expect("it does not panic");
        }
        let site = process.site.clone();
        cycles.spawn(async move {
            let mut raw = Raw::opened(&site).await;
            let leave =
                if n % 2 == 0 { last(TEXT, format!("42/nodevent,2[\"leave\",\"room-{n}\"]")) } else { vec![] };
            let join = |room: usize| last(TEXT, format!("42/nodevent,[\"join\",{{\"room\":\"room-{room}\"}}]"));
            raw.send([last(TEXT, "40/nodevent,"), join(n), join(n % 10), leave, close(1000, "")].concat()).await;
            raw.ended().await;
        });
    }
    while let Some(cycle) = cycles.join_next().await {
        cycle.expect("it does not panic");
    }
}

/// 100,000 cycles in the full run.
#[tokio::test]
async fn connections_that_join_and_close_leave_nothing_behind() {
    //
    let (rounds, cycles) = if is_full_run() { (10, 10_000) } else { (5, 300) };
    let process = Process::start("/nodevent: {history: off}").await;
    let mut resident = Vec::new();
    for round in 0..rounds {
        churn(&process, round * cycles, (round + 1) * cycles).await;
        process.metric_is("nodevent_connections", 0).await;
        process.metric_is("nodevent_rooms", 0).await;
        resident.push(process.resident());
    }
    process.metric_is("nodevent_joins_total", (2 * rounds * cycles) as i64).await;
    // The first round shows what the process needs to work at all.
    let grown = resident[rounds - 1].saturating_sub(resident[0]);
    println!("resident after each round: {resident:?}");
    assert!(grown < 1 << 20, "{resident:?}");
}

/// The same on long-polling, and with history: each cycle joins its own room.
#[tokio::test]
async fn polling_sessions_that_open_and_close_leave_nothing_behind() {
    //
    let (rounds, cycles) = if is_full_run() { (10, 2_000) } else { (4, 200) };
    let process = Process::start("/nodevent: {history: {max_memory: 64KB}}").await;
    let mut resident = Vec::new();
    let mut stream = process.site.dial().await;
    for round in 0..rounds {
        for n in 0..cycles {
            let path = "/socket.io/?EIO=4&transport=polling";
            let open = in_time("a session", Request::get(path).exchange(&mut stream, &process.site.address))
                .await
                .unwrap()
                .text();
            let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
            let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
            let body = format!("40/nodevent,\u{1e}42/nodevent,[\"join\",{{\"room\":\"{round}-{n}\"}}]\u{1e}1");
            let post = Request::post(&session, body);
            let response = in_time("a POST", post.exchange(&mut stream, &process.site.address)).await.unwrap();
            assert_eq!(response.text(), "ok");
        }
        process.metric_is("nodevent_connections", 0).await;
        process.metric_is("nodevent_rooms", 0).await;
        resident.push(process.resident());
    }
    let grown = resident[rounds - 1].saturating_sub(resident[0]);
    assert!(grown < 1 << 20, "{resident:?}");
}

/// One connection joins and leaves repeatedly, and enters and leaves its namespace.
#[tokio::test]
async fn repeated_joins_and_leaves_on_one_connection_leave_nothing_behind() {
    //
    let (rounds, cycles) = if is_full_run() { (10, 100) } else { (4, 12) };
    let limits = "limits: {joins_per_second: 1000000, packets_per_second: 1000000, bytes_per_second: 100MB}";
    let process = Process::start(&format!("{limits}\n/nodevent: {{history: off}}")).await;
    let mut raw = Raw::connected(&process.site, "/nodevent").await;
    let mut resident = Vec::new();
    for round in 0..rounds {
        for cycle in 0..cycles {
            let packets: Vec<u8> = (0..100)
                .flat_map(|n| {
                    let room = format!("{round}-{cycle}-{n}");
                    let join = format!("42/nodevent,[\"join\",{{\"room\":\"{room}\"}}]");
                    let leave = format!("42/nodevent,[\"leave\",{{\"room\":\"{room}\"}}]");
                    [last(TEXT, join), if n % 3 == 0 { vec![] } else { last(TEXT, leave) }].concat()
                })
                .collect();
            raw.send(packets).await;
            raw.send_text("41/nodevent,").await;
            raw.send_text("40/nodevent,").await;
            let reply = raw.text().await;
            assert!(reply.starts_with("40/nodevent,"), "{reply}");
        }
        process.metric_is("nodevent_rooms", 0).await;
        resident.push(process.resident());
    }
    process.metric_is("nodevent_joins_total", (rounds * cycles * 100) as i64).await;
    let grown = resident[rounds - 1].saturating_sub(resident[0]);
    assert!(grown < 1 << 20, "{resident:?}");
}
