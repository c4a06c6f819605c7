//! Clocks that jump by hours, ahead and back: those of servers, and that of Redis. What was accepted lasts as long as it was
//! valid, limits and leases keep their times, nothing that is revoked is valid again, and nothing is lost without a notice.

use crate::line_client::LineClient;
use crate::support::application::{Application, Behaviour};
use crate::support::keys::key;
use crate::support::page::{PAGES_SECRET, Page, Visitor, publish};
use crate::support::server::metric;
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::{in_time, until};
use crate::support::{Program, RedisServer, Request, Site, WallClock};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SECRET: &str = "a-secret-for-room-keys";
const HOOKS_SECRET: &str = "a-secret-for-hooks-of-more-than-32-bytes";
const HOUR: i64 = 3600;
const JUMPS: [i64; 2] = [3 * HOUR, -3 * HOUR];
/// The time within which the members of a killed server leave.
const LEASE: Duration = Duration::from_secs(2);

/// A server process whose clock jumps.
struct Node {
    program: Program,
    site: Site,
    admin: Site,
    _folder: TempDir,
}

// === impl Node ===

impl Node {
    async fn start(clock: &WallClock, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listening = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\npublish: local\n";
        let program = Program::serve_with_clock(folder.path(), &format!("{listening}{configuration}"), clock).await;
        let (site, admin) = (program.site().await, program.admin().await);
        until("the server is ready", async || admin.get("/readyz").await.status == 200).await;
        Self { program, site, admin, _folder: folder }
    }

    async fn client(&self) -> LineClient {
        LineClient::open(&self.site, "/ws/n", &[]).await
    }

    /// A client with a token of these claims. The error: the reason why it is rejected.
    async fn user(&self, claims: Value) -> Result<LineClient, Value> {
        let mut client = self.client().await;
        let reply = client.call(json!({"token": token(claims)}), 1).await;
        if reply["identified"].is_null() { Err(reply["error"].clone()) } else { Ok(client) }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let response = self.site.send(&Request::post(&format!("/api/n/{path}"), body.to_string())).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()
    }

    /// Stores a message for a user, and returns its id.
    async fn notify(&self, user: &str, message: i64) -> u64 {
        let body = json!({"user": user, "event": "mention", "message": message});
        self.post("notify", body).await["ids"][0].as_str().unwrap().parse().unwrap()
    }

    async fn unread(&self, user: &str) -> Value {
        self.site.get(&format!("/api/n/users/{user}/mailbox")).await.json()["unread"].clone()
    }
}

/// The memory engine, and Redis.
fn engines(redis: &RedisServer) -> [String; 2] {
    [String::new(), on(redis)]
}

fn on(redis: &RedisServer) -> String {
    format!(", redis: \"{}\"", redis.url())
}

/// A namespace with everything that has to do with time.
fn namespace(engine: &str) -> String {
    format!(
        "/n: {{secret: {SECRET}, protocol: plain, expiry: leave, presence: {{lease: {}s, grace: 0s}}, \
         mailbox: {{age: 12h, unknown: keep}}, token: {{secret: {TOKEN_SECRET}, leeway: 0s, max_lifetime: 1h}}{engine}}}\n",
        LEASE.as_secs()
    )
}

/// Claims of a token that was issued now, by a clock that is off, and is valid for that many seconds.
fn claims(user: &str, off: i64, seconds: f64) -> Value {
    let now = now() + off as f64;
    json!({"sub": user, "iat": now - 1.0, "exp": now + seconds})
}

/// Joins with a key that is valid for so many seconds, and returns the reply.
async fn join(client: &mut LineClient, room: &str, seconds: f64, since: Value) -> Value {
    let key = key(room, &format!("{}", ((now() + seconds) * 1000.0) as u64), SECRET);
    client.call(json!({"join": room, "key": key, "since": since}), 2).await
}

