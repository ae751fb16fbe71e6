//! Exec, attach and port-forward sessions.

use super::terminal::Master;
use super::{Runtime, blocking, new_id, system};
use crate::cri::{
    AttachRequest, ContainerState, Duplex, Error, ExecIo, ExecRequest, ExecSyncResponse, NamespaceMode,
    Reader, Result, Streaming, TerminalSize, Writer,
};
use crate::keeper::protocol::{Exec, Exit, Reply, Request};
use async_trait::async_trait;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

/// Terminal sizes on their way; more are dropped.
const RESIZES: usize = 8;
/// Output kept by `exec_sync`, per stream; the rest is read and dropped.
const MAX_SYNC_OUTPUT: u64 = 16 << 20;
/// After an exec has ended or was killed, how long its output may stay open in the hands of what it left behind.
const OUTPUT_LINGER: Duration = Duration::from_secs(5);

/// A started exec session, with everything kept.
struct Session {
    id: String,
    stdin: Option<Writer>,
    stdout: Reader,
    stderr: Option<Reader>,
    master: Option<Master>,
    exit: oneshot::Receiver<Exit>,
}

fn pipe_pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Error::unknown(error.to_string()))
}

fn reader(fd: OwnedFd) -> Result<Reader> {
    Ok(Box::new(pipe::Receiver::from_owned_fd(fd)?))
}

fn writer(fd: OwnedFd) -> Result<Writer> {
    Ok(Box::new(pipe::Sender::from_owned_fd(fd)?))
}

impl Runtime {
    fn running(&self, id: &str) -> Result<String> {
        let state = self.inner.state.lock();
        let record = &state.container(id)?.record;
        if record.state == ContainerState::ContainerRunning as i32 {
            return Ok(record.id.clone());
        }
        let name =
            ContainerState::try_from(record.state).map_or("CONTAINER_UNKNOWN", |state| state.as_str_name());
        Err(Error::failed_precondition(format!(
            "failed to exec in container: container is in {name} state"
        )))
    }

    async fn start_exec(
        &self,
        container: &str,
        args: Vec<String>,
        tty: bool,
        stdin: bool,
    ) -> Result<Session> {
        let container = self.running(container)?;
        let id = new_id();
        let (tell, exit) = oneshot::channel();
        self.inner.state.lock().execs.insert(id.clone(), tell);
        let request = |id: &str| {
            Request::Exec(Exec {
                id: id.to_owned(),
                container,
                args,
                tty,
            })
        };
        let session = async {
            if tty {
                let (reply, fds) = self.keeper().call(request(&id), Vec::new()).await?;
                return Ok((reply, fds, None));
            }
            let (input, feed) = if stdin {
                let (theirs, ours) = pipe_pair()?;
                (theirs, Some(ours))
            } else {
                (std::fs::File::open("/dev/null")?.into(), None)
            };
            let ((stdout, out), (stderr, err)) = (pipe_pair()?, pipe_pair()?);
            let (reply, fds) = self.keeper().call(request(&id), vec![input, out, err]).await?;
            Ok::<_, Error>((reply, fds, Some((feed, stdout, stderr))))
        };
        match session.await {
            Ok((Reply::ExecStarted { .. }, mut fds, plain)) => match (plain, fds.pop()) {
                (Some((feed, stdout, stderr)), _) => Ok(Session {
                    id,
                    stdin: feed.map(writer).transpose()?,
                    stdout: reader(stdout)?,
                    stderr: Some(reader(stderr)?),
                    master: None,
                    exit,
                }),
                (None, Some(master)) => {
                    let master = Master::new(master)?;
                    let stdin: Option<Writer> = stdin.then(|| Box::new(master.clone()) as Writer);
                    Ok(Session {
                        id,
                        stdin,
                        stdout: Box::new(master.clone()),
                        stderr: None,
                        master: Some(master),
                        exit,
                    })
                }
                (None, None) => Err(Error::unknown("the keeper sent no terminal")),
            },
            Ok(_) => Err(Error::unknown("the keeper gave an unexpected answer")),
            Err(error) => {
                self.inner.state.lock().execs.remove(&id);
                Err(Error::unknown(format!(
                    "failed to exec in container: failed to start exec {id:?}: OCI runtime exec failed: exec failed: \
                     unable to start container process: {}",
                    error.message
                )))
            }
        }
    }

