//! Channels in Ruby, which the application runs: `protocol/README.md` section 17. `spec/nodevent/cable_channels_spec.rb` has
//! the same with an application of Rails.

use crate::support::application::{Application, Behaviour};
use crate::support::cable::{
    ANYCABLE, Cable, EXTENDED, RAILS, STREAM_KEY, command, confirmed, message, rejected, signed, turbo,
};
use crate::support::wait::until;
use crate::support::{RedisServer, Request, TestServer};
use serde_json::{Value, json};
use std::time::Duration;

const CALLS_SECRET: &str = "a-secret-for-calls-of-more-than-32-bytes";
const PUBLISH_KEY: &str = "a-publish-key-of-16-bytes-or-more";
/// What the rooms are called whose revocation ends the connections of the visitor.
const ROOMS: (&str, &str) = ("action_cable_remote/ann", "action_cable_end/ann");

/// The configuration of a namespace with channels, and further keys of it and of `calls`.
fn configuration(application: &Application, namespace: &str, calls: &str) -> String {
    let url = application.url.split("/live").next().unwrap();
    format!(
        "limits: {{max_pending_commands: 3}}\n/cable: {{protocol: action_cable, publish_key: {PUBLISH_KEY}, \
         action_cable: {{signed_stream_key: {STREAM_KEY}}}, \
         calls: {{url: \"{url}\", secret: {CALLS_SECRET}, handlers: /cable/commands{calls}}}{namespace}}}\n"
    )
}

async fn start(application: &Application) -> TestServer {
    let server = TestServer::start(&configuration(application, "", ", timeout: 2s")).await;
    server.ready().await;
    server
}

