//! Mailboxes under faults: Redis restarts, and connections that come and go. Each message is seen at least once and in
//! order, is seen at most once more after its acknowledgement was confirmed, and nothing is left over.

use crate::harness::{Node, Redis, eventually, raise_file_limit, sleep_for};
use crate::support::Request;
use crate::support::is_full_run;
use crate::support::redis::redis_cli;
use crate::support::site::Site;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::websocket::WebSocket;
use rand::Rng as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What the users together have done.
#[derive(Debug, Default)]
struct Totals {
    /// Messages that were seen for the first time.
    seen: AtomicU64,
    /// Messages whose acknowledgement was confirmed.
    acknowledged: AtomicU64,
    connections: AtomicU64,
}

/// A user whose connections come and go.
struct User {
    name: String,
    sites: Vec<Site>,
    totals: Arc<Totals>,
    stop: Arc<AtomicBool>,
    /// The newest message that was seen. Messages are numbered from 1.
    newest: u64,
    /// How often each message was seen after its acknowledgement was confirmed.
    confirmed: HashMap<u64, u32>,
}

// === impl User ===

impl User {
    async fn run(mut self) -> u64 {
        while !self.stop.load(Relaxed) {
            let (site, time) = {
                let mut random = rand::rng();
                let site = self.sites[random.random_range(0..self.sites.len())].clone();
                (site, Duration::from_millis(random.random_range(100..3_000)))
            };
            let _ = tokio::time::timeout(time, self.connect(&site)).await;
        }
        self.newest
    }

