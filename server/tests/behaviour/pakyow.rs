//! The protocol `pakyow`: pages that the application subscribes to channels, defined in `protocol/README.md` section 15.

use crate::support::page::{PAGES_SECRET, Page, Visitor, publish, push, push_to};
use crate::support::raw::{CONTINUATION, End, PING, PONG, Raw, TEXT, close, first, frame, last};
use crate::support::wait::{in_time, until};
use crate::support::websocket::WebSocket;
use crate::support::{RedisServer, Request, TestServer};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

const NS: &str = "/live";

/// The configuration of a namespace; `more` are further keys of `pages`.
fn namespace(engine: &str, more: &str) -> String {
    format!("{NS}: {{protocol: pakyow, pages: {{secret: {PAGES_SECRET}{more}}}{engine}}}\n")
}

async fn server(more: &str) -> TestServer {
    TestServer::start(&namespace("", more)).await
}

async fn server_on(redis: &RedisServer, more: &str) -> TestServer {
    let server = TestServer::start(&namespace(&format!(", redis: \"{}\"", redis.url()), more)).await;
    server.ready().await;
    server
}

/// A server for each engine.
async fn servers(more: &str) -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let servers = vec![server(more).await, server_on(&redis, more).await];
    (redis, servers)
}

fn message(channel: &str, payload: impl Into<Value>) -> Value {
    json!({"payload": payload.into(), "channel": channel})
}

#[tokio::test]
async fn a_page_receives_the_channels_to_which_requests_before_its_connection_have_subscribed_it() {
    // P-04, P-05, P-07, P-08, P-28: the page's request subscribes it twice, a message is published, and then it connects.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["chan1", "chan2"]).await;
        visitor.subscribe(&server, NS, &["chan3"]).await;
        publish(&server, NS, "chan1", &json!({"foo": "bar"})).await;
        let mut page = visitor.connect(&server, NS).await;
        assert_eq!(page.next().await, json!({"payload": {"foo": "bar"}, "channel": "chan1"}));
        page.is_active(&server, NS, &visitor).await;
        let pushed = push(&server, NS, &["chan3", "chan1", "chan2", "other"], &json!(7)).await;
        assert_eq!(pushed, json!(["chan1", "chan2", "chan3", "other"]));
        for channel in ["chan1", "chan2", "chan3"] {
            assert_eq!(page.next().await, message(channel, 7), "one frame for each channel");
        }
        page.is_silent().await;
    }
}

#[tokio::test]
async fn subscriptions_of_a_connected_page_have_effect_at_once() {
    // P-06, P-11
    let (_redis, servers) = servers("").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["before"]).await;
        let mut page = visitor.connect(&server, NS).await;
        page.is_active(&server, NS, &visitor).await;
        for number in 0..20 {
            visitor.subscribe(&server, NS, &["a"]).await;
            publish(&server, NS, "a", &json!(number)).await;
            assert_eq!(page.next().await, message("a", number));
            visitor.unsubscribe(&server, NS, &["a"]).await;
            publish(&server, NS, "a", &json!("too late")).await;
            page.is_active(&server, NS, &visitor).await;
        }
        let repeated = visitor.change(&server, NS, json!({"subscribe": ["b"], "unsubscribe": ["a"]})).await;
        assert_eq!(repeated.json(), json!({"subscribed": 1, "unsubscribed": 0, "channels": 2}));
        let repeated = visitor.change(&server, NS, json!({"subscribe": ["b"]})).await;
        assert_eq!(repeated.json(), json!({"subscribed": 0, "unsubscribed": 0, "channels": 2}));
    }
}

#[tokio::test]
async fn a_page_that_is_not_the_visitors_is_open_and_silent() {
    // P-12, P-13, P-14, P-15: only the right id with the right cookie receives what the page is subscribed to.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let (visitor, other) = (Visitor::of('a', 1), Visitor::of('b', 1));
        visitor.subscribe(&server, NS, &["a"]).await;
        let (cookie, foreign) = (visitor.cookie(NS), other.cookie(NS));
        let (path, key) = (visitor.path(), &visitor.key);
        let mut forged = cookie.clone();
        forged.replace_range(cookie.len() - 1.., if cookie.ends_with('0') { "1" } else { "0" });
        let wrong_id = Visitor::of('a', 2).path();
        let mut silent = Vec::new();
        for (path, cookie) in [
            (wrong_id.as_str(), Some(&cookie)),
            (&path, Some(&foreign)),
            (&path, Some(&forged)),
            (&path, None),
            ("/", Some(&cookie)),
            ("/?socket_connection_id=", Some(&cookie)),
            ("/?socket_connection_id=%22%3E%3Cscript%3E", Some(&cookie)),
            (&format!("{path}&socket_key={key}"), Some(&foreign)),
            (&format!("{path}&socket_key={key}"), None),
            (&path, Some(&format!("socket_key={key}; nodevent_page={key}"))),
            (&path, Some(&other.cookie("/other"))),
        ] {
            let headers: Vec<_> = cookie.into_iter().map(|cookie| ("cookie", cookie.as_str())).collect();
            silent.push(Page::open(&server, path, &headers).await);
        }
        let mut page = visitor.connect(&server, NS).await;
        page.is_active(&server, NS, &visitor).await;
        publish(&server, NS, "a", &json!("secret")).await;
        assert_eq!(page.next().await, message("a", "secret"));
        for page in &mut silent {
            page.is_silent().await;
        }
        // The id of a page is in its markup, and is not enough.
        let mut both = Page::open(&server, &path, &[("cookie", &format!("{foreign}; {cookie}"))]).await;
        both.is_silent().await;
    }
}

