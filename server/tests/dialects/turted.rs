//! The dialect `turted` as its browsers and backends see it: behaviour.md, section 2.

use crate::process::Process;
use crate::support::application::{Application, Behaviour, yes};
use crate::support::program::{self, Program};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, RedisServer, Request, Response, Site, TestServer, Transport};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

const PASSWORD: &str = "IamAllowed2PUSH!!!";
/// Visits before the memory is measured.
const WARM_UP: usize = 500;
/// Visits that must leave nothing behind.
const VISITS: usize = 3000;
/// What a process may grow meanwhile: 2 KB for each visit would be too much. Bytes.
const GROWTH: u64 = 6 << 20;

/// A namespace `/` with these settings of `turted`, and others of the namespace.
fn configuration(turted: &str, more: &str) -> String {
    format!("/: {{dialect: turted, turted: {{push: {{password: {PASSWORD}}}, {turted}}}{more}}}\n")
}

async fn start(turted: &str) -> TestServer {
    TestServer::start(&configuration(turted, "")).await
}

/// Every user is accepted, and every channel is open.
async fn open() -> TestServer {
    start("ident: accept_all, join: open").await
}

/// A page, as the old client behaves.
struct Page(Browser);

// === impl Page ===

impl Page {
    async fn open(site: &Site) -> Self {
        Self::open_over(site, Transport::WebSocket).await
    }

    async fn open_over(site: &Site, transport: Transport) -> Self {
        Self(Browser::connect(site, "/", transport).await)
    }

    async fn send(&mut self, event: &str, data: Value) {
        self.0.send(&[&format!("42{}", json!([event, data]))]).await;
    }

    /// The next event with its data.
    async fn next(&mut self) -> Value {
        let packet = in_time("an event", self.0.next_packet()).await.expect("the connection is open");
        assert_eq!((packet.kind, &*packet.namespace), ('2', "/"), "{packet:?}");
        packet.value()
    }

    async fn receives(&mut self, event: &str, data: Value) {
        assert_eq!(self.next().await, json!([event, data]));
    }

    async fn ident(&mut self, name: &str) {
        self.send("IDENT", json!({"username": name})).await;
        self.receives("OK", json!({"username": name})).await;
    }

    async fn join(&mut self, channel: &str) {
        self.send("JOIN", json!({"channel": channel})).await;
        self.receives("OK", json!({"channel": channel})).await;
    }

    /// Receives no `EVENT` before that of a push to all connections, which follows in the order of the engine.
    async fn receives_nothing_else(&mut self, site: &Site, name: &str) {
        ok(&push(site, json!({"event": name, "targets": {"broadcast": true}})).await);
        self.receives("EVENT", json!({"event": name, "payload": {}})).await;
    }
}

fn with_password(mut body: Value) -> Value {
    body["auth"] = json!({"password": PASSWORD});
    body
}

async fn post(site: &Site, body: &str) -> Response {
    site.send(&Request::post("/push/", body)).await
}

async fn push(site: &Site, body: Value) -> Response {
    post(site, &with_password(body).to_string()).await
}

fn ok(response: &Response) {
    assert_eq!((response.status, &*response.text()), (200, "OK"));
}

#[tokio::test]
async fn users_channels_and_broadcasts_reach_those_who_are_meant_and_each_once() {
    // T-02, T-03, T-10, T-11, T-13, T-14, T-15, T-16, T-17, T-18, T-19, T-20, T-21, T-23, T-41, T-47
    for transport in Transport::BOTH {
        let server = open().await;
        let [mut one, mut two, mut stranger] =
            [Page::open_over(&server, transport).await, Page::open(&server).await, Page::open(&server).await];
        one.ident("xosofox").await;
        two.send("IDENT", json!({"user": "xosofox"})).await;
        two.receives("OK", json!({"username": "xosofox"})).await;
        two.ident("second").await;
        one.join("chat").await;
        one.join("chat").await;
        // The README's sample in PHP has strings.
        for users in [json!("xosofox"), json!(["xosofox", "unknown"])] {
            let body = json!({"event": "MESSAGE:NEW", "targets": {"users": users}, "payload": {"msg": "hi"}});
            ok(&push(&server, body).await);
            let event = json!({"event": "MESSAGE:NEW", "payload": {"msg": "hi"}});
            one.receives("EVENT", event.clone()).await;
            two.receives("EVENT", event).await;
        }
        let everything = json!({"users": ["xosofox", "second"], "channels": "chat", "broadcast": 1});
        ok(&push(&server, json!({"event": "all", "targets": everything, "payload": 1})).await);
        for page in [&mut one, &mut two, &mut stranger] {
            page.receives("EVENT", json!({"event": "all", "payload": 1})).await;
        }
        ok(&push(&server, json!({"event": "chat", "targets": {"channels": ["chat"]}})).await);
        one.receives("EVENT", json!({"event": "chat", "payload": {}})).await;
        // One leave suffices, and another one is harmless.
        for _ in 0..2 {
            one.send("LEAVE", json!({"channel": "chat"})).await;
            one.receives("OK", json!({"channel": "chat"})).await;
        }
        ok(&push(&server, json!({"event": "gone", "targets": {"channels": ["chat"]}})).await);
        ok(&push(&server, json!({"event": "unknown", "targets": {"users": ["unknown"]}})).await);
        ok(&push(&server, json!({"event": "no broadcast", "targets": {"broadcast": false}})).await);
        ok(&push(&server, json!({"event": "last", "targets": {"broadcast": true}})).await);
        for page in [&mut one, &mut two, &mut stranger] {
            page.receives("EVENT", json!({"event": "last", "payload": {}})).await;
        }
        server.stop().await;
    }
}

