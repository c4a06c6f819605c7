//! What a checkpoint of the store contains. It is written in steps, so that others wait for a lock only a short time.

use super::durable::{Durable, Kind};
use super::history::MemoryHistory;
use super::mailbox::MemoryMailboxes;
use super::restore::{self, Restored, StoredNamespace, append_revocation};
use super::times::Times;
use crate::metrics::Metrics;
use crate::store::{Loading, Source, Store, StoreError};
use std::ops::Deref;
use std::sync::Arc;

/// What is written under one lock, unless one room or mailbox has more. Bytes.
const STEP: usize = 64 * 1024;
/// What a room, a key or a mailbox counts for, in addition to its record: the time for finding it. Bytes.
const OVERHEAD: usize = 128;

/// Writes histories.
pub(super) fn write_history<G: Deref<Target = MemoryHistory>>(
    lock: impl Fn() -> G,
    durable: &Durable,
    store: &Store,
) {
    let head = || {
        let history = lock();
        durable.append_part(Kind::History, |one| history.write_head(&Times::now(), one));
    };
    head();
    let (names, keys) = {
        let history = lock();
        (history.names(), history.idempotency_keys())
    };
    in_steps(&names, &lock, store, |history, name| match history.has_room(name) {
        true => durable.append_part(Kind::Room, |one| history.write_room(name, &Times::now(), one)),
        false => 0,
    });
    in_steps(&keys, &lock, store, |history, key| match history.has_key(&key.1) {
        true => durable.append_part(Kind::Key, |one| history.write_key(key, &Times::now(), one)),
        false => 0,
    });
    // Rooms that were forgotten meanwhile are in no record of their own.
    head();
}

/// Writes mailboxes.
pub(super) fn write_mailboxes<G: Deref<Target = MemoryMailboxes>>(
    lock: impl Fn() -> G,
    durable: &Durable,
    store: &Store,
) {
    let names = lock().names();
    in_steps(&names, &lock, store, |mailboxes, name| match mailboxes.has_mailbox(name) {
        true => durable.append_part(Kind::Mailbox, |one| mailboxes.write_mailbox(name, &Times::now(), one)),
        false => 0,
    });
}

/// Writes all, some at a time under a lock. `write` returns the length of a record.
fn in_steps<T, G>(all: &[T], lock: impl Fn() -> G, store: &Store, mut write: impl FnMut(&G, &T) -> usize) {
    let mut left = all;
    while !left.is_empty() {
        let (locked, mut bytes) = (lock(), 0);
        while bytes < STEP
            && let Some((one, rest)) = left.split_first()
        {
            bytes += OVERHEAD + write(&locked, one);
            left = rest;
        }
        drop(locked);
        store.pause();
    }
}

/// Makes a checkpoint of a store that no server uses.
///
/// # Errors
/// [`StoreError`].
pub fn compact(loading: Loading, settings: &[StoredNamespace]) -> Result<(), StoreError> {
    let restored = restore::restore(loading, settings, Arc::new(Metrics::default()))?;
    let store = restored.open.store();
    for namespace in restored.namespaces {
        let durable = Durable::new(store.clone(), namespace.number());
        store.add_source(Arc::new(Resting { namespace, durable }));
    }
    restored.open.allow_checkpoints();
    store.checkpoint();
    Ok(())
}

/// A namespace that no server uses.
struct Resting {
    namespace: Restored,
    durable: Durable,
}

impl Source for Resting {
    fn write_all(&self, store: &Store) {
        let Self { namespace, durable } = self;
        write_history(|| namespace.history(), durable, store);
        if let Some(mailboxes) = namespace.mailboxes() {
            write_mailboxes(|| mailboxes, durable, store);
        }
        if let Some(journal) = namespace.journal() {
            durable.append_part(Kind::Journal, |one| journal.write_all(&Times::now(), one));
        }
        if let Some(values) = namespace.cable() {
            values.write_all(durable);
        }
        if let Some(pages) = namespace.pages() {
            pages.write_all(durable);
        }
        for revocation in namespace.revocations() {
            append_revocation(durable, revocation);
        }
    }
}