#[tokio::test]
async fn a_bad_handshake_is_a_bad_request() {
    // P-16
    let server = server("").await;
    let path = Visitor::of('a', 1).path();
    let good = || {
        Request::get(&path)
            .header("Connection", "Upgrade")
            .header("Upgrade", "WebSocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let without = |name: &str| {
        let mut request = good();
        request.headers.retain(|(one, _)| one != name);
        request
    };
    let mut post = good();
    post.method = "POST".to_owned();
    for request in [
        without("Sec-WebSocket-Key"),
        without("Sec-WebSocket-Key").header("Sec-WebSocket-Key", "short"),
        without("Sec-WebSocket-Version"),
        without("Sec-WebSocket-Version").header("Sec-WebSocket-Version", "12"),
        without("Upgrade"),
        without("Connection"),
        post,
        Request::get(&path),
    ] {
        let response = server.send(&request).await;
        assert_eq!(response.status, 400, "{request:?}");
    }
    assert_eq!(server.get("/").await.status, 404, "what is not meant for a page is not answered");
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_rejected_before_anything_else() {
    // P-37: the browser of a victim sends the cookie along.
    let server = server("").await;
    let visitor = Visitor::of('a', 1);
    visitor.subscribe(&server, NS, &["a"]).await;
    let (path, cookie) = (visitor.path(), visitor.cookie(NS));
    for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example"] {
        let opened = WebSocket::open_path(&server, &path, &[("cookie", &cookie), ("origin", origin)]).await;
        let Err(response) = opened else { panic!("{origin} may connect") };
        assert_eq!(response.status, 403, "{origin}");
        // Also a handshake that is wrong: nothing is looked at before.
        let request = Request::get(&path).header("Upgrade", "websocket").header("Origin", origin);
        assert_eq!(server.send(&request).await.status, 403);
    }
    let own = format!("http://{}", server.address);
    let mut page = Page::open(&server, &path, &[("cookie", &cookie), ("origin", &own)]).await;
    page.is_active(&server, NS, &visitor).await;
    let change = json!({"page": visitor.digest(), "subscribe": ["b"]}).to_string();
    let from_page = Request::post("/api/live/pages", change).header("Origin", &own);
    assert_eq!(server.send(&from_page).await.status, 403, "browsers subscribe no pages");
}

#[tokio::test]
async fn without_the_protocol_nothing_is_upgraded() {
    // P-17
    let server = TestServer::start(&format!("{NS}: {{open: true}}")).await;
    let visitor = Visitor::of('a', 1);
    let opened = WebSocket::open_path(&server, &visitor.path(), &[("cookie", &visitor.cookie(NS))]).await;
    assert_eq!(opened.err().map(|response| response.status), Some(404));
    let change = visitor.change(&server, NS, json!({"subscribe": ["a"]})).await;
    assert_eq!((change.status, change.json()["error"].clone()), (404, json!("this namespace has no pages")));
}

#[tokio::test]
async fn any_json_is_delivered_as_it_is() {
    // P-09, P-35
    let (_redis, servers) = servers("").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["a"]).await;
        let mut page = visitor.connect(&server, NS).await;
        for payload in [
            json!("text"),
            json!(1.5),
            json!([1, [2]]),
            Value::Null,
            json!(false),
            json!({"key": "a", "channel": "b", "message": 1, "__propagated": true}),
            json!("\u{2028}<script>\u{0}"),
        ] {
            push(&server, NS, &["a"], &payload).await;
            assert_eq!(page.next().await, message("a", payload));
        }
    }
}

