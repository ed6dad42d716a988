//! What this machine's KVM is. That `/dev/kvm` is there is not enough: a KVM without hardware support emulates guest
//! kernels, a thousand times slower, and can't run an ordinary one at all. Takes some milliseconds; whether a user wants to
//! go on all the same is the caller's to ask.

use std::path::Path;

use agentkernel_sys::kvm::{self, GuestPace, KvmError};
use rustix::io::Errno;

/// What the device is.
const DEVICE: &str = "/dev/kvm";
/// Above this, per instruction, no processor runs the guest itself. Hardware takes some nanoseconds, entering and leaving
/// the machine included, an emulating KVM 500 to 3000. A processor that says it can virtualise is believed longer: it may
/// be emulated itself, or this program may have been interrupted.
const EMULATED_NANOS: u64 = 100;
const EMULATED_NANOS_WITH_FLAGS: u64 = 1000;

/// What this machine's KVM is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmState {
    /// The processor runs guest kernels. The pace is not known on architectures where none is measured.
    Real {
        /// Nanoseconds per instruction of a guest's kernel mode.
        nanos_per_instruction: Option<u64>,
    },
    /// Guest kernels are emulated, instruction by instruction.
    Emulating {
        /// Nanoseconds per instruction of a guest's kernel mode.
        nanos_per_instruction: u64,
    },
    /// There is no such device.
    Missing,
    /// This user may not open it.
    NoPermission,
    /// It is there and opens, but makes or runs no machines.
    Broken {
        /// What failed, and how.
        what: String,
    },
}

impl KvmState {
    /// Looks, and lets a machine of four instructions run. Blocks for some milliseconds.
    pub fn of_this_machine() -> Self {
        Self::from_measured(kvm::measure(), hardware_flags().is_empty())
    }

    /// What opening it tells, which costs nothing; `None` where it opens.
    pub fn at_a_glance() -> Option<Self> {
        let opened = std::fs::File::options().read(true).write(true).open(DEVICE);
        opened.err().map(|source| Self::from_error(&KvmError { action: "open /dev/kvm", source }))
    }

    fn from_measured(measured: Result<Option<GuestPace>, KvmError>, flags: bool) -> Self {
        let most = if flags { EMULATED_NANOS_WITH_FLAGS } else { EMULATED_NANOS };
        match measured {
            Ok(None) => Self::Real { nanos_per_instruction: None },
            Ok(Some(pace)) if pace.nanos_each() > most => {
                Self::Emulating { nanos_per_instruction: pace.nanos_each() }
            }
            Ok(Some(pace)) => Self::Real { nanos_per_instruction: Some(pace.nanos_each()) },
            Err(error) => Self::from_error(&error),
        }
    }

    fn from_error(error: &KvmError) -> Self {
        let errno = error.source.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Self::Missing,
            Some(Errno::ACCESS | Errno::PERM) if error.action.contains(DEVICE) => Self::NoPermission,
            _ => Self::Broken { what: format!("{}: {}", error.action, error.source) },
        }
    }

    /// Whether guests may be started on it without the user having asked for it by name.
    pub fn is_real(&self) -> bool {
        matches!(self, Self::Real { .. })
    }

    /// Why not; `None` where all is well.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Real { .. } => None,
            Self::Emulating { nanos_per_instruction } => Some(format!(
                "{DEVICE} is there, but it emulates guest kernels ({nanos_per_instruction} ns for an instruction that \
                 takes hardware about one): ordinary kernels do not boot on it{}",
                hardware_flags()
            )),
            Self::Missing => Some(format!("there is no {DEVICE}{}", hardware_flags())),
            Self::NoPermission => {
                Some(format!("this user may not open {DEVICE}{}", owner_of(Path::new(DEVICE))))
            }
            Self::Broken { what } => Some(format!("{DEVICE} does not work: {what}")),
        }
    }

    /// What the user can do about it; `None` where all is well.
    pub fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Real { .. } => None,
            Self::Emulating { .. } => Some(
                "use a machine whose processor's virtualisation reaches it (bare metal, or a virtual machine with nested \
                 virtualisation on), or set `vmm = \"qemu\"` in [firecracker]",
            ),
            Self::Missing => Some(
                "load the module (`modprobe kvm_intel` or `kvm_amd`), turn on virtualisation in the firmware or nested \
                 virtualisation in the machine around this one, or set `vmm = \"qemu\"` in [firecracker]",
            ),
            Self::NoPermission => {
                Some("add the user to the device's group (`usermod -aG kvm USER`) and log in again")
            }
            Self::Broken { .. } => {
                Some("look into `dmesg` for kvm, or set `vmm = \"qemu\"` in [firecracker]")
            }
        }
    }
}

/// What the processor says; text for people only.
fn hardware_flags() -> &'static str {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag| flags.split_ascii_whitespace().any(|word| word == flag);
    match flags.is_empty() || has("vmx") || has("svm") {
        true => "",
        false => " (the processor offers neither vmx nor svm)",
    }
}

fn owner_of(device: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let text = |meta: std::fs::Metadata| {
        format!(" (user {}, group {}, mode {:03o})", meta.uid(), meta.gid(), meta.mode() & 0o777)
    };
    std::fs::metadata(device).map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pace(nanos: u64) -> KvmState {
        judged(nanos, true)
    }

    fn judged(nanos: u64, flags: bool) -> KvmState {
        let pace = GuestPace { instructions: 1000, took: Duration::from_nanos(1000 * nanos) };
        KvmState::from_measured(Ok(Some(pace)), flags)
    }

    #[test]
    fn time_tells_hardware_from_emulation() {
        assert_eq!(pace(1), KvmState::Real { nanos_per_instruction: Some(1) });
        assert!(pace(500).is_real() && !judged(500, false).is_real());
        assert!(judged(20, false).is_real(), "flags may be hidden");
        assert_eq!(pace(2700), KvmState::Emulating { nanos_per_instruction: 2700 });
        assert!(pace(2700).why().unwrap().contains("2700 ns"));
        assert!(pace(1).why().is_none() && pace(1).fix().is_none());
    }

    #[test]
    fn each_refusal_has_its_own_name() {
        let of = |action, errno: Errno| KvmState::from_error(&KvmError { action, source: errno.into() });
        assert_eq!(of("open /dev/kvm", Errno::NOENT), KvmState::Missing);
        assert_eq!(of("open /dev/kvm", Errno::ACCESS), KvmState::NoPermission);
        assert!(matches!(of("make a machine", Errno::PERM), KvmState::Broken { .. }));
        assert!(matches!(of("run a machine", Errno::INVAL), KvmState::Broken { .. }));
        for state in [KvmState::Missing, KvmState::NoPermission, of("make a machine", Errno::NOMEM)] {
            assert!(!state.is_real() && state.why().is_some() && state.fix().is_some());
        }
    }

    /// Where the processor offers nothing, whatever opens is an emulation.
    #[test]
    fn this_machine_is_judged_as_its_processor_says() {
        let state = KvmState::of_this_machine();
        println!("{state:?}");
        if hardware_flags().is_empty() {
            println!("SKIPPED: the processor does not say that it has no virtualisation");
            return;
        }
        assert!(!state.is_real(), "{state:?}");
    }
}
