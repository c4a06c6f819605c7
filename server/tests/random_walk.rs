//! A random walk: members join, leave, and lose their connections; publishers publish; servers and Redis are started
//! again in the middle of it. Then the checker of the fault tests holds every confirmed publish against what every
//! member heard.
//!
//! The steps follow from a seed, which is printed when something is wrong. `NODEVENT_SEED=… NODEVENT_STEPS=…
//! cargo test -p nodevent-server --test random_walk` walks the same way again, or further.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "faults/harness/mod.rs"]
mod harness;
#[path = "support/mod.rs"]
mod support;

use futures_util::future::join_all;
use harness::checker::judge;
use harness::member::{Member, Order};
use harness::publisher::{Confirmed, Publisher};
use harness::{Crowd, Node, Redis, patiently, sites};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::HashSet;
use std::time::Duration;

const STEPS: usize = 10_000;
const MEMBERS: usize = 24;
/// How long members may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rooms, two of them with a history so short that members miss something now and then, and must be told.
const ROOMS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "brief_1", "brief_2"];
const HISTORY: &str = "history: {size: 10000, rooms: {brief_: {size: 2}}}";

/// One engine in one process: when that is started again, everything kept is gone, and everybody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_over_the_memory_engine() {
    let mut walk = Walk::begin(vec![Node::start(&format!("/walk: {{{HISTORY}}}\n")).await], None);
    walk.run().await;
    let told = walk.end().await;
    assert!(told > 0, "the engine was started again, and somebody must have been told");
}

/// Three servers on one Redis that keeps every command: whatever is started again, nobody misses anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_over_three_servers_and_a_redis() {
    let redis = Redis::start_durable().await;
    let namespace = format!("/walk: {{redis: {{host: 127.0.0.1, port: {}}}, {HISTORY}}}\n", redis.port);
    let mut walk = Walk::begin(Node::start_many(3, &namespace).await, Some(redis));
    walk.run().await;
    let told = walk.end().await;
    assert_eq!(told, 0, "Redis has kept everything, and yet somebody was told of a loss");
}

/// Says the seed when the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the walk failed; walk the same way again with NODEVENT_SEED={}", self.0);
        }
    }
}

struct Walk {
    random: StdRng,
    seed: Seed,
    steps: usize,
    nodes: Vec<Node>,
    redis: Option<Redis>,
    members: Vec<Member>,
    /// The rooms each member was last told to be in.
    inside: Vec<HashSet<&'static str>>,
    publishers: Vec<Publisher>,
    confirmed: Vec<Confirmed>,
}

// === impl Walk ===

impl Walk {
    fn begin(nodes: Vec<Node>, redis: Option<Redis>) -> Self {
        let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().expect("a number"));
        let seed = number("NODEVENT_SEED").unwrap_or_else(rand::random);
        let steps = number("NODEVENT_STEPS").map_or(STEPS, |steps| steps as usize);
        let sites = sites(&nodes);
        Self {
            random: StdRng::seed_from_u64(seed),
            seed: Seed(seed),
            steps,
            members: (0..MEMBERS).map(|_| Member::at(&sites, "/walk", &[])).collect(),
            inside: vec![HashSet::new(); MEMBERS],
            publishers: ROOMS.iter().map(|room| Publisher::new(&sites, "/walk", room)).collect(),
            nodes,
            redis,
            confirmed: Vec::new(),
        }
    }

    async fn run(&mut self) {
        for step in 0..self.steps {
            let (member, room) = (self.random.random_range(0..MEMBERS), self.random.random_range(0..ROOMS.len()));
            match self.random.random_range(0..1000) {
                0..600 => {
                    let one = self.publishers[room].publish().await;
                    self.confirmed.push(one);
                }
                600..900 => self.join_or_leave(member, ROOMS[room]).await,
                900..999 => self.members[member].order(Order::Break).await,
                // About ten times in ten thousand steps, and once for certain.
                _ => self.restart().await,
            }
            if step == self.steps / 2 {
                self.restart().await;
            }
        }
    }

    async fn join_or_leave(&mut self, member: usize, room: &'static str) {
        let order = if self.inside[member].remove(room) {
            Order::Leave(room.to_owned())
        } else {
            self.inside[member].insert(room);
            Order::Join(room.to_owned())
        };
        self.members[member].order(order).await;
    }

    /// Starts a server or Redis again, while every room is published to.
    async fn restart(&mut self) {
        let (which, gently) = (self.random.random_range(0..self.nodes.len() + 1), self.random.random::<bool>());
        // Whoever is away while Redis is started again twice is told so: it remembers one such place per room.
        patiently("everybody is back", PATIENCE, async || self.members.iter().all(Member::is_settled)).await;
        let Self { nodes, redis, publishers, confirmed, .. } = self;
        let fault = async {
            match (nodes.get_mut(which), redis) {
                (Some(node), _) => restart_node(node, gently).await,
                (None, Some(redis)) if gently => {
                    redis.terminate();
                    redis.start_again().await;
                }
                (None, Some(redis)) => {
                    redis.kill();
                    redis.start_again().await;
                }
                (None, None) => restart_node(&mut nodes[0], gently).await,
            }
        };
        let burst = join_all(publishers.iter_mut().map(async |publisher| {
            let mut all = Vec::new();
            for _ in 0..10 {
                all.push(publisher.publish().await);
            }
            all
        }));
        let ((), all) = tokio::join!(fault, burst);
        confirmed.extend(all.into_iter().flatten());
    }

    /// Judges; answers how often somebody was told of a loss in a room with a long history.
    async fn end(mut self) -> usize {
        let crowd = Crowd { members: std::mem::take(&mut self.members) };
        crowd.settled().await;
        for publisher in &mut self.publishers {
            self.confirmed.push(publisher.publish().await);
        }
        let records = crowd.records(&self.confirmed).await;
        let (mut long, mut brief) = (Vec::new(), Vec::new());
        for (namespace, mut record) in records {
            let rooms = record.rooms.extract_if(|room, _| room.starts_with("brief_")).collect();
            let other = harness::member::Record { rooms, ..Default::default() };
            long.push((namespace.clone(), record));
            brief.push((namespace, other));
        }
        let (long, brief) = (judge(&self.confirmed, &long), judge(&self.confirmed, &brief));
        println!("seed {}: {} steps; long histories: {long:?}; brief ones: {brief:?}", self.seed.0, self.steps);
        long.told
    }
}

async fn restart_node(node: &mut Node, gently: bool) {
    if gently {
        assert_eq!(node.terminate().await, Some(0));
    } else {
        node.kill().await;
    }
    node.start_again().await;
}
