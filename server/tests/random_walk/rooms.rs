//! Members join, leave and lose their connections, publishers publish, and servers and Redis restart in between. Then the
//! checker of the fault tests compares every confirmed publish with what every member received.

use crate::harness::checker::{are_up_to_date, check};
use crate::harness::member::{Command, Member, Record};
use crate::harness::publisher::{Confirmed, Publisher};
use crate::harness::{Fleet, Node, Redis, eventually, sites};
use crate::seed::{self, Seed};
use crate::support::is_full_run;
use futures_util::future::join_all;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::HashSet;
use std::time::Duration;

const STEPS: usize = 10_000;
const MEMBERS: usize = 24;
/// Time for members to reconnect.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Rooms. Two of them have a short history, so that members sometimes miss something and must receive a notice.
const ROOMS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "brief_1", "brief_2"];
const HISTORY: &str = "history: {size: 10000, rooms: {brief_: {size: 2}}}";

/// The engine is in the server process: a restart loses all history, and the members receive a gap notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_walk_over_the_memory_engine() {
    let mut walk = Walk::begin(vec![Node::start(&format!("/walk: {{{HISTORY}}}\n")).await], None);
    walk.run().await;
    let notices = walk.end().await;
    assert!(notices > 0, "the engine restarts, and members must receive a gap notice");
}

/// The engine has a store: no restart and no kill loses anything. 1,000 steps, or 10,000 with `NODEVENT_TEST_FULL=1` and about
/// 100 restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_walk_over_the_memory_engine_with_a_store() {
    let mut walk = Walk::begin(vec![Node::start(&format!("store: data\n/walk: {{{HISTORY}}}\n")).await], None);
    if is_full_run() {
        walk.restarts *= 10;
    } else {
        walk.steps = walk.steps.min(STEPS / 10);
    }
    walk.run().await;
    let notices = walk.end().await;
    assert_eq!(notices, 0, "the store loses nothing, so no member receives a gap notice");
}

/// Three servers share a Redis that stores every command: no restart loses anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_walk_over_three_servers_and_redis() {
    let redis = Redis::start_durable().await;
    let namespace = format!("/walk: {{redis: {{host: 127.0.0.1, port: {}}}, {HISTORY}}}\n", redis.port);
    let mut walk = Walk::begin(Node::start_many(3, &namespace).await, Some(redis));
    walk.run().await;
    let notices = walk.end().await;
    assert_eq!(notices, 0, "Redis loses nothing, so no member receives a gap notice");
}

struct Walk {
    random: StdRng,
    seed: Seed,
    steps: usize,
    /// Restarts in a thousand steps.
    restarts: u32,
    nodes: Vec<Node>,
    redis: Option<Redis>,
    members: Vec<Member>,
    /// Rooms of each member after its last command.
    inside: Vec<HashSet<&'static str>>,
    publishers: Vec<Publisher>,
    confirmed: Vec<Confirmed>,
}

// === impl Walk ===

impl Walk {
    fn begin(nodes: Vec<Node>, redis: Option<Redis>) -> Self {
        let seed = Seed::choose();
        let sites = sites(&nodes);
        Self {
            random: seed.random(),
            seed,
            steps: seed::steps(STEPS),
            restarts: 1,
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
            let kind = self.random.random_range(0..1000_u32);
            match kind {
                _ if kind >= 1000 - self.restarts => self.restart().await,
                0..600 => {
                    let one = self.publishers[room].publish().await;
                    self.confirmed.push(one);
                }
                600..900 => self.join_or_leave(member, ROOMS[room]).await,
                _ => self.members[member].send(Command::Break).await,
            }
            // At least once.
            if step == self.steps / 2 {
                self.restart().await;
            }
        }
    }

    async fn join_or_leave(&mut self, member: usize, room: &'static str) {
        let command = if self.inside[member].remove(room) {
            Command::Leave(room.to_owned())
        } else {
            self.inside[member].insert(room);
            Command::Join(room.to_owned())
        };
        self.members[member].send(command).await;
    }

    /// Restarts a server or Redis while every room has publishes.
    async fn restart(&mut self) {
        let (which, gently) = (self.random.random_range(0..self.nodes.len() + 1), self.random.random::<bool>());
        self.settle().await;
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

    /// Waits until all members have reconnected and have received something new in each of their rooms, and with them all
    /// servers. A room remembers one restart of Redis: a member, or a server, that has received nothing between two of them gets
    /// a notice.
    async fn settle(&mut self) {
        eventually("all members have reconnected", TIMEOUT, async || self.members.iter().all(Member::is_joined))
            .await;
        for publisher in &mut self.publishers {
            self.confirmed.push(publisher.publish().await);
        }
        let Self { members, confirmed, .. } = self;
        eventually("all members are up to date", TIMEOUT, async || are_up_to_date(members, confirmed)).await;
    }

    /// Checks the records, and returns the number of gap notices in rooms with a long history.
    async fn end(mut self) -> usize {
        let fleet = Fleet { members: std::mem::take(&mut self.members) };
        fleet.all_joined().await;
        for publisher in &mut self.publishers {
            self.confirmed.push(publisher.publish().await);
        }
        let records = fleet.records(&self.confirmed).await;
        let (mut long, mut brief) = (Vec::new(), Vec::new());
        for (namespace, mut record) in records {
            let rooms = record.rooms.extract_if(|room, _| room.starts_with("brief_")).collect();
            let other = Record { rooms, ..Default::default() };
            long.push((namespace.clone(), record));
            brief.push((namespace, other));
        }
        let (long, brief) = (check(&self.confirmed, &long), check(&self.confirmed, &brief));
        println!("seed {}: {} steps; long histories: {long:?}; brief ones: {brief:?}", self.seed.0, self.steps);
        long.gap_notices
    }
}

/// Stops a server, or kills it, and starts it again.
pub async fn restart_node(node: &mut Node, gently: bool) {
    if gently {
        assert_eq!(node.terminate().await, Some(0));
    } else {
        node.kill().await;
    }
    node.start_again().await;
}
