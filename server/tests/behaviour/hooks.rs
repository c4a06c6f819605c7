//! Hooks: the application is notified, on both engines and with two servers, whatever happens to it, to a server, or to
//! Redis.

use crate::support::application::{Application, Behaviour};
use crate::support::tokens::token;
use crate::support::wait::until;
use crate::support::{Browser, Program, RedisServer, Request, Site, TestServer, Transport};
use nodevent_protocol::hooks::sign;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

const SECRET: &str = "a-secret-for-hooks-of-more-than-32-bytes";
const TOKENS: &str = "token: {secret: a-secret-for-tokens-of-more-than-32-bytes}";
const PRESENCE: &str = "presence: {rooms: [room], lease: 3s, grace: 0s}";

/// Rooms, of which the first has presence.
const ROOMS: [&str; 3] = ["room", "other", "third"];

/// The key of the journal in Redis.
const JOURNAL: &str = "nodevent:1:{9:/nodevent}:hooks:journal";

/// A namespace with hooks; `more` are further keys of the hooks, `engine` further ones of the namespace.
fn namespace(application: &Application, more: &str, engine: &str) -> String {
    let url = &application.url;
    format!(
        "/nodevent: {{open: true, history: 1000, {TOKENS}, {PRESENCE}{engine}, \
         hooks: {{url: \"{url}\", secret: {SECRET}, timeout: 2s, {more}}}}}\n"
    )
}

async fn on_redis(redis: &RedisServer, application: &Application, more: &str) -> TestServer {
    let server = TestServer::start(&namespace(application, more, &format!(", redis: \"{}\"", redis.url()))).await;
    server.ready().await;
    server
}

/// A server on the memory engine or on Redis.
async fn on_engine(is_memory: bool, redis: &RedisServer, application: &Application, more: &str) -> TestServer {
    match is_memory {
        true => TestServer::start(&namespace(application, more, "")).await,
        false => on_redis(redis, application, more).await,
    }
}

fn accepts() -> Behaviour {
    Behaviour::Respond(200, "{}".to_owned())
}

/// The events of all requests so far, in order. Each request has a valid signature.
fn events(application: &Application) -> Vec<Value> {
    application.requests().iter().flat_map(|request| events_of(request)).collect()
}

fn events_of(request: &str) -> Vec<Value> {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let signature = head.lines().find_map(|line| line.strip_prefix("x-nodevent-signature: ")).unwrap();
    let seconds = signature.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(signature, sign(SECRET.as_bytes(), seconds, body.as_bytes()));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["namespace"], "/nodevent");
    body["events"].as_array().unwrap().clone()
}

/// Makes the application accept what arrives. Returns the number of requests before.
fn accept(application: &Application) -> usize {
    let before = application.requests().len();
    application.set(accepts());
    before
}

/// Waits until this many different events have arrived, and returns each once, in the order of their first arrival.
async fn received(application: &Application, count: usize) -> Vec<Value> {
    received_since(application, 0, count).await
}

/// The same without the first requests, which the application did not accept.
async fn received_since(application: &Application, requests: usize, count: usize) -> Vec<Value> {
    let different = || {
        let mut seen = HashSet::new();
        let mut all: Vec<Value> =
            application.requests()[requests..].iter().flat_map(|request| events_of(request)).collect();
        all.retain(|event| seen.insert(event["id"].as_str().unwrap().to_owned()));
        all
    };
    until(&format!("{count} events"), async || different().len() >= count).await;
    different()
}

async fn connect(site: &Site, user: &str) -> Browser {
    let mut browser = Browser::open(site, Transport::WebSocket).await;
    let auth = json!({"token": token(json!({"sub": user, "info": {"name": user}}))}).to_string();
    browser.enter_with("/nodevent", &auth).await.expect("the token is accepted");
    browser
}

/// The messages of the publications.
fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["publication"]["message"].as_u64()).collect()
}

