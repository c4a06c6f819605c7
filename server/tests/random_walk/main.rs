//! Random walks: a seed determines the steps, and a checker or a model says what must have happened.
//!
//! `rooms` has members of rooms, and the checker of the fault tests. `users` has pages of users, with targets, mailboxes,
//! presence and revocations, and a model of its own. A failed test prints its seed. `NODEVENT_SEED=… NODEVENT_STEPS=… cargo
//! test -p nodevent-server --test random_walk` repeats the same walk, or a longer one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test program has no outside")]

#[path = "../faults/harness/mod.rs"]
mod harness;
#[path = "../support/mod.rs"]
mod support;

mod rooms;
mod seed;
mod users;
