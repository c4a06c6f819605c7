//! The configuration file as operators see it: valid files, and the messages about mistakes.

use crate::support::{Browser, Program, REDIS_OUTAGE, RedisServer, Site, TestServer, Transport};
use std::path::Path;
use tempfile::TempDir;

/// Creates a folder with one file.
fn folder_with(name: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

/// Checks that `nodevent check` and the server refuse a file with status 64 and the same message, and returns it.
async fn refused(folder: &Path, file: &str) -> String {
    let check = Program::run(folder, &["check", "--offline", file]).await;
    let printed = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(64), "{file} is not refused: {printed}");
    let serve = Program::run(folder, &[file]).await;
    assert_eq!((serve.status.code(), String::from_utf8(serve.stderr).unwrap()), (Some(64), printed.clone()));
    printed
}

#[tokio::test]
async fn invalid_configuration_exits_with_64_and_names_its_place_and_fix() {
    // N-08
    let cases = [
        // The sample of the README of NoDevent 3, which lacks commas.
        (
            "c.json",
            "{\n  \"port\": 8080\n  \"/nodevent\": {\"redis\": {\"port\": 6379}}\n}",
            "c.json:3:3: this is not JSON: expected `,` or `}`; look for a missing comma",
        ),
        ("c.json", "{\"port\": 8080,}", "c.json:1:15: this is not JSON"),
        ("c.json", "", "c.json:1:1: this is not JSON"),
        ("c.yml", "port: [8080\n/nodevent: {}\n", "this is not YAML"),
        ("c.yml", "port: 8080\n/nodevent:\n  secret: <%= ENV['S'] %>\n", "c.yml:3:11: ERB"),
        ("c.yml", "/nodevent:\n  secret: \"\"\n", "c.yml:2:11: /nodevent.secret is empty"),
        ("c.yml", "/nodevent:\n  secrets: [{id: a, secret: \"\"}]\n", "/nodevent.secrets[0].secret is empty"),
        ("c.yml", "/nodevent: {publish_key: \"\"}\n", "/nodevent.publish_key is empty"),
        ("c.yml", "port: 80800\n", "c.yml:1:7: port is not a valid number; write a whole number from 0 to 65535"),
        ("c.yml", "/nodevent: {redis: \"http://localhost\"}\n", "/nodevent.redis is not a Redis URL"),
        (
            "c.yml",
            "/nodevent: {dialect: klingon}\n",
            "there is no dialect of this name in this version; write one of: nodevent",
        ),
        ("c.yml", "/nodevent: {secret: \"${SURELY_NOT_SET}\"}\n", "the environment has no SURELY_NOT_SET; set"),
        ("c.yml", "production: {port: 80}\n", "there is no section `development`, only production"),
        (
            "c.yml",
            "drain_timeout: 5 weeks\n",
            "drain_timeout is not a valid duration; write a duration with its unit, like 30s",
        ),
        ("c.yml", "- a list\n", "c.yml:1:1: the file has no keys"),
        (
            "c.yml",
            "port: ${SURELY_NOT_SET}\n",
            "c.yml:1:7: the environment has no SURELY_NOT_SET; set SURELY_NOT_SET",
        ),
        ("c.yml", "/nodevent: {redis: localhost}\n", "/nodevent.redis is not a Redis URL; write redis://"),
        ("c.yml", "/nodevent: {redis: \"redis://localhost:port/0\"}\n", "/nodevent.redis is not a Redis URL"),
        ("c.yml", "/nodevent: {history: lots}\n", "/nodevent.history is neither off nor an age; write"),
        ("c.yml", "listen: 8080\n", "listen is not a list; write"),
        ("c.yml", "origins: [\"https://a b\"]\n", "c.yml:1:11: origins has an entry that is not an origin"),
    ];
    for (name, text, expected) in cases {
        let folder = folder_with(name, text);
        let printed = refused(folder.path(), name).await;
        assert!(printed.contains(expected), "{expected}\nis not in\n{printed}");
        assert!(printed.starts_with(name) && printed.contains("; "), "{printed}");
        assert_eq!(printed.lines().count(), 1, "one line per mistake:\n{printed}");
    }
}

