//! Installing a seccomp filter: classic BPF over `struct seccomp_data` (seccomp(2)).

use crate::error::{Error, Result};
use std::io;

/// One instruction, as in linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const Instruction,
}

/// Applies the filter to this thread and all it starts. Needs no_new_privs or CAP_SYS_ADMIN.
#[allow(unsafe_code)]
pub fn install(code: &[Instruction]) -> Result<()> {
    let length = libc::c_ushort::try_from(code.len()).map_err(|_| {
        Error::new(
            "install seccomp filter",
            io::Error::from_raw_os_error(libc::E2BIG),
        )
    })?;
    let program = Program {
        length,
        instructions: code.as_ptr(),
    };
    // SAFETY: `program` and the instructions it points to outlive the call, and the length is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0usize,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Error::new("install seccomp filter", io::Error::last_os_error()))
    }
}
