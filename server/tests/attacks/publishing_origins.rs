//! Attack 13: a page of an origin that may read publishes through a browser on the server's machine.
//!
//! Siblings: the content types that need no preflight request; the page of the server's own host; a page with the right
//! key; a browser that sends no `Origin`; and the preflight request itself.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::{Request, Response};

const PUBLICATION: &str = r#"{"room":"r","event":"e"}"#;
const PAGE: &str = "https://www.example.com";
const KEY: &str = "Bearer a-key-of-more-than-sixteen";
const KEYED: &str = "/keyed: {open: true, publish_key: a-key-of-more-than-sixteen}\n";

async fn publish(process: &Process, namespace: &str, headers: &[(&str, &str)]) -> Response {
    let request = Request::post(&format!("/api/{namespace}/emit"), PUBLICATION);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    process.site.send(&request).await
}

#[test]
fn origin_that_may_read_cannot_publish() {
    attacker::run(async {
        for origins in ["[\"https://www.example.com\"]", "[\"https://*.example.com\"]", "[\"*\"]"] {
            let process = Process::start(&format!("origins: {origins}\n/nodevent: {{}}\n{KEYED}")).await;
            assert_unnoticed(&process.site.address, async || {
                attacker::repeat(async || {
                    let response = publish(&process, "nodevent", &[("Origin", PAGE)]).await;
                    assert_eq!(response.status, 403, "with origins {origins}: {}", response.text());
                    // Every visitor of a page has its key. So the key alone does not let a page publish.
                    let response = publish(&process, "keyed", &[("Origin", PAGE), ("Authorization", KEY)]).await;
                    assert_eq!(response.status, 403, "with origins {origins} and a key: {}", response.text());
                })
                .await;
            })
            .await;
            let preflight = Request::new("OPTIONS", "/api/keyed/emit").header("Origin", PAGE);
            let response = process.site.send(&preflight.header("Access-Control-Request-Method", "POST")).await;
            assert_eq!(response.status, 405);
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    });
}

/// A sibling: the simple content types, which a browser sends without a preflight request.
#[test]
fn page_of_the_same_host_cannot_publish_without_a_key() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        let own = format!("http://{}", process.site.address);
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json"] {
            for page in [
                ("Origin", "http://127.0.0.1:3000"),
                ("Origin", own.as_str()),
                ("Origin", "null"),
                ("Sec-Fetch-Site", "same-origin"),
                ("Sec-Fetch-Site", "none"),
            ] {
                let response = publish(&process, "nodevent", &[page, ("Content-Type", kind)]).await;
                assert_eq!(response.status, 403, "{kind}, {page:?}: {}", response.text());
            }
        }
    });
}

#[test]
fn page_publishes_only_if_its_origin_is_listed_for_that_and_with_a_key() {
    attacker::run(async {
        let process = Process::start(&format!("publish_origins: {PAGE}\n/nodevent: {{}}\n{KEYED}")).await;
        let response = publish(&process, "keyed", &[("Origin", PAGE), ("Authorization", KEY)]).await;
        assert_eq!((response.status, response.header("access-control-allow-origin")), (200, Some(PAGE)));
        let preflight = Request::new("OPTIONS", "/api/keyed/emit").header("Origin", PAGE);
        let response = process.site.send(&preflight.header("Access-Control-Request-Method", "POST")).await;
        assert_eq!((response.status, response.header("access-control-allow-origin")), (204, Some(PAGE)));
        let allowed = response.header("access-control-allow-headers").unwrap_or_default();
        assert!(allowed.contains("authorization") && allowed.contains("idempotency-key"), "{allowed}");
        for (namespace, headers, status) in [
            ("nodevent", &[("Origin", PAGE)][..], 403),
            ("keyed", &[("Origin", PAGE)], 401),
            ("keyed", &[("Origin", PAGE), ("Authorization", "Bearer wrong")], 401),
            ("keyed", &[("Origin", "https://evil.example"), ("Authorization", KEY)], 403),
            ("keyed", &[("Origin", "https://www.example.com.evil.example"), ("Authorization", KEY)], 403),
            ("keyed", &[("Origin", "http://www.example.com"), ("Authorization", KEY)], 403),
            ("keyed", &[("Sec-Fetch-Site", "same-origin"), ("Authorization", KEY)], 403),
        ] {
            assert_eq!(publish(&process, namespace, headers).await.status, status, "{namespace}, {headers:?}");
        }
    });
}
