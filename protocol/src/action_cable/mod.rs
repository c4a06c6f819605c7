//! The protocol of Action Cable: JSON objects over a WebSocket, for the stock clients of Rails and of AnyCable.
//!
//! [`command`] reads what clients send, [`frame`] writes what they receive, [`identifier`] reads which stream a
//! subscription is for, and [`signed_name`] verifies the names of streams that an application has signed. [`refresh`] reads a
//! message that may be merged with others, [`stored`] names what engines keep of connections, and [`whisper`] is what clients send to
//! each other.
//! `protocol/README.md` section 17 has what this server adds, and `vectors/action_cable.json` an example of each.
//!
//! # Source
//! Rails 6.1 to 8.1 (`ActionCable::Connection`, `@rails/actioncable`), AnyCable 1.6 (`actioncable-v1-ext-json`).

pub mod command;
pub mod frame;
pub mod identifier;
pub mod marker;
pub mod refresh;
pub mod signed_name;
pub mod stored;
pub mod whisper;

/// The subprotocol of all stock clients.
pub const SUBPROTOCOL: &str = "actioncable-v1-json";
/// The subprotocol of clients that follow positions.
pub const EXTENDED_SUBPROTOCOL: &str = "actioncable-v1-ext-json";
/// The subprotocol that only clients of Rails offer, after the first one.
pub const UNSUPPORTED_SUBPROTOCOL: &str = "actioncable-unsupported";
