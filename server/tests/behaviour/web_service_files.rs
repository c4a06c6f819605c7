//! The configuration files of SocketIO Web Service: read by the server as they are, explained, and migrated.

use crate::support::application::{Application, Behaviour};
use crate::support::program::command;
use crate::support::wait::{in_time, until};
use crate::support::{Browser, Program, RedisServer, Request, Site, Transport};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// Variables of the old service, which the machine of a test could have.
const VARIABLES: [&str; 10] = [
    "NODE_ENV",
    "PORT",
    "SITE_NAME",
    "AUTH_URL",
    "AUTH_SCHEME",
    "API_KEY",
    "USER_ROOM_PREFIX",
    "UPDATE_USER_URL",
    "PUBLIC_CHANNEL",
    "REDIS_URL",
];

/// A command for the binary with these variables of the old service, and no others.
fn nodevent(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> tokio::process::Command {
    let mut command = command(folder);
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.env_remove("DEVICE_TTL").args(arguments).envs(variables.iter().copied());
    command
}

async fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = nodevent(folder, arguments, variables).kill_on_drop(true).output();
    let Output { status, stdout, stderr } = in_time("the program exits", output).await.expect("the program runs");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Waits until what is sent reaches connections: Redis is connected.
async fn ready(program: &Program) -> Site {
    let site = program.site().await;
    until("the server is ready", async || site.get("/readyz").await.status == 200).await;
    site
}

/// Starts a server with the files of a folder.
async fn serve(folder: &Path, variables: &[(&str, &str)]) -> (Program, Site) {
    let program = Program::spawn(nodevent(folder, &["serve", "--web-service", "."], variables));
    let site = ready(&program).await;
    (program, site)
}

/// A folder with these files, which only their owner can read.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("config")).unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn config(redis: &RedisServer, more: &str) -> String {
    format!("production:\n  port: 0\n  redis:\n    port: {}\n    host: 127.0.0.1\n{more}", redis.port)
}

fn site_entry(name: &str, application: &Application) -> String {
    let url = &application.url;
    format!("{name}:\n  authUrl: {url}\n  authScheme: Bearer\n  apiKey: 54321\n  userRoomPrefix: user_\n")
}

/// A site whose clients are in these rooms.
async fn application(rooms: &[&str]) -> Application {
    Application::start(Behaviour::Respond(200, json!(rooms).to_string())).await
}

/// A page of the site, connected with its token.
async fn page(site: &Site, namespace: &str, transport: Transport) -> Browser {
    let mut browser = Browser::open(site, transport).await;
    browser.enter_with(namespace, &json!({"token": "t"}).to_string()).await.expect("the page is admitted");
    browser
}

/// Sends a message to a group room, and waits until the page has it.
async fn expect_delivery(site: &Site, name: &str, page: &mut Browser) {
    let body = json!({"rooms": "staff", "event": "news", "args": ["a", {"n": 1}]}).to_string();
    let request = Request::post(&format!("/send?site={name}&apiKey=54321"), body);
    let response = site.send(&request.header("Content-Type", "application/json")).await;
    assert_eq!((response.status, response.text().as_str()), (200, "OK"));
    assert_eq!(page.next_notice().await, json!(["news", "a", {"n": 1}]));
}

#[tokio::test]
async fn documented_files_start_a_server() {
    // W-05, W-38, W-39, W-41
    let redis = RedisServer::start_with_password("12345").await;
    let shop = application(&["staff"]).await;
    let more = "    auth_pass: 12345\n  client_ttl: 3600\n  flakeid:\n    datacenter: 0\n    worker: 0\n  io:\n    \
                pingTimeout: 60000\n";
    let folder =
        folder(&[("config/config.yml", &config(&redis, more)), ("config/sites.yml", &site_entry("shop", &shop))]);
    let (program, site) = serve(folder.path(), &[]).await;
    for transport in Transport::BOTH {
        let mut page = page(&site, "/shop", transport).await;
        assert_eq!(page.handshake["pingTimeout"], 60_000);
        expect_delivery(&site, "shop", &mut page).await;
    }
    assert!(shop.requests()[0].to_lowercase().contains("authorization: bearer t\r\n"), "{:?}", shop.requests());
    // W-47
    assert_eq!(site.get("/healthcheck").await.text(), "ok");
    let log = program.log().join("\n");
    assert!(log.contains("config.yml, section `production`") && log.contains("sites.yml"), "{log}");
    assert!(!log.contains("54321") && !log.contains("12345"), "no secret is logged: {log}");
}

