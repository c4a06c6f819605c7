//! Limits of mailboxes: what is rejected, what is dropped, and for how long messages are kept.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::until;
use crate::support::{Browser, Request, Response, Transport};
use serde_json::{Value, json};

/// An open namespace with mailboxes. They keep messages for users who were never connected, unless `mailbox` says more.
fn configuration(limits: &str, mailbox: &str) -> String {
    format!(
        "limits: {{{limits}}}\n/nodevent: {{open: true, token: {{secret: {TOKEN_SECRET}}}, mailbox: {{{mailbox}}}}}"
    )
}

async fn notify(server: &ServerWithBystander, body: Value) -> Response {
    server.send(&Request::post("/api/nodevent/notify", body.to_string())).await
}

async fn send(server: &ServerWithBystander, user: &str, message: impl Into<Value>) -> Response {
    notify(server, json!({"user": user, "event": "e", "message": message.into()})).await
}

/// The unread messages of a user, over HTTP.
async fn unread(server: &ServerWithBystander, user: &str) -> Vec<Value> {
    let response = server.get(&format!("/api/nodevent/users/{user}/mailbox")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let messages = response.json()["messages"].as_array().unwrap().clone();
    messages.into_iter().map(|message| message["message"].clone()).collect()
}

#[tokio::test]
async fn mailboxes_beyond_their_number_are_rejected_and_the_others_go_on() {
    let mut server = ServerWithBystander::start(&configuration("max_mailboxes: 3", "unknown: keep")).await;
    let response = notify(&server, json!({"users": ["1", "2", "3", "4", "5"], "event": "e", "message": 1})).await;
    assert_eq!((response.status, &response.json()["accepted"]), (507, &json!(3)), "{}", response.text());
    server.metric_is("nodevent_mailbox_full_total", 2).await;
    assert_eq!(send(&server, "1", 2).await.status, 200, "a mailbox that exists has its place");
    assert_eq!(unread(&server, "1").await, [json!(1), json!(2)]);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn messages_beyond_the_memory_of_all_mailboxes_are_rejected_and_none_is_lost() {
    let settings = configuration("max_mailbox_memory: 100KB", "unknown: keep, bytes: 1MB");
    let mut server = ServerWithBystander::start(&settings).await;
    assert_eq!(send(&server, "first", "kept").await.status, 200);
    let mut accepted = 0;
    let rejected = loop {
        let response = send(&server, "many", "x".repeat(10_000)).await;
        if response.status != 200 {
            break response;
        }
        accepted += 1;
        assert!(accepted <= 10, "more than the limit is stored");
    };
    assert_eq!(rejected.status, 507, "{}", rejected.text());
    assert!(server.metric("nodevent_mailbox_full_total").await >= 1);
    assert_eq!(unread(&server, "first").await, [json!("kept")]);
    assert_eq!(unread(&server, "many").await.len(), accepted);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn message_and_list_of_users_beyond_their_limits_are_rejected_with_a_hint() {
    let limits = "max_mailbox_message: 1KB, max_notified_users: 2";
    let mut server = ServerWithBystander::start(&configuration(limits, "unknown: keep")).await;
    let too_large = send(&server, "1", "x".repeat(1100)).await;
    assert_eq!(too_large.status, 413, "{}", too_large.text());
    assert!(too_large.text().contains("limits: max_mailbox_message"), "{}", too_large.text());
    let too_many = notify(&server, json!({"users": ["1", "2", "3"], "event": "e"})).await;
    assert_eq!(too_many.status, 400, "{}", too_many.text());
    assert!(unread(&server, "1").await.is_empty(), "nothing of it is stored");
    let fits = notify(&server, json!({"users": ["1", "2"], "event": "e", "message": "x".repeat(900)})).await;
    assert_eq!(fits.status, 200, "{}", fits.text());
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn oldest_messages_of_a_full_mailbox_are_dropped_and_those_of_others_are_not() {
    for (mailbox, kept) in [("count: 5", 5), ("bytes: 4KB", 3)] {
        let settings = configuration("", &format!("unknown: keep, {mailbox}"));
        let mut server = ServerWithBystander::start(&settings).await;
        assert_eq!(send(&server, "other", "kept").await.status, 200);
        for number in 1..=20 {
            assert_eq!(send(&server, "full", format!("{number:0>1000}")).await.status, 200);
        }
        let messages = unread(&server, "full").await;
        assert_eq!((messages.len(), messages.last().unwrap()), (kept, &json!(format!("{:0>1000}", 20))));
        server.metric_is("nodevent_mailbox_dropped_total", 20 - kept as i64).await;
        assert_eq!(unread(&server, "other").await, [json!("kept")]);
        server.bystander_is_unaffected().await;
    }
}

#[tokio::test]
async fn messages_of_a_user_who_stays_away_are_forgotten_after_the_age() {
    let mut server = ServerWithBystander::start(&configuration("", "age: 2s")).await;
    let mut users = Vec::new();
    for user in ["gone", "here"] {
        let mut browser = Browser::open(&server.site, Transport::WebSocket).await;
        let auth = json!({"token": token(json!({"sub": user}))}).to_string();
        browser.enter_with("/nodevent", &auth).await.expect("the token is accepted");
        while browser.next_notice().await[0] != "identified" {}
        users.push(browser);
    }
    let here = users.pop();
    for user in ["gone", "here"] {
        let stored = send(&server, user, 1).await.json();
        assert!(stored["ids"][0].is_string(), "{user}: {stored}");
    }
    drop(users);
    until("the user is forgotten", async || send(&server, "gone", 2).await.json()["ids"][0].is_null()).await;
    let stored = send(&server, "here", 2).await.json();
    assert!(stored["ids"][0].is_string(), "a connected user stays known: {stored}");
    assert_eq!(unread(&server, "here").await, [json!(1), json!(2)]);
    server.bystander_is_unaffected().await;
    drop(here);
}
