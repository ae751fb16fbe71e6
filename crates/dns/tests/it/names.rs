//! Questions and what they get.

use corten_dns::{Outcome, Records, answer};
use expect_test::{Expect, expect};
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, Record, RecordType};

use crate::zone::desired;

fn ask(name: &str, kind: RecordType, turn: usize) -> Outcome {
    let name = Name::from_ascii(name).unwrap();
    answer(&Records::build(&desired()), &Query::query(name, kind), turn)
}

fn check(name: &str, kind: RecordType, expected: Expect) {
    let lines = |records: &[Record], mark: &str| -> String {
        records
            .iter()
            .map(|r| format!("{mark}{} {} {} {}\n", r.name, r.ttl, r.record_type(), r.data))
            .collect()
    };
    let text = match ask(name, kind, 0) {
        Outcome::Found { answers, additionals } => lines(&answers, "") + &lines(&additionals, "+ "),
        Outcome::NoData { soa } => lines(&[*soa], "no data: "),
        Outcome::NoSuchName { soa } => lines(&[*soa], "no such name: "),
        Outcome::Alias { answers, target } => lines(&answers, "") + &format!("then {target}\n"),
        Outcome::NotOurs => "not ours\n".into(),
    };
    expected.assert_eq(&text);
}

#[test]
fn services_with_an_address() {
    check(
        "web.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        web.default.svc.cluster.local. 5 A 10.96.0.20
    "#]],
    );
    check(
        "WEB.Default.svc.cluster.LOCAL.",
        RecordType::AAAA,
        expect![[r#"
            WEB.Default.svc.cluster.LOCAL. 5 AAAA fd00::20
        "#]],
    );
    check(
        "web.default.svc.cluster.local.",
        RecordType::SRV,
        expect![[r#"
        web.default.svc.cluster.local. 5 SRV 0 100 80 web.default.svc.cluster.local.
        + web.default.svc.cluster.local. 5 A 10.96.0.20
        + web.default.svc.cluster.local. 5 AAAA fd00::20
    "#]],
    );
    check(
        "_dns-tcp._tcp.kube-dns.kube-system.svc.cluster.local.",
        RecordType::SRV,
        expect![[r#"
            _dns-tcp._tcp.kube-dns.kube-system.svc.cluster.local. 5 SRV 0 100 53 kube-dns.kube-system.svc.cluster.local.
            + kube-dns.kube-system.svc.cluster.local. 5 A 10.96.0.10
        "#]],
    );
    check(
        "_dns-tcp._udp.kube-dns.kube-system.svc.cluster.local.",
        RecordType::SRV,
        expect![[r#"
            no such name: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        "#]],
    );
    check(
        "kube-dns.kube-system.svc.cluster.local.",
        RecordType::AAAA,
        expect![[r#"
            no data: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        "#]],
    );
    check(
        "20.0.96.10.in-addr.arpa.",
        RecordType::PTR,
        expect![[r#"
        20.0.96.10.in-addr.arpa. 5 PTR web.default.svc.cluster.local.
    "#]],
    );
    check(
        "1.2.0.192.in-addr.arpa.",
        RecordType::PTR,
        expect![[r#"
        not ours
    "#]],
    );
}

#[test]
fn headless_services() {
    check(
        "db.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        db.default.svc.cluster.local. 5 A 10.244.1.5
        db.default.svc.cluster.local. 5 A 10.244.2.7
        db.default.svc.cluster.local. 5 A 10.244.1.9
    "#]],
    );
    check(
        "db-1.db.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        db-1.db.default.svc.cluster.local. 5 A 10.244.2.7
    "#]],
    );
    check(
        "10-244-1-9.db.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
            10-244-1-9.db.default.svc.cluster.local. 5 A 10.244.1.9
        "#]],
    );
    check(
        "_sql._tcp.db.default.svc.cluster.local.",
        RecordType::SRV,
        expect![[r#"
            _sql._tcp.db.default.svc.cluster.local. 5 SRV 0 33 5432 db-0.db.default.svc.cluster.local.
            _sql._tcp.db.default.svc.cluster.local. 5 SRV 0 33 5432 db-1.db.default.svc.cluster.local.
            _sql._tcp.db.default.svc.cluster.local. 5 SRV 0 33 5432 10-244-1-9.db.default.svc.cluster.local.
            + db-0.db.default.svc.cluster.local. 5 A 10.244.1.5
            + db-1.db.default.svc.cluster.local. 5 A 10.244.2.7
            + 10-244-1-9.db.default.svc.cluster.local. 5 A 10.244.1.9
        "#]],
    );
    check(
        "7.2.244.10.in-addr.arpa.",
        RecordType::PTR,
        expect![[r#"
        7.2.244.10.in-addr.arpa. 5 PTR db-1.db.default.svc.cluster.local.
    "#]],
    );
    check(
        "idle.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        no data: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    let first = |turn| match ask("db.default.svc.cluster.local.", RecordType::A, turn) {
        Outcome::Found { answers, .. } => answers[0].data.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [first(0), first(1), first(2), first(3)],
        ["10.244.1.5", "10.244.2.7", "10.244.1.9", "10.244.1.5"]
    );
}

#[test]
fn aliases() {
    check(
        "out.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        out.default.svc.cluster.local. 5 CNAME www.example.com.
        then www.example.com.
    "#]],
    );
    check(
        "out.default.svc.cluster.local.",
        RecordType::CNAME,
        expect![[r#"
        out.default.svc.cluster.local. 5 CNAME www.example.com.
    "#]],
    );
    check(
        "again.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        again.default.svc.cluster.local. 5 CNAME web.default.svc.cluster.local.
        web.default.svc.cluster.local. 5 A 10.96.0.20
    "#]],
    );
    check(
        "circle.default.svc.cluster.local.",
        RecordType::CNAME,
        expect![[r#"
            circle.default.svc.cluster.local. 5 CNAME circle.default.svc.cluster.local.
        "#]],
    );
    assert!(matches!(
        ask("circle.default.svc.cluster.local.", RecordType::A, 0),
        Outcome::Found { .. }
    ));
}

#[test]
fn names_that_only_have_names_below_and_names_that_are_not() {
    check(
        "default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        no data: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "empty.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        no data: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "_tcp.db.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        no data: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "absent.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        no such name: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "nope.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        no such name: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "web.default.svc.cluster.local.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
            no such name: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        "#]],
    );
    check(
        "web.default.svc.notcluster.local.",
        RecordType::A,
        expect![[r#"
        not ours
    "#]],
    );
    check(
        "example.com.",
        RecordType::A,
        expect![[r#"
        not ours
    "#]],
    );
}

#[test]
fn the_zone_itself_and_pods_by_address() {
    check(
        "dns-version.cluster.local.",
        RecordType::TXT,
        expect![[r#"
        dns-version.cluster.local. 5 TXT 1.1.0
    "#]],
    );
    check(
        "cluster.local.",
        RecordType::SOA,
        expect![[r#"
        cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "cluster.local.",
        RecordType::NS,
        expect![[r#"
        cluster.local. 5 NS ns.dns.cluster.local.
    "#]],
    );
    check(
        "ns.dns.cluster.local.",
        RecordType::A,
        expect![[r#"
        ns.dns.cluster.local. 5 A 10.96.0.10
    "#]],
    );
    check(
        "10-244-1-5.default.pod.cluster.local.",
        RecordType::A,
        expect![[r#"
            10-244-1-5.default.pod.cluster.local. 5 A 10.244.1.5
        "#]],
    );
    check(
        "fd00--7.default.pod.cluster.local.",
        RecordType::AAAA,
        expect![[r#"
            fd00--7.default.pod.cluster.local. 5 AAAA fd00::7
        "#]],
    );
    check(
        "10-244-1-5.absent.pod.cluster.local.",
        RecordType::A,
        expect![[r#"
        no such name: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "10-244-1.default.pod.cluster.local.",
        RecordType::A,
        expect![[r#"
        no such name: cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
}
