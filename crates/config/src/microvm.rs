//! What microVMs are made with.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use agentkernel_model::Mib;

use crate::file::{FileValues, FirecrackerSection, SizeValue};
use crate::grants::refuse_unnamed_file;
use crate::ledger::Ledger;
use crate::load::Sources;
use crate::source::{Offers, Sourced};
use crate::variables::{self as var, lookup, typed};
use crate::{ConfigError, Environment, Origin, Vmm};

/// The section `[firecracker]`. Programs and the kernel that are `None` are looked for. Paths are absolute; whether
/// something is there is seen when a machine is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MicrovmSettings {
    /// The virtual machine monitor.
    pub vmm: Vmm,
    /// The guest's kernel.
    pub kernel: Option<PathBuf>,
    /// Firecracker's program.
    pub firecracker: Option<PathBuf>,
    /// Its jailer.
    pub jailer: Option<PathBuf>,
    /// QEMU's program.
    pub qemu: Option<PathBuf>,
    /// The vsock daemon that QEMU's machines need.
    pub vhost_device_vsock: Option<PathBuf>,
    /// Whether machines are made where the KVM only emulates guest kernels.
    pub allow_emulated_kvm: bool,
    /// The most that saved starts may hold.
    pub max_template_size: Option<Mib>,
    /// What is read and written of each disk, per second.
    pub disk_bandwidth: Option<Mib>,
    /// Reads and writes of each disk, per second.
    pub disk_iops: Option<NonZero<u32>>,
    /// What is received, and what is sent, per second.
    pub network_bandwidth: Option<Mib>,
    /// Where programs are looked for: the folders of `PATH`.
    pub search: Vec<PathBuf>,
}

impl MicrovmSettings {
    /// What the environment alone says. A monitor that doesn't exist is for verbs with settings to refuse.
    pub(crate) fn of(environment: &Environment) -> Self {
        Self {
            vmm: typed(environment, var::FIRECRACKER_VMM).ok().flatten().unwrap_or_default(),
            kernel: kernel_of_variable(environment),
            search: environment.path_dirs(),
            ..Self::default()
        }
    }
}

fn kernel_of_variable(environment: &Environment) -> Option<PathBuf> {
    lookup(environment, var::FIRECRACKER_KERNEL).map(|path| environment.absolute(Path::new(path)))
}

/// Variables over the file. Whoever chooses a program chooses what runs outside of every sandbox, and whoever chooses the
/// monitor how good the wall is: not a file that was only found.
pub(crate) fn decide(sources: &Sources<'_>, ledger: &mut Ledger) -> Result<MicrovmSettings, ConfigError> {
    let Sources { environment, file, .. } = *sources;
    let absent = FileValues::default();
    let section = &file.map_or(&absent, |file| &file.config.values).firecracker;
    let offers = Offers::flag(None)
        .variable(var::FIRECRACKER_VMM, typed(environment, var::FIRECRACKER_VMM)?)
        .file(file, "firecracker.vmm", section.vmm);
    let fallback = Sourced { value: Vmm::default(), origin: Origin::Default };
    let vmm = ledger.decide("firecracker.vmm", offers, fallback);
    refuse_unnamed_file(file, &vmm.origin, "firecracker.vmm", || format!("the isolation of {}", vmm.value))?;
    let mut path = |key, variable: Option<(&'static str, Option<PathBuf>)>, of_file: &Option<PathBuf>| {
        let mut offers = Offers::flag(None);
        if let Some((variable, value)) = variable {
            offers = offers.variable(variable, value);
        }
        let named =
            file.zip(of_file.as_deref()).map(|(file, path)| absolute(path, file.folder(), environment));
        let decided = offers.file(file, key, named.transpose()?).strongest();
        match &decided {
            Some(Sourced { value, origin }) => {
                refuse_unnamed_file(file, origin, key, || format!("what {} does", value.display()))?;
                ledger.note(key, value.display(), origin.clone());
            }
            None => ledger.note(key, "searched", Origin::Default),
        }
        Ok::<_, ConfigError>(decided.map(|decided| decided.value))
    };
    let kernel_variable = Some((var::FIRECRACKER_KERNEL, kernel_of_variable(environment)));
    let FirecrackerSection { kernel, firecracker, jailer, qemu, vhost_device_vsock, .. } = section;
    let kernel = path("firecracker.kernel", kernel_variable, kernel)?;
    let firecracker = path("firecracker.firecracker", None, firecracker)?;
    let jailer = path("firecracker.jailer", None, jailer)?;
    let qemu = path("firecracker.qemu", None, qemu)?;
    let vhost_device_vsock = path("firecracker.vhost_device_vsock", None, vhost_device_vsock)?;
    let key = "firecracker.allow_emulated_kvm";
    let offers = Offers::flag(None).file(file, key, section.allow_emulated_kvm);
    let emulated = ledger.decide(key, offers, Sourced { value: false, origin: Origin::Default });
    refuse_unnamed_file(file, &emulated.origin, key, || "machines on a KVM that only emulates".to_owned())?;
    // What only limits may come from any file.
    let mut size = |key, value: Option<SizeValue>, absent| {
        let offers = Offers::flag(None).file(file, key, value.map(|size| size.0));
        ledger.decide_optional(key, offers, absent)
    };
    let max_template_size = size("firecracker.max_template_size", section.max_template_size, "4 GiB");
    let disk_bandwidth = size("firecracker.disk_bandwidth", section.disk_bandwidth, "unlimited");
    let network_bandwidth = size("firecracker.network_bandwidth", section.network_bandwidth, "unlimited");
    let offers = Offers::flag(None).file(file, "firecracker.disk_iops", section.disk_iops);
    let disk_iops = ledger.decide_optional("firecracker.disk_iops", offers, "unlimited");
    Ok(MicrovmSettings {
        vmm: vmm.value,
        kernel,
        firecracker,
        jailer,
        qemu,
        vhost_device_vsock,
        allow_emulated_kvm: emulated.value,
        max_template_size,
        disk_bandwidth,
        disk_iops,
        network_bandwidth,
        search: environment.path_dirs(),
    })
}

