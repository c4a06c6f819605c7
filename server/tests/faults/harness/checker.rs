//! Holds what was confirmed against what was heard: per member and room, in order, no duplicate, no silent gap, and
//! nothing from anywhere else.

use super::member::{Member, Order, Record, What};
use super::node::Node;
use super::publisher::{Confirmed, Publishers};
use crate::support::site::Site;
use nodevent_protocol::history::Position;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long members may take to hear the last publication.
const PATIENCE: Duration = Duration::from_secs(90);

/// Members together.
pub struct Crowd {
    pub members: Vec<Member>,
}

/// What the checker has found, where it found nothing wrong.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Publishes that were confirmed.
    pub confirmed: usize,
    /// Events that were heard, over all members.
    pub heard: usize,
    /// Confirmed publishes that were not heard by a member who was told so, over all members.
    pub missed: usize,
    /// Times a member was told that something may be missing.
    pub told: usize,
    /// Members that were told so.
    pub members_told: usize,
    /// Times a member came back.
    pub comebacks: u64,
}

// === impl Crowd ===

impl Crowd {
    /// So many members of all the rooms, spread over the servers; waits until every join is acknowledged.
    pub async fn join(count: usize, sites: &[Site], namespace: &str, rooms: &[&str]) -> Self {
        let addresses: Vec<String> = sites.iter().map(|site| site.address.clone()).collect();
        Self::join_at(count, &addresses, namespace, rooms).await
    }

    /// The same with addresses.
    pub async fn join_at(count: usize, addresses: &[String], namespace: &str, rooms: &[&str]) -> Self {
        let members = (0..count).map(|_| Member::new(addresses, namespace, rooms)).collect();
        let crowd = Self { members };
        crowd.settled().await;
        crowd
    }

    /// Waits until everybody is connected, and every join acknowledged.
    pub async fn settled(&self) {
        super::patiently("everybody is in", PATIENCE, async || self.members.iter().all(Member::is_settled)).await;
    }

    /// Has everybody do something.
    pub async fn order(&self, order: Order) {
        for member in &self.members {
            member.order(order.clone()).await;
        }
    }

    /// How often members came into their namespace, all together.
    pub fn connects(&self) -> u64 {
        self.members.iter().map(|member| member.record().connects).sum()
    }

    /// How many events members have heard, all together.
    pub fn heard(&self) -> usize {
        let heard =
            |entries: &Vec<_>| entries.iter().filter(|(_, what)| matches!(what, What::Heard { .. })).count();
        self.members.iter().map(|member| member.record().rooms.values().map(heard).sum::<usize>()).sum()
    }

    /// Waits until everybody is back, lets the publishers go on for a moment and finish, waits until everybody has
    /// heard the last publication of each room, ends everybody, and judges. Then waits until every server is back where it
    /// was when it had just started.
    ///
    /// # Panics
    /// With everything that is wrong.
    pub async fn verdict(self, publishers: Publishers, nodes: &[Node]) -> Verdict {
        self.settled().await;
        super::traffic(&publishers, 15).await;
        let confirmed = publishers.finish().await;
        self.verdict_of(&confirmed, nodes).await
    }

    /// The same for publishes that a test has written down itself.
    pub async fn verdict_of(self, confirmed: &[Confirmed], nodes: &[Node]) -> Verdict {
        let records = self.records(confirmed).await;
        let verdict = judge(confirmed, &records);
        println!("{}: {verdict:?}", std::thread::current().name().unwrap_or_default());
        for node in nodes {
            node.is_back().await;
        }
        verdict
    }

