//! The users who are connected to this server, and whose mailboxes Redis is to be notified about: new users, users who have
//! left, and connected users at an interval. Each user has one entry, however many connections and changes there are.
//!
//! A device with a mailbox of its own is a user here: its name is that of the mailbox.

use nodevent_protocol::mailbox::{of_device, user_and_device};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The longest interval at which Redis is notified that a user is still connected.
const MAX_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The shortest.
const MIN_INTERVAL: Duration = Duration::from_millis(500);
/// Users who have left and wait, e.g. because Redis is unavailable. The mailboxes of others end an interval later.
const MAX_LEFT: usize = 100_000;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct MailboxUsers {
    /// How long a mailbox is kept while its user is not connected. Zero: Redis needs no notice.
    age: Duration,
    interval: Duration,
    state: Mutex<State>,
    changed: Notify,
}

/// A notice to Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) user: Box<str>,
    /// How long the user's mailbox is to be kept from now on.
    pub(super) keep: Duration,
}

#[derive(Debug, Default)]
struct State {
    connected: HashMap<Box<str>, Connected>,
    /// Users who have come or left.
    changed: VecDeque<Box<str>>,
    /// The same.
    changed_set: HashSet<Box<str>>,
    /// When Redis is notified again about connected users.
    renewals: BTreeSet<(Instant, Box<str>)>,
    /// Connected devices that Redis does not know yet.
    new_devices: BTreeSet<Box<str>>,
}

/// A user who is connected.
#[derive(Debug)]
struct Connected {
    connections: u32,
    /// The user's entry in [`State::renewals`].
    renewal: Option<Instant>,
}

// === impl State ===

impl State {
    fn change(&mut self, user: &str) {
        if self.changed.len() < MAX_LEFT + self.connected.len() && self.changed_set.insert(user.into()) {
            self.changed.push_back(user.into());
        }
    }

    /// Takes what is due at a time.
    fn take(&mut self, max: usize, age: Duration, interval: Duration, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < max {
            let user = if let Some(user) = self.changed.pop_front() {
                self.changed_set.remove(&user);
                user
            } else if self.renewals.first().is_some_and(|(at, _)| *at <= now)
                && let Some((_, user)) = self.renewals.pop_first()
            {
                user
            } else {
                break;
            };
            let mut keep = age;
            if let Some(connected) = self.connected.get_mut(&user) {
                keep += interval;
                if let Some(before) = connected.renewal.replace(now + interval) {
                    self.renewals.remove(&(before, user.clone()));
                }
                self.renewals.insert((now + interval, user.clone()));
            }
            due.push(Due { user, keep });
        }
        due
    }
}

// === impl MailboxUsers ===

impl MailboxUsers {
    pub(super) fn new(age: Duration) -> Self {
        let interval = (age / 4).clamp(MIN_INTERVAL, MAX_INTERVAL);
        Self { age, interval, state: Mutex::default(), changed: Notify::new() }
    }

    /// How long a mailbox is kept from now on if its user is connected. `None`: without a limit.
    pub(super) fn lease(&self) -> Option<Duration> {
        (!self.age.is_zero()).then(|| self.age + self.interval)
    }

    pub(super) fn is_connected(&self, user: &str) -> bool {
        self.lock().connected.contains_key(user)
    }

    pub(super) fn connected(&self, user: &str) {
        let mut state = self.lock();
        if let Some(connected) = state.connected.get_mut(user) {
            connected.connections += 1;
            return;
        }
        state.connected.insert(user.into(), Connected { connections: 1, renewal: None });
        if user_and_device(user).1.is_some() {
            state.new_devices.insert(user.into());
        }
        self.on_change(&mut state, user);
    }

    pub(super) fn disconnected(&self, user: &str) {
        let mut state = self.lock();
        let Some(connected) = state.connected.get_mut(user) else { return };
        connected.connections -= 1;
        if connected.connections == 0 {
            state.new_devices.remove(user);
            if let Some((user, Connected { renewal: Some(at), .. })) = state.connected.remove_entry(user) {
                state.renewals.remove(&(at, user));
            }
            self.on_change(&mut state, user);
        }
    }

