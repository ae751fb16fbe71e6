//! The default system-call filter ("RuntimeDefault"), by what container runtimes refuse in common.
//!
//! Everything that this kernel interface had when the table was made is allowed, less the table; what is newer answers
//! ENOSYS, so that programs fall back. Calls of other architectures (32-bit on 64-bit) answer ENOSYS too.

use corten_sys::seccomp::Instruction;
use std::collections::BTreeSet;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// The newest call that was looked at: mseal.
const NEWEST: u32 = 462;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = ERRNO | libc::ENOSYS as u32;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`: number, architecture, low half of the first argument (little-endian).
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;
const AT_FIRST_ARGUMENT: u32 = 16;

/// CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
const AF_VSOCK: u32 = 40;
/// Linux, Linux with 32-bit addresses, with UNAME26, both, and "only ask".
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Refused unless the container has one of the capabilities.
const RESTRICTED: &[(&[&str], &[libc::c_long])] = &[
    (
        &[],
        &[
            libc::SYS_add_key,
            libc::SYS_keyctl,
            libc::SYS_request_key,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_kexec_load,
            libc::SYS_kexec_file_load,
            libc::SYS_migrate_pages,
            libc::SYS_move_pages,
            libc::SYS_nfsservctl,
            libc::SYS_pivot_root,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_userfaultfd,
        ],
    ),
    (
        &["CAP_SYS_ADMIN"],
        &[
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (&["CAP_SYS_ADMIN", "CAP_BPF"], &[libc::SYS_bpf]),
    (&["CAP_SYS_ADMIN", "CAP_PERFMON"], &[libc::SYS_perf_event_open]),
    (&["CAP_SYS_ADMIN", "CAP_SYSLOG"], &[libc::SYS_syslog]),
    (&["CAP_DAC_READ_SEARCH"], &[libc::SYS_open_by_handle_at]),
    (&["CAP_SYS_BOOT"], &[libc::SYS_reboot]),
    (&["CAP_SYS_CHROOT"], &[libc::SYS_chroot]),
    (
        &["CAP_SYS_MODULE"],
        &[
            libc::SYS_delete_module,
            libc::SYS_init_module,
            libc::SYS_finit_module,
        ],
    ),
    (&["CAP_SYS_PACCT"], &[libc::SYS_acct]),
    (
        &["CAP_SYS_PTRACE"],
        &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise],
    ),
    (
        &["CAP_SYS_TIME"],
        &[libc::SYS_settimeofday, libc::SYS_clock_settime],
    ),
    (&["CAP_SYS_TTY_CONFIG"], &[libc::SYS_vhangup]),
    (
        &["CAP_SYS_NICE"],
        &[
            libc::SYS_get_mempolicy,
            libc::SYS_mbind,
            libc::SYS_set_mempolicy,
            SYS_SET_MEMPOLICY_HOME_NODE,
        ],
    ),
];

/// Not in every libc's list.
const SYS_SET_MEMPOLICY_HOME_NODE: libc::c_long = 450;

/// Calls that only x86 has.
#[cfg(target_arch = "x86_64")]
const RESTRICTED_HERE: &[(&[&str], &[libc::c_long])] = &[
    (
        &[],
        &[
            libc::SYS__sysctl,
            libc::SYS_sysfs,
            libc::SYS_uselib,
            libc::SYS_ustat,
        ],
    ),
    (&["CAP_SYS_ADMIN"], &[libc::SYS_lookup_dcookie]),
    (&["CAP_SYS_RAWIO"], &[libc::SYS_iopl, libc::SYS_ioperm]),
];
#[cfg(not(target_arch = "x86_64"))]
const RESTRICTED_HERE: &[(&[&str], &[libc::c_long])] = &[];

fn statement(code: u16, value: u32) -> Instruction {
    Instruction {
        code,
        jump_true: 0,
        jump_false: 0,
        value,
    }
}

fn jump(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}

/// The filter for a container with these capabilities.
pub fn runtime_default(capabilities: &BTreeSet<String>) -> Vec<Instruction> {
    let mut code = vec![
        statement(LOAD, AT_ARCHITECTURE),
        jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, ENOSYS),
        statement(LOAD, AT_NUMBER),
        jump(JUMP_GREATER, NEWEST, 0, 1),
        statement(RETURN, ENOSYS),
    ];
    for (needs, calls) in RESTRICTED.iter().chain(RESTRICTED_HERE) {
        if needs.iter().any(|name| capabilities.contains(*name)) {
            continue;
        }
        for call in *calls {
            code.extend([jump(JUMP_EQUAL, *call as u32, 0, 1), statement(RETURN, EPERM)]);
        }
    }
    code.extend([
        jump(JUMP_EQUAL, libc::SYS_socket as u32, 0, 4),
        statement(LOAD, AT_FIRST_ARGUMENT),
        jump(JUMP_EQUAL, AF_VSOCK, 0, 1),
        statement(RETURN, EPERM),
        statement(RETURN, ALLOW),
    ]);
    if !capabilities.contains("CAP_SYS_ADMIN") {
        code.extend([
            jump(JUMP_EQUAL, libc::SYS_clone3 as u32, 0, 1),
            // Its flags are in memory, which a filter cannot read; C libraries fall back to clone.
            statement(RETURN, ENOSYS),
            jump(JUMP_EQUAL, libc::SYS_clone as u32, 0, 4),
            statement(LOAD, AT_FIRST_ARGUMENT),
            jump(JUMP_ANY_BIT, NAMESPACE_FLAGS, 0, 1),
            statement(RETURN, EPERM),
            statement(RETURN, ALLOW),
        ]);
    }
    code.push(jump(
        JUMP_EQUAL,
        libc::SYS_personality as u32,
        0,
        PERSONALITIES.len() as u8 + 2,
    ));
    code.push(statement(LOAD, AT_FIRST_ARGUMENT));
    for (at, value) in PERSONALITIES.iter().enumerate() {
        code.push(jump(JUMP_EQUAL, *value, (PERSONALITIES.len() - at) as u8, 0));
    }
    code.extend([statement(RETURN, EPERM), statement(RETURN, ALLOW)]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &[Instruction], number: libc::c_long, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = code[at];
            at += 1;
            let test = match step.code {
                LOAD => {
                    value = match step.value {
                        AT_NUMBER => number as u32,
                        AT_ARCHITECTURE => ARCHITECTURE,
                        _ => argument,
                    };
                    continue;
                }
                JUMP_EQUAL => value == step.value,
                JUMP_GREATER => value > step.value,
                JUMP_ANY_BIT => value & step.value != 0,
                _ => return step.value,
            };
            at += usize::from(if test { step.jump_true } else { step.jump_false });
        }
    }

    #[test]
    fn default_filter() {
        let none = runtime_default(&BTreeSet::new());
        assert_eq!(run(&none, libc::SYS_read, 0), ALLOW);
        assert_eq!(run(&none, libc::SYS_mount, 0), EPERM);
        assert_eq!(run(&none, libc::SYS_socket, AF_VSOCK), EPERM);
        assert_eq!(run(&none, libc::SYS_socket, 2), ALLOW);
        assert_eq!(run(&none, libc::SYS_clone, 0x1200011), ALLOW);
        assert_eq!(run(&none, libc::SYS_clone, 0x1000_0000), EPERM);
        assert_eq!(run(&none, libc::SYS_clone3, 0), ENOSYS);
        assert_eq!(run(&none, libc::SYS_personality, 0x2_0008), ALLOW);
        assert_eq!(run(&none, libc::SYS_personality, 0xffff_ffff), ALLOW);
        assert_eq!(run(&none, libc::SYS_personality, 0x4_0000), EPERM);
        assert_eq!(run(&none, 5000, 0), ENOSYS);
        let admin = runtime_default(&["CAP_SYS_ADMIN".to_owned()].into());
        assert_eq!(run(&admin, libc::SYS_mount, 0), ALLOW);
        assert_eq!(run(&admin, libc::SYS_reboot, 0), EPERM);
    }
}
