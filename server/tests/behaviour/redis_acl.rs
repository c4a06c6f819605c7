//! The ACL in `docs/server.md`: enough for a server, and for nothing else.

use crate::support::application::{Application, Behaviour};
use crate::support::redis::redis_cli;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use serde_json::json;

const TOKEN: &str = "{secret: a-secret-for-tokens-of-more-than-32-bytes}";
const PRESENCE: &str = "{rooms: [present], grace: 0s}";

/// Runs commands as the default user, or as another one, and returns what `redis-cli` prints.
fn cli(redis: &RedisServer, login: &[&str], words: &[&str]) -> String {
    let mut command = redis_cli();
    command.args(["-p", &redis.port.to_string(), "--no-auth-warning"]).args(login).args(words);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Creates the user as the documentation says. Commands that this version of Redis does not know are left out.
fn create_user(redis: &RedisServer) {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/server.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ACL SETUSER nodevent")).collect();
    assert_eq!(lines.len(), 6, "the lines of the recipe");
    let knows_shards = !cli(redis, &[], &["COMMAND", "INFO", "spublish"]).is_empty();
    for line in lines {
        let sharded = ["+ssubscribe", "+sunsubscribe", "+spublish"];
        let words = line.split(' ').filter(|word| knows_shards || !sharded.contains(word));
        assert_eq!(cli(redis, &[], &words.collect::<Vec<_>>()), "OK", "{line}");
    }
}

#[tokio::test]
async fn server_works_with_the_documented_permissions_and_the_user_can_do_nothing_else() {
    for more in ["", ", channel_per_room: true", ", history: off"] {
        let redis = RedisServer::start().await;
        create_user(&redis);
        let settings = format!("{{port: {}, username: nodevent, password: open-sesame}}", redis.port);
        let application = Application::start(Behaviour::Respond(200, "{}".to_owned())).await;
        let hooks = format!("{{url: \"{}\", secret: {TOKEN_SECRET}, events: [entered, left]}}", application.url);
        let server = TestServer::start(&format!(
            "/nodevent: {{open: true, token: {TOKEN}, presence: {PRESENCE}, redis: {settings}, hooks: {hooks}{more}}}"
        ))
        .await;
        server.ready().await;
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        for message in 1..=3 {
            server.emit("/nodevent", "r", "e", message).await;
            assert_eq!(browser.next_event().await.message, message);
        }
        if more != ", history: off" {
            let history = server.get("/api/nodevent/rooms/r/history").await.json();
            let since = history["publications"][0]["position"].clone();
            let mut late = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
            let ack = late.call("join", &[json!({"room": "r", "since": since})]).await;
            assert_eq!(ack[2]["recovered"], true, "{ack}");
            assert_eq!(late.next_event().await.message, 2);
        }
        let mut member = Browser::open(&server, Transport::WebSocket).await;
        member.enter_with("/nodevent", &json!({"token": token(json!({"sub": "7"}))}).to_string()).await.unwrap();
        member.join("present").await;
        assert_eq!(member.next_publication().await.event, "nodevent:enter");
        let listed = member.call("presence", &[json!({"room": "present"})]).await;
        assert_eq!(listed[1]["count"], 1, "{listed}");
        let mut other = Browser::open(&server, Transport::WebSocket).await;
        other.enter_with("/nodevent", &json!({"token": token(json!({"sub": "8"}))}).to_string()).await.unwrap();
        other.join("present").await;
        assert_eq!(member.next_publication().await.message["user"], "8");
        other.close().await;
        assert_eq!(member.next_publication().await.event, "nodevent:leave");
        // `entered` twice and `left`: they went through the journal, and are not in it any more.
        server.metric_is("nodevent_hooks_sent_total", 3).await;
        server.metric_is("nodevent_hooks_waiting", 0).await;
        let login = ["--user", "nodevent", "--pass", "open-sesame"];
        assert_mailboxes_work(&settings).await;
        for words in [
            &["SET", "session:1", "x"][..],
            &["GET", "session:1"],
            &["PUBLISH", "other", "x"],
            &["EVAL", "return redis.call('GET', 'session:1')", "0"],
            &["KEYS", "*"],
            &["FLUSHALL"],
            &["CONFIG", "GET", "requirepass"],
            &["ACL", "LIST"],
            &["SCRIPT", "FLUSH"],
        ] {
            let reply = cli(&redis, &login, words);
            assert!(
                reply.contains("NOPERM")
                    || reply.contains("ACL failure")
                    || ["can't run", "can't access"].iter().any(|text| reply.contains(text)),
                "{words:?}: {reply}"
            );
        }
    }
}

/// Stores, drops, reads and acknowledges messages of users, with and without an age.
async fn assert_mailboxes_work(redis: &str) {
    for mailbox in ["{unknown: keep, count: 1}", "{age: 0, count: 1}", "{age: 1h}"] {
        let settings = format!("redis: {redis}, mailbox: {mailbox}, token: {{secret: {TOKEN_SECRET}}}");
        let server = TestServer::start(&format!("/nodevent: {{{settings}}}")).await;
        server.ready().await;
        let mut browser = Browser::open(&server, Transport::WebSocket).await;
        let auth = json!({"token": token(json!({"sub": "7"}))}).to_string();
        browser.enter_with("/nodevent", &auth).await.unwrap();
        assert_eq!(browser.call("mailbox", &[]).await, json!([null, true]));
        assert_eq!(browser.next_other_notice().await[0], "identified");
        assert_eq!(browser.next_other_notice().await[1]["last"], true);
        let message = json!({"users": ["7", "8"], "event": "e", "ttl": 60, "key": mailbox}).to_string();
        let notify = Request::post("/api/nodevent/notify", message);
        for _ in 0..2 {
            assert_eq!(server.send(&notify).await.status, 200);
        }
        let other = Request::post("/api/nodevent/notify", json!({"user": "7", "event": "f"}).to_string());
        assert_eq!(server.send(&other).await.status, 200);
        for event in ["e", "f"] {
            assert_eq!(browser.next_other_notice().await[1]["messages"][0]["event"], event, "{mailbox}");
        }
        let page = server.get("/api/nodevent/users/7/mailbox").await.json();
        let up_to = page["messages"].as_array().unwrap().last().unwrap()["id"].clone();
        let ack = browser.call("acknowledge", &[json!({"up_to": up_to})]).await;
        assert_eq!(ack[1]["unread"], 0, "{mailbox}: {ack}");
    }
}

/// Redis rejects reads: its own text, which names the user and the command, is for the operator.
#[tokio::test]
async fn readers_do_not_receive_the_error_texts_of_redis() {
    let redis = RedisServer::start().await;
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    server.ready().await;
    server.emit("/nodevent", "r", "e", 1).await;
    assert_eq!(cli(&redis, &[], &["ACL", "SETUSER", "default", "-evalsha", "-eval"]), "OK");
    let response = server.get("/api/nodevent/rooms/r/history").await;
    assert_eq!(response.status, 503);
    assert_eq!(response.json()["error"], "Redis is unavailable");
    for text in ["NOPERM", "evalsha", "default", "permissions"] {
        assert!(!response.text().contains(text), "{}", response.text());
    }
}
