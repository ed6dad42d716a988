//! What machines are made with on this computer: a virtual machine monitor, a kernel, the agent as a first file system. Each
//! is looked for when it is first needed.

use std::path::{Path, PathBuf};

use agentkernel_backend::Probe;
use agentkernel_model::Boundary;

use crate::api::FIRST_WITH_REPORTING;
use crate::initramfs::initramfs;
use crate::probe::KvmState;
use crate::provision::{Part, check_kernel, version_of};
use crate::settings::{FirecrackerSettings, VmmChoice};
use crate::vmm::{Acceleration, Firecracker, Qemu, Vmm};

/// Why no machine can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotReady {
    pub(crate) why: String,
    pub(crate) fix: String,
}

impl NotReady {
    pub(crate) fn new(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { why: why.into(), fix: fix.into() }
    }

    /// Several as one; the same fix is said once.
    pub(crate) fn all(reasons: Vec<Self>) -> Self {
        let mut whys = Vec::new();
        let mut fixes: Vec<String> = Vec::new();
        for Self { why, fix } in reasons {
            whys.push(why);
            if !fixes.contains(&fix) {
                fixes.push(fix);
            }
        }
        Self { why: whys.join("; "), fix: fixes.join("; and ") }
    }
}

/// All of it.
pub(crate) struct Equipment {
    pub(crate) vmm: Box<dyn Vmm>,
    pub(crate) kernel: PathBuf,
    pub(crate) boundary: Boundary,
    /// One line for people.
    pub(crate) detail: String,
    /// Firecracker's program and jailer, whose versions matter.
    versioned: Vec<(Part, PathBuf)>,
}

impl Equipment {
    /// Looks for it; changes nothing. Files come first: the KVM is tried, which takes some milliseconds, only where a
    /// machine could be made on it.
    pub(crate) fn find(settings: &FirecrackerSettings, folder: &Path) -> Result<Self, NotReady> {
        let search = Search { settings, folder };
        let mut missing = Vec::new();
        let mut found = |result: Result<PathBuf, NotReady>| match result {
            Ok(path) => Some(path),
            Err(reason) => {
                missing.push(reason);
                None
            }
        };
        match settings.vmm {
            VmmChoice::Firecracker => {
                let program = found(search.program(Part::Firecracker));
                let jailer =
                    (wants_jailer() && !settings.is_fake).then(|| found(search.program(Part::Jailer)));
                match (program, jailer, found(search.kernel())) {
                    (Some(program), None, Some(kernel)) => Self::firecracker(settings, program, None, kernel),
                    (Some(program), Some(Some(jailer)), Some(kernel)) => {
                        Self::firecracker(settings, program, Some(jailer), kernel)
                    }
                    _ => {
                        missing.extend(glance().and_then(|kvm| kvm_refusal(settings, &kvm)));
                        Err(NotReady::all(missing))
                    }
                }
            }
            VmmChoice::Qemu => {
                let (program, vsock) = (found(search.qemu()), found(search.program(Part::VhostDeviceVsock)));
                match (program, vsock, found(search.kernel())) {
                    (Some(program), Some(vsock), Some(kernel)) => Ok(Self::qemu(program, vsock, kernel)),
                    _ => Err(NotReady::all(missing)),
                }
            }
        }
    }

    fn firecracker(
        settings: &FirecrackerSettings,
        program: PathBuf,
        jailer: Option<PathBuf>,
        kernel: PathBuf,
    ) -> Result<Self, NotReady> {
        let kvm = KvmState::of_this_machine();
        if let Some(refusal) = kvm_refusal(settings, &kvm) {
            return Err(refusal);
        }
        let pace = match kvm.is_real() {
            true => "on KVM",
            false => "on a KVM that emulates guest kernels: very slow",
        };
        let versioned = std::iter::once((Part::Firecracker, program.clone()))
            .chain(jailer.clone().map(|jailer| (Part::Jailer, jailer)));
        Ok(Self {
            versioned: versioned.collect(),
            detail: format!("Firecracker ({}), {pace}", program.display()),
            vmm: Box::new(Firecracker::new(program, jailer)),
            kernel,
            boundary: Boundary::VirtualMachine,
        })
    }

    fn qemu(program: PathBuf, vsock_program: PathBuf, kernel: PathBuf) -> Self {
        let (acceleration, boundary, how) = match KvmState::of_this_machine().is_real() {
            true => (Acceleration::Kvm, Boundary::VirtualMachine, "on KVM"),
            false => (Acceleration::Emulated, Boundary::EmulatedMachine, "emulating the processor: slow"),
        };
        Self {
            detail: format!("QEMU microvm ({}), {how}", program.display()),
            vmm: Box::new(Qemu { program, vsock_program, acceleration }),
            kernel,
            boundary,
            versioned: Vec::new(),
        }
    }

