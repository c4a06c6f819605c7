//! What one address may do, over all its connections: open connections, handshakes and requests per second, wrong keys.
//!
//! Owns the counts. Others ask, and reject what is too much. Nothing here is on the path of a message: it is asked once
//! per handshake, per request for a room, per wrong key, and when a connection opens and ends.
//!
//! # Many users behind one address
//! Users behind one NAT, or behind a proxy that is not in `trusted_proxies`, are one address. So the defaults limit what one
//! address may *take from others*, and not what it may have:
//!
//! - Connections: addresses share them ([`FairShares`]). An address that is alone may have 4 of 5, and an address with few
//!   always finds a free one.
//! - Rates: the default rates are a fraction of what one core can serve, and five seconds of them may be used at once,
//!   so that all clients behind an address can return after a restart.
//! - Wrong keys: a right key is always accepted, whatever the address has sent before.

use crate::client::Client;
use crate::fair_shares::{FairShares, NoShare};
use crate::rate_limit::{RateLimit, TokenBucket};
use hashbrown::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses whose rates are remembered, for each rate.
const MAX_ADDRESSES: usize = 65_536;
/// Wrong keys that a connection may send although its address is beyond the rate: a page may be in many rooms, and all
/// its keys may be from before a change of the secret.
pub const WRONG_KEYS_PER_CONNECTION: u8 = 20;

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections of all addresses.
    pub max_connections: usize,
    /// Connections of one address, if they have a limit of their own.
    pub max_connections_per_address: Option<usize>,
    /// Handshakes of one address per second, in the long run.
    pub handshakes_per_second: u32,
    /// Requests for rooms over HTTP of one address per second, in the long run.
    pub room_requests_per_second: u32,
    /// Wrong keys of one address per second, in the long run.
    pub wrong_keys_per_second: u32,
}

/// A limit of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressLimit {
    /// Connections at a time.
    Connections,
    /// Handshakes per second.
    Handshakes,
    /// Requests for rooms per second.
    RoomRequests,
    /// Wrong keys per second.
    WrongKeys,
}

/// Why there is no place for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The server has as many connections as allowed.
    Server,
    /// A limit of the address is reached.
    Address(AddressLimit),
}

/// The counts of all addresses.
#[derive(Debug)]
pub struct AddressLimits {
    /// `max_connections_per_address`; `usize::MAX` if there is none.
    max_connections: AtomicUsize,
    started: Instant,
    connections: Mutex<FairShares>,
    handshakes: Rates,
    room_requests: Rates,
    wrong_keys: Rates,
}

/// The place of a connection, which counts as open until this is dropped: from its handshake on, so that connections
/// that are about to be opened cannot exceed a limit.
#[derive(Debug)]
pub struct ConnectionPermit {
    limits: Arc<AddressLimits>,
    address: IpAddr,
}

/// One rate of each address.
#[derive(Debug)]
struct Rates {
    rates: Mutex<RatesByClient>,
}

#[derive(Debug)]
struct RatesByClient {
    limit: RateLimit,
    by_client: HashMap<Client, TokenBucket>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 200_000,
            max_connections_per_address: None,
            handshakes_per_second: 5_000,
            room_requests_per_second: 500,
            wrong_keys_per_second: 10,
        }
    }
}

// === impl AddressLimit ===

impl AddressLimit {
    /// Every name, so that metrics can start at zero.
    pub const NAMES: [&'static str; 4] = ["connections", "handshakes", "room_requests", "wrong_keys"];

    /// All of them, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Connections, Self::Handshakes, Self::RoomRequests, Self::WrongKeys];

    /// The index of its name, which is the label in metrics.
    pub fn index(self) -> usize {
        match self {
            Self::Connections => 0,
            Self::Handshakes => 1,
            Self::RoomRequests => 2,
            Self::WrongKeys => 3,
        }
    }

    /// The key in the configuration, for logs and hints.
    pub fn key(self) -> &'static str {
        match self {
            Self::Connections => "max_connections_per_address",
            Self::Handshakes => "handshakes_per_second_per_address",
            Self::RoomRequests => "room_requests_per_second_per_address",
            Self::WrongKeys => "wrong_keys_per_second_per_address",
        }
    }
}

