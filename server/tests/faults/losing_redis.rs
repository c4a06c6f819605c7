//! Redis goes away and comes back: with its data, without it, with an older state of it, or as another one.

use crate::harness::redis::namespace_at;
use crate::harness::sentinel::Sentinel;
use crate::harness::{Crowd, Node, Publishers, Redis, is_full, lasting, patiently, sites, traffic};
use std::time::Duration;

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Two servers, members on both, traffic; Redis is restarted and has everything on disk. Members stay connected and
/// hear everything; the loss and the return stand in the log once. N-11, N-13, R-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_restarted_with_its_data_loses_nothing_and_nobody_notices() {
    let mut redis = Redis::start_durable().await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for round in 1..=2 {
        traffic(&publishers, 50).await;
        redis.terminate();
        let away = || nodes[0].program.log().iter().filter(|line| line.contains("Redis is away")).count();
        patiently("the loss is logged", Duration::from_secs(20), async || away() == round).await;
        redis.start_again().await;
        traffic(&publishers, 50).await;
    }
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
    nodes[0].ready().await;
}

/// Redis keeps snapshots only, and takes one when it is asked to end. It cannot know whether it has forgotten
/// anything; the servers have heard everything up to where it stands, and vouch for it. (A room in which
/// something is on its way at that very moment is told: nobody has heard everything there.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_restarted_with_its_last_snapshot_loses_nothing() {
    let mut redis = Redis::start(&["--save", "3600", "1"]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    publishers.rest().await;
    patiently("everybody has heard everything", Duration::from_secs(20), async || {
        crowd.heard() == publishers.confirmed() * 50
    })
    .await;
    redis.terminate();
    redis.start_again().await;
    publishers.go_on();
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}

/// The same with `kill -9`, where the file of commands is what is left. R-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_kept_every_command_loses_nothing() {
    let mut redis = Redis::start_durable().await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.kill();
    lasting(Duration::from_secs(1)).await;
    redis.start_again().await;
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}

/// Redis is killed and comes back empty. Every member of every room is told, and hears what comes then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_is_told_to_every_member() {
    let mut redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.kill();
    lasting(Duration::from_secs(1)).await;
    redis.start_again().await;
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.comebacks, 0, "{verdict:?}");
    assert_eq!(verdict.members_told, 50, "{verdict:?}");
}

/// Redis keeps a snapshot only. After a kill it is back where the snapshot was taken: what was published since is
/// gone, also for members who were away meanwhile, and numbers are given a second time. Everybody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_back_in_time_is_told_to_every_member() {
    let mut redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.order(&["SAVE"]);
    traffic(&publishers, 50).await;
    redis.kill();
    redis.start_again().await;
    traffic(&publishers, 400).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.members_told, 50, "{verdict:?}");
}

/// A member is away since before the snapshot, and comes back after Redis has gone back in time and gone on: what it
/// asks for is there, but what was published between is not. It is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_while_redis_went_back_in_time_is_told() {
    let mut redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(10, &sites(&nodes[..1]), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &ROOMS);
    traffic(&publishers, 30).await;
    nodes[0].kill().await;
    traffic(&publishers, 30).await;
    redis.order(&["SAVE"]);
    traffic(&publishers, 30).await;
    redis.kill();
    redis.start_again().await;
    traffic(&publishers, 30).await;
    nodes[0].start_again().await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.members_told, 10, "{verdict:?}");
}

/// The primary dies and has not given its last writes to the replica that a Sentinel puts in its place. Everybody is
/// told, and goes on with the new primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_writes_is_told_to_every_member() {
    let mut primary = Redis::start_durable().await;
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await;
    let sentinel = Sentinel::watch(primary.port).await;
    let namespaces = format!(
        "/nodevent: {{redis: {{sentinel: {{name: mymaster, hosts: [\"127.0.0.1:{}\"]}}}}, history: {{size: 10000}}}}\n",
        sentinel.port
    );
    let nodes = Node::start_many(2, &namespaces).await;
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    // From here on nothing reaches the replica.
    primary.order(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    assert_eq!(primary.ask(&["CLIENT", "KILL", "TYPE", "replica"]), "1");
    traffic(&publishers, 50).await;
    primary.kill();
    let new = async || sentinel.primary() == Some(replica.port);
    patiently("the replica takes its place", Duration::from_secs(30), new).await;
    traffic(&publishers, 400).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.members_told, 50, "{verdict:?}");
}

