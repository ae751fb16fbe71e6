//! Which devices a group may touch: a list of rules on v1, a small eBPF program on v2.

use super::write;
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    All,
    Char,
    Block,
}

/// Read, write, make a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

impl Access {
    pub const ALL: Access = Access {
        read: true,
        write: true,
        mknod: true,
    };
    pub const MKNOD: Access = Access {
        read: false,
        write: false,
        mknod: true,
    };

    /// From the letters `r`, `w`, `m`.
    pub fn parse(letters: &str) -> Self {
        Self {
            read: letters.contains('r'),
            write: letters.contains('w'),
            mknod: letters.contains('m'),
        }
    }

    fn letters(self) -> String {
        [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')]
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, l)| l)
            .collect()
    }

    /// BPF_DEVCG_ACC_* (linux/bpf.h).
    fn bits(self) -> i32 {
        i32::from(self.mknod) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// Allows one kind of access; None stands for every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    pub kind: DeviceKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

/// Then a program would only have code that is never reached, which the kernel's verifier refuses.
fn allows_everything(rules: &[DeviceRule]) -> bool {
    let everything = |rule: &DeviceRule| {
        (rule.kind, rule.major, rule.minor, rule.access) == (DeviceKind::All, None, None, Access::ALL)
    };
    rules.iter().any(everything)
}

/// Denies all, then allows rule by rule.
pub(super) fn apply_v1(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    if allows_everything(rules) {
        return write(&dir.join("devices.allow"), "a");
    }
    write(&dir.join("devices.deny"), "a")?;
    let number = |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |value| value.to_string());
    for rule in rules {
        let kinds: &[char] = match rule.kind {
            DeviceKind::All => &['b', 'c'],
            DeviceKind::Char => &['c'],
            DeviceKind::Block => &['b'],
        };
        for kind in kinds {
            let line = format!(
                "{kind} {}:{} {}",
                number(rule.major),
                number(rule.minor),
                rule.access.letters()
            );
            write(&dir.join("devices.allow"), &line)?;
        }
    }
    Ok(())
}

/// One instruction of eBPF as the kernel takes it (linux/bpf.h, `struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high four.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb4;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
/// 32-bit compare with an immediate, jump where not equal. 64-bit jumps would sign-extend.
const JUMP_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

fn op(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset,
        immediate,
    }
}

/// The context is `struct bpf_cgroup_dev_ctx { access_type, major, minor }`; access_type is `access << 16 | kind`.
/// r2 = kind (block 1, char 2), r3 = access, r4 = major, r5 = minor. Returns 1 to allow.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut code = vec![
        op(LOAD_WORD, 2, 1, 0, 0),
        op(MOVE_REGISTER, 3, 2, 0, 0),
        op(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        op(SHIFT_RIGHT, 3, 0, 0, 16),
        op(LOAD_WORD, 4, 1, 4, 0),
        op(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules {
        let mut tests = Vec::new();
        match rule.kind {
            DeviceKind::All => {}
            DeviceKind::Block => tests.push(op(JUMP_NOT_EQUAL, 2, 0, 0, 1)),
            DeviceKind::Char => tests.push(op(JUMP_NOT_EQUAL, 2, 0, 0, 2)),
        }
        if rule.access != Access::ALL {
            // Whatever is asked for beyond the rule's access is not allowed by it.
            tests.push(op(MOVE_REGISTER, 1, 3, 0, 0));
            tests.push(op(AND_IMMEDIATE, 1, 0, 0, !rule.access.bits() & 7));
            tests.push(op(JUMP_NOT_EQUAL, 1, 0, 0, 0));
        }
        if let Some(major) = rule.major {
            tests.push(op(JUMP_NOT_EQUAL, 4, 0, 0, major as i32));
        }
        if let Some(minor) = rule.minor {
            tests.push(op(JUMP_NOT_EQUAL, 5, 0, 0, minor as i32));
        }
        let past_rule = tests.len() + 2;
        for (at, test) in tests.iter_mut().enumerate() {
            if test.code == JUMP_NOT_EQUAL {
                test.offset = (past_rule - at - 1) as i16;
            }
        }
        code.extend(tests);
        code.push(op(MOVE_IMMEDIATE, 0, 0, 0, 1));
        code.push(op(EXIT, 0, 0, 0, 0));
    }
    code.push(op(MOVE_IMMEDIATE, 0, 0, 0, 0));
    code.push(op(EXIT, 0, 0, 0, 0));
    code
}

/// `bpf(BPF_PROG_LOAD)` arguments, the leading fields.
#[repr(C)]
struct LoadArguments {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// `bpf(BPF_PROG_ATTACH)` arguments, the leading fields.
#[repr(C)]
struct AttachArguments {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// Loads the program and attaches it to the group; the group keeps it alive.
#[allow(unsafe_code)]
pub(super) fn apply_v2(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    if allows_everything(rules) {
        return Ok(());
    }
    let code = program(rules);
    let license = c"Apache-2.0";
    let load = LoadArguments {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` and what it points to (code, license) outlive the call; the size given is its own.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_LOAD,
            &raw const load,
            size_of::<LoadArguments>(),
        )
    };
    if fd < 0 {
        return Err(Error::new("load the device program", io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just given us this descriptor.
    let loaded = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let group = File::open(dir).map_err(|error| Error::new(format!("open {}", dir.display()), error))?;
    let attach = AttachArguments {
        target: group.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: `attach` outlives the call; the size given is its own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_ATTACH,
            &raw const attach,
            size_of::<AttachArguments>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::new(
        format!("attach the device program to {}", dir.display()),
        io::Error::last_os_error(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interprets the few instructions that `program` emits.
    fn run(code: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> i32 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0i32; 11];
        let mut at = 0;
        loop {
            let step = code[at];
            let (to, from) = ((step.registers & 15) as usize, (step.registers >> 4) as usize);
            at += 1;
            match step.code {
                LOAD_WORD => registers[to] = context[(step.offset / 4) as usize],
                MOVE_REGISTER => registers[to] = registers[from],
                MOVE_IMMEDIATE => registers[to] = step.immediate,
                AND_IMMEDIATE => registers[to] &= step.immediate,
                SHIFT_RIGHT => registers[to] = ((registers[to] as u32) >> step.immediate) as i32,
                JUMP_NOT_EQUAL if registers[to] != step.immediate => at = (at as i16 + step.offset) as usize,
                JUMP_NOT_EQUAL => {}
                _ => return registers[0],
            }
        }
    }

    #[test]
    fn program_allows_what_the_rules_say() {
        let null = DeviceRule {
            kind: DeviceKind::Char,
            major: Some(1),
            minor: Some(3),
            access: Access::ALL,
        };
        let make = DeviceRule {
            kind: DeviceKind::All,
            major: None,
            minor: None,
            access: Access::MKNOD,
        };
        let code = program(&[make, null]);
        assert_eq!(run(&code, 2, 6, 1, 3), 1, "read and write /dev/null");
        assert_eq!(run(&code, 1, 2, 8, 0), 0, "read a disk");
        assert_eq!(run(&code, 1, 1, 8, 0), 1, "make a node");
        assert_eq!(run(&code, 1, 3, 8, 0), 0, "make and read");
        assert_eq!(run(&code, 1, 6, 1, 3), 0, "block 1:3 is not /dev/null");
    }
}
