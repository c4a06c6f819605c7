//! The engines: where publications travel and are stored. In this process, or in Redis.
//!
//! An engine implements the traits of [`crate::capability`] and pushes what arrives into the shards through its
//! [`Fanout`]. **Architecture Invariant:** only [`redis`] knows Redis.

mod cable_places;
mod claims;
mod fanout;
pub mod memory;
pub mod redis;
mod whispers;

pub use fanout::Fanout;

use crate::publication::Publication;
use nodevent_protocol::history::without_position;
use nodevent_protocol::publication::PublicationRef;
use std::sync::Arc;

/// Makes a publication that is not stored. A position that its publisher wrote is removed: clients would treat it as
/// assigned by the engine.
fn unpositioned(publication: &PublicationRef<'_>) -> Arc<Publication> {
    match publication.has_position {
        true => Publication::parsed(publication, without_position(publication.text), None),
        false => Publication::parsed(publication, publication.text, None),
    }
}
