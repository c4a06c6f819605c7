//! Limits of requests to the application, in each section that has them: `auth`, `calls` and `turted.application`.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::application::{Application, Behaviour, yes};
use crate::support::wait::in_time;
use crate::support::{Browser, Request, Site, Transport};
use futures_util::future::{join_all, select_all};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A section with the settings of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Auth,
    Calls,
    Turted,
}

const SECTIONS: [Section; 3] = [Section::Auth, Section::Calls, Section::Turted];

// === impl Section ===

impl Section {
    /// A server with the section in `/limited`; `more` are further keys of it.
    async fn start(self, url: &str, more: &str) -> ServerWithBystander {
        let base = url.split("/live").next().unwrap();
        let limited = match self {
            Self::Auth => {
                format!(
                    "secret: a-secret-of-more-than-sixteen, auth: {{url: \"{url}\", cache_rejected: 0s, {more}}}"
                )
            }
            Self::Calls => {
                format!(
                    "open: true, calls: {{url: \"{base}\", secret: a-secret-of-more-than-32-characters-x, {more}}}"
                )
            }
            Self::Turted => {
                format!("dialect: turted, turted: {{ident: application, application: {{url: \"{url}\", {more}}}}}")
            }
        };
        ServerWithBystander::start(&format!("/nodevent: {{open: true}}\n/limited: {{{limited}}}")).await
    }

    /// Makes the server send a request for a new connection. Returns what the client receives, and whether that is a yes.
    async fn ask(self, site: &Site, number: usize) -> (bool, Value) {
        let mut browser = Browser::open(site, Transport::WebSocket).await;
        let name = format!("user{number}");
        match self {
            Self::Auth => match browser.enter_with("/limited", &json!({"token": name}).to_string()).await {
                Ok(entered) => (true, entered),
                Err(error) => (false, error),
            },
            Self::Calls => {
                browser.enter("/limited").await.unwrap();
                let ack = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
                (ack[0].is_null(), ack)
            }
            Self::Turted => {
                browser.enter("/limited").await.unwrap();
                browser.send_event("IDENT", &[json!({"username": name})]).await;
                let packet = in_time("an event", browser.next_packet()).await.expect("an open connection");
                (packet.value()[0] == "OK", packet.value())
            }
        }
    }
}

/// The server's requests with this result.
async fn requests(server: &ServerWithBystander, reason: &str) -> i64 {
    server.metric(&format!("nodevent_application_requests_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn requests_beyond_those_that_may_wait_are_rejected_at_once() {
    for section in SECTIONS {
        let application = Application::start(Behaviour::Never).await;
        let mut server = section.start(&application.url, "timeout: 10m, concurrency: 1, queue: 2").await;
        // All of them wait for ever, but those beyond the limit.
        let site = server.site.clone();
        let asked = (0..6).map(|number| Box::pin(section.ask(&site, number)));
        let ((is_yes, reply), _, waiting) = in_time("a rejection", select_all(asked)).await;
        assert!(!is_yes, "{section:?}: {reply}");
        assert!(application.requests().len() <= 1, "{section:?}: one at a time");
        server.bystander_is_unaffected().await;
        drop(waiting);
    }
}

#[tokio::test]
async fn responses_that_are_late_or_too_large_are_a_no_and_the_next_one_counts() {
    // At the same time, because they wait for the timeout, which a response on a busy machine must not reach.
    join_all(SECTIONS.map(async |section| {
        let application = Application::start(Behaviour::Never).await;
        let mut server = section.start(&application.url, "timeout: 3s, max_response: 1KB").await;
        let (is_yes, reply) = section.ask(&server.site, 0).await;
        assert!(!is_yes, "{section:?}: {reply}");
        assert_eq!(requests(&server, "timeout").await, 1, "{section:?}");
        application.set(Behaviour::Respond(200, json!({"user": "user1", "x": "x".repeat(1024)}).to_string()));
        let (is_yes, reply) = section.ask(&server.site, 1).await;
        assert!(!is_yes, "{section:?}: {reply}");
        assert_eq!(requests(&server, "too_large").await, 1, "{section:?}");
        application.set(yes("user2"));
        let (is_yes, reply) = section.ask(&server.site, 2).await;
        assert!(is_yes, "{section:?}: {reply}");
        server.bystander_is_unaffected().await;
    }))
    .await;
}

/// A listener that accepts no further connection: its backlog is full, so that the operating system does not respond.
async fn unreachable() -> (String, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
        assert!(waiting.len() < 100, "the backlog has no limit");
    }
    (format!("http://{address}/live"), listener, waiting)
}

#[tokio::test]
async fn connection_that_the_application_does_not_accept_is_given_up() {
    let (url, _listener, _waiting) = unreachable().await;
    for section in SECTIONS {
        // Long before the request times out.
        let mut server = section.start(&url, "timeout: 10m, connect_timeout: 300ms").await;
        let (is_yes, reply) = section.ask(&server.site, 0).await;
        assert!(!is_yes, "{section:?}: {reply}");
        assert_eq!(requests(&server, "unreachable").await, 1, "{section:?}");
        server.bystander_is_unaffected().await;
    }
}

#[tokio::test]
async fn calls_beyond_those_of_one_connection_are_rejected_and_another_connection_calls() {
    let application = Application::start(Behaviour::If(
        "POST ",
        Box::new(Behaviour::Never),
        Box::new(Behaviour::Respond(200, "{}".to_owned())),
    ))
    .await;
    let mut server = Section::Calls.start(&application.url, "per_connection: 2, timeout: 10m").await;
    let mut browser = Browser::connect(&server.site, "/limited", Transport::WebSocket).await;
    for id in ["100", "101"] {
        let packet = browser.event_packet(id, "call", &[json!({"method": "POST", "path": "/"})]);
        browser.send(&[&packet]).await;
    }
    let third = browser.call("call", &[json!({"method": "GET", "path": "/"})]).await;
    assert_eq!(third, json!(["too many calls", {"status": 429}]));
    let (is_yes, reply) = Section::Calls.ask(&server.site, 0).await;
    assert!(is_yes, "{reply}");
    assert_eq!(server.send(&Request::get("/healthz")).await.status, 200);
    server.bystander_is_unaffected().await;
}
