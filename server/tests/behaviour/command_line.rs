//! The command `nodevent`: its arguments, its output and its exit status.

use crate::support::redis::{free_port, redis_cli};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, PLAIN, Program, RedisServer, Request, TestServer, Transport};
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const SECURED: &str = "port: 0\nbind: 127.0.0.1\n/open: {}\n/nodevent: {secret: sesame-of-more-than-sixteen}\n";

/// Creates a folder with a `nodevent.yml`.
fn folder(configuration: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("nodevent.yml"), configuration).unwrap();
    folder
}

async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Program::run(folder, arguments).await;
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn version_and_help_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let version = format!("nodevent {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(folder.path(), &["--version"]).await, (Some(0), version, String::new()));
    let (status, help, _) = run(folder.path(), &["--help"]).await;
    assert_eq!(status, Some(0));
    for command in ["serve", "check", "key", "emit", "subscribe"] {
        assert!(help.contains(command), "{help}");
        let (status, help, _) = run(folder.path(), &[command, "--help"]).await;
        assert_eq!(status, Some(0));
        assert!(help.contains("Example") && help.contains(&format!("nodevent {command}")), "{help}");
    }
}

#[tokio::test]
async fn invalid_arguments_exit_with_64() {
    let folder = folder(SECURED);
    for (arguments, expected) in [
        (&["--colour"][..], "--colour"),
        (&["serve", "a.yml", "b.yml"], "b.yml"),
        (&["key"], "<ROOM>"),
        (
            &["key", "r", "--config", "nodevent.yml", "--namespace", "nodevent", "--expires-in", "soon"],
            "30s, 5m or 1h",
        ),
        (&["key", "r", "--config", "nodevent.yml"], "secret"),
        (&["key", "r", "--config", "nodevent.yml", "--namespace", "other"], "/open, /nodevent"),
        (&["key", "", "--config", "nodevent.yml", "--namespace", "nodevent"], "room"),
    ] {
        let (status, _, printed) = run(folder.path(), arguments).await;
        assert_eq!(status, Some(64), "{arguments:?}: {printed}");
        assert!(printed.contains(expected), "{expected} is not in {printed}");
    }
}

#[tokio::test]
async fn check_prints_the_namespaces_and_listeners() {
    let folder = folder(SECURED);
    let (status, printed, warned) = run(folder.path(), &["check", "--offline", "nodevent.yml"]).await;
    assert_eq!((status, warned.as_str()), (Some(0), ""));
    assert!(printed.contains("nodevent.yml: fine"), "{printed}");
    assert!(printed.contains("/open: memory, open to everybody"), "{printed}");
    assert!(printed.contains("/nodevent: memory, secured"), "{printed}");
    assert!(!printed.contains("sesame"), "{printed}");
}

/// Runs `nodevent check` and returns its exit status and output.
async fn check(configuration: &str) -> (Option<i32>, String) {
    let folder = folder(configuration);
    let (status, printed, _) = run(folder.path(), &["check", "nodevent.yml"]).await;
    assert!(!printed.contains("sesame"), "no secret is printed: {printed}");
    for (line, next) in printed.lines().zip(printed.lines().skip(1)) {
        assert!(!line.starts_with("FAIL") || next.contains("→ "), "every failure has a hint: {printed}");
    }
    (status, printed)
}