    pub(super) async fn run_exec_sync(
        &self,
        container: &str,
        args: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecSyncResponse> {
        let shown = args.join(" ");
        let mut session = self.start_exec(container, args, false, false).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ended = {
            let output = async {
                let err = session.stderr.as_mut();
                let read_err = async {
                    match err {
                        Some(err) => collect(err, &mut stderr).await,
                        None => Ok(()),
                    }
                };
                tokio::join!(collect(&mut session.stdout, &mut stdout), read_err)
            };
            let exit = &mut session.exit;
            let finish = async {
                tokio::pin!(output);
                let ended = tokio::select! {
                    ended = &mut *exit => ended,
                    _ = &mut output => return exit.await,
                };
                // The command has ended; what it started may hold its output open.
                let _ = tokio::time::timeout(OUTPUT_LINGER, &mut output).await;
                ended
            };
            if timeout.is_zero() {
                Some(finish.await)
            } else {
                tokio::time::timeout(timeout, finish).await.ok()
            }
        };
        match ended {
            Some(Ok(exit)) => Ok(ExecSyncResponse {
                stdout,
                stderr,
                exit_code: exit.code,
            }),
            Some(Err(_)) => Err(Error::unavailable("the keeper process was lost")),
            None => {
                self.kill_exec(session).await;
                Err(Error::deadline_exceeded(format!(
                    "failed to exec in container: timeout {}s exceeded: command {shown:?} timed out",
                    timeout.as_secs()
                )))
            }
        }
    }
}

impl Runtime {
    /// Kills a session with its group and sees it go: its exit, and its output closed by the last that had it.
    async fn kill_exec(&self, mut session: Session) {
        let kill = Request::Signal {
            id: session.id,
            signal: libc::SIGKILL,
            group: true,
        };
        if self.keeper().tell(kill).await.is_err() {
            return;
        }
        let gone = async {
            let _ = session.exit.await;
            let _ = tokio::io::copy(&mut session.stdout, &mut tokio::io::sink()).await;
            if let Some(stderr) = session.stderr.as_mut() {
                let _ = tokio::io::copy(stderr, &mut tokio::io::sink()).await;
            }
        };
        let _ = tokio::time::timeout(OUTPUT_LINGER, gone).await;
    }
}

/// Reads to the end, keeping no more than the limit.
async fn collect(from: &mut Reader, into: &mut Vec<u8>) -> io::Result<()> {
    from.take(MAX_SYNC_OUTPUT).read_to_end(into).await?;
    tokio::io::copy(from, &mut tokio::io::sink()).await.map(drop)
}

#[async_trait]
impl Streaming for Runtime {
    async fn exec(&self, request: ExecRequest) -> Result<ExecIo> {
        if request.cmd.is_empty() {
            return Err(Error::invalid("no command given"));
        }
        let session = self
            .start_exec(&request.container_id, request.cmd, request.tty, request.stdin)
            .await?;
        let (resize, sizes) = mpsc::channel(RESIZES);
        if let Some(master) = session.master {
            tokio::spawn(follow_size(sizes, move |size| {
                master.resize(size.width, size.height)
            }));
        }
        let exit = session.exit;
        Ok(ExecIo {
            stdin: session.stdin,
            stdout: Some(session.stdout),
            stderr: session.stderr,
            resize,
            exit: Box::pin(async move {
                exit.await
                    .map(|exit| exit.code)
                    .map_err(|_| Error::unavailable("the keeper process was lost"))
            }),
        })
    }

