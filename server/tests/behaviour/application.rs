//! The application says who a connection is: what it is sent, what counts as a yes, and that no other client waits for it.

use crate::support::application::{Application, Behaviour, yes};
use crate::support::keys::{LATER, key};
use crate::support::tokens::{now, token};
use crate::support::wait::in_time;
use crate::support::{Browser, Program, Response, TestServer, Transport};
use serde_json::{Value, json};
use std::time::Duration;

/// A visitor with a session, and more than the application is to see.
const SESSION: [(&str, &str); 3] =
    [("Cookie", "theme=dark; session=secretsession; other=1"), ("X-Visitor", "secretvisitor"), ("X-Other", "no")];
const REJECTED: &str = "Rejected by the application";
const UNAVAILABLE: &str = "Identity cannot be checked now";

/// A namespace whose application is asked, without a cache, and another one that does not ask.
fn configuration(url: &str, more: &str) -> String {
    let auth = format!("{{url: \"{url}\", cookies: [session], headers: [X-Visitor]{more}}}");
    format!(
        "/nodevent:\n  history: off\n  secret: a-secret-for-room-keys\n  auth: {auth}\n/free: {{open: true, history: off}}\n"
    )
}

/// The same without a cache and with a short timeout.
fn strict(url: &str) -> String {
    configuration(url, ", cache: 0s, cache_rejected: 0s, timeout: 500ms")
}

async fn visitor(site: &crate::support::Site, transport: Transport) -> Browser {
    let opened: Result<Browser, Response> = Browser::try_open(site, transport, &SESSION).await;
    opened.unwrap_or_else(|refused| panic!("refused with {}", refused.status))
}

/// The message of the connect error that a visitor receives.
async fn rejection(server: &TestServer, transport: Transport) -> Value {
    let mut browser = visitor(server, transport).await;
    let error = browser.enter("/nodevent").await.expect_err("the visitor is rejected");
    // It joined nothing and may try again on the same connection.
    browser.enter("/free").await.expect("the connection is still open");
    error["message"].clone()
}

fn requests_metric(reason: &str) -> String {
    format!("nodevent_application_requests_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn application_sees_only_what_is_listed_and_says_who_the_visitor_is() {
    let body = json!({"user": 7, "rooms": ["a"], "info": {"name": "Ann"}, "expires": now() + 50.0}).to_string();
    let application = Application::start(Behaviour::Respond(200, body)).await;
    let server = TestServer::start(&configuration(&application.url, ", cache: 0s")).await;
    for (count, transport) in Transport::BOTH.into_iter().enumerate() {
        let mut browser = visitor(&server, transport).await;
        browser.enter_with("/nodevent", &json!({"token": "secrettoken"}).to_string()).await.unwrap();
        let notice = browser.next_notice().await;
        assert_eq!((&notice[0], &notice[1]["user"]), (&json!("identified"), &json!("7")));
        assert!(notice[1]["expires_in"].as_u64().unwrap() <= 50_000, "{notice}");
        assert_eq!(browser.next_notice().await, json!(["joined", {"room": "a"}]));
        assert_eq!(browser.call("join", &[json!({"room": "b"})]).await, json!(["Must provide key", false]));
        let with_key = key("b", LATER, "a-secret-for-room-keys");
        assert_eq!(browser.join_with("b", with_key).await, json!([null, true]), "room keys work as before");
        let request = application.requests()[count].to_lowercase();
        assert!(request.starts_with("get /live/visitor?app=secretquery http/1.1\r\n"), "{request}");
        for line in [
            "cookie: session=secretsession\r\n",
            "x-visitor: secretvisitor\r\n",
            "authorization: bearer secrettoken\r\n",
        ] {
            assert!(request.contains(line), "{line} in {request}");
        }
        for other in ["theme", "other", "socket.io"] {
            assert!(!request.contains(other), "{other} in {request}");
        }
    }
}

#[tokio::test]
async fn post_has_the_token_in_its_body() {
    let application = Application::knows("7").await;
    let server = TestServer::start(&configuration(&application.url, ", method: POST")).await;
    let mut browser = Browser::open(&server, Transport::WebSocket).await;
    browser.enter_with("/nodevent", &json!({"token": "t\"1"}).to_string()).await.unwrap();
    let request = application.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST ") && !head.to_lowercase().contains("authorization"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({"namespace": "/nodevent", "token": "t\"1"}));
}

