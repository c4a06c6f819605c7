//! What the server knows about a connection from its HTTP request.

use std::net::{IpAddr, Ipv4Addr};

/// The request that opened a connection, as far as anything may still need it.
///
/// The common case, a request without an origin, a query and listed headers, needs no memory of its own.
#[derive(Debug, Clone)]
pub struct ConnectInfo {
    peer: IpAddr,
    details: Option<Box<Details>>,
}

#[derive(Debug, Clone, Default)]
struct Details {
    origin: Option<Box<str>>,
    query: Box<str>,
    headers: Box<[(Box<str>, Box<str>)]>,
}

// === impl ConnectInfo ===

impl ConnectInfo {
    /// A connection of which nothing is known.
    pub const UNKNOWN: Self = Self { peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED), details: None };

    /// A connection from `peer`.
    pub fn new(peer: IpAddr) -> Self {
        Self { peer, details: None }
    }

    /// Adds the page's origin, as the browser sent it.
    #[must_use]
    pub fn with_origin(mut self, origin: Option<&str>) -> Self {
        if let Some(origin) = origin {
            self.details_mut().origin = Some(origin.into());
        }
        self
    }

    /// Adds the query, without the parameters that the protocol itself uses.
    #[must_use]
    pub fn with_query(mut self, query: &str) -> Self {
        if !query.is_empty() {
            self.details_mut().query = query.into();
        }
        self
    }

    /// Adds the cookies and headers that a namespace lists. Names are in lower case.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(Box<str>, Box<str>)>) -> Self {
        if !headers.is_empty() {
            self.details_mut().headers = headers.into();
        }
        self
    }

    /// The address of the client, or of the proxy in front of it.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The page's origin.
    pub fn origin(&self) -> Option<&str> {
        self.details.as_ref()?.origin.as_deref()
    }

    /// The query, without the parameters that the protocol itself uses.
    pub fn query(&self) -> &str {
        self.details.as_ref().map_or("", |details| &details.query)
    }

    /// A listed header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.details.as_ref()?.headers;
        headers.iter().find(|(one, _)| **one == *name).map(|(_, value)| &**value)
    }

    fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_connection_needs_no_memory_of_its_own() {
        let info = ConnectInfo::new(IpAddr::from([127, 0, 0, 1])).with_origin(None).with_query("");
        assert!(info.details.is_none());
        assert_eq!((info.origin(), info.query(), info.header("cookie")), (None, "", None));
    }

    #[test]
    fn a_request_is_kept_as_far_as_it_was_asked_for() {
        let info = ConnectInfo::new(IpAddr::from([127, 0, 0, 1]))
            .with_origin(Some("https://example.com"))
            .with_query("tab=1")
            .with_headers(vec![("x-visitor".into(), "7".into())]);
        assert_eq!(info.origin(), Some("https://example.com"));
        assert_eq!(info.query(), "tab=1");
        assert_eq!(info.header("x-visitor"), Some("7"));
        assert_eq!(info.header("cookie"), None);
    }
}
