//! One turn at a time, shared fairly: the clients that wait have their turns one after another, however many each waits
//! for.
//!
//! Several clients may wait for the same ticket: it has its turn when the first of them has one.

use crate::client::Client;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// See the head of this file. `K` is whose turns they are.
pub(crate) struct FairTurns<K: Key = Client>(Mutex<State<K>>);

/// Whose turns they are.
pub(crate) trait Key: Copy + Eq + Hash {}

impl<K: Copy + Eq + Hash> Key for K {}

struct State<K: Key> {
    is_taken: bool,
    /// Tickets that wait, by client.
    queues: HashMap<K, VecDeque<Arc<Ticket<K>>>>,
    /// The clients in `queues`, in the order of their turns.
    order: VecDeque<K>,
}

/// A place in the queues of its clients.
pub(crate) struct Ticket<K: Key = Client>(Mutex<Waiting<K>>);

struct Waiting<K: Key> {
    /// `None`: it has had its turn.
    turn: Option<oneshot::Sender<Turn<K>>>,
    clients: HashSet<K>,
}

/// A turn, until it is dropped.
pub(crate) struct Turn<K: Key = Client>(Option<Arc<FairTurns<K>>>);

/// `N` turns at a time. What has one name has one turn at a time.
#[derive(Debug)]
pub(crate) struct FairLanes<const N: usize>([Arc<FairTurns>; N]);

// === impl FairLanes ===

impl<const N: usize> Default for FairLanes<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl<const N: usize> FairLanes<N> {
    /// See [`FairTurns::wait`].
    pub(crate) fn wait(
        &self,
        name: &(impl Hash + ?Sized),
        client: Client,
    ) -> (Arc<Ticket>, oneshot::Receiver<Turn>) {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.0[hasher.finish() as usize % N].wait(client)
    }
}

// === impl FairTurns ===

impl<K: Key> Default for FairTurns<K> {
    fn default() -> Self {
        Self(Mutex::new(State { is_taken: false, queues: HashMap::new(), order: VecDeque::new() }))
    }
}

impl<K: Key> FairTurns<K> {
    /// Takes a ticket for a client. The turn arrives through the receiver; dropping that gives the turn to the next one.
    pub(crate) fn wait(self: &Arc<Self>, client: K) -> (Arc<Ticket<K>>, oneshot::Receiver<Turn<K>>) {
        let (sender, receiver) = oneshot::channel();
        let ticket = Arc::new(Ticket(Mutex::new(Waiting { turn: Some(sender), clients: HashSet::new() })));
        self.wait_for(&ticket, client);
        (ticket, receiver)
    }

    /// Another client waits for the same ticket.
    pub(crate) fn wait_for(self: &Arc<Self>, ticket: &Arc<Ticket<K>>, client: K) {
        let mut waiting = lock(&ticket.0);
        if waiting.turn.is_none() || !waiting.clients.insert(client) {
            return;
        }
        drop(waiting);
        let mut state = lock(&self.0);
        let queue = state.queues.entry(client).or_default();
        queue.push_back(Arc::clone(ticket));
        if queue.len() == 1 {
            state.order.push_back(client);
        }
        if !std::mem::replace(&mut state.is_taken, true) {
            drop(state);
            self.give();
        }
    }

    /// Gives the turn to the next ticket whose receiver exists. If there is none, the turn is free.
    fn give(self: &Arc<Self>) {
        loop {
            let Some(ticket) = lock(&self.0).next() else { return };
            let Some(sender) = lock(&ticket.0).turn.take() else { continue };
            match sender.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // Dropping it would come back here.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

// === impl State ===

impl<K: Key> State<K> {
    /// The next ticket. If there is none, the turn is free.
    fn next(&mut self) -> Option<Arc<Ticket<K>>> {
        let Some(client) = self.order.pop_front() else {
            self.is_taken = false;
            return None;
        };
        let queue = self.queues.get_mut(&client)?;
        let ticket = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&client);
        } else {
            self.order.push_back(client);
        }
        ticket
    }
}

impl<K: Key> Drop for Turn<K> {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.give();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Key> fmt::Debug for FairTurns<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairTurns").field("clients", &lock(&self.0).order.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Client {
        Client::of([10, 0, 0, number].into())
    }

    fn has_turn(receiver: &mut oneshot::Receiver<Turn>) -> Option<Turn> {
        receiver.try_recv().ok()
    }

    #[test]
    fn clients_have_their_turns_one_after_another() {
        let turns = Arc::new(FairTurns::default());
        let mut flood: VecDeque<_> = (0..1000).map(|_| turns.wait(client(1)).1).collect();
        let mut other: VecDeque<_> = (0..3).map(|_| turns.wait(client(2)).1).collect();
        let mut turn = has_turn(&mut flood.pop_front().unwrap());
        for _ in 0..3 {
            assert!(turn.is_some() && has_turn(&mut other[0]).is_none());
            drop(turn);
            let next = has_turn(&mut flood[0]);
            if next.is_some() {
                // The order was decided when the flood was alone.
                flood.pop_front();
                drop(next);
            }
            turn = has_turn(&mut other.pop_front().unwrap());
            assert!(turn.is_some(), "at most one turn of the flood is between two of the other");
        }
    }

    #[test]
    fn tickets_without_a_receiver_are_passed_over_without_recursion() {
        let turns = Arc::new(FairTurns::default());
        let (_, mut first) = turns.wait(client(1));
        let gone: Vec<_> = (0..200_000).map(|_| turns.wait(client(1)).1).collect();
        let (_, mut last) = turns.wait(client(1));
        drop(gone);
        drop(has_turn(&mut first).unwrap());
        let turn = has_turn(&mut last);
        assert!(turn.is_some());
        drop(turn);
        let state = lock(&turns.0);
        assert!(!state.is_taken && state.queues.is_empty() && state.order.is_empty());
    }

    #[test]
    fn a_ticket_of_several_clients_has_its_turn_with_the_first_of_them() {
        let turns = Arc::new(FairTurns::default());
        let (_, mut current) = turns.wait(client(1));
        let waiting: Vec<_> = (0..10).map(|_| turns.wait(client(1)).1).collect();
        let (ticket, mut shared) = turns.wait(client(1));
        turns.wait_for(&ticket, client(2));
        turns.wait_for(&ticket, client(2));
        let mut turn = has_turn(&mut current);
        for mut one in waiting.into_iter().take(2) {
            if let Some(shared) = has_turn(&mut shared) {
                drop(shared);
                return;
            }
            drop(turn.take());
            turn = has_turn(&mut one);
        }
        assert!(has_turn(&mut shared).is_some(), "not behind all of the first client's");
    }

    #[test]
    fn a_turn_without_a_receiver_goes_to_the_next() {
        let turns = Arc::new(FairTurns::default());
        let (_, first) = turns.wait(client(1));
        let (_, mut second) = turns.wait(client(2));
        drop(first);
        assert!(has_turn(&mut second).is_some());
    }
}
