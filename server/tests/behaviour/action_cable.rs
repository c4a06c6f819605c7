//! The protocol `action_cable`, frame by frame: `protocol/README.md` section 17. `e2e/action_cable` has the stock clients.

use crate::support::application::{Application, Behaviour};
use crate::support::cable::{
    ANYCABLE, Cable, EXTENDED, RAILS, STREAM_KEY, command, confirmed, message, rejected, signed, turbo, turbo_with,
};
use crate::support::http::Io;
use crate::support::raw::handshake_request;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::{in_time, until};
use crate::support::websocket::WebSocket;
use crate::support::{Browser, RedisServer, Request, Site, TestServer, Transport};
use nodevent_protocol::action_cable::signed_name::{sign, sign_json};
use nodevent_protocol::key::Secret;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The configuration of a namespace, with further keys of it and of `action_cable`.
fn cable(namespace: &str, action_cable: &str) -> String {
    format!(
        "/cable: {{protocol: action_cable{namespace}, action_cable: {{signed_stream_key: {STREAM_KEY}{action_cable}}}}}\n"
    )
}

async fn start(configuration: &str) -> TestServer {
    let server = TestServer::start(configuration).await;
    server.ready().await;
    server
}

/// A server for each engine.
async fn servers() -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let in_redis = format!(", redis: \"{}\"", redis.url());
    let servers = vec![start(&cable("", "")).await, start(&cable(&in_redis, "")).await];
    (redis, servers)
}

/// The subprotocol of the response to a handshake.
async fn subprotocol(site: &Site, offered: Option<&str>) -> (u16, Option<String>) {
    let mut request = handshake_request("");
    request.path = "/cable".to_owned();
    if let Some(offered) = offered {
        request = request.header("Sec-WebSocket-Protocol", offered);
    }
    let response = site.send(&request).await;
    (response.status, response.header("sec-websocket-protocol").map(str::to_owned))
}

/// The position of a stream: that of a message which is published for it.
async fn position(server: &TestServer, stream: &str) -> String {
    let publication = json!({"room": stream, "event": "e", "message": "earlier"}).to_string();
    let response = server.publish("/cable", publication).await;
    response.json()["positions"][0].as_str().expect("a position").to_owned()
}

#[tokio::test]
async fn the_subprotocol_is_the_one_that_the_client_speaks() {
    let server = start(&cable("", "")).await;
    for (offered, selected) in [
        (Some("actioncable-v1-json, actioncable-unsupported"), Some("actioncable-v1-json")),
        (Some("actioncable-v1-json, actioncable-unsupported, a-token"), Some("actioncable-v1-json")),
        (Some("actioncable-v1-json"), Some("actioncable-v1-json")),
        (Some("actioncable-v1-ext-json"), Some("actioncable-v1-ext-json")),
        (Some("actioncable-v1-ext-json, anycable-token.a.b.c"), Some("actioncable-v1-ext-json")),
        (Some("actioncable-v1-msgpack"), None),
        (None, None),
    ] {
        let (status, subprotocol) = subprotocol(&server, offered).await;
        assert_eq!((status, subprotocol.as_deref()), (101, selected), "{offered:?}");
    }
}

#[tokio::test]
async fn a_member_receives_broadcasts_as_the_message_of_its_identifier() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let mut rails = Cable::rails(&server).await;
        let identifier = turbo("posts");
        rails.subscribe(&identifier).await;
        server.emit("/cable", "other", "e", "not for it").await;
        let html = "<turbo-stream action=\"remove\" target=\"post_1\"></turbo-stream>";
        server.emit("/cable", "posts", "e", html).await;
        assert_eq!(rails.next().await, message(&identifier, html));
        server
            .publish("/cable", r#"{"room":"posts","event":"e","message":{"big": 12345678901234567890, "x":1.50}}"#)
            .await;
        let text = rails.0.next().await.unwrap();
        assert!(
            text.ends_with(r#","message":{"big": 12345678901234567890, "x":1.50}}"#),
            "as it was published: {text}"
        );
        rails.send(&command("unsubscribe", &identifier)).await;
        rails.receives_nothing_else().await;
        server.emit("/cable", "posts", "e", 2).await;
        rails.receives_nothing_else().await;
    }
}

