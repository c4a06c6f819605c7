//! Rooms on the wire: who hears what, and what `join` and `leave` answer.

use crate::support::{Browser, TestServer, Transport};

#[tokio::test]
async fn who_joined_hears_and_who_did_not_hears_nothing() {
    // N-25
    let server = TestServer::start("/nodevent: {}").await;
    for transport in Transport::BOTH {
        let mut inside = Browser::connect(&server, "/nodevent", transport).await;
        let mut outside = Browser::connect(&server, "/nodevent", transport).await;
        inside.join("r").await;
        server.emit("/nodevent", "r", "e", 1).await;
        let event = inside.next_event().await;
        assert_eq!((event.room, event.event, event.message), ("r".into(), "e".into(), 1.into()), "{transport:?}");
        inside.hears_nothing_else(&server).await;
        outside.hears_nothing_else(&server).await;
    }
}
