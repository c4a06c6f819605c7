//! Who is in one room, for an engine that keeps it in this process. It decides which events the room receives.
//!
//! On Redis, `protocol/redis/presence_sync.lua` decides the same, for several servers.

use super::{COUNT_INTERVAL, Change, Member, Settings};
use hashbrown::HashMap;
use nodevent_protocol::presence::EVENT_PREFIX;
use serde_json::Value;
use std::time::Instant;

/// The members of a room.
#[derive(Debug, Default)]
pub struct Roster {
    users: HashMap<Box<str>, User>,
    /// Whether the room has so many members that only their number is published.
    is_large: bool,
    /// When the number was published.
    counted_at: Option<Instant>,
    /// Whether it has changed since.
    is_count_due: bool,
}

#[derive(Debug)]
struct User {
    info: Option<Box<str>>,
    /// When it leaves. `None`: it has a connection.
    leaves_at: Option<Instant>,
}

// === impl Roster ===

impl Roster {
    /// Applies changes. Returns the publications: texts of JSON objects, in their order.
    pub fn apply(&mut self, room: &str, changes: Vec<Change>, settings: &Settings, now: Instant) -> Vec<String> {
        let mut events = Vec::new();
        for Change { user, connections, info, .. } in changes {
            match self.users.get_mut(&user) {
                Some(one) if connections == 0 => {
                    one.leaves_at.get_or_insert(now + settings.grace);
                }
                Some(one) => {
                    one.leaves_at = None;
                    one.info = info;
                }
                None if connections == 0 => {}
                None => {
                    self.users.insert(user.clone(), User { info: info.clone(), leaves_at: None });
                    self.changed(room, "enter", &user, info.as_deref(), settings, &mut events);
                }
            }
        }
        self.sweep(room, settings, now, &mut events);
        events
    }

    /// Whether the room has no members.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether the room has so many members that only their number is known.
    pub fn is_large(&self) -> bool {
        self.is_large
    }

    /// The members, as far as they have been applied.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.users.iter().map(|(user, one)| Member { user: user.clone(), info: one.info.clone(), connections: 0 })
    }

    /// When [`Roster::apply`] is due even without changes.
    pub fn due(&self) -> Option<Instant> {
        let count = self.counted_at.filter(|_| self.is_large && self.is_count_due).map(|at| at + COUNT_INTERVAL);
        self.users.values().filter_map(|user| user.leaves_at).chain(count).min()
    }

    /// Removes users who do not return, and publishes the number if it is due.
    fn sweep(&mut self, room: &str, settings: &Settings, now: Instant, events: &mut Vec<String>) {
        let gone: Vec<_> =
            self.users.extract_if(|_, user| user.leaves_at.is_some_and(|leaves_at| leaves_at <= now)).collect();
        let mut count = self.users.len() + gone.len();
        for (user, one) in gone {
            count -= 1;
            self.left(room, &user, one.info.as_deref(), count, settings, events);
        }
        let is_time = self.counted_at.is_none_or(|at| now >= at + COUNT_INTERVAL);
        if self.is_large && self.is_count_due && is_time {
            events.push(self.count(room, self.users.len()));
            self.counted_at = Some(now);
            self.is_count_due = false;
        }
    }

    fn changed(
        &mut self,
        room: &str,
        event: &str,
        user: &str,
        info: Option<&str>,
        settings: &Settings,
        events: &mut Vec<String>,
    ) {
        let count = self.users.len();
        if !self.is_large && count as u64 > settings.max_size {
            self.is_large = true;
            self.counted_at = None;
        }
        match self.is_large {
            true => self.is_count_due = true,
            false => events.push(member_event(room, event, user, info, count)),
        }
    }

    fn left(
        &mut self,
        room: &str,
        user: &str,
        info: Option<&str>,
        count: usize,
        settings: &Settings,
        events: &mut Vec<String>,
    ) {
        if !self.is_large {
            return events.push(member_event(room, "leave", user, info, count));
        }
        self.is_count_due = true;
        // A room at the limit does not alternate.
        if count as u64 <= settings.max_size * 9 / 10 {
            self.is_large = false;
            self.is_count_due = false;
            events.push(self.count(room, count));
        }
    }

    fn count(&self, room: &str, count: usize) -> String {
        event(room, "count", &format!("\"count\":{count},\"large\":{}", self.is_large))
    }
}

