//! The origins whose pages may connect: the server's own host on any port, and the configured ones.
//!
//! CORS does not protect WebSockets, so every handshake of every transport is checked here. `config` fills
//! [`Origins`]; the HTTP side asks it. This file knows headers, but no request, connection or namespace.

use crate::host::{is_loopback, is_subdomain, split_port};
use axum::http::{HeaderMap, HeaderValue, header};

/// The header in which a browser says whether the page and the server belong to the same site.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The configured origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    /// The opaque origin `null`.
    null: bool,
    /// Pages that were opened from a file, in browsers that send `file://` for them.
    files: bool,
    list: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// `https`; `None` for any scheme of the web.
    scheme: Option<String>,
    /// Lower case. With `subdomains`, only its subdomains match, not the host itself.
    host: Host,
    /// `None`: any port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    Exactly(String),
    SubdomainsOf(String),
}

/// A dangerous entry of `origins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Risk {
    /// `*`.
    EveryPage,
    /// `null`.
    Null,
    /// `file://`.
    Files,
    /// `chrome-extension://*` and the like.
    WholeScheme,
}

/// An entry of `origins` that is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOrigin {
    /// It has a path or a query.
    #[error("is not an origin: it has more than scheme, host and port")]
    Path,
    /// It contains a blank or a comma.
    #[error("is not an origin: it contains a blank or a comma")]
    Several,
    /// It is not ASCII.
    #[error("is not an origin as browsers send it: it contains other letters than ASCII")]
    NotAscii,
    /// Its scheme is that of a WebSocket.
    #[error("is not the origin of a page, but the address of a WebSocket")]
    WebSocket,
    /// Its pages have an opaque origin.
    #[error("is not an origin: browsers send `null` for such pages")]
    Opaque,
    /// It is not an origin for another reason.
    #[error("is not an origin")]
    Other,
}

// === impl Risk ===

impl Risk {
    /// Clients that it allows, for a sentence.
    pub fn allows(self) -> &'static str {
        match self {
            Self::EveryPage => "every page of the web",
            Self::Null => "every page of the web, which can put itself into a sandboxed frame to send this origin",
            Self::Files => "every HTML file that a user opens",
            Self::WholeScheme => "every application with this scheme",
        }
    }

    /// The fix: text to write instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::EveryPage | Self::Null => {
                "list the origins of your pages, and protect every namespace by `secret:`"
            }
            Self::Files => "protect every namespace by `secret:`",
            Self::WholeScheme => "write the identifier of your application, like chrome-extension://abcdef",
        }
    }
}

// === impl BadOrigin ===

impl BadOrigin {
    /// The fix: text to write instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Path => "write it like https://www.example.com, without a path",
            Self::Several => "write a list: [https://www.example.com, https://www.example.org]",
            Self::NotAscii => "write the host in Punycode, like https://xn--bcher-kva.example",
            Self::WebSocket => "write it with https:// or http://",
            Self::Opaque => "write \"null\" if such pages may connect",
            Self::Other => {
                "write it like https://www.example.com, https://*.example.com, capacitor://localhost or \"*\""
            }
        }
    }
}

// === impl Origins ===

impl Origins {
    /// Allows every page.
    pub fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Whether no origin is listed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every page of the web can connect: with its own origin, or with `null` from a sandboxed frame.
    pub fn allow_every_page(&self) -> bool {
        self.any || self.null
    }

