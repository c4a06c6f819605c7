//! The example of a dialect in one file, with a browser over each transport.

use crate::support::{Browser, Site, TestServer, Transport};
use serde_json::{Value, json};

#[allow(dead_code, reason = "the test starts a server of its own")]
#[path = "../../examples/minimal_dialect.rs"]
mod minimal_dialect;

async fn publish(server: &Site, room: &str, event: &str, message: &str) {
    server.emit("/chat", room, event, message).await;
}

async fn next(browser: &mut Browser) -> Value {
    browser.next_packet().await.expect("an event").value()
}

#[tokio::test]
async fn the_example_of_a_dialect_greets_and_delivers_events_by_their_own_names() {
    let written = minimal_dialect::SETTINGS.replace("publish: local\n", "");
    let server = TestServer::start_with(&written, minimal_dialect::endpoint).await;
    for transport in Transport::BOTH {
        let mut ann = Browser::connect(&server, "/chat", transport).await;
        assert_eq!(ann.call("hello", &[json!("ann")]).await, json!(["welcome"]));
        let mut bob = Browser::connect(&server, "/chat", transport).await;
        assert_eq!(bob.call("hello", &[json!("bob")]).await, json!(["welcome"]));
        // What is not its event is ignored.
        bob.send_event("hello", &[]).await;
        bob.send_event("other", &[json!("ann")]).await;
        publish(&server, "ann", "greeting", "hi").await;
        publish(&server, "bob", "bye", "see you").await;
        assert_eq!(next(&mut ann).await, json!(["greeting", "hi"]));
        assert_eq!(next(&mut bob).await, json!(["bye", "see you"]), "{transport:?}");
        for name in ["", &"x".repeat(300)] {
            assert_eq!(bob.call("hello", &[json!(name)]).await, json!(["Bad room"]));
        }
    }
}