/// The messages of the publications in each room.
fn numbers_by_room(events: &[Value]) -> BTreeMap<String, Vec<u64>> {
    let mut rooms = BTreeMap::<String, Vec<u64>>::new();
    for event in events {
        if let Some(number) = event["publication"]["message"].as_u64() {
            rooms.entry(event["room"].as_str().unwrap().to_owned()).or_default().push(number);
        }
    }
    rooms
}

/// What [`numbers_by_room`] has of messages that were published to [`ROOMS`] in turns.
fn in_turns(numbers: std::ops::Range<u64>) -> BTreeMap<String, Vec<u64>> {
    let of_room = |index: u64| numbers.clone().filter(|number| number % 3 == index).collect();
    ROOMS.iter().zip(0..).map(|(room, index)| ((*room).to_owned(), of_room(index))).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// T-32: the application learns who connects, who is in a room, and what is published.
#[tokio::test]
async fn the_application_is_notified_of_everything_it_asked_for() {
    let redis = RedisServer::start().await;
    for is_memory in [true, false] {
        let application = Application::start(accepts()).await;
        let more = "events: [connected, disconnected, entered, left], delivered: [\"order_*\"]";
        let server = on_engine(is_memory, &redis, &application, more).await;
        let mut ann = connect(&server, "ann").await;
        received(&application, 1).await;
        ann.join("room").await;
        received(&application, 2).await;
        server.emit("/nodevent", "room", "order_paid", json!({"number": 7})).await;
        server.emit("/nodevent", "room", "other", 1).await;
        received(&application, 3).await;
        ann.leave("room").await;
        received(&application, 4).await;
        ann.close().await;
        let events = received(&application, 5).await;
        assert_eq!(types(&events), ["connected", "entered", "delivered", "left", "disconnected"]);
        let [connected, entered, delivered, left, disconnected] = <[Value; 5]>::try_from(events).unwrap();
        assert_eq!((&connected["user"], &connected["info"]), (&json!("ann"), &json!({"name": "ann"})));
        assert_eq!(
            (&entered["user"], &entered["room"], &entered["count"]),
            (&json!("ann"), &json!("room"), &json!(1))
        );
        assert_eq!(entered["info"], json!({"name": "ann"}));
        assert_eq!(delivered["room"], "room");
        assert_eq!(delivered["publication"]["message"], json!({"number": 7}));
        assert!(delivered["publication"]["position"].is_string());
        assert_eq!((&left["user"], &left["count"]), (&json!("ann"), &json!(0)));
        assert_eq!(disconnected["connection"], connected["connection"]);
        assert_eq!(disconnected["user"], "ann");
        let at = |event: &Value| event["at"].as_u64().unwrap();
        let seconds = (at(&disconnected) - at(&connected)) / 1000;
        assert!(disconnected["seconds"].as_u64().unwrap().abs_diff(seconds) <= 1, "{disconnected}");
        let now = now_ms();
        for event in [connected, entered, delivered, left, disconnected] {
            let at = event["at"].as_u64().unwrap();
            assert!(at <= now + 1000 && now - at.min(now) < 60_000, "{event}");
        }
        server.metric_is("nodevent_hooks_sent_total", 5).await;
        server.metric_is("nodevent_hooks_waiting", 0).await;
    }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// The application fails in every way, and receives everything afterwards, in order.
#[tokio::test]
async fn an_application_that_was_away_receives_everything_in_order() {
    let redis = RedisServer::start().await;
    for is_memory in [true, false] {
        let application = Application::start(Behaviour::Close).await;
        let more = "delivered: e, batch: 7, attempts: 1000";
        let server = on_engine(is_memory, &redis, &application, more).await;
        let mut member = connect(&server, "ann").await;
        member.join("room").await;
        member.join("other").await;
        for (index, behaviour) in [
            Behaviour::Close,
            Behaviour::Respond(500, "{}".to_owned()),
            Behaviour::Respond(503, "{}".to_owned()),
            Behaviour::Raw("nonsense".to_owned()),
            Behaviour::Slowly(Duration::from_secs(4), "{}".to_owned()),
            Behaviour::Redirect(application.url.clone()),
        ]
        .into_iter()
        .enumerate()
        {
            application.set(behaviour);
            let before = application.requests().len();
            for number in 0..10 {
                let room = if number % 2 == 0 { "room" } else { "other" };
                server.emit("/nodevent", room, "e", 10 * index + number).await;
            }
            until("a request without success", async || application.requests().len() > before).await;
        }
        let before = accept(&application);
        let events = received_since(&application, before, 60).await;
        // Some were rejected, and those of other rooms did not wait for them.
        let of = |room: u64| (0..60).filter(|number| number % 2 == room).collect::<Vec<_>>();
        let expected = [("room".to_owned(), of(0)), ("other".to_owned(), of(1))];
        assert_eq!(numbers_by_room(&events), expected.into());
        server.metric_is("nodevent_hooks_given_up_total", 0).await;
        server.metric_is("nodevent_hooks_waiting", 0).await;
    }
}

/// An event that the application rejects does not hold up the others for ever: it can be listed, resent and deleted.
#[tokio::test]
async fn rejected_events_become_dead_letters_which_can_be_resent_and_deleted() {
    let redis = RedisServer::start().await;
    for is_memory in [true, false] {
        let application = Application::start(Behaviour::Respond(422, "{}".to_owned())).await;
        let more = "delivered: e, attempts: 2";
        let server = on_engine(is_memory, &redis, &application, more).await;
        let mut member = connect(&server, "ann").await;
        member.join("room").await;
        for number in 0..2 {
            server.emit("/nodevent", "room", "e", number).await;
        }
        server.metric_is("nodevent_hooks_given_up_total", 2).await;
        let path = "/api/nodevent/hooks/dead-letters";
        let listed = server.get(path).await.json();
        assert_eq!(listed["count"], 2);
        assert_eq!(listed["dead_letters"][0]["event"]["publication"]["message"], 0);
        let reason = listed["dead_letters"][0]["reason"].as_str().unwrap();
        assert_eq!(reason, "the response has the status 422; it was rejected 2 times");
        let id = |index: usize| listed["dead_letters"][index]["id"].as_str().unwrap().to_owned();
        let next = server.get(&format!("{path}?after={}&count=1", id(0))).await.json();
        assert_eq!(next["dead_letters"][0]["id"], id(1));
        for after in ["abc", "12-", "%20", "nonsense%2F"] {
            let none = server.get(&format!("{path}?after={after}")).await;
            let expected = json!({"count": 2, "dead_letters": []});
            if is_memory && ["abc", "12-"].contains(&after) {
                assert_eq!((none.status, &none.json()["count"]), (200, &json!(2)), "{after}");
            } else {
                assert_eq!((none.status, none.json()), (200, expected), "{after}");
            }
        }
        let before = accept(&application);
        let clear = async |body: Value| server.send(&Request::post(path, body.to_string())).await.json();
        let unknown = clear(json!({"action": "delete", "ids": ["nonsense", "1-1"]})).await;
        assert_eq!(unknown, json!({"deleted": 0, "count": 2}));
        let resent = clear(json!({"action": "resend", "ids": [id(1), id(1)]})).await;
        assert_eq!(resent, json!({"resent": 1, "count": 1}));
        assert_eq!(numbers(&received_since(&application, before, 1).await), [1]);
        assert_eq!(clear(json!({"action": "delete", "all": true})).await, json!({"deleted": 1, "count": 0}));
        assert_eq!(server.get(path).await.json(), json!({"count": 0, "dead_letters": []}));
        for body in [json!({"action": "delete"}), json!({"action": "keep", "all": true})] {
            assert_eq!(server.send(&Request::post(path, body.to_string())).await.status, 400);
        }
        let page = Request::get(path).header("Origin", "http://localhost").header("Sec-Fetch-Site", "same-origin");
        assert_eq!(server.send(&page).await.status, 403);
    }
}

/// Two servers share a Redis: each event arrives, and one that both report arrives once while nothing fails.
#[tokio::test]
async fn two_servers_notify_once() {
    let redis = RedisServer::start().await;
    let application = Application::start(accepts()).await;
    let more = "events: [connected, entered, left], delivered: e";
    let servers = [on_redis(&redis, &application, more).await, on_redis(&redis, &application, more).await];
    let mut members = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        let mut member = connect(server, &format!("user{index}")).await;
        member.join("room").await;
        members.push(member);
    }
    for number in 0..20 {
        servers[number % 2].emit("/nodevent", "room", "e", number).await;
    }
    let received = received(&application, 24).await;
    assert_eq!(numbers(&received), (0..20).collect::<Vec<_>>());
    assert_eq!(types(&received).iter().filter(|kind| **kind == "entered").count(), 2);
    assert_eq!(types(&received).iter().filter(|kind| **kind == "connected").count(), 2);
    for server in &servers {
        server.metric_is("nodevent_hooks_waiting", 0).await;
    }
    // Only a request without success is repeated.
    let failures = servers[0].metric("nodevent_hooks_failures_total").await
        + servers[1].metric("nodevent_hooks_failures_total").await;
    assert!(events(&application).len() == 24 || failures > 0, "an event arrived twice");
    members.pop().unwrap().close().await;
    let left = received_one(&application, "left").await;
    assert_eq!((&left["user"], &left["count"]), (&json!("user1"), &json!(1)));
}

/// Waits for an event of this type.
async fn received_one(application: &Application, kind: &str) -> Value {
    let find = || events(application).into_iter().find(|event| event["type"] == kind);
    until(kind, async || find().is_some()).await;
    find().unwrap()
}

/// A response that comes twice confirms one request, and the next one gets its own.
#[tokio::test]
async fn a_response_that_comes_twice_confirms_one_request() {
    let once = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let application = Application::start(Behaviour::Raw(once.repeat(2))).await;
    let server = TestServer::start(&namespace(&application, "delivered: e", "")).await;
    let mut member = connect(&server, "ann").await;
    member.join("room").await;
    for number in 0..3 {
        server.emit("/nodevent", "room", "e", number).await;
        server.metric_is("nodevent_hooks_sent_total", number + 1).await;
    }
    assert_eq!(numbers(&received(&application, 3).await), [0, 1, 2]);
}

/// The command lists dead letters, resends and deletes them.
#[tokio::test]
async fn the_hooks_command_reads_resends_and_deletes_dead_letters() {
    let application = Application::start(Behaviour::Respond(422, "{}".to_owned())).await;
    let configuration = namespace(&application, "delivered: e, attempts: 1", "");
    let server = TestServer::start(&configuration).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("nodevent.yml"), &configuration).unwrap();
    let url = server.urls[0].clone();
    let run = async |arguments: &[&str]| {
        let mut all = vec!["hooks"];
        all.extend(arguments);
        all.extend(["--config", "nodevent.yml", "--url", &url]);
        let output = Program::run(folder.path(), &all).await;
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default(), error)
    };
    let mut member = connect(&server, "ann").await;
    member.join("room").await;
    for number in 0..2 {
        server.emit("/nodevent", "room", "e", number).await;
    }
    server.metric_is("nodevent_hooks_given_up_total", 2).await;
    let (status, listed, _) = run(&["list"]).await;
    assert_eq!((status, &listed["count"]), (Some(0), &json!(2)));
    assert_eq!(listed["dead_letters"][1]["event"]["publication"]["message"], 1);
    let id = listed["dead_letters"][0]["id"].as_str().unwrap();
    let before = accept(&application);
    assert_eq!(run(&["resend", id]).await.1, json!({"resent": 1, "count": 1}));
    assert_eq!(numbers(&received_since(&application, before, 1).await), [0]);
    assert_eq!(run(&["delete", "--all"]).await.1, json!({"deleted": 1, "count": 0}));
    let (status, _, error) = run(&["delete"]).await;
    assert_eq!(status, Some(64), "{error}");
}

