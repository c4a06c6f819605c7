//! Reload: SIGHUP and `nodevent reload` change a running server, and no connection ends.

use crate::support::keys::{LATER, key};
use crate::support::program::command;
use crate::support::wait::until;
use crate::support::{Browser, Program, Request, Site, Transport};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

/// The listeners, and a namespace with a secret and a publish key.
fn configuration(port: &str, secret: &str, publish_key: &str, more: &str) -> String {
    format!(
        "bind: 127.0.0.1\nport: {port}\nadmin: {{port: 0}}\npublish: key\n{more}\
         /nodevent: {{secret: {secret}, publish_key: {publish_key}}}\n"
    )
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("nodevent.yml"), text).unwrap();
}

async fn emit(site: &Site, publish_key: &str, message: &str) -> u16 {
    let body = format!(r#"{{"room":"r","event":"e","message":"{message}"}}"#);
    let request = Request::post("/api/nodevent/emit", body);
    site.send(&request.header("authorization", &format!("Bearer {publish_key}"))).await.status
}

/// Whether a page of this origin may connect.
async fn admits(site: &Site, origin: &str) -> bool {
    Browser::try_open(site, Transport::WebSocket, &[("origin", origin)]).await.is_ok()
}

/// `nodevent reload` with the file and the admin listener of the server.
async fn reload(folder: &Path, program: &Program) -> (Option<i32>, String) {
    let admin = format!("http://{}", program.admin().await.address);
    let output = Program::run(folder, &["reload", "nodevent.yml", "--url", &admin]).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn secrets_keys_origins_limits_and_the_level_change_and_no_connection_ends() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), &configuration("0", "old-secret", "old-publish-key", "")).await;
    let site = program.site().await;
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    browser.join_with("r", key("r", LATER, "old-secret")).await;
    assert_eq!(emit(&site, "old-publish-key", "before").await, 200);
    assert_eq!(browser.next_publication().await.message, "before");
    assert!(!admits(&site, "https://new.example").await);
    let more =
        "origins: [\"https://new.example\"]\nlog: {level: debug}\nlimits: {max_connections_per_address: 3}\n";
    write(folder.path(), &configuration("0", "new-secret", "new-publish-key", more));
    let (status, text) = reload(folder.path(), &program).await;
    assert_eq!(status, Some(0), "{text}");
    for name in ["/nodevent.secret", "/nodevent.publish_key", "origins", "log.level", "limits.max_connections_per"]
    {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(!text.contains("restart") && !text.contains("new-secret"), "{text}");
    // Memberships stay; the old keys open nothing more.
    assert_eq!(emit(&site, "old-publish-key", "no").await, 401);
    assert_eq!(emit(&site, "new-publish-key", "after").await, 200);
    assert_eq!(browser.next_publication().await.message, "after");
    let mut second = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    assert!(!crate::support::browser::is_admitted(&second.join_with("s", key("s", LATER, "old-secret")).await));
    assert!(crate::support::browser::is_admitted(&second.join_with("s", key("s", LATER, "new-secret")).await));
    assert!(admits(&site, "https://new.example").await && !admits(&site, "https://other.example").await);
    let third = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    let refused = Browser::try_open(&site, Transport::WebSocket, &[]).await.map(drop).unwrap_err();
    assert_eq!(refused.status, 429, "three connections of this address are open");
    drop(third);
    // The level is debug now.
    program.logs("DEBUG").await;
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_what_needs_a_restart_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), &configuration("0", "old-secret", "old-publish-key", "")).await;
    let site = program.site().await;
    // A wrong limit next to a new key.
    let bad = configuration("0", "new-secret", "new-publish-key", "limits: {send_buffer: many}\n");
    write(folder.path(), &bad);
    program.signal(Signal::HUP);
    let line = program.logs("the reload changed nothing").await;
    assert!(line.contains("limits.send_buffer") && line.contains("nodevent.yml:"), "{line}");
    let (status, text) = reload(folder.path(), &program).await;
    assert_eq!(status, Some(64), "{text}");
    assert!(text.contains("limits.send_buffer") && !text.contains("new-secret"), "{text}");
    assert_eq!(emit(&site, "old-publish-key", "x").await, 200);
    assert_eq!(emit(&site, "new-publish-key", "x").await, 401);
    // The server explains by itself too, to programs that do not read the file.
    let admin = program.admin().await;
    let response = admin.send(&Request::post("/reload", "{}")).await;
    assert_eq!(response.status, 422, "{}", response.text());
    assert!(response.json()["error"].as_str().unwrap().contains("limits.send_buffer"), "{}", response.text());
    // Pages do not reach it.
    let page = Request::post("/reload", "{}").header("origin", "https://evil.example");
    assert_eq!(admin.send(&page).await.status, 403);
    // What a running server cannot change is named, each time, and the rest is used.
    let more = "shards: 3\nlimits: {max_room_name: 99, joins_per_second: 7}\n/other: {open: true}\n";
    write(folder.path(), &configuration("1", "old-secret", "new-publish-key", more));
    for is_first in [true, false] {
        let (status, text) = reload(folder.path(), &program).await;
        assert_eq!(status, Some(0), "{text}");
        let (applied, restart) =
            text.split_once("; restart the server to use: ").unwrap_or_else(|| panic!("{text}"));
        assert_eq!(restart.trim(), "/other.open, limits.max_room_name, port, shards");
        assert_eq!(applied.contains("/nodevent.publish_key"), is_first, "{applied}");
    }
    assert_eq!(emit(&site, "new-publish-key", "x").await, 200);
    // A namespace that was closed does not become open by a reload.
    let open = configuration("0", "old-secret", "new-publish-key", "").replace("secret: old-secret", "open: true");
    write(folder.path(), &open);
    let (_, text) = reload(folder.path(), &program).await;
    assert!(text.contains("restart the server to use: /nodevent.open, /nodevent.secret"), "{text}");
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    assert!(!crate::support::browser::is_admitted(&browser.join_with("r", "none").await));
}

