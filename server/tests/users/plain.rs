//! Users over `protocol: plain`: tokens, what is published to users and all connections, presence, and mailboxes.

use crate::line_client::LineClient;
use crate::support::tokens::{TOKEN_SECRET, now, token, token_with};
use crate::support::{RedisServer, Request, TestServer};
use serde_json::{Value, json};

/// A server for each engine. `token` are further keys of `token`.
async fn servers(token: &str) -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let mut servers = Vec::new();
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let token = format!("token: {{secret: {TOKEN_SECRET}, leeway: 0s, query: token, cookie: t{token}}}");
        let users = "mailbox: on, presence: {grace: 0s}";
        let server = TestServer::start(&format!("/n: {{protocol: plain, {token}, {users}{engine}}}\n")).await;
        server.ready().await;
        servers.push(server);
    }
    (redis, servers)
}

/// Connects, and presents a token.
async fn user(server: &TestServer, claims: Value) -> LineClient {
    let mut client = LineClient::open(server, "/ws/n", &[]).await;
    let reply = client.call(json!({"token": token(claims.clone())}), 1).await;
    assert_eq!(reply["identified"], claims["sub"], "{reply}");
    assert!(reply["expires_in"].as_u64().is_some_and(|left| left <= 60_000), "{reply}");
    client
}

/// The next event that is not one of presence.
async fn next_event(client: &mut LineClient) -> Value {
    loop {
        let line = client.next_with("event").await;
        if !line["event"].as_str().is_some_and(|name| name.starts_with("nodevent:")) {
            return line;
        }
    }
}

