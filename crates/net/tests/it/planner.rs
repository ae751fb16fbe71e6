//! The planner against a kernel that is a map: every batch must be one that the kernel would take (nothing removed
//! that is not there, nothing added that is), and many changes must end where one would.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use corten_net::proxy::{Batch, Elements, Installed, Protocol, ServiceMap, ServicePort, TrafficPolicy, plan};
use expect_test::{Expect, expect};

use crate::services::{name, only, service};

type Contents = BTreeMap<(String, Vec<u8>), String>;

#[derive(Default)]
struct Kernel {
    contents: Contents,
    kinds: BTreeSet<u32>,
}

fn lines(elements: &Elements) -> impl Iterator<Item = ((String, Vec<u8>), String)> {
    elements.by_map().flat_map(|(map, list)| {
        list.iter()
            .map(move |e| ((map.to_owned(), e.key.clone()), format!("{:?}", e.data)))
    })
}

impl Kernel {
    fn apply(&mut self, batch: &Batch) {
        for kind in &batch.add_kinds {
            assert!(self.kinds.insert(kind.number()), "{kind:?} added twice");
        }
        for (key, data) in lines(&batch.remove) {
            assert_eq!(self.contents.remove(&key), Some(data), "removed {key:?}");
        }
        for (key, data) in lines(&batch.add) {
            assert_eq!(self.contents.insert(key.clone(), data), None, "added {key:?}");
        }
        for kind in &batch.remove_kinds {
            assert!(self.kinds.remove(&kind.number()), "{kind:?} was not there");
        }
    }

    /// Contents where the backends of a key are a set: their places depend on history.
    fn without_places(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((map, key), data) in &self.contents {
            let key = if map.ends_with("ep") { &key[..12] } else { &key[..] };
            out.entry(format!("{map} {key:?}"))
                .or_default()
                .insert(data.clone());
        }
        out
    }
}

/// A small generator (xorshift), so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn service(&mut self) -> ServicePort {
        let protocol = if self.roll(3) == 0 {
            Protocol::Udp
        } else {
            Protocol::Tcp
        };
        let mut out = service(protocol, &[]);
        out.cluster_ips = vec![IpAddr::from([10, 96, 0, self.roll(250) as u8])];
        out.external_ips = (0..self.roll(3))
            .map(|_| IpAddr::from([203, 0, 113, self.roll(4) as u8]))
            .collect();
        out.external_ips.dedup();
        out.node_port = (self.roll(2) == 0).then(|| 30_000 + self.roll(4) as u16);
        out.affinity_timeout_s = (self.roll(4) == 0).then_some(60);
        let policy = |local| {
            if local {
                TrafficPolicy::Local
            } else {
                TrafficPolicy::Cluster
            }
        };
        out.internal_policy = policy(self.roll(4) == 0);
        out.external_policy = policy(self.roll(2) == 0);
        for _ in 0..self.roll(6) {
            let mut endpoint = crate::services::endpoint(IpAddr::from([10, 244, 1, self.roll(8) as u8]));
            endpoint.ready = self.roll(4) != 0;
            endpoint.terminating = !endpoint.ready;
            endpoint.local = self.roll(2) == 0;
            out.endpoints.push(endpoint);
        }
        out
    }
}

#[test]
fn any_sequence_of_changes_ends_where_one_change_would() {
    for seed in 1..=30 {
        let mut dice = Dice(seed * 7919);
        let (mut kernel, mut installed, mut map) =
            (Kernel::default(), Installed::default(), ServiceMap::new());
        for _ in 0..40 {
            for _ in 0..=dice.roll(3) {
                let name = name(&format!("s{}", dice.roll(10)));
                if dice.roll(4) == 0 {
                    map.remove(&name);
                } else {
                    map.insert(name, Arc::new(dice.service()));
                }
            }
            let batch = plan(&installed, &map);
            kernel.apply(&batch);
            installed.commit(batch);
            assert!(plan(&installed, &map).is_empty());
        }
        let mut fresh = Kernel::default();
        fresh.apply(&plan(&Installed::default(), &map));
        // Who has a contested address may depend on who came first; all else must not.
        if !contested(&map) {
            assert_eq!(kernel.without_places(), fresh.without_places(), "seed {seed}");
            assert_eq!(kernel.kinds, fresh.kinds, "seed {seed}");
        }
        map.clear();
        let batch = plan(&installed, &map);
        kernel.apply(&batch);
        installed.commit(batch);
        assert!(
            kernel.contents.is_empty() && kernel.kinds.is_empty(),
            "seed {seed}"
        );
        assert_eq!(installed, Installed::default(), "seed {seed}");
    }
}

fn contested(map: &ServiceMap) -> bool {
    let mut seen = BTreeSet::new();
    let keys = map
        .values()
        .flat_map(|s| corten_net::proxy::fronts(s).into_iter().map(|(key, _)| key));
    !keys.into_iter().all(|key| seen.insert(key))
}

