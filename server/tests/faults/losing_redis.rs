//! Redis stops and returns: with its data, without it, with an older state of it, or as another process.

use crate::harness::redis::namespace_at;
use crate::harness::sentinel::Sentinel;
use crate::harness::{Fleet, Node, Publishers, Redis, eventually, sites, sleep_for, traffic};
use crate::support::is_full_run;
use crate::support::wait::until;
use nodevent_protocol::history::Keys;
use std::time::Duration;

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Redis restarts with all its data under traffic, with members on two servers. The members stay connected and receive
/// everything, and the log has one line for each outage. N-11, N-13, R-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_miss_nothing_and_stay_connected_when_redis_restarts_with_its_data() {
    let mut redis = Redis::start_durable().await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for round in 1..=2 {
        traffic(&publishers, 50).await;
        redis.terminate();
        let outages = || nodes[0].program.log().iter().filter(|line| is_outage(line)).count();
        eventually("the outage is logged", Duration::from_secs(20), async || outages() == round).await;
        redis.start_again().await;
        traffic(&publishers, 50).await;
    }
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
    nodes[0].ready().await;
}

/// Redis keeps snapshots only, and writes one when it is terminated. It cannot know whether it has lost commands; the
/// servers have received everything up to its position, and confirm that. (A room with a publish in flight at that
/// moment would get a gap notice, because no server has received everything there.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_miss_nothing_when_redis_restarts_with_its_last_snapshot() {
    let mut redis = Redis::start(&["--save", "3600", "1"]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    publishers.pause().await;
    eventually("all members have received everything", Duration::from_secs(20), async || {
        fleet.received() == publishers.confirmed() * 50
    })
    .await;
    redis.terminate();
    redis.start_again().await;
    publishers.resume();
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}

/// The same with `kill -9`: Redis restarts from its append-only file. R-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_miss_nothing_when_a_durable_redis_is_killed() {
    let mut redis = Redis::start_durable().await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.kill();
    sleep_for(Duration::from_secs(1)).await;
    redis.start_again().await;
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}

/// Redis is killed and returns empty. Every member receives a gap notice, and then the new publications.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_receive_a_gap_when_redis_comes_back_empty() {
    let mut redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.kill();
    sleep_for(Duration::from_secs(1)).await;
    redis.start_again().await;
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.reconnects, 0, "{verdict:?}");
    assert_eq!(verdict.members_notified, 50, "{verdict:?}");
}

/// Redis keeps snapshots only. A kill takes it back to its last snapshot: later publications are lost, and their offsets
/// are assigned a second time. Every member receives a gap notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_notified_when_redis_loses_recent_writes() {
    let mut redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.expect_ok(&["SAVE"]);
    traffic(&publishers, 50).await;
    redis.kill();
    redis.start_again().await;
    traffic(&publishers, 400).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.members_notified, 50, "{verdict:?}");
}

/// Members are disconnected since before the snapshot, and reconnect after Redis has lost the writes since then and has
/// accepted new ones. Their position exists, but some publications after it do not. They receive a gap notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_were_away_are_notified_when_redis_loses_recent_writes() {
    let mut redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(10, &sites(&nodes[..1]), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &ROOMS);
    traffic(&publishers, 30).await;
    nodes[0].kill().await;
    traffic(&publishers, 30).await;
    redis.expect_ok(&["SAVE"]);
    traffic(&publishers, 30).await;
    redis.kill();
    redis.start_again().await;
    traffic(&publishers, 30).await;
    nodes[0].start_again().await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.members_notified, 10, "{verdict:?}");
}

/// The primary is killed before its last writes reach the replica that a Sentinel promotes. Every member receives a gap
/// notice, and continues with the new primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_notified_when_a_failover_loses_writes() {
    let mut primary = Redis::start_durable().await;
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await;
    let sentinel = Sentinel::watch(primary.port).await;
    let namespaces = format!(
        "/nodevent: {{redis: {{sentinel: {{name: mymaster, hosts: [\"127.0.0.1:{}\"]}}}}, history: {{size: 10000}}}}\n",
        sentinel.port
    );
    let nodes = Node::start_many(2, &namespaces).await;
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    // From here on no write reaches the replica.
    primary.expect_ok(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    assert_eq!(primary.query(&["CLIENT", "KILL", "TYPE", "replica"]), "1");
    traffic(&publishers, 50).await;
    primary.kill();
    let promoted = async || sentinel.primary() == Some(replica.port);
    eventually("the replica is promoted", Duration::from_secs(30), promoted).await;
    traffic(&publishers, 400).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.members_notified, 50, "{verdict:?}");
}