    /// Whether machines can be made with it: the versions too. A start finds those out by itself, and asks nothing here.
    pub(crate) async fn probe(&self) -> Probe {
        let mut reasons = Vec::new();
        let mut detail = self.detail.clone();
        for (part, program) in &self.versioned {
            match version_of(*part, program).await {
                Ok(version) if *part == Part::Firecracker && version < FIRST_WITH_REPORTING => {
                    detail += &format!(
                        "; its machines keep memory that they no longer use: this is {version}, and \
                         {FIRST_WITH_REPORTING} takes it back"
                    );
                }
                Ok(_) => {}
                Err(why) => reasons.push(NotReady::new(format!("{}: {why}", program.display()), INSTALL)),
            }
        }
        if reasons.is_empty() {
            return Probe::Ready { detail };
        }
        let NotReady { why, fix } = NotReady::all(reasons);
        Probe::NotReady { why, fix }
    }
}

/// What brings most of it.
pub(crate) const INSTALL: &str =
    "`agentkernel setup firecracker --from FOLDER` installs it (docs/backends/firecracker.md)";

/// The jailer takes root, and root takes the jailer.
pub(crate) fn wants_jailer() -> bool {
    rustix::process::geteuid().is_root()
}

/// Why Firecracker makes no machines on this KVM.
pub(crate) fn kvm_refusal(settings: &FirecrackerSettings, kvm: &KvmState) -> Option<NotReady> {
    let why = kvm.why()?;
    let is_emulated = matches!(kvm, KvmState::Emulating { .. });
    let is_allowed = settings.is_fake || (settings.allow_emulated_kvm && is_emulated);
    (!is_allowed).then(|| NotReady::new(why, kvm.fix().unwrap_or_default()))
}

/// What is wrong with the KVM as far as opening it tells.
fn glance() -> Option<KvmState> {
    KvmState::at_a_glance().filter(|state| !state.is_real())
}

/// Where things are looked for.
pub(crate) struct Search<'a> {
    pub(crate) settings: &'a FirecrackerSettings,
    /// The folder of this backend.
    pub(crate) folder: &'a Path,
}

impl Search<'_> {
    /// As named, or where setup installs it, or where programs are.
    pub(crate) fn program(&self, part: Part) -> Result<PathBuf, NotReady> {
        let named = match part {
            Part::Firecracker => &self.settings.firecracker,
            Part::Jailer => &self.settings.jailer,
            Part::VhostDeviceVsock => &self.settings.vhost_device_vsock,
            Part::Kernel => &self.settings.kernel,
        };
        let fix = match part {
            Part::VhostDeviceVsock => {
                "install it (a package or crate of that name has it), or name it in [firecracker]"
            }
            _ => INSTALL,
        };
        self.find(part.name(), &name_of_key(part), named, fix)
    }

    /// QEMU's program for this processor.
    pub(crate) fn qemu(&self) -> Result<PathBuf, NotReady> {
        let name = match std::env::consts::ARCH {
            "aarch64" => "qemu-system-aarch64",
            _ => "qemu-system-x86_64",
        };
        let fix = "install it (Debian's package is qemu-system-x86 or qemu-system-arm), or name it in [firecracker]";
        self.find(name, "qemu", &self.settings.qemu, fix)
    }

    fn find(&self, name: &str, key: &str, named: &Option<PathBuf>, fix: &str) -> Result<PathBuf, NotReady> {
        if let Some(named) = named {
            return match named.is_file() {
                true => Ok(named.clone()),
                false => Err(NotReady::new(
                    format!("there is no file {}, which `{key}` in [firecracker] names", named.display()),
                    "correct it in agentkernel.toml",
                )),
            };
        }
        let own = self.folder.join("bin");
        let folders = std::iter::once(&own).chain(&self.settings.search);
        let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| {
            NotReady::new(format!("there is no {name}, neither in {} nor in the PATH", own.display()), fix)
        })
    }

    /// As named, or where setup installs it; whole, and for this processor.
    pub(crate) fn kernel(&self) -> Result<PathBuf, NotReady> {
        let named = self.settings.kernel.is_some();
        let kernel = self.settings.kernel.clone().unwrap_or_else(|| Part::Kernel.place(self.folder));
        let fix = match named {
            true => "correct `kernel` in [firecracker] or AGENTKERNEL_FIRECRACKER_KERNEL",
            false => INSTALL,
        };
        if !kernel.exists() {
            return Err(NotReady::new(format!("there is no guest kernel {}", kernel.display()), fix));
        }
        match check_kernel(&kernel) {
            Ok(()) => Ok(kernel),
            Err(why) => Err(NotReady::new(format!("guest kernel {}: {why}", kernel.display()), fix)),
        }
    }
}

/// As the section spells it.
fn name_of_key(part: Part) -> String {
    part.name().replace('-', "_")
}

