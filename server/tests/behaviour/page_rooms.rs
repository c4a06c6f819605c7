//! Pages of our own browser client and of `plain`: the application subscribes them to rooms, and the HTML has no key. Defined
//! in `protocol/README.md` section 15.

use crate::support::application::{Application, Behaviour};
use crate::support::keys::{LATER, key};
use crate::support::page::{PAGES_SECRET, Visitor, push, push_to};
use crate::support::wait::{in_time, until};
use crate::support::websocket::WebSocket;
use crate::support::{Browser, RedisServer, Site, TestServer, Transport};
use serde_json::{Value, json};

const NS: &str = "/nodevent";
const SECRET: &str = "a-secret-of-rooms-of-more-than-32-bytes";

/// A namespace whose rooms need keys; `more` are further keys of `pages`, `engine` of the namespace.
fn namespace(engine: &str, more: &str) -> String {
    format!(
        "{NS}: {{secret: {SECRET}, protocol: [socket_io, plain], pages: {{secret: {PAGES_SECRET}{more}}}{engine}}}\n"
    )
}

async fn server_on(redis: Option<&RedisServer>, more: &str) -> TestServer {
    let engine = redis.map(|redis| format!(", redis: \"{}\"", redis.url())).unwrap_or_default();
    let server = TestServer::start(&namespace(&engine, more)).await;
    server.ready().await;
    server
}

/// A server for each engine.
async fn servers(more: &str) -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let servers = vec![server_on(None, more).await, server_on(Some(&redis), more).await];
    (redis, servers)
}

/// A browser with the visitor's cookie, which is in no namespace.
async fn browser_of(site: &Site, visitor: &Visitor, transport: Transport) -> Browser {
    let opened = Browser::try_open(site, transport, &[("cookie", &visitor.cookie(NS))]).await;
    opened.unwrap_or_else(|response| panic!("{}: {}", response.status, response.text()))
}

fn auth(visitor: &Visitor) -> String {
    json!({"socket_connection_id": visitor.id}).to_string()
}

/// Shows the visitor's page, and waits until it is in so many rooms.
async fn show(site: &Site, visitor: &Visitor, transport: Transport, rooms: usize) -> Browser {
    let mut browser = browser_of(site, visitor, transport).await;
    browser.enter_with(NS, &auth(visitor)).await.expect("the namespace admits the browser");
    assert_eq!(browser.next_notice().await, json!(["page", {"id": visitor.digest()}]));
    is_joined(&mut browser, rooms).await;
    browser
}

/// Waits until the connection has joined what is published to the page alone, and so many rooms. Returns these, sorted.
async fn is_joined(browser: &mut Browser, rooms: usize) -> Vec<String> {
    let mut joined = Vec::new();
    let mut is_page = false;
    while !is_page || joined.len() < rooms {
        let notice = browser.next_notice().await;
        assert_eq!((&notice[0], &notice[1]["recovered"]), (&json!("joined"), &json!(true)), "{notice}");
        match notice[1]["room"].as_str() {
            Some(room) => joined.push(room.to_owned()),
            None => is_page = notice[1]["page"] == true,
        }
    }
    joined.sort();
    joined
}

/// Nothing else arrives: a member of another room receives what is published last.
async fn is_silent(browser: &mut Browser, site: &Site) {
    browser.receives_nothing_else_with(site, |room| Some(key(room, LATER, SECRET))).await;
}

