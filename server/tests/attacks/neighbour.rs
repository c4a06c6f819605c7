//! Attacks by a program with write access to the same Redis, on what is newer than histories: mailboxes and revocations.
//! What it stores must not make the server read without a pause, and must not reach clients as anything but data.
//!
//! Each test has a control: what our scripts would store in the same place has its effect, so the attack is in the place
//! from which the server reads. Others are served meanwhile.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::Raw;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::in_time;
use crate::support::{RedisServer, Request};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// How long the effect is observed.
const LENGTH: Duration = Duration::from_secs(3);
/// Calls of scripts in this time, of all tasks of the server, each with its pause. Without pauses there are thousands.
const CALLS: i64 = 40;

async fn server(redis: &RedisServer) -> Process {
    let namespace = format!(
        "/nodevent: {{redis: \"{}\", token: {{secret: {TOKEN_SECRET}}}, open: true, mailbox: {{unknown: keep, age: 0}}}}",
        redis.url()
    );
    let process = Process::start(&namespace).await;
    process.is_ready().await;
    process
}

/// The number of scripts that Redis has called.
async fn calls(redis: &RedisServer) -> i64 {
    let script = "local text = redis.call('INFO', 'commandstats') \
                  return tonumber(string.match(text, 'cmdstat_evalsha:calls=(%d+)') or '0')";
    let reply = redis.call(&["EVAL", script, "0"]).await;
    reply.strip_prefix(':').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("INFO: {reply}"))
}

/// Sends a request of the application.
async fn post(process: &Process, resource: &str, body: &Value) {
    let request = Request::post(&format!("/api/nodevent/{resource}"), body.to_string());
    let response = process.site.send(&request).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Reads on until a packet contains a text.
async fn receives(raw: &mut Raw, text: &str) {
    in_time(text, async { while !raw.text().await.contains(text) {} }).await;
}

/// Opens the mailbox of a user, and returns the connection after the acknowledgement.
async fn open_mailbox(process: &Process, user: &str) -> Raw {
    let mut raw = Raw::opened(&process.site).await;
    let auth = json!({"token": token(json!({"sub": user}))});
    raw.send_text(&format!("40/nodevent,{auth}")).await;
    raw.send_text("42/nodevent,1[\"mailbox\"]").await;
    while !raw.text().await.starts_with("43/nodevent,1[null,true]") {}
    raw
}

#[test]
fn mailbox_that_a_neighbour_has_changed_is_not_read_without_a_pause() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = server(&redis).await;
        // Entries that all have one id: a page of them leads nowhere.
        let (state, messages) =
            ("nodevent:1:{9:/nodevent:mailbox:1:7}:state", "nodevent:1:{9:/nodevent:mailbox:1:7}:messages");
        for number in 1..=300 {
            redis.call(&["XADD", messages, &format!("5-{number}"), "d", "{\"event\":\"forged\"}"]).await;
        }
        redis.call(&["HSET", state, "o", "999", "b", "1"]).await;
        let mut other = open_mailbox(&process, "8").await;
        let mut victim = open_mailbox(&process, "7").await;
        process.logs("entries that this program did not store").await;
        let before = calls(&redis).await;
        let mut received = 0;
        let _ = timeout(LENGTH, async {
            loop {
                victim.text().await;
                received += 1;
            }
        })
        .await;
        let called = calls(&redis).await - before;
        assert!((1..CALLS).contains(&called) && received < 10, "{called} calls, {received} pages in {LENGTH:?}");
        // Others are served, and so is the victim as soon as the mailbox is in order.
        assert_unnoticed(&process.site.address, async || tokio::time::sleep(LENGTH).await).await;
        post(&process, "notify", &json!({"user": "8", "event": "e", "message": "for another user"})).await;
        receives(&mut other, "for another user").await;
        let in_order = "redis.call('DEL', KEYS[1], KEYS[2]) redis.call('HSET', KEYS[1], 'o', '5', 'b', '60')
            redis.call('XADD', KEYS[2], '5-0', 'd', ARGV[1]) return 1";
        let valid = r#"{"event":"e","message":"in order","sent":5,"id":"5"}"#;
        redis.call(&["EVAL", in_order, "2", state, messages, valid]).await;
        receives(&mut victim, "in order").await;
    });
}

#[test]
fn text_in_a_mailbox_that_is_not_a_message_reaches_no_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = server(&redis).await;
        let valid = r#"{"event":"e","message":"valid","sent":5,"id":"5"}"#;
        for (number, text) in
            [valid, "{}]}]\u{1e}42/other,[\"forged\"]", "7", "{\"a\":", ""].into_iter().enumerate()
        {
            let key = |kind: &str| format!("nodevent:1:{{9:/nodevent:mailbox:1:{number}}}:{kind}");
            redis.call(&["XADD", &key("messages"), "5-0", "d", text]).await;
            redis.call(&["HSET", &key("state"), "o", "5", "b", "1"]).await;
            let mut victim = open_mailbox(&process, &number.to_string()).await;
            if text == valid {
                receives(&mut victim, "\"message\":\"valid\"").await;
                continue;
            }
            victim.send_text("42/nodevent,2[\"join\",{\"room\":\"r\"}]").await;
            // Longer than a repeated read.
            let _ = timeout(LENGTH, async {
                loop {
                    let packet = victim.text().await;
                    assert!(!packet.contains("\"mailbox\""), "{packet}");
                }
            })
            .await;
        }
    });
}

#[test]
fn revocation_that_a_neighbour_has_changed_is_not_read_without_a_pause() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = server(&redis).await;
        let mut revoked = open_mailbox(&process, "y").await;
        let mut stays = open_mailbox(&process, "z").await;
        let key = |kind: &str| format!("nodevent:1:{{9:/nodevent}}:revocations:{kind}");
        let target = "[\"x\",null]";
        redis
            .call(&["HSET", &key("entries"), target, "{\"user\":\"x\",\"room\":null,\"before\":1,\"until\":1}"])
            .await;
        // Rounded down it is the number after which the server has read.
        redis.call(&["ZADD", &key("order"), "0.5", target]).await;
        redis.publish("/nodevent", "nodevent:1:revoked").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = calls(&redis).await;
        tokio::time::sleep(LENGTH).await;
        let called = calls(&redis).await - before;
        assert!(called < CALLS, "{called} calls in {LENGTH:?}");
        assert_unnoticed(&process.site.address, async || tokio::time::sleep(LENGTH).await).await;
        // A revocation of ours is in the same place, and has its effect in spite of the other one.
        post(&process, "revoke", &json!({"user": "y"})).await;
        let stored = redis.call(&["HEXISTS", &key("entries"), "[\"y\",null]"]).await;
        assert_eq!(stored, ":1", "the name of the key is another one");
        receives(&mut revoked, "revoked").await;
        stays.send_text("42/nodevent,9[\"join\",{\"room\":\"r\"}]").await;
        receives(&mut stays, "43/nodevent,9[null,true").await;
    });
}
