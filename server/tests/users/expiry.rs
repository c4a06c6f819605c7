//! `expiry: leave`: a membership ends when the key expires with which the room was joined. Otherwise it stays.

use crate::line_client::LineClient;
use crate::support::keys::{LATER, key};
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SECRET: &str = "a-secret-for-room-keys";

/// A server for each engine.
async fn servers(expiry: &str) -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let mut servers = Vec::new();
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let token = format!("token: {{secret: {TOKEN_SECRET}, leeway: 0s}}");
        let namespace =
            format!("/n: {{secret: {SECRET}, protocol: [socket_io, plain]{expiry}, {token}{engine}}}\n");
        let server = TestServer::start(&namespace).await;
        server.ready().await;
        servers.push(server);
    }
    (redis, servers)
}

/// A key of the old formula that expires in that many seconds.
fn expiring(room: &str, seconds: f64) -> String {
    key(room, &format!("{}", ((now() + seconds) * 1000.0) as u64), SECRET)
}

/// A token that opens a room for that many seconds.
fn room_token(room: &str, seconds: f64) -> String {
    token(json!({"room": room, "exp": now() + seconds}))
}

async fn join(browser: &mut Browser, room: &str, key: impl Into<Value>) {
    let ack = browser.join_with(room, key).await;
    assert_eq!((&ack[0], &ack[1]), (&Value::Null, &json!(true)), "{ack}");
}

#[tokio::test]
async fn with_leave_a_connection_leaves_the_room_when_its_key_or_room_token_expires() {
    let (_redis, servers) = servers(", expiry: leave").await;
    for server in servers {
        let mut browser = Browser::connect(&server, "/n", Transport::WebSocket).await;
        let joined = browser.call("join", &[json!({"room": "r", "key": expiring("r", 4.0), "since": null})]).await;
        let since = joined[2]["position"].clone();
        assert!(since.is_string(), "{joined}");
        join(&mut browser, "t", room_token("t", 4.0)).await;
        join(&mut browser, "stays", key("stays", LATER, SECRET)).await;
        let mut left: Vec<Value> = Vec::new();
        for _ in 0..2 {
            let notice = browser.next_notice().await;
            assert_eq!(notice[0], "expired", "{notice}");
            left.push(notice[1]["room"].clone());
        }
        left.sort_by_key(ToString::to_string);
        assert_eq!(left, ["r", "t"]);
        for room in ["r", "t", "stays"] {
            server.emit("/n", room, "e", 1).await;
        }
        assert_eq!(browser.next_event().await.room, "stays", "it has left the other rooms");
        // It can return with a new key, and recovers what it has missed.
        let request = json!({"room": "r", "key": key("r", LATER, SECRET), "since": since});
        browser.send_event("join", &[request]).await;
        let missed = browser.next_event().await;
        assert_eq!((missed.room, missed.message), (json!("r"), json!(1)));
        browser.close().await;
    }
}

#[tokio::test]
async fn a_newer_key_of_the_room_keeps_the_connection_in_it_and_an_older_one_shortens_nothing() {
    let (_redis, servers) = servers(", expiry: leave").await;
    for server in servers {
        let mut browser = Browser::connect(&server, "/n", Transport::WebSocket).await;
        join(&mut browser, "r", expiring("r", 4.0)).await;
        join(&mut browser, "r", key("r", LATER, SECRET)).await;
        join(&mut browser, "r", expiring("r", 4.0)).await;
        join(&mut browser, "marks the time", expiring("marks the time", 6.0)).await;
        assert_eq!(browser.next_notice().await, json!(["expired", {"room": "marks the time"}]));
        server.emit("/n", "r", "e", 1).await;
        assert_eq!(browser.next_event().await.room, "r");
    }
}

#[tokio::test]
async fn without_leave_a_membership_stays_as_before() {
    for expiry in ["", ", expiry: stay"] {
        let (_redis, servers) = servers(expiry).await;
        for server in servers {
            let mut browser = Browser::connect(&server, "/n", Transport::WebSocket).await;
            join(&mut browser, "r", expiring("r", 4.0)).await;
            // A key that expires later is rejected as soon as both have expired.
            let later = expiring("later", 4.5);
            until("both keys have expired", async || {
                browser.join_with("later", later.as_str()).await[0] == "Time has passed"
            })
            .await;
            server.emit("/n", "r", "e", 1).await;
            assert_eq!(browser.next_event().await.room, "r");
        }
    }
}

#[tokio::test]
async fn clients_of_the_other_protocols_learn_of_it_too() {
    let (_redis, servers) = servers(", expiry: leave").await;
    for server in servers {
        let mut client = LineClient::open(&server, "/ws/n", &[]).await;
        assert_eq!(client.call(json!({"join": "r", "key": expiring("r", 4.0)}), 1).await["joined"], "r");
        let line = client.next_with("error").await;
        assert_eq!((&line["error"], &line["room"]), (&json!("Membership has expired"), &json!("r")), "{line}");
        server.emit("/n", "r", "e", 1).await;
        assert!(client.has_nothing_else().await);
        // The response ends: its reader asks for a new key, and continues from the last event.
        let path = format!("/api/n/rooms/r/events?key={}", expiring("r", 4.0));
        let request = Request::get(&path).header("Connection", "close");
        let mut stream = server.dial().await;
        stream.write_all(&request.encode("localhost")).await.unwrap();
        let mut response = String::new();
        in_time("the end of the response", stream.read_to_string(&mut response)).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(response.contains("event: expired\ndata: {\"room\":\"r\"}"), "{response}");
    }
}
