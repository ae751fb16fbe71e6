//! Kinds of load balancing. A map gives each front end the number of its kind, and each kind in use has one chain:
//! their count depends on how many different endpoint counts there are, not on how many services.

use crate::nft::parts::translate_by;
use crate::nft::{Expr, Reg};

/// Endpoints of one service port that are used; more are ignored. Twelve bits of a kind's number.
pub const MAX_BACKENDS: usize = 4095;
/// Bit of the packet mark that asks for masquerading; the same bit as upstream's, with the same meaning.
pub const MASQUERADE_MARK: u32 = 0x4000;
/// Elements of the two affinity maps. When one is full, new clients are balanced without affinity.
pub const MAX_AFFINITY_CLIENTS: u32 = 262_144;

/// Which pair of maps holds a kind's backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    Main,
    Local,
}

impl List {
    pub const ALL: [List; 2] = [List::Main, List::Local];

    /// Key and number of a backend, to the backend.
    pub fn endpoints(self) -> &'static str {
        match self {
            List::Main => "ep",
            List::Local => "local-ep",
        }
    }

    /// The same for services with affinity, with a word before the backend.
    pub fn sticky_endpoints(self) -> &'static str {
        match self {
            List::Main => "sticky-ep",
            List::Local => "local-sticky-ep",
        }
    }

    /// Client and key to the backend it got last.
    pub fn affinity(self) -> &'static str {
        match self {
            List::Main => "affinity",
            List::Local => "local-affinity",
        }
    }

    /// Key and backend, while the backend is there.
    pub fn live(self) -> &'static str {
        match self {
            List::Main => "live",
            List::Local => "local-live",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// There are endpoints, but none that the policy allows on this node.
    Drop,
    Balance {
        list: List,
        masquerade: bool,
        node_port: bool,
        count: u32,
        affinity_timeout_s: Option<u32>,
    },
}

impl Kind {
    /// The number in the maps: count (12 bits), timeout (17), list, masquerade, node port (1 each). 0 is Drop.
    pub fn number(self) -> u32 {
        match self {
            Kind::Drop => 0,
            Kind::Balance {
                list,
                masquerade,
                node_port,
                count,
                affinity_timeout_s,
            } => {
                count
                    | affinity_timeout_s.unwrap_or(0) << 12
                    | u32::from(list == List::Local) << 29
                    | u32::from(masquerade) << 30
                    | u32::from(node_port) << 31
            }
        }
    }

    /// The affinity's list, where there is affinity.
    pub fn affinity(self) -> Option<List> {
        match self {
            Kind::Balance {
                list,
                affinity_timeout_s: Some(_),
                ..
            } => Some(list),
            _ => None,
        }
    }

    /// Name of its chain; `Drop` has none.
    pub fn chain(self) -> Option<String> {
        let Kind::Balance {
            list,
            masquerade,
            node_port,
            count,
            affinity_timeout_s,
        } = self
        else {
            return None;
        };
        let mut name = String::from(if list == List::Local { "local" } else { "balance" });
        if node_port {
            name.push_str("-port");
        }
        if masquerade {
            name.push_str("-masq");
        }
        name.push_str(&format!("-{count}"));
        if let Some(timeout) = affinity_timeout_s {
            name.push_str(&format!("-sticky-{timeout}s"));
        }
        Some(name)
    }

    /// The rules of its chain.
    pub fn rules(self) -> Vec<Vec<Expr>> {
        let Kind::Balance {
            list,
            masquerade,
            node_port,
            count,
            affinity_timeout_s,
        } = self
        else {
            return Vec::new();
        };
        let mut rules = Vec::new();
        if masquerade {
            let (reg, bit) = (Reg(0), MASQUERADE_MARK);
            let set = Expr::Bits {
                reg,
                mask: (!bit).to_ne_bytes(),
                xor: bit.to_ne_bytes(),
            };
            rules.push(vec![Expr::Mark(reg), set, Expr::SetMark(reg)]);
        }
        if let Some(timeout) = affinity_timeout_s {
            rules.extend(sticky_rules(list, node_port, count, timeout));
        } else {
            rules.push(balance_rule(list, node_port, count));
        }
        rules
    }
}

