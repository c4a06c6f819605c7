//! `nodevent emit` with targets, and `nodevent notify`.

use crate::support::redis::free_port;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::{Browser, Program, RedisServer, Request, TestServer, Transport};
use serde_json::{Value, json};
use std::process::Output;

const KEY: &str = "a-key-for-publishing-0123456789";

/// A server with the port and namespace of a configuration that the commands read, too.
struct Setup {
    folder: tempfile::TempDir,
    server: TestServer,
}

// === impl Setup ===

impl Setup {
    /// `more` are further keys of the namespace.
    async fn start(more: &str) -> Self {
        let namespace =
            format!("/n: {{open: true, token: {{secret: {TOKEN_SECRET}}}, publish_key: {KEY}{more}}}\n");
        let port = free_port();
        let written = format!("port: {port}\nbind: 127.0.0.1\nadmin: {{port: 0}}\n{namespace}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodevent.yml");
        std::fs::write(&file, &written).unwrap();
        let server = TestServer::start_as_written(&written).await;
        server.ready().await;
        Self { folder, server }
    }

    /// Runs a command. Returns its exit status, its output, and what it wrote to standard error.
    async fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut all = words.to_vec();
        all.extend(["--config", "nodevent.yml"]);
        let Output { status, stdout, stderr } = Program::run(self.folder.path(), &all).await;
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    async fn succeeds(&self, words: &[&str]) -> String {
        let (status, printed, error) = self.run(words).await;
        assert_eq!(status, Some(0), "{words:?}: {error}");
        printed
    }

    async fn user(&self, id: &str) -> Browser {
        let mut browser = Browser::open(&self.server, Transport::WebSocket).await;
        let auth = json!({"token": token(json!({"sub": id}))}).to_string();
        browser.enter_with("/n", &auth).await.expect("the token is accepted");
        browser
    }

