//! What one address may do, over all its connections: open connections, handshakes and requests per second, wrong keys.
//!
//! Owns the counts. Others ask, and reject what is too much. Nothing here is on the path of a message: it is asked once
//! per handshake, per request for a room, per wrong key, and when a connection opens and ends.
//!
//! # Many users behind one address
//! Users behind one NAT, or behind a proxy that is not in `trusted_proxies`, are one address. So the defaults limit what one
//! address may *take from others*, and not what it may have:
//!
//! - Connections: an address may have at most [`SHARE`] times as many as are still free. So an address that is alone may have
//!   19 of 20 connections, several addresses share them, and an address with few always finds a free one. (These are the
//!   dynamic thresholds of Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)
//! - Rates: the default rates are a fraction of what one core can serve, and five seconds of them may be used at once, so that
//!   all clients behind an address can return after a restart.
//! - Wrong keys: a right key is always accepted, whatever the address has sent before.

use crate::client::Client;
use crate::rate_limit::{RateLimit, TokenBucket};
use hashbrown::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// An address may have so many times the connections that are free.
const SHARE: usize = 19;
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

/// The counts of all addresses.
#[derive(Debug)]
pub struct AddressLimits {
    settings: Settings,
    started: Instant,
    connections: Mutex<HashMap<Client, usize>>,
    handshakes: Rates,
    room_requests: Rates,
    wrong_keys: Rates,
}

/// One rate of each address.
#[derive(Debug)]
struct Rates {
    limit: RateLimit,
    by_client: Mutex<HashMap<Client, TokenBucket>>,
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
            started: Instant::now(),
            connections: Mutex::default(),
            handshakes: rates(settings.handshakes_per_second),
            room_requests: rates(settings.room_requests_per_second),
            wrong_keys: rates(settings.wrong_keys_per_second),
            settings,
        }
    }

    /// Counts a handshake. `open` are the connections of all addresses.
    ///
    /// # Errors
    /// The limit of the address that is reached.
    pub fn handshake(&self, address: IpAddr, open: usize) -> Result<(), AddressLimit> {
        let client = Client::of(address);
        if !self.handshakes.allows(client, self.now()) {
            return Err(AddressLimit::Handshakes);
        }
        let own = lock(&self.connections).get(&client).copied().unwrap_or_default();
        let free = self.settings.max_connections.saturating_sub(open);
        let max = self.settings.max_connections_per_address.unwrap_or(usize::MAX);
        if own >= max || own > free.saturating_mul(SHARE) {
            return Err(AddressLimit::Connections);
        }
        Ok(())
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

    /// A connection was opened.
    pub fn connected(&self, client: Client) {
        *lock(&self.connections).entry(client).or_default() += 1;
    }

    /// A connection that was counted has ended.
    pub fn disconnected(&self, client: Client) {
        let mut connections = lock(&self.connections);
        if let Some(count) = connections.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&client);
            }
        }
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

// === impl Rates ===

impl Rates {
    fn new(limit: RateLimit) -> Self {
        Self { limit, by_client: Mutex::default() }
    }

    fn allows(&self, client: Client, now: u64) -> bool {
        let mut rates = lock(&self.by_client);
        if rates.len() >= MAX_ADDRESSES && !rates.contains_key(&client) {
            rates.retain(|_, rate| !rate.is_full(self.limit, now));
            // Forgetting hostile addresses is better than refusing others.
            if rates.len() >= MAX_ADDRESSES / 2 {
                rates.clear();
            }
        }
        rates.entry(client).or_insert_with(|| TokenBucket::new(self.limit, now)).allows(self.limit, now)
    }
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

    fn limits(max_connections: usize) -> AddressLimits {
        AddressLimits::new(Settings { max_connections, handshakes_per_second: 1_000_000, ..Settings::default() })
    }

    /// Opens connections until the address is refused. Returns how many.
    fn fill(limits: &AddressLimits, number: u32, open: &mut usize) -> usize {
        let mut own = 0;
        while limits.handshake(address(number), *open).is_ok() && *open < limits.settings.max_connections {
            limits.connected(Client::of(address(number)));
            (own, *open) = (own + 1, *open + 1);
        }
        own
    }

    #[test]
    fn an_address_that_is_alone_has_nearly_all_connections_and_others_always_find_some() {
        let limits = limits(10_000);
        let mut open = 0;
        assert_eq!(fill(&limits, 1, &mut open), 9_501, "19 of 20");
        assert_eq!(fill(&limits, 2, &mut open), 475, "19 of 20 that are left");
        for number in 3..20 {
            assert!(limits.handshake(address(number), open).is_ok());
            limits.connected(Client::of(address(number)));
            open += 1;
        }
        assert_eq!(limits.handshake(address(1), open), Err(AddressLimit::Connections));
        for _ in 0..5_000 {
            limits.disconnected(Client::of(address(1)));
            open -= 1;
        }
        assert!(limits.handshake(address(1), open).is_ok() && limits.handshake(address(2), open).is_ok());
    }

    #[test]
    fn small_limits_are_not_shared() {
        let mut open = 0;
        assert_eq!(fill(&limits(3), 1, &mut open), 3);
    }

    #[test]
    fn connections_of_an_address_may_have_a_limit_of_their_own_and_leave_no_memory_behind() {
        let settings = Settings { max_connections_per_address: Some(5), ..Settings::default() };
        let limits = AddressLimits::new(settings);
        let mut open = 0;
        assert_eq!(fill(&limits, 1, &mut open), 5);
        assert_eq!(fill(&limits, 2, &mut open), 5);
        for _ in 0..5 {
            limits.disconnected(Client::of(address(1)));
            limits.disconnected(Client::of(address(2)));
        }
        assert!(lock(&limits.connections).is_empty());
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
        assert!(lock(&rates.by_client).len() <= MAX_ADDRESSES);
    }
}