#[tokio::test]
async fn a_page_is_in_the_rooms_to_which_the_application_has_subscribed_it_without_a_key() {
    // P-05, P-06, P-11, P-28: before it connects, while it is connected, and in several requests.
    let (_redis, servers) = servers("").await;
    for server in servers {
        for (transport, session) in Transport::BOTH.into_iter().zip(['a', 'b']) {
            let visitor = Visitor::of(session, 1);
            visitor.subscribe(&server, NS, &["Discussion_12", "Lobby"]).await;
            visitor.subscribe(&server, NS, &["News"]).await;
            server.emit(NS, "Lobby", "early", 1).await;
            let mut browser = show(&server, &visitor, transport, 3).await;
            let early = browser.next_publication().await;
            assert_eq!((early.room, early.event), (json!("Lobby"), json!("early")), "it was published before");
            for room in ["Discussion_12", "News"] {
                server.emit(NS, room, "update", json!({"id": 12})).await;
                let event = browser.next_publication().await;
                assert_eq!(
                    (event.room, event.event, event.message),
                    (json!(room), json!("update"), json!({"id": 12}))
                );
            }
            visitor.subscribe(&server, NS, &["Later"]).await;
            server.emit(NS, "Later", "update", 1).await;
            assert_eq!(browser.next_publication().await.room, "Later");
            assert_eq!(browser.next_notice().await[1]["room"], "Later");
            visitor.unsubscribe(&server, NS, &["Later", "News"]).await;
            server.emit(NS, "News", "update", "too late").await;
            server.emit(NS, "Later", "update", "too late").await;
            let left = [browser.next_notice().await, browser.next_notice().await];
            assert_eq!(left, [json!(["left", {"room": "Later"}]), json!(["left", {"room": "News"}])]);
            is_silent(&mut browser, &server).await;
            browser.close().await;
        }
    }
}

#[tokio::test]
async fn a_page_that_is_not_the_visitors_is_in_no_room() {
    // P-12, P-13, P-14, P-15
    let (_redis, servers) = servers("").await;
    for server in servers {
        let (visitor, other) = (Visitor::of('a', 1), Visitor::of('b', 1));
        visitor.subscribe(&server, NS, &["Room"]).await;
        let mut page = show(&server, &visitor, Transport::WebSocket, 1).await;
        let cookie = visitor.cookie(NS);
        let mut forged = cookie.clone();
        forged.replace_range(cookie.len() - 1.., if cookie.ends_with('0') { "1" } else { "0" });
        let mut silent = Vec::new();
        for (cookie, id, is_known) in [
            (Some(cookie.clone()), Visitor::of('a', 2).id, true),
            (Some(other.cookie(NS)), visitor.id.clone(), true),
            (Some(forged), visitor.id.clone(), false),
            (Some(visitor.cookie("/other")), visitor.id.clone(), false),
            (None, visitor.id.clone(), false),
            (Some(cookie.clone()), "\"><script>".to_owned(), false),
        ] {
            let headers: Vec<(&str, &str)> = cookie.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
            let Ok(mut browser) = Browser::try_open(&server, Transport::WebSocket, &headers).await else {
                panic!("any client may connect")
            };
            let auth = json!({"socket_connection_id": id, "socket_key": visitor.key}).to_string();
            browser.enter_with(NS, &auth).await.expect("the namespace admits the browser");
            let notice = browser.next_notice().await;
            assert_eq!((&notice[0], notice[1]["id"].is_string()), (&json!("page"), is_known), "{notice}");
            assert_eq!(
                browser.call("join", &[json!({"room": "Room"})]).await[1],
                false,
                "a key is needed as before"
            );
            silent.push(browser);
        }
        // A page of another site, whose browser sends the cookie along.
        let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
        for transport in Transport::BOTH {
            let opened = Browser::try_open(&server, transport, &foreign).await;
            assert_eq!(opened.err().map(|response| response.status), Some(403));
        }
        // One that names no page.
        let mut unnamed = browser_of(&server, &visitor, Transport::WebSocket).await;
        unnamed.enter(NS).await.expect("the namespace admits the browser");
        silent.push(unnamed);
        server.emit(NS, "Room", "secret", 1).await;
        push_to(&server, NS, &visitor, "secret", &json!(1)).await;
        assert_eq!(page.next_publication().await.event, "secret");
        for browser in &mut silent {
            is_silent(browser, &server).await;
        }
    }
}

#[tokio::test]
async fn a_page_may_ask_for_its_rooms_and_leave_them() {
    // P-05: what the application has decided is as good as a key.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["Room"]).await;
        let mut browser = show(&server, &visitor, Transport::WebSocket, 1).await;
        assert_eq!(browser.call("join", &[json!({"room": "Room"})]).await[1], true);
        assert_eq!(browser.call("join", &[json!({"room": "Room", "key": null})]).await[1], true);
        let wrong = browser.call("join", &[json!({"room": "Room", "key": "wrong"})]).await;
        assert_eq!(wrong[1], false, "a wrong key is an error as before");
        assert_eq!(browser.call("join", &[json!({"room": "Other"})]).await[1], false);
        server.emit(NS, "Room", "update", 1).await;
        assert_eq!(browser.next_publication().await.message, 1, "one membership");
        browser.leave("Room").await;
        server.emit(NS, "Room", "update", 2).await;
        is_silent(&mut browser, &server).await;
        visitor.unsubscribe(&server, NS, &["Room"]).await;
        assert_eq!(browser.next_notice().await, json!(["left", {"room": "Room"}]));
        assert_eq!(browser.call("join", &[json!({"room": "Room"})]).await[1], false, "the page is not subscribed");
    }
}