/// A server that sends is killed, with events in its journal and users in a room: the other one delivers them.
#[tokio::test]
async fn events_of_a_killed_server_are_delivered_by_another() {
    let redis = RedisServer::start().await;
    let application = Application::start(Behaviour::Close).await;
    let more = "events: [connected, left], delivered: e";
    let folder = tempfile::tempdir().unwrap();
    let configuration = namespace(&application, more, &format!(", redis: \"{}\"", redis.url()));
    let listening = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\npublish: local\n";
    let killed = Program::serve(folder.path(), &format!("{listening}{configuration}")).await;
    let site = killed.site().await;
    until("the server is ready", async || site.get("/readyz").await.status == 200).await;
    let mut gone = Browser::open(&site, Transport::WebSocket).await;
    let auth = json!({"token": token(json!({"sub": "gone"}))}).to_string();
    gone.enter_with("/nodevent", &auth).await.unwrap();
    for room in ROOMS {
        gone.join(room).await;
    }
    for number in 0..30 {
        site.emit("/nodevent", ROOMS[number % 3], "e", number).await;
    }
    application.received(1).await;
    let server = on_redis(&redis, &application, more).await;
    let mut stays = connect(&server, "stays").await;
    stays.join("room").await;
    killed.kill().await;
    let before = accept(&application);
    let events = received_since(&application, before, 33).await;
    let of_kind = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    assert_eq!(numbers(&events), (0..30).collect::<Vec<_>>());
    assert_eq!(numbers_by_room(&events), in_turns(0..30));
    assert_eq!(of_kind("left").iter().map(|one| &one["user"]).collect::<Vec<_>>(), ["gone"]);
    let users: HashSet<&str> = of_kind("connected").iter().map(|one| one["user"].as_str().unwrap()).collect();
    assert_eq!(users, HashSet::from(["gone", "stays"]));
}

