//! The protocol `action_cable` for clients of AnyCable with `actioncable-v1-ext-json`: sessions, history by time, presence and
//! whispers.

use crate::support::cable::{
    ANYCABLE, Cable, EXTENDED, RAILS, STREAM_KEY, command, confirmed, message, rejected, signed, turbo,
};
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::until;
use crate::support::{RedisServer, TestServer};
use nodevent_protocol::action_cable::signed_name::sign_json;
use nodevent_protocol::key::Secret;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Servers of one namespace.
async fn start(redis: Option<&RedisServer>, count: usize, namespace: &str, cable: &str) -> Vec<TestServer> {
    let engine = redis.map(|redis| format!(", redis: \"{}\"", redis.url())).unwrap_or_default();
    let cable = format!("action_cable: {{signed_stream_key: {STREAM_KEY}{cable}}}");
    let mut servers = Vec::new();
    for _ in 0..count {
        let configuration = format!("/cable: {{protocol: action_cable{engine}{namespace}, {cable}}}\n");
        let server = TestServer::start(&configuration).await;
        server.ready().await;
        servers.push(server);
    }
    servers
}

/// One server with the memory engine, and two that share Redis.
async fn engines(namespace: &str, cable: &str) -> (RedisServer, Vec<Vec<TestServer>>) {
    let redis = RedisServer::start().await;
    let all = vec![start(None, 1, namespace, cable).await, start(Some(&redis), 2, namespace, cable).await];
    (redis, all)
}

const TOKENS: &str = "required: true, query: jid";

fn tokens() -> String {
    format!(", token: {{secret: {TOKEN_SECRET}, {TOKENS}}}")
}

/// Connects, and returns the welcome.
async fn open(server: &TestServer, path: &str) -> (Cable, Value) {
    let mut client = Cable::open(server, path, EXTENDED).await;
    let welcome = client.next().await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    (client, welcome)
}

/// Connects as a user.
async fn user(server: &TestServer, id: &str) -> Cable {
    open(server, &format!("/cable?jid={}", token(json!({"sub": id})))).await.0
}

/// A command with further members.
fn with(name: &str, identifier: &str, more: &Value) -> String {
    let mut command = json!({"command": name, "identifier": identifier});
    for (name, value) in more.as_object().into_iter().flatten() {
        command[name] = value.clone();
    }
    command.to_string()
}

fn result(kind: &str, identifier: &str) -> Value {
    json!({"identifier": identifier, "type": kind})
}

fn presence(identifier: &str, message: Value) -> Value {
    json!({"type": "presence", "identifier": identifier, "message": message})
}

/// Waits until Redis has as many sessions.
async fn sessions_are(redis: Option<&RedisServer>, count: usize) {
    let Some(redis) = redis else { return };
    until("the session is stored", async || {
        let count_keys = "return #redis.call('KEYS', 'nodevent:1:cable:*')";
        redis.call(&["EVAL", count_keys, "0"]).await == format!(":{count}")
    })
    .await;
}

