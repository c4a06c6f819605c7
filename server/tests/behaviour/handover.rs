//! Connections that an application hands over through the Unix socket: they are served as those that the server accepts.

use crate::support::raw::{Raw, TEXT, handshake_request, last};
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, Request, Response, Site, TestServer, Transport};
use futures_util::future::join_all;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

const NS: &str = "/nodevent";
const SECRET: &str = "a-secret-for-room-keys";
/// A request for a WebSocket that the server rejects.
const UPGRADE_WITHOUT_A_KEY: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A server with a socket for hand-overs.
struct Takeover {
    server: TestServer,
    socket: PathBuf,
    _folder: TempDir,
}

// === impl Takeover ===

impl Takeover {
    async fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("nodevent.sock");
        let server = TestServer::start(&format!("handover_socket: {}\n{configuration}", socket.display())).await;
        until("the socket exists", async || socket.exists()).await;
        Self { server, socket, _folder: folder }
    }

    /// An application that hands each connection over with these details.
    async fn application(&self, details: Value) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Site::at(&format!("http://{}", listener.local_addr().unwrap()));
        let socket = self.socket.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (socket, details) = (socket.clone(), details.to_string());
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
                        if stream.read_buf(&mut read).await.unwrap() == 0 {
                            return;
                        }
                    }
                    let descriptor = OwnedFd::from(stream.into_std().unwrap());
                    let message = message(details.as_bytes(), &read);
                    let reply = tokio::task::spawn_blocking(move || send(&socket, &message, &[descriptor.as_fd()]));
                    assert_eq!(reply.await.unwrap(), "ok\n");
                });
            }
        });
        site
    }

    /// Sends a message with these descriptors, and returns the reply.
    async fn send(&self, message: Vec<u8>, descriptors: Vec<OwnedFd>) -> String {
        let socket = self.socket.clone();
        let sending = tokio::task::spawn_blocking(move || {
            let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            send(&socket, &message, &descriptors)
        });
        in_time("a reply", sending).await.unwrap()
    }
}

/// A message, as `protocol/README.md` section 18 defines it.
fn message(details: &[u8], read: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes();
    [b"NDH1", &length(details)[..], &length(read), details, read].concat()
}

/// Sends a message, and reads the reply to its end. What the server does not read any more is lost.
fn send(socket: &Path, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let sent = sendmsg(&stream, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL).unwrap();
    let _ = stream.write_all(&message[sent..]);
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    reply
}

/// Both ends of a connection.
fn pair() -> (OwnedFd, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    (one.into(), other)
}

async fn is_joined(browser: &mut Browser, room: &str) {
    loop {
        let notice = browser.next_other_notice().await;
        if notice[0] == "joined" && notice[1]["room"] == room {
            return assert!(notice[1]["error"].is_null(), "{notice}");
        }
    }
}