/// What is meant to be closed is never open: a value that is missing, a typo, a slash that is missing, a variable that is
/// not replaced, and a secret whose namespace is not clear.
#[tokio::test]
async fn namespace_with_a_blank_or_misspelt_secret_does_not_start() {
    let cases = [
        ("/a:\n  secret:\n", "/a.secret is empty, so every client could join; write a long random text"),
        ("/a: {secret: ~}\n", "c.yml:1:14: /a.secret is empty"),
        ("/a: {secret: null}\n", "/a.secret is empty"),
        ("/a: {secret: \"\"}\n", "/a.secret is empty"),
        ("/a: {secret: \"  \"}\n", "/a.secret is empty"),
        ("/a: {secret: \"${SURELY_NOT_SET:-}\"}\n", "/a.secret is empty"),
        ("/a: {secrets: }\n", "/a.secrets is empty"),
        ("/a: {secrets: []}\n", "/a.secrets is empty"),
        ("/a: {secrets: ~}\n", "/a.secrets is empty"),
        ("/a: {secrets: [~]}\n", "/a.secrets[0] is empty"),
        ("/a: {secrets: [{id: x}]}\n", "/a.secrets[0] has no secret"),
        ("/a: {secrets: [{secret: ~}]}\n", "/a.secrets[0].secret is empty"),
        ("/a: {secrets: abcdefghijklmnopqrstuvwxyz}\n", "/a.secrets is not a list"),
        ("/a: {secret: [abcdefghijklmnopqrstuvwxyz]}\n", "/a.secret is not text"),
        ("/a: {secret_file: ~}\n", "/a.secret_file is empty"),
        ("/a: {secret_file: nowhere}\n", "/a.secret_file: the file cannot be read"),
        ("/a: {secret: $SECRET}\n", "without braces; write ${NAME}"),
        ("/a: {secret: \"${A:-${B}}\"}\n", "`${…}` inside `${…}` is not supported"),
        ("/a: {secret: \"${A\"}\n", "a `${` has no `}`"),
        ("/a: {sceret: x}\n", "unknown key `/a.sceret` in a namespace without a secret; did you mean `secret`?"),
        ("/a: {Secret: x}\n", "unknown key `/a.Secret`"),
        ("/a: {passwort: x}\n", "unknown key `/a.passwort`"),
        ("/a: {redis: {}, key: x}\n", "unknown key `/a.key`"),
        ("sceret: x\n/a: {}\n", "unknown key `sceret`, and a namespace has no secret"),
        ("SECRET: x\n", "unknown key `SECRET`, and a namespace has no secret"),
        ("auth_token: x\n/a: {}\n", "unknown key `auth_token`, and a namespace has no secret"),
        ("secret: abcdefghijklmnop\n/a: {}\n/b: {}\n", "secret at the top of the file belongs to one namespace"),
        ("secret: abcdefghijklmnop\nnamespace: a\n/b: {}\n", "secret at the top of the file belongs to one"),
        ("publish_key: abcdefghijklmnop\n/a: {}\n/b: {}\n", "publish_key at the top of the file"),
        ("a: {secret: x}\n", "`a` looks like a namespace without its slash; write `/a:`"),
        ("/b: {}\na: {redis: {}}\n", "`a` looks like a namespace without its slash"),
        ("qa: {/a: {secret: x}}\n", "`qa` looks like the section of another environment"),
        ("/a: {open: false}\n", "/a has `open: false` and no secret"),
        ("/a: {open: true, secret: abcdefghijklmnop}\n", "/a has a secret and `open: true`"),
        ("/a: {open: maybe}\n", "/a.open is neither true nor false; write true or false"),
        ("/a: {publish_key: ~}\n", "/a.publish_key is empty, so anyone could publish"),
        ("/a: {publish_key: $KEY}\n", "without braces"),
        ("/a: {open: true, max_key_lifetime: ~}\n", "/a.max_key_lifetime is empty"),
        ("# everything is commented out\n", "the file is empty"),
        ("bind: ~\n/a: {open: true}\n", "bind is empty"),
    ];
    for (text, expected) in cases {
        let folder = folder_with("c.yml", text);
        let said = refused(folder.path(), "c.yml").await;
        assert!(said.contains(expected), "{text}\n{expected}\nis not in\n{said}");
        assert_eq!(said.lines().count(), 1, "one mistake, one line:\n{text}\n{said}");
    }
}

