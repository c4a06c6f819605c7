//! What the gem, the server and the browser client agree on; `README.md` beside this crate is the text.
//!
//! **Architecture Invariant:** nothing here does I/O, awaits, spawns or reads a clock. Bytes and times come in
//! as arguments, values go out.
#![forbid(unsafe_code)]
