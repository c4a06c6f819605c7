//! The records of mailboxes: what is appended to the store with each change, what a checkpoint contains, and how a start
//! makes the mailboxes of it.
//!
//! What a record says happens again, at its time, with the results that were confirmed: the ids of messages are in the
//! records, and limits that would reject a message now do not apply.

use super::super::times::Times;
use super::{Mailbox, MemoryMailboxes, StoredNow, key_memory};
use crate::mailbox::{Acknowledgement, MailboxSettings, MessageId, StoredMessage};
use crate::store::{Decoder, Encoder};
use std::sync::Arc;
use std::time::Instant;

fn read_id(from: &mut Decoder<'_>) -> Option<MessageId> {
    MessageId::parse(from.text()?)
}

/// Writes a message that was just stored.
pub(in super::super) fn write_stored(
    name: &str,
    stored: &StoredNow,
    expiry: Option<Instant>,
    key: Option<&str>,
    times: &Times,
    one: &mut Encoder<'_>,
) {
    let message = &stored.message;
    one.text(name).u64(times.now_ms()).text(&message.id.to_string()).text(&message.text);
    one.optional(expiry.map(|at| times.ms(at))).optional_text(key);
}

/// Writes an acknowledgement.
pub(in super::super) fn write_acknowledged(
    name: &str,
    which: &Acknowledgement,
    times: &Times,
    one: &mut Encoder<'_>,
) {
    one.text(name).u64(times.now_ms());
    one.optional_text(which.up_to.map(|id| id.to_string()).as_deref()).count(which.ids.len());
    for id in &which.ids {
        one.text(&id.to_string());
    }
}

/// Writes that a connection of a user was opened or closed.
pub(in super::super) fn write_connection(name: &str, times: &Times, one: &mut Encoder<'_>) {
    one.text(name).u64(times.now_ms());
}

// === impl MemoryMailboxes ===

impl MemoryMailboxes {
    /// Empty mailboxes that accept whatever was accepted before. [`MemoryMailboxes::restored`] sets the limits.
    pub(in super::super) fn restoring(settings: &MailboxSettings) -> Self {
        Self::new(MailboxSettings { max_memory: usize::MAX, max_mailboxes: usize::MAX, ..settings.clone() })
    }

    pub(in super::super) fn restore_stored(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (name, at, id) = (from.text()?, times.at(from.u64()?), read_id(&mut from)?);
        let (text, expiry, key) = (from.text()?, from.optional()?, from.optional_text()?);
        self.end_all(at);
        let message = Arc::new(StoredMessage { id, text: text.into() });
        self.insert(name, message, expiry.map(|ms| times.at(ms)), key, at);
        Some(())
    }

    pub(in super::super) fn restore_acknowledged(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (name, at) = (from.text()?, times.at(from.u64()?));
        let up_to = match from.optional_text()? {
            Some(id) => Some(MessageId::parse(id)?),
            None => None,
        };
        let ids = (0..from.u32()?).map(|_| read_id(&mut from)).collect::<Option<Vec<_>>>()?;
        self.acknowledge(name, &Acknowledgement { up_to, ids }, at);
        Some(())
    }

    pub(in super::super) fn restore_connected(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (name, at) = (from.text()?, times.at(from.u64()?));
        let _ = self.connected(name, at);
        Some(())
    }

    pub(in super::super) fn restore_disconnected(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (name, at) = (from.text()?, times.at(from.u64()?));
        self.disconnected(name, at);
        Some(())
    }

    /// The names of all mailboxes. Those of a user's devices are in the order in which they are forgotten.
    pub(in super::super) fn names(&self) -> Vec<Arc<str>> {
        let own = self.mailboxes.iter().filter(|(_, mailbox)| !mailbox.is_of_device).map(|(name, _)| name);
        own.chain(self.devices.values().flatten()).cloned().collect()
    }

    pub(in super::super) fn has_mailbox(&self, name: &str) -> bool {
        self.mailboxes.contains_key(name)
    }

