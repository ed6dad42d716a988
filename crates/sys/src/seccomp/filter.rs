//! The compiled filters and their installation.

use rustix::io;

use super::rule::{ArgumentTest, Outcome, Rule, RuleCase};
use crate::raw_syscall::checked;

include!(concat!(env!("OUT_DIR"), "/seccomp_filters.rs"));

/// A system call filter, compiled when this crate was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// For the profiles permissive and moderate.
    Standard,
    /// For the profile restrictive: no SysV or POSIX IPC, no netlink, no locked memory, and some more.
    Restrictive,
}

impl Filter {
    /// Its classic BPF program, see seccomp(2).
    pub fn program(self) -> &'static [libc::sock_filter] {
        match self {
            Self::Standard => &STANDARD,
            Self::Restrictive => &RESTRICTIVE,
        }
    }

    /// The same program as bytes in this machine's order, for an agent that installs it itself.
    pub fn program_bytes(self) -> Vec<u8> {
        let instruction = |it: &libc::sock_filter| {
            let [code0, code1] = it.code.to_ne_bytes();
            let [k0, k1, k2, k3] = it.k.to_ne_bytes();
            [code0, code1, it.jt, it.jf, k0, k1, k2, k3]
        };
        self.program().iter().flat_map(instruction).collect()
    }

    /// The table behind the program: every call of this machine that has a row. Others are answered with ENOSYS.
    pub fn rules(self) -> &'static [Rule] {
        match self {
            Self::Standard => &STANDARD_RULES,
            Self::Restrictive => &RESTRICTIVE_RULES,
        }
    }

    /// Puts the calling thread, and all it will start, under this filter for good. Child-safe: one raw system call.
    ///
    /// # Errors
    /// EACCES where neither no_new_privs is set nor CAP_SYS_ADMIN held; EINVAL or ENOSYS from a kernel without seccomp
    /// filters.
    #[expect(unsafe_code, reason = "seccomp has no safe wrapper")]
    pub fn install(self) -> io::Result<()> {
        let program = self.program();
        let argument = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: argument points at a static program of the stated length, which the kernel copies and doesn't write.
        checked(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const argument)
        })?;
        Ok(())
    }
}
