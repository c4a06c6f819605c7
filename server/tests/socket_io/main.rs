//! Engine.IO 4 and Socket.IO 5 on both transports and between them, according to the protocol texts and, where those do
//! not decide, the reference implementation.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../../examples/conformance/engine.rs"]
mod engine;

#[path = "../../examples/conformance/echo.rs"]
mod echo;

mod acks;
mod handshake;
mod heartbeat;
mod listeners;
mod malformed;
mod namespaces;
mod polling;
mod session;
mod upgrade;
mod version_3;