/// The clock decides about tokens and keys that arrive. A connection, and a membership that ends with its key, last as long
/// as the token or key was valid when it arrived.
#[tokio::test]
async fn tokens_and_keys_that_were_accepted_last_as_long_as_they_were_valid() {
    let redis = RedisServer::start().await;
    for (engine, jump) in engines(&redis).iter().flat_map(|engine| JUMPS.map(|jump| (engine, jump))) {
        let clock = WallClock::new();
        let node = Node::start(&clock, &namespace(engine)).await;
        let mut stays = node.user(claims("7", 0, 1800.0)).await.unwrap();
        assert_eq!(join(&mut stays, "r", 1800.0, Value::Null).await["joined"], "r");
        let mut ends = node.user(claims("8", 0, 6.0)).await.unwrap();
        assert_eq!(join(&mut ends, "t", 5.0, Value::Null).await["joined"], "t");
        clock.set(jump);
        let rejected = if jump > 0 { "Token has expired" } else { "Token issued in the future" };
        assert_eq!(node.user(claims("7", 0, 1800.0)).await.map(drop), Err(json!(rejected)), "{engine} {jump}");
        let mut other = node.user(claims("9", jump, 60.0)).await.expect("a token of now");
        if jump > 0 {
            let reply = join(&mut other, "r", 1800.0, Value::Null).await;
            assert_eq!(reply["error"], "Time has passed", "{engine}: {reply}");
        }
        let line = in_time("the end of a membership", ends.next_with("error")).await;
        assert_eq!((&line["error"], &line["room"]), (&json!("Membership has expired"), &json!("t")), "{line}");
        let expired = in_time("the end of a token", ends.next_with("expired")).await;
        assert!(expired["expired"]["grace"].is_u64(), "{expired}");
        for number in 1..=2 {
            node.site.emit("/n", "r", "e", number).await;
            let received = in_time("an event", async {
                loop {
                    let line = stays.next_with("event").await;
                    if line["event"] == "e" {
                        break line["message"].clone();
                    }
                }
            });
            assert_eq!(received.await, number);
            clock.set(0);
        }
        assert!(node.user(claims("7", 0, 1800.0)).await.is_ok(), "the clock is right again");
    }
}

/// A server whose clock is hours ahead for a moment forgets no revocation, nor makes Redis forget one.
#[tokio::test]
async fn what_is_revoked_stays_revoked_if_a_clock_jumps_ahead_and_returns() {
    let redis = RedisServer::start().await;
    for engine in engines(&redis) {
        let (clock, right) = (WallClock::new(), WallClock::new());
        let configuration = namespace(&engine);
        let node = Node::start(&clock, &configuration).await;
        let stolen = claims("ann", 0, 1800.0);
        assert!(node.user(stolen.clone()).await.is_ok());
        node.post("revoke", json!({"user": "ann"})).await;
        // Later than any token is valid.
        clock.set(3 * HOUR);
        for user in ["bob", "carl"] {
            node.post("revoke", json!({"user": user})).await;
        }
        clock.set(0);
        let revoked = Err(json!("Token has been revoked"));
        assert_eq!(node.user(stolen.clone()).await.map(drop), revoked, "{engine}");
        if !engine.is_empty() {
            let starts_later = Node::start(&right, &configuration).await;
            assert_eq!(starts_later.user(stolen).await.map(drop), revoked, "what Redis has stored");
        }
    }
}

/// A client that was accepted before a revocation is revoked, although the clock says that the token will be issued in hours.
#[tokio::test]
async fn a_revocation_is_for_all_tokens_before_it_also_if_the_clock_has_gone_back() {
    let redis = RedisServer::start().await;
    for engine in engines(&redis) {
        let (clock, right) = (WallClock::new(), WallClock::new());
        let configuration = namespace(&engine);
        let node = Node::start(&clock, &configuration).await;
        let mut clients = Vec::new();
        if !engine.is_empty() {
            // On another server, whose clock does not jump.
            let far = Node::start(&right, &configuration).await;
            clients.push((far.user(claims("ann", 0, 1800.0)).await.unwrap(), Some(far)));
        }
        let stolen = claims("ann", 0, 1800.0);
        clients.push((node.user(stolen.clone()).await.unwrap(), None));
        clock.set(-3 * HOUR);
        node.post("revoke", json!({"user": "ann"})).await;
        for (mut client, _far) in clients {
            let line = in_time("the revocation", client.next_with("error")).await;
            assert_eq!(line["error"], "Token has been revoked");
            assert_eq!(client.ended().await, Some((1008, "revoked".to_owned())));
        }
        clock.set(0);
        assert_eq!(node.user(stolen).await.map(drop), Err(json!("Token has been revoked")), "{engine}");
        let iat = now();
        let later = json!({"sub": "ann", "iat": iat, "exp": iat + 60.0});
        assert!(node.user(later).await.is_ok(), "ann signs in again");
    }
}

