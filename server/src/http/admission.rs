//! Decides which accepted sockets are served: all, or only their health checks, or none.
//!
//! Owns two limits. `limits: max_http_connections` bounds the sockets that are not WebSockets. Some descriptors are
//! reserved, so that the admin listener, health checks and the connection to Redis work when clients use up all the
//! others. The operating system gives an accepted socket the lowest free descriptor, so a high one means that all below
//! are in use.
//!
//! Clients share the sockets ([`FairShares`]) and the descriptors, by the same rule. A proxy in `trusted_proxies` has no
//! share of its own: its sockets carry requests of many clients, and each of these counts for its client while it is
//! served.
//!
//! At a limit, a new socket takes the place of one on which no request has arrived, or else of an idle one, or else of one
//! whose response the client does not read, from the address that has the most of them. So one client cannot keep others
//! out, neither by sockets on which it sends nothing nor by responses that it leaves unread.

use super::request_phase::{Closable, RequestPhase};
use crate::client::Client;
use crate::fair_shares::{FairShares, may_have_another};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
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
/// Sockets of the admin listener, and of the publish socket, that may be open.
const MAX_PROGRAMS: usize = 512;
/// If the limit of descriptors is low, each of the two has one in this many.
const PROGRAMS_SHARE: u64 = 8;
/// Below this number, idle sockets are not closed, because they probably belong to publishers and proxies.
const MIN_SOCKETS: usize = 16;
/// Sockets that are examined to find one to close.
const MAX_EXAMINED: usize = 64;

/// The counted sockets of all public listeners.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    /// The limit that is reached with `max` sockets.
    limit: Limit,
    /// The lowest descriptor that is reserved. `None`: there is no limit of open files.
    reserved_from: Option<u64>,
    sockets: Arc<Mutex<Sockets>>,
    health_checks: Arc<Semaphore>,
    /// For addresses that have their share, so that they do not take those of others.
    health_checks_beyond_shares: Arc<Semaphore>,
}

/// The sockets, by address.
#[derive(Debug)]
struct Sockets {
    /// Sockets of clients, and requests of clients behind trusted proxies.
    shares: FairShares,
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
    /// [`MAX_PROGRAMS`].
    Programs,
    /// The open files of the process.
    OpenFiles,
    /// The share of an address of either.
    Share,
}

/// A request of a client behind a trusted proxy, which counts as one of its sockets until the last copy is dropped.
#[derive(Debug, Clone)]
pub(super) struct CountedRequest {
    _share: Arc<Share>,
}

/// One of a client's share.
#[derive(Debug)]
struct Share {
    sockets: Arc<Mutex<Sockets>>,
    client: Client,
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.sockets).shares.remove(self.client);
    }
}

/// A socket that counts as open until this is dropped.
#[derive(Debug)]
struct Counted {
    sockets: Arc<Mutex<Sockets>>,
    address: Client,
    number: u64,
    /// Whether it is one of its address's share.
    is_shared: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.sockets).remove(self.address, self.number, self.is_shared);
    }
}

// === impl Admission ===

impl Admission {
    /// # Units
    /// `open_files` is the limit of descriptors of this process.
    pub(super) fn new(max: usize, open_files: Option<u64>) -> Self {
        Self::with_limit(max, Limit::HttpConnections, open_files.map(unreserved))
    }

    /// For the sockets of a listener for programs: the admin listener, or the publish socket. Without a limit of its own it
    /// would be a way to take the descriptors of clients. They may use the descriptors that are reserved.
    ///
    /// # Units
    /// `open_files` is the limit of descriptors of this process.
    pub(super) fn of_programs(open_files: Option<u64>) -> Self {
        let share = open_files.map_or(usize::MAX, |limit| (limit / PROGRAMS_SHARE) as usize);
        Self::with_limit(MAX_PROGRAMS.min(share).max(HEALTH_CHECKS), Limit::Programs, None)
    }

    fn with_limit(max: usize, limit: Limit, reserved_from: Option<u64>) -> Self {
        let checks = || Arc::new(Semaphore::new(HEALTH_CHECKS));
        let sockets = Arc::new(Mutex::new(Sockets::new(max)));
        Self { max, limit, reserved_from, sockets, health_checks: checks(), health_checks_beyond_shares: checks() }
    }

    /// Decides about a socket of this peer. `phase` is the phase of its connection. `is_proxy`: the peer is a trusted proxy.
    ///
    /// # Errors
    /// The limit that was reached: the socket is to be closed.
    pub(super) fn admit(
        &self,
        descriptor: RawFd,
        peer: IpAddr,
        is_proxy: bool,
        phase: &RequestPhase,
    ) -> Result<Admitted, Limit> {
        let is_reserved = self.reserved_from.is_some_and(|first| descriptor as u64 >= first);
        let address = Client::of(peer);
        let mut sockets = lock(&self.sockets);
        let limit = match (is_reserved, sockets.open >= self.max) {
            (true, _) => Some(Limit::OpenFiles),
            (false, true) => Some(self.limit),
            (false, false) if is_proxy || self.leaves_room(&sockets, descriptor, address) => None,
            (false, false) => Some(Limit::Share),
        };
        let Some(limit) = limit.filter(|limit| !sockets.make_room((*limit == Limit::Share).then_some(address)))
        else {
            let number = sockets.add(address, phase.clone(), !is_proxy);
            let counted = Counted { sockets: Arc::clone(&self.sockets), address, number, is_shared: !is_proxy };
            return Ok(Admitted { limit: None, _counted: Some(counted), _health_check: None });
        };
        drop(sockets);
        let checks = match limit {
            Limit::Share => &self.health_checks_beyond_shares,
            Limit::HttpConnections | Limit::Programs | Limit::OpenFiles => &self.health_checks,
        };
        let permit = Arc::clone(checks).try_acquire_owned().map_err(|_| limit)?;
        Ok(Admitted { limit: Some(limit), _counted: None, _health_check: Some(permit) })
    }