#[tokio::test]
async fn no_message_of_a_client_ends_its_connection() {
    // P-23, P-25
    let server = server("").await;
    let visitor = Visitor::of('a', 1);
    let mut page = visitor.connect(&server, NS).await;
    for (text, reply) in [
        (r#"{"id":1,"action":"ping"}"#, json!({"id": 1, "status": 200, "headers": {}, "body": "pong"})),
        (
            r#"{"id":"x","action":"nothing"}"#,
            json!({"id": "x", "status": 404, "headers": {}, "body": "No message handler named nothing"}),
        ),
        (
            r#"{"id":2}"#,
            json!({"id": 2, "status": 400, "headers": {}, "body": "Expected message to contain key 'action'"}),
        ),
        (
            r#"{"action":"ping"}"#,
            json!({"id": null, "status": 400, "headers": {}, "body": "Expected message to contain key 'id'"}),
        ),
        ("{", json!({"id": null, "status": 400, "headers": {}, "body": "the message is not a JSON object"})),
        (
            r#"{"id":3,"action":"call-route","uri":"/"}"#,
            json!({"id": 3, "status": 501, "headers": {}, "body": ["calls are not configured"]}),
        ),
    ] {
        page.0.send(&[text]).await;
        assert_eq!(page.next().await, reply, "{text}");
    }
    page.is_silent().await;
}

#[tokio::test]
async fn a_page_that_returns_receives_what_it_missed_in_order_and_once() {
    // P-29: the connection is cut, messages are published, the page connects again with the same id.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["a"]).await;
        let (mut published, mut received) = (0, 0);
        for _ in 0..4 {
            let mut page = visitor.connect(&server, NS).await;
            for _ in 0..3 {
                publish(&server, NS, "a", &json!(published)).await;
                published += 1;
            }
            while received < published {
                assert_eq!(page.next().await, message("a", received));
                received += 1;
            }
            page.is_silent().await;
            drop(page);
            server.metric_is("nodevent_connections", 0).await;
            for _ in 0..3 {
                publish(&server, NS, "a", &json!(published)).await;
                published += 1;
            }
        }
        // What is published to the page itself is kept too.
        push_to(&server, NS, &visitor, "direct", &json!("missed")).await;
        visitor.unsubscribe(&server, NS, &["a"]).await;
        let mut page = visitor.connect(&server, NS).await;
        assert_eq!(page.next().await, message("direct", "missed"));
        page.is_active(&server, NS, &visitor).await;
    }
}

#[tokio::test]
async fn pages_that_never_connect_and_those_that_stay_away_are_forgotten() {
    // P-30: nothing is left in Redis, and in no list of the server.
    let (redis, servers) = servers(", initial: 1s, grace: 8s").await;
    for server in &servers {
        let batches = (0..500).collect::<Vec<usize>>();
        for batch in batches.chunks(50) {
            let visitors: Vec<_> = batch.iter().map(|number| Visitor::of('a', *number)).collect();
            join_all(visitors.iter().map(|visitor| visitor.subscribe(server, NS, &["a", "b"]))).await;
        }
    }
    // One of them connects, for longer than it would be kept otherwise.
    let visitor = Visitor::of('b', 1);
    for server in &servers {
        visitor.subscribe(server, NS, &["c"]).await;
        let mut page = visitor.connect(server, NS).await;
        page.is_active(server, NS, &visitor).await;
        is_forgotten(server, &Visitor::of('a', 7)).await;
        // A page that has disconnected is forgotten after the grace period, so it has passed. One that was connected
        // for a moment would be forgotten earlier.
        let (clock, initial) = (Visitor::of('c', 1), Visitor::of('d', 1));
        clock.subscribe(server, NS, &["c"]).await;
        let mut connected = clock.connect(server, NS).await;
        connected.is_active(server, NS, &clock).await;
        initial.subscribe(server, NS, &["c"]).await;
        is_forgotten(server, &initial).await;
        drop(connected);
        is_forgotten(server, &clock).await;
        let kept = visitor.change(server, NS, json!({"subscribe": ["d"]})).await;
        assert_eq!(kept.json()["channels"], 2, "a connected page is kept");
        drop(page);
        is_forgotten(server, &visitor).await;
    }
    let count = ["EVAL", "return #redis.call('KEYS', '*:pages:*')", "0"];
    until("nothing is left in Redis", async || redis.call(&count).await == ":0").await;
}

#[tokio::test]
async fn a_visitor_who_only_loads_pages_takes_no_places_for_long() {
    // P-30: each page connects for a moment. With the grace period of a day, the places would be taken for a day.
    let (_redis, servers) = servers(", initial: 2s, max_pages: 40").await;
    for server in servers {
        let subscribe = async |number: usize| {
            let visitor = Visitor::of('a', number);
            let response = visitor.change(&server, NS, json!({"subscribe": ["a"]})).await;
            (visitor, response.status)
        };
        for number in 0..40 {
            let (visitor, status) = subscribe(number).await;
            assert_eq!(status, 200);
            let mut page = visitor.connect(&server, NS).await;
            page.is_active(&server, NS, &visitor).await;
        }
        until("there is room for the page of another visitor", async || subscribe(1_000).await.1 == 200).await;
    }
}