/// A namespace without a secret is open, as it was in the old server; the log reports it, unless it is declared.
#[tokio::test]
async fn namespace_without_a_secret_is_open_and_the_log_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "port: 0\nbind: 127.0.0.1\n/a:\n/b: {open: true}\n/c: {secret: abcdefghijklmnopqrst}\n";
    let program = Program::serve(folder.path(), text).await;
    program.logs("/a has no secret, so every client may join its rooms; write `secret:`, or `open: true`").await;
    program.logs("who may join: open to every client: /a, /b; with a key only: /c").await;
    program.logs("who may publish over HTTP: nothing without a publish_key: /a, /b, /c").await;
    assert!(!program.log().iter().any(|line| line.contains("/b has no secret")), "{:?}", program.log());
    let site = program.site().await;
    for namespace in ["/a", "/b"] {
        let mut browser = Browser::connect(&site, namespace, Transport::WebSocket).await;
        browser.join("r").await;
    }
    let mut browser = Browser::connect(&site, "/c", Transport::WebSocket).await;
    assert_eq!(browser.join_with("r", serde_json::Value::Null).await[1], false);
}

#[tokio::test]
async fn secrets_can_be_in_files_of_their_own() {
    let secret = "sesame-of-more-than-sixteen";
    let folder = folder_with("secret", &format!("{secret}\n"));
    std::fs::write(folder.path().join("publish"), "publish-with-this-key\r\n").unwrap();
    let files = "secret_file: secret, publish_key_file: publish";
    let program = Program::serve(folder.path(), &format!("port: 0\nbind: 127.0.0.1\n/a: {{{files}}}\n")).await;
    program.logs("every user of this machine can read").await;
    let site = program.site().await;
    let mut browser = Browser::connect(&site, "/a", Transport::WebSocket).await;
    let key = crate::support::keys::key("r", crate::support::keys::LATER, secret);
    assert_eq!(browser.join_with("r", key).await[1], true);
    let publish = crate::support::Request::post("/api/a/emit", r#"{"room":"r","event":"e","message":1}"#);
    assert_eq!(site.send(&publish.clone()).await.status, 401);
    let publish = publish.header("Authorization", "Bearer publish-with-this-key");
    assert_eq!(site.send(&publish).await.status, 200);
    assert_eq!(browser.next_event().await.message, 1);
    let folder = folder_with("secret", "\n");
    std::fs::write(folder.path().join("two"), "one\ntwo\n").unwrap();
    for (text, expected) in [
        ("/a: {secret_file: secret}\n", "/a.secret_file: secret is empty"),
        ("/a: {secret_file: two}\n", "/a.secret_file: two contains white space at an end, several lines"),
        ("/a: {secret_file: .}\n", "/a.secret_file: . cannot be read"),
        ("/a: {secret: abcdefghijklmnop, secret_file: two}\n", "/a.secret and /a.secret_file are both written"),
        ("/a: {secrets: [{secret_file: nowhere}]}\n", "/a.secrets[0].secret_file: the file cannot be read"),
        ("/a: {secret_file: /dev/zero}\n", "/dev/zero is larger than 64 KB"),
    ] {
        std::fs::write(folder.path().join("c.yml"), text).unwrap();
        let said = refused(folder.path(), "c.yml").await;
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
}

#[tokio::test]
async fn world_readable_file_with_secrets_is_reported() {
    use std::os::unix::fs::PermissionsExt as _;
    let warns = async |text: &str, mode: u32| {
        let folder = folder_with("c.yml", text);
        let file = folder.path().join("c.yml");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let check = Program::run(folder.path(), &["check", "--offline", "c.yml"]).await;
        assert_eq!(check.status.code(), Some(0));
        String::from_utf8(check.stderr).unwrap().contains("every user of this machine can read it; chmod 640 c.yml")
    };
    let literal = "/a: {secret: abcdefghijklmnopqrst}\n";
    assert!(warns(literal, 0o644).await);
    assert!(!warns(literal, 0o640).await);
    assert!(warns("/a: {open: true, redis: {password: abcdefghijk}}\n", 0o644).await);
    assert!(warns("/a: {open: true, redis: \"redis://:abcdefghijk@localhost\"}\n", 0o644).await);
    assert!(!warns("/a: {secret: \"${PATH}\"}\n", 0o644).await, "the secret is not in the file");
    assert!(!warns("/a: {open: true}\n", 0o644).await, "there is no secret");
}

#[tokio::test]
async fn names_of_namespaces_that_could_collide_are_errors() {
    for name in [
        "/a:b",
        "/a b",
        "/a//b",
        "//a",
        "/a/",
        "/a/../b",
        "/a?b",
        "/a#b",
        "/a%2fb",
        "/a,b",
        "/a/rooms",
        "/a/b/emit",
    ] {
        let folder = folder_with("c.yml", &format!("\"{name}\": {{open: true}}\n"));
        let said = refused(folder.path(), "c.yml").await;
        assert!(said.starts_with("c.yml:1:1: the name of a namespace "), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let server = TestServer::start("/a/b-c_d.e~f: {}\n/ä: {}\n/emit: {}\n/: {}\n").await;
    assert_eq!(server.get("/api/a/b-c_d.e~f").await.status, 200);
}

#[tokio::test]
async fn dangerous_settings_are_reported() {
    for (text, expected) in [
        ("origins: [\"*\"]\n", "origins has an entry that allows every page of the web"),
        (
            "origins: [\"null\"]\n",
            "origins has an entry that allows every page of the web, which can put itself into a",
        ),
        ("origins: [\"file://\"]\n", "origins has an entry that allows every HTML file that a user opens"),
        ("origins: [\"moz-extension://*\"]\n", "origins has an entry that allows every application with this"),
        ("trusted_proxies: [0.0.0.0/0]\n", "trusted_proxies has an entry that trusts every client"),
        (
            "/b: {secret: abcdefghijklmnop}\n/c: {secret: abcdefghijklmnop}\n",
            "c.yml:2:1: /b and /c have the same secret, so a key for one opens rooms of the other",
        ),
        (
            "limits: {send_buffer: 10KB}\n",
            "limits.send_buffer is smaller than limits.max_publish_size; a publication of that size would close",
        ),
        ("/b: {secret: short}\n", "/b.secret is only 5 bytes long and can be brute-forced"),
    ] {
        let folder = folder_with("c.yml", &format!("{text}/a: {{open: true}}\n"));
        let check = Program::run(folder.path(), &["check", "--offline", "c.yml"]).await;
        let said = String::from_utf8(check.stderr).unwrap();
        assert_eq!(check.status.code(), Some(0), "{said}");
        assert!(said.contains(expected) && said.starts_with("warning: c.yml:"), "{expected}\nis not in\n{said}");
    }
    for (text, expected) in [
        ("port: 8080\nadmin: {port: 8080}\n", "c.yml:1:1: two listeners have port 8080 of 127.0.0.1; give each of"),
        ("port: 81\nlisten: [{bind: 10.0.0.1, port: 81}]\n", "two listeners have port 81 of ::"),
        ("ping: {interval: 0s}\n", "c.yml:1:18: ping.interval is 0; write a duration above 0"),
        ("limits: {write_timeout: 0}\n", "limits.write_timeout is 0"),
        ("limits: {connect_timeout: 9999999999d}\n", "limits.connect_timeout is not a valid duration"),
        ("origins: [null]\n", "a word such as null must be in quotes"),
        ("origins: [\"file:///index.html\"]\n", "it has more than scheme, host and port"),
        ("origins: [\"wss://example.com\"]\n", "write it with https:// or http://"),
        ("origins: \"https://a.example, https://b.example\"\n", "write a list: [https://www.example.com"),
        (
            "trusted_proxies: [localhost]\n",
            "trusted_proxies has an entry that is not a network; write an IP address or a network",
        ),
    ] {
        let folder = folder_with("c.yml", &format!("{text}/a: {{open: true}}\n"));
        let said = refused(folder.path(), "c.yml").await;
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
}

#[tokio::test]
async fn all_configuration_mistakes_are_reported_together() {
    // N-08
    let text = "port: eighty\nssl: {key: key.pem, cert: cert.pem}\n/a:\n  secret: \"\"\n  redis: {port: 0}\nlimits: {send_buffer: lots}\n";
    let folder = folder_with("c.yml", text);
    let printed = refused(folder.path(), "c.yml").await;
    for expected in [
        "c.yml:1:7: port is not a valid number; write a whole number",
        "c.yml:2:12: ssl.key: the file cannot be read",
        "c.yml:2:27: ssl.cert: the file cannot be read",
        "c.yml:4:11: /a.secret is empty",
        "c.yml:5:17: /a.redis.port is not a valid number",
        "c.yml:6:23: limits.send_buffer is not a valid size; write a size like 64KB",
    ] {
        assert!(printed.contains(expected), "{expected}\nis not in\n{printed}");
    }
    assert_eq!(printed.lines().count(), 6, "one line per mistake:\n{printed}");
}

#[tokio::test]
async fn missing_configuration_file_is_named() {
    // N-08
    let folder = tempfile::tempdir().unwrap();
    let printed = refused(folder.path(), "nowhere.yml").await;
    assert!(printed.starts_with("nowhere.yml: cannot be read") && printed.contains("; "), "{printed}");
}

#[tokio::test]
async fn invalid_certificate_is_named() {
    // N-08
    let folder = folder_with("c.yml", "port: 0\nssl: {key: key.pem, cert: cert.pem}\n/nodevent: {}\n");
    for file in ["key.pem", "cert.pem"] {
        std::fs::write(folder.path().join(file), "not PEM").unwrap();
    }
    let output = Program::run(folder.path(), &["c.yml"]).await;
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{printed}");
    assert!(printed.contains("cert.pem"), "{printed}");
}

#[tokio::test]
async fn unknown_key_is_a_warning_and_the_server_starts() {
    // N-09
    let folder =
        folder_with("c.yml", "prot: 80\n/nodevent:\n  open: true\n  redis: {subscribe: events}\n  histroy: x\n");
    let checked = Program::run(folder.path(), &["check", "--offline", "c.yml"]).await;
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(said.contains("c.yml:5:3: unknown key `/nodevent.histroy`; did you mean `history`?"), "{said}");
    assert!(said.contains("c.yml:1:1: unknown key `prot`; did you mean `port`?"), "{said}");
    assert!(!said.contains("subscribe"), "what old files had is not remarked on: {said}");
}

/// A configuration of NoDevent 3 with keys that it ignored: JSON, `redis.subscribe` and `redis.options`, unknown keys,
/// one listener in `listen` and one at the top level.
#[tokio::test]
async fn configuration_of_the_old_server_starts_and_serves() {
    // N-04, N-09
    let redis = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        r#"{{"port": 0, "host": "127.0.0.1", "listen": [{{"port": 0}}], "comment": "ours",
            "/nodevent": {{"redis": {{"port": {port}, "host": "localhost", "subscribe": "events"}}}},
            "/secured": {{"secret": "asdf", "redis": {{"port": {port}, "host": "localhost", "options": {{}}}}}}}}"#,
        port = redis.port
    );
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    let mut start = crate::support::program::command(folder.path());
    start.arg("config.json");
    let program = Program::spawn(start);
    program.logs("unknown key `comment`").await;
    redis.has_subscribers("/nodevent", 1).await;
    redis.has_subscribers("/secured", 1).await;
    let site = program.site().await;
    assert_eq!((site.get("/api/nodevent").await.status, site.get("/api/secured").await.status), (200, 200));
    for not_a_namespace in ["/api/port", "/api/listen", "/api/comment"] {
        assert_eq!(site.get(not_a_namespace).await.status, 404, "{not_a_namespace}");
    }
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    redis.publish("/nodevent", r#"{"room":"r","event":"e","message":1}"#).await;
    assert_eq!(browser.next_event().await.message, 1);
}

#[tokio::test]
async fn several_listeners_share_the_namespaces() {
    // N-07: two listeners in `listen`, and a third at the top level
    let server = TestServer::start("listen: [{port: 0}, {port: 0}]\n/nodevent: {}").await;
    assert_eq!(server.urls.len(), 3, "{:?}", server.urls);
    let mut browsers = Vec::new();
    for url in &server.urls {
        for transport in Transport::BOTH {
            let mut browser = Browser::connect(&Site::at(url), "/nodevent", transport).await;
            browser.join("r").await;
            browsers.push(browser);
        }
    }
    for (number, url) in server.urls.iter().enumerate() {
        Site::at(url).emit("/nodevent", "r", "e", number).await;
        for browser in &mut browsers {
            assert_eq!(browser.next_event().await.message, number);
        }
    }
}

#[tokio::test]
async fn namespace_without_redis_runs_in_memory() {
    // N-08
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), "publish: local\nport: 0\nbind: 127.0.0.1\n/nodevent:\n").await;
    assert!(program.logs("namespace=\"/nodevent\"").await.contains("engine=\"memory\""));
    let site = program.site().await;
    assert_eq!(site.get("/readyz").await.status, 200);
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    site.emit("/nodevent", "r", "e", 1).await;
    assert_eq!(browser.next_event().await.message, 1);
}

#[tokio::test]
async fn secrets_are_neither_logged_nor_served() {
    // N-51
    let folder = tempfile::tempdir().unwrap();
    let text = "port: 0\nbind: 127.0.0.1\nadmin: {port: 0}\nlog: {level: trace}\n/nodevent: {secret: sesame-open-wide-1, publish_key: publish-me-quietly, redis: \"redis://:pass-word-9@127.0.0.1:1/0\"}\n";
    let program = Program::serve(folder.path(), text).await;
    let (site, admin) = (program.site().await, program.admin().await);
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    let key = crate::support::keys::key("r", crate::support::keys::LATER, "sesame-open-wide-1");
    assert_eq!(browser.join_with("r", key.as_str()).await[1], true);
    assert_eq!(browser.join_with("r", format!("{key}x")).await[1], false);
    program.logs(REDIS_OUTAGE).await;
    let mut shown = program.log().join("\n");
    for (site, path) in [(&site, "/api/nodevent"), (&site, "/api/x"), (&site, "/readyz"), (&admin, "/metrics")] {
        shown.push_str(&site.get(path).await.text());
    }
    for hidden in ["sesame", "publish-me", "pass-word", &key[..16]] {
        assert!(!shown.contains(hidden), "{hidden} is visible");
    }
}

#[tokio::test]
async fn metrics_are_served_on_the_admin_listener_only() {
    // X-06
    let server = TestServer::start("/nodevent: {}\n").await;
    assert_eq!(server.get("/metrics").await.status, 404);
    let metrics = server.admin.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("\nnodevent_connections 0\n"), "{}", metrics.text());
    for site in [&server.site(), &server.admin] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(site.get(path).await.status, 200, "{path}");
        }
    }
}

