//! Servers die, are replaced, and come back under their members.

use crate::harness::node::CALM;
use crate::harness::{Crowd, Node, Publishers, Redis, is_full, patiently, raise_file_limit, sites, traffic};
use std::time::{Duration, Instant};

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Three servers, 1,000 members, traffic; one is killed. Its members find another one, and nobody misses anything.
/// What is published on one is heard on the others all the while. N-11, T-43, W-37, P-31: as far as the core shows
/// them (live delivery and a room's history across instances); their dialects have tests of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_servers_is_killed_under_a_thousand_members() {
    raise_file_limit();
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many_with(CALM, 3, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(1000, &sites(&nodes), "/nodevent", &["a"]).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["a"]);
    traffic(&publishers, 20).await;
    nodes[2].kill().await;
    traffic(&publishers, 20).await;
    crowd.settled().await;
    nodes[2].start_again().await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.told, 0, "{verdict:?}");
    assert!((100..=1000).contains(&verdict.comebacks), "only those of the killed one came back: {verdict:?}");
}

/// Each of three servers is asked to end and started again, under traffic. It tells its members how long to stay
/// away, sends them away spread over its drain, and ends with 0 within it. N-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_all_servers_loses_nothing() {
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many(3, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(200, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for node in &mut nodes {
        traffic(&publishers, 30).await;
        let asked = Instant::now();
        assert_eq!(node.terminate().await, Some(0), "{:?}", node.program.log());
        assert!(asked.elapsed() < Duration::from_secs(6), "{:?} for a drain of 2 s", asked.elapsed());
        node.start_again().await;
        crowd.settled().await;
    }
    let drains: u64 = crowd.members.iter().map(|member| member.record().drains).sum();
    assert!(drains >= 200, "everybody was told before it was sent away: {drains}");
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.told, 0, "{verdict:?}");
    assert!(verdict.comebacks >= 200, "{verdict:?}");
}

/// The engine in the process dies with it. Whoever comes back is told that it may have missed something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_engine_that_is_restarted_is_told_to_every_member() {
    let mut nodes = vec![Node::start("/nodevent: {history: {size: 10000}}\n").await];
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    nodes[0].kill().await;
    nodes[0].start_again().await;
    crowd.settled().await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.members_told, verdict.comebacks), (50, 50), "{verdict:?}");
}

/// 5,000 members lose their server at once and come back, all within about a second, to the one that takes its place.
/// Everybody recovers, and the reads of the history are shared. P-41: what is published meanwhile misses nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_members_come_back_at_once_and_share_their_reads() {
    raise_file_limit();
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many_with(CALM, 2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(5000, &sites(&nodes[..1]), "/nodevent", &["a"]).await;
    let publishers = Publishers::start_with(&sites(&nodes[1..]), "/nodevent", &["a"], Duration::from_millis(200));
    traffic(&publishers, 5).await;
    nodes[0].kill().await;
    traffic(&publishers, 5).await;
    nodes[0].start_again().await;
    let began = Instant::now();
    patiently("all are back", Duration::from_secs(120), async || {
        crowd.connects() >= 10_000 && crowd.members.iter().all(|member| member.is_settled())
    })
    .await;
    let took = began.elapsed();
    let reads = nodes[0].metric("nodevent_history_reads_total").await;
    println!("5,000 members were back and had recovered {took:?} after the server stood, with {reads} reads");
    assert!(reads < 1000, "{reads} reads for one room and 5,000 members");
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.told, 0, "{verdict:?}");
}

/// While 1,000 members connect and join one after the other, as fast as they can, members who are in already hear
/// every publication (10,000 with `NODEVENT_FAULTS=full`). P-41
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_others_connect() {
    raise_file_limit();
    let nodes = [Node::start_with(CALM, "/nodevent: {history: {size: 10000}}\n").await];
    let crowd = Crowd::join(10, &sites(&nodes), "/nodevent", &["a"]).await;
    let publishers = Publishers::start_with(&sites(&nodes), "/nodevent", &["a"], Duration::from_millis(2));
    for _ in 0..(if is_full() { 10 } else { 1 }) {
        let newcomers = Crowd::join(1000, &sites(&nodes), "/nodevent", &["a"]).await;
        drop(newcomers);
    }
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}
