//! The records of a journal: what is appended to the store with each change, what a checkpoint contains, and how a start
//! makes the journal of it.

use super::super::durable::Kind;
use super::super::times::Times;
use super::{Entry, JournalInMemory, State};
use crate::hooks::{DeadLetter, DividedQueue, JournalLimits, NotSent, Part};
use crate::store::{Decoder, Encoder, Source, Store};
use hashbrown::HashMap;

/// Writes the ids of events.
pub(super) fn write_ids(ids: &[Box<str>], one: &mut Encoder<'_>) {
    one.count(ids.len());
    ids.iter().for_each(|id| {
        one.text(id);
    });
}

/// Writes which events were removed.
pub(super) fn write_removed(delivered: &[Box<str>], given_up: &[NotSent], one: &mut Encoder<'_>) {
    write_ids(delivered, one);
    one.count(given_up.len());
    given_up.iter().for_each(|event| {
        one.text(&event.id).text(&event.reason);
    });
}

fn read_ids<'a>(from: &mut Decoder<'a>) -> Option<Vec<&'a str>> {
    (0..from.u32()?).map(|_| from.text()).collect()
}

fn write_entry(entry: &Entry, times: &Times, one: &mut Encoder<'_>) {
    let part = match entry.part {
        Part::Others => 0,
        Part::Connections => 1,
        Part::Members => 2,
    };
    one.u8(part).text(&entry.id).text(&entry.text).u64(times.ms(entry.since));
}

fn read_entry(from: &mut Decoder<'_>, times: &Times) -> Option<Entry> {
    let part = match from.u8()? {
        0 => Part::Others,
        1 => Part::Connections,
        2 => Part::Members,
        _ => return None,
    };
    Some(Entry { part, id: from.text()?.into(), text: from.text()?.into(), since: times.at(from.u64()?) })
}

// === impl State ===

impl State {
    /// Writes those of the last `count` events that the journal still has.
    pub(super) fn write_newest(&self, count: usize, times: &Times, one: &mut Encoder<'_>) {
        let oldest = self.newest.saturating_sub(count as u64);
        let entries: Vec<&Entry> = self.events.iter().filter(|entry| super::number(&entry.id) > oldest).collect();
        one.u64(self.newest).count(entries.len());
        entries.into_iter().for_each(|entry| write_entry(entry, times, one));
    }

    fn restore_entries(&mut self, from: &mut Decoder<'_>, limits: &JournalLimits, times: &Times) -> Option<()> {
        self.newest = self.newest.max(from.u64()?);
        for _ in 0..from.u32()? {
            self.push_entry(read_entry(from, times)?);
        }
        let _ = self.events.drop_excess(limits.size, limits.bytes);
        Some(())
    }

    /// Restores a record of a journal.
    pub(in super::super) fn restore(
        &mut self,
        kind: Kind,
        mut from: Decoder<'_>,
        limits: &JournalLimits,
        times: &Times,
    ) -> Option<()> {
        match kind {
            Kind::JournalAppended => self.restore_entries(&mut from, limits, times)?,
            Kind::JournalRemoved => {
                let mut ids: HashMap<&str, Option<&str>> = HashMap::new();
                ids.extend(read_ids(&mut from)?.into_iter().map(|id| (id, None)));
                for _ in 0..from.u32()? {
                    ids.insert(from.text()?, Some(from.text()?));
                }
                self.remove(&ids);
                let too_many = self.dead.len().saturating_sub(limits.dead_letters);
                self.dead.drain(..too_many);
            }
            Kind::LettersRemoved => {
                let ids = read_ids(&mut from)?;
                self.dead.retain(|letter| !ids.contains(&&*letter.id));
                self.restore_entries(&mut from, limits, times)?;
            }
            _ => {
                (self.events, self.dead) = (DividedQueue::default(), Default::default());
                self.restore_entries(&mut from, limits, times)?;
                for _ in 0..from.u32()? {
                    let (id, text, reason) = (from.text()?.into(), from.text()?.into(), from.text()?.into());
                    self.dead.push_back(DeadLetter { id, text, reason });
                }
            }
        }
        Some(())
    }

    /// Writes everything.
    pub(in super::super) fn write_all(&self, times: &Times, one: &mut Encoder<'_>) {
        one.u64(self.newest).count(self.events.len());
        self.events.iter().for_each(|entry| write_entry(entry, times, one));
        one.count(self.dead.len());
        self.dead.iter().for_each(|letter| {
            one.text(&letter.id).text(&letter.text).text(&letter.reason);
        });
    }

    /// The number of events and of dead letters.
    pub(in super::super) fn counts(&self) -> [usize; 2] {
        [self.events.len(), self.dead.len()]
    }

    /// Calls `each` with every event.
    pub(in super::super) fn events(&self, mut each: impl FnMut(&str, &str)) {
        self.events.iter().for_each(|entry| each(&entry.id, &entry.text));
    }

    /// Everything that a restart must not change, as text. For tests.
    #[cfg(test)]
    pub(in super::super) fn describe(&self) -> Vec<String> {
        let events = self.events.iter().map(|entry| format!("{} {} {:?}", entry.id, entry.text, entry.part));
        let dead = self.dead.iter().map(|letter| format!("{letter:?}"));
        events.chain(dead).chain([self.newest.to_string()]).collect()
    }
}

impl Source for JournalInMemory {
    fn write_all(&self, store: &Store) {
        let Some(durable) = &self.durable else { return };
        let state = self.state();
        durable.append_part(Kind::Journal, |one| state.write_all(&Times::now(), one));
        drop(state);
        store.pause();
    }
}
