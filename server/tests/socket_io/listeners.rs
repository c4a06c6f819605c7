//! A process with several listeners: a session is reachable through each.

use crate::session::POLLING;
use crate::support::raw::Raw;
use crate::support::{Request, Site, TestServer};
use serde_json::Value;

#[tokio::test]
async fn polling_request_finds_its_session_through_any_listener() {
    // T-47
    let configuration = "
bind: 127.0.0.1
port: 0
publish: local
listen: [{bind: 127.0.0.1, port: 0}, {bind: 127.0.0.1, port: 0}]
admin: {port: 0}
shards: 4
/nodevent: {}
";
    let server = TestServer::start_as_written(configuration).await;
    let sites: Vec<Site> = server.urls.iter().map(|url| Site::at(url)).collect();
    assert_eq!(sites.len(), 3);
    for round in 0..9 {
        let open = sites[round % 3].get(POLLING).await.text();
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let session = format!("&sid={}", open["sid"].as_str().unwrap());
        let path = format!("{POLLING}{session}");
        let post = sites[(round + 1) % 3].send(&Request::post(&path, "40/nodevent,")).await;
        assert_eq!((post.status, post.text()), (200, "ok".to_owned()));
        let get = sites[(round + 2) % 3].get(&path).await;
        assert!(get.text().starts_with("40/nodevent,"), "{}", get.text());
        let mut raw = Raw::open(&sites[(round + 1) % 3], &session).await;
        raw.send_text("2probe").await;
        assert_eq!(raw.text().await, "3probe");
        raw.send_text("5").await;
        raw.send_text("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
        assert!(raw.text().await.starts_with("43/nodevent,1[null,true"), "on the upgraded transport");
    }
}
