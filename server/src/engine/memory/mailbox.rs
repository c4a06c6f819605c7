//! The mailboxes of the memory engine, under one limit, without I/O and without a clock.
//!
//! A mailbox exists while its user is connected, for the configured age after that, and while it holds anything if there
//! is no age. At the limit of memory, new messages are rejected and nothing is evicted: one user's messages never take the
//! place of another's.
//!
//! A device has a mailbox of its own; see [`nodevent_protocol::mailbox::of_device`]. It begins as a copy of that of its
//! user.

pub(super) mod records;

use crate::mailbox::{
    Acknowledgement, MailboxPage, MailboxSettings, MessageId, NewMessage, PageRequest, Removed, Stored,
    StoredMessage,
};
use nodevent_protocol::mailbox::{MAX_DEVICES, user_and_device, with_id};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Mailboxes of others that a request removes at most, whose time is over.
const ENDS_AT_ONCE: usize = 64;
/// Memory of a mailbox in addition to the user's id: its entries in the tables. Bytes.
const MAILBOX_OVERHEAD: usize = 320;
/// Memory of a message in addition to its text. Bytes.
const MESSAGE_OVERHEAD: usize = 96;
/// What an id adds to the text of a message. Bytes.
const ID_BYTES: usize = 32;
/// Memory of a message's expiry. Bytes.
const EXPIRY_OVERHEAD: usize = 48;
/// Memory of an idempotency key in addition to its text. Bytes.
const KEY_OVERHEAD: usize = 128;

/// The mailboxes of one namespace.
#[derive(Debug)]
pub(super) struct MemoryMailboxes {
    settings: MailboxSettings,
    mailboxes: HashMap<Arc<str>, Mailbox>,
    /// The mailboxes of each user's devices, the one that was connected least recently first.
    devices: HashMap<Box<str>, VecDeque<Arc<str>>>,
    /// Mailboxes that end at a time, unless something happens before.
    ends: BTreeSet<(Instant, Arc<str>)>,
    /// Users who have a mailbox and were never seen.
    unseen: usize,
    bytes: usize,
}

/// A message that was stored, and what the user's connections learn of it.
#[derive(Debug)]
pub(super) struct StoredNow {
    pub(super) message: Arc<StoredMessage>,
    pub(super) previous: MessageId,
    pub(super) unread: u64,
    pub(super) dropped: u64,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum StoreOutcome {
    Now(StoredNow),
    Not(Stored),
}

#[derive(Debug, Default)]
struct Mailbox {
    /// Open connections of the user.
    connections: u32,
    /// Whether the user has ever been connected.
    was_seen: bool,
    /// Whether it is that of a device.
    is_of_device: bool,
    newest: MessageId,
    messages: BTreeMap<MessageId, (Arc<StoredMessage>, Option<Instant>)>,
    /// The length of all messages.
    bytes: usize,
    /// Messages with a time to live.
    expiries: BTreeSet<(Instant, MessageId)>,
    keys: HashMap<Box<str>, MessageId>,
    /// The memory of the keys.
    key_bytes: usize,
    /// The keys of `keys` and when they are forgotten, oldest first.
    key_expiries: VecDeque<(Instant, Box<str>)>,
    /// Its entry in [`MemoryMailboxes::ends`].
    ends: Option<Instant>,
}

/// Returns the memory of an idempotency key, which is in two tables.
fn key_memory(key: &str) -> usize {
    KEY_OVERHEAD + 2 * key.len()
}

// === impl Mailbox ===

impl Mailbox {
    fn remove(&mut self, id: MessageId) -> bool {
        let Some((message, expiry)) = self.messages.remove(&id) else { return false };
        self.bytes -= message.text.len();
        if let Some(at) = expiry {
            self.expiries.remove(&(at, id));
        }
        true
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, id)) = self.expiries.first().copied()
            && at <= now
        {
            self.remove(id);
        }
        while self.key_expiries.front().is_some_and(|(at, _)| *at <= now) {
            self.forget_oldest_key();
        }
    }

    fn forget_oldest_key(&mut self) {
        if let Some((_, key)) = self.key_expiries.pop_front() {
            self.key_bytes -= key_memory(&key);
            self.keys.remove(&key);
        }
    }

    /// The memory of its contents.
    fn memory(&self) -> usize {
        self.bytes + MESSAGE_OVERHEAD * self.messages.len() + EXPIRY_OVERHEAD * self.expiries.len() + self.key_bytes
    }

    /// When it is needed no more, if nothing happens until then. `None`: not before something happens.
    fn end(&self, settings: &MailboxSettings, now: Instant) -> Option<Instant> {
        if self.connections > 0 {
            return None;
        }
        if !settings.age.is_zero() {
            return Some(now + settings.age);
        }
        if self.is_of_device || self.expiries.len() < self.messages.len() {
            return None;
        }
        let last_key = self.key_expiries.back().map(|(at, _)| *at);
        last_key.max(self.expiries.last().map(|(at, _)| *at)).or(Some(now))
    }
}