async fn connections(node: &Node, user: &str) -> Value {
    node.site.get(&format!("/api/n/users/{user}/connections")).await.json()["count"].clone()
}

/// The next presence event, without `info` and `count`.
async fn next_presence(client: &mut LineClient) -> (Value, Value) {
    // Heartbeats arrive for ever.
    let line = in_time("a presence event", client.next_with("event")).await;
    (line["event"].clone(), line["message"]["user"].clone())
}

/// No member leaves early, and those of a killed server leave within the lease, not after hours.
#[tokio::test]
async fn leases_keep_their_times_whichever_way_the_clock_of_redis_jumps() {
    for jump in JUMPS {
        let (of_redis, of_servers) = (WallClock::new(), WallClock::new());
        let redis = RedisServer::start_with_clock(&of_redis).await;
        let configuration = namespace(&on(&redis));
        let near = Node::start(&of_servers, &configuration).await;
        let far = Node::start(&of_servers, &configuration).await;
        let in_room = |user: &str| {
            let mut claims = claims(user, 0, 1800.0);
            claims["rooms"] = json!(["r"]);
            claims
        };
        let event = |name: &str, user: &str| (json!(format!("nodevent:{name}")), json!(user));
        let mut ann = near.user(in_room("ann")).await.unwrap();
        assert_eq!(next_presence(&mut ann).await, event("enter", "ann"));
        let _bob = far.user(in_room("bob")).await.unwrap();
        assert_eq!(next_presence(&mut ann).await, event("enter", "bob"));
        until("bob is connected", async || connections(&near, "bob").await == 1).await;
        of_redis.set(jump);
        // For longer than a lease: nothing but carl comes and goes.
        let began = Instant::now();
        while began.elapsed() < 2 * LEASE {
            let carl = near.user(in_room("carl")).await.unwrap();
            assert_eq!(next_presence(&mut ann).await, event("enter", "carl"), "jump {jump}");
            drop(carl);
            assert_eq!(next_presence(&mut ann).await, event("leave", "carl"), "jump {jump}");
        }
        let list = ann.call(json!({"presence": "r"}), 9).await["presence"].clone();
        assert_eq!(list["count"], 2, "{list}");
        until("bob is still connected", async || connections(&near, "bob").await == 1).await;
        // The other way, at the same moment.
        far.program.kill().await;
        of_redis.set(0);
        assert_eq!(next_presence(&mut ann).await, event("leave", "bob"), "jump {jump}");
        until("bob is not connected", async || connections(&near, "bob").await == 0).await;
    }
}

/// Messages arrive in order, with ids that grow, and nothing that is unread is lost.
#[tokio::test]
async fn mailboxes_keep_their_messages_and_their_order() {
    for (is_memory, jump) in [true, false].into_iter().flat_map(|is_memory| JUMPS.map(|jump| (is_memory, jump))) {
        let clock = WallClock::new();
        let redis = RedisServer::start_with_clock(&clock).await;
        let node = Node::start(&clock, &namespace(&if is_memory { String::new() } else { on(&redis) })).await;
        let mut user = node.user(claims("7", 0, 1800.0)).await.unwrap();
        user.send(json!({"mailbox": true})).await;
        assert_eq!(user.next_with("mailbox").await["mailbox"]["unread"], 0);
        let mut ids = Vec::new();
        for (number, off) in [0, jump, 0].into_iter().enumerate() {
            clock.set(off);
            // Of a user who has never been here, too.
            node.notify("8", number as i64).await;
            ids.push(node.notify("7", number as i64).await);
            let page = in_time("the message", user.next_with("mailbox")).await["mailbox"].clone();
            let message = (&page["messages"][0]["message"], &page["unread"]);
            assert_eq!(message, (&json!(number), &json!(number + 1)), "memory: {is_memory}, {off}: {page}");
            assert_eq!(node.unread("8").await, number + 1, "memory: {is_memory}, {off}");
        }
        assert!(ids.is_sorted() && ids[0] < ids[1] && ids[1] < ids[2], "{ids:?}");
        let reply = user.call(json!({"acknowledge": {"up_to": ids[2].to_string()}}), 5).await;
        assert_eq!((&reply["removed"], &reply["unread"]), (&json!(3), &json!(0)), "{reply}");
    }
}

