//! The members on this server, and what the engine does not know of them yet.
//!
//! Shards report joins and leaves here, under a lock that is never held during I/O. The engine takes the changes of a
//! room in batches and confirms them. Only the latest state of a user is kept, however often it changes and however
//! long the engine is unavailable, so the size is limited by the connections and by [`Settings::max_members`].
//!
//! The rooms with changes have their turns by the users who have changed them, and users share the members that there may
//! be. So one who enters and leaves very many rooms neither delays others nor keeps them out.

use super::{Member, Settings};
use crate::fair_queue::FairQueue;
use crate::fair_shares::FairShares;
use crate::identity::Identity;
use crate::metrics::Metrics;
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// See the head of this file.
#[derive(Debug)]
pub struct LocalPresence {
    settings: Settings,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Notified when a room has changes.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    rooms: HashMap<Box<str>, Room>,
    /// The rooms that each user has changed. Some have no changes any more, because they had their turn with another user.
    changed: FairQueue<Box<str>, Box<str>>,
    /// The users and rooms in `changed`.
    queued: HashSet<(Box<str>, Box<str>)>,
    /// The members of all rooms, of which users have shares.
    members: FairShares<UserHash>,
}

/// The hash of a user's name.
type UserHash = u64;

#[derive(Debug, Default)]
struct Room {
    users: HashMap<Box<str>, User>,
    /// The users with changes, each once, oldest first. The first of them has the room in [`State::changed`].
    changed: VecDeque<Box<str>>,
}

#[derive(Debug, Default)]
struct User {
    connections: u32,
    info: Option<Box<str>>,
    /// Whether it is in [`Room::changed`].
    is_changed: bool,
    /// Whether the engine has confirmed it as a member.
    is_known: bool,
}

/// The state of a user that the engine does not know yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The user.
    pub user: Box<str>,
    /// Its connections here. 0: the last one has left.
    pub connections: u32,
    /// What the application says about the user: the text of a JSON value.
    pub info: Option<Box<str>>,
    /// Whether the engine has confirmed it as a member before.
    pub is_known: bool,
}

// === impl LocalPresence ===