#[tokio::test]
async fn check_examines_the_running_server() {
    let redis = RedisServer::start().await;
    let namespaces = format!(
        "/nodevent: {{secret: sesame-of-more-than-sixteen, redis: \"{}\", publish_key: publish-with-this-key}}\n/open: {{}}\n",
        redis.url()
    );
    let server = TestServer::start(&namespaces).await;
    server.ready().await;
    let port = server.address.rsplit(':').next().unwrap();
    let head = format!("bind: 127.0.0.1\nport: {port}\n");
    let (status, printed) = check(&format!("{head}{namespaces}")).await;
    assert_eq!(status, Some(0), "{printed}");
    for expected in [
        "takes writes",
        "a server answers at http://localhost:",
        "it is ready",
        "/nodevent: its secret is the file's",
        "/nodevent: a message that was published came back",
        "/open: it lets anybody in",
        "/open: a message that was published came back",
    ] {
        let is_fine = |line: &str| line.starts_with("ok   ") && line.contains(expected);
        assert!(printed.lines().any(is_fine), "{expected} is not in {printed}");
    }
    let folder = folder(&format!("{head}{namespaces}"));
    for (origin, status) in [("http://localhost:3000", Some(0)), ("https://example.com.evil.tld", Some(69))] {
        let (code, printed, _) = run(folder.path(), &["check", "nodevent.yml", "--origin", origin]).await;
        assert_eq!(code, status, "{origin}: {printed}");
        assert!(printed.contains(&format!("pages of {origin} may ")), "{printed}");
    }
    for (other, expected) in [
        (namespaces.replace("sesame-", "another-sesame-"), "its secret is not the file's"),
        (
            namespaces.replace("secret: sesame-of-more-than-sixteen, ", ""),
            "asks for keys, and the file has no secret",
        ),
        (
            namespaces.replace("/open: {}", "/open: {secret: sesame-of-more-than-sixteen}"),
            "though the file has a secret",
        ),
        (namespaces.replace("/open", "/other"), "it has no namespace /other"),
        (namespaces.replace("with-this-key", "with-another-key"), "publishing was refused (401"),
    ] {
        let (status, printed) = check(&format!("{head}{other}")).await;
        assert_eq!(status, Some(69), "{expected}: {printed}");
        assert!(
            printed.lines().any(|line| line.starts_with("FAIL") && line.contains(expected)),
            "{expected}: {printed}"
        );
    }
}

#[tokio::test]
async fn check_examines_redis_and_the_port() {
    let redis = RedisServer::start().await;
    let free = free_port();
    let at = |port: u16| {
        format!("bind: 127.0.0.1\nport: {free}\n/nodevent: {{redis: {{host: 127.0.0.1, port: {port}}}}}\n")
    };
    let (status, printed) = check(&at(redis.port)).await;
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains(&format!("port {free} is free")), "{printed}");
    let (status, printed) = check(&at(free_port())).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains("cannot be used: ") && printed.contains("start it, or correct `redis:`"), "{printed}");
    let replica = redis_cli().args(["-p", &redis.port.to_string(), "replicaof", "127.0.0.1", "1"]).output();
    assert!(replica.unwrap().status.success());
    let (status, printed) = check(&at(redis.port)).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains("takes no writes: READONLY"), "{printed}");
    let taken = TcpListener::bind(("127.0.0.1", free)).unwrap();
    let (status, printed) = check(&at(redis.port)).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains(&format!("port {free} cannot be opened")), "{printed}");
    drop(taken);
}

#[tokio::test]
async fn printed_key_opens_its_room_and_no_other() {
    let folder = folder(SECURED);
    let arguments = ["key", "Räum 1", "--expires-in", "5m", "--config", "nodevent.yml", "--namespace", "/nodevent"];
    let (status, key, _) = run(folder.path(), &arguments).await;
    assert_eq!(status, Some(0));
    let server = TestServer::start("/nodevent: {secret: sesame-of-more-than-sixteen}").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    assert_eq!(browser.join_with("Räum 1", key.trim_end()).await[1], true);
    assert_eq!(browser.join_with("Räum 2", key.trim_end()).await, json!(["Bad key", false]));
    let (_, expired, _) =
        run(folder.path(), &[&arguments[..2], &["--expires-in", "0s"], &arguments[4..]].concat()).await;
    // A key is still valid in the millisecond in which it expires.
    until("the expired key is refused", async || {
        browser.join_with("Räum 1", expired.trim_end()).await == json!(["Time has passed", false])
    })
    .await;
}

