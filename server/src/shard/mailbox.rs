//! From a mailbox to the connections of its user: pages first, then live messages, in the order of the mailbox.
//!
//! A connection that opened its mailbox has a cursor: the id up to which it has received everything. A live message whose
//! predecessor is the cursor is sent at once. Any other difference, a lost notice or a client that does not keep up, is
//! repaired by reading on from the cursor. So nothing is missing or out of order, and the server holds no mailbox: a page
//! is read when the connection's send buffer has room for it.
//!
//! Reads wait in a queue in which clients have their turns one after another. Only [`MAX_READS`] are with the engines at a
//! time. Clients share the acknowledgements that may wait. A user may have very many connections, so [`notices`] passes on
//! what happens in a mailbox in turns.

mod notices;

use super::Shard;
use crate::client::Client;
use crate::close_reason::CloseReason;
use crate::fair_queue::FairQueue;
use crate::fair_shares::FairShares;
use crate::mailbox::{
    Acknowledgement, MailboxAction, MailboxError, MailboxEvent, MailboxNotice, MailboxPage, MailboxReply,
    MailboxReplyTo, MailboxRequest, MailboxResult, Mailboxes, MessageId, PageRequest, Removed,
};
use crate::outcome::Outcome;
use crate::protocol::{MailboxDelivery, Millis, NEVER};
use hashbrown::HashMap;
use notices::Notices;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads that are with the engines at a time, per shard.
const MAX_READS: usize = 64;
/// Acknowledgements that are with the engines at a time, per shard. Clients share them.
const MAX_ACKNOWLEDGEMENTS: usize = 4096;
/// The same, per connection and namespace.
const MAX_ACKNOWLEDGEMENTS_PER_CONNECTION: u16 = 32;
/// Pages that are requested in one turn, so that others have theirs.
const PAGES_PER_TURN: usize = 64;
/// Time for pages before publications, sockets and timers have their turn again.
const PAGES_TURN: Duration = Duration::from_millis(1);
/// Messages of a page.
const PAGE_COUNT: usize = 128;
/// The most that a page has, unless it is one message. Bytes.
const PAGE_BYTES: usize = 256 * 1024;
/// Time after which it is checked again whether a client has read what was sent. Milliseconds.
const SLOW_CLIENT_PAUSE: Millis = 50;
/// Time after which an engine that was unavailable is asked again. Milliseconds.
const UNAVAILABLE_PAUSE: Millis = 1_000;

/// The mailboxes of one connection, one per namespace. Without any, no heap is used.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that has none")]
pub(super) struct OwnMailboxes(Option<Box<Vec<OwnMailbox>>>);

/// The mailbox of a connection's user in one namespace.
#[derive(Debug)]
struct OwnMailbox {
    namespace: u16,
    /// Its name: the user, or a device of the user.
    user: Arc<str>,
    state: State,
    /// Everything up to this message was sent, or was removed before.
    cursor: MessageId,
    /// The newest message of which a notice has arrived since the last read was requested.
    newest: MessageId,
    /// Whether notices may have been lost since then.
    is_stale: bool,
    /// Whether the client has received no page yet.
    is_first: bool,
    /// Whether the client was not notified yet that it has received everything.
    awaits_last: bool,
    /// Acknowledgements that are with the engine.
    acknowledgements: u16,
    /// Notices with lower numbers are older than the connection: a page has what they say, and their counts are outdated.
    first_notice: u64,
    /// The last notice that was passed on, and its count of unread messages.
    last_count: Option<NoticedCount>,
}

/// The count of unread messages in a notice.
#[derive(Debug, Clone, Copy)]
struct NoticedCount {
    /// The number of the notice.
    notice: u64,
    unread: u64,
}

/// What a mailbox waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client has not opened it.
    Closed,
    /// Live messages.
    Live,
    /// Its turn to read.
    Waiting,
    /// A page.
    Reading,
}

/// The mailboxes of a shard's connections.
#[derive(Debug)]
pub(super) struct ShardMailboxes {
    /// The slots of each user's connections.
    users: HashMap<(u16, Arc<str>), Vec<u32>>,
    /// Mailboxes that are to be read, in the order of their turns.
    queue: FairQueue<Client, Turn>,
    /// Mailboxes that are to be read later, in the order of the times of each pause.
    slow: VecDeque<(Millis, Turn)>,
    unavailable: VecDeque<(Millis, Turn)>,
    /// What has happened and not all connections have received.
    notices: Notices,
    reads: usize,
    acknowledgements: FairShares,
}

