//! The decoder against RFC 6455, case by case: what the Autobahn suite asks of a server in its sections 1 to 7 and 10.
//!
//! Each case is numbered as Autobahn numbers it, and is fed whole, byte by byte and in pieces of several sizes: the
//! messages and the verdict must be the same.
#![cfg(test)]

mod case;
mod close;
mod control;
mod fragments;
mod frames;
mod framing;
mod limits;
mod utf8;