#[tokio::test]
async fn an_identifier_is_echoed_as_it_was_sent_and_two_spellings_are_two_subscriptions() {
    let server = start(&cable("", "")).await;
    let mut rails = Cable::rails(&server).await;
    let signed = signed("posts");
    let spellings = [
        format!(r#"{{"channel":"Turbo::StreamsChannel","signed_stream_name":"{signed}"}}"#),
        format!(r#"{{ "signed_stream_name" : "{signed}", "channel" : "Turbo::StreamsChannel" }}"#),
        format!(r#"{{"channel":"Turbo::StreamsChannel","signed_stream_name":"{signed}","ünï☃":"\u2028 \"<&>\""}}"#),
    ];
    for identifier in &spellings {
        rails.subscribe(identifier).await;
    }
    server.emit("/cable", "posts", "e", 1).await;
    let mut received = Vec::new();
    for _ in &spellings {
        received.push(rails.next().await);
    }
    for identifier in &spellings {
        assert!(received.contains(&message(identifier, 1)), "{identifier}: {received:?}");
    }
    rails.send(&command("unsubscribe", &spellings[1])).await;
    rails.receives_nothing_else().await;
    server.emit("/cable", "posts", "e", 2).await;
    let received = [rails.next().await, rails.next().await];
    assert!(received.contains(&message(&spellings[0], 2)) && received.contains(&message(&spellings[2], 2)));
    rails.receives_nothing_else().await;
}

#[tokio::test]
async fn a_second_subscribe_is_confirmed_to_clients_of_rails_alone_and_is_one_subscription() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let identifier = turbo("posts");
        let mut rails = Cable::rails(&server).await;
        rails.subscribe(&identifier).await;
        rails.subscribe(&identifier).await;
        let mut anycable = Cable::connect(&server, ANYCABLE).await;
        anycable.subscribe(&identifier).await;
        anycable.send(&command("subscribe", &identifier)).await;
        anycable.receives_nothing_else().await;
        server.emit("/cable", "posts", "e", 1).await;
        for client in [&mut rails, &mut anycable] {
            assert_eq!(client.next().await, message(&identifier, 1));
            client.receives_nothing_else().await;
        }
    }
}

#[tokio::test]
async fn commands_run_in_their_order() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let (one, two) = (turbo("one"), turbo("two"));
        let mut rails = Cable::rails(&server).await;
        let commands = [
            command("subscribe", &one),
            command("unsubscribe", &one),
            command("subscribe", &one),
            command("subscribe", &two),
            command("unsubscribe", &two),
        ];
        rails.0.send(&commands.each_ref().map(String::as_str)).await;
        // The first subscription may have been confirmed before it was ended.
        rails.receives_nothing_of(&[confirmed(&one), confirmed(&two)]).await;
        server.emit("/cable", "two", "e", "not a member").await;
        server.emit("/cable", "one", "e", 1).await;
        assert_eq!(rails.next().await, message(&one, 1));
        rails.receives_nothing_else().await;
    }
}

impl Cable {
    /// Reads until a further subscription is confirmed. Until then nothing may arrive but these frames.
    async fn receives_nothing_of(&mut self, allowed: &[Value]) {
        let last = turbo("last");
        self.send(&command("subscribe", &last)).await;
        loop {
            let frame = self.next().await;
            if frame == confirmed(&last) {
                return;
            }
            assert!(allowed.contains(&frame), "{frame}");
        }
    }
}

