//! Limits of spans: what waits for a receiver that does not respond.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::application::{Application, Behaviour};
use crate::support::wait::until;
use crate::support::{Browser, Transport};

#[tokio::test]
async fn spans_beyond_the_queue_are_dropped_and_counted() {
    let receiver = Application::start(Behaviour::Never).await;
    let settings =
        format!("shards: 1\ntraces: {{url: \"{}\", queue: 8}}\n/nodevent: {{history: off}}", receiver.url);
    let mut server = ServerWithBystander::start(&settings).await;
    let mut member = Browser::connect(&server.site, "/nodevent", Transport::WebSocket).await;
    member.join("r").await;
    let mut sent = 0;
    // The first spans are in the request without a response, which has a timeout.
    until("spans are dropped", async || {
        sent += 1;
        let publication =
            format!("{{\"traceparent\":\"00-{sent:032x}-{sent:016x}-01\",\"room\":\"r\",\"event\":\"e\",\"message\":{sent}}}");
        assert_eq!(server.publish("/nodevent", publication).await.status, 200);
        server.metric("nodevent_spans_dropped_total").await > 0
    })
    .await;
    for number in 1..=sent {
        assert_eq!(member.next_event().await.message, number, "no publication waits for a span");
    }
    assert_eq!(server.metric("nodevent_spans_exported_total").await, 0);
    server.bystander_is_unaffected().await;
}
