//! What a sandbox was made with: it goes on being started by the same monitor, whatever the settings of the command that
//! starts it say, within the same limits, and with the files that were named for it where that command names none.

use std::io;
use std::path::{Path, PathBuf};

use agentkernel_backend::{BackendError, BoxRecord};
use serde::{Deserialize, Serialize};

use crate::rates::DeviceRates;
use crate::removal::missing_is_fine;
use crate::settings::{FirecrackerSettings, VmmChoice};

/// The newest form of the note.
const VERSION: u32 = 1;

/// The note, in the sandbox's folder and in that of each snapshot of it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    vmm: Monitor,
    kernel: Option<PathBuf>,
    firecracker: Option<PathBuf>,
    jailer: Option<PathBuf>,
    qemu: Option<PathBuf>,
    vhost_device_vsock: Option<PathBuf>,
    allow_emulated_kvm: bool,
    /// Notes of sandboxes that are older than such limits have none.
    rates: Option<DeviceRates>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Monitor {
    Firecracker,
    Qemu,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("made-with.json")
}

fn failed(record: &BoxRecord) -> impl FnOnce(io::Error) -> BackendError + use<> {
    let action = format!("note what sandbox {} is made with", record.name);
    move |source| BackendError::runtime(action, source)
}

/// Notes it in `folder`; the first note counts.
pub(crate) fn keep(
    settings: &FirecrackerSettings,
    record: &BoxRecord,
    folder: &Path,
) -> Result<(), BackendError> {
    if path(folder).exists() {
        return Ok(());
    }
    let note = Note {
        version: VERSION,
        vmm: match settings.vmm {
            VmmChoice::Firecracker => Monitor::Firecracker,
            VmmChoice::Qemu => Monitor::Qemu,
        },
        kernel: settings.kernel.clone(),
        firecracker: settings.firecracker.clone(),
        jailer: settings.jailer.clone(),
        qemu: settings.qemu.clone(),
        vhost_device_vsock: settings.vhost_device_vsock.clone(),
        allow_emulated_kvm: settings.allow_emulated_kvm,
        rates: Some(settings.rates),
    };
    let written = serde_json::to_vec(&note).map_err(io::Error::from).and_then(|bytes| {
        let new = folder.join("made-with.new");
        std::fs::write(&new, bytes)?;
        std::fs::rename(new, path(folder))
    });
    written.map_err(failed(record))
}

/// Removes the note; fine if it is gone.
pub(crate) fn forget(record: &BoxRecord) -> Result<(), BackendError> {
    missing_is_fine(std::fs::remove_file(path(&record.dir))).map_err(failed(record))
}

/// The settings that the sandbox is started with, by the note in `folder`: `own` where nothing was noted.
pub(crate) fn settings(
    own: &FirecrackerSettings,
    record: &BoxRecord,
    folder: &Path,
) -> Result<FirecrackerSettings, BackendError> {
    let bytes = match std::fs::read(path(folder)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(own.clone()),
        Err(error) => return Err(failed(record)(error)),
    };
    let note: Note = serde_json::from_slice(&bytes).map_err(|error| failed(record)(error.into()))?;
    if note.version != VERSION {
        let why =
            format!("{} has format version {}, {VERSION} is known", path(folder).display(), note.version);
        return Err(failed(record)(io::Error::other(why)));
    }
    let or = |own: &Option<PathBuf>, kept: Option<PathBuf>| own.clone().or(kept);
    Ok(FirecrackerSettings {
        vmm: match note.vmm {
            Monitor::Firecracker => VmmChoice::Firecracker,
            Monitor::Qemu => VmmChoice::Qemu,
        },
        kernel: or(&own.kernel, note.kernel),
        firecracker: or(&own.firecracker, note.firecracker),
        jailer: or(&own.jailer, note.jailer),
        qemu: or(&own.qemu, note.qemu),
        vhost_device_vsock: or(&own.vhost_device_vsock, note.vhost_device_vsock),
        allow_emulated_kvm: own.allow_emulated_kvm || note.allow_emulated_kvm,
        rates: note.rates.unwrap_or(own.rates),
        ..own.clone()
    })
}

#[cfg(test)]
mod tests {
    use agentkernel_model::Mib;

    use super::*;

    fn record(dir: &std::path::Path) -> BoxRecord {
        let spec = agentkernel_testkit::plain_spec(&crate::backend::name());
        BoxRecord {
            name: "box".parse().unwrap(),
            id: "0123456789abcdef".to_owned(),
            spec,
            dir: dir.to_owned(),
        }
    }

    #[test]
    fn a_sandbox_keeps_its_monitor_and_takes_files_that_are_named_now() {
        let folder = tempfile::tempdir().unwrap();
        let record = record(folder.path());
        let own = FirecrackerSettings::default();
        assert_eq!(
            settings(&own, &record, folder.path()).unwrap().vmm,
            VmmChoice::Firecracker,
            "nothing is noted yet"
        );
        let made = FirecrackerSettings {
            vmm: VmmChoice::Qemu,
            kernel: Some("/k".into()),
            qemu: Some("/q".into()),
            rates: DeviceRates { disk_bandwidth: Some(Mib(7)), ..DeviceRates::default() },
            ..FirecrackerSettings::default()
        };
        keep(&made, &record, folder.path()).unwrap();
        keep(&own, &record, folder.path()).unwrap();
        let now = FirecrackerSettings {
            kernel: Some("/new".into()),
            rates: DeviceRates { network_bandwidth: Some(Mib(1)), ..DeviceRates::default() },
            search: vec!["/bin".into()],
            ..FirecrackerSettings::default()
        };
        let started = settings(&now, &record, folder.path()).unwrap();
        assert_eq!((started.vmm, started.search.len()), (VmmChoice::Qemu, 1));
        assert_eq!((started.kernel, started.qemu), (Some("/new".into()), Some("/q".into())));
        assert_eq!(started.rates, made.rates, "limits are those that it was made with");
        forget(&record).unwrap();
        keep(&own, &record, folder.path()).unwrap();
        assert_eq!(settings(&now, &record, folder.path()).unwrap().rates, own.rates, "none, too");
    }

    #[test]
    fn a_note_that_is_not_understood_is_an_error_and_not_the_usual() {
        let folder = tempfile::tempdir().unwrap();
        let record = record(folder.path());
        let own = FirecrackerSettings::default();
        keep(&own, &record, folder.path()).unwrap();
        let text = std::fs::read_to_string(path(folder.path())).unwrap();
        for other in [text.replace("\"version\":1", "\"version\":2"), "{".to_owned(), String::new()] {
            std::fs::write(path(folder.path()), other).unwrap();
            assert!(settings(&own, &record, folder.path()).is_err());
        }
    }
}