// === impl MemoryMailboxes ===

impl MemoryMailboxes {
    pub(super) fn new(settings: MailboxSettings) -> Self {
        let (mailboxes, devices) = (HashMap::new(), HashMap::new());
        Self { settings, mailboxes, devices, ends: BTreeSet::new(), unseen: 0, bytes: 0 }
    }

    /// Stores a message. `now_us` is the wall clock in microseconds, for its id.
    pub(super) fn store(&mut self, new: &NewMessage<'_>, now: Instant, now_us: u64) -> StoreOutcome {
        self.end_mailboxes(new.user, now);
        let is_known = self.mailboxes.contains_key(new.user);
        // The user's own mailbox is for connections without a device. If there are none, it is not created.
        let has_devices = !self.settings.age.is_zero() && self.devices.contains_key(new.user);
        if !is_known && (has_devices || !self.settings.stores_for_unknown()) {
            return StoreOutcome::Not(Stored::Unknown);
        }
        let key_bytes = new.idempotency_key.map_or(0, key_memory);
        let message_bytes = new.text.len() + ID_BYTES + MESSAGE_OVERHEAD + EXPIRY_OVERHEAD;
        let needed = message_bytes + key_bytes + MAILBOX_OVERHEAD + new.user.len();
        let (max_mailboxes, max_memory) = (self.settings.max_mailboxes_for(new), self.settings.max_memory_for(new));
        while !is_known && self.unseen >= max_mailboxes || self.bytes + needed > max_memory {
            if !self.end_first(now) {
                return StoreOutcome::Not(Stored::Full);
            }
        }
        if let Some(id) = new.idempotency_key.and_then(|key| self.stored_before(new.user, key, now)) {
            return StoreOutcome::Not(Stored::Duplicate(id));
        }
        let id = MessageId::next(now_us, self.mailboxes.get(new.user).map_or(MessageId::FIRST, |one| one.newest));
        let message = Arc::new(StoredMessage { id, text: with_id(new.text, id).into() });
        let expiry = new.ttl.and_then(|ttl| now.checked_add(ttl));
        StoreOutcome::Now(self.insert(new.user, message, expiry, new.idempotency_key, now))
    }

    /// The id of the message that was stored with an idempotency key.
    fn stored_before(&mut self, user: &str, key: &str, now: Instant) -> Option<MessageId> {
        self.mailboxes.get(user)?;
        self.change(user, now, |mailbox| mailbox.keys.get(key).copied())
    }

    /// Stores a message that has its id.
    fn insert(
        &mut self,
        user: &str,
        message: Arc<StoredMessage>,
        expiry: Option<Instant>,
        key: Option<&str>,
        now: Instant,
    ) -> StoredNow {
        let settings = self.settings.clone();
        self.change(user, now, |mailbox| {
            let (previous, id) = (mailbox.newest, message.id);
            let mut dropped = 0;
            while mailbox.messages.len() >= settings.count || mailbox.bytes + message.text.len() > settings.bytes {
                let Some(oldest) = mailbox.messages.first_key_value().map(|(id, _)| *id) else { break };
                mailbox.remove(oldest);
                dropped += 1;
            }
            mailbox.newest = id;
            mailbox.bytes += message.text.len();
            mailbox.messages.insert(id, (Arc::clone(&message), expiry));
            mailbox.expiries.extend(expiry.map(|at| (at, id)));
            if let Some(key) = key {
                mailbox.key_bytes += key_memory(key);
                mailbox.keys.insert(key.into(), id);
                mailbox.key_expiries.push_back((now + settings.idempotency_ttl(), key.into()));
                while mailbox.key_expiries.len() > 2 * settings.count {
                    mailbox.forget_oldest_key();
                }
            }
            let unread = mailbox.messages.len() as u64;
            StoredNow { message, previous, unread, dropped }
        })
    }