    /// Adds an origin: `https://www.example.com`, `https://*.example.com`, `www.example.com:8443`, `*`, or what
    /// browsers and app shells send for pages without a host: `null`, `file://`, `capacitor://localhost`,
    /// `chrome-extension://<id>`. Returns the risk of a dangerous one.
    ///
    /// # Errors
    /// [`BadOrigin`].
    pub fn add(&mut self, text: &str) -> Result<Option<Risk>, BadOrigin> {
        match text {
            "*" => {
                self.any = true;
                return Ok(Some(Risk::EveryPage));
            }
            "null" => {
                self.null = true;
                return Ok(Some(Risk::Null));
            }
            "file://" => {
                self.files = true;
                return Ok(Some(Risk::Files));
            }
            _ => {}
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        check(scheme.as_deref(), text)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', '\\']) || scheme.as_deref() == Some("file") {
            return Err(BadOrigin::Path);
        }
        let (host, port) = split_port(rest).ok_or(BadOrigin::Other)?;
        let lower = host.to_ascii_lowercase();
        let is_web = scheme.as_deref().is_none_or(is_web);
        let (host, risk) = match lower.strip_prefix("*.") {
            _ if lower == "*" && !is_web => (Host::Any, Some(Risk::WholeScheme)),
            Some(parent) if is_host(parent) => (Host::SubdomainsOf(parent.to_owned()), None),
            None if is_host(&lower) => (Host::Exactly(lower), None),
            _ => return Err(BadOrigin::Other),
        };
        // Browsers leave the scheme's own port out of the header.
        let port = port.filter(|port| scheme.as_deref().and_then(default_port) != Some(*port));
        self.list.push(Pattern { scheme, host, port });
        Ok(risk)
    }

    /// Whether a request may connect. A request without the header does not come from a script of another page, but a
    /// page can make the browser send one by an image or a link. Then the browser says that it comes from another site.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return self.any || headers.get(SEC_FETCH_SITE).is_none_or(|site| site != "cross-site");
        };
        self.includes(origin, headers.get(header::HOST).and_then(|host| host.to_str().ok()))
    }

    /// Whether an origin is one of these, or a page of the web at this host on any port.
    pub fn allow(&self, origin: &str, host: Option<&str>) -> bool {
        HeaderValue::from_str(origin).is_ok_and(|origin| self.includes(&origin, host))
    }

    fn includes(&self, origin: &HeaderValue, host: Option<&str>) -> bool {
        self.lists(origin) || is_own_host(origin, host)
    }

    /// Whether an origin is one of these, as a browser sends it. The server's own host does not count.
    pub fn lists(&self, origin: &HeaderValue) -> bool {
        self.any || self.null && origin.as_bytes() == b"null" || self.names(origin)
    }

    /// Whether an origin is one of these, and not because every page is.
    fn names(&self, origin: &HeaderValue) -> bool {
        match origin.as_bytes() {
            b"null" => false,
            b"file://" => self.files,
            _ if self.list.is_empty() => false,
            _ => page(origin).is_some_and(|page| self.list.iter().any(|pattern| pattern.matches(&page))),
        }
    }

    /// Whether the page of a request may use what says who its visitor is without the page's help, such as a cookie. One that
    /// may connect only because every page may is a page of anyone.
    pub fn trust(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return headers.get(SEC_FETCH_SITE).is_none_or(|site| site != "cross-site");
        };
        self.names(origin) || is_own_host(origin, headers.get(header::HOST).and_then(|host| host.to_str().ok()))
    }
}

/// The origin of a page. Browsers write it in lower case.
struct Page<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

/// Parses an origin that has a host.
fn page(origin: &HeaderValue) -> Option<Page<'_>> {
    let (scheme, rest) = origin.to_str().ok()?.split_once("://")?;
    let (host, port) = split_port(rest)?;
    let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', '\\']);
    is_host.then_some(Page { scheme, host, port })
}

fn check(scheme: Option<&str>, text: &str) -> Result<(), BadOrigin> {
    let lower = text.to_ascii_lowercase();
    if text.contains([' ', ',', ';']) {
        Err(BadOrigin::Several)
    } else if !text.is_ascii() {
        Err(BadOrigin::NotAscii)
    } else if ["data:", "about:", "blob:", "javascript:"].iter().any(|opaque| lower.starts_with(opaque)) {
        Err(BadOrigin::Opaque)
    } else if matches!(scheme, Some("ws" | "wss")) {
        Err(BadOrigin::WebSocket)
    } else if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
        Err(BadOrigin::Other)
    } else {
        Ok(())
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn is_web(scheme: &str) -> bool {
    ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web))
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c))
}

// === impl Pattern ===

