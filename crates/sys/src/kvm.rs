//! What `/dev/kvm` is worth: whether the processor itself runs the kernel of a guest, or KVM emulates each of its
//! instructions, as a KVM without hardware support does. The device answers the same in both cases; only time tells.

use std::io;
use std::time::Duration;

use kvm_ioctls::Kvm;

/// What stands in the way, and at which call.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct KvmError {
    /// What was tried.
    pub action: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// How long the guest's loop took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPace {
    /// Instructions that were run in the guest's kernel mode.
    pub instructions: u32,
    /// The best of a few tries.
    pub took: Duration,
}

impl GuestPace {
    /// Nanoseconds per instruction.
    pub fn nanos_each(self) -> u64 {
        u64::try_from(self.took.as_nanos()).unwrap_or(u64::MAX) / u64::from(self.instructions.max(1))
    }
}

/// The version of the interface that every KVM has had since Linux 2.6.22 (the kernel's Documentation/virt/kvm/api.rst, 4.1).
const API_VERSION: i32 = 12;

fn failed(action: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| KvmError { action, source: io::Error::from_raw_os_error(error.errno()) }
}

/// Opens `/dev/kvm`, and lets the smallest of machines count in kernel mode (real mode, on x86). `None` in place of a pace
/// where this architecture has no such program; no KVM that emulates is known there.
///
/// # Errors
/// What the kernel says to opening the device, to making a machine, or to running it.
pub fn measure() -> Result<Option<GuestPace>, KvmError> {
    let kvm = Kvm::new().map_err(failed("open /dev/kvm"))?;
    if kvm.get_api_version() != API_VERSION {
        return Err(KvmError {
            action: "ask KVM for its version",
            source: io::ErrorKind::Unsupported.into(),
        });
    }
    let machine = kvm.create_vm().map_err(failed("make a machine"))?;
    pace::of(&machine)
}

#[cfg(target_arch = "x86_64")]
mod pace {
    use std::io;
    use std::time::Instant;

    use kvm_bindings::kvm_userspace_memory_region;
    use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};

    use super::{GuestPace, KvmError, failed};

    /// `again: dec cx; jnz again; hlt`.
    const PROGRAM: [u8; 4] = [0x49, 0x75, 0xfd, 0xf4];
    /// Where the program and nothing else is.
    const ADDRESS: u64 = 0x1000;
    const PAGE_BYTES: usize = 4096;
    const ROUNDS: u32 = 1000;
    const TRIES: usize = 2;

    /// Memory of the guest: one page, private to this process.
    struct Page(*mut libc::c_void);

    #[expect(unsafe_code, reason = "memory that a machine is given by address")]
    impl Page {
        fn with(program: &[u8; 4]) -> io::Result<Self> {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new anonymous mapping; no address is asked for.
            let start = unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, access, kind, -1, 0) };
            if start == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the page is longer than the program, new, and nobody else's.
            unsafe { std::ptr::copy_nonoverlapping(program.as_ptr(), start.cast(), program.len()) };
            Ok(Self(start))
        }

        fn give_to(&self, machine: &VmFd) -> Result<(), kvm_ioctls::Error> {
            let region = kvm_userspace_memory_region {
                slot: 0,
                flags: 0,
                guest_phys_addr: ADDRESS,
                memory_size: PAGE_BYTES as u64,
                userspace_addr: self.0 as u64,
            };
            // SAFETY: the page stays mapped for as long as `self`, which the only caller keeps until its machine has run
            // for the last time; this process reads nothing from it that the guest could write.
            unsafe { machine.set_user_memory_region(region) }
        }
    }

    impl Drop for Page {
        #[expect(unsafe_code, reason = "unmaps what `with` has mapped")]
        fn drop(&mut self) {
            // SAFETY: mapped by `with` with this length, and not used after this.
            unsafe { libc::munmap(self.0, PAGE_BYTES) };
        }
    }

    pub(super) fn of(machine: &VmFd) -> Result<Option<GuestPace>, KvmError> {
        let page = Page::with(&PROGRAM)
            .map_err(|source| KvmError { action: "take memory for a machine", source })?;
        page.give_to(machine).map_err(failed("give memory to a machine"))?;
        let mut processor = machine.create_vcpu(0).map_err(failed("make a processor"))?;
        let mut best = None;
        for _ in 0..TRIES {
            let took = run(&mut processor)?;
            best = Some(best.map_or(took, |best: std::time::Duration| best.min(took)));
        }
        Ok(best.map(|took| GuestPace { instructions: 2 * ROUNDS + 1, took }))
    }

    /// From the program's first instruction to its halt.
    fn run(processor: &mut VcpuFd) -> Result<std::time::Duration, KvmError> {
        let mut segments = processor.get_sregs().map_err(failed("read a processor's segments"))?;
        segments.cs.base = 0;
        segments.cs.selector = 0;
        processor.set_sregs(&segments).map_err(failed("set a processor's segments"))?;
        let mut registers = processor.get_regs().map_err(failed("read a processor's registers"))?;
        registers.rip = ADDRESS;
        registers.rcx = ROUNDS.into();
        // Bit 1 is always set (Intel SDM, volume 1, 3.4.3).
        registers.rflags = 2;
        processor.set_regs(&registers).map_err(failed("set a processor's registers"))?;
        let started = Instant::now();
        loop {
            match processor.run() {
                Ok(VcpuExit::Hlt) => return Ok(started.elapsed()),
                Ok(VcpuExit::Intr) => {}
                Ok(_) => {
                    let source = io::Error::other("it stopped at an instruction that KVM can't run");
                    return Err(KvmError { action: "run a machine", source });
                }
                Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {}
                Err(error) => return Err(failed("run a machine")(error)),
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod pace {
    use kvm_ioctls::VmFd;

    use super::{GuestPace, KvmError};

    #[expect(clippy::unnecessary_wraps, reason = "the same shape on every architecture")]
    pub(super) fn of(_: &VmFd) -> Result<Option<GuestPace>, KvmError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_machine_counts_where_there_is_kvm() {
        let started = Instant::now();
        match measure() {
            Ok(Some(pace)) => {
                println!(
                    "{} ns per instruction ({:?} for {}), {:?} in all",
                    pace.nanos_each(),
                    pace.took,
                    pace.instructions,
                    started.elapsed()
                );
                assert!(pace.took > Duration::ZERO);
            }
            Ok(None) => println!("SKIPPED: no program for this architecture"),
            Err(error) => println!("SKIPPED: {error}: {}", error.source),
        }
    }
}
