//! What the gem, the server and the browser client agree on; `README.md` beside this crate is the text.
//!
//! Reading order: [`room`] and [`key`] say who may hear what; [`publication`] is what a publisher publishes;
//! [`websocket`] carries bytes, [`engine_io`] carries packets over it or over polling, [`socket_io`] carries
//! events inside those packets. The JSON files in `vectors/` are read by the tests of all three languages.
//!
//! **Architecture Invariant:** nothing here does I/O, awaits, spawns or reads a clock. Bytes and times come in
//! as arguments, values go out.
//!
//! **Architecture Invariant:** no input makes anything here panic, recurse without a bound, or keep more memory
//! than a small multiple of the bytes that really arrived.
#![forbid(unsafe_code)]

pub mod engine_io;
pub mod history;
pub mod key;
pub mod plain;
pub mod publication;
pub mod room;
pub mod socket_io;
pub mod websocket;