async fn publish(server: &TestServer, body: Value) {
    let response = server.send(&Request::post("/api/n/emit", body.to_string())).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

async fn notify(server: &TestServer, user: &str, message: u32) -> Value {
    let body = json!({"user": user, "event": "mention", "message": message}).to_string();
    let response = server.send(&Request::post("/api/n/notify", body)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["ids"][0].clone()
}

#[tokio::test]
async fn a_token_in_a_line_or_in_the_request_says_who_the_client_is_and_joins_its_rooms() {
    let (_redis, servers) = servers("").await;
    for server in servers {
        let mut by_line = user(&server, json!({"sub": "7", "rooms": ["r"]})).await;
        let in_request = token(json!({"sub": "7", "rooms": ["r"]}));
        let mut by_query = LineClient::open(&server, &format!("/ws/n?token={in_request}"), &[]).await;
        let cookie = format!("other=1; t={in_request}");
        let mut by_cookie = LineClient::open(&server, "/ws/n", &[("cookie", &cookie)]).await;
        for client in [&mut by_query, &mut by_cookie] {
            assert_eq!(client.next_with("identified").await["identified"], "7");
        }
        for client in [&mut by_line, &mut by_query, &mut by_cookie] {
            let joined = client.next_with("joined").await;
            assert_eq!((&joined["joined"], &joined["user"]), (&json!(true), &json!("7")), "its user: {joined}");
            let joined = client.next_with("joined").await;
            assert_eq!((&joined["joined"], &joined["recovered"]), (&json!("r"), &json!(true)), "{joined}");
        }
        publish(&server, json!({"users": ["7"], "event": "e", "message": 1})).await;
        publish(&server, json!({"room": "r", "event": "e", "message": 2})).await;
        publish(&server, json!({"broadcast": true, "event": "e", "message": 3})).await;
        for client in [&mut by_line, &mut by_query, &mut by_cookie] {
            let mut received = Vec::new();
            for _ in 0..3 {
                received.push(next_event(client).await["message"].clone());
            }
            assert_eq!(received, [1, 2, 3]);
        }
    }
}

#[tokio::test]
async fn a_client_that_returns_recovers_what_was_published_to_its_user_its_rooms_and_all() {
    let (_redis, servers) = servers("").await;
    for server in servers {
        let mut client = user(&server, json!({"sub": "7", "rooms": ["r"]})).await;
        let of_user = client.next_with("joined").await["position"].clone();
        let of_room = client.next_with("joined").await["position"].clone();
        let of_all = client.call(json!({"broadcast": true}), 2).await;
        assert_eq!((&of_all["joined"], &of_all["broadcast"]), (&json!(true), &json!(true)), "{of_all}");
        drop(client);
        publish(&server, json!({"users": ["7"], "event": "e", "message": 1})).await;
        publish(&server, json!({"room": "r", "event": "e", "message": 2})).await;
        publish(&server, json!({"broadcast": true, "event": "e", "message": 3})).await;
        let mut client = LineClient::open(&server, "/ws/n", &[]).await;
        let token = token(json!({"sub": "7", "rooms": ["r"]}));
        let positions = json!({"token": token, "since_user": of_user, "since": {"r": of_room}});
        assert_eq!(client.call(positions, 1).await["identified"], "7");
        for message in [1, 2] {
            assert_eq!(next_event(&mut client).await["message"], message);
        }
        let reply = client.call(json!({"broadcast": true, "since": of_all["position"]}), 2).await;
        assert_eq!(reply["recovered"], true, "{reply}");
        assert_eq!(next_event(&mut client).await["message"], 3);
    }
}

#[tokio::test]
async fn a_namespace_that_requires_tokens_serves_no_client_without_one() {
    let (_redis, servers) = servers(", required: true").await;
    for server in servers {
        let mut client = LineClient::open(&server, "/ws/n", &[]).await;
        for line in
            [json!({"join": "r"}), json!({"presence": "r"}), json!({"mailbox": true}), json!({"broadcast": true})]
        {
            assert_eq!(client.call(line, 1).await["error"], "Must provide token");
        }
        let forged = token_with(json!({"sub": "7"}), "another-secret-of-more-than-32-bytes!");
        assert_eq!(client.call(json!({"token": forged}), 2).await["error"], "Bad token signature");
        assert_eq!(client.call(json!({"mailbox": true}), 3).await["error"], "Bad token signature");
        let reply = client.call(json!({"token": token(json!({"sub": "7", "rooms": ["r"]}))}), 4).await;
        assert_eq!(reply["identified"], "7");
        // A token in the request that is rejected leaves the client without rooms.
        let mut rejected = LineClient::open(&server, &format!("/ws/n?token={forged}"), &[]).await;
        assert_eq!(rejected.next_with("error").await["error"], "Bad token signature");
        assert_eq!(rejected.call(json!({"join": "r"}), 1).await["error"], "Bad token signature");
        server.metric_is("nodevent_rejected_tokens_total{reason=\"bad_signature\"}", 2).await;
    }
}

#[tokio::test]
async fn a_client_whose_token_expires_is_notified_and_renews_it_or_is_closed() {
    let (_redis, servers) = servers(", grace: 5s").await;
    for server in servers {
        let short = || json!({"sub": "7", "exp": now() + 4.0});
        let (mut renews, mut ends) = (user(&server, short()).await, user(&server, short()).await);
        assert_eq!(renews.next_with("expired").await["expired"]["grace"], 5000);
        assert_eq!(
            renews.call(json!({"token": token(json!({"sub": "8"}))}), 2).await["error"],
            "Token of another user"
        );
        assert_eq!(renews.call(json!({"token": token(json!({"sub": "7"}))}), 3).await["identified"], "7");
        assert_eq!(ends.next_with("expired").await["expired"]["grace"], 5000);
        assert_eq!(ends.ended().await, Some((1008, "token expired".to_owned())));
        publish(&server, json!({"users": ["7"], "event": "e", "message": 1})).await;
        assert_eq!(renews.next_with("event").await["message"], 1, "the connection is the same");
    }
}

#[tokio::test]
async fn a_revoked_user_is_notified_and_closed() {
    let (_redis, servers) = servers("").await;
    for server in servers {
        let mut client = user(&server, json!({"sub": "7", "iat": now() - 5.0})).await;
        let response = server.send(&Request::post("/api/n/revoke", r#"{"user": "7"}"#)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(client.next_with("error").await["error"], "Token has been revoked");
        assert_eq!(client.ended().await, Some((1008, "revoked".to_owned())));
    }
}

#[tokio::test]
async fn members_receive_presence_events_and_lists() {
    let (_redis, servers) = servers("").await;
    for server in servers {
        let mut ann = user(&server, json!({"sub": "ann", "rooms": ["r"], "info": {"name": "Ann"}})).await;
        let entered = ann.next_with("event").await;
        assert_eq!((&entered["event"], &entered["message"]["user"]), (&json!("nodevent:enter"), &json!("ann")));
        let bob = user(&server, json!({"sub": "bob", "rooms": ["r"]})).await;
        let entered = ann.next_with("event").await;
        assert_eq!((&entered["message"]["user"], &entered["message"]["count"]), (&json!("bob"), &json!(2)));
        let list = ann.call(json!({"presence": "r"}), 9).await["presence"].clone();
        assert_eq!((&list["count"], &list["complete"]), (&json!(2), &json!(true)), "{list}");
        let mut members = list["members"].as_array().unwrap().clone();
        members.sort_by_key(|member| member["user"].to_string());
        assert_eq!(members[0], json!({"user": "ann", "info": {"name": "Ann"}, "connections": 1}));
        drop(bob);
        let left = ann.next_with("event").await;
        assert_eq!((&left["event"], &left["message"]["user"]), (&json!("nodevent:leave"), &json!("bob")));
        let error = ann.call(json!({"presence": "another"}), 10).await;
        assert_eq!(error["error"], "Not a member", "{error}");
    }
}

#[tokio::test]
async fn a_mailbox_is_read_acknowledged_and_shared_by_the_clients_of_its_user() {
    let (_redis, servers) = servers("").await;
    for server in servers {
        let mut first = user(&server, json!({"sub": "7"})).await;
        let mut second = user(&server, json!({"sub": "7"})).await;
        let id = notify(&server, "7", 1).await;
        for client in [&mut first, &mut second] {
            client.send(json!({"mailbox": true})).await;
            let page = client.next_with("mailbox").await["mailbox"].clone();
            assert_eq!((&page["first"], &page["last"], &page["unread"]), (&json!(true), &json!(true), &json!(1)));
            assert_eq!((&page["messages"][0]["id"], &page["messages"][0]["message"]), (&id, &json!(1)));
        }
        let live = notify(&server, "7", 2).await;
        for client in [&mut first, &mut second] {
            let page = client.next_with("mailbox").await["mailbox"].clone();
            assert_eq!((&page["messages"][0]["id"], &page["unread"]), (&live, &json!(2)), "{page}");
        }
        let reply = first.call(json!({"acknowledge": {"ids": [id, live]}}), 5).await;
        assert_eq!((&reply["removed"], &reply["unread"]), (&json!(2), &json!(0)), "{reply}");
        let shared = second.next_with("acknowledged").await["acknowledged"].clone();
        assert_eq!((&shared["ids"], &shared["unread"]), (&json!([id, live]), &json!(0)), "{shared}");
        let error = first.call(json!({"acknowledge": {"ids": "7"}}), 6).await;
        assert_eq!(error["error"], "Bad ids");
        let mut stranger = LineClient::open(&server, "/ws/n", &[]).await;
        let error = stranger.call(json!({"mailbox": true}), 1).await;
        assert_eq!(error["error"], "No user", "{error}");
    }
}

#[tokio::test]
async fn a_namespace_without_tokens_mailboxes_or_presence_says_so() {
    let server = TestServer::start("/n: {protocol: plain, open: true}\n").await;
    let mut client = LineClient::open(&server, "/ws/n", &[]).await;
    client.call(json!({"join": "r"}), 1).await;
    for (line, error) in [
        (json!({"token": "a.b.c"}), "Tokens are not configured"),
        (json!({"mailbox": true}), "No mailboxes"),
        (json!({"acknowledge": {"up_to": "7"}}), "No mailboxes"),
        (json!({"presence": "r"}), "No presence in this room"),
    ] {
        let reply = client.call(line, 2).await;
        assert_eq!(reply["error"], error, "{reply}");
        assert!(reply["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{reply}");
    }
    server.emit("/n", "r", "e", 1).await;
    assert_eq!(client.next_with("event").await["message"], 1, "the connection stays open");
}
