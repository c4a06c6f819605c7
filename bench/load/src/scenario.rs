//! The load of each scenario. `bench/README.md` gives the reasons.

use crate::publisher::Plan;
use clap::ValueEnum;
use std::time::Duration;

/// A scenario's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// 5,000 connections in one room, 10 publications a second.
    Steady,
    /// 1,000 connections in one room, 500 publications at once, three times.
    Burst,
    /// 1,000 connections in one room, 2,000 publications a second.
    Flood,
    /// 5,000 connections in 1,000 rooms, 2,000 publications a second.
    Rooms,
    /// 1,000 connections, each in a room of its own, 20,000 publications a second.
    ManyRooms,
    /// 10,000 connections without deliveries.
    Idle,
    /// 5,000 connects and joins, as fast as the server accepts them.
    Connect,
    /// 2,000 connections in one room, 20 publications of 16 KB a second, and 100 connections that stop reading.
    Slow,
    /// Like `slow`, but all connections read: the reference for `slow`.
    NoneSlow,
    /// 5,000 connections to a server that restarts.
    Storm,
    /// Like `idle`, with a token in each connect packet.
    IdleJwt,
    /// Like `connect`, with a token in each connect packet.
    ConnectJwt,
    /// 5,000 users in 100 rooms with presence; 500 leave or enter per second.
    Presence,
    /// 1,000 connections in one room with 100 identifiers, 200 publications a second.
    Identifiers,
    /// 1,000 users with mailboxes, 1,000 messages a second, each of which is acknowledged.
    Mailbox,
    /// 1,000 connections, each in a room of its own, spread over several servers, 2,000 publications a second.
    Servers,
}

/// A scenario.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) connections: usize,
    pub(crate) rooms: usize,
    /// How many different identifiers the connections in a room have. 0: all have the same.
    pub(crate) identifiers: usize,
    /// Bytes of a publication.
    pub(crate) size: usize,
    /// The schedules, one after the other.
    pub(crate) plans: Vec<Plan>,
    pub(crate) slow: usize,
    /// How many connects may be in progress at a time.
    pub(crate) concurrency: usize,
    /// Time between the last join and the measurement of idle memory.
    pub(crate) settle_time: Duration,
    /// Time to wait for deliveries after the last publication.
    pub(crate) timeout: Duration,
    /// Changes of presence per second, each by another user. 0: the users stay.
    pub(crate) changes_per_second: u32,
    /// True if the connections have mailboxes, and what is published are messages for their users.
    pub(crate) mailboxes: bool,
    /// Time in which what servers and Redis do without publications is measured. Zero: it is not.
    pub(crate) idle_time: Duration,
}

// === impl Name ===

impl Name {
    pub(crate) fn scenario(self) -> Scenario {
        let rate = |per_second, seconds| vec![Plan::Rate { per_second, seconds, together: 1, in_arrays: false }];
        let base = Scenario {
            connections: 5000,
            rooms: 1,
            identifiers: 0,
            size: 200,
            plans: Vec::new(),
            slow: 0,
            concurrency: 100,
            settle_time: Duration::from_millis(500),
            timeout: Duration::from_secs(20),
            changes_per_second: 0,
            mailboxes: false,
            idle_time: Duration::ZERO,
        };
        match self {
            Self::Steady => Scenario { plans: rate(10, 10.0), ..base },
            Self::Burst => Scenario { connections: 1000, plans: vec![Plan::Burst { count: 500 }; 3], ..base },
            Self::Flood => Scenario { connections: 1000, plans: rate(2000, 10.0), ..base },
            Self::Rooms => Scenario { rooms: 1000, plans: rate(2000, 10.0), ..base },
            Self::ManyRooms => Scenario { connections: 1000, rooms: 1000, plans: rate(20_000, 10.0), ..base },
            // A server may give memory back a few seconds after the last connect.
            Self::Idle => Scenario { connections: 10_000, settle_time: Duration::from_secs(6), ..base },
            Self::Connect => Scenario { rooms: 1000, ..base },
            Self::NoneSlow => Scenario { connections: 2000, size: 16_000, plans: rate(20, 20.0), ..base },
            Self::Slow => Scenario { slow: 100, ..Self::NoneSlow.scenario() },
            Self::Storm => Scenario { plans: rate(10, 15.0), ..base },
            Self::IdleJwt => Self::Idle.scenario(),
            Self::ConnectJwt => Self::Connect.scenario(),
            Self::Presence => Scenario { rooms: 100, changes_per_second: 500, ..base },
            Self::Identifiers => Scenario { connections: 1000, identifiers: 100, plans: rate(200, 10.0), ..base },
            Self::Mailbox => {
                Scenario { connections: 1000, rooms: 1000, plans: rate(1000, 10.0), mailboxes: true, ..base }
            }
            Self::Servers => Scenario {
                connections: 1000,
                rooms: 1000,
                plans: rate(2000, 6.0),
                idle_time: Duration::from_secs(3),
                ..base
            },
        }
    }
}
