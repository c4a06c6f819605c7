//! Pages of users: they connect, lose their connections, join, leave and acknowledge, while the application publishes
//! to rooms, users and all connections, sends messages to mailboxes, and revokes users and memberships. With Redis,
//! servers and Redis restart in between. From time to time all of it comes to rest, and is compared with a model.

mod inbox;
mod model;
mod page;
mod view;

use crate::harness::redis::namespace_at;
use crate::harness::{Node, Redis, sites};
use crate::rooms::restart_node;
use crate::seed::{self, Seed};
use crate::support::site::Site;
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::{Request, Response};
use futures_util::future::join_all;
use inbox::id_of;
use model::{EndedMembership, Model, Publication, Target};
use nodevent_protocol::page::PageHash;
use page::{Command, NAMESPACE, Page};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use view::{Topic, View};

const STEPS: usize = 1_000;
/// Steps between two comparisons with the model.
const ROUND: usize = 100;
const USERS: usize = 4;
const PAGES_PER_USER: usize = 3;
/// The last page: it has no user, is in all rooms, and follows who is present.
const WATCHER: usize = USERS * PAGES_PER_USER;
/// The rooms. The last two have presence.
const ROOMS: [&str; 4] = ["a", "b", "present_a", "present_b"];
const PRESENT: [&str; 2] = ["present_a", "present_b"];
/// Time until everything has come to rest. It is long because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Time for a request, longer than a server's own timeout for its Redis.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

fn settings() -> String {
    format!(
        ", open: true, token: {{secret: {TOKEN_SECRET}}}, mailbox: {{unknown: keep, count: 10000}}, \
         presence: {{rooms: [present_], lease: 3s, grace: 300ms}}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_walk_of_users_over_the_memory_engine() {
    let node = Node::start(&format!("{NAMESPACE}: {{history: {{size: 10000}}{}}}\n", settings())).await;
    Walk::begin(vec![node], None).await.run().await;
}

/// Two servers share a Redis that stores every command: no restart loses anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_walk_of_users_over_two_servers_and_redis() {
    let redis = Redis::start_durable().await;
    let nodes = Node::start_many(2, &namespace_at(NAMESPACE, redis.port, &settings())).await;
    Walk::begin(nodes, Some(redis)).await.run().await;
}

struct Walk {
    random: StdRng,
    seed: Seed,
    nodes: Vec<Node>,
    redis: Option<Redis>,
    pages: Vec<Page>,
    model: Model,
    /// Number of the last publication or message.
    number: u64,
    /// Publications, messages, revocations and restarts.
    totals: [usize; 4],
}

fn user_of(page: usize) -> Option<usize> {
    (page != WATCHER).then_some(page / PAGES_PER_USER)
}

fn user_name(user: usize) -> String {
    format!("user-{user}")
}

fn page_id(page: usize) -> String {
    format!("page-{page}")
}

/// A token of a user that is issued now, and the time of its issue in milliseconds.
fn new_token(user: usize, not_before_ms: u64) -> (String, u64) {
    let issued_ms = ((now() * 1000.0) as u64).max(not_before_ms);
    let issued = issued_ms as f64 / 1000.0;
    (token(json!({"sub": user_name(user), "iat": issued, "exp": issued + 3600.0})), issued_ms)
}

// === impl Walk ===

impl Walk {
    /// Starts the pages. Every target has a publication, so that its history exists.
    async fn begin(nodes: Vec<Node>, redis: Option<Redis>) -> Self {
        let seed = Seed::choose();
        let model = Model { stored: vec![BTreeMap::new(); USERS], ..Model::default() };
        let (random, pages) = (seed.random(), Vec::new());
        let mut walk = Self { random, seed, nodes, redis, pages, model, number: 0, totals: [0; 4] };
        let all = (0..USERS).map(Target::User).chain(ROOMS.map(Target::Room)).chain([Target::All]);
        walk.publish(all.collect(), None).await;
        walk.model.agreed();
        let sites = sites(&walk.nodes);
        for page in 0..=WATCHER {
            let mut view = View::default();
            view.topics.entry(Topic::All).or_default();
            if let Some(user) = user_of(page) {
                view.user = Some(user_name(user));
                let (token, issued_ms) = new_token(user, 0);
                view.sign_in(token, issued_ms);
            } else {
                view.topics.extend(ROOMS.map(|room| (Topic::Room(room.to_owned()), Default::default())));
                view.present.extend(PRESENT.map(|room| (room.to_owned(), Default::default())));
            }
            walk.pages.push(Page::start(&sites, page_id(page), page, view));
        }
        walk.compare().await;
        walk
    }

