//! Reads a store: makes what each namespace had of the records.

use super::cable::Values as CableValues;
use super::durable::{Durable, Kind};
use super::history::MemoryHistory;
use super::hooks::State as JournalState;
use super::mailbox::MemoryMailboxes;
use super::pages::State as PagesState;
use super::times::Times;
use crate::config::history::History;
use crate::hooks::JournalLimits;
use crate::mailbox::MailboxSettings;
use crate::revocation::{Revocation, Target};
use crate::store::{Decoder, Loading, OpenStore, Source, Store, StoreError};
use crate::{clock::now_ms, metrics::Metrics};
use serde_json::{json, value::RawValue};
use std::collections::HashMap;
use std::sync::Arc;

/// What a namespace keeps in the store.
#[derive(Debug, Clone)]
pub struct StoredNamespace {
    /// The name of the namespace.
    pub name: String,
    /// Its histories.
    pub history: History,
    /// Its mailboxes, if it has any.
    pub mailboxes: Option<MailboxSettings>,
    /// Its journal of hooks, if it has one.
    pub journal: Option<JournalLimits>,
    /// Whether clients of Action Cable connect to it.
    pub serves_cable: bool,
    /// Whether the application subscribes pages.
    pub has_pages: bool,
}

/// What a namespace had.
#[derive(Debug)]
pub struct Restored {
    settings: StoredNamespace,
    number: u16,
    history: MemoryHistory,
    has_head: bool,
    mailboxes: Option<MemoryMailboxes>,
    journal: Option<JournalState>,
    cable: Option<CableValues>,
    pages: Option<PagesState>,
    revocations: HashMap<Target, Revocation>,
}

/// What a store had, and the store.
#[derive(Debug)]
pub struct RestoredStore {
    /// The store. Closed when it is dropped.
    pub open: OpenStore,
    /// What each namespace had, in the order of the parameters.
    pub namespaces: Vec<Restored>,
}

/// What a store has, to be read by people.
#[derive(Debug)]
pub struct Contents {
    namespaces: Vec<Restored>,
    /// Bytes of other namespaces and of what the configuration does not have any more.
    others: usize,
}

/// Records of namespaces and capabilities that the configuration does not have any more.
#[derive(Debug)]
struct Orphans(Vec<u8>);

/// What a namespace has for the capabilities of the engine.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) history: MemoryHistory,
    pub(super) mailboxes: Option<MemoryMailboxes>,
    pub(super) journal: Option<JournalState>,
    pub(super) cable: CableValues,
    pub(super) pages: PagesState,
    pub(super) revocations: Vec<Revocation>,
    pub(super) durable: Option<Durable>,
}

/// Reads the records of a store.
fn read(loading: &mut Loading, settings: &[StoredNamespace]) -> Result<(Vec<Restored>, Orphans), StoreError> {
    let mut namespaces = Vec::with_capacity(settings.len());
    for one in settings {
        namespaces.push(Restored::empty(one.clone(), loading.namespace(&one.name)?));
    }
    let (times, mut orphans) = (Times::now(), Orphans(Vec::new()));
    loading.read(|record| {
        let kind = Kind::parse(record.kind)?;
        let of_record = namespaces.iter_mut().find(|one| one.number == record.namespace);
        match of_record.map(|namespace| namespace.restore(kind, record.contents, &times)) {
            Some(Restoring::Done) => Some(()),
            Some(Restoring::Malformed) => None,
            Some(Restoring::NotConfigured) | None => {
                orphans.0.extend_from_slice(record.raw);
                Some(())
            }
        }
    })?;
    namespaces.iter_mut().for_each(Restored::finish);
    Ok((namespaces, orphans))
}

/// Opens and reads a store, and starts to write to it.
///
/// # Errors
/// [`StoreError`].
pub fn restore(
    mut loading: Loading,
    settings: &[StoredNamespace],
    metrics: Arc<Metrics>,
) -> Result<RestoredStore, StoreError> {
    let (mut namespaces, orphans) = read(&mut loading, settings)?;
    let lacks_groups = loading.lacks_groups();
    let open = loading.start(metrics)?;
    let store = open.store();
    if lacks_groups {
        tracing::warn!(
            "the server did not stop by itself, and `store: sync` is an interval: clients load again what they show"
        );
    }
    for one in &mut namespaces {
        let now = Times::now();
        if lacks_groups {
            one.history.jump(MemoryHistory::random_absent_epoch(), std::time::Instant::now());
            store.append(Kind::Jumped as u8, one.number, |to| one.history.write_jump(now.now_ms(), to));
        }
        if !one.has_head {
            store.append(Kind::History as u8, one.number, |to| one.history.write_head(&now, to));
        }
    }
    // Clients must not learn a position that another start does not know.
    store.flush();
    if !orphans.0.is_empty() {
        store.add_source(Arc::new(orphans));
    }
    Ok(RestoredStore { open, namespaces })
}