#[tokio::test]
async fn a_push_reaches_the_page_of_one_visitor() {
    // P-36, P-39: what is pushed before the page connects is kept for it.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let (visitor, tab, other) = (Visitor::of('a', 1), Visitor::of('a', 2), Visitor::of('b', 1));
        for one in [&visitor, &tab, &other] {
            one.subscribe(&server, NS, &["Room"]).await;
        }
        push_to(&server, NS, &visitor, "saved", &json!({"id": 3})).await;
        let mut page = show(&server, &visitor, Transport::WebSocket, 1).await;
        let mut others = [
            show(&server, &tab, Transport::WebSocket, 1).await,
            show(&server, &other, Transport::Polling, 1).await,
        ];
        push_to(&server, NS, &visitor, "saved", &json!({"id": 4})).await;
        for id in [3, 4] {
            let event = page.next_publication().await;
            assert_eq!(event.publication["user"], visitor.digest());
            assert_eq!((event.event, event.message), (json!("saved"), json!({"id": id})));
        }
        // The same with the pattern of a push, whose rooms have no prefix.
        assert_eq!(push(&server, NS, &["Ro*"], &json!("all")).await, json!(["Room"]));
        let event = page.next_publication().await;
        assert_eq!((event.room, event.event, event.message), (json!("Room"), json!("Room"), json!("all")));
        for browser in &mut others {
            assert_eq!(browser.next_publication().await.message, "all");
            is_silent(browser, &server).await;
        }
        is_silent(&mut page, &server).await;
    }
}

#[tokio::test]
async fn a_page_that_returns_receives_what_it_missed_in_order_and_once() {
    // P-29: the connection is lost, or the page knows that it has received less than was sent.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["Room"]).await;
        let mut browser = show(&server, &visitor, Transport::WebSocket, 1).await;
        server.emit(NS, "Room", "update", 1).await;
        let first = browser.next_publication().await;
        server.emit(NS, "Room", "update", 2).await;
        assert_eq!(browser.next_publication().await.message, 2);
        drop(browser);
        server.metric_is("nodevent_connections", 0).await;
        server.emit(NS, "Room", "update", 3).await;
        push_to(&server, NS, &visitor, "direct", &json!(4)).await;
        let mut browser = show(&server, &visitor, Transport::WebSocket, 1).await;
        let mut received = [browser.next_publication().await, browser.next_publication().await];
        received.sort_by_key(|event| event.message.as_i64());
        let [third, direct] = received;
        assert_eq!((third.message, &direct.message), (json!(3), &json!(4)));
        push_to(&server, NS, &visitor, "direct", &json!(5)).await;
        assert_eq!(browser.next_publication().await.message, 5);
        is_silent(&mut browser, &server).await;
        browser.close().await;
        server.metric_is("nodevent_connections", 0).await;
        // The client has received the first one only.
        let mut browser = browser_of(&server, &visitor, Transport::WebSocket).await;
        let direct = direct.publication["position"].clone();
        let since = json!({"Room": first.publication["position"], "": direct, "Other": "x", "News": 7});
        let auth = json!({"socket_connection_id": visitor.id, "page_since": since}).to_string();
        browser.enter_with(NS, &auth).await.expect("the namespace admits the browser");
        assert_eq!(browser.next_notice().await[0], "page");
        is_joined(&mut browser, 1).await;
        let mut again = Vec::new();
        for _ in 0..3 {
            again.push(browser.next_publication().await.message);
        }
        again.sort_by_key(Value::as_i64);
        assert_eq!(again, [json!(2), json!(3), json!(5)], "what follows the positions of the client");
        is_silent(&mut browser, &server).await;
    }
}