#[tokio::test]
async fn what_the_server_does_not_serve_is_rejected_at_once() {
    let server = start(&cable("", "")).await;
    let mut rails = Cable::rails(&server).await;
    let expired = sign_json(
        r#"{"_rails":{"data":"posts","exp":"2020-01-01T00:00:00.000Z"}}"#,
        &Secret::new(STREAM_KEY).unwrap(),
    );
    let forged = sign("posts", &Secret::new("another key").unwrap());
    let turbo = |name: Value| json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": name}).to_string();
    let identifiers = [
        json!({"channel": "ChatChannel", "room": 1}).to_string(),
        json!({"channel": "$pubsub", "stream_name": "posts"}).to_string(),
        json!({"channel": "turbo::streamschannel", "signed_stream_name": signed("posts")}).to_string(),
        json!({"room": 1}).to_string(),
        "ChatChannel".to_owned(),
        String::new(),
        "[]".to_owned(),
        turbo(Value::Null),
        turbo(json!("posts")),
        turbo(json!(expired)),
        turbo(json!(forged)),
        turbo(json!(signed("\u{1}all"))),
        turbo(json!(signed(""))),
        turbo(json!(signed(&"x".repeat(256)))),
    ];
    for identifier in &identifiers {
        assert_eq!(rails.call("subscribe", identifier).await, rejected(identifier), "{identifier}");
    }
    server.metric_is("nodevent_rejected_joins_total", identifiers.len() as i64).await;
    // A string that is not text is sent back as it was written.
    rails.send(r#"{"command":"subscribe","identifier":"\ud800"}"#).await;
    let text = rails.0.next().await.unwrap();
    assert_eq!(text, r#"{"identifier":"\ud800","type":"reject_subscription"}"#);
    rails.receives_nothing_else().await;
}

#[tokio::test]
async fn commands_that_mean_nothing_are_counted_and_get_no_reply() {
    let server = start(&cable("", "")).await;
    let mut rails = Cable::rails(&server).await;
    let ignored = [
        "",
        "subscribe",
        "[]",
        "null",
        "{",
        "{}",
        r#"{"command":null}"#,
        r#"{"command":"drop","identifier":"{}"}"#,
        r#"{"command":"subscribe"}"#,
        r#"{"command":"subscribe","identifier":{"channel":"C"}}"#,
        r#"{"command":"unsubscribe","identifier":7}"#,
        r#"{"command":"message","data":"{}"}"#,
        // Commands of the extended protocol.
        r#"{"command":"ping"}"#,
        r#"{"command":"pong"}"#,
        r#"{"command":"history","identifier":"{}"}"#,
    ];
    for text in ignored {
        rails.send(text).await;
        rails.receives_nothing_else().await;
    }
    server.metric_is("nodevent_ignored_commands_total", ignored.len() as i64).await;
    // Known commands for subscriptions that do not exist, and messages for streams.
    let identifier = turbo("posts");
    rails.send(&command("unsubscribe", &identifier)).await;
    rails.send(&command("message", &identifier)).await;
    rails.subscribe(&identifier).await;
    for data in ["{\"action\":\"speak\"}", "{}", "not JSON"] {
        rails.send(&json!({"command": "message", "identifier": identifier, "data": data}).to_string()).await;
    }
    rails.receives_nothing_else().await;
    server.metric_is("nodevent_ignored_commands_total", ignored.len() as i64).await;
    server.emit("/cable", "posts", "e", 1).await;
    assert_eq!(rails.next().await, message(&identifier, 1));
}

#[tokio::test]
async fn public_streams_need_no_signature_where_they_are_configured() {
    let server = start(&cable("", ", public_streams: true")).await;
    let mut anycable = Cable::connect(&server, ANYCABLE).await;
    let identifier = json!({"channel": "$pubsub", "stream_name": "chat/1"}).to_string();
    anycable.subscribe(&identifier).await;
    let with_signature = json!({"channel": "$pubsub", "signed_stream_name": signed("chat/2")}).to_string();
    anycable.subscribe(&with_signature).await;
    server.emit("/cable", "chat/1", "e", "one").await;
    assert_eq!(anycable.next().await, message(&identifier, "one"));
    server.emit("/cable", "chat/2", "e", "two").await;
    assert_eq!(anycable.next().await, message(&with_signature, "two"));
}

#[tokio::test]
async fn pages_of_other_origins_and_requests_without_an_upgrade_get_what_rails_responds() {
    let server = start(&format!("origins: [https://www.example.com]\n{}", cable("", ""))).await;
    let open = async |origin: &str| WebSocket::open_path(&server, "/cable", &[("Origin", origin)]).await;
    assert!(open("https://www.example.com").await.is_ok());
    assert!(open("http://127.0.0.1:3000").await.is_ok(), "the same host");
    for origin in ["https://evil.example", "https://www.example.com.evil.example", "null"] {
        let rejection = open(origin).await.err().expect("a rejection");
        assert_eq!((rejection.status, &rejection.json()["error"]), (404, &json!("Page not found")), "{origin}");
    }
    server.metric_is("nodevent_rejected_origins_total", 3).await;
    let response = server.get("/cable").await;
    assert_eq!((response.status, &response.json()["error"]), (404, &json!("Page not found")));
}

#[tokio::test]
async fn pings_have_the_time_and_arrive_while_messages_flood_the_connection() {
    // A reader that is slower than the flood stays connected.
    let limits = "limits: {send_buffer: 64MB}";
    let server = start(&format!("{limits}\n{}", cable(", history: off", ", ping_interval: 50ms"))).await;
    let mut rails = Cable::rails(&server).await;
    let identifier = turbo("flood");
    rails.subscribe(&identifier).await;
    let site = server.site();
    let flood = tokio::spawn(async move {
        let one = json!({"room": "flood", "event": "e", "message": "x".repeat(1000)});
        let body = Value::from(vec![one; 500]).to_string();
        loop {
            assert_eq!(site.publish("/cable", body.clone()).await.status, 200);
        }
    });
    let (mut pings, mut messages) = (Vec::new(), 0);
    while pings.len() < 5 || messages < 1_000 {
        let frame = rails.next_or_ping().await;
        match frame["type"] == "ping" {
            true => pings.push(frame["message"].as_u64().expect("a time")),
            false => messages += 1,
        }
    }
    flood.abort();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(pings.iter().all(|ping| (now - 120..=now).contains(ping)), "seconds: {pings:?}");
}

#[tokio::test]
async fn a_client_may_ask_for_another_interval_and_unit_of_pings() {
    let server = start(&cable("", ", ping_interval: 1h")).await;
    let mut anycable = Cable::open(&server, "/cable?pi=1&ptp=ms", ANYCABLE).await;
    assert_eq!(anycable.next().await, json!({"type": "welcome"}));
    let ping = anycable.next_or_ping().await;
    assert!(ping["message"].as_u64().is_some_and(|time| time > 1_700_000_000_000), "{ping}");
}

#[tokio::test]
async fn a_connection_without_a_subscription_is_closed_in_time_and_stays_away() {
    let server = start(&format!("limits: {{connect_timeout: 300ms}}\n{}", cable("", ""))).await;
    let mut with = Cable::rails(&server).await;
    with.subscribe(&turbo("posts")).await;
    let mut without = Cable::rails(&server).await;
    assert_eq!(without.call("subscribe", "{}").await, rejected("{}"));
    let idle = json!({"type": "disconnect", "reason": "idle_timeout", "reconnect": false});
    assert_eq!(without.next().await, idle);
    assert_eq!(without.ended().await.map(|(code, _)| code), Some(1008));
    server.metric_is("nodevent_disconnects_total{reason=\"connect_timeout\"}", 1).await;
    with.receives_nothing_else().await;
}

#[tokio::test]
async fn identifiers_and_subscriptions_have_limits() {
    let limits = "limits: {max_identifier: 300, max_rooms_per_connection: 3}\n";
    let server = start(&format!("{limits}{}", cable("", ""))).await;
    let mut rails = Cable::rails(&server).await;
    let spare = 300 - turbo_with("a", &json!({"x": ""})).len();
    let (longest, longer) = (json!({"x": "x".repeat(spare)}), json!({"x": "x".repeat(spare + 1)}));
    rails.subscribe(&turbo_with("a", &longest)).await;
    let too_long = turbo_with("a", &longer);
    assert_eq!(rails.call("subscribe", &too_long).await, rejected(&too_long));
    rails.subscribe(&turbo("b")).await;
    rails.subscribe(&turbo("c")).await;
    let too_many = turbo("d");
    assert_eq!(rails.call("subscribe", &too_many).await, rejected(&too_many));
    rails.send(&command("unsubscribe", &turbo("b"))).await;
    rails.subscribe(&too_many).await;
}

#[tokio::test]
async fn a_connection_that_sends_forged_names_is_closed() {
    let limits = "limits: {wrong_keys_per_second_per_address: 1}\n";
    let server = start(&format!("{limits}{}", cable("", ""))).await;
    let mut rails = Cable::rails(&server).await;
    for index in 0..30 {
        let name = sign(&format!("posts:{index}"), &Secret::new("another key").unwrap());
        let identifier = json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": name}).to_string();
        rails.send(&command("subscribe", &identifier)).await;
    }
    assert!(rails.ended().await.is_some_and(|(code, _)| code == 1008));
    server.metric_is("nodevent_disconnects_total{reason=\"wrong_keys\"}", 1).await;
}

#[tokio::test]
async fn a_flood_of_commands_closes_the_connection() {
    let server = start(&format!("limits: {{packets_per_second: 10}}\n{}", cable("", ""))).await;
    let mut rails = Cable::rails(&server).await;
    for _ in 0..100 {
        rails.send("not a command").await;
    }
    assert_eq!(rails.ended().await, Some((1008, "too many packets".to_owned())));
}

#[tokio::test]
async fn a_token_decides_who_is_welcome() {
    let tokens = format!(", token: {{secret: {TOKEN_SECRET}, required: true, query: jid}}");
    let server = start(&cable(&tokens, "")).await;
    let path = |token: &str| format!("/cable?jid={token}");
    let mut welcome = Cable::open(&server, &path(&token(json!({"sub": "42"}))), RAILS).await;
    assert_eq!(welcome.next().await, json!({"type": "welcome"}));
    welcome.subscribe(&turbo("posts")).await;
    // The client of AnyCable offers it as a subprotocol.
    let offered = format!("{ANYCABLE}, anycable-token.{}", token(json!({"sub": "42"})));
    assert_eq!(Cable::open(&server, "/cable", &offered).await.next().await, json!({"type": "welcome"}));
    for (path, reason) in [
        ("/cable".to_owned(), "unauthorized"),
        (path("a.b.c"), "unauthorized"),
        (path(&token(json!({"sub": "42", "exp": 1_000_000_000}))), "token_expired"),
    ] {
        let mut client = Cable::open(&server, &path, RAILS).await;
        let disconnect = json!({"type": "disconnect", "reason": reason, "reconnect": false});
        assert_eq!(client.next().await, disconnect, "{path}");
        assert_eq!(client.ended().await.map(|(code, _)| code), Some(1008), "{path}");
    }
}

/// A visitor of the application who connects as the stock client of Rails.
async fn visitor(server: &TestServer) -> Cable {
    Cable::open_with(server, "/cable", &[("Sec-WebSocket-Protocol", RAILS), ("Cookie", "session=7")]).await
}

/// A server whose application decides who a connection is.
async fn server_with_application(behaviour: Behaviour) -> (Application, TestServer) {
    let application = Application::start(behaviour).await;
    let auth = format!(", auth: {{url: \"{}\", cookies: [session], timeout: 2s}}", application.url);
    let server = start(&format!("limits: {{max_pending_commands: 3}}\n{}", cable(&auth, ""))).await;
    (application, server)
}

#[tokio::test]
async fn what_a_client_sends_before_it_is_decided_who_it_is_runs_after_the_welcome() {
    let user = json!({"user": "42"}).to_string();
    let (_application, server) = server_with_application(Behaviour::Slowly(Duration::from_millis(200), user)).await;
    let (one, two) = (turbo("one"), turbo("two"));
    let mut client = visitor(&server).await;
    let commands = [command("subscribe", &one), command("unsubscribe", &one), command("subscribe", &two)];
    client.0.send(&commands.each_ref().map(String::as_str)).await;
    assert_eq!(client.next().await, json!({"type": "welcome"}));
    assert_eq!(client.next().await, confirmed(&one));
    assert_eq!(client.next().await, confirmed(&two));
    server.emit("/cable", "one", "e", "not a member").await;
    client.receives_nothing_else().await;
}

#[tokio::test]
async fn a_client_that_is_not_admitted_learns_whether_to_come_back() {
    for (behaviour, reason, reconnect) in [
        (Behaviour::Respond(401, String::new()), "unauthorized", false),
        // It has not said no.
        (Behaviour::Never, "unavailable", true),
    ] {
        let (_application, server) = server_with_application(behaviour).await;
        let mut client = visitor(&server).await;
        client.send(&command("subscribe", &turbo("posts"))).await;
        let disconnect = json!({"type": "disconnect", "reason": reason, "reconnect": reconnect});
        assert_eq!(client.next().await, disconnect);
        assert_eq!(client.ended().await.map(|(code, _)| code), Some(1008), "{reason}");
    }
}

#[tokio::test]
async fn commands_that_wait_until_it_is_decided_who_a_client_is_are_limited() {
    let (_application, server) = server_with_application(Behaviour::Never).await;
    let mut client = visitor(&server).await;
    for _ in 0..4 {
        client.send(&command("subscribe", &turbo("posts"))).await;
    }
    assert_eq!(client.ended().await.map(|(code, _)| code), Some(1013));
    server.metric_is("nodevent_disconnects_total{reason=\"too_many_pending_joins\"}", 1).await;
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_clients_may_come_back() {
    let server = start(&format!("drain_timeout: 0s\n{}", cable("", ""))).await;
    let mut rails = Cable::rails(&server).await;
    rails.subscribe(&turbo("posts")).await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(rails.next().await, json!({"type": "disconnect", "reason": "server_restart", "reconnect": true}));
    assert_eq!(rails.ended().await, Some((1001, "server shutting down".to_owned())));
    stopping.await.unwrap();
}

#[tokio::test]
async fn what_was_published_since_the_page_was_rendered_precedes_the_confirmation() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let since = position(&server, "posts").await;
        for number in 1..=50 {
            server.emit("/cable", "posts", "e", number).await;
        }
        let identifier = turbo_with("posts", &json!({"nodevent_since": since}));
        let mut rails = Cable::rails(&server).await;
        rails.send(&command("subscribe", &identifier)).await;
        for number in 1..=50 {
            assert_eq!(rails.next().await, message(&identifier, number));
        }
        assert_eq!(rails.next().await, confirmed(&identifier));
        server.emit("/cable", "posts", "e", 51).await;
        assert_eq!(rails.next().await, message(&identifier, 51));
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_brought_up_to_date_is_refreshed_if_that_is_configured() {
    let refresh = r#"<turbo-stream action="refresh"></turbo-stream>"#;
    for (settings, refreshes) in [("", true), (", refresh: false", false)] {
        let server = start(&cable(", history: {size: 2}", settings)).await;
        let since = position(&server, "posts").await;
        for number in 1..=3 {
            server.emit("/cable", "posts", "e", number).await;
        }
        for since in [since.as_str(), "0000000000000001:1", "rubbish"] {
            let identifier = turbo_with("posts", &json!({"nodevent_since": since}));
            let mut rails = Cable::rails(&server).await;
            rails.subscribe(&identifier).await;
            if refreshes {
                assert_eq!(rails.next().await, message(&identifier, refresh), "{since}");
            }
            rails.receives_nothing_else().await;
        }
    }
}

#[tokio::test]
async fn clients_of_the_extended_protocol_follow_positions_and_recover() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let identifier = turbo("posts");
        let mut client = Cable::connect(&server, EXTENDED).await;
        client.subscribe(&identifier).await;
        server.emit("/cable", "posts", "e", 1).await;
        let first = client.next().await;
        assert_eq!(
            (&first["stream_id"], &first["message"], &first["offset"]),
            (&json!("posts"), &json!(1), &json!(1))
        );
        drop(client);
        server.metric_is("nodevent_rooms", 0).await;
        for number in 2..=4 {
            server.emit("/cable", "posts", "e", number).await;
        }
        let at = |epoch: &Value, offset: u64| json!({"posts": {"epoch": epoch, "offset": offset}});
        let subscribe = |streams: Value| {
            let history = json!({"since": 1_700_000_000, "streams": streams});
            json!({"command": "subscribe", "identifier": identifier, "history": history}).to_string()
        };
        let result = |kind: &str| json!({"identifier": identifier, "type": kind});
        let mut client = Cable::connect(&server, EXTENDED).await;
        client.send(&subscribe(at(&first["epoch"], 1))).await;
        for number in 2..=4 {
            let frame = client.next().await;
            assert_eq!((&frame["message"], &frame["offset"]), (&json!(number), &json!(number)), "{frame}");
        }
        assert_eq!(client.next().await, confirmed(&identifier));
        assert_eq!(client.next().await, result("confirm_history"));
        // Again, on the same connection.
        let history = |offset: u64| {
            let history = json!({"streams": at(&first["epoch"], offset)});
            json!({"command": "history", "identifier": identifier, "history": history}).to_string()
        };
        client.send(&history(3)).await;
        assert_eq!(client.next().await["message"], 4);
        assert_eq!(client.next().await, result("confirm_history"));
        client.send(&history(4)).await;
        assert_eq!(client.next().await, result("confirm_history"));
        for streams in [
            at(&json!("0000000000000001"), 1),
            at(&json!("vRXl"), 42),
            at(&first["epoch"], 0),
            at(&first["epoch"], 99),
        ] {
            let mut client = Cable::connect(&server, EXTENDED).await;
            client.send(&subscribe(streams.clone())).await;
            if streams == at(&first["epoch"], 0) {
                assert_eq!(client.next().await["message"], 1);
                continue;
            }
            assert_eq!(client.next().await, confirmed(&identifier), "{streams}");
            assert_eq!(client.next().await, result("reject_history"), "{streams}");
        }
        client.send(r#"{"command":"ping"}"#).await;
        assert_eq!(client.next().await, json!({"type": "pong"}));
        client.send(r#"{"command":"pong"}"#).await;
        client.receives_nothing_else().await;
    }
}

#[tokio::test]
async fn a_client_of_the_extended_protocol_without_a_position_starts_where_its_page_was_rendered() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let since = position(&server, "posts").await;
        server.emit("/cable", "posts", "e", 1).await;
        let identifier = turbo_with("posts", &json!({"nodevent_since": since}));
        let history = json!({"since": 1_700_000_000, "streams": {"other": {"epoch": "vRXl", "offset": 1}}});
        let mut client = Cable::connect(&server, EXTENDED).await;
        client
            .send(&json!({"command": "subscribe", "identifier": identifier, "history": history}).to_string())
            .await;
        assert_eq!(client.next().await["message"], 1);
        assert_eq!(client.next().await, confirmed(&identifier));
        assert_eq!(client.next().await, json!({"identifier": identifier, "type": "confirm_history"}));
    }
}

#[tokio::test]
async fn each_stream_of_a_page_receives_what_was_published_to_several() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let since = position(&server, "one").await;
        let (one, two) = (turbo("one"), turbo("two"));
        let mut rails = Cable::rails(&server).await;
        rails.subscribe(&one).await;
        rails.subscribe(&two).await;
        let several = json!({"rooms": ["one", "two"], "event": "e", "message": "m"}).to_string();
        assert_eq!(server.publish("/cable", several).await.status, 200);
        let received = [rails.next().await, rails.next().await];
        assert!(received.contains(&message(&one, "m")) && received.contains(&message(&two, "m")), "{received:?}");
        // Also what it has missed under another identifier.
        let stamped = turbo_with("one", &json!({"nodevent_since": since}));
        assert_eq!(rails.call("subscribe", &stamped).await, message(&stamped, "m"));
        assert_eq!(rails.next().await, confirmed(&stamped));
    }
}

