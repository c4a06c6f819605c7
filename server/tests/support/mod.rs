//! What the tests of the server are made of: a server, a Redis, browsers and publishers, all of them real.
//!
//! In reading order: [`server`] (the server in this process), [`program`] (the binary), [`site`] (where a server is
//! and how to speak HTTP with it), [`browser`] (a browser on either transport), [`redis`] (a Redis of one's own),
//! [`raw`] (a WebSocket by hand), [`keys`] (room keys), [`alone`] (a network and an `/etc` of a test's own), [`wait`] (the only way to wait: for a condition, with a patience limit).
//!
//! ```ignore
//! let server = TestServer::start("/nodevent: {}").await;
//! let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
//! browser.join("r").await;
//! server.emit("/nodevent", "r", "e", 1).await;
//! assert_eq!(browser.next_event().await.message, 1);
//! browser.hears_nothing_else(&server).await;
//! ```
#![allow(dead_code, unused_imports, reason = "every test program uses another part of it")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test program has no outside")]

pub mod alone;
pub mod browser;
pub mod http;
pub mod keys;
pub mod packet;
pub mod polling;
pub mod program;
pub mod raw;
pub mod redis;
pub mod server;
pub mod site;
pub mod wait;
pub mod websocket;

pub use browser::{Browser, Event, Transport};
pub use http::{Request, Response};
pub use program::Program;
pub use redis::RedisServer;
pub use server::TestServer;
pub use site::Site;

/// The open namespace of the first contract: in memory, and a publication reaches browsers as it was published.
pub const PLAIN: &str = "/nodevent: {history: off}";

/// The vectors of that name, which the tests of all three languages read.
pub fn vectors(name: &str) -> serde_json::Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/").to_owned() + name + ".json";
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}