/// A deployment on one machine: the application has subscribed the page before, and does not know of the restart.
#[tokio::test]
async fn a_page_of_a_server_with_a_store_receives_what_it_missed_after_a_restart() {
    // P-29
    let folder = tempfile::tempdir().unwrap();
    let configuration = format!("store: {}\n{}", folder.path().join("data").display(), namespace("", ""));
    let server = TestServer::start(&configuration).await;
    let visitor = Visitor::of('a', 1);
    visitor.subscribe(&server, NS, &["Room"]).await;
    let mut browser = show(&server, &visitor, Transport::WebSocket, 1).await;
    server.emit(NS, "Room", "update", 1).await;
    assert_eq!(browser.next_publication().await.message, 1);
    server.stop().await;
    let server = TestServer::start(&configuration).await;
    server.emit(NS, "Room", "update", 2).await;
    push_to(&server, NS, &visitor, "direct", &json!(3)).await;
    let mut browser = show(&server, &visitor, Transport::WebSocket, 1).await;
    let mut received = [browser.next_publication().await.message, browser.next_publication().await.message];
    received.sort_by_key(Value::as_i64);
    assert_eq!(received, [json!(2), json!(3)]);
    is_silent(&mut browser, &server).await;
}

#[tokio::test]
async fn a_connection_shows_one_page_after_another() {
    // P-05: Turbo replaces the document, and not the connection.
    let (_redis, servers) = servers("").await;
    for server in servers {
        let (first, second) = (Visitor::of('a', 1), Visitor::of('a', 2));
        first.subscribe(&server, NS, &["Both", "First"]).await;
        second.subscribe(&server, NS, &["Both", "Second"]).await;
        let mut browser = show(&server, &first, Transport::WebSocket, 2).await;
        push_to(&server, NS, &second, "saved", &json!("before")).await;
        browser.send_event("page", &[json!({"socket_connection_id": second.id})]).await;
        assert_eq!(browser.next_notice().await, json!(["page", {"id": second.digest()}]));
        assert_eq!(browser.next_notice().await, json!(["left", {"room": "First"}]));
        assert_eq!(is_joined(&mut browser, 1).await, ["Second"], "it has been in the other room all the time");
        assert_eq!(browser.next_publication().await.message, "before");
        for (room, message) in [("Both", 1), ("Second", 2)] {
            server.emit(NS, room, "update", message).await;
            assert_eq!(browser.next_publication().await.message, message);
        }
        push_to(&server, NS, &second, "saved", &json!(3)).await;
        assert_eq!(browser.next_publication().await.message, 3);
        server.emit(NS, "First", "update", "late").await;
        push_to(&server, NS, &first, "saved", &json!("kept")).await;
        is_silent(&mut browser, &server).await;
        // The first page is kept, as for a page that has disconnected.
        browser.send_event("page", &[json!({"socket_connection_id": first.id})]).await;
        assert_eq!(browser.next_notice().await, json!(["page", {"id": first.digest()}]));
        assert_eq!(browser.next_notice().await, json!(["left", {"room": "Second"}]));
        assert_eq!(is_joined(&mut browser, 1).await, ["First"]);
        let mut missed = [browser.next_publication().await.message, browser.next_publication().await.message];
        missed.sort_by_key(Value::to_string);
        assert_eq!(missed, [json!("kept"), json!("late")]);
        // An unknown one changes nothing.
        browser.send_event("page", &[json!({"socket_connection_id": "no"})]).await;
        assert_eq!(browser.next_notice().await, json!(["page", {"id": null}]));
        server.emit(NS, "First", "update", 5).await;
        assert_eq!(browser.next_publication().await.message, 5);
    }
}

#[tokio::test]
async fn servers_on_one_redis_are_one() {
    // P-31: the application subscribes through one, the page connects to the second, and the third publishes.
    let redis = RedisServer::start().await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(server_on(Some(&redis), "").await);
    }
    let visitor = Visitor::of('a', 1);
    visitor.subscribe(&servers[0], NS, &["Room"]).await;
    let mut browser = show(&servers[1], &visitor, Transport::WebSocket, 1).await;
    servers[2].emit(NS, "Room", "update", 1).await;
    assert_eq!(browser.next_publication().await.message, 1);
    visitor.subscribe(&servers[2], NS, &["Later"]).await;
    assert_eq!(browser.next_notice().await[1]["room"], "Later");
    servers[0].emit(NS, "Later", "update", 2).await;
    push_to(&servers[2], NS, &visitor, "saved", &json!(3)).await;
    let mut received = [browser.next_publication().await.message, browser.next_publication().await.message];
    received.sort_by_key(Value::as_i64);
    assert_eq!(received, [json!(2), json!(3)]);
    // It comes back to another server.
    browser.close().await;
    servers[1].metric_is("nodevent_connections", 0).await;
    servers[1].emit(NS, "Later", "update", 4).await;
    let mut browser = show(&servers[0], &visitor, Transport::WebSocket, 2).await;
    assert_eq!(browser.next_publication().await.message, 4);
    visitor.unsubscribe(&servers[1], NS, &["Room"]).await;
    servers[2].emit(NS, "Room", "update", 5).await;
    assert_eq!(browser.next_notice().await, json!(["left", {"room": "Room"}]));
    is_silent(&mut browser, &servers[2]).await;
}

