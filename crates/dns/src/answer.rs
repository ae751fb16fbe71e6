//! What a question gets. Pure.

use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::IpNet;

use crate::records::{Node, Records, TTL_S};

/// Longest chain of aliases followed within the zone.
const MAX_ALIASES: usize = 8;

/// The answer to a question, before it is a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// `NOERROR` with records.
    Found {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// The name exists and has no record of that type.
    NoData { soa: Box<Record> },
    /// No such name (RFC 8020: and none below it).
    NoSuchName { soa: Box<Record> },
    /// An alias, already in `answers`, for a name elsewhere, which has to be asked for.
    Alias { answers: Vec<Record>, target: Name },
    /// Not a name of this cluster.
    NotOurs,
}

/// `turn` rotates lists of addresses, so that clients that take the first one spread.
pub fn answer(records: &Records, query: &Query, turn: usize) -> Outcome {
    let key = query.name().to_lowercase().to_ascii();
    if key.ends_with(".arpa.") {
        return reverse(records, query);
    }
    if !in_zone(records, &key) {
        return Outcome::NotOurs;
    }
    let mut answers = Vec::new();
    let mut owner = query.name().clone();
    let mut key = key;
    for _ in 0..MAX_ALIASES {
        let synthetic = pod_by_address(records, &key);
        let Some(node) = synthetic.as_ref().or_else(|| records.get(&key)) else {
            return or_found(answers, |soa| Outcome::NoSuchName { soa }, records);
        };
        let Some(target) = node
            .cname
            .as_ref()
            .filter(|_| query.query_type() != RecordType::CNAME)
        else {
            let (found, additionals) = of_type(records, node, &owner, &key, query.query_type(), turn);
            if found.is_empty() {
                return or_found(answers, |soa| Outcome::NoData { soa }, records);
            }
            answers.extend(found);
            return Outcome::Found { answers, additionals };
        };
        answers.push(record(&owner, RData::CNAME(CNAME(target.clone()))));
        key = target.to_lowercase().to_ascii();
        owner = target.clone();
        if !in_zone(records, &key) {
            return Outcome::Alias {
                answers,
                target: target.clone(),
            };
        }
    }
    or_found(answers, |soa| Outcome::NoData { soa }, records)
}

fn in_zone(records: &Records, key: &str) -> bool {
    let zone = records.zone();
    key.strip_suffix(zone)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// An alias that leads to nothing is still an answer.
fn or_found(answers: Vec<Record>, none: impl FnOnce(Box<Record>) -> Outcome, records: &Records) -> Outcome {
    if answers.is_empty() {
        none(Box::new(soa(records)))
    } else {
        Outcome::Found {
            answers,
            additionals: Vec::new(),
        }
    }
}

fn of_type(
    records: &Records,
    node: &Node,
    owner: &Name,
    key: &str,
    kind: RecordType,
    turn: usize,
) -> (Vec<Record>, Vec<Record>) {
    let found = match kind {
        RecordType::A => addresses(owner, node, turn, true, false),
        RecordType::AAAA => addresses(owner, node, turn, false, true),
        RecordType::ANY => addresses(owner, node, turn, true, true),
        RecordType::SRV => return services(records, owner, node),
        RecordType::CNAME => node
            .cname
            .iter()
            .map(|c| record(owner, RData::CNAME(CNAME(c.clone()))))
            .collect(),
        RecordType::TXT => {
            let text = |t: &str| record(owner, RData::TXT(TXT::new(vec![t.to_owned()])));
            node.txt.map(text).into_iter().collect()
        }
        RecordType::NS => node
            .ns
            .iter()
            .map(|n| record(owner, RData::NS(NS(n.clone()))))
            .collect(),
        RecordType::SOA if key == records.zone() => vec![soa(records)],
        _ => Vec::new(),
    };
    (found, Vec::new())
}

fn addresses(owner: &Name, node: &Node, turn: usize, v4: bool, v6: bool) -> Vec<Record> {
    let mut out = Vec::new();
    if v4 {
        out.extend(node.v4.iter().map(|ip| record(owner, RData::A(A(*ip)))));
    }
    if v6 {
        out.extend(node.v6.iter().map(|ip| record(owner, RData::AAAA(AAAA(*ip)))));
    }
    if !out.is_empty() {
        let by = turn % out.len();
        out.rotate_left(by);
    }
    out
}

/// Targets' addresses come along, so that nobody has to ask for them.
fn services(records: &Records, owner: &Name, node: &Node) -> (Vec<Record>, Vec<Record>) {
    let (mut answers, mut additionals) = (Vec::new(), Vec::new());
    let mut seen = std::collections::BTreeSet::new();
    for srv in &node.srv {
        let Ok(target) = Name::from_str(&srv.target) else {
            continue;
        };
        answers.push(record(
            owner,
            RData::SRV(SRV::new(0, srv.weight, srv.port, target.clone())),
        ));
        if seen.insert(&srv.target) {
            additionals.extend(
                records
                    .get(&srv.target)
                    .iter()
                    .flat_map(|n| addresses(&target, n, 0, true, true)),
            );
        }
    }
    (answers, additionals)
}

/// `10-244-1-5.namespace.pod.zone`: the address is in the name; only the namespace has to exist.
fn pod_by_address(records: &Records, key: &str) -> Option<Node> {
    let (dashed, rest) = key.split_once('.')?;
    let tree = rest.split_once('.')?.1;
    if tree.strip_prefix("pod.") != Some(records.zone()) || records.get(rest).is_none() {
        return None;
    }
    let mut node = Node::default();
    match dashed.replace('-', ".").parse() {
        Ok(ip) => node.v4.push(ip),
        Err(_) => node.v6.push(dashed.replace('-', ":").parse().ok()?),
    }
    Some(node)
}

fn reverse(records: &Records, query: &Query) -> Outcome {
    let ip = match query.name().parse_arpa_name() {
        Ok(IpNet::V4(net)) if net.prefix_len() == 32 => IpAddr::V4(net.addr()),
        Ok(IpNet::V6(net)) if net.prefix_len() == 128 => IpAddr::V6(net.addr()),
        _ => return Outcome::NotOurs,
    };
    let Some(names) = records.names_of(ip) else {
        return Outcome::NotOurs;
    };
    if query.query_type() != RecordType::PTR {
        return Outcome::NoData {
            soa: Box::new(soa(records)),
        };
    }
    let names = names.iter().filter_map(|n| Name::from_str(n).ok());
    let answers = names.map(|n| record(query.name(), RData::PTR(PTR(n)))).collect();
    Outcome::Found {
        answers,
        additionals: Vec::new(),
    }
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL_S, data)
}

/// Negative answers may be kept for [`TTL_S`] too (RFC 2308).
fn soa(records: &Records) -> Record {
    let zone = records.zone();
    let name = |s: String| Name::from_str(&s).unwrap_or_else(|_| Name::root());
    let (server, contact) = (name(format!("ns.dns.{zone}")), name(format!("hostmaster.{zone}")));
    let data = SOA::new(server, contact, 1, 7200, 1800, 86_400, TTL_S);
    record(&name(zone.to_owned()), RData::SOA(data))
}