    /// Writes a mailbox.
    pub(in super::super) fn write_mailbox(&self, name: &str, times: &Times, one: &mut Encoder<'_>) {
        let Some(mailbox) = self.mailboxes.get(name) else { return };
        let flags = u8::from(mailbox.was_seen) | u8::from(mailbox.is_of_device) << 1;
        one.text(name).u8(flags).u32(mailbox.connections).text(&mailbox.newest.to_string());
        one.optional(mailbox.ends.map(|at| times.ms(at))).count(mailbox.messages.len());
        for (message, expiry) in mailbox.messages.values() {
            one.text(&message.id.to_string()).text(&message.text).optional(expiry.map(|at| times.ms(at)));
        }
        one.count(mailbox.key_expiries.len());
        for (at, key) in &mailbox.key_expiries {
            let id = mailbox.keys.get(key).copied().unwrap_or(MessageId::FIRST);
            one.u64(times.ms(*at)).text(key).text(&id.to_string());
        }
    }

    pub(in super::super) fn restore_mailbox(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (name, flags, connections, newest) = (from.text()?, from.u8()?, from.u32()?, read_id(&mut from)?);
        let ends = from.optional()?.map(|ms| times.at(ms));
        let (was_seen, is_of_device) = (flags & 1 != 0, flags & 2 != 0);
        let mut mailbox = Mailbox { connections, was_seen, is_of_device, newest, ends, ..Mailbox::default() };
        for _ in 0..from.u32()? {
            let (id, text) = (read_id(&mut from)?, from.text()?);
            let expiry = from.optional()?.map(|ms| times.at(ms));
            mailbox.bytes += text.len();
            mailbox.expiries.extend(expiry.map(|at| (at, id)));
            mailbox.messages.insert(id, (Arc::new(StoredMessage { id, text: text.into() }), expiry));
        }
        for _ in 0..from.u32()? {
            let (at, key, id) = (times.at(from.u64()?), from.text()?, read_id(&mut from)?);
            mailbox.key_bytes += key_memory(key);
            mailbox.keys.insert(key.into(), id);
            mailbox.key_expiries.push_back((at, key.into()));
        }
        self.remove(name);
        let shared: Arc<str> = name.into();
        self.bytes += super::MAILBOX_OVERHEAD + name.len() + mailbox.memory();
        self.unseen += usize::from(!mailbox.was_seen);
        self.ends.extend(mailbox.ends.map(|at| (at, Arc::clone(&shared))));
        if is_of_device {
            let user = nodevent_protocol::mailbox::user_and_device(name).0;
            self.devices.entry(user.into()).or_default().push_back(Arc::clone(&shared));
        }
        self.mailboxes.insert(shared, mailbox);
        self.drop_oldest_device(nodevent_protocol::mailbox::user_and_device(name).0);
        Some(())
    }

    /// All records were restored: no user is connected, and the limits apply.
    pub(in super::super) fn restored(&mut self, settings: &MailboxSettings) {
        self.settings = settings.clone();
        let now = Instant::now();
        for name in self.names() {
            if self.mailboxes.get(&name).is_some_and(|mailbox| mailbox.connections > 0) {
                self.change(&name, now, |mailbox| mailbox.connections = 0);
            }
        }
        self.end_all(now);
    }

    /// Calls `each` with every message and the name of its mailbox.
    pub(in super::super) fn messages(&self, mut each: impl FnMut(&str, &StoredMessage)) {
        for (name, mailbox) in &self.mailboxes {
            mailbox.messages.values().for_each(|(message, _)| each(name, message));
        }
    }

    /// The number of mailboxes and of messages.
    pub(in super::super) fn counts(&self) -> [usize; 2] {
        [self.mailboxes.len(), self.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum()]
    }

    /// Everything that a restart must not change, as text. For tests.
    #[cfg(test)]
    pub(in super::super) fn describe(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .mailboxes
            .iter()
            .map(|(name, one)| {
                let texts: Vec<_> = one.messages.values().map(|(message, _)| &*message.text).collect();
                let mut keys: Vec<_> = one.keys.iter().collect();
                keys.sort();
                format!("{name:?} {} {} {:?} {texts:?} {keys:?}", one.was_seen, one.is_of_device, one.newest)
            })
            .collect();
        all.sort();
        all.push(format!("{} {} {}", self.unseen, self.bytes, self.devices.len()));
        all
    }
}
