//! The origins whose pages may connect: the server's own host on any port, and the configured ones.
//!
//! CORS does not protect WebSockets, so every handshake of every transport is checked here. `config` fills
//! [`Origins`]; the HTTP side asks it. This file knows headers, but no request, connection or namespace.

use axum::http::{HeaderMap, HeaderValue, header};
use hyper::Uri;

/// The configured origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    list: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// `https`; `None` for any.
    scheme: Option<String>,
    /// Lower case. With `subdomains`, only its subdomains match, not the host itself.
    host: String,
    subdomains: bool,
    /// `None`: any port.
    port: Option<u16>,
}

/// An entry of `origins` that is not an origin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an origin; write it like https://www.example.com, https://*.example.com or *")]
pub struct BadOrigin;

// === impl Origins ===

impl Origins {
    /// Allows every page.
    pub fn any() -> Self {
        Self { any: true, list: Vec::new() }
    }

    /// Adds an origin: `https://www.example.com`, `https://*.example.com`, `www.example.com:8443`, or `*`.
    ///
    /// # Errors
    /// [`BadOrigin`].
    pub fn add(&mut self, text: &str) -> Result<(), BadOrigin> {
        if text == "*" {
            self.any = true;
            return Ok(());
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (subdomains, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (host, port) = split_port(rest).ok_or(BadOrigin)?;
        let is_valid = !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c))
            && scheme.as_deref().is_none_or(|scheme| !scheme.is_empty());
        if !is_valid {
            return Err(BadOrigin);
        }
        // Browsers leave the scheme's own port out of the header.
        let port = port.filter(|port| scheme.as_deref().and_then(default_port) != Some(*port));
        self.list.push(Pattern { scheme, host: host.to_ascii_lowercase(), subdomains, port });
        Ok(())
    }

    /// Whether a request may connect. A request without the header does not come from a page.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        if self.any {
            return true;
        }
        let Ok(origin) = origin.to_str() else { return false };
        let Some((scheme, rest)) = origin.split_once("://") else { return false };
        let Some((host, port)) = split_port(rest) else { return false };
        if host.is_empty() || host.contains(['/', '@', '?', '#', '\\']) {
            return false;
        }
        let host = host.to_ascii_lowercase();
        same_host(headers, &host) || self.list.iter().any(|pattern| pattern.matches(scheme, &host, port))
    }
}

// === impl Pattern ===

impl Pattern {
    fn matches(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let host_fits = if self.subdomains {
            host.strip_suffix(&self.host).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
        } else {
            host == self.host
        };
        host_fits
            && self.scheme.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(scheme))
            && (self.scheme.is_none() && self.port.is_none() || self.port == port)
    }
}

fn same_host(headers: &HeaderMap, host: &str) -> bool {
    let asked = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    asked.and_then(split_port).is_some_and(|(asked, _)| asked.eq_ignore_ascii_case(host))
}

/// Splits `host`, `host:port` or `[::1]:port`. Returns `None` if the port is not a number.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host, Some(port.parse().ok()?))),
        _ => Some((text, None)),
    }
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

/// Whether the request names this machine. A foreign name that DNS resolves to this machine does not count, so that
/// DNS rebinding does not make a request local.
pub fn host_is_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else { return true };
    let Ok(uri) = format!("http://{host}/").parse::<Uri>() else { return false };
    matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
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
        list.iter().for_each(|one| origins.add(one).unwrap());
        origins
    }

    #[test]
    fn a_page_of_the_same_host_may_connect_whatever_its_port() {
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
    fn an_invalid_origin_is_rejected() {
        for text in ["", "https://", "https://a b", "https://x:y", "://x", "https://a/b"] {
            assert_eq!(Origins::default().add(text), Err(BadOrigin), "{text}");
        }
    }

    #[test]
    fn only_loopback_names_count_as_this_machine() {
        for (host, ours) in [
            ("localhost:8080", true),
            ("127.0.0.1", true),
            ("[::1]:8080", true),
            ("rebound.evil.tld:8080", false),
            ("localhost.evil.tld", false),
        ] {
            assert_eq!(host_is_loopback(&headers(None, host)), ours, "{host}");
        }
    }
}
