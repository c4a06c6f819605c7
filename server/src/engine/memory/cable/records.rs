//! The records of cursors and sessions: each has all of one value, or says that there is none any more.

use super::super::durable::{Durable, Kind};
use super::super::times::Times;
use super::{Value, Values};
use crate::client::Client;
use crate::store::{Decoder, Encoder};
use nodevent_protocol::action_cable::stored::CableKey;
use nodevent_protocol::history::Position;
use std::time::Instant;

const NONE: u8 = 0;
const CURSOR: u8 = 1;
/// A cursor that several connections have moved at a time.
const SHARED_CURSOR: u8 = 2;
const SESSION: u8 = 3;
/// The holder of a cursor that was restored: no connection. The next one that reads it is.
const NO_CONNECTION: u64 = u64::MAX;

// === impl Values ===

impl Values {
    /// All names.
    pub(super) fn keys(&self) -> Vec<CableKey> {
        self.0.iter().map(|(key, ..)| key).collect()
    }

    /// Writes what is kept under a name, or that nothing is.
    pub(in super::super) fn write_one(&self, key: CableKey, times: &Times, one: &mut Encoder<'_>) {
        one.array(key.bytes());
        let Some((client, until, value)) = self.0.get(key) else {
            one.u8(NONE);
            return;
        };
        let kind = match value {
            Value::Cursor { holder: Some(_), .. } => CURSOR,
            Value::Cursor { holder: None, .. } => SHARED_CURSOR,
            Value::Session(_) => SESSION,
        };
        one.u8(kind).text(&client.address().to_string()).u64(times.ms(until));
        match value {
            Value::Cursor { position, .. } => one.u64(position.epoch).u64(position.offset),
            Value::Session(text) => one.text(text),
        };
    }

    /// Appends everything, for a store that no server uses.
    pub(in super::super) fn write_all(&self, durable: &Durable) {
        let times = Times::now();
        for key in self.keys() {
            durable.append_part(Kind::Cable, |one| self.write_one(key, &times, one));
        }
    }

    pub(in super::super) fn restore(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (key, kind) = (CableKey::from_bytes(from.array()?), from.u8()?);
        if kind == NONE {
            self.0.remove(key);
            return Some(());
        }
        let (client, until) = (Client::of(from.text()?.parse().ok()?), times.at(from.u64()?));
        let value = match kind {
            CURSOR | SHARED_CURSOR => Value::Cursor {
                position: Position { epoch: from.u64()?, offset: from.u64()? },
                holder: (kind == CURSOR).then_some(NO_CONNECTION),
            },
            SESSION => Value::Session(from.text()?.into()),
            _ => return None,
        };
        let bytes = if let Value::Session(text) = &value { text.len() } else { 0 };
        self.0.insert(key, client, bytes, value, until);
        Some(())
    }

    /// Removes what is too old, after all records were restored.
    pub(in super::super) fn restored(&mut self) {
        self.0.expire(Instant::now());
    }

    /// Changes a value at random. For tests.
    #[cfg(test)]
    pub(in super::super) fn change(&mut self, name: &str, number: u64, until: Instant) -> CableKey {
        let client = Client::of([10, 0, 0, number as u8].into());
        let (cursor, session) = (CableKey::cursor("", name, "s", "i"), CableKey::session("", name));
        match number % 4 {
            0 => {
                self.0.insert(session, client, 1, Value::Session(number.to_string().into()), until);
                session
            }
            1 => {
                self.0.remove(session);
                session
            }
            _ => {
                self.move_cursor(cursor, client, number % 7, Position { epoch: 1, offset: number }, until);
                cursor
            }
        }
    }

    /// Everything that a restart must not change, as text. For tests.
    #[cfg(test)]
    pub(in super::super) fn describe(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .0
            .iter()
            .map(|(key, client, _, value)| match value {
                Value::Cursor { position, holder } => format!("{key} {client:?} {position} {}", holder.is_some()),
                Value::Session(text) => format!("{key} {client:?} {text}"),
            })
            .collect();
        all.sort();
        all
    }
}
