//! Pseudo-terminals.

use crate::error::{Attempt, Result};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::{AsFd, OwnedFd};

/// Opens a new terminal of the `devpts` that is mounted at `/dev/pts` (so that inside a container the container's is
/// used). Returns master and slave, both close-on-exec.
pub fn open() -> Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master =
        rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).attempt(|| "open /dev/pts/ptmx".into())?;
    rustix::pty::unlockpt(&master).attempt(|| "unlock terminal".into())?;
    let name = rustix::pty::ptsname(&master, Vec::new()).attempt(|| "name terminal".into())?;
    let slave =
        rustix::fs::open(name.as_c_str(), flags, Mode::empty()).attempt(|| format!("open {name:?}"))?;
    Ok((master, slave))
}

pub fn resize(master: impl AsFd, width: u16, height: u16) -> Result<()> {
    let size = Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).attempt(|| "resize terminal".into())
}

/// Makes `slave` the controlling terminal of the calling session leader.
pub fn make_controlling(slave: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(slave).attempt(|| "set controlling terminal".into())
}
