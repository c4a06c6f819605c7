//! Real proxies in front of the server: nginx and HAProxy, as operators configure them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod client_addresses;
mod connections;
mod load_balancer;
mod proxy;
mod publishing;
mod web_service;
