//! The details of a connection that come from its HTTP request.

use crate::address_limits::ConnectionPermit;
use crate::identity::Identity;
use crate::pages::VisitorKey;
use crate::token::{RequestToken, TokenSource};
use nodevent_protocol::page::PageHash;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of shared origins. Beyond it, those without a connection are dropped; if none is, each connection stores
/// its own copy.
const MAX_SHARED_ORIGINS: usize = 256;

/// What the names of listed cookies begin with, among the listed headers.
pub const COOKIE: &str = "cookie:";

/// Who a visitor is in the namespaces with these ids, as the application that has handed over the connection knows.
pub type VisitorIdentities = Arc<[(u16, Arc<Identity>)]>;

/// The parts of the request that are used after the connection is open.
///
/// Connections from pages of one site that name no page in their query share everything but their address.
#[derive(Debug)]
pub struct ConnectInfo {
    peer: Peer,
    details: Option<Arc<Details>>,
}

/// The address of a connection, and its place among the connections.
#[derive(Debug)]
enum Peer {
    Counted(ConnectionPermit),
    /// Not admitted by the limits of addresses.
    Uncounted(IpAddr),
}

#[derive(Debug, Clone, Default)]
struct Details {
    origin: Option<Box<str>>,
    page: Option<PageHash>,
    headers: Box<[(Box<str>, Box<str>)]>,
    /// Until the protocol has used it.
    token: Option<RequestToken>,
    /// The listed parameters of the query, until a namespace has used them.
    query: Option<Box<str>>,
    /// The visitor, as the namespaces with these ids recognize them.
    visitors: Box<[(u16, VisitorKey)]>,
    identities: Option<VisitorIdentities>,
}

/// Makes [`ConnectInfo`]s that share what is the same.
#[derive(Debug, Default)]
pub struct ConnectInfoPool {
    /// Details that contain only an origin, by this origin.
    by_origin: Mutex<HashMap<Box<str>, Arc<Details>>>,
}

// === impl ConnectInfoPool ===

impl ConnectInfoPool {
    /// Describes a connection. `origin` is the page's origin, as the browser sent it. `query` is that of the request; of it,
    /// only the page is kept: it may be as long as the head of a request. `headers` are the cookies and headers that a
    /// namespace lists, with names in lower case. The connection keeps `permit`.
    pub fn connect_info(
        &self,
        peer: IpAddr,
        origin: Option<&str>,
        query: &str,
        headers: Vec<(Box<str>, Box<str>)>,
        permit: Option<ConnectionPermit>,
    ) -> ConnectInfo {
        let page = page_of(query);
        let details = match origin {
            None if page.is_none() && headers.is_empty() => None,
            Some(origin) if page.is_none() && headers.is_empty() => Some(self.shared(origin)),
            _ => Some(Arc::new(Details {
                origin: origin.map(Into::into),
                page,
                headers: headers.into(),
                ..Details::default()
            })),
        };
        ConnectInfo { peer: permit.map_or(Peer::Uncounted(peer), Peer::Counted), details }
    }

    fn shared(&self, origin: &str) -> Arc<Details> {
        let mut by_origin = self.by_origin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(details) = by_origin.get(origin) {
            return Arc::clone(details);
        }
        let details = Arc::new(Details { origin: Some(origin.into()), ..Details::default() });
        if by_origin.len() >= MAX_SHARED_ORIGINS {
            by_origin.retain(|_, details| Arc::strong_count(details) > 1);
        }
        if by_origin.len() < MAX_SHARED_ORIGINS {
            by_origin.insert(origin.into(), Arc::clone(&details));
        }
        details
    }
}

/// The page that a query names.
fn page_of(query: &str) -> Option<PageHash> {
    let mut pairs = query.as_bytes().split(|byte| *byte == b'&');
    let id = pairs.find_map(|pair| pair.strip_prefix(b"page="))?;
    std::str::from_utf8(id).ok().and_then(PageHash::of)
}

// === impl ConnectInfo ===

impl ConnectInfo {
    /// A connection without an address and details.
    pub const UNKNOWN: Self = Self { peer: Peer::Uncounted(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), details: None };

    /// The same connection with a token that came with its request.
    #[must_use]
    pub fn with_token(mut self, token: Option<RequestToken>) -> Self {
        if token.is_some() {
            Arc::make_mut(self.details.get_or_insert_default()).token = token;
        }
        self
    }

    /// The same connection with the listed parameters of its request's query.
    #[must_use]
    pub fn with_query(mut self, query: Option<Box<str>>) -> Self {
        if query.is_some() {
            Arc::make_mut(self.details.get_or_insert_default()).query = query;
        }
        self
    }

    /// The same connection of this visitor, as the namespaces with these ids recognize them.
    #[must_use]
    pub fn with_visitors(mut self, visitors: Vec<(u16, VisitorKey)>) -> Self {
        if !visitors.is_empty() {
            Arc::make_mut(self.details.get_or_insert_default()).visitors = visitors.into();
        }
        self
    }

    /// The same connection of a visitor whom the application knows.
    #[must_use]
    pub fn with_identities(mut self, identities: Option<&VisitorIdentities>) -> Self {
        if let Some(identities) = identities {
            Arc::make_mut(self.details.get_or_insert_default()).identities = Some(Arc::clone(identities));
        }
        self
    }

    /// Who the visitor is in a namespace, if the application has said so with the connection.
    pub fn identity(&self, namespace: u16) -> Option<&Arc<Identity>> {
        let identities = self.details.as_ref()?.identities.as_ref()?;
        identities.iter().find(|(one, _)| *one == namespace).map(|(_, identity)| identity)
    }

