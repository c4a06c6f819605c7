//! How many connections a user has, and on which servers: `GET /api/<ns>/users/<user>/connections`.

use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::until;
use crate::support::{Browser, Program, RedisServer, Request, Response, Site, TestServer, Transport};
use serde_json::{Value, json};

/// A namespace with presence, which enables it.
fn configuration(more: &str) -> String {
    format!("/n: {{token: {{secret: {TOKEN_SECRET}}}, presence: {{lease: 2s}}{more}}}\n")
}

async fn connect(site: &Site, user: &str) -> Browser {
    let mut browser = Browser::open(site, Transport::WebSocket).await;
    let auth = json!({"token": token(json!({"sub": user}))}).to_string();
    browser.enter_with("/n", &auth).await.expect("the token is accepted");
    browser
}

async fn get(site: &Site, user: &str) -> Response {
    site.get(&format!("/api/n/users/{user}/connections")).await
}

/// The number of a user's connections on each server, the smallest first.
async fn connections(site: &Site, user: &str) -> Vec<u64> {
    let response = get(site, user).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let body = response.json();
    assert_eq!(body["user"], user);
    let servers = body["servers"].as_object().unwrap();
    let mut counts: Vec<u64> = servers.values().filter_map(Value::as_u64).collect();
    counts.sort_unstable();
    assert_eq!(body["count"], counts.iter().sum::<u64>(), "{body}");
    counts
}

async fn are(site: &Site, user: &str, expected: &[u64]) {
    until(&format!("{user} has {expected:?} connections"), async || connections(site, user).await == expected)
        .await;
}

#[tokio::test]
async fn connections_of_a_user_are_counted_from_the_first_to_the_last_in_one_process() {
    let server = TestServer::start(&configuration("")).await;
    assert_eq!(connections(&server, "7").await, Vec::<u64>::new());
    let (first, second) = (connect(&server, "7").await, connect(&server, "7").await);
    let mut other = connect(&server, "8").await;
    assert_eq!((connections(&server, "7").await, connections(&server, "8").await), (vec![2], vec![1]));
    // A new token of the same connection is no new connection; leaving the namespace ends it.
    let renewed = other.call("token", &[json!({"token": token(json!({"sub": "8"}))})]).await;
    assert_eq!(renewed[0], Value::Null, "{renewed}");
    assert_eq!(connections(&server, "8").await, [1]);
    other.send(&["41/n,"]).await;
    are(&server, "8", &[]).await;
    first.close().await;
    are(&server, "7", &[1]).await;
    drop(second);
    are(&server, "7", &[]).await;
    assert_eq!(get(&server, "a%2Fb").await.json()["user"], "a/b");
}

#[tokio::test]
async fn servers_that_share_a_redis_know_the_connections_of_each_other() {
    let mut redis = RedisServer::start().await;
    let written = configuration(&format!(", redis: \"{}\"", redis.url()));
    let (one, two) = (TestServer::start(&written).await, TestServer::start(&written).await);
    for server in [&one, &two] {
        server.ready().await;
    }
    let kept = [connect(&one, "7").await, connect(&one, "7").await, connect(&two, "7").await];
    let other = connect(&two, "8").await;
    for server in [&one, &two] {
        are(server, "7", &[1, 2]).await;
        are(server, "8", &[1]).await;
    }
    drop(other);
    are(&one, "8", &[]).await;
    // A Redis that has lost its data receives everything again.
    redis.stop();
    redis.start_again().await;
    for server in [&one, &two] {
        server.ready().await;
        are(server, "7", &[1, 2]).await;
    }
    drop(kept);
    are(&two, "7", &[]).await;
}

#[tokio::test]
async fn the_connections_of_a_server_that_is_killed_are_gone_after_its_lease() {
    let redis = RedisServer::start().await;
    let written = configuration(&format!(", redis: \"{}\"", redis.url()));
    let survivor = TestServer::start(&written).await;
    survivor.ready().await;
    let folder = tempfile::tempdir().unwrap();
    let killed =
        Program::serve(folder.path(), &format!("port: 0\nbind: 127.0.0.1\npublish: local\n{written}")).await;
    let _kept = connect(&killed.site().await, "7").await;
    are(&survivor, "7", &[1]).await;
    killed.kill().await;
    are(&survivor, "7", &[]).await;
}

#[tokio::test]
async fn publishers_and_the_user_may_ask_and_others_may_not() {
    let keys = "publish_keys: [{id: a, key: key-for-all-0123456789}, {id: b, key: key-for-rooms-0123456, rooms: \"r\"}, \
                {id: c, key: key-for-users-0123456, users: [\"7\"]}]";
    let server = TestServer::start(&configuration(&format!(", {keys}"))).await;
    let own = token(json!({"sub": "7"}));
    for (bearer, user, status) in [
        ("key-for-all-0123456789", "7", 200),
        ("key-for-users-0123456", "7", 200),
        ("key-for-users-0123456", "8", 403),
        ("key-for-rooms-0123456", "7", 403),
        ("another-key-0123456789", "7", 401),
        (own.as_str(), "7", 200),
        (own.as_str(), "8", 403),
    ] {
        let path = format!("/api/n/users/{user}/connections");
        let request = Request::get(&path).header("Authorization", &format!("Bearer {bearer}"));
        assert_eq!(server.send(&request).await.status, status, "{bearer} about {user}");
    }
    let bearer = "Bearer key-for-all-0123456789";
    let post = Request::post("/api/n/users/7/connections", "{}").header("Authorization", bearer);
    assert_eq!(server.send(&post).await.status, 405);
    let long =
        Request::get(&format!("/api/n/users/{}/connections", "x".repeat(256))).header("Authorization", bearer);
    assert_eq!(server.send(&long).await.status, 400);
}

#[tokio::test]
async fn a_namespace_without_presence_says_how_to_enable_it() {
    let server = TestServer::start(&format!("/n: {{token: {{secret: {TOKEN_SECRET}}}}}\n")).await;
    let response = get(&server, "7").await;
    assert_eq!(response.status, 404);
    assert!(response.text().contains("presence: true"), "{}", response.text());
}