/// Redis is unavailable for a while: what happens meanwhile is reported when it is back.
#[tokio::test]
async fn events_wait_for_redis() {
    let mut redis = RedisServer::start().await;
    let application = Application::start(accepts()).await;
    let server = on_redis(&redis, &application, "events: [connected]").await;
    connect(&server, "first").await;
    received(&application, 1).await;
    redis.stop();
    let _second = connect(&server, "second").await;
    redis.start_again().await;
    let events = received(&application, 2).await;
    assert_eq!(events[1]["user"], "second");
}

/// The journal is full, and Redis, which keeps it, is killed and starts again. Each event arrives at least once, and those
/// of a room in their order, before what is published later.
#[tokio::test]
async fn a_full_journal_survives_a_restart_of_redis_in_the_order_of_its_rooms() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start_durable_in(folder.path()).await;
    let application = Application::start(Behaviour::Close).await;
    let server = on_redis(&redis, &application, "delivered: e, batch: 7, attempts: 1000, size: 60").await;
    let mut member = connect(&server, "ann").await;
    for room in ROOMS {
        member.join(room).await;
    }
    for number in 0..60 {
        server.emit("/nodevent", ROOMS[number % 3], "e", number).await;
    }
    // All of them are in Redis, so that they are not in the memory of the server any more.
    until("the journal is full", async || redis.call(&["XLEN", JOURNAL]).await == ":60").await;
    server.metric_is("nodevent_hooks_waiting", 60).await;
    redis.stop();
    let before = application.requests().len();
    redis.start_again().await;
    assert_eq!(redis.call(&["XLEN", JOURNAL]).await, ":60", "Redis has kept it");
    server.ready().await;
    until("a request without success", async || application.requests().len() > before).await;
    let before = accept(&application);
    let events = received_since(&application, before, 60).await;
    assert_eq!(numbers_by_room(&events), in_turns(0..60));
    for number in 60..69 {
        server.emit("/nodevent", ROOMS[number % 3], "e", number).await;
    }
    let events = received_since(&application, before, 69).await;
    assert_eq!(numbers_by_room(&events), in_turns(0..69));
    for (series, value) in [("dropped_total", 0), ("given_up_total", 0), ("waiting", 0)] {
        server.metric_is(&format!("nodevent_hooks_{series}"), value).await;
    }
}

