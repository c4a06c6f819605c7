//! Servers are killed, replaced and restarted while they have members.

use crate::harness::node::{SLOW_HEARTBEAT, STORE};
use crate::harness::{Fleet, Node, Publishers, Redis, eventually, raise_file_limit, sites, traffic};
use crate::support::is_full_run;
use std::time::{Duration, Instant};

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// One of three servers with 1,000 members is killed under traffic. Its members reconnect to another server and miss
/// nothing, and the other servers deliver each other's publications throughout. N-11, T-43, W-37, P-31: the parts that
/// belong to the core (live delivery and a room's history across instances); the dialects have tests of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_killed_server_reconnect_elsewhere_and_miss_nothing() {
    raise_file_limit();
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many_with(SLOW_HEARTBEAT, 3, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(1000, &sites(&nodes), "/nodevent", &["a"]).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["a"]);
    traffic(&publishers, 20).await;
    nodes[2].kill().await;
    traffic(&publishers, 20).await;
    fleet.all_joined().await;
    nodes[2].start_again().await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
    assert!((100..=1000).contains(&verdict.reconnects), "only members of the killed server reconnect: {verdict:?}");
}

/// Each of three servers is terminated and started again under traffic. It announces the drain to its members,
/// disconnects them spread over the drain time, and exits with 0 within that time. N-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_of_all_servers_loses_nothing() {
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many(3, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(200, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for node in &mut nodes {
        traffic(&publishers, 30).await;
        let began = Instant::now();
        assert_eq!(node.terminate().await, Some(0), "{:?}", node.program.log());
        assert!(began.elapsed() < Duration::from_secs(6), "{:?} for a drain of 2 s", began.elapsed());
        node.start_again().await;
        fleet.all_joined().await;
    }
    let drains: u64 = fleet.members.iter().map(|member| member.record().drains).sum();
    assert!(drains >= 200, "every member is notified before it is disconnected: {drains}");
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
    assert!(verdict.reconnects >= 200, "{verdict:?}");
}

/// The memory engine ends with its process. Every member that reconnects receives a gap notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_receive_a_gap_when_the_memory_engine_restarts() {
    let mut nodes = vec![Node::start("/nodevent: {history: {size: 10000}}\n").await];
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    nodes[0].kill().await;
    nodes[0].start_again().await;
    fleet.all_joined().await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.members_notified, verdict.reconnects), (50, 50), "{verdict:?}");
}

/// 5,000 members lose their server at the same moment and reconnect within about a second to its replacement. All of
/// them recover, and share the reads of the history. P-41: every member receives what is published meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_reconnecting_members_share_their_history_reads() {
    raise_file_limit();
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many_with(SLOW_HEARTBEAT, 2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(5000, &sites(&nodes[..1]), "/nodevent", &["a"]).await;
    let publishers = Publishers::start_with(&sites(&nodes[1..]), "/nodevent", &["a"], Duration::from_millis(200));
    traffic(&publishers, 5).await;
    nodes[0].kill().await;
    traffic(&publishers, 5).await;
    nodes[0].start_again().await;
    let began = Instant::now();
    eventually("all have reconnected", Duration::from_secs(120), async || {
        fleet.connects() >= 10_000 && fleet.members.iter().all(|member| member.is_joined())
    })
    .await;
    let took = began.elapsed();
    let reads = nodes[0].metric("nodevent_history_reads_total").await;
    println!("5,000 members had reconnected and recovered {took:?} after the restart, with {reads} reads");
    assert!(reads < 1000, "{reads} reads for one room and 5,000 members");
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
}

/// While 1,000 members (10,000 with `NODEVENT_TEST_FULL=1`) connect and join as fast as they can, earlier members
/// receive every publication. P-41
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_miss_nothing_while_others_connect() {
    others_connect("").await;
}

/// The same with a store. P-41
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_server_with_a_store_miss_nothing_while_others_connect() {
    others_connect(STORE).await;
}

async fn others_connect(store: &str) {
    raise_file_limit();
    let namespace = format!("{store}/nodevent: {{history: {{size: 10000}}}}\n");
    let nodes = [Node::start_with(SLOW_HEARTBEAT, &namespace).await];
    let fleet = Fleet::join(10, &sites(&nodes), "/nodevent", &["a"]).await;
    let publishers = Publishers::start_with(&sites(&nodes), "/nodevent", &["a"], Duration::from_millis(2));
    for _ in 0..(if is_full_run() { 10 } else { 1 }) {
        let newcomers = Fleet::join(1000, &sites(&nodes), "/nodevent", &["a"]).await;
        drop(newcomers);
    }
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}
