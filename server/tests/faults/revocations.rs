//! A revocation while a server is cut off from Redis: it takes effect when the server is back.

use crate::harness::node::SLOW_HEARTBEAT;
use crate::harness::proxy::Mode;
use crate::harness::redis::namespace_at;
use crate::harness::{Node, Proxy, Redis, eventually};
use crate::support::site::Site;
use crate::support::tokens::{now, token};
use crate::support::{Browser, Request, Transport};
use serde_json::{Value, json};
use std::time::Duration;

const TOKENS: &str = ", token: {secret: a-secret-for-tokens-of-more-than-32-bytes}";

async fn connect(site: &Site, user: &str) -> Result<Browser, Value> {
    let claims = json!({"sub": user, "iat": now() - 10.0, "rooms": ["r"]});
    let mut browser = Browser::open(site, Transport::WebSocket).await;
    browser.enter_with("/nodevent", &json!({"token": token(claims)}).to_string()).await?;
    Ok(browser)
}

async fn revoke(site: &Site, body: Value) {
    let response = site.send(&Request::post("/api/nodevent/revoke", body.to_string())).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Of two servers, the first is cut off from Redis: its links discard everything, or are closed. Users and rooms are revoked
/// through the other one. Meanwhile the first keeps its connections; when it is back, it ends those that are revoked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_takes_effect_when_a_server_that_was_cut_off_is_back() {
    for mode in [Mode::BlackHole, Mode::Cut] {
        let redis = Redis::start(&[]).await;
        let proxy = Proxy::in_front_of(redis.port).await;
        let cut_off = Node::start_with(SLOW_HEARTBEAT, &namespace_at("/nodevent", proxy.port, TOKENS)).await;
        let other = Node::start_with(SLOW_HEARTBEAT, &redis.namespace("/nodevent", TOKENS)).await;
        let mut revoked = Vec::new();
        for index in 0..20 {
            revoked.push(connect(&cut_off.site, &format!("revoked-{index}")).await.unwrap());
        }
        let mut left = connect(&cut_off.site, "left").await.unwrap();
        let mut bystander = connect(&cut_off.site, "bystander").await.unwrap();
        for browser in [&mut left, &mut bystander] {
            assert_eq!(browser.next_notice().await[0], "identified");
            assert_eq!(browser.next_other_notice().await[0], "joined");
        }
        proxy.set(mode);
        eventually("the first is cut off", Duration::from_secs(30), async || !cut_off.is_ready().await).await;
        for index in 0..20 {
            revoke(&other.site, json!({"user": format!("revoked-{index}")})).await;
        }
        revoke(&other.site, json!({"user": "left", "room": "r"})).await;
        assert_eq!(cut_off.metric("nodevent_connections").await, 22, "it cannot know");
        assert!(connect(&other.site, "revoked-0").await.is_err());
        proxy.set(Mode::Forward);
        cut_off.ready().await;
        for mut browser in revoked {
            assert_eq!(browser.ended().await, Some((1008, "revoked".to_owned())));
        }
        assert_eq!(left.next_other_notice().await, json!(["revoked", {"room": "r"}]));
        let error = connect(&cut_off.site, "revoked-19").await.map(drop).unwrap_err();
        assert_eq!(error, json!({"message": "Token has been revoked"}));
        other.site.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(bystander.next_publication().await.message, 1);
        assert_eq!(cut_off.metric("nodevent_revocations_total").await, 21);
    }
}
