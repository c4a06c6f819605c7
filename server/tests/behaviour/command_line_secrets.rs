//! What the commands of `nodevent` do with secrets, and with programs that are not our server: where keys come from, where
//! they are sent, what is printed of a response, and how much of it is read.

use crate::support::wait::in_time;
use crate::support::{TestServer, program};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const KEY: &str = "publish-with-this-key";
const SECRET: &str = "sesame-of-more-than-sixteen";

/// A folder with `nodevent.yml`, and the publish key in the file `key`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("/nodevent: {{secret: {SECRET}, publish_key: {KEY}}}\n");
    std::fs::write(folder.path().join("nodevent.yml"), settings).unwrap();
    std::fs::write(folder.path().join("empty.yml"), "/nodevent: {open: true}\n").unwrap();
    std::fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
    folder
}

/// Runs a command with this text on standard input.
async fn run(folder: &Path, arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut command = program::command(folder);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    // A command that fails does not read it.
    tokio::spawn(async move { drop(input.write_all(text.as_bytes()).await) });
    let output = in_time("the command ends", child.wait_with_output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn keys_are_read_from_files_and_standard_input_and_arguments_are_warned_of() {
    let folder = folder();
    let server = TestServer::start(&format!("/nodevent: {{secret: {SECRET}, publish_key: {KEY}}}")).await;
    let url = format!("http://{}", server.address);
    let emit = async |more: &[&str], stdin: &str| {
        let arguments = [&["emit", "r", "e", "--url", &url, "--config", "empty.yml"], more].concat();
        run(folder.path(), &arguments, stdin).await
    };
    for (more, stdin) in [
        (&["--publish-key-file", "key"][..], ""),
        (&["--publish-key-file", "-"], "publish-with-this-key\n"),
        (&["-", "--publish-key-file", "key"], "{\"a\": 1}"),
    ] {
        let (status, out, err) = emit(more, stdin).await;
        assert_eq!((status, err.as_str()), (Some(0), ""), "{more:?}");
        assert!(out.contains("\"accepted\":1"), "{out}");
    }
    let (status, _, err) = emit(&["--publish-key", KEY], "").await;
    assert_eq!(status, Some(0), "{err}");
    assert!(err.starts_with("warning: --publish-key shows the key to every user of this machine"), "{err}");
    assert!(err.contains("--publish-key-file") && !err.contains(KEY), "{err}");
    for (more, stdin, expected) in [
        (&["-", "--publish-key-file", "-"][..], "x", "cannot both be standard input"),
        (&["--publish-key-file", "key", "--publish-key", "x"], "", "cannot be used with"),
        (&["--publish-key-file", "-"], "\n", "standard input is empty"),
        (&["--publish-key-file", "none"], "", "none cannot be read"),
    ] {
        let (status, _, err) = emit(more, stdin).await;
        assert_eq!(status, Some(64), "{more:?}: {err}");
        assert!(err.contains(expected), "{expected}: {err}");
    }
    let (status, key, err) =
        run(folder.path(), &["key", "r", "--secret-file", "-", "--config", "empty.yml"], SECRET).await;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let read = async |arguments: &[&str], stdin: &str| {
        let arguments =
            [&["subscribe", "r", "--url", &url, "--config", "empty.yml", "--since", "none"], arguments].concat();
        run(folder.path(), &arguments, stdin).await
    };
    let (status, _, err) = read(&["--key-file", "-"], "0:1234567890123\n").await;
    assert_eq!(status, Some(69), "{err}");
    assert!(err.contains("rejected it (403") && !err.contains("warning"), "the key was sent: {err}");
    let (_, _, err) = read(&["--key", "0:1234567890123"], "").await;
    assert!(err.contains("warning: --key shows the key") && !err.contains("0:123"), "{err}");
    let mut command = program::command(folder.path());
    command
        .args(["subscribe", "r", "--url", &url, "--config", "empty.yml", "--key-file", "-"])
        .stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).await.unwrap();
    server.metric_is("nodevent_rooms", 1).await;
    child.kill().await.unwrap();
}

/// What a program that is not our server responds with: once, and then again and again after a pause.
#[derive(Clone, Default)]
struct Reply {
    once: String,
    again: &'static str,
    pause: Duration,
}

fn reply(status: u16, body: &str) -> Reply {
    let once = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    Reply { once, ..Reply::default() }
}

/// A program that is not our server. It keeps what it receives.
async fn impostor(respond: fn(&str) -> Reply) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Arc::new(Mutex::new(String::new()));
    let all = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let mut head = vec![0; 65_536];
                let length = stream.read(&mut head).await.unwrap_or_default();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                all.lock().unwrap().push_str(&head);
                let Reply { once, again, pause } = respond(&head);
                let mut written = stream.write_all(once.as_bytes()).await;
                while written.is_ok() && !again.is_empty() {
                    written = stream.write_all(again.as_bytes()).await;
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            });
        }
    });
    (port, received)
}

