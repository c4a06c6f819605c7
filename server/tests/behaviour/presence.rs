//! Presence: who is in a room, on both engines and with two servers.

use crate::support::keys::{LATER, key};
use crate::support::redis::redis_cli;
use crate::support::tokens::token;
use crate::support::wait::{in_time, until};
use crate::support::{Browser, Program, RedisServer, Request, TestServer, Transport};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The grace period of these tests.
const GRACE: Duration = Duration::from_millis(1500);
/// Presence in rooms that begin with `room`, so that fences have none.
const PRESENCE: &str = "presence: {rooms: [\"room*\"], lease: 3s, grace: 1500ms, max_size: 3}";
const TOKENS: &str = "token: {secret: a-secret-for-tokens-of-more-than-32-bytes, leeway: 0s}";

/// An open namespace with presence; `more` are further keys.
fn namespace(more: &str) -> String {
    format!("/nodevent: {{open: true, {TOKENS}, {PRESENCE}{more}}}\n")
}

/// A server on each engine. The Redis must live as long as the servers.
async fn servers_on_both_engines() -> (RedisServer, Vec<(&'static str, TestServer)>) {
    let redis = RedisServer::start().await;
    let memory = TestServer::start(&namespace("")).await;
    let on_redis = server_on(&redis, "").await;
    (redis, vec![("memory", memory), ("redis", on_redis)])
}

async fn server_on(redis: &RedisServer, more: &str) -> TestServer {
    let server = TestServer::start(&namespace(&format!(", redis: \"{}\"{more}", redis.url()))).await;
    server.ready().await;
    server
}

/// A connection of a user, or without one.
async fn connect(server: &TestServer, user: Option<(&str, Value)>) -> Browser {
    let mut browser = Browser::open(server, Transport::WebSocket).await;
    let auth = match user {
        Some((user, info)) => json!({"token": token(json!({"sub": user, "info": info}))}).to_string(),
        None => String::new(),
    };
    browser.enter_with("/nodevent", &auth).await.expect("the token is accepted");
    if user_of(&auth) {
        assert_eq!(browser.next_notice().await[0], "identified");
    }
    browser
}

fn user_of(auth: &str) -> bool {
    !auth.is_empty()
}

/// A connection of a user in a room.
async fn joined(server: &TestServer, user: &str, room: &str) -> Browser {
    let mut browser = connect(server, Some((user, json!({"name": user.to_uppercase()})))).await;
    browser.join(room).await;
    browser
}

/// The next event in the room: its name, the user, and the number of members.
async fn next(browser: &mut Browser) -> (String, Value, u64) {
    let event = browser.next_publication().await;
    let name = event.event.as_str().unwrap().to_owned();
    (name, event.message["user"].clone(), event.message["count"].as_u64().unwrap_or(0))
}

async fn enters(browser: &mut Browser, user: &str, count: u64) {
    assert_eq!(next(browser).await, ("nodevent:enter".to_owned(), json!(user), count));
}

async fn leaves(browser: &mut Browser, user: &str, count: u64) {
    assert_eq!(next(browser).await, ("nodevent:leave".to_owned(), json!(user), count));
}

/// The members of a room as its members see them: users and their connections, by name.
async fn list(browser: &mut Browser, room: &str) -> Value {
    let ack = browser.call("presence", &[json!({"room": room})]).await;
    assert!(ack[0].is_null(), "{ack}");
    ack[1].clone()
}

fn users(list: &Value) -> Vec<(String, u64)> {
    let members = list["members"].as_array().unwrap().iter();
    let mut users: Vec<_> = members
        .map(|one| (one["user"].as_str().unwrap().to_owned(), one["connections"].as_u64().unwrap()))
        .collect();
    users.sort();
    assert_eq!(list["count"], users.len());
    users
}

fn some(users: &[(&str, u64)]) -> Vec<(String, u64)> {
    users.iter().map(|(user, connections)| ((*user).to_owned(), *connections)).collect()
}

/// Connections of a user share a topic, which is no room with members.
#[tokio::test]
async fn users_are_present_in_rooms_and_not_in_what_is_published_to_them() {
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server =
            TestServer::start(&format!("/nodevent: {{open: true, {TOKENS}, presence: true{engine}}}\n")).await;
        server.ready().await;
        let mut browser = joined(&server, "a", "room").await;
        enters(&mut browser, "a", 1).await;
        assert_eq!(server.metric("nodevent_presence_members").await, 1, "{engine}");
    }
}

