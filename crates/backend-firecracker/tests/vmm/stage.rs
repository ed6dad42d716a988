//! A folder for one test, with the programs that are not real in it, and a look at what is left afterwards.

use std::future::Future;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agentkernel_backend::{Backend, BoxRecord};
use agentkernel_backend_firecracker::vmm::{
    Acceleration, Drive, Firecracker, Interface, Life, MachineNote, MachineSpec, Owner, Qemu, Site,
};
use agentkernel_backend_firecracker::{FirecrackerSettings, VmmChoice};
use agentkernel_image::{ImportRequest, ImportSource};
use agentkernel_model::{ImageConfig, Mib, SandboxSpec};
use libtest_mimic::Trial;

use crate::bed;
use crate::fake::Plan;

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A user that nobody is, another for each test.
static NEXT_USER: AtomicU32 = AtomicU32::new(760_000);

pub(crate) struct Stage {
    folder: tempfile::TempDir,
    owner: Option<Owner>,
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let program = std::env::current_exe().unwrap();
        // The jailer follows links to the program, and names things after what it finds.
        let firecracker = folder.path().join("firecracker");
        if std::fs::hard_link(&program, &firecracker).is_err() {
            std::fs::copy(&program, &firecracker).unwrap();
        }
        for name in ["jailer", "qemu-system-x86_64", "vhost-device-vsock"] {
            std::os::unix::fs::symlink(&program, folder.path().join(name)).unwrap();
        }
        let user = NEXT_USER.fetch_add(1, Ordering::Relaxed);
        let owner = is_root().then_some(Owner { user, group: user });
        Self { folder, owner }
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        path
    }

    /// With its jailer where that is possible.
    pub(crate) fn firecracker(&self) -> Firecracker {
        let mut firecracker = Firecracker::new(self.path("firecracker"), Some(self.path("jailer")));
        firecracker.request_limit = Duration::from_secs(5);
        firecracker
    }

    pub(crate) fn qemu(&self) -> Qemu {
        Qemu {
            program: self.path("qemu-system-x86_64"),
            vsock_program: self.path("vhost-device-vsock"),
            acceleration: Acceleration::Emulated,
        }
    }

    pub(crate) fn site(&self, id: &str, life: Life) -> Site {
        let folder = self.path(&format!("machine-{id}"));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
        Site {
            id: id.to_owned(),
            folder,
            owner: self.owner,
            network_namespace: None,
            cgroup_birth: None,
            cgroup_entries: Vec::new(),
            life,
        }
    }

    pub(crate) fn spec(&self, plan: &Plan) -> MachineSpec {
        self.spec_of("m-1", plan, Life::WithOwner)
    }

    pub(crate) fn spec_of(&self, id: &str, plan: &Plan, life: Life) -> MachineSpec {
        MachineSpec {
            site: self.site(id, life),
            kernel: self.file("vmlinux", &serde_json::to_string(plan).unwrap()),
            initramfs: self.file("initramfs.cpio", "070701"),
            kernel_arguments: "console=ttyS0 reboot=k panic=-1 quiet rdinit=/init -- machine".to_owned(),
            vcpus: 2,
            memory: Mib(128),
            drives: vec![
                Drive { path: self.file("image.erofs", "image"), read_only: true, rate: None },
                Drive { path: self.file("upper.ext4", "upper"), read_only: false, rate: None },
            ],
            network: None,
            vsock_cid: 3,
            balloon: true,
        }
    }

    pub(crate) fn interface() -> Interface {
        Interface { tap: "tap7".to_owned(), mac: [6, 0, 10, 0, 0, 2], receive_rate: None, send_rate: None }
    }

    /// The whole backend on programs that are not real, with an image; QEMU's, which needs no KVM. What goes wrong is in
    /// `plan`.
    pub(crate) fn backend(&self, plan: &Plan) -> Arc<dyn Backend> {
        self.backend_with(plan, &Self::qemu_settings(self.folder.path()))
    }

    /// The same with other settings.
    pub(crate) fn backend_with(&self, plan: &Plan, settings: &FirecrackerSettings) -> Arc<dyn Backend> {
        let state = self.path("state");
        let kernel = self.path("kernel");
        std::fs::write(&kernel, plan.kernel()).unwrap();
        if !state.exists() {
            std::fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
            let (root, archive) = (self.path("root"), self.path("root.tar"));
            std::fs::create_dir(&root).unwrap();
            std::fs::write(root.join("file"), "content").unwrap();
            let made = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status();
            assert!(made.unwrap().success());
            let request = ImportRequest {
                source: ImportSource::Path(archive),
                names: vec![bed::image().to_string().parse().unwrap()],
                config: ImageConfig::default(),
                platform: None,
            };
            bed::store(&state).import(request).unwrap();
        }
        bed::open(&state, settings)
    }

    /// The same, in the folder of a stage where it was made before.
    pub(crate) fn backend_in(folder: &Path) -> Arc<dyn Backend> {
        bed::open(&folder.join("state"), &Self::qemu_settings(folder))
    }

    /// Firecracker's machines, on whatever KVM there is.
    pub(crate) fn firecracker_settings(&self) -> FirecrackerSettings {
        Self::firecracker_settings_in(self.folder.path())
    }

    /// The same, of a stage's folder.
    pub(crate) fn firecracker_settings_in(folder: &Path) -> FirecrackerSettings {
        FirecrackerSettings {
            kernel: Some(folder.join("kernel")),
            firecracker: Some(folder.join("firecracker")),
            is_fake: true,
            ..FirecrackerSettings::default()
        }
    }

    /// QEMU's, which need none.
    pub(crate) fn qemu_settings(folder: &Path) -> FirecrackerSettings {
        FirecrackerSettings {
            vmm: VmmChoice::Qemu,
            kernel: Some(folder.join("kernel")),
            qemu: Some(folder.join("qemu-system-x86_64")),
            vhost_device_vsock: Some(folder.join("vhost-device-vsock")),
            ..FirecrackerSettings::default()
        }
    }

    /// A sandbox of the backend with a folder of its own, named after `number`.
    pub(crate) fn record(&self, spec: &SandboxSpec, number: u32) -> BoxRecord {
        let group =
            u64::from(std::process::id()) << 32 | u64::from(NEXT_USER.fetch_add(1, Ordering::Relaxed));
        let record = Self::record_in(self.folder.path(), spec, number, &format!("{group:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&record.dir).unwrap();
        record
    }

    /// The same in a folder of a stage, without a folder yet, as box `id`.
    pub(crate) fn record_in(folder: &Path, spec: &SandboxSpec, number: u32, id: &str) -> BoxRecord {
        let name = format!("case-{number}");
        let spec = SandboxSpec { hostname: name.clone(), ..spec.clone() };
        let dir = folder.join(format!("record-{number}"));
        BoxRecord { name: name.parse().unwrap(), id: id.to_owned(), spec, dir }
    }

    /// The folders that the monitors of one-shot boxes work in.
    pub(crate) fn rooms(&self) -> Vec<PathBuf> {
        let boxes = std::fs::read_dir(self.path("state/firecracker/boxes")).into_iter().flatten();
        boxes.map(|entry| entry.unwrap().path().join("machine")).collect()
    }

    /// What is noted of boxes, and their folders.
    pub(crate) fn boxes(&self) -> Vec<PathBuf> {
        let folders = ["leases", "boxes"].map(|name| self.path("state/firecracker").join(name));
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Nothing of a machine is left: no process works in its folder, and that is empty.
    pub(crate) fn assert_nothing_left(&self, id: &str) {
        let folder = self.path(&format!("machine-{id}"));
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left in the machine's folder: {left:?}");
        let processes = self.processes();
        assert!(processes.is_empty(), "processes left: {processes:?}");
    }

    /// Processes with the stage in their command line or as their working directory, watchers included.
    pub(crate) fn processes(&self) -> Vec<String> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let here = |pid: i32| {
            let folder = self.folder.path();
            let at = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let of_test = at.starts_with(folder) || line.contains(&*folder.to_string_lossy());
            of_test.then(|| format!("{pid} {line}"))
        };
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| *pid != own).filter_map(here).collect()
    }
}

/// Nobody minds a note.
pub(crate) fn unnoted(_: &MachineNote) -> std::io::Result<()> {
    Ok(())
}

/// A test in a runtime of its own.
pub(crate) fn trial<Done>(name: &str, test: fn() -> Done) -> Trial
where
    Done: Future<Output = ()> + 'static,
{
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(test());
        Ok(())
    })
}
