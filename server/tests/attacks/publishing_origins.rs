//! Attack 13: a page of an origin that may read publishes through a browser on the server's machine.

use crate::attacker;
use crate::process::Process;
use crate::support::Request;

#[test]
fn origin_that_may_read_cannot_publish() {
    attacker::run(async {
        for origins in ["[\"https://www.example.com\"]", "[\"https://*.example.com\"]", "[\"*\"]"] {
            let process = Process::start(&format!("origins: {origins}\n/nodevent: {{}}")).await;
            for path in ["/api/nodevent/emit"] {
                let request = Request::post(path, r#"{"room":"r","event":"e"}"#);
                let response = process.site.send(&request.header("Origin", "https://www.example.com")).await;
                assert_eq!(response.status, 403, "with origins {origins}: {}", response.text());
            }
        }
    });
}

/// A sibling: the simple content types, which a browser sends without a preflight request.
#[test]
fn page_of_the_same_host_cannot_publish_without_a_key() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let request = Request::post("/api/nodevent/emit", r#"{"room":"r","event":"e"}"#);
            let request = request.header("Origin", "http://127.0.0.1:3000").header("Content-Type", kind);
            let response = process.site.send(&request).await;
            assert_eq!(response.status, 403, "{kind}: {}", response.text());
        }
    });
}