    async fn run(mut self) {
        let steps = seed::steps(STEPS);
        for step in 1..=steps {
            self.step().await;
            if step % ROUND == 0 || step == steps {
                if self.redis.is_some() && (step / ROUND) % 5 == 2 {
                    self.restart().await;
                }
                self.compare().await;
            }
        }
        let [publications, messages, revocations, restarts] = self.totals;
        println!(
            "seed {}: {steps} steps, {publications} publications, {messages} messages, {revocations} revocations, \
             {restarts} restarts",
            self.seed.0
        );
        join_all(self.pages.drain(..).map(Page::end)).await;
        for node in &self.nodes {
            node.returns_to_baseline().await;
        }
    }

    async fn step(&mut self) {
        let page = self.random.random_range(0..WATCHER);
        let user = page / PAGES_PER_USER;
        let room = ROOMS[self.random.random_range(0..ROOMS.len())];
        match self.random.random_range(0..1000) {
            0..350 => self.publish_to_some().await,
            350..550 => self.notify_some().await,
            550..750 => {
                let is_in = self.pages[page].view().is_in(room);
                let command = if is_in { Command::Leave } else { Command::Join };
                self.pages[page].send(command(room.to_owned())).await;
            }
            750..870 => {
                let count = self.random.random_range(1..4);
                self.pages[page].send(Command::Acknowledge(count)).await;
            }
            870..960 => {
                let pause = Duration::from_millis(self.random.random_range(0..800));
                self.pages[page].send(Command::Break(pause)).await;
            }
            960..980 => {
                let before = self.model.revoked_users.get(&user).copied().unwrap_or(0);
                let (token, issued_ms) = new_token(user, before);
                self.pages[page].send(Command::Renew(token, issued_ms)).await;
            }
            980..988 => self.revoke(Some(user), None).await,
            988..995 => self.revoke(Some(user), Some(room)).await,
            _ => self.revoke(None, Some(room)).await,
        }
    }

    async fn publish_to_some(&mut self) {
        let mut targets: Vec<Target> = Vec::new();
        for user in 0..USERS {
            if self.random.random_range(0..5) == 0 {
                targets.push(Target::User(user));
            }
        }
        for room in ROOMS {
            if self.random.random_range(0..3) == 0 {
                targets.push(Target::Room(room));
            }
        }
        if targets.is_empty() || self.random.random_range(0..8) == 0 {
            targets.push(Target::All);
        }
        let except = (self.random.random_range(0..4) == 0).then(|| self.random.random_range(0..WATCHER));
        self.publish(targets, except).await;
    }

    async fn publish(&mut self, topics: Vec<Target>, except: Option<usize>) {
        self.number += 1;
        self.totals[0] += 1;
        let number = self.number;
        let (mut users, mut rooms) = (Vec::new(), Vec::new());
        for topic in &topics {
            match topic {
                Target::User(user) => users.push(user_name(*user)),
                Target::Room(room) => rooms.push(*room),
                Target::All => {}
            }
        }
        let mut body = json!({"event": "e", "message": number});
        if !users.is_empty() {
            body["users"] = json!(users);
        }
        if !rooms.is_empty() {
            body["rooms"] = json!(rooms);
        }
        if topics.contains(&Target::All) {
            body["broadcast"] = json!(true);
        }
        if let Some(page) = except {
            body["except"] = json!(PageHash::of(&page_id(page)).expect("a page id").to_string());
        }
        let sent = Instant::now();
        let key = format!("{}-{number}", self.seed.0);
        self.post("emit", &body, Some(&key)).await;
        self.model.publications.push(Publication { number, sent, topics, except });
    }

