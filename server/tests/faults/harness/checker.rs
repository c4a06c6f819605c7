//! Compares confirmed publishes with received events: per member and room, every event arrives in order, without a
//! duplicate and without an unreported gap, and nothing else arrives.

use super::member::{Command, Member, Observation, Record};
use super::node::Node;
use super::publisher::{Confirmed, Publishers};
use crate::support::site::Site;
use nodevent_protocol::history::Position;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Time for members to receive the last publication.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A group of members.
pub struct Fleet {
    pub members: Vec<Member>,
}

/// The figures of a run without violations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Confirmed publishes.
    pub confirmed: usize,
    /// Received events, summed over the members.
    pub received: usize,
    /// Confirmed publishes that a member did not receive after a gap notice, summed over the members.
    pub missed: usize,
    /// Notices that something may be missing, summed over the members.
    pub gap_notices: usize,
    /// Members with at least one such notice.
    pub members_notified: usize,
    /// Connects after the first one, summed over the members.
    pub reconnects: u64,
}

// === impl Fleet ===

impl Fleet {
    /// Starts `count` members of all the rooms, spread over the servers, and waits until every join is acknowledged.
    pub async fn join(count: usize, sites: &[Site], namespace: &str, rooms: &[&str]) -> Self {
        let addresses: Vec<String> = sites.iter().map(|site| site.address.clone()).collect();
        Self::join_at(count, &addresses, namespace, rooms).await
    }

    /// Does the same with addresses.
    pub async fn join_at(count: usize, addresses: &[String], namespace: &str, rooms: &[&str]) -> Self {
        let members = (0..count).map(|_| Member::new(addresses, namespace, rooms)).collect();
        let fleet = Self { members };
        fleet.all_joined().await;
        fleet
    }

    /// Waits until every member is connected and every join is acknowledged.
    pub async fn all_joined(&self) {
        let joined = async || self.members.iter().all(Member::is_joined);
        super::eventually("all members have joined", TIMEOUT, joined).await;
    }

    /// Sends a command to every member.
    pub async fn send(&self, command: Command) {
        for member in &self.members {
            member.send(command.clone()).await;
        }
    }

    /// Number of times a member entered its namespace, summed over the members.
    pub fn connects(&self) -> u64 {
        self.members.iter().map(|member| member.record().connects).sum()
    }

    /// Number of received events, summed over the members.
    pub fn received(&self) -> usize {
        let received = |entries: &Vec<(Instant, Observation)>| {
            entries.iter().filter(|(_, what)| matches!(what, Observation::Received { .. })).count()
        };
        self.members.iter().map(|member| member.record().rooms.values().map(received).sum::<usize>()).sum()
    }

    /// Ends a scenario: waits until every member has joined, lets the publishers confirm a few more publishes and
    /// finish, waits until every member has received the last publication of each room, and checks the records. Then
    /// waits until every server is back at its baseline.
    ///
    /// # Panics
    /// With a list of all violations.
    pub async fn verdict(self, publishers: Publishers, nodes: &[Node]) -> Verdict {
        self.all_joined().await;
        super::traffic(&publishers, 15).await;
        let confirmed = publishers.finish().await;
        self.verdict_of(&confirmed, nodes).await
    }

    /// Does the same for publishes that the test recorded itself.
    pub async fn verdict_of(self, confirmed: &[Confirmed], nodes: &[Node]) -> Verdict {
        let records = self.records(confirmed).await;
        let verdict = check(confirmed, &records);
        println!("{}: {verdict:?}", std::thread::current().name().unwrap_or_default());
        for node in nodes {
            node.returns_to_baseline().await;
        }
        verdict
    }

