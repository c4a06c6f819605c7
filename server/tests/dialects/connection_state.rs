//! Connection state recovery, with a client that does what `socket.io-client` 4.6 and newer does: it keeps its `pid`
//! and the last argument of the last event, if that is a text, and sends both when it connects again.

use crate::support::application::{Application, Behaviour};
use crate::support::keys::key;
use crate::support::program::Program;
use crate::support::tokens::{now, token};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, RedisServer, Request, Site, TestServer, Transport, WallClock};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const PASSWORD: &str = "IamAllowed2PUSH!!!";
const SECRET: &str = "secret: a-secret-that-seals-the-states-of-clients";
/// The event that has an offset only.
const OFFSET: &str = "nodevent:offset";

/// A page with the stock client.
struct Page {
    browser: Browser,
    namespace: &'static str,
    pid: Option<String>,
    offset: Option<String>,
    recovered: bool,
    /// Events that have arrived, without their offsets.
    events: VecDeque<Value>,
}

/// What a page has after its connection was lost.
#[derive(Clone)]
struct Lost {
    pid: String,
    offset: String,
}

// === impl Page ===

impl Page {
    async fn open(site: &Site, namespace: &'static str) -> Self {
        Self::connect(site, namespace, Transport::WebSocket, None, json!({})).await
    }

    async fn back(site: &Site, namespace: &'static str, lost: &Lost) -> Self {
        Self::connect(site, namespace, Transport::WebSocket, Some(lost), json!({})).await
    }

    async fn connect(
        site: &Site,
        namespace: &'static str,
        transport: Transport,
        lost: Option<&Lost>,
        mut auth: Value,
    ) -> Self {
        if let Some(Lost { pid, offset }) = lost {
            (auth["pid"], auth["offset"]) = (json!(pid), json!(offset));
        }
        let browser = Browser::open(site, transport).await;
        let events = VecDeque::new();
        let mut page = Self { browser, namespace, pid: None, offset: None, recovered: false, events };
        let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
        page.browser.send(&[&format!("40{prefix}{auth}")]).await;
        // The client keeps events until it is connected.
        let mut early = Vec::new();
        let reply = loop {
            let packet = in_time("the connect packet", page.browser.next_packet()).await.expect("a connection");
            match packet.kind {
                '2' => early.push(packet.value()),
                '0' => break packet.value(),
                _ => panic!("{packet:?}"),
            }
        };
        let pid = reply["pid"].as_str().map(str::to_owned);
        page.recovered = pid.is_some() && pid.as_deref() == lost.map(|lost| &*lost.pid);
        page.pid = pid;
        for event in early {
            page.on_event(event);
        }
        // The first offset of this connection.
        while page.pid.is_some() && !page.take_packet().await {}
        page
    }

    /// Returns whether the event has an offset only.
    fn on_event(&mut self, mut event: Value) -> bool {
        let args = event.as_array_mut().expect("an array");
        if self.pid.is_some()
            && let Some(Value::String(last)) = args.last()
        {
            self.offset = Some(last.clone());
            args.pop();
        }
        let is_offset = event[0] == OFFSET;
        if !is_offset {
            self.events.push_back(event);
        }
        is_offset
    }

    /// Returns whether it was an offset only.
    async fn take_packet(&mut self) -> bool {
        let packet = in_time("an event", self.browser.next_packet()).await.expect("the connection is open");
        match packet.kind {
            '2' => self.on_event(packet.value()),
            '3' => {
                self.events.push_back(json!(["ack", packet.value()]));
                false
            }
            _ => panic!("{packet:?}"),
        }
    }

    /// The next event, without its offset.
    async fn next(&mut self) -> Value {
        while self.events.is_empty() {
            self.take_packet().await;
        }
        self.events.pop_front().expect("an event")
    }

    async fn receives(&mut self, event: &str, data: Value) {
        assert_eq!(self.next().await, json!([event, data]));
    }

    async fn send(&mut self, event: &str, data: Value) {
        let prefix = if self.namespace == "/" { String::new() } else { format!("{},", self.namespace) };
        self.browser.send(&[&format!("42{prefix}{}", json!([event, data]))]).await;
    }

    async fn call(&mut self, event: &str, data: Value) -> Value {
        self.browser.send(&[&format!("42{},7{}", self.namespace, json!([event, data]))]).await;
        let mut reply = self.next().await;
        reply[1].take()
    }