    /// Reads and acknowledges until the connection ends. The caller cuts it off.
    async fn connect(&mut self, site: &Site) {
        let Ok(mut socket) = WebSocket::open(site, "", &[]).await else {
            return sleep_for(Duration::from_millis(100)).await;
        };
        self.totals.connections.fetch_add(1, Relaxed);
        let token = token(json!({"sub": self.name}));
        let connect = format!("40/nodevent,{}", json!({"token": token}));
        socket.send(&[&connect, r#"42/nodevent,1["mailbox",{}]"#]).await;
        let (mut pending, mut last_id, mut last_number) = (HashMap::<u64, Vec<u64>>::new(), 1_u64, 0);
        while let Some(packet) = socket.next().await {
            if packet == "2" {
                socket.send(&["3"]).await;
            } else if let Some(json) = packet.strip_prefix(r#"42/nodevent,["mailbox","#) {
                let page: Value = serde_json::from_str(json.strip_suffix(']').expect("an event")).expect("JSON");
                let mut ids = Vec::new();
                let mut numbers = Vec::new();
                for message in page["messages"].as_array().expect("messages") {
                    let number = message["message"].as_u64().expect("a number");
                    assert!(number > last_number, "{}: {number} after {last_number}", self.name);
                    last_number = number;
                    self.see(number);
                    ids.push(message["id"].clone());
                    numbers.push(number);
                }
                if !ids.is_empty() {
                    last_id += 1;
                    pending.insert(last_id, numbers);
                    let packet = format!("42/nodevent,{last_id}{}", json!(["acknowledge", {"ids": ids}]));
                    socket.send(&[&packet]).await;
                }
            } else if let Some(reply) = packet.strip_prefix("43/nodevent,")
                && let Some((id, args)) = reply.split_once('[')
                && let Some(numbers) = id.parse().ok().and_then(|id| pending.remove(&id))
                && args.starts_with("null")
            {
                for number in numbers {
                    if self.confirmed.insert(number, 0).is_none() {
                        self.totals.acknowledged.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }

    fn see(&mut self, number: u64) {
        assert!(number <= self.newest + 1, "{}: {number} was seen before {}", self.name, self.newest + 1);
        if number == self.newest + 1 {
            self.newest = number;
            self.totals.seen.fetch_add(1, Relaxed);
        }
        if let Some(again) = self.confirmed.get_mut(&number) {
            *again += 1;
            assert!(*again <= 1, "{}: {number} was acknowledged and came again twice", self.name);
        }
    }
}

/// The users of a test.
struct Users {
    names: Vec<String>,
    totals: Arc<Totals>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

// === impl Users ===

impl Users {
    fn start(count: usize, nodes: &[Node]) -> Self {
        let (totals, stop) = (Arc::<Totals>::default(), Arc::<AtomicBool>::default());
        let names: Vec<String> = (0..count).map(|user| format!("user-{user}")).collect();
        let tasks = names.iter().map(|name| {
            let user = User {
                name: name.clone(),
                sites: crate::harness::sites(nodes),
                totals: Arc::clone(&totals),
                stop: Arc::clone(&stop),
                newest: 0,
                confirmed: HashMap::new(),
            };
            tokio::spawn(user.run())
        });
        Self { tasks: tasks.collect(), names, totals, stop }
    }

    /// Sends all users the messages of these numbers, each until it is confirmed.
    async fn notify(&self, site: &Site, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            for users in self.names.chunks(1000) {
                let body = json!({"users": users, "event": "e", "message": number, "key": format!("k{number}")});
                let request = Request::post("/api/nodevent/notify", body.to_string());
                loop {
                    let response = site.send(&request).await;
                    if response.status == 200 {
                        break;
                    }
                    assert_eq!(response.status, 503, "{}", response.text());
                    sleep_for(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits until all users have seen and acknowledged this many messages, and checks that nothing is left over.
    async fn finish(self, nodes: &[Node], messages: u64) {
        let all = messages * self.names.len() as u64;
        let totals = Arc::clone(&self.totals);
        eventually("all messages are seen", Duration::from_secs(240), async || {
            assert!(self.tasks.iter().all(|task| !task.is_finished()), "a user has failed");
            totals.seen.load(Relaxed) == all
        })
        .await;
        let site = &nodes[0].site;
        let unread = async |name: &str| site.get(&format!("/api/nodevent/users/{name}/mailbox")).await.json();
        eventually("all messages are acknowledged", Duration::from_secs(120), async || {
            for name in &self.names {
                if unread(name).await["unread"] != 0 {
                    return false;
                }
            }
            true
        })
        .await;
        self.stop.store(true, Relaxed);
        for task in self.tasks {
            assert_eq!(task.await.expect("a user has failed"), messages);
        }
        println!("{} users, {all} messages, {:?}", self.names.len(), self.totals);
        let stored: i64 = nodes[0].metric("nodevent_mailbox_dropped_total").await;
        assert_eq!(stored, 0);
    }
}

fn namespace(redis: &Redis) -> String {
    let token = format!(", token: {{secret: {TOKEN_SECRET}}}, mailbox: {{unknown: keep, count: 10000}}");
    redis.namespace("/nodevent", &token)
}

/// No message is left in Redis.
fn assert_empty(redis: &Redis) {
    let port = redis.port.to_string();
    let output =
        redis_cli().args(["-p", &port, "--scan", "--pattern", "*:messages"]).output().expect("redis-cli runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "");
}

/// 2,000 messages to 50 users (100,000 to 1,000 with `NODEVENT_TEST_FULL=1`) whose connections come and go on two servers.
/// W-24, W-25, W-35, W-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_with_flapping_connections_see_every_message_in_order_and_nothing_is_left_over() {
    raise_file_limit();
    let (users, messages) = if is_full_run() { (1000, 100) } else { (50, 40) };
    let redis = Redis::start(&[]).await;
    let nodes = Node::start_many_with(crate::harness::node::SLOW_HEARTBEAT, 2, &namespace(&redis)).await;
    let all = Users::start(users, &nodes);
    all.notify(&nodes[0].site, 1..=messages / 2).await;
    all.notify(&nodes[1].site, messages / 2 + 1..=messages).await;
    all.finish(&nodes, messages).await;
    assert_empty(&redis);
}

/// Redis is killed and restarted twice under traffic. What was confirmed to the publisher is delivered, and what was
/// confirmed to a user comes at most once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_messages_survive_a_restart_of_redis() {
    raise_file_limit();
    let (users, messages) = if is_full_run() { (200, 100) } else { (20, 30) };
    let mut redis = Redis::start_durable().await;
    let nodes = Node::start_many_with(crate::harness::node::SLOW_HEARTBEAT, 2, &namespace(&redis)).await;
    let all = Arc::new(Users::start(users, &nodes));
    let (sender, site) = (Arc::clone(&all), nodes[0].site.clone());
    let sending = tokio::spawn(async move { sender.notify(&site, 1..=messages).await });
    for _ in 0..2 {
        let before = all.totals.seen.load(Relaxed);
        eventually("messages are seen", Duration::from_secs(60), async || {
            sending.is_finished() || all.totals.seen.load(Relaxed) > before + 5 * users as u64
        })
        .await;
        redis.kill();
        sleep_for(Duration::from_millis(500)).await;
        redis.start_again().await;
    }
    sending.await.expect("everything is sent");
    let all = Arc::into_inner(all).expect("no other owner");
    all.finish(&nodes, messages).await;
    assert_empty(&redis);
}

/// A server is killed. What it had confirmed is delivered by the other one, and users who were connected to it are known
/// for the age of mailboxes. W-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailboxes_survive_a_killed_server() {
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many(2, &namespace(&redis)).await;
    let all = Users::start(10, &nodes[1..]);
    all.notify(&nodes[0].site, 1..=10).await;
    nodes[0].kill().await;
    all.notify(&nodes[1].site, 11..=20).await;
    nodes[0].start_again().await;
    all.finish(&nodes, 20).await;
    assert_empty(&redis);
}
