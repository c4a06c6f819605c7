//! The command `nodevent`: its arguments, its output and its exit status.

use crate::support::redis::{free_port, redis_cli};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, PLAIN, Program, RedisServer, Request, TestServer, Transport};
use serde_json::json;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

const SECURED: &str =
    "port: 0\nbind: 127.0.0.1\n/open: {open: true}\n/nodevent: {secret: sesame-of-more-than-sixteen}\n";

/// A folder with `nodevent.yml` in it, which only its owner can read.
fn folder(configuration: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodevent.yml");
    std::fs::write(&file, configuration).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
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
    assert!(printed.contains("nodevent.yml: no errors"), "{printed}");
    assert!(printed.contains("/open: memory, open to every client"), "{printed}");
    assert!(printed.contains("/nodevent: memory, secured"), "{printed}");
    assert!(printed.contains("publishing over HTTP: nothing without a publish_key: /open, /nodevent"), "{printed}");
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
        "/nodevent: {{secret: sesame-of-more-than-sixteen, redis: \"{}\", publish_key: publish-with-this-key}}\n/open: {{open: true}}\n\
         /tokens: {{token: {{secret: sesame-for-tokens-of-more-than-32-bytes}}}}\n",
        redis.url()
    );
    let server = TestServer::start(&namespaces).await;
    server.ready().await;
    let port = server.address.rsplit(':').next().unwrap();
    let head = format!("bind: 127.0.0.1\nport: {port}\n");
    let (status, printed) = check(&format!("{head}{namespaces}")).await;
    assert_eq!(status, Some(0), "{printed}");
    for expected in [
        "accepts writes",
        "a NoDevent server responds at http://localhost:",
        "it is ready",
        "/nodevent: its secret matches the configuration file",
        "/nodevent: a test message was delivered",
        "/open: every client may join",
        "/open: a test message was delivered",
        "/tokens: it requires tokens, as in the file",
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
        (namespaces.replace("sesame-", "another-sesame-"), "its secret does not match the configuration file"),
        (
            namespaces.replace("secret: sesame-of-more-than-sixteen, ", ""),
            "requires keys, but the file has no secret",
        ),
        (
            namespaces.replace("/open: {open: true}", "/open: {secret: sesame-of-more-than-sixteen}"),
            "every client may join, but the file has a secret",
        ),
        (namespaces.replace("/open", "/other"), "it has no namespace /other"),
        (namespaces.replace("with-this-key", "with-another-key"), "publishing was rejected (401"),
    ] {
        let (status, printed) = check(&format!("{head}{other}")).await;
        assert_eq!(status, Some(69), "{expected}: {printed}");
        assert!(
            printed.lines().any(|line| line.starts_with("FAIL") && line.contains(expected)),
            "{expected}: {printed}"
        );
    }
}

/// A service that is not ours: it returns status 200 and a word.
async fn another_service() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").await;
        }
    });
    port
}

/// The first thing that `nodevent check` reports, and the status with which it ends.
async fn first_report(configuration: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = folder(configuration);
    let (status, out, err) = run(folder.path(), &[&["check", "nodevent.yml"], arguments].concat()).await;
    let failed = out.lines().find_map(|line| line.strip_prefix("FAIL ").map(str::to_owned));
    let error = err.lines().next().unwrap_or_default().to_owned();
    (status, failed.unwrap_or(error))
}

/// Mistakes in the file: `check` ends with status 64, and its first line is the cause.
#[tokio::test]
async fn check_finds_mistakes_of_the_file_and_reports_the_cause_first() {
    for (configuration, cause) in [
        ("/a: {sceret: x}\n", "nodevent.yml:1:6: unknown key `/a.sceret` in a namespace without a secret"),
        ("/a:\n  secret:\n", "/a.secret is empty"),
        ("/a: {secret: $SECRET}\n", "/a.secret looks like a variable of the environment without braces"),
        ("/a: {secret: \"${SURELY_NOT_SET}\"}\n", "the environment has no SURELY_NOT_SET"),
        ("nodevent: {secret: abcdefghijklmnop}\n", "`nodevent` looks like a namespace without its slash"),
        ("staging: {/a: {open: true}}\n", "there is no section `development`, only staging"),
        ("/a: {open: true}\nport: 80800\n", "nodevent.yml:2:7: port is not a valid number"),
        ("/a: {open: true}\nbind: 127.0.0.1\nbind: 0.0.0.0\n", "nodevent.yml:3:1: the key `bind` is written twice"),
        ("/a: {open: true, redis: localhost}\n", "/a.redis is not a Redis URL"),
        ("/a: {open: true}\nssl: {cert: c.pem, key: k.pem}\n", "ssl.cert: the file cannot be read"),
        ("/a: {open: true}\npublic_url: localhost\n", "nodevent.yml:2:13: public_url is not a URL"),
        ("/a:\n\topen: true\n", "nodevent.yml:2:1: this is not YAML: a tab indents the line"),
        ("/a: {open: true}\norigins: [https://example.com/app]\n", "origins has an entry that is not an origin"),
    ] {
        let (status, first) = first_report(configuration, &[]).await;
        assert_eq!(status, Some(64), "{configuration}: {first}");
        assert!(first.contains(cause), "{configuration}\n{cause}\nis not in\n{first}");
    }
}

