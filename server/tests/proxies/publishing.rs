//! Attack 6: publishing without a key through a proxy on the server's machine. `attacks/keyless_publishing` has the same
//! without a real proxy.

use crate::proxy::Proxy;
use crate::support::{Browser, Program, Request, Site, Transport};
use tokio::net::UnixStream;

const GOOD: &str = r#"{"room":"r","event":"e","message":1}"#;
const PRIVATE: &str = "/nodevent: {history: off, secret: a-secret-of-more-than-sixteen}\n";

/// Each kind of proxy in front of a server that listens on `port`.
async fn proxies(port: &str) -> Vec<(&'static str, Proxy)> {
    let pass = format!("proxy_pass http://127.0.0.1:{port};");
    let with = |more: &str| format!("{pass} {more}");
    vec![
        ("nginx", Proxy::nginx("", &pass).await),
        ("nginx that passes Host on", Proxy::nginx("", &with("proxy_set_header Host $http_host;")).await),
        ("nginx with a local Host", Proxy::nginx("", &with("proxy_set_header Host localhost;")).await),
        (
            "nginx over HTTP/1.1",
            Proxy::nginx("", &with("proxy_http_version 1.1; proxy_set_header Connection '';")).await,
        ),
        ("nginx that says https", Proxy::nginx("", &with("proxy_set_header X-Forwarded-Proto https;")).await),
        ("HAProxy", Proxy::haproxy("  mode http", &format!("127.0.0.1:{port}")).await),
        (
            "HAProxy with X-Forwarded-For",
            Proxy::haproxy("  mode http\n  option forwardfor", &format!("127.0.0.1:{port}")).await,
        ),
        ("HAProxy for TCP", Proxy::haproxy("  mode tcp", &format!("127.0.0.1:{port}")).await),
    ]
}

fn port_of(site: &Site) -> &str {
    site.address.rsplit_once(':').expect("a port").1
}

/// The server has a configuration, no environment, and no listener that is marked. Nothing may publish without a key,
/// so no proxy can make a request look local, whatever it does to the headers.
#[tokio::test]
async fn nothing_is_published_without_a_key_through_any_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), &format!("bind: 127.0.0.1\nport: 0\n{PRIVATE}")).await;
    program.logs("who may publish over HTTP: nothing without a publish_key: /nodevent").await;
    let site = program.site().await;
    for (name, proxy) in proxies(port_of(&site)).await {
        assert_eq!(proxy.site.get("/healthz").await.status, 200, "{name} forwards");
        for host in ["localhost", "127.0.0.1", "www.example.com", &site.address] {
            let request = Request::post("/api/nodevent/emit", GOOD).header("Host", host);
            let response = proxy.site.send(&request).await;
            assert_eq!(response.status, 403, "{name}, Host: {host}: {}", response.text());
        }
    }
    assert_eq!(site.publish("/nodevent", GOOD).await.status, 403, "nor without a proxy");
}

/// An application on the same machine publishes through a marked listener or through the publish socket. The proxy
/// forwards to another listener.
#[tokio::test]
async fn marked_listener_and_the_publish_socket_need_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("publish.sock");
    let listen = "listen: [{bind: 127.0.0.1, port: 0}, {bind: 127.0.0.1, port: 0, publish: local}]\n";
    let configuration = format!("publish_socket: publish.sock\n{listen}/nodevent: {{open: true, history: off}}\n");
    let program = Program::serve(folder.path(), &configuration).await;
    program.logs("listening for publishers on this machine path=").await;
    let sites: Vec<Site> = program.listening().await.iter().map(|url| Site::at(url)).collect();
    for (name, proxy) in proxies(port_of(&sites[0])).await {
        let request = Request::post("/api/nodevent/emit", GOOD).header("Host", "localhost");
        assert_eq!(proxy.site.send(&request).await.status, 403, "{name}");
    }
    let mut browser = Browser::connect(&sites[0], "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    assert_eq!(sites[0].publish("/nodevent", GOOD).await.status, 403);
    assert_eq!(sites[1].publish("/nodevent", GOOD).await.status, 200);
    assert_eq!(browser.next_event().await.text, GOOD);
    let through_socket = async |request: Request| {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        request.exchange(&mut stream, "localhost").await.unwrap().status
    };
    assert_eq!(through_socket(Request::post("/api/nodevent/emit", GOOD)).await, 200);
    assert_eq!(browser.next_event().await.text, GOOD);
    for (name, value) in
        [("X-Forwarded-For", "192.0.2.7"), ("Origin", "http://localhost:3000"), ("Via", "1.1 proxy")]
    {
        let request = Request::post("/api/nodevent/emit", GOOD).header(name, value);
        assert_eq!(through_socket(request).await, 403, "{name}");
    }
    for path in
        ["/socket.io/?EIO=4&transport=polling", "/api/nodevent", "/api/nodevent/rooms/r/history", "/", "/metrics"]
    {
        assert_eq!(through_socket(Request::get(path)).await, 404, "{path}");
    }
    assert_eq!(through_socket(Request::get("/readyz")).await, 200);
}