#[tokio::test]
async fn members_are_users_and_the_room_receives_who_enters_and_leaves() {
    let (_redis, servers) = servers_on_both_engines().await;
    for (engine, server) in servers {
        let mut a = joined(&server, "a", "room").await;
        let event = a.next_publication().await;
        assert_eq!(event.message, json!({"user": "a", "info": {"name": "A"}, "count": 1}), "{engine}");
        assert!(event.publication["position"].is_string(), "{engine}: a publication like any other");
        let mut b = joined(&server, "b", "room").await;
        enters(&mut a, "b", 2).await;
        enters(&mut b, "b", 2).await;
        // A second tab is the same member; a connection without a user is none, and receives the events all the same.
        let tab = joined(&server, "b", "room").await;
        let mut anonymous = connect(&server, None).await;
        anonymous.join("room").await;
        let listed = list(&mut a, "room").await;
        assert_eq!(users(&listed), some(&[("a", 1), ("b", 2)]), "{engine}");
        assert_eq!((&listed["large"], &listed["complete"]), (&json!(false), &json!(true)));
        let mut infos: Vec<_> =
            listed["members"].as_array().unwrap().iter().map(|one| &one["info"]["name"]).collect();
        infos.sort_by_key(|info| info.to_string());
        assert_eq!(infos, ["A", "B"]);
        assert_eq!(users(&list(&mut anonymous, "room").await).len(), 2);
        // One of two tabs is closed: nothing happens. The other one is: the user leaves.
        tab.close().await;
        b.close().await;
        leaves(&mut a, "b", 1).await;
        leaves(&mut anonymous, "b", 1).await;
        anonymous.close().await;
        a.receives_nothing_else(&server).await;
        a.leave("room").await;
        let metric = async || server.metric("nodevent_presence_members").await;
        until("no user is present", async || metric().await == 0).await;
        assert!(server.metric("nodevent_presence_events_total").await >= 3);
    }
}

#[tokio::test]
async fn a_reload_is_neither_a_leave_nor_an_enter() {
    let (_redis, servers) = servers_on_both_engines().await;
    for (engine, server) in servers {
        let mut a = joined(&server, "a", "room").await;
        enters(&mut a, "a", 1).await;
        let mut b = joined(&server, "b", "room").await;
        enters(&mut a, "b", 2).await;
        enters(&mut b, "b", 2).await;
        for _ in 0..3 {
            b.close().await;
            until("the connection has ended", async || server.metric("nodevent_connections").await == 1).await;
            // The user stays in the list meanwhile.
            let listed = list(&mut a, "room").await;
            assert_eq!(listed["count"], 2, "{engine}");
            b = joined(&server, "b", "room").await;
        }
        a.receives_nothing_else(&server).await;
        assert_eq!(users(&list(&mut a, "room").await), some(&[("a", 1), ("b", 1)]));
        let began = Instant::now();
        b.close().await;
        leaves(&mut a, "b", 1).await;
        assert!(began.elapsed() >= GRACE - Duration::from_millis(100), "{engine}: {:?}", began.elapsed());
    }
}