#[tokio::test]
async fn what_connections_wanted_that_are_gone_does_not_reach_redis() {
    // P-05: a client connects one page and goes, again and again, while Redis is slow. Another visitor's page
    // does not wait for it.
    const CONNECTIONS: i64 = 400;
    let redis = RedisServer::start().await;
    let server = server_on(&redis, "").await;
    let (flooder, visitor) = (Visitor::of('a', 1), Visitor::of('b', 1));
    flooder.subscribe(&server, NS, &["a"]).await;
    visitor.subscribe(&server, NS, &["b"]).await;
    let scripts = async || {
        let count =
            "return tonumber(string.match(redis.call('INFO', 'commandstats'), 'cmdstat_evalsha:calls=(%d+)'))";
        let reply = redis.call(&["EVAL", count, "0"]).await;
        reply.trim_start_matches(':').parse::<i64>().unwrap_or_else(|_| panic!("{reply}"))
    };
    let before = scripts().await;
    // Scripts wait until the end.
    redis.call(&["CLIENT", "PAUSE", "600000", "WRITE"]).await;
    for _ in 0..CONNECTIONS / 20 {
        drop(join_all((0..20).map(|_| flooder.connect(&server, NS))).await);
    }
    server.metric_is("nodevent_connections", 0).await;
    redis.call(&["CLIENT", "UNPAUSE"]).await;
    let mut page = visitor.connect(&server, NS).await;
    page.is_active(&server, NS, &visitor).await;
    // Nothing is lost of the page that has connected so often: what the last read has returned to no
    // connection is valid again.
    let position = "for _, key in ipairs(redis.call('KEYS', '*:pages:*')) do if redis.call('TYPE', key).ok == 'hash' and \
                    (redis.call('HGET', key, 'ca') or '') ~= '' then return 1 end end return 0";
    until("the position is valid again", async || redis.call(&["EVAL", position, "0"]).await == ":1").await;
    publish(&server, NS, "a", &json!("missed")).await;
    let mut page = flooder.connect(&server, NS).await;
    assert_eq!(page.next().await, message("a", "missed"));
    page.is_active(&server, NS, &flooder).await;
    // What concerns one page has one order, so all of it is done.
    let after = scripts().await;
    assert!(after - before < CONNECTIONS / 2, "{} scripts", after - before);
}

/// Waits until a page is not subscribed to anything any more.
async fn is_forgotten(server: &TestServer, visitor: &Visitor) {
    until("a page is forgotten", async || {
        visitor.change(server, NS, json!({"unsubscribe": ["x"]})).await.json()["channels"] == 0
    })
    .await;
}

#[tokio::test]
async fn servers_on_one_redis_are_one() {
    // P-31, P-33: the application subscribes through A, the page connects to B, and C publishes.
    let redis = RedisServer::start().await;
    let (a, b, c) = (server_on(&redis, "").await, server_on(&redis, "").await, server_on(&redis, "").await);
    let visitor = Visitor::of('a', 1);
    visitor.subscribe(&a, NS, &["a"]).await;
    let mut page = visitor.connect(&b, NS).await;
    page.is_active(&c, NS, &visitor).await;
    for number in 0..20 {
        publish(&c, NS, "a", &json!(number)).await;
        assert_eq!(page.next().await, message("a", number));
        visitor.subscribe(&c, NS, &["b"]).await;
        assert_eq!(push(&a, NS, &["b*"], &json!(number)).await, json!(["b"]));
        assert_eq!(page.next().await, message("b", number));
        visitor.unsubscribe(&a, NS, &["b"]).await;
        publish(&c, NS, "b", &json!("too late")).await;
    }
    drop(page);
    b.metric_is("nodevent_connections", 0).await;
    publish(&a, NS, "a", &json!("missed")).await;
    let mut page = visitor.connect(&c, NS).await;
    assert_eq!(page.next().await, message("a", "missed"), "on another server");
    // A program that can only publish to Redis subscribes no page to anything.
    let forged = format!("nodevent:1:page:{}:[\"a\"]", visitor.digest());
    redis.publish(NS, &forged).await;
    redis.publish(NS, "nodevent:1:page:x:[]").await;
    page.is_active(&a, NS, &visitor).await;
}