#[tokio::test]
async fn configured_keys_are_sent_to_the_configured_server_only() {
    let folder = folder();
    let (port, received) = impostor(|_| reply(200, "{\"accepted\":1}")).await;
    // Another host than those of this machine, for the command.
    let other = format!("http://0.0.0.0:{port}");
    let (status, _, err) =
        run(folder.path(), &["emit", "r", "e", "--url", &other, "--config", "nodevent.yml"], "").await;
    assert_eq!(status, Some(0), "{err}");
    assert!(err.contains("warning: the configured publish key is not sent to http://0.0.0.0"), "{err}");
    run(folder.path(), &["subscribe", "r", "--url", &other, "--config", "nodevent.yml"], "").await;
    let sent = received.lock().unwrap().clone();
    assert!(
        sent.contains("POST /api/nodevent/emit") && sent.contains("GET /api/nodevent/rooms/r/events"),
        "{sent}"
    );
    assert!(!sent.to_lowercase().contains("authorization"), "{sent}");
    let arguments = ["emit", "r", "e", "--url", &other, "--publish-key-file", "key"];
    assert_eq!(run(folder.path(), &arguments, "").await.2, "");
    assert!(received.lock().unwrap().contains(KEY));
    let public = format!("public_url: http://0.0.0.0:{port}\n/nodevent: {{publish_key: the-key-of-that-server}}\n");
    std::fs::write(folder.path().join("public.yml"), public).unwrap();
    let arguments = ["emit", "r", "e", "--url", &other, "--config", "public.yml"];
    assert_eq!(run(folder.path(), &arguments, "").await.2, "");
    assert!(received.lock().unwrap().contains("the-key-of-that-server"));
    let with_password = format!("http://me:sesame@127.0.0.1:{port}");
    let (status, _, err) = run(folder.path(), &["emit", "r", "e", "--url", &with_password], "").await;
    assert_eq!(status, Some(64), "{err}");
    assert!(err.contains("contains a user or password") && !err.contains("sesame"), "{err}");
}

#[tokio::test]
async fn check_sends_no_publish_key_to_a_program_that_accepts_any_key() {
    let folder = folder();
    let (port, received) = impostor(|head| match head {
        _ if head.starts_with("GET /healthz") => reply(200, "ok\n"),
        _ if head.contains("/events") && !head.to_lowercase().contains("authorization") => reply(403, "no"),
        _ => reply(200, "ready"),
    })
    .await;
    let settings = format!("bind: 127.0.0.1\nport: {port}\n/nodevent: {{secret: {SECRET}, publish_key: {KEY}}}\n");
    std::fs::write(folder.path().join("check.yml"), settings).unwrap();
    let (status, out, err) = run(folder.path(), &["check", "check.yml"], "").await;
    assert_eq!(status, Some(69), "{err}");
    assert!(
        out.contains("FAIL /nodevent: it admits clients with any key, so it does not know the secret"),
        "{out}"
    );
    let received = received.lock().unwrap().clone();
    assert!(received.contains("Bearer") || received.contains("bearer"), "{received}");
    assert!(!received.contains(KEY) && !received.contains(SECRET), "{received}");
}