    /// Waits until an offset follows what the page knows, because its topics have changed.
    async fn has_new_offset(&mut self, before: Option<String>) {
        while self.offset == before {
            self.take_packet().await;
        }
    }

    async fn ident(&mut self, data: Value) {
        self.send("IDENT", data.clone()).await;
        self.receives("OK", json!({"username": data["username"]})).await;
    }

    async fn join(&mut self, channel: &str) {
        self.send("JOIN", json!({"channel": channel})).await;
        self.receives("OK", json!({"channel": channel})).await;
    }

    /// The connection is lost: its socket is closed without a message.
    fn lose(self) -> Lost {
        Lost { pid: self.pid.expect("a pid"), offset: self.offset.expect("an offset") }
    }
}

fn turted(ident: &str, engine: &str, more: &str) -> String {
    format!(
        "/: {{dialect: turted, turted: {{{ident}, push: {{password: {PASSWORD}}}}}, \
         connection_state_recovery: {{{SECRET}{more}}}{engine}}}\n"
    )
}

async fn push(site: &Site, mut body: Value) {
    body["auth"] = json!(PASSWORD);
    let response = site.send(&Request::post("/push/", body.to_string())).await;
    assert_eq!((response.status, &*response.text()), (200, "OK"));
}

fn event(name: &str) -> Value {
    json!({"event": name, "payload": {}})
}

/// Two servers of one configuration, or one server twice if there is nothing between them.
async fn servers(redis: Option<&RedisServer>, more: &str) -> [TestServer; 2] {
    let engine = redis.map(|redis| format!(", redis: \"{}\"", redis.url())).unwrap_or_default();
    let configuration = turted("ident: accept_all, join: open", &engine, more);
    let servers = [TestServer::start(&configuration).await, TestServer::start(&configuration).await];
    for server in &servers {
        server.ready().await;
    }
    servers
}

#[tokio::test]
async fn a_page_has_its_users_its_channels_and_what_it_missed_again() {
    // T-36, T-43, T-47: on the memory engine, and on another server through Redis.
    let redis = RedisServer::start().await;
    for (redis, transport) in
        [(None, Transport::WebSocket), (None, Transport::Polling), (Some(&redis), Transport::WebSocket)]
    {
        let [here, there] = servers(redis, "").await;
        let other = if redis.is_some() { &there } else { &here };
        let mut page = Page::connect(&here, "/", transport, None, json!({})).await;
        page.ident(json!({"username": "ann"})).await;
        page.ident(json!({"username": "bob"})).await;
        for channel in ["chat", "news"] {
            page.join(channel).await;
        }
        push(&here, json!({"event": "before", "targets": {"channels": "chat", "users": ["ann", "bob"]}})).await;
        page.receives("EVENT", event("before")).await;
        let lost = page.lose();
        for number in 1..=3 {
            let name = format!("missed {number}");
            push(&here, json!({"event": name, "targets": {"channels": ["chat"]}})).await;
        }
        push(&here, json!({"event": "both", "targets": {"users": "ann", "channels": ["chat", "news"]}})).await;
        push(&here, json!({"event": "all", "targets": {"broadcast": true}})).await;
        let mut page = Page::connect(other, "/", transport, Some(&lost), json!({})).await;
        assert!(page.recovered);
        // The copy for the user is the one that it receives.
        let mut missed = Vec::new();
        while missed.len() < 5 {
            missed.push(page.next().await);
        }
        let names: Vec<&str> = missed.iter().filter_map(|one| one[1]["event"].as_str()).collect();
        let in_channel: Vec<_> = names.iter().filter(|name| name.starts_with("missed")).collect();
        assert_eq!(in_channel, [&"missed 1", &"missed 2", &"missed 3"], "in the order of the channel");
        assert_eq!(names.iter().filter(|name| ["both", "all"].contains(name)).count(), 2, "{names:?}");
        for (name, targets) in [
            ("user", json!({"users": "bob"})),
            ("channel", json!({"channels": "news"})),
            ("copies", json!({"users": "bob", "channels": ["chat", "news"], "broadcast": true})),
            ("last", json!({"broadcast": true})),
        ] {
            push(other, json!({"event": name, "targets": targets})).await;
            page.receives("EVENT", event(name)).await;
        }
        // It can be restored again, with the same pid.
        let lost = page.lose();
        push(other, json!({"event": "again", "targets": {"users": "bob"}})).await;
        let mut page = Page::back(&here, "/", &lost).await;
        assert!(page.recovered);
        page.receives("EVENT", event("again")).await;
        here.stop().await;
        there.stop().await;
    }
}