/// Weakness 10: clients that connect and go pushed the events of others out of the journal.
#[tokio::test]
async fn clients_that_connect_push_no_other_event_out_of_the_journal() {
    let redis = RedisServer::start().await;
    for is_memory in [true, false] {
        let application = Application::start(Behaviour::Close).await;
        let more = "events: [connected, disconnected], delivered: e, size: 10";
        let server = on_engine(is_memory, &redis, &application, more).await;
        let mut member = connect(&server, "ann").await;
        member.join("room").await;
        for number in 0..6 {
            server.emit("/nodevent", "room", "e", number).await;
        }
        server.metric_is("nodevent_hooks_waiting", 7).await;
        for _ in 0..10 {
            connect(&server, "visitor").await.close().await;
        }
        // 21 events of connections, of which the newest fill the journal.
        server.metric_is("nodevent_hooks_dropped_total", 17).await;
        server.metric_is("nodevent_hooks_connections_dropped_total", 17).await;
        let before = accept(&application);
        let events = received_since(&application, before, 10).await;
        assert_eq!(numbers(&events), (0..6).collect::<Vec<_>>());
        server.metric_is("nodevent_hooks_waiting", 0).await;
        if !is_memory {
            let connections = JOURNAL.replace("journal", "connections");
            assert_eq!(redis.call(&["XLEN", &connections]).await, ":0");
            let bytes = redis.call(&["HMGET", &JOURNAL.replace("journal", "state"), "b", "c"]).await;
            assert!(bytes.starts_with("*2"), "{bytes}");
        }
    }
}

