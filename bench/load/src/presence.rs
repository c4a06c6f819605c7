//! The events of presence that the connections receive, and their latencies.

use crate::clock::Nanos;
use crate::tally::Latencies;
use memchr::memmem;
use std::time::Duration;

/// How long a user may be out of a room without leaving it. The configuration of the servers has the same value.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// A change of presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Leave,
    Enter,
}

/// The changes of a run, and what was received of them.
#[derive(Debug)]
pub(crate) struct PresenceTally {
    /// When the user of each connection changed last.
    changed: Vec<Nanos>,
    pub(crate) leaves: u64,
    pub(crate) enters: u64,
    pub(crate) leave_latency: Latencies,
    pub(crate) enter_latency: Latencies,
}

// === impl PresenceTally ===

impl PresenceTally {
    pub(crate) fn new(connections: usize) -> anyhow::Result<Self> {
        Ok(Self {
            changed: vec![0; connections],
            leaves: 0,
            enters: 0,
            leave_latency: Latencies::new()?,
            enter_latency: Latencies::new()?,
        })
    }

    /// The user of a connection leaves or enters now.
    pub(crate) fn changes(&mut self, connection: usize, now: Nanos) {
        self.changed[connection] = now;
    }

    /// Counts an event, if the payload is one.
    pub(crate) fn count(&mut self, payload: &[u8], now: Nanos) {
        let Some((change, user)) = read(payload) else { return };
        let Some(at) = self.changed.get(user) else { return };
        let latency = now.saturating_sub(*at);
        match change {
            Change::Leave => {
                self.leaves += 1;
                self.leave_latency.record(latency.saturating_sub(GRACE.as_nanos() as Nanos));
            }
            Change::Enter => {
                self.enters += 1;
                self.enter_latency.record(latency);
            }
        }
    }
}

/// Which connections change: every second one of each room. The others stay, and receive the events.
pub(crate) fn is_mover(connection: usize, rooms: usize) -> bool {
    (connection / rooms) % 2 == 1
}

/// Reads the change and the number of the user: `…"event":"nodevent:enter","message":{"user":"user-7",…`.
fn read(payload: &[u8]) -> Option<(Change, usize)> {
    const EVENT: &[u8] = br#""event":"nodevent:"#;
    const USER: &[u8] = br#""user":"user-"#;
    let rest = &payload[memmem::find(payload, EVENT)? + EVENT.len()..];
    let change = match rest.first()? {
        b'e' => Change::Enter,
        b'l' => Change::Leave,
        _ => return None,
    };
    let digits = &rest[memmem::find(rest, USER)? + USER.len()..];
    let end = memchr::memchr(b'"', digits)?;
    Some((change, std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_with_the_time_of_their_users_change() {
        let mut tally = PresenceTally::new(10).unwrap();
        let event = |name: &str, user: usize| {
            format!(
                r#"42/n,["event",{{"room":"r","event":"nodevent:{name}","message":{{"user":"user-{user}","info":null,"count":3}}}}]"#
            )
        };
        tally.changes(7, 1_000_000);
        tally.count(event("enter", 7).as_bytes(), 3_000_000);
        assert_eq!((tally.enters, tally.leaves), (1, 0));
        assert!((tally.enter_latency.summary().max - 2.0).abs() < 0.01);
        tally.count(event("leave", 7).as_bytes(), 1_005_000_000);
        assert!((tally.leave_latency.summary().max - 4.0).abs() < 0.01);
        for other in [event("count", 7), event("enter", 10), "43/n,0[null,true]".to_owned()] {
            tally.count(other.as_bytes(), 0);
        }
        assert_eq!((tally.enters, tally.leaves), (1, 1));
    }

    #[test]
    fn every_second_member_of_a_room_changes() {
        let movers: Vec<usize> = (0..8).filter(|connection| is_mover(*connection, 2)).collect();
        assert_eq!(movers, [2, 3, 6, 7]);
    }
}
