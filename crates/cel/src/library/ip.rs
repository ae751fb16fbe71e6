//! Addresses and networks.

use super::{Answer, Context, failed};
use crate::errors::EvalError;
use crate::value::Value;
use std::net::IpAddr;

/// A network, with the address as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Cidr {
    fn masked(self) -> Self {
        let address = ipnet::IpNet::new(self.address, self.prefix).map_or(self.address, |net| net.network());
        Self {
            address,
            prefix: self.prefix,
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        ipnet::IpNet::new(self.address, self.prefix).is_ok_and(|net| net.contains(&address))
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let shown = super::convert::quoted(text);
    let (plain, zone) = text.split_once('%').unwrap_or((text, ""));
    let Ok(address) = plain.parse::<IpAddr>() else {
        let why = format!("ParseAddr({shown}): unable to parse IP");
        return Err(format!(
            "IP Address {shown} parse error during conversion from string: {why}"
        ));
    };
    if !zone.is_empty() {
        return Err(format!("IP address {shown} with zone value is not allowed"));
    }
    if is_mapped(address) {
        return Err(format!("IPv4-mapped IPv6 address {shown} is not allowed"));
    }
    Ok(address)
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let shown = super::convert::quoted(text);
    let broken = |why: &str| {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({shown}): {why}"
        )
    };
    let Some((address, prefix)) = text.rsplit_once('/') else {
        return Err(broken("no '/'"));
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(broken(&format!(
            "ParseAddr({}): unable to parse IP",
            super::convert::quoted(address)
        )));
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let plain = prefix.bytes().all(|b| b.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    let Some(prefix) = prefix.parse::<u8>().ok().filter(|_| plain) else {
        return Err(broken(&format!(
            "bad bits after slash: {}",
            super::convert::quoted(prefix)
        )));
    };
    if prefix > bits {
        return Err(broken("prefix length out of range"));
    }
    if is_mapped(address) {
        return Err(format!("IPv4-mapped IPv6 address {shown} is not allowed"));
    }
    Ok(Cidr { address, prefix })
}

fn cidr_value(text: &str) -> Result<Cidr, EvalError> {
    parse_cidr(text).map_err(|why| {
        EvalError::Failed(format!(
            "network address parse error during conversion from string: {why}"
        ))
    })
}

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match (context.function, args) {
        ("ip", [Value::String(text)]) => parse_ip(text).map_or_else(failed, |ip| Ok(Value::Ip(ip))),
        ("ip", [Value::Cidr(cidr)]) => Ok(Value::Ip(cidr.address)),
        ("isIP", [Value::String(text)]) => Ok(Value::Bool(parse_ip(text).is_ok())),
        ("ip.isCanonical", [Value::String(text)]) => {
            let ip = parse_ip(text).map_err(EvalError::Failed)?;
            Ok(Value::Bool(ip.to_string() == **text))
        }
        ("cidr", [Value::String(text)]) => cidr_value(text).map(Value::Cidr),
        ("isCIDR", [Value::String(text)]) => Ok(Value::Bool(parse_cidr(text).is_ok())),
        ("family", [Value::Ip(ip)]) => Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
        (property, [Value::Ip(ip)]) => property_of(context, property, *ip),
        ("prefixLength", [Value::Cidr(cidr)]) => Ok(Value::Int(i64::from(cidr.prefix))),
        ("masked", [Value::Cidr(cidr)]) => Ok(Value::Cidr(cidr.masked())),
        ("containsIP", [Value::Cidr(cidr), Value::Ip(ip)]) => Ok(Value::Bool(cidr.contains(*ip))),
        ("containsIP", [Value::Cidr(cidr), Value::String(text)]) => {
            let ip = parse_ip(text).map_err(|_| EvalError::failed("no such overload"))?;
            Ok(Value::Bool(cidr.contains(ip)))
        }
        ("containsCIDR", [Value::Cidr(cidr), Value::Cidr(other)]) => Ok(contains_cidr(*cidr, *other)),
        ("containsCIDR", [Value::Cidr(cidr), Value::String(text)]) => {
            Ok(contains_cidr(*cidr, cidr_value(text)?))
        }
        _ => context.no_overload(args),
    }
}

fn contains_cidr<'a>(cidr: Cidr, other: Cidr) -> Value<'a> {
    Value::Bool(cidr.prefix <= other.prefix && cidr.contains(other.address))
}

fn property_of<'a>(context: &Context<'_>, property: &str, ip: IpAddr) -> Answer<'a> {
    let link_local_multicast = match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    let link_local_unicast = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    Ok(Value::Bool(match property {
        "isUnspecified" => ip.is_unspecified(),
        "isLoopback" => ip.is_loopback(),
        "isLinkLocalMulticast" => link_local_multicast,
        "isLinkLocalUnicast" => link_local_unicast,
        "isGlobalUnicast" => {
            !(ip.is_unspecified() || broadcast || ip.is_loopback() || ip.is_multicast() || link_local_unicast)
        }
        _ => return context.no_overload(&[Value::Ip(ip)]),
    }))
}