// === impl AddressLimits ===

impl Default for AddressLimits {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl AddressLimits {
    /// Counts nothing yet.
    pub fn new(settings: Settings) -> Self {
        let rates = |per_second| Rates::new(RateLimit::new(per_second, 0));
        Self {
            max_connections: AtomicUsize::new(max_of(&settings)),
            started: Instant::now(),
            connections: Mutex::new(FairShares::new(settings.max_connections)),
            handshakes: rates(settings.handshakes_per_second),
            room_requests: rates(settings.room_requests_per_second),
            wrong_keys: rates(settings.wrong_keys_per_second),
        }
    }

    /// Replaces the settings. Connections that are open stay open.
    pub fn set(&self, settings: &Settings) {
        self.max_connections.store(max_of(settings), Relaxed);
        lock(&self.connections).set_max(settings.max_connections);
        for (rates, per_second) in [
            (&self.handshakes, settings.handshakes_per_second),
            (&self.room_requests, settings.room_requests_per_second),
            (&self.wrong_keys, settings.wrong_keys_per_second),
        ] {
            lock(&rates.rates).limit = RateLimit::new(per_second, 0);
        }
    }

    /// Counts a handshake, and its connection.
    ///
    /// # Errors
    /// [`NoPlace`]: the limit that is reached.
    pub fn handshake(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionPermit, NoPlace> {
        let client = Client::of(address);
        let mut connections = lock(&self.connections);
        let share = connections.check(client);
        if share == Err(NoShare::AllInUse) {
            return Err(NoPlace::Server);
        }
        if !self.handshakes.allows(client, self.now()) {
            return Err(NoPlace::Address(AddressLimit::Handshakes));
        }
        if share.is_err() || connections.of(client) >= self.max_connections.load(Relaxed) {
            return Err(NoPlace::Address(AddressLimit::Connections));
        }
        connections.add(client);
        Ok(ConnectionPermit { limits: Arc::clone(self), address })
    }

    /// Counts the handshake of an upgrade, whose connection is counted already.
    ///
    /// # Errors
    /// The address has sent too many.
    pub fn upgrade(&self, address: IpAddr) -> Result<(), AddressLimit> {
        let is_allowed = self.handshakes.allows(Client::of(address), self.now());
        is_allowed.then_some(()).ok_or(AddressLimit::Handshakes)
    }

    /// Counts a request for a room over HTTP.
    ///
    /// # Errors
    /// The address has sent too many.
    pub fn room_request(&self, address: IpAddr) -> Result<(), AddressLimit> {
        let is_allowed = self.room_requests.allows(Client::of(address), self.now());
        is_allowed.then_some(()).ok_or(AddressLimit::RoomRequests)
    }

    /// Counts a wrong key. Not for keys that have expired, which pages send that were open for long.
    ///
    /// # Errors
    /// The address has sent too many.
    pub fn wrong_key(&self, address: IpAddr) -> Result<(), AddressLimit> {
        let is_allowed = self.wrong_keys.allows(Client::of(address), self.now());
        is_allowed.then_some(()).ok_or(AddressLimit::WrongKeys)
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

// === impl ConnectionPermit ===

impl ConnectionPermit {
    /// The address whose connection it is.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        lock(&self.limits.connections).remove(Client::of(self.address));
    }
}

// === impl Rates ===

impl Rates {
    fn new(limit: RateLimit) -> Self {
        Self { rates: Mutex::new(RatesByClient { limit, by_client: HashMap::new() }) }
    }

    fn allows(&self, client: Client, now: u64) -> bool {
        let mut rates = lock(&self.rates);
        let RatesByClient { limit, by_client } = &mut *rates;
        if by_client.len() >= MAX_ADDRESSES && !by_client.contains_key(&client) {
            by_client.retain(|_, rate| !rate.is_full(*limit, now));
            // Forgetting hostile addresses is better than refusing others.
            if by_client.len() >= MAX_ADDRESSES / 2 {
                by_client.clear();
            }
        }
        by_client.entry(client).or_insert_with(|| TokenBucket::new(*limit, now)).allows(*limit, now)
    }
}

fn max_of(settings: &Settings) -> usize {
    settings.max_connections_per_address.unwrap_or(usize::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    fn limits(max_connections: usize) -> Arc<AddressLimits> {
        let settings = Settings { max_connections, handshakes_per_second: 1_000_000, ..Settings::default() };
        Arc::new(AddressLimits::new(settings))
    }

    /// Opens connections until the address is refused.
    fn fill(limits: &Arc<AddressLimits>, number: u32) -> Vec<ConnectionPermit> {
        std::iter::from_fn(|| limits.handshake(address(number)).ok()).collect()
    }

    #[test]
    fn connections_are_shared_and_an_address_is_refused_for_its_own_or_for_those_of_all() {
        let limits = limits(1_000);
        let one = fill(&limits, 1);
        assert_eq!(limits.handshake(address(1)).unwrap_err(), NoPlace::Address(AddressLimit::Connections));
        let others: Vec<_> = (2..).map_while(|number| limits.handshake(address(number)).ok()).collect();
        assert_eq!(one.len() + others.len(), 1_000);
        assert_eq!(limits.handshake(address(2)).unwrap_err(), NoPlace::Server);
        drop((one, others));
        assert_eq!(lock(&limits.connections).usage(), (0, 0));
    }

    /// Handshakes on several threads at the same moment, none of which has opened its connection yet.
    #[test]
    fn handshakes_at_the_same_moment_do_not_exceed_the_limit() {
        let limits = limits(1_000);
        let threads: Vec<_> = (0..8_u32)
            .map(|thread| {
                let limits = Arc::clone(&limits);
                let open = move |number: u32| limits.handshake(address(1_000 * thread + number)).ok();
                std::thread::spawn(move || (0..1_000_u32).filter_map(open).collect::<Vec<_>>())
            })
            .collect();
        let permits: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(permits.len(), 1_000);
    }

    #[test]
    fn connections_of_an_address_may_have_a_limit_of_their_own_and_leave_no_memory_behind() {
        let settings = Settings { max_connections_per_address: Some(5), ..Settings::default() };
        let limits = Arc::new(AddressLimits::new(settings));
        let all = [fill(&limits, 1), fill(&limits, 2)];
        assert_eq!(all.each_ref().map(Vec::len), [5, 5]);
        drop(all);
        assert_eq!(lock(&limits.connections).usage(), (0, 0));
    }

    #[test]
    fn rates_of_one_address_do_not_affect_others() {
        let limits = AddressLimits::default();
        let count = |number| (0..1_000).filter(|_| limits.wrong_key(address(number)).is_ok()).count();
        assert!((50..60).contains(&count(1)) && (50..60).contains(&count(2)));
        let count = (0..100_000).filter(|_| limits.room_request(address(1)).is_ok()).count();
        assert!((2_500..3_500).contains(&count), "{count}");
    }

    #[test]
    fn a_network_of_ipv6_has_one_rate() {
        let limits = AddressLimits::default();
        let address = |host: u128| IpAddr::from(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | host));
        let count = (0..1_000).filter(|host| limits.wrong_key(address(*host)).is_ok()).count();
        assert!((50..60).contains(&count), "{count}");
    }

    #[test]
    fn addresses_without_end_take_bounded_memory() {
        let rates = Rates::new(RateLimit::new(10, 0));
        for number in 0..4 * MAX_ADDRESSES as u32 {
            assert!(rates.allows(Client::of(address(number)), u64::from(number) / 1_000));
        }
        assert!(lock(&rates.rates).by_client.len() <= MAX_ADDRESSES);
    }
}
