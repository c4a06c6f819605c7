//! The protocol `action_cable`: refreshes of one stream are merged, and none is lost.

use crate::support::cable::{Cable, EXTENDED, STREAM_KEY, command, confirmed, message, turbo, turbo_with};
use crate::support::{RedisServer, TestServer};
use serde_json::{Value, json};

async fn start(engine: &str, settings: &str) -> TestServer {
    let cable = format!("action_cable: {{signed_stream_key: {STREAM_KEY}, ping_interval: 50ms{settings}}}");
    let server = TestServer::start(&format!("/cable: {{protocol: action_cable{engine}, {cable}}}\n")).await;
    server.ready().await;
    server
}

fn refresh(request_id: Option<&str>) -> String {
    let request = request_id.map(|id| format!(" request-id=\"{id}\"")).unwrap_or_default();
    format!("<turbo-stream{request} action=\"refresh\"></turbo-stream>")
}

/// Publishes all in one request.
async fn publish(server: &TestServer, messages: impl IntoIterator<Item = String>) {
    let one = |message: String| json!({"room": "posts", "event": "e", "message": message});
    let body: Value = messages.into_iter().map(one).collect();
    assert_eq!(server.publish("/cable", body.to_string()).await.status, 200);
}

#[tokio::test]
async fn a_storm_of_refreshes_is_one_at_once_and_one_at_the_end_of_the_interval() {
    let redis = RedisServer::start().await;
    let engine = format!(", redis: \"{}\"", redis.url());
    let servers = [start(&engine, ", refresh_interval: 3s").await, start(&engine, ", refresh_interval: 3s").await];
    let identifier = turbo("posts");
    let mut viewers = Vec::new();
    for server in &servers {
        for _ in 0..3 {
            let mut viewer = Cable::rails(server).await;
            viewer.subscribe(&identifier).await;
            viewers.push(viewer);
        }
    }
    // Processes of the application publish through both servers.
    for server in &servers {
        publish(server, std::iter::repeat_n(refresh(None), 50)).await;
    }
    for viewer in &mut viewers {
        assert_eq!(viewer.next().await, message(&identifier, refresh(None)));
    }
    // Other messages do not wait.
    servers[0].emit("/cable", "posts", "e", 1).await;
    for viewer in &mut viewers {
        assert_eq!(viewer.next().await, message(&identifier, 1));
        assert_eq!(viewer.next().await, message(&identifier, refresh(None)));
        viewer.receives_nothing_else().await;
    }
    for server in &servers {
        assert!(server.metric("nodevent_merged_refreshes_total").await >= 98);
    }
}

/// Several processes publish changes, each followed by a refresh, to either of two servers.
#[tokio::test]
async fn refreshes_of_several_publishers_are_one_per_interval_and_the_last_follows_the_last_change() {
    let redis = RedisServer::start().await;
    let (engine, settings) = (format!(", redis: \"{}\"", redis.url()), ", refresh_interval: 2s");
    let servers = [start(&engine, settings).await, start(&engine, settings).await];
    let identifier = turbo("posts");
    let mut viewers = Vec::new();
    for server in &servers {
        let mut viewer = Cable::rails(server).await;
        viewer.subscribe(&identifier).await;
        viewers.push(viewer);
    }
    let publisher = async |number: u64| {
        for change in 0..10 {
            let server = &servers[((number + change) % 2) as usize];
            publish(server, [format!("change {number} {change}"), refresh(None)]).await;
        }
    };
    let began = std::time::Instant::now();
    tokio::join!(publisher(0), publisher(1), publisher(2), publisher(3));
    for viewer in &mut viewers {
        let (mut changes, mut refreshes, mut is_fresh) = (0, 0, false);
        while changes < 40 || !is_fresh {
            let received = viewer.next().await;
            is_fresh = received == message(&identifier, refresh(None));
            if is_fresh { refreshes += 1 } else { changes += 1 }
        }
        assert_eq!(changes, 40);
        let intervals = began.elapsed().as_secs() / 2 + 1;
        assert!((1..=intervals + 1).contains(&refreshes), "{refreshes} refreshes in {intervals} intervals");
    }
}

