//! Calls: requests that clients send to the application over their connections, defined in `protocol/README.md` section 16.

use crate::support::application::{Application, Behaviour};
use crate::support::page::{PAGES_SECRET, Page, Visitor, hex};
use crate::support::raw::Raw;
use crate::support::tokens::now;
use crate::support::wait::{in_time, until};
use crate::support::websocket::WebSocket;
use crate::support::{Browser, TestServer, Transport};
use futures_util::future::join_all;
use ring::{digest, hmac};
use serde_json::{Value, json};
use std::time::Duration;

const NS: &str = "/live";
const CALLS_SECRET: &str = "a-secret-for-calls-of-more-than-32-bytes";
/// What a page may send so that others cannot be imitated.
const COOKIE: (&str, &str) = ("cookie", "rack.session=secretsession; theme=dark");

/// The address of an application, without the path that it has for other tests.
fn base(application: &Application) -> String {
    application.url.split("/live").next().unwrap().to_owned()
}

/// `calls` for an application; `more` are further keys.
fn calls(url: &str, more: &str) -> String {
    format!("calls: {{url: \"{url}\", secret: {CALLS_SECRET}{more}}}")
}

/// A server with pages in `/live`, Socket.IO in `/nodevent` and `plain` in `/plain`.
async fn server_at(url: &str, more: &str) -> TestServer {
    let calls = calls(url, more);
    TestServer::start(&format!(
        "{NS}: {{protocol: pakyow, pages: {{secret: {PAGES_SECRET}}}, {calls}}}\n/nodevent: {{open: true, {calls}}}\n\
         /plain: {{open: true, protocol: plain, {calls}}}\n/none: {{open: true}}\n"
    ))
    .await
}

async fn server(application: &Application, more: &str) -> TestServer {
    server_at(&base(application), more).await
}

async fn page(server: &TestServer) -> (Visitor, Page) {
    let visitor = Visitor::of('a', 1);
    let page = visitor.connect(server, NS).await;
    (visitor, page)
}

fn response(status: u16, headers: &str, body: &str) -> Behaviour {
    Behaviour::Raw(format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    ))
}