#[tokio::test]
async fn a_page_that_never_connects_is_forgotten() {
    // P-30
    let (redis, servers) = servers(", initial: 2s").await;
    for server in servers {
        let visitor = Visitor::of('a', 1);
        visitor.subscribe(&server, NS, &["Room"]).await;
        until("the page is forgotten", async || {
            let change = visitor.change(&server, NS, json!({"unsubscribe": ["none"]})).await;
            change.json()["channels"] == 0
        })
        .await;
        let mut browser = show(&server, &visitor, Transport::WebSocket, 0).await;
        server.emit(NS, "Room", "update", 1).await;
        is_silent(&mut browser, &server).await;
    }
    let count = ["EVAL", "return #redis.call('KEYS', '*:pages:*')", "0"];
    until("nothing is left in Redis", async || redis.call(&count).await == ":0").await;
}

#[tokio::test]
async fn a_connection_has_a_page_in_each_namespace() {
    // P-12: the cookie of one namespace opens nothing in another.
    let two = namespace("", "")
        .replace(NS, "/two")
        .replace("{secret: a-secret-for", "{cookie: two, secret: a-secret-for");
    let mixed = format!("secret: {SECRET}, protocol: [socket_io, pakyow], pages: {{secret: {PAGES_SECRET}}}");
    let others = format!("/mixed: {{{mixed}}}\n/none: {{secret: {SECRET}}}\n");
    let server = TestServer::start(&format!("{}{two}{others}", namespace("", ""))).await;
    let visitor = Visitor::of('a', 1);
    visitor.subscribe(&server, NS, &["One"]).await;
    visitor.subscribe(&server, "/two", &["Two"]).await;
    let cookies = format!("{}; {}", visitor.cookie(NS), visitor.cookie("/two").replace("nodevent_page", "two"));
    let Ok(mut browser) = Browser::try_open(&server, Transport::WebSocket, &[("cookie", &cookies)]).await else {
        panic!("the browser may connect")
    };
    for namespace in [NS, "/two"] {
        browser.enter_with(namespace, &auth(&visitor)).await.expect("the namespace admits the browser");
        assert_eq!(browser.next_notice().await, json!(["page", {"id": visitor.digest()}]));
        is_joined(&mut browser, 1).await;
    }
    server.emit(NS, "One", "update", 1).await;
    assert_eq!(browser.next_publication().await.room, "One");
    server.emit("/two", "Two", "update", 2).await;
    assert_eq!(browser.next_publication().await.room, "Two");
    // It leaves one of them, and comes back.
    browser.send(&["41/two,"]).await;
    browser.enter_with("/two", &auth(&visitor)).await.expect("the namespace admits the browser");
    assert_eq!(browser.next_notice().await[0], "page");
    is_joined(&mut browser, 1).await;
    server.emit("/two", "Two", "update", 3).await;
    assert_eq!(browser.next_publication().await.message, 3);
    // A namespace without pages, or with those of another protocol, does not mention them.
    for namespace in ["/none", "/mixed"] {
        browser.enter_with(namespace, &auth(&visitor)).await.expect("the namespace admits the browser");
        is_silent(&mut browser, &server).await;
        assert_eq!(browser.deferred_notice(), None);
    }
}

