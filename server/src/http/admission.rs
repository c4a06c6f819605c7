//! Decides which accepted sockets are served: all, or only their health checks, or none.
//!
//! Owns two limits. `limits: max_http_connections` bounds the sockets that are not WebSockets. Some descriptors are
//! reserved, so that the admin listener, health checks and the connection to Redis work when clients use up all the
//! others. The operating system gives an accepted socket the lowest free descriptor, so a high one means that all below
//! are in use.
//!
//! At a limit, a new socket takes the place of one on which no request has arrived, or else of an idle one, from the
//! address that has the most of them. So one client cannot keep others out by sockets on which it sends nothing.

use super::request_phase::RequestPhase;
use crate::client::Client;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that clients do not get.
const RESERVED: u64 = 64;
/// If the limit of descriptors is low, one in this many is reserved.
const RESERVED_SHARE: u64 = 4;
/// Sockets at a time that are served although a limit is reached, for health checks.
const HEALTH_CHECKS: usize = 8;
/// Sockets that may be closing to make room. They still have their descriptors, so this is less than what is reserved.
const MAX_CLOSING: usize = 4;
/// Below this number, idle sockets are not closed, because they probably belong to publishers and proxies.
const MIN_SOCKETS: usize = 16;
/// Sockets that are examined to find one to close.
const MAX_EXAMINED: usize = 64;

/// The counted sockets of all public listeners.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    /// The lowest descriptor that is reserved. `None`: there is no limit of open files.
    reserved_from: Option<u64>,
    sockets: Arc<Mutex<Sockets>>,
    health_checks: Arc<Semaphore>,
}

/// The sockets, by address.
#[derive(Debug, Default)]
struct Sockets {
    by_address: HashMap<Client, SocketsOfAddress>,
    /// The numbers of sockets, with their addresses.
    ranks: BTreeSet<(usize, Client)>,
    open: usize,
    closing: usize,
    next_number: u64,
}

/// The sockets of one address, in the order in which they were accepted.
#[derive(Debug, Default)]
struct SocketsOfAddress {
    phases: BTreeMap<u64, RequestPhase>,
    /// The number from which the next search for one to close begins, so that all get their turn.
    cursor: u64,
}

/// An accepted socket that is served, for as long as this value lives.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Why only health checks are served. `None`: everything is.
    pub(super) limit: Option<Limit>,
    _counted: Option<Counted>,
    _health_check: Option<OwnedSemaphorePermit>,
}

/// The limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// `limits: max_http_connections`.
    HttpConnections,
    /// The open files of the process.
    OpenFiles,
}

/// A socket that counts as open until this is dropped.
#[derive(Debug)]
struct Counted {
    sockets: Arc<Mutex<Sockets>>,
    address: Client,
    number: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.sockets).remove(self.address, self.number);
    }
}

// === impl Admission ===

impl Admission {
    /// # Units
    /// `open_files` is the limit of descriptors of this process.
    pub(super) fn new(max: usize, open_files: Option<u64>) -> Self {
        let reserved_from = open_files.map(unreserved);
        let health_checks = Arc::new(Semaphore::new(HEALTH_CHECKS));
        Self { max, reserved_from, sockets: Arc::default(), health_checks }
    }

    /// Decides about a socket of this peer. `phase` is the phase of its connection.
    ///
    /// # Errors
    /// The limit that was reached: the socket is to be closed.
    pub(super) fn admit(&self, descriptor: RawFd, peer: IpAddr, phase: &RequestPhase) -> Result<Admitted, Limit> {
        let is_reserved = self.reserved_from.is_some_and(|first| descriptor as u64 >= first);
        let address = Client::of(peer);
        let mut sockets = lock(&self.sockets);
        let limit = match (is_reserved, sockets.open >= self.max) {
            (true, _) => Some(Limit::OpenFiles),
            (false, true) => Some(Limit::HttpConnections),
            (false, false) => None,
        };
        let Some(limit) = limit.filter(|_| !sockets.make_room()) else {
            let number = sockets.add(address, phase.clone());
            let counted = Counted { sockets: Arc::clone(&self.sockets), address, number };
            return Ok(Admitted { limit: None, _counted: Some(counted), _health_check: None });
        };
        drop(sockets);
        let permit = Arc::clone(&self.health_checks).try_acquire_owned().map_err(|_| limit)?;
        Ok(Admitted { limit: Some(limit), _counted: None, _health_check: Some(permit) })
    }
}

/// The descriptors that connections of clients may use, of `open_files`. The others are for health checks, the admin
/// listener, files, and connections to Redis.
pub(crate) fn unreserved(open_files: u64) -> u64 {
    open_files - RESERVED.min(open_files / RESERVED_SHARE)
}

fn lock(sockets: &Mutex<Sockets>) -> MutexGuard<'_, Sockets> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Sockets ===

impl Sockets {
    /// Returns the number of the socket.
    fn add(&mut self, address: Client, phase: RequestPhase) -> u64 {
        let number = self.next_number;
        (self.next_number, self.open) = (number + 1, self.open + 1);
        let all = &mut self.by_address.entry(address).or_default().phases;
        self.ranks.remove(&(all.len(), address));
        all.insert(number, phase);
        self.ranks.insert((all.len(), address));
        number
    }