#[tokio::test]
async fn a_state_is_used_once_and_a_forged_one_never() {
    // T-36
    let redis = RedisServer::start().await;
    for redis in [None, Some(&redis)] {
        let [here, there] = servers(redis, "").await;
        let other = if redis.is_some() { &there } else { &here };
        let mut page = Page::open(&here, "/").await;
        page.ident(json!({"username": "ann"})).await;
        let lost = page.lose();
        let mut stranger = Page::open(&here, "/").await;
        stranger.ident(json!({"username": "eve"})).await;
        let of_stranger = stranger.lose();
        let mut changed = lost.offset.clone().into_bytes();
        changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        for (pid, offset) in [
            (&*lost.pid, &*changed),
            (&lost.pid, &of_stranger.offset),
            (&of_stranger.pid, &lost.offset),
            ("", &lost.offset),
            (&lost.pid, ""),
            ("AAAAAAAAAAAAAAAAAAAAAA", &lost.offset),
        ] {
            let forged = Lost { pid: pid.to_owned(), offset: offset.to_owned() };
            let mut page = Page::back(other, "/", &forged).await;
            assert!(!page.recovered && page.pid.as_deref() != Some(pid));
            push(other, json!({"event": "secret", "targets": {"users": "ann"}})).await;
            push(other, json!({"event": "all", "targets": {"broadcast": true}})).await;
            page.receives("EVENT", event("all")).await;
        }
        let mut first = Page::back(other, "/", &lost).await;
        assert!(first.recovered, "forgeries have not used it up");
        let mut second = Page::back(&here, "/", &lost).await;
        assert!(!second.recovered && second.pid != first.pid);
        push(&here, json!({"event": "mine", "targets": {"users": "ann"}})).await;
        push(&here, json!({"event": "last", "targets": {"broadcast": true}})).await;
        second.receives("EVENT", event("last")).await;
        while first.next().await != json!(["EVENT", event("last")]) {}
        // A client that leaves the namespace has ended its connection, as in the original.
        first.browser.send(&["41"]).await;
        until("the page has left", async || {
            here.metric("nodevent_users").await + other.metric("nodevent_users").await == 0
        })
        .await;
        let lost = first.lose();
        let page = Page::back(&here, "/", &lost).await;
        assert!(!page.recovered);
        here.stop().await;
        there.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_and_returns_without_end_stores_little() {
    // T-36: one connection enters the namespace and leaves it 40 times. Each state would take a key of Redis.
    let redis = RedisServer::start().await;
    let configuration =
        format!("/a: {{open: true, redis: \"{}\", connection_state_recovery: {{{SECRET}}}}}\n", redis.url());
    let server = TestServer::start(&configuration).await;
    server.ready().await;
    let mut browser = Browser::open(&server, Transport::WebSocket).await;
    let mut states = 0;
    for _ in 0..40 {
        browser.send(&["40/a,{}"]).await;
        let reply = loop {
            let packet = in_time("the connect packet", browser.next_packet()).await.expect("a connection");
            if packet.kind == '0' {
                break packet.value();
            }
        };
        states += usize::from(reply["pid"].is_string());
        browser.send(&["41/a,"]).await;
    }
    assert_eq!(states, 8);
    let count = ["EVAL", "return #redis.call('KEYS', '*restored*')", "0"];
    until("each state that has ended is marked", async || redis.call(&count).await == ":8").await;
    // Others are restored.
    let mut page = Page::open(&server, "/a").await;
    let before = page.offset.clone();
    assert_eq!(page.call("join", json!({"room": "r"})).await[1], true);
    page.has_new_offset(before).await;
    let lost = page.lose();
    assert!(Page::back(&server, "/a", &lost).await.recovered);
    server.stop().await;
}

#[tokio::test]
async fn a_state_that_is_too_old_is_not_restored_and_quiet_pages_receive_new_ones() {
    let [server, other] = servers(None, ", max_disconnection: 1s").await;
    let mut page = Page::open(&server, "/").await;
    page.ident(json!({"username": "ann"})).await;
    let old = page.offset.clone();
    page.has_new_offset(old.clone()).await;
    let since = Instant::now();
    let pid = page.pid.clone().expect("a pid");
    page.lose();
    until("the state is too old", async || since.elapsed() > Duration::from_millis(1_600)).await;
    let page = Page::back(&server, "/", &Lost { pid, offset: old.expect("an offset") }).await;
    assert!(!page.recovered);
    server.stop().await;
    other.stop().await;
}

/// T-36: while the clock is hours off, a state is not restored, and not used up. When it is right, the state is restored once, and
/// never again, although the clock jumps to a time at which it was not used.
#[tokio::test]
async fn a_clock_that_jumps_restores_no_state_twice() {
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let (clock, folder) = (WallClock::new(), tempfile::tempdir().unwrap());
        let namespace = turted("ident: accept_all, join: open", &engine, "");
        let written = format!("port: 0\nbind: 127.0.0.1\npublish: local\n{namespace}");
        let program = Program::serve_with_clock(folder.path(), &written, &clock).await;
        let site = program.site().await;
        until("the server is ready", async || site.get("/readyz").await.status == 200).await;
        for jump in [3 * 3600, -3 * 3600] {
            let mut page = Page::open(&site, "/").await;
            page.ident(json!({"username": "ann"})).await;
            let lost = page.lose();
            push(&site, json!({"event": "missed", "targets": {"users": "ann"}})).await;
            for off in [jump, -jump] {
                clock.set(off);
                let mut other = Page::back(&site, "/", &lost).await;
                assert!(!other.recovered, "{engine} {off}");
                other.ident(json!({"username": "bob"})).await;
            }
            clock.set(0);
            let mut back = Page::back(&site, "/", &lost).await;
            assert!(back.recovered, "{engine} {jump}");
            back.receives("EVENT", event("missed")).await;
            for off in [0, jump, -jump, 0] {
                clock.set(off);
                assert!(!Page::back(&site, "/", &lost).await.recovered, "{engine} {jump} {off}");
            }
        }
    }
}

#[tokio::test]
async fn every_authorizer_decides_again() {
    // T-36, T-42: the application, and the password of `IDENT`.
    let application = Application::knows("ann").await;
    let asked = format!("ident: application, join: identified, application: {{url: \"{}\"}}", application.url);
    let server = TestServer::start(&turted(&asked, "", "")).await;
    let mut page = Page::open(&server, "/").await;
    page.ident(json!({"username": "ann", "password": "p"})).await;
    page.join("chat").await;
    let lost = page.lose();
    let asked = application.requests().len();
    let mut page = Page::back(&server, "/", &lost).await;
    assert!(page.recovered);
    assert!(application.requests()[asked..].iter().any(|request| request.contains("\"password\":\"p\"")));
    push(&server, json!({"event": "user", "targets": {"users": "ann"}})).await;
    push(&server, json!({"event": "channel", "targets": {"channels": "chat"}})).await;
    page.receives("EVENT", event("user")).await;
    page.receives("EVENT", event("channel")).await;
    let lost = page.lose();
    application.set(Behaviour::Respond(403, "no".into()));
    let mut page = Page::back(&server, "/", &lost).await;
    assert!(!page.recovered);
    push(&server, json!({"event": "user", "targets": {"users": "ann", "channels": "chat"}})).await;
    push(&server, json!({"event": "all", "targets": {"broadcast": true}})).await;
    page.receives("EVENT", event("all")).await;
    server.stop().await;

    let server =
        TestServer::start(&turted("ident: password, ident_password: the-first-password, join: open", "", "")).await;
    let mut page = Page::open(&server, "/").await;
    page.ident(json!({"username": "ann", "password": "the-first-password"})).await;
    page.join("chat").await;
    let lost = page.lose();
    server.stop().await;
    let server =
        TestServer::start(&turted("ident: password, ident_password: the-second-password, join: open", "", ""))
            .await;
    let mut page = Page::back(&server, "/", &lost).await;
    assert!(!page.recovered);
    push(&server, json!({"event": "user", "targets": {"users": "ann"}})).await;
    push(&server, json!({"event": "channel", "targets": {"channels": "chat"}})).await;
    page.receives("EVENT", event("channel")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_page_has_its_users_and_channels_again_after_a_restart_that_loses_the_history() {
    // T-36
    let configuration = turted("ident: accept_all, join: open", "", "");
    let server = TestServer::start(&configuration).await;
    let mut page = Page::open(&server, "/").await;
    page.ident(json!({"username": "ann"})).await;
    page.join("chat").await;
    push(&server, json!({"event": "before", "targets": {"channels": "chat"}})).await;
    page.receives("EVENT", event("before")).await;
    let lost = page.lose();
    server.stop().await;
    let server = TestServer::start(&configuration).await;
    let mut page = Page::back(&server, "/", &lost).await;
    assert!(!page.recovered, "something may be missing");
    push(&server, json!({"event": "user", "targets": {"users": "ann"}})).await;
    page.receives("EVENT", event("user")).await;
    push(&server, json!({"event": "channel", "targets": {"channels": "chat"}})).await;
    page.receives("EVENT", event("channel")).await;
    let lost = page.lose();
    assert!(Page::back(&server, "/", &lost).await.recovered, "its new pid is valid");
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_a_killed_server_is_restored_by_another_one() {
    // T-36, T-43
    let redis = RedisServer::start().await;
    let configuration = turted("ident: accept_all, join: open", &format!(", redis: \"{}\"", redis.url()), "");
    let folder = tempfile::tempdir().expect("a folder");
    let killed =
        Program::serve(folder.path(), &format!("bind: 127.0.0.1\nport: 0\nadmin: {{port: 0}}\n{configuration}"))
            .await;
    let other = TestServer::start(&configuration).await;
    other.ready().await;
    let site = killed.site().await;
    let mut page = Page::open(&site, "/").await;
    page.ident(json!({"username": "ann"})).await;
    page.join("chat").await;
    push(&other, json!({"event": "before", "targets": {"users": "ann"}})).await;
    page.receives("EVENT", event("before")).await;
    killed.kill().await;
    push(&other, json!({"event": "missed", "targets": {"channels": "chat"}})).await;
    let lost = page.lose();
    let mut page = Page::back(&other, "/", &lost).await;
    assert!(page.recovered);
    page.receives("EVENT", event("missed")).await;
    push(&other, json!({"event": "live", "targets": {"users": "ann", "channels": "chat"}})).await;
    page.receives("EVENT", event("live")).await;
    push(&other, json!({"event": "last", "targets": {"broadcast": true}})).await;
    page.receives("EVENT", event("last")).await;
    other.stop().await;
}

#[tokio::test]
async fn a_page_comes_back_until_redis_knows_whether_its_state_was_used() {
    // T-36: and the history of a Redis that has lost its data is not there.
    let mut redis = RedisServer::start().await;
    let [here, there] = servers(Some(&redis), "").await;
    let mut page = Page::open(&here, "/").await;
    page.ident(json!({"username": "ann"})).await;
    page.join("chat").await;
    let lost = page.lose();
    redis.stop();
    let mut browser = Browser::open(&there, Transport::WebSocket).await;
    browser.send(&[&format!("40{}", json!({"pid": lost.pid, "offset": lost.offset}))]).await;
    browser.ended().await;
    redis.start_again().await;
    here.ready().await;
    there.ready().await;
    let mut page = Page::back(&there, "/", &lost).await;
    assert!(!page.recovered, "something may be missing");
    push(&here, json!({"event": "user", "targets": {"users": "ann"}})).await;
    page.receives("EVENT", event("user")).await;
    push(&here, json!({"event": "channel", "targets": {"channels": "chat"}})).await;
    page.receives("EVENT", event("channel")).await;
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn rooms_are_restored_by_their_keys_as_long_as_these_are_valid() {
    // N-41
    let secret = "a-secret-of-a-namespace-with-rooms";
    let server = TestServer::start(&format!("/a: {{secret: {secret}, connection_state_recovery: true}}\n")).await;
    let mut page = Page::open(&server, "/a").await;
    let signed = |room: &str, lifetime_ms: u64| {
        let ms = (now() * 1000.0) as u64 + lifetime_ms;
        (key(room, &ms.to_string(), secret), ms)
    };
    let (long, short) = (signed("long", 600_000), signed("short", 5_000));
    for (room, (key, _)) in [("long", &long), ("short", &short)] {
        let before = page.offset.clone();
        assert_eq!(page.call("join", json!({"room": room, "key": key})).await[1], true);
        page.has_new_offset(before).await;
    }
    let lost = page.lose();
    server.emit("/a", "long", "missed", json!(1)).await;
    let mut page = Page::back(&server, "/a", &lost).await;
    assert!(page.recovered);
    assert_eq!(page.next().await[1]["message"], 1);
    let lost = page.lose();
    until("the key has expired", async || now() * 1000.0 > short.1 as f64).await;
    server.emit("/a", "short", "secret", json!(2)).await;
    server.emit("/a", "long", "missed", json!(3)).await;
    let mut page = Page::back(&server, "/a", &lost).await;
    assert!(!page.recovered);
    assert_eq!(page.next().await[1]["message"], 3);
    server.emit("/a", "short", "secret", json!(4)).await;
    server.emit("/a", "long", "live", json!(5)).await;
    assert_eq!(page.next().await[1]["message"], 5);
    server.stop().await;
}

#[tokio::test]
async fn a_state_belongs_to_the_user_of_its_connection() {
    let configuration = format!(
        "/a: {{token: {{secret: {}}}, connection_state_recovery: {{{SECRET}}}}}\n",
        crate::support::tokens::TOKEN_SECRET
    );
    let server = TestServer::start(&configuration).await;
    let auth = |user: &str| json!({"token": token(json!({"sub": user, "rooms": ["lobby"], "exp": now() + 600.0}))});
    let mut page = Page::connect(&server, "/a", Transport::WebSocket, None, auth("ann")).await;
    while page.next().await[1]["room"] != "lobby" {}
    let lost = page.lose();
    server.emit("/a", "lobby", "missed", json!("in the room")).await;
    let stolen = Page::connect(&server, "/a", Transport::WebSocket, Some(&lost), auth("eve")).await;
    assert!(!stolen.recovered);
    let mut page = Page::connect(&server, "/a", Transport::WebSocket, Some(&lost), auth("ann")).await;
    assert!(page.recovered);
    let mut received = Vec::new();
    while received.is_empty() {
        let event = page.next().await;
        if event[0] == "event" {
            received.push(event[1]["message"].clone());
        }
    }
    assert_eq!(received, ["in the room"]);
    server.stop().await;
}

#[tokio::test]
async fn other_dialects_are_restored_too() {
    // R-16: `notifications`, and W-13: `web_service`, whose application lists the rooms again.
    let redis = RedisServer::start().await;
    let configuration = format!(
        "/: {{dialect: notifications, notifications: {{channels: [notif], redis: \"{}\"}}, \
         connection_state_recovery: {{{SECRET}}}}}\n",
        redis.url()
    );
    let server = TestServer::start(&configuration).await;
    server.ready().await;
    redis.has_subscribers("notif", 1).await;
    let mut page = Page::open(&server, "/").await;
    page.receives("message", json!({"text": "Welcome!"})).await;
    page.send("subscribe", json!({"channel": "notif"})).await;
    until("the channel arrives", async || server.metric("nodevent_rooms").await == 1).await;
    let before = page.offset.clone();
    page.has_new_offset(before).await;
    let lost = page.lose();
    let mut page = Page::back(&server, "/", &lost).await;
    page.receives("message", json!({"text": "Welcome!"})).await;
    redis.publish("notif", "again").await;
    let received = page.next().await;
    assert_eq!(received[0], "message");
    assert!(received[1].to_string().contains("again"), "{received}");
    server.stop().await;

    let application = Application::start(Behaviour::Respond(200, json!(["group"]).to_string())).await;
    let configuration = format!(
        "/site: {{dialect: web_service, auth: {{url: \"{}\"}}, publish_key: \"54321-54321-54321\", history: 100, \
         connection_state_recovery: {{{SECRET}}}}}\n",
        application.url
    );
    let server = TestServer::start(&configuration).await;
    let send = async |event: &str| {
        let path = "/send?site=site&apiKey=54321-54321-54321";
        let body = json!({"rooms": "group", "event": event, "args": [1]}).to_string();
        assert_eq!(
            server.send(&Request::post(path, body).header("content-type", "application/json")).await.status,
            200
        );
    };
    let auth = json!({"token": "12345"});
    let mut page = Page::connect(&server, "/site", Transport::WebSocket, None, auth.clone()).await;
    send("first").await;
    page.receives("first", json!(1)).await;
    let lost = page.lose();
    send("missed").await;
    let mut page = Page::connect(&server, "/site", Transport::WebSocket, Some(&lost), auth).await;
    assert!(page.recovered);
    page.receives("missed", json!(1)).await;
    server.stop().await;
}

#[tokio::test]
async fn other_dialects_are_restored_by_another_server() {
    // R-16, and W-13, W-37: two servers on one Redis. The page returns to the one where it was not.
    let redis = RedisServer::start().await;
    let start = async |configuration: &str| {
        let servers = [TestServer::start(configuration).await, TestServer::start(configuration).await];
        for server in &servers {
            server.ready().await;
        }
        servers
    };
    let url = redis.url();
    let [here, there] = start(&format!(
        "/: {{dialect: notifications, notifications: {{channels: [notif], redis: \"{url}\"}}, \
         connection_state_recovery: {{{SECRET}}}, redis: \"{url}\"}}\n"
    ))
    .await;
    redis.has_subscribers("notif", 2).await;
    let mut page = Page::open(&here, "/").await;
    page.receives("message", json!({"text": "Welcome!"})).await;
    page.send("subscribe", json!({"channel": "notif"})).await;
    here.metric_is("nodevent_rooms", 1).await;
    // What it receives in the channel has an offset with the channel.
    redis.publish("notif", "before").await;
    page.receives("message", json!({"text": "before", "channel": "notif"})).await;
    assert_eq!(there.metric("nodevent_rooms").await, 0);
    let lost = page.lose();
    here.metric_is("nodevent_rooms", 0).await;
    let mut page = Page::back(&there, "/", &lost).await;
    page.receives("message", json!({"text": "Welcome!"})).await;
    there.metric_is("nodevent_rooms", 1).await;
    for text in ["again", "last"] {
        redis.publish("notif", text).await;
        page.receives("message", json!({"text": text, "channel": "notif"})).await;
    }
    // And back again, with what the second server gave it.
    let lost = page.lose();
    there.metric_is("nodevent_rooms", 0).await;
    let mut page = Page::back(&here, "/", &lost).await;
    page.receives("message", json!({"text": "Welcome!"})).await;
    here.metric_is("nodevent_rooms", 1).await;
    redis.publish("notif", "home").await;
    page.receives("message", json!({"text": "home", "channel": "notif"})).await;
    here.stop().await;
    there.stop().await;

    let application = Application::start(Behaviour::Respond(200, json!(["group"]).to_string())).await;
    let [here, there] = start(&format!(
        "/site: {{dialect: web_service, auth: {{url: \"{}\"}}, publish_key: \"54321-54321-54321\", history: 100, \
         connection_state_recovery: {{{SECRET}}}, redis: \"{url}\"}}\n",
        application.url
    ))
    .await;
    let send = async |site: &Site, number: u32| {
        let body = json!({"rooms": "group", "event": "e", "args": [number]}).to_string();
        let request = Request::post("/send?site=site&apiKey=54321-54321-54321", body);
        assert_eq!(site.send(&request.header("content-type", "application/json")).await.status, 200);
    };
    let auth = json!({"token": "12345"});
    let mut page = Page::connect(&here, "/site", Transport::WebSocket, None, auth.clone()).await;
    let mut number = 0;
    // The page moves to the other server and back, and each of them is the one through which the site sends.
    for (from, to) in [(&here, &there), (&there, &here), (&here, &there)] {
        for site in [from, to] {
            number += 1;
            send(site, number).await;
            page.receives("e", json!(number)).await;
        }
        let lost = page.lose();
        from.metric_is("nodevent_connections", 0).await;
        for site in [from, to, from] {
            send(site, number + 1).await;
            number += 1;
        }
        page = Page::connect(to, "/site", Transport::WebSocket, Some(&lost), auth.clone()).await;
        assert!(page.recovered);
        for missed in number - 2..=number {
            page.receives("e", json!(missed)).await;
        }
        assert_eq!(to.metric("nodevent_connections").await, 1);
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn nothing_changes_for_clients_that_cannot_be_restored() {
    let server = TestServer::start("/a: {open: true}\n").await;
    let page = Page::open(&server, "/a").await;
    assert_eq!(page.pid, None, "it is off by default");
    server.stop().await;
    let server = TestServer::start(&format!("/a: {{open: true, connection_state_recovery: {{{SECRET}}}}}\n")).await;
    let auth = json!({"pageId": "a-page-of-our-own-client"});
    let mut page = Page::connect(&server, "/a", Transport::WebSocket, None, auth).await;
    assert_eq!(page.pid, None, "it follows positions by itself");
    assert_eq!(page.call("join", json!({"room": "r"})).await[1], true);
    server.emit("/a", "r", "e", json!(1)).await;
    let event = page.next().await;
    assert_eq!(event.as_array().map(Vec::len), Some(2), "{event}");
    server.stop().await;
}
