//! Map elements of front ends.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::front::{Front, Key};
use super::kind::List;
use super::layout::{FIREWALL, HAIRPIN, INSIDE, OUTSIDE, REFUSE};
use super::model::Backend;
use crate::nft::{Data, Element};

/// Elements by map.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Elements(BTreeMap<&'static str, Vec<Element>>);

impl Elements {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub fn by_map(&self) -> impl Iterator<Item = (&'static str, &[Element])> {
        self.0.iter().map(|(map, elements)| (*map, elements.as_slice()))
    }

    fn push(&mut self, map: &'static str, element: Element) {
        self.0.entry(map).or_default().push(element);
    }

    pub fn hairpin(&mut self, ip: Ipv4Addr) {
        self.push(HAIRPIN, Element::key([ip.octets(), ip.octets()].concat()));
    }

    /// Adds what is in `a` and not, the same, in `b`.
    pub fn extend_difference(&mut self, a: &Elements, b: &Elements) {
        for (map, elements) in &a.0 {
            let others = b.0.get(map).map_or(&[][..], Vec::as_slice);
            for element in elements.iter().filter(|e| others.binary_search(e).is_err()) {
                self.push(map, element.clone());
            }
        }
    }
}

/// All elements of one front end, sorted within each map.
pub fn of_front(key: &Key, front: &Front) -> Elements {
    let mut elements = Elements::default();
    let bytes = key.bytes();
    for (map, kind) in [(INSIDE, front.inside), (OUTSIDE, front.outside)] {
        if let Some(kind) = kind {
            let number = [[0; 4], kind.number().to_ne_bytes()].concat();
            elements.push(map, Element::new(bytes.clone(), Data::Value(number)));
        }
    }
    if !front.sources.is_empty() {
        elements.push(
            FIREWALL,
            Element::new(bytes.clone(), Data::Goto(key.firewall_chain())),
        );
    }
    if front.refuse {
        elements.push(REFUSE, Element::key(bytes.clone()));
    }
    for (list, backends) in [(List::Main, &front.main), (List::Local, &front.local)] {
        let sticky = [front.inside, front.outside]
            .iter()
            .flatten()
            .any(|k| k.affinity() == Some(list));
        for (i, backend) in backends.iter().enumerate() {
            let to = backend_bytes(backend);
            let numbered = [bytes.as_slice(), &(i as u32).to_ne_bytes()].concat();
            if sticky {
                elements.push(list.live(), Element::key([bytes.as_slice(), &to].concat()));
                let to = [[0; 4].as_slice(), &to].concat();
                elements.push(list.sticky_endpoints(), Element::new(numbered, Data::Value(to)));
            } else {
                elements.push(list.endpoints(), Element::new(numbered, Data::Value(to)));
            }
        }
    }
    for list in elements.0.values_mut() {
        list.sort_unstable();
    }
    elements
}

fn backend_bytes(backend: &Backend) -> Vec<u8> {
    let mut bytes = backend.ip.octets().to_vec();
    bytes.extend_from_slice(&backend.port.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}
