//! The command `nodevent`: what may be typed, what it prints, and with which status it ends.

use crate::support::redis::{free_port, redis_cli};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, PLAIN, Program, RedisServer, Request, TestServer, Transport};
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const SECURED: &str = "port: 0\nbind: 127.0.0.1\n/open: {}\n/nodevent: {secret: sesame-of-more-than-sixteen}\n";

/// A folder with `nodevent.yml` in it.
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
async fn version_and_help_are_told() {
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
async fn what_cannot_be_understood_ends_with_64() {
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
        let (status, _, said) = run(folder.path(), arguments).await;
        assert_eq!(status, Some(64), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

#[tokio::test]
async fn check_tells_what_would_be_served() {
    let folder = folder(SECURED);
    let (status, said, warned) = run(folder.path(), &["check", "--offline", "nodevent.yml"]).await;
    assert_eq!((status, warned.as_str()), (Some(0), ""));
    assert!(said.contains("nodevent.yml: fine"), "{said}");
    assert!(said.contains("/open: memory, open to everybody"), "{said}");
    assert!(said.contains("/nodevent: memory, secured"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}

/// What `nodevent check` says, and the status with which it ends.
async fn check(configuration: &str) -> (Option<i32>, String) {
    let folder = folder(configuration);
    let (status, said, _) = run(folder.path(), &["check", "nodevent.yml"]).await;
    assert!(!said.contains("sesame"), "no secret is printed: {said}");
    for (line, next) in said.lines().zip(said.lines().skip(1)) {
        assert!(!line.starts_with("FAIL") || next.contains("→ "), "each that is bad has a remedy: {said}");
    }
    (status, said)
}

#[tokio::test]
async fn check_looks_at_the_server_that_runs() {
    let redis = RedisServer::start().await;
    let namespaces = format!(
        "/nodevent: {{secret: sesame-of-more-than-sixteen, redis: \"{}\", publish_key: publish-with-this-key}}\n/open: {{}}\n",
        redis.url()
    );
    let server = TestServer::start(&namespaces).await;
    server.ready().await;
    let port = server.address.rsplit(':').next().unwrap();
    let head = format!("bind: 127.0.0.1\nport: {port}\n");
    let (status, said) = check(&format!("{head}{namespaces}")).await;
    assert_eq!(status, Some(0), "{said}");
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
        assert!(said.lines().any(is_fine), "{expected} is not in {said}");
    }
    let folder = folder(&format!("{head}{namespaces}"));
    for (origin, status) in [("http://localhost:3000", Some(0)), ("https://example.com.evil.tld", Some(69))] {
        let (ended, said, _) = run(folder.path(), &["check", "nodevent.yml", "--origin", origin]).await;
        assert_eq!(ended, status, "{origin}: {said}");
        assert!(said.contains(&format!("pages of {origin} may ")), "{said}");
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
        let (status, said) = check(&format!("{head}{other}")).await;
        assert_eq!(status, Some(69), "{expected}: {said}");
        assert!(said.lines().any(|line| line.starts_with("FAIL") && line.contains(expected)), "{expected}: {said}");
    }
}

#[tokio::test]
async fn check_looks_at_redis_and_at_the_port() {
    let redis = RedisServer::start().await;
    let free = free_port();
    let at = |port: u16| {
        format!("bind: 127.0.0.1\nport: {free}\n/nodevent: {{redis: {{host: 127.0.0.1, port: {port}}}}}\n")
    };
    let (status, said) = check(&at(redis.port)).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&format!("port {free} is free")), "{said}");
    let (status, said) = check(&at(free_port())).await;
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("cannot be used: ") && said.contains("start it, or correct `redis:`"), "{said}");
    let replica = redis_cli().args(["-p", &redis.port.to_string(), "replicaof", "127.0.0.1", "1"]).output();
    assert!(replica.unwrap().status.success());
    let (status, said) = check(&at(redis.port)).await;
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("takes no writes: READONLY"), "{said}");
    let taken = TcpListener::bind(("127.0.0.1", free)).unwrap();
    let (status, said) = check(&at(redis.port)).await;
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains(&format!("port {free} cannot be opened")), "{said}");
    drop(taken);
}