/// As the file's other paths, but nothing need be there.
fn absolute(path: &Path, folder: &Path, environment: &Environment) -> Result<PathBuf, ConfigError> {
    let Ok(below) = path.strip_prefix("~") else { return Ok(folder.join(path)) };
    let what = || ConfigError::NoHome { what: format!("path {}", path.display()) };
    Ok(environment.home.as_ref().ok_or_else(what)?.join(below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::environment;
    use crate::{Overrides, load};

    #[test]
    fn the_environment_alone_names_monitor_kernel_and_where_programs_are() {
        let caller = environment(
            Path::new("/w"),
            &[
                ("AGENTKERNEL_FIRECRACKER_VMM", "qemu"),
                ("AGENTKERNEL_FIRECRACKER_KERNEL", "vmlinux"),
                ("PATH", "/a:/b"),
            ],
        );
        let settings = MicrovmSettings::of(&caller);
        assert_eq!((settings.vmm, settings.kernel.as_deref()), (Vmm::Qemu, Some(Path::new("/w/vmlinux"))));
        assert_eq!(settings.search, [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn paths_start_at_the_file_or_at_home() {
        let mut caller = environment(Path::new("/w"), &[]);
        caller.home = Some("/home/ann".into());
        let of = |path: &str| absolute(Path::new(path), Path::new("/etc"), &caller).unwrap();
        assert_eq!(of("vmlinux"), Path::new("/etc/vmlinux"));
        assert_eq!(of("~/vmlinux"), Path::new("/home/ann/vmlinux"));
        assert_eq!(of("/vmlinux"), Path::new("/vmlinux"));
        caller.home = None;
        assert!(absolute(Path::new("~/x"), Path::new("/"), &caller).is_err());
    }

    fn loaded(config: &str, is_named: bool) -> Result<MicrovmSettings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agentkernel.toml"), config).unwrap();
        let named = is_named.then_some(Path::new("agentkernel.toml"));
        let mut caller = environment(&folder.path().canonicalize().unwrap(), &[]);
        caller.home = Some(folder.path().join("home"));
        load(&caller, named, Overrides::default()).map(|settings| settings.outside.microvm)
    }

    #[test]
    fn limits_come_from_any_file_and_are_not_nothing() {
        let limits = "[firecracker]\ndisk_bandwidth='1g'\ndisk_iops=7\nnetwork_bandwidth=2\n";
        for is_named in [true, false] {
            let microvm = loaded(limits, is_named).unwrap();
            assert_eq!((microvm.disk_bandwidth, microvm.network_bandwidth), (Some(Mib(1024)), Some(Mib(2))));
            assert_eq!(microvm.disk_iops, NonZero::new(7));
        }
        assert!(loaded("[firecracker]\nvmm='qemu'\n", false).is_err());
        for key in ["disk_bandwidth", "network_bandwidth"] {
            let error = loaded(&format!("[firecracker]\n{key}=0\n"), true).unwrap_err().to_string();
            assert!(error.contains(&format!("firecracker.{key}: \"0\" is not a valid size")), "{error}");
        }
    }
}