    async fn mailbox(&self, user: &str) -> Vec<Value> {
        let path = format!("/api/n/users/{user}/mailbox");
        let request = Request::get(&path).header("Authorization", &format!("Bearer {KEY}"));
        let messages = self.server.send(&request).await.json()["messages"].clone();
        messages.as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn emit_reaches_users_rooms_and_all_connections() {
    let setup = Setup::start("").await;
    let (mut ann, mut bob) = (setup.user("42").await, setup.user("43").await);
    let mut member = Browser::connect(&setup.server, "/n", Transport::WebSocket).await;
    member.join("r").await;
    setup.succeeds(&["emit", "--user", "42", "--user", "43", "mention", r#"{"by": "Ann"}"#]).await;
    for user in [&mut ann, &mut bob] {
        let event = user.next_publication().await;
        assert_eq!((&event.event, &event.message), (&json!("mention"), &json!({"by": "Ann"})));
    }
    setup.succeeds(&["emit", "--room", "r", "--room", "s", "--user", "42", "update"]).await;
    for browser in [&mut member, &mut ann] {
        let event = browser.next_publication().await;
        assert_eq!((&event.event, &event.message), (&json!("update"), &Value::Null));
    }
    setup.succeeds(&["emit", "--broadcast", "maintenance", "soon"]).await;
    for browser in [&mut ann, &mut bob, &mut member] {
        let event = browser.next_publication().await;
        assert_eq!((&event.event, &event.message), (&json!("maintenance"), &json!("soon")));
    }
    setup.succeeds(&["emit", "r", "e", "1"]).await;
    assert_eq!(member.next_publication().await.message, 1);
    for (words, expected) in [
        (&["emit", "--user", "42"][..], "[ROOM] EVENT [MESSAGE]"),
        (&["emit", "r"], "an event is missing"),
        (&["emit", "--user", "42", "a", "b", "c"], "too many words"),
    ] {
        let (status, _, printed) = setup.run(words).await;
        assert_eq!(status, Some(64), "{words:?}: {printed}");
        assert!(printed.contains(expected), "{expected} is not in {printed}");
    }
    let (status, _, printed) = setup.run(&["emit", "--user", "", "e"]).await;
    assert_eq!(status, Some(69), "the server rejects it: {printed}");
}

#[tokio::test]
async fn notify_stores_a_message_through_the_server_or_straight_in_redis() {
    let redis = RedisServer::start().await;
    let setup = Setup::start(&format!(", mailbox: {{unknown: keep, count: 3}}, redis: \"{}\"", redis.url())).await;
    for more in [&[][..], &["--redis"]] {
        let user = if more.is_empty() { "over-http" } else { "over-redis" };
        let words = |event: &'static str, rest: &[&'static str]| {
            let mut all = vec!["notify", "--user", user, "--user", "other", event];
            all.extend_from_slice(rest);
            all.extend_from_slice(more);
            all
        };
        let first = setup.succeeds(&words("mention", &[r#"{"by": "Ann"}"#, "--key", "k"])).await;
        let again = setup.succeeds(&words("mention", &[r#"{"by": "Ann"}"#, "--key", "k"])).await;
        let ids = |printed: &str| serde_json::from_str::<Value>(printed).unwrap()["ids"].clone();
        assert_eq!(ids(&first), ids(&again), "the same key stores once");
        setup.succeeds(&words("text", &["hello", "--ttl", "60"])).await;
        let stored = setup.mailbox(user).await;
        let seen: Vec<_> = stored.iter().map(|one| (one["event"].clone(), one["message"].clone())).collect();
        assert_eq!(seen, [(json!("mention"), json!({"by": "Ann"})), (json!("text"), json!("hello"))]);
        assert_eq!(stored[0]["id"], ids(&first)[0]);
        // The bounds are those of the server.
        for _ in 0..3 {
            setup.succeeds(&words("newer", &[])).await;
        }
        assert!(setup.mailbox(user).await.iter().all(|one| one["event"] == "newer"));
        let (status, _, printed) = setup.run(&words("e", &["--ttl", "0"])).await;
        assert_ne!(status, Some(0));
        assert!(printed.contains("`ttl` is not a number of seconds"), "{printed}");
    }
}

#[tokio::test]
async fn a_connected_page_receives_what_was_stored_straight_in_redis() {
    let redis = RedisServer::start().await;
    let setup = Setup::start(&format!(", mailbox: on, redis: \"{}\"", redis.url())).await;
    let mut page = setup.user("7").await;
    assert_eq!(page.call("mailbox", &[]).await, json!([null, true]));
    let printed = setup.succeeds(&["notify", "--redis", "--user", "7", "mention", "1"]).await;
    assert!(printed.contains("\"ids\""), "{printed}");
    loop {
        let notice = page.next_notice().await;
        if notice[0] == "mailbox" && notice[1]["messages"] != json!([]) {
            assert_eq!(notice[1]["messages"][0]["event"], "mention");
            break;
        }
    }
    let printed = setup.succeeds(&["notify", "--redis", "--user", "stranger", "mention"]).await;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["ids"], json!([null]), "the user is not known");
}

#[tokio::test]
async fn notify_without_mailboxes_or_redis_says_what_to_write() {
    let setup = Setup::start("").await;
    let (status, _, printed) = setup.run(&["notify", "--user", "7", "e"]).await;
    assert_eq!(status, Some(69));
    assert!(printed.contains("no mailboxes") && printed.contains("mailbox: on"), "{printed}");
    let (status, _, printed) = setup.run(&["notify", "--user", "7", "e", "--redis"]).await;
    assert_eq!(status, Some(64));
    assert!(printed.contains("no mailboxes") && printed.contains("mailbox: on"), "{printed}");
    let setup = Setup::start(", mailbox: on").await;
    let (status, _, printed) = setup.run(&["notify", "--user", "7", "e", "--redis"]).await;
    assert_eq!(status, Some(64));
    assert!(printed.contains("no Redis"), "{printed}");
}