    /// The connected devices of a user that Redis does not know yet.
    pub(super) fn new_devices(&self, user: &str) -> Vec<Box<str>> {
        let (state, prefix) = (self.lock(), of_device(user, ""));
        let from = state.new_devices.range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded));
        from.take_while(|name| name.starts_with(&*prefix)).cloned().collect()
    }

    /// Redis knows a device.
    pub(super) fn device_is_known(&self, name: &str) {
        self.lock().new_devices.remove(name);
    }

    fn on_change(&self, state: &mut State, user: &str) {
        if !self.age.is_zero() {
            state.change(user);
            self.changed.notify_one();
        }
    }

    /// Waits until there are notices to Redis.
    pub(super) async fn take_due(&self, max: usize) -> Vec<Due> {
        loop {
            let next = {
                let mut state = self.lock();
                let due = state.take(max, self.age, self.interval, Instant::now());
                if !due.is_empty() {
                    return due;
                }
                state.renewals.first().map(|(at, _)| *at)
            };
            let wait = next.map_or(MAX_INTERVAL, |at| at.saturating_duration_since(Instant::now()));
            let _ = tokio::time::timeout(wait, self.changed.notified()).await;
        }
    }

    /// Redis could not be notified about these users.
    pub(super) fn retry(&self, users: &[&str]) {
        let mut state = self.lock();
        users.iter().for_each(|user| state.change(user));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(60);
    const INTERVAL: Duration = Duration::from_secs(15);

    fn take(users: &MailboxUsers, now: Instant) -> Vec<(String, Duration)> {
        let due = users.lock().take(10, AGE, INTERVAL, now);
        due.into_iter().map(|due| (due.user.into(), due.keep)).collect()
    }

    #[test]
    fn a_user_is_due_when_it_comes_at_an_interval_and_when_its_last_connection_is_closed() {
        let (users, now) = (MailboxUsers::new(AGE), Instant::now());
        users.connected("a");
        users.connected("a");
        assert_eq!(take(&users, now), [("a".to_owned(), AGE + INTERVAL)]);
        assert_eq!(take(&users, now + INTERVAL / 2), []);
        assert_eq!(take(&users, now + INTERVAL), [("a".to_owned(), AGE + INTERVAL)]);
        users.disconnected("a");
        assert!(users.is_connected("a"));
        assert_eq!(take(&users, now + INTERVAL), []);
        users.disconnected("a");
        assert!(!users.is_connected("a"));
        assert_eq!(take(&users, now + INTERVAL), [("a".to_owned(), AGE)]);
        assert_eq!(take(&users, now + 10 * INTERVAL), [], "the renewal ends with the connection");
    }

    #[test]
    fn w36_devices_are_new_until_redis_knows_them_or_they_leave() {
        let users = MailboxUsers::new(AGE);
        let [phone, tablet, other] =
            [("a", "phone"), ("a", "tablet"), ("ab", "phone")].map(|(a, b)| of_device(a, b));
        [&*phone, &*tablet, &*other, "a"].into_iter().for_each(|name| users.connected(name));
        let new = |user: &str| users.new_devices(user).into_iter().map(String::from).collect::<Vec<_>>();
        assert_eq!(new("a"), [phone.clone(), tablet.clone()]);
        users.device_is_known(&phone);
        assert_eq!(new("a"), ["a\u{1}tablet"]);
        users.disconnected(&tablet);
        assert!(new("a").is_empty() && new("ab") == [other]);
    }

    #[test]
    fn flapping_connections_make_one_entry() {
        let users = MailboxUsers::new(AGE);
        for _ in 0..1_000 {
            users.connected("a");
            users.disconnected("a");
        }
        users.disconnected("a");
        users.retry(&["a", "a"]);
        assert_eq!(take(&users, Instant::now()), [("a".to_owned(), AGE)]);
    }

    #[test]
    fn renewals_of_a_user_who_returns_do_not_multiply() {
        let (users, now) = (MailboxUsers::new(AGE), Instant::now());
        for _ in 0..100 {
            users.connected("a");
            take(&users, now);
            users.disconnected("a");
            take(&users, now);
        }
        users.connected("a");
        take(&users, now);
        assert_eq!(users.lock().renewals.len(), 1);
    }
}