#[tokio::test]
async fn very_many_identifiers_on_one_stream_receive_each_message_once() {
    let server = start(&cable("", "")).await;
    let mut clients = Vec::new();
    for client in 0..20 {
        let mut rails = Cable::rails(&server).await;
        let own: Vec<String> = (0..20).map(|n| turbo_with("posts", &json!({"n": n, "client": client}))).collect();
        for identifier in &own {
            rails.subscribe(identifier).await;
        }
        clients.push((rails, own));
    }
    for number in 0..3 {
        server.emit("/cable", "posts", "e", number).await;
    }
    for (rails, own) in &mut clients {
        let mut received = vec![Vec::new(); own.len()];
        for _ in 0..3 * own.len() {
            let frame = rails.next().await;
            let of = own.iter().position(|identifier| frame["identifier"] == **identifier);
            received[of.expect("one of its identifiers")].push(frame["message"].clone());
        }
        assert!(received.iter().all(|messages| *messages == [0, 1, 2]), "in order: {received:?}");
        rails.receives_nothing_else().await;
    }
}

#[tokio::test]
async fn two_servers_share_streams_and_their_histories() {
    let redis = RedisServer::start().await;
    let configuration = cable(&format!(", redis: \"{}\"", redis.url()), "");
    let (one, two) = (start(&configuration).await, start(&configuration).await);
    let identifier = turbo("posts");
    let (mut first, mut second) = (Cable::rails(&one).await, Cable::rails(&two).await);
    first.subscribe(&identifier).await;
    second.subscribe(&identifier).await;
    let since = position(&one, "posts").await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.next().await, message(&identifier, "earlier"));
    }
    two.emit("/cable", "posts", "e", "missed").await;
    // Then the first server has it too.
    assert_eq!(first.next().await, message(&identifier, "missed"));
    let stamped = turbo_with("posts", &json!({"nodevent_since": since}));
    assert_eq!(first.call("subscribe", &stamped).await, message(&stamped, "missed"));
    assert_eq!(first.next().await, confirmed(&stamped));
}