impl Default for ShardMailboxes {
    fn default() -> Self {
        Self {
            users: HashMap::new(),
            queue: FairQueue::default(),
            slow: VecDeque::new(),
            unavailable: VecDeque::new(),
            notices: Notices::default(),
            reads: 0,
            acknowledgements: FairShares::new(MAX_ACKNOWLEDGEMENTS),
        }
    }
}

/// A mailbox that is to be read.
#[derive(Debug, Clone, Copy)]
struct Turn {
    slot: u32,
    generation: u32,
    namespace: u16,
    client: Client,
}

// === impl OwnMailboxes ===

impl OwnMailboxes {
    fn get_mut(&mut self, namespace: u16) -> Option<&mut OwnMailbox> {
        self.0.as_mut()?.iter_mut().find(|one| one.namespace == namespace)
    }

    fn add(&mut self, mailbox: OwnMailbox) {
        let all = self.0.get_or_insert_default();
        all.reserve_exact(1);
        all.push(mailbox);
    }

    /// Removes the mailbox of a namespace, or all.
    fn take(&mut self, namespace: Option<u16>) -> Vec<OwnMailbox> {
        let Some(all) = &mut self.0 else { return Vec::new() };
        let taken = all.extract_if(.., |one| namespace.is_none_or(|id| one.namespace == id)).collect();
        if all.is_empty() {
            self.0 = None;
        }
        taken
    }
}

// === impl OwnMailbox ===

impl OwnMailbox {
    /// The count of the last notice, if it has been passed on since a request was made. The reply to the request may be older
    /// than the notice, for it arrives over another connection to the engine. If it is newer, its own notice is still to come.
    fn newer_count(&self, next_notice: u64) -> Option<u64> {
        self.last_count.filter(|last| last.notice >= next_notice).map(|last| last.unread)
    }
}

// === impl ShardMailboxes ===

impl ShardMailboxes {
    /// When [`Shard::serve_mailboxes`] is due. 0: now.
    pub(super) fn due(&self) -> Millis {
        if !self.notices.is_empty() || !self.queue.is_empty() && self.reads < MAX_READS {
            return 0;
        }
        let due = |queue: &VecDeque<(Millis, Turn)>| queue.front().map_or(NEVER, |(at, _)| *at);
        due(&self.slow).min(due(&self.unavailable))
    }

    fn take_due(&mut self, now: Millis) {
        for later in [&mut self.slow, &mut self.unavailable] {
            while let Some((at, turn)) = later.front()
                && *at <= now
            {
                self.queue.push(turn.client, *turn);
                later.pop_front();
            }
        }
    }
}

// === impl Shard ===

impl Shard {
    fn mailboxes_of(&self, namespace: u16) -> Option<Arc<dyn Mailboxes>> {
        self.engines.get(namespace)?.mailboxes.clone()
    }

    /// A connection has an identity in a namespace: its user, or its device, is connected from now on.
    pub(super) fn add_mailbox(&mut self, slot: u32, namespace: u16, user: &str) {
        if user.is_empty() {
            return;
        }
        let Some(mailboxes) = self.mailboxes_of(namespace) else { return };
        let first_notice = self.mailboxes.notices.next_number();
        let Some(session) = self.session_mut(slot) else { return };
        if session.mailboxes.get_mut(namespace).is_some() {
            return;
        }
        let user: Arc<str> = user.into();
        session.mailboxes.add(OwnMailbox {
            namespace,
            user: Arc::clone(&user),
            state: State::Closed,
            cursor: MessageId::FIRST,
            newest: MessageId::FIRST,
            is_stale: false,
            is_first: true,
            awaits_last: true,
            acknowledgements: 0,
            first_notice,
            last_count: None,
        });
        mailboxes.connected(&user);
        self.mailboxes.users.entry((namespace, user)).or_default().push(slot);
    }