#[tokio::test]
async fn a_pattern_has_one_special_character_on_both_engines() {
    // P-34
    let (_redis, servers) = servers("").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        let channels = ["abc", "a.c", "chan1", "chan2", "foo(", "[x]", "x", "a\\b", "*é".trim_start_matches('*')];
        visitor.subscribe(&server, NS, &channels).await;
        let mut page = visitor.connect(&server, NS).await;
        page.is_active(&server, NS, &visitor).await;
        for (pattern, matches) in [
            ("chan*", vec!["chan1", "chan2"]),
            ("a.*", vec!["a.c"]),
            ("*c", vec!["a.c", "abc"]),
            ("foo(*", vec!["foo("]),
            ("[*]", vec!["[x]"]),
            ("?*", vec![]),
            ("a\\*", vec!["a\\b"]),
            ("*é", vec!["é"]),
            ("nothing*", vec![]),
        ] {
            assert_eq!(push(&server, NS, &[pattern], &json!(pattern)).await, json!(matches), "{pattern}");
            for channel in matches {
                assert_eq!(page.next().await, message(channel, pattern));
            }
        }
        assert_eq!(push(&server, NS, &["chan*", "*1", "chan1"], &json!(0)).await, json!(["chan1", "chan2"]));
        assert_eq!(page.next().await, message("chan1", 0), "a channel that several patterns match has it once");
        assert_eq!(page.next().await, message("chan2", 0));
        page.is_silent().await;
    }
}

#[tokio::test]
async fn each_tab_is_a_page_of_its_own() {
    // P-36, P-39
    let (_redis, servers) = servers("").await;
    for server in servers {
        let (one, two) = (Visitor::of('a', 1), Visitor::of('a', 2));
        one.subscribe(&server, NS, &["a"]).await;
        two.subscribe(&server, NS, &["a"]).await;
        let (mut first, mut second) = (one.connect(&server, NS).await, two.connect(&server, NS).await);
        first.is_active(&server, NS, &one).await;
        second.is_active(&server, NS, &two).await;
        publish(&server, NS, "a", &json!("both")).await;
        assert_eq!((first.next().await, second.next().await), (message("a", "both"), message("a", "both")));
        let body = json!({"page": two.digest(), "channel": "c", "message": [1]}).to_string();
        assert_eq!(server.send(&Request::post("/api/live/push", body)).await.json(), json!({"channels": ["c"]}));
        assert_eq!(second.next().await, message("c", json!([1])));
        first.is_silent().await;
        // A second connection of the same page receives too.
        let mut again = one.connect(&server, NS).await;
        let pushes = again.is_active_too(&server, NS, &one).await;
        for number in 0..pushes {
            assert_eq!(first.next().await, message("active", number));
        }
        publish(&server, NS, "a", &json!("all")).await;
        for page in [&mut first, &mut second, &mut again] {
            assert_eq!(page.next().await, message("a", "all"));
        }
    }
}