#[tokio::test]
async fn a_merged_refresh_names_a_request_only_if_it_has_caused_all() {
    let server = start("", ", refresh_interval: 300ms").await;
    let identifier = turbo("posts");
    let mut rails = Cable::rails(&server).await;
    rails.subscribe(&identifier).await;
    for (requests, merged) in [(["a", "a"], Some("a")), (["a", "b"], None)] {
        let all = [refresh(Some("first")), refresh(Some(requests[0])), refresh(Some(requests[1]))];
        publish(&server, all).await;
        assert_eq!(rails.next().await, message(&identifier, refresh(Some("first"))));
        assert_eq!(rails.next().await, message(&identifier, refresh(merged)));
        // Then the interval is over.
        let gone = async || server.metric("nodevent_rooms").await == 1;
        crate::support::wait::until("the server responds", gone).await;
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    }
}

#[tokio::test]
async fn refreshes_that_were_missed_are_one_at_the_end() {
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server = start(&engine, "").await;
        let response =
            server.publish("/cable", json!({"room": "posts", "event": "e", "message": 0}).to_string()).await;
        let since = response.json()["positions"][0].as_str().unwrap().to_owned();
        let all = [refresh(None), "one".to_owned(), refresh(None), "two".to_owned(), refresh(None)];
        publish(&server, all).await;
        let identifier = turbo_with("posts", &json!({"nodevent_since": since}));
        let mut rails = Cable::rails(&server).await;
        rails.send(&command("subscribe", &identifier)).await;
        for expected in ["one".to_owned(), "two".to_owned(), refresh(None)] {
            assert_eq!(rails.next().await, message(&identifier, expected));
        }
        assert_eq!(rails.next().await, confirmed(&identifier));
        rails.receives_nothing_else().await;
    }
}

#[tokio::test]
async fn a_refresh_that_waits_is_not_lost_with_the_connection() {
    let server = start("", ", refresh_interval: 1h").await;
    let identifier = turbo_with("posts", &json!({"nodevent_page": "page-1"}));
    let mut rails = Cable::rails(&server).await;
    rails.subscribe(&identifier).await;
    publish(&server, [refresh(None), refresh(None), "after".to_owned()]).await;
    let received = [rails.next().await, rails.next().await];
    assert!(
        received.contains(&message(&identifier, refresh(None)))
            && received.contains(&message(&identifier, "after"))
    );
    rails.confirms_arrival().await;
    drop(rails);
    server.metric_is("nodevent_rooms", 0).await;
    let mut rails = Cable::rails(&server).await;
    rails.send(&command("subscribe", &identifier)).await;
    // What followed the refresh was not confirmed.
    assert_eq!(rails.next().await, message(&identifier, "after"));
    assert_eq!(rails.next().await, message(&identifier, refresh(None)));
    assert_eq!(rails.next().await, confirmed(&identifier));
}

#[tokio::test]
async fn a_refresh_is_spread_over_its_viewers_and_reaches_all() {
    let server = start("", ", refresh_window: 10s").await;
    let identifier = turbo("posts");
    let mut viewers = Vec::new();
    for _ in 0..200 {
        let mut viewer = Cable::rails(&server).await;
        viewer.subscribe(&identifier).await;
        viewers.push(viewer);
    }
    let before = server.metric("nodevent_merged_refreshes_total").await;
    publish(&server, [refresh(None)]).await;
    // A message is delivered at once, and so it is there before most of the refreshes.
    server.emit("/cable", "posts", "e", 1).await;
    let mut earlier = 0;
    for viewer in &mut viewers {
        let received = [viewer.next().await, viewer.next().await];
        assert!(received.contains(&message(&identifier, refresh(None))), "{received:?}");
        earlier += usize::from(received[0] == message(&identifier, 1));
    }
    assert!(earlier > 0, "some viewers wait");
    assert_eq!(server.metric("nodevent_merged_refreshes_total").await, before);
}

#[tokio::test]
async fn clients_that_follow_positions_and_servers_that_merge_none_receive_each_refresh() {
    let merging = start("", ", refresh_interval: 1h").await;
    let plain = start("", ", refresh_interval: 0s").await;
    let identifier = turbo("posts");
    let mut extended = Cable::connect(&merging, EXTENDED).await;
    let mut rails = Cable::rails(&plain).await;
    for (server, client) in [(&merging, &mut extended), (&plain, &mut rails)] {
        client.subscribe(&identifier).await;
        publish(server, std::iter::repeat_n(refresh(None), 3)).await;
        for _ in 0..3 {
            assert_eq!(client.next().await["message"], refresh(None));
        }
        client.receives_nothing_else().await;
    }
}
