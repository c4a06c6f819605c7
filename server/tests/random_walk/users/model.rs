//! What must have happened: what was published, stored and revoked, compared with what the pages have. Without I/O.

use super::inbox::id_of;
use super::view::{Ended, Topic, View};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Time within which all servers have read a revocation that was confirmed, and pages are notified of it.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// A confirmed publication.
#[derive(Debug)]
pub struct Publication {
    pub number: u64,
    /// Start of the first attempt.
    pub sent: Instant,
    pub topics: Vec<Target>,
    /// The page that does not receive it.
    pub except: Option<usize>,
}

/// A target of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    User(usize),
    Room(&'static str),
    All,
}

/// A membership that a revocation must have ended.
#[derive(Debug)]
pub struct EndedMembership {
    pub page: usize,
    pub connection: u64,
    pub room: &'static str,
    pub since: Instant,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Model {
    /// Publications since the last comparison.
    pub publications: Vec<Publication>,
    /// Messages of each user that were stored: the number in each, by id.
    pub stored: Vec<BTreeMap<u64, u64>>,
    /// Times before which tokens were revoked. Milliseconds.
    pub revoked_users: HashMap<usize, u64>,
    pub revoked_memberships: HashMap<(usize, &'static str), u64>,
    /// Rooms of which all memberships were revoked, and when such a revocation takes effect on the servers.
    pub revoked_rooms: Vec<(&'static str, Instant, Instant)>,
    /// Since the last comparison.
    pub ended: Vec<EndedMembership>,
}

// === impl Target ===

impl Target {
    /// The target as a page of a user sees it.
    fn topic(&self, user: Option<usize>) -> Option<Topic> {
        match self {
            Self::User(one) => (Some(*one) == user).then_some(Topic::User),
            Self::Room(room) => Some(Topic::Room((*room).to_owned())),
            Self::All => Some(Topic::All),
        }
    }
}

// === impl Model ===

impl Model {
    /// What revocations have not done, or have done and should not.
    pub fn difference_in_revocations(&self, page: usize, user: Option<usize>, view: &View) -> Option<String> {
        let user = user?;
        let before = |time: Option<&u64>| view.issued_ms < time.copied().unwrap_or(0);
        let is_revoked = before(self.revoked_users.get(&user));
        if is_revoked != view.is_signed_out {
            return Some(format!("its user is revoked: {is_revoked}; it is signed out: {}", view.is_signed_out));
        }
        for ((_, room), time) in self.revoked_memberships.iter().filter(|((one, _), _)| *one == user) {
            // A page that is signed out is in no room; those that it has are for its next connection.
            if before(Some(time)) && view.is_in(room) && !view.is_signed_out {
                return Some(format!("it is still in {room}, from which its user was removed"));
            }
        }
        for Ended { room, at, issued_ms } in &view.ended_by_revocation {
            // A revocation of a room ends all memberships, because no token here lists the room.
            let of_user = self.revoked_memberships.iter().find(|((one, name), _)| *one == user && name == room);
            let is_of_room = self.revoked_rooms.iter().any(|(one, from, to)| one == room && from <= at && at <= to);
            if !is_of_room && of_user.is_none_or(|(_, time)| issued_ms >= time) {
                return Some(format!("it was removed from {room} without a revocation"));
            }
        }
        let stays = |ended: &&EndedMembership| {
            let membership = view.topics.get(&Topic::Room(ended.room.to_owned()));
            let is_same = membership.is_some_and(|membership| membership.since == Some(ended.since));
            ended.page == page && ended.connection == view.connection && is_same && !view.is_signed_out
        };
        self.ended
            .iter()
            .find(stays)
            .map(|ended| format!("a revocation did not end its membership of {}", ended.room))
    }

    /// What a page has not received, or has received and should not.
    pub fn difference_in_publications(&self, page: usize, user: Option<usize>, view: &View) -> Option<String> {
        self.publications.iter().find_map(|publication| {
            let number = publication.number;
            if publication.except == Some(page) {
                return view.has_received(number).then(|| format!("it received {number}, which excludes it"));
            }
            let is_due = |target: &Target| {
                let membership = target.topic(user).and_then(|topic| view.topics.get(&topic));
                membership.and_then(|membership| membership.since).is_some_and(|since| since < publication.sent)
            };
            let is_missing = publication.topics.iter().any(is_due) && !view.has_received(number);
            is_missing.then(|| format!("it has not received {number}, for {:?}", publication.topics))
        })
    }

    /// The unread messages of a user: those that no page has acknowledged.
    pub fn unread<'a>(&self, user: usize, views: impl Iterator<Item = &'a View>) -> BTreeMap<u64, u64> {
        let attempted: BTreeSet<u64> = views.flat_map(|view| view.inbox.attempted.iter().copied()).collect();
        let mut unread = self.stored[user].clone();
        unread.retain(|id, _| !attempted.contains(id));
        unread
    }

    /// Compares a page's mailbox with what is unread.
    pub fn difference_in_mailbox(unread: &BTreeMap<u64, u64>, view: &View) -> Option<String> {
        let inbox = &view.inbox;
        let is_equal = view.is_signed_out || (inbox.unread == *unread && inbox.total == unread.len() as u64);
        (!is_equal).then(|| format!("its mailbox is {:?} of {}, not {unread:?}", inbox.unread, inbox.total))
    }

    /// Compares a mailbox over HTTP with what is unread.
    pub fn difference_in_page(unread: &BTreeMap<u64, u64>, page: &Value) -> Option<String> {
        let messages = page["messages"].as_array().into_iter().flatten();
        let listed: Vec<_> =
            messages.map(|one| (id_of(&one["id"]).unwrap_or(0), one["message"].as_u64().unwrap_or(0))).collect();
        let is_equal = page["unread"] == unread.len() as u64
            && unread.iter().map(|(id, number)| (*id, *number)).take(listed.len()).eq(listed.iter().copied())
            && (page["next"].is_string() || listed.len() == unread.len());
        (!is_equal).then(|| format!("the mailbox is {page}, not {unread:?}"))
    }

    /// Who must be in a room, with the number of connections.
    pub fn present<'a>(room: &str, views: impl Iterator<Item = &'a View>) -> BTreeMap<String, u64> {
        let mut present = BTreeMap::new();
        for view in views.filter(|view| view.is_settled && view.is_in(room)) {
            if let Some(user) = &view.user {
                *present.entry(user.clone()).or_default() += 1;
            }
        }
        present
    }

    /// Compares a list of members with those who must be there.
    pub fn difference_in_list(present: &BTreeMap<String, u64>, list: &Value) -> Option<String> {
        let members = list["members"].as_array().into_iter().flatten();
        let listed: BTreeMap<String, u64> = members
            .map(|one| {
                let user = one["user"].as_str().unwrap_or_default().to_owned();
                (user, one["connections"].as_u64().unwrap_or_default())
            })
            .collect();
        let is_equal = listed == *present && list["count"] == present.len() as u64;
        (!is_equal).then(|| format!("the members are {list}, not {present:?}"))
    }

    /// All memberships of a room were revoked, by a request that began at this time and is confirmed now.
    pub fn room_was_revoked(&mut self, room: &'static str, began: Instant) {
        self.revoked_rooms.push((room, began, Instant::now() + READ_WITHIN));
    }

    /// A server or Redis was restarted at this time, and is up again: what was revoked shortly before may have an effect now.
    pub fn restarted(&mut self, began: Instant) {
        for (.., to) in self.revoked_rooms.iter_mut().filter(|(.., to)| *to >= began) {
            *to = Instant::now() + READ_WITHIN;
        }
    }

    /// Everything was as it must be: forgets what need not be compared again.
    pub fn agreed(&mut self) {
        self.publications.clear();
        self.ended.clear();
    }
}
