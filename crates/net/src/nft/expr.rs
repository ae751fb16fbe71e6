//! Rule expressions: the few that the tables here need.

use super::set::verdict;
use crate::netlink::wire::Attrs;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFPROTO_IPV4: u32 = 2;
const NF_NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 1 << 4;

/// One of the sixteen 4-byte registers. A value longer than four bytes goes on in the next ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reg(pub u32);

impl Reg {
    /// `NFT_REG32_00` is 8.
    fn number(self) -> u32 {
        self.0 + 8
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Return,
    Drop,
    Jump(String),
    Goto(String),
}

/// An expression. Values in registers are as the packet has them (network order) when read from a payload, in
/// host order when read from metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    SourceAddress(Reg),
    DestinationAddress(Reg),
    /// Destination port of TCP, UDP, SCTP.
    DestinationPort(Reg),
    /// One byte.
    Protocol(Reg),
    Mark(Reg),
    SetMark(Reg),
    /// Sixteen bytes.
    InputInterface(Reg),
    OutputInterface(Reg),
    /// Bit set of `NF_CT_STATE_BIT`.
    CtState(Reg),
    /// Bit set of `IPS_*`.
    CtStatus(Reg),
    /// Destination address of the connection's first packet, before translation.
    CtOriginalDestination(Reg),
    /// `RTN_*` type of the packet's destination address.
    DestinationType(Reg),
    Load {
        to: Reg,
        value: Vec<u8>,
    },
    Equal {
        reg: Reg,
        value: Vec<u8>,
    },
    NotEqual {
        reg: Reg,
        value: Vec<u8>,
    },
    /// `reg = (reg & mask) ^ xor`.
    Bits {
        reg: Reg,
        mask: [u8; 4],
        xor: [u8; 4],
    },
    /// A random number below `modulus`.
    Random {
        modulus: u32,
        to: Reg,
    },
    /// Ends the rule where the key that starts at `key` is not in the set.
    InSet {
        set: &'static str,
        key: Reg,
    },
    /// As `InSet`, and loads what the key maps to.
    Map {
        map: &'static str,
        key: Reg,
        to: Reg,
    },
    /// Goes where the key maps to.
    VerdictMap {
        map: &'static str,
        key: Reg,
    },
    /// Adds key and data to a dynamic map, or restarts the element's time.
    Remember {
        map: &'static str,
        key: Reg,
        data: Reg,
        timeout_ms: u64,
    },
    /// Removes a key from a dynamic map. The kernel wants a data register here too, and one that was loaded.
    Forget {
        map: &'static str,
        key: Reg,
        data: Reg,
    },
    /// Translates the destination to the address and port in these registers. Final.
    Dnat {
        address: Reg,
        port: Reg,
    },
    /// Translates the source to the outgoing interface's address. Final.
    Masquerade,
    RejectTcpReset,
    RejectPortUnreachable,
    Then(Verdict),
}

