//! The capabilities of engines, one trait each.
//!
//! An engine implements the capabilities that it supports. The rest of the server holds [`Engine`] values and calls the
//! capability it needs; it does not know which engine is behind it.

pub use crate::outcome::{Pending, Unavailable};

use crate::cable::Cable;
use crate::client::Client;
use crate::connection_state::ConnectionStates;
use crate::history::{Recovery, RoomHistory, Since};
use crate::hooks::Journal;
use crate::mailbox::Mailboxes;
use crate::pages::Pages;
use crate::presence::Presence;
use crate::revocation::Revocation;
use crate::user_connections::UserConnections;
use nodevent_protocol::history::Position;
use nodevent_protocol::publication::PublicationRef;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Publishes to a namespace.
pub trait Publish: Send + Sync {
    /// Publishes. When the future completes, the engine has the publication. The same idempotency key publishes once
    /// within the history's age. What the engine stores in this process counts as memory of `publisher`. The result is
    /// the publication's position if its room has a history.
    ///
    /// # Errors
    /// [`Unavailable`]: as far as the engine knows, it does not have the publication.
    fn publish<'a>(
        &'a self,
        publication: &'a PublicationRef<'a>,
        idempotency_key: Option<&'a str>,
        publisher: Publisher<'a>,
    ) -> Pending<'a, Option<Position>>;

    /// Does the same, and completes as soon as whatever is published later comes after it. So one who publishes many waits
    /// one time for all of them.
    ///
    /// # Errors
    /// [`Unavailable`], as above.
    fn begin<'a>(
        &'a self,
        publication: &'a PublicationRef<'a>,
        idempotency_key: Option<&'a str>,
        publisher: Publisher<'a>,
    ) -> Pending<'a, Begun> {
        Box::pin(async move {
            let position = self.publish(publication, idempotency_key, publisher).await?;
            Ok(Begun { position, confirmation: None })
        })
    }
}

/// A publication on its way into the engine.
pub struct Begun {
    /// Its position, if its room has a history.
    pub position: Option<Position>,
    /// Completes when the engine has the publication, and all that were begun before it. `None`: it has.
    pub confirmation: Option<Pending<'static, ()>>,
}

/// A publisher, as engines see it: publishers share the memory of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publisher<'a> {
    /// The `id` of its key. Empty: it has no key.
    pub name: &'a str,
    /// Whether it is limited to rooms.
    pub is_limited: bool,
}

impl Publisher<'_> {
    /// The server itself, which publishes who enters and leaves rooms. Clients cause that, also in rooms that they make up.
    pub const PRESENCE: Publisher<'static> = Publisher { name: "\0presence", is_limited: true };
}

/// Reads the history of rooms outside of a join.
pub trait ReadHistory: Send + Sync {
    /// Reads what came after a position. `None`: the room has no history. Clients that wait have their turns one after
    /// another, however many reads each waits for.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn read<'a>(&'a self, room: &'a str, since: Since, client: Client) -> Pending<'a, Option<HistoryRead>>;
}

/// What [`ReadHistory::read`] returns.
#[derive(Debug, Clone)]
pub struct HistoryRead {
    /// What came after the position.
    pub recovery: Recovery,
    /// The time for which nothing was published to the room, at least. `None`: the engine does not know it.
    pub idle: Option<Duration>,
}

/// Revokes, on all servers.
pub trait Revoke: Send + Sync {
    /// Revokes. When the future completes, the engine remembers the revocation and has announced it. This server applies
    /// it at once, every other one within a second, or when it reaches the engine again.
    ///
    /// # Errors
    /// [`Unavailable`]: as far as the engine knows, it does not have the revocation.
    fn revoke<'a>(&'a self, revocation: &'a Revocation) -> Pending<'a, ()>;
}

/// Reports whether publications get through.
pub trait Health: Send + Sync {
    /// Whether a probe went through the engine and came back recently.
    fn is_ready(&self) -> bool;
}

/// The engine of one namespace: its capabilities.
#[derive(Clone)]
pub struct Engine {
    /// Its kind, for logs and `/readyz`: `memory` or `redis`.
    pub kind: &'static str,
    /// Publishing.
    pub publish: Arc<dyn Publish>,
    /// Recovery of new members.
    pub history: Arc<dyn RoomHistory>,
    /// Reading histories.
    pub read_history: Arc<dyn ReadHistory>,
    /// Messages for users. `None`: they are not configured.
    pub mailboxes: Option<Arc<dyn Mailboxes>>,
    /// Revoking.
    pub revoke: Arc<dyn Revoke>,
    /// Who is in a room. `None`: the namespace has no presence.
    pub presence: Option<Arc<dyn Presence>>,
    /// The events that wait for the application. `None`: it is notified of nothing.
    pub journal: Option<Arc<dyn Journal>>,
    /// To which channels the pages of visitors are subscribed. `None`: the namespace has no `pages`.
    pub pages: Option<Arc<dyn Pages>>,
    /// How many connections a user has. `None`: the namespace has no presence.
    pub connections: Option<Arc<dyn UserConnections>>,
    /// Which connections were restored. `None`: no connection can be.
    pub states: Option<Arc<dyn ConnectionStates>>,
    /// Cursors, sessions and whispers. `None`: the namespace does not serve Action Cable.
    pub cable: Option<Arc<dyn Cable>>,
    /// Whether publications get through.
    pub health: Arc<dyn Health>,
}

/// The engines of all namespaces, by the namespace's id. They start after the shards, which hold this from the beginning.
#[derive(Debug, Default)]
pub struct Engines(OnceLock<Vec<Engine>>);

// === impl Engine ===

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("kind", &self.kind).finish_non_exhaustive()
    }
}

// === impl Engines ===

impl Engines {
    /// Sets the engines, in the order of their namespaces' ids. Called once, before the first connection.
    pub fn set(&self, engines: Vec<Engine>) {
        let _ = self.0.set(engines);
    }

    /// The engine of a namespace.
    pub fn get(&self, namespace: u16) -> Option<&Engine> {
        self.0.get()?.get(usize::from(namespace))
    }

    /// All engines.
    pub fn iter(&self) -> impl Iterator<Item = &Engine> {
        self.0.get().into_iter().flatten()
    }
}
