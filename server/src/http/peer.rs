//! The address of a request's client: the peer of its socket, or what a trusted proxy reports.
//!
//! Owns the reading of `X-Forwarded-For` and `Forwarded`. Only proxies in `trusted_proxies` are trusted. Each proxy
//! appends the address of its own peer. So trusted proxies wrote the right-most addresses, and a client may have
//! invented everything to the left of the first address that is not a trusted proxy.
//!
//! # Source
//! RFC 7239, sections 4 to 6.

use crate::config::proxies::TrustedProxies;
use axum::http::{Extensions, HeaderMap, HeaderName, header};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The source of a connection, as its listener knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The peer of a TCP connection.
    Tcp(IpAddr),
    /// A TCP connection of a load balancer, which names this client by the PROXY protocol.
    Proxied(IpAddr),
    /// A TCP connection of this load balancer, which does not name the client. Headers are the client's own, so they do
    /// not count.
    Unnamed(IpAddr),
    /// A connection of this client, which the application has handed over. It is never one of a program on this machine.
    HandedOver(IpAddr),
    /// A program of this user of the operating system, through the publish socket.
    PublishSocket(u32),
}

// === impl Source ===

impl Source {
    /// The address of the client, before any header is read.
    pub(super) fn address(self) -> IpAddr {
        match self {
            Self::Tcp(peer) | Self::Proxied(peer) | Self::Unnamed(peer) | Self::HandedOver(peer) => peer,
            Self::PublishSocket(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Whether the socket is that of a trusted proxy.
    pub(super) fn is_proxy(self, trusted: &TrustedProxies) -> bool {
        match self {
            Self::Tcp(peer) | Self::Unnamed(peer) | Self::HandedOver(peer) => trusted.contains(peer),
            Self::Proxied(_) => true,
            Self::PublishSocket(_) => false,
        }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers with which a proxy shows that the request is not its own, in addition to `X-Forwarded-…`.
const FORWARDING: [&str; 12] = [
    "cdn-loop",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-proxyuser-ip",
    "x-real-ip",
];
/// The beginning of the other ones.
const X_FORWARDED: &str = "x-forwarded-";

/// The address of the client, as an extension of a request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr {
    address: IpAddr,
    /// Whether the client is on this machine, and no proxy that is known forwards the request.
    is_on_this_machine: bool,
    /// Whether it may be a program, because the application has not handed the connection over.
    may_be_program: bool,
    /// The user of the publish socket.
    publish_socket: Option<u32>,
    /// Whether the listener lets programs on this machine publish without a key.
    publishes_locally: bool,
}

// === impl PeerAddr ===

impl PeerAddr {
    /// The client of a request from this source.
    pub(super) fn new(
        source: Source,
        publishes_locally: bool,
        headers: &HeaderMap,
        trusted: &TrustedProxies,
    ) -> Self {
        let socket = source.address();
        let (may_be_here, publish_socket) = match source {
            Source::Tcp(peer) | Source::HandedOver(peer) => (peer.is_loopback(), None),
            Source::Proxied(_) | Source::Unnamed(_) => (false, None),
            Source::PublishSocket(user) => (true, Some(user)),
        };
        let may_be_program = !matches!(source, Source::HandedOver(_));
        let may_report = !matches!(source, Source::Unnamed(_) | Source::PublishSocket(_));
        if may_report && !trusted.is_empty() && trusted.contains(socket) {
            let address = reported(socket, headers, trusted);
            return Self { address, is_on_this_machine: false, may_be_program, publish_socket, publishes_locally };
        }
        let shows_proxy =
            |name: &HeaderName| name.as_str().starts_with(X_FORWARDED) || FORWARDING.contains(&name.as_str());
        let is_on_this_machine = may_be_here && !headers.keys().any(shows_proxy);
        Self { address: socket, is_on_this_machine, may_be_program, publish_socket, publishes_locally }
    }

    /// The address of the client of a request.
    pub fn of(extensions: &Extensions) -> IpAddr {
        extensions.get::<Self>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address)
    }

    /// Whether a program on this machine may have sent the request. A proxy that adds no header looks the same.
    pub(super) fn is_local(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some_and(|peer| peer.is_on_this_machine && peer.may_be_program)
    }

    /// Whether a browser or program on this machine sent the request. A proxy that adds no header looks the same.
    pub(super) fn is_on_this_machine(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some_and(|peer| peer.is_on_this_machine)
    }

    /// Whether the listener of the request lets programs on this machine publish without a key.
    pub(super) fn publishes_locally(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some_and(|peer| peer.publishes_locally)
    }

    /// The user that sent the request through the publish socket.
    pub(super) fn publish_socket(extensions: &Extensions) -> Option<u32> {
        extensions.get::<Self>()?.publish_socket
    }
}

/// The address that trusted proxies report. If the two headers disagree, the proxy sets one of them and passes the other
/// one on as the client invented it; then only the proxy is known.
fn reported(socket: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let lines = |name: HeaderName| -> Vec<&str> {
        headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default()).collect()
    };
    let (plain, standard) = (lines(X_FORWARDED_FOR), lines(header::FORWARDED));
    let plain = nearest(socket, plain.iter().flat_map(|line| line.split(',')).map(parse_address), trusted);
    let standard = nearest(socket, standard.iter().flat_map(|line| line.split(',')).map(forwarded_for), trusted);
    match (plain, standard) {
        (Some(one), Some(other)) if one != other => socket,
        (one, other) => one.or(other).unwrap_or(socket),
    }
}

/// The right-most address that is not a trusted proxy. Returns `None` if there is no address at all. An entry that is
/// not an address ends the search: no trusted proxy wrote anything to its left.
fn nearest<I>(socket: IpAddr, hops: I, trusted: &TrustedProxies) -> Option<IpAddr>
where
    I: Iterator<Item = Option<IpAddr>>,
{
    let hops: Vec<Option<IpAddr>> = hops.collect();
    let mut nearest = (!hops.is_empty()).then_some(socket)?;
    for hop in hops.into_iter().rev() {
        let Some(hop) = hop else { return Some(nearest) };
        nearest = hop;
        if !trusted.contains(hop) {
            return Some(nearest);
        }
    }
    Some(nearest)
}

/// Parses an address with or without a port and brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

/// Parses the parameter `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut values =
        pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value.trim());
    let value = values.next()?;
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    parse_address(quoted.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use axum::http::HeaderValue;

    fn trusted() -> TrustedProxies {
        let text = "trusted_proxies: [127.0.0.1, 10.0.0.0/8, \"fd00::/8\"]\n/a: {open: true}\n";
        Config::from_yaml(text).unwrap_or_else(|report| panic!("{report}")).trusted_proxies
    }

    fn peer(socket: &str, headers: &[(&'static str, &str)]) -> PeerAddr {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        PeerAddr::new(Source::Tcp(socket.parse().unwrap()), false, &map, &trusted())
    }

    #[test]
    fn the_right_most_address_that_is_not_a_trusted_proxy_counts() {
        for (headers, client) in [
            (&[("x-forwarded-for", "203.0.113.9")][..], "203.0.113.9"),
            (&[("x-forwarded-for", "198.51.100.1, 203.0.113.9")], "203.0.113.9"),
            (&[("x-forwarded-for", "198.51.100.1, 203.0.113.9, 10.1.2.3,10.4.5.6")], "203.0.113.9"),
            (&[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
            (&[("x-forwarded-for", "203.0.113.9:4711")], "203.0.113.9"),
            (&[("x-forwarded-for", "[2001:db8::1]:4711")], "2001:db8::1"),
            (&[("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
            (&[("x-forwarded-for", "::ffff:203.0.113.9")], "203.0.113.9"),
            (&[("x-forwarded-for", "10.1.2.3, 10.4.5.6")], "10.1.2.3"),
            (&[("forwarded", "for=203.0.113.9")], "203.0.113.9"),
            (
                &[("forwarded", "for=198.51.100.1, For=\"[2001:db8::1]:4711\";proto=https;by=10.1.1.1")],
                "2001:db8::1",
            ),
            (&[("forwarded", "proto=https;for=203.0.113.9, for=10.1.2.3")], "203.0.113.9"),
            (&[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
        ] {
            assert_eq!(peer("127.0.0.1", headers).address, client.parse::<IpAddr>().unwrap(), "{headers:?}");
        }
    }

    #[test]
    fn nothing_left_of_an_unknown_hop_is_believed() {
        for headers in [
            &[][..],
            &[("x-forwarded-for", "")],
            &[("x-forwarded-for", "203.0.113.9, unknown")],
            &[("x-forwarded-for", "203.0.113.9,")],
            &[("x-forwarded-for", "203.0.113.9, localhost")],
            &[("x-forwarded-for", "203.0.113.\u{e9}")],
            &[("forwarded", "for=203.0.113.9, for=_hidden")],
            &[("forwarded", "for=203.0.113.9, proto=https")],
            &[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.1")],
            &[("x-real-ip", "203.0.113.9")],
        ] {
            assert_eq!(peer("127.0.0.1", headers).address, IpAddr::from([127, 0, 0, 1]), "{headers:?}");
        }
        let hidden = peer("127.0.0.1", &[("x-forwarded-for", "203.0.113.9, unknown, 10.1.2.3")]);
        assert_eq!(hidden.address, IpAddr::from([10, 1, 2, 3]));
    }

    #[test]
    fn the_headers_of_other_peers_do_not_count() {
        for socket in ["203.0.113.5", "127.0.0.2", "::1"] {
            let peer = peer(socket, &[("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")]);
            assert_eq!(peer.address, socket.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn a_request_of_a_proxy_is_not_local() {
        assert!(peer("::1", &[]).is_on_this_machine);
        assert!(peer("127.0.0.2", &[("host", "localhost")]).is_on_this_machine);
        assert!(!peer("127.0.0.1", &[]).is_on_this_machine, "it is a trusted proxy");
        assert!(!peer("203.0.113.5", &[]).is_on_this_machine);
        let own = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-ssl", "x-forwarded-anything"];
        for name in FORWARDING.into_iter().chain(own) {
            assert!(!peer("::1", &[(name, "127.0.0.1")]).is_on_this_machine, "{name}");
        }
    }

    #[test]
    fn headers_do_not_count_if_the_load_balancer_names_no_client() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.5"));
        let balancer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = |source| PeerAddr::new(source, false, &headers, &trusted()).address;
        assert_eq!(address(Source::Tcp(balancer)).to_string(), "203.0.113.5");
        assert_eq!(address(Source::Unnamed(balancer)), balancer);
    }

    #[test]
    fn only_direct_connections_and_the_publish_socket_are_local() {
        let (none, local) = (HeaderMap::new(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let is_local = |source, headers: &HeaderMap, trusted: &TrustedProxies| {
            let mut extensions = Extensions::new();
            extensions.insert(PeerAddr::new(source, false, headers, trusted));
            (PeerAddr::is_local(&extensions), PeerAddr::is_on_this_machine(&extensions))
        };
        let untrusted = TrustedProxies::default();
        assert_eq!(is_local(Source::Tcp(local), &none, &untrusted), (true, true));
        assert_eq!(is_local(Source::Proxied(local), &none, &untrusted), (false, false));
        assert_eq!(is_local(Source::Unnamed(local), &none, &untrusted), (false, false));
        assert_eq!(is_local(Source::PublishSocket(7), &none, &trusted()), (true, true));
        assert_eq!(PeerAddr::new(Source::PublishSocket(7), true, &none, &trusted()).publish_socket, Some(7));
        // A browser on this machine, but no program.
        assert_eq!(is_local(Source::HandedOver(local), &none, &untrusted), (false, true));
        assert_eq!(is_local(Source::HandedOver("203.0.113.9".parse().unwrap()), &none, &untrusted), (false, false));
        let mut forwarded = HeaderMap::new();
        forwarded.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        assert_eq!(is_local(Source::PublishSocket(7), &forwarded, &untrusted), (false, false));
        assert_eq!(is_local(Source::HandedOver(local), &forwarded, &untrusted), (false, false));
    }
}