impl Pattern {
    fn matches(&self, page: &Page<'_>) -> bool {
        let is_host = match &self.host {
            Host::Any => true,
            Host::Exactly(own) => page.host.eq_ignore_ascii_case(own),
            Host::SubdomainsOf(parent) => is_subdomain(page.host, parent),
        };
        is_host
            && self.scheme.as_deref().map_or(is_web(page.scheme), |own| page.scheme.eq_ignore_ascii_case(own))
            && (self.scheme.is_none() && self.port.is_none() || self.port == page.port)
    }
}

/// Whether an origin is that of a page of the web at the host of the request, on any port.
fn is_own_host(origin: &HeaderValue, host: Option<&str>) -> bool {
    page(origin).is_some_and(|page| is_web(page.scheme) && same_host(host, page.host))
}

/// Whether the page has the host of the request. The names of this machine are one host, so that a page at
/// `http://127.0.0.1:3000` may connect to `localhost:8080`.
fn same_host(own: Option<&str>, host: &str) -> bool {
    let own = own.and_then(split_port).map(|(own, _)| own);
    own.is_some_and(|own| own.eq_ignore_ascii_case(host) || is_loopback(own) && is_loopback(host))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// The value of `Access-Control-Allow-Origin` with which a browser lets the page read the response.
pub fn cors(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::ORIGIN).cloned()
}