    /// Waits until every member has received the last publication of each of its rooms, stops all members, and returns
    /// their records, each with its namespace.
    pub async fn records(self, confirmed: &[Confirmed]) -> Vec<(String, Record)> {
        let last = last_numbers(confirmed);
        let end = Instant::now() + TIMEOUT;
        for member in &self.members {
            // A member that does not receive it in time shows up as a gap in the check.
            while Instant::now() < end && !has_received_all(member, &last) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let mut records = Vec::new();
        for member in self.members {
            let namespace = member.namespace.clone();
            records.push((namespace, member.end().await));
        }
        records
    }
}

/// Whether every member has received the last publication of each of its rooms.
pub fn are_up_to_date(members: &[Member], confirmed: &[Confirmed]) -> bool {
    let last = last_numbers(confirmed);
    members.iter().all(|member| has_received_all(member, &last))
}

/// The number of the last publication of each room.
fn last_numbers(confirmed: &[Confirmed]) -> HashMap<(&str, &str), u64> {
    let mut last: HashMap<(&str, &str), u64> = HashMap::new();
    for one in confirmed {
        let number = last.entry((&one.namespace, &one.room)).or_default();
        *number = one.number.max(*number);
    }
    last
}

fn has_received_all(member: &Member, last: &HashMap<(&str, &str), u64>) -> bool {
    let record = member.record();
    record.rooms.iter().all(|(room, entries)| {
        let Some(last) = last.get(&(member.namespace.as_str(), room.as_str())) else { return true };
        let is_out = matches!(entries.last(), Some((_, Observation::Left | Observation::Leaving)));
        let is_last = |what: &Observation| matches!(what, Observation::Received { number, .. } if number == last);
        is_out || entries.iter().rev().any(|(_, what)| is_last(what))
    })
}

/// Checks every record.
///
/// # Panics
/// With a list of all violations.
pub fn check(confirmed: &[Confirmed], records: &[(String, Record)]) -> Verdict {
    let mut by_room: HashMap<(&str, &str), Vec<&Confirmed>> = HashMap::new();
    for one in confirmed {
        by_room.entry((&one.namespace, &one.room)).or_default().push(one);
    }
    by_room.values_mut().for_each(|all| all.sort_by_key(|one| one.number));
    let mut verdict = Verdict { confirmed: confirmed.len(), ..Verdict::default() };
    let mut violations = Vec::new();
    for (index, (namespace, record)) in records.iter().enumerate() {
        violations.extend(record.violations.iter().map(|violation| format!("member {index}: {violation}")));
        verdict.reconnects += record.connects.saturating_sub(1);
        let before = verdict.gap_notices;
        for (room, entries) in &record.rooms {
            let published = by_room.get(&(namespace.as_str(), room.as_str())).map_or(&[][..], Vec::as_slice);
            let mut membership = Membership { published, ..Membership::default() };
            entries.iter().for_each(|(at, what)| membership.step(*at, what));
            membership.end();
            verdict.received += membership.received;
            verdict.gap_notices += membership.gap_notices;
            verdict.missed += membership.missed;
            let found = membership.violations.into_iter();
            violations.extend(found.map(|violation| format!("member {index} in {room}: {violation}")));
        }
        verdict.members_notified += usize::from(verdict.gap_notices > before);
    }
    let shown = violations.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(violations.is_empty(), "{} violations, in {verdict:?}:\n{shown}", violations.len());
    verdict
}

/// The state of one member in one room while the check walks through its record.
#[derive(Default)]
struct Membership<'a> {
    /// The room's confirmed publishes by number.
    published: &'a [&'a Confirmed],
    /// Start of the membership: the member must receive what is published later.
    member_since: Option<Instant>,
    /// The member has sent a leave.
    leaving: bool,
    /// The leave was acknowledged.
    left: bool,
    /// A gap notice came after the last event.
    notified: bool,
    last: Option<(u64, Option<Position>)>,
    received: usize,
    gap_notices: usize,
    missed: usize,
    violations: Vec<String>,
}

// === impl Membership ===

impl Membership<'_> {
    fn step(&mut self, at: Instant, what: &Observation) {
        match what {
            Observation::Joined { recovered, since, .. } => {
                (self.leaving, self.left) = (false, false);
                self.member_since.get_or_insert(at);
                if !recovered {
                    if since.is_none() {
                        self.violations.push("a first join reported a gap".to_owned());
                    }
                    self.on_gap_notice();
                }
            }
            Observation::Gap { .. } => self.on_gap_notice(),
            Observation::Received { position, number } => self.on_event(*number, *position),
            // The member may be in the room for a moment, by an unacknowledged join that this leave supersedes.
            Observation::Leaving => {
                (self.leaving, self.left) = (true, false);
                (self.member_since, self.last, self.notified) = (None, None, false);
            }
            Observation::Left => self.left = true,
        }
    }

    fn on_gap_notice(&mut self) {
        self.notified = true;
        self.gap_notices += 1;
    }

    fn on_event(&mut self, number: u64, position: Option<Position>) {
        self.received += 1;
        if self.left {
            return self.violations.push(format!("received {number} after leaving"));
        }
        if self.leaving {
            return;
        }
        if let Some((before, known)) = self.last {
            if number <= before && !self.notified {
                self.violations.push(format!("received {number} after {before}"));
            }
            if let (Some(known), Some(position)) = (known, position)
                && known.epoch == position.epoch
                && position.offset <= known.offset
            {
                self.violations.push(format!("{position} came after {known}"));
            }
        }
        self.count_missed_before(number);
        self.last = Some((number, position));
        self.notified = false;
    }

    /// Counts the publishes before `number` that the member should have received.
    fn count_missed_before(&mut self, number: u64) {
        let Some(member_since) = self.member_since else { return };
        let after = self.last.map_or(0, |(last, _)| last);
        let missed = self.published.iter().filter(|one| one.number > after && one.number < number);
        let missed: Vec<u64> = missed.filter(|one| one.sent > member_since).map(|one| one.number).collect();
        self.missed += missed.len();
        if !self.notified && !missed.is_empty() {
            self.violations.push(format!("an unreported gap: {missed:?} between {after} and {number}"));
        }
    }

    fn end(&mut self) {
        if !self.leaving {
            self.count_missed_before(u64::MAX);
        }
    }
}
