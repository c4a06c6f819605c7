//! The host that a request names, and comparisons of host names. They ignore case.

use axum::http::{HeaderMap, Version, header};
use hyper::Uri;

/// Why a request does not name a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHost {
    /// There is no `Host` header.
    #[error("the request has no Host header")]
    Missing,
    /// There are several, or the URL names another host.
    #[error("the request names several hosts")]
    Several,
    /// It is not a host with an optional port.
    #[error("the Host header is not a host with an optional port")]
    Malformed,
}

/// The host that a request names, without the port.
///
/// # Errors
/// [`BadHost`] if the request names none, or several, or something else.
///
/// # Source
/// RFC 9112, section 3.2.
pub fn requested_host<'a>(uri: &'a Uri, version: Version, headers: &'a HeaderMap) -> Result<&'a str, BadHost> {
    let mut lines = headers.get_all(header::HOST).iter();
    let (host, more) = (lines.next(), lines.next());
    let Some(host) = host else {
        return if version < Version::HTTP_11 { Ok("") } else { Err(BadHost::Missing) };
    };
    if more.is_some() {
        return Err(BadHost::Several);
    }
    let host = host.to_str().map_err(|_| BadHost::Malformed)?;
    // A proxy may send the whole URL, which then has to name the same host.
    if uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return Err(BadHost::Several);
    }
    let (name, _) = split_port(host).ok_or(BadHost::Malformed)?;
    let is_bracketed = name.starts_with('[') && name.ends_with(']');
    let is_allowed = |byte| match byte {
        b'-' | b'.' | b'_' | b'~' => true,
        b'[' | b']' | b':' => is_bracketed,
        byte => byte.is_ascii_alphanumeric(),
    };
    (!name.is_empty() && name.bytes().all(is_allowed)).then_some(name).ok_or(BadHost::Malformed)
}

/// Splits `host`, `host:port` or `[::1]:port`. Returns `None` if the port is not a number.
pub fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.bytes().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(colon) if text.as_bytes()[colon] == b':' => {
            Some((&text[..colon], Some(text[colon + 1..].parse().ok()?)))
        }
        _ => Some((text, None)),
    }
}

/// Whether a host is a name of this machine. A foreign name that DNS resolves to this machine is not.
pub fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// Whether a host is below a domain. The domain itself is not.
pub fn is_subdomain(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.as_bytes(), domain.as_bytes());
    let below = host.len().checked_sub(domain.len()).map(|length| host.split_at(length));
    below.is_some_and(|(sub, end)| sub.len() > 1 && sub.ends_with(b".") && end.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn requested(uri: &str, hosts: &[&str]) -> Result<String, BadHost> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        requested_host(&uri.parse().unwrap(), Version::HTTP_11, &headers).map(str::to_owned)
    }

    #[test]
    fn a_request_names_one_host() {
        for (host, name) in [
            ("localhost:8080", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("rebound.evil.tld:8080", "rebound.evil.tld"),
        ] {
            assert_eq!(requested("/", &[host]).as_deref(), Ok(name));
            assert_eq!(requested(&format!("http://{host}/"), &[host]).as_deref(), Ok(name));
        }
        for host in [
            "",
            "user@localhost",
            "localhost@evil.tld",
            "localhost:x",
            "::1",
            "a b",
            "a/b",
            "a,b",
            "[::1",
            "b\u{fc}cher",
        ] {
            assert_eq!(requested("/", &[host]), Err(BadHost::Malformed), "{host}");
        }
        assert_eq!(requested("/", &[]), Err(BadHost::Missing));
        assert_eq!(requested("/", &["localhost", "localhost"]), Err(BadHost::Several));
        assert_eq!(requested("http://evil.tld/", &["localhost"]), Err(BadHost::Several));
        let none = HeaderMap::new();
        assert_eq!(requested_host(&"/".parse().unwrap(), Version::HTTP_10, &none), Ok(""));
    }

    #[test]
    fn only_loopback_names_count_as_this_machine() {
        for (host, ours) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("rebound.evil.tld", false),
            ("localhost.evil.tld", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), ours, "{host}");
        }
    }

    #[test]
    fn subdomains_are_below_a_dot() {
        for (host, below) in [
            ("www.example.com", true),
            ("a.b.EXAMPLE.com", true),
            ("example.com", false),
            (".example.com", false),
            ("evilexample.com", false),
            ("example.com.evil.tld", false),
            ("com", false),
            ("", false),
        ] {
            assert_eq!(is_subdomain(host, "example.com"), below, "{host}");
        }
    }
}
