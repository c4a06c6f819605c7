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

/// Rooms, keys or mailboxes that are written under one lock.
const STEP: usize = 16;

/// Writes histories.
pub(super) fn write_history<G: Deref<Target = MemoryHistory>>(
    lock: impl Fn() -> G,
    durable: &Durable,
    store: &Store,
) {
    let head = || {
        let history = lock();
        durable.append(Kind::History, |one| history.write_head(&Times::now(), one));
    };
    head();
    let (names, keys) = {
        let history = lock();
        (history.names(), history.idempotency_keys())
    };
    for some in names.chunks(STEP) {
        let (history, times) = (lock(), Times::now());
        for name in some.iter().filter(|name| history.has_room(name)) {
            durable.append(Kind::Room, |one| history.write_room(name, &times, one));
        }
        drop(history);
        store.pause();
    }
    for some in keys.chunks(STEP) {
        let (history, times) = (lock(), Times::now());
        for key in some.iter().filter(|(_, key)| history.has_key(key)) {
            durable.append(Kind::Key, |one| history.write_key(key, &times, one));
        }
        drop(history);
        store.pause();
    }
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
    for some in names.chunks(STEP) {
        let (mailboxes, times) = (lock(), Times::now());
        for name in some.iter().filter(|name| mailboxes.has_mailbox(name)) {
            durable.append(Kind::Mailbox, |one| mailboxes.write_mailbox(name, &times, one));
        }
        drop(mailboxes);
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
            durable.append(Kind::Journal, |one| journal.write_all(&Times::now(), one));
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
