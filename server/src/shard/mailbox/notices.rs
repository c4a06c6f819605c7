//! What happened in the mailboxes of users, on its way to their connections.
//!
//! A turn is limited in time, and users have theirs one after another. So neither a user with very many connections nor
//! one whose mailbox changes very often delays other clients. For each user the notices keep their order. A notice
//! gives its place in the inbox back when the last connection has received it, so that engines wait instead of memory
//! growing.

use super::super::Shard;
use super::super::message::MailboxBroadcast;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for notices before pages, publications, sockets and timers have their turn again.
const NOTICES_TURN: Duration = Duration::from_millis(1);
/// Connections of one user before other users have their turn.
const CONNECTIONS_PER_TURN: usize = 4;

/// A user of a namespace.
type User = (u16, Arc<str>);

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Notices {
    of_users: HashMap<User, VecDeque<OnItsWay>>,
    /// The users in `of_users`, in the order of their turns.
    turns: VecDeque<User>,
    /// The number of the next notice.
    next_number: u64,
}

/// A notice.
#[derive(Debug)]
struct OnItsWay {
    number: u64,
    broadcast: Arc<MailboxBroadcast>,
    /// The connections that have not received it. `None`: those before it come first. A user may have very many connections
    /// and notices, so not every notice lists them.
    slots: Option<Vec<u32>>,
}

// === impl Notices ===

impl Notices {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// A mailbox that is added now receives notices from this number on: its first page has what was before.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    fn add(&mut self, user: User, broadcast: Arc<MailboxBroadcast>) {
        let queue = self.of_users.entry(user.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(user);
        }
        queue.push_back(OnItsWay { number: self.next_number, broadcast, slots: None });
        self.next_number += 1;
    }

    /// The next connections of the user whose turn it is, with what is passed on to them and its number, and the bytes that
    /// the notice gives back if these are its last ones. `connections`: those of each user.
    fn next(
        &mut self,
        connections: &HashMap<User, Vec<u32>>,
    ) -> Option<(Arc<MailboxBroadcast>, u64, Vec<u32>, u32)> {
        let user = self.turns.pop_front()?;
        let queue = self.of_users.get_mut(&user)?;
        let first = queue.front_mut()?;
        let left = first.slots.get_or_insert_with(|| connections.get(&user).cloned().unwrap_or_default());
        let from = left.len().saturating_sub(CONNECTIONS_PER_TURN);
        let (slots, broadcast, number) = (left.split_off(from), Arc::clone(&first.broadcast), first.number);
        let mut released = 0;
        if left.is_empty() {
            released = broadcast.cost;
            queue.pop_front();
        }
        if queue.is_empty() {
            self.of_users.remove(&user);
        } else {
            self.turns.push_back(user);
        }
        Some((broadcast, number, slots, released))
    }
}

// === impl Shard ===

impl Shard {
    /// Something happened in the mailbox of a user.
    pub(in crate::shard) fn on_mailbox_notice(&mut self, broadcast: Arc<MailboxBroadcast>) {
        let user: User = (broadcast.namespace, Arc::from(&*broadcast.notice.user));
        match self.mailboxes.users.contains_key(&user) {
            true => self.mailboxes.notices.add(user, broadcast),
            false => self.delivery.release(broadcast.cost),
        }
    }

    /// Passes notices on for as long as a turn lasts.
    pub(super) fn pass_on_notices(&mut self) {
        let began = Instant::now();
        while let Some((broadcast, number, slots, released)) = self.mailboxes.notices.next(&self.mailboxes.users) {
            for slot in slots {
                self.on_own_notice(slot, number, broadcast.namespace, &broadcast.notice);
            }
            self.delivery.release(released);
            if began.elapsed() >= NOTICES_TURN {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::{Acknowledgement, MailboxEvent, MailboxNotice};

    fn notice(user: &str, unread: u64) -> (User, Arc<MailboxBroadcast>) {
        let event = MailboxEvent::Acknowledged(Acknowledgement::default());
        let notice = MailboxNotice { user: user.into(), unread, event };
        ((0, user.into()), Arc::new(MailboxBroadcast { namespace: 0, notice, cost: 7 }))
    }

    type Connections = HashMap<User, Vec<u32>>;

    fn next(notices: &mut Notices, connections: &Connections) -> Option<(String, u64, usize, u32)> {
        let (broadcast, _, slots, released) = notices.next(connections)?;
        Some((broadcast.notice.user.to_string(), broadcast.notice.unread, slots.len(), released))
    }

    #[test]
    fn users_have_their_turns_one_after_another_and_notices_of_a_user_keep_their_order() {
        let mut notices = Notices::default();
        let (many, first) = notice("many", 1);
        let mut connections = Connections::from_iter([(many.clone(), (0..10).collect())]);
        notices.add(many.clone(), first);
        notices.add(many.clone(), notice("many", 2).1);
        let (one, only) = notice("one", 9);
        connections.insert(one.clone(), vec![99]);
        notices.add(one, only);
        let mut order = Vec::from_iter((0..3).filter_map(|_| next(&mut notices, &connections)));
        // Connections end, and the notices that wait list none of them.
        assert!(notices.of_users[&many].iter().skip(1).all(|waiting| waiting.slots.is_none()));
        connections.insert(many, (0..3).collect());
        order.extend(std::iter::from_fn(|| next(&mut notices, &connections)));
        let expected =
            [("many", 1, 4, 0), ("one", 9, 1, 7), ("many", 1, 4, 0), ("many", 1, 2, 7), ("many", 2, 3, 7)];
        assert_eq!(
            order,
            expected.map(|(user, unread, slots, released)| (user.to_owned(), unread, slots, released))
        );
        assert!(notices.is_empty() && notices.of_users.is_empty());
    }

    /// A connection that opens while notices wait is in the list that the next notice makes, so it must know which of them
    /// are older: the count of unread messages in such a notice is older than its page.
    #[test]
    fn a_mailbox_that_is_added_while_notices_wait_distinguishes_them_from_later_ones() {
        let mut notices = Notices::default();
        let (user, before) = notice("user", 39);
        notices.add(user.clone(), before);
        let first_notice = notices.next_number();
        notices.add(user.clone(), notice("user", 40).1);
        let connections = Connections::from_iter([(user, vec![1])]);
        let numbers: Vec<_> = std::iter::from_fn(|| notices.next(&connections))
            .map(|(one, number, ..)| (one.notice.unread, number))
            .collect();
        let is_passed_on: Vec<_> =
            numbers.iter().map(|(unread, number)| (*unread, *number >= first_notice)).collect();
        assert_eq!(is_passed_on, [(39, false), (40, true)]);
    }
}
