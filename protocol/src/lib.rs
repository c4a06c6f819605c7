//! The protocol between the gem, the server and the browser client. `README.md` of this crate specifies it.
//!
//! Reading order: [`room`] and [`key`] define who may join; [`publication`] is what publishers send, [`targets`] where it
//! goes, [`topic`] how that is named, [`trace`] how it is followed, [`page`] which page they exclude; [`history`] is where it is stored, [`mailbox`] where
//! messages for users are, [`presence`] who is in a room, [`pages`] to which channels a visitor's page is subscribed,
//! [`hooks`] what the application is notified of, [`calls`] what it is asked; [`text`] makes text from outside printable;
//! [`websocket`] carries bytes, [`engine_io`] carries packets over it or over polling, and [`engine_io_3`] those of older
//! clients, [`socket_io`] carries events in those packets; [`plain`], [`pakyow`] and
//! [`action_cable`] are alternatives to both. The tests of all three languages read the JSON files in `vectors/`.
//!
//! **Architecture Invariant:** nothing here does I/O, awaits, spawns or reads a clock. Bytes and times are arguments, and
//! values are returned.
//!
//! **Architecture Invariant:** no input makes anything here panic, recurse without a limit, or use more memory than a
//! small multiple of the bytes that have arrived.
#![forbid(unsafe_code)]

pub mod action_cable;
pub mod calls;
pub mod connections;
pub mod engine_io;
pub mod engine_io_3;
pub mod history;
pub mod hooks;
pub mod key;
pub mod mailbox;
pub mod notification;
pub mod notifications;
pub mod page;
pub mod pages;
pub mod pakyow;
pub mod plain;
pub mod presence;
pub mod publication;
pub mod room;
pub mod socket_io;
pub mod targets;
pub mod text;
pub mod topic;
pub mod trace;
pub mod turted;
pub mod websocket;