/// Such a program may know which key the command sends first: it rejects one and admits the next ones.
#[tokio::test]
async fn check_sends_no_publish_key_to_a_program_that_knows_the_order_of_its_checks() {
    static KEYS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let folder = folder();
    let (port, received) = impostor(|head| match head {
        _ if head.starts_with("GET /healthz") => reply(200, "ok\n"),
        _ if head.contains("/events") && !head.to_lowercase().contains("authorization") => reply(403, "no"),
        _ if head.contains("/events") && KEYS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => {
            reply(403, "no")
        }
        _ => reply(200, "ready"),
    })
    .await;
    let settings = format!("bind: 127.0.0.1\nport: {port}\n/nodevent: {{secret: {SECRET}, publish_key: {KEY}}}\n");
    std::fs::write(folder.path().join("check.yml"), settings).unwrap();
    let (status, out, err) = run(folder.path(), &["check", "check.yml"], "").await;
    assert_eq!(status, Some(69), "{err}");
    assert!(out.contains("FAIL /nodevent: it"), "{out}");
    let received = received.lock().unwrap().clone();
    assert!(!received.contains(KEY) && !received.contains(SECRET), "{received}");
}

/// Without a secret nothing shows which program it is.
#[tokio::test]
async fn check_sends_no_publish_key_to_a_program_that_it_cannot_verify() {
    let folder = folder();
    let (port, received) = impostor(|head| match head {
        _ if head.starts_with("GET /healthz") => reply(200, "ok\n"),
        _ if head.contains("/emit") && !head.contains(KEY) => reply(401, "a key is needed"),
        _ => reply(200, "ready"),
    })
    .await;
    let settings = format!("bind: 127.0.0.1\nport: {port}\n/nodevent: {{open: true, publish_key: {KEY}}}\n");
    std::fs::write(folder.path().join("check.yml"), settings).unwrap();
    let (_, out, err) = run(folder.path(), &["check", "check.yml"], "").await;
    assert!(out.contains("nothing shows that this is the server of the file"), "{out}{err}");
    assert!(!received.lock().unwrap().contains(KEY));
}

fn is_clean(text: &str) -> bool {
    text.lines().all(|line| !line.contains(nodevent_protocol::text::is_unsafe) && line.chars().count() < 2000)
}

