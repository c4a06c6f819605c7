//! The protocol `action_cable`: pages whose tag has the position of their rendering and their id. A page receives what it has
//! not received, in order and once, however often it connects again and whatever position its tag names.

use crate::support::cable::{Cable, STREAM_KEY, command, confirmed, message, turbo_with};
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::until;
use crate::support::{RedisServer, TestServer};
use serde_json::{Value, json};

/// Servers of one namespace, which pings often, so that a test does not wait for it.
async fn start(redis: Option<&RedisServer>, count: usize, more: &str) -> Vec<TestServer> {
    let engine = redis.map(|redis| format!(", redis: \"{}\"", redis.url())).unwrap_or_default();
    let cable = format!("action_cable: {{signed_stream_key: {STREAM_KEY}, ping_interval: 50ms}}");
    let mut servers = Vec::new();
    for _ in 0..count {
        let server =
            TestServer::start(&format!("/cable: {{protocol: action_cable{engine}{more}, {cable}}}\n")).await;
        server.ready().await;
        servers.push(server);
    }
    servers
}

/// One server with the memory engine, and two that share Redis.
async fn engines() -> (RedisServer, Vec<Vec<TestServer>>) {
    let redis = RedisServer::start().await;
    let all = vec![start(None, 1, "").await, start(Some(&redis), 2, "").await];
    (redis, all)
}

/// The tag of a page, as the gem writes it.
async fn page(server: &TestServer, stream: &str, page: &str) -> String {
    let publication = json!({"room": stream, "event": "e", "message": "before the page"}).to_string();
    let response = server.publish("/cable", publication).await;
    let since = response.json()["positions"][0].as_str().expect("a position").to_owned();
    turbo_with(stream, &json!({"nodevent_since": since, "nodevent_page": page}))
}

/// Waits until Redis has this offset as that of the only cursor. The memory engine has it at once.
async fn cursor_is(redis: Option<&RedisServer>, offset: u64) {
    let Some(redis) = redis else { return };
    let script = "local keys = redis.call('KEYS', 'nodevent:1:cable:*') \
                  return {ok = keys[1] and redis.call('HGET', keys[1], 'p') or 'none'}";
    until("the cursor is stored", async || {
        redis.call(&["EVAL", script, "0"]).await.ends_with(&format!(":{offset}"))
    })
    .await;
}

/// Subscribes, and checks what arrives before the confirmation.
async fn receives(client: &mut Cable, identifier: &str, messages: impl IntoIterator<Item = Value>) {
    client.send(&command("subscribe", identifier)).await;
    for expected in messages {
        assert_eq!(client.next().await, message(identifier, expected));
    }
    assert_eq!(client.next().await, confirmed(identifier));
}

#[tokio::test]
async fn fifty_messages_between_rendering_and_subscribing_arrive_once_and_so_over_three_reconnects() {
    let (redis, engines) = engines().await;
    for servers in engines {
        let redis = (servers.len() > 1).then_some(&redis);
        let identifier = page(&servers[0], "posts", "page-1").await;
        let mut published = 0;
        for connection in 0..4 {
            let (here, there) = (&servers[connection % servers.len()], &servers[(connection + 1) % servers.len()]);
            let first = published + 1;
            for _ in 0..50 {
                published += 1;
                there.emit("/cable", "posts", "e", published).await;
            }
            let mut rails = Cable::rails(here).await;
            receives(&mut rails, &identifier, (first..=published).map(Value::from)).await;
            for _ in 0..3 {
                published += 1;
                there.emit("/cable", "posts", "e", published).await;
                assert_eq!(rails.next().await, message(&identifier, published));
            }
            rails.confirms_arrival().await;
            // One message preceded the page.
            cursor_is(redis, published + 1).await;
            // The connection is lost without a close frame.
            drop(rails);
        }
    }
}