#[tokio::test]
async fn frames_follow_the_protocol_of_websockets() {
    // P-38
    let server = server("").await;
    let open = async || {
        let mut stream = server.dial().await;
        let request = Request::get(&Visitor::of('a', 1).path())
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "WEBSOCKET")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        tokio::io::AsyncWriteExt::write_all(&mut stream, &request.encode(&server.address)).await.unwrap();
        Raw::after_handshake(stream).await
    };
    let mut raw = open().await;
    raw.send(first(TEXT, r#"{"id":1,"#)).await;
    raw.send(last(PING, "between")).await;
    raw.send(frame(CONTINUATION, br#""action":"#)).await;
    raw.send(last(CONTINUATION, r#""ping"}"#)).await;
    let pong = raw.frame().await.unwrap();
    assert_eq!((pong.opcode, &*pong.payload), (PONG, b"between".as_slice()));
    assert_eq!(raw.text().await, r#"{"id":1,"status":200,"headers":{},"body":"pong"}"#);
    raw.send(last(PONG, "unrequested")).await;
    raw.send(close(1000, "bye")).await;
    assert!(matches!(raw.ended().await, End::Closed(Some(1000), _)));
    let mut raw = open().await;
    raw.send([0x81, 0x01, b'x']).await;
    assert!(matches!(raw.ended().await, End::Closed(Some(1002), _)), "a frame that is not masked");
}

#[tokio::test]
async fn nothing_is_lost_while_others_subscribe_and_connect() {
    // P-41: numbered messages are published while other pages come and go. The history keeps what is published until a page
    // has connected, however slow that is.
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server = TestServer::start(&namespace(&format!("{engine}, history: {{size: 10000}}"), "")).await;
        server.ready().await;
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["numbers"]).await;
        let mut page = visitor.connect(&server, NS).await;
        let is_done = AtomicBool::new(false);
        let publishing = async {
            let mut count = 0;
            while !is_done.load(SeqCst) {
                publish(&server, NS, "numbers", &json!(count)).await;
                count += 1;
            }
            count
        };
        let others = async {
            for round in 0..20 {
                let visitors: Vec<_> = (0..10).map(|number| Visitor::of('b', 10 * round + number)).collect();
                join_all(visitors.iter().map(async |other| {
                    other.subscribe(&server, NS, &["numbers", "own"]).await;
                    let mut page = other.connect(&server, NS).await;
                    let first = page.next().await;
                    let second = page.next().await;
                    let follows = first["payload"].as_u64().map(|number| number + 1);
                    assert_eq!(second["payload"].as_u64(), follows, "{first} {second}");
                    other.unsubscribe(&server, NS, &["numbers"]).await;
                }))
                .await;
            }
            is_done.store(true, SeqCst);
        };
        let (count, ()) = tokio::join!(publishing, others);
        for number in 0..count {
            assert_eq!(page.next().await, message("numbers", number));
        }
    }
}

#[tokio::test]
async fn dead_connections_are_removed() {
    // P-42: one is cut, and one does not respond any more.
    let ping = "ping: {interval: 1s, timeout: 1s}\n";
    let server = TestServer::start(&format!("{ping}{}", namespace("", ""))).await;
    let visitor = Visitor::of('a', 1);
    visitor.subscribe(&server, NS, &["a"]).await;
    let page = visitor.connect(&server, NS).await;
    let mut stream = server.dial().await;
    let request = Request::get(&visitor.path())
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Cookie", &visitor.cookie(NS));
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request.encode(&server.address)).await.unwrap();
    let mut mute = Raw::after_handshake(stream).await;
    server.metric_is("nodevent_connections", 2).await;
    drop(page);
    server.metric_is("nodevent_connections", 1).await;
    let end = mute.ended().await;
    assert!(matches!(&end, End::Closed(_, reason) if reason.contains("ping")), "{end:?}");
    server.metric_is("nodevent_connections", 0).await;
    server.metric_is("nodevent_rooms", 0).await;
}

#[tokio::test]
async fn a_push_to_a_dead_connection_makes_no_living_one_miss_it() {
    // A fault of pakyow 5.5.9: an error at one socket ended the push to all. P-41, P-42
    let (_redis, servers) = servers("").await;
    for server in servers {
        // The living ones are the first, the last, and one in between. One page has two connections.
        let (all, living) = ([0, 1, 2, 2, 3, 4, 5], [0, 3, 6]);
        let mut pages: Vec<Option<Page>> = Vec::new();
        for (index, number) in all.into_iter().enumerate() {
            let visitor = Visitor::of('a', number);
            visitor.subscribe(&server, NS, &["a"]).await;
            let mut page = visitor.connect(&server, NS).await;
            if index == 3 {
                let first = pages[2].as_mut().unwrap();
                for number in 0..page.is_active_too(&server, NS, &visitor).await {
                    assert_eq!(first.next().await, message("active", number));
                }
            } else {
                page.is_active(&server, NS, &visitor).await;
            }
            pages.push(Some(page));
        }
        // One does not read any more.
        let (mute, mut stream) = (Visitor::of('b', 1), server.dial().await);
        mute.subscribe(&server, NS, &["a"]).await;
        let request = Request::get(&mute.path())
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Cookie", &mute.cookie(NS));
        tokio::io::AsyncWriteExt::write_all(&mut stream, &request.encode(&server.address)).await.unwrap();
        let mute = Raw::after_handshake(stream).await;
        server.metric_is("nodevent_connections", all.len() as i64 + 1).await;
        let mut next = 0;
        let mut received = 0;
        for index in (0..all.len()).filter(|index| !living.contains(index)) {
            publish(&server, NS, "a", &json!(next)).await;
            // It has not read that, so the kernel resets its connection, and the server does not know it yet.
            drop(pages[index].take());
            publish(&server, NS, "a", &json!(next + 1)).await;
            assert_eq!(push(&server, NS, &["a*"], &json!(next + 2)).await, json!(["a"]));
            push_to(&server, NS, &Visitor::of('a', all[index]), "own", &json!("itself")).await;
            next += 3;
            while received < next {
                for index in living {
                    let page = pages[index].as_mut().unwrap();
                    assert_eq!(page.next().await, message("a", received), "the page {index}");
                }
                received += 1;
            }
            if index == 2 {
                assert_eq!(pages[3].as_mut().unwrap().next().await, message("own", "itself"));
            }
        }
        let large = "x".repeat(60_000);
        for number in 0..100 {
            publish(&server, NS, "a", &json!([number, large])).await;
            for index in living {
                let received = pages[index].as_mut().unwrap().next().await;
                assert_eq!(received["payload"][0], number, "the page {index}");
            }
        }
        for index in living {
            pages[index].as_mut().unwrap().is_silent().await;
        }
        drop(mute);
        server.metric_is("nodevent_connections", living.len() as i64).await;
    }
}

#[tokio::test]
async fn http_is_as_fast_with_a_thousand_pages() {
    // P-43: requests of the application and of others take as long as before, with the pages of visitors who read.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let before = typical_times(&server).await;
        let mut pages = Vec::new();
        for batch in 0..20 {
            let visitors: Vec<_> = (0..50).map(|number| Visitor::of('a', 50 * batch + number)).collect();
            join_all(visitors.iter().map(|visitor| visitor.subscribe(&server, NS, &["all"]))).await;
            pages.extend(join_all(visitors.iter().map(|visitor| visitor.connect(&server, NS))).await);
        }
        server.metric_is("nodevent_connections", 1000).await;
        publish(&server, NS, "all", &json!("welcome")).await;
        for page in &mut pages {
            assert_eq!(page.next().await, message("all", "welcome"));
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let began = Instant::now();
            assert_eq!(server.get("/healthz").await.status, 200);
            slowest = slowest.max(began.elapsed());
        }
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        let after = typical_times(&server).await;
        println!("without pages {before:?}, with 1,000 pages {after:?}");
        for (before, after) in before.into_iter().zip(after) {
            // The machine may be busier than before. A request that waits for each connection takes longer than that.
            assert!(after < 3 * before + Duration::from_millis(20), "{before:?}, {after:?}");
        }
        // They are there, and receive what is published.
        publish(&server, NS, "all", &json!("end")).await;
        for page in &mut pages {
            assert_eq!(page.next().await, message("all", "end"));
        }
    }
}

/// The medians of many requests: of one that needs no engine, and of one that does.
async fn typical_times(server: &TestServer) -> [Duration; 2] {
    let (mut plain, mut of_engine) = (Vec::new(), Vec::new());
    let visitor = Visitor::of('z', 1);
    for _ in 0..101 {
        let began = Instant::now();
        assert_eq!(server.get("/healthz").await.status, 200);
        plain.push(began.elapsed());
        let began = Instant::now();
        visitor.subscribe(server, NS, &["own"]).await;
        of_engine.push(began.elapsed());
    }
    [plain, of_engine].map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

#[tokio::test]
async fn limits_have_names() {
    let (_redis, servers) = servers(", max_channels: 2, max_pages: 3").await;
    for server in servers {
        for number in 0..3 {
            Visitor::of('a', number).subscribe(&server, NS, &["a", "b"]).await;
        }
        let many = Visitor::of('a', 0).change(&server, NS, json!({"subscribe": ["c"]})).await;
        assert_eq!(
            (many.status, many.json()["error"].clone()),
            (409, json!("the page would have too many channels"))
        );
        let swapped =
            Visitor::of('a', 0).change(&server, NS, json!({"subscribe": ["c"], "unsubscribe": ["a"]})).await;
        assert_eq!(swapped.json(), json!({"subscribed": 1, "unsubscribed": 1, "channels": 2}));
        let full = Visitor::of('a', 3).change(&server, NS, json!({"subscribe": ["a"]})).await;
        assert_eq!((full.status, full.json()["error"].clone()), (507, json!("there is no place for another page")));
        assert_eq!(server.metric("nodevent_rejected_pages_total").await, 2);
        let bad = server.send(&Request::post("/api/live/pages", "{}")).await;
        assert_eq!(bad.status, 400, "{}", bad.text());
        let large = Request::post("/api/live/pages", vec![b'x'; 65 * 1024]);
        assert_eq!(server.send(&large).await.status, 413);
        assert_eq!(server.get("/api/live/pages").await.status, 405);
    }
}

#[tokio::test]
async fn only_a_publish_key_without_limits_subscribes_pages() {
    let keys = "publish_keys: [{id: all, key: all-1234567890abcdef}, {id: some, key: some-1234567890abcdef, rooms: [\"pakyow:a*\"]}]";
    let server =
        TestServer::start(&format!("{NS}: {{protocol: pakyow, pages: {{secret: {PAGES_SECRET}}}, {keys}}}\n"))
            .await;
    let visitor = Visitor::of('a', 1);
    let send = async |path: &str, key: &str, body: &Value| {
        let request = Request::post(path, body.to_string()).header("Authorization", &format!("Bearer {key}"));
        server.send(&request).await.status
    };
    let change = json!({"page": visitor.digest(), "subscribe": ["a1", "b1"]});
    assert_eq!(send("/api/live/pages", "wrong-1234567890abcdef", &change).await, 401);
    assert_eq!(send("/api/live/pages", "some-1234567890abcdef", &change).await, 403);
    assert_eq!(send("/api/live/pages", "all-1234567890abcdef", &change).await, 200);
    let push = |channel: &str| json!({"channels": [channel], "message": 1});
    assert_eq!(send("/api/live/push", "some-1234567890abcdef", &push("a*")).await, 200);
    assert_eq!(send("/api/live/push", "some-1234567890abcdef", &push("b1")).await, 403);
    assert_eq!(send("/api/live/push", "some-1234567890abcdef", &push("*1")).await, 200, "b1 does not exist for it");
    assert_eq!(send("/api/live/push", "wrong-1234567890abcdef", &push("a1")).await, 401);
}

#[tokio::test]
async fn a_limited_publish_key_learns_nothing_about_other_channels() {
    // P-34: neither their names nor how many there are.
    let keys = ", publish_keys: [{id: all, key: all-1234567890abcdef}, {id: some, key: some-1234567890abcdef, rooms: [\"pakyow:a*\"]}]";
    let redis = RedisServer::start().await;
    let on_redis = format!("{keys}, redis: \"{}\"", redis.url());
    for engine in [keys.to_owned(), on_redis] {
        let server = TestServer::start(&namespace(&engine, "")).await;
        server.ready().await;
        let post = async |path: &str, key: &str, body: Value| {
            let request = Request::post(path, body.to_string()).header("Authorization", &format!("Bearer {key}"));
            server.send(&request).await
        };
        // More channels of others than patterns may match, and two of its own.
        for page in 0..11 {
            let visitor = Visitor::of('a', page);
            let mut channels: Vec<String> = (0..98).map(|number| format!("b{page}-{number}")).collect();
            channels.extend((page == 0).then(|| "a1".to_owned()));
            channels.extend((page == 1).then(|| "ab2".to_owned()));
            let change = json!({"page": visitor.digest(), "subscribe": channels});
            let changed = post("/api/live/pages", "all-1234567890abcdef", change).await;
            assert_eq!(changed.status, 200, "{}", changed.text());
        }
        let push = async |key: &str, channels: Value| {
            post("/api/live/push", key, json!({"channels": channels, "message": 1})).await
        };
        let some = async |channels: Value| {
            let pushed = push("some-1234567890abcdef", channels).await;
            assert_eq!(pushed.status, 200, "{}", pushed.text());
            pushed.json()["channels"].clone()
        };
        assert_eq!(some(json!(["*"])).await, json!(["a1", "ab2"]));
        assert_eq!(some(json!(["*1", "*b*", "a*"])).await, json!(["a1", "ab2"]));
        assert_eq!(some(json!(["b*"])).await, json!([]), "as if there were none");
        assert_eq!(some(json!(["c*"])).await, json!([]), "there is none");
        let all = push("all-1234567890abcdef", json!(["*"])).await;
        assert_eq!(all.status, 400, "{}", all.text());
        assert_eq!(
            push("some-1234567890abcdef", json!(["*", "b1-1"])).await.status,
            403,
            "it names the channel itself"
        );
        let many: Vec<String> = (0..9).map(|number| format!("a{number}*")).collect();
        assert_eq!(push("all-1234567890abcdef", json!(many[..8])).await.status, 200);
        let many = push("all-1234567890abcdef", json!(many)).await;
        assert_eq!((many.status, many.json()["error"].clone()), (400, json!("there are more than 8 patterns")));
    }
}

#[tokio::test]
async fn pages_survive_an_outage_of_redis() {
    let mut redis = RedisServer::start().await;
    let server = server_on(&redis, "").await;
    let visitor = Visitor::of('a', 1);
    visitor.subscribe(&server, NS, &["a"]).await;
    let mut page = visitor.connect(&server, NS).await;
    page.is_active(&server, NS, &visitor).await;
    redis.stop();
    let unavailable = in_time("a response", visitor.change(&server, NS, json!({"subscribe": ["b"]}))).await;
    assert_eq!(unavailable.status, 503, "{}", unavailable.text());
    page.is_silent().await;
    redis.start_again().await;
    server.ready().await;
    // This Redis has forgotten everything. The application subscribes its pages again.
    until("the page is subscribed again", async || {
        visitor.change(&server, NS, json!({"subscribe": ["b"]})).await.status == 200
    })
    .await;
    publish(&server, NS, "b", &json!("again")).await;
    let next = loop {
        let next = page.next().await;
        // What became of the messages in between is not known.
        if next.get("gap").is_none() {
            break next;
        }
    };
    assert_eq!(next, message("b", "again"));
}
