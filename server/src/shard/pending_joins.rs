//! The joins that wait for an engine or an authorizer, and whose turn it is.
//!
//! There is a total limit, and a smaller one per address, so that one client cannot use up what others need. There is
//! also one per namespace: an engine that does not respond delays only its own namespace. An engine serves requests in
//! their order, so only a few of one client are with the engines at a time.

use crate::client::Client;
use crate::history::RecoveryRequest;
use crate::protocol::Millis;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::VecDeque;
use std::time::Instant;

/// Joins that may wait for an engine or an authorizer, per shard.
const MAX_PENDING_JOINS: u32 = 65_536;
/// The part of them that one address may have.
const PENDING_JOINS_PER_ADDRESS: u32 = MAX_PENDING_JOINS / 4;
/// The part of them that one namespace may have.
const PENDING_JOINS_PER_NAMESPACE: u32 = MAX_PENDING_JOINS / 2;
/// Maximum recoveries that one client may have at the engines. Its other recoveries wait in the shard, for up to
/// [`MAX_WAIT`].
const RECOVERIES_PER_CLIENT: u32 = 16;
/// Time for which a recovery may wait for others of its client. Milliseconds.
const MAX_WAIT: Millis = 5_000;
/// Time between two searches for those that have waited for longer. Milliseconds.
const OVERDUE_INTERVAL: Millis = 1_000;
/// Recoveries taken by one search, so that others have their turn.
const OVERDUE_TURN: usize = 256;

/// Joins that wait.
#[derive(Debug, Default)]
pub(super) struct PendingJoins {
    all: HashMap<u32, Join>,
    by_client: HashMap<Client, OfClient>,
    by_namespace: HashMap<u16, u32>,
    /// When the next search for overdue recoveries is due. `None`: no recovery waits.
    overdue_due: Option<Millis>,
}

#[derive(Debug)]
struct Join {
    client: Client,
    namespace: u16,
    /// Whether its recovery is with an engine.
    is_requested: bool,
    since: Instant,
}

#[derive(Debug, Default)]
struct OfClient {
    joins: u32,
    /// Recoveries that are with an engine.
    requested: u32,
    /// Recoveries that are not yet, oldest first, with the time at which each began to wait.
    waiting: VecDeque<(Millis, Box<RecoveryRequest>)>,
}

// === impl PendingJoins ===

impl PendingJoins {
    /// Adds a join. Returns `false` if a limit is reached.
    pub(super) fn add(&mut self, join_id: u32, client: Client, namespace: u16) -> bool {
        let of_client = self.by_client.get(&client).map_or(0, |one| one.joins);
        let of_namespace = self.by_namespace.get(&namespace).copied().unwrap_or_default();
        if self.all.len() >= MAX_PENDING_JOINS as usize
            || of_client >= PENDING_JOINS_PER_ADDRESS
            || of_namespace >= PENDING_JOINS_PER_NAMESPACE
        {
            return false;
        }
        if self
            .all
            .insert(join_id, Join { client, namespace, is_requested: false, since: Instant::now() })
            .is_none()
        {
            self.by_client.entry(client).or_default().joins += 1;
            self.by_namespace.insert(namespace, of_namespace + 1);
        }
        true
    }

    /// Returns the recovery of a join that was added if it may be requested now. Otherwise it waits for
    /// [`PendingJoins::remove`].
    pub(super) fn request(&mut self, request: RecoveryRequest, now: Millis) -> Option<RecoveryRequest> {
        let Some(join) = self.all.get_mut(&request.reply_to.join_id) else { return Some(request) };
        let Some(of_client) = self.by_client.get_mut(&join.client) else { return Some(request) };
        if of_client.requested >= RECOVERIES_PER_CLIENT {
            of_client.waiting.push_back((now, Box::new(request)));
            self.overdue_due.get_or_insert(now + MAX_WAIT);
            return None;
        }
        of_client.requested += 1;
        join.is_requested = true;
        Some(request)
    }

    /// Removes a join whose reply is here. Returns a recovery that may be requested now.
    pub(super) fn remove(&mut self, join_id: u32, now: Millis) -> Option<RecoveryRequest> {
        let Join { client, namespace, is_requested, .. } = self.all.remove(&join_id)?;
        if let Entry::Occupied(mut count) = self.by_namespace.entry(namespace) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let Entry::Occupied(mut entry) = self.by_client.entry(client) else { return None };
        let of_client = entry.get_mut();
        of_client.joins -= 1;
        of_client.requested -= u32::from(is_requested);
        let next = (of_client.requested < RECOVERIES_PER_CLIENT).then(|| of_client.waiting.pop_front()).flatten();
        if next.is_none() && of_client.joins == 0 {
            entry.remove();
        }
        let (_, next) = next?;
        self.request(*next, now)
    }

    /// When a join began to wait.
    pub(super) fn since(&self, join_id: u32) -> Option<Instant> {
        self.all.get(&join_id).map(|join| join.since)
    }

    /// When [`PendingJoins::take_overdue`] may have something to return.
    pub(super) fn next_overdue(&self) -> Option<Millis> {
        self.overdue_due
    }