#[tokio::test]
async fn what_was_sent_and_not_confirmed_is_sent_again() {
    let (_redis, engines) = engines().await;
    for servers in engines {
        let server = &servers[0];
        let identifier = page(server, "posts", "page-1").await;
        for number in 1..=3 {
            server.emit("/cable", "posts", "e", number).await;
        }
        // It reads nothing, so it sends no pong.
        let mut lost = Cable::rails(server).await;
        lost.send(&command("subscribe", &identifier)).await;
        server.metric_is("nodevent_rooms", 1).await;
        server.emit("/cable", "posts", "e", 4).await;
        drop(lost);
        server.metric_is("nodevent_rooms", 0).await;
        let mut rails = Cable::rails(server).await;
        receives(&mut rails, &identifier, (1..=4).map(Value::from)).await;
    }
}

#[tokio::test]
async fn a_cached_page_that_subscribes_again_receives_the_rest() {
    let (_redis, engines) = engines().await;
    for servers in engines {
        let server = &servers[0];
        let identifier = page(server, "posts", "page-1").await;
        server.emit("/cable", "posts", "e", 1).await;
        let mut rails = Cable::rails(server).await;
        receives(&mut rails, &identifier, [json!(1)]).await;
        rails.confirms_arrival().await;
        // Turbo leaves the page, and shows it again as it was.
        rails.send(&command("unsubscribe", &identifier)).await;
        rails.receives_nothing_else().await;
        server.emit("/cable", "posts", "e", 2).await;
        receives(&mut rails, &identifier, [json!(2)]).await;
        // A page that is rendered again has another id.
        let another = page(server, "posts", "page-2").await;
        assert_eq!(rails.next().await, message(&identifier, "before the page"));
        receives(&mut rails, &another, []).await;
    }
}

#[tokio::test]
async fn a_page_without_a_position_receives_after_a_reconnect_what_it_missed() {
    let (_redis, engines) = engines().await;
    for servers in engines {
        let server = &servers[0];
        server.emit("/cable", "posts", "e", "before").await;
        let identifier = turbo_with("posts", &json!({"nodevent_page": "page-1"}));
        let mut rails = Cable::rails(server).await;
        receives(&mut rails, &identifier, []).await;
        rails.confirms_arrival().await;
        drop(rails);
        server.metric_is("nodevent_rooms", 0).await;
        server.emit("/cable", "posts", "e", "missed").await;
        let mut rails = Cable::rails(server).await;
        receives(&mut rails, &identifier, [json!("missed")]).await;
    }
}

#[tokio::test]
async fn a_page_id_that_two_visitors_share_loses_nothing_from_then_on() {
    // A fragment cache may contain the tag.
    let (_redis, engines) = engines().await;
    for servers in engines {
        let server = &servers[0];
        let identifier = page(server, "posts", "page-1").await;
        let (mut one, mut two) = (Cable::rails(server).await, Cable::rails(server).await);
        for client in [&mut one, &mut two] {
            receives(client, &identifier, []).await;
        }
        server.emit("/cable", "posts", "e", 1).await;
        for client in [&mut one, &mut two] {
            assert_eq!(client.next().await, message(&identifier, 1));
            client.confirms_arrival().await;
        }
        let mut three = Cable::rails(server).await;
        // It has received nothing, whatever the others have.
        receives(&mut three, &identifier, [json!(1)]).await;
    }
}

#[tokio::test]
async fn visitors_with_identities_do_not_share_a_cursor() {
    let more = format!(", token: {{secret: {TOKEN_SECRET}, required: true, query: jid}}");
    let server = &start(None, 1, &more).await[0];
    let identifier = page(server, "posts", "page-1").await;
    server.emit("/cable", "posts", "e", 1).await;
    for (user, expected) in [("41", vec![json!(1)]), ("42", vec![json!(1)]), ("41", vec![])] {
        let path = format!("/cable?jid={}", token(json!({"sub": user})));
        let mut client = Cable::open(server, &path, crate::support::cable::RAILS).await;
        assert_eq!(client.next().await, json!({"type": "welcome"}));
        receives(&mut client, &identifier, expected).await;
        client.confirms_arrival().await;
    }
}