    /// Reads a page. Creates nothing.
    pub(super) fn read(&mut self, user: &str, page: PageRequest, now: Instant) -> MailboxPage {
        self.end_mailboxes(user, now);
        let mut read = MailboxPage { messages: Vec::new(), newest: MessageId::FIRST, unread: 0, has_more: false };
        if !self.mailboxes.contains_key(user) {
            return read;
        }
        self.change_contents(user, |mailbox| {
            mailbox.expire(now);
            (read.newest, read.unread) = (mailbox.newest, mailbox.messages.len() as u64);
            let after = (std::ops::Bound::Excluded(page.after), std::ops::Bound::Unbounded);
            let mut bytes = 0;
            for (message, _) in mailbox.messages.range(after).map(|(_, entry)| entry) {
                let exceeds = read.messages.len() >= page.count || bytes + message.text.len() > page.bytes;
                if exceeds && !read.messages.is_empty() {
                    read.has_more = true;
                    break;
                }
                bytes += message.text.len();
                read.messages.push(Arc::clone(message));
            }
        });
        read
    }

    /// Those of these messages that are in a mailbox.
    pub(super) fn existing(&self, user: &str, ids: &[MessageId]) -> Vec<MessageId> {
        let Some(mailbox) = self.mailboxes.get(user) else { return Vec::new() };
        ids.iter().copied().filter(|id| mailbox.messages.contains_key(id)).collect()
    }

    /// Removes messages.
    pub(super) fn acknowledge(&mut self, user: &str, which: &Acknowledgement, now: Instant) -> Removed {
        self.end_mailboxes(user, now);
        if !self.mailboxes.contains_key(user) {
            return Removed { count: 0, unread: 0 };
        }
        self.change(user, now, |mailbox| {
            let mut count = 0;
            while let Some((id, _)) = mailbox.messages.first_key_value()
                && which.up_to.is_some_and(|last| *id <= last)
            {
                let id = *id;
                count += u64::from(mailbox.remove(id));
            }
            count += which.ids.iter().filter(|id| mailbox.remove(**id)).count() as u64;
            Removed { count, unread: mailbox.messages.len() as u64 }
        })
    }

    /// The mailboxes of a user's devices.
    pub(super) fn devices(&self, user: &str) -> Vec<Arc<str>> {
        self.devices.get(user).map(|names| names.iter().cloned().collect()).unwrap_or_default()
    }

    /// A connection of a user, or of a device, was opened. Returns how many messages were dropped with a device that gave
    /// way. `None`: there is no memory for the mailbox of a new device, so it has none.
    pub(super) fn connected(&mut self, user: &str, now: Instant) -> Option<u64> {
        self.end_mailboxes(user, now);
        let dropped = match user_and_device(user) {
            (owner, Some(_)) => self.connect_device(owner, user, now)?,
            (_, None) if self.settings.age.is_zero() => return Some(0),
            (_, None) => 0,
        };
        let was_unseen = self.mailboxes.get(user).is_some_and(|mailbox| !mailbox.was_seen);
        self.unseen -= usize::from(was_unseen);
        let is_new = !self.mailboxes.contains_key(user);
        self.change(user, now, |mailbox| {
            mailbox.connections += 1;
            mailbox.was_seen = true;
        });
        self.unseen -= usize::from(is_new);
        Some(dropped)
    }

