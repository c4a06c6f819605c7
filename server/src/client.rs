//! A client as limits see it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The prefixes under which a translator (NAT64) presents IPv4 clients: the first 96 bits of their addresses. RFC 6052 and
/// RFC 8215.
const TRANSLATED: [u128; 2] = [0x0064_ff9b << 96, 0x0064_ff9b_0001 << 80];

/// An IPv4 address, or the first 64 bits of an IPv6 address, which belong to one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(IpAddr);

// === impl Client ===

impl Client {
    /// Its address, or the first one of its network.
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// The client with this address. An IPv4 address in IPv6 notation is that address, also behind a translator: all IPv4
    /// clients would be one otherwise.
    pub fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => address.into(),
                None if TRANSLATED.contains(&(address.to_bits() >> 32 << 32)) => {
                    Ipv4Addr::from_bits(address.to_bits() as u32).into()
                }
                None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            },
            address @ IpAddr::V4(_) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| Client::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("::ffff:10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn clients_behind_a_translator_are_several() {
        let of = |text: &str| Client::of(text.parse().unwrap());
        for prefix in ["64:ff9b::", "64:ff9b:1::"] {
            assert_eq!(of(&format!("{prefix}192.0.2.1")), of("192.0.2.1"));
            assert_ne!(of(&format!("{prefix}192.0.2.1")), of(&format!("{prefix}192.0.2.2")));
        }
        assert_eq!(of("64:ff9b:2::1"), of("64:ff9b:2::2"), "another network");
    }
}