/// The old service numbered messages by `flakeid`, so that several instances did not use a number twice. Two servers
/// with the same `flakeid` number them in one order.
#[tokio::test]
async fn messages_of_two_servers_have_different_ids_and_one_order() {
    // W-40
    let redis = RedisServer::start().await;
    let shop = application(&["user_1"]).await;
    let files = config(&redis, "  flakeid:\n    datacenter: 0\n    worker: 0\n");
    let folder = folder(&[("config.yml", &files), ("sites.yml", &site_entry("shop", &shop))]);
    let ((_one, one), (_two, two)) = (serve(folder.path(), &[]).await, serve(folder.path(), &[]).await);
    let _page = page(&one, "/shop", Transport::WebSocket).await;
    for number in 0..100 {
        let body = json!({"rooms": "user_1", "event": "news", "args": [number]}).to_string();
        let request =
            Request::post("/send?site=shop&apiKey=54321", body).header("Content-Type", "application/json");
        let site = if number % 2 == 0 { &one } else { &two };
        assert_eq!(site.send(&request).await.status, 200);
    }
    let request = Request::get("/api/shop/users/user_1/mailbox?limit=100").header("Authorization", "Bearer 54321");
    let stored = two.send(&request).await.json();
    let messages = stored["messages"].as_array().unwrap();
    let numbers: Vec<_> = messages.iter().map(|message| message["message"][0].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    let ids: std::collections::HashSet<String> = messages.iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn the_environment_selects_section_and_port() {
    // W-38
    let redis = RedisServer::start().await;
    let shop = application(&["staff"]).await;
    let both = format!("{}development:\n  port: 1\n  redis: {{port: {}}}\n", config(&redis, ""), redis.port);
    let folder = folder(&[("config.yml", &both), ("sites.yml", &site_entry("shop", &shop))]);
    let variables = [("NODE_ENV", "development"), ("PORT", "0")];
    let (program, site) = serve(folder.path(), &variables).await;
    assert!(program.log().join("\n").contains("section `development`"));
    let mut page = page(&site, "/shop", Transport::WebSocket).await;
    expect_delivery(&site, "shop", &mut page).await;
    // Development does not open the API of publishing.
    let body = r#"{"room":"staff","event":"news","message":1}"#;
    assert_eq!(site.publish("/shop", body).await.status, 401);
    let (status, _, errors) =
        run(folder.path(), &["serve", "--web-service", "."], &[("NODE_ENV", "staging")]).await;
    assert_eq!(status, Some(64));
    assert!(errors.contains("there is no section `staging`"), "{errors}");
}

#[tokio::test]
async fn a_site_of_the_environment_needs_no_files() {
    // W-51
    let redis = RedisServer::start().await;
    let shop = application(&["staff", "u_1"]).await;
    let folder = folder(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let variables = [
        ("PORT", "0"),
        ("SITE_NAME", "shop"),
        ("AUTH_URL", shop.url.as_str()),
        ("AUTH_SCHEME", "Token"),
        ("API_KEY", "54321"),
        ("USER_ROOM_PREFIX", "u_"),
        ("REDIS_URL", url.as_str()),
    ];
    let (_program, site) = serve(folder.path(), &variables).await;
    let mut page = page(&site, "/shop", Transport::WebSocket).await;
    expect_delivery(&site, "shop", &mut page).await;
    assert!(shop.requests()[0].to_lowercase().contains("authorization: token t\r\n"), "{:?}", shop.requests());
}

#[tokio::test]
async fn a_new_site_is_served_after_a_restart() {
    // W-42
    let redis = RedisServer::start().await;
    let (shop, blog) = (application(&["staff"]).await, application(&["staff"]).await);
    let folder =
        folder(&[("config/config.yml", &config(&redis, "")), ("config/sites.yml", &site_entry("shop", &shop))]);
    let (program, site) = serve(folder.path(), &[]).await;
    let mut other = Browser::open(&site, Transport::WebSocket).await;
    assert_eq!(other.enter("/blog").await.unwrap_err()["message"], "Invalid namespace");
    program.kill().await;
    let both = site_entry("shop", &shop) + &site_entry("blog", &blog);
    std::fs::write(folder.path().join("config/sites.yml"), both).unwrap();
    let (_program, site) = serve(folder.path(), &[]).await;
    for name in ["shop", "blog"] {
        let mut page = page(&site, &format!("/{name}"), Transport::WebSocket).await;
        expect_delivery(&site, name, &mut page).await;
    }
}

#[tokio::test]
async fn check_explains_every_key_and_says_what_redirects() {
    let redis = RedisServer::start().await;
    let shop = application(&["staff"]).await;
    let folder = folder(&[
        ("config/config.yml", &config(&redis, "  io: {pingTimeout: 60000}\n")),
        ("sites.yml", &site_entry("shop", &shop)),
    ]);
    let (status, printed, warned) = run(folder.path(), &["check", "--web-service", "."], &[]).await;
    assert_eq!(status, Some(0), "{printed}{warned}");
    for part in [
        "config/config.yml:2:3: port: the server listens on port 0 (`port`)",
        "config/config.yml:6:8: io.pingTimeout: 60000 ms (`ping: timeout`)",
        "sites.yml:4:3: shop.apiKey: the key of POST /send (`publish_key`)",
        "default: messages of a user are kept for 3600 s",
        "sites.yml: no errors",
        "ok   /shop: Redis at 127.0.0.1",
        "ok   /shop: the application at ",
    ] {
        assert!(printed.contains(part), "{part}\nis not in\n{printed}");
    }
    assert!(warned.contains("pages of every origin may connect"), "{warned}");
    assert!(!format!("{printed}{warned}").contains("secretquery"), "the query of a URL is not shown");
    shop.set(Behaviour::Redirect("https://www.example.com/rooms".to_owned()));
    let (status, printed, _) = run(folder.path(), &["check", "--web-service", "."], &[]).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains("FAIL /shop: the application at http://127.0.0.1"), "{printed}");
    assert!(printed.contains("redirect (status 302)"), "{printed}");
}

#[tokio::test]
async fn what_cannot_be_honoured_stops_every_command() {
    let sites = "shop:\n  authUrl: http://localhost/rooms\n  authScheme: Bearer\n  apiKey: sesame7Q\n  userRoomPrefx: user_\n";
    let folder = folder(&[("config.yml", "production:\n  io:\n    path: /live\n"), ("sites.yml", sites)]);
    for arguments in [
        &["serve", "--web-service", "."][..],
        &["check", "--offline", "--web-service", "."],
        &["migrate", "--web-service", ".", "new"],
    ] {
        let (status, _, errors) = run(folder.path(), arguments, &[]).await;
        assert_eq!(status, Some(64), "{arguments:?}: {errors}");
        assert!(errors.contains("config.yml:3:5: io.path is not supported"), "{errors}");
        assert!(
            errors.contains("sites.yml:5:3: shop.userRoomPrefx is an unknown key; did you mean `userRoomPrefix`?"),
            "{errors}"
        );
        assert!(!errors.contains("sesame"), "{errors}");
        assert!(!folder.path().join("new").exists());
    }
    let (status, _, errors) = run(folder.path(), &["serve", "--web-service", ".", "nodevent.yml"], &[]).await;
    assert_eq!(status, Some(64), "{errors}");
}

#[tokio::test]
async fn migrated_files_start_the_same_server() {
    let redis = RedisServer::start_with_password("12345").await;
    let shop = application(&["staff", "user_1"]).await;
    let files = config(&redis, "    auth_pass: 12345\n  io: {pingTimeout: 60000}\n");
    let folder = folder(&[("config/config.yml", &files), ("config/sites.yml", &site_entry("shop", &shop))]);
    let (status, printed, warned) = run(folder.path(), &["migrate", "--web-service", ".", "new"], &[]).await;
    assert_eq!(status, Some(0), "{printed}{warned}");
    let file = folder.path().join("new/nodevent.yml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("54321") && !text.contains("12345"), "{text}");
    for name in ["nodevent.yml", "secrets/shop.publish_key", "secrets/redis_password"] {
        let mode = std::fs::metadata(folder.path().join("new").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (status, _, errors) = run(folder.path(), &["migrate", "--web-service", ".", "new"], &[]).await;
    assert_eq!(status, Some(64));
    assert!(errors.contains("exists; name another folder"), "{errors}");
    let (status, printed, errors) = run(folder.path(), &["check", "new/nodevent.yml"], &[]).await;
    assert_eq!(status, Some(0), "{printed}{errors}");
    // Only the length of the key in the test is a reason to warn, and the origins.
    assert_eq!(errors.lines().count(), 2, "{errors}");
    let program = Program::spawn(nodevent(folder.path(), &["serve", "new/nodevent.yml"], &[]));
    let site = ready(&program).await;
    let mut page = page(&site, "/shop", Transport::WebSocket).await;
    assert_eq!(page.handshake["pingTimeout"], 60_000);
    expect_delivery(&site, "shop", &mut page).await;
}