#[tokio::test]
async fn a_page_that_was_refreshed_because_messages_are_missing_continues_after_them() {
    let server = &start(None, 1, ", history: {size: 2}").await[0];
    let identifier = page(server, "posts", "page-1").await;
    for number in 1..=3 {
        server.emit("/cable", "posts", "e", number).await;
    }
    let mut rails = Cable::rails(server).await;
    receives(&mut rails, &identifier, []).await;
    assert_eq!(rails.next().await, message(&identifier, r#"<turbo-stream action="refresh"></turbo-stream>"#));
    rails.confirms_arrival().await;
    drop(rails);
    server.metric_is("nodevent_rooms", 0).await;
    server.emit("/cable", "posts", "e", 4).await;
    let mut rails = Cable::rails(server).await;
    receives(&mut rails, &identifier, [json!(4)]).await;
    rails.receives_nothing_else().await;
}

#[tokio::test]
async fn a_cursor_that_is_no_position_is_no_obstacle() {
    let redis = RedisServer::start().await;
    let server = &start(Some(&redis), 1, "").await[0];
    let identifier = page(server, "posts", "page-1").await;
    server.emit("/cable", "posts", "e", 1).await;
    let mut rails = Cable::rails(server).await;
    receives(&mut rails, &identifier, [json!(1)]).await;
    rails.confirms_arrival().await;
    cursor_is(Some(&redis), 2).await;
    drop(rails);
    server.metric_is("nodevent_rooms", 0).await;
    let spoil = "for _, key in ipairs(redis.call('KEYS', 'nodevent:1:cable:*')) do \
                 redis.call('DEL', key) redis.call('SET', key, 'rubbish') end return {ok = 'done'}";
    assert_eq!(redis.call(&["EVAL", spoil, "0"]).await, "+done");
    let mut rails = Cable::rails(server).await;
    receives(&mut rails, &identifier, [json!(1)]).await;
}

/// A deployment on one machine: the tag of a page names the position of its rendering all the time, so without its cursor the
/// page would receive everything again.
#[tokio::test]
async fn a_page_of_a_server_with_a_store_receives_the_rest_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let cable = format!("action_cable: {{signed_stream_key: {STREAM_KEY}, ping_interval: 50ms}}");
    let start = async || {
        let configuration = format!(
            "store: {}\n/cable: {{protocol: action_cable, {cable}}}\n",
            folder.path().join("data").display()
        );
        TestServer::start(&configuration).await
    };
    let mut server = start().await;
    let identifier = page(&server, "posts", "page-1").await;
    let mut published = 0;
    for _ in 0..2 {
        let first = published + 1;
        published += 2;
        for number in first..=published {
            server.emit("/cable", "posts", "e", number).await;
        }
        let mut rails = Cable::rails(&server).await;
        receives(&mut rails, &identifier, (first..=published).map(Value::from)).await;
        rails.confirms_arrival().await;
        drop(rails);
        server.metric_is("nodevent_rooms", 0).await;
        server.stop().await;
        server = start().await;
    }
    // What two connections have moved at a time is no page's own, also after a restart.
    let mut twins = [Cable::rails(&server).await, Cable::rails(&server).await];
    for twin in &mut twins {
        receives(twin, &identifier, []).await;
    }
    published += 1;
    server.emit("/cable", "posts", "e", published).await;
    for twin in &mut twins {
        assert_eq!(twin.next().await, message(&identifier, published));
        twin.confirms_arrival().await;
    }
    drop(twins);
    server.metric_is("nodevent_rooms", 0).await;
    server.stop().await;
    let server = start().await;
    let mut rails = Cable::rails(&server).await;
    receives(&mut rails, &identifier, (1..=published).map(Value::from)).await;
}
