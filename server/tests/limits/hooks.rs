//! Limits of hooks: what waits for the application, and what happens to events that it does not accept.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::application::{Application, Behaviour};
use serde_json::{Value, json};

const DEAD_LETTERS: &str = "/api/nodevent/hooks/dead-letters";

/// A server whose application is notified of `order` events; `more` are further keys of the hooks.
async fn start(application: &Application, more: &str) -> ServerWithBystander {
    let url = &application.url;
    let secret = "a-secret-for-hooks-of-more-than-32-bytes";
    ServerWithBystander::start(&format!(
        "/nodevent: {{history: 1000, hooks: {{url: \"{url}\", secret: {secret}, delivered: order, {more}}}}}"
    ))
    .await
}

async fn orders(server: &ServerWithBystander, count: u64, message: &Value) {
    for _ in 0..count {
        server.emit("/nodevent", "orders", "order", message.clone()).await;
    }
}

/// How many events each request had.
fn batches(application: &Application) -> Vec<usize> {
    let events = |request: &String| {
        let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1)?).ok()?;
        Some(body["events"].as_array()?.len())
    };
    application.requests().iter().filter_map(events).collect()
}

#[tokio::test]
async fn events_beyond_the_journal_are_dropped_and_counted() {
    for (more, message, kept) in [("size: 5", json!(1), 5..=5), ("bytes: 10KB", json!("x".repeat(1000)), 5..=9)] {
        let application = Application::start(Behaviour::Close).await;
        let mut server = start(&application, more).await;
        orders(&server, 20, &message).await;
        let (mut waiting, mut dropped) = (0, 0);
        crate::support::wait::until("all events wait or are dropped", async || {
            waiting = server.metric("nodevent_hooks_waiting").await;
            dropped = server.metric("nodevent_hooks_dropped_total").await;
            waiting + dropped == 20
        })
        .await;
        assert!(kept.contains(&waiting), "{more}: {waiting} wait");
        server.bystander_is_unaffected().await;
    }
}

#[tokio::test]
async fn rejected_event_is_a_dead_letter_after_its_attempts_and_the_oldest_are_dropped() {
    let application = Application::start(Behaviour::Respond(422, "{}".to_owned())).await;
    let mut server = start(&application, "attempts: 2, dead_letters: 3, batch: 1").await;
    orders(&server, 5, &json!(1)).await;
    server.metric_is("nodevent_hooks_given_up_total", 5).await;
    server.metric_is("nodevent_hooks_dropped_total", 2).await;
    let listed = server.get(DEAD_LETTERS).await.json();
    assert_eq!(listed["count"], 3);
    let reason = listed["dead_letters"][0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("it was rejected 2 times"), "{reason}");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn request_without_a_response_is_sent_again_until_its_events_are_too_old() {
    let application = Application::start(Behaviour::Never).await;
    let mut server = start(&application, "timeout: 300ms, give_up: 1s, batch: 2").await;
    orders(&server, 6, &json!(1)).await;
    server.metric_is("nodevent_hooks_given_up_total", 6).await;
    assert!(server.metric("nodevent_hooks_failures_total").await >= 2);
    let batches = batches(&application);
    assert!(batches.len() >= 2 && batches.iter().all(|count| *count <= 2), "{batches:?}");
    server.bystander_is_unaffected().await;
}