    /// A connection has left a namespace, or all.
    pub(super) fn remove_mailboxes(&mut self, slot: u32, namespace: Option<u16>) {
        let taken = self.session_mut(slot).map(|session| session.mailboxes.take(namespace));
        for OwnMailbox { namespace, user, .. } in taken.into_iter().flatten() {
            if let Some(mailboxes) = self.mailboxes_of(namespace) {
                mailboxes.disconnected(&user);
            }
            let key = (namespace, user);
            if let Some(slots) = self.mailboxes.users.get_mut(&key) {
                slots.retain(|one| *one != slot);
                if slots.is_empty() {
                    self.mailboxes.users.remove(&key);
                }
            }
        }
    }

    /// The client wants its mailbox. See [`crate::protocol::Core::open_mailbox`].
    pub(super) fn open_mailbox(&mut self, slot: u32, namespace: u16) -> Result<(), MailboxError> {
        if self.mailboxes_of(namespace).is_none() {
            return Err(MailboxError::NotConfigured);
        }
        let session = self.session_mut(slot).ok_or(MailboxError::NoUser)?;
        let mailbox = session.mailboxes.get_mut(namespace).ok_or(MailboxError::NoUser)?;
        // A client that opens it again has forgotten nothing: the connection is the same.
        if mailbox.state == State::Closed {
            mailbox.state = State::Live;
            self.read_on(slot, namespace, 0);
        }
        Ok(())
    }

    /// The client acknowledges messages. See [`crate::protocol::Core::acknowledge_messages`].
    pub(super) fn acknowledge_messages(
        &mut self,
        slot: u32,
        namespace: u16,
        acknowledgement: Acknowledgement,
        request: Option<u64>,
    ) -> Result<Outcome<Removed>, MailboxError> {
        let mailboxes = self.mailboxes_of(namespace).ok_or(MailboxError::NotConfigured)?;
        let client = Client::of(self.peer(slot));
        let is_full = self.mailboxes.acknowledgements.check(client).is_err();
        let (shard, next_notice) = (self.number, self.mailboxes.notices.next_number());
        let session = self.session_mut(slot).ok_or(MailboxError::NoUser)?;
        let generation = session.generation;
        let mailbox = session.mailboxes.get_mut(namespace).ok_or(MailboxError::NoUser)?;
        if is_full || mailbox.acknowledgements >= MAX_ACKNOWLEDGEMENTS_PER_CONNECTION {
            return Err(MailboxError::Busy);
        }
        let reply_to = MailboxReplyTo { shard, slot, generation, namespace, client, next_notice };
        let action = MailboxAction::Acknowledge { acknowledgement, request };
        match mailboxes.request(MailboxRequest { reply_to, user: (&*mailbox.user).into(), action }) {
            Outcome::Pending => {
                mailbox.acknowledgements += 1;
                self.mailboxes.acknowledgements.add(client);
                Ok(Outcome::Pending)
            }
            Outcome::Ready(MailboxReply { result: MailboxResult::Acknowledged { result, .. }, .. }) => {
                result.map(Outcome::Ready).map_err(|_| MailboxError::Unavailable)
            }
            Outcome::Ready(_) | Outcome::Overloaded => Err(MailboxError::Busy),
        }
    }

    /// Reads on from the cursor, after a pause.
    fn read_on(&mut self, slot: u32, namespace: u16, pause: Millis) {
        let (now, client) = (self.now, Client::of(self.peer(slot)));
        let Some(session) = self.session_mut(slot) else { return };
        let generation = session.generation;
        let Some(mailbox) = session.mailboxes.get_mut(namespace) else { return };
        if matches!(mailbox.state, State::Closed | State::Waiting) {
            return;
        }
        mailbox.state = State::Waiting;
        let turn = Turn { slot, generation, namespace, client };
        match pause {
            0 => self.mailboxes.queue.push(client, turn),
            UNAVAILABLE_PAUSE => self.mailboxes.unavailable.push_back((now + pause, turn)),
            _ => self.mailboxes.slow.push_back((now + pause, turn)),
        }
    }

    /// Passes on notices, and requests pages of the mailboxes whose turn it is.
    pub(super) fn serve_mailboxes(&mut self) {
        self.pass_on_notices();
        self.mailboxes.take_due(self.now);
        let began = Instant::now();
        for _ in 0..PAGES_PER_TURN {
            if self.mailboxes.reads >= MAX_READS || began.elapsed() >= PAGES_TURN {
                return;
            }
            let Some((_, turn)) = self.mailboxes.queue.pop() else { return };
            self.request_page(turn);
        }
    }

