//! The parts of the server's tests: a server, a Redis, browsers and publishers, all of them real.
//!
//! In reading order: [`server`] (the server in this process), [`program`] (the binary), [`site`] (a server's address,
//! with HTTP requests to it), [`browser`] (a browser on either transport), [`cable`] (a client of Action Cable),
//! [`page`] (a visitor's page), [`redis`] (a private Redis), [`wall_clock`] (a clock that jumps), [`raw`] (a WebSocket by hand), [`frames`] (WebSocket
//! frames), [`keys`] (room keys), [`tokens`] (JSON Web Tokens), [`namespace_sandbox`] (a private network and `/etc`), [`wait`] (the only way to wait: for a condition, with a
//! timeout).
//!
//! ```ignore
//! let server = TestServer::start("/nodevent: {}").await;
//! let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
//! browser.join("r").await;
//! server.emit("/nodevent", "r", "e", 1).await;
//! assert_eq!(browser.next_event().await.message, 1);
//! browser.receives_nothing_else(&server).await;
//! ```
#![allow(dead_code, unused_imports, reason = "every test program uses another part of it")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test program has no outside")]

pub mod application;
pub mod browser;
pub mod cable;
#[path = "../../../protocol/tests/rfc6455/frames.rs"]
pub mod frames;
pub mod http;
pub mod keys;
pub mod namespace_sandbox;
pub mod packet;
pub mod page;
pub mod polling;
pub mod program;
pub mod raw;
pub mod redis;
pub mod server;
pub mod site;
pub mod tokens;
pub mod wait;
pub mod wall_clock;
pub mod websocket;

pub use browser::{Browser, Event, Transport};
pub use http::{Request, Response};
pub use program::Program;
pub use redis::RedisServer;
pub use server::TestServer;
pub use site::Site;
pub use wall_clock::WallClock;

/// An open namespace in memory without history: a publication reaches browsers unchanged, as in NoDevent 3.
pub const PLAIN: &str = "/nodevent: {history: off}";

/// Part of the log line about an outage of Redis.
pub const REDIS_OUTAGE: &str = "lost connection to Redis";

/// Returns true if the long forms of the tests are requested with `NODEVENT_TEST_FULL=1`.
pub fn is_full_run() -> bool {
    std::env::var("NODEVENT_TEST_FULL").is_ok_and(|value| value == "1")
}

/// The test vectors of that name, which the tests of all three languages read.
pub fn vectors(name: &str) -> serde_json::Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/").to_owned() + name + ".json";
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}