    /// The visitor, as a namespace recognizes them.
    pub fn visitor(&self, namespace: u16) -> Option<&VisitorKey> {
        let visitors = &self.details.as_ref()?.visitors;
        visitors.iter().find(|(one, _)| *one == namespace).map(|(_, key)| key)
    }

    /// Takes the listed parameters of the request's query.
    pub fn take_query(&mut self) -> Option<Box<str>> {
        let details = self.details.as_mut().filter(|details| details.query.is_some())?;
        Arc::make_mut(details).query.take()
    }

    /// The token that came with the request, if it was in one of these places.
    pub fn token(&self, sources: &[TokenSource]) -> Option<&str> {
        let token = self.details.as_ref()?.token.as_ref()?;
        sources.contains(&token.source).then_some(&*token.text)
    }

    /// Drops the token, which may be a third of what an idle connection takes.
    pub fn forget_token(&mut self) {
        if let Some(details) = self.details.as_mut().filter(|details| details.token.is_some()) {
            Arc::make_mut(details).token = None;
        }
    }

    /// The address of the client, or of the proxy in front of it.
    pub fn peer(&self) -> IpAddr {
        match &self.peer {
            Peer::Counted(permit) => permit.address(),
            Peer::Uncounted(address) => *address,
        }
    }

    /// The page's origin.
    pub fn origin(&self) -> Option<&str> {
        self.details.as_ref()?.origin.as_deref()
    }

    /// The page that the query parameter `page` names, for protocols whose handshake has no other place for it.
    pub fn page(&self) -> Option<PageHash> {
        self.details.as_ref()?.page
    }

    /// A listed cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        // The name of a header has no colon.
        let headers = &self.details.as_ref()?.headers;
        let is_it = |one: &str| one.strip_prefix(COOKIE).is_some_and(|one| one == name);
        headers.iter().find(|(one, _)| is_it(one)).map(|(_, value)| &**value)
    }

    /// All cookies, as the request had them, if a namespace uses them.
    pub fn all_cookies(&self) -> Option<&str> {
        self.cookie("")
    }

    /// A listed header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.details.as_ref()?.headers;
        headers.iter().find(|(one, _)| **one == *name).map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_plain_connection_needs_no_memory_of_its_own() {
        let info = ConnectInfoPool::default().connect_info(PEER, None, "", Vec::new(), None);
        assert!(info.details.is_none());
        assert_eq!((info.origin(), info.page(), info.header("cookie")), (None, None, None));
    }

    #[test]
    fn connections_from_one_origin_share_it_and_the_number_of_shared_origins_is_limited() {
        let pool = ConnectInfoPool::default();
        let connect = |origin: &str| pool.connect_info(PEER, Some(origin), "", Vec::new(), None);
        let (one, other) = (connect("https://example.com"), connect("https://example.com"));
        assert!(Arc::ptr_eq(one.details.as_ref().unwrap(), other.details.as_ref().unwrap()));
        for index in 0..2 * MAX_SHARED_ORIGINS {
            let origin = format!("https://{index}.example.com");
            assert_eq!(connect(&origin).origin(), Some(origin.as_str()));
        }
        assert!(pool.by_origin.lock().unwrap().len() <= MAX_SHARED_ORIGINS);
        assert!(Arc::ptr_eq(
            one.details.as_ref().unwrap(),
            connect("https://example.com").details.as_ref().unwrap()
        ));
    }

    #[test]
    fn origins_without_a_connection_make_room_for_others() {
        let pool = ConnectInfoPool::default();
        let connect = |origin: &str| pool.connect_info(PEER, Some(origin), "", Vec::new(), None);
        let made_up: Vec<_> =
            (0..MAX_SHARED_ORIGINS).map(|index| connect(&format!("https://{index}.com"))).collect();
        let is_shared = || {
            let (one, other) = (connect("https://example.com"), connect("https://example.com"));
            Arc::ptr_eq(one.details.as_ref().unwrap(), other.details.as_ref().unwrap())
        };
        assert!(!is_shared(), "all are in use");
        drop(made_up);
        assert!(is_shared());
    }

    #[test]
    fn a_long_query_is_not_kept() {
        let query = format!("tab={}", "x".repeat(15_000));
        let info = ConnectInfoPool::default().connect_info(PEER, None, &query, Vec::new(), None);
        assert!(info.details.is_none());
    }

    #[test]
    fn a_request_is_kept_as_far_as_it_was_asked_for() {
        let headers = vec![("x-visitor".into(), "7".into())];
        let info =
            ConnectInfoPool::default().connect_info(PEER, Some("https://example.com"), "page=abc", headers, None);
        assert_eq!(info.origin(), Some("https://example.com"));
        assert_eq!(info.page(), PageHash::of("abc"));
        assert_eq!(info.header("x-visitor"), Some("7"));
        assert_eq!(info.header("cookie"), None);
    }

    #[test]
    fn a_page_is_named_by_the_query() {
        let page =
            |query: &str| ConnectInfoPool::default().connect_info(PEER, None, query, Vec::new(), None).page();
        assert_eq!(page("tab=1&page=abc"), PageHash::of("abc"));
        for query in ["", "page", "page=", "pages=abc", "page=a%20b"] {
            let expected = (query == "page=a%20b").then(|| PageHash::of("a%20b")).flatten();
            assert_eq!(page(query), expected, "{query}");
        }
    }
}