#[tokio::test]
async fn a_client_that_comes_back_continues_with_its_session() {
    let (redis, engines) = engines("", "").await;
    for servers in engines {
        let redis = (servers.len() > 1).then_some(&redis);
        let (here, there) = (&servers[0], &servers[servers.len() - 1]);
        let (one, two) = (turbo("one"), turbo("two"));
        let (mut client, welcome) = open(here, "/cable").await;
        for identifier in [&one, &two] {
            client.subscribe(identifier).await;
        }
        here.emit("/cable", "one", "e", 1).await;
        let first = client.next().await;
        drop(client);
        here.metric_is("nodevent_rooms", 0).await;
        sessions_are(redis, 1).await;
        for number in 2..=4 {
            here.emit("/cable", "one", "e", number).await;
        }
        let sid = welcome["sid"].as_str().unwrap();
        let (mut client, again) = open(there, &format!("/cable?sid={sid}")).await;
        assert_eq!((&again["restored"], &again["restored_ids"]), (&json!(true), &json!([one, two])));
        assert!(again["sid"].is_string() && again["sid"] != welcome["sid"]);
        // Until the client has said what it has, nothing overtakes what it has missed.
        here.emit("/cable", "one", "e", 5).await;
        let history =
            json!({"history": {"streams": {"one": {"epoch": first["epoch"], "offset": first["offset"]}}}});
        client.send(&with("history", &one, &history)).await;
        for number in 2..=5 {
            assert_eq!(client.next().await["message"], number);
        }
        assert_eq!(client.next().await, result("confirm_history", &one));
        client.send(&command("history", &two)).await;
        assert_eq!(client.next().await, result("confirm_history", &two));
        there.emit("/cable", "two", "e", 6).await;
        assert_eq!(client.next().await["message"], 6);
        // A session is restored once.
        let (_, third) = open(there, &format!("/cable?sid={sid}")).await;
        assert_eq!(third["restored"], Value::Null, "{third}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_receives_what_follows() {
    let server = &start(None, 1, "", "").await[0];
    let identifier = turbo("posts");
    let (mut client, welcome) = open(server, "/cable").await;
    client.subscribe(&identifier).await;
    drop(client);
    server.metric_is("nodevent_rooms", 0).await;
    let (mut client, again) = open(server, &format!("/cable?sid={}", welcome["sid"].as_str().unwrap())).await;
    assert_eq!(again["restored"], true);
    server.metric_is("nodevent_rooms", 1).await;
    server.emit("/cable", "posts", "e", 1).await;
    assert_eq!(client.next().await["message"], 1);
}

#[tokio::test]
async fn a_restored_subscription_beyond_a_limit_is_rejected() {
    let cable = format!("/cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}");
    let limits = "limits: {joins_per_second: 1, max_rooms_per_connection: 5}";
    let server = TestServer::start(&format!("{limits}\n{cable}\n")).await;
    let identifier = turbo("posts");
    let (mut client, welcome) = open(&server, "/cable").await;
    client.subscribe(&identifier).await;
    drop(client);
    server.metric_is("nodevent_rooms", 0).await;
    let (mut client, again) = open(&server, &format!("/cable?sid={}", welcome["sid"].as_str().unwrap())).await;
    assert_eq!(again["restored_ids"], json!([identifier]));
    for number in 0..5 {
        client.subscribe(&turbo(&format!("other-{number}"))).await;
    }
    client.send(&command("history", &identifier)).await;
    assert_eq!(client.next().await, rejected(&identifier));
}

#[tokio::test]
async fn a_session_is_that_of_its_user_and_is_admitted_again() {
    let server = &start(None, 1, &tokens(), "").await[0];
    let soon = sign_json(
        r#"{"_rails":{"data":"posts","exp":"2999-01-01T00:00:00.000Z"}}"#,
        &Secret::new(STREAM_KEY).unwrap(),
    );
    let identifier = json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": soon}).to_string();
    let path = |claims: Value, sid: &str| format!("/cable?jid={}&sid={sid}", token(claims));
    let session = async || {
        let (mut client, welcome) = open(server, &path(json!({"sub": "42"}), "")).await;
        client.subscribe(&identifier).await;
        drop(client);
        server.metric_is("nodevent_rooms", 0).await;
        welcome["sid"].as_str().unwrap().to_owned()
    };
    let sid = session().await;
    let (_, other) = open(server, &path(json!({"sub": "43"}), &sid)).await;
    assert_eq!(other["restored"], Value::Null, "another user: {other}");
    let mut expired = Cable::open(server, &path(json!({"sub": "42", "exp": 1_000_000_000}), &sid), EXTENDED).await;
    let disconnect = json!({"type": "disconnect", "reason": "token_expired", "reconnect": false});
    assert_eq!(expired.next().await, disconnect);
    let (_, own) = open(server, &path(json!({"sub": "42"}), &sid)).await;
    assert_eq!(own["restored_ids"], json!([identifier]));
    // Clients that are no browsers name it in a header.
    let sid = session().await;
    let headers = [("Sec-WebSocket-Protocol", EXTENDED), ("X-ANYCABLE-RESTORE-SID", sid.as_str())];
    let without = format!("/cable?jid={}", token(json!({"sub": "42"})));
    let mut own = Cable::open_with(server, &without, &headers).await;
    assert_eq!(own.next().await["restored_ids"], json!([identifier]));
    // Clients of the other protocol have no sessions.
    let sid = session().await;
    let mut rails = Cable::open(server, &path(json!({"sub": "42"}), &sid), RAILS).await;
    assert_eq!(rails.next().await, json!({"type": "welcome"}));
    for rubbish in ["", "x", "../..", &"0".repeat(32)] {
        let (_, welcome) = open(server, &path(json!({"sub": "42"}), rubbish)).await;
        assert_eq!(welcome["restored"], Value::Null, "{rubbish}");
    }
}

#[tokio::test]
async fn what_was_published_since_a_time_is_sent_once() {
    let (_redis, mut engines) = engines("", "").await;
    let other = RedisServer::start().await;
    engines.push(start(Some(&other), 2, ", channel_per_room: true", "").await);
    for servers in engines {
        let server = &servers[0];
        let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for number in 1..=3 {
            server.emit("/cable", "posts", "e", number).await;
        }
        let before = seconds();
        until("the next second", async || seconds() > before).await;
        let since = seconds();
        for number in 4..=6 {
            server.emit("/cable", "posts", "e", number).await;
        }
        let identifier = turbo("posts");
        for (since, first) in [(since, 4), (0, 1), (since + 3600, 7)] {
            let mut client = Cable::connect(server, EXTENDED).await;
            client
                .send(&with("subscribe", &identifier, &json!({"history": {"since": since, "streams": {}}})))
                .await;
            for number in first..=6 {
                let frame = client.next().await;
                assert_eq!((&frame["message"], &frame["offset"]), (&json!(number), &json!(number)), "{since}");
            }
            assert_eq!(client.next().await, confirmed(&identifier));
            assert_eq!(client.next().await, result("confirm_history", &identifier));
            server.emit("/cable", "other", "e", "not for it").await;
            client.receives_nothing_else().await;
        }
        // A stream to which nothing was ever published.
        let quiet = turbo("quiet");
        let mut client = Cable::connect(server, EXTENDED).await;
        client.send(&with("subscribe", &quiet, &json!({"history": {"since": 0}}))).await;
        assert_eq!(client.next().await, confirmed(&quiet));
        assert_eq!(client.next().await, result("confirm_history", &quiet));
        // The position of a stream counts more than the time.
        let history = json!({"history": {"since": 0, "streams": {"posts": {"epoch": "x", "offset": 1}}}});
        client.send(&with("subscribe", &identifier, &history)).await;
        assert_eq!(client.next().await, confirmed(&identifier));
        assert_eq!(client.next().await, result("reject_history", &identifier));
    }
}

#[tokio::test]
async fn a_time_that_the_history_does_not_reach_back_to_is_rejected() {
    let (_redis, engines) = engines(", history: {size: 2}", "").await;
    for servers in engines {
        for number in 1..=3 {
            servers[0].emit("/cable", "posts", "e", number).await;
        }
        let identifier = turbo("posts");
        let mut client = Cable::connect(&servers[0], EXTENDED).await;
        client.send(&with("subscribe", &identifier, &json!({"history": {"since": 0}}))).await;
        assert_eq!(client.next().await, confirmed(&identifier));
        assert_eq!(client.next().await, result("reject_history", &identifier));
        servers[0].emit("/cable", "posts", "e", 4).await;
        assert_eq!(client.next().await["message"], 4);
    }
}

#[tokio::test]
async fn members_of_a_stream_know_who_enters_and_leaves() {
    let (_redis, engines) = engines(&format!("{}, presence: {{grace: 0s}}", tokens()), "").await;
    for servers in engines {
        let (here, there) = (&servers[0], &servers[servers.len() - 1]);
        let identifier = turbo("chat");
        let mut ada = user(here, "ada").await;
        ada.subscribe(&identifier).await;
        let list = with("presence", &identifier, &json!({"data": {"return_records": true}}));
        ada.send(&list).await;
        let none = json!({"type": "info", "total": 0, "records": []});
        assert_eq!(ada.next().await, presence(&identifier, none), "a subscription alone is not a presence");
        let join = json!({"presence": {"id": "ada", "info": {"name": "Ada"}}});
        ada.send(&with("join", &identifier, &join)).await;
        let joined = json!({"type": "join", "id": "ada", "info": {"name": "Ada"}});
        assert_eq!(ada.next().await, presence(&identifier, joined));
        // Also with the subscription itself.
        let mut bob = user(there, "bob").await;
        bob.send(&with("subscribe", &identifier, &json!({"presence": {"id": "bob"}}))).await;
        assert_eq!(bob.next().await, confirmed(&identifier));
        let joined = presence(&identifier, json!({"type": "join", "id": "bob", "info": null}));
        assert_eq!((ada.next().await, bob.next().await), (joined.clone(), joined));
        ada.send(&list).await;
        let mut info = ada.next().await;
        let records = info["message"]["records"].as_array_mut().unwrap();
        records.sort_by_key(|record| record["id"].to_string());
        let records = json!([{"id": "ada", "info": {"name": "Ada"}}, {"id": "bob", "info": null}]);
        assert_eq!(info, presence(&identifier, json!({"type": "info", "total": 2, "records": records})));
        ada.send(&with("presence", &identifier, &json!({"data": {"return_records": false}}))).await;
        assert_eq!(ada.next().await, presence(&identifier, json!({"type": "info", "total": 2})));
        // Leaving is not unsubscribing.
        bob.send(&command("leave", &identifier)).await;
        let left = |id: &str| presence(&identifier, json!({"type": "leave", "id": id}));
        assert_eq!((ada.next().await, bob.next().await), (left("bob"), left("bob")));
        here.emit("/cable", "chat", "e", 1).await;
        for client in [&mut ada, &mut bob] {
            assert_eq!(client.next().await["message"], 1);
        }
        ada.send(&command("unsubscribe", &identifier)).await;
        assert_eq!(bob.next().await, left("ada"));
        // Other clients would take it for a message.
        let path = format!("/cable?jid={}", token(json!({"sub": "eve"})));
        let mut rails = Cable::open(here, &path, RAILS).await;
        assert_eq!(rails.next().await, json!({"type": "welcome"}));
        rails.subscribe(&identifier).await;
        bob.send(&with("join", &identifier, &json!({}))).await;
        while bob.next().await["message"]["id"] != "bob" {}
        here.emit("/cable", "chat", "e", 2).await;
        assert_eq!(rails.next().await, message(&identifier, 2));
    }
}

#[tokio::test]
async fn a_client_is_present_as_itself_and_only_where_that_is_configured() {
    let error = |identifier: &str| presence(identifier, json!({"type": "error"}));
    let identifier = turbo("chat");
    let server = &start(None, 1, &format!("{}, presence: true", tokens()), "").await[0];
    let mut eve = user(server, "eve").await;
    for name in ["join", "presence", "leave"] {
        eve.send(&with(name, &identifier, &json!({"presence": {"id": "eve"}}))).await;
    }
    assert_eq!(eve.next().await, error(&identifier), "a list of a stream that she has not subscribed to");
    eve.subscribe(&identifier).await;
    eve.send(&with("join", &identifier, &json!({"presence": {"id": "ada"}}))).await;
    assert_eq!(eve.next().await, error(&identifier), "another user");
    eve.receives_nothing_else().await;
    for (namespace, path) in [
        (tokens(), format!("/cable?jid={}", token(json!({"sub": "eve"})))),
        (", presence: true".to_owned(), "/cable".to_owned()),
    ] {
        let server = &start(None, 1, &namespace, "").await[0];
        let (mut client, _) = open(server, &path).await;
        client.subscribe(&identifier).await;
        client.send(&with("join", &identifier, &json!({"presence": {"id": "eve"}}))).await;
        assert_eq!(client.next().await, error(&identifier), "{namespace}");
    }
}

#[tokio::test]
async fn whispers_reach_the_other_subscribers_and_no_history() {
    let (_redis, mut engines) = engines("", ", whispers: true").await;
    let other = RedisServer::start().await;
    engines.push(start(Some(&other), 2, ", channel_per_room: true", ", whispers: true").await);
    for servers in engines {
        let (here, there) = (&servers[0], &servers[servers.len() - 1]);
        let identifier = json!({"channel": "$pubsub", "signed_stream_name": signed("chat")}).to_string();
        let (mut one, mut two) = (Cable::connect(here, EXTENDED).await, Cable::connect(there, EXTENDED).await);
        let mut other = Cable::connect(there, ANYCABLE).await;
        for client in [&mut one, &mut two, &mut other] {
            client.subscribe(&identifier).await;
        }
        let data = json!({"typing": [1, null, "ü"]});
        one.send(&with("whisper", &identifier, &json!({"data": data}))).await;
        for client in [&mut two, &mut other] {
            assert_eq!(client.next().await, message(&identifier, data.clone()), "without a position");
        }
        here.emit("/cable", "chat", "e", "published").await;
        assert_eq!(one.next().await["offset"], 1, "the sender does not receive it, and no history has it");
        // A client that has not subscribed cannot whisper.
        let mut outsider = Cable::connect(here, EXTENDED).await;
        outsider.send(&with("whisper", &identifier, &json!({"data": 1}))).await;
        outsider.receives_nothing_else().await;
        assert_eq!(two.next().await["message"], "published");
        two.receives_nothing_else().await;
    }
}

/// Turbo shows what it receives as HTML: a whisper could run scripts in the page of another subscriber.
#[tokio::test]
async fn whispers_reach_no_page_that_shows_them_as_html() {
    let (_redis, engines) = engines("", ", whispers: true").await;
    for servers in engines {
        let (here, there) = (&servers[0], &servers[servers.len() - 1]);
        let own = json!({"channel": "$pubsub", "signed_stream_name": signed("chat")}).to_string();
        let mut attacker = Cable::connect(here, EXTENDED).await;
        attacker.subscribe(&own).await;
        let mut chat = Cable::connect(there, ANYCABLE).await;
        chat.subscribe(&own).await;
        let (page, mut victims) = (turbo("chat"), Vec::new());
        for protocol in [ANYCABLE, EXTENDED] {
            let mut victim = Cable::connect(there, protocol).await;
            victim.subscribe(&page).await;
            victims.push(victim);
        }
        let data = "<turbo-stream action=\"append\" target=\"x\"><template><script>alert(1)</script></template></turbo-stream>";
        attacker.send(&with("whisper", &own, &json!({"data": data}))).await;
        assert_eq!(chat.next().await, message(&own, json!(data)), "others may whisper to each other");
        here.emit("/cable", "chat", "e", "published").await;
        for mut victim in victims {
            assert_eq!(victim.next().await["message"], "published", "the whisper came before");
        }
    }
}

#[tokio::test]
async fn whispers_are_limited_and_off_unless_they_are_configured() {
    let identifier = turbo("chat");
    let whisper = with("whisper", &identifier, &json!({"data": 1}));
    let off = &start(None, 1, "", "").await[0];
    let on = &start(None, 1, "", ", whispers: true").await[0];
    for server in [off, on] {
        let (mut one, mut two) = (Cable::connect(server, EXTENDED).await, Cable::connect(server, EXTENDED).await);
        for client in [&mut one, &mut two] {
            client.subscribe(&identifier).await;
        }
        for _ in 0..90 {
            one.send(&whisper).await;
        }
        one.receives_nothing_else().await;
        assert!(server.metric("nodevent_ignored_commands_total").await > 0);
        if std::ptr::eq(server, off) {
            assert_eq!(server.metric("nodevent_ignored_commands_total").await, 90);
            two.receives_nothing_else().await;
        }
    }
}

#[tokio::test]
async fn malformed_commands_of_the_extended_protocol_get_no_reply_and_close_nothing() {
    let server = &start(None, 1, "", ", whispers: true").await[0];
    let mut client = Cable::connect(server, EXTENDED).await;
    let identifier = turbo("chat");
    client.subscribe(&identifier).await;
    let ignored = [
        r#"{"command":"history"}"#,
        r#"{"command":"history","identifier":1}"#,
        r#"{"command":"whisper"}"#,
        r#"{"command":"whisper","identifier":[],"data":1}"#,
        r#"{"command":"join","identifier":null}"#,
        r#"{"command":"leave"}"#,
        r#"{"command":"presence","data":{}}"#,
        r#"{"command":"Ping"}"#,
        r#"{"command":["pong"]}"#,
        r#"{"command":"join","identifier":"a""#,
    ];
    for text in ignored {
        client.send(text).await;
    }
    client.receives_nothing_else().await;
    server.metric_is("nodevent_ignored_commands_total", ignored.len() as i64).await;
    // Commands for subscriptions that do not exist.
    for name in ["history", "whisper", "join", "leave"] {
        client.send(&with(name, "unknown", &json!({}))).await;
    }
    // What is wrong in a history is as if it were missing, except for a position that cannot be one.
    for history in [json!(null), json!([]), json!({"since": -1}), json!({"since": "x"}), json!({"streams": []})] {
        client.send(&with("history", &identifier, &json!({"history": history}))).await;
        assert_eq!(client.next().await, result("confirm_history", &identifier), "{history}");
    }
    for position in [json!(1), json!({}), json!({"epoch": 1, "offset": 1}), json!({"epoch": "x", "offset": -1})] {
        client.send(&with("history", &identifier, &json!({"history": {"streams": {"chat": position}}}))).await;
        assert_eq!(client.next().await, result("reject_history", &identifier), "{position}");
    }
    client.receives_nothing_else().await;
    assert_eq!(client.call("subscribe", "{}").await, rejected("{}"));
    server.metric_is("nodevent_ignored_commands_total", ignored.len() as i64).await;
}

/// The server is stopped and started again with its store: the session of a connection that it has closed is restored.
#[tokio::test]
async fn a_session_is_restored_after_a_restart_of_a_server_with_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = format!(
        "store: {}\n/cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}\n",
        folder.path().join("data").display()
    );
    let server = TestServer::start(&configuration).await;
    let identifier = turbo("posts");
    let (mut client, welcome) = open(&server, "/cable").await;
    client.subscribe(&identifier).await;
    server.stop().await;
    let server = TestServer::start(&configuration).await;
    let path = format!("/cable?sid={}", welcome["sid"].as_str().unwrap());
    let (client, again) = open(&server, &path).await;
    assert_eq!((&again["restored"], &again["restored_ids"]), (&json!(true), &json!([identifier])));
    drop(client);
    let (_, third) = open(&server, &path).await;
    assert_eq!(third["restored"], Value::Null, "once: {third}");
}