/// One user is connected to both servers, and other users to one of them.
#[tokio::test]
async fn two_servers_share_who_is_in_a_room() {
    for more in ["", ", history: off", ", channel_per_room: true"] {
        let redis = RedisServer::start().await;
        let servers = [server_on(&redis, more).await, server_on(&redis, more).await];
        let mut a = joined(&servers[0], "a", "room").await;
        enters(&mut a, "a", 1).await;
        let mut b = joined(&servers[1], "b", "room").await;
        enters(&mut a, "b", 2).await;
        enters(&mut b, "b", 2).await;
        let a_elsewhere = joined(&servers[1], "a", "room").await;
        until("both connections are listed", async || {
            users(&list(&mut b, "room").await) == some(&[("a", 2), ("b", 1)])
        })
        .await;
        // The user moves from one server to the other, without an event.
        a.close().await;
        let mut c = joined(&servers[0], "c", "room").await;
        enters(&mut c, "c", 3).await;
        enters(&mut b, "c", 3).await;
        tokio::time::sleep(GRACE + Duration::from_millis(500)).await;
        assert_eq!(users(&list(&mut c, "room").await), some(&[("a", 1), ("b", 1), ("c", 1)]), "{more}");
        a_elsewhere.close().await;
        leaves(&mut c, "a", 2).await;
        leaves(&mut b, "a", 2).await;
        b.receives_nothing_else(&servers[0]).await;
    }
}

#[tokio::test]
async fn large_rooms_have_a_count_only_and_become_small_again() {
    let (_redis, servers) = servers_on_both_engines().await;
    for (engine, server) in servers {
        let mut a = joined(&server, "a", "room").await;
        enters(&mut a, "a", 1).await;
        let mut others = Vec::new();
        for (number, user) in ["b", "c"].into_iter().enumerate() {
            others.push(joined(&server, user, "room").await);
            enters(&mut a, user, 2 + number as u64).await;
        }
        for user in ["d", "e", "f", "g"] {
            others.push(joined(&server, user, "room").await);
        }
        let event = a.next_publication().await;
        assert_eq!((&event.event, &event.message["large"]), (&json!("nodevent:count"), &json!(true)), "{engine}");
        // The number follows, but not each of them.
        let mut events = 1;
        let mut count = event.message["count"].clone();
        while count != 7 {
            let event = a.next_publication().await;
            assert_eq!(event.event, "nodevent:count", "{engine}");
            count = event.message["count"].clone();
            events += 1;
        }
        assert!(events <= 3, "{engine}: {events} counts");
        let large = json!({"count": 7, "large": true, "complete": false, "members": []});
        assert_eq!(list(&mut a, "room").await, large, "{engine}");
        // All but two leave: the room is small again, and lists with info.
        others.truncate(1);
        let mut event = a.next_publication().await;
        while event.message["large"] != false {
            event = a.next_publication().await;
        }
        assert_eq!(event.event, "nodevent:count");
        until("the info of all members is known", async || {
            let list = list(&mut a, "room").await;
            list["count"] == 2 && list["members"].as_array().unwrap().iter().all(|one| one["info"].is_object())
        })
        .await;
    }
}

/// How many users enter, unless the machine is slow.
const CROWD: u64 = 10_000;
/// Connections over which their sessions are opened, and the time for it.
const DOORS: u64 = 8;
const ENTERING: Duration = Duration::from_secs(15);

