//! What each scenario asks for. `bench/README.md` says why.

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
    /// 10,000 connections that hear nothing.
    Idle,
    /// 5,000 connects and joins, as fast as they are taken.
    Connect,
    /// 2,000 connections in one room, 20 publications of 16 KB a second, and 100 connections that stop reading.
    Slow,
    /// As `slow`, but all read: what `slow` is compared with.
    NoneSlow,
    /// 5,000 connections whose server goes away and comes back.
    Storm,
}

/// A scenario.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) connections: usize,
    pub(crate) rooms: usize,
    /// Bytes of a publication.
    pub(crate) size: usize,
    /// What is published, one plan after the other.
    pub(crate) plans: Vec<Plan>,
    pub(crate) slow: usize,
    /// How many connects may be under way at a time.
    pub(crate) at_once: usize,
    /// How long the connections wait before their memory is looked at.
    pub(crate) rest: Duration,
    /// How long what was published is waited for.
    pub(crate) patience: Duration,
}

// === impl Name ===

impl Name {
    pub(crate) fn scenario(self) -> Scenario {
        let rate = |per_second, seconds| vec![Plan::Rate { per_second, seconds }];
        let base = Scenario {
            connections: 5000,
            rooms: 1,
            size: 200,
            plans: Vec::new(),
            slow: 0,
            at_once: 100,
            rest: Duration::from_millis(500),
            patience: Duration::from_secs(20),
        };
        match self {
            Self::Steady => Scenario { plans: rate(10, 10.0), ..base },
            Self::Burst => Scenario { connections: 1000, plans: vec![Plan::Burst { count: 500 }; 3], ..base },
            Self::Flood => Scenario { connections: 1000, plans: rate(2000, 10.0), ..base },
            Self::Rooms => Scenario { rooms: 1000, plans: rate(2000, 10.0), ..base },
            Self::Idle => Scenario { connections: 10_000, rest: Duration::from_secs(3), ..base },
            Self::Connect => Scenario { rooms: 1000, ..base },
            Self::NoneSlow => Scenario { connections: 2000, size: 16_000, plans: rate(20, 20.0), ..base },
            Self::Slow => Scenario { slow: 100, ..Self::NoneSlow.scenario() },
            Self::Storm => Scenario { plans: rate(10, 15.0), ..base },
        }
    }
}
