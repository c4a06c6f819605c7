//! What holds for any input, tried with random ones: encode then decode is the identity, any split of the input gives
//! the same result, and nothing makes a decoder panic. The fuzz targets' invariants are tried here as well.
#![cfg(test)]

mod engine_io;
mod json;
mod key;
mod publication;
mod socket_io;
mod websocket;