/// What a client has missed, and whether it is said to be all.
async fn returns(node: &Node, room: &str, since: &Value) -> (Vec<Value>, bool, Value) {
    let mut client = node.client().await;
    let reply = join(&mut client, room, 10.0 * HOUR as f64, since.clone()).await;
    assert_eq!(reply["joined"], room, "{reply}");
    let mut missed = Vec::new();
    // It arrives before the reply.
    while let Some(line) = client.deferred() {
        missed.push(line["message"].clone());
    }
    (missed, reply["recovered"] == true, reply["position"].clone())
}

/// A client receives what it has missed, or learns that something is missing.
#[tokio::test]
async fn nothing_is_missing_without_a_notice() {
    for (is_memory, jump) in [true, false].into_iter().flat_map(|is_memory| JUMPS.map(|jump| (is_memory, jump))) {
        let clock = WallClock::new();
        let redis = RedisServer::start_with_clock(&clock).await;
        let node = Node::start(&clock, &namespace(&if is_memory { String::new() } else { on(&redis) })).await;
        let what = format!("memory: {is_memory}, jump {jump}");
        // One room has a history, and another one begins to exist while the client is disconnected.
        node.site.emit("/n", "old", "e", 0).await;
        let (_, _, old) = returns(&node, "old", &Value::Null).await;
        let (_, _, new) = returns(&node, "new", &Value::Null).await;
        for room in ["old", "new"] {
            node.site.emit("/n", room, "e", 1).await;
        }
        clock.set(jump);
        // A Redis whose clock is hours ahead has forgotten the history.
        let is_kept = is_memory || jump < 0;
        let (missed, recovered, mut position) = returns(&node, "old", &old).await;
        assert_eq!((missed, recovered), (if is_kept { vec![json!(1)] } else { Vec::new() }, is_kept), "{what}");
        let (missed, recovered, _) = returns(&node, "new", &new).await;
        assert_eq!(recovered, missed == [1], "{what}: {missed:?}");
        // It goes on, also if the clock is right again.
        for (number, off) in [(2, jump), (3, 0)] {
            clock.set(off);
            node.site.emit("/n", "old", "e", number).await;
            let (missed, recovered, newest) = returns(&node, "old", &position).await;
            assert_eq!((missed, recovered), (vec![json!(number)], true), "{what}");
            position = newest;
        }
    }
}

/// A page that is connected receives its channels, and can be subscribed to others.
#[tokio::test]
async fn pages_keep_their_channels() {
    for (is_memory, jump) in [true, false].into_iter().flat_map(|is_memory| JUMPS.map(|jump| (is_memory, jump))) {
        let clock = WallClock::new();
        let redis = RedisServer::start_with_clock(&clock).await;
        let engine = if is_memory { String::new() } else { on(&redis) };
        let pages = format!("/n: {{protocol: pakyow, pages: {{secret: {PAGES_SECRET}}}{engine}}}\n");
        let node = Node::start(&clock, &pages).await;
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&node.site, "/n", &["before"]).await;
        let mut page = visitor.connect(&node.site, "/n").await;
        page.is_active(&node.site, "/n", &visitor).await;
        receives(&node, &mut page, "before").await;
        for (off, channel) in [(jump, "then"), (0, "now")] {
            clock.set(off);
            // A Redis whose clock jumps ahead forgets what it has stored.
            if is_memory || off < 0 {
                receives(&node, &mut page, "before").await;
            }
            visitor.subscribe(&node.site, "/n", &[channel]).await;
            receives(&node, &mut page, channel).await;
        }
    }
}

async fn receives(node: &Node, page: &mut Page, channel: &str) {
    publish(&node.site, "/n", channel, &json!(channel)).await;
    assert_eq!(page.next().await, json!({"payload": channel, "channel": channel}));
}

/// Joins new rooms until the limit is reached. Returns their number.
async fn joins_until_the_limit(client: &mut LineClient) -> u64 {
    for number in 0..1000 {
        let reply = client.call(json!({"join": format!("r-{number}")}), 3).await;
        if reply["error"] == "Too many joins" {
            return number;
        }
        client.call(json!({"leave": format!("r-{number}")}), 4).await;
    }
    panic!("no limit");
}