/// Redis is stopped and does not answer, but its connections stand (30 s with `NODEVENT_FAULTS=full`, else 8 s). The
/// server tells that it is not ready within 6 s; afterwards nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_paused_loses_nothing() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.pause();
    let paused = tokio::time::Instant::now();
    patiently("not ready", Duration::from_secs(8), async || !nodes[0].is_ready().await).await;
    let log = || nodes[0].program.log();
    let said = async || log().iter().any(|line| line.contains("Redis is away"));
    let what = format!("the log says so: {:?}", log());
    patiently(&what, Duration::from_secs(15), said).await;
    assert_eq!(nodes[0].metric("nodevent_engines_unavailable").await, 1);
    let outage = Duration::from_secs(if is_full() { 30 } else { 8 });
    tokio::time::sleep_until(paused + outage).await;
    redis.go_on();
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
    nodes[0].ready().await;
    let away = nodes[0].program.log().iter().filter(|line| line.contains("Redis is away")).count();
    assert_eq!((away, nodes[0].metric("nodevent_engines_unavailable").await), (1, 0), "said once, and over");
}

/// Redis has become a replica of something and refuses to write; then it is a primary again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_read_only_confirms_nothing_and_loses_nothing() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.order(&["REPLICAOF", "127.0.0.1", "1"]);
    refuses(&nodes[0]).await;
    let confirmed = publishers.confirmed();
    lasting(Duration::from_secs(1)).await;
    assert_eq!(publishers.confirmed(), confirmed, "nothing is confirmed that is not kept");
    redis.order(&["REPLICAOF", "NO", "ONE"]);
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}

/// Redis may take no more memory: it refuses to write, reads go on. Then it may again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_out_of_memory_confirms_nothing_and_loses_nothing() {
    let redis = Redis::start(&["--maxmemory-policy", "noeviction"]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.order(&["CONFIG", "SET", "maxmemory", "1"]);
    refuses(&nodes[0]).await;
    redis.order(&["CONFIG", "SET", "maxmemory", "0"]);
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}

/// Redis throws rooms out to make place. A member of one is told, or has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_redis_has_thrown_out_is_told_to_its_members() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.ask(&["DEL", "nodevent:{/nodevent:a}:position", "nodevent:{/nodevent:b}:log"]);
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.members_told, verdict.comebacks), (20, 0), "{verdict:?}");
    assert_eq!(verdict.told, 20, "the room without its position; the one without its log has lost nothing live");
}

/// From one moment to the next Redis asks for a password that the servers do not have; then it asks for none. N-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_asks_for_a_password_is_told_in_the_log_and_tried_again() {
    let mut redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.demand("open sesame");
    refuses(&nodes[0]).await;
    nodes[0].program.says("Redis is away").await;
    patiently("not ready", Duration::from_secs(8), async || !nodes[0].is_ready().await).await;
    redis.demand_nothing();
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
    assert!(!nodes[0].program.log().iter().any(|line| line.contains("sesame")), "no secret in the log");
}

/// Servers start while Redis is down, take members in, and are whole as soon as it is there. N-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_without_its_redis_and_hears_as_soon_as_it_is_there() {
    let mut redis = Redis::start(&[]).await;
    redis.kill();
    let nodes = [Node::start_unready(&namespace_at("/nodevent", redis.port, "")).await];
    assert!(!nodes[0].is_ready().await);
    let crowd = Crowd::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    redis.start_again().await;
    traffic(&publishers, 50).await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.comebacks, 0, "{verdict:?}");
    nodes[0].ready().await;
}

/// Waits until a server refuses a publish with 503, and says why and what to do.
async fn refuses(node: &Node) {
    let away = async || !node.is_ready().await && node.metric("nodevent_engines_unavailable").await == 1;
    let refused = async || {
        let answer = node.site.publish("/nodevent", r#"{"room": "elsewhere", "event": "e"}"#).await;
        answer.status == 503 && answer.text().contains("hint")
    };
    patiently("publishes are refused", Duration::from_secs(20), refused).await;
    patiently("and the server says that it is not ready", Duration::from_secs(20), away).await;
    let log = node.program.log();
    let told: Vec<&String> = log.iter().filter(|line| line.contains("Redis is away")).collect();
    assert_eq!(told.len(), 1, "the log says it once: {told:#?}");
}