/// The body of a request for a command.
fn action(name: &'static str) -> &'static str {
    match name {
        "connect" => r#""command":"connect""#,
        "subscribe" => r#""command":"subscribe""#,
        "perform" => r#""command":"perform""#,
        "unsubscribe" => r#""command":"unsubscribe""#,
        _ => r#""command":"disconnect""#,
    }
}

/// The application responds to this command so, and otherwise as before.
fn on(name: &'static str, behaviour: Behaviour, otherwise: Behaviour) -> Behaviour {
    Behaviour::If(action(name), Box::new(behaviour), Box::new(otherwise))
}

fn reply(reply: &Value) -> Behaviour {
    Behaviour::Respond(200, reply.to_string())
}

/// An application that lets everyone in, as Ann, and whose channel streams from `chat`.
fn welcoming() -> Behaviour {
    let rooms = json!({"reconnect": ROOMS.0, "stay_away": ROOMS.1});
    let connected = json!({"status": "ok", "connection": {"identifiers": {"user": "ann"}}, "rooms": rooms});
    let subscribed = json!({"status": "ok", "start": ["chat"], "state": {"n": "1"}, "notify": true});
    on("connect", reply(&connected), on("subscribe", reply(&subscribed), reply(&json!({"status": "ok"}))))
}

async fn emit(server: &TestServer, stream: &str, message: &str) {
    let publication = json!({"room": stream, "event": "e", "message": message}).to_string();
    let request = Request::post("/api/cable/emit", publication);
    let response = server.send(&request.header("Authorization", &format!("Bearer {PUBLISH_KEY}"))).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

fn chat(room: u32) -> String {
    json!({"channel": "ChatChannel", "room": room}).to_string()
}

fn perform(identifier: &str, data: &Value) -> String {
    json!({"command": "message", "identifier": identifier, "data": data.to_string()}).to_string()
}

/// The commands that the application has received: their names and messages.
fn commands(application: &Application) -> Vec<(String, Value)> {
    let body =
        |request: &String| -> Value { serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap() };
    let command = |body: Value| (body["command"].as_str().unwrap().to_owned(), body["message"].clone());
    application.requests().iter().map(body).map(command).collect()
}

#[tokio::test]
async fn the_application_decides_about_a_connection_before_the_welcome() {
    let application = Application::start(welcoming()).await;
    let server = start(&application).await;
    let headers = [("Sec-WebSocket-Protocol", RAILS), ("Cookie", "session=7")];
    let mut client = Cable::open_with(&server, "/cable?token=t%201", &headers).await;
    client.send(&command("subscribe", &chat(1))).await;
    assert_eq!(client.next().await, json!({"type": "welcome"}));
    assert_eq!(client.next().await, confirmed(&chat(1)));
    let (name, message) = commands(&application).remove(0);
    assert_eq!(
        (&*name, &message["query"], &message["connection"]),
        ("connect", &json!("token=t%201"), &json!(null))
    );
    let requests = application.requests();
    assert!(requests[0].contains(r#""type":"command""#), "no message of a client is one");
    let head = requests[0].to_lowercase();
    assert!(head.starts_with("post /cable/commands http/1.1\r\n") && head.contains("\r\ncookie: session=7\r\n"));
    assert!(head.contains("\r\nx-nodevent-signature: t=") && head.contains("\r\nx-nodevent-namespace: /cable\r\n"));
    assert_eq!(commands(&application)[1].1["connection"], json!({"identifiers": {"user": "ann"}}));
}

#[tokio::test]
async fn a_visitor_who_is_rejected_stays_away_and_one_about_whom_is_not_decided_comes_back() {
    for (behaviour, reason, reconnect) in [
        (reply(&json!({"status": "rejected"})), "unauthorized", false),
        (reply(&json!({"status": "error"})), "unavailable", true),
        (Behaviour::Respond(500, String::new()), "unavailable", true),
        (Behaviour::Respond(200, "<html>".to_owned()), "unavailable", true),
        (Behaviour::Close, "unavailable", true),
        (Behaviour::Never, "unavailable", true),
    ] {
        let application = Application::start(behaviour.clone()).await;
        let server = start(&application).await;
        let mut client = Cable::open(&server, "/cable", RAILS).await;
        client.send(&command("subscribe", &turbo("posts"))).await;
        let disconnect = json!({"type": "disconnect", "reason": reason, "reconnect": reconnect});
        assert_eq!(client.next().await, disconnect, "{behaviour:?}");
        assert_eq!(client.ended().await.map(|(code, _)| code), Some(1008), "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_channel_starts_and_stops_streams_transmits_and_keeps_its_state() {
    let redis = RedisServer::start().await;
    for namespace in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let application = Application::start(welcoming()).await;
        let server = TestServer::start(&configuration(&application, &namespace, "")).await;
        server.ready().await;
        let mut client = Cable::rails(&server).await;
        client.subscribe(&chat(1)).await;
        client.subscribe(&chat(2)).await;
        emit(&server, "chat", "hello").await;
        let received = [client.next().await, client.next().await];
        assert!(received.contains(&message(&chat(1), "hello")) && received.contains(&message(&chat(2), "hello")));
        let frame = message(&chat(1), json!({"typing": true}));
        let performed = json!({"status": "ok", "start": ["news"], "stop": ["chat"], "state": {"n": "2"},
            "transmissions": [frame], "connection": {"identifiers": {"user": "bob"}}});
        application.set(on("perform", reply(&performed), reply(&json!({"status": "ok"}))));
        client.send(&perform(&chat(1), &json!({"action": "speak", "text": "<hi>"}))).await;
        assert_eq!(client.next().await, frame);
        client.send(&command("unsubscribe", &chat(2))).await;
        // Runs after the others, so the streams are those of the replies.
        assert_eq!(client.call("subscribe", &chat(1)).await, confirmed(&chat(1)), "confirmed again");
        for stream in ["chat", "news"] {
            emit(&server, stream, stream).await;
        }
        assert_eq!(client.next().await, message(&chat(1), "news"), "{namespace}");
        client.send(&command("unsubscribe", &chat(1))).await;
        until("the last command", async || commands(&application).len() >= 6).await;
        let commands = commands(&application);
        let names: Vec<&str> = commands.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["connect", "subscribe", "subscribe", "perform", "unsubscribe", "unsubscribe"]);
        let (identifiers, ann, bob) =
            (chat(1), json!({"identifiers": {"user": "ann"}}), json!({"identifiers": {"user": "bob"}}));
        let data = json!({"action": "speak", "text": "<hi>"}).to_string();
        let performed = json!({"identifier": identifiers, "state": {"n": "1"}, "streams": ["chat"], "data": data, "connection": ann});
        assert_eq!(commands[3].1, performed);
        let ended = json!({"identifier": identifiers, "state": {"n": "2"}, "streams": ["news"], "connection": bob});
        assert_eq!(commands[5].1, ended);
    }
}

#[tokio::test]
async fn a_connection_that_guesses_channels_is_closed() {
    let application = Application::start(on("subscribe", reply(&json!({"status": "rejected"})), welcoming())).await;
    let configuration = configuration(&application, "", "");
    let limits = "limits: {wrong_keys_per_second_per_address: 1, ";
    let server = TestServer::start(&configuration.replace("limits: {", limits)).await;
    server.ready().await;
    let mut client = Cable::rails(&server).await;
    for number in 0..20 {
        assert_eq!(client.call("subscribe", &chat(number)).await, rejected(&chat(number)));
    }
    let mut number = 20;
    until("the connection is closed", async || {
        number += 1;
        client.send(&command("subscribe", &chat(number))).await;
        client.next().await["type"] == "disconnect"
    })
    .await;
    server.metric_is("nodevent_disconnects_total{reason=\"wrong_keys\"}", 1).await;
}

#[tokio::test]
async fn a_channel_that_rejects_ends_its_subscription() {
    let application = Application::start(on("subscribe", reply(&json!({"status": "rejected"})), welcoming())).await;
    let server = start(&application).await;
    let mut client = Cable::rails(&server).await;
    assert_eq!(client.call("subscribe", &chat(1)).await, rejected(&chat(1)));
    emit(&server, "chat", "secret").await;
    application.set(on("perform", reply(&json!({"status": "rejected"})), welcoming()));
    client.subscribe(&chat(2)).await;
    client.send(&perform(&chat(2), &json!({"action": "leave"}))).await;
    assert_eq!(client.next().await, rejected(&chat(2)));
    emit(&server, "chat", "secret").await;
    client.receives_nothing_else().await;
}

#[tokio::test]
async fn commands_of_a_connection_run_one_after_another_and_streams_of_turbo_do_not_wait_for_them() {
    let slowly = json!({"status": "ok", "start": ["chat"]}).to_string();
    let slow = on("subscribe", Behaviour::Slowly(Duration::from_millis(300), slowly), welcoming());
    let application = Application::start(slow).await;
    let server = start(&application).await;
    let (mut client, mut bystander) = (Cable::rails(&server).await, Cable::rails(&server).await);
    client.send(&command("subscribe", &chat(1))).await;
    // The stock client repeats the command until it is confirmed.
    client.send(&command("subscribe", &chat(1))).await;
    client.send(&perform(&chat(1), &json!({"action": "speak"}))).await;
    client.send(&command("unsubscribe", &chat(1))).await;
    client.subscribe(&turbo("posts")).await;
    bystander.subscribe(&turbo("posts")).await;
    assert_eq!(client.next().await, confirmed(&chat(1)));
    // Runs after all others.
    assert_eq!(client.call("subscribe", &chat(2)).await, confirmed(&chat(2)));
    let commands = commands(&application);
    let names: Vec<&str> = commands.iter().map(|(name, _)| &**name).filter(|name| *name != "connect").collect();
    assert_eq!(names, ["subscribe", "perform", "subscribe"], "the channel does nothing when it ends");
    emit(&server, "chat", "hello").await;
    assert_eq!(client.next().await, message(&chat(2), "hello"));
    client.receives_nothing_else().await;
}

#[tokio::test]
async fn a_command_that_the_application_cannot_run_gets_no_reply_and_changes_nothing() {
    let ok = json!({"status": "ok", "start": ["chat"]});
    for behaviour in [
        Behaviour::Respond(500, ok.to_string()),
        Behaviour::Respond(200, "[]".to_owned()),
        Behaviour::Respond(200, json!({"status": "ok", "start": "chat"}).to_string()),
        Behaviour::Respond(200, json!({"status": "ok", "state": "x".repeat(17_000)}).to_string()),
        Behaviour::Respond(200, json!({"status": "ok", "transmissions": [1]}).to_string()),
        Behaviour::Respond(200, json!({"status": "error", "start": ["chat"]}).to_string()),
        Behaviour::Close,
        Behaviour::Never,
    ] {
        let application = Application::start(on("subscribe", behaviour.clone(), welcoming())).await;
        let server = start(&application).await;
        let mut client = Cable::rails(&server).await;
        client.send(&command("subscribe", &chat(1))).await;
        client.send(&perform(&chat(1), &json!({"action": "speak"}))).await;
        server.metric_is("nodevent_ignored_commands_total", 1).await;
        emit(&server, "chat", "secret").await;
        client.receives_nothing_else().await;
        application.set(welcoming());
        // A breaker that is open lets nothing through for a while, and the client repeats the command.
        let mut subscribed = false;
        while !subscribed {
            client.send(&command("subscribe", &chat(1))).await;
            tokio::select! {
                frame = client.next() => subscribed = frame == confirmed(&chat(1)),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_one_rejects_the_subscription() {
    for name in ["", "\u{1}all", &"x".repeat(256)] {
        let subscribed = json!({"status": "ok", "start": ["chat", name]});
        let application = Application::start(on("subscribe", reply(&subscribed), welcoming())).await;
        let server = start(&application).await;
        let mut client = Cable::rails(&server).await;
        assert_eq!(client.call("subscribe", &chat(1)).await, rejected(&chat(1)), "{name:?}");
        emit(&server, "chat", "secret").await;
        client.receives_nothing_else().await;
    }
}

#[tokio::test]
async fn commands_that_wait_are_limited() {
    let application = Application::start(on("subscribe", Behaviour::Never, welcoming())).await;
    let server = start(&application).await;
    let mut client = Cable::rails(&server).await;
    for room in 0..5 {
        client.send(&command("subscribe", &chat(room))).await;
    }
    assert_eq!(client.ended().await.map(|(code, _)| code), Some(1013));
    server.metric_is("nodevent_disconnects_total{reason=\"too_many_pending_joins\"}", 1).await;
}

#[tokio::test]
async fn subscriptions_without_a_stream_are_limited_too() {
    let quiet = on("subscribe", reply(&json!({"status": "ok"})), welcoming());
    let application = Application::start(quiet).await;
    let configuration = configuration(&application, "", "");
    let limits = configuration.replace("limits: {", "limits: {max_rooms_per_connection: 3, ");
    let server = TestServer::start(&limits).await;
    server.ready().await;
    let mut client = Cable::rails(&server).await;
    for room in 0..3 {
        client.subscribe(&chat(room)).await;
    }
    assert_eq!(client.call("subscribe", &chat(3)).await, rejected(&chat(3)));
    client.send(&command("unsubscribe", &chat(0))).await;
    client.subscribe(&chat(4)).await;
}

#[tokio::test]
async fn the_application_ends_connections_by_revoking_their_rooms_on_every_server() {
    let redis = RedisServer::start().await;
    let namespace = format!(", redis: \"{}\"", redis.url());
    let application = Application::start(welcoming()).await;
    let mut servers = Vec::new();
    for _ in 0..2 {
        let server = TestServer::start(&configuration(&application, &namespace, "")).await;
        server.ready().await;
        servers.push(server);
    }
    for (room, reconnect) in [(ROOMS.0, true), (ROOMS.1, false)] {
        let mut client = Cable::rails(&servers[1]).await;
        client.subscribe(&chat(1)).await;
        let request = Request::post("/api/cable/revoke", json!({"room": room}).to_string());
        let response = servers[0].send(&request.header("Authorization", &format!("Bearer {PUBLISH_KEY}"))).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let disconnect = json!({"type": "disconnect", "reason": "remote", "reconnect": reconnect});
        assert_eq!(client.next().await, disconnect);
        client.ended().await;
        // What was revoked was the connection, and not the visitor.
        Cable::rails(&servers[1]).await.subscribe(&chat(1)).await;
    }
}

#[tokio::test]
async fn a_command_may_end_the_connection() {
    let ended = json!({"status": "ok", "disconnect": {"reconnect": false}});
    let application = Application::start(on("perform", reply(&ended), welcoming())).await;
    let server = start(&application).await;
    let mut client = Cable::rails(&server).await;
    client.subscribe(&chat(1)).await;
    client.send(&perform(&chat(1), &json!({"action": "quit"}))).await;
    assert_eq!(client.next().await, json!({"type": "disconnect", "reason": "remote", "reconnect": false}));
    client.ended().await;
}

#[tokio::test]
async fn the_application_is_notified_of_what_ends_with_a_connection_if_it_wants_to_know() {
    let application = Application::start(welcoming()).await;
    let server = start(&application).await;
    let mut client = Cable::rails(&server).await;
    client.subscribe(&chat(1)).await;
    drop(client);
    until("the last command", async || commands(&application).last().unwrap().0 == "disconnect").await;
    let subscription = json!({"identifier": chat(1), "state": {"n": "1"}, "streams": ["chat"]});
    let ended = json!({"subscriptions": [subscription], "connection": {"identifiers": {"user": "ann"}}});
    assert_eq!(commands(&application).last().unwrap().1, ended);
    let quiet = json!({"status": "ok", "start": ["chat"]});
    application.set(on("subscribe", reply(&quiet), welcoming()));
    let count = commands(&application).len();
    let mut client = Cable::rails(&server).await;
    client.subscribe(&chat(1)).await;
    client.send(&command("unsubscribe", &chat(1))).await;
    client.receives_nothing_else().await;
    drop(client);
    server.metric_is("nodevent_connections", 0).await;
    assert_eq!(commands(&application).len(), count + 2, "connect and subscribe alone");
}

#[tokio::test]
async fn a_channel_with_a_signed_name_of_turbo_recovers_since_the_page_was_rendered() {
    let application = Application::start(welcoming()).await;
    let server = start(&application).await;
    emit(&server, "chat", "before").await;
    let request = Request::get("/api/cable/rooms/chat/history");
    let history = server.send(&request.header("Authorization", &format!("Bearer {PUBLISH_KEY}"))).await.json();
    emit(&server, "chat", "meanwhile").await;
    let identifier = |stream: &str, since: &Value| {
        json!({"channel": "MyChannel", "signed_stream_name": signed(stream), "nodevent_since": since}).to_string()
    };
    let stamped = identifier("chat", &history["position"]);
    let mut client = Cable::rails(&server).await;
    client.send(&command("subscribe", &stamped)).await;
    assert_eq!(client.next().await, message(&stamped, "meanwhile"));
    assert_eq!(client.next().await, confirmed(&stamped));
    // The position is that of the signed stream alone.
    client.subscribe(&identifier("other", &history["position"])).await;
    let lost = identifier("chat", &json!("00000000000000ab:7"));
    client.subscribe(&lost).await;
    let refresh = client.next().await;
    assert!(refresh["message"].as_str().unwrap().contains("action=\"refresh\""), "{refresh}");
    client.receives_nothing_else().await;
}

#[tokio::test]
async fn clients_of_the_extended_protocol_recover_the_streams_of_a_channel() {
    let application = Application::start(welcoming()).await;
    let server = start(&application).await;
    let mut client = Cable::connect(&server, EXTENDED).await;
    client.subscribe(&chat(1)).await;
    emit(&server, "chat", "one").await;
    let frame = client.next().await;
    assert_eq!((&frame["message"], &frame["stream_id"]), (&json!("one"), &json!("chat")));
    drop(client);
    emit(&server, "chat", "two").await;
    let place = json!({"epoch": frame["epoch"], "offset": frame["offset"]});
    for (place, recovered) in [(place, true), (json!({"epoch": "x", "offset": 1}), false)] {
        let mut client = Cable::connect(&server, EXTENDED).await;
        let subscribe =
            json!({"command": "subscribe", "identifier": chat(1), "history": {"streams": {"chat": place}}});
        client.send(&subscribe.to_string()).await;
        let mut frames = vec![client.next().await, client.next().await];
        if recovered {
            frames.push(client.next().await);
            assert_eq!(frames.remove(0)["message"], "two");
        }
        assert_eq!(frames.remove(0), confirmed(&chat(1)));
        let kind = if recovered { "confirm_history" } else { "reject_history" };
        assert_eq!(frames.remove(0), json!({"identifier": chat(1), "type": kind}));
    }
}

#[tokio::test]
async fn the_application_itself_subscribes_to_every_stream_and_reads_positions_with_its_publish_key() {
    let application = Application::start(welcoming()).await;
    let limited = ", publish_keys: [{id: limited, key: another-key-of-16-bytes, rooms: [posts]}]";
    let server = TestServer::start(&configuration(&application, limited, "")).await;
    server.ready().await;
    let stream = json!({"channel": "$pubsub", "stream_name": "posts"}).to_string();
    let key = format!("Bearer {PUBLISH_KEY}");
    let headers = [("Sec-WebSocket-Protocol", EXTENDED), ("Authorization", &*key)];
    let mut client = Cable::open_with(&server, "/cable", &headers).await;
    assert_eq!(client.next().await["type"], "welcome");
    client.subscribe(&stream).await;
    emit(&server, "posts", "hello").await;
    assert_eq!(client.next().await["message"], "hello");
    assert!(application.requests().is_empty(), "the application is not asked about itself");
    for other in ["Bearer wrong-key-of-more-than-16-bytes", "Bearer another-key-of-16-bytes"] {
        let headers = [("Sec-WebSocket-Protocol", EXTENDED), ("Authorization", other)];
        let mut client = Cable::open_with(&server, "/cable", &headers).await;
        assert_eq!(client.next().await["type"], "welcome");
        assert_eq!(client.call("subscribe", &stream).await, rejected(&stream), "{other}");
    }
    for (key, status) in [(&*key, 200), ("Bearer another-key-of-16-bytes", 403), ("Bearer wrong", 403)] {
        let request = Request::get("/api/cable/rooms/posts/history").header("Authorization", key);
        assert_eq!(server.send(&request).await.status, status, "{key}");
    }
    let request = Request::get("/api/cable/rooms/posts/history").header("Authorization", &key);
    let response = server.send(&request.header("Origin", "http://localhost")).await;
    assert_eq!(response.status, 403, "a page");
}

#[tokio::test]
async fn a_namespace_with_channels_has_no_event_streams_because_the_application_decides_who_connects() {
    let application = Application::start(welcoming()).await;
    let server = start(&application).await;
    let path = format!("/cable?signed_stream_name={}", signed("posts").replace('=', "%3D"));
    let response = server.send(&Request::get(&path).header("Accept", "text/event-stream")).await;
    assert_eq!(response.status, 403);
}

#[tokio::test]
async fn pages_of_other_origins_do_not_reach_the_application() {
    let application = Application::start(welcoming()).await;
    let configuration = format!("origins: https://page.example.com\n{}", configuration(&application, "", ""));
    let server = TestServer::start(&configuration).await;
    server.ready().await;
    let headers = [("Sec-WebSocket-Protocol", ANYCABLE), ("Origin", "https://page.example.com")];
    let mut client = Cable::open_with(&server, "/cable", &headers).await;
    assert_eq!(client.next().await, json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false}));
    assert!(application.requests().is_empty());
}