/// Reads a store that no server uses.
///
/// # Errors
/// [`StoreError`].
pub fn inspect(loading: &mut Loading, settings: &[StoredNamespace]) -> Result<Contents, StoreError> {
    let (namespaces, orphans) = read(loading, settings)?;
    Ok(Contents { namespaces, others: orphans.0.len() })
}

enum Restoring {
    Done,
    Malformed,
    NotConfigured,
}

// === impl Restored ===

impl Restored {
    fn empty(settings: StoredNamespace, number: u16) -> Self {
        Self {
            number,
            history: MemoryHistory::restoring(settings.history.max_memory),
            has_head: false,
            mailboxes: settings.mailboxes.as_ref().map(MemoryMailboxes::restoring),
            journal: settings.journal.map(|_| JournalState::default()),
            cable: settings.serves_cable.then(CableValues::default),
            pages: settings.has_pages.then(PagesState::default),
            revocations: HashMap::new(),
            settings,
        }
    }

    fn restore(&mut self, kind: Kind, from: Decoder<'_>, times: &Times) -> Restoring {
        let policy = &self.settings.history;
        let history = &mut self.history;
        let restored = match kind {
            Kind::Published => history.restore_published(from, policy, times),
            Kind::Room => history.restore_room(from, policy, times),
            Kind::Key => history.restore_key(from, times),
            Kind::Jumped => history.restore_jump(from, times),
            Kind::History => {
                self.has_head = true;
                history.restore_head(from, times)
            }
            Kind::Revoked => self.restore_revocation(from),
            Kind::Cable => {
                let Some(values) = &mut self.cable else { return Restoring::NotConfigured };
                values.restore(from, times)
            }
            Kind::Page => {
                let Some(pages) = &mut self.pages else { return Restoring::NotConfigured };
                pages.restore(from, times)
            }
            Kind::JournalAppended | Kind::JournalRemoved | Kind::LettersRemoved | Kind::Journal => {
                let Some((state, limits)) = self.journal.as_mut().zip(self.settings.journal) else {
                    return Restoring::NotConfigured;
                };
                state.restore(kind, from, &limits, times)
            }
            _ => {
                let Some(mailboxes) = &mut self.mailboxes else { return Restoring::NotConfigured };
                match kind {
                    Kind::MailboxStored => mailboxes.restore_stored(from, times),
                    Kind::MailboxAcknowledged => mailboxes.restore_acknowledged(from, times),
                    Kind::MailboxConnected => mailboxes.restore_connected(from, times),
                    Kind::MailboxDisconnected => mailboxes.restore_disconnected(from, times),
                    _ => mailboxes.restore_mailbox(from, times),
                }
            }
        };
        restored.map_or(Restoring::Malformed, |()| Restoring::Done)
    }

    fn restore_revocation(&mut self, mut from: Decoder<'_>) -> Option<()> {
        let (user, room) = (from.optional_text()?.map(Into::into), from.optional_text()?.map(Into::into));
        let (target, before_ms, until_ms) = (Target { user, room }, from.u64()?, from.u64()?);
        if until_ms > now_ms() {
            let one = self.revocations.entry(target.clone()).or_insert(Revocation { target, before_ms, until_ms });
            (one.before_ms, one.until_ms) = (one.before_ms.max(before_ms), one.until_ms.max(until_ms));
        }
        Some(())
    }

