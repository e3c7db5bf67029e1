//! Ranges of addresses: which overlap, and which part of a subnet is set apart for services without a fixed address.
//!
//! Engines give the lowest free address to whoever starts first, also one that another service has as its own. So
//! where a network has both kinds, and leaves the choice to us, the others are given a part without fixed ones.

use manifest_schema::compose::model::Subnet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses in CIDR notation (RFC 4632, RFC 4291).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first address, as a number.
    first: u128,
    /// How many leading bits all its addresses share.
    prefix: u32,
    is_v6: bool,
}

impl Range {
    /// The range that `text` writes, `10.1.0.0/24`; `None` where it writes none.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (IpAddr, u32) = (address.parse().ok()?, prefix.parse().ok()?);
        let is_v6 = address.is_ipv6();
        let range = Self { first: 0, prefix, is_v6 };
        (prefix <= range.bits()).then(|| Self { first: number(address) & !range.rest(), ..range })
    }

    const fn bits(self) -> u32 {
        if self.is_v6 { 128 } else { 32 }
    }

    /// The bits in which its addresses differ.
    const fn rest(self) -> u128 {
        match 1_u128.checked_shl(self.bits() - self.prefix) {
            Some(size) => size - 1,
            None => u128::MAX,
        }
    }

    const fn last(self) -> u128 {
        self.first | self.rest()
    }

    pub(crate) fn contains(self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_v6 && (self.first..=self.last()).contains(&number(address))
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.last() && other.first <= self.last()
    }

    /// Its address at this distance from the first.
    fn address(self, distance: u128) -> IpAddr {
        let number = self.first | distance;
        match u32::try_from(number) {
            Ok(number) if !self.is_v6 => Ipv4Addr::from(number).into(),
            _ => Ipv6Addr::from(number).into(),
        }
    }

    /// The largest part of it, not all, with room for `wanted` addresses and none of `fixed`.
    fn part_without(self, fixed: &[IpAddr], wanted: u128) -> Option<Self> {
        /// A subnet is cut into at most 256 parts.
        const CUTS: u32 = 8;
        let prefixes = (1..=CUTS).map(|cut| self.prefix + cut).take_while(|prefix| *prefix <= self.bits());
        let parts = prefixes.flat_map(|prefix| {
            let size = Self { prefix, ..self }.rest() + 1;
            let count = 1_u128 << (prefix - self.prefix);
            (0..count).rev().map(move |part| Self { first: self.first + part * size, prefix, ..self })
        });
        // The first and the last address of a subnet are nobody's.
        parts
            .into_iter()
            .find(|part| part.rest() > wanted && !fixed.iter().any(|address| part.contains(*address)))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(0), self.prefix)
    }
}

/// Sets a part of the network's subnet apart for `others` containers without an address of their own, where the network
/// has that subnet alone, the Compose file leaves the part open, and some containers have `fixed` addresses.
pub(crate) fn set_apart(ipam: &mut [Subnet], fixed: &[IpAddr], others: usize) {
    let [only] = ipam else { return };
    let Some(subnet) = only.subnet.as_deref().and_then(Range::of) else { return };
    if only.ip_range.is_some() || others == 0 || !fixed.iter().any(|address| subnet.contains(*address)) {
        return;
    }
    let gateway = match &only.gateway {
        Some(gateway) => gateway.parse().ok(),
        None => Some(subnet.address(1)).filter(|first| !fixed.contains(first)),
    };
    let aux = only.aux_addresses.values().filter_map(|address| address.parse().ok());
    let taken: Vec<IpAddr> = fixed.iter().copied().chain(gateway).chain(aux).collect();
    // While services are replaced, old and new ones are there; the last address of the subnet is nobody's.
    let wanted = u128::try_from(others).unwrap_or(u128::MAX).saturating_mul(2).saturating_add(2);
    if let Some(part) = subnet.part_without(&taken, wanted) {
        only.ip_range = Some(part.to_string());
        only.gateway = only.gateway.take().or_else(|| gateway.map(|gateway| gateway.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::of(text).unwrap()
    }

    #[test]
    fn ranges_overlap_where_they_share_an_address() {
        for (one, other, overlap) in [
            ("10.1.0.0/24", "10.1.0.128/25", true),
            ("10.1.0.0/24", "10.1.1.0/24", false),
            ("10.0.0.0/8", "10.1.0.0/24", true),
            ("0.0.0.0/0", "192.168.1.0/24", true),
            ("10.1.0.7/24", "10.1.0.0/24", true),
            ("fd00::/64", "fd00::1:0/112", true),
            ("::/0", "10.0.0.0/8", false),
        ] {
            assert_eq!(range(one).overlaps(range(other)), overlap, "{one} {other}");
            assert_eq!(range(other).overlaps(range(one)), overlap, "{one} {other}");
        }
        assert!(range("10.1.0.7/24").contains("10.1.0.255".parse().unwrap()));
        assert_eq!(range("10.1.0.7/24").to_string(), "10.1.0.0/24");
        assert_eq!(range("fd00::5/64").to_string(), "fd00::/64");
        for bad in ["", "10.1.0.0", "10.1.0.0/33", "fd00::/129", "x/8", "10.1.0.0/-1"] {
            assert_eq!(Range::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn those_without_an_address_get_a_part_without_fixed_ones() {
        let apart = |subnet: &str, fixed: &[&str], others: usize| {
            let mut ipam = [Subnet { subnet: Some(subnet.to_owned()), ..Subnet::default() }];
            let fixed: Vec<IpAddr> = fixed.iter().map(|address| address.parse().unwrap()).collect();
            set_apart(&mut ipam, &fixed, others);
            let [only] = ipam;
            (only.ip_range, only.gateway)
        };
        let some = |range: &str, gateway: &str| (Some(range.to_owned()), Some(gateway.to_owned()));
        assert_eq!(apart("10.9.8.0/24", &["10.9.8.2"], 1), some("10.9.8.128/25", "10.9.8.1"));
        // The gateway lies in the lower half, so the upper one is cut again.
        assert_eq!(apart("10.9.8.0/24", &["10.9.8.200"], 3), some("10.9.8.128/26", "10.9.8.1"));
        assert_eq!(apart("10.9.8.0/24", &["10.9.8.1"], 1), (Some("10.9.8.128/25".to_owned()), None));
        // Nothing to do, or no room.
        assert_eq!(apart("10.9.8.0/24", &[], 1), (None, None));
        assert_eq!(apart("10.9.8.0/24", &["10.9.8.2"], 0), (None, None));
        assert_eq!(apart("10.9.8.0/24", &["10.7.7.2"], 1), (None, None));
        assert_eq!(apart("10.9.8.0/29", &["10.9.8.2", "10.9.8.5"], 2), (None, None));
    }
}
