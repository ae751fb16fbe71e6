//! The server on loopback, by UDP and TCP, with and without somebody to forward to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::{Duration, Instant};

use corten_dns::{Endpoint, Forwarder, Records, Server, Service, Sockets, Target};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::zone::{desired, ip};

const LOOPBACK: &str = "127.0.0.1:0";

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_str(name).unwrap(), kind));
    message
}

fn send_udp(to: SocketAddr, bytes: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(bytes, to).unwrap();
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).ok()?;
    Some(Message::from_vec(&buffer[..n]).unwrap())
}

fn udp(to: SocketAddr, message: &Message) -> Message {
    let response = send_udp(to, &message.to_vec().unwrap()).unwrap();
    assert_eq!(response.metadata.id, message.metadata.id);
    response
}

fn tcp(to: SocketAddr, messages: &[Message]) -> Vec<Message> {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut ask = |message: &Message| {
        let bytes = message.to_vec().unwrap();
        stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut buffer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut buffer).unwrap();
        Message::from_vec(&buffer).unwrap()
    };
    messages.iter().map(&mut ask).collect()
}

fn start(forward_to: Vec<SocketAddr>) -> Server {
    let sockets = Sockets::bind(LOOPBACK.parse().unwrap()).unwrap();
    Server::start(sockets, Records::build(&desired()), Forwarder::new(forward_to)).unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|r| r.data.to_string()).collect()
}

/// A name server that knows one address for everything but `slow.`, by UDP truncated for `big.`.
fn upstream() -> SocketAddr {
    let sockets = Sockets::bind(LOOPBACK.parse().unwrap()).unwrap();
    let address = sockets.udp.local_addr().unwrap();
    let respond = |bytes: &[u8], truncate: bool| {
        let request = Message::from_vec(bytes).unwrap();
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.add_queries(request.queries.clone());
        let name = request.queries[0].name().clone();
        if truncate && name.to_string().starts_with("big.") {
            response.metadata.truncation = true;
        } else {
            response.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 80))));
        }
        response.to_vec().unwrap()
    };
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((n, from)) = sockets.udp.recv_from(&mut buffer) {
            let _ = sockets.udp.send_to(&respond(&buffer[..n], true), from);
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = sockets.tcp.accept() {
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut buffer = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut buffer).unwrap();
            let bytes = respond(&buffer, false);
            stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn own_names_are_answered_by_udp_and_tcp_and_follow_the_records() {
    let server = start(Vec::new());
    let web = question("web.default.svc.cluster.local.", RecordType::A);
    let by_udp = udp(server.address(), &web);
    assert_eq!(addresses(&by_udp), ["10.96.0.20"]);
    assert!(by_udp.metadata.authoritative && by_udp.metadata.recursion_available);
    assert!(by_udp.edns.is_none());
    let missing = question("nope.default.svc.cluster.local.", RecordType::A);
    let answers = tcp(server.address(), &[web.clone(), missing]);
    assert_eq!(addresses(&answers[0]), ["10.96.0.20"]);
    assert_eq!(answers[1].metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(answers[1].authorities.len(), 1);
    server.update(|records| records.set_service("default", "web", None));
    assert_eq!(
        udp(server.address(), &web).metadata.response_code,
        ResponseCode::NXDomain
    );
    let db = question("db.default.svc.cluster.local.", RecordType::A);
    assert_eq!(udp(server.address(), &db).answers.len(), 3);
    let target = Target::ClusterIp {
        ips: vec![ip("10.96.0.21")],
        ports: Vec::new(),
    };
    server.update(|records| records.set_service("default", "web", Some(&target)));
    assert_eq!(addresses(&udp(server.address(), &web)), ["10.96.0.21"]);
    let old = question("20.0.96.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(
        udp(server.address(), &old).metadata.response_code,
        ResponseCode::Refused
    );
    let new = question("21.0.96.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(
        addresses(&udp(server.address(), &new)),
        ["web.default.svc.cluster.local."]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_does_not_fit_comes_by_tcp() {
    let server = start(Vec::new());
    let mut many = desired();
    let endpoints = (0..200u8)
        .map(|i| Endpoint {
            ip: ip(&format!("10.244.3.{i}")),
            hostname: None,
            ports: Vec::new(),
        })
        .collect();
    many.services = vec![Service {
        namespace: "default".into(),
        name: "many".into(),
        target: Target::Headless { endpoints },
    }];
    server.set_records(Records::build(&many));
    let mut message = question("many.default.svc.cluster.local.", RecordType::A);
    let short = udp(server.address(), &message);
    assert!(short.metadata.truncation && short.answers.is_empty());
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    let short = udp(server.address(), &message);
    assert!(short.metadata.truncation && short.edns.is_some());
    assert_eq!(tcp(server.address(), &[message])[0].answers.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn other_names_are_asked_for_elsewhere() {
    // The first of the two servers is nobody.
    let nobody = UdpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let server = start(vec![nobody, upstream()]);
    for name in ["example.com.", "big.example.com."] {
        let answer = udp(server.address(), &question(name, RecordType::A));
        assert_eq!(addresses(&answer), ["192.0.2.80"]);
        assert!(!answer.metadata.authoritative);
        assert_eq!(
            addresses(&tcp(server.address(), &[question(name, RecordType::A)])[0]),
            ["192.0.2.80"]
        );
    }
    let alias = udp(
        server.address(),
        &question("out.default.svc.cluster.local.", RecordType::A),
    );
    assert_eq!(addresses(&alias), ["www.example.com.", "192.0.2.80"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_anybody_to_ask_the_answer_says_so_at_once() {
    let nobody = UdpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let start_time = Instant::now();
    let (alone, deserted) = (start(Vec::new()), start(vec![nobody]));
    let code = |server: &Server, name: &str| {
        udp(server.address(), &question(name, RecordType::A))
            .metadata
            .response_code
    };
    assert_eq!(code(&alone, "example.com."), ResponseCode::Refused);
    assert_eq!(code(&deserted, "example.com."), ResponseCode::ServFail);
    assert_eq!(
        code(&alone, "out.default.svc.cluster.local."),
        ResponseCode::ServFail
    );
    assert!(start_time.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bad_requests_get_an_error_or_nothing() {
    let server = start(Vec::new());
    let response = send_udp(server.address(), &[7, 7, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(
        (response.metadata.id, response.metadata.response_code),
        (0x0707, ResponseCode::FormErr)
    );
    let mut two = question("web.default.svc.cluster.local.", RecordType::A);
    two.add_query(two.queries[0].clone());
    assert_eq!(
        udp(server.address(), &two).metadata.response_code,
        ResponseCode::FormErr
    );
    let mut newer = question("web.default.svc.cluster.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    // 16 is BADVERS in this place and BADSIG in others (RFC 6895).
    assert_eq!(
        u16::from(udp(server.address(), &newer).metadata.response_code),
        16
    );
    // A response is never answered: two servers would talk for ever. The next question shows that it was read.
    let response = udp(
        server.address(),
        &question("web.default.svc.cluster.local.", RecordType::A),
    );
    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    socket
        .send_to(&response.to_vec().unwrap(), server.address())
        .unwrap();
    socket.send_to(&[1], server.address()).unwrap();
    let next = question("db.default.svc.cluster.local.", RecordType::A);
    socket.send_to(&next.to_vec().unwrap(), server.address()).unwrap();
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(
        Message::from_vec(&buffer[..n]).unwrap().metadata.id,
        next.metadata.id
    );
}