    /// Makes the mailbox of a device, unless there is one. `None`: there is no memory for it.
    fn connect_device(&mut self, user: &str, name: &str, now: Instant) -> Option<u64> {
        if !self.mailboxes.contains_key(name) {
            let (mut messages, mut expiries, mut newest, mut bytes) = Default::default();
            if let Some(own) = self.mailboxes.get(user) {
                (messages, expiries) = (own.messages.clone(), own.expiries.clone());
                (newest, bytes) = (own.newest, own.bytes);
            }
            let copy = Mailbox { is_of_device: true, newest, messages, bytes, expiries, ..Mailbox::default() };
            while self.bytes + copy.memory() + MAILBOX_OVERHEAD + 2 * name.len() > self.settings.max_memory {
                if !self.end_first(now) {
                    return None;
                }
            }
            self.change(name, now, |mailbox| *mailbox = copy);
        }
        let (known, _) = self.mailboxes.get_key_value(name)?;
        let known = Arc::clone(known);
        let names = self.devices.entry(user.into()).or_default();
        names.retain(|one| **one != *name);
        names.push_back(known);
        Some(self.drop_oldest_device(user))
    }

    /// Removes a user's oldest device if there are too many. Returns how many messages it had.
    fn drop_oldest_device(&mut self, user: &str) -> u64 {
        let Some(names) = self.devices.get_mut(user).filter(|names| names.len() > MAX_DEVICES) else { return 0 };
        let gone = names.pop_front();
        gone.map_or(0, |gone| self.remove(&gone))
    }

    /// A connection of a user was closed.
    pub(super) fn disconnected(&mut self, user: &str, now: Instant) {
        if self.mailboxes.contains_key(user) {
            self.change(user, now, |mailbox| mailbox.connections = mailbox.connections.saturating_sub(1));
        }
        self.end_mailboxes(user, now);
    }

    /// Changes a mailbox, which is created if it does not exist, and sets when it ends. What happens while the user is
    /// not connected does not make it last longer if it has an age.
    fn change<T>(&mut self, user: &str, now: Instant, change: impl FnOnce(&mut Mailbox) -> T) -> T {
        if !self.mailboxes.contains_key(user) {
            self.bytes += MAILBOX_OVERHEAD + user.len();
            self.unseen += 1;
            self.mailboxes.insert(user.into(), Mailbox::default());
        }
        let result = self.change_contents(user, |mailbox| {
            mailbox.expire(now);
            let was_connected = mailbox.connections > 0;
            (change(mailbox), was_connected)
        });
        let (result, was_connected) = result;
        let settings = &self.settings;
        if let Some((name, mailbox)) = self.mailboxes.get_key_value(user) {
            let name = Arc::clone(name);
            let end = mailbox.end(settings, now);
            let stays = !settings.age.is_zero() && !was_connected && mailbox.ends.is_some() && end.is_some();
            if !stays && let Some(mailbox) = self.mailboxes.get_mut(user) {
                if let Some(before) = mailbox.ends.take() {
                    self.ends.remove(&(before, Arc::clone(&name)));
                }
                mailbox.ends = end;
                self.ends.extend(end.map(|at| (at, name)));
            }
        }
        result
    }

    /// Changes the contents of a mailbox that exists, and counts its memory.
    fn change_contents<T>(&mut self, user: &str, change: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut nothing = Mailbox::default();
        let mailbox = self.mailboxes.get_mut(user).unwrap_or(&mut nothing);
        let before = mailbox.memory();
        let result = change(mailbox);
        self.bytes = self.bytes + mailbox.memory() - before;
        result
    }

    /// Removes the mailboxes of a user, or of a device and its user, whose time is over, and some of those of others: very many may
    /// end at once, and shards wait meanwhile.
    fn end_mailboxes(&mut self, name: &str, now: Instant) {
        let user = user_and_device(name).0;
        let devices = self.devices(user);
        for name in [name, user].into_iter().chain(devices.iter().map(|device| &**device)) {
            if self.mailboxes.get(name).and_then(|mailbox| mailbox.ends).is_some_and(|at| at <= now) {
                self.remove(name);
            }
        }
        for _ in 0..ENDS_AT_ONCE {
            if !self.end_first(now) {
                return;
            }
        }
    }

    /// Removes all mailboxes whose time is over.
    fn end_all(&mut self, now: Instant) {
        while self.end_first(now) {}
    }

