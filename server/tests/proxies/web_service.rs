//! nginx in front of two servers with the files of SocketIO Web Service, as the guide configures it. W-56.

use crate::proxy::Proxy;
use crate::support::application::{Application, Behaviour};
use crate::support::program::command;
use crate::support::wait::until;
use crate::support::{Browser, Program, RedisServer, Request, Site, Transport};
use serde_json::{Value, json};
use std::path::Path;

/// The upstream and the locations of the guide's sample, with these servers.
fn sample(servers: [&Site; 2]) -> (String, String) {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/from-socketio-web-service.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let nginx = guide.split("```nginx\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("a sample");
    let (upstream, server) = nginx.split_once("\n\nserver {\n  listen 80;\n").expect("an upstream and a server");
    assert!(upstream.contains("127.0.0.1:1337;") && upstream.contains("127.0.0.1:1338;"), "{upstream}");
    let upstream =
        upstream.replace("127.0.0.1:1337", &servers[0].address).replace("127.0.0.1:1338", &servers[1].address);
    (upstream, server.strip_suffix('}').expect("the end of the server").to_owned())
}

async fn serve(folder: &Path) -> Program {
    let mut start = command(folder);
    start.args(["serve", "--web-service", "."]).env("PORT", "0").env_remove("NODE_ENV").env_remove("SITE_NAME");
    Program::spawn(start)
}

async fn send(site: &Site, rooms: &Value, event: &str) {
    let body = json!({"rooms": rooms, "event": event, "args": [1]}).to_string();
    let request = Request::post("/send?site=shop&apiKey=54321", body).header("Content-Type", "application/json");
    let response = site.send(&request).await;
    assert_eq!((response.status, response.text().as_str()), (200, "OK"));
}

#[tokio::test]
async fn pages_and_sites_of_web_service_work_through_nginx_as_the_guide_configures_it() {
    // W-56, W-37: a page is on one of two servers, and a site sends through either.
    let redis = RedisServer::start().await;
    let rooms = Behaviour::Respond(200, json!(["user_1", "staff"]).to_string());
    let application = Application::start(rooms).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yml"), format!("production:\n  redis: {{port: {}}}\n", redis.port))
        .unwrap();
    let url = &application.url;
    let site = format!("shop: {{authUrl: \"{url}\", authScheme: Bearer, apiKey: 54321, userRoomPrefix: user_}}\n");
    std::fs::write(folder.path().join("sites.yml"), site).unwrap();
    let (one, two) = (serve(folder.path()).await, serve(folder.path()).await);
    let servers = [one.site().await, two.site().await];
    for site in &servers {
        until("the server is ready", async || site.get("/readyz").await.status == 200).await;
    }
    let (upstream, locations) = sample([&servers[0], &servers[1]]);
    let proxy = Proxy::nginx_with_locations(&upstream, &locations).await;
    for transport in Transport::BOTH {
        let mut page = Browser::open(&proxy.site, transport).await;
        page.enter_with("/shop", &json!({"token": "t"}).to_string()).await.expect("the page is admitted");
        for (number, site) in servers.iter().chain([&proxy.site]).enumerate() {
            let event = format!("news{number}");
            send(site, &json!("staff"), &event).await;
            assert_eq!(page.next_notice().await, json!([event, 1]), "{transport:?}");
        }
        if transport == Transport::Polling {
            page.upgrade(&[]).await;
            send(&proxy.site, &json!(["staff"]), "upgraded").await;
            assert_eq!(page.next_notice().await, json!(["upgraded", 1]));
        }
        page.close().await;
    }
    assert_eq!(proxy.site.get("/api/shop").await.status, 404, "nginx forwards nothing else");
}
