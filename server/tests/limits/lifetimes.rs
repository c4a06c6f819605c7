//! Limits in time: how long keys, tokens and identities are valid, and how long a heartbeat may take.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::application::Application;
use crate::support::keys::{LATER, key};
use crate::support::raw::{CLOSE, End, Raw};
use crate::support::server::metric;
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, Program, Site, Transport};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

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
    // The bystander joins without a pause.
    let limits = "limits: {joins_per_second: 100000, packets_per_second: 100000, bytes_per_second: 100MB}";
    let settings = format!("{limits}\nping: {{interval: 500ms, timeout: 4s}}\n/nodevent: {{}}");
    let mut server = ServerWithBystander::start(&settings).await;
    let mut silent = Raw::connected(&server.site, "/nodevent").await;
    // The bystander responds to its pings while it reads, so it reads until the socket of the other one is closed, which is
    // seconds after the close frame.
    let ended = tokio::spawn(async move { silent.ended().await });
    while !ended.is_finished() {
        server.bystander_is_unaffected().await;
    }
    assert!(matches!(ended.await.unwrap(), End::Closed(..) | End::Cut));
    server.bystander_is_unaffected().await;
    assert_eq!(server.metric("nodevent_disconnects_total{reason=\"ping_timeout\"}").await, 1);
    server.bystander_is_unaffected().await;
}

/// A client that takes its time to respond to a ping. Returns whether it receives another one after the stop.
async fn responds_late(site: Site, pings: Arc<AtomicUsize>, is_over: Arc<AtomicBool>) -> bool {
    let mut raw = Raw::connected(&site, "/nodevent").await;
    raw.send_text(r#"42/nodevent,["join",{"room":"r"}]"#).await;
    while let Some(frame) = raw.frame().await {
        match frame.payload.as_slice() {
            _ if frame.opcode == CLOSE => return false,
            b"2" if is_over.load(SeqCst) => return true,
            b"2" => {
                pings.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_secs(2)).await;
                raw.send_text("3").await;
            }
            _ => {}
        }
    }
    false
}

/// The server is stopped for longer than the timeout, as a busy or suspended machine does. More clients have responded
/// meanwhile than it reads in one turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_respond_while_the_server_is_stopped_stay() {
    const CLIENTS: usize = 1000;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\nshards: 1\nping: {interval: 1s, timeout: 4s}\n/nodevent: {}\n";
    let program = Program::serve(folder.path(), settings).await;
    let (site, admin) = (program.site().await, program.admin().await);
    let (pings, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let client = |_| tokio::spawn(responds_late(site.clone(), Arc::clone(&pings), Arc::clone(&is_over)));
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    until("most clients owe a response", async || pings.load(SeqCst) >= CLIENTS).await;
    program.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    is_over.store(true, SeqCst);
    program.signal(Signal::CONT);
    let stayed = in_time("the next pings", join_all(clients)).await;
    assert_eq!(stayed.into_iter().filter(|stayed| !stayed.as_ref().unwrap()).count(), 0, "disconnected clients");
    assert_eq!(metric(&admin, "nodevent_disconnects_total{reason=\"ping_timeout\"}").await, 0);
}
