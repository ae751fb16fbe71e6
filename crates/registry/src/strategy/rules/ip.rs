//! IP addresses and ranges in the two strictnesses upstream has (`apimachinery/pkg/util/validation/ip.go`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{At, ErrorList};

/// Family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::strategy) enum Ip {
    V4,
    V6,
}

impl Ip {
    pub(in crate::strategy) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// As `spec.ipFamilies` names it.
    pub(in crate::strategy) fn family(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Go's `ParseIPSloppy`: leading zeros are decimal, IPv4 in IPv6 is IPv4.
pub(in crate::strategy) fn parse_ip_sloppy(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let address: Ipv6Addr = text.parse().ok()?;
        return Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4));
    }
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()))?;
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// An address in a field that predates strict rules; what stood there before (`old`) may stay.
pub(in crate::strategy) fn ip_legacy(at: &At<'_, '_>, old: &[&str], errors: &mut ErrorList) {
    if !old.contains(&at.str()) {
        parsed(at, errors);
    }
}

/// An address in canonical form.
pub(in crate::strategy) fn ip_strict(at: &At<'_, '_>, errors: &mut ErrorList) {
    let before = errors.len();
    let address = parsed(at, errors);
    if let Some(address) = address.filter(|_| errors.len() == before) {
        let canonical = address.to_string();
        if canonical != at.str() {
            at.invalid(
                errors,
                &format!("must be in canonical form ({})", corten_meta::quote(&canonical)),
            );
        }
    }
}

fn parsed(at: &At<'_, '_>, errors: &mut ErrorList) -> Option<IpAddr> {
    let text = at.str();
    let Some(address) = parse_ip_sloppy(text) else {
        at.invalid(
            errors,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
        return None;
    };
    match text.parse::<IpAddr>() {
        Err(_) => at.invalid(errors, "must not have leading 0s"),
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            at.invalid(errors, "must not be an IPv4-mapped IPv6 address");
        }
        Ok(_) => {}
    }
    Some(address)
}

/// A range; `strict` wants it in canonical form too.
pub(in crate::strategy) fn cidr(at: &At<'_, '_>, strict: bool, errors: &mut ErrorList) {
    let text = at.str();
    let split = text
        .split_once('/')
        .and_then(|(ip, length)| Some((parse_ip_sloppy(ip)?, ip, length)));
    let Some((address, ip, length)) = split.filter(|(address, _, length)| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        length.bytes().all(|c| c.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|length| length <= bits)
    }) else {
        return at.invalid(
            errors,
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
    };
    let leading = ip.parse::<IpAddr>().is_err() || (length.len() > 1 && length.starts_with('0'));
    let mapped = ip
        .parse::<Ipv6Addr>()
        .is_ok_and(|v6| v6.to_ipv4_mapped().is_some());
    let net = ipnet::IpNet::new(address, length.parse().unwrap_or(0)).map(|net| net.trunc());
    let Ok(net) = net else { return };
    if leading {
        at.invalid(errors, "must not have leading 0s in IP or prefix length");
    } else if mapped {
        at.invalid(errors, "must not have an IPv4-mapped IPv6 address");
    } else if net.addr() != address {
        at.invalid(errors, "must not have bits set beyond the prefix length");
    } else if strict && net.to_string() != text {
        at.invalid(
            errors,
            &format!(
                "must be in canonical form ({})",
                corten_meta::quote(&net.to_string())
            ),
        );
    }
}

/// Whether both families are there.
pub(in crate::strategy) fn is_dual_stack<'a>(addresses: impl Iterator<Item = &'a str>) -> bool {
    let families: Vec<Ip> = addresses.filter_map(parse_ip_sloppy).map(Ip::of).collect();
    families.contains(&Ip::V4) && families.contains(&Ip::V6)
}