/// Users enter one after another, each with a session of long-polling. What a member receives does not grow with their
/// number: the first of them, until the room is large, and then a count every two seconds.
#[tokio::test]
async fn ten_thousand_members_cost_each_member_a_bounded_number_of_events() {
    const MAX_SIZE: u64 = 100;
    let presence = format!("presence: {{rooms: [\"room*\"], max_size: {MAX_SIZE}}}");
    let ping = "ping: {interval: 5m, timeout: 5m}";
    let server = TestServer::start(&format!("{ping}\n/nodevent: {{open: true, {TOKENS}, {presence}}}\n")).await;
    let mut watcher = joined(&server, "watcher", "room").await;
    let began = Instant::now();
    let entered = join_all((0..DOORS).map(async |door| {
        let mut stream = server.dial().await;
        let path = "/socket.io/?EIO=4&transport=polling";
        let mut entered = 0;
        for number in (door..CROWD).step_by(DOORS as usize) {
            if began.elapsed() > ENTERING {
                break;
            }
            let opened = Request::get(path).exchange(&mut stream, &server.address).await.expect("a session");
            let handshake: Value = serde_json::from_str(&opened.text()[1..]).expect("an open packet");
            let auth = json!({"token": token(json!({"sub": number.to_string()}))});
            let packets = format!("40/nodevent,{auth}\u{1e}42/nodevent,[\"join\",{{\"room\":\"room\"}}]");
            let request = Request::post(&format!("{path}&sid={}", handshake["sid"].as_str().unwrap()), packets);
            let response = request.exchange(&mut stream, &server.address).await.expect("a response");
            assert_eq!(response.status, 200, "{}", response.text());
            entered += 1;
        }
        entered
    }));
    let members = 1 + entered.await.into_iter().sum::<u64>();
    assert!(members > 10 * MAX_SIZE, "the machine is too slow: {members} members");
    let (mut enters, mut counts, mut last) = (0, 0, 0);
    while last != members {
        let (name, _, count) = next(&mut watcher).await;
        match &*name {
            "nodevent:enter" => enters += 1,
            "nodevent:count" => counts += 1,
            _ => panic!("{name}"),
        }
        last = count;
    }
    let max_counts = 2 + began.elapsed().as_secs() / 2;
    println!("{members} members: {enters} enter, {counts} counts");
    assert_eq!(enters, MAX_SIZE);
    assert!(counts <= max_counts, "{counts} counts, and at most {max_counts} are due");
    watcher.receives_nothing_else(&server).await;
    server.metric_is("nodevent_presence_members", members as i64).await;
}

#[tokio::test]
async fn lists_are_for_members_and_for_holders_of_a_key() {
    let more = ", bound_keys: accept";
    let secured = |engine: &str| {
        format!(
            "/nodevent: {{secret: a-secret-for-room-keys, {TOKENS}, {PRESENCE}{more}{engine}}}\n/other: {{open: true}}\n"
        )
    };
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server = TestServer::start(&secured(&engine)).await;
        server.ready().await;
        let key = |room: &str| key(room, LATER, "a-secret-for-room-keys");
        let mut a = connect(&server, Some(("a", json!(null)))).await;
        // Before it joins, it learns nothing, not even whether the room exists.
        for room in [json!("room"), json!("room2"), json!("other")] {
            assert_eq!(a.call("presence", &[json!({"room": room})]).await, json!(["Not a member"]));
        }
        for bad in [json!({}), json!({"room": ""}), json!({"room": {"a": 1}}), json!(null)] {
            assert_eq!(a.call("presence", &[bad]).await, json!(["Bad room"]));
        }
        assert_eq!(a.join_with("room", key("room")).await[1], true);
        enters(&mut a, "a", 1).await;
        assert_eq!(users(&list(&mut a, "room").await), some(&[("a", 1)]));
        assert_eq!(a.join_with("other", key("other")).await[1], true);
        assert_eq!(a.call("presence", &[json!({"room": "other"})]).await, json!(["No presence in this room"]));
        // Over HTTP.
        let path = |room: &str| format!("/api/nodevent/rooms/{room}/presence");
        let response = server.get(&format!("{}?key={}", path("room"), key("room"))).await;
        assert_eq!((response.status, users(&response.json())), (200, some(&[("a", 1)])));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(server.get(&path("room")).await.status, 403);
        assert_eq!(server.get(&format!("{}?key={}", path("room"), key("room2"))).await.status, 403);
        let empty = server.get(&format!("{}?key={}", path("room2"), key("room2"))).await.json();
        assert_eq!(empty, json!({"count": 0, "large": false, "complete": true, "members": []}));
        let missing = server.get(&format!("{}?key={}", path("other"), key("other"))).await;
        assert_eq!((missing.status, missing.json()["error"].clone()), (404, json!("this room has no presence")));
        assert_eq!(server.get("/api/other/rooms/room/presence").await.status, 404);
        // After it has left, it is no member any more.
        a.leave("room").await;
        assert_eq!(a.call("presence", &[json!({"room": "room"})]).await, json!(["Not a member"]));
    }
}