    fn finish(&mut self) {
        self.history.restored();
        if let Some((mailboxes, settings)) = self.mailboxes.as_mut().zip(self.settings.mailboxes.as_ref()) {
            mailboxes.restored(settings);
        }
        if let Some(values) = &mut self.cable {
            values.restored();
        }
        if let Some(pages) = &mut self.pages {
            pages.restored();
        }
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    pub(super) fn history(&self) -> &MemoryHistory {
        &self.history
    }

    pub(super) fn mailboxes(&self) -> Option<&MemoryMailboxes> {
        self.mailboxes.as_ref()
    }

    pub(super) fn journal(&self) -> Option<&JournalState> {
        self.journal.as_ref()
    }

    pub(super) fn cable(&self) -> Option<&CableValues> {
        self.cable.as_ref()
    }

    pub(super) fn pages(&self) -> Option<&PagesState> {
        self.pages.as_ref()
    }

    pub(super) fn revocations(&self) -> impl Iterator<Item = &Revocation> {
        self.revocations.values()
    }

    /// The parts for the engine's capabilities.
    pub(super) fn into_parts(self, store: &Store) -> Parts {
        Parts {
            history: self.history,
            mailboxes: self.mailboxes,
            journal: self.journal,
            cable: self.cable.unwrap_or_default(),
            pages: self.pages.unwrap_or_default(),
            revocations: self.revocations.into_values().collect(),
            durable: Some(Durable::new(store.clone(), self.number)),
        }
    }

    /// Everything that a restart must not change, as text.
    #[cfg(test)]
    pub(super) fn describe(&self) -> Vec<String> {
        let mut all = self.history.describe();
        all.extend(self.mailboxes.iter().flat_map(MemoryMailboxes::describe));
        all.extend(self.journal.iter().flat_map(JournalState::describe));
        all.extend(self.cable.iter().flat_map(CableValues::describe));
        all.extend(self.pages.iter().flat_map(PagesState::describe));
        let mut revoked: Vec<_> =
            self.revocations.values().map(|one| format!("{:?} {:?}", one.target.user, one.before_ms)).collect();
        revoked.sort();
        all.extend(revoked);
        all
    }
}

/// Appends a revocation.
pub(super) fn append_revocation(durable: &Durable, revocation: &Revocation) -> crate::store::LogPosition {
    let Revocation { target, before_ms, until_ms } = revocation;
    durable.append(Kind::Revoked, |one| {
        one.optional_text(target.user.as_deref())
            .optional_text(target.room.as_deref())
            .u64(*before_ms)
            .u64(*until_ms);
    })
}

// === impl Parts ===

impl Parts {
    /// The parts of a namespace without a store.
    pub(super) fn empty(max_memory: usize, mailboxes: Option<&MailboxSettings>) -> Self {
        Self {
            history: MemoryHistory::new(max_memory),
            mailboxes: mailboxes.cloned().map(MemoryMailboxes::new),
            journal: None,
            cable: CableValues::default(),
            pages: PagesState::default(),
            revocations: Vec::new(),
            durable: None,
        }
    }
}

// === impl Contents ===

impl Contents {
    /// A summary of each namespace: a JSON object.
    pub fn summary(&self) -> impl Iterator<Item = serde_json::Value> + '_ {
        self.namespaces.iter().map(|one| {
            let [rooms, publications, keys] = one.history.counts();
            let [mailboxes, messages] = one.mailboxes.as_ref().map_or([0; 2], MemoryMailboxes::counts);
            let [events, dead_letters] = one.journal.as_ref().map_or([0; 2], JournalState::counts);
            json!({
                "namespace": one.settings.name, "rooms": rooms, "publications": publications, "idempotency_keys": keys,
                "mailboxes": mailboxes, "messages": messages, "hook_events": events, "dead_letters": dead_letters,
                "revocations": one.revocations.len(),
            })
        })
    }

    /// Bytes of what the configuration does not have any more.
    pub fn other_bytes(&self) -> usize {
        self.others
    }

    /// Calls `each` with everything that was published, stored or revoked, as one JSON object each.
    pub fn export(&self, mut each: impl FnMut(serde_json::Value)) {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
        let times = Times::now();
        for one in &self.namespaces {
            let name = &one.settings.name;
            one.history.publications(&times, |publication, at| {
                let position = publication.position.map(|position| position.to_string());
                each(json!({
                    "namespace": name, "kind": "publication", "topic": &*publication.topic, "position": position, "at": at,
                    "publication": raw(&publication.text),
                }));
            });
            if let Some(mailboxes) = &one.mailboxes {
                mailboxes.messages(|mailbox, message| {
                    each(json!({
                        "namespace": name, "kind": "message", "mailbox": mailbox, "id": message.id.to_string(),
                        "message": raw(&message.text),
                    }));
                });
            }
            if let Some(journal) = &one.journal {
                journal.events(|id, text| {
                    each(json!({"namespace": name, "kind": "hook_event", "id": id, "event": raw(text)}));
                });
            }
            for Revocation { target, before_ms, until_ms } in one.revocations.values() {
                each(json!({
                    "namespace": name, "kind": "revocation", "user": target.user, "room": target.room,
                    "before": before_ms, "until": until_ms,
                }));
            }
        }
    }
}

impl Source for Orphans {
    fn write_all(&self, store: &Store) {
        store.append_raw(&self.0);
        store.pause();
    }
}

#[cfg(test)]
mod tests;
