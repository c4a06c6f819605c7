//! Connect, join, leave, go, and again: nothing may be left behind.

use crate::process::{Process, full};
use crate::support::Request;
use crate::support::raw::{Raw, TEXT, close, last};
use crate::support::wait::in_time;
use tokio::task::JoinSet;

/// Connections that are there at a time.
const AT_A_TIME: usize = 50;

/// Cycles of many connections, some of which leave their rooms before they go and some of which do not.
async fn churn(process: &Process, from: usize, to: usize) {
    let mut cycles = JoinSet::new();
    for n in from..to {
        if cycles.len() == AT_A_TIME {
            cycles.join_next().await.expect("a cycle").expect("it does not fail");
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
        cycle.expect("it does not fail");
    }
}

/// A hundred thousand cycles in the full run.
#[tokio::test]
async fn connections_that_come_join_leave_and_go_leave_nothing_behind() {
    //
    let (rounds, cycles) = if full() { (10, 10_000) } else { (5, 300) };
    let process = Process::start("/nodevent: {history: off}").await;
    let mut resident = Vec::new();
    for round in 0..rounds {
        churn(&process, round * cycles, (round + 1) * cycles).await;
        process.counts("nodevent_connections", 0).await;
        process.counts("nodevent_rooms", 0).await;
        resident.push(process.resident());
    }
    process.counts("nodevent_joins_total", (2 * rounds * cycles) as i64).await;
    // The first round is what the process needs to work at all.
    let grown = resident[rounds - 1].saturating_sub(resident[0]);
    println!("resident after each round: {resident:?}");
    assert!(grown < 1 << 20, "{resident:?}");
}

/// The same on long-polling and with rooms that are kept: each cycle joins a room of its own.
#[tokio::test]
async fn sessions_on_long_polling_that_come_and_go_leave_nothing_behind() {
    //
    let (rounds, cycles) = if full() { (10, 2_000) } else { (4, 200) };
    let process = Process::start("/nodevent: {history: {max_memory: 64KB}}").await;
    let mut resident = Vec::new();
    let mut stream = process.site.dial().await;
    for round in 0..rounds {
        for n in 0..cycles {
            let path = "/socket.io/?EIO=4&transport=polling";
            let open = in_time("a session", Request::get(path).exchange(&mut stream, "x")).await.unwrap().text();
            let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
            let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
            let body = format!("40/nodevent,\u{1e}42/nodevent,[\"join\",{{\"room\":\"{round}-{n}\"}}]\u{1e}1");
            let post = Request::post(&session, body);
            let answer = in_time("a POST", post.exchange(&mut stream, "x")).await.unwrap();
            assert_eq!(answer.text(), "ok");
        }
        process.counts("nodevent_connections", 0).await;
        process.counts("nodevent_rooms", 0).await;
        resident.push(process.resident());
    }
    let grown = resident[rounds - 1].saturating_sub(resident[0]);
    assert!(grown < 1 << 20, "{resident:?}");
}

/// One connection that joins and leaves, over and over, and connects and disconnects its namespace.
#[tokio::test]
async fn memberships_that_come_and_go_on_one_connection_leave_nothing_behind() {
    //
    let (rounds, cycles) = if full() { (10, 100) } else { (4, 12) };
    let limits = "limits: {joins_per_second: 1000000, packets_per_second: 1000000}";
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
            raw.say("41/nodevent,").await;
            raw.say("40/nodevent,").await;
            let answer = raw.text().await;
            assert!(answer.starts_with("40/nodevent,"), "{answer}");
        }
        process.counts("nodevent_rooms", 0).await;
        resident.push(process.resident());
    }
    process.counts("nodevent_joins_total", (rounds * cycles * 100) as i64).await;
    let grown = resident[rounds - 1].saturating_sub(resident[0]);
    assert!(grown < 1 << 20, "{resident:?}");
}
