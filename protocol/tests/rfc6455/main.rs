//! The decoder against RFC 6455, with the cases of the Autobahn suite for servers (sections 1 to 7 and 10).
//!
//! Cases have the numbers of Autobahn. Each is fed whole, byte by byte and in pieces of several sizes, with the same
//! messages and the same end.
#![cfg(test)]

mod case;
mod close;
mod control;
mod deflate;
mod fragments;
mod frames;
mod framing;
mod limits;
mod utf8;