/// An address that traffic can be sent to.
pub(in crate::strategy) fn endpoint_ip(at: &At<'_, '_>, errors: &mut ErrorList) {
    let Some(address) = parse_ip_sloppy(at.str()) else {
        return at.invalid(errors, "must be a valid IP address");
    };
    if address.is_unspecified() {
        at.invalid(errors, &format!("may not be unspecified ({})", at.str()));
    }
    if address.is_loopback() {
        at.invalid(errors, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (unicast, multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if unicast {
        at.invalid(
            errors,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        );
    }
    if multicast {
        let detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        at.invalid(errors, detail);
    }
}

/// Forms of an address that other software reads differently.
pub(in crate::strategy) fn ip_warnings(at: &At<'_, '_>) -> Vec<String> {
    let text = at.str();
    let Some(sloppy) = parse_ip_sloppy(text) else {
        return Vec::new();
    };
    let (path, quoted) = (at.path(), corten_meta::quote(text));
    let canonical = corten_meta::quote(&sloppy.to_string());
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_none() && v6.to_string() != text => vec![format!(
            "{path}: IPv6 address {quoted} should be in RFC 5952 canonical format ({canonical})"
        )],
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_none() => Vec::new(),
        Ok(IpAddr::V4(_)) => Vec::new(),
        _ => vec![format!(
            "{path}: non-standard IP address {quoted} is invalid: use {canonical}"
        )],
    }
}

/// Forms of a range that other software reads differently.
pub(in crate::strategy) fn cidr_warnings(at: &At<'_, '_>) -> Vec<String> {
    let text = at.str();
    let parts = text
        .split_once('/')
        .and_then(|(ip, length)| Some((parse_ip_sloppy(ip)?, ip, length.parse::<u8>().ok()?)));
    let Some((address, ip, length)) = parts else {
        return Vec::new();
    };
    let Ok(net) = ipnet::IpNet::new(address, length).map(|net| net.trunc()) else {
        return Vec::new();
    };
    let (path, quoted) = (at.path(), corten_meta::quote(text));
    let canonical = corten_meta::quote(&net.to_string());
    let mut warnings = Vec::new();
    if net.addr() != address {
        let single = format!("{address}/{}", net.max_prefix_len());
        warnings.push(format!(
            "{path}: CIDR value {quoted} is ambiguous in this context (should be {canonical} or {}?)",
            corten_meta::quote(&single)
        ));
    }
    let strict = ip.parse::<IpAddr>().is_ok_and(|ip| ip == address) && text.ends_with(&format!("/{length}"));
    if !strict {
        warnings.push(format!(
            "{path}: non-standard CIDR value {quoted} is invalid: use {canonical}"
        ));
    }
    if warnings.is_empty() && address.is_ipv6() && net.to_string() != text {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {quoted} should be in RFC 5952 canonical format ({canonical})"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(check: impl Fn(&At<'_, '_>, &mut ErrorList), text: &str) -> Vec<String> {
        let value = json!(text);
        let mut errors = ErrorList::new();
        check(&At::top("ip", &value), &mut errors);
        errors.iter().map(|error| error.detail.clone()).collect()
    }

    #[test]
    fn addresses_and_ranges_are_judged_as_upstream_does() {
        let legacy = |at: &At<'_, '_>, errors: &mut ErrorList| ip_legacy(at, &[], errors);
        assert!(messages(legacy, "10.0.0.1").is_empty() && messages(legacy, "FE80::1").is_empty());
        assert_eq!(messages(legacy, "010.0.0.1"), ["must not have leading 0s"]);
        assert_eq!(
            messages(legacy, "::ffff:1.2.3.4"),
            ["must not be an IPv4-mapped IPv6 address"]
        );
        assert_eq!(
            messages(ip_strict, "FE80::1"),
            ["must be in canonical form (\"fe80::1\")"]
        );
        let lax = |at: &At<'_, '_>, errors: &mut ErrorList| cidr(at, false, errors);
        assert!(messages(lax, "10.0.0.0/8").is_empty());
        assert_eq!(
            messages(lax, "10.0.0.1/8"),
            ["must not have bits set beyond the prefix length"]
        );
        assert_eq!(messages(lax, "10.0.0.0/33").len(), 1);
    }
}