/// Mistakes around the file: `check` ends with status 69, and its first FAIL is the cause.
#[tokio::test]
async fn check_finds_mistakes_of_the_surroundings_and_reports_the_cause_first() {
    let redis = RedisServer::start_with_password("open-sesame-123").await;
    let url = redis.url();
    let secured = format!("/a: {{secret: sesame-of-more-than-sixteen, redis: \"{url}\"}}\n");
    let server =
        TestServer::start(&format!("{secured}/open: {{open: true, publish_key: publish-with-this-key}}\n")).await;
    server.ready().await;
    let without = TestServer::start("/other: {}\n").await;
    let lost = TestServer::start(&format!("/a: {{redis: {{host: 127.0.0.1, port: {}}}}}\n", free_port())).await;
    let (free, alien) = (free_port(), another_service().await);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port_of = |server: &TestServer| server.address.rsplit(':').next().unwrap().to_owned();
    let (port, lost) = (port_of(&server), port_of(&lost));
    let at = |port: &str, rest: &str| format!("bind: 127.0.0.1\nport: {port}\n{rest}");
    let (closed, unused) = (free_port(), free_port());
    let taken_port = taken.local_addr().unwrap().port();
    for (configuration, arguments, cause) in [
        (
            at(&free.to_string(), &format!("/a: {{open: true, redis: {{host: 127.0.0.1, port: {closed}}}}}\n")),
            vec![],
            "is unavailable: ",
        ),
        (at(&free.to_string(), &secured.replace("open-sesame-123", "wrong")), vec![], "is unavailable: "),
        (
            at(&lost, &format!("/a: {{open: true, redis: {{host: 127.0.0.1, port: {closed}}}}}\n")),
            vec![],
            "is unavailable: ",
        ),
        (at(&taken_port.to_string(), "/a: {open: true}\n"), vec![], "cannot be opened on 127.0.0.1"),
        (at(&alien.to_string(), "/a: {open: true}\n"), vec![], "another service is listening at"),
        (at(&lost, "/a: {open: true}\n"), vec![], "it is not ready: "),
        (at(&port, "/b: {open: true}\n"), vec![], "it has no namespace /b"),
        (at(&port, "/a: {open: true}\n"), vec![], "/a: it requires keys, but the file has no secret"),
        (
            at(&port, "/open: {secret: abcdefghijklmnop}\n"),
            vec![],
            "/open: every client may join, but the file has a secret",
        ),
        (
            at(&port, &secured.replace("sesame-of", "salami-of")),
            vec![],
            "/a: its secret does not match the configuration file",
        ),
        (
            at(&port, "/open: {open: true}\n"),
            vec![],
            "a test message was not delivered: publishing was rejected (401",
        ),
        (
            at(&port, &secured),
            vec!["--origin", "https://www.example.com"],
            "pages of https://www.example.com may not connect",
        ),
        (
            at(&port, &format!("public_url: http://127.0.0.1:{unused}\n{secured}")),
            vec![],
            "cannot be reached from this machine",
        ),
        (
            at(&port, &format!("host: http://127.0.0.1:{unused}\n{secured}")),
            vec![],
            "cannot be reached from this machine",
        ),
        (
            at(&port, &format!("public_url: http://127.0.0.1:{alien}\n{secured}")),
            vec![],
            "leads to another service",
        ),
        (
            at(&port, &format!("public_url: http://{}\n{secured}", without.address)),
            vec![],
            "leads to a server that has no namespace /a",
        ),
    ] {
        let (status, first) = first_report(&configuration, &arguments).await;
        assert_eq!(status, Some(69), "{configuration}: {first}");
        assert!(first.contains(cause), "{configuration}\n{cause}\nis not in\n{first}");
    }
    let fine = at(&port, &format!("public_url: http://{}\n{secured}", server.address));
    let (status, printed) = check(&fine).await;
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains("leads to the server"), "{printed}");
}

