//! Which connections are in a namespace whose application is notified of that, by hooks or in another way, and since when.

use super::Shard;
use super::slot::Slot;
use crate::hooks::HookEvents;
use crate::identity::Identity;
use crate::protocol::Millis;
use hashbrown::HashMap;
use std::sync::Arc;

/// By slot: the namespaces of a connection. Empty if no namespace has hooks for it.
#[derive(Debug, Default)]
pub(super) struct Connected(HashMap<u32, Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    namespace: u16,
    /// Identifies the connection for the application. Its own id would give access to it.
    id: Box<str>,
    identity: Option<Arc<Identity>>,
    since: Millis,
}

// === impl Shard ===

impl Shard {
    /// A connection is in a namespace now; see [`crate::protocol::Core::connected`].
    pub(super) fn note_connected(&mut self, slot: u32, namespace: u16) {
        let namespaces = Arc::clone(&self.namespaces);
        let one = namespaces.get(namespace);
        let is_recorded = |events: &HookEvents| events.connected || events.disconnected;
        let recorder = one.recorder.as_ref().filter(|recorder| is_recorded(recorder.events()));
        let observer = one.observer.get();
        if recorder.is_none() && observer.is_none() {
            return;
        }
        let Some(Slot::Session(session)) = self.slots.get(slot as usize) else { return };
        let identity = session.identities.get(namespace).map(Arc::clone);
        let entries = self.connected.0.entry(slot).or_default();
        if entries.iter().any(|entry| entry.namespace == namespace) {
            return;
        }
        let id: Box<str> = format!("{:016x}", rand::random::<u64>()).into();
        if let Some(recorder) = recorder {
            recorder.connected(&id, identity.as_deref());
        }
        if let (Some(observer), Some(identity)) = (observer, &identity) {
            observer.connected(identity);
        }
        entries.push(Entry { namespace, id, identity, since: self.now });
    }

    /// A connection has left a namespace, or all of them.
    pub(super) fn note_disconnected(&mut self, slot: u32, namespace: Option<u16>, reason: &str) {
        let Some(entries) = self.connected.0.get_mut(&slot) else { return };
        let ended = entries.extract_if(.., |entry| namespace.is_none_or(|one| one == entry.namespace));
        for entry in ended {
            let one = self.namespaces.get(entry.namespace);
            if let (Some(observer), Some(identity)) = (one.observer.get(), &entry.identity) {
                observer.disconnected(identity);
            }
            if let Some(recorder) = &one.recorder {
                let user = entry.identity.as_ref().map(|identity| &*identity.user);
                recorder.disconnected(&entry.id, user, reason, (self.now - entry.since) / 1000);
            }
        }
        if entries.is_empty() {
            self.connected.0.remove(&slot);
        }
    }
}
