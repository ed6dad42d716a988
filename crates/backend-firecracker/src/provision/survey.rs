//! What of it is on this computer, each with what is wrong.

use std::path::Path;

use agentkernel_backend::Probe;

use super::{Part, version_of};
use crate::equipment::{NotReady, Search, kvm_refusal, wants_jailer};
use crate::probe::KvmState;
use crate::settings::{FirecrackerSettings, VmmChoice};

/// One thing that machines are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartState {
    /// `kvm`, `firecracker`, `jailer`, `kernel`, `qemu`, `vhost-device-vsock`.
    pub name: &'static str,
    /// What is there, or why it can't be used.
    pub state: Result<String, (String, String)>,
}

/// All that the monitor of the settings needs, in the order of the words above. `folder` is this backend's. Tries the KVM and
/// runs programs for their version: some milliseconds.
pub async fn survey(settings: &FirecrackerSettings, folder: &Path) -> Vec<PartState> {
    let search = Search { settings, folder };
    let kernel = search.kernel().map(|path| path.display().to_string());
    let states = match settings.vmm {
        VmmChoice::Firecracker => vec![
            ("kvm", kvm(settings, &KvmState::of_this_machine())),
            ("firecracker", program(&search, Part::Firecracker).await),
            (
                "jailer",
                match wants_jailer() {
                    true => program(&search, Part::Jailer).await,
                    false => Ok("not needed: only root can use it".to_owned()),
                },
            ),
            ("kernel", kernel),
        ],
        VmmChoice::Qemu => vec![
            (
                "kvm",
                Ok(match KvmState::of_this_machine().why() {
                    None => "runs guests: QEMU uses it".to_owned(),
                    Some(why) => format!("not used: {why}; QEMU emulates the processor, which is slow"),
                }),
            ),
            ("qemu", search.qemu().map(|path| path.display().to_string())),
            (
                "vhost-device-vsock",
                search.program(Part::VhostDeviceVsock).map(|path| path.display().to_string()),
            ),
            ("kernel", kernel),
        ],
    };
    let of = |(name, state): (_, Result<String, NotReady>)| PartState {
        name,
        state: state.map_err(|NotReady { why, fix }| (why, fix)),
    };
    states.into_iter().map(of).collect()
}

fn kvm(settings: &FirecrackerSettings, state: &KvmState) -> Result<String, NotReady> {
    match (kvm_refusal(settings, state), state.is_real()) {
        (Some(refusal), _) => Err(refusal),
        (None, true) => Ok("/dev/kvm runs guests".to_owned()),
        (None, false) => Ok("/dev/kvm only emulates guest kernels, as allow_emulated_kvm allows".to_owned()),
    }
}

async fn program(search: &Search<'_>, part: Part) -> Result<String, NotReady> {
    let path = search.program(part)?;
    match version_of(part, &path).await {
        Ok(version) => Ok(format!("{} {version}", path.display())),
        Err(why) => Err(NotReady::new(format!("{}: {why}", path.display()), crate::equipment::INSTALL)),
    }
}

/// As the backend's own probe where it is ready, else with everything that is missing: that one tries nothing that costs
/// time where a machine can't be made anyhow.
pub async fn whole_probe(settings: &FirecrackerSettings, folder: &Path, probe: Probe) -> Probe {
    if matches!(probe, Probe::Ready { .. }) {
        return probe;
    }
    let missing = survey(settings, folder).await.into_iter().filter_map(|part| part.state.err());
    let reasons: Vec<NotReady> = missing.map(|(why, fix)| NotReady { why, fix }).collect();
    if reasons.is_empty() {
        return probe;
    }
    let NotReady { why, fix } = NotReady::all(reasons);
    Probe::NotReady { why, fix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_part_is_told_with_its_fix_and_all_at_once_in_the_whole_probe() {
        let folder = tempfile::tempdir().unwrap();
        let settings = FirecrackerSettings::default();
        let parts = survey(&settings, folder.path()).await;
        let names: Vec<_> = parts.iter().map(|part| part.name).collect();
        assert_eq!(names, ["kvm", "firecracker", "jailer", "kernel"]);
        let missing = |name: &str| parts.iter().find(|part| part.name == name).unwrap().state.clone();
        assert!(missing("firecracker").unwrap_err().1.contains("setup firecracker"));
        assert!(missing("kernel").unwrap_err().0.contains("vmlinux"));
        assert_eq!(missing("jailer").is_err(), wants_jailer());
        let probe = Probe::NotReady { why: "a".to_owned(), fix: "b".to_owned() };
        let Probe::NotReady { why, .. } = whole_probe(&settings, folder.path(), probe).await else {
            panic!("ready without anything")
        };
        assert!(why.contains("no firecracker") && why.contains("no guest kernel"), "{why}");
        let ready = Probe::Ready { detail: "x".to_owned() };
        assert_eq!(whole_probe(&settings, folder.path(), ready.clone()).await, ready);
        let qemu = FirecrackerSettings { vmm: VmmChoice::Qemu, ..settings };
        assert_eq!(survey(&qemu, folder.path()).await[1].name, "qemu");
    }
}