/// A file that closes an open namespace needs no list of hosts. Until the restart, the open one does.
#[tokio::test]
async fn hosts_and_origins_stay_until_the_restart_that_closes_a_namespace() {
    let folder = tempfile::tempdir().unwrap();
    let text = |namespace: &str| format!("bind: 127.0.0.1\nport: 0\nadmin: {{port: 0}}\n{namespace}");
    let program = Program::serve(folder.path(), &text("/n: {open: true}\n")).await;
    let site = program.site().await;
    let rebound = || Request::get("/api/n/rooms/r/history").header("host", "rebound.example");
    assert_eq!(site.send(&rebound()).await.status, 421);
    write(folder.path(), &text("origins: \"*\"\n/n: {secret: a-secret-of-more-than-sixteen}\n"));
    let (status, printed) = reload(folder.path(), &program).await;
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains("restart the server to use: /n.open, /n.secret, origins"), "{printed}");
    assert_eq!(site.send(&rebound()).await.status, 421, "the namespace is still open");
    assert!(!admits(&site, "https://other.example").await);
    // Without a change of a namespace, they are used at once.
    write(folder.path(), &text("hosts: rebound.example\norigins: \"*\"\n/n: {open: true}\n"));
    let (_, printed) = reload(folder.path(), &program).await;
    assert!(printed.contains("in use: hosts, origins") && !printed.contains("restart"), "{printed}");
    assert_eq!(site.send(&rebound()).await.status, 200);
    assert!(admits(&site, "https://other.example").await);
}

#[tokio::test]
async fn requests_without_end_have_the_configuration_read_a_few_times_per_second() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), &configuration("0", "a-secret", "a-publish-key", "")).await;
    let (admin, began) = (program.admin().await, Instant::now());
    for _ in 0..6 {
        assert_eq!(admin.send(&Request::post("/reload", "{}")).await.status, 200);
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn reload_without_an_admin_listener_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "port: 0\n/nodevent: {open: true}\n");
    let output = Program::run(folder.path(), &["reload", "nodevent.yml"]).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("there is no admin listener") && text.contains("SIGHUP"), "{text}");
}

/// `Type=notify-reload`: systemd waits for these messages.
#[tokio::test]
async fn systemd_is_notified_of_the_start_of_reloads_and_of_the_stop() {
    // N-12
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UnixDatagram::from_std(socket).unwrap();
    let message = async || {
        let mut buffer = [0; 256];
        let length = crate::support::wait::in_time("a message to systemd", socket.recv(&mut buffer)).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    write(folder.path(), "bind: 127.0.0.1\nport: 0\n/nodevent: {open: true}\n");
    let mut start = command(folder.path());
    start.arg("nodevent.yml").env("NOTIFY_SOCKET", &path);
    let mut program = Program::spawn(start);
    assert_eq!(message().await, "READY=1");
    program.signal(Signal::HUP);
    let reloading = message().await;
    let time: u64 = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(time > 0);
    assert_eq!(message().await, "READY=1");
    program.signal(Signal::TERM);
    assert_eq!(message().await, "STOPPING=1");
    assert_eq!(program.status().await, Some(0));
}

/// X-06: the admin listener needs a key unless it listens on this machine only.
#[tokio::test]
async fn an_admin_listener_for_other_machines_needs_a_key_and_checks_it() {
    let folder = tempfile::tempdir().unwrap();
    for bind in ["0.0.0.0", "10.0.0.4", "\"::\"", "example.com"] {
        write(folder.path(), &format!("port: 0\nadmin: {{bind: {bind}, port: 0}}\n/nodevent: {{open: true}}\n"));
        let output = Program::run(folder.path(), &["serve", "nodevent.yml"]).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(
            text.contains("would be open to other machines") && text.contains("`key: <random text>`"),
            "{text}"
        );
    }
    let text = "bind: 127.0.0.1\nport: 0\nadmin: {bind: 0.0.0.0, port: 0, key: 0123456789abcdef0123}\n/nodevent: {open: true}\n";
    let program = Program::serve(folder.path(), text).await;
    let mut admin = program.admin().await;
    admin.address = admin.address.replace("localhost", "127.0.0.1");
    let status = async |path: &str, key: Option<&str>| {
        let request = key
            .iter()
            .fold(Request::get(path), |request, key| request.header("authorization", &format!("Bearer {key}")));
        admin.send(&request).await.status
    };
    assert_eq!(status("/healthz", None).await, 200);
    for path in ["/metrics", "/readyz", "/reload"] {
        assert_eq!(status(path, None).await, 401, "{path}");
        assert_eq!(status(path, Some("0123456789abcdef012")).await, 401, "{path}");
    }
    assert_eq!(status("/metrics", Some("0123456789abcdef0123")).await, 200);
    until("the rejections are logged", async || {
        program.log().iter().filter(|line| line.contains("it has no key, or a wrong one")).count() > 0
    })
    .await;
    assert!(!program.log().iter().any(|line| line.contains("0123456789")), "X-07");
    let (status, _) = reload(folder.path(), &program).await;
    assert_eq!(status, Some(0), "the command sends the key of the configuration");
}
