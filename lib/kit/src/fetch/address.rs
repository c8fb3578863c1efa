//! Which addresses lie in the open internet. All others belong to this machine, to the networks around it, or to nobody.
//! From the [IPv4] and [IPv6] special-purpose registries of IANA.
//!
//! [IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry
//! [IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses: its first one, and how many bits they share.
type Block<A> = (A, u32);

const CLOSED_V4: [Block<Ipv4Addr>; 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // shared by carriers
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // this machine
    (Ipv4Addr::new(168, 63, 129, 16), 32), // what serves Azure's machines with their secrets
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // this link, and most clouds' secrets
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocols
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, and broadcast
];

/// The only part of IPv6 that is given to hosts of the internet (RFC 4291).
const OPEN_V6: Block<Ipv6Addr> = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What of it is not.
const CLOSED_V6: [Block<Ipv6Addr>; 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocols: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// What a translator reaches IPv4 by (RFC 6052).
const NAT64: Block<Ipv6Addr> = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether anybody in the internet may have this address.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !CLOSED_V4.iter().any(|block| within_v4(address, block))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // these lead to the IPv4 address inside
    if address.to_ipv4_mapped().is_some() || within_v6(address, &NAT64) {
        return is_public_v4(last_v4(address));
    }
    let is_open = within_v6(address, &OPEN_V6) && !CLOSED_V6.iter().any(|block| within_v6(address, block));
    // ISATAP (RFC 5214): the IPv4 address of a host within a site
    let is_tunnel = matches!(address.segments()[4..6], [0 | 0x200, 0x5efe]);
    is_open && (!is_tunnel || is_public_v4(last_v4(address)))
}

fn last_v4(address: Ipv6Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() as u32)
}

fn within_v4(address: Ipv4Addr, (first, bits): &Block<Ipv4Addr>) -> bool {
    (address.to_bits() ^ first.to_bits()) >> (32 - bits) == 0
}

fn within_v6(address: Ipv6Addr, (first, bits): &Block<Ipv6Addr>) -> bool {
    (address.to_bits() ^ first.to_bits()) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ends of what is closed, as numbers, written down once more and in another way.
    const CLOSED: [(&str, &str); 16] = [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("168.63.129.16", "168.63.129.16"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "239.255.255.255"),
        ("240.0.0.0", "255.255.255.255"),
    ];

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn is_closed(address: Ipv4Addr) -> bool {
        CLOSED.iter().any(|(first, last)| (v4(first)..=v4(last)).contains(&address))
    }

    /// Any IPv4 address, half of them in or beside what is closed.
    fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
        let near = (0..CLOSED.len(), any::<bool>(), -2_i64..=2).prop_map(|(index, at_end, by)| {
            let (first, last) = CLOSED[index];
            Ipv4Addr::from_bits((i64::from(v4(if at_end { last } else { first }).to_bits()) + by) as u32)
        });
        prop_oneof![any::<u32>().prop_map(Ipv4Addr::from_bits), near]
    }

    fn inside(prefix: u128, address: Ipv4Addr, shift: u32) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(prefix | u128::from(address.to_bits()) << shift))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn ipv4_is_open_exactly_outside_of_what_is_closed(address in any_v4()) {
            prop_assert_eq!(is_public(address.into()), !is_closed(address), "{}", address);
        }

        #[test]
        fn a_disguise_changes_nothing(address in any_v4()) {
            let open = !is_closed(address);
            // mapped, and through a translator
            prop_assert_eq!(is_public(inside(0xffff << 32, address, 0)), open);
            prop_assert_eq!(is_public(inside(0x64_ff9b << 96, address, 0)), open);
            // ISATAP within a network that is open
            prop_assert_eq!(is_public(inside((0x2a00_1450 << 96) | (0x5efe << 32), address, 0)), open);
            prop_assert_eq!(is_public(inside((0x2a00_1450 << 96) | (0x200_5efe << 32), address, 0)), open);
            // 6to4, Teredo (its server, and the client, whose bits are turned), the old "compatible" form, local NAT64
            prop_assert!(!is_public(inside(0x2002 << 112, address, 80)));
            prop_assert!(!is_public(inside(0x2001_0000 << 96, address, 64)));
            prop_assert!(!is_public(inside(0x2001_0000 << 96, Ipv4Addr::from_bits(!address.to_bits()), 0)));
            prop_assert!(!is_public(inside(0, address, 0)));
            prop_assert!(!is_public(inside((0x64_ff9b << 96) | (1 << 80), address, 0)));
        }

        #[test]
        fn ipv6_is_open_only_where_hosts_live(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            let first = address.segments()[0];
            if is_public(address.into()) {
                let is_translated = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
                prop_assert!((0x2000..=0x3fff).contains(&first) || address.to_ipv4_mapped().is_some() || is_translated);
                prop_assert!(first != 0x2002 && !(first == 0x3fff && address.segments()[1] < 0x1000));
                prop_assert!(first != 0x2001 || address.segments()[1] >= 0x200 && address.segments()[1] != 0xdb8);
            }
        }
    }

    #[test]
    fn known_addresses() {
        for closed in [
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "2a00:1450::5efe:10.0.0.1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(closed.parse().unwrap()), "{closed}");
        }
        for open in ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::5efe"] {
            assert!(is_public(open.parse().unwrap()), "{open}");
        }
    }
}
