//! RFC 6455 over real sockets, case by case, in the order of the Autobahn suite's sections 1 to 7 and 10.
//!
//! The server echoes every message. It uses Engine.IO on top of WebSocket, so text begins with the `4` of a message;
//! binary messages carry no prefix.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../../examples/conformance/engine.rs"]
mod engine;

mod closing;
mod control;
mod deflate;
mod echo;
mod fragments;
mod framing;
mod handshake;
mod utf8;