#[tokio::test]
async fn the_application_sees_which_page_calls_it() {
    // P-20: so that a called route subscribes the page that calls.
    let application = Application::start(Behaviour::Raw(
        "HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_owned(),
    ))
    .await;
    let url = application.url.split("/live").next().unwrap();
    let calls = format!(", calls: {{url: \"{url}\", secret: a-secret-for-calls-of-more-than-32-bytes}}");
    let server = TestServer::start(&namespace(&calls, "")).await;
    let visitor = Visitor::of('a', 1);
    let mut browser = show(&server, &visitor, Transport::WebSocket, 0).await;
    let called = browser.call("call", &[json!({"method": "POST", "path": "/comments"})]).await;
    assert_eq!(called[1]["body"], "ok");
    let mut client = Client::connect(&server, &visitor).await;
    client.receives(json!({"page": visitor.digest()})).await;
    client.send(json!({"call": {"method": "POST", "path": "/comments"}, "id": 1})).await;
    until("both have arrived", async || application.requests().len() == 2).await;
    for request in application.requests() {
        let header = format!("x-nodevent-connection: {}", visitor.id);
        assert!(request.to_ascii_lowercase().contains(&header), "{request}");
    }
}

/// A client of `plain`.
struct Client(WebSocket);

impl Client {
    async fn connect(site: &Site, visitor: &Visitor) -> Self {
        let path = format!("/ws{NS}?socket_connection_id={}", visitor.id);
        let opened = WebSocket::open_path(site, &path, &[("cookie", &visitor.cookie(NS))]).await;
        let mut client = Self(opened.unwrap_or_else(|response| panic!("{}: {}", response.status, response.text())));
        assert_eq!(client.next().await["hello"]["version"], 1);
        client
    }

    async fn send(&mut self, line: Value) {
        self.0.send(&[&line.to_string()]).await;
    }

    async fn next(&mut self) -> Value {
        let text = in_time("a line", self.0.next()).await.expect("the server sends a line");
        serde_json::from_str(&text).expect("a line is JSON")
    }

    async fn receives(&mut self, line: Value) {
        assert_eq!(self.next().await, line);
    }

    /// The lines that confirm joins: of rooms, and of the page.
    async fn is_joined(&mut self, count: usize) -> Vec<Value> {
        let mut joined = Vec::new();
        for _ in 0..count {
            let line = self.next().await;
            assert_eq!(line["recovered"], true, "{line}");
            joined.push(line["joined"].clone());
        }
        joined.sort_by_key(Value::to_string);
        joined
    }
}

#[tokio::test]
async fn a_page_of_the_protocol_plain_is_in_its_rooms() {
    // P-05, P-06, P-11, P-14, P-29, P-36
    let (_redis, servers) = servers("").await;
    for server in servers {
        let (visitor, other) = (Visitor::of('a', 1), Visitor::of('b', 1));
        visitor.subscribe(&server, NS, &["Room", "News"]).await;
        let mut client = Client::connect(&server, &visitor).await;
        client.receives(json!({"page": visitor.digest()})).await;
        assert_eq!(client.is_joined(3).await, [json!("News"), json!("Room"), json!(true)]);
        let mut stranger = Client::connect(&server, &Visitor { id: visitor.id.clone(), ..other }).await;
        assert!(stranger.next().await["page"].is_string(), "a page, and another one");
        stranger.is_joined(1).await;
        server.emit(NS, "Room", "update", 1).await;
        assert_eq!(client.next().await["message"], 1);
        push_to(&server, NS, &visitor, "saved", &json!(2)).await;
        assert_eq!(client.next().await["message"], 2);
        client.send(json!({"join": "Room", "id": 7})).await;
        assert_eq!(client.next().await["id"], 7, "it needs no key");
        client.send(json!({"join": "Other", "id": 8})).await;
        assert_eq!(client.next().await["hint"], "send a valid key for this room as `key`");
        visitor.unsubscribe(&server, NS, &["News"]).await;
        client.receives(json!({"left": "News"})).await;
        server.emit(NS, "News", "update", "too late").await;
        stranger.send(json!({"ping": 1})).await;
        stranger.receives(json!({"pong": 1})).await;
        drop(client);
        server.metric_is("nodevent_connections", 1).await;
        server.emit(NS, "Room", "update", 3).await;
        let mut client = Client::connect(&server, &visitor).await;
        client.receives(json!({"page": visitor.digest()})).await;
        let mut lines = vec![client.next().await, client.next().await, client.next().await];
        lines.retain(|line| line["event"] == "update");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["message"], 3);
    }
}
