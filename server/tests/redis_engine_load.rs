//! The Redis engine alone, with shards but without HTTP: when the shards are blocked, and with very many rooms.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/mod.rs"]
mod support;

use nodevent_protocol::history::Scope;
use nodevent_server::authorize::{Authorizers, PublishAuthorizer};
use nodevent_server::byte_budget::ByteBudget;
use nodevent_server::capability::{Engine, Engines};
use nodevent_server::client::Client;
use nodevent_server::close_reason::CloseReason;
use nodevent_server::config::Config;
use nodevent_server::connect_info::ConnectInfo;
use nodevent_server::engine::Fanout;
use nodevent_server::engine::redis::Redis;
use nodevent_server::history::{RecoveryRequest, ReplyTo, RequestId, Since};
use nodevent_server::metrics::Metrics;
use nodevent_server::namespace::{Namespace, Namespaces, RoomLimits};
use nodevent_server::outcome::Outcome;
use nodevent_server::protocol::{Core, Message, Millis, NEVER, Protocol, SubscribeReply};
use nodevent_server::shard::message::{OpenStream, StreamRequest};
use nodevent_server::shard::{self, Shards, ToShard};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::RedisServer;
use support::wait::until;
use tokio::sync::{Mutex, oneshot};

/// All tests measure this process, so they run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The size of a large publication, and how many of them are published.
const LARGE: usize = 1_000_000;
const COUNT: u64 = 400;
/// What waits for a blocked shard, in the shard's inbox and in the backlog, and as much again. Bytes.
const MAX_GROWTH: u64 = (2 * (32 + 64)) << 20;
/// Rooms with members. A second has about as many steps for each of them as it has for a few.
const ROOMS: u64 = 200_000;
/// Maximum time for a publication meanwhile. Generous.
const MAX_LATENCY: Duration = Duration::from_millis(250);

/// Occupies the thread of its shard until the sender is dropped.
#[derive(Debug)]
struct Blocker(mpsc::Receiver<()>);

/// The engine of the namespace `/n`, with one shard.
struct Setup {
    engine: Engine,
    shards: Shards,
    metrics: Arc<Metrics>,
}

// === impl Blocker ===

impl Protocol for Blocker {
    fn opened(&mut self, _core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = self.0.recv();
        Ok(())
    }

    fn received(&mut self, _message: Message<'_>, _core: &mut dyn Core) -> Result<(), CloseReason> {
        Ok(())
    }

    fn deadline(&self) -> Millis {
        NEVER
    }

    fn on_deadline(&mut self, _core: &mut dyn Core) -> Result<(), CloseReason> {
        Ok(())
    }

    fn subscribed(&mut self, _reply: SubscribeReply<'_>, _core: &mut dyn Core) {}

    fn closing(&mut self, _reason: CloseReason, _core: &mut dyn Core) {}
}

// === impl Setup ===

impl Setup {
    async fn start(redis: &RedisServer) -> Self {
        Self::start_with(redis, "").await
    }

    /// `settings` of the namespace begin with a comma.
    async fn start_with(redis: &RedisServer, settings: &str) -> Self {
        let mut config = Config::from_yaml(&format!("/n: {{redis: \"{}\"{settings}}}", redis.url())).unwrap();
        // Only members of these rooms cause reads, and not the topic of all connections.
        let rules = &mut config.namespaces[0].history.rules;
        if let Some(retention) = rules.default.take() {
            rules.prefixes.push(("room-".to_owned(), Some(retention)));
        }
        let mut namespaces = Namespaces::default();
        namespaces.add(Namespace {
            id: 0,
            name: "/n".into(),
            authorizers: Authorizers::from(Vec::new()),
            tokens: None,
            provider: std::sync::OnceLock::new(),
            caller: std::sync::OnceLock::new(),
            observer: std::sync::OnceLock::new(),
            revocations: Arc::default(),
            publish: PublishAuthorizer::new(Vec::new()),
            recorder: None,
            is_secured: false,
            protocols: Vec::new(),
            dialects: Vec::new(),
            dialect_joins: Arc::default(),
            visitors: None,
            allows_eio3: true,
            web_service: None,
            refreshes: None,
            connection_state: None,
            ends_expired_memberships: false,
            limits: RoomLimits { max_rooms: 8, max_name_bytes: 255 },
        });
        let (namespaces, engines, metrics) = (Arc::new(namespaces), Arc::new(Engines::default()), Arc::default());
        let settings = shard::Settings {
            bytes_per_second: 1 << 20,
            send_buffers_total: 1 << 30,
            poll_responses: Arc::new(ByteBudget::new(usize::MAX)),
            max_memberships: 1 << 30,
            max_roomless: 100,
            max_roomless_per_address: 100,
            write_timeout: 10_000,
            max_message_size: 65_536,
            send_buffer: 1 << 20,
            messages_per_second: 100,
            joins_per_second: 100,
            max_rooms_per_connection: 8,
            deflate: None,
            addresses: Arc::default(),
        };
        let (shards, _threads) = shard::start(1, &settings, &namespaces, &engines, &metrics).unwrap();
        let fanout = Fanout::new(shards.clone(), namespaces, 0, Arc::clone(&metrics));
        let namespace = &config.namespaces[0];
        let engine = Redis::start(namespace.redis.as_ref().unwrap(), namespace, fanout, 2 * LARGE, None).unwrap();
        redis.has_subscribers("/n", 1).await;
        Self { engine, shards, metrics }
    }

