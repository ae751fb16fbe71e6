//! A laboratory: namespaces for nodes and pods, servers in them, and questions to those.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corten_net::netns::NetNs;
use corten_net::node::{Config, NodeNet};
use corten_net::{ClusterId, Error};
use ipnet::Ipv4Net;
use nix::sys::socket::{Shutdown, shutdown};

const PATIENCE: Duration = Duration::from_secs(3);

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub cluster: ClusterId,
    held: Vec<PathBuf>,
}

impl Lab {
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let seed = format!(
            "{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            dir: tempfile::tempdir().unwrap(),
            cluster: ClusterId::from_seed(&seed),
            held: Vec::new(),
        }
    }

    /// A namespace of that name; its path is `path(name)`.
    pub fn netns(&mut self, name: &str) -> NetNs {
        let path = self.path(name);
        let ns = NetNs::create_at(&path).unwrap();
        self.held.push(path);
        ns
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn node_config(&self, name: &str) -> Config {
        self.node_config_at(self.path(name), name, 1)
    }

    /// A node whose pods are in 10.244.`third`.0/24.
    pub fn node_config_at(&self, netns: PathBuf, name: &str, third: u8) -> Config {
        Config {
            cluster: self.cluster,
            netns: Some(netns),
            state_dir: self.path(&format!("{name}.pods")),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            pod_cidr: Ipv4Net::new([10, 244, third, 0].into(), 24).unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            mtu: None,
        }
    }

    pub fn release(&mut self) {
        for path in &self.held {
            let _ = NetNs::release(path);
        }
    }

    /// A pod with a server on TCP and UDP port 80 that answers with the pod's name and the client's address.
    pub fn pod(&mut self, node: &NodeNet, name: &str) -> Pod {
        let ns = self.netns(name);
        let ip = node.setup(name, &self.path(name)).unwrap().ips[0];
        let server = Server::start(&ns, SocketAddr::new(ip, 80), name);
        Pod {
            ns,
            ip,
            _server: server,
        }
    }
}

pub struct Pod {
    pub ns: NetNs,
    pub ip: IpAddr,
    _server: Server,
}

/// Says who answered and whom it saw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reply {
    pub name: String,
    pub client: IpAddr,
}

pub struct Server {
    tcp: Arc<TcpListener>,
    udp: Arc<UdpSocket>,
}

impl Server {
    pub fn start(ns: &NetNs, at: SocketAddr, name: &str) -> Self {
        let tcp = Arc::new(ns.listen_tcp(at).unwrap());
        let udp = Arc::new(ns.bind_udp(at).unwrap());
        tcp.set_nonblocking(false).unwrap();
        udp.set_nonblocking(false).unwrap();
        let (listener, answer) = (tcp.clone(), name.to_owned());
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                let _ = stream.write_all(format!("{answer} {}", from.ip()).as_bytes());
            }
        });
        let (socket, answer) = (udp.clone(), name.to_owned());
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((n, from)) = socket.recv_from(&mut buffer) {
                if n == 0 {
                    return;
                }
                let _ = socket.send_to(format!("{answer} {}", from.ip()).as_bytes(), from);
            }
        });
        Self { tcp, udp }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = shutdown(self.tcp.as_raw_fd(), Shutdown::Both);
        let _ = shutdown(self.udp.as_raw_fd(), Shutdown::Both);
    }
}

fn parse(text: &str) -> Reply {
    let (name, client) = text.split_once(' ').unwrap();
    Reply {
        name: name.to_owned(),
        client: client.parse().unwrap(),
    }
}

/// Connects from inside a namespace and reads the answer.
pub fn ask(from: &NetNs, to: (impl Into<IpAddr>, u16)) -> io::Result<Reply> {
    ask_within(from, to, PATIENCE)
}

pub fn ask_within(from: &NetNs, to: (impl Into<IpAddr>, u16), patience: Duration) -> io::Result<Reply> {
    let to = SocketAddr::new(to.0.into(), to.1);
    inside(from, || {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(parse(&text))
    })
}

/// A UDP socket inside, connected: it keeps its source port from question to question.
pub fn udp_client(from: &NetNs, to: (impl Into<IpAddr>, u16)) -> UdpSocket {
    let to = SocketAddr::new(to.0.into(), to.1);
    let socket = from.bind_udp((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket
}

pub fn ask_udp(socket: &UdpSocket) -> io::Result<Reply> {
    socket.send(b"?")?;
    let mut buffer = [0; 128];
    let n = socket.recv(&mut buffer)?;
    Ok(parse(std::str::from_utf8(&buffer[..n]).unwrap()))
}

pub fn inside<T: Send>(ns: &NetNs, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    ns.run(|| {
        f().map_err(|source| Error::Kernel {
            what: "asking".into(),
            source,
        })
    })
    .map_err(|e| match e {
        Error::Kernel { source, .. } => source,
        e => io::Error::other(e),
    })
}
