//! The journal of hooks in this process. Without a store it ends with the process.

mod records;

use super::durable::{Durable, Kind};
use super::times::Times;
use crate::hooks::{
    BATCH_BYTES, DeadLetter, DeadLetters, DividedQueue, Dropped, HookEvent, Journal, JournalLimits, NotSent, Part,
    Start, Stored, Taken,
};
use crate::outcome::Pending;
use crate::store::Encoder;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The journal of one namespace.
#[derive(Debug)]
pub(super) struct JournalInMemory {
    limits: JournalLimits,
    /// Distinguishes the ids of this process from those of others.
    run: u32,
    state: Mutex<State>,
    durable: Option<Durable>,
}

/// The events of a journal.
#[derive(Debug, Default)]
pub(super) struct State {
    newest: u64,
    events: DividedQueue<Entry>,
    dead: VecDeque<DeadLetter>,
}

#[derive(Debug)]
struct Entry {
    id: Box<str>,
    text: Box<str>,
    part: Part,
    since: Instant,
}

// === impl State ===

impl State {
    fn push(&mut self, run: u32, part: Part, text: Box<str>) {
        let id = format!("{run:08x}-{}", self.newest + 1).into();
        self.push_entry(Entry { id, text, part, since: Instant::now() });
    }

    fn push_entry(&mut self, entry: Entry) {
        self.newest = self.newest.max(number(&entry.id));
        self.events.push(entry.part, entry.text.len(), entry);
    }

    /// Removes events. Those with a reason become dead letters.
    fn remove(&mut self, ids: &HashMap<&str, Option<&str>>) {
        let dead = &mut self.dead;
        self.events.retain(|event| {
            let Some(reason) = ids.get(&*event.id) else { return true };
            if let Some(reason) = reason {
                let (id, text) = (event.id.clone(), event.text.clone());
                dead.push_back(DeadLetter { id, text, reason: (*reason).into() });
            }
            false
        });
    }
}

/// The number of an id. 0: it is not one.
fn number(id: &str) -> u64 {
    id.rsplit('-').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

// === impl JournalInMemory ===

impl JournalInMemory {
    /// A journal with these events.
    pub(super) fn new(limits: JournalLimits, state: State, durable: Option<Durable>) -> Arc<Self> {
        let journal = Arc::new(Self { limits, run: rand::random(), state: Mutex::new(state), durable });
        if let Some(durable) = &journal.durable {
            durable.store.add_source(Arc::clone(&journal) as _);
        }
        journal
    }

    /// Everything that a restart must not change, as text.
    #[cfg(test)]
    pub(super) fn describe(&self) -> Vec<String> {
        self.state().describe()
    }

    /// Completes with a value as soon as the record is on disk. The caller holds the lock.
    fn when_written<T: Send + 'static>(
        &self,
        value: T,
        kind: Kind,
        write: impl FnOnce(&mut Encoder<'_>),
    ) -> Pending<'_, T> {
        let Some(durable) = &self.durable else { return Box::pin(ready(Ok(value))) };
        let position = durable.append(kind, write);
        Box::pin(async move {
            durable.written(position).await?;
            Ok(value)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for JournalInMemory {
    fn append<'a>(&'a self, events: &'a [HookEvent]) -> Pending<'a, Dropped> {
        // Each attempt would append them again.
        if let Some(Err(error)) = self.durable.as_ref().map(Durable::check) {
            return Box::pin(ready(Err(error)));
        }
        let mut state = self.state();
        // Keys do not matter: no other server reports to this journal.
        events.iter().for_each(|event| state.push(self.run, event.part, event.text.clone()));
        let (count, times) = (events.len(), Times::now());
        let dropped = state.events.drop_excess(self.limits.size, self.limits.bytes);
        let written = self.when_written((), Kind::JournalAppended, |one| state.write_newest(count, &times, one));
        drop(state);
        Box::pin(async move {
            // The journal has them, also if the disk does not within the time. An error would let the caller repeat them, and
            // each repetition would push out others.
            let _ = written.await;
            Ok(dropped)
        })
    }

    fn take<'a>(&'a self, _lease: Duration, max: usize, from: &'a Start) -> Pending<'a, Taken> {
        let state = self.state();
        let mut bytes = 0;
        let is_in_batch = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += entry.text.len();
            is_first || bytes <= BATCH_BYTES
        };
        let stored =
            |entry: &Entry| Stored { id: entry.id.clone(), text: entry.text.clone(), age: entry.since.elapsed() };
        let is_there = |entry: &&Entry| match from {
            Start::Oldest => true,
            Start::At(id) => number(&entry.id) >= number(id),
            Start::After(id) => number(&entry.id) > number(id),
        };
        let events = state.events.iter().filter(is_there).take(max).take_while(is_in_batch).map(stored).collect();
        let (waiting, dead) = (state.events.len() as u64, state.dead.len() as u64);
        Box::pin(ready(Ok(Taken { is_sender: true, events, waiting, dead })))
    }

    fn remove<'a>(&'a self, delivered: &'a [Box<str>], given_up: &'a [NotSent]) -> Pending<'a, u64> {
        let mut ids: HashMap<&str, Option<&str>> = delivered.iter().map(|id| (&**id, None)).collect();
        ids.extend(given_up.iter().map(|event| (&*event.id, Some(&*event.reason))));
        let mut state = self.state();
        state.remove(&ids);
        let too_many = state.dead.len().saturating_sub(self.limits.dead_letters);
        state.dead.drain(..too_many);
        self.when_written(too_many as u64, Kind::JournalRemoved, |one| {
            records::write_removed(delivered, given_up, one)
        })
    }

    fn dead_letters<'a>(&'a self, after: &'a str, max: usize) -> Pending<'a, DeadLetters> {
        let state = self.state();
        // The letter of this id may be gone by now. Later ones have larger numbers.
        let is_later = |letter: &&DeadLetter| number(&letter.id) > number(after);
        let letters = state.dead.iter().filter(is_later).take(max).cloned().collect();
        Box::pin(ready(Ok(DeadLetters { count: state.dead.len() as u64, letters })))
    }

    fn clear_dead_letters<'a>(&'a self, resend: bool, ids: &'a [String], max: usize) -> Pending<'a, u64> {
        let mut state = self.state();
        let mut cleared = Vec::new();
        state.dead.retain(|letter| {
            let is_meant = match ids {
                [] => cleared.len() < max,
                ids => ids.iter().any(|id| **id == *letter.id),
            };
            if is_meant {
                cleared.push((letter.id.clone(), letter.text.clone()));
            }
            !is_meant
        });
        let count = cleared.len() as u64;
        let removed: Vec<Box<str>> = cleared.iter().map(|(id, _)| id.clone()).collect();
        let mut resent = 0;
        if resend {
            resent = cleared.len();
            cleared.into_iter().for_each(|(_, text)| state.push(self.run, Part::Others, text));
        }
        let times = Times::now();
        self.when_written(count, Kind::LettersRemoved, |one| {
            records::write_ids(&removed, one);
            state.write_newest(resent, &times, one);
        })
    }
}
