//! Connections through proxies: kept ones are not closed while the proxy may use them, and browsers connect.

use crate::proxy::Proxy;
use crate::support::keys::{LATER, key};
use crate::support::wait::until;
use crate::support::{Browser, Program, RedisServer, Request, Site, Transport};
use tokio::io::AsyncReadExt as _;

const GOOD: &str = r#"{"room":"r","event":"e","message":1}"#;

/// A load balancer keeps its connections for a minute by default. A server that closes them after the time of a request's
/// head makes it respond with 502 to the next request, because it must not repeat a POST.
#[tokio::test]
async fn idle_connection_of_a_proxy_outlives_the_timeout_of_a_head() {
    let folder = tempfile::tempdir().unwrap();
    let listen = "bind: 127.0.0.1\nport: 0\nlimits: {request_timeout: 200ms}\n";
    let key = "a-key-of-more-than-sixteen";
    let configuration = format!("{listen}/nodevent: {{open: true, history: off, publish_key: {key}}}\n");
    let program = Program::serve(folder.path(), &configuration).await;
    let site = program.site().await;
    let upstream = format!("upstream live {{ server {}; keepalive 4; }}", site.address);
    let pass = "proxy_pass http://live; proxy_http_version 1.1; proxy_set_header Connection '';";
    let proxy = Proxy::nginx(&upstream, pass).await;
    for _ in 0..3 {
        let request = Request::post("/api/nodevent/emit", GOOD).header("Authorization", &format!("Bearer {key}"));
        assert_eq!(proxy.site.send(&request).await.status, 200);
        // Unused connections are closed after the time of a head: the same time passes for the one that nginx keeps.
        for _ in 0..3 {
            let mut unused = site.dial().await;
            assert_eq!(unused.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn browsers_connect_through_nginx_as_the_guide_configures_it() {
    let folder = tempfile::tempdir().unwrap();
    let listen = "bind: 127.0.0.1\nport: 0\npublish: local\ntrusted_proxies: [127.0.0.1]\n";
    let program =
        Program::serve(folder.path(), &format!("{listen}/nodevent: {{open: true, history: off}}\n")).await;
    let site = program.site().await;
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/server.md")).unwrap();
    let nginx = guide.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a sample");
    assert!(nginx.contains("127.0.0.1:8080"), "{nginx}");
    let sample = nginx.replace("127.0.0.1:8080", &site.address);
    let proxy =
        Proxy::nginx_with_locations("", &format!("location / {{ return 200 \"the application\"; }}\n{sample}"))
            .await;
    for own in
        ["/", "/api", "/api/", "/api/users", "/api/nodevents", "/apis/nodevent", "/socket.ioX", "/wsx/nodevent"]
    {
        assert_eq!(proxy.site.get(own).await.text(), "the application", "{own}");
    }
    assert!(proxy.site.get("/api/nodevent").await.text().contains("NoDevent"), "the script");
    let compose = include_str!("../../../examples/compose/nginx.conf");
    let line = nginx.lines().find(|line| line.starts_with("location")).and_then(|line| line.split('#').next());
    assert!(compose.contains(line.expect("a location").trim()), "the example has the same location");
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&proxy.site, "/nodevent", transport).await;
        browser.join("r").await;
        // The proxy is trusted, so what it forwards is not local.
        assert_eq!(proxy.site.publish("/nodevent", GOOD).await.status, 403);
    }
}

/// The example with Docker Compose, with processes instead of containers: two servers share Redis behind its nginx.
#[tokio::test]
async fn servers_of_the_compose_example_are_one_behind_its_nginx() {
    let redis = RedisServer::start().await;
    let (secret, publish_key) = ("a-secret-of-more-than-thirty-two-characters", "a-key-of-more-than-sixteen");
    let mut configuration = include_str!("../../../examples/compose/nodevent.yml").to_owned();
    for (of_containers, here) in [
        ("port: 8080\n", "port: 0\nbind: 127.0.0.1\n"),
        ("bind: 0.0.0.0, port: 8081, key: \"${NODEVENT_ADMIN_KEY}\"", "port: 0"),
        ("172.16.0.0/12", "127.0.0.1"),
        ("redis://redis:6379/0", &redis.url()),
        ("${NODEVENT_SECRET}", secret),
        ("${NODEVENT_PUBLISH_KEY}", publish_key),
    ] {
        assert!(configuration.contains(of_containers), "{of_containers}");
        configuration = configuration.replace(of_containers, here);
    }
    let nginx = include_str!("../../../examples/compose/nginx.conf");
    let (upstream, server) = nginx.split_once("server {\n  listen 80;\n").expect("an upstream and a server");
    let mut upstream = upstream.to_owned();
    let (mut programs, mut sites, mut folders) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=2 {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::serve(folder.path(), &configuration).await;
        let site = program.site().await;
        until("the server is ready", async || site.get("/readyz").await.status == 200).await;
        let name = format!("nodevent-{number}:8080");
        assert!(upstream.contains(&name), "{upstream}");
        upstream = upstream.replace(&name, &site.address);
        programs.push(program);
        sites.push(site);
        folders.push(folder);
    }
    let locations = server.trim_end().strip_suffix('}').expect("the end of the server");
    let proxy = Proxy::nginx_with_locations(&upstream, locations).await;
    let publish = async |site: &Site, message: usize| {
        let body = format!(r#"{{"room":"r","event":"e","message":{message}}}"#);
        let bearer = format!("Bearer {publish_key}");
        let request = Request::post("/api/nodevent/emit", body).header("Authorization", &bearer);
        assert_eq!(site.send(&request).await.status, 200);
    };
    let join = async |transport| {
        let mut browser = Browser::connect(&proxy.site, "/nodevent", transport).await;
        assert_eq!(browser.join_with("r", key("r", LATER, secret)).await[1], true);
        browser
    };
    for transport in Transport::BOTH {
        let mut browser = join(transport).await;
        for (message, site) in [&sites[0], &sites[1], &proxy.site].into_iter().enumerate() {
            publish(site, message).await;
            assert_eq!(browser.next_event().await.message, message, "{transport:?}");
        }
        browser.close().await;
    }
    // One of the two stops: the other one serves everyone.
    programs.remove(0).kill().await;
    for transport in Transport::BOTH {
        let mut browser = join(transport).await;
        publish(&proxy.site, 7).await;
        assert_eq!(browser.next_event().await.message, 7, "{transport:?}");
        browser.close().await;
    }
}
