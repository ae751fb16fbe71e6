//! The ranges cluster IPs come from: the ServiceCIDR objects.

use std::net::IpAddr;

use corten_meta::{Result, object};
use ipnet::IpNet;

use super::super::rules::Ip;
use crate::options::ListOptions;
use crate::registry::Registry;

/// The object that holds the ranges the server was started with; its first range decides the default family.
const DEFAULT_OBJECT: &str = "kubernetes";
/// What there is before that object: kubeadm's default.
const DEFAULT_RANGE: &str = "10.96.0.0/16";
/// Shares of a range that are handed out last, so that chosen addresses meet no others (KEP-3070).
const STATIC_SHARE: u128 = 16;
const STATIC_MIN: u128 = 16;
const STATIC_MAX: u128 = 256;

/// A range of some object.
struct Offer {
    range: IpNet,
    /// Of the object that holds what the server was started with.
    own: bool,
    /// The object is being deleted.
    leaving: bool,
}

/// In order of preference.
pub(super) struct Ranges(Vec<IpNet>);

impl Ranges {
    pub(super) async fn load(registry: &Registry) -> Result<Self> {
        let mut offers = Vec::new();
        if let Some(resource) = registry.resource("networking.k8s.io", "servicecidrs") {
            for item in registry
                .list(&resource, None, &ListOptions::default())
                .await?
                .items
            {
                let value = item.value()?;
                let texts = value["spec"]["cidrs"].as_array().into_iter().flatten();
                let ranges = texts.filter_map(|text| text.as_str()?.parse().ok());
                offers.extend(ranges.map(|range| Offer {
                    range,
                    own: item.name() == DEFAULT_OBJECT,
                    leaving: object::deletion_timestamp(&value).is_some(),
                }));
            }
        }
        Ok(Self::of_offers(offers))
    }

    /// What the server was started with comes first, and says which families there are.
    fn of_offers(mut offers: Vec<Offer>) -> Self {
        offers.sort_by_key(|offer| !offer.own);
        let family = |range: &IpNet| Ip::of(range.addr());
        let own = offers.iter().filter(|offer| offer.own);
        let families: Vec<Ip> = own.map(|offer| family(&offer.range)).collect();
        let mut ranges: Vec<IpNet> = offers
            .into_iter()
            .filter(|offer| !offer.leaving)
            .map(|offer| offer.range)
            .filter(|range| families.is_empty() || families.contains(&family(range)))
            .collect();
        if ranges.is_empty() {
            ranges.extend(DEFAULT_RANGE.parse::<IpNet>());
        }
        Self(ranges)
    }

    pub(super) fn default_family(&self) -> Ip {
        self.0.first().map_or(Ip::V4, |range| Ip::of(range.addr()))
    }

    pub(super) fn of(&self, family: &str) -> impl Iterator<Item = &IpNet> {
        let family = family.to_owned();
        self.0
            .iter()
            .filter(move |range| Ip::of(range.addr()).family() == family)
    }

    pub(super) fn has(&self, family: &str) -> bool {
        self.of(family).next().is_some()
    }

    pub(super) fn is_dual_stack(&self) -> bool {
        self.has("IPv4") && self.has("IPv6")
    }

    /// Whether an address may be handed out.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| {
            let (first, count) = usable(range);
            let number = number(address);
            Ip::of(address) == Ip::of(range.addr()) && number >= first && number - first < count
        })
    }
}

/// The first address that may be handed out, and how many there are from there.
fn usable(range: &IpNet) -> (u128, u128) {
    let first = number(range.network()).saturating_add(1);
    let last = number(range.broadcast());
    let last = if range.addr().is_ipv4() {
        last.saturating_sub(1)
    } else {
        last
    };
    (
        first,
        last.saturating_sub(first)
            .saturating_add(u128::from(last >= first)),
    )
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(number: u128, family: Ip) -> IpAddr {
    match family {
        Ip::V4 => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        Ip::V6 => IpAddr::V6(number.into()),
    }
}

/// Every address of a range once: from a random one of its upper part on, then the lower part.
pub(super) fn candidates(range: &IpNet) -> impl Iterator<Item = IpAddr> {
    let family = Ip::of(range.addr());
    let (first, count) = usable(range);
    let size = count.saturating_add(1);
    let kept = if size <= STATIC_MIN {
        0
    } else {
        (size / STATIC_SHARE).clamp(STATIC_MIN, STATIC_MAX).min(count)
    };
    let upper = rotated(first + kept, count - kept);
    let lower = rotated(first, kept);
    upper.chain(lower).map(move |number| address(number, family))
}

fn rotated(first: u128, count: u128) -> impl Iterator<Item = u128> {
    let start = u64::try_from(count).unwrap_or(u64::MAX);
    let start = u128::from(corten_stdx::ids::random_below(start));
    (0..count).map(move |step| first + (start + step) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IpNet {
        text.parse().expect("a range")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn every_address_comes_once_and_the_static_part_last() {
        let all: Vec<IpAddr> = candidates(&range("10.96.0.0/24")).collect();
        let mut sorted = all.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((all.len(), sorted.len()), (254, 254));
        assert_eq!(sorted[0], ip("10.96.0.1"));
        assert_eq!(sorted[253], ip("10.96.0.254"));
        assert!(all[..238].iter().all(|other| *other > ip("10.96.0.16")));
        assert_eq!(candidates(&range("fd00::/64")).take(10).count(), 10);
        assert_eq!(candidates(&range("10.0.0.0/30")).count(), 2);
    }

    #[test]
    fn network_and_broadcast_are_not_handed_out() {
        let ranges = Ranges(vec![range("10.96.0.0/24")]);
        for (address, inside) in [
            ("10.96.0.0", false),
            ("10.96.0.1", true),
            ("10.96.0.254", true),
            ("10.96.0.255", false),
        ] {
            assert_eq!(ranges.contains(ip(address)), inside, "{address}");
        }
    }
}