#[tokio::test]
async fn connection_that_is_handed_over_is_served_as_an_accepted_one() {
    let takeover = Takeover::start("/nodevent: {open: true, history: off}\n").await;
    let application = takeover.application(json!({})).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&application, NS, transport).await;
        browser.join("r").await;
        takeover.server.emit(NS, "r", "e", "hello").await;
        assert_eq!(browser.next_publication().await.message, "hello");
        browser.close().await;
    }
    let mut upgraded = Browser::connect(&application, NS, Transport::Polling).await;
    upgraded.upgrade(&[]).await;
    upgraded.join("r").await;
    takeover.server.emit(NS, "r", "e", "upgraded").await;
    assert_eq!(upgraded.next_publication().await.message, "upgraded");
    let foreign = [("Origin", "https://evil.example")];
    let refused = Browser::try_open(&application, Transport::WebSocket, &foreign).await.err().unwrap();
    assert_eq!(refused.status, 403);
    let own = format!("http://{}", application.address);
    let host = [("Origin", own.as_str())];
    assert!(Browser::try_open(&application, Transport::WebSocket, &host).await.is_ok());
    let script = application.get("/api/nodevent").await;
    assert_eq!((script.status, script.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert!(takeover.server.metric("nodevent_handovers_total").await > 5);
    assert_eq!(takeover.server.metric("nodevent_rejected_handovers_total").await, 0);
}

/// The server lets programs on this machine publish without a key, but a browser on this machine is none.
#[tokio::test]
async fn connection_that_is_handed_over_is_never_a_program_on_this_machine() {
    let takeover = Takeover::start("/nodevent: {open: true, history: off}\n").await;
    let application = takeover.application(json!({})).await;
    let publication = json!({"room": "r", "event": "e", "message": 1}).to_string();
    assert_eq!(takeover.server.publish(NS, publication.clone()).await.status, 200);
    let request = Request::post("/api/nodevent/emit", publication).header("Host", "localhost");
    let body = takeover.send(message(b"{}", &request.encode("localhost")), vec![pair().0]);
    assert_eq!(body.await, "ok\n");
    // The response does not wait for the body.
    let (theirs, ours) = pair();
    ours.set_nonblocking(true).unwrap();
    let head = b"POST /api/nodevent/emit HTTP/1.0\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
    assert_eq!(takeover.send(message(b"{}", head), vec![theirs]).await, "ok\n");
    let mut stream = tokio::net::UnixStream::from_std(ours).unwrap();
    let early = in_time("a response", Response::read(&mut stream, false)).await.unwrap();
    assert_eq!(early.status, 403);
    let refused = application.send(&request).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
}

/// A client that does not wait for the response to its handshake.
#[tokio::test]
async fn what_the_application_has_read_after_the_head_is_not_lost() {
    let takeover = Takeover::start("/nodevent: {open: true, history: off}\n").await;
    for padding in [0, 60 * 1024] {
        let (theirs, ours) = pair();
        ours.set_nonblocking(true).unwrap();
        let head = Request::get("/socket.io/?EIO=4&transport=websocket")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
        let auth = format!("40/nodevent,{{\"padding\":\"{}\"}}", "x".repeat(padding));
        let read = [head.encode("localhost"), last(TEXT, &auth)].concat();
        assert_eq!(takeover.send(message(b"{}", &read), vec![theirs]).await, "ok\n");
        let stream = tokio::net::UnixStream::from_std(ours).unwrap();
        let mut raw = Raw::after_handshake(Box::new(stream)).await;
        assert!(raw.text().await.starts_with("0{"));
        let reply = raw.text().await;
        assert!(reply.starts_with("40/nodevent,"), "{reply}");
    }
}

/// The identity that the application states counts as that of a token: rooms, info, messages for the user, expiry. It comes
/// before the client's token.
#[tokio::test]
async fn identity_of_the_application_takes_the_place_of_a_token() {
    let settings = format!(
        "{NS}:\n  secret: {SECRET}\n  token: {{secret: {TOKEN_SECRET}, required: true, grace: 100ms}}\n  presence: {{rooms: [a], grace: 0s}}\n"
    );
    let takeover = Takeover::start(&settings).await;
    let identity = json!({"user": "7", "rooms": ["a"], "info": {"name": "Ann"}});
    let application = takeover.application(json!({"identities": {NS: identity, "/unknown": {"user": "8"}}})).await;
    for transport in Transport::BOTH {
        for auth in [json!({}), json!({"token": token(json!({"sub": "8"}))})] {
            let mut browser = Browser::open(&application, transport).await;
            browser.enter_with(NS, &auth.to_string()).await.unwrap();
            is_joined(&mut browser, "a").await;
            let body = json!({"users": "7", "event": "for-user", "message": "hello"}).to_string();
            assert_eq!(takeover.server.publish(NS, body).await.status, 200);
            while browser.next_publication().await.event != "for-user" {}
            assert_ne!(browser.join_with("b", "").await[1], true, "other rooms need a key");
            browser.close().await;
        }
    }
    let unknown = takeover.application(json!({"identities": {}})).await;
    let mut browser = Browser::open(&unknown, Transport::WebSocket).await;
    assert!(browser.enter_with(NS, "{}").await.is_err(), "a token is required");
    let short = json!({"user": "7", "expires": now() + 2.0});
    let application = takeover.application(json!({"identities": {NS: short}})).await;
    let mut browser = Browser::open(&application, Transport::WebSocket).await;
    browser.enter_with(NS, "{}").await.unwrap();
    let ended = Instant::now();
    browser.ended().await;
    assert!(ended.elapsed() > Duration::from_millis(500), "it was valid for two seconds");
}

/// A page of another site makes the browser send the visitor's cookies, by which the application says who it is.
#[tokio::test]
async fn page_that_may_connect_as_every_page_is_not_its_visitor() {
    let settings = format!("origins: [\"*\", \"https://partner.example\"]\n{NS}: {{secret: {SECRET}}}\n");
    let takeover = Takeover::start(&settings).await;
    let identity = json!({"user": "7", "rooms": ["a"]});
    let application = takeover.application(json!({"identities": {NS: identity}})).await;
    let own = format!("http://{}", application.address);
    for (origin, is_visitor) in
        [("https://evil.example", false), ("null", false), (&*own, true), ("https://partner.example", true)]
    {
        for transport in Transport::BOTH {
            let header = [("Origin", origin)];
            let mut browser = Browser::try_open(&application, transport, &header).await.ok().unwrap();
            browser.enter_with(NS, "{}").await.unwrap();
            if is_visitor {
                is_joined(&mut browser, "a").await;
            } else {
                // What the server has to say about the identity would be before the reply.
                assert_ne!(browser.join_with("b", "").await[1], true);
                assert_eq!(browser.deferred_notice(), None, "{origin}");
            }
            browser.close().await;
        }
    }
}

/// A proxy between browser and application may keep a connection and send the requests of others on it.
#[tokio::test]
async fn connection_that_is_handed_over_serves_one_request() {
    let takeover = Takeover::start("/nodevent: {open: true}\n").await;
    for head in ["GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", UPGRADE_WITHOUT_A_KEY] {
        let (theirs, ours) = pair();
        ours.set_nonblocking(true).unwrap();
        let two = [head, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        assert_eq!(takeover.send(message(b"{}", two.as_bytes()), vec![theirs]).await, "ok\n");
        let mut stream = tokio::net::UnixStream::from_std(ours).unwrap();
        let mut responses = String::new();
        in_time("the end", stream.read_to_string(&mut responses)).await.unwrap();
        assert_eq!(responses.matches("HTTP/1.1 ").count(), 1, "{responses}");
        assert!(responses.to_ascii_lowercase().contains("connection: close"), "{responses}");
    }
}

/// The address of the client is that of the socket, or what a trusted proxy reports; if the socket has none, the application
/// says it.
#[tokio::test]
async fn address_of_the_client_is_that_of_its_socket_or_of_a_trusted_proxy() {
    let limits = "limits: {max_connections_per_address: 1}\ntrusted_proxies: [127.0.0.1]\n";
    let takeover = Takeover::start(&format!("{limits}/nodevent: {{open: true}}\n")).await;
    // The address that it says is not that of the socket.
    let application = takeover.application(json!({"client": "203.0.113.1"})).await;
    let connect = async |address: &str| {
        let header = [("X-Forwarded-For", address)];
        Browser::try_open(&application, Transport::WebSocket, &header).await.map_err(|response| response.status)
    };
    let one = connect("203.0.113.7").await.unwrap();
    let _other = connect("203.0.113.8").await.unwrap();
    assert_eq!(connect("203.0.113.7").await.err(), Some(429));
    one.close().await;
    let head = Request::get("/socket.io/?EIO=4&transport=polling");
    let poll = async |client: &str, head: &Request| {
        let (theirs, ours) = pair();
        ours.set_nonblocking(true).unwrap();
        let details = json!({"client": client}).to_string();
        let message = message(details.as_bytes(), &head.encode("localhost"));
        assert_eq!(takeover.send(message, vec![theirs]).await, "ok\n");
        let mut stream = tokio::net::UnixStream::from_std(ours).unwrap();
        in_time("a response", Response::read(&mut stream, false)).await.unwrap().status
    };
    assert_eq!(poll("198.51.100.1", &head).await, 200);
    assert_eq!(poll("198.51.100.1", &head).await, 429);
    let forged = head.clone().header("X-Forwarded-For", "198.51.100.2");
    assert_eq!(poll("198.51.100.1", &forged).await, 429, "the client is not a trusted proxy");
    assert_eq!(poll("127.0.0.1", &forged).await, 200, "a proxy on this machine");
}

#[tokio::test]
async fn malformed_message_is_rejected_with_its_reason() {
    let takeover = Takeover::start("/nodevent: {open: true}\n").await;
    let head = Request::get("/healthz").encode("localhost");
    let one = || vec![pair().0];
    let file = || OwnedFd::from(tempfile::tempfile().unwrap());
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(64 * 1024));
    let with_rest = [message(b"{}", &head), b"x".to_vec()].concat();
    let identity = |json: &str| message(format!("{{\"identities\":{{\"{NS}\":{json}}}}}").as_bytes(), &head);
    let cases = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), one(), "not a message of this version"),
        (with_rest, one(), "not a message of this version"),
        (message(long.as_bytes(), &head), one(), "text about the visitor is larger than 65536 bytes"),
        (message(b"{}", &vec![b'x'; 80 * 1024 + 1]), one(), "request is larger than 81920 bytes"),
        (message(b"{}", &head), vec![], "no descriptor of a connected socket"),
        (message(b"{}", &head), vec![pair().0, pair().0], "no descriptor of a connected socket"),
        (message(b"{}", &head), (0..16).map(|_| pair().0).collect(), "or it has several"),
        (message(b"{}", &head), vec![file()], "no descriptor of a connected socket"),
        (message(b"[]", &head), one(), "details are not JSON of the expected form"),
        (message(b"{\"client\":\"somewhere\"}", &head), one(), "details are not JSON of the expected form"),
        (identity("{}"), one(), "the identity for /nodevent: `user` is missing or null"),
        (identity("{\"user\":\"7\",\"expires\":1}"), one(), "the identity for /nodevent: `expires` has passed"),
    ];
    let count = cases.len();
    for (bytes, descriptors, reason) in cases {
        let reply = takeover.send(bytes, descriptors).await;
        // Linux drops a reply together with what the server has not read.
        assert!(reply.starts_with("error: ") && reply.contains(reason), "{reply:?} instead of {reason}");
    }
    drop(UnixStream::connect(&takeover.socket).unwrap());
    takeover.server.metric_is("nodevent_rejected_handovers_total", count as i64 + 1).await;
    let application = takeover.application(json!({})).await;
    assert_eq!(application.get("/healthz").await.status, 200);
}

