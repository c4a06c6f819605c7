//! Connections through proxies: kept ones are not closed while the proxy may use them, and browsers connect.

use crate::proxy::Proxy;
use crate::support::{Browser, Program, Request, Transport};
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