/// PHP escapes slashes and everything outside ASCII, writes an empty array for an empty object, and sends JSON as a form.
#[tokio::test]
async fn what_backends_in_php_push_is_read_as_they_send_it() {
    // T-17, T-22, T-24
    let server = open().await;
    let (mut page, mut stranger) = (Page::open(&server).await, Page::open(&server).await);
    page.ident("xosofox").await;
    page.join("chat").await;
    let auth = r#""auth":{"password":"IamAllowed2PUSH!!!"}"#;
    let send = async |content_type: &str, body: String| {
        server.send(&Request::post("/push/", body).header("Content-Type", content_type)).await
    };
    let forms = ["application/x-www-form-urlencoded", "application/json", "text/plain;charset=UTF-8"];
    for content_type in forms {
        let payload = r#"{"url":"http:\/\/example.com\/","name":"J\u00fcrgen \ud83d\ude00"}"#;
        let body =
            format!(r#"{{"event":"MESSAGE:NEW","targets":{{"users":"xosofox"}},"payload":{payload},{auth}}}"#);
        ok(&send(content_type, body).await);
        let payload = json!({"url": "http://example.com/", "name": "Jürgen 😀"});
        page.receives("EVENT", json!({"event": "MESSAGE:NEW", "payload": payload})).await;
        let both = r#"{"users":[],"channels":["chat","chatlog"]}"#;
        ok(&send(content_type, format!(r#"{{"event":"e","targets":{both},"payload":[],{auth}}}"#)).await);
        page.receives("EVENT", json!({"event": "e", "payload": []})).await;
        ok(&send(content_type, format!(r#"{{"event":"for no client","targets":[],"payload":[],{auth}}}"#)).await);
        // A form itself is not JSON.
        let form = "event=e&targets[users][]=xosofox&payload[msg]=hi&auth[password]=IamAllowed2PUSH!!!";
        let response = send(content_type, form.to_owned()).await;
        assert_eq!((response.status, &*response.text()), (400, "Data was not json"), "{content_type}");
    }
    page.receives_nothing_else(&server, "last").await;
    stranger.receives("EVENT", json!({"event": "last", "payload": {}})).await;
    server.stop().await;
}

#[tokio::test]
async fn a_name_that_is_a_number_is_the_same_user_as_its_digits() {
    let server = open().await;
    let [mut one, mut two] = [Page::open(&server).await, Page::open(&server).await];
    one.send("IDENT", json!({"username": 42})).await;
    one.receives("OK", json!({"username": 42})).await;
    two.ident("42").await;
    for users in [json!(42), json!(["42"])] {
        ok(&push(&server, json!({"event": "e", "targets": {"users": users}})).await);
        one.receives("EVENT", json!({"event": "e", "payload": {}})).await;
        two.receives("EVENT", json!({"event": "e", "payload": {}})).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_name_is_ignored_or_rejected_and_harms_nothing() {
    // T-05, T-12, T-38, T-39, T-40: what ended the old process, and then a normal delivery.
    let server = open().await;
    let mut page = Page::open(&server).await;
    for packet in [
        r#"42["IDENT"]"#,
        r#"42["JOIN"]"#,
        r#"42["LEAVE"]"#,
        r#"42["message"]"#,
        r#"42["message",{}]"#,
        r#"42["message",null]"#,
        r#"42["message",42]"#,
        r#"42["message","JOIN"]"#,
        r#"42["message","IDENT"]"#,
        r#"42["message","CLOSE"]"#,
        r#"42["PING",1]"#,
        r#"42["IDENT",null]"#,
        r#"42["IDENT",{}]"#,
        r#"42["IDENT",[]]"#,
        r#"42["IDENT",{"username":""}]"#,
        r#"42["JOIN",{"channel":""}]"#,
        r#"42["JOIN",{"channel":["a"]}]"#,
        r#"42["JOIN",{"channel":1}]"#,
        r#"42["JOIN",{"channel":{}}]"#,
        r#"42["JOIN",{"channel":true}]"#,
        r#"42["constructor"]"#,
        r#"42["__proto__",{}]"#,
    ] {
        page.0.send(&[packet]).await;
    }
    for name in [json!(["a"]), json!({}), json!(true), json!(1.5), json!("a\u{1}")] {
        page.send("IDENT", json!({"username": name})).await;
        page.receives("ERROR", json!("IDENT not verified")).await;
    }
    for name in ["constructor", "__proto__", "toString", "hasOwnProperty"] {
        page.join(name).await;
        page.ident(name).await;
    }
    page.send("IDENT", json!({"username": "a", "auth": {"hasOwnProperty": 1}})).await;
    page.receives("OK", json!({"username": "a"})).await;
    page.send("ECHO", json!({"deep": [1, "ünï"]})).await;
    page.receives("ECHO", json!({"deep": [1, "ünï"]})).await;
    page.0.send(&[r#"42["ECHO"]"#]).await;
    page.receives("ECHO", Value::Null).await;
    let targets = json!({"users": ["constructor"], "channels": ["__proto__"]});
    ok(&push(&server, json!({"event": "constructor", "targets": targets})).await);
    page.receives("EVENT", json!({"event": "constructor", "payload": {}})).await;
    server.stop().await;
}

#[tokio::test]
async fn pushes_that_ended_the_old_process_have_a_response_and_then_a_normal_push_arrives() {
    // T-24, T-25, T-33, T-40
    let server = open().await;
    let mut page = Page::open(&server).await;
    page.ident("ann").await;
    for (body, status, text) in [
        ("", 400, "Data was not json"),
        ("{", 400, "Data was not json"),
        ("event=x", 400, "Data was not json"),
        ("null", 401, "Wrong auth data"),
        ("[]", 401, "Wrong auth data"),
        ("42", 401, "Wrong auth data"),
        ("{}", 401, "Wrong auth data"),
        (r#"{"auth":{"hasOwnProperty":1}}"#, 401, "Wrong auth data"),
        (r#"{"auth":{"password":"guess"}}"#, 401, "Wrong auth data"),
        (r#"{"auth":"guess"}"#, 401, "Wrong auth data"),
        (r#"{"auth":null}"#, 401, "Wrong auth data"),
    ] {
        let response = post(&server, body).await;
        assert_eq!((response.status, &*response.text()), (status, text), "{body}");
    }
    for event in ["error", "connect", "disconnect", "constructor", ""] {
        ok(&push(&server, json!({"event": event, "targets": {"users": ["ann", "constructor"]}})).await);
        page.receives("EVENT", json!({"event": event, "payload": {}})).await;
    }
    for targets in [json!("ann"), json!(null), json!([]), json!({"users": {"a": 1}, "channels": [null, 1.5, []]})] {
        ok(&push(&server, json!({"event": "e", "targets": targets})).await);
    }
    // The password alone, and any content type.
    let body = json!({"event": "e", "targets": {"users": "ann"}, "auth": PASSWORD}).to_string();
    ok(&server.send(&Request::post("/push/", body).header("Content-Type", "text/plain")).await);
    page.receives("EVENT", json!({"event": "e", "payload": {}})).await;
    server.stop().await;
}

#[tokio::test]
async fn payload_arrives_as_it_was_pushed() {
    // T-22
    let server = open().await;
    let mut page = Page::open(&server).await;
    page.ident("ann").await;
    for payload in [json!(0), json!(false), json!(""), json!(null), json!([]), json!("ünï \u{2028}")] {
        ok(&push(&server, json!({"event": "e", "targets": {"users": "ann"}, "payload": payload})).await);
        page.receives("EVENT", json!({"event": "e", "payload": payload})).await;
    }
    ok(&push(&server, json!({"event": "e", "targets": {"users": "ann"}})).await);
    page.receives("EVENT", json!({"event": "e", "payload": {}})).await;
    server.stop().await;
}

#[tokio::test]
async fn the_older_format_of_pushes_is_delivered() {
    // T-45
    let server = open().await;
    let mut page = Page::open(&server).await;
    page.ident("ann").await;
    page.join("chat").await;
    for (command, data) in [
        ("notifyUser", json!({"user": "ann"})),
        ("notifyUser", json!({"users": ["ann"]})),
        ("notifyChannel", json!({"channel": "chat"})),
        ("notifyChannel", json!({"channels": ["chat", "other"]})),
        ("notifyAll", json!({})),
    ] {
        let mut data = data;
        data["event"] = json!(command);
        data["payload"] = json!(1);
        ok(&push(&server, json!({"cmd": command, "data": data})).await);
        page.receives("EVENT", json!({"event": command, "payload": 1})).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn responses_to_other_requests_are_those_of_the_old_server() {
    // T-26, T-27, T-28
    let server = TestServer::start(&format!(
        "/: {{dialect: turted, turted: {{push: {{password: {PASSWORD}, port: 0}}}}}}\n"
    ))
    .await;
    let own = &server.push[0];
    let cors = |response: &Response| {
        ["origin", "methods", "headers"]
            .map(|name| response.header(&format!("access-control-allow-{name}")).map(str::to_owned))
    };
    let with_origin = |request: Request| request.header("Origin", "https://www.example.com");
    let preflight = own.send(&with_origin(Request::new("OPTIONS", "/push/"))).await;
    assert_eq!((preflight.status, preflight.body.len()), (200, 0));
    let expected = ["https://www.example.com", "OPTIONS, POST", "content-type"].map(|text| Some(text.to_owned()));
    assert_eq!(cors(&preflight), expected);
    assert_eq!(preflight.header("access-control-request-method"), Some("*"));
    let pushed = own.send(&with_origin(Request::post("/x/push/y", with_password(json!({})).to_string()))).await;
    ok(&pushed);
    assert_eq!(cors(&pushed), expected);
    let without_origin = own.send(&Request::post("/?to=/push/", with_password(json!({})).to_string())).await;
    assert_eq!(without_origin.header("access-control-allow-origin"), Some("*"));
    let put = own.send(&Request::new("PUT", "/push/")).await;
    assert_eq!((put.status, put.header("content-type")), (405, Some("text/html")));
    assert_eq!(cors(&put), [None, None, None]);
    let elsewhere = own.get("/").await;
    assert_eq!((elsewhere.status, elsewhere.body.len()), (200, 0));
    // The port of pushes serves nothing else, and the public listener accepts none.
    assert_eq!(own.get("/socket.io/?EIO=4&transport=polling").await.body.len(), 0);
    assert_eq!(post(&server, &with_password(json!({})).to_string()).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_large_push_is_accepted_up_to_the_limit() {
    // T-29
    let server = open().await;
    let mut page = Page::open(&server).await;
    page.ident("ann").await;
    let large = "x".repeat(1_000_000);
    ok(&push(&server, json!({"event": "e", "targets": {"users": "ann"}, "payload": large})).await);
    page.receives("EVENT", json!({"event": "e", "payload": large})).await;
    let larger = "x".repeat(2_000_000);
    let response = push(&server, json!({"event": "e", "targets": {"users": "ann"}, "payload": larger})).await;
    assert_eq!(response.status, 413);
    let users: Vec<u32> = (0..2000).collect();
    let response = push(&server, json!({"event": "e", "targets": {"users": users}})).await;
    assert_eq!(response.status, 413, "{}", response.text());
    assert!(response.text().contains("target"), "{}", response.text());
    server.stop().await;
}

#[tokio::test]
async fn a_large_push_in_chunks_is_accepted_up_to_the_limit() {
    // T-29: the length of a chunked body is not known before its end.
    let server = open().await;
    let mut page = Page::open(&server).await;
    page.ident("ann").await;
    let push_in_chunks = async |length: usize, is_complete: bool| {
        let payload = "x".repeat(length);
        let body =
            with_password(json!({"event": "e", "targets": {"users": "ann"}, "payload": payload})).to_string();
        let address = &server.address;
        let head = format!("POST /push/ HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut request = head.into_bytes();
        for chunk in body.as_bytes().chunks(10_000) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        if is_complete {
            request.extend_from_slice(b"0\r\n\r\n");
        }
        let mut stream = server.dial().await;
        stream.write_all(&request).await.unwrap();
        in_time("a response", Response::read(&mut stream, false)).await.unwrap()
    };
    ok(&push_in_chunks(1_000_000, true).await);
    page.receives("EVENT", json!({"event": "e", "payload": "x".repeat(1_000_000)})).await;
    // It is rejected as soon as it is too large, and before it ends: the limit is 1 MiB.
    for is_complete in [true, false] {
        let response = push_in_chunks(1_048_576, is_complete).await;
        assert_eq!(response.status, 413, "{}", response.text());
    }
    page.receives_nothing_else(&server, "last").await;
    server.stop().await;
}

#[tokio::test]
async fn without_an_authenticator_and_a_password_nothing_is_open() {
    // T-04, T-08, T-42
    let server = TestServer::start("/: {dialect: turted}\n").await;
    let mut page = Page::open(&server).await;
    page.send("IDENT", json!({"username": "ann", "password": "", "token": ""})).await;
    page.receives("ERROR", json!("IDENT not verified")).await;
    page.send("JOIN", json!({"channel": "chat"})).await;
    page.receives("ERROR", json!("JOIN not allowed")).await;
    assert_eq!(post(&server, &with_password(json!({})).to_string()).await.status, 404);
    // The rooms of users and channels cannot be read in another way.
    for room in ["turted:chat", "%01user:ann"] {
        for path in [format!("/api//rooms/{room}/history"), format!("/api//rooms/{room}")] {
            let status = server.get(&path).await.status;
            assert!([401, 403, 404, 400].contains(&status), "{path}: {status}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_password_or_a_token_opens_a_user_and_a_user_may_join() {
    // T-04, T-06, T-07, T-42
    let server = start(&format!("ident: password, ident_password: {PASSWORD}")).await;
    let mut page = Page::open(&server).await;
    for password in [json!("guess"), json!(null), json!([PASSWORD])] {
        page.send("IDENT", json!({"username": "ann", "password": password})).await;
        page.receives("ERROR", json!("IDENT not verified")).await;
    }
    ok(&push(&server, json!({"event": "early", "targets": {"users": "ann", "channels": "chat"}})).await);
    page.send("JOIN", json!({"channel": "chat"})).await;
    page.receives("ERROR", json!("JOIN not allowed")).await;
    page.send("IDENT", json!({"username": "ann", "password": PASSWORD})).await;
    page.receives("OK", json!({"username": "ann"})).await;
    page.join("chat").await;
    ok(&push(&server, json!({"event": "e", "targets": {"users": "ann", "channels": "chat"}})).await);
    page.receives("EVENT", json!({"event": "e", "payload": {}})).await;
    server.stop().await;

    let server = start("ident: token, token_prefix: qwer, token_suffix: asdf").await;
    let mut page = Page::open(&server).await;
    let token = "4111869600c9b953ea9c5558158b6aa6";
    for (name, expected) in [("Other", "ERROR"), ("UserName", "OK")] {
        page.send("IDENT", json!({"username": name, "token": token})).await;
        assert_eq!(page.next().await[0], expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_guesses_users_is_closed_and_a_right_one_is_accepted() {
    let application = Application::start(Behaviour::Respond(403, String::new())).await;
    let limits = "limits: {wrong_keys_per_second_per_address: 1}\n";
    for turted in [
        format!("ident: password, ident_password: {PASSWORD}"),
        "ident: token, token_prefix: qwer, token_suffix: asdf".to_owned(),
        format!("ident: application, application: {{url: \"{}\"}}", application.url),
    ] {
        let server = TestServer::start(&format!("{limits}{}", configuration(&turted, ""))).await;
        let mut page = Page::open(&server).await;
        let mut guesses = 0;
        let (code, reason) = loop {
            assert!(guesses < 200, "{turted}: {guesses} guesses");
            let guess = format!("guess-{guesses}");
            page.send("IDENT", json!({"username": "ann", "password": guess, "token": guess})).await;
            match in_time("an event", page.0.next_packet()).await {
                Some(packet) => assert_eq!(packet.value(), json!(["ERROR", "IDENT not verified"])),
                None => break page.0.ended().await.expect("a close frame"),
            }
            guesses += 1;
        };
        assert_eq!((code, &*reason), (1008, "too many wrong keys"), "{turted}");
        assert!(guesses >= 20, "{turted}: a page with an old password goes on, {guesses}");
        server.metric_is("nodevent_disconnects_total{reason=\"wrong_keys\"}", 1).await;
        // The same address.
        application.set(yes("UserName"));
        let mut page = Page::open(&server).await;
        let token = "4111869600c9b953ea9c5558158b6aa6";
        page.send("IDENT", json!({"username": "UserName", "password": PASSWORD, "token": token})).await;
        page.receives("OK", json!({"username": "UserName"})).await;
        server.stop().await;
    }
    // Where no user is accepted there is nothing to guess.
    let server = TestServer::start(&format!("{limits}/: {{dialect: turted}}\n")).await;
    let mut page = Page::open(&server).await;
    for _ in 0..40 {
        page.send("IDENT", json!({"username": "ann"})).await;
        page.receives("ERROR", json!("IDENT not verified")).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn the_application_decides_about_users_and_channels() {
    // T-04, T-42
    let application = Application::knows("ann").await;
    let url = application.url.clone();
    let settings = format!("ident: application, application: {{url: \"{url}\"}}");
    let server = start(&settings).await;
    let mut page = Page::open(&server).await;
    // A page sends both at once: the channel waits for the user.
    let ident = json!(["IDENT", {"username": "ann", "token": "h57dlot8"}]);
    page.0.send(&[&format!("42{ident}"), r#"42["JOIN",{"channel":"chat"}]"#]).await;
    page.receives("OK", json!({"username": "ann"})).await;
    page.receives("OK", json!({"channel": "chat"})).await;
    let request = application.requests().remove(0);
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let data = json!({"username": "ann", "token": "h57dlot8"});
    assert_eq!(body, json!({"namespace": "/", "ident": {"username": "ann", "data": data}}));
    // It names another user: no.
    let mut other = Page::open(&server).await;
    other.0.send(&[r#"42["IDENT",{"username":"bob"}]"#, r#"42["JOIN",{"channel":"chat"}]"#]).await;
    let mut errors = [other.next().await, other.next().await];
    errors.sort_by_key(|error| error.to_string());
    assert_eq!(errors, [json!(["ERROR", "IDENT not verified"]), json!(["ERROR", "JOIN not allowed"])]);
    for behaviour in
        [Behaviour::Close, Behaviour::Respond(500, String::new()), Behaviour::Respond(403, String::new())]
    {
        application.set(behaviour);
        other.send("IDENT", json!({"username": "ann"})).await;
        other.receives("ERROR", json!("IDENT not verified")).await;
    }
    ok(&push(&server, json!({"event": "e", "targets": {"users": ["ann", "bob"], "channels": "chat"}})).await);
    page.receives("EVENT", json!({"event": "e", "payload": {}})).await;
    other.receives_nothing_else(&server, "last").await;
    server.stop().await;

    // The application decides about channels too, and learns the users.
    application.set(yes("ann"));
    let server = start(&format!("{settings}, join: application")).await;
    let mut page = Page::open(&server).await;
    page.send("IDENT", json!({"username": "ann"})).await;
    page.receives("OK", json!({"username": "ann"})).await;
    page.send("JOIN", json!({"channel": "secret"})).await;
    page.receives("ERROR", json!("JOIN not allowed")).await;
    application.set(Behaviour::Respond(200, r#"{"join":true}"#.to_owned()));
    page.join("chat").await;
    let request = application.requests().pop().unwrap();
    assert!(request.contains(r#""join":{"channel":"chat","users":["ann"]}"#), "{request}");
    server.stop().await;
}

#[tokio::test]
async fn several_servers_share_users_and_channels_through_redis() {
    // T-43, T-44
    let redis = RedisServer::start().await;
    let configuration = format!(
        "/: {{dialect: turted, redis: \"{}\", turted: {{ident: accept_all, join: open, \
         push: {{password: {PASSWORD}, redis_channel: turted}}}}}}\n",
        redis.url()
    );
    let [one, two] = [TestServer::start(&configuration).await, TestServer::start(&configuration).await];
    one.ready().await;
    two.ready().await;
    redis.has_subscribers("turted", 2).await;
    let [mut here, mut there] = [Page::open(&one).await, Page::open(&two).await];
    here.ident("ann").await;
    here.join("chat").await;
    there.send("IDENT", json!({"username": 42})).await;
    there.receives("OK", json!({"username": 42})).await;
    there.join("chat").await;
    ok(&push(&one, json!({"event": "e", "targets": {"users": 42}})).await);
    there.receives("EVENT", json!({"event": "e", "payload": {}})).await;
    ok(&push(&two, json!({"event": "c", "targets": {"users": "ann", "channels": "chat", "broadcast": true}}))
        .await);
    here.receives("EVENT", json!({"event": "c", "payload": {}})).await;
    there.receives("EVENT", json!({"event": "c", "payload": {}})).await;
    // The Redis push connector: each connection receives the event once, and a wrong password is rejected.
    redis.publish("turted", r#"{"event":"forged","targets":{"broadcast":true},"auth":"guess"}"#).await;
    redis.publish("turted", "null").await;
    let body =
        with_password(json!({"event": "r", "targets": {"users": "ann", "channels": ["chat"]}, "payload": 7}));
    redis.publish("turted", body.to_string()).await;
    here.receives("EVENT", json!({"event": "r", "payload": 7})).await;
    there.receives("EVENT", json!({"event": "r", "payload": 7})).await;
    here.receives_nothing_else(&one, "last").await;
    there.receives("EVENT", json!({"event": "last", "payload": {}})).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn via_says_through_which_target_an_event_came() {
    // T-46
    let server = start("ident: accept_all, join: open, via: true").await;
    let mut page = Page::open(&server).await;
    page.ident("ann").await;
    page.join("chat").await;
    for (targets, via) in [
        (json!({"users": "ann", "channels": "chat", "broadcast": true}), json!({"user": "ann"})),
        (json!({"channels": "chat", "broadcast": true}), json!({"channel": "chat"})),
        (json!({"broadcast": true}), json!({"broadcast": true})),
    ] {
        ok(&push(&server, json!({"event": "e", "targets": targets})).await);
        page.receives("EVENT", json!({"event": "e", "payload": {}, "via": via})).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn many_joins_at_once_are_accepted_if_the_limits_allow_them() {
    // T-37
    let limits = "limits: {max_rooms_per_connection: 1000, packets_per_second: 1000}\n";
    let server =
        TestServer::start(&format!("{limits}{}", configuration("ident: accept_all, join: open", ""))).await;
    let mut page = Page::open(&server).await;
    let packets: Vec<String> =
        (0..500).map(|index| format!(r#"42["JOIN",{{"channel":"channel-{index}"}}]"#)).collect();
    page.0.send(&packets.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for index in 0..500 {
        page.receives("OK", json!({"channel": format!("channel-{index}")})).await;
    }
    ok(&push(&server, json!({"event": "e", "targets": {"channels": "channel-499"}})).await);
    page.receives("EVENT", json!({"event": "e", "payload": {}})).await;
    server.stop().await;
    // Beyond the limit of rooms there is an error, and the connection stays open.
    let server =
        TestServer::start(&format!("limits: {{max_rooms_per_connection: 2}}\n{}", configuration("join: open", "")))
            .await;
    let mut page = Page::open(&server).await;
    page.join("one").await;
    page.join("two").await;
    page.send("JOIN", json!({"channel": "three"})).await;
    page.receives("ERROR", json!("JOIN failed: Too many rooms")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_ends_leaves_nothing_behind() {
    // T-35
    let server = open().await;
    for round in 0..300 {
        let mut page = Page::open(&server).await;
        page.ident(&format!("user-{round}")).await;
        page.join("chat").await;
        page.join(&format!("channel-{round}")).await;
        page.0.close().await;
    }
    server.metric_is("nodevent_connections", 0).await;
    server.metric_is("nodevent_rooms", 0).await;
    server.metric_is("nodevent_users", 0).await;
    server.stop().await;
}

#[tokio::test]
async fn thousands_of_connections_that_come_and_go_take_no_memory() {
    // T-35
    let process = Process::start(&configuration("ident: accept_all, join: open", "")).await;
    let visits = async |rounds: std::ops::Range<usize>| {
        let rounds: Vec<usize> = rounds.collect();
        for batch in rounds.chunks(10) {
            let visits = batch.iter().map(async |round| {
                let mut page = Page::open(&process.site).await;
                page.ident(&format!("user-{round}")).await;
                page.join("chat").await;
                page.join(&format!("channel-{round}")).await;
                page.0.close().await;
            });
            join_all(visits).await;
        }
        for series in ["nodevent_connections", "nodevent_rooms", "nodevent_users"] {
            process.metric_is(series, 0).await;
        }
    };
    visits(0..WARM_UP).await;
    let before = process.resident();
    visits(WARM_UP..WARM_UP + VISITS).await;
    let grown = process.resident().saturating_sub(before);
    println!("{VISITS} visits: the process grew by {} KB", grown >> 10);
    assert!(grown < GROWTH, "the process grew by {} KB in {VISITS} visits", grown >> 10);
}

#[tokio::test]
async fn level_of_the_log_is_that_of_turted_and_no_secret_is_in_it() {
    // T-34, X-07
    for (level, shows_start, shows_connections) in [
        ("debug", true, true),
        ("info", true, false),
        ("warn", false, false),
        ("error", false, false),
        ("loud", false, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let port = crate::support::redis::free_port();
        let file = folder.path().join("nodevent.yml");
        let settings = format!("ident: password, ident_password: {PASSWORD}-ident");
        std::fs::write(&file, format!("bind: 127.0.0.1\nport: {port}\n{}", configuration(&settings, ""))).unwrap();
        let mut command = program::command(folder.path());
        command.arg(&file).env("TURTED_LOGLEVEL", level).env("A_SECRET_OF_THE_ENVIRONMENT", "sesame");
        let program = Program::spawn(command);
        let site = Site::at(&format!("http://127.0.0.1:{port}"));
        until("the server listens", async || tokio::net::TcpStream::connect(&site.address).await.is_ok()).await;
        let mut page = Page::open(&site).await;
        page.send("IDENT", json!({"username": "ann", "password": format!("{PASSWORD}-ident")})).await;
        page.receives("OK", json!({"username": "ann"})).await;
        ok(&push(&site, json!({"event": "e", "targets": {"users": "ann"}})).await);
        page.receives("EVENT", json!({"event": "e", "payload": {}})).await;
        page.0.close().await;
        if shows_connections {
            program.logs("connection closed").await;
        }
        if shows_start {
            program.logs("listening url=").await;
        }
        let log = program.log().join("\n");
        // It is logged before the first connection is accepted.
        assert_eq!(log.contains("listening url="), shows_start, "{level}: {log}");
        assert_eq!(log.contains("connection closed"), shows_connections, "{level}: {log}");
        assert!(!log.contains(PASSWORD) && !log.contains("sesame"), "{level}: {log}");
        program.kill().await;
    }
}

#[tokio::test]
async fn a_hash_function_that_is_not_known_is_md5_and_reported() {
    // T-09
    let folder = tempfile::tempdir().unwrap();
    let settings = "ident: token, token_prefix: qwer, token_suffix: asdf, token_hash: crc32";
    std::fs::write(folder.path().join("nodevent.yml"), configuration(settings, "")).unwrap();
    let checked = Program::run(folder.path(), &["check", "--offline", "nodevent.yml"]).await;
    let output = [checked.stdout, checked.stderr].concat();
    let text = String::from_utf8_lossy(&output).into_owned();
    assert!(text.contains("so md5 is used"), "{text}");
    let server = start(settings).await;
    let mut page = Page::open(&server).await;
    page.send("IDENT", json!({"username": "UserName", "token": "4111869600c9b953ea9c5558158b6aa6"})).await;
    page.receives("OK", json!({"username": "UserName"})).await;
    server.stop().await;
}

#[tokio::test]
async fn the_command_pushes_to_users_and_channels() {
    let folder = tempfile::tempdir().unwrap();
    let settings = configuration("ident: accept_all, join: open", "");
    let program =
        Program::serve(folder.path(), &format!("bind: 127.0.0.1\nport: 0\nadmin: {{port: 0}}\n{settings}")).await;
    let site = program.site().await;
    let mut page = Page::open(&site).await;
    page.ident("ann").await;
    page.join("chat").await;
    let url = format!("http://{}", site.address);
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let run = async |arguments: &[&str]| {
        let file = folder.path().join("nodevent.yml").display().to_string();
        let all = [&["push", "--url", &url, "--config", &file], arguments].concat();
        Program::run(folder.path(), &all).await
    };
    let done = run(&["--user", "ann", "NEWS", r#"{"n": 1}"#]).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "OK\n");
    page.receives("EVENT", json!({"event": "NEWS", "payload": {"n": 1}})).await;
    let file = password.display().to_string();
    assert!(run(&["-c", "chat", "NEWS", "hello", "--password-file", &file]).await.status.success());
    page.receives("EVENT", json!({"event": "NEWS", "payload": {"data": "hello"}})).await;
    std::fs::write(&password, "a-wrong-password-0").unwrap();
    let rejected = run(&["--broadcast", "NEWS", "--password-file", &file]).await;
    assert_eq!(rejected.status.code(), Some(69));
    let text = String::from_utf8_lossy(&rejected.stderr).into_owned();
    assert!(text.contains("Wrong auth data") && !text.contains("a-wrong-password-0"), "{text}");
    assert_eq!(run(&["NEWS"]).await.status.code(), Some(64), "without a target");
    program.kill().await;
}