    /// A new member of a room, as a shard reports it.
    fn join(&self, number: u64) {
        let reply_to =
            ReplyTo { shard: 0, slot: 0, generation: 0, join_id: 0, encoding: 0, request: RequestId::default() };
        let request = RecoveryRequest {
            reply_to,
            namespace: 0,
            room: format!("room-{number}").into(),
            client: Client::of([10, 0, 0, 1].into()),
            since: Since::FirstJoin,
            requested_at: Instant::now(),
        };
        assert!(matches!(self.engine.history.recover(request), Outcome::Pending));
    }

    async fn count_is(&self, count: &AtomicU64, at_least: u64) {
        until(&format!("{at_least} are counted"), async || count.load(Relaxed) >= at_least).await;
    }
}

/// The resident memory of this process. Bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn publication(message: &str) -> String {
    format!("{{\"room\":\"r\",\"event\":\"e\",\"message\":\"{message}\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_publications_take_bounded_memory_while_the_shards_are_blocked() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let redis = RedisServer::start().await;
    let setup = Setup::start(&redis).await;
    let (release, blocked) = mpsc::channel();
    let (reply, _opened) = oneshot::channel();
    let protocol = Box::new(move || Box::new(Blocker(blocked)) as Box<dyn Protocol>);
    let open = OpenStream { protocol, info: ConnectInfo::UNKNOWN, reply };
    let client = Client::of([127, 0, 0, 1].into());
    let request = ToShard::Stream(StreamRequest::Open(Box::new(open)));
    setup.shards.send_request(0, client, request).unwrap();

    // For all connections, so that the shard receives it without a member of a room.
    let large = format!("{{\"broadcast\":true,\"event\":\"e\",\"message\":\"{}\"}}", "x".repeat(LARGE));
    let before = memory();
    let mut growth = 0;
    for _ in 0..COUNT {
        assert_eq!(redis.publish("/n", &large).await, 1, "Redis has not disconnected the server");
        growth = growth.max(memory().saturating_sub(before));
    }
    println!("grew by {} MB for {} MB", growth >> 20, (COUNT * LARGE as u64) >> 20);
    assert!(growth < MAX_GROWTH, "grew by {} MB for {} MB", growth >> 20, (COUNT * LARGE as u64) >> 20);

    drop(release);
    until("every publication is delivered or counted", async || {
        let Metrics { publications, engine_lagged_messages, .. } = &*setup.metrics;
        publications.load(Relaxed) + engine_lagged_messages.load(Relaxed) == COUNT
    })
    .await;
    assert!(setup.metrics.engine_lagged_messages.load(Relaxed) > COUNT / 2, "the oldest were dropped");
    redis.publish("/n", publication("later")).await;
    until("later ones arrive", async || {
        let Metrics { publications, engine_lagged_messages, .. } = &*setup.metrics;
        publications.load(Relaxed) + engine_lagged_messages.load(Relaxed) > COUNT
    })
    .await;
    setup.shards.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_do_not_wait_for_the_checks_of_very_many_rooms() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let redis = RedisServer::start().await;
    let setup = Setup::start(&redis).await;
    for start in (0..ROOMS).step_by(20_000) {
        (start..start + 20_000).for_each(|number| setup.join(number));
        setup.count_is(&setup.metrics.history_reads, start + 20_000).await;
    }
    let reads = setup.metrics.history_reads.load(Relaxed);
    let (started, mut latencies) = (Instant::now(), Vec::new());
    while started.elapsed() < Duration::from_secs(5) {
        let count = setup.metrics.publications.load(Relaxed);
        let published = Instant::now();
        redis.publish("/n", publication("x")).await;
        while setup.metrics.publications.load(Relaxed) == count {
            assert!(published.elapsed() < MAX_LATENCY, "{:?}", published.elapsed());
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        latencies.push(published.elapsed());
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let checks = setup.metrics.history_reads.load(Relaxed) - reads;
    latencies.sort_unstable();
    let (last, count) = (latencies[latencies.len() - 1], latencies.len());
    println!("{count} publications: median {:?}, longest {last:?}; {checks} checks in 5 s", latencies[count / 2]);
    // The checks that were due when the rooms were there, and a thousand per second.
    assert!((2_000..=6_500).contains(&checks), "{checks} checks in 5 s");
    setup.shards.stop();
}

/// Weakness 26: each room that became empty started a task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_become_empty_start_few_tasks() {
    const COUNT: u64 = 20_000;
    let _turn = ONE_AT_A_TIME.lock().await;
    let redis = RedisServer::start().await;
    let setup = Setup::start_with(&redis, ", channel_per_room: true").await;
    for start in (0..COUNT).step_by(1_000) {
        (start..start + 1_000).for_each(|number| setup.join(number));
        setup.count_is(&setup.metrics.history_reads, start + 1_000).await;
    }
    let channel = |number: u64| Scope::default().keys("/n", &format!("room-{number}")).channel();
    redis.has_subscribers(&channel(0), 1).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (before, mut most) = (tasks(), 0);
    (1..COUNT).for_each(|number| setup.engine.history.room_empty(0, &format!("room-{number}")));
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        most = most.max(tasks());
        tokio::task::yield_now().await;
    }
    println!("{before} tasks before, at most {most}");
    assert!(most < before + 200, "{most} tasks");
    redis.has_subscribers(&channel(COUNT - 1), 0).await;
    redis.has_subscribers(&channel(0), 1).await;
    setup.shards.stop();
}
