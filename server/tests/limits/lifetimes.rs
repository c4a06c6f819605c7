//! Limits in time: how long keys, tokens and identities are valid, and how long a heartbeat may take.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::application::Application;
use crate::support::keys::{LATER, key};
use crate::support::raw::{End, Raw};
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::until;
use crate::support::{Browser, Transport};
use serde_json::{Value, json};
use std::time::Instant;

const KEY_SECRET: &str = "a-secret-of-more-than-sixteen";

/// Connects to `/limited` with a token.
async fn enter(server: &ServerWithBystander, claims: Value) -> Result<Browser, Value> {
    let mut browser = Browser::open(&server.site, Transport::WebSocket).await;
    browser.enter_with("/limited", &json!({"token": token(claims)}).to_string()).await?;
    Ok(browser)
}

#[tokio::test]
async fn keys_and_tokens_that_are_valid_for_too_long_are_rejected() {
    let settings = format!(
        "/nodevent: {{open: true}}\n/limited: {{secret: {KEY_SECRET}, max_key_lifetime: 1h, \
         token: {{secret: {TOKEN_SECRET}, max_lifetime: 1h}}}}"
    );
    let mut server = ServerWithBystander::start(&settings).await;
    let mut browser = Browser::connect(&server.site, "/limited", Transport::WebSocket).await;
    let soon = format!("{}", (now() * 1000.0) as u64 + 1_800_000);
    let long = browser.join_with("r", key("r", LATER, KEY_SECRET)).await;
    assert_eq!(long[1], false, "{long}");
    assert_eq!(browser.join_with("r", key("r", &soon, KEY_SECRET)).await[1], true);
    server.metric_is("nodevent_rejected_joins_total", 1).await;
    let rejected = enter(&server, json!({"sub": "7", "exp": now() + 7200.0})).await.map(drop);
    assert!(rejected.is_err(), "a token for two hours");
    enter(&server, json!({"sub": "7", "exp": now() + 1800.0})).await.expect("a token for half an hour");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn connection_with_an_expired_token_is_closed_after_the_grace_period_and_others_stay() {
    let settings = format!(
        "/nodevent: {{open: true}}\n/limited: {{token: {{secret: {TOKEN_SECRET}, leeway: 0s, grace: 300ms}}}}"
    );
    let mut server = ServerWithBystander::start(&settings).await;
    let mut other = enter(&server, json!({"sub": "8"})).await.expect("a valid token");
    let expires = now() + 3.0;
    let mut browser = enter(&server, json!({"sub": "7", "exp": expires})).await.expect("a valid token");
    while browser.next_notice().await != json!(["expired", {"grace": 300}]) {}
    assert_eq!(browser.ended().await, Some((1008, "token expired".to_owned())));
    assert!(now() >= expires, "closed before its time");
    server.metric_is("nodevent_disconnects_total{reason=\"token_expired\"}", 1).await;
    other.next_notice().await;
    assert_eq!(other.call("presence", &[json!({"room": "r"})]).await, json!(["Not a member"]), "it is connected");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn identity_of_the_application_ends_after_its_lifetime_and_grace_period() {
    let application = Application::knows("7").await;
    let settings = format!(
        "/nodevent: {{open: true}}\n/limited: {{secret: {KEY_SECRET}, auth: {{url: \"{}\", cookies: [session], \
         lifetime: 1s, grace: 300ms}}}}",
        application.url
    );
    let mut server = ServerWithBystander::start(&settings).await;
    let opened = Browser::try_open(&server.site, Transport::WebSocket, &[("Cookie", "session=7")]).await;
    let mut browser = opened.unwrap_or_else(|response| panic!("{}", response.status));
    let began = Instant::now();
    browser.enter("/limited").await.expect("the application says yes");
    while browser.next_notice().await != json!(["expired", {"grace": 300}]) {}
    browser.ended().await;
    assert!(began.elapsed().as_millis() >= 1300, "{:?}", began.elapsed());
    server.bystander_is_unaffected().await;
}

/// A client of Socket.IO that returns with its state too late is a new one.
#[tokio::test]
async fn client_that_was_disconnected_for_too_long_is_not_restored() {
    let settings = "/nodevent: {open: true}\n/limited: {open: true, connection_state_recovery: \
                    {max_disconnection: 1s, secret: a-secret-that-seals-the-states-of-clients}}";
    let mut server = ServerWithBystander::start(settings).await;
    let mut browser = Browser::open(&server.site, Transport::WebSocket).await;
    let entered = browser.enter("/limited").await.unwrap();
    let offset = browser.next_notice().await;
    let offset = offset.as_array().unwrap().last().unwrap().clone();
    let state = json!({"pid": entered["pid"], "offset": offset}).to_string();
    drop(browser);
    server.metric_is("nodevent_connections", 1).await;
    // Its state is used up by each attempt, so that the first one decides.
    let disconnected = Instant::now();
    until("more than a second has passed", async || disconnected.elapsed().as_millis() > 1500).await;
    let mut again = Browser::open(&server.site, Transport::WebSocket).await;
    let entered_again = again.enter_with("/limited", &state).await.unwrap();
    assert!(entered["pid"].is_string() && entered_again["pid"] != entered["pid"], "{entered_again}");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn connection_without_a_heartbeat_is_closed_and_one_that_responds_stays() {
    // The bystander joins often.
    let limits = "limits: {joins_per_second: 10000, packets_per_second: 10000}";
    let settings = format!("{limits}\nping: {{interval: 500ms, timeout: 1500ms}}\n/nodevent: {{}}");
    let mut server = ServerWithBystander::start(&settings).await;
    let mut silent = Raw::connected(&server.site, "/nodevent").await;
    let closed = "nodevent_disconnects_total{reason=\"ping_timeout\"}";
    let began = Instant::now();
    // The bystander responds to its pings while it reads.
    while server.metric(closed).await == 0 {
        server.bystander_is_unaffected().await;
        assert!(began.elapsed().as_secs() < 60, "the silent connection is not closed");
    }
    assert!(matches!(silent.ended().await, End::Closed(..) | End::Cut));
    server.metric_is(closed, 1).await;
    server.bystander_is_unaffected().await;
}
