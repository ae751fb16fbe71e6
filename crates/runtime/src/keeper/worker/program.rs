//! The last steps before execve, from inside the container: user, capabilities, seccomp, the program itself.

use super::seccomp;
use crate::keeper::launch_file::{Program, Seccomp};
use corten_sys::{capability, process};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Marks a message of ours among what libcontainer logs.
pub const COMPLAINT_PREFIX: &str = "\u{1}";

/// Becomes `program`. Returns only when that fails, with a message.
pub fn become_program(program: &Program) -> String {
    match try_become(program) {
        Ok(never) => match never {},
        Err(message) => format!("{COMPLAINT_PREFIX}{message}"),
    }
}

/// Writes to the complaint pipe, whose number outlived its owner across clone. When even that fails there is nobody to
/// tell; the keeper then reports libcontainer's own error.
pub fn complain(complaint: RawFd, message: &str) {
    let line = format!("{}\n", message.trim_end());
    let _ = corten_sys::fdpass::write_to_number(complaint, line.as_bytes());
}

fn try_become(program: &Program) -> Result<std::convert::Infallible, String> {
    enter_directory(&program.cwd)?;
    give_stdio_to(program.uid, program.gid);
    let filter = match &program.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::RuntimeDefault => Some(seccomp::runtime_default(&program.capabilities)),
        Seccomp::Localhost(path) => {
            return Err(format!(
                "seccomp profile {}: localhost profiles are not supported yet",
                path.display()
            ));
        }
    };
    process::become_user(program.uid, program.gid, &program.groups).map_err(|error| error.to_string())?;
    let everything = capability::own_bounding().map_err(|error| error.to_string())?;
    let all = capability::Sets {
        permitted: everything.clone(),
        effective: everything.clone(),
        bounding: everything,
        ..capability::Sets::default()
    };
    if program.uid != 0 {
        // Changing the user cleared the effective set; what follows still needs it.
        let _ = capability::apply(&all);
    }
    let path = find(program)?;
    let (path, args, env) = c_strings(&path, program)?;
    if program.no_new_privs {
        process::set_no_new_privs().map_err(|error| error.to_string())?;
    }
    if let Some(filter) = &filter {
        // Without no_new_privs this needs CAP_SYS_ADMIN, so it comes before the capabilities go.
        corten_sys::seccomp::install(filter).map_err(|error| error.to_string())?;
    }
    drop_capabilities(&program.capabilities, &program.ambient)?;
    process::close_on_exec_from(3).map_err(|error| error.to_string())?;
    let error = process::exec(&path, &args, &env);
    Err(match error.raw_os_error() {
        Some(libc::ENOEXEC) => format!("exec {}: exec format error", path.to_string_lossy()),
        _ => format!("exec {}: {}", path.to_string_lossy(), words(&error)),
    })
}

fn drop_capabilities(keep: &BTreeSet<String>, ambient: &BTreeSet<String>) -> Result<(), String> {
    let sets = capability::Sets {
        bounding: keep.clone(),
        permitted: keep.clone(),
        effective: keep.clone(),
        inheritable: ambient.clone(),
        ambient: ambient.clone(),
    };
    capability::apply(&sets).map_err(|error| error.to_string())
}

/// runc makes a missing working directory, and so do we.
fn enter_directory(cwd: &str) -> Result<(), String> {
    let cwd = if cwd.is_empty() { "/" } else { cwd };
    if !Path::new(cwd).exists() {
        fs::create_dir_all(cwd).map_err(|error| format!("mkdir {cwd}: {}", words(&error)))?;
    }
    std::env::set_current_dir(cwd).map_err(|error| {
        format!(
            "chdir to cwd ({cwd:?}) set in config.json failed: {}",
            words(&error)
        )
    })
}

/// Lets the user open `/dev/stdout` anew: pipes and terminals are made by root. Devices of others are left alone.
fn give_stdio_to(uid: u32, gid: u32) {
    use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
    let fds: [BorrowedFd<'_>; 3] = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for fd in fds {
        let Ok(stat) = fstat(fd) else { continue };
        let terminal = rustix::termios::isatty(fd);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo || terminal {
            let group = if terminal { None } else { Some(Gid::from_raw(gid)) };
            let _ = fchown(fd.as_fd(), Some(Uid::from_raw(uid)), group);
        }
    }
}

/// The program's path, or runc's message why there is none.
fn find(program: &Program) -> Result<PathBuf, String> {
    let name = program.args.first().map(String::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err("exec: \"\": executable file not found in $PATH".to_owned());
    }
    if name.contains('/') {
        return executable(Path::new(name))
            .map(|()| PathBuf::from(name))
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => format!("exec: {name:?}: stat {name}: no such file or directory"),
                _ => format!("exec: {name:?}: {}", words(&error)),
            });
    }
    let path = program
        .env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or_default();
    let mut denied = false;
    for dir in path.split(':') {
        let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) => denied |= error.kind() == ErrorKind::PermissionDenied,
        }
    }
    let reason = if denied {
        "permission denied"
    } else {
        "executable file not found in $PATH"
    };
    Err(format!("exec: {name:?}: {reason}"))
}

fn executable(path: &Path) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}

/// The kernel's words without Rust's "(os error N)", in lower case, as Go prints them.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn c_strings(path: &Path, program: &Program) -> Result<(CString, Vec<CString>, Vec<CString>), String> {
    use std::os::unix::ffi::OsStrExt;
    let convert =
        |text: &[u8]| CString::new(text).map_err(|_| "a NUL byte in the command or environment".to_owned());
    let list = |texts: &[String]| {
        texts
            .iter()
            .map(|text| convert(text.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok((
        convert(path.as_os_str().as_bytes())?,
        list(&program.args)?,
        list(&program.env)?,
    ))
}