#[tokio::test]
async fn a_namespace_may_serve_socket_io_and_action_cable() {
    let secret = "sesame-open-wide-1234567890";
    let server = start(&format!(
        "/cable: {{protocol: [socket_io, action_cable], secret: {secret}, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}"
    ))
    .await;
    let mut rails = Cable::rails(&server).await;
    rails.subscribe(&turbo("posts")).await;
    let mut browser = Browser::connect(&server, "/cable", Transport::WebSocket).await;
    let joined =
        browser.join_with("posts", crate::support::keys::key("posts", crate::support::keys::LATER, secret)).await;
    assert_eq!(joined[1], true, "{joined}");
    server.emit("/cable", "posts", "e", "both").await;
    assert_eq!(rails.next().await, message(&turbo("posts"), "both"));
    assert_eq!(browser.next_event().await.message, "both");
}

#[tokio::test]
async fn no_other_protocol_opens_the_streams_of_a_namespace() {
    let server = start(&cable("", "")).await;
    position(&server, "posts").await;
    for path in
        ["/api/cable/rooms/posts/history", "/api/cable/rooms/posts/events", "/api/cable/rooms/posts/events?key=x"]
    {
        assert!([401, 403].contains(&server.get(path).await.status), "{path}");
    }
}

/// A message as the stock adapter publishes it.
async fn broadcast(redis: &RedisServer, stream: &str, message: impl Into<Value>) {
    redis.publish(&format!("app_test:{stream}"), message.into().to_string()).await;
}

