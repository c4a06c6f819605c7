//! The capability *connections of users*: how many connections a user has, and on which servers.
//!
//! Engines implement [`UserConnections`]. [`LocalUsers`] has the users of this server. Engines that share them with
//! others take what has changed; that is a state and not a list of events, so it is bounded.

use crate::outcome::Pending;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts the connections of users.
pub trait UserConnections: Send + Sync {
    /// The users of this server.
    fn local(&self) -> &LocalUsers;

    /// On which servers a user has connections, and how many: the ids of servers, each once, in no order.
    ///
    /// # Errors
    /// [`crate::outcome::Unavailable`].
    fn read<'a>(&'a self, user: &'a str) -> Pending<'a, Vec<(String, u32)>>;
}

/// The users of this server in one namespace.
#[derive(Debug)]
pub struct LocalUsers {
    /// The id of this server.
    server: String,
    /// Whether an engine takes the changes. Otherwise none are recorded.
    is_shared: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<Box<str>, u32>,
    /// Users whose number has changed since it was taken.
    changed: HashSet<Box<str>>,
}

/// Users who have left and whose departure is not taken. Beyond it, everything is reported again.
const MAX_LEFT: usize = 100_000;

// === impl LocalUsers ===

impl LocalUsers {
    /// No users. The server gets a new id, and an engine takes the changes.
    pub fn new() -> Self {
        Self { is_shared: true, ..Self::default() }
    }

    /// The id of this server. A restart changes it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A connection of this user was opened. One call of [`LocalUsers::disconnected`] follows.
    pub fn connected(&self, user: &str) {
        let mut state = self.lock();
        *state.connections.entry(user.into()).or_default() += 1;
        if self.is_shared {
            state.changed.insert(user.into());
        }
    }

    /// A connection of this user was closed.
    pub fn disconnected(&self, user: &str) {
        let mut state = self.lock();
        let Some(connections) = state.connections.get_mut(user) else { return };
        *connections -= 1;
        if *connections == 0 {
            state.connections.remove(user);
        }
        if self.is_shared {
            state.changed.insert(user.into());
        }
    }

    /// How many connections a user has here.
    pub fn count(&self, user: &str) -> u32 {
        self.lock().connections.get(user).copied().unwrap_or(0)
    }

    /// Takes changes: users and their connections now. `None`: there are too many, and [`LocalUsers::begin_again`] is
    /// shorter.
    pub fn take_changes(&self, max: usize) -> Option<Vec<(Box<str>, u32)>> {
        let mut state = self.lock();
        let State { connections, changed } = &mut *state;
        if changed.len() > MAX_LEFT + connections.len() {
            return None;
        }
        let users: Vec<Box<str>> = changed.iter().take(max).cloned().collect();
        let taken = users.into_iter().map(|user| {
            changed.remove(&user);
            let count = connections.get(&user).copied().unwrap_or(0);
            (user, count)
        });
        Some(taken.collect())
    }

    /// Changes that were taken could not be reported.
    pub fn put_back(&self, changes: Vec<(Box<str>, u32)>) {
        self.lock().changed.extend(changes.into_iter().map(|(user, _)| user));
    }

    /// Makes all users count as changed, and forgets who has left.
    pub fn begin_again(&self) {
        let State { connections, changed } = &mut *self.lock();
        *changed = connections.keys().cloned().collect();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No users. The server gets a new id, and nothing takes the changes.
impl Default for LocalUsers {
    fn default() -> Self {
        Self { server: format!("{:016x}", rand::random::<u64>()), is_shared: false, state: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(users: &LocalUsers) -> Vec<(String, u32)> {
        let mut changes: Vec<_> =
            users.take_changes(100).unwrap().into_iter().map(|(user, count)| (user.into(), count)).collect();
        changes.sort();
        changes
    }

    #[test]
    fn changes_that_nothing_takes_are_not_kept() {
        let users = LocalUsers::default();
        for user in 0..10 {
            users.connected(&user.to_string());
            users.disconnected(&user.to_string());
        }
        users.connected("a");
        assert_eq!((users.count("a"), sorted(&users)), (1, Vec::new()));
    }

    #[test]
    fn changes_are_taken_once_with_the_last_number() {
        let users = LocalUsers::new();
        users.connected("a");
        users.connected("a");
        users.connected("b");
        users.disconnected("b");
        users.disconnected("stranger");
        assert_eq!(sorted(&users), [("a".to_owned(), 2), ("b".to_owned(), 0)]);
        assert_eq!(sorted(&users), []);
        users.put_back(vec![("a".into(), 2)]);
        users.disconnected("a");
        assert_eq!((sorted(&users), users.count("a")), (vec![("a".to_owned(), 1)], 1));
        users.begin_again();
        assert_eq!(sorted(&users), [("a".to_owned(), 1)]);
    }

    #[test]
    fn users_who_have_left_while_nothing_is_taken_are_bounded() {
        let users = LocalUsers::new();
        for number in 0..=MAX_LEFT {
            users.connected(&number.to_string());
            users.disconnected(&number.to_string());
        }
        assert_eq!(users.take_changes(1), None);
        users.begin_again();
        assert_eq!(users.take_changes(1), Some(Vec::new()));
    }
}