impl LocalPresence {
    /// No room has members.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let state = Mutex::new(State::new(settings.max_members));
        Self { settings, metrics, state, changed: Notify::new() }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A connection of a user has joined a room. Returns `false` if the user cannot be present, because a limit is
    /// reached or the room has no presence.
    pub fn enter(&self, room: &str, identity: &Identity) -> bool {
        if !self.settings.includes(room) {
            return false;
        }
        let mut state = self.state();
        let one = state.rooms.get(room);
        let is_new = one.is_none_or(|one| !one.users.contains_key(&identity.user));
        let in_room = one.map_or(0, |one| one.users.len());
        let hash = hash_of(&identity.user);
        let is_full = || in_room >= self.settings.max_members_per_room || state.members.check(hash).is_err();
        if is_new && is_full() {
            self.metrics.presence_rejected.fetch_add(1, Relaxed);
            return false;
        }
        let info = self.info_of(identity);
        if is_new {
            state.members.add(hash);
        }
        self.metrics.presence_members.fetch_add(i64::from(is_new), Relaxed);
        let user = state.user(room, &identity.user);
        user.connections += 1;
        user.info = info;
        state.mark_changed(room, &identity.user);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// The application may say something else about a user, who is in a room.
    pub fn update(&self, room: &str, identity: &Identity) {
        let info = self.info_of(identity);
        let mut state = self.state();
        let one = state.rooms.get_mut(room).and_then(|one| one.users.get_mut(&identity.user));
        if let Some(user) = one.filter(|user| user.info != info) {
            user.info = info;
            state.mark_changed(room, &identity.user);
        }
    }

    /// A connection that [`LocalPresence::enter`] has admitted leaves the room.
    pub fn leave(&self, room: &str, user: &str) {
        let mut state = self.state();
        let Some(one) = state.rooms.get_mut(room).and_then(|one| one.users.get_mut(user)) else { return };
        one.connections = one.connections.saturating_sub(1);
        state.mark_changed(room, user);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until a room may have changes.
    pub async fn wait(&self) {
        self.changed.notified().await;
    }

    /// Takes up to `max` rooms with changes, each once, whose changes are to be taken next.
    pub fn take_rooms(&self, max: usize) -> Vec<Box<str>> {
        let (mut state, mut rooms) = (self.state(), HashSet::new());
        while rooms.len() < max
            && let Some(next) = state.changed.pop()
        {
            state.queued.remove(&next);
            let room = next.1;
            if state.rooms.get(&room).is_some_and(|one| !one.changed.is_empty()) {
                rooms.insert(room);
            }
        }
        rooms.into_iter().collect()
    }

    /// Takes up to `max` changes of a room. They must be passed to [`LocalPresence::confirm`] or [`LocalPresence::retry`].
    /// What is left makes the room one with changes again.
    pub fn take_changes(&self, room: &str, max: usize) -> Vec<Change> {
        let mut state = self.state();
        let Some(one) = state.rooms.get_mut(room) else { return Vec::new() };
        let count = one.changed.len().min(max);
        let users = one.changed.drain(..count);
        let changes = users.filter_map(|name| {
            let user = one.users.get_mut(&name)?;
            user.is_changed = false;
            let User { connections, ref info, is_known, .. } = *user;
            Some(Change { user: name, connections, info: info.clone(), is_known })
        });
        let changes = changes.collect();
        if let Some(first) = one.changed.front().cloned() {
            state.queue(room, &first);
        }
        changes
    }

    /// The engine has these changes.
    pub fn confirm(&self, room: &str, changes: &[Change]) {
        let mut state = self.state();
        let Some(one) = state.rooms.get_mut(room) else { return };
        let mut removed = Vec::new();
        for change in changes {
            let Some(user) = one.users.get_mut(&change.user) else { continue };
            user.is_known = change.connections > 0;
            if user.connections == 0 && !user.is_changed {
                one.users.remove(&change.user);
                removed.push(hash_of(&change.user));
            }
        }
        if one.users.is_empty() {
            state.rooms.remove(room);
        }
        self.metrics.presence_members.fetch_sub(removed.len() as i64, Relaxed);
        for user in removed {
            state.members.remove(user);
        }
    }

    /// The engine may not have these changes: they are taken again.
    pub fn retry(&self, room: &str, changes: &[Change]) {
        let mut state = self.state();
        for change in changes {
            state.mark_changed(room, &change.user);
        }
    }

    /// The engine has other users of this server than there are here: all of the room are reported again. `theirs` are those
    /// that the engine has.
    pub fn report_again(&self, room: &str, theirs: &[String]) {
        let mut state = self.state();
        let ours: Vec<Box<str>> =
            state.rooms.get(room).map(|one| one.users.keys().cloned().collect()).unwrap_or_default();
        for user in theirs {
            if !state.rooms.get(room).is_some_and(|one| one.users.contains_key(&**user)) {
                state.members.add(hash_of(user));
                self.metrics.presence_members.fetch_add(1, Relaxed);
                state.user(room, user).is_known = true;
                state.mark_changed(room, user);
            }
        }
        for user in ours {
            state.mark_changed(room, &user);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The users of a room here. `None`: it has changes that the engine does not have.
    pub fn confirmed_users(&self, room: &str) -> Option<usize> {
        let state = self.state();
        let Some(one) = state.rooms.get(room) else { return Some(0) };
        one.changed.is_empty().then_some(one.users.len())
    }

    /// Whether a room has users here.
    pub fn has_users(&self, room: &str) -> bool {
        self.state().rooms.contains_key(room)
    }

    /// The members of a room here.
    pub fn members(&self, room: &str) -> Vec<Member> {
        let state = self.state();
        let users = state.rooms.get(room).into_iter().flat_map(|one| &one.users);
        let present = users.filter(|(_, user)| user.connections > 0);
        let members = present.map(|(name, user)| Member {
            user: name.clone(),
            info: user.info.clone(),
            connections: user.connections.into(),
        });
        members.collect()
    }

    fn info_of(&self, identity: &Identity) -> Option<Box<str>> {
        let info = identity.info.clone()?;
        if info.len() > self.settings.max_info {
            let (bytes, max) = (info.len(), self.settings.max_info);
            tracing::info!(bytes, max, "info left out of presence: `limits: max_presence_info`");
            return None;
        }
        Some(info)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves nothing in it that could not be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn new(max_members: usize) -> Self {
        let (rooms, changed, queued) = (HashMap::new(), FairQueue::default(), HashSet::new());
        Self { rooms, changed, queued, members: FairShares::new(max_members) }
    }

    fn user(&mut self, room: &str, user: &str) -> &mut User {
        self.rooms.entry_ref(room).or_default().users.entry_ref(user).or_default()
    }

    fn mark_changed(&mut self, room: &str, user: &str) {
        if let Some(one) = self.rooms.get_mut(room)
            && let Some(found) = one.users.get_mut(user)
            && !found.is_changed
        {
            found.is_changed = true;
            one.changed.push_back(user.into());
            self.queue(room, user);
        }
    }

    /// Puts a room that a user has changed into the queue, unless it is there.
    fn queue(&mut self, room: &str, user: &str) {
        if self.queued.insert((user.into(), room.into())) {
            self.changed.push(user.into(), room.into());
        }
    }
}

fn hash_of(user: &str) -> UserHash {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, info: Option<&str>) -> Identity {
        Identity {
            user: user.into(),
            expires_ms: 0,
            issued_ms: 0,
            info: info.map(Into::into),
            rooms: Box::default(),
            site: None,
        }
    }

    fn local(settings: Settings) -> LocalPresence {
        LocalPresence::new(settings, Arc::default())
    }

    fn change(user: &str, connections: u32, is_known: bool) -> Change {
        Change { user: user.into(), connections, info: None, is_known }
    }

    #[test]
    fn two_connections_of_a_user_are_one_change_and_nothing_is_left_after_the_last_one() {
        let local = local(Settings::default());
        assert!(local.enter("r", &identity("a", None)) && local.enter("r", &identity("a", None)));
        assert_eq!(local.take_rooms(9), [Box::<str>::from("r")]);
        let changes = local.take_changes("r", 9);
        assert_eq!(changes, [change("a", 2, false)]);
        local.confirm("r", &changes);
        assert_eq!(local.confirmed_users("r"), Some(1));
        local.leave("r", "a");
        local.leave("r", "a");
        assert_eq!(local.take_rooms(9), [Box::<str>::from("r")]);
        let changes = local.take_changes("r", 9);
        assert_eq!(changes, [change("a", 0, true)]);
        local.confirm("r", &changes);
        assert!(!local.has_users("r") && local.state().members.usage() == (0, 0));
        assert_eq!(local.metrics.presence_members.load(Relaxed), 0);
    }

    #[test]
    fn what_happens_while_the_engine_is_unavailable_is_reported_in_its_latest_state() {
        let local = local(Settings::default());
        local.enter("r", &identity("a", None));
        local.take_rooms(9);
        let changes = local.take_changes("r", 9);
        local.leave("r", "a");
        local.retry("r", &changes);
        for _ in 0..5 {
            local.enter("r", &identity("a", None));
            local.leave("r", "a");
        }
        assert_eq!(local.take_rooms(9), [Box::<str>::from("r")]);
        let changes = local.take_changes("r", 9);
        assert_eq!(changes, [change("a", 0, false)]);
        // It returns before this is confirmed, so it stays.
        local.enter("r", &identity("a", None));
        local.confirm("r", &changes);
        assert_eq!(local.take_rooms(9), [Box::<str>::from("r")]);
        assert_eq!(local.take_changes("r", 9), [change("a", 1, false)]);
    }

    #[test]
    fn changes_are_taken_in_batches() {
        let local = local(Settings::default());
        (0..5).for_each(|user| assert!(local.enter("r", &identity(&user.to_string(), None))));
        let mut taken = 0;
        while let [room] = &local.take_rooms(1)[..] {
            let changes = local.take_changes(room, 2);
            taken += changes.len();
            local.confirm(room, &changes);
        }
        assert_eq!(taken, 5);
    }

    #[test]
    fn a_user_in_very_many_rooms_neither_delays_others_nor_keeps_them_out() {
        let local = local(Settings { max_members: 1_000, ..Settings::default() });
        let greedy = identity("greedy", None);
        let mut entered = 0;
        while local.enter(&format!("made-up-{entered}"), &greedy) {
            entered += 1;
        }
        assert!(entered < 900 && local.enter("r", &identity("a", None)), "{entered} of 1000");
        // The greedy one has changed the room of the other before.
        assert!(local.enter("s", &identity("b", None)));
        let next = || local.take_rooms(1)[0].to_string();
        let order = [next(), next(), next(), next()];
        assert_eq!(order, ["made-up-0", "r", "s", "made-up-1"]);
        local.enter("made-up-700", &identity("a", None));
        let order = [next(), next()];
        assert!(order.contains(&"made-up-700".to_owned()), "{order:?}");
        assert_eq!(local.take_changes("made-up-700", 9).len(), 2);
        let left = Vec::from_iter(std::iter::from_fn(|| local.take_rooms(1).pop()));
        assert!(left.len() < entered && !left.contains(&"made-up-700".into()), "each has its turn once");
        assert!(local.state().queued.is_empty() && local.state().changed.is_empty());
    }

    #[test]
    fn limits_keep_users_out_and_never_affect_those_who_are_present() {
        let local = local(Settings { max_members_per_room: 2, max_members: 3, ..Settings::default() });
        let enter = |room: &str, user: &str| local.enter(room, &identity(user, None));
        assert!(enter("r", "a") && enter("r", "b") && !enter("r", "c"), "the room is full");
        assert!(enter("s", "a") && !enter("s", "b"), "the namespace is full");
        assert!(enter("r", "a"), "another connection of a member");
        assert_eq!(local.metrics.presence_rejected.load(Relaxed), 2);
        let some = super::super::Settings { prefixes: Some(vec!["Chat_".into()]), ..Settings::default() };
        let local = super::LocalPresence::new(some, Arc::default());
        assert!(!local.enter("Log_1", &identity("a", None)) && local.enter("Chat_1", &identity("a", None)));
    }

    #[test]
    fn info_is_limited_and_the_latest_counts() {
        let local = local(Settings { max_info: 8, ..Settings::default() });
        local.enter("r", &identity("a", Some("\"12345678\"")));
        assert_eq!(local.members("r")[0].info, None);
        local.update("r", &identity("a", Some("1")));
        assert_eq!(local.members("r")[0].info.as_deref(), Some("1"));
        local.update("r", &identity("b", Some("1")));
        assert_eq!(local.members("r").len(), 1, "an update does not make a user present");
    }

    #[test]
    fn a_room_that_differs_in_the_engine_is_reported_again() {
        let local = local(Settings::default());
        local.enter("r", &identity("a", None));
        local.take_rooms(1);
        local.confirm("r", &local.take_changes("r", 9));
        local.report_again("r", &["b".to_owned()]);
        assert_eq!(local.take_rooms(1).len(), 1);
        let changes = local.take_changes("r", 9);
        assert_eq!(changes, [change("b", 0, true), change("a", 1, true)]);
        local.confirm("r", &changes);
        assert_eq!(local.confirmed_users("r"), Some(1));
    }
}
