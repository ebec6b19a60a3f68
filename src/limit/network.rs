//! Whose address an address is: which of them share a budget.

use std::net::{IpAddr, Ipv6Addr};

/// How much of an IPv6 address tells clients apart. A household or a phone gets a whole network of them and may use a
/// new one for each request, so all of that network are one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix(u128);

impl Prefix {
    /// So many bits, at most 128.
    pub(super) fn of_bits(bits: u8) -> Self {
        Self(u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0))
    }
}

/// Those who share a budget: one IPv4 address, in either notation, or one network of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    pub(super) fn of(ip: IpAddr, prefix: Prefix) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & prefix.0).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str, bits: u8) -> bool {
        let network = |text: &str| Network::of(text.parse().unwrap(), Prefix::of_bits(bits));
        network(one) == network(other)
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_and_those_beside_it_are_not() {
        for (bits, last_inside, first_outside) in [
            (128, "2001:db8::", "2001:db8::1"),
            (64, "2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8:0:1::"),
            (60, "2001:db8:0:f:ffff:ffff:ffff:ffff", "2001:db8:0:10::"),
            (56, "2001:db8:0:ff:ffff:ffff:ffff:ffff", "2001:db8:0:100::"),
            (16, "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::"),
        ] {
            assert!(same("2001:db8::", last_inside, bits), "/{bits}");
            assert!(!same("2001:db8::", first_outside, bits), "/{bits}");
        }
        assert!(same("::", "ffff::", 0), "of no bits all is one");
    }

    #[test]
    fn an_ipv4_address_is_one_in_either_notation_and_no_network() {
        assert!(same("192.0.2.1", "::ffff:192.0.2.1", 64));
        assert!(!same("192.0.2.1", "192.0.2.2", 16));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2", 64), "not all mapped addresses are one network");
        assert!(!same("192.0.2.1", "::192.0.2.1", 128), "what only looks like it is IPv6");
    }
}