    /// Whether any socket is in a phase.
    pub(super) fn has_any(&self, is_it: fn(&RequestPhase) -> bool) -> bool {
        let sockets = lock(&self.sockets);
        sockets.by_address.values().flat_map(|all| all.phases.values()).any(is_it)
    }

    /// Whether an address may have another socket: of those that are counted here, and of all descriptors. WebSockets have
    /// some of these. The descriptor of a new socket is about the number of those in use.
    fn leaves_room(&self, sockets: &Sockets, descriptor: RawFd, address: Client) -> bool {
        let leaves_descriptors = self.reserved_from.is_none_or(|first| {
            let free = first.saturating_sub(descriptor as u64);
            may_have_another(sockets.shares.of(address), free as usize, first as usize)
        });
        leaves_descriptors && sockets.shares.check(address).is_ok()
    }

    /// Counts a request of a client behind a trusted proxy. `None`: the client has its share.
    pub(super) fn admit_request(&self, client: IpAddr) -> Option<CountedRequest> {
        let client = Client::of(client);
        let mut sockets = lock(&self.sockets);
        sockets.shares.check(client).ok()?;
        sockets.shares.add(client);
        Some(CountedRequest { _share: Arc::new(Share { sockets: Arc::clone(&self.sockets), client }) })
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
    fn new(max: usize) -> Self {
        let (by_address, ranks) = (HashMap::new(), BTreeSet::new());
        Self { shares: FairShares::new(max), by_address, ranks, open: 0, closing: 0, next_number: 0 }
    }

    /// Returns the number of the socket.
    fn add(&mut self, address: Client, phase: RequestPhase, is_shared: bool) -> u64 {
        let number = self.next_number;
        if is_shared {
            self.shares.add(address);
        }
        (self.next_number, self.open) = (number + 1, self.open + 1);
        let all = &mut self.by_address.entry(address).or_default().phases;
        self.ranks.remove(&(all.len(), address));
        all.insert(number, phase);
        self.ranks.insert((all.len(), address));
        number
    }

    fn remove(&mut self, address: Client, number: u64, is_shared: bool) {
        if is_shared {
            self.shares.remove(address);
        }
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

    /// Closes a socket on which no request has arrived, or else an idle one, or else one whose response is not read: of one
    /// address, or of any. Returns false if there is none among those that are examined, or if many are closing already.
    fn make_room(&mut self, of: Option<Client>) -> bool {
        self.close_one(of, Closable::Silent)
            || self.open >= MIN_SOCKETS && self.close_one(of, Closable::Idle)
            || self.close_one(of, Closable::Unread)
    }

    fn close_one(&mut self, of: Option<Client>, closable: Closable) -> bool {
        let mut left = MAX_EXAMINED;
        let by_rank = self.ranks.iter().rev().map(|(_, address)| *address);
        let addresses: &mut dyn Iterator<Item = Client> = match of {
            Some(address) => &mut std::iter::once(address),
            None => &mut { by_rank },
        };
        for address in addresses {
            let Some(all) = self.by_address.get_mut(&address) else { continue };
            for _ in 0..all.phases.len() {
                if self.closing >= MAX_CLOSING || left == 0 {
                    return false;
                }
                left -= 1;
                if all.next().is_some_and(|phase| phase.close(closable)) {
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

// === impl Limit ===

impl Limit {
    /// The reason and the fix, for the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::HttpConnections => "`limits: max_http_connections` is reached",
            Self::Programs => "very many sockets of programs are open",
            Self::OpenFiles => "too many files are open; raise LimitNOFILE or `ulimit -n`",
            Self::Share => {
                "its address has its share of `limits: max_http_connections` or of the open files; if it is a proxy, set \
                 `trusted_proxies`"
            }
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

    /// An address of its own for each socket.
    fn address(number: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, number])
    }

    #[tokio::test]
    async fn sockets_count_until_they_are_dropped() {
        let admission = Admission::new(2, None);
        let admit = || admission.admit(3, ONE, false, &serving());
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
        assert_eq!(sockets.shares.usage(), (0, 0));
    }

    #[tokio::test]
    async fn high_descriptors_are_reserved_for_health_checks() {
        for (open_files, first) in [(1024, 960), (256, 192), (64, 48), (8, 6)] {
            let admission = Admission::new(1_000_000, Some(open_files));
            let limit = |descriptor| admission.admit(descriptor, ONE, false, &serving()).unwrap().limit;
            assert_eq!(limit(first - 1), None, "{open_files}");
            assert_eq!(limit(first), Some(Limit::OpenFiles), "{open_files}");
        }
    }

    /// Sockets of one address that are all being served. Others find room, and health checks of that address are served.
    #[tokio::test]
    async fn an_address_has_a_share_of_the_sockets_and_of_the_descriptors() {
        let sockets = |admission: &Admission, descriptor: fn(usize) -> RawFd| {
            let mut all = Vec::new();
            loop {
                let admitted = admission.admit(descriptor(all.len()), ONE, false, &serving()).unwrap();
                match admitted.limit {
                    None => all.push(admitted),
                    limit => return (all, limit),
                }
            }
        };
        let admission = Admission::new(1_000, None);
        let (all, limit) = sockets(&admission, |_| 3);
        assert_eq!((all.len(), limit), (800, Some(Limit::Share)));
        assert_eq!(admission.admit(3, OTHER, false, &serving()).unwrap().limit, None);
        drop(all);
        assert_eq!(admission.admit(3, ONE, false, &serving()).unwrap().limit, None);
        let admission = Admission::new(200_000, Some(1_024));
        let (all, limit) = sockets(&admission, |count| count as RawFd + 600);
        assert!((200..350).contains(&all.len()), "{} of 360 descriptors that WebSockets leave", all.len());
        assert_eq!(limit, Some(Limit::Share));
    }

    #[tokio::test]
    async fn clients_behind_a_trusted_proxy_have_shares_and_the_proxy_has_none() {
        let admission = Admission::new(100, None);
        let all: Vec<_> = (0..95).map(|_| admission.admit(3, ONE, true, &serving()).unwrap()).collect();
        assert!(all.iter().all(|one| one.limit.is_none()), "of the proxy");
        let mut requests: Vec<_> = std::iter::from_fn(|| admission.admit_request(address(1))).collect();
        assert_eq!(requests.len(), 80);
        assert!(admission.admit_request(address(2)).is_some());
        requests.truncate(40);
        assert!(admission.admit_request(address(1)).is_some());
        drop((requests, all));
        assert_eq!(lock(&admission.sockets).shares.usage(), (0, 0));
    }

    /// One address has many silent sockets. Each new socket takes the place of its oldest one, and never of a socket
    /// that is served or of an address with fewer.
    #[tokio::test]
    async fn silent_sockets_of_the_address_with_most_of_them_make_room() {
        let admission = Admission::new(20, None);
        let (quiet, busy) = (phase(), serving());
        let _other = [&quiet, &busy].map(|phase| admission.admit(3, OTHER, false, phase).unwrap());
        let mut flood: VecDeque<_> =
            (0..15).map(|_| phase()).map(|one| (admission.admit(3, ONE, false, &one).unwrap(), one)).collect();
        for round in 0..100 {
            let new = phase();
            let admitted = admission.admit(3, ONE, false, &new).unwrap();
            assert_eq!(admitted.limit, None, "{round}");
            let (oldest, closed) = flood.pop_front().unwrap();
            assert!(closed.is_closing(), "{round}");
            drop(oldest);
            flood.push_back((admitted, new));
        }
        assert!(!quiet.is_closing() && !busy.is_closing());
        assert_eq!(lock(&admission.sockets).closing, 0);
    }

    /// All sockets are being served. Those whose responses are not read make room.
    #[tokio::test]
    async fn sockets_with_unread_responses_make_room() {
        let admission = Admission::new(20, None);
        let phases: Vec<_> = (0..20).map(|_| serving()).collect();
        let admit = |number: usize| admission.admit(3, address(number as u8), false, &phases[number]).unwrap();
        let _all: Vec<_> = (0..20).map(admit).collect();
        phases[3].on_unread();
        phases[4].on_unread();
        phases[4].on_read();
        let admit = |phase: &RequestPhase| admission.admit(3, ONE, false, phase).unwrap().limit;
        assert_eq!(admit(&serving()), Some(Limit::HttpConnections), "it may be read soon");
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        assert_eq!(admit(&serving()), None);
        assert_eq!(phases.iter().position(RequestPhase::is_closing), Some(3));
        assert_eq!(admit(&serving()), Some(Limit::HttpConnections), "there is no other one");
    }

    /// A socket that is closing still has its descriptor.
    #[tokio::test]
    async fn few_sockets_are_closing_at_a_time() {
        let admission = Admission::new(40, None);
        let kept: Vec<_> = (0..40).map(|one| admission.admit(3, address(one), false, &phase()).unwrap()).collect();
        let more: Vec<_> = (0..MAX_CLOSING).map(|_| admission.admit(3, ONE, false, &serving()).unwrap()).collect();
        assert!(more.iter().all(|one| one.limit.is_none()));
        assert_eq!(admission.admit(3, ONE, false, &serving()).unwrap().limit, Some(Limit::HttpConnections));
        drop(kept);
        assert_eq!(lock(&admission.sockets).closing, 0);
    }
}