    async fn attach(&self, request: AttachRequest) -> Result<ExecIo> {
        let id = self.running(&request.container_id)?;
        let (config, mut exited) = {
            let state = self.inner.state.lock();
            let entry = state.container(&id)?;
            (
                entry.record.config.clone().unwrap_or_default(),
                entry.exited.subscribe(),
            )
        };
        let ((stdout, out), (stderr, err)) = (pipe_pair()?, pipe_pair()?);
        let attach = Request::Attach {
            id: id.clone(),
            stdin: request.stdin,
        };
        let (_, mut fds) = self.keeper().call(attach, vec![out, err]).await?;
        let (mut stdin, (resize, sizes)) = (None, mpsc::channel(RESIZES));
        match fds.pop() {
            Some(fd) if config.tty => {
                let master = Master::new(fd)?;
                stdin = Some(Box::new(master.clone()) as Writer);
                tokio::spawn(follow_size(sizes, move |size| {
                    master.resize(size.width, size.height)
                }));
            }
            Some(fd) => {
                // Every attached session and the keeper share this end: it must not become non-blocking under them all
                // by accident, which a pipe of one's own does not suffer from.
                stdin = Some(writer(reopen(&fd)?)?);
            }
            None => {}
        }
        if config.stdin_once && stdin.is_some() {
            // The keeper lets go of its end, so that the container sees the end of its input with this session's.
            self.keeper().tell(Request::CloseStdin { id }).await?;
        }
        Ok(ExecIo {
            stdin,
            stdout: if request.stdout {
                Some(reader(stdout)?)
            } else {
                None
            },
            stderr: if request.stderr && !config.tty {
                Some(reader(stderr)?)
            } else {
                None
            },
            resize,
            exit: Box::pin(async move {
                // An error means the container was removed: ended as well.
                let _ = exited.wait_for(|ended| *ended).await;
                Ok(0)
            }),
        })
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>> {
        let record = self.inner.state.lock().sandbox(sandbox_id)?.record.clone();
        if !record.ready {
            return Err(Error::failed_precondition(format!(
                "sandbox container {sandbox_id:?} is not running"
            )));
        }
        let options = record
            .config
            .as_ref()
            .map(super::sandbox::namespace_options)
            .unwrap_or_default();
        let netns = self.sandbox_dir(&record.id).join("ns/net");
        let id = record.id.clone();
        let dial = move || {
            let connect = |address: &str| std::net::TcpStream::connect((address, port)).map_err(connect_text);
            // One after the other: what listens may know one family only.
            connect("127.0.0.1").or_else(|four| {
                connect("::1").map_err(|six| {
                    let text = format!(
                        "failed to connect to localhost:{port} inside namespace {id:?}, \
                         IPv4: dial tcp4 127.0.0.1:{port}: {four} IPv6 dial tcp6 [::1]:{port}"
                    );
                    corten_sys::Error::new(text, io::Error::other(six))
                })
            })
        };
        let stream = blocking(move || {
            if options.network == NamespaceMode::Node as i32 {
                return dial().map_err(system);
            }
            corten_sys::namespace::in_netns(&netns, dial).map_err(system)
        })
        .await?;
        stream.set_nonblocking(true)?;
        Ok(Box::new(tokio::net::TcpStream::from_std(stream)?))
    }
}

/// As Go prints why there is no connection: `connect: connection refused`.
fn connect_text(error: io::Error) -> String {
    let what = match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => error.to_string(),
    };
    format!("connect: {what}")
}

/// A second open file for the same pipe, with flags of its own.
fn reopen(fd: &OwnedFd) -> Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    Ok(std::fs::OpenOptions::new().write(true).open(path)?.into())
}

async fn follow_size(
    mut sizes: mpsc::Receiver<TerminalSize>,
    apply: impl Fn(TerminalSize) -> io::Result<()>,
) {
    while let Some(size) = sizes.recv().await {
        if apply(size).is_err() {
            return;
        }
    }
}