/// Redis is stopped and does not respond, but its connections stay open (for 30 s with `NODEVENT_TEST_FULL=1`, else
/// 8 s). The server reports that it is not ready within 6 s, and afterwards no member has missed anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_miss_nothing_when_redis_is_paused() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.pause();
    let paused = tokio::time::Instant::now();
    eventually("not ready", Duration::from_secs(8), async || !nodes[0].is_ready().await).await;
    let log = || nodes[0].program.log();
    let logged = async || log().iter().any(|line| is_outage(line));
    let what = format!("the outage is logged: {:?}", log());
    eventually(&what, Duration::from_secs(15), logged).await;
    assert_eq!(nodes[0].metric("nodevent_engines_unavailable").await, 1);
    let outage = Duration::from_secs(if is_full_run() { 30 } else { 8 });
    tokio::time::sleep_until(paused + outage).await;
    redis.resume();
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
    nodes[0].ready().await;
    let outages = nodes[0].program.log().iter().filter(|line| is_outage(line)).count();
    assert_eq!((outages, nodes[0].metric("nodevent_engines_unavailable").await), (1, 0), "logged once, and over");
}

/// Redis becomes a replica and refuses writes; then it is a primary again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_redis_confirms_nothing_and_loses_nothing() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.expect_ok(&["REPLICAOF", "127.0.0.1", "1"]);
    rejects_publishes(&nodes[0]).await;
    let confirmed = publishers.confirmed();
    sleep_for(Duration::from_secs(1)).await;
    assert_eq!(publishers.confirmed(), confirmed, "only stored publishes are confirmed");
    redis.expect_ok(&["REPLICAOF", "NO", "ONE"]);
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}

/// Redis reaches its memory limit: it refuses writes and still serves reads. Then the limit is lifted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_without_memory_confirms_nothing_and_loses_nothing() {
    let redis = Redis::start(&["--maxmemory-policy", "noeviction"]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.expect_ok(&["CONFIG", "SET", "maxmemory", "1"]);
    rejects_publishes(&nodes[0]).await;
    redis.expect_ok(&["CONFIG", "SET", "maxmemory", "0"]);
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}

/// Redis evicts rooms. Their members receive a gap notice, or have missed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_receive_a_gap_when_redis_evicts_their_room() {
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    let (a, b) = (Keys::of("/nodevent", "a"), Keys::of("/nodevent", "b"));
    redis.query(&["DEL", &a.position, &b.log]);
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.members_notified, verdict.reconnects), (20, 0), "{verdict:?}");
    assert_eq!(
        verdict.gap_notices, 20,
        "one notice for the room without its position; the one without its log has missed nothing"
    );
}

/// Redis requires a password that the servers do not have, and later none. N-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_redis_password_is_logged_and_retried() {
    let mut redis = Redis::start(&[]).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    redis.require_password("open sesame");
    rejects_publishes(&nodes[0]).await;
    eventually("the outage is logged", Duration::from_secs(20), async || {
        nodes[0].program.log().iter().any(|line| is_outage(line))
    })
    .await;
    eventually("not ready", Duration::from_secs(8), async || !nodes[0].is_ready().await).await;
    redis.clear_password();
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
    assert!(!nodes[0].program.log().iter().any(|line| line.contains("sesame")), "no secret in the log");
}

/// A server starts while Redis is down, accepts members, and delivers as soon as Redis is up. N-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_starts_without_redis_and_delivers_as_soon_as_it_is_up() {
    let mut redis = Redis::start(&[]).await;
    redis.kill();
    let nodes = [Node::start_unready(&namespace_at("/nodevent", redis.port, "")).await];
    assert!(!nodes[0].is_ready().await);
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    redis.start_again().await;
    traffic(&publishers, 50).await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.reconnects, 0, "{verdict:?}");
    nodes[0].ready().await;
}

/// Returns whether a log line reports an outage of Redis. There is one line per outage, whatever its kind.
fn is_outage(line: &str) -> bool {
    ["lost connection to Redis; retrying", "Redis is not processing messages"]
        .iter()
        .any(|text| line.contains(text))
}

/// Waits until a server refuses a publish with 503 and reports the outage once.
async fn rejects_publishes(node: &Node) {
    let unready = async || !node.is_ready().await && node.metric("nodevent_engines_unavailable").await == 1;
    let refused = async || {
        let response = node.site.publish("/nodevent", r#"{"room": "elsewhere", "event": "e"}"#).await;
        response.status == 503 && response.text().contains("hint")
    };
    eventually("publishes are refused", Duration::from_secs(20), refused).await;
    eventually("the server reports that it is not ready", Duration::from_secs(20), unready).await;
    let logged = || node.program.log().into_iter().filter(|line| is_outage(line)).collect::<Vec<_>>();
    until("the outage is logged", async || !logged().is_empty()).await;
    assert_eq!(logged().len(), 1, "the outage is logged once: {:#?}", logged());
}
