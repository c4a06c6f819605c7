//! Limits of pages: how many channels one has, how many there are, and for how long they are kept.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::page::{PAGES_SECRET, Visitor};
use crate::support::wait::until;
use serde_json::json;

const NS: &str = "/live";

async fn start(more: &str) -> ServerWithBystander {
    ServerWithBystander::start(&format!(
        "/nodevent: {{}}\n{NS}: {{protocol: pakyow, pages: {{secret: {PAGES_SECRET}{more}}}}}"
    ))
    .await
}

#[tokio::test]
async fn channels_and_pages_beyond_their_limits_are_rejected_and_the_others_go_on() {
    let mut server = start(", max_channels: 2, max_pages: 3").await;
    let visitors: Vec<Visitor> = (0..4).map(|number| Visitor::of('a', number)).collect();
    for visitor in &visitors[..3] {
        visitor.subscribe(&server, NS, &["a", "b"]).await;
    }
    assert_eq!(visitors[0].change(&server, NS, json!({"subscribe": ["c"]})).await.status, 409);
    assert_eq!(visitors[3].change(&server, NS, json!({"subscribe": ["a"]})).await.status, 507);
    server.metric_is("nodevent_rejected_pages_total", 2).await;
    let mut page = visitors[1].connect(&server, NS).await;
    page.is_active(&server, NS, &visitors[1]).await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn pages_that_do_not_connect_or_return_in_time_make_room_and_connected_ones_stay() {
    let mut server = start(", initial: 1s, grace: 5s, max_pages: 3").await;
    let [connected, gone, never, next] = [1, 2, 3, 4].map(|number| Visitor::of('a', number));
    connected.subscribe(&server, NS, &["a", "b"]).await;
    let mut page = connected.connect(&server, NS).await;
    page.is_active(&server, NS, &connected).await;
    gone.subscribe(&server, NS, &["a"]).await;
    let mut left = gone.connect(&server, NS).await;
    left.is_active(&server, NS, &gone).await;
    never.subscribe(&server, NS, &["a"]).await;
    let subscribe = async |visitor: &Visitor| visitor.change(&server, NS, json!({"subscribe": ["a"]})).await.status;
    until("the page that has not connected is forgotten", async || subscribe(&next).await == 200).await;
    let mut follower = next.connect(&server, NS).await;
    follower.is_active(&server, NS, &next).await;
    assert_eq!(subscribe(&never).await, 507, "three pages are connected");
    // It was connected for longer than `initial`.
    drop(left);
    let left_at = std::time::Instant::now();
    until("the page that does not return is forgotten", async || subscribe(&never).await == 200).await;
    assert!(left_at.elapsed().as_secs() >= 4, "it is kept for the grace period: {:?}", left_at.elapsed());
    let kept = connected.change(&server, NS, json!({"subscribe": ["c"]})).await;
    assert_eq!(kept.json()["channels"], 3, "a connected page is kept");
    page.is_active(&server, NS, &connected).await;
    server.bystander_is_unaffected().await;
}
