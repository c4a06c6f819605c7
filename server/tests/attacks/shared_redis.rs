//! Attack 11: two applications on one Redis. What one publishes must not reach the other, and programs that share a
//! channel by mistake must be reported.
//!
//! Siblings: databases, prefixes, both; a channel per namespace and per room; live publications, history, idempotency
//! keys; several servers of one application, which must still be one.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::support::{Browser, Program, RedisServer, Request, Site, Transport};
use serde_json::json;

/// The `redis` of two applications that must be separate; `{}` is the port.
const SEPARATE: [[&str; 2]; 4] = [
    ["{port: {}}", "{port: {}, db: 1}"],
    ["{url: \"redis://127.0.0.1:{}/2\"}", "{port: {}, db: 3, prefix: shop}"],
    ["{port: {}}", "{port: {}, prefix: shop}"],
    ["{port: {}, prefix: blog, db: 1}", "{port: {}, prefix: shop, db: 1}"],
];

async fn serve(folder: &std::path::Path, redis: &str, more: &str) -> (Program, Site) {
    let namespace = format!("/nodevent: {{open: true, redis: {redis}{more}}}");
    let program = Program::serve(folder, &format!("bind: 127.0.0.1\nport: 0\npublish: local\n{namespace}\n")).await;
    let site = program.site().await;
    crate::support::wait::until("the server is ready", async || site.get("/readyz").await.status == 200).await;
    (program, site)
}

async fn publish(site: &Site, message: &str) {
    let publication = json!({"room": "r", "event": "e", "message": message}).to_string();
    let request = Request::post("/api/nodevent/emit", publication).header("Idempotency-Key", "the same key");
    assert_eq!(site.send(&request).await.status, 200);
}

#[test]
fn applications_in_other_databases_or_with_other_prefixes_are_separate() {
    attacker::run(async {
        for more in ["", ", channel_per_room: true", ", history: off"] {
            for pair in SEPARATE {
                let redis = RedisServer::start().await;
                let port = redis.port.to_string();
                let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
                let (one, other) = (pair[0].replace("{}", &port), pair[1].replace("{}", &port));
                let (_first, first) = serve(folders[0].path(), &one, more).await;
                // A second server of the first application, to which its publications do belong.
                let (_second, second) = serve(folders[1].path(), &one, more).await;
                let folder = tempfile::tempdir().unwrap();
                let (_foreign, foreign) = serve(folder.path(), &other, more).await;
                let mut pages = Vec::new();
                for site in [&first, &second, &foreign] {
                    let mut page = Browser::connect(site, "/nodevent", Transport::WebSocket).await;
                    page.join("r").await;
                    pages.push(page);
                }
                publish(&first, "of the first application").await;
                for page in &mut pages[..2] {
                    assert_eq!(page.next_event().await.message, "of the first application", "{pair:?}{more}");
                }
                pages[2].receives_nothing_else(&foreign).await;
                // Its idempotency key and its history are its own.
                publish(&foreign, "of the other application").await;
                assert_eq!(pages[2].next_event().await.message, "of the other application", "{pair:?}{more}");
                if more != ", history: off" {
                    let history = foreign.get("/api/nodevent/rooms/r/history").await.text();
                    assert!(!history.contains("first application"), "{pair:?}{more}: {history}");
                }
            }
        }
    });
}

#[test]
fn programs_that_share_a_channel_with_other_secrets_are_reported() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let serve = async |folder: &std::path::Path, secrets: &str| {
            let namespace = format!("/nodevent: {{{secrets}, redis: \"{}\"}}", redis.url());
            Program::serve(folder, &format!("bind: 127.0.0.1\nport: 0\npublish: local\n{namespace}\n")).await
        };
        let folders: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
        let report = "uses this channel of Redis with other secrets";
        let old = serve(folders[0].path(), "secret: the-old-secret-of-32-characters").await;
        old.logs("subscribed").await;
        let stored = "nodevent:1:secrets:/nodevent";
        crate::support::wait::until("the fingerprint is stored", async || redis.exists(stored).await).await;
        // During a rotation, one secret in common is enough.
        let both =
            serve(folders[1].path(), "secrets: [the-new-secret-of-32-characters, the-old-secret-of-32-characters]")
                .await;
        both.logs("subscribed").await;
        let new = serve(folders[2].path(), "secret: the-new-secret-of-32-characters").await;
        new.logs("subscribed").await;
        let foreign = serve(folders[3].path(), "secret: of-another-application-entirely").await;
        let line = foreign.logs(report).await;
        assert!(line.contains("redis: {db: …}") && line.contains("/nodevent"), "{line}");
        assert!(!line.contains("of-another-application-entirely"), "{line}");
        let open = serve(folders[4].path(), "open: true").await;
        open.logs(report).await;
        for program in [&old, &both, &new] {
            assert!(!program.log().iter().any(|line| line.contains(report)), "{:?}", program.log());
        }
    });
}

/// The other application publishes to rooms of the same names: clients of the first one receive nothing of it, in time.
#[test]
fn events_of_another_application_neither_reach_nor_delay_a_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (_own, own) = serve(folders[0].path(), &format!("\"{}\"", redis.url()), "").await;
        let other = format!("{{port: {}, db: 5}}", redis.port);
        let (_foreign, foreign) = serve(folders[1].path(), &other, "").await;
        assert_unnoticed(&own.address, async || {
            attacker::repeat(async || {
                for room in ["bystander-0", "bystander-1", "bystander-2"] {
                    foreign.emit("/nodevent", room, "foreign", "event").await;
                }
            })
            .await;
        })
        .await;
    });
}