/// Loads a front end's key into three registers.
pub fn load_key(node_port: bool, at: u32) -> Vec<Expr> {
    let address = if node_port {
        Expr::Load {
            to: Reg(at),
            value: vec![0; 4],
        }
    } else {
        Expr::DestinationAddress(Reg(at))
    };
    vec![
        address,
        Expr::Protocol(Reg(at + 1)),
        Expr::DestinationPort(Reg(at + 2)),
    ]
}

/// Picks a backend at random. Registers: key 0-2, number 3, backend 4-5.
fn balance_rule(list: List, node_port: bool, count: u32) -> Vec<Expr> {
    let mut rule = load_key(node_port, 0);
    rule.push(Expr::Random {
        modulus: count,
        to: Reg(3),
    });
    rule.extend(translate_by(list.endpoints()));
    rule
}

/// What stands in two registers before a map writes a backend to them, starting one register earlier. The `nft`
/// command (to 1.0.6 at least) ends by an assertion when it lists a rule that uses a map's result in anything but
/// a translation; it goes by the register where a write starts, so here it shows the packet's own values instead.
fn shown_as_packet(at: u32) -> [Expr; 2] {
    [
        Expr::DestinationAddress(Reg(at)),
        Expr::DestinationPort(Reg(at + 1)),
    ]
}

/// A client that was here within the timeout goes where it went, if that backend is still there; else what is
/// remembered is forgotten, and a fresh choice remembered. Where that does not fit, the choice is made again and
/// not remembered. Registers: client 0, key 1-3, backend 4-5 (number 4 and backend 5-6 when choosing); what is
/// remembered is the port and, after it, the backend.
fn sticky_rules(list: List, node_port: bool, count: u32, timeout_s: u32) -> [Vec<Expr>; 4] {
    let start = |backend| {
        let mut rule = vec![Expr::SourceAddress(Reg(0))];
        rule.extend(load_key(node_port, 1));
        rule.extend(shown_as_packet(backend));
        rule
    };
    let map = list.affinity();
    let remember = |data| Expr::Remember {
        map,
        key: Reg(0),
        data,
        timeout_ms: u64::from(timeout_s) * 1000,
    };
    let to = |backend| Expr::Dnat {
        address: Reg(backend),
        port: Reg(backend + 1),
    };
    let mut again = start(4);
    again.extend([
        Expr::Map {
            map,
            key: Reg(0),
            to: Reg(3),
        },
        Expr::DestinationPort(Reg(3)),
        Expr::InSet {
            set: list.live(),
            key: Reg(1),
        },
        remember(Reg(3)),
        to(4),
    ]);
    let mut forget = start(5);
    forget.extend([
        Expr::DestinationPort(Reg(4)),
        Expr::Forget {
            map,
            key: Reg(0),
            data: Reg(4),
        },
    ]);
    let mut choose = start(5);
    choose.extend([
        Expr::Random {
            modulus: count,
            to: Reg(4),
        },
        Expr::Map {
            map: list.sticky_endpoints(),
            key: Reg(1),
            to: Reg(4),
        },
    ]);
    let mut unremembered = choose.clone();
    unremembered.push(to(5));
    choose.extend([Expr::DestinationPort(Reg(4)), remember(Reg(4)), to(5)]);
    [again, forget, choose, unremembered]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_names_readable() {
        let mut seen = std::collections::BTreeMap::new();
        for list in List::ALL {
            for masquerade in [false, true] {
                for node_port in [false, true] {
                    for count in [1, MAX_BACKENDS as u32] {
                        for affinity_timeout_s in [None, Some(1), Some(86_400)] {
                            let kind = Kind::Balance {
                                list,
                                masquerade,
                                node_port,
                                count,
                                affinity_timeout_s,
                            };
                            assert_eq!(seen.insert(kind.number(), kind), None);
                        }
                    }
                }
            }
        }
        let kind = Kind::Balance {
            list: List::Main,
            masquerade: true,
            node_port: true,
            count: 3,
            affinity_timeout_s: Some(10_800),
        };
        assert_eq!(kind.chain().as_deref(), Some("balance-port-masq-3-sticky-10800s"));
    }
}
