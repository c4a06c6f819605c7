//! `trusted_proxies`: the proxies whose forwarding headers count.

use super::reader::MapReader;
use super::report::Report;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks of trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// A network, e.g. `10.0.0.0/8`. A single address has the longest prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

// === impl TrustedProxies ===

impl TrustedProxies {
    /// Whether no proxy is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the peer with this address is a trusted proxy.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    /// Reads `trusted_proxies`.
    pub(super) fn read(top: &mut MapReader<'_>, report: &mut Report) -> Self {
        let mut all = Vec::new();
        for (text, location) in top.texts("trusted_proxies", report) {
            match Network::parse(&text) {
                Ok(network) => {
                    if network.prefix == 0 {
                        let what = "trusted_proxies has an entry that trusts every client to name its own address";
                        report.warn(location, what, "write the network of your proxies");
                    }
                    all.push(network);
                }
                Err(hint) => report.error(location, "trusted_proxies has an entry that is not a network", hint),
            }
        }
        Self(all)
    }
}

// === impl Network ===

impl Network {
    /// Returns what to write instead if `text` is not a network.
    fn parse(text: &str) -> Result<Self, String> {
        let example = || "write an IP address or a network, like 127.0.0.1 or 10.0.0.0/8".to_owned();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| example())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => super::values::parse_number(prefix)
                .and_then(|prefix| u8::try_from(prefix).ok())
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(example)?,
        };
        let network = Self { address: mask(address, prefix), prefix };
        if network.address != address {
            return Err(format!("write {network}, or the address without a prefix"));
        }
        Ok(network)
    }

    fn contains(self, peer: IpAddr) -> bool {
        // An IPv6 socket shows IPv4 peers as mapped addresses.
        let peer = if self.address.is_ipv4() { peer.to_canonical() } else { peer };
        peer.is_ipv4() == self.address.is_ipv4() && mask(peer, self.prefix) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn proxies(list: &str) -> TrustedProxies {
        let text = format!("trusted_proxies: {list}\n/a: {{open: true}}\n");
        Config::from_yaml(&text).unwrap_or_else(|report| panic!("{report}")).trusted_proxies
    }

    #[test]
    fn a_peer_is_trusted_if_it_is_in_a_listed_network() {
        let some = proxies("[127.0.0.1, 10.0.0.0/8, \"2001:db8::/32\", \"::1\"]");
        for (peer, trusted) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:11.1.2.3", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(some.contains(peer.parse().unwrap()), trusted, "{peer}");
        }
        assert!(proxies("0.0.0.0/0").contains("203.0.113.9".parse().unwrap()));
        assert!(!proxies("[]").contains("127.0.0.1".parse().unwrap()));
        assert!(proxies("[]").is_empty());
    }

    #[test]
    fn what_is_not_a_network_is_an_error_with_a_hint() {
        for (list, hint) in [
            ("localhost", "write an IP address or a network"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("10.0.0.0/33", "write an IP address or a network"),
            ("10.0.0.0/08", "write an IP address or a network"),
            ("10.0.0", "write an IP address or a network"),
            ("\"::1/129\"", "write an IP address or a network"),
            ("\"*\"", "write an IP address or a network"),
            ("[\"\"]", "empty entry"),
        ] {
            let report = Config::from_yaml(&format!("trusted_proxies: {list}\n")).unwrap_err().to_string();
            assert!(report.contains(hint), "{list}: {report}");
        }
    }
}
