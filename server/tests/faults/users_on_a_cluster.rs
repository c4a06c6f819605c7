//! Targets, mailboxes, revocations and presence on a Redis Cluster of three nodes, with two servers. What belongs to
//! users and rooms is spread over the nodes.

use crate::harness::Node;
use crate::harness::cluster::Cluster;
use crate::harness::node::RARE_HEARTBEAT;
use crate::support::site::Site;
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::until;
use crate::support::{Browser, Request, Transport};
use serde_json::{Value, json};
use std::time::Duration;

/// Enough users and rooms that every node of the cluster has some.
const COUNT: usize = 12;

/// A namespace of the servers.
struct Namespace {
    name: &'static str,
    servers: [Site; 2],
    /// When all tokens were issued: before anything is revoked, however long the test takes. Seconds since 1970.
    issued: f64,
}

// === impl Namespace ===

impl Namespace {
    /// A connection of a user.
    async fn connect(&self, server: usize, user: &str, more: Value) -> Result<Browser, Value> {
        let mut browser = Browser::open(&self.servers[server], Transport::WebSocket).await;
        let mut auth = more;
        auth["token"] = token(json!({"sub": user, "iat": self.issued})).into();
        browser.enter_with(self.name, &auth.to_string()).await?;
        Ok(browser)
    }

    /// The same, with the position of what is published to the user.
    async fn user(&self, server: usize, user: &str) -> (Browser, Value) {
        let mut browser = self.connect(server, user, json!({})).await.expect("the token is accepted");
        assert_eq!(browser.next_notice().await[0], "identified");
        let joined = browser.next_notice().await;
        assert_eq!((&joined[0], &joined[1]["user"]), (&json!("joined"), &json!(user)));
        (browser, joined[1]["position"].clone())
    }

    async fn request(&self, server: usize, method: &str, resource: &str, body: Value) -> Value {
        let path = format!("/api{}/{resource}", self.name);
        let mut request = Request::new(method, &path);
        if method == "POST" {
            request.body = body.to_string().into_bytes();
        }
        let response = self.servers[server].send(&request).await;
        assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
        response.json()
    }

    /// A publication to all users and rooms and to all connections reaches each of them once, and is recovered. The
    /// copies are on different nodes, so which one arrives first is not known.
    async fn targets(&self) {
        let users: Vec<String> = (0..COUNT).map(|user| format!("user-{user}")).collect();
        let rooms: Vec<String> = (0..COUNT).map(|room| format!("room-{room}")).collect();
        let (mut of_users, mut positions, mut of_rooms) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..COUNT {
            let (mut browser, position) = self.user(index % 2, &users[index]).await;
            browser.join(&rooms[index]).await;
            of_users.push(browser);
            positions.push(position);
            let mut browser =
                Browser::connect(&self.servers[(index + 1) % 2], self.name, Transport::WebSocket).await;
            browser.join(&rooms[index]).await;
            browser.join("another").await;
            of_rooms.push(browser);
        }
        let mut other = Browser::connect(&self.servers[1], self.name, Transport::WebSocket).await;
        let publication = |number: u32| json!({"users": users, "rooms": rooms, "broadcast": true, "event": "e", "message": number});
        for number in 0..4 {
            self.request(number as usize % 2, "POST", "emit", publication(number)).await;
            for browser in of_users.iter_mut().chain(&mut of_rooms) {
                assert_eq!(browser.next_publication().await.message, json!(number));
            }
            let event = other.next_publication().await;
            assert_eq!((&event.publication["broadcast"], event.message), (&json!(true), json!(number)));
        }
        for browser in of_users {
            browser.close().await;
        }
        self.request(0, "POST", "emit", publication(4)).await;
        // The copy for all has reached the other server, where it would arrive before what the users have missed.
        assert_eq!(other.next_publication().await.message, 4);
        for (user, since) in users.iter().zip(&positions) {
            let mut browser =
                self.connect(1, user, json!({"since_user": since})).await.expect("the token is accepted");
            for number in 0..5 {
                assert_eq!(browser.next_publication().await.message, number, "{user}");
            }
            browser.close().await;
        }
    }

    /// Messages to many users are stored once, arrive on the other server, and are acknowledged for both.
    async fn mailboxes(&self) {
        let users: Vec<String> = (0..COUNT).map(|user| format!("owner-{user}")).collect();
        let body =
            |number: u32| json!({"users": users, "event": "e", "message": number, "key": number.to_string()});
        let first = self.request(0, "POST", "notify", body(1)).await;
        assert_eq!(first["ids"].as_array().unwrap().iter().filter(|id| id.is_string()).count(), COUNT, "{first}");
        assert_eq!(self.request(1, "POST", "notify", body(1)).await, first, "a key stores once");
        let mut browsers = Vec::new();
        for (index, user) in users.iter().enumerate() {
            let (mut browser, _) = self.user(1, user).await;
            assert_eq!(browser.call("mailbox", &[]).await, json!([null, true]));
            let page = browser.next_notice().await[1].clone();
            assert_eq!((&page["messages"][0]["id"], &page["unread"]), (&first["ids"][index], &json!(1)), "{page}");
            browsers.push(browser);
        }
        let second = self.request(0, "POST", "notify", body(2)).await;
        for (index, user) in users.iter().enumerate() {
            let browser = &mut browsers[index];
            let live = browser.next_notice().await[1].clone();
            assert_eq!((&live["messages"][0]["id"], &live["unread"]), (&second["ids"][index], &json!(2)), "{live}");
            let ack = browser.call("acknowledge", &[json!({"ids": [first["ids"][index]]})]).await;
            assert_eq!(ack, json!([null, {"removed": 1, "unread": 1}]));
            let path = format!("users/{user}/mailbox");
            let page = self.request(0, "GET", &path, Value::Null).await;
            assert_eq!((&page["messages"][0]["message"], &page["unread"]), (&json!(2), &json!(1)), "{page}");
            let id = second["ids"][index].as_str().expect("an id");
            let removed = self.request(0, "DELETE", &format!("{path}?up_to={id}"), Value::Null).await;
            assert_eq!(removed, json!({"removed": 1, "unread": 0}));
        }
    }

