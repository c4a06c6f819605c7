//! Tests the crate with every vector that all three languages share.
#![cfg(test)]

mod action_cable;
mod engine_io;
mod engine_io_3;
mod history;
mod keys;
mod notifications;
mod plain;
mod publications;
mod rooms;
mod socket_io;
mod vector;