/// Programs that send nothing keep no place for long, and other listeners are not affected.
#[tokio::test]
async fn number_and_time_of_messages_that_arrive_are_limited() {
    let takeover = Takeover::start("/nodevent: {open: true}\n").await;
    let begun = Instant::now();
    let silent: Vec<_> = (0..256).map(|_| UnixStream::connect(&takeover.socket).unwrap()).collect();
    let head = Request::get("/healthz").encode("localhost");
    let reply = takeover.send(message(b"{}", &head), vec![pair().0]).await;
    if begun.elapsed() < Duration::from_secs(5) {
        assert!(reply.contains("too many connections are being handed over"), "{reply}");
    }
    assert_eq!(takeover.server.get("/healthz").await.status, 200);
    let ends = silent.into_iter().map(|mut stream| {
        tokio::task::spawn_blocking(move || {
            let mut reply = String::new();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.read_to_string(&mut reply).unwrap();
            reply
        })
    });
    for reply in in_time("the end of silent connections", join_all(ends)).await {
        assert_eq!(reply.unwrap(), "error: it did not arrive in time\n");
    }
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert_eq!(takeover.send(message(b"{}", &head), vec![pair().0]).await, "ok\n");
}

/// The permissions of the socket keep other users out. Should they be changed, the server rejects other users. Only root
/// can try that.
#[tokio::test]
async fn other_users_cannot_hand_over() {
    let takeover = Takeover::start("/nodevent: {open: true}\n").await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&takeover.socket), 0o600);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(takeover.socket.parent().unwrap(), 0o755);
    assert_eq!(as_another_user(&takeover.socket).await, "Permission denied (os error 13)");
    open(&takeover.socket, 0o666);
    let reply = as_another_user(&takeover.socket).await;
    assert!(reply.contains("belongs to the user 65534"), "{reply}");
    takeover.server.metric_is("nodevent_rejected_handovers_total", 1).await;
}