/// Puts the agent into `folder` as a first file system, once for each version of it; returns where it is.
pub(crate) fn install_initramfs(folder: &Path) -> std::io::Result<PathBuf> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.join(format!("{}.cpio", agentkernel_agent_binary::FILE_NAME));
    if path.is_file() {
        return Ok(path);
    }
    // Under a name of its own: several processes may be the first.
    let new = folder.join(format!(".initramfs-{}", agentkernel_store::random_id()?));
    let written = (|| {
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o444).open(&new)?;
        file.write_all(&initramfs(agentkernel_agent_binary::AGENT))?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    })();
    match written {
        Ok(()) => Ok(path),
        Err(error) => {
            std::fs::remove_file(&new).ok();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(settings: &FirecrackerSettings, folder: &Path) -> String {
        match Equipment::find(settings, folder) {
            Ok(equipment) => panic!("{}", equipment.detail),
            Err(NotReady { why, .. }) => why,
        }
    }

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let settings = FirecrackerSettings::default();
        let text = why(&settings, folder.path());
        assert!(
            text.contains("there is no firecracker") && text.contains("there is no guest kernel"),
            "{text}"
        );
        assert_eq!(text.contains("there is no jailer"), wants_jailer(), "{text}");
        let qemu = FirecrackerSettings { vmm: VmmChoice::Qemu, ..settings };
        let text = why(&qemu, folder.path());
        assert!(text.contains("qemu-system-") && text.contains("vhost-device-vsock"), "{text}");
        let NotReady { fix, .. } = NotReady::all(vec![NotReady::new("a", "f"), NotReady::new("b", "f")]);
        assert_eq!(fix, "f");
    }

    #[test]
    fn what_is_named_is_the_only_choice_and_a_bad_kernel_is_no_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        let kernel = folder.path().join("bad");
        std::fs::write(&kernel, "short").unwrap();
        let settings = FirecrackerSettings {
            vmm: VmmChoice::Qemu,
            qemu: Some(nowhere.clone()),
            kernel: Some(kernel),
            search: vec!["/usr/bin".into()],
            ..FirecrackerSettings::default()
        };
        let text = why(&settings, folder.path());
        assert!(text.contains(&format!("{}, which `qemu`", nowhere.display())), "{text}");
        assert!(text.contains("bad: it is truncated"), "{text}");
    }

    #[test]
    fn setups_programs_come_before_those_of_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let (own, path) = (folder.path().join("bin"), folder.path().join("path"));
        for place in [&own, &path] {
            std::fs::create_dir(place).unwrap();
            std::fs::write(place.join("firecracker"), "").unwrap();
        }
        let settings = FirecrackerSettings { search: vec![path.clone()], ..FirecrackerSettings::default() };
        let search = Search { settings: &settings, folder: folder.path() };
        assert_eq!(search.program(Part::Firecracker).unwrap(), own.join("firecracker"));
        std::fs::remove_file(own.join("firecracker")).unwrap();
        assert_eq!(search.program(Part::Firecracker).unwrap(), path.join("firecracker"));
    }

    #[test]
    fn an_emulating_kvm_is_refused_unless_it_is_allowed_and_no_other_fault_is() {
        let emulating = KvmState::Emulating { nanos_per_instruction: 2700 };
        let usual = FirecrackerSettings::default();
        let allowed = FirecrackerSettings { allow_emulated_kvm: true, ..FirecrackerSettings::default() };
        assert!(kvm_refusal(&usual, &emulating).is_some());
        assert!(kvm_refusal(&allowed, &emulating).is_none());
        assert!(kvm_refusal(&allowed, &KvmState::Missing).is_some());
        let fake = FirecrackerSettings { is_fake: true, ..FirecrackerSettings::default() };
        assert!(kvm_refusal(&fake, &KvmState::Missing).is_none(), "what is started is no real one");
        assert!(kvm_refusal(&usual, &KvmState::Real { nanos_per_instruction: None }).is_none());
    }

    #[tokio::test]
    async fn a_firecracker_whose_machines_keep_their_memory_is_said_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        for (version, keeps) in [("1.13.1", true), ("1.14.0", false), ("1.17.0-dev", false)] {
            let program = folder.path().join(format!("firecracker-{version}"));
            std::fs::write(&program, format!("#!/bin/sh\necho 'Firecracker v{version}'\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let equipment = Equipment {
                vmm: Box::new(Firecracker::new(program.clone(), None)),
                kernel: "/k".into(),
                boundary: Boundary::VirtualMachine,
                detail: "detail".to_owned(),
                versioned: vec![(Part::Firecracker, program)],
            };
            let Probe::Ready { detail } = equipment.probe().await else { panic!("{version} is not ready") };
            assert_eq!(detail.contains("keep memory") && detail.contains("1.14.0 takes"), keeps, "{detail}");
        }
    }
}