    fn request_page(&mut self, turn: Turn) {
        let Turn { slot, generation, namespace, client } = turn;
        if !self.is_open(slot, generation) {
            return;
        }
        let bytes = PAGE_BYTES.min(self.settings.send_buffer / 4);
        // With the page: one that the client has no room for would be read again and again.
        let (shard, is_slow) = (self.number, self.is_slow(slot, bytes));
        let next_notice = self.mailboxes.notices.next_number();
        let Some(mailboxes) = self.mailboxes_of(namespace) else { return };
        let Some(session) = self.session_mut(slot) else { return };
        let Some(mailbox) = session.mailboxes.get_mut(namespace) else { return };
        if mailbox.state != State::Waiting {
            return;
        }
        mailbox.state = State::Reading;
        if is_slow {
            return self.read_on(slot, namespace, SLOW_CLIENT_PAUSE);
        }
        (mailbox.newest, mailbox.is_stale) = (MessageId::FIRST, false);
        let reply_to = MailboxReplyTo { shard, slot, generation, namespace, client, next_notice };
        let page = PageRequest { after: mailbox.cursor, count: PAGE_COUNT, bytes };
        let action = MailboxAction::Read(page);
        match mailboxes.request(MailboxRequest { reply_to, user: (&*mailbox.user).into(), action }) {
            Outcome::Pending => self.mailboxes.reads += 1,
            Outcome::Ready(reply) => self.on_result(reply),
            Outcome::Overloaded => self.read_on(slot, namespace, UNAVAILABLE_PAUSE),
        }
    }

    /// Whether a client must read before it is sent `more` bytes of its mailbox.
    fn is_slow(&mut self, slot: u32, more: usize) -> bool {
        let waiting = self.waiting(slot);
        waiting > 0 && waiting + more > self.settings.send_buffer / 2
    }

    /// The reply of an engine arrived.
    pub(super) fn on_mailbox_reply(&mut self, reply: MailboxReply) {
        match reply.result {
            MailboxResult::Read(_) => self.mailboxes.reads -= 1,
            MailboxResult::Acknowledged { .. } => self.mailboxes.acknowledgements.remove(reply.reply_to.client),
        }
        self.on_result(reply);
    }

    fn on_result(&mut self, reply: MailboxReply) {
        let MailboxReplyTo { slot, generation, namespace, next_notice, .. } = reply.reply_to;
        if !self.is_open(slot, generation) {
            return;
        }
        match reply.result {
            MailboxResult::Read(Ok(page)) => self.on_page(slot, generation, namespace, next_notice, page),
            MailboxResult::Read(Err(error)) => {
                tracing::debug!(%error, "a mailbox was not read; reading it again");
                self.read_on(slot, namespace, UNAVAILABLE_PAUSE);
            }
            MailboxResult::Acknowledged { request, result } => {
                let mailbox = self.session_mut(slot).and_then(|session| session.mailboxes.get_mut(namespace));
                if let Some(mailbox) = mailbox {
                    mailbox.acknowledgements = mailbox.acknowledgements.saturating_sub(1);
                    let result = result.map_err(|_| MailboxError::Unavailable).map(|Removed { count, unread }| {
                        Removed { count, unread: mailbox.newer_count(next_notice).unwrap_or(unread) }
                    });
                    self.deliver_from_mailbox(slot, namespace, &MailboxDelivery::Reply { request, result });
                }
            }
        }
    }

    fn on_page(&mut self, slot: u32, generation: u32, namespace: u16, next_notice: u64, page: MailboxPage) {
        let bytes = page.messages.iter().map(|message| message.text.len()).sum();
        let is_slow = self.is_slow(slot, bytes);
        let mailbox = self.session_mut(slot).and_then(|session| session.mailboxes.get_mut(namespace));
        // The client may have left the namespace and entered it again since.
        let Some(mailbox) = mailbox.filter(|mailbox| mailbox.state == State::Reading) else { return };
        if is_slow {
            return self.read_on(slot, namespace, SLOW_CLIENT_PAUSE);
        }
        let is_first = std::mem::take(&mut mailbox.is_first);
        let last = page.messages.last().map(|message| message.id);
        mailbox.cursor = if page.has_more { last.unwrap_or(page.newest) } else { page.newest.max(mailbox.cursor) };
        // A message that was stored while this page was read may be newer than it.
        let is_behind = page.has_more || mailbox.is_stale || mailbox.cursor < mailbox.newest;
        mailbox.state = State::Live;
        let is_last = !is_behind;
        // The last delivery may have no messages, if those that the one before announced were removed meanwhile.
        let is_end = is_last && std::mem::take(&mut mailbox.awaits_last);
        mailbox.awaits_last |= !is_last;
        if !page.messages.is_empty() || is_first || is_end {
            let messages = &page.messages[..];
            let unread = mailbox.newer_count(next_notice).unwrap_or(page.unread);
            self.deliver_from_mailbox(
                slot,
                namespace,
                &MailboxDelivery::Messages { messages, unread, is_first, is_last },
            );
        }
        if is_behind && self.is_open(slot, generation) {
            self.read_on(slot, namespace, 0);
        }
    }