    /// Takes recoveries that have waited for too long. They are requested whatever else their client has requested.
    pub(super) fn take_overdue(&mut self, now: Millis) -> Vec<RecoveryRequest> {
        let mut overdue = Vec::new();
        if self.overdue_due.is_none_or(|due| now < due) {
            return overdue;
        }
        let mut has_more = false;
        for of_client in self.by_client.values_mut() {
            while let Some((since, _)) = of_client.waiting.front() {
                if overdue.len() >= OVERDUE_TURN || now < since + MAX_WAIT {
                    break;
                }
                let Some((_, request)) = of_client.waiting.pop_front() else { break };
                if let Some(join) = self.all.get_mut(&request.reply_to.join_id) {
                    join.is_requested = true;
                    of_client.requested += 1;
                }
                overdue.push(*request);
            }
            has_more |= !of_client.waiting.is_empty();
        }
        let pause = if overdue.len() >= OVERDUE_TURN { 0 } else { OVERDUE_INTERVAL };
        self.overdue_due = has_more.then_some(now + pause);
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{ReplyTo, RequestId, Since};
    use std::net::IpAddr;

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, number]))
    }

    #[test]
    fn one_client_cannot_take_the_pending_joins_of_others() {
        let mut joins = PendingJoins::default();
        let accepted = (0..MAX_PENDING_JOINS).filter(|id| joins.add(*id, client(1), 0)).count();
        assert_eq!(accepted, PENDING_JOINS_PER_ADDRESS as usize);
        assert!(joins.add(u32::MAX, client(2), 0));
        joins.remove(0, 0);
        joins.remove(0, 0);
        assert!(joins.add(0, client(1), 0));
        assert!(!joins.add(u32::MAX - 1, client(1), 0));
    }

    fn request(join_id: u32) -> RecoveryRequest {
        RecoveryRequest {
            reply_to: ReplyTo {
                shard: 0,
                slot: 0,
                generation: 0,
                join_id,
                encoding: 0,
                request: RequestId::default(),
            },
            namespace: 0,
            room: "r".into(),
            client: client(1),
            since: Since::FirstJoin,
            requested_at: Instant::now(),
        }
    }

    #[test]
    fn few_recoveries_of_one_client_are_with_the_engines_and_all_get_there_in_order() {
        let mut joins = PendingJoins::default();
        let count = 3 * RECOVERIES_PER_CLIENT;
        let requested: Vec<u32> = (0..count)
            .filter(|id| joins.add(*id, client(1), 0) && joins.request(request(*id), 0).is_some())
            .collect();
        assert_eq!(requested, Vec::from_iter(0..RECOVERIES_PER_CLIENT));
        assert!(joins.add(u32::MAX, client(2), 0) && joins.request(request(u32::MAX), 0).is_some());
        for id in 0..count {
            let next = joins.remove(id, 0).map(|request| request.reply_to.join_id);
            assert_eq!(next, Some(id + RECOVERIES_PER_CLIENT).filter(|next| *next < count));
        }
        assert!(joins.remove(u32::MAX, 0).is_none());
        assert!(joins.all.is_empty() && joins.by_client.is_empty());
    }

    /// The engine replies to none of them.
    #[test]
    fn recoveries_that_wait_for_too_long_are_requested_all_the_same() {
        let mut joins = PendingJoins::default();
        let count = RECOVERIES_PER_CLIENT + 2 * OVERDUE_TURN as u32;
        let requested =
            (0..count).filter(|id| joins.add(*id, client(1), 0) && joins.request(request(*id), 7).is_some());
        assert_eq!(requested.count(), RECOVERIES_PER_CLIENT as usize);
        assert!(joins.take_overdue(6 + MAX_WAIT).is_empty());
        assert_eq!(joins.next_overdue(), Some(7 + MAX_WAIT));
        for turn in 0..2 {
            let ids = joins.take_overdue(7 + MAX_WAIT).into_iter().map(|request| request.reply_to.join_id);
            let first = RECOVERIES_PER_CLIENT + turn * OVERDUE_TURN as u32;
            assert_eq!(Vec::from_iter(ids), Vec::from_iter(first..first + OVERDUE_TURN as u32));
        }
        assert!(joins.take_overdue(7 + MAX_WAIT).is_empty());
        assert_eq!(joins.next_overdue(), None);
        assert!((0..count).all(|id| joins.remove(id, 0).is_none()));
        assert!(joins.all.is_empty() && joins.by_client.is_empty());
    }

    #[test]
    fn one_namespace_cannot_take_the_pending_joins_of_others() {
        let mut joins = PendingJoins::default();
        let accepted = (0..MAX_PENDING_JOINS).filter(|id| joins.add(*id, client(*id as u8), 0)).count();
        assert_eq!(accepted, PENDING_JOINS_PER_NAMESPACE as usize);
        let accepted = (0..MAX_PENDING_JOINS).filter(|id| joins.add(!*id, client(*id as u8), 1)).count();
        assert_eq!(accepted, (MAX_PENDING_JOINS - PENDING_JOINS_PER_NAMESPACE) as usize);
        (0..MAX_PENDING_JOINS).for_each(|id| {
            joins.remove(id, 0);
            joins.remove(!id, 0);
        });
        assert!(joins.all.is_empty() && joins.by_client.is_empty() && joins.by_namespace.is_empty());
    }
}
