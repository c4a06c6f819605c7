//! The interface to the journals of engines: events that wait for the application, and dead letters.

use super::event::with_id;
use super::{Dropped, HookEvent};
use crate::outcome::Pending;
use serde_json::value::RawValue;
use std::time::Duration;

/// The bytes that are taken at a time, unless the first event is larger.
pub const BATCH_BYTES: usize = 1 << 20;

/// The journal of one namespace.
pub trait Journal: Send + Sync {
    /// Adds events. A key that was added within ten minutes is not added again, as far as the engine remembers it. When the
    /// future completes, the journal has them. Returns how many events were dropped, because it is full.
    ///
    /// # Errors
    /// [`crate::outcome::Unavailable`]: it may have them or not.
    fn append<'a>(&'a self, events: &'a [HookEvent]) -> Pending<'a, Dropped>;

    /// Takes the oldest events at a place, if no other server sends. They stay in the journal. This server is the one that
    /// sends for the time of the lease.
    ///
    /// # Errors
    /// [`crate::outcome::Unavailable`].
    fn take<'a>(&'a self, lease: Duration, max: usize, from: &'a Start) -> Pending<'a, Taken>;

    /// Removes events: those that were delivered, and those that are given up, which become dead letters. Returns how
    /// many dead letters were dropped, because there are too many.
    ///
    /// # Errors
    /// [`crate::outcome::Unavailable`]: they may be removed or not.
    fn remove<'a>(&'a self, delivered: &'a [Box<str>], given_up: &'a [NotSent]) -> Pending<'a, u64>;

    /// Reads dead letters, oldest first. `after` is an id, or empty.
    ///
    /// # Errors
    /// [`crate::outcome::Unavailable`].
    fn dead_letters<'a>(&'a self, after: &'a str, max: usize) -> Pending<'a, DeadLetters>;

    /// Puts dead letters at the end of the journal, or deletes them. Without ids these are the oldest `max`. Returns
    /// how many.
    ///
    /// # Errors
    /// [`crate::outcome::Unavailable`].
    fn clear_dead_letters<'a>(&'a self, resend: bool, ids: &'a [String], max: usize) -> Pending<'a, u64>;
}

/// Where [`Journal::take`] begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event.
    #[default]
    Oldest,
    /// At the event with this id, or the next one.
    At(Box<str>),
    /// After it.
    After(Box<str>),
}

/// What [`Journal::take`] returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Whether this server sends.
    pub is_sender: bool,
    /// The events.
    pub events: Vec<Stored>,
    /// Events in the journal.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}

/// An event in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: Box<str>,
    /// Its JSON object, without the id.
    pub text: Box<str>,
    /// For how long it has waited.
    pub age: Duration,
}

/// An event that is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSent {
    /// Its id.
    pub id: Box<str>,
    /// Why. Printable.
    pub reason: String,
}

/// A page of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// All dead letters of the namespace.
    pub count: u64,
    /// The page.
    pub letters: Vec<DeadLetter>,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id of the dead letter. Events have other ids.
    pub id: Box<str>,
    /// The JSON object of the event.
    pub text: Box<str>,
    /// Why it was given up.
    pub reason: Box<str>,
}

// === impl Stored ===

impl Stored {
    /// The JSON object with its id. `None`: the journal has something that is not a JSON object.
    pub fn json(&self) -> Option<Box<RawValue>> {
        with_id(&self.text, &self.id)
    }
}