/// Every file that differs from a closed one by one character: left out, doubled, replaced, or exchanged with the next.
/// It is an error, or the namespace is still closed. Only a `#` may open it, since that is what a comment is for.
#[test]
fn no_single_typo_opens_a_namespace() {
    const TYPED: &str = "a ~#:'\"$-{}[]*&!|>\n\t/0";
    let files = [
        "/a:\n  secret: abcdefghijklmnopqrstuvwxyz\n",
        "/a: {redis: {host: h}, secret: abcdefghijklmnopqrstuvwxyz}\n",
        "/a:\n  secrets:\n    - {id: x, secret: abcdefghijklmnopqrstuvwxyz}\n",
        "namespace: a\nsecret: abcdefghijklmnopqrstuvwxyz\n",
        "port: 1\n/a:\n  history: off\n  secret: abcdefghijklmnopqrstuvwxyz\n/b:\n  secret: abcdefghijklmnopqrstuvwxyz\n",
    ];
    for file in files {
        let chars: Vec<char> = file.chars().collect();
        for at in 0..chars.len() {
            let edit = |middle: &[char], left_out: usize| {
                let after = chars.get(at + left_out..).unwrap_or_default();
                [&chars[..at], middle, after].concat().into_iter().collect::<String>()
            };
            let swapped: Vec<char> = chars[at..].iter().take(2).rev().copied().collect();
            let mut edits = vec![edit(&[], 1), edit(&swapped, 2), edit(&[chars[at]], 0)];
            edits.extend(TYPED.chars().flat_map(|typed| [edit(&[typed], 0), edit(&[typed], 1)]));
            for text in edits {
                let Ok(config) = nodevent_server::config::Config::from_yaml(&text) else { continue };
                let open = config.namespaces.iter().find(|one| one.is_open() && !one.is_declared_open);
                assert!(open.is_none() || text.contains('#'), "{} is open:\n{text}", open.unwrap().name);
            }
        }
    }
}