    async fn notify_some(&mut self) {
        let users: Vec<usize> = (0..USERS).filter(|_| self.random.random_range(0..2) == 0).collect();
        if users.is_empty() {
            return;
        }
        self.number += 1;
        self.totals[1] += users.len();
        let names: Vec<String> = users.iter().map(|user| user_name(*user)).collect();
        let key = format!("{}-{}", self.seed.0, self.number);
        let body = json!({"users": names, "event": "e", "message": self.number, "key": key});
        let response = self.post("notify", &body, None).await;
        for (index, user) in users.into_iter().enumerate() {
            let id = id_of(&response["ids"][index]).unwrap_or_else(|| panic!("no id: {response}"));
            assert!(self.model.stored[user].insert(id, self.number).is_none(), "the id {id} was used before");
        }
    }

    async fn revoke(&mut self, user: Option<usize>, room: Option<&'static str>) {
        self.totals[2] += 1;
        let name = user.map(user_name);
        let body = match (&name, room) {
            (Some(user), Some(room)) => json!({"user": user, "room": room}),
            (Some(user), None) => json!({"user": user}),
            (None, room) => json!({"room": room}),
        };
        // Memberships that exist now must end.
        let mut ended = Vec::new();
        for (page, one) in self.pages.iter().enumerate() {
            let view = one.view();
            let membership = room.and_then(|room| view.topics.get(&Topic::Room(room.to_owned())));
            if let (Some(room), Some(since), true) = (room, membership.and_then(|one| one.since), view.is_settled)
                && user.is_none_or(|user| user_of(page) == Some(user))
            {
                ended.push(EndedMembership { page, connection: view.connection, room, since });
            }
        }
        let began = Instant::now();
        let response = self.post("revoke", &body, None).await;
        let before = (response["before"].as_f64().expect("a time") * 1000.0).round() as u64;
        match (user, room) {
            (Some(user), Some(room)) => drop(self.model.revoked_memberships.insert((user, room), before)),
            (Some(user), None) => drop(self.model.revoked_users.insert(user, before)),
            (None, room) => self.model.room_was_revoked(room.expect("a room"), began),
        }
        self.model.ended.extend(ended);
    }

    /// Sends a request of the application until a server confirms it.
    async fn post(&mut self, resource: &str, body: &Value, key: Option<&str>) -> Value {
        let mut request = Request::post(&format!("/api{NAMESPACE}/{resource}"), body.to_string());
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let first = self.random.random_range(0..self.nodes.len());
        post(&sites(&self.nodes), first, &request).await
    }

    /// Restarts a server or Redis while the application goes on.
    async fn restart(&mut self) {
        self.compare().await;
        self.totals[3] += 1;
        let began = Instant::now();
        let (which, gently) = (self.random.random_range(0..=self.nodes.len()), self.random.random::<bool>());
        let Self { nodes, redis, .. } = self;
        let sites = sites(nodes);
        let fault = async {
            match (nodes.get_mut(which), redis) {
                (Some(node), _) => restart_node(node, gently).await,
                (None, Some(redis)) => {
                    if gently {
                        redis.terminate();
                    } else {
                        redis.kill();
                    }
                    redis.start_again().await;
                }
                (None, None) => {}
            }
        };
        let (first, seed, model) = (self.number, self.seed.0, &mut self.model);
        let burst = async {
            for number in first + 1..=first + 10 {
                let body = json!({"rooms": ROOMS, "users": user_name(0), "event": "e", "message": number});
                let request = Request::post(&format!("/api{NAMESPACE}/emit"), body.to_string());
                let sent = Instant::now();
                post(&sites, 0, &request.header("Idempotency-Key", &format!("{seed}-{number}"))).await;
                let topics = ROOMS.map(Target::Room).into_iter().chain([Target::User(0)]).collect();
                model.publications.push(Publication { number, sent, topics, except: None });
            }
        };
        tokio::join!(fault, burst);
        self.model.restarted(began);
        self.number += 10;
        self.totals[0] += 10;
    }

    /// Waits until revocations have taken effect, gives new tokens to users who were revoked, and waits until
    /// everything is as in the model.
    async fn compare(&mut self) {
        self.agree(async || self.difference_in_revocations()).await;
        for (page, one) in self.pages.iter().enumerate() {
            let is_signed_out = one.view().is_signed_out;
            if let (true, Some(user)) = (is_signed_out, user_of(page)) {
                let (token, issued_ms) = new_token(user, self.model.revoked_users[&user]);
                one.send(Command::SignIn(token, issued_ms)).await;
            }
        }
        self.agree(async || self.difference().await).await;
        self.model.agreed();
    }

