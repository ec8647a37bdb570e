//! No network, held by the kernel: a seccomp filter over every thread, put on after start-up and never taken off.
//!
//! Refused with `EPERM`, so that whatever asks gets an error and the program goes on:
//!
//! | call | why |
//! |---|---|
//! | `socket` of any family but `AF_UNIX` | the promise: no inet, no packet, no netlink, no vsock |
//! | `io_uring_setup` | its rings open sockets without the call `socket` |
//! | `execve`, `execveat` | another program would not know of the promise |
//! | `ptrace`, `process_vm_writev` | to make another process do it |
//!
//! Sockets that are there already stay: the links'. A filter on a list of what is *allowed* would be tighter and would break with
//! the next version of the C library; systemd's `SystemCallFilter=` and `PrivateNetwork=` in `boards/` add to this one.
//!
//! `seccompiler` writes filters for x86-64, aarch64 and riscv64. On other processors there is none, and that is said.

use std::io;

use rustix::net::{AddressFamily, SocketType};

/// Puts the filter on every thread of the process.
///
/// # Errors
///
/// What the system answered; [`io::ErrorKind::Unsupported`] on a processor or a kernel without filters.
pub fn confine() -> io::Result<()> {
    filter::apply()
}

/// Whether an inet socket is refused: tries to open one.
///
/// # Errors
///
/// A sentence, if one could be opened.
pub fn probe() -> Result<(), String> {
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        match rustix::net::socket(family, SocketType::STREAM, None) {
            // closed at once, and nothing was sent
            Ok(_) => return Err(format!("a network socket ({family:?}) can be opened")),
            Err(rustix::io::Errno::PERM) => {}
            // a kernel without that family: as good as refused
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]
mod filter {
    use std::{collections::BTreeMap, io};

    use rustix::{io::Errno, net::AddressFamily};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    /// Numbers of system calls, from the kernel's tables.
    #[cfg(target_arch = "x86_64")]
    mod number {
        pub(super) const SOCKET: i64 = 41;
        pub(super) const REFUSED: [i64; 5] = [425, 59, 322, 101, 311];
        /// The same kernel also takes calls of the x32 interface, under numbers of their own.
        pub(super) const X32: i64 = 0x4000_0000;
        pub(super) const X32_REFUSED: [i64; 5] = [425, 520, 545, 521, 540];
    }
    /// The list that newer processors share.
    #[cfg(not(target_arch = "x86_64"))]
    mod number {
        pub(super) const SOCKET: i64 = 198;
        pub(super) const REFUSED: [i64; 5] = [425, 221, 281, 117, 271];
    }

    pub(super) fn apply() -> io::Result<()> {
        let bad = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
        let program = program().map_err(|e| bad(&e))?;
        seccompiler::apply_filter_all_threads(&program).map_err(|e| match e {
            seccompiler::Error::Seccomp(e) | seccompiler::Error::Prctl(e) => e,
            e => bad(&e),
        })
    }

    fn program() -> Result<BpfProgram, seccompiler::BackendError> {
        let other_families = || {
            SeccompRule::new(vec![SeccompCondition::new(
                0,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::Ne,
                AddressFamily::UNIX.as_raw().into(),
            )?])
        };
        // a call without conditions is refused whatever its arguments
        let mut rules = BTreeMap::from(number::REFUSED.map(|call| (call, vec![])));
        rules.insert(number::SOCKET, vec![other_families()?]);
        #[cfg(target_arch = "x86_64")]
        {
            rules.extend(number::X32_REFUSED.map(|call| (call | number::X32, vec![])));
            rules.insert(number::SOCKET | number::X32, vec![other_families()?]);
        }
        SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(Errno::PERM.raw_os_error().cast_unsigned()),
            std::env::consts::ARCH.try_into()?,
        )?
        .try_into()
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn the_filter_compiles() {
            let program = super::program().expect("a filter");
            assert!(program.len() > 10);
        }
    }
}

#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
)))]
mod filter {
    pub(super) fn apply() -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
