//! Parts of rules that more than one table has.

use ipnet::Ipv4Net;

use super::{Expr, Reg};

/// Bits of a connection's state (`NF_CT_STATE_BIT` of linux/netfilter/nf_conntrack_common.h).
pub const CT_STATE_INVALID: u32 = 1;
pub const CT_STATE_NEW: u32 = 8;
/// `IPS_DST_NAT`: something has translated the destination.
pub const CT_STATUS_DST_NAT: u32 = 1 << 5;
/// `RTN_LOCAL` of linux/rtnetlink.h: an address of this machine.
const RTN_LOCAL: u32 = 2;

/// Whether an address, loaded to register 0, is in a range (or is not).
pub fn in_range(load: Expr, range: Ipv4Net, wanted: bool) -> [Expr; 3] {
    let reg = Reg(0);
    let value = range.network().octets().to_vec();
    let compare = if wanted {
        Expr::Equal { reg, value }
    } else {
        Expr::NotEqual { reg, value }
    };
    [
        load,
        Expr::Bits {
            reg,
            mask: range.netmask().octets(),
            xor: [0; 4],
        },
        compare,
    ]
}

/// Whether what is loaded to register 0 has one of these bits.
pub fn has_bits(load: Expr, bits: u32) -> [Expr; 3] {
    let reg = Reg(0);
    [
        load,
        Expr::Bits {
            reg,
            mask: bits.to_ne_bytes(),
            xor: [0; 4],
        },
        Expr::NotEqual {
            reg,
            value: vec![0; 4],
        },
    ]
}

/// Whether the destination is an address of this machine (or is not).
pub fn to_this_machine(reg: Reg, wanted: bool) -> [Expr; 2] {
    let value = RTN_LOCAL.to_ne_bytes().to_vec();
    let compare = if wanted {
        Expr::Equal { reg, value }
    } else {
        Expr::NotEqual { reg, value }
    };
    [Expr::DestinationType(reg), compare]
}

/// Masquerades what a pod sends to itself by another address; `set` holds `pod . pod`.
pub fn hairpin(set: &'static str) -> Vec<Expr> {
    let mut rule = has_bits(Expr::CtStatus(Reg(0)), CT_STATUS_DST_NAT).to_vec();
    rule.extend([
        Expr::SourceAddress(Reg(0)),
        Expr::DestinationAddress(Reg(1)),
        Expr::InSet { set, key: Reg(0) },
        Expr::Masquerade,
    ]);
    rule
}

/// Translates the destination to the address and port that a map has for the key in the registers from 0 on, by way of
/// registers 4 and 5.
pub fn translate_by(map: &'static str) -> [Expr; 2] {
    [
        Expr::Map {
            map,
            key: Reg(0),
            to: Reg(4),
        },
        Expr::Dnat {
            address: Reg(4),
            port: Reg(5),
        },
    ]
}