#[tokio::test]
async fn a_token_that_comes_later_makes_a_member_and_a_new_one_changes_its_info() {
    let (_redis, servers) = servers_on_both_engines().await;
    for (engine, server) in servers {
        let mut a = connect(&server, None).await;
        a.join("room").await;
        assert_eq!(list(&mut a, "room").await["count"], 0, "{engine}");
        let renew = |info: &str| json!({"token": token(json!({"sub": "a", "info": {"name": info}}))});
        assert_eq!(a.call("token", &[renew("first")]).await[0], json!(null));
        enters(&mut a, "a", 1).await;
        assert_eq!(a.call("token", &[renew("second")]).await[0], json!(null));
        until("the list has the new info", async || {
            list(&mut a, "room").await["members"][0]["info"]["name"] == "second"
        })
        .await;
        a.receives_nothing_else(&server).await;
    }
}

#[tokio::test]
async fn limits_keep_users_out_of_presence_and_not_out_of_the_room() {
    let limits = "limits: {max_present_per_room: 2, max_present: 3, max_presence_info: 8}\n";
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server = TestServer::start(&format!("{limits}{}", namespace(&engine))).await;
        server.ready().await;
        let mut a = joined(&server, "a", "room").await;
        let event = a.next_publication().await;
        assert_eq!(event.message, json!({"user": "a", "info": null, "count": 1}), "info of more than 8 bytes");
        let _b = joined(&server, "b", "room").await;
        enters(&mut a, "b", 2).await;
        let mut c = joined(&server, "c", "room").await;
        server.metric_is("nodevent_presence_rejected_total", 1).await;
        assert_eq!(users(&list(&mut c, "room").await), some(&[("a", 1), ("b", 1)]));
        server.emit("/nodevent", "room", "e", 1).await;
        assert_eq!(c.next_publication().await.message, 1, "it is a member of the room");
        drop(c);
        until("the connection has ended", async || server.metric("nodevent_connections").await == 2).await;
        assert_eq!(a.next_publication().await.message, 1);
        a.receives_nothing_else(&server).await;
    }
}

/// A request for the members of a room counts against the rate of joins.
#[tokio::test]
async fn client_that_asks_without_pause_is_limited_and_others_are_not() {
    let limits = "limits: {max_rooms_per_connection: 4, joins_per_second: 1}\n";
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server = TestServer::start(&format!("{limits}{}", namespace(&engine))).await;
        server.ready().await;
        let mut a = joined(&server, "a", "room").await;
        enters(&mut a, "a", 1).await;
        let mut rejected = 0;
        for _ in 0..20 {
            let ack = a.call("presence", &[json!({"room": "room"})]).await;
            rejected += usize::from(ack == json!(["Too many requests"]));
        }
        assert!((10..=17).contains(&rejected), "{rejected} of 20");
        let mut b = joined(&server, "b", "room").await;
        assert_eq!(list(&mut b, "room").await["count"], 2);
    }
}

/// A server is killed: another one with members in the room removes its members within the lease, each once.
#[tokio::test]
async fn members_of_a_killed_server_leave_within_the_lease() {
    let redis = RedisServer::start().await;
    let server = server_on(&redis, "").await;
    let folder = tempfile::tempdir().unwrap();
    let listening = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\n";
    let written = format!("{listening}{}", namespace(&format!(", redis: \"{}\"", redis.url())));
    let other = Program::serve(folder.path(), &written).await;
    let site = other.site().await;
    until("the other server is ready", async || site.get("/readyz").await.status == 200).await;
    let mut a = joined(&server, "a", "room").await;
    enters(&mut a, "a", 1).await;
    let mut b = Browser::open(&site, Transport::WebSocket).await;
    let auth = json!({"token": token(json!({"sub": "b"}))}).to_string();
    b.enter_with("/nodevent", &auth).await.unwrap();
    b.join("room").await;
    enters(&mut a, "b", 2).await;
    other.kill().await;
    // The times are those of Redis, so that a busy machine delays the test and does not fail it. A server that lives renews
    // its lease, so the first one that ends is that of the killed server, or ends before it.
    let now = || (crate::support::tokens::now() * 1000.0) as i64;
    let first = "return math.floor(tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]))";
    let lease = redis.call(&["EVAL", first, "1", "nodevent:1:{9:/nodevent:4:room}:presence:leases"]).await;
    let lease: i64 = lease.strip_prefix(':').and_then(|end| end.parse().ok()).unwrap_or_else(|| panic!("{lease}"));
    assert!(lease <= now() + 3000, "the lease ends {} ms from now", lease - now());
    leaves(&mut a, "b", 1).await;
    assert!(now() >= lease, "the members left {} ms before the lease has ended", lease - now());
    a.receives_nothing_else(&server).await;
}

