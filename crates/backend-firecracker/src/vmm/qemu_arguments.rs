//! QEMU's command line for a microvm: no firmware menu, no PCI, no ACPI, no display, no monitor, no user configuration. All
//! file names are those of the room, so nothing of the caller's but checked words is in it.

use agentkernel_model::Mib;

use super::firecracker::drive_name;
use super::{Acceleration, Drive, MachineSpec, VmmError};
use crate::api::{RateLimiter, TokenBucket};

/// The socket between QEMU and what moves its vsock, in the room.
pub(super) const VHOST_SOCKET: &str = "vhost.sock";

/// QEMU's own system call filter: nothing outdated, no programs, no other users, no scheduling games.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The most room for the guest's code as QEMU has translated it, where it emulates the processor: else that is an eighth of
/// the host's memory, and a gigabyte on many.
pub(super) const TRANSLATED: Mib = Mib(128);

/// All of it. The memory is shared with the vsock's process, which reads and writes what is sent there.
pub(super) fn of(spec: &MachineSpec, acceleration: Acceleration) -> Result<Vec<String>, VmmError> {
    let memory = spec.memory.0;
    let (accelerator, processor) = match acceleration {
        Acceleration::Kvm => ("kvm".to_owned(), "host"),
        Acceleration::Emulated => (format!("tcg,tb-size={}", TRANSLATED.0), "max"),
    };
    let mut list = Vec::new();
    let mut add = |name: &str, value: String| list.extend([name.to_owned(), value]);
    add("-M", "microvm,acpi=off,x-option-roms=off,memory-backend=mem".to_owned());
    add("-object", format!("memory-backend-memfd,id=mem,size={memory}M,share=on"));
    add("-accel", accelerator);
    add("-cpu", processor.to_owned());
    add("-m", format!("{memory}M"));
    add("-smp", spec.vcpus.to_string());
    add("-kernel", "kernel".to_owned());
    add("-initrd", "initramfs".to_owned());
    add("-append", kernel_arguments(&spec.kernel_arguments)?);
    add("-display", "none".to_owned());
    add("-monitor", "none".to_owned());
    add("-chardev", "stdio,id=console,signal=off".to_owned());
    add("-serial", "chardev:console".to_owned());
    add("-chardev", format!("socket,id=vsock,path={VHOST_SOCKET}"));
    add("-device", "vhost-user-vsock-device,chardev=vsock".to_owned());
    add("-device", "virtio-rng-device".to_owned());
    for (index, drive) in spec.drives.iter().enumerate() {
        let name = drive_name(index);
        add("-drive", drive_option(&name, drive));
        add("-device", format!("virtio-blk-device,drive={name}"));
    }
    if let Some(network) = &spec.network {
        if network.receive_rate.or(network.send_rate).is_some() {
            let what = "limit the rate of a machine's network; Firecracker can".to_owned();
            return Err(VmmError::Unsupported { vmm: super::qemu::NAME, what });
        }
        add("-netdev", format!("tap,id=net,ifname={},script=no,downscript=no,vhost=off", network.tap));
        add("-device", format!("virtio-net-device,netdev=net,mac={}", network.mac_text()));
    }
    if spec.balloon {
        add("-device", "virtio-balloon-device,deflate-on-oom=on,free-page-reporting=on".to_owned());
    }
    add("-sandbox", SANDBOX.to_owned());
    list.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    Ok(list)
}

/// QEMU puts its devices behind all that it is given, where a kernel takes everything after `--` for its first program's. A
/// plain word that no kernel knows goes to that program from anywhere (the kernel's admin-guide/kernel-parameters.rst), so
/// the dashes are left out and such words alone allowed behind them.
fn kernel_arguments(arguments: &str) -> Result<String, VmmError> {
    let Some((kernel, program)) = arguments.split_once(" -- ") else { return Ok(arguments.to_owned()) };
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match program.split(' ').find(|word| !plain(word)) {
        None => Ok(format!("{kernel} {program}")),
        Some(word) => {
            let what = format!("give a machine's first program the argument `{word}`, only plain words");
            Err(VmmError::Unsupported { vmm: super::qemu::NAME, what })
        }
    }
}

fn drive_option(name: &str, drive: &Drive) -> String {
    let read_only = if drive.read_only { "on" } else { "off" };
    let mut option =
        format!("id={name},file={name},format=raw,if=none,readonly={read_only},file.locking=off");
    let RateLimiter { bandwidth, ops } = drive.rate.unwrap_or_default();
    for (word, bucket) in [("bps", bandwidth), ("iops", ops)] {
        if let Some(rate) = bucket.map(TokenBucket::each_second) {
            option.push_str(&format!(",throttling.{word}-total={rate}"));
        }
    }
    option
}

#[cfg(test)]
mod tests {
    use super::super::{Interface, Life, Site};
    use super::*;

    fn spec() -> MachineSpec {
        MachineSpec {
            site: Site {
                id: "m".to_owned(),
                folder: "/run/x".into(),
                owner: None,
                network_namespace: None,
                cgroup_birth: None,
                cgroup_entries: Vec::new(),
                life: Life::WithOwner,
            },
            kernel: "/k".into(),
            initramfs: "/i".into(),
            kernel_arguments: "console=ttyS0, quiet".to_owned(),
            vcpus: 2,
            memory: Mib(256),
            drives: vec![Drive { path: "/a,b".into(), read_only: true, rate: None }],
            network: None,
            vsock_cid: 3,
            balloon: false,
        }
    }

    #[test]
    fn nothing_is_on_that_was_not_asked_for() {
        let line = of(&spec(), Acceleration::Emulated).unwrap().join(" ");
        for present in [
            "-accel tcg,tb-size=128 -cpu max -m 256M -smp 2",
            "-sandbox on,",
            "-nodefaults",
            "readonly=on",
            "-monitor none",
        ] {
            assert!(line.contains(present), "{present}: {line}");
        }
        for absent in ["netdev", "balloon", "a,b", "throttling"] {
            assert!(!line.contains(absent), "{absent}: {line}");
        }
    }

    #[test]
    fn devices_do_not_end_up_behind_the_dashes() {
        assert_eq!(kernel_arguments("a=b rdinit=/init -- machine").unwrap(), "a=b rdinit=/init machine");
        assert_eq!(kernel_arguments("a=b").unwrap(), "a=b");
        assert!(kernel_arguments("a=b -- machine x=y").is_err());
        assert!(kernel_arguments("a=b -- module.option").is_err());
    }

    #[test]
    fn limits_are_there_or_refused() {
        let mut spec = spec();
        let rate = RateLimiter { bandwidth: Some(TokenBucket::per_second(1 << 20)), ops: None };
        spec.drives[0].rate = Some(rate);
        let line = of(&spec, Acceleration::Kvm).unwrap().join(" ");
        assert!(
            line.contains("throttling.bps-total=1048576") && line.contains("-accel kvm -cpu host"),
            "{line}"
        );
        let network = Interface {
            tap: "t0".to_owned(),
            mac: [6, 0, 1, 2, 3, 0xff],
            receive_rate: None,
            send_rate: None,
        };
        spec.network = Some(network.clone());
        let line = of(&spec, Acceleration::Kvm).unwrap().join(" ");
        assert!(line.contains("ifname=t0,script=no") && line.contains("mac=06:00:01:02:03:ff"), "{line}");
        spec.network = Some(Interface { send_rate: Some(rate), ..network });
        assert!(of(&spec, Acceleration::Kvm).unwrap_err().to_string().contains("limit the rate"));
    }
}