#[tokio::test]
async fn occupied_port_is_named_and_exits_with_69() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for configuration in [
        format!("bind: 127.0.0.1\nport: {port}\n{PLAIN}\n"),
        format!("bind: 127.0.0.1\nport: 0\nadmin: {{port: {port}}}\n{PLAIN}\n"),
    ] {
        let folder = folder(&configuration);
        let (status, _, printed) = run(folder.path(), &["serve", "nodevent.yml"]).await;
        assert_eq!(status, Some(69), "{printed}");
        let last = printed.lines().last().unwrap();
        assert!(last.contains(&format!("port {port} is in use")) && last.contains("; "), "{last}");
    }
}

#[tokio::test]
async fn emit_command_reaches_the_room() {
    let server = TestServer::start("/nodevent: {history: off, publish_key: publish-with-this-key}").await;
    let folder = folder("/nodevent: {publish_key: publish-with-this-key}\n");
    let url = format!("http://{}", server.address);
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    for (message, expected) in [(r#"{"n":1}"#, json!({"n": 1})), ("two words", json!("two words")), ("3", json!(3))]
    {
        let arguments = ["emit", "r", "e", message, "--url", &url, "--config", "nodevent.yml"];
        let (status, _, printed) = run(folder.path(), &arguments).await;
        assert_eq!(status, Some(0), "{printed}");
        assert_eq!(browser.next_event().await.message, expected);
    }
    let (status, _, printed) =
        run(folder.path(), &["emit", "r", "e", "--url", &url, "--publish-key", "wrong"]).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains("401") && printed.contains("publish key"), "{printed}");
    let unused = format!("http://127.0.0.1:{}", free_port());
    let (status, _, printed) = run(folder.path(), &["emit", "r", "e", "--url", &unused]).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains(&unused[7..]) && printed.contains("is it running?"), "{printed}");
}

#[tokio::test]
async fn subscribe_command_prints_one_line_per_event() {
    let settings = "secret: sesame-of-more-than-sixteen, publish_key: publish-with-this-key";
    let server = TestServer::start(&format!("/nodevent: {{{settings}}}\n")).await;
    let folder = folder(&format!("/nodevent: {{{settings}}}\n"));
    let url = format!("http://{}", server.address);
    let mut command = crate::support::program::command(folder.path());
    command.args(["subscribe", "Räum 1", "--url", &url, "--config", "nodevent.yml"]);
    let mut subscribing = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    server.metric_is("nodevent_rooms", 1).await;
    let publication = r#"{"room":"Räum 1","event":"e","message":{"n":1}}"#;
    let publish =
        Request::post("/api/nodevent/emit", publication).header("Authorization", "Bearer publish-with-this-key");
    assert_eq!(server.send(&publish).await.status, 200);
    let mut lines = BufReader::new(subscribing.stdout.take().unwrap()).lines();
    let line = in_time("a line", lines.next_line()).await.unwrap().unwrap();
    let received: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&received["event"], &received["message"]), (&json!("e"), &json!({"n": 1})));
    subscribing.kill().await.unwrap();
}

#[tokio::test]
async fn json_log_is_one_object_per_line() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\nlog: {format: json}\n/nodevent: {}\n";
    let file = folder.path().join("nodevent.yml");
    std::fs::write(&file, settings).unwrap();
    let mut command = crate::support::program::command(folder.path());
    command.arg(file);
    let mut program = Program::spawn(command);
    program.logs("\"listening\"").await;
    program.signal(rustix::process::Signal::TERM);
    assert_eq!(program.status().await, Some(0));
    program.logs("\"stopped\"").await;
    for line in program.log() {
        let object: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(object["timestamp"].is_string() && object["level"].is_string(), "{line}");
        assert!(object["fields"]["message"].is_string() || object["message"].is_string(), "{line}");
    }
}