/// Redis loses everything. The members return without an event, and nothing is left of them when they have left.
#[tokio::test]
async fn members_return_after_redis_has_lost_them_without_an_event() {
    let mut redis = RedisServer::start().await;
    let servers = [server_on(&redis, ", history: off").await, server_on(&redis, ", history: off").await];
    let mut a = joined(&servers[0], "a", "room").await;
    enters(&mut a, "a", 1).await;
    let b = joined(&servers[1], "b", "room").await;
    enters(&mut a, "b", 2).await;
    for _ in 0..2 {
        redis.stop();
        assert_eq!(a.call("presence", &[json!({"room": "room"})]).await, json!(["Presence is unavailable"]));
        redis.start_again().await;
        in_time("the members are back", async {
            loop {
                let ack = a.call("presence", &[json!({"room": "room"})]).await;
                if ack[0].is_null() && ack[1]["count"] == 2 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        servers[0].ready().await;
        a.receives_nothing_else(&servers[0]).await;
    }
    b.close().await;
    leaves(&mut a, "b", 1).await;
    a.close().await;
    let keys = || {
        let output = redis_cli().args(["-p", &redis.port.to_string(), "keys", "*presence*"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    until("nothing is left in Redis", async || keys().is_empty()).await;
}

/// The clock of Redis jumps, which is the same as times in Redis that are an hour too late or too early. No user leaves, and
/// the times are right again after one call.
#[tokio::test]
async fn no_user_leaves_when_the_clock_of_redis_jumps() {
    let redis = RedisServer::start().await;
    let servers = [server_on(&redis, "").await, server_on(&redis, "").await];
    let mut a = joined(&servers[0], "a", "room").await;
    enters(&mut a, "a", 1).await;
    let b = joined(&servers[1], "b", "room").await;
    enters(&mut a, "b", 2).await;
    let key = "nodevent:1:{9:/nodevent:4:room}:presence";
    for hours in [1, -1] {
        let millis = (crate::support::tokens::now() * 1000.0) as i64 + hours * 3_600_000;
        let script = "redis.call('HSET', KEYS[2], 't', ARGV[1])
            for _, one in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], ARGV[1], one) end
            return 1";
        let leases = format!("{key}:leases");
        assert_eq!(redis.call(&["EVAL", script, "2", &leases, key, &millis.to_string()]).await, ":1");
        until("both leases are right again", async || {
            let output = redis_cli()
                .args(["-p", &redis.port.to_string(), "ZRANGE", &format!("{key}:leases"), "0", "-1", "WITHSCORES"])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let ends: Vec<f64> = text.lines().skip(1).step_by(2).map(|end| end.parse().unwrap()).collect();
            let now = crate::support::tokens::now() * 1000.0;
            ends.len() == 2 && ends.iter().all(|end| (now - 500.0..now + 10_000.0).contains(end))
        })
        .await;
        a.receives_nothing_else(&servers[0]).await;
        assert_eq!(users(&list(&mut a, "room").await), some(&[("a", 1), ("b", 1)]));
    }
    b.close().await;
    leaves(&mut a, "b", 1).await;
}
