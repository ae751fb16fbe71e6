//! Messages with file descriptors over unix stream sockets (unix(7), SCM_RIGHTS).

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The most descriptors that travel with one message.
pub const MAX_FDS: usize = 8;

/// Sends some of `bytes`, with all of `fds` attached to the first byte. Returns how many bytes went; WouldBlock means
/// none did, descriptors included.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    Ok(sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?)
}

/// Receives bytes into `buffer` and appends descriptors (close-on-exec) to `fds`. Zero bytes: the peer closed.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(adopt));
        }
    }
    Ok(message.bytes)
}

/// The user that holds the other end.
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::PeerCredentials)?.uid())
}

#[allow(unsafe_code)]
fn adopt(fd: RawFd) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the kernel has just installed this descriptor for us in recvmsg; nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Writes to a descriptor known only by number, after its owner was left behind by clone. Fails if it is not open.
#[allow(unsafe_code)]
pub fn write_to_number(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: write reads `bytes` only, within its length; a number that is not open gives EBADF.
    let count = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
