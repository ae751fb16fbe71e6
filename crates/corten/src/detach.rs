//! `up --detach`: the same command again in a session of its own. What it prints until it is ready is printed here.

use crate::paths::Paths;
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

/// The first word of the line with which a detached server says that it serves.
pub(crate) const READY: &str = "Corten is ready";

/// Starts the server detached and returns when it is ready or has failed.
pub(crate) fn start(paths: &Paths) -> anyhow::Result<()> {
    std::fs::create_dir_all(&paths.root)
        .with_context(|| format!("making the data directory {}", paths.root.display()))?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(paths.log())
        .with_context(|| format!("opening the log {}", paths.log().display()))?;
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--detach" && argument != "-d");
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("starting the server")?;
    let output = child.stdout.take().context("the server's output")?;
    let mut ready = false;
    for line in BufReader::new(output).lines() {
        let line = line?;
        ready |= line.starts_with(READY);
        // Whoever reads this may have heard enough; the server goes on.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    if !ready {
        let status = child.wait()?;
        bail!(
            "the server ended before it was ready ({status}); its log is {}",
            paths.log().display()
        );
    }
    Ok(())
}

/// In the detached server, first of all: leave the terminal's session and its directory.
pub(crate) fn leave_session() {
    // Fails only where this process leads a group already, which is what is wanted.
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
}

/// In the detached server, once ready: end the output, which lets the starter return.
pub(crate) fn release() -> anyhow::Result<()> {
    std::io::stdout().flush()?;
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}
