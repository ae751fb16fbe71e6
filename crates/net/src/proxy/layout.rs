//! The proxy's nf_tables table, all but the elements of its maps. A packet's way:
//!
//! ```text
//! firewall ─── to a load balancer's address that not everyone may use, from elsewhere ─► drop
//! prerouting ─ from one of this node's pods? ─► inside ─┐   key = destination address . protocol . port
//!            └ else ───────────────────────────► outside ┤   inside/outside: key ─► kind, else
//! output ──────────────────────────────────────► inside ─┘   local address and port 0.0.0.0 . protocol . port ─► kind
//! kind ─► chain (dispatch) ─► random number below the endpoint count; ep: key . number ─► backend; translate
//! postrouting ─ marked, or a pod that reached itself, or a stranger that used a cluster IP ─► masquerade
//! forward, output, input ─ new connection to something without endpoints ─► TCP reset or ICMP port unreachable
//! ```
//!
//! Registers are loaded anew in every rule: kernels since 6.4 refuse a rule that reads what it did not load.

use ipnet::Ipv4Net;

use super::Config;
use super::front::Key;
use super::kind::{List, MASQUERADE_MARK, MAX_AFFINITY_CLIENTS, load_key};
use crate::nft::parts::{CT_STATE_NEW, CT_STATUS_DST_NAT, hairpin, has_bits, in_range, to_this_machine};
use crate::nft::{
    Data, Element, Expr, Hook, PRIORITY_BEFORE_DSTNAT, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT,
    Reg, SetSpec, Transaction, Verdict, ty,
};

/// Key to kind number, for connections from this node and its pods.
pub const INSIDE: &str = "inside-svc";
/// The same for connections from elsewhere, where it differs.
pub const OUTSIDE: &str = "outside-svc";
/// Kind number to chain.
pub const DISPATCH: &str = "dispatch";
/// Keys that not everyone may use, to the chain that drops the others.
pub const FIREWALL: &str = "firewall";
/// Keys that refuse.
pub const REFUSE: &str = "refuse";
/// `pod . pod` for this node's endpoints.
pub const HAIRPIN: &str = "hairpin";

const KEY: [u32; 3] = [ty::IPV4, ty::PROTO, ty::PORT];
const KEY_LEN: u32 = 12;
const BACKEND: u32 = ty::concat([ty::IPV4, ty::PORT]);
const BACKEND_LEN: u32 = 8;
/// A word, and the backend after it.
const STICKY_BACKEND: u32 = ty::concat([ty::PORT, ty::IPV4, ty::PORT]);
const STICKY_BACKEND_LEN: u32 = BACKEND_LEN + 4;
/// A word, and the kind's number after it.
const KIND: u32 = ty::concat([ty::MARK, ty::MARK]);
const KIND_LEN: u32 = 8;

/// Makes the table afresh, without services.
pub fn install(t: &mut Transaction, config: &Config) {
    t.recreate_table();
    sets(t);
    for chain in ["inside", "outside", "refused", "reject"] {
        t.chain(chain);
    }
    t.base_chain("prerouting", "nat", Hook::Prerouting, PRIORITY_DSTNAT);
    t.base_chain("output", "nat", Hook::Output, PRIORITY_DSTNAT);
    t.base_chain("postrouting", "nat", Hook::Postrouting, PRIORITY_SRCNAT);
    t.base_chain("filter-forward", "filter", Hook::Forward, PRIORITY_FILTER);
    t.base_chain("filter-output", "filter", Hook::Output, PRIORITY_FILTER);
    t.base_chain("filter-input", "filter", Hook::Input, PRIORITY_FILTER);
    firewall(t);
    translation(t, config);
    masquerading(t, config);
    refusal(t, config);
}

fn sets(t: &mut Transaction) {
    let key = ty::concat(KEY);
    t.set(&SetSpec::map(INSIDE, key, KEY_LEN, KIND, KIND_LEN));
    t.set(&SetSpec::map(OUTSIDE, key, KEY_LEN, KIND, KIND_LEN));
    t.set(&SetSpec::verdict_map(FIREWALL, key, KEY_LEN));
    t.set(&SetSpec::set(REFUSE, key, KEY_LEN));
    t.set(&SetSpec::set(HAIRPIN, ty::concat([ty::IPV4, ty::IPV4]), 8));
    t.set(&SetSpec::verdict_map(DISPATCH, ty::MARK, 4));
    t.add_elements(DISPATCH, &[Element::new(0u32.to_ne_bytes(), Data::Drop)]);
    for list in List::ALL {
        let numbered = ty::concat([ty::IPV4, ty::PROTO, ty::PORT, ty::MARK]);
        for (name, data, len) in [
            (list.endpoints(), BACKEND, BACKEND_LEN),
            (list.sticky_endpoints(), STICKY_BACKEND, STICKY_BACKEND_LEN),
        ] {
            t.set(&SetSpec::map(name, numbered, KEY_LEN + 4, data, len));
        }
        let live = ty::concat([ty::IPV4, ty::PROTO, ty::PORT, ty::IPV4, ty::PORT]);
        t.set(&SetSpec::set(list.live(), live, KEY_LEN + BACKEND_LEN));
        let client = (ty::concat([ty::IPV4, ty::IPV4, ty::PROTO, ty::PORT]), KEY_LEN + 4);
        let backend = (STICKY_BACKEND, STICKY_BACKEND_LEN);
        t.set(&SetSpec::dynamic_map(
            list.affinity(),
            client,
            backend,
            MAX_AFFINITY_CLIENTS,
        ));
    }
}