    /// Waits until everybody has heard the last publication of each of its rooms, ends everybody, and answers what they
    /// have written down, each with its namespace.
    pub async fn records(self, confirmed: &[Confirmed]) -> Vec<(String, Record)> {
        let mut last: HashMap<(&str, &str), u64> = HashMap::new();
        for one in confirmed {
            let number = last.entry((&one.namespace, &one.room)).or_default();
            *number = one.number.max(*number);
        }
        let end = Instant::now() + PATIENCE;
        for member in &self.members {
            // Whoever does not hear it in time is shown as a gap below.
            while Instant::now() < end && !has_heard_all(member, &last) {
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

fn has_heard_all(member: &Member, last: &HashMap<(&str, &str), u64>) -> bool {
    let record = member.record();
    record.rooms.iter().all(|(room, entries)| {
        let Some(last) = last.get(&(member.namespace.as_str(), room.as_str())) else { return true };
        let is_out = matches!(entries.last(), Some((_, What::Left | What::Leaving)));
        is_out || entries.iter().rev().any(|(_, what)| matches!(what, What::Heard { number, .. } if number == last))
    })
}

/// Judges every record.
///
/// # Panics
/// With everything that is wrong.
pub fn judge(confirmed: &[Confirmed], records: &[(String, Record)]) -> Verdict {
    let mut by_room: HashMap<(&str, &str), Vec<&Confirmed>> = HashMap::new();
    for one in confirmed {
        by_room.entry((&one.namespace, &one.room)).or_default().push(one);
    }
    by_room.values_mut().for_each(|all| all.sort_by_key(|one| one.number));
    let mut verdict = Verdict { confirmed: confirmed.len(), ..Verdict::default() };
    let mut wrong = Vec::new();
    for (index, (namespace, record)) in records.iter().enumerate() {
        wrong.extend(record.strange.iter().map(|strange| format!("member {index}: {strange}")));
        verdict.comebacks += record.connects.saturating_sub(1);
        let before = verdict.told;
        for (room, entries) in &record.rooms {
            let published = by_room.get(&(namespace.as_str(), room.as_str())).map_or(&[][..], Vec::as_slice);
            let mut judge = Judge { published, ..Judge::default() };
            entries.iter().for_each(|(at, what)| judge.take(*at, what));
            judge.end();
            verdict.heard += judge.heard;
            verdict.told += judge.tolds;
            verdict.missed += judge.missed;
            wrong.extend(judge.wrong.into_iter().map(|what| format!("member {index} in {room}: {what}")));
        }
        verdict.members_told += usize::from(verdict.told > before);
    }
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} things are wrong, of {verdict:?}:\n{shown}", wrong.len());
    verdict
}

/// Walks through what happened to one member in one room.
#[derive(Default)]
struct Judge<'a> {
    /// The room's confirmed publishes by number.
    published: &'a [&'a Confirmed],
    /// Since when it is a member, for what was published later.
    member_since: Option<Instant>,
    /// It has asked to leave, or has left.
    leaving: bool,
    left: bool,
    /// Whether it was told of a loss since it last heard something.
    told: bool,
    last: Option<(u64, Option<Position>)>,
    heard: usize,
    tolds: usize,
    missed: usize,
    wrong: Vec<String>,
}

// === impl Judge ===

impl Judge<'_> {
    fn take(&mut self, at: Instant, what: &What) {
        match what {
            What::Joined { recovered, since, .. } => {
                (self.leaving, self.left) = (false, false);
                self.member_since.get_or_insert(at);
                if !recovered {
                    if since.is_none() {
                        self.wrong.push("a first join has missed nothing".to_owned());
                    }
                    self.tell();
                }
            }
            What::Lost { .. } => self.tell(),
            What::Heard { position, number } => self.hear(*number, *position),
            // It may have been in for a moment, by a join that is taken back with this and whose answer is still to come.
            What::Leaving => {
                (self.leaving, self.left) = (true, false);
                (self.member_since, self.last, self.told) = (None, None, false);
            }
            What::Left => self.left = true,
        }
    }

    fn tell(&mut self) {
        self.told = true;
        self.tolds += 1;
    }

    fn hear(&mut self, number: u64, position: Option<Position>) {
        self.heard += 1;
        if self.left {
            return self.wrong.push(format!("heard {number} after it had left"));
        }
        if self.leaving {
            return;
        }
        if let Some((before, stood)) = self.last {
            if number <= before && !self.told {
                self.wrong.push(format!("heard {number} after {before}"));
            }
            if let (Some(stood), Some(position)) = (stood, position)
                && stood.epoch == position.epoch
                && position.offset <= stood.offset
            {
                self.wrong.push(format!("{position} came after {stood}"));
            }
        }
        self.miss_until(number);
        self.last = Some((number, position));
        self.told = false;
    }

    /// Everything before `number` that was not heard and should have been.
    fn miss_until(&mut self, number: u64) {
        let Some(member_since) = self.member_since else { return };
        let after = self.last.map_or(0, |(last, _)| last);
        let missed = self.published.iter().filter(|one| one.number > after && one.number < number);
        let missed: Vec<u64> = missed.filter(|one| one.sent > member_since).map(|one| one.number).collect();
        self.missed += missed.len();
        if !self.told && !missed.is_empty() {
            self.wrong.push(format!("a silent gap: {missed:?} between {after} and {number}"));
        }
    }

    fn end(&mut self) {
        if !self.leaving {
            self.miss_until(u64::MAX);
        }
    }
}
