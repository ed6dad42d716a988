//! What a template is of.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use serde::{Deserialize, Serialize};

use crate::ground::Ground;
use crate::stamp::FileStamp;
use crate::vmm::{MachineSpec, Snapshots};

/// Of what is written about templates, and of what the agent is when it is saved.
const FORMAT: u32 = 2;

/// All that has to be the same for a machine to go on from a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    format: u32,
    ground: Ground,
    /// Templates are not synced: what another boot of the host has left may lack what was never written.
    boot_id: String,
    kernel: FileStamp,
    kernel_arguments: String,
    /// The agent: the name of its file, which is that of its content.
    agent: String,
    vcpus: u8,
    memory_mib: u32,
    drives: Vec<DriveKey>,
    /// The limits of its interface, where it has one.
    network: Option<String>,
    vsock_cid: u32,
    balloon: bool,
}

/// A drive: the image itself, or any of the same size where each machine has its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct DriveKey {
    file: Option<FileStamp>,
    bytes: u64,
    rate: String,
}

impl Key {
    /// Of a machine that `snapshots` would make of `spec`.
    pub(super) fn of(spec: &MachineSpec, snapshots: &dyn Snapshots) -> io::Result<Self> {
        let drive = |drive: &crate::vmm::Drive| -> io::Result<DriveKey> {
            let file = drive.read_only.then(|| FileStamp::of(&drive.path)).transpose()?;
            let bytes = std::fs::metadata(&drive.path)?.len();
            Ok(DriveKey { file, bytes, rate: format!("{:?}", drive.rate) })
        };
        let rates =
            |network: &crate::vmm::Interface| format!("{:?} {:?}", network.receive_rate, network.send_rate);
        Ok(Self {
            format: FORMAT,
            ground: Ground::here(snapshots.program_stamp()?)?,
            boot_id: boot_id()?,
            kernel: FileStamp::of(&spec.kernel)?,
            kernel_arguments: spec.kernel_arguments.clone(),
            agent: spec.initramfs.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory.0,
            drives: spec.drives.iter().map(drive).collect::<io::Result<_>>()?,
            network: spec.network.as_ref().map(rates),
            vsock_cid: spec.vsock_cid,
            balloon: spec.balloon,
        })
    }

    /// The name of its folder. Two that should have the same are told apart by what is written there.
    pub(super) fn name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Whether it is of a time that won't come back.
    pub(super) fn is_of_another_boot(&self) -> io::Result<bool> {
        Ok(self.boot_id != boot_id()?)
    }
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// One of many.
#[cfg(test)]
pub(super) fn test_key(number: u64) -> Key {
    let stamp = FileStamp::of(std::path::Path::new("/proc/self/exe")).unwrap();
    Key {
        format: FORMAT,
        ground: Ground::here("vmm".to_owned()).unwrap(),
        boot_id: boot_id().unwrap(),
        kernel: stamp,
        kernel_arguments: format!("number={number}"),
        agent: "agent".to_owned(),
        vcpus: 1,
        memory_mib: 128,
        drives: vec![DriveKey { file: None, bytes: 4096, rate: "None".to_owned() }],
        network: None,
        vsock_cid: 3,
        balloon: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_another_template() {
        let key = test_key(1);
        let limit = || "Some(1)".to_owned();
        let mut names = std::collections::HashSet::from([key.name(), test_key(2).name()]);
        assert_eq!(names.len(), 2);
        assert_eq!(key.name(), test_key(1).name());
        for other in [
            Key { vcpus: 2, ..key.clone() },
            Key { memory_mib: 256, ..key.clone() },
            Key { network: Some(String::new()), ..key.clone() },
            Key { balloon: true, ..key.clone() },
            Key { format: 3, ..key.clone() },
            Key { agent: "another".to_owned(), ..key.clone() },
            Key { drives: Vec::new(), ..key.clone() },
            // A restored device has the limits that it was saved with.
            Key { drives: vec![DriveKey { rate: limit(), ..key.drives[0].clone() }], ..key.clone() },
            Key { network: Some(limit()), ..key.clone() },
            Key { boot_id: "another".to_owned(), ..key.clone() },
        ] {
            assert!(names.insert(other.name()), "{other:?}");
        }
        assert!(!key.is_of_another_boot().unwrap());
        assert!(Key { boot_id: "another".to_owned(), ..key }.is_of_another_boot().unwrap());
    }
}
