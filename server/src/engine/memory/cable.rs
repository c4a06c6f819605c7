//! What the memory engine keeps for Action Cable. With a store, a restart restores it, as it restores the histories.

mod records;

use super::Memory;
use super::durable::{Durable, Kind};
use super::times::Times;
use crate::cable::{Cable, CableQuery, CableRequest, CableWrite, SESSION_LIFETIME, cursor_lifetime};
use crate::client::Client;
use crate::engine::cable_places::CablePlaces;
use crate::engine::unpositioned;
use crate::engine::whispers::Whispers;
use crate::metrics::Metrics;
use crate::outcome::Outcome;
use crate::store::{Source, Store};
use nodevent_protocol::action_cable::stored::CableKey;
use nodevent_protocol::history::Position;
use nodevent_protocol::publication;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct CableInMemory {
    memory: Arc<Memory>,
    /// Locked briefly, and never across an await.
    values: Mutex<Values>,
    whispers: Whispers,
    metrics: Arc<Metrics>,
    /// `None`: there is no store.
    durable: Option<Durable>,
}

/// Values that a checkpoint writes under one lock.
const STEP: usize = 256;

/// Cursors and sessions.
#[derive(Debug, Default)]
pub(super) struct Values(CablePlaces<Value>);

#[derive(Debug)]
enum Value {
    Cursor {
        position: Position,
        /// The connection that moves it. `None`: several connections have at a time, so it is no page's own.
        holder: Option<u64>,
    },
    Session(Box<str>),
}

// === impl Values ===

impl Values {
    fn read(&mut self, query: CableQuery) -> Option<Box<str>> {
        match query {
            CableQuery::Cursor { key, holder: new } => match self.0.get_mut(key) {
                Some(Value::Cursor { position, holder: Some(holder) }) => {
                    *holder = new;
                    Some(position.to_string().into())
                }
                _ => None,
            },
            CableQuery::Session { key } => match self.0.remove(key) {
                Some(Value::Session(text)) => Some(text),
                _ => None,
            },
        }
    }

    fn move_cursor(&mut self, key: CableKey, client: Client, new: u64, to: Position, until: Instant) {
        let Some(Value::Cursor { position, holder }) = self.0.get_mut(key) else {
            self.0.insert(key, client, 0, Value::Cursor { position: to, holder: Some(new) }, until);
            return;
        };
        match *holder == Some(new) {
            true => *position = to,
            false => *holder = None,
        }
        self.0.keep(key, until);
    }
}

// === impl CableInMemory ===

impl CableInMemory {
    /// Starts with these values. Called on the runtime.
    pub(super) fn start(
        memory: &Arc<Memory>,
        metrics: Arc<Metrics>,
        values: Values,
        durable: Option<Durable>,
    ) -> Arc<Self> {
        let (whispers, mut waiting) = Whispers::new();
        let publisher = Arc::clone(memory);
        tokio::spawn(async move {
            while let Some(whisper) = waiting.next().await {
                if let Ok(publication) = publication::parse(whisper.text.as_bytes()) {
                    let fanout = publisher.fanout.lock().await;
                    let permit = fanout.reserve(whisper.text.len()).await;
                    permit.broadcast(unpositioned(&publication));
                }
            }
        });
        let (memory, values) = (Arc::clone(memory), Mutex::new(values));
        let this = Arc::new(Self { memory, values, whispers, metrics, durable });
        if let Some(durable) = &this.durable {
            durable.store.add_source(Arc::clone(&this) as _);
        }
        this
    }

    /// Appends what is kept under a name, if there is a store. If it is lost, a page receives again what it has.
    fn note(&self, values: &Values, key: CableKey) {
        if let Some(durable) = &self.durable {
            durable.note_lazily(Kind::Cable, |one| values.write_one(key, &Times::now(), one));
        }
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        // A panic leaves nothing in it that could not be used.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cable for CableInMemory {
    fn read(&self, request: CableRequest) -> Outcome<Option<Box<str>>> {
        let mut values = self.values();
        values.0.expire(Instant::now());
        let found = values.read(request.query);
        if let (CableQuery::Session { key }, Some(_)) = (request.query, &found) {
            self.note(&values, key);
        }
        Outcome::Ready(found)
    }

    fn write(&self, client: Client, write: CableWrite) {
        let (mut values, now) = (self.values(), Instant::now());
        values.0.expire(now);
        match write {
            CableWrite::Cursor { key, holder, stream, position } => {
                let Some(retention) = self.memory.policy.of(&stream) else { return };
                let until = now + cursor_lifetime(retention.age);
                values.move_cursor(key, client, holder, position, until);
                self.note(&values, key);
            }
            CableWrite::Session { key, text } => {
                values.0.insert(key, client, text.len(), Value::Session(text), now + SESSION_LIFETIME);
                self.note(&values, key);
            }
        }
    }

    fn whisper(&self, client: Client, room: &str, text: String) {
        if !self.whispers.push(client, room, text) {
            self.metrics.dropped_whispers.fetch_add(1, Relaxed);
        }
    }
}

impl Source for CableInMemory {
    fn write_all(&self, store: &Store) {
        let Some(durable) = &self.durable else { return };
        let keys = self.values().keys();
        for some in keys.chunks(STEP) {
            let (values, times) = (self.values(), Times::now());
            for key in some {
                durable.append_part(Kind::Cable, |one| values.write_one(*key, &times, one));
            }
            drop(values);
            store.pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    const AT: Position = Position { epoch: 1, offset: 5 };

    fn client() -> Client {
        Client::of(IpAddr::from([10, 0, 0, 1]))
    }

    #[test]
    fn a_cursor_is_moved_by_the_connection_that_has_read_it_last() {
        let (mut values, until) = (Values::default(), Instant::now() + Duration::from_secs(60));
        let key = CableKey::cursor("", "p", "s", "i");
        let read = |values: &mut Values, holder| values.read(CableQuery::Cursor { key, holder });
        assert_eq!(read(&mut values, 1), None);
        values.move_cursor(key, client(), 1, AT, until);
        assert_eq!(read(&mut values, 2).as_deref(), Some("0000000000000001:5"));
        values.move_cursor(key, client(), 2, Position { offset: 6, ..AT }, until);
        assert_eq!(read(&mut values, 3).as_deref(), Some("0000000000000001:6"));
    }

    #[test]
    fn a_cursor_that_two_connections_move_is_not_read_any_more() {
        let (mut values, until) = (Values::default(), Instant::now() + Duration::from_secs(60));
        let key = CableKey::cursor("", "p", "s", "i");
        for holder in [1, 2, 1, 2] {
            values.move_cursor(key, client(), holder, AT, until);
        }
        assert_eq!(values.read(CableQuery::Cursor { key, holder: 3 }), None);
        values.move_cursor(key, client(), 3, AT, until);
        assert_eq!(values.read(CableQuery::Cursor { key, holder: 4 }), None, "and stays so");
    }

    #[test]
    fn a_session_is_taken_once() {
        let (mut values, until) = (Values::default(), Instant::now() + Duration::from_secs(60));
        let key = CableKey::session("", "s");
        values.0.insert(key, client(), 1, Value::Session("x".into()), until);
        assert_eq!(values.read(CableQuery::Session { key }).as_deref(), Some("x"));
        assert_eq!(values.read(CableQuery::Session { key }), None);
    }
}
