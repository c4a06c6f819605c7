//! Attack 6: publishing without a key through a proxy on the same machine, which makes a foreign request look local.

use crate::attacker;
use crate::process::Process;
use crate::support::Request;

/// Headers that proxies and load balancers add. Any of them shows that the request is not local.
const PROXY_HEADERS: [(&str, &str); 13] = [
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "www.example.com"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Server", "proxy"),
    ("X-Forwarded-Ssl", "on"),
    ("Forwarded", "proto=https"),
    ("Via", "1.1 proxy"),
    ("X-Real-IP", "192.0.2.7"),
    ("X-Client-IP", "192.0.2.7"),
    ("X-Cluster-Client-IP", "192.0.2.7"),
    ("True-Client-IP", "192.0.2.7"),
    ("CF-Connecting-IP", "192.0.2.7"),
];

#[test]
fn request_through_a_proxy_cannot_publish_without_a_key() {
    attacker::run(async {
        let process = Process::start("/nodevent: {history: off}").await;
        let mut admitted = Vec::new();
        for (name, value) in PROXY_HEADERS {
            let request = Request::post("/api/nodevent/emit", r#"{"room":"r","event":"e"}"#);
            let request = request.header(name, value).header("Host", "localhost");
            if process.site.send(&request).await.status != 403 {
                admitted.push(name);
            }
        }
        assert!(admitted.is_empty(), "requests with these headers count as local: {admitted:?}");
    });
}