    /// Removes the mailbox whose time was over first. Returns `false` if there is none.
    fn end_first(&mut self, now: Instant) -> bool {
        if self.ends.first().is_none_or(|(at, _)| *at > now) {
            return false;
        }
        let Some((_, name)) = self.ends.pop_first() else { return false };
        self.remove(&name);
        true
    }

    /// Removes a mailbox. Returns how many messages it had.
    fn remove(&mut self, name: &str) -> u64 {
        let Some((name, mailbox)) = self.mailboxes.remove_entry(name) else { return 0 };
        self.bytes -= mailbox.memory() + MAILBOX_OVERHEAD + name.len();
        self.unseen -= usize::from(!mailbox.was_seen);
        if let Some(at) = mailbox.ends {
            self.ends.remove(&(at, Arc::clone(&name)));
        }
        let user = user_and_device(&name).0;
        if mailbox.is_of_device
            && let Some(names) = self.devices.get_mut(user)
        {
            names.retain(|one| *one != name);
            if names.is_empty() {
                self.devices.remove(user);
            }
        }
        mailbox.messages.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodevent_protocol::mailbox::of_device;
    use std::time::Duration;

    /// An attacker let very many mailboxes end at once, and everyone waited until they were removed.
    #[test]
    fn mailboxes_that_end_at_once_are_removed_in_steps_and_are_gone_for_their_users_before() {
        // X-05
        let settings =
            MailboxSettings { keep_unknown: true, max_mailboxes: 1_000, max_memory: 10_000_000, ..settings() };
        let mut mailboxes = MemoryMailboxes::new(settings);
        let now = Instant::now();
        let later = now + Duration::from_secs(61);
        let store = |mailboxes: &mut MemoryMailboxes, user: &str, at| mailboxes.store(&new(user), at, 1);
        for user in 0..1_000 {
            assert!(matches!(store(&mut mailboxes, &user.to_string(), now), StoreOutcome::Now(_)));
        }
        assert_eq!(mailboxes.mailboxes.len(), 1_000);
        let page = PageRequest { after: MessageId::FIRST, count: 10, bytes: 1_000 };
        assert_eq!(mailboxes.read("999", page, later).messages.len(), 0);
        assert_eq!(mailboxes.mailboxes.len(), 1_000 - 1 - ENDS_AT_ONCE);
        // The places of mailboxes that have ended are free, also of those that are not removed yet.
        for user in 0..1_000 {
            let outcome = store(&mut mailboxes, &format!("new-{user}"), later);
            assert!(matches!(outcome, StoreOutcome::Now(_)), "{user}");
        }
        assert_eq!(mailboxes.mailboxes.len(), 1_000);
    }

    const TEXT: &str = r#"{"event":"e","message":1,"sent":1}"#;

    fn settings() -> MailboxSettings {
        MailboxSettings {
            count: 3,
            bytes: 10_000,
            age: Duration::from_secs(60),
            keep_unknown: false,
            max_message: 1_000,
            max_mailboxes: 10,
            max_memory: 100_000,
        }
    }

    fn new(user: &str) -> NewMessage<'_> {
        NewMessage { user, text: TEXT, ttl: None, idempotency_key: None, is_limited: false }
    }

    fn all() -> PageRequest {
        PageRequest { after: MessageId::FIRST, count: 100, bytes: 1 << 20 }
    }

    struct Sandbox {
        mailboxes: MemoryMailboxes,
        start: Instant,
    }