/// Weakness 9: one event that the application rejects stopped the events of all rooms for minutes.
#[tokio::test]
async fn an_event_that_is_rejected_delays_those_of_its_room_only() {
    let redis = RedisServer::start().await;
    for is_memory in [true, false] {
        let rejects = Behaviour::Respond(500, "{}".to_owned());
        let application = Application::start(Behaviour::If("poison", Box::new(rejects), Box::new(accepts()))).await;
        let server = on_engine(is_memory, &redis, &application, "delivered: e, batch: 5").await;
        let mut member = connect(&server, "ann").await;
        for room in ["room", "other"] {
            member.join(room).await;
        }
        server.emit("/nodevent", "other", "e", "poison").await;
        for number in 0..20 {
            let room = if number % 2 == 0 { "room" } else { "other" };
            server.emit("/nodevent", room, "e", number).await;
        }
        let accepted = || -> Vec<Value> {
            let requests = application.requests();
            let without = requests.iter().filter(|request| !request.contains("poison"));
            without.flat_map(|request| events_of(request)).collect()
        };
        until("the events of the other room", async || accepted().len() >= 10).await;
        assert_eq!(numbers(&accepted()), (0..20).step_by(2).collect::<Vec<_>>());
        server.metric_is("nodevent_hooks_waiting", 11).await;
        server.metric_is("nodevent_hooks_given_up_total", 0).await;
        // The application is repaired. What has waited follows in its order.
        let before = accept(&application);
        let events = received_since(&application, before, 11).await;
        assert_eq!(events[0]["publication"]["message"], "poison");
        assert_eq!(numbers(&events), (1..20).step_by(2).collect::<Vec<_>>());
        server.metric_is("nodevent_hooks_waiting", 0).await;
    }
}

/// A journal that is full drops the oldest events, and counts them.
#[tokio::test]
async fn a_full_journal_drops_the_oldest_and_counts_them() {
    let redis = RedisServer::start().await;
    for is_memory in [true, false] {
        let application = Application::start(Behaviour::Close).await;
        let more = "delivered: e, size: 10";
        let server = on_engine(is_memory, &redis, &application, more).await;
        let mut member = connect(&server, "ann").await;
        member.join("room").await;
        for number in 0..25 {
            server.emit("/nodevent", "room", "e", number).await;
        }
        server.metric_is("nodevent_hooks_dropped_total", 15).await;
        let before = accept(&application);
        let events = received_since(&application, before, 10).await;
        assert_eq!(numbers(&events), (15..25).collect::<Vec<_>>());
        server.metric_is("nodevent_hooks_waiting", 0).await;
    }
}