fn firewall(t: &mut Transaction) {
    for (chain, hook) in [
        ("firewall-prerouting", Hook::Prerouting),
        ("firewall-output", Hook::Output),
    ] {
        t.base_chain(chain, "filter", hook, PRIORITY_BEFORE_DSTNAT);
        let mut rule = has_bits(Expr::CtState(Reg(0)), CT_STATE_NEW).to_vec();
        rule.extend(load_key(false, 0));
        rule.push(Expr::VerdictMap {
            map: FIREWALL,
            key: Reg(0),
        });
        t.rule(chain, &rule);
    }
}

/// The chain of a key with these sources, new or as it is to become.
pub fn allow(t: &mut Transaction, key: &Key, sources: &[Ipv4Net]) {
    let chain = key.firewall_chain();
    t.empty_chain(&chain);
    for range in sources {
        let mut rule = in_range(Expr::SourceAddress(Reg(0)), *range, true).to_vec();
        rule.push(Expr::Then(Verdict::Return));
        t.rule(&chain, &rule);
    }
    t.rule(&chain, &[Expr::Then(Verdict::Drop)]);
}

fn translation(t: &mut Transaction, config: &Config) {
    let pods = config.cluster.veth_prefix().into_bytes();
    let from_pod = [
        Expr::InputInterface(Reg(0)),
        Expr::Equal {
            reg: Reg(0),
            value: pods,
        },
        Expr::Then(Verdict::Goto("inside".into())),
    ];
    t.rule("prerouting", &from_pod);
    t.rule("prerouting", &[Expr::Then(Verdict::Goto("outside".into()))]);
    t.rule("output", &[Expr::Then(Verdict::Goto("inside".into()))]);
    t.rule("inside", &dispatch(load_key(false, 0), INSIDE));
    t.rule("inside", &dispatch(node_port_key(), INSIDE));
    t.rule("outside", &dispatch(load_key(false, 0), OUTSIDE));
    t.rule("outside", &dispatch(node_port_key(), OUTSIDE));
    t.rule("outside", &dispatch(load_key(false, 0), INSIDE));
}

/// The number is written one register after where the write starts, to one that has a value, because the `nft`
/// command cannot list a lookup of what another lookup found (`kind::shown_as_packet`); it shows a lookup of 0.
fn dispatch(mut rule: Vec<Expr>, map: &'static str) -> Vec<Expr> {
    rule.extend([
        Expr::Load {
            to: Reg(3),
            value: vec![0; 4],
        },
        Expr::Map {
            map,
            key: Reg(0),
            to: Reg(2),
        },
        Expr::VerdictMap {
            map: DISPATCH,
            key: Reg(3),
        },
    ]);
    rule
}

/// The key of a node port, for packets to a local address other than 127.0.0.0/8 (as upstream's nftables mode).
fn node_port_key() -> Vec<Expr> {
    let mut rule = vec![
        Expr::DestinationAddress(Reg(0)),
        Expr::Bits {
            reg: Reg(0),
            mask: [255, 0, 0, 0],
            xor: [0; 4],
        },
        Expr::NotEqual {
            reg: Reg(0),
            value: vec![127, 0, 0, 0],
        },
    ];
    rule.extend(to_this_machine(Reg(1), true));
    rule.extend(load_key(true, 0));
    rule
}

fn masquerading(t: &mut Transaction, config: &Config) {
    let mut marked = has_bits(Expr::Mark(Reg(0)), MASQUERADE_MARK).to_vec();
    marked.push(Expr::Masquerade);
    t.rule("postrouting", &marked);
    t.rule("postrouting", &hairpin(HAIRPIN));
    let mut stranger = has_bits(Expr::CtStatus(Reg(0)), CT_STATUS_DST_NAT).to_vec();
    stranger.extend(in_range(
        Expr::CtOriginalDestination(Reg(0)),
        config.service_cidr,
        true,
    ));
    stranger.extend(in_range(Expr::SourceAddress(Reg(0)), config.cluster_cidr, false));
    stranger.push(Expr::Masquerade);
    t.rule("postrouting", &stranger);
}

/// What is still addressed to a service after translation has no endpoints. Local addresses in the service range
/// (the DNS server's) are served by this machine itself.
fn refusal(t: &mut Transaction, config: &Config) {
    for chain in ["filter-forward", "filter-output", "filter-input"] {
        let mut new = has_bits(Expr::CtState(Reg(0)), CT_STATE_NEW).to_vec();
        new.push(Expr::Then(Verdict::Jump("refused".into())));
        t.rule(chain, &new);
    }
    let refuse = |mut rule: Vec<Expr>| {
        rule.push(Expr::InSet {
            set: REFUSE,
            key: Reg(0),
        });
        rule.push(Expr::Then(Verdict::Goto("reject".into())));
        rule
    };
    t.rule("refused", &refuse(load_key(false, 0)));
    t.rule("refused", &refuse(node_port_key()));
    let mut unserved = in_range(Expr::DestinationAddress(Reg(0)), config.service_cidr, true).to_vec();
    unserved.extend(to_this_machine(Reg(0), false));
    unserved.push(Expr::Then(Verdict::Goto("reject".into())));
    t.rule("refused", &unserved);
    let tcp = Expr::Equal {
        reg: Reg(0),
        value: vec![6],
    };
    t.rule("reject", &[Expr::Protocol(Reg(0)), tcp, Expr::RejectTcpReset]);
    t.rule("reject", &[Expr::RejectPortUnreachable]);
}