/// The value of a header of a recorded request.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next()?;
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether a recorded request was signed as the protocol says.
fn is_signed(request: &str, namespace: &str) -> bool {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut words = head.lines().next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let hash = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let text = |name| header(request, name).unwrap_or_default();
    let (cookie, connection) = (hash(text("cookie")), text("x-nodevent-connection"));
    let text = ["call", namespace, method, target, connection, &cookie, &hash(body)].join("\n");
    let signature = header(request, "x-nodevent-signature").unwrap();
    let seconds = signature.strip_prefix("t=").and_then(|rest| rest.split_once(',')).unwrap().0;
    assert!((now() - seconds.parse::<f64>().unwrap()).abs() < 60.0, "{signature}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, CALLS_SECRET.as_bytes());
    let expected = hex(hmac::sign(&key, format!("{seconds}.{text}").as_bytes()).as_ref());
    signature == format!("t={seconds},v1={expected}")
}

fn result(reason: &str) -> String {
    format!("nodevent_calls_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_route_is_called_with_the_visitors_cookies_and_a_signature() {
    // P-18, P-19, P-20
    let application = Application::start(response(
        201,
        "Content-Type: text/html\r\nSet-Cookie: a=secret\r\nX-Two: 1\r\nX-Two: 2\r\n",
        "<p>é</p>",
    ))
    .await;
    let server = server(&application, "").await;
    let (visitor, mut page) = page(&server).await;
    let called = page
        .call(json!({"id": 7, "action": "call-route", "uri": "/comments?draft=1", "method": "post",
            "input": {"text": "a b&c", "socket_connection_id": visitor.id, "tags": ["x"]}}))
        .await;
    assert_eq!((&called["id"], &called["status"]), (&json!(7), &json!(201)));
    assert_eq!(called["body"], json!(["<p>é</p>"]), "a list with one text");
    let headers = &called["headers"];
    assert_eq!((&headers["content-type"], &headers["x-two"]), (&json!("text/html"), &json!("1, 2")));
    assert!(headers.get("set-cookie").is_none() && headers.get("connection").is_none(), "{headers}");
    let requests = application.requests();
    let request = &requests[0];
    assert!(request.starts_with("POST /comments?draft=1 HTTP/1.1\r\n"), "{request}");
    assert!(header(request, "cookie").unwrap().starts_with("rack.session=abc; nodevent_page=1."));
    assert_eq!(header(request, "x-nodevent-connection"), Some(&*visitor.id));
    assert_eq!(header(request, "x-nodevent-namespace"), Some(NS));
    assert_eq!(header(request, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(request, "content-type"), Some("application/x-www-form-urlencoded"));
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let expected = format!("socket_connection_id={}&tags%5B%5D=x&text=a%20b%26c", visitor.id);
    let mut pairs: Vec<_> = body.split('&').collect();
    pairs.sort_unstable();
    assert_eq!(pairs.join("&"), expected);
    assert!(is_signed(request, NS), "{request}");
    let alias = json!({"id": "x", "action": "call_route", "uri": "/a", "input": {"b": 1}});
    assert_eq!(page.call(alias).await["id"], "x");
    let requests = application.requests();
    assert!(requests[1].starts_with("GET /a?b=1 HTTP/1.1\r\n") && is_signed(&requests[1], NS), "{}", requests[1]);
    server.metric_is(&result("ok"), 2).await;
}

#[tokio::test]
async fn every_status_is_passed_on_as_over_http() {
    // P-21
    let application = Application::start(response(200, "", "")).await;
    let server = server(&application, "").await;
    let (_, mut page) = page(&server).await;
    let route = |uri: &str| json!({"id": 1, "action": "call-route", "uri": uri});
    for (status, headers) in [(200, ""), (302, "Location: /login\r\n"), (404, ""), (422, ""), (429, ""), (500, "")]
    {
        application.set(response(status, headers, "body"));
        let called = page.call(route("/")).await;
        assert_eq!((&called["status"], &called["body"]), (&json!(status), &json!(["body"])));
        if status == 302 {
            assert_eq!(called["headers"]["location"], "/login");
        }
    }
    application.set(Behaviour::Raw("HTTP/1.1 204 X\r\nConnection: close\r\n\r\n".into()));
    let called = page.call(route("/")).await;
    assert_eq!((&called["status"], &called["body"]), (&json!(204), &json!([""])));
    assert_eq!(server.metric("nodevent_application_breaker_changes_total{reason=\"opened\"}").await, 0);
}

#[tokio::test]
async fn clients_of_socket_io_and_plain_call_too() {
    let application = Application::start(response(200, "X-A: b\r\n", "done")).await;
    let server = server(&application, "").await;
    let expected = json!({"status": 200, "headers": {"content-length": "4", "x-a": "b"}, "body": "done"});
    for transport in Transport::BOTH {
        let mut browser = Browser::try_open(&server, transport, &[COOKIE]).await.ok().unwrap();
        browser.enter("/nodevent").await.unwrap();
        let call = json!({"method": "POST", "path": "/comments", "body": {"text": "hello"}});
        assert_eq!(browser.call("call", &[call]).await, json!([null, expected]));
        let bad = browser.call("call", &[json!({"path": "/x"})]).await;
        assert_eq!(bad, json!(["bad call", {"status": 400}]));
        let get = json!({"method": "get", "path": "/x", "body": {"is": "dropped"}});
        assert_eq!(browser.call("call", &[get]).await[1]["status"], 200);
    }
    let requests = application.requests();
    let (post, get) = (&requests[0], &requests[1]);
    assert!(
        post.starts_with("POST /comments HTTP/1.1\r\n") && post.ends_with("\r\n\r\n{\"text\":\"hello\"}"),
        "{post}"
    );
    assert_eq!(header(post, "content-type"), Some("application/json"));
    assert_eq!(header(post, "cookie"), Some(COOKIE.1));
    assert!(is_signed(post, "/nodevent") && is_signed(get, "/nodevent"));
    assert!(get.starts_with("GET /x HTTP/1.1\r\n") && get.ends_with("\r\n\r\n"), "{get}");
    let id = header(post, "x-nodevent-connection").unwrap();
    assert_eq!((id.len(), header(get, "x-nodevent-connection")), (32, Some(id)), "one connection has one id");

    let mut plain = WebSocket::open_path(&server, "/ws/plain", &[COOKIE]).await.ok().unwrap();
    let mut next = async |line: &str| -> Value {
        if !line.is_empty() {
            plain.send(&[line]).await;
        }
        serde_json::from_str(&in_time("a line", plain.next()).await.unwrap()).unwrap()
    };
    next("").await;
    let called = next(r#"{"call":{"method":"PUT","path":"/a","body":[1]},"id":3}"#).await;
    assert_eq!(called, json!({"called": expected, "id": 3}));
    let bad = next(r#"{"call":{"method":"PUT","path":"//a"},"id":4}"#).await;
    assert_eq!(bad, json!({"error": "bad path", "status": 400, "id": 4}));
    assert_eq!(next(r#"{"call":{"method":"PUT","path":"/a"}}"#).await["error"], "bad call");
    let last = application.requests().pop().unwrap();
    assert!(last.starts_with("PUT /a HTTP/1.1\r\n") && is_signed(&last, "/plain"), "{last}");
}

#[tokio::test]
async fn handlers_of_the_application_reply_to_messages() {
    // P-24, P-26
    let reply = |status: u16, body: &str| Behaviour::Respond(status, body.to_owned());
    let application = Application::start(reply(200, r#"{"status":200,"body":"hi","id":"forged"}"#)).await;
    let server = server(&application, ", handlers: /nodevent/realtime").await;
    let (visitor, mut page) = page(&server).await;
    let message = json!({"id": 5, "action": "greet", "name": "Ann"});
    assert_eq!(page.call(message.clone()).await, json!({"id": 5, "status": 200, "body": "hi"}));
    let request = &application.requests()[0];
    assert!(request.starts_with("POST /nodevent/realtime HTTP/1.1\r\n") && is_signed(request, NS), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body, json!({"type": "message", "action": "greet", "message": message}));
    assert_eq!(header(request, "x-nodevent-connection"), Some(&*visitor.id));
    for (behaviour, status, text) in [
        (reply(404, ""), 404, "No message handler named greet"),
        (reply(500, "boom"), 500, "the handler failed"),
        (reply(200, "not json"), 500, "the handler failed"),
        (reply(200, "[1]"), 500, "the handler failed"),
        (Behaviour::Close, 502, "application unavailable"),
    ] {
        application.set(behaviour);
        let expected = json!({"id": 5, "status": status, "headers": {}, "body": text});
        assert_eq!(page.call(message.clone()).await, expected);
    }
    page.is_silent().await;
    // No client calls the handlers as a route, however it spells them.
    let before = application.requests().len();
    for uri in [
        "/nodevent/realtime",
        "/nodevent/realtime/",
        "/nodevent/realtime?x=1",
        "/nodevent/%72ealtime",
        "/NoDevent/realtime.json",
    ] {
        let called = page.call(json!({"id": 1, "action": "call-route", "uri": uri, "method": "POST"})).await;
        assert_eq!((&called["status"], &called["body"]), (&json!(400), &json!(["bad path"])), "{uri}");
    }
    assert_eq!(application.requests().len(), before);
}

#[tokio::test]
async fn the_application_is_notified_of_pages_that_join_and_leave() {
    // P-27: with the cookies of the page, so with its session.
    let application = Application::start(Behaviour::Respond(204, String::new())).await;
    let server = server(&application, ", handlers: /rt, notify: [join, leave]").await;
    let (visitor, page) = page(&server).await;
    application.received(1).await;
    drop(page);
    application.received(2).await;
    for (request, kind) in application.requests().iter().zip(["join", "leave"]) {
        assert!(request.starts_with("POST /rt HTTP/1.1\r\n") && is_signed(request, NS), "{request}");
        assert!(request.ends_with(&json!({"type": kind}).to_string()), "{request}");
        assert_eq!(header(request, "x-nodevent-connection"), Some(&*visitor.id));
        assert!(header(request, "cookie").unwrap().contains("rack.session=abc"));
    }
}

#[tokio::test]
async fn a_message_changes_nothing_but_method_path_and_body() {
    let application = Application::start(response(200, "", "ok")).await;
    let url = format!("{}/app/", base(&application));
    let server = server_at(&url, ", cookies: [theme], methods: [GET, POST]").await;
    let mut browser = Browser::try_open(&server, Transport::WebSocket, &[COOKIE]).await.ok().unwrap();
    browser.enter("/nodevent").await.unwrap();
    for path in [
        "//evil.example/",
        "http://evil.example/",
        "@evil.example/",
        "/../admin",
        "/a/%2e%2e/admin",
        "/a\\b",
        "/a%2fb",
        "/a\r\nX-Injected: 1",
        "/a HTTP/1.1\r\n\r\n",
        "/a#b",
        "a",
        "",
    ] {
        let ack = browser.call("call", &[json!({"method": "GET", "path": path})]).await;
        assert_eq!(ack, json!(["bad path", {"status": 400}]), "{path:?}");
    }
    for method in ["DELETE", "TRACE", "CONNECT", "GET /", "G\r\nT", ""] {
        let ack = browser.call("call", &[json!({"method": method, "path": "/"})]).await;
        assert_eq!(ack, json!(["method not allowed", {"status": 405}]), "{method:?}");
    }
    let forged = json!({"method": "POST", "path": "/a?b=c", "body": 1, "host": "evil.example", "cookie": "a=b",
        "headers": {"Host": "evil.example", "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "X-NoDevent-Signature": "t=1"}});
    assert_eq!(browser.call("call", &[forged]).await[1]["status"], 200);
    let requests = application.requests();
    assert_eq!(requests.len(), 1, "nothing else was sent");
    assert!(requests[0].starts_with("POST /app/a?b=c HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(!requests[0].contains("evil") && !requests[0].contains("1.2.3.4") && !requests[0].contains("a=b"));
    assert_eq!(header(&requests[0], "cookie"), Some("theme=dark"), "only what is listed");
    assert!(is_signed(&requests[0], "/nodevent"));
    let mut browser = Browser::connect(&server, "/none", Transport::WebSocket).await;
    let ack = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
    assert_eq!(ack, json!(["calls are not configured", {"status": 501}]));
}

#[tokio::test]
async fn a_call_without_a_usable_response_has_a_named_error() {
    let application = Application::start(response(200, "", "ok")).await;
    let server = server(&application, ", timeout: 1s, max_response: 1KB").await;
    let mut browser = Browser::try_open(&server, Transport::WebSocket, &[COOKIE]).await.ok().unwrap();
    browser.enter("/nodevent").await.unwrap();
    let stream = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
    let endless = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream; charset=utf-8\r\nContent-Length: 100\r\n\r\n";
    for (behaviour, status, error, reason) in [
        (Behaviour::Never, 504, "timeout", "timeout"),
        (Behaviour::Raw(stream.into()), 502, "response is streamed", "streamed"),
        (Behaviour::Raw(endless.into()), 502, "response is streamed", "streamed"),
        (Behaviour::Dripping(Duration::from_millis(300), "x".repeat(100)), 502, "response is streamed", "streamed"),
        (response(200, "", &"x".repeat(1025)), 502, "response too large", "too_large"),
        (Behaviour::Close, 502, "application unavailable", "unreachable"),
    ] {
        application.set(behaviour);
        let before = server.metric(&result(reason)).await;
        let ack = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
        assert_eq!(ack, json!([error, {"status": status}]));
        server.metric_is(&result(reason), before + 1).await;
        application.set(response(200, "", "ok"));
        let fine = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
        assert_eq!(fine[1]["body"], "ok", "{fine}");
    }
    // After failures in succession the circuit breaker responds at once.
    application.set(Behaviour::Close);
    until("the circuit breaker is open", async || {
        browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
        server.metric(&result("breaker_open")).await > 0
    })
    .await;
    let ack = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
    assert_eq!(ack, json!(["application unavailable", {"status": 503}]));
}

#[tokio::test]
async fn a_response_whose_json_exceeds_the_send_buffer_has_an_error_and_closes_no_connection() {
    // Each character of the body has six in JSON.
    let application = Application::start(response(200, "", &"\u{1}".repeat(200_000))).await;
    let calls = calls(&base(&application), "");
    let server =
        TestServer::start(&format!("limits: {{send_buffer: 1MB}}\n/nodevent: {{open: true, {calls}}}\n")).await;
    for transport in [Transport::WebSocket, Transport::Polling] {
        application.set(response(200, "", &"\u{1}".repeat(200_000)));
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for _ in 0..3 {
            let ack = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
            assert_eq!(ack, json!(["response too large", {"status": 502}]));
        }
        // One that fits is passed on.
        let body = "\u{1}".repeat(100_000);
        application.set(response(200, "", &body));
        let ack = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
        assert_eq!(ack[1]["body"], body);
    }
    assert!(server.metric(&result("too_large")).await >= 6);
}

#[tokio::test]
async fn interim_responses_without_end_are_an_error_and_few_are_not() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let last = "HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let application = Application::start(Behaviour::Raw(format!("{}{last}", hint.repeat(20)))).await;
    let server = server(&application, "").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    let call = [json!({"method": "GET", "path": "/"})];
    assert_eq!(browser.call("call", &call).await[1]["body"], "ok");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
        while tokio::io::AsyncWriteExt::write_all(&mut stream, hint.repeat(100).as_bytes()).await.is_ok() {}
    });
    // Long before the call times out.
    let server = server_at(&url, ", timeout: 10m").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    assert_eq!(browser.call("call", &call).await, json!(["application unavailable", {"status": 502}]));
    in_time("the server closes the connection", serving).await.unwrap();
}

#[tokio::test]
async fn a_response_that_is_not_text_has_an_error_of_its_own() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
        let response = b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n\xff\xfe";
        tokio::io::AsyncWriteExt::write_all(&mut stream, response).await.unwrap();
    });
    let server = server_at(&url, "").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    let ack = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
    assert_eq!(ack, json!(["response is not text", {"status": 502}]));
    serving.await.unwrap();
}

#[tokio::test]
async fn calls_of_one_connection_are_limited_and_its_end_leaves_nothing() {
    let application = Application::start(Behaviour::Never).await;
    let server = server(&application, ", per_connection: 2, timeout: 3s").await;
    let (_, mut page) = page(&server).await;
    let route = |id: u64| json!({"id": id, "action": "call-route", "uri": "/"});
    page.send(&route(1)).await;
    page.send(&route(2)).await;
    let third = page.call(route(3)).await;
    assert_eq!(
        (&third["id"], &third["status"], &third["body"]),
        (&json!(3), &json!(429), &json!(["too many calls"]))
    );
    page.is_silent().await;
    let mut late = [page.next().await["status"].clone(), page.next().await["status"].clone()];
    late.sort_by_key(ToString::to_string);
    assert_eq!(late, [504, 504]);
    page.send(&route(4)).await;
    application.received(3).await;
    drop(page);
    server.metric_is("nodevent_connections", 0).await;
    // The reply has no one to go to, and the server goes on.
    server.metric_is(&result("timeout"), 3).await;
}

#[tokio::test]
async fn a_flood_of_slow_calls_does_not_stop_a_bystander() {
    // Attackers of one address call a slow route with many connections. Each client has its turn.
    let slow = Behaviour::Slowly(Duration::from_millis(500), "slow".into());
    let fast = response(200, "", "fast");
    let application = Application::start(Behaviour::If("GET /slow", Box::new(slow), Box::new(fast))).await;
    let calls = calls(&base(&application), ", concurrency: 2, queue: 200, timeout: 30s");
    let server =
        TestServer::start(&format!("trusted_proxies: [127.0.0.1]\n/nodevent: {{open: true, {calls}}}\n")).await;
    let open = async |address: &str| {
        let headers = [("x-forwarded-for", address)];
        let mut browser = Browser::try_open(&server, Transport::WebSocket, &headers).await.ok().unwrap();
        browser.enter("/nodevent").await.unwrap();
        browser
    };
    let mut attackers = join_all((0..20).map(|_| open("203.0.113.1"))).await;
    for attacker in &mut attackers {
        for id in 0..8 {
            let packet =
                attacker.event_packet(&id.to_string(), "call", &[json!({"method": "GET", "path": "/slow"})]);
            attacker.send(&[&packet]).await;
        }
    }
    application.received(2).await;
    let mut bystander = open("198.51.100.1").await;
    for _ in 0..3 {
        let ack = bystander.call("call", &[json!({"method": "GET", "path": "/fast"})]).await;
        assert_eq!(ack[1]["body"], "fast", "{ack}");
    }
    // All calls of the attackers take 40 s.
    let slow = application.requests().iter().filter(|request| request.starts_with("GET /slow")).count();
    assert!(slow < 100, "the bystander waited for {slow} calls of others");
}

#[tokio::test]
async fn one_address_does_not_take_every_place_for_calls() {
    // Neither by calls, nor by pages whose joins the application is notified of.
    for joins in [false, true] {
        let slow = Behaviour::Slowly(Duration::from_secs(4), "slow".into());
        let fast = response(200, "", "fast");
        let application = Application::start(Behaviour::If("POST /slow", Box::new(slow), Box::new(fast))).await;
        let more = ", concurrency: 2, queue: 20, timeout: 60s, handlers: /slow-join, notify: [join]";
        let calls = calls(&base(&application), more);
        let server = TestServer::start(&format!(
            "trusted_proxies: [127.0.0.1]\n{NS}: {{protocol: [pakyow, socket_io], secret: sesame-open-wide-1234567890, \
             pages: {{secret: {PAGES_SECRET}}}, {calls}}}\n"
        ))
        .await;
        let open = async |address: &str| {
            let headers = [("x-forwarded-for", address)];
            let mut browser = Browser::try_open(&server, Transport::WebSocket, &headers).await.ok().unwrap();
            browser.enter(NS).await.unwrap();
            browser
        };
        let (mut pages, mut attackers, mut bystander) = (Vec::new(), Vec::new(), open("198.51.100.1").await);
        if joins {
            for number in 0..40 {
                let visitor = Visitor::of('a', number);
                let headers = [("cookie", &*visitor.cookie(NS)), ("x-forwarded-for", "203.0.113.1")];
                pages.push(Page::open(&server, &visitor.path(), &headers).await);
            }
        } else {
            for _ in 0..5 {
                attackers.push(open("203.0.113.1").await);
            }
        }
        for attacker in &mut attackers {
            for id in 0..8 {
                let call = json!({"method": "POST", "path": "/slow"});
                let packet = attacker.event_packet(&id.to_string(), "call", &[call]);
                attacker.send(&[&packet]).await;
            }
        }
        until("the attacker has its share", async || server.metric(&result("busy")).await > 0).await;
        let ack = bystander.call("call", &[json!({"method": "GET", "path": "/fast"})]).await;
        assert_eq!(ack[1]["body"], "fast", "joins: {joins}, {ack}");
    }
}

#[tokio::test]
async fn only_pages_of_the_applications_own_origins_call() {
    // P-37: what calls needs no CSRF token, so `origins` alone is not enough.
    let application = Application::start(response(200, "", "ok")).await;
    let calls = calls(
        &base(&application),
        ", origins: [\"https://www.example.com\"], handlers: /rt, notify: [join, leave]",
    );
    let server = TestServer::start(&format!(
        "origins: [\"https://*.example.com\"]\n{NS}: {{protocol: [pakyow, socket_io, plain], pages: {{secret: {PAGES_SECRET}}}, \
         secret: sesame-open-wide-1234567890, {calls}}}\n"
    ))
    .await;
    let own = format!("http://{}", server.address);
    let (mut expected, mut rejected) = (0, 0);
    for (origin, may_call) in [
        (&*own, true),
        ("https://127.0.0.1", true),
        ("https://www.example.com", true),
        ("https://partner.example.com", false),
        ("https://user-content.www.example.com", false),
    ] {
        let headers = [COOKIE, ("origin", origin)];
        for transport in Transport::BOTH {
            let mut browser = Browser::try_open(&server, transport, &headers).await.ok().unwrap();
            browser.enter(NS).await.unwrap();
            let ack = browser.call("call", &[json!({"method": "POST", "path": "/transfer", "body": {}})]).await;
            match may_call {
                true => assert_eq!(ack[1]["body"], "ok", "{origin}: {ack}"),
                false => assert_eq!(ack, json!(["origin not allowed", {"status": 403}]), "{origin}"),
            }
        }
        let mut plain = WebSocket::open_path(&server, "/ws/live", &headers).await.ok().unwrap();
        in_time("the greeting", plain.next()).await.unwrap();
        plain.send(&[r#"{"call":{"method":"PUT","path":"/a"},"id":3}"#]).await;
        let reply = in_time("a reply", plain.next()).await.unwrap();
        assert_eq!(reply.contains(r#""status":403"#), !may_call, "{origin}: {reply}");
        // A page is not announced either, and does not reach the handlers.
        let visitor = Visitor::of('a', 1);
        let cookie = visitor.cookie(NS);
        let mut page = Page::open(&server, &visitor.path(), &[("cookie", &*cookie), ("origin", origin)]).await;
        page.is_active(&server, NS, &visitor).await;
        for message in [json!({"id": 1, "action": "call-route", "uri": "/a"}), json!({"id": 1, "action": "greet"})]
        {
            let reply = page.call(message).await;
            assert_eq!(reply["status"] == 403, !may_call, "{origin}: {reply}");
        }
        drop(page);
        // Three calls, a route and a message of the page, its join and its leave.
        expected += if may_call { 7 } else { 0 };
        rejected += if may_call { 0 } else { 7 };
        application.received(expected).await;
        server.metric_is(&result("bad_origin"), rejected).await;
        assert_eq!(application.requests().len(), expected, "{origin}");
    }
}

#[tokio::test]
async fn no_form_replaces_the_method_with_one_that_may_not_be_called() {
    let application = Application::start(response(200, "", "ok")).await;
    let server = server(&application, ", methods: [GET, POST, PUT]").await;
    let (_, mut page) = page(&server).await;
    let mut status = async |uri: &str, method: &str, input: Value| {
        let call = json!({"id": 1, "action": "call-route", "uri": uri, "method": method, "input": input});
        page.call(call).await["status"].clone()
    };
    for input in [
        json!({"_method": "DELETE"}),
        json!({"_method": "delete", "text": "a"}),
        json!({"[_method]": "DELETE"}),
        json!({"_method]": "PATCH"}),
        json!({"_method": ["DELETE"]}),
        json!({"_method": {"a": "DELETE"}}),
    ] {
        assert_eq!(status("/a", "POST", input.clone()).await, 405, "{input}");
    }
    assert_eq!(status("/a?%5Fmethod=DELETE", "POST", json!({"b": 1})).await, 405);
    assert_eq!(application.requests().len(), 0);
    // What may be called may be written so too, and other fields are free.
    assert_eq!(status("/a", "POST", json!({"_method": "put"})).await, 200);
    assert_eq!(status("/a", "POST", json!({"method": "DELETE", "a": {"_method": "DELETE"}})).await, 200);
    assert_eq!(status("/a", "GET", json!({"_method": "DELETE"})).await, 200, "only a POST is replaced");
}

#[tokio::test]
async fn a_call_that_is_too_large_reaches_no_application() {
    let application = Application::start(response(200, "", "ok")).await;
    let server = server(&application, "").await;
    let (_, mut page) = page(&server).await;
    let mut call = json!({"id": 1, "action": "call-route", "uri": "/", "method": "POST", "input": {"text": ""}});
    call["input"]["text"] = "x".repeat(60 * 1024).into();
    assert_eq!(page.call(call.clone()).await["status"], 200);
    call["input"]["text"] = "x".repeat(65 * 1024).into();
    page.send(&call).await;
    in_time("the server closes", async { while page.0.next().await.is_some() {} }).await;
    assert_eq!(page.0.close_frame.map(|frame| u16::from(frame.code)), Some(1009));
    assert_eq!(application.requests().len(), 1);
}

#[tokio::test]
async fn a_foreign_page_calls_nothing() {
    // P-37: with the cookies of a victim.
    let application = Application::start(response(200, "", "secret")).await;
    let server = server(&application, "").await;
    let headers = [COOKIE, ("origin", "https://evil.example")];
    let visitor = Visitor::of('a', 1);
    for path in [visitor.path(), "/ws/plain".to_owned(), "/socket.io/?EIO=4&transport=websocket".to_owned()] {
        let opened = WebSocket::open_path(&server, &path, &headers).await;
        assert_eq!(opened.err().map(|response| response.status), Some(403), "{path}");
    }
    // A program without cookies calls as a visitor without a session.
    let mut raw = Raw::connected(&server, "/nodevent").await;
    raw.send_text(r#"42/nodevent,1["call",{"method":"GET","path":"/"}]"#).await;
    assert!(raw.text().await.starts_with("43/nodevent,1[null,{\"status\":200"));
    assert_eq!(application.requests().len(), 1);
    assert_eq!(header(&application.requests()[0], "cookie"), None);
    assert!(is_signed(&application.requests()[0], "/nodevent"));
}