    /// Waits until there is no difference to the model.
    async fn agree(&self, difference: impl AsyncFn() -> Option<String>) {
        let end = Instant::now() + TIMEOUT;
        loop {
            let difference = difference().await;
            for (page, one) in self.pages.iter().enumerate() {
                let view = one.view();
                assert!(view.violations.is_empty(), "page {page}: {:#?}{}", view.violations, view.trace_text());
            }
            match difference {
                None => return,
                Some(what) => assert!(Instant::now() < end, "after {TIMEOUT:?}: {what}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn difference_in_revocations(&self) -> Option<String> {
        self.pages.iter().enumerate().find_map(|(page, one)| {
            let view = one.view();
            let what = match view.is_idle() {
                false => Some(format!("it is not at rest: {view:#?}")),
                true => self.model.difference_in_revocations(page, user_of(page), &view),
            };
            what.map(|what| format!("page {page}: {what}{}", view.trace_text()))
        })
    }

    /// What is not as in the model, if anything.
    async fn difference(&self) -> Option<String> {
        if let Some(what) = self.difference_in_revocations() {
            return Some(what);
        }
        let unread = {
            let views: Vec<_> = self.pages.iter().map(Page::view).collect();
            for (page, view) in views.iter().enumerate() {
                if let Some(what) = self.model.difference_in_publications(page, user_of(page), view) {
                    return Some(format!("page {page}: {what}{}", view.trace_text()));
                }
            }
            let unread = |user| {
                let pages = user * PAGES_PER_USER..(user + 1) * PAGES_PER_USER;
                let unread = self.model.unread(user, views[pages.clone()].iter().map(|view| &**view));
                let difference = |view: &View| {
                    let what = Model::difference_in_mailbox(&unread, view)?;
                    Some(format!("a page of user {user}: {what}{}", view.trace_text()))
                };
                match views[pages].iter().find_map(|view| difference(view)) {
                    Some(what) => Err(what),
                    None => Ok(unread),
                }
            };
            match (0..USERS).map(unread).collect::<Result<Vec<_>, _>>() {
                Ok(unread) => unread,
                Err(what) => return Some(what),
            }
        };
        for (user, unread) in unread.iter().enumerate() {
            for node in &self.nodes {
                let path = format!("/api{NAMESPACE}/users/{}/mailbox?limit=200", user_name(user));
                let page = node.site.get(&path).await;
                if let Some(what) = Model::difference_in_page(unread, &json_of(&page)) {
                    return Some(format!("user {user}: {what}"));
                }
            }
        }
        for room in PRESENT {
            let (expected, events) = {
                let views: Vec<_> = self.pages.iter().map(Page::view).collect();
                (Model::present(room, views.iter().map(|view| &**view)), views[WATCHER].present[room].clone())
            };
            for node in &self.nodes {
                let list = node.site.get(&format!("/api{NAMESPACE}/rooms/{room}/presence")).await;
                if let Some(what) = Model::difference_in_list(&expected, &json_of(&list)) {
                    return Some(format!("{room}: {what}"));
                }
            }
            if !events.iter().eq(expected.keys()) {
                return Some(format!("{room}: according to its events {events:?} are there, not {expected:?}"));
            }
        }
        None
    }
}

/// The body of a response. One that is not JSON, because a server is not ready, is `null`.
fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

async fn post(sites: &[Site], first: usize, request: &Request) -> Value {
    let attempt = async |site: &Site| {
        let mut stream = TcpStream::connect(&site.address).await.ok()?;
        request.exchange(&mut stream, &site.address).await.ok()
    };
    let end = Instant::now() + TIMEOUT;
    for index in first.. {
        assert!(Instant::now() < end, "no server confirms");
        let site = &sites[index % sites.len()];
        if let Ok(Some(response)) = tokio::time::timeout(REQUEST_TIMEOUT, attempt(site)).await {
            if response.status == 200 {
                return json_of(&response);
            }
            assert_eq!(response.status, 503, "{}", response.text());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("it repeats until a server confirms")
}