pub fn encode_rule(a: &mut Attrs<'_>, table: &str, chain: &str, expressions: &[Expr]) {
    a.str(NFTA_RULE_TABLE, table);
    a.str(NFTA_RULE_CHAIN, chain);
    a.nest(NFTA_RULE_EXPRESSIONS, |a| {
        for expression in expressions {
            a.nest(NFTA_LIST_ELEM, |a| {
                a.str(NFTA_EXPR_NAME, expression.name());
                a.nest(NFTA_EXPR_DATA, |a| expression.encode(a));
            });
        }
    });
}

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Expr::SourceAddress(_) | Expr::DestinationAddress(_) | Expr::DestinationPort(_) => "payload",
            Expr::Protocol(_) | Expr::Mark(_) | Expr::SetMark(_) => "meta",
            Expr::InputInterface(_) | Expr::OutputInterface(_) => "meta",
            Expr::CtState(_) | Expr::CtStatus(_) | Expr::CtOriginalDestination(_) => "ct",
            Expr::DestinationType(_) => "fib",
            Expr::Load { .. } | Expr::Then(_) => "immediate",
            Expr::Equal { .. } | Expr::NotEqual { .. } => "cmp",
            Expr::Bits { .. } => "bitwise",
            Expr::Random { .. } => "numgen",
            Expr::InSet { .. } | Expr::Map { .. } | Expr::VerdictMap { .. } => "lookup",
            Expr::Remember { .. } | Expr::Forget { .. } => "dynset",
            Expr::Dnat { .. } => "nat",
            Expr::Masquerade => "masq",
            Expr::RejectTcpReset | Expr::RejectPortUnreachable => "reject",
        }
    }

    /// Attribute numbers: linux/netfilter/nf_tables.h.
    fn encode(&self, a: &mut Attrs<'_>) {
        match self {
            Expr::SourceAddress(reg) => payload(a, *reg, 1, 12, 4),
            Expr::DestinationAddress(reg) => payload(a, *reg, 1, 16, 4),
            Expr::DestinationPort(reg) => payload(a, *reg, 2, 2, 2),
            Expr::Mark(reg) => numbers(a, &[(1, reg.number()), (2, 3)]),
            Expr::SetMark(reg) => numbers(a, &[(3, reg.number()), (2, 3)]),
            Expr::InputInterface(reg) => numbers(a, &[(1, reg.number()), (2, 6)]),
            Expr::OutputInterface(reg) => numbers(a, &[(1, reg.number()), (2, 7)]),
            Expr::Protocol(reg) => numbers(a, &[(1, reg.number()), (2, 16)]),
            Expr::CtState(reg) => numbers(a, &[(1, reg.number()), (2, 0)]),
            Expr::CtStatus(reg) => numbers(a, &[(1, reg.number()), (2, 2)]),
            Expr::CtOriginalDestination(reg) => {
                numbers(a, &[(1, reg.number()), (2, 20)]);
                a.u8(3, 0);
            }
            Expr::DestinationType(reg) => numbers(a, &[(1, reg.number()), (2, 3), (3, 2)]),
            Expr::Load { to, value } => {
                a.be32(1, to.number());
                a.nest(2, |a| a.bytes(NFTA_DATA_VALUE, value));
            }
            Expr::Equal { reg, value } => compare(a, *reg, 0, value),
            Expr::NotEqual { reg, value } => compare(a, *reg, 1, value),
            Expr::Bits { reg, mask, xor } => {
                numbers(a, &[(1, reg.number()), (2, reg.number()), (3, 4)]);
                a.nest(4, |a| a.bytes(NFTA_DATA_VALUE, mask));
                a.nest(5, |a| a.bytes(NFTA_DATA_VALUE, xor));
            }
            Expr::Random { modulus, to } => numbers(a, &[(1, to.number()), (2, *modulus), (3, 1)]),
            Expr::InSet { set, key } => lookup(a, set, *key, None),
            Expr::Map { map, key, to } => lookup(a, map, *key, Some(to.number())),
            Expr::VerdictMap { map, key } => lookup(a, map, *key, Some(0)),
            Expr::Remember {
                map,
                key,
                data,
                timeout_ms,
            } => {
                a.str(1, map);
                numbers(a, &[(3, 1), (4, key.number()), (5, data.number())]);
                a.be64(6, *timeout_ms);
            }
            Expr::Forget { map, key, data } => {
                a.str(1, map);
                numbers(a, &[(3, 2), (4, key.number()), (5, data.number())]);
            }
            Expr::Dnat { address, port } => {
                numbers(
                    a,
                    &[
                        (1, 1),
                        (2, NFPROTO_IPV4),
                        (3, address.number()),
                        (5, port.number()),
                    ],
                );
            }
            Expr::Masquerade => a.be32(1, NF_NAT_RANGE_PROTO_RANDOM_FULLY),
            Expr::RejectTcpReset => a.be32(1, 1),
            Expr::RejectPortUnreachable => {
                a.be32(1, 0);
                a.u8(2, 3);
            }
            Expr::Then(v) => {
                a.be32(1, 0);
                a.nest(2, |a| match v {
                    Verdict::Return => verdict(a, -5, None),
                    Verdict::Drop => verdict(a, 0, None),
                    Verdict::Jump(chain) => verdict(a, -3, Some(chain)),
                    Verdict::Goto(chain) => verdict(a, -4, Some(chain)),
                });
            }
        }
    }
}

fn numbers(a: &mut Attrs<'_>, values: &[(u16, u32)]) {
    for (kind, value) in values {
        a.be32(*kind, *value);
    }
}

/// `base` 1 is the network header, 2 the transport header.
fn payload(a: &mut Attrs<'_>, to: Reg, base: u32, offset: u32, len: u32) {
    numbers(a, &[(1, to.number()), (2, base), (3, offset), (4, len)]);
}

fn compare(a: &mut Attrs<'_>, reg: Reg, op: u32, value: &[u8]) {
    numbers(a, &[(1, reg.number()), (2, op)]);
    a.nest(3, |a| a.bytes(NFTA_DATA_VALUE, value));
}

fn lookup(a: &mut Attrs<'_>, set: &str, key: Reg, to: Option<u32>) {
    a.str(1, set);
    a.be32(2, key.number());
    if let Some(to) = to {
        a.be32(3, to);
    }
}
