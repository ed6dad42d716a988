//! What the kernel offers to sandboxes that share it.

use super::machine::Machine;
use super::{Check, Status};

/// Ubuntu 23.10 and later: unprivileged user namespaces lose their capabilities unless an AppArmor profile allows them.
const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Debian before 11 and hardened kernels.
const CLONE: &str = "/proc/sys/kernel/unprivileged_userns_clone";

/// All of them.
pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    let certain = [user_namespaces(machine), overlay(machine), seccomp(machine)];
    certain.into_iter().chain(landlock(machine)).collect()
}

fn user_namespaces(machine: &Machine) -> Check {
    let id = "kernel.user-namespaces";
    let broken = |what: &str, fix: &str| {
        // Root's sandboxes do without the user's right to make namespaces, but not without namespaces.
        let status = if machine.is_root() { Status::Warn } else { Status::Fail };
        Check { status, ..Check::fail(id, what, fix) }
    };
    if !machine.exists("/proc/self/ns/user") {
        return broken("this kernel has no user namespaces", "use a kernel with CONFIG_USER_NS=y");
    }
    if machine.read("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return broken(
            "user namespaces are forbidden (user.max_user_namespaces is 0)",
            "sudo sysctl -w user.max_user_namespaces=15000",
        );
    }
    if !machine.is_root() && machine.read(CLONE).as_deref() == Some("0") {
        return broken(
            "user namespaces are for root only (kernel.unprivileged_userns_clone is 0)",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if !machine.is_root() && machine.read(APPARMOR).as_deref() == Some("1") {
        return broken(
            "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give the agentkernel program an AppArmor \
             profile with the rule \"userns,\"",
        );
    }
    Check::ok(id, "user namespaces can be used")
}

fn overlay(machine: &Machine) -> Check {
    let id = "kernel.overlayfs";
    let known = machine.read("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        return Check::ok(id, "overlayfs is there");
    }
    Check::warn(id, "overlayfs is not loaded", "sudo modprobe overlay")
}

fn seccomp(machine: &Machine) -> Check {
    let id = "kernel.seccomp";
    let actions = machine.read("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_whitespace().any(|action| action == "errno") {
        return Check::ok(id, "seccomp filters can be used");
    }
    Check::fail(id, "this kernel has no seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER=y")
}

/// `None` where the list of security modules can't be seen; the backend's own check tells then.
fn landlock(machine: &Machine) -> Option<Check> {
    let id = "kernel.landlock";
    let modules = machine.read("/sys/kernel/security/lsm")?;
    if modules.split(',').any(|module| module == "landlock") {
        return Some(Check::ok(id, "Landlock is active"));
    }
    Some(Check::warn(
        id,
        "Landlock is not active: sandboxes have one layer less",
        "add landlock to the lsm= option of the kernel's command line (Linux 5.13 and later)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files.
    fn machine(uid: u32, files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::at(dir.path(), uid);
        for (file, content) in files {
            let path = machine.path(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        (dir, machine)
    }

    #[test]
    fn each_lock_on_user_namespaces_is_named_with_its_key() {
        let namespace = ("/proc/self/ns/user", "");
        let (_dir, plain) = machine(1000, &[namespace]);
        assert_eq!(user_namespaces(&plain).status, Status::Ok);
        for (file, value, sysctl) in [
            ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces"),
            (CLONE, "0\n", "kernel.unprivileged_userns_clone"),
            (APPARMOR, "1\n", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ] {
            let (_dir, locked) = machine(1000, &[namespace, (file, value)]);
            let check = user_namespaces(&locked);
            assert_eq!(check.status, Status::Fail, "{file}");
            assert!(check.fix.unwrap().contains(sysctl), "{file}");
        }
        let (_dir, root) = machine(0, &[namespace, (APPARMOR, "1\n")]);
        assert_eq!(user_namespaces(&root).status, Status::Ok, "it doesn't hold for root");
    }

    #[test]
    fn overlay_seccomp_and_landlock_are_looked_up() {
        let (_dir, bare) = machine(0, &[]);
        assert_eq!(overlay(&bare).status, Status::Warn);
        assert_eq!(seccomp(&bare).status, Status::Fail);
        let (_dir, full) = machine(
            0,
            &[
                ("/proc/filesystems", "nodev\tproc\nnodev\toverlay\n"),
                ("/proc/sys/kernel/seccomp/actions_avail", "kill_process trap errno allow\n"),
                ("/sys/kernel/security/lsm", "lockdown,capability,landlock,bpf"),
            ],
        );
        for check in [overlay(&full), seccomp(&full), landlock(&full).unwrap()] {
            assert_eq!(check.status, Status::Ok, "{check:?}");
        }
    }
}
