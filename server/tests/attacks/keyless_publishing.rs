//! Attack 6: publishing without a key through a proxy on the same machine, which makes a foreign request look local.
//!
//! `tests/proxies/publishing.rs` does the same with real proxies. Siblings: no listener is open unless the configuration
//! declares it; a header of any proxy, also a header alone; and a `Host` that is a name of this machine.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::{Program, Request};

const PUBLICATION: &str = r#"{"room":"r","event":"e"}"#;
/// Headers that proxies and load balancers add. Any of them shows that the request is not local.
const PROXY_HEADERS: [(&str, &str); 14] = [
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
    ("X-Forwarded-For", ""),
];

/// The listener is declared as open, so what remains is to recognize what a proxy forwards.
#[test]
fn request_through_a_proxy_cannot_publish_without_a_key() {
    attacker::run(async {
        let process = Process::start("/nodevent: {history: off}").await;
        assert_unnoticed(&process.site.address, async || {
            attacker::repeat(async || {
                for (name, value) in PROXY_HEADERS {
                    let request = Request::post("/api/nodevent/emit", PUBLICATION);
                    let request = request.header(name, value).header("Host", "localhost");
                    assert_eq!(process.site.send(&request).await.status, 403, "{name}: {value}");
                }
            })
            .await;
        })
        .await;
    });
}

/// A request of a local proxy may look exactly like that of a local program. So without a declaration, neither publishes.
#[test]
fn nothing_publishes_without_a_key_unless_it_is_declared() {
    attacker::run(async {
        let folder = tempfile::tempdir().unwrap();
        for (number, namespace) in
            ["{history: off}", "{open: true}", "{secret: a-secret-of-more-than-sixteen}"].iter().enumerate()
        {
            for more in
                ["", "publish: key\n", "production: {}\n", "listen: [{port: 0, bind: 127.0.0.1, publish: key}]\n"]
            {
                let text = match more.starts_with("production") {
                    true => format!(
                        "production: {{bind: 127.0.0.1, port: 0, /nodevent: {namespace}}}\ndevelopment: {{publish: key, bind: 127.0.0.1, port: 0, /nodevent: {namespace}}}\n"
                    ),
                    false => format!("bind: 127.0.0.1\nport: 0\n{more}/nodevent: {namespace}\n"),
                };
                let program = Program::serve(folder.path(), &text).await;
                let site = program.site().await;
                for host in ["localhost", "127.0.0.1", "[::1]", site.address.as_str()] {
                    let request = Request::post("/api/nodevent/emit", PUBLICATION).header("Host", host);
                    let response = site.send(&request).await;
                    assert_eq!(response.status, 403, "{number}, {more}, {host}: {}", response.text());
                    assert!(response.text().contains("publish: local"), "{}", response.text());
                }
            }
        }
    });
}