fn member_event(room: &str, name: &str, user: &str, info: Option<&str>, count: usize) -> String {
    let (user, info) = (Value::from(user), info.unwrap_or("null"));
    event(room, name, &format!("\"user\":{user},\"info\":{info},\"count\":{count}"))
}

fn event(room: &str, name: &str, members: &str) -> String {
    let room = Value::from(room);
    format!("{{\"room\":{room},\"event\":\"{EVENT_PREFIX}{name}\",\"message\":{{{members}}}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn change(user: &str, connections: u32) -> Change {
        Change { user: user.into(), connections, info: Some("{\"a\":1}".into()), is_known: false }
    }

    fn names(events: &[String]) -> Vec<String> {
        let event = |text: &String| {
            let event: Value = serde_json::from_str(text).unwrap();
            let message = &event["message"];
            let user = message["user"].as_str().unwrap_or("-");
            format!("{} {user} {}", event["event"].as_str().unwrap(), message["count"])
        };
        events.iter().map(event).collect()
    }

    #[test]
    fn events_are_those_of_the_vectors() {
        let vectors: Value = serde_json::from_str(include_str!("../../../protocol/vectors/presence.json")).unwrap();
        for one in vectors["events"].as_array().unwrap() {
            let text = |name: &str| one[name].as_str().unwrap();
            let count = one["count"].as_u64().unwrap() as usize;
            let event = member_event(text("room"), text("event"), text("user"), one["info"].as_str(), count);
            assert_eq!(event, text("text"));
            assert!(nodevent_protocol::publication::parse(event.as_bytes()).is_ok());
        }
        for one in vectors["counts"].as_array().unwrap() {
            let roster = Roster { is_large: one["large"] == true, ..Roster::default() };
            let event = roster.count(one["room"].as_str().unwrap(), one["count"].as_u64().unwrap() as usize);
            assert_eq!(event, one["text"].as_str().unwrap());
        }
    }

    #[test]
    fn a_reload_within_the_grace_period_is_no_event_and_a_longer_absence_is_one_leave() {
        let (mut roster, settings, start) = (Roster::default(), Settings::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut apply = |changes: Vec<Change>, now| names(&roster.apply("r", changes, &settings, now));
        assert_eq!(
            apply(vec![change("a", 1), change("b", 1)], at(0)),
            ["nodevent:enter a 1", "nodevent:enter b 2"]
        );
        assert!(apply(vec![change("a", 0)], at(1)).is_empty());
        assert!(apply(vec![change("a", 1)], at(10)).is_empty(), "back within 10 s");
        assert!(apply(vec![change("a", 0)], at(20)).is_empty());
        assert!(apply(vec![change("a", 0)], at(25)).is_empty());
        assert_eq!(apply(vec![], at(30)), ["nodevent:leave a 1"]);
        assert!(apply(vec![change("c", 0)], at(31)).is_empty(), "a user who was never here");
        assert_eq!(roster.due(), None);
        assert!(!roster.is_empty());
    }

    #[test]
    fn ten_thousand_members_cost_as_many_events_as_a_room_may_have_members_and_a_few_counts() {
        let (mut roster, settings, start) = (Roster::default(), Settings::default(), Instant::now());
        let (mut events, mut now) = (Vec::new(), start);
        for batch in 0..50 {
            now = start + Duration::from_millis(100 * batch);
            let changes = (0..200).map(|user| change(&format!("{batch}-{user}"), 1)).collect();
            events.extend(roster.apply("r", changes, &settings, now));
        }
        let enters = events.iter().filter(|text| text.contains("nodevent:enter")).count();
        assert_eq!(enters, 1000);
        assert!(events.len() - enters <= 4, "{} counts in 5 s", events.len() - enters);
        assert!(roster.is_large() && roster.due().is_some());
        events = roster.apply("r", vec![], &settings, now + COUNT_INTERVAL);
        assert_eq!(names(&events), ["nodevent:count - 10000"]);
        assert_eq!(roster.due(), None);
        // All of them leave: the number, and the last 900 of them one by one.
        for batch in 0..50 {
            let changes = (0..200).map(|user| change(&format!("{batch}-{user}"), 0)).collect();
            assert!(roster.apply("r", changes, &settings, now + COUNT_INTERVAL).is_empty());
        }
        events = roster.apply("r", vec![], &settings, now + COUNT_INTERVAL + settings.grace);
        assert_eq!(names(&events)[0], "nodevent:count - 900");
        assert_eq!(events.len(), 901);
        assert!(roster.is_empty());
    }
}
