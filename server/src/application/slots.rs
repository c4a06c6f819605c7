//! The slots for requests at a time. The clients that wait for one have their turns one after another, so that one with many
//! requests delays another by no more than one of them.

use crate::client::Client;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<State>,
    max_waiting: usize,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Requests that wait for a slot.
    waiting: usize,
    /// What waits, by client. `None`: the server itself.
    queues: HashMap<Option<Client>, VecDeque<oneshot::Sender<Slot>>>,
    /// The clients in `queues`, in the order of their turns.
    order: VecDeque<Option<Client>>,
}

/// A slot, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Option<Arc<Slots>>);

/// A request that waits, until it is dropped.
struct Waiting<'a>(&'a Slots);

// === impl Slots ===

impl Slots {
    /// `max` slots, for which `max_waiting` requests may wait.
    pub(super) fn new(max: usize, max_waiting: usize) -> Self {
        let state = State { free: max, waiting: 0, queues: HashMap::new(), order: VecDeque::new() };
        Self { state: Mutex::new(state), max_waiting }
    }

    /// Waits for a slot. `None`: too many wait already.
    ///
    /// # Cancel safety
    /// Safe: a slot that arrives too late is the next one's.
    pub(super) async fn take(self: &Arc<Self>, client: Option<Client>) -> Option<Slot> {
        let (waiting, slot) = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Some(Slot(Some(Arc::clone(self))));
            }
            if state.waiting >= self.max_waiting {
                return None;
            }
            state.waiting += 1;
            (Waiting(self), state.push(client))
        };
        let slot = slot.await.ok();
        drop(waiting);
        slot
    }

    /// Gives a slot to the next request that still waits. If there is none, it is free.
    fn give(self: &Arc<Self>) {
        loop {
            let Some(next) = self.lock().next() else { return };
            match next.send(Slot(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // Dropping it would come back here.
                Err(mut slot) => slot.0 = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn push(&mut self, client: Option<Client>) -> oneshot::Receiver<Slot> {
        let (sender, slot) = oneshot::channel();
        let queue = self.queues.entry(client).or_default();
        // Requests that no longer wait would otherwise stay until the client's turn.
        queue.retain(|one| !one.is_closed());
        if queue.is_empty() && !self.order.contains(&client) {
            self.order.push_back(client);
        }
        queue.push_back(sender);
        slot
    }

    /// The next request. If there is none, the slot is free.
    fn next(&mut self) -> Option<oneshot::Sender<Slot>> {
        loop {
            let Some(client) = self.order.pop_front() else {
                self.free += 1;
                return None;
            };
            let Some(queue) = self.queues.get_mut(&client) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&client);
            } else {
                self.order.push_back(client);
            }
            if next.is_some() {
                return next;
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = self.0.take() {
            slots.give();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::pin::Pin;

    type Taking<'a> = Pin<Box<dyn Future<Output = Option<Slot>> + 'a>>;

    fn take(slots: &Arc<Slots>, number: u8) -> Taking<'_> {
        let mut taking: Taking<'_> = Box::pin(slots.take(Some(Client::of([10, 0, 0, number].into()))));
        assert!(taking.as_mut().now_or_never().is_none(), "it waits");
        taking
    }

    fn has(taking: &mut Taking<'_>) -> Option<Slot> {
        taking.as_mut().now_or_never().flatten()
    }

    #[test]
    fn clients_have_their_turns_one_after_another() {
        let slots = Arc::new(Slots::new(1, 10));
        let first = slots.take(None).now_or_never().unwrap().unwrap();
        let [mut one, mut two, mut three] = [1, 1, 1].map(|number| take(&slots, number));
        let mut other = take(&slots, 2);
        drop(first);
        let slot = has(&mut one).expect("the first of client 1");
        assert!(has(&mut other).is_none());
        drop(slot);
        let slot = has(&mut other).expect("client 2 does not wait for all of client 1");
        drop(slot);
        drop(has(&mut two).expect("the second of client 1"));
        drop(has(&mut three).expect("the third of client 1"));
        let state = slots.lock();
        assert_eq!((state.free, state.queues.len(), state.order.len()), (1, 0, 0));
    }

    #[test]
    fn what_waits_is_limited_and_what_waits_no_more_gets_nothing() {
        let slots = Arc::new(Slots::new(1, 2));
        let first = slots.take(None).now_or_never().unwrap().unwrap();
        let (gone, mut stays) = (take(&slots, 1), take(&slots, 2));
        assert!(slots.take(None).now_or_never().unwrap().is_none(), "too many wait");
        drop(gone);
        for _ in 0..10 {
            drop(take(&slots, 1));
        }
        assert!(slots.lock().queues.values().map(VecDeque::len).sum::<usize>() <= 2, "nothing is left behind");
        drop(first);
        drop(has(&mut stays).expect("it has the slot"));
        let state = slots.lock();
        assert_eq!((state.free, state.waiting), (1, 0));
    }
}