    fn on_own_notice(&mut self, slot: u32, number: u64, namespace: u16, notice: &MailboxNotice) {
        let unread = notice.unread;
        let is_slow = self.is_slow(slot, notice.size());
        let mailbox = self.session_mut(slot).and_then(|session| session.mailboxes.get_mut(namespace));
        // Another connection may have the slot by now.
        let is_own = |mailbox: &&mut OwnMailbox| {
            mailbox.state != State::Closed && *mailbox.user == *notice.user && number >= mailbox.first_notice
        };
        let Some(mailbox) = mailbox.filter(is_own) else { return };
        mailbox.last_count = Some(NoticedCount { notice: number, unread });
        match &notice.event {
            MailboxEvent::Acknowledged(acknowledgement) => {
                let delivery = MailboxDelivery::Acknowledged { acknowledgement, unread };
                self.deliver_from_mailbox(slot, namespace, &delivery);
            }
            MailboxEvent::Stored { message, previous } => {
                if message.id <= mailbox.cursor {
                    return;
                }
                mailbox.newest = mailbox.newest.max(message.id);
                if mailbox.state != State::Live {
                    return;
                }
                if *previous > mailbox.cursor {
                    return self.read_on(slot, namespace, 0);
                }
                if is_slow {
                    return self.read_on(slot, namespace, SLOW_CLIENT_PAUSE);
                }
                mailbox.cursor = message.id;
                let messages = std::slice::from_ref(message);
                let delivery = MailboxDelivery::Messages { messages, unread, is_first: false, is_last: true };
                self.deliver_from_mailbox(slot, namespace, &delivery);
            }
        }
    }

    /// Notices may have been lost: all mailboxes of a namespace are read on.
    pub(super) fn on_mailbox_notices_lost(&mut self, namespace: u16) {
        let of_namespace = self.mailboxes.users.iter().filter(|((id, _), _)| *id == namespace);
        let slots: Vec<u32> = of_namespace.flat_map(|(_, slots)| slots.iter().copied()).collect();
        for slot in slots {
            let mailbox = self.session_mut(slot).and_then(|session| session.mailboxes.get_mut(namespace));
            let Some(mailbox) = mailbox else { continue };
            match mailbox.state {
                // The page may have been read before. Then the one after it is read as well.
                State::Reading => mailbox.is_stale = true,
                State::Live => self.read_on(slot, namespace, 0),
                State::Closed | State::Waiting => {}
            }
        }
    }

    fn deliver_from_mailbox(&mut self, slot: u32, namespace: u16, delivery: &MailboxDelivery<'_>) {
        let _: Option<CloseReason> = self.with_protocol(slot, |protocol, core| {
            protocol.mailbox(namespace, delivery, core);
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_of_a_notice_replaces_that_of_a_reply_to_an_earlier_request() {
        let mut mailbox = OwnMailbox {
            namespace: 0,
            user: "ann".into(),
            state: State::Live,
            cursor: MessageId::FIRST,
            newest: MessageId::FIRST,
            is_stale: false,
            is_first: false,
            awaits_last: false,
            acknowledgements: 1,
            first_notice: 0,
            last_count: None,
        };
        assert_eq!(mailbox.newer_count(5), None, "no notice has been passed on");
        mailbox.last_count = Some(NoticedCount { notice: 5, unread: 34 });
        assert_eq!(mailbox.newer_count(5), Some(34), "since the request");
        assert_eq!(mailbox.newer_count(6), None, "before the request");
    }
}