#[tokio::test]
async fn the_channels_of_the_stock_adapter_are_a_source() {
    let redis = RedisServer::start().await;
    let tap = format!(", tap: {{redis: \"{}\", channel_prefix: app_test}}", redis.url());
    for history in ["", ", history: off"] {
        let server = start(&cable(history, &tap)).await;
        let mut rails = Cable::rails(&server).await;
        let identifier = turbo("posts");
        rails.subscribe(&identifier).await;
        // The tap is ready as soon as a message arrives.
        let mut ready = Cable::rails(&server).await;
        ready.subscribe(&turbo("ready")).await;
        let probe = async {
            loop {
                broadcast(&redis, "ready", "ready").await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = probe => {}
            frame = ready.next() => assert_eq!(frame, message(&turbo("ready"), "ready")),
        }
        broadcast(&redis, "posts", "<turbo-stream></turbo-stream>").await;
        assert_eq!(rails.next().await, message(&identifier, "<turbo-stream></turbo-stream>"));
        for ignored in ["not JSON", "", "1,2"] {
            redis.publish("app_test:posts", ignored).await;
        }
        redis.publish("posts", "\"another application\"").await;
        redis.publish("app_test2:posts", "\"another application\"").await;
        redis.publish("app_test:action_cable/user", r#"{"type":"disconnect"}"#).await;
        // Two equal messages are two.
        broadcast(&redis, "posts", json!({"n": 1})).await;
        broadcast(&redis, "posts", json!({"n": 1})).await;
        for _ in 0..2 {
            assert_eq!(rails.next().await, message(&identifier, json!({"n": 1})));
        }
        rails.receives_nothing_else().await;
    }
}

/// A marker of a server with the key of the tests.
fn marker(number: u128) -> String {
    nodevent_protocol::action_cable::marker::marker(number, "app_test", &[Secret::new(STREAM_KEY).unwrap()])
}

/// Weakness 7: a program that may only publish in the channels made all messages repetitions of earlier ones, or stopped
/// the numbering.
#[tokio::test]
async fn a_program_that_publishes_markers_silences_no_message() {
    let redis = RedisServer::start().await;
    let server =
        start(&cable("", &format!(", tap: {{redis: \"{}\", channel_prefix: app_test}}", redis.url()))).await;
    let mut rails = Cable::rails(&server).await;
    rails.subscribe(&turbo("posts")).await;
    let channel = "app_test:nodevent/marker";
    until("the tap is subscribed", async || redis.publish(channel, marker(1)).await == 1).await;
    for marker in ["x".to_owned(), "y".repeat(65), marker(1), format!("{:032x}", 7)] {
        for number in 0..20 {
            redis.publish(channel, &marker).await;
            broadcast(&redis, "posts", number).await;
        }
        // Equal messages too.
        for _ in 0..5 {
            redis.publish(channel, &marker).await;
            broadcast(&redis, "posts", "equal").await;
        }
        for number in 0..20 {
            assert_eq!(rails.next().await, message(&turbo("posts"), number), "{marker}");
        }
        for _ in 0..5 {
            assert_eq!(rails.next().await, message(&turbo("posts"), "equal"), "{marker}");
        }
    }
    rails.receives_nothing_else().await;
}

#[tokio::test]
async fn two_servers_that_tap_the_stock_adapter_publish_each_message_once() {
    let mut redis = RedisServer::start().await;
    let (engine, tap) = (format!(", redis: \"{}\"", redis.url()), ", tap: {channel_prefix: app_test}");
    let configuration = cable(&engine, tap);
    let servers = [start(&configuration).await, start(&configuration).await];
    for round in 0..2 {
        let identifier = turbo("posts");
        let mut clients = Vec::new();
        for server in &servers {
            let mut client = Cable::rails(server).await;
            client.subscribe(&identifier).await;
            clients.push(client);
        }
        // Both taps are subscribed, and count from this marker on. So both publish each message, with the same id.
        let marker = marker(round);
        until("both taps are subscribed", async || redis.publish("app_test:nodevent/marker", &marker).await == 2)
            .await;
        for number in 0..50 {
            broadcast(&redis, "posts", number / 2).await;
        }
        for client in &mut clients {
            for number in 0..50 {
                assert_eq!(
                    client.next().await,
                    message(&identifier, number / 2),
                    "round {round}, message {number}"
                );
            }
            client.receives_nothing_else().await;
        }
        // Again after Redis was gone.
        if round == 0 {
            redis.stop();
            for server in &servers {
                until("the servers notice it", async || server.get("/readyz").await.status != 200).await;
            }
            redis.start_again().await;
            for server in &servers {
                server.ready().await;
            }
        }
    }
}

/// A server that subscribes while another one is behind publishes nothing before the other one has published what was before.
#[tokio::test]
async fn a_new_tap_publishes_no_message_before_those_of_a_server_that_is_behind() {
    let redis = RedisServer::start().await;
    // The server that is behind is the test: it has counted before, and publishes later.
    let mut behind = redis.subscribe_to_pattern("app_test:*").await;
    let engine = format!(", redis: \"{}\", history: {{size: 100, rooms: {{live*: off}}}}", redis.url());
    let server = start(&cable(&engine, ", tap: {channel_prefix: app_test}")).await;
    let mut rails = Cable::rails(&server).await;
    for stream in ["posts", "live"] {
        rails.subscribe(&turbo(stream)).await;
    }
    let marker = behind.next_on("app_test:nodevent/marker").await;
    let number = u128::from_str_radix(&marker[..32], 16).unwrap();
    broadcast(&redis, "posts", "second").await;
    // What has no history has no order between servers, and waits for none.
    broadcast(&redis, "live", "live").await;
    assert_eq!(rails.next().await, message(&turbo("live"), "live"));
    server.emit("/cable", "posts", "broadcast", "first").await;
    let key = [Secret::new(STREAM_KEY).unwrap()];
    let report = nodevent_protocol::action_cable::marker::reached(number, "app_test", &key);
    redis.publish("app_test:nodevent/marker", report).await;
    for expected in ["first", "second"] {
        assert_eq!(rails.next().await, message(&turbo("posts"), expected));
    }
    broadcast(&redis, "posts", "third").await;
    assert_eq!(rails.next().await, message(&turbo("posts"), "third"));
    // To a marker of another server it responds with a report, as soon as all before is published.
    let other = self::marker(7);
    redis.publish("app_test:nodevent/marker", &other).await;
    let report = nodevent_protocol::action_cable::marker::reached(7, "app_test", &key);
    while behind.next_on("app_test:nodevent/marker").await != report {}
    rails.receives_nothing_else().await;
}

/// A reader of Server-Sent Events.
struct Events(Box<dyn Io>, String);

impl Events {
    /// Opens `<turbo-stream-source>` for a stream, with further headers.
    async fn open(server: &TestServer, name: &str, since: Option<&str>) -> Self {
        let mut request = Request::get(&format!("/cable?signed_stream_name={name}"));
        request = request.header("Accept", "text/event-stream");
        if let Some(since) = since {
            request = request.header("Last-Event-ID", since);
        }
        let mut stream = server.dial().await;
        stream.write_all(&request.encode(&server.address)).await.unwrap();
        Self(stream, String::new())
    }

    /// Reads until what has arrived contains a text.
    async fn until(&mut self, text: &str) -> &str {
        let Self(stream, seen) = self;
        in_time(text, async {
            while !seen.contains(text) {
                let mut bytes = [0; 4096];
                let count = stream.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the response ended: {seen}");
                seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        })
        .await;
        seen
    }
}

#[tokio::test]
async fn a_stream_source_of_turbo_receives_html_and_recovers_by_the_id_of_the_last_event() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let name = signed("posts").replace('=', "%3D");
        let since = position(&server, "posts").await;
        let mut events = Events::open(&server, &name, None).await;
        let head = events.until(&format!("id: {since}\n\n")).await;
        assert!(
            head.contains("200 OK") && head.to_lowercase().contains("content-type: text/event-stream"),
            "{head}"
        );
        let html = "<turbo-stream action=\"remove\" target=\"a\"></turbo-stream>";
        server.emit("/cable", "posts", "e", html).await;
        events.until(&format!("data: {html}\n\n")).await;
        drop(events);
        server.metric_is("nodevent_rooms", 0).await;
        server.emit("/cable", "posts", "e", "missed").await;
        let mut events = Events::open(&server, &name, Some(&since)).await;
        let seen = events.until("data: missed\n\n").await;
        assert!(seen.contains(html), "{seen}");
        // What cannot be recovered refreshes the page.
        let mut events = Events::open(&server, &name, Some("0000000000000001:1")).await;
        events.until("data: <turbo-stream action=\"refresh\"></turbo-stream>\n\n").await;
    }
}

#[tokio::test]
async fn a_stream_source_needs_a_signed_name() {
    let server = start(&cable("", "")).await;
    let forged = sign("posts", &Secret::new("another key").unwrap());
    for query in ["", "?signed_stream_name=", "?signed_stream_name=posts", &format!("?signed_stream_name={forged}")]
    {
        let request = Request::get(&format!("/cable{query}")).header("Accept", "text/event-stream");
        assert_eq!(server.send(&request).await.status, 403, "{query}");
    }
    let tokens = format!(", token: {{secret: {TOKEN_SECRET}, required: true}}");
    let server = start(&cable(&tokens, "")).await;
    let request = Request::get(&format!("/cable?signed_stream_name={}", signed("posts")));
    assert_eq!(server.send(&request.header("Accept", "text/event-stream")).await.status, 403);
}