    /// Revocations on one server end connections and memberships on the other.
    async fn revocations(&self) {
        let mut browsers = Vec::new();
        for index in 0..COUNT {
            browsers.push(self.user(1, &format!("revoked-{index}")).await.0);
        }
        let (mut member, _) = self.user(1, "member").await;
        member.join("closed").await;
        for index in 0..COUNT {
            self.request(0, "POST", "revoke", json!({"user": format!("revoked-{index}")})).await;
        }
        self.request(0, "POST", "revoke", json!({"user": "member", "room": "closed"})).await;
        for mut browser in browsers {
            assert_eq!(browser.ended().await, Some((1008, "revoked".to_owned())));
        }
        assert_eq!(member.next_other_notice().await, json!(["revoked", {"room": "closed"}]));
        self.are_revoked().await;
    }

    async fn are_revoked(&self) {
        let error = json!({"message": "Token has been revoked"});
        for server in 0..2 {
            until("the server knows the revocations", async || {
                match self.connect(server, "revoked-7", json!({})).await {
                    Ok(_) => false,
                    Err(reason) => reason == error,
                }
            })
            .await;
        }
    }

    /// Members of both servers are present in many rooms. Returns those of the second server, and the others.
    async fn presence(&self) -> (Vec<Browser>, Vec<Browser>) {
        let (mut staying, mut leaving) = (Vec::new(), Vec::new());
        for index in 0..COUNT {
            let room = format!("present-{index}");
            let (mut first, _) = self.user(0, "first").await;
            first.join(&room).await;
            expect(&mut first, "nodevent:enter", "first", 1).await;
            let (mut second, _) = self.user(1, "second").await;
            second.join(&room).await;
            for browser in [&mut first, &mut second] {
                expect(browser, "nodevent:enter", "second", 2).await;
            }
            for server in 0..2 {
                let list = self.request(server, "GET", &format!("rooms/{room}/presence"), Value::Null).await;
                assert_eq!((&list["count"], &list["complete"]), (&json!(2), &json!(true)), "{list}");
            }
            staying.push(first);
            leaving.push(second);
        }
        (leaving, staying)
    }
}

/// The next publication says that a user has entered or left.
async fn expect(browser: &mut Browser, event: &str, user: &str, count: u64) {
    let next = browser.next_publication().await;
    assert_eq!((next.event, &next.message["user"]), (json!(event), &json!(user)), "{}", next.text);
    assert_eq!(next.message["count"], count, "{}", next.text);
}

/// One channel for all rooms and one per room; mailboxes with an age and without one, which take places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_served_on_a_redis_cluster() {
    let cluster = Cluster::start().await;
    let settings = |more: &str| {
        format!(
            ", open: true, token: {{secret: {TOKEN_SECRET}}}, presence: {{rooms: [present-], lease: 4s, grace: 500ms}}{more}"
        )
    };
    let one = cluster.namespace("/one", &settings(", mailbox: {unknown: keep}"));
    let two = cluster.namespace("/two", &settings(", mailbox: {age: 0}, channel_per_room: true"));
    let mut nodes = Node::start_many_with(RARE_HEARTBEAT, 2, &format!("{one}{two}")).await;
    let servers = [nodes[0].site.clone(), nodes[1].site.clone()];
    let issued = now() - 10.0;
    let namespaces = ["/one", "/two"].map(|name| Namespace { name, servers: servers.clone(), issued });
    let mut members = Vec::new();
    for namespace in &namespaces {
        namespace.targets().await;
        namespace.mailboxes().await;
        namespace.revocations().await;
        members.push(namespace.presence().await);
    }
    nodes[1].kill().await;
    for (_, staying) in &mut members {
        for browser in staying {
            expect(browser, "nodevent:leave", "second", 1).await;
        }
    }
    drop(members);
    nodes[1].start_again().await;
    for namespace in &namespaces {
        namespace.are_revoked().await;
    }
    for node in &nodes {
        crate::harness::eventually("no connection is left", Duration::from_secs(60), async || {
            node.metric("nodevent_connections").await == 0 && node.metric("nodevent_presence_members").await == 0
        })
        .await;
    }
}