#[tokio::test]
async fn visitor_with_nothing_to_send_is_rejected_without_a_request() {
    let application = Application::knows("7").await;
    let server = TestServer::start(&strict(&application.url)).await;
    let mut browser = Browser::open(&server, Transport::WebSocket).await;
    assert_eq!(browser.enter("/nodevent").await.unwrap_err(), json!({"message": "Must provide token"}));
    assert!(application.requests().is_empty());
}

/// Each case of an application that does not say yes: the visitor is rejected, and the metric has the reason.
async fn is_no(behaviour: Behaviour, message: &str, reason: &str) {
    let application = Application::start(behaviour).await;
    let server = TestServer::start(&strict(&application.url)).await;
    for transport in Transport::BOTH {
        assert_eq!(rejection(&server, transport).await, message);
    }
    server.metric_is(&requests_metric(reason), 2).await;
    let token_reason = if message == REJECTED { "application_rejected" } else { "application_unavailable" };
    server.metric_is(&format!("nodevent_rejected_tokens_total{{reason=\"{token_reason}\"}}"), 2).await;
    assert_eq!(server.metric("nodevent_joins_total").await, 0);
}

#[tokio::test]
async fn application_that_says_no_admits_no_client() {
    is_no(Behaviour::Respond(401, r#"{"user":"7"}"#.into()), REJECTED, "ok").await;
}

#[tokio::test]
async fn application_that_responds_slowly_admits_no_client() {
    is_no(Behaviour::Slowly(Duration::from_secs(5), r#"{"user":"7"}"#.into()), UNAVAILABLE, "timeout").await;
    let dripping = Behaviour::Dripping(Duration::from_millis(100), r#"{"user":"7"}"#.into());
    is_no(dripping, UNAVAILABLE, "timeout").await;
}

#[tokio::test]
async fn application_that_responds_incorrectly_admits_no_client() {
    is_no(Behaviour::Respond(200, r#"{"user":null}"#.into()), UNAVAILABLE, "ok").await;
    is_no(Behaviour::Respond(200, "<html>".into()), UNAVAILABLE, "ok").await;
    is_no(Behaviour::Respond(204, String::new()), UNAVAILABLE, "ok").await;
    is_no(Behaviour::Respond(500, r#"{"user":"7"}"#.into()), UNAVAILABLE, "failed").await;
    is_no(Behaviour::Raw("yes\r\n\r\n".into()), UNAVAILABLE, "unreachable").await;
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"user\":\"7\"}";
    is_no(Behaviour::Raw(short.into()), UNAVAILABLE, "unreachable").await;
}

#[tokio::test]
async fn application_that_responds_with_a_huge_body_admits_no_client() {
    let huge = json!({"user": "7", "more": "x".repeat(1 << 20)}).to_string();
    is_no(Behaviour::Respond(200, huge), UNAVAILABLE, "too_large").await;
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\n{{}}", "x".repeat(1 << 20));
    is_no(Behaviour::Raw(head), UNAVAILABLE, "unreachable").await;
}

#[tokio::test]
async fn application_that_never_responds_admits_no_client() {
    is_no(Behaviour::Never, UNAVAILABLE, "timeout").await;
}

#[tokio::test]
async fn application_that_redirects_admits_no_client_and_the_redirect_is_not_followed() {
    let other = Application::knows("7").await;
    is_no(Behaviour::Redirect(other.url.clone()), REJECTED, "redirect").await;
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn application_that_is_not_there_admits_no_client() {
    let application = Application::knows("7").await;
    let url = application.url.clone();
    drop(application);
    tokio::task::yield_now().await;
    let server = TestServer::start(&strict(&url)).await;
    assert_eq!(rejection(&server, Transport::WebSocket).await, UNAVAILABLE);
    server.metric_is(&requests_metric("unreachable"), 1).await;
}

/// A certificate that no trusted authority has signed: the request is not sent, and the log says why. With the file of
/// certificates to trust it is sent, unless they are for another name.
#[tokio::test]
async fn certificate_of_the_application_is_verified() {
    let (application, pem) = Application::start_with_tls(yes("7")).await;
    let (other, other_pem) = Application::start_with_tls(yes("8")).await;
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (trusted, untrusted) = (written("ca.pem", &pem), written("other.pem", &other_pem));
    let no_name = application.url.replace("localhost", "127.0.0.1");
    for (url, ca, reason) in [
        (&application.url, None, "UnknownIssuer"),
        (&application.url, Some(&untrusted), "invalid peer certificate"),
        (&no_name, Some(&trusted), "not valid for name"),
    ] {
        let ca = ca.map(|file| format!(", ca: \"{file}\"")).unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let text = configuration(url, &format!(", cache: 0s, cache_rejected: 0s{ca}"));
        let program = Program::serve(folder.path(), &format!("bind: 127.0.0.1\nport: 0\n{text}")).await;
        let mut browser = visitor(&program.site().await, Transport::WebSocket).await;
        let error = browser.enter("/nodevent").await.expect_err("the visitor is rejected");
        assert_eq!(error["message"], UNAVAILABLE);
        let line = program.logs("application: no decision; clients are rejected").await;
        assert!(line.contains("cannot connect: invalid peer certificate") && line.contains(reason), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
    assert!(
        application.requests().is_empty() && other.requests().is_empty(),
        "nothing is sent before the certificate"
    );
    let server = TestServer::start(&configuration(&application.url, &format!(", ca: \"{trusted}\""))).await;
    let mut browser = visitor(&server, Transport::WebSocket).await;
    browser.enter("/nodevent").await.expect("the application says yes");
    assert_eq!(browser.next_notice().await[1]["user"], "7");
    assert_eq!(application.requests().len(), 1);
}

#[tokio::test]
async fn request_whose_connection_is_closed_is_sent_once_more_if_that_is_safe() {
    for (method, requests) in [("GET", 2), ("POST", 1)] {
        let application = Application::start(Behaviour::Close).await;
        let more = format!(", method: {method}, cache: 0s, timeout: 5s");
        let server = TestServer::start(&configuration(&application.url, &more)).await;
        assert_eq!(rejection(&server, Transport::WebSocket).await, UNAVAILABLE);
        assert_eq!(application.requests().len(), requests, "{method}");
        application.set(yes("7"));
        visitor(&server, Transport::WebSocket).await.enter("/nodevent").await.unwrap();
    }
}

#[tokio::test]
async fn other_clients_do_not_wait_for_a_slow_application() {
    let application = Application::start(Behaviour::Never).await;
    let more =
        ", timeout: 30s, concurrency: 1, queue: 2}\n  token: {secret: a-secret-for-tokens-of-more-than-32-bytes";
    let server = TestServer::start(&configuration(&application.url, more)).await;
    let mut waiting = Vec::new();
    for index in 0..3 {
        let mut browser = Browser::open(&server, Transport::BOTH[index % 2]).await;
        browser.send(&[&format!("40/nodevent,{{\"token\":\"{index}\"}}")]).await;
        waiting.push(browser);
    }
    application.received(1).await;
    // A client of another namespace, and one of this namespace whose token needs no request.
    for transport in Transport::BOTH {
        let mut bystander = Browser::connect(&server, "/free", transport).await;
        bystander.join("r").await;
        server.emit("/free", "r", "e", 1).await;
        assert_eq!(bystander.next_publication().await.message, 1);
        let mut with_token = Browser::open(&server, transport).await;
        let payload = json!({"token": token(json!({"sub": "8", "rooms": ["r"]}))}).to_string();
        with_token.enter_with("/nodevent", &payload).await.unwrap();
        server.emit("/nodevent", "r", "e", 2).await;
        assert_eq!(with_token.next_publication().await.message, 2);
    }
    // There is no place for another one, which is rejected at once.
    let mut late = Browser::open(&server, Transport::WebSocket).await;
    let error = late.enter_with("/nodevent", r#"{"token":"late"}"#).await.unwrap_err();
    assert_eq!(error, json!({"message": UNAVAILABLE}));
    assert_eq!(application.requests().len(), 1, "the others wait for it");
}

#[tokio::test]
async fn what_a_client_sends_while_the_application_decides_is_held_in_order() {
    for transport in Transport::BOTH {
        let body = json!({"user": "7", "rooms": ["a"]}).to_string();
        let application = Application::start(Behaviour::Slowly(Duration::from_millis(300), body)).await;
        let server = TestServer::start(&configuration(&application.url, "")).await;
        let mut browser = visitor(&server, transport).await;
        let join = |id: &str, room: &str| browser.event_packet(id, "join", &[json!({"room": room})]);
        // `event_packet` writes the namespace that the browser has entered, which is none yet.
        let packets = [join("1", "a"), join("2", "b")].map(|packet| packet.replacen("42,", "42/nodevent,", 1));
        let sent: Vec<&str> = ["40/nodevent,", &packets[0], &packets[1]].to_vec();
        browser.send(&sent).await;
        let mut replies = Vec::new();
        while replies.len() < 5 {
            let packet = browser.next_packet().await.expect("the connection stays open");
            if packet.namespace == "/nodevent" {
                replies.push((packet.kind, packet.value()));
            }
        }
        let kinds: String = replies.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, "02233", "connect, identified, joined, then the acknowledgements: {replies:?}");
        assert_eq!(replies[3].1, json!([null, true]));
        assert_eq!(replies[4].1, json!(["Must provide key", false]));
    }
}

#[tokio::test]
async fn client_that_sends_too_much_while_the_application_decides_is_closed() {
    let application = Application::start(Behaviour::Never).await;
    let server = TestServer::start(&configuration(&application.url, "")).await;
    let mut browser = visitor(&server, Transport::WebSocket).await;
    let mut packets = vec!["40/nodevent,"];
    packets.extend(vec!["42/nodevent,[\"x\"]"; 70]);
    browser.send(&packets).await;
    let ended = browser.ended().await.map(|(code, _)| code);
    assert_eq!(ended, Some(1013));
}

#[tokio::test]
async fn client_that_leaves_while_the_application_decides_affects_no_other_client() {
    let body = json!({"user": "7"}).to_string();
    let application = Application::start(Behaviour::Slowly(Duration::from_millis(300), body)).await;
    let server = TestServer::start(&configuration(&application.url, ", cache: 0s")).await;
    let mut leaving = visitor(&server, Transport::WebSocket).await;
    leaving.send(&["40/nodevent,"]).await;
    application.received(1).await;
    leaving.close().await;
    // It takes the slot of the connection that has left.
    let mut next = Browser::open(&server, Transport::WebSocket).await;
    next.enter("/free").await.unwrap();
    let mut again = visitor(&server, Transport::WebSocket).await;
    again.send(&["40/nodevent,", "41/nodevent,"]).await;
    again.enter("/nodevent").await.expect("the second connect packet is answered once");
    next.join("r").await;
    next.receives_nothing_else(&server).await;
}

#[tokio::test]
async fn identical_requests_are_merged_and_decisions_are_used_again() {
    let body = json!({"user": "7"}).to_string();
    let application = Application::start(Behaviour::Slowly(Duration::from_millis(300), body)).await;
    let server = TestServer::start(&configuration(&application.url, ", cache: 60s, cache_rejected: 60s")).await;
    let mut browsers = Vec::new();
    for index in 0..12 {
        let mut browser = visitor(&server, Transport::BOTH[index % 2]).await;
        browser.send(&["40/nodevent,"]).await;
        browsers.push(browser);
    }
    for browser in &mut browsers {
        assert_eq!(browser.next_notice().await[1]["user"], "7");
    }
    visitor(&server, Transport::WebSocket).await.enter("/nodevent").await.unwrap();
    assert_eq!(application.requests().len(), 1);
    // Another token is another request, and so is a no.
    application.set(Behaviour::Respond(403, String::new()));
    for _ in 0..3 {
        let mut browser = visitor(&server, Transport::WebSocket).await;
        let error = browser.enter_with("/nodevent", r#"{"token":"x"}"#).await.unwrap_err();
        assert_eq!(error, json!({"message": REJECTED}));
    }
    assert_eq!(application.requests().len(), 2);
}

#[tokio::test]
async fn breaker_opens_after_failures_and_closes_when_the_application_responds_again() {
    let application = Application::start(Behaviour::Respond(503, String::new())).await;
    let server = TestServer::start(&strict(&application.url)).await;
    for _ in 0..5 {
        assert_eq!(rejection(&server, Transport::WebSocket).await, UNAVAILABLE);
    }
    crate::support::wait::until("a request is not sent", async || {
        assert_eq!(rejection(&server, Transport::WebSocket).await, UNAVAILABLE);
        server.metric(&requests_metric("breaker_open")).await > 0
    })
    .await;
    let change = |change: &str| format!("nodevent_application_breaker_changes_total{{reason=\"{change}\"}}");
    assert!(server.metric(&change("opened")).await >= 1);
    application.set(yes("7"));
    crate::support::wait::until("the breaker closes", async || {
        visitor(&server, Transport::WebSocket).await.enter("/nodevent").await.is_ok()
    })
    .await;
    assert!(server.metric(&change("half_opened")).await >= 1);
    assert_eq!(server.metric(&change("closed")).await, 1);
}

#[tokio::test]
async fn new_token_on_the_live_connection_is_decided_by_the_application() {
    let body = json!({"user": "7", "rooms": ["a"], "expires": now() + 1.0}).to_string();
    let application = Application::start(Behaviour::Respond(200, body)).await;
    let server = TestServer::start(&configuration(&application.url, ", cache: 0s, grace: 20s")).await;
    let mut browser = visitor(&server, Transport::WebSocket).await;
    browser.enter("/nodevent").await.unwrap();
    for notice in ["identified", "joined", "expired"] {
        assert_eq!(browser.next_notice().await[0], notice);
    }
    application.set(yes("8"));
    let other = browser.call("token", &[json!({"token": "1"})]).await;
    assert_eq!(other, json!(["Token of another user"]));
    application.set(Behaviour::Respond(200, json!({"user": "7", "rooms": ["b"]}).to_string()));
    let renewed = browser.call("token", &[json!({"token": "2"})]).await;
    assert_eq!((&renewed[0], &renewed[1]["user"]), (&Value::Null, &json!("7")));
    server.emit("/nodevent", "b", "e", 1).await;
    assert_eq!(browser.next_publication().await.room, "b");
}

#[tokio::test]
async fn namespace_that_is_open_is_open_to_known_connections_only() {
    let application = Application::knows("7").await;
    let open = configuration(&application.url, "")
        .replace("secret: a-secret-for-room-keys", "open: true\n  protocol: [socket_io, plain]");
    let server = TestServer::start(&open).await;
    let mut browser = visitor(&server, Transport::WebSocket).await;
    browser.enter("/nodevent").await.unwrap();
    browser.join("r").await;
    // Server-Sent Events and history have no identity.
    for resource in ["events", "history"] {
        let response = server.get(&format!("/api/nodevent/rooms/r/{resource}")).await;
        assert_eq!((response.status, &response.json()["error"]), (403, &json!("Must provide key")), "{resource}");
    }
    let mut plain = crate::support::websocket::WebSocket::open_path(&server, "/ws/nodevent", &SESSION).await;
    let plain = plain.as_mut().unwrap_or_else(|_| panic!("refused"));
    plain.send(&[r#"{"join":"r","id":1}"#]).await;
    let _hello = plain.next().await;
    let identified = plain.next().await.unwrap();
    assert!(identified.contains(r#""identified":"7""#), "the application knows the visitor: {identified}");
    let joined = in_time("the reply", async {
        loop {
            let line = plain.next().await.unwrap();
            if line.contains(r#""id":1"#) {
                return line;
            }
        }
    });
    assert!(joined.await.contains("joined"));
}

#[tokio::test]
async fn operator_sees_the_reasons_and_no_secret() {
    let application = Application::start(Behaviour::Respond(200, "{}".into())).await;
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("bind: 127.0.0.1\nport: 0\nlog: {{level: trace, audit: true}}\n{}", strict(&application.url));
    let program = Program::serve(folder.path(), &text).await;
    let site = program.site().await;
    let visit = async |behaviour: Behaviour| {
        application.set(behaviour);
        let mut browser = visitor(&site, Transport::WebSocket).await;
        browser.enter_with("/nodevent", r#"{"token":"secrettoken"}"#).await.unwrap_err();
    };
    visit(Behaviour::Respond(200, r#"{"secretbody":1}"#.into())).await;
    program.logs("`user` is missing or null").await;
    visit(Behaviour::Redirect("http://localhost/secretlocation".into())).await;
    program.logs("the response is a redirect (status 302), which is not followed").await;
    visit(Behaviour::Respond(200, "x".repeat(100_000))).await;
    program.logs("the response is larger than 65536 bytes").await;
    for _ in 0..5 {
        visit(Behaviour::Respond(500, "secretbody".into())).await;
    }
    program.logs("the response has the status 500").await;
    program.logs("circuit breaker opened").await;
    program.logs("/live/visitor").await;
    for line in program.log() {
        for part in ["session", "visitor", "token", "query", "body", "location"] {
            assert!(!line.contains(&format!("secret{part}")), "{line}");
        }
    }
}

#[tokio::test]
async fn example_of_the_guide_works() {
    let application = Application::knows("7").await;
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/application.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let (_, example) = text.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let configuration =
        example.replace("https://www.example.com/live/visitor", &format!("\"{}\"", application.url));
    let configuration: String =
        configuration.lines().map(|line| format!("{}\n", line.strip_prefix("   ").unwrap_or(line))).collect();
    let server = TestServer::start(&configuration).await;
    let headers = [("Cookie", "_example_session=abc")];
    let mut browser =
        Browser::try_open(&server, Transport::WebSocket, &headers).await.unwrap_or_else(|_| panic!("refused"));
    browser.enter("/nodevent").await.unwrap();
    assert_eq!(browser.next_notice().await[1]["user"], "7");
}