#[tokio::test]
async fn the_key_that_is_printed_opens_its_room_and_no_other() {
    let folder = folder(SECURED);
    let arguments = ["key", "Räum 1", "--expires-in", "5m", "--config", "nodevent.yml", "--namespace", "/nodevent"];
    let (status, key, _) = run(folder.path(), &arguments).await;
    assert_eq!(status, Some(0));
    let server = TestServer::start("/nodevent: {secret: sesame-of-more-than-sixteen}").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    assert_eq!(browser.join_with("Räum 1", key.trim_end()).await[1], true);
    assert_eq!(browser.join_with("Räum 2", key.trim_end()).await, json!(["Bad key", false]));
    let (_, spent, _) =
        run(folder.path(), &[&arguments[..2], &["--expires-in", "0s"], &arguments[4..]].concat()).await;
    // It is good in the very millisecond in which it ends.
    until("the spent key is refused", async || {
        browser.join_with("Räum 1", spent.trim_end()).await == json!(["Time has passed", false])
    })
    .await;
}

#[tokio::test]
async fn a_busy_port_is_named_and_ends_with_69() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for configuration in [
        format!("bind: 127.0.0.1\nport: {port}\n{PLAIN}\n"),
        format!("bind: 127.0.0.1\nport: 0\nadmin: {{port: {port}}}\n{PLAIN}\n"),
    ] {
        let folder = folder(&configuration);
        let (status, _, said) = run(folder.path(), &["serve", "nodevent.yml"]).await;
        assert_eq!(status, Some(69), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains(&format!("port {port} is in use")) && last.contains("; "), "{last}");
    }
}

#[tokio::test]
async fn what_is_emitted_from_the_command_line_is_heard_in_the_room() {
    let server = TestServer::start("/nodevent: {history: off, publish_key: publish-with-this-key}").await;
    let folder = folder("/nodevent: {publish_key: publish-with-this-key}\n");
    let url = format!("http://{}", server.address);
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    for (message, expected) in [(r#"{"n":1}"#, json!({"n": 1})), ("two words", json!("two words")), ("3", json!(3))]
    {
        let arguments = ["emit", "r", "e", message, "--url", &url, "--config", "nodevent.yml"];
        let (status, _, said) = run(folder.path(), &arguments).await;
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(browser.next_event().await.message, expected);
    }
    let (status, _, said) = run(folder.path(), &["emit", "r", "e", "--url", &url, "--publish-key", "wrong"]).await;
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("401") && said.contains("publish key"), "{said}");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (status, _, said) = run(folder.path(), &["emit", "r", "e", "--url", &nobody]).await;
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains(&nobody[7..]) && said.contains("is it running?"), "{said}");
}

#[tokio::test]
async fn what_is_said_in_a_room_is_printed_a_line_each() {
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
    let heard: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&heard["event"], &heard["message"]), (&json!("e"), &json!({"n": 1})));
    subscribing.kill().await.unwrap();
}

#[tokio::test]
async fn a_log_in_json_is_one_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\nlog: {format: json}\n/nodevent: {}\n";
    let file = folder.path().join("nodevent.yml");
    std::fs::write(&file, settings).unwrap();
    let mut command = crate::support::program::command(folder.path());
    command.arg(file);
    let mut program = Program::spawn(command);
    program.says("\"listening\"").await;
    program.signal(rustix::process::Signal::TERM);
    assert_eq!(program.status().await, Some(0));
    program.says("\"stopped\"").await;
    for line in program.log() {
        let object: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(object["timestamp"].is_string() && object["level"].is_string(), "{line}");
        assert!(object["fields"]["message"].is_string() || object["message"].is_string(), "{line}");
    }
}