#[tokio::test]
async fn nothing_that_another_program_returns_drives_the_terminal() {
    let folder = folder();
    let hostile: fn(&str) -> Reply = |head| {
        let text = "a\u{1b}[31m\u{9b}2J\u{202e}\u{7}\rFAIL forged";
        match head {
            _ if head.starts_with("GET /healthz") => reply(200, "ok\n"),
            _ if head.starts_with("GET /readyz") => reply(503, &text.repeat(10_000)),
            _ if head.contains("/good/emit") => reply(200, &format!("{{\"accepted\":1,\"x\":\"{text}\"}}")),
            _ if head.contains("/emit") => {
                let escaped = text.replace('\u{1b}', "\\u001b").replace('\u{7}', "\\u0007").replace('\r', "\\n");
                reply(400, &format!("{{\"error\":\"{}\",\"hint\":\"{escaped}\"}}", escaped.repeat(1000)))
            }
            _ if head.contains("/good/rooms/") => reply(
                200,
                &format!("data: {{\"a\":\"{}\"}}\n\nevent: gap{text}\ndata: {text}\n\n", text.replace('\r', "")),
            ),
            _ => reply(403, &text.repeat(10_000)),
        }
    };
    let (port, _) = impostor(hostile).await;
    let settings = format!("bind: 127.0.0.1\nport: {port}\n/bad: {{open: true}}\n/good: {{open: true}}\n");
    std::fs::write(folder.path().join("hostile.yml"), settings).unwrap();
    for (arguments, expected) in [
        (&["emit", "r", "e"][..], "rejected it (400 Bad Request): a [31m 2J FAIL forged"),
        (&["emit", "r", "e", "--namespace", "good"], "\"accepted\":1"),
        (&["subscribe", "r"], "rejected it (403 Forbidden): a [31m 2J FAIL forged"),
        (&["subscribe", "r", "--namespace", "good"], "{\"a\":\"a\\u001b[31m\\u009b2J\\u202e\\u0007FAIL forged\"}"),
        (&["check", "hostile.yml"], "FAIL it is not ready: a [31m 2J FAIL forged"),
    ] {
        let arguments = match arguments[0] {
            "check" => arguments.to_vec(),
            _ => [arguments, &["--config", "hostile.yml"]].concat(),
        };
        let (_, out, err) = run(folder.path(), &arguments, "").await;
        assert!(out.contains(expected) || err.contains(expected), "{arguments:?}\n{expected}\n{out}\n{err}");
        assert!(is_clean(&out) && is_clean(&err), "{arguments:?}: {out:?} {err:?}");
        let forged = |text: &str| text.lines().any(|line| line.starts_with("FAIL forged"));
        assert!(!forged(&out) && !forged(&err), "{out}\n{err}");
    }
}

#[tokio::test]
async fn names_of_files_do_not_drive_the_terminal() {
    let folder = folder();
    let name = "\u{1b}[31mred\nFAIL forged\u{202e}.yml";
    std::fs::write(folder.path().join(name), "/nodevent: {open: true}\n").unwrap();
    for arguments in
        [&["check", "--offline", name][..], &["key", "r", "--secret-file", name], &["check", "\u{9b}none"]]
    {
        let (_, out, err) = run(folder.path(), arguments, "").await;
        assert!(
            !(out.clone() + &err).replace('\n', "").contains(nodevent_protocol::text::is_unsafe),
            "{out:?} {err:?}"
        );
    }
}

/// What a program responds with, the command, and a part of its error.
type Case = (fn(&str) -> Reply, &'static [&'static str], &'static str);

#[tokio::test]
async fn endless_responses_end_with_an_error_in_bounded_memory() {
    let folder = folder();
    const HEAD: &str = "HTTP/1.1 200 OK\r\n";
    const FAST: Duration = Duration::ZERO;
    const LONG: &str = match std::str::from_utf8(&[b'x'; 65_536]) {
        Ok(text) => text,
        Err(_) => "x",
    };
    let cases: [Case; 4] = [
        (|_| Reply { once: format!("{HEAD}\r\n"), again: LONG, pause: FAST }, &["emit", "r", "e"], "is incomplete"),
        (
            |_| Reply { once: HEAD.to_owned(), again: "X-A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n", pause: FAST },
            &["emit", "r", "e"],
            "no server responds",
        ),
        (
            |_| Reply { once: HEAD.to_owned(), again: "X", pause: Duration::from_millis(50) },
            &["emit", "r", "e"],
            "did not respond within 10 s",
        ),
        (
            |_| Reply { once: format!("{HEAD}\r\ndata: "), again: LONG, pause: FAST },
            &["subscribe", "r"],
            "sent an event of more than",
        ),
    ];
    for (respond, arguments, expected) in cases {
        let (port, _) = impostor(respond).await;
        let url = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        let arguments = [arguments, &["--url", &url]].concat();
        let (status, out, err) = run(folder.path(), &arguments, "").await;
        assert_eq!((status, out.as_str()), (Some(69), ""), "{arguments:?}: {err}");
        assert!(err.contains(expected), "{expected}: {err}");
        assert!(started.elapsed() < Duration::from_secs(14), "{arguments:?}");
    }
}
