//! `hosts`: the names under which clients may reach the server.
//!
//! A page of another site can let its own name resolve to this server, and then read what every client may read (DNS
//! rebinding). The request names the host of that page, so the server rejects hosts that are not its own. An address
//! cannot be rebound, so addresses are always allowed.

use super::namespace::Namespace;
use super::reader::MapReader;
use super::report::Report;
use crate::host::is_subdomain;
use std::net::{IpAddr, Ipv6Addr};

/// The hosts that a request may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    any: bool,
    list: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(String),
    /// The name itself and its subdomains.
    Domain(String),
}

// === impl Hosts ===

impl Hosts {
    /// Whether a request may name any host.
    pub fn allows_any(&self) -> bool {
        self.any
    }

    /// Whether a request may name this host, which has no port.
    pub fn allows(&self, host: &str) -> bool {
        self.any || self.names(host)
    }

    /// Whether a host is an address, a name of this machine, or listed.
    pub fn names(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address =
            bare.map_or_else(|| host.parse::<IpAddr>().is_ok(), |bare| bare.parse::<Ipv6Addr>().is_ok());
        let is_loopback_name = host.eq_ignore_ascii_case("localhost") || is_subdomain(host, "localhost");
        is_address || is_loopback_name || self.list.iter().any(|pattern| pattern.matches(host))
    }

    /// Reads `hosts`. `public_url` and `namespaces` are what the file says elsewhere.
    pub(super) fn read(
        top: &mut MapReader<'_>,
        public_url: Option<&str>,
        namespaces: &[Namespace],
        report: &mut Report,
    ) -> Self {
        // Keys protect the rooms, whatever the page's host is. The server signs every call, also one of such a page.
        let is_exposed = |one: &Namespace| one.admits_strangers() || one.calls.is_some();
        let is_secured = !namespaces.is_empty() && !namespaces.iter().any(is_exposed);
        let mut hosts = Self { any: !top.has("hosts") && is_secured, list: Vec::new() };
        hosts.add_url(public_url);
        if !hosts.any
            && !top.has("hosts")
            && public_url.is_none()
            && namespaces.iter().any(|one| one.calls.is_some())
        {
            let what =
                "clients can call the application, so they reach the server as localhost or by its address only";
            report.warn_without_location(what, "write `public_url`, or list the names of the server under `hosts`");
        }
        for (text, location) in top.texts("hosts", report) {
            match text.as_str() {
                "*" => {
                    let what = "hosts: `*` lets every page of the web read open rooms by DNS rebinding";
                    report.warn(location, what, "list the names of this server");
                    hosts.any = true;
                }
                _ => match Pattern::parse(&text) {
                    Some(pattern) => hosts.list.push(pattern),
                    None => {
                        let what = "hosts has an entry that is not the name of a host";
                        let hint = "write it without scheme, port and path, like live.example.com or .example.com";
                        report.error(location, what, hint);
                    }
                },
            }
        }
        hosts
    }

    fn add_url(&mut self, url: Option<&str>) {
        let url = url.and_then(|url| url::Url::parse(url).ok());
        let host = url.as_ref().and_then(|url| url.host_str());
        self.list.extend(host.map(|host| Pattern::Exactly(host.to_owned())));
    }
}

// === impl Pattern ===

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (name, is_domain) = match lower.strip_prefix('.') {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let is_label =
            |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let is_name = name.split('.').all(is_label) || !is_domain && name.parse::<IpAddr>().is_ok();
        is_name.then(|| if is_domain { Self::Domain(name.to_owned()) } else { Self::Exactly(name.to_owned()) })
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => host.eq_ignore_ascii_case(name),
            Self::Domain(name) => host.eq_ignore_ascii_case(name) || is_subdomain(host, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const OPEN: &str = "/a: {open: true}\n";
    const SECURED: &str = "/b: {secret: a-secret-of-more-than-sixteen}\n";

    fn hosts(text: &str) -> Hosts {
        Config::from_yaml(text).unwrap_or_else(|report| panic!("{report}")).hosts
    }

    #[test]
    fn names_of_this_machine_and_addresses_are_always_allowed() {
        for text in [OPEN.to_owned(), format!("hosts: live.example.com\n{OPEN}"), format!("hosts: []\n{SECURED}")] {
            let hosts = hosts(&text);
            for host in
                ["localhost", "LOCALHOST.", "app.localhost", "127.0.0.1", "10.1.2.3", "[::1]", "[2001:db8::1]"]
            {
                assert!(hosts.allows(host), "{host} with {text}");
            }
            for host in [
                "",
                "evil.example",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "[evil]",
                "1.2.3",
                "[1.2.3.4]",
            ] {
                assert!(!hosts.allows(host), "{host} with {text}");
            }
        }
    }

    #[test]
    fn listed_names_and_the_public_address_are_allowed() {
        let text = "hosts: [live.example.com, .example.org, WWW.example.net]\npublic_url: https://push.example.com:8443/x\n";
        let hosts = hosts(&format!("{text}{OPEN}"));
        for host in [
            "live.example.com",
            "Live.Example.Com",
            "example.org",
            "a.b.example.org",
            "www.example.net",
            "push.example.com",
        ] {
            assert!(hosts.allows(host), "{host}");
        }
        for host in ["example.com", "x.live.example.com", "evilexample.org", "example.org.evil.example"] {
            assert!(!hosts.allows(host), "{host}");
        }
    }

    #[test]
    fn every_host_is_allowed_only_where_every_namespace_requires_keys() {
        assert!(hosts(SECURED).allows("anything.example"));
        assert!(!hosts(&format!("{SECURED}{OPEN}")).allows("anything.example"));
        assert!(!hosts("port: 1\n").allows("anything.example"), "the default namespace is open");
        assert!(!hosts(&format!("hosts: live.example.com\n{SECURED}")).allows("anything.example"));
        assert!(!crate::config::defaults(true).hosts.allows("anything.example"));
    }

    #[test]
    fn what_strangers_may_read_or_call_is_not_open_to_every_host() {
        const TOKEN: &str = "token: {secret: a-secret-of-thirty-two-bytes-or-more}";
        for (text, allows_any) in [
            ("/: {dialect: notifications, notifications: {channels: [news]}}", false),
            (&format!("/: {{dialect: notifications, notifications: {{channels: [news]}}, {TOKEN}}}"), true),
            ("/: {dialect: turted}", true),
            ("/: {dialect: turted, turted: {join: open}}", false),
            ("/: {dialect: turted, turted: {ident: accept_all}}", false),
            (
                "/cable: {protocol: action_cable, action_cable: {secret_key_base: 0123456789abcdef0123456789abcdef}}",
                true,
            ),
            ("/cable: {protocol: action_cable, action_cable: {public_streams: true}}", false),
            (
                "/b: {secret: a-secret-of-more-than-sixteen, calls: {url: http://127.0.0.1:3000, \
                 secret: a-secret-of-thirty-two-bytes-or-more}}",
                false,
            ),
        ] {
            assert_eq!(hosts(text).allows("anything.example"), allows_any, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_host_is_an_error() {
        for text in
            ["https://a.example", "a.example:80", "a.example/x", "*.a.example", "u@a.example", "a b", "..a", "."]
        {
            let report = Config::from_yaml(&format!("hosts: \"{text}\"\n{OPEN}")).unwrap_err().to_string();
            assert!(
                report.contains("is not the name of a host") && !report.contains("a.example"),
                "{text}: {report}"
            );
        }
    }
}