/// What a program of another user receives from the socket, or its error.
async fn as_another_user(socket: &Path) -> String {
    use std::os::unix::process::CommandExt as _;
    let socket = socket.to_owned();
    let (mut result, into) = std::io::pipe().unwrap();
    let mut command = std::process::Command::new("true");
    command.uid(65_534);
    let connect = move || {
        let said = UnixStream::connect(&socket).and_then(|mut stream| {
            let mut reply = String::new();
            stream.read_to_string(&mut reply).map(|_| reply)
        });
        let text = said.unwrap_or_else(|error| error.to_string());
        (&into).write_all(text.as_bytes())
    };
    // SAFETY: the child uses what it has inherited; no other thread of this test holds a lock that it needs but the
    // allocator's, which the C library makes usable after a fork.
    unsafe { command.pre_exec(connect) };
    tokio::task::spawn_blocking(move || {
        assert!(command.status().unwrap().success());
        drop(command);
        let mut text = String::new();
        result.read_to_string(&mut text).unwrap();
        text
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_websocket_that_is_handed_over_may_be_compressed() {
    let takeover = Takeover::start("deflate: true\n/nodevent: {open: true}\n").await;
    let application = takeover.application(json!({})).await;
    let request = handshake_request("").header("Sec-WebSocket-Extensions", "permessage-deflate");
    let (response, mut raw) = Raw::respond(&application, &request).await;
    let accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(response.header("sec-websocket-extensions"), Some(accepted));
    assert!(raw.text().await.starts_with("0{"));
    raw.send_text("40/nodevent,").await;
    assert!(raw.text().await.starts_with("40/nodevent,"));
    raw.send_text(r#"42/nodevent,1["join",{"room":"r"}]"#).await;
    assert!(raw.text().await.starts_with("43/nodevent,1["));
    takeover.server.emit(NS, "r", "e", "news of the day, ".repeat(200)).await;
    assert!(raw.deflated_frame().await.0, "the publication is compressed");
}
