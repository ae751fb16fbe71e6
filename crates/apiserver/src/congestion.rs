//! How connections within the machine share the way: not by BBR. Where that is the machine's choice it sends each segment by
//! a timer, which for a neighbour process takes longer than everything else the kernel does for it.

use std::net::SocketAddr;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use tokio::net::{TcpListener, TcpStream};

/// The control that paces.
const PACING: &str = "bbr";
/// Every kernel has it, and everybody may choose it.
const WITHIN: &str = "reno";

/// What connections of one listener are given.
pub(crate) struct Congestion {
    /// [`PACING`] is the machine's choice, and accepted connections begin without.
    paced: bool,
}

impl Congestion {
    /// Connections are accepted without pacing from now on: a connection that began with it keeps it, whatever is
    /// chosen later.
    pub fn of(listener: &TcpListener) -> Self {
        let paced = tcp_congestion(listener).is_ok_and(|usual| usual == PACING)
            && set_tcp_congestion(listener, WITHIN).is_ok();
        Self { paced }
    }

    /// Gives a connection from another machine the machine's choice.
    pub fn accepted(&self, socket: &TcpStream, remote: SocketAddr) {
        if self.paced
            && !is_within(socket, remote)
            && let Err(error) = set_tcp_congestion(socket, PACING)
        {
            tracing::debug!(%remote, %error, "the congestion control of a connection stays {WITHIN}");
        }
    }
}

/// The client is a process of this machine, and came by one of its addresses.
fn is_within(socket: &TcpStream, remote: SocketAddr) -> bool {
    let address = remote.ip().to_canonical();
    let same = |local: SocketAddr| local.ip().to_canonical() == address;
    address.is_loopback() || socket.local_addr().is_ok_and(same)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_neighbour_is_not_paced_and_others_have_the_usual() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let before = tcp_congestion(&listener).unwrap();
        let congestion = Congestion::of(&listener);
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (_client, (socket, remote)) = (client.unwrap(), accepted.unwrap());
        congestion.accepted(&socket, remote);
        let within = tcp_congestion(&socket).unwrap();
        assert_ne!(within, PACING);
        congestion.accepted(&socket, "192.0.2.1:4000".parse().unwrap());
        assert_eq!(tcp_congestion(&socket).unwrap(), before);
    }
}