fn check(before: ServicePort, after: ServicePort, expected: Expect) {
    let mut installed = Installed::default();
    let first = plan(&installed, &only(before));
    installed.commit(first);
    let batch = plan(&installed, &only(after));
    let mut text = String::new();
    for (sign, elements) in [("-", &batch.remove), ("+", &batch.add)] {
        for (map, list) in elements.by_map() {
            for element in list {
                writeln!(text, "{sign} {map} {} {:?}", key_text(&element.key), element.data).unwrap();
            }
        }
    }
    for kind in &batch.add_kinds {
        writeln!(text, "+ chain {}", kind.chain().unwrap()).unwrap();
    }
    for kind in &batch.remove_kinds {
        writeln!(text, "- chain {}", kind.chain().unwrap()).unwrap();
    }
    for stale in &batch.stale_udp {
        writeln!(text, "forget UDP to {}:{}", stale.key.ip, stale.key.port).unwrap();
    }
    expected.assert_eq(&text);
}

/// `address protocol port`, and what follows in hexadecimal.
fn key_text(key: &[u8]) -> String {
    let ip = Ipv4Addr::new(key[0], key[1], key[2], key[3]);
    if key.len() < 12 {
        return format!("{ip}");
    }
    let rest: String = key[12..].iter().map(|b| format!("{b:02x}")).collect();
    format!("{ip} {} {} {rest}", key[4], u16::from_be_bytes([key[8], key[9]]))
}

fn pods(last: &[u8]) -> Vec<IpAddr> {
    last.iter().map(|n| IpAddr::from([10, 244, 1, *n])).collect()
}

#[test]
fn one_endpoint_less() {
    check(
        service(Protocol::Tcp, &pods(&[1, 2, 3])),
        service(Protocol::Tcp, &pods(&[2, 3])),
        expect![[r#"
            - ep 10.96.0.5 6 8080 00000000 Value([10, 244, 1, 1, 0, 80, 0, 0])
            - ep 10.96.0.5 6 8080 02000000 Value([10, 244, 1, 3, 0, 80, 0, 0])
            - hairpin 10.244.1.1 None
            - inside-svc 10.96.0.5 6 8080  Value([0, 0, 0, 0, 3, 0, 0, 0])
            + ep 10.96.0.5 6 8080 00000000 Value([10, 244, 1, 3, 0, 80, 0, 0])
            + inside-svc 10.96.0.5 6 8080  Value([0, 0, 0, 0, 2, 0, 0, 0])
            + chain balance-2
            - chain balance-3
        "#]],
    );
}

#[test]
fn the_last_endpoint_of_a_udp_node_port_goes() {
    let with = |endpoints: &[u8]| {
        let mut service = service(Protocol::Udp, &pods(endpoints));
        service.node_port = Some(30_053);
        service
    };
    check(
        with(&[1]),
        with(&[]),
        expect![[r#"
            - ep 0.0.0.0 17 30053 00000000 Value([10, 244, 1, 1, 0, 80, 0, 0])
            - ep 10.96.0.5 17 8080 00000000 Value([10, 244, 1, 1, 0, 80, 0, 0])
            - hairpin 10.244.1.1 None
            - inside-svc 0.0.0.0 17 30053  Value([0, 0, 0, 0, 1, 0, 0, 128])
            - inside-svc 10.96.0.5 17 8080  Value([0, 0, 0, 0, 1, 0, 0, 0])
            - outside-svc 0.0.0.0 17 30053  Value([0, 0, 0, 0, 1, 0, 0, 192])
            + refuse 0.0.0.0 17 30053  None
            - chain balance-1
            - chain balance-port-1
            - chain balance-port-masq-1
            forget UDP to 0.0.0.0:30053
            forget UDP to 10.96.0.5:8080
        "#]],
    );
}

#[test]
fn affinity_is_switched_on() {
    let mut sticky = service(Protocol::Tcp, &pods(&[1, 2]));
    sticky.affinity_timeout_s = Some(10_800);
    check(
        service(Protocol::Tcp, &pods(&[1, 2])),
        sticky,
        expect![[r#"
            - ep 10.96.0.5 6 8080 00000000 Value([10, 244, 1, 1, 0, 80, 0, 0])
            - ep 10.96.0.5 6 8080 01000000 Value([10, 244, 1, 2, 0, 80, 0, 0])
            - inside-svc 10.96.0.5 6 8080  Value([0, 0, 0, 0, 2, 0, 0, 0])
            + inside-svc 10.96.0.5 6 8080  Value([0, 0, 0, 0, 2, 0, 163, 2])
            + live 10.96.0.5 6 8080 0af4010100500000 None
            + live 10.96.0.5 6 8080 0af4010200500000 None
            + sticky-ep 10.96.0.5 6 8080 00000000 Value([0, 0, 0, 0, 10, 244, 1, 1, 0, 80, 0, 0])
            + sticky-ep 10.96.0.5 6 8080 01000000 Value([0, 0, 0, 0, 10, 244, 1, 2, 0, 80, 0, 0])
            + chain balance-2-sticky-10800s
            - chain balance-2
        "#]],
    );
}