/// Whether a page in a browser made the request. Programs do not send these headers.
pub fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    fn origins(list: &[&str]) -> Origins {
        let mut origins = Origins::default();
        for one in list {
            origins.add(one).unwrap();
        }
        origins
    }

    #[test]
    fn a_page_of_the_same_host_may_connect_from_any_port() {
        // N-21
        let none = origins(&[]);
        for origin in ["http://example.com", "https://example.com:3000", "https://EXAMPLE.com"] {
            assert!(none.admit(&headers(Some(origin), "example.com:8080")), "{origin}");
        }
        assert!(none.admit(&headers(Some("http://[::1]:3000"), "[::1]:8080")));
        assert!(none.admit(&headers(None, "example.com")), "not a page at all");
    }

    #[test]
    fn a_page_that_only_looks_alike_may_not() {
        // N-21
        let listed = origins(&["https://example.com", "https://*.example.org"]);
        for origin in [
            "https://example.com.evil.tld",
            "https://evilexample.com",
            "https://example.com@evil.tld",
            "https://example.com:8443",
            "http://example.com",
            "https://example.org",
            "https://evilexample.org",
            "https://x.example.org.evil.tld",
            "https://.example.org",
            "null",
            "example.com",
            "https://example.com/../",
            "https://example.com:x",
        ] {
            assert!(!listed.admit(&headers(Some(origin), "push.test:8080")), "{origin}");
        }
        for origin in ["https://example.com", "https://a.example.org", "https://a.b.example.org"] {
            assert!(listed.admit(&headers(Some(origin), "push.test:8080")), "{origin}");
        }
    }

    #[test]
    fn the_schemes_own_port_may_be_written_or_left_out() {
        assert!(origins(&["https://example.com:443"]).admit(&headers(Some("https://example.com"), "x")));
        assert!(origins(&["example.com"]).admit(&headers(Some("http://example.com:99"), "x")));
        assert!(origins(&["*"]).admit(&headers(Some("https://anything.tld"), "x")));
    }

    #[test]
    fn origins_without_a_host_are_allowed_only_if_they_are_listed() {
        let kinds = [
            ("null", "null", Some(Risk::Null)),
            ("file://", "file://", Some(Risk::Files)),
            ("capacitor://localhost", "capacitor://localhost", None),
            ("ionic://localhost", "ionic://localhost", None),
            ("tauri://localhost", "tauri://localhost", None),
            ("app://.", "app://.", None),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", None),
            ("moz-extension://*", "moz-extension://0b3c-41", Some(Risk::WholeScheme)),
            ("*", "https://anything.example", Some(Risk::EveryPage)),
        ];
        for (entry, sent, risk) in kinds {
            let mut origins = Origins::default();
            assert!(!origins.admit(&headers(Some(sent), "localhost:8080")), "{sent} is not listed");
            assert_eq!(origins.add(entry), Ok(risk), "{entry}");
            assert!(origins.admit(&headers(Some(sent), "localhost:8080")), "{entry} does not match {sent}");
            for (other, origin, _) in kinds {
                if other != entry && entry != "*" {
                    assert!(!origins.admit(&headers(Some(origin), "localhost:8080")), "{entry} allows {origin}");
                }
            }
        }
    }

    #[test]
    fn a_page_that_connects_as_every_page_may_is_not_trusted_with_its_visitor() {
        let (every, own) = (origins(&["*", "null", "https://partner.example"]), "app.example:3000");
        for origin in ["https://evil.example", "null", "file://", "https://partner.example.evil.tld", "a, b"] {
            let headers = headers(Some(origin), own);
            assert!(every.admit(&headers) && !every.trust(&headers), "{origin}");
        }
        for origin in ["https://app.example", "https://partner.example"] {
            assert!(every.trust(&headers(Some(origin), own)), "{origin}");
        }
        assert!(every.trust(&headers(None, own)), "not a page at all");
        let mut caused = headers(None, own);
        caused.insert(SEC_FETCH_SITE, HeaderValue::from_static("cross-site"));
        assert!(every.admit(&caused) && !every.trust(&caused));
        assert!(origins(&["file://"]).trust(&headers(Some("file://"), own)));
    }

    #[test]
    fn an_entry_without_a_scheme_means_pages_of_the_web() {
        let host = origins(&["localhost"]);
        assert!(host.admit(&headers(Some("http://localhost:3000"), "push.test")));
        assert!(!host.admit(&headers(Some("capacitor://localhost"), "push.test")));
    }

    #[test]
    fn the_names_of_this_machine_are_one_host() {
        for (origin, host) in [
            ("http://127.0.0.1:3000", "localhost:8080"),
            ("http://localhost:3000", "127.0.0.1:8080"),
            ("http://[::1]:3000", "localhost:8080"),
        ] {
            assert!(origins(&[]).admit(&headers(Some(origin), host)), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://localhost.evil.tld", "localhost:8080"),
            ("http://127.0.0.1", "push.test:8080"),
            ("http://127.0.0.2", "127.0.0.1:8080"),
        ] {
            assert!(!origins(&[]).admit(&headers(Some(origin), host)), "{origin} {host}");
        }
    }

    #[test]
    fn an_invalid_origin_is_rejected_with_its_reason() {
        for (text, reason) in [
            ("", BadOrigin::Other),
            ("https://", BadOrigin::Other),
            ("https://a b", BadOrigin::Several),
            ("https://a.example,https://b.example", BadOrigin::Several),
            ("https://x:y", BadOrigin::Other),
            ("https://x:*", BadOrigin::Other),
            ("://x", BadOrigin::Other),
            ("https://a/b", BadOrigin::Path),
            ("https://u@a", BadOrigin::Path),
            ("https://a?b", BadOrigin::Path),
            ("file:///index.html", BadOrigin::Path),
            ("https://*", BadOrigin::Other),
            ("*.", BadOrigin::Other),
            ("https://bücher.example", BadOrigin::NotAscii),
            ("wss://a.example", BadOrigin::WebSocket),
            ("data:text/html", BadOrigin::Opaque),
            ("about:blank", BadOrigin::Opaque),
            ("$ORIGIN", BadOrigin::Other),
        ] {
            assert_eq!(Origins::default().add(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_request_that_another_site_caused_needs_its_origin() {
        for (site, admitted) in [("cross-site", false), ("same-site", true), ("same-origin", true), ("none", true)]
        {
            let mut headers = headers(None, "example.com");
            headers.insert(SEC_FETCH_SITE, HeaderValue::from_static(site));
            assert_eq!(origins(&["https://www.example.org"]).admit(&headers), admitted, "{site}");
            assert!(origins(&["*"]).admit(&headers), "{site}");
            headers.insert(header::ORIGIN, HeaderValue::from_static("https://www.example.org"));
            assert!(origins(&["https://www.example.org"]).admit(&headers), "{site}");
        }
    }
}
