//! The configuration file as the operator meets it: what it may say, and what is said about what it may not.

use crate::support::{Browser, Program, RedisServer, Site, TestServer, Transport};
use std::path::Path;
use tempfile::TempDir;

/// A folder with one file in it.
fn folder_with(name: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

/// Both the check and the server refuse the file with status 64, and say the same.
async fn refused(folder: &Path, file: &str) -> String {
    let check = Program::run(folder, &["check", "--offline", file]).await;
    let said = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(64), "{file} is not refused: {said}");
    let serve = Program::run(folder, &[file]).await;
    assert_eq!((serve.status.code(), String::from_utf8(serve.stderr).unwrap()), (Some(64), said.clone()));
    said
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_64_and_names_the_place_and_the_remedy() {
    // N-08
    let cases = [
        // The sample of the old README, whose commas are missing.
        (
            "c.json",
            "{\n  \"port\": 8080\n  \"/nodevent\": {\"redis\": {\"port\": 6379}}\n}",
            "c.json:3:3: this is not JSON: expected `,` or `}`; look for a missing comma",
        ),
        ("c.json", "{\"port\": 8080,}", "c.json:1:15: this is not JSON"),
        ("c.json", "", "c.json:1:1: this is not JSON"),
        ("c.yml", "port: [8080\n/nodevent: {}\n", "this is not YAML"),
        ("c.yml", "port: 8080\n/nodevent:\n  secret: <%= ENV['S'] %>\n", "c.yml:3:1: ERB"),
        ("c.yml", "/nodevent:\n  secret: \"\"\n", "c.yml:2:11: /nodevent.secret is empty"),
        ("c.yml", "/nodevent:\n  secrets: [{id: a, secret: \"\"}]\n", "/nodevent.secrets[0].secret is empty"),
        ("c.yml", "/nodevent: {publish_key: \"\"}\n", "/nodevent.publish_key is empty"),
        ("c.yml", "port: 80800\n", "c.yml:1:7: port is `80800`; write a whole number from 0 to 65535"),
        ("c.yml", "/nodevent: {redis: \"http://localhost\"}\n", "/nodevent.redis is not a Redis URL"),
        ("c.yml", "/nodevent: {dialect: klingon}\n", "there is no dialect `klingon`"),
        ("c.yml", "/nodevent: {secret: \"${SURELY_NOT_SET}\"}\n", "the environment has no SURELY_NOT_SET; set"),
        ("c.yml", "production: {port: 80}\n", "there is no section `development`, only production"),
        (
            "c.yml",
            "drain_timeout: 5 weeks\n",
            "drain_timeout is `5 weeks`; write a duration with its unit, like 30s",
        ),
        ("c.yml", "- a list\n", "c.yml:1:1: the file has no keys"),
        (
            "c.yml",
            "port: ${SURELY_NOT_SET}\n",
            "c.yml:1:7: the environment has no SURELY_NOT_SET; set SURELY_NOT_SET",
        ),
        ("c.yml", "/nodevent: {redis: localhost}\n", "/nodevent.redis is not a Redis URL; write redis://"),
        ("c.yml", "/nodevent: {redis: \"redis://localhost:port/0\"}\n", "/nodevent.redis is not a Redis URL"),
        ("c.yml", "/nodevent: {history: lots}\n", "/nodevent.history is `lots`; write"),
        ("c.yml", "listen: 8080\n", "listen is not a list; write"),
        ("c.yml", "origins: [\"https://a b\"]\n", "c.yml:1:11: origins: `https://a b` is not an origin"),
    ];
    for (name, text, expected) in cases {
        let folder = folder_with(name, text);
        let said = refused(folder.path(), name).await;
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
        assert!(said.starts_with(name) && said.contains("; "), "{said}");
        assert_eq!(said.lines().count(), 1, "one mistake, one line:\n{said}");
    }
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    // N-08
    let text = "port: eighty\nssl: {key: key.pem, cert: cert.pem}\n/a:\n  secret: \"\"\n  redis: {port: 0}\nlimits: {send_buffer: lots}\n";
    let folder = folder_with("c.yml", text);
    let said = refused(folder.path(), "c.yml").await;
    for expected in [
        "c.yml:1:7: port is `eighty`; write a whole number",
        "c.yml:2:12: ssl.key: key.pem cannot be read",
        "c.yml:2:27: ssl.cert: cert.pem cannot be read",
        "c.yml:4:11: /a.secret is empty",
        "c.yml:5:17: /a.redis.port is `0`",
        "c.yml:6:23: limits.send_buffer is `lots`; write a size like 64KB",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
    assert_eq!(said.lines().count(), 6, "a line for each:\n{said}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    // N-08
    let folder = tempfile::tempdir().unwrap();
    let said = refused(folder.path(), "nowhere.yml").await;
    assert!(said.starts_with("nowhere.yml: cannot be read") && said.contains("; "), "{said}");
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named() {
    // N-08
    let folder = folder_with("c.yml", "port: 0\nssl: {key: key.pem, cert: cert.pem}\n/nodevent: {}\n");
    for file in ["key.pem", "cert.pem"] {
        std::fs::write(folder.path().join(file), "not PEM").unwrap();
    }
    let ended = Program::run(folder.path(), &["c.yml"]).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(said.contains("cert.pem"), "{said}");
}

#[tokio::test]
async fn an_unknown_key_is_warned_about_and_the_server_starts() {
    // N-09
    let folder = folder_with("c.yml", "prot: 80\n/nodevent:\n  redis: {subscribe: events}\n  sceret: x\n");
    let checked = Program::run(folder.path(), &["check", "--offline", "c.yml"]).await;
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(said.contains("c.yml:4:3: unknown key `/nodevent.sceret`; did you mean `secret`?"), "{said}");
    assert!(said.contains("c.yml:1:1: unknown key `prot`; did you mean `port`?"), "{said}");
    assert!(!said.contains("subscribe"), "what old files had is not remarked on: {said}");
}

/// A configuration of the old server, with what it had and ignored: in JSON, `redis.subscribe` and `redis.options`,
/// keys that are nobody's, one listener in `listen` and one at the top.
#[tokio::test]
async fn a_configuration_of_the_old_server_starts_and_serves() {
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
    program.says("unknown key `comment`").await;
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
    // N-07: two in `listen`, and the one at the top is one more
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
async fn a_namespace_without_redis_runs_in_memory() {
    // N-08
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), "port: 0\nbind: 127.0.0.1\n/nodevent:\n").await;
    assert!(program.says("namespace=\"/nodevent\"").await.contains("engine=\"memory\""));
    let site = program.site().await;
    assert_eq!(site.get("/readyz").await.status, 200);
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    site.emit("/nodevent", "r", "e", 1).await;
    assert_eq!(browser.next_event().await.message, 1);
}

#[tokio::test]
async fn no_secret_is_in_the_log_or_in_what_is_served() {
    // N-51
    let folder = tempfile::tempdir().unwrap();
    let text = "port: 0\nbind: 127.0.0.1\nadmin: {port: 0}\nlog: {level: trace}\n/nodevent: {secret: sesame-open-wide-1, publish_key: publish-me-quietly, redis: \"redis://:pass-word-9@127.0.0.1:1/0\"}\n";
    let program = Program::serve(folder.path(), text).await;
    let (site, admin) = (program.site().await, program.admin().await);
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    let key = crate::support::keys::key("r", crate::support::keys::LATER, "sesame-open-wide-1");
    assert_eq!(browser.join_with("r", key.as_str()).await[1], true);
    assert_eq!(browser.join_with("r", format!("{key}x")).await[1], false);
    program.says("is away").await;
    let mut shown = program.log().join("\n");
    for (site, path) in [(&site, "/api/nodevent"), (&site, "/api/x"), (&site, "/readyz"), (&admin, "/metrics")] {
        shown.push_str(&site.get(path).await.text());
    }
    for hidden in ["sesame", "publish-me", "pass-word", &key[..16]] {
        assert!(!shown.contains(hidden), "{hidden} is shown");
    }
}

#[tokio::test]
async fn what_is_counted_is_told_on_the_admin_listener_only() {
    let server = TestServer::start("/nodevent: {}\n").await;
    assert_eq!(server.get("/metrics").await.status, 404);
    let told = server.admin.get("/metrics").await;
    assert_eq!(told.status, 200);
    assert!(told.text().contains("\nnodevent_connections 0\n"), "{}", told.text());
}