    fn remove(&mut self, address: Client, number: u64) {
        let Some(SocketsOfAddress { phases, .. }) = self.by_address.get_mut(&address) else { return };
        let before = phases.len();
        let Some(phase) = phases.remove(&number) else { return };
        let left = phases.len();
        self.open -= 1;
        self.closing -= usize::from(phase.is_closing());
        self.ranks.remove(&(before, address));
        match left {
            0 => drop(self.by_address.remove(&address)),
            left => drop(self.ranks.insert((left, address))),
        }
    }

    /// Closes a socket on which no request has arrived, or else an idle one. Returns false if there is none among those
    /// that are examined, or if many are closing already.
    fn make_room(&mut self) -> bool {
        self.close_one(false) || self.open >= MIN_SOCKETS && self.close_one(true)
    }

    fn close_one(&mut self, may_be_idle: bool) -> bool {
        let mut left = MAX_EXAMINED;
        for (_, address) in self.ranks.iter().rev() {
            let Some(all) = self.by_address.get_mut(address) else { continue };
            for _ in 0..all.phases.len() {
                if self.closing >= MAX_CLOSING || left == 0 {
                    return false;
                }
                left -= 1;
                if all.next().is_some_and(|phase| phase.close(may_be_idle)) {
                    self.closing += 1;
                    return true;
                }
            }
        }
        false
    }
}

// === impl SocketsOfAddress ===

impl SocketsOfAddress {
    /// The next socket to examine: the oldest one that has not been examined, then the oldest one.
    fn next(&mut self) -> Option<&RequestPhase> {
        let (number, phase) = self.phases.range(self.cursor..).next().or_else(|| self.phases.iter().next())?;
        self.cursor = number + 1;
        Some(phase)
    }
}

// === impl Admitted ===

impl Admitted {
    /// A socket to which no limit applies.
    pub(super) const UNLIMITED: Self = Self { limit: None, _counted: None, _health_check: None };
}

// === impl Limit ===

impl Limit {
    /// The reason and the fix, for the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::HttpConnections => "`limits: max_http_connections` is reached",
            Self::OpenFiles => "too many files are open; raise LimitNOFILE or `ulimit -n`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::time::Duration;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn phase() -> RequestPhase {
        RequestPhase::new(Duration::from_secs(60), Duration::from_secs(60))
    }

    fn serving() -> RequestPhase {
        let phase = phase();
        phase.on_request();
        phase
    }

    #[tokio::test]
    async fn sockets_count_until_they_are_dropped() {
        let admission = Admission::new(2, None);
        let admit = || admission.admit(3, ONE, &serving());
        let (one, two) = (admit().unwrap(), admit().unwrap());
        assert_eq!((one.limit, two.limit), (None, None));
        let checks: Vec<_> = (0..HEALTH_CHECKS).map(|_| admit().unwrap()).collect();
        assert!(checks.iter().all(|one| one.limit == Some(Limit::HttpConnections)));
        assert_eq!(admit().unwrap_err(), Limit::HttpConnections);
        drop(checks);
        assert_eq!(admit().unwrap().limit, Some(Limit::HttpConnections));
        drop(one);
        assert_eq!(admit().unwrap().limit, None);
        drop(two);
        let sockets = lock(&admission.sockets);
        assert!(sockets.open == 0 && sockets.by_address.is_empty() && sockets.ranks.is_empty());
    }

    #[tokio::test]
    async fn high_descriptors_are_reserved_for_health_checks() {
        for (open_files, first) in [(1024, 960), (256, 192), (64, 48), (8, 6)] {
            let admission = Admission::new(1_000_000, Some(open_files));
            let limit = |descriptor| admission.admit(descriptor, ONE, &serving()).unwrap().limit;
            assert_eq!(limit(first - 1), None, "{open_files}");
            assert_eq!(limit(first), Some(Limit::OpenFiles), "{open_files}");
        }
    }

    /// One address has many silent sockets. Each new socket takes the place of its oldest one, and never of a socket
    /// that is served or of an address with fewer.
    #[tokio::test]
    async fn silent_sockets_of_the_address_with_most_of_them_make_room() {
        let admission = Admission::new(20, None);
        let (quiet, busy) = (phase(), serving());
        let _other = [&quiet, &busy].map(|phase| admission.admit(3, OTHER, phase).unwrap());
        let mut flood: VecDeque<_> =
            (0..18).map(|_| phase()).map(|one| (admission.admit(3, ONE, &one).unwrap(), one)).collect();
        for round in 0..100 {
            let new = phase();
            let admitted = admission.admit(3, ONE, &new).unwrap();
            assert_eq!(admitted.limit, None, "{round}");
            let (oldest, closed) = flood.pop_front().unwrap();
            assert!(closed.is_closing(), "{round}");
            drop(oldest);
            flood.push_back((admitted, new));
        }
        assert!(!quiet.is_closing() && !busy.is_closing());
        assert_eq!(lock(&admission.sockets).closing, 0);
    }

    /// A socket that is closing still has its descriptor.
    #[tokio::test]
    async fn few_sockets_are_closing_at_a_time() {
        let admission = Admission::new(40, None);
        let kept: Vec<_> = (0..40).map(|_| admission.admit(3, ONE, &phase()).unwrap()).collect();
        let more: Vec<_> = (0..MAX_CLOSING).map(|_| admission.admit(3, ONE, &serving()).unwrap()).collect();
        assert!(more.iter().all(|one| one.limit.is_none()));
        assert_eq!(admission.admit(3, ONE, &serving()).unwrap().limit, Some(Limit::HttpConnections));
        drop(kept);
        assert_eq!(lock(&admission.sockets).closing, 0);
    }
}
