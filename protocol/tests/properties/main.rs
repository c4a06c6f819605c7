//! Properties of every input, tested with random ones: decoding reverses encoding, every split of the input gives the
//! same result, and no input makes a decoder panic. The tests include the invariants of the fuzz targets.
#![cfg(test)]

mod action_cable;
mod engine_io;
mod engine_io_3;
mod json;
mod key;
mod publication;
mod socket_io;
mod websocket;