/// A jump gives no client more than the limit, and blocks none.
#[tokio::test]
async fn rates_are_limited_as_before() {
    let clock = WallClock::new();
    let configuration = "limits: {joins_per_second: 1}\n/n: {protocol: plain, open: true}\n";
    let node = Node::start(&clock, configuration).await;
    let mut client = node.client().await;
    let burst = joins_until_the_limit(&mut client).await;
    for jump in JUMPS {
        let began = Instant::now();
        clock.set(jump);
        let more = joins_until_the_limit(&mut client).await;
        assert!(more <= began.elapsed().as_secs() + 2, "{more} joins at once, of a burst of {burst}");
        until("a join is allowed again", async || {
            client.call(json!({"join": "later"}), 5).await["joined"] == "later"
        })
        .await;
        client.call(json!({"leave": "later"}), 6).await;
    }
}

/// The namespace whose hooks this application receives.
fn with_hooks(application: &Application, engine: &str) -> String {
    format!(
        "/n: {{open: true, protocol: plain{engine}, hooks: {{url: \"{}\", secret: {HOOKS_SECRET}, timeout: 1s, attempts: 1, \
         delivered: [\"*\"]}}}}\n",
        application.url
    )
}

/// A member of the room, so that the server delivers what is published.
async fn member(node: &Node) -> LineClient {
    let mut member = node.client().await;
    assert_eq!(member.call(json!({"join": "r"}), 1).await["joined"], "r");
    member
}

/// The time in the signature of a request. Seconds since 1970.
fn signed_at(request: &str) -> i64 {
    let signature = request.lines().find_map(|line| line.strip_prefix("x-nodevent-signature: t=")).unwrap();
    signature.split(',').next().unwrap().parse().unwrap()
}

/// An application whose clock is right rejects a signature of another time with the status 401. The events wait for it, and
/// none is given up.
#[tokio::test]
async fn hooks_are_signed_by_the_clock_and_wait_until_it_is_right() {
    let redis = RedisServer::start().await;
    for (engine, jump) in engines(&redis).iter().flat_map(|engine| JUMPS.map(|jump| (engine, jump))) {
        let clock = WallClock::new();
        let application = Application::start(Behaviour::Respond(401, "{}".to_owned())).await;
        let node = Node::start(&clock, &with_hooks(&application, engine)).await;
        let _member = member(&node).await;
        clock.set(jump);
        let event = format!("e{jump}");
        node.site.emit("/n", "r", &event, 1).await;
        application.received(2).await;
        let difference = |request: &str| signed_at(request) - now() as i64;
        assert!((difference(&application.requests()[0]) - jump).abs() < 600, "{:?}", application.requests());
        clock.set(0);
        let before = application.requests().len();
        application.set(Behaviour::Respond(200, "{}".to_owned()));
        let is_right = |request: &String| request.contains(&event) && difference(request).abs() < 600;
        until("the event arrives", async || application.requests()[before..].iter().any(is_right)).await;
        assert_eq!(metric(&node.admin, "nodevent_hooks_given_up_total").await, 0);
    }
}

/// A server takes over from one that was killed, although the lease in Redis ends in hours by the clock that has gone back.
#[tokio::test]
async fn another_server_sends_hooks_whichever_way_the_clock_of_redis_jumps() {
    for jump in JUMPS {
        let (of_redis, right) = (WallClock::new(), WallClock::new());
        let redis = RedisServer::start_with_clock(&of_redis).await;
        let application = Application::start(Behaviour::Respond(200, "{}".to_owned())).await;
        let configuration = with_hooks(&application, &on(&redis));
        let first = Node::start(&right, &configuration).await;
        let _member = member(&first).await;
        let arrives = async |node: &Node, event: &str| {
            node.site.emit("/n", "r", event, 1).await;
            let name = format!("\"{event}\"");
            until("the event arrives", async || application.requests().iter().any(|one| one.contains(&name))).await;
        };
        arrives(&first, "before").await;
        let second = Node::start(&right, &configuration).await;
        let _other_member = member(&second).await;
        first.program.kill().await;
        of_redis.set(jump);
        arrives(&second, "after").await;
    }
}