#[tokio::test]
async fn key_can_be_signed_with_a_secret_from_a_file() {
    let folder = folder("/nodevent: {secret: another-secret-of-sixteen}\n");
    std::fs::write(folder.path().join("secret"), "sesame-of-more-than-sixteen\n").unwrap();
    let (status, key, printed) = run(folder.path(), &["key", "r", "--secret-file", "secret"]).await;
    assert_eq!(status, Some(0), "{printed}");
    let server = TestServer::start("/nodevent: {secret: sesame-of-more-than-sixteen}").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    assert_eq!(browser.join_with("r", key.trim_end()).await[1], true);
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    for (file, expected) in [("nowhere", "nowhere cannot be read"), ("empty", "empty is empty")] {
        let (status, _, printed) = run(folder.path(), &["key", "r", "--secret-file", file]).await;
        assert_eq!(status, Some(64), "{printed}");
        assert!(printed.contains(expected), "{printed}");
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
    assert!(printed.contains("is unavailable: ") && printed.contains("start it, or correct `redis:`"), "{printed}");
    let replica = redis_cli().args(["-p", &redis.port.to_string(), "replicaof", "127.0.0.1", "1"]).output();
    assert!(replica.unwrap().status.success());
    let (status, printed) = check(&at(redis.port)).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains("does not accept writes: READONLY"), "{printed}");
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
async fn key_is_bound_if_configured_and_not_signed_beyond_the_maximum_lifetime() {
    let secured = "/nodevent: {history: off, secret: sesame-of-more-than-sixteen";
    let sign = async |more: &str, lifetime: &str| {
        let folder = folder(&format!("{secured}{more}}}\n"));
        run(folder.path(), &["key", "r", "--expires-in", lifetime, "--config", "nodevent.yml"]).await
    };
    let (status, key, _) = sign(", bound_keys: sign", "30d").await;
    assert!(status == Some(0) && key.starts_with("v2_"), "{key}");
    let server = TestServer::start(&format!("{secured}, bound_keys: require}}")).await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    assert_eq!(browser.join_with("r", key.trim_end()).await, json!([null, true]));
    let (_, formula, _) = sign("", "300d").await;
    assert!(!formula.contains('_'), "{formula}");
    assert_eq!(browser.join_with("r", formula.trim_end()).await, json!(["Bad key", false]));
    for (more, lifetime) in [(", bound_keys: require", "31d"), (", max_key_lifetime: 1h", "61m")] {
        let (status, key, error) = sign(more, lifetime).await;
        assert_eq!((status, key.as_str()), (Some(64), ""), "{error}");
        assert!(error.contains("max_key_lifetime"), "{error}");
    }
}

#[tokio::test]
async fn occupied_port_is_named_and_exits_with_69() {
    // X-08
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

#[tokio::test]
async fn check_explains_a_key() {
    let folder = tempfile::tempdir().unwrap();
    for (key, expected) in [
        ("send_buffer", "limits.send_buffer: size; default: 1MB\n  Bytes queued for one slow connection."),
        ("limits.send_buffer", "When to change it: "),
        ("apiKey", "/<namespace>.publish_key: secret"),
        ("redis.db", "redis.db: number, 0 to 255; default: 0"),
        ("port", "listen.port: number"),
    ] {
        let (status, printed, _) = run(folder.path(), &["check", "--explain", key]).await;
        assert_eq!(status, Some(0), "{printed}");
        assert!(printed.contains(expected), "{expected}\nis not in\n{printed}");
    }
    let (status, _, printed) = run(folder.path(), &["check", "--explain", "send_bufer"]).await;
    assert_eq!(status, Some(64), "{printed}");
    assert!(printed.contains("did you mean limits.send_buffer"), "{printed}");
}

#[tokio::test]
async fn fewer_open_files_than_connections_are_reported() {
    let logs = async |max_connections: usize| {
        let folder =
            folder(&format!("port: 0\nbind: 127.0.0.1\nlimits: {{max_connections: {max_connections}}}\n{PLAIN}\n"));
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", "ulimit -n 256 && exec \"$0\" nodevent.yml", crate::support::program::NODEVENT]);
        crate::support::program::clean(&mut command, folder.path());
        let program = Program::spawn(command);
        program.listening().await;
        program
            .log()
            .into_iter()
            .any(|line| line.contains("fewer open files are allowed") && line.contains("limit=256"))
    };
    assert!(logs(1_000).await);
    assert!(!logs(200).await);
}