    impl Sandbox {
        fn new(settings: MailboxSettings) -> Self {
            Self { mailboxes: MemoryMailboxes::new(settings), start: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn store(&mut self, new: &NewMessage<'_>, seconds: u64) -> Stored {
            match self.mailboxes.store(new, self.at(seconds), seconds * 1_000_000) {
                StoreOutcome::Now(now) => Stored::Stored { id: now.message.id, dropped: now.dropped },
                StoreOutcome::Not(outcome) => outcome,
            }
        }

        fn ids(&mut self, user: &str, seconds: u64) -> Vec<MessageId> {
            let now = self.at(seconds);
            self.mailboxes.read(user, all(), now).messages.iter().map(|message| message.id).collect()
        }
    }

    #[test]
    fn w31_nothing_is_stored_for_a_user_who_was_never_seen_unless_it_is_configured() {
        let mut sandbox = Sandbox::new(settings());
        assert_eq!(sandbox.store(&new("a"), 0), Stored::Unknown);
        assert_eq!((sandbox.mailboxes.bytes, sandbox.mailboxes.mailboxes.len()), (0, 0));
        for settings in [
            MailboxSettings { keep_unknown: true, ..settings() },
            MailboxSettings { age: Duration::ZERO, ..settings() },
        ] {
            let mut sandbox = Sandbox::new(settings);
            assert!(matches!(sandbox.store(&new("a"), 0), Stored::Stored { dropped: 0, .. }));
            assert_eq!(sandbox.ids("a", 1).len(), 1);
        }
    }

    #[test]
    fn w27_w28_w29_the_age_runs_while_the_user_is_away_for_all_messages() {
        let mut sandbox = Sandbox::new(settings());
        let start = sandbox.start;
        let _ = sandbox.mailboxes.connected("a", start);
        sandbox.store(&new("a"), 0);
        assert_eq!(sandbox.ids("a", 1_000).len(), 1, "it does not run while the user is connected");
        sandbox.mailboxes.disconnected("a", sandbox.at(1_000));
        sandbox.store(&new("a"), 1_050);
        assert_eq!(sandbox.ids("a", 1_059).len(), 2);
        assert_eq!(sandbox.ids("a", 1_060).len(), 0, "also the message that is ten seconds old");
        assert_eq!(sandbox.store(&new("a"), 1_061), Stored::Unknown);
        assert_eq!((sandbox.mailboxes.bytes, sandbox.mailboxes.unseen), (0, 0));
    }

    #[test]
    fn w36_a_device_has_a_mailbox_of_its_own_that_ends_with_its_age_or_when_there_are_too_many() {
        let mut sandbox = Sandbox::new(settings());
        let (start, phone, tablet) = (sandbox.start, of_device("a", "phone"), of_device("a", "tablet"));
        let _ = sandbox.mailboxes.connected(&phone, start);
        assert!(matches!(sandbox.store(&new(&phone), 0), Stored::Stored { .. }));
        assert_eq!(sandbox.store(&new("a"), 0), Stored::Unknown, "no connection without a device was seen");
        let _ = sandbox.mailboxes.connected("a", start);
        sandbox.store(&new("a"), 1);
        let _ = sandbox.mailboxes.connected(&tablet, sandbox.at(2));
        assert_eq!(sandbox.ids(&tablet, 3), sandbox.ids("a", 3), "it begins with what its user has");
        assert_eq!(sandbox.mailboxes.devices("a").len(), 2);
        sandbox.mailboxes.disconnected(&phone, sandbox.at(10));
        sandbox.ids("a", 70);
        let left = sandbox.mailboxes.devices("a");
        assert!(left.len() == 1 && *left[0] == *tablet, "{left:?}");
        let dropped: u64 = (0..MAX_DEVICES)
            .filter_map(|number| sandbox.mailboxes.connected(&of_device("a", &number.to_string()), start))
            .sum();
        assert_eq!((dropped, sandbox.mailboxes.devices("a").len()), (1, MAX_DEVICES), "the tablet is forgotten");
        assert!(sandbox.ids(&tablet, 71).is_empty());
        for settings in [settings(), MailboxSettings { age: Duration::ZERO, ..settings() }] {
            let mut sandbox = Sandbox::new(MailboxSettings { max_memory: 5_000, ..settings });
            let start = sandbox.start;
            for user in 0..100 {
                let _ = sandbox.mailboxes.connected(&of_device(&user.to_string(), "phone"), start);
            }
            assert!(sandbox.mailboxes.bytes <= 5_000 && sandbox.mailboxes.devices("1").len() == 1);
        }
    }

    #[test]
    fn w36_without_an_age_the_mailbox_of_a_device_is_kept_and_has_what_was_stored_for_its_user() {
        let mut sandbox = Sandbox::new(MailboxSettings { age: Duration::ZERO, ..settings() });
        let (start, phone) = (sandbox.start, of_device("a", "phone"));
        sandbox.store(&new("a"), 0);
        let _ = sandbox.mailboxes.connected(&phone, start);
        let all = Acknowledgement { up_to: Some(MessageId::LAST), ids: Vec::new() };
        assert_eq!(sandbox.mailboxes.acknowledge(&phone, &all, sandbox.at(1)), Removed { count: 1, unread: 0 });
        sandbox.mailboxes.disconnected(&phone, sandbox.at(2));
        assert!(matches!(sandbox.store(&new(&phone), 100_000), Stored::Stored { .. }));
        assert_eq!((sandbox.ids(&phone, 200_000).len(), sandbox.ids("a", 200_000).len()), (1, 1));
    }

    #[test]
    fn w30_without_an_age_messages_are_kept_until_they_are_acknowledged() {
        let mut sandbox = Sandbox::new(MailboxSettings { age: Duration::ZERO, ..settings() });
        sandbox.store(&new("a"), 0);
        let ids = sandbox.ids("a", 10_000_000);
        assert_eq!(ids.len(), 1);
        let acknowledgement = Acknowledgement { up_to: None, ids };
        let removed = sandbox.mailboxes.acknowledge("a", &acknowledgement, sandbox.at(10_000_001));
        assert_eq!(removed, Removed { count: 1, unread: 0 });
        sandbox.ids("b", 10_000_002);
        assert_eq!((sandbox.mailboxes.bytes, sandbox.mailboxes.unseen), (0, 0), "nothing is left");
    }

    #[test]
    fn w53_the_oldest_messages_are_dropped_first_by_count_and_by_bytes() {
        let mut sandbox = Sandbox::new(MailboxSettings { keep_unknown: true, ..settings() });
        for seconds in 1..=3 {
            sandbox.store(&new("a"), seconds);
        }
        assert!(matches!(sandbox.store(&new("a"), 4), Stored::Stored { dropped: 1, .. }));
        assert_eq!(
            sandbox.ids("a", 5),
            [2, 3, 4].map(|second| MessageId::next(second * 1_000_000, MessageId::FIRST))
        );
        let mut sandbox = Sandbox::new(MailboxSettings { keep_unknown: true, bytes: 120, ..settings() });
        for seconds in 1..=10 {
            sandbox.store(&new("a"), seconds);
        }
        assert_eq!(sandbox.ids("a", 10).len(), 2);
    }

    #[test]
    fn acknowledgements_count_once_in_any_order() {
        let mut sandbox = Sandbox::new(MailboxSettings { keep_unknown: true, ..settings() });
        for seconds in 1..=3 {
            sandbox.store(&new("a"), seconds);
        }
        let ids = sandbox.ids("a", 4);
        let second = Acknowledgement { up_to: None, ids: vec![ids[1], ids[1]] };
        assert_eq!(sandbox.mailboxes.acknowledge("a", &second, sandbox.at(4)), Removed { count: 1, unread: 2 });
        let rest = Acknowledgement { up_to: Some(ids[1]), ids: Vec::new() };
        assert_eq!(sandbox.mailboxes.acknowledge("a", &rest, sandbox.at(4)), Removed { count: 1, unread: 1 });
        assert_eq!(sandbox.ids("a", 4), [ids[2]], "W-26: a later message survives");
        assert_eq!(sandbox.mailboxes.acknowledge("b", &rest, sandbox.at(4)), Removed { count: 0, unread: 0 });
    }

    #[test]
    fn a_message_ends_with_its_own_time_to_live_and_a_key_stores_once_even_after_it() {
        let mut sandbox = Sandbox::new(MailboxSettings { age: Duration::ZERO, ..settings() });
        let short = NewMessage { ttl: Some(Duration::from_secs(5)), idempotency_key: Some("k"), ..new("a") };
        let Stored::Stored { id, .. } = sandbox.store(&short, 1) else { panic!() };
        assert_eq!(sandbox.store(&short, 2), Stored::Duplicate(id));
        assert_eq!(sandbox.ids("a", 5), [id]);
        assert_eq!(sandbox.ids("a", 6), []);
        assert_eq!(sandbox.store(&short, 7), Stored::Duplicate(id));
        let day = 24 * 60 * 60;
        sandbox.ids("b", 2 + day);
        assert_eq!(sandbox.mailboxes.bytes, 0, "the mailbox ends with its last key");
        assert!(matches!(sandbox.store(&short, 3 + day), Stored::Stored { .. }));
    }

    #[test]
    fn mailboxes_of_users_who_were_never_seen_are_limited_and_so_is_all_memory() {
        let mut sandbox = Sandbox::new(MailboxSettings { keep_unknown: true, ..settings() });
        let outcomes: Vec<Stored> = (0..20).map(|user| sandbox.store(&new(&user.to_string()), 1)).collect();
        assert_eq!(outcomes.iter().filter(|one| **one == Stored::Full).count(), 10);
        let start = sandbox.start;
        let _ = sandbox.mailboxes.connected("a", start);
        assert!(matches!(sandbox.store(&new("a"), 2), Stored::Stored { .. }), "a user who is seen needs no place");
        let mut sandbox = Sandbox::new(MailboxSettings {
            max_memory: 3_000,
            keep_unknown: true,
            max_mailboxes: 100,
            ..settings()
        });
        let full = (0..20).filter(|user| sandbox.store(&new(&user.to_string()), 1) == Stored::Full).count();
        assert!(full > 10 && sandbox.mailboxes.bytes <= 3_000, "{full}");
    }

    #[test]
    fn a_page_is_limited_by_count_and_bytes_and_has_at_least_one_message() {
        let mut sandbox = Sandbox::new(MailboxSettings { keep_unknown: true, ..settings() });
        for seconds in 1..=3 {
            sandbox.store(&new("a"), seconds);
        }
        let now = sandbox.at(4);
        let ids = sandbox.ids("a", 4);
        let mut read = |after, count, bytes| {
            let page = sandbox.mailboxes.read("a", PageRequest { after, count, bytes }, now);
            (page.messages.iter().map(|one| one.id).collect::<Vec<_>>(), page.has_more, page.unread)
        };
        assert_eq!(read(MessageId::FIRST, 2, 1_000), (ids[..2].to_vec(), true, 3));
        assert_eq!(read(ids[1], 2, 1_000), (vec![ids[2]], false, 3));
        assert_eq!(read(ids[0], 100, 1), (vec![ids[1]], true, 3));
        assert_eq!(read(ids[2], 100, 1), (vec![], false, 3));
    }

    #[test]
    fn counted_memory_is_that_of_the_contents_after_any_churn() {
        let mut sandbox = Sandbox::new(MailboxSettings { keep_unknown: true, max_mailboxes: 40, ..settings() });
        for step in 0..20_000_u64 {
            let (user, seconds) = ((step * 7919 % 57).to_string(), step / 10);
            let now = sandbox.at(seconds);
            match step % 7 {
                0 => drop(sandbox.mailboxes.connected(&user, now)),
                1 => sandbox.mailboxes.disconnected(&user, now),
                2 => drop(sandbox.mailboxes.acknowledge(
                    &user,
                    &Acknowledgement { up_to: Some(MessageId::LAST), ids: Vec::new() },
                    now,
                )),
                _ => {
                    let key = step.to_string();
                    let ttl = (step % 2 == 0).then_some(Duration::from_secs(30));
                    sandbox.store(&NewMessage { ttl, idempotency_key: Some(&key), ..new(&user) }, seconds);
                }
            }
            let counted: usize = sandbox
                .mailboxes
                .mailboxes
                .iter()
                .map(|(user, mailbox)| user.len() + MAILBOX_OVERHEAD + mailbox.memory())
                .sum();
            assert_eq!(sandbox.mailboxes.bytes, counted);
            assert!(counted <= 100_000 + 57 * (MAILBOX_OVERHEAD + 2));
        }
        for user in 0..57 {
            for _ in 0..20_000 {
                let now = sandbox.at(3_000);
                sandbox.mailboxes.disconnected(&user.to_string(), now);
                if sandbox.mailboxes.mailboxes.get(&*user.to_string()).is_none_or(|one| one.connections == 0) {
                    break;
                }
            }
        }
        let now = sandbox.at(10_000);
        sandbox.mailboxes.end_all(now);
        assert_eq!((sandbox.mailboxes.bytes, sandbox.mailboxes.unseen, sandbox.mailboxes.ends.len()), (0, 0, 0));
    }
}
