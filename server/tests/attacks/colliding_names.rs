//! Attack 8: names that collide in Redis: the room `vip:board` of `/a` is the room `board` of `/a:vip`.
//!
//! No bystander is measured: the attack is a configuration and one request, not a load on a server.

use crate::attacker;
use crate::process::Process;
use crate::support::{Program, RedisServer};

/// Pairs of a namespace and a room that must be different rooms.
const PAIRS: [[(&str, &str); 2]; 3] = [
    [("/a", "vip:board"), ("/a:vip", "board")],
    [("/b", "x}:log"), ("/b:x}", "log")],
    [("/c", ":y"), ("/c:", "y")],
];

#[test]
fn rooms_of_different_namespaces_never_share_a_history() {
    attacker::run(async {
        for [(first, room), (second, other)] in PAIRS {
            let redis = RedisServer::start().await;
            let redis = redis.url();
            let namespaces = format!("\"{first}\": {{redis: \"{redis}\"}}\n\"{second}\": {{redis: \"{redis}\"}}\n");
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("c.yml"), &namespaces).unwrap();
            // A server may refuse such names.
            if Program::run(folder.path(), &["check", "--offline", "c.yml"]).await.status.code() == Some(64) {
                continue;
            }
            let process = Process::start(&namespaces).await;
            process.is_ready().await;
            process.site.emit(first, room, "e", "for the first namespace only").await;
            let path = format!("/api{second}/rooms/{other}/history").replace('}', "%7D");
            let history = process.site.get(&path).await;
            assert!(!history.text().contains("first namespace only"), "{second} {other}: {}", history.text());
        }
    });
}
