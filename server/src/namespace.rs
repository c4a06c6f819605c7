//! The namespaces of this process: id, name, authorizers and limits.
//!
//! Built once at start, and shared by everything that serves connections.

use crate::authorize::{Authorizers, DialectJoins, PublishAuthorizer};
use crate::calls::{Caller, CookieRule};
use crate::connection_observer::ConnectionObserver;
use crate::connection_state;
use crate::hooks::Recorder;
use crate::identity_provider::{IdentityProvider, Listed};
use crate::pages::VisitorCookie;
use crate::protocol::Millis;
use crate::revocation::RevocationList;
use crate::token::{TokenSource, TokenVerifier};
use crate::web_service;
use hashbrown::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How refreshes of Turbo are merged and spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshSettings {
    /// The shortest time between two for one stream. Milliseconds.
    pub interval: Millis,
    /// The longest time over which one is spread. Milliseconds.
    pub window: Millis,
}

/// Limits of a namespace's rooms.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Rooms that one connection may be in, over all namespaces.
    pub max_rooms: usize,
    /// The longest name of a room. Bytes.
    pub max_name_bytes: usize,
}

/// One namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Its id in this process.
    pub id: u16,
    /// Its name with the leading slash.
    pub name: Arc<str>,
    /// Who may join its rooms.
    pub authorizers: Authorizers,
    /// Verifies the tokens of its clients. `None`: it has none.
    pub tokens: Option<Arc<TokenVerifier>>,
    /// Who else says who a connection is. Set once, before the first connection. Empty: its tokens alone do.
    pub provider: OnceLock<Arc<dyn IdentityProvider>>,
    /// What is notified of its connections. Set once, before the first connection. Empty: nothing is.
    pub observer: OnceLock<Arc<dyn ConnectionObserver>>,
    /// Sends the calls of its clients to the application. Set once, before the first connection. Empty: it has no calls.
    pub caller: OnceLock<Arc<dyn Caller>>,
    /// The tokens that count no longer.
    pub revocations: Arc<RevocationList>,
    /// Records what the application is notified of. `None`: of nothing.
    pub recorder: Option<Arc<Recorder>>,
    /// Who may publish over HTTP.
    pub publish: PublishAuthorizer,
    /// Whether a membership ends when the key expires with which its room was joined (`expiry: leave`).
    pub ends_expired_memberships: bool,
    /// Whether joins need a key or token.
    pub is_secured: bool,
    /// The protocols that serve it, by their names in the configuration.
    pub protocols: Vec<String>,
    /// Its dialects of Socket.IO.
    pub dialects: Vec<String>,
    /// How its dialects join rooms that clients cannot ask for.
    pub dialect_joins: Arc<DialectJoins>,
    /// Recognizes the visitors whose pages its clients name after the handshake. `None`: they belong to none.
    pub visitors: Option<VisitorCookie>,
    /// What its dialect `web_service` knows. `None`: it has another dialect.
    pub web_service: Option<web_service::Settings>,
    /// How refreshes of Turbo are merged and spread. `None`: they are publications as any other.
    pub refreshes: Option<RefreshSettings>,
    /// How states of its connections are sealed. `None`: its connections cannot be restored.
    pub connection_state: Option<Arc<connection_state::Settings>>,
    /// Whether clients of Socket.IO 1 and 2 may connect.
    pub allows_eio3: bool,
    /// The limits of its rooms.
    pub limits: RoomLimits,
}

/// All namespaces, by id and by name.
#[derive(Debug, Default)]
pub struct Namespaces {
    list: Vec<Namespace>,
    ids: HashMap<Arc<str>, u16>,
}

// === impl Namespace ===

impl Namespace {
    /// Whether every client with a token may join every room, and no other one without a key for it.
    pub fn is_open_to_users(&self) -> bool {
        !self.is_secured && self.tokens.as_ref().is_some_and(|tokens| tokens.settings().is_required)
    }

    /// How long a connection stays open after its identity has expired.
    pub fn grace(&self) -> Duration {
        let of_provider = || self.provider.get().map_or(Duration::ZERO, |provider| provider.grace());
        self.tokens.as_ref().map_or_else(of_provider, |tokens| tokens.settings().grace)
    }
}

// === impl Namespaces ===

impl Namespaces {
    /// Adds a namespace. Its id is replaced by the next free one.
    pub fn add(&mut self, mut namespace: Namespace) {
        namespace.id = self.list.len() as u16;
        self.ids.insert(Arc::clone(&namespace.name), namespace.id);
        self.list.push(namespace);
    }

    /// The id of the namespace with that name.
    pub fn id(&self, name: &str) -> Option<u16> {
        self.ids.get(name).copied()
    }

    /// The namespace with that name.
    pub fn find(&self, name: &str) -> Option<&Namespace> {
        self.id(name).map(|id| self.get(id))
    }

    /// The namespace with that id, which came from this table.
    pub fn get(&self, id: u16) -> &Namespace {
        &self.list[usize::from(id)]
    }

    /// The places in a request that may contain a token for one of them.
    pub fn token_sources(&self) -> impl Iterator<Item = &TokenSource> {
        self.list.iter().filter_map(|one| one.tokens.as_ref()).flat_map(|tokens| &tokens.settings().sources)
    }

    /// The parts of a request for a connection that one of them uses.
    pub fn listed(&self) -> Listed {
        let mut all = Listed::default();
        for one in self.list.iter().filter_map(|one| one.provider.get()) {
            all.headers.extend_from_slice(&one.listed().headers);
            all.cookies.extend_from_slice(&one.listed().cookies);
            all.query.extend_from_slice(&one.listed().query);
        }
        for one in self.list.iter().filter_map(|one| one.caller.get()) {
            // By the host, a page that may call is recognized.
            all.headers.push("host".into());
            match one.cookies() {
                CookieRule::All => all.all_cookies = true,
                CookieRule::Listed(names) => all.cookies.extend_from_slice(names),
            }
        }
        for names in [&mut all.headers, &mut all.cookies, &mut all.query] {
            names.sort_unstable();
            names.dedup();
        }
        all
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.list.iter()
    }
}
