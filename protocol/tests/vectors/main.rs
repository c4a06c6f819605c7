//! Holds the crate against every vector that all three languages share.
#![cfg(test)]

mod emissions;
mod engine_io;
mod keys;
mod rooms;
mod socket_io;
mod vector;
